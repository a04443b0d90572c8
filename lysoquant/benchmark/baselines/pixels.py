"""Machine learning on pixel features: random forest and support vector machine (paper, Figure 1C to E)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import multiscale_basic_features
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from lysoquant.benchmark.baselines.method import MethodUnavailableError, PaperFigure, Parameters
from lysoquant.benchmark.baselines.rings import Labels, View, mean_agreement, sized
from lysoquant.evaluate.score import Prediction, counted_pixels
from lysoquant.examples.example import Example
from lysoquant.vocabulary import BACKGROUND, CLASS_NAMES, EMPTY, LOADED

SIGMA_PX: Final = (1.0, 16.0)
"""Finest and coarsest scale of the features; the scales between double."""
PIXELS_A_CLASS: Final = 1500
"""Training pixels of each class from each example: the classes are balanced."""
_SEED: Final = 0
_CHUNK: Final = 65_536


def features(view: View) -> NDArray[np.float32]:
    """Intensity, edges and texture of both channels at five scales (My, Mx, F)."""
    low, high = SIGMA_PX
    planes = np.stack([view.cargo, view.lysosome], axis=-1)
    found = multiscale_basic_features(planes, sigma_min=low, sigma_max=high, channel_axis=-1)  # type: ignore[no-untyped-call]
    return np.asarray(found, np.float32)


@dataclass(frozen=True)
class Samples:
    """Training pixels: their features (n, F), classes (n,) and the number of their example (n,)."""

    values: NDArray[np.float32]
    classes: NDArray[np.uint8]
    groups: NDArray[np.int64]


def sample(examples: Iterable[Example]) -> Samples:
    """Pixels of the cells that count, as many of each class as of the others, up to a limit an example."""
    values, classes, groups = [], [], []
    for number, example in enumerate(examples):
        view, rng = View.of(example), np.random.default_rng((_SEED, number))
        pixels, class_map = features(view), example.class_map
        for target in range(len(CLASS_NAMES)):
            where = np.flatnonzero((class_map == target) & counted_pixels(example))
            chosen = rng.choice(where, size=min(PIXELS_A_CLASS, len(where)), replace=False)
            values.append(pixels.reshape(-1, pixels.shape[-1])[chosen])
            classes.append(np.full(len(chosen), target, np.uint8))
            groups.append(np.full(len(chosen), number))
    return Samples(np.concatenate(values), np.concatenate(classes), np.concatenate(groups))


@dataclass(frozen=True)
class Margin:
    """How much better empty or loaded must score than background for a pixel to be an endolysosome's."""

    margin: float


MARGINS: Final = tuple(Margin(margin) for margin in (-0.25, 0.0, 0.25, 0.5, 0.75, 0.9, 1.25, 1.75, 2.5))


@dataclass(frozen=True)
class PixelMethod:
    """A classifier of pixels into background, empty and loaded.

    Attributes
    ----------
    estimator : callable
        Makes the untrained scikit-learn classifier.
    grid : mapping
        Its parameters to try, by cross-validation over examples.
    """

    name: str
    title: str
    is_what: str
    paper: PaperFigure | None
    estimator: Callable[[], Any]
    grid: Mapping[str, Sequence[float | int]]

    def tune(self, examples: Sequence[Example]) -> TunedPixels:
        """Trained on pixels of the examples, with parameters and a margin over background that are best across them.

        Raises
        ------
        MethodUnavailableError
            If the examples lack one of the classes.
        """
        data = sample(examples)
        missing = [name for number, name in enumerate(CLASS_NAMES) if not np.any(data.classes == number)]
        if missing:
            raise MethodUnavailableError(f"the tuning examples have no {missing[0]} pixel; give more of them")
        folds = list(_folds(data))
        search = GridSearchCV(self.estimator(), dict(self.grid), scoring="f1_macro", cv=folds)
        search.fit(data.values, data.classes)
        chosen = {name.rpartition("__")[2]: value for name, value in search.best_params_.items()}
        means = _margin_agreement(search.best_estimator_, data, folds, examples)
        best = int(np.argmax(means))
        return TunedPixels(search.best_estimator_, chosen, MARGINS[best], float(means[best]))


def _folds(data: Samples) -> Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pixels to train on and to test on, from different examples if there is more than one."""
    count = len(np.unique(data.groups))
    if count > 1:
        split = GroupKFold(n_splits=min(3, count)).split(data.values, data.classes, data.groups)
    else:
        split = StratifiedKFold(n_splits=3, shuffle=True, random_state=_SEED).split(data.values, data.classes)
    yield from split


def _margin_agreement(
    classifier: Any,
    data: Samples,
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    examples: Sequence[Example],
) -> NDArray[np.float64]:
    """Mean agreement of each of `MARGINS` on examples that the classifier was not trained on, fold by fold."""
    total, count = np.zeros(len(MARGINS)), 0
    for train, test in folds:
        fitted = clone(classifier).fit(data.values[train], data.classes[train])
        held = [examples[number] for number in np.unique(data.groups[test])]
        total += len(held) * mean_agreement(held, MARGINS, _segmenter(fitted))
        count += len(held)
    return total / count


@dataclass(frozen=True)
class TunedPixels:
    """A trained classifier of pixels."""

    classifier: Any
    chosen: Parameters
    margin: Margin
    tuning_score: float

    @property
    def parameters(self) -> Parameters:
        """Those of the classifier, and the margin over background."""
        return {**self.chosen, "margin": self.margin.margin}

    def predict(self, example: Example) -> Prediction:
        """Class of every pixel; objects are the connected parts of a class, and one object may fall into two."""
        found = scores(self.classifier, View.of(example))
        kept = sized(_parts(margins(found))(self.margin)) > 0
        classes = np.where(kept, np.where(found[LOADED] > found[EMPTY], LOADED, EMPTY), BACKGROUND).astype(np.uint8)
        return Prediction(classes, probabilities=found if hasattr(self.classifier, "predict_proba") else None)


def scores(classifier: Any, view: View) -> NDArray[np.float32]:
    """Score of each class (3, My, Mx), probabilities where the classifier has them; background outside the cell."""
    rate = classifier.predict_proba if hasattr(classifier, "predict_proba") else classifier.decision_function
    found = np.zeros((len(CLASS_NAMES), *view.inside.shape), np.float32)
    found[BACKGROUND] = 1
    values = features(view)[view.inside]
    if len(values):
        parts = [rate(values[start : start + _CHUNK]) for start in range(0, len(values), _CHUNK)]
        found[:, view.inside] = np.concatenate(parts).T
    return found


def margins(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """Better score of empty and loaded less that of background (My, Mx)."""
    return np.asarray(np.maximum(found[EMPTY], found[LOADED]) - found[BACKGROUND])


def _segmenter(classifier: Any) -> Callable[[View], Callable[[Margin], Labels]]:
    return lambda view: _parts(margins(scores(classifier, view)))


def _parts(margin: NDArray[np.float32]) -> Callable[[Margin], Labels]:
    return lambda chosen: np.asarray(ndimage.label(margin > chosen.margin)[0], np.int32)


def _forest() -> Any:
    return RandomForestClassifier(n_estimators=50, min_samples_leaf=5, max_features="sqrt", random_state=_SEED)


def _svm() -> Any:
    landmarks = Nystroem(kernel="rbf", n_components=80, random_state=_SEED)
    return make_pipeline(StandardScaler(), landmarks, LinearSVC(random_state=_SEED))


FOREST = PixelMethod(
    name="forest",
    title="random forest on pixel features",
    is_what=(
        "scikit-learn's random forest on intensity, edges and texture of both channels at five scales (scikit-image "
        "multiscale_basic_features), three classes. As ilastik and Trainable Weka Segmentation do, with neither's "
        "choice of features; theirs saw the lysosome channel only. Touching objects of a class stay one."
    ),
    paper=PaperFigure("random forest, ilastik (Weka: 0.487, 0.655)", "0.599", "0.749"),
    estimator=_forest,
    grid={"max_depth": (6, 12, 18)},
)

SVM = PixelMethod(
    name="svm",
    title="support vector machine on pixel features",
    is_what=(
        "scikit-learn's linear support vector machine on Nystroem's approximation of a Gaussian kernel (80 landmarks), "
        "with the random forest's features. Not LibSVM's exact kernel machine, which is too slow for whole cells here."
    ),
    paper=PaperFigure("support vector machine, Weka LibSVM", "0.512", "0.677"),
    estimator=_svm,
    grid={"nystroem__gamma": (0.001, 0.003, 0.01), "linearsvc__C": (0.3, 3.0)},
)
