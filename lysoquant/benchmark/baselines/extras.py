"""StarDist (paper, Figure 1L) and Cellpose: they run where they are installed, and are not needed otherwise."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.benchmark.baselines.method import MethodUnavailableError, PaperFigure, Parameters
from lysoquant.benchmark.baselines.rings import Labels, Radii, View, classed, loaded_threshold, mean_agreement
from lysoquant.evaluate.score import Prediction, true_objects
from lysoquant.examples.example import Example


def require(package: str) -> None:
    """Refuse a method whose package is not there.

    Raises
    ------
    MethodUnavailableError
        With the remedy.
    """
    if importlib.util.find_spec(package) is None:
        raise MethodUnavailableError(f"not installed: pip install 'lysoquant[{package}]'")


@dataclass(frozen=True)
class TunedOutliner:
    """A package that outlines objects; the class is by the lumen, as for the other methods without classes."""

    segment: Callable[[View], Labels]
    parameters: Parameters
    loaded_from: float
    tuning_score: float

    def predict(self, example: Example) -> Prediction:
        """Outlines, each classed by its lumen."""
        view = View.of(example)
        return classed(self.segment(view), view.cargo, loaded_from=self.loaded_from)


@dataclass(frozen=True)
class StarDistMethod:
    """StarDist trained as in the paper: 32 rays, a grid of 2 x 2, 400 epochs, a fifth of the images for validation."""

    name: str = "stardist"
    title: str = "StarDist"
    is_what: str = (
        "The stardist package, trained from nothing on the lysosome channel of the tuning cells with the paper's "
        "settings, its thresholds by its own optimize_thresholds. Wants a GPU. Not the paper's weights."
    )
    paper: PaperFigure | None = PaperFigure("StarDist", "0.351", "0.719")  # noqa: RUF009
    epochs: int = 400

    def tune(self, examples: Sequence[Example]) -> TunedOutliner:
        """Train on all but every fifth example, choose thresholds on these.

        Raises
        ------
        MethodUnavailableError
            If stardist is not installed, or there are fewer than two examples.
        """
        require("stardist")
        if len(examples) < 2:
            raise MethodUnavailableError("one tuning example can't be parted into training and validation; give two")
        models = importlib.import_module("stardist.models")
        images = [View.of(example).lysosome for example in examples]
        truths = [true_objects(example).labels for example in examples]
        held = [number % 5 == 0 for number in range(len(examples))]
        train, validation = (
            (
                [i for i, h in zip(images, held, strict=True) if h is side],
                [t for t, h in zip(truths, held, strict=True) if h is side],
            )
            for side in (False, True)
        )
        settings = models.Config2D(n_rays=32, grid=(2, 2), n_channel_in=1, train_patch_size=(256, 256))
        model = models.StarDist2D(settings, name="lysoquant-benchmark", basedir=None)
        model.train(*train, validation_data=validation, augmenter=_flip, epochs=self.epochs, seed=0)
        model.optimize_thresholds(*validation)

        def segment(view: View) -> Labels:
            labels, _ = model.predict_instances(view.lysosome)
            return np.where(view.inside, labels, 0).astype(np.int32)

        chosen = {
            "epochs": self.epochs,
            "prob_thresh": float(model.thresholds.prob),
            "nms_thresh": float(model.thresholds.nms),
        }
        score = mean_agreement(examples, [_Fixed()], lambda view: lambda _: segment(view))
        return TunedOutliner(segment, chosen, loaded_threshold(examples), float(score[0]))


@dataclass(frozen=True)
class _Fixed:
    """No parameter to choose."""


def _flip(image: NDArray[np.float32], labels: Labels) -> tuple[NDArray[np.float32], Labels]:
    """Random flips and quarter turns, the augmentation of stardist's own examples."""
    turn, flip = np.random.randint(4), np.random.rand() < 0.5
    image, labels = np.rot90(image, turn), np.rot90(labels, turn)
    return (image[:, ::-1], labels[:, ::-1]) if flip else (image, labels)


@dataclass(frozen=True)
class CellposeParameters:
    """Diameter to which objects are scaled, and least cell probability (a logit)."""

    diameter_px: float
    cellprob_threshold: float


@dataclass(frozen=True)
class CellposeMethod:
    """Cellpose's general model, not trained further."""

    name: str = "cellpose"
    title: str = "Cellpose"
    is_what: str = (
        "The general model of the cellpose package (version 4: Cellpose-SAM) on the lysosome channel, diameter and "
        "cell probability tuned. Not trained on endolysosomes, and not part of the paper."
    )
    paper: PaperFigure | None = None

    def tune(self, examples: Sequence[Example]) -> TunedOutliner:
        """Choose diameter and threshold; the first use downloads the weights.

        Raises
        ------
        MethodUnavailableError
            If cellpose is not installed or its weights can't be had.
        """
        require("cellpose")
        model = _load_cellpose()

        def run(view: View, chosen: CellposeParameters) -> Labels:
            masks, *_ = model.eval(
                view.lysosome, diameter=chosen.diameter_px, cellprob_threshold=chosen.cellprob_threshold
            )
            return np.where(view.inside, masks, 0).astype(np.int32)

        candidates = cellpose_candidates(Radii.of(examples))
        means = mean_agreement(examples, candidates, lambda view: lambda chosen: run(view, chosen))
        best = candidates[int(np.argmax(means))]
        return TunedOutliner(lambda view: run(view, best), asdict(best), loaded_threshold(examples), float(means.max()))


def cellpose_candidates(radii: Radii) -> list[CellposeParameters]:
    """The grid: 3 x 3 of diameters, from the annotated sizes, and thresholds."""
    middle = radii.low_px + radii.high_px
    grid = itertools.product((0.7 * middle, middle, 1.4 * middle), (-2.0, 0.0, 2.0))
    return [CellposeParameters(round(diameter, 1), threshold) for diameter, threshold in grid]


def _load_cellpose() -> Any:
    models, core = (importlib.import_module(f"cellpose.{name}") for name in ("models", "core"))
    try:
        return models.CellposeModel(gpu=core.use_gpu())
    except OSError as error:
        raise MethodUnavailableError(f"the weights of Cellpose can't be had: {error}") from error


STARDIST: Final = StarDistMethod()
CELLPOSE: Final = CellposeMethod()
