"""Networks of lysoquant: the shipped model, and the paper's five-level U-Net where its weights are at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lysoquant.benchmark.baselines.method import MethodUnavailableError, PaperFigure, Parameters
from lysoquant.evaluate.run import as_prediction
from lysoquant.evaluate.score import Prediction
from lysoquant.examples.example import Example
from lysoquant.model.card import check_fit
from lysoquant.model.precision import choose_device
from lysoquant.model.predict import Predictor
from lysoquant.model.weights import load_model
from lysoquant.segment.network import make_predictor
from lysoquant.segment.params import SegmentParams


@dataclass(frozen=True)
class NetworkMethod:
    """A model file, with the settings that `lysoquant segment` has.

    Attributes
    ----------
    path : Path, optional
        The file; without one the method is not available.
    missing : str
        Why, and the remedy, where there is no path.
    levels : int, optional
        Resolution levels that the file's network must have.
    """

    name: str
    title: str
    is_what: str
    paper: PaperFigure | None
    path: Path | None
    missing: str = "no model file"
    levels: int | None = None

    def tune(self, examples: Sequence[Example]) -> TrainedNetwork:
        """The network as it was trained; nothing is tuned on the examples.

        Raises
        ------
        MethodUnavailableError
            If there is no model file, or its network has other levels than the method.
        """
        if self.path is None:
            raise MethodUnavailableError(self.missing)
        model = load_model(self.path)
        check_fit(model.card, roles={"cargo", "lysosome"})
        architecture = model.card.architecture
        if self.levels is not None and architecture.levels != self.levels:
            raise MethodUnavailableError(
                f"{self.path} has {architecture.levels} levels, not {self.levels}; give a model of {self.levels} levels"
            )
        settings = SegmentParams()
        return TrainedNetwork(make_predictor(model, choose_device("auto"), settings), settings)


@dataclass(frozen=True)
class TrainedNetwork:
    """A network ready for cells."""

    predictor: Predictor
    settings: SegmentParams
    tuning_score: float = math.nan

    @property
    def parameters(self) -> Parameters:
        """What the model is."""
        model = self.predictor.model
        return {
            "model": model.card.name,
            "sha256": model.sha256[:12],
            "levels": model.card.architecture.levels,
            "base_features": model.card.architecture.base_features,
            "weights": sum(weight.numel() for weight in model.network.parameters()),
        }

    def predict(self, example: Example) -> Prediction:
        """Objects as `lysoquant segment` finds them, at the model's pixel size."""
        card = self.predictor.model.card
        image = example.network_input(
            normalization="joint" if card.normalization == "joint" else "cell",
            in_channels=card.architecture.in_channels,
        )
        (_, probabilities), *_ = self.predictor.predict([(example.name, image)])
        return as_prediction(probabilities, params=self.settings)


def lysoquant_model(path: Path) -> NetworkMethod:
    """LysoQuant with a model file."""
    return NetworkMethod(
        name="lysoquant",
        title="LysoQuant",
        is_what=(
            "The model of `lysoquant segment` with its default settings: a U-Net, objects split at necks, one class "
            "each. Not tuned on the tuning cells, but trained on simulated ones of a wider range."
        ),
        paper=PaperFigure("LysoQuant, seven levels (empty, loaded)", "0.881, 0.877", "0.752, 0.814"),
        path=path,
    )


def unet5_model(path: Path | None) -> NetworkMethod:
    """The paper's first network, trained by `lysoquant train --levels 5 --base-features 64 --max-features 0`."""
    return NetworkMethod(
        name="unet5",
        title="U-Net, five levels",
        is_what=(
            "The paper's first network, five levels and 64 base features, as it comes out of `lysoquant train` with "
            "the iterations that its card states. Not tuned on the tuning cells."
        ),
        paper=PaperFigure("U-Net, five levels (empty, loaded)", "0.722, 0.686", "0.361, 0.404"),
        path=path,
        missing="no weights: train them with --levels 5 --base-features 64 --max-features 0 and give them by --unet5",
        levels=5,
    )
