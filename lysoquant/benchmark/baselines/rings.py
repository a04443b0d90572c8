"""Methods that outline endolysosomes but know no classes: one way to tune them, one way to tell empty from loaded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.benchmark.baselines.method import PaperFigure, Parameters
from lysoquant.evaluate.score import Prediction, cell_pixels, counted_pixels, found_objects, true_objects
from lysoquant.examples.example import Example
from lysoquant.metrics.matching import match_iou
from lysoquant.metrics.overlap import iou
from lysoquant.train.loss import separate_touching
from lysoquant.units import MIN_AREA_UM2, MODEL_PIXEL_SIZE_UM
from lysoquant.vocabulary import EMPTY, LOADED

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Labels = NDArray[np.int32]
P = TypeVar("P", bound="DataclassInstance")

MIN_AREA_PX = MIN_AREA_UM2 / MODEL_PIXEL_SIZE_UM**2
"""The paper's size filter, applied to every method that is not a network."""


@dataclass(frozen=True)
class View:
    """A cell as every method sees it: the network's own planes at the model's pixel size.

    Attributes
    ----------
    cargo, lysosome : float32 array (My, Mx)
        In [0, 1], zero outside the cell.
    inside : bool array (My, Mx)
        The cell.
    """

    cargo: NDArray[np.float32]
    lysosome: NDArray[np.float32]
    inside: NDArray[np.bool_]

    @classmethod
    def of(cls, example: Example) -> View:
        """The planes of an example."""
        cargo, lysosome = example.network_input(in_channels=2).numpy()
        return cls(cargo, lysosome, cell_pixels(example))


@dataclass(frozen=True)
class Radii:
    """Radii of the annotated endolysosomes of the tuning examples, as circles of equal area: 2nd to 98th percentile."""

    low_px: float
    high_px: float

    @classmethod
    def of(cls, examples: Sequence[Example]) -> Radii:
        """Those of all examples together; the smallest reported object where nothing is annotated."""
        areas = [np.bincount(true_objects(example).labels.ravel())[1:] for example in examples]
        counted = np.concatenate([area[area > 0] for area in areas])
        radii = np.sqrt(np.maximum(counted, MIN_AREA_PX) / np.pi)
        low, high = np.percentile(radii if len(radii) else [math.sqrt(MIN_AREA_PX / np.pi)], (2, 98))
        return cls(float(low), float(high))


@dataclass(frozen=True)
class RingMethod(Generic[P]):
    """A method that outlines rings in the lysosome channel.

    Attributes
    ----------
    candidates : callable
        The grid of parameters; it may depend on the annotated sizes.
    prepare : callable
        Takes a cell, gives a function from parameters to a label image, so that a grid shares what is common.
    """

    name: str
    title: str
    is_what: str
    paper: PaperFigure | None
    candidates: Callable[[Radii], Sequence[P]]
    prepare: Callable[[View], Callable[[P], Labels]]

    def tune(self, examples: Sequence[Example]) -> TunedRings[P]:
        """The candidate that agrees best with the examples, and the cargo level that parts empty from loaded."""
        candidates = self.candidates(Radii.of(examples))
        means = mean_agreement(examples, candidates, self.prepare)
        best = int(np.argmax(means))
        return TunedRings(self.prepare, candidates[best], loaded_threshold(examples), float(means[best]))


@dataclass(frozen=True)
class TunedRings(Generic[P]):
    """A ring method with its parameters."""

    prepare: Callable[[View], Callable[[P], Labels]]
    chosen: P
    loaded_from: float
    tuning_score: float

    @property
    def parameters(self) -> Parameters:
        """The method's own and the cargo level from which a lumen is loaded."""
        return {**asdict(self.chosen), "loaded_from": round(self.loaded_from, 4)}

    def predict(self, example: Example) -> Prediction:
        """Outlines, each classed by its lumen."""
        view = View.of(example)
        return classed(self.prepare(view)(self.chosen), view.cargo, loaded_from=self.loaded_from)


def mean_agreement(
    examples: Sequence[Example], candidates: Sequence[P], prepare: Callable[[View], Callable[[P], Labels]]
) -> NDArray[np.float64]:
    """Mean agreement of each candidate with the examples (n candidates,); one example is in memory at a time.

    An example without any endolysosome, in which nothing is found, is undefined and left out; a candidate that is
    undefined in all examples scores 0.
    """
    scores = np.full((len(examples), len(candidates)), np.nan)
    for row, example in enumerate(examples):
        segment = prepare(View.of(example))
        scores[row] = [agreement(example, sized(segment(candidate))) for candidate in candidates]
    known = ~np.isnan(scores)
    return np.asarray(np.where(known, scores, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def agreement(example: Example, labels: Labels) -> float:
    """What tuning maximises: mean of the IoU of pixels and the F1 of objects (IoU 0.5), whatever the class."""
    truth, found = example.class_map > 0, labels > 0
    objects = found_objects(example, Prediction(found.astype(np.uint8), labels=labels, is_loaded=_unknown(labels)))
    f1 = match_iou(true_objects(example).labels, objects.labels).f1
    return (iou(truth, found, target=1, counted=counted_pixels(example)) + f1) / 2


def _unknown(labels: Labels) -> NDArray[np.bool_]:
    return np.zeros(int(labels.max(initial=0)), bool)


def sized(labels: Labels) -> Labels:
    """Objects at least as large as the smallest that people annotate, numbered from 1 without gaps."""
    keep = np.bincount(labels.ravel()) >= MIN_AREA_PX
    keep[0] = False
    return np.asarray((np.cumsum(keep) * keep).astype(np.int32)[labels])


def classed(labels: Labels, cargo: NDArray[np.float32], *, loaded_from: float) -> Prediction:
    """Outlined objects, each loaded if the mean cargo of its lumen reaches `loaded_from`."""
    labels = sized(labels)
    is_loaded = lumen_cargo(labels, cargo) >= loaded_from
    table = np.concatenate([[0], np.where(is_loaded, LOADED, EMPTY)]).astype(np.uint8)
    classes = np.where(separate_touching(labels), np.uint8(0), table[labels])
    return Prediction(classes, labels=labels, is_loaded=is_loaded)


def lumen_cargo(labels: Labels, cargo: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean cargo in the lumen of each object (n,).

    The lumen is where the distance to the outline is at least half its maximum, a quarter of a disc's area: clear of
    the membrane, whose outside may carry docked cargo. NaN for a label without pixels.
    """
    means = np.full(int(labels.max(initial=0)), np.nan)
    for number, box in _windows(labels):
        depth = ndimage.distance_transform_edt(np.pad(labels[box] == number, 1))[1:-1, 1:-1]
        means[number - 1] = cargo[box][depth >= depth.max() / 2].mean()
    return means


def _windows(labels: Labels) -> Iterator[tuple[int, tuple[slice, slice]]]:
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            yield number, (box[0], box[1])


def loaded_threshold(examples: Sequence[Example]) -> float:
    """Cargo level that best parts the annotated empty from the annotated loaded lumens (balanced accuracy).

    The middle of the best gap. With one class only, everything is of that class; without any, the threshold is 1.
    """
    levels, loaded = [np.zeros(0)], [np.zeros(0, bool)]
    for example in examples:
        truth = true_objects(example)
        means = lumen_cargo(truth.labels, View.of(example).cargo)
        present = ~np.isnan(means)
        levels.append(means[present])
        loaded.append(truth.is_loaded[1 : len(means) + 1][present])
    value, positive = np.concatenate(levels), np.concatenate(loaded)
    if not positive.any():
        return float(np.nextafter(1, 2)) if len(value) else 1.0
    order = np.argsort(value)
    value, positive = value[order], positive[order]
    # Cut i puts the first i lumens below the threshold.
    right_empty = np.concatenate([[0], np.cumsum(~positive)]) / max(1, np.count_nonzero(~positive))
    right_loaded = 1 - np.concatenate([[0], np.cumsum(positive)]) / np.count_nonzero(positive)
    bounds = np.concatenate([[0], value, [1]])
    possible = np.concatenate([[True], np.diff(value) > 0, [True]])
    cut = int(np.argmax(np.where(possible, right_empty + right_loaded, -1)))
    return float((bounds[cut] + bounds[cut + 1]) / 2) if cut else 0.0


def split_touching(mask: NDArray[np.bool_], *, distance_px: float) -> Labels:
    """Watershed of the distance to the outline, from maxima at least `distance_px` apart (Soille & Vincent 1990).

    Parts of the mask that are too small to be reported are left out.
    """
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    parts = sized(np.asarray(ndimage.label(mask)[0], np.int32))
    mask = parts > 0
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(mask), 1.0)
    peaks = peak_local_max(  # type: ignore[no-untyped-call]
        depth, min_distance=max(1, round(distance_px)), labels=parts, exclude_border=False
    )
    markers = np.zeros(mask.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return np.asarray(watershed(-depth, markers, mask=mask), np.int32)  # type: ignore[no-untyped-call]


def fill_lumens(mask: NDArray[np.bool_], *, largest_px: float) -> NDArray[np.bool_]:
    """Fill holes no larger than the largest endolysosome; a wider mesh of membranes stays open."""
    from skimage.morphology import remove_small_holes

    return np.asarray(remove_small_holes(mask, max_size=math.floor(largest_px)))


def draw_discs(
    shape: tuple[int, int], discs: Sequence[tuple[float, float, float]], *, inside: NDArray[np.bool_]
) -> Labels:
    """Discs (y, x, radius), best first; one that is covered for more than half by better ones is left out."""
    from skimage.draw import disk

    labels = np.zeros(shape, np.int32)
    for number, (y, x, radius) in enumerate(discs, start=1):
        rows, columns = disk((y, x), radius, shape=shape)  # type: ignore[no-untyped-call]
        free = (labels[rows, columns] == 0) & inside[rows, columns]
        if np.count_nonzero(free) * 2 >= len(rows) > 0:
            labels[rows[free], columns[free]] = number
    return labels
