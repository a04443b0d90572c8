"""One result against one cell whose endolysosomes are known: every figure of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lysoquant.examples.example import Example
from lysoquant.examples.simulated import to_model
from lysoquant.metrics.matching import Matching, components, match_distance, match_iou
from lysoquant.metrics.overlap import iou, overlap, share
from lysoquant.metrics.roc import Roc, roc
from lysoquant.units import MIN_AREA_UM2, MODEL_PIXEL_SIZE_UM
from lysoquant.vocabulary import BACKGROUND, CLASS_NAMES, EMPTY, LOADED

CLASSES = (EMPTY, LOADED)


@dataclass(frozen=True)
class Prediction:
    """What a method found in an example, at the model's pixel size.

    Attributes
    ----------
    classes : uint8 array (My, Mx)
        Class of every pixel: 0 background, 1 empty, 2 loaded.
    probabilities : float32 array (3, My, Mx), optional
        Score of each class; without it there is no ROC.
    labels : int32 array (My, Mx), optional
        Objects 1 to n; without it the 4-connected parts of each class are the objects.
    is_loaded : bool array (n,), optional
        Class of each object of `labels`.
    """

    classes: NDArray[np.uint8]
    probabilities: NDArray[np.float32] | None = None
    labels: NDArray[np.int32] | None = None
    is_loaded: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if (self.labels is None) != (self.is_loaded is None):
            raise ValueError("labels and is_loaded come together: give both or neither")
        shapes = {self.classes.shape}
        if self.probabilities is not None:
            shapes.add(self.probabilities.shape[1:])
        if self.labels is not None and self.is_loaded is not None:
            shapes.add(self.labels.shape)
            if int(self.labels.max(initial=0)) > len(self.is_loaded):
                raise ValueError(f"labels go to {int(self.labels.max())}, is_loaded has {len(self.is_loaded)} values")
        if len(shapes) > 1:
            raise ValueError(f"the arrays of a prediction are {sorted(shapes)}; expected one shape")


@dataclass(frozen=True)
class ExampleScores:
    """Figures of one image. NaN is undefined; ``docs/evaluate.md`` says what each one is.

    Attributes
    ----------
    iou_* : float
        Pixelwise, per class; `intersection_*_px` and `union_*_px` are its parts, for pooling over images.
    f1_segmentation*, f1_detection* : float
        The paper's: 4-connected parts of the class map, per class; without a class, both classes' counts together.
    auc_* : float
        One class against the rest, over the cell's pixels.
    iou_objects_* : float
        Of the class map in which every object has one class, which is what the pipeline writes.
    f1_objects*, f1_objects_detection : float
        Of the method's own objects of the reported size, matched by IoU whatever their class, or within a class; or
        matched by the distance of their centroids, whatever their class.
    class_accuracy : float
        Share of matched objects whose class is right.
    n_true, n_found, occupancy_* : float
        Endolysosomes of the reported size, and loaded / all; the error is absolute.
    n_docked, n_docked_matched, n_docked_called_loaded : int
        True endolysosomes with cargo docked outside; of these, found; of these, called loaded.
    rocs : dict
        ROC of each class, empty without probabilities; no part of a table's row.
    """

    name: str
    iou_empty: float
    iou_loaded: float
    f1_segmentation_empty: float
    f1_segmentation_loaded: float
    f1_segmentation: float
    f1_detection_empty: float
    f1_detection_loaded: float
    f1_detection: float
    auc_empty: float
    auc_loaded: float
    iou_objects_empty: float
    iou_objects_loaded: float
    f1_objects_empty: float
    f1_objects_loaded: float
    f1_objects: float
    f1_objects_detection: float
    class_accuracy: float
    occupancy_true: float
    occupancy_found: float
    occupancy_error: float
    n_true: int
    n_found: int
    n_docked: int
    n_docked_matched: int
    n_docked_called_loaded: int
    intersection_empty_px: int
    union_empty_px: int
    intersection_loaded_px: int
    union_loaded_px: int
    rocs: Mapping[int, Roc] = field(default_factory=dict, repr=False, compare=False)

    def row(self) -> dict[str, str | float | int]:
        """The figures by name, as a row of a table."""
        return {part.name: getattr(self, part.name) for part in fields(self) if part.name != "rocs"}


@dataclass(frozen=True)
class Objects:
    """Objects and their classes.

    Attributes
    ----------
    labels : int32 array (My, Mx)
        0 is background; pixels that do not count are 0 too.
    is_loaded : bool array (n + 1,)
        By label; that of 0 means nothing.
    """

    labels: NDArray[np.int32]
    is_loaded: NDArray[np.bool_]

    def of_class(self, target: int) -> NDArray[np.int32]:
        """Label image of the objects of one class."""
        return self.select(self.is_loaded == (target == LOADED)).labels

    def select(self, keep: NDArray[np.bool_]) -> Objects:
        """Only the objects for which `keep` (n + 1,) is true."""
        return Objects(np.where(keep[self.labels], self.labels, 0).astype(np.int32), self.is_loaded)

    def count(self) -> tuple[int, int]:
        """Objects that have pixels, and the loaded ones among them."""
        present = np.unique(self.labels[self.labels > 0])
        return len(present), int(np.count_nonzero(self.is_loaded[present]))


def score_example(example: Example, prediction: Prediction, *, min_area_um2: float = MIN_AREA_UM2) -> ExampleScores:
    """Every figure of one image.

    Parameters
    ----------
    example : Example
        The truth.
    prediction : Prediction
        What was found.
    min_area_um2 : float
        Smallest endolysosome that is reported (`measure.min_area_um2`): true and found ones below it take no part in
        occupancy, counts and the F1 of objects. The paper's F1 has no such limit.

    Raises
    ------
    ValueError
        If the prediction has another shape than the example's truth.
    """
    if prediction.classes.shape != example.regions.shape:
        raise ValueError(f"prediction is {prediction.classes.shape}, truth is {example.regions.shape}")
    counted = counted_pixels(example)
    overlaps = {c: overlap(example.class_map, prediction.classes, target=c, counted=counted) for c in CLASSES}
    segmentation, detection = _paper_matchings(example, prediction.classes)
    rocs = class_rocs(example, prediction)
    figures: dict[str, Any] = {
        **_f1s("f1_segmentation", segmentation),
        **_f1s("f1_detection", detection),
        **_object_scores(example, prediction, min_area_um2=min_area_um2),
    }
    by_object = object_classes(prediction)
    for target, (both, either) in overlaps.items():
        name = CLASS_NAMES[target]
        figures[f"iou_objects_{name}"] = iou(example.class_map, by_object, target=target, counted=counted)
        figures[f"iou_{name}"] = share(both, either)
        figures[f"intersection_{name}_px"], figures[f"union_{name}_px"] = both, either
        figures[f"auc_{name}"] = rocs[target].auc if rocs else math.nan
    return ExampleScores(name=example.name, rocs=rocs, **figures)


def class_rocs(example: Example, prediction: Prediction) -> dict[int, Roc]:
    """ROC of each class against the rest over the pixels that count; empty without probabilities."""
    if prediction.probabilities is None:
        return {}
    counted, classes = counted_pixels(example), example.class_map
    return {c: roc(prediction.probabilities[c], classes == c, counted) for c in CLASSES}


def object_classes(prediction: Prediction) -> NDArray[np.uint8]:
    """Class map (My, Mx) in which every object has one class; without objects the class map itself."""
    if prediction.labels is None or prediction.is_loaded is None:
        return prediction.classes
    table = np.concatenate([[BACKGROUND], np.where(prediction.is_loaded, LOADED, EMPTY)]).astype(np.uint8)
    return np.asarray(table[prediction.labels])


def cell_pixels(example: Example) -> NDArray[np.bool_]:
    """The cell at the model's pixel size (My, Mx)."""
    return np.asarray(to_model(example.inside, example.pixel_size_um), dtype=np.bool_)


def counted_pixels(example: Example) -> NDArray[np.bool_]:
    """Pixels (My, Mx) on which a result is judged: of the cell, and not of weight 0.

    Outside the cell the signal is cleared and nothing is reported: these pixels would raise every AUC.
    """
    return cell_pixels(example) & ~example.ignored


def true_objects(example: Example, *, min_area_um2: float = 0.0) -> Objects:
    """Endolysosomes of the truth that have a pixel which counts; their pixels that don't count are taken away."""
    whole = np.where(cell_pixels(example), example.regions, 0).astype(np.int32)
    large = _large_enough(whole, len(example.classes), min_area_um2)
    labels = np.where(example.ignored, 0, whole).astype(np.int32)
    return Objects(labels, example.classes == LOADED).select(large)


def found_objects(example: Example, prediction: Prediction, *, min_area_um2: float = 0.0) -> Objects:
    """Objects of a result, cut to the cell, less those of which more than half lies on pixels of weight 0."""
    cell = cell_pixels(example)
    if prediction.labels is None or prediction.is_loaded is None:
        found = _parts(np.where(cell, prediction.classes, 0).astype(np.uint8))
    else:
        whole = np.where(cell, prediction.labels, 0).astype(np.int32)
        found = Objects(whole, np.concatenate([[False], prediction.is_loaded]))
    size = len(found.is_loaded)
    judged = ~_mostly_ignored(found.labels, example.ignored, size)
    cut = np.where(example.ignored, 0, found.labels).astype(np.int32)
    return Objects(cut, found.is_loaded).select(judged & _large_enough(found.labels, size, min_area_um2))


def _parts(classes: NDArray[np.uint8]) -> Objects:
    """4-connected parts of both classes as objects, as the plugin counts them."""
    empty, loaded = (components(classes, target=c) for c in CLASSES)
    n_empty, n_loaded = int(empty.max(initial=0)), int(loaded.max(initial=0))
    labels = np.where(loaded > 0, loaded + n_empty, empty).astype(np.int32)
    return Objects(labels, np.arange(n_empty + n_loaded + 1) > n_empty)


def _large_enough(labels: NDArray[np.int32], size: int, min_area_um2: float) -> NDArray[np.bool_]:
    area_um2 = np.bincount(labels.ravel(), minlength=size) * MODEL_PIXEL_SIZE_UM**2
    return np.asarray(area_um2 >= min_area_um2 * (1 - 1e-9))


def _mostly_ignored(labels: NDArray[np.int32], ignored: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    total = np.bincount(labels.ravel(), minlength=size)
    return np.asarray(2 * np.bincount(labels[ignored], minlength=size) > total)


def _paper_matchings(example: Example, classes: NDArray[np.uint8]) -> tuple[dict[int, Matching], dict[int, Matching]]:
    """Matches of segmentation and of detection for each class: true instances against parts of the class map."""
    truth = true_objects(example)
    found = found_objects(example, Prediction(classes))
    pairs = {c: (truth.of_class(c), found.of_class(c)) for c in CLASSES}
    return {c: match_iou(*pairs[c]) for c in CLASSES}, {c: match_distance(*pairs[c]) for c in CLASSES}


def _f1s(name: str, matchings: Mapping[int, Matching]) -> dict[str, float]:
    """F1 of each class and of both classes' counts together."""
    matched = sum(matching.n_matched for matching in matchings.values())
    total = sum(matching.n_truth + matching.n_found for matching in matchings.values())
    each = {f"{name}_{CLASS_NAMES[c]}": matching.f1 for c, matching in matchings.items()}
    return {**each, name: share(2 * matched, total)}


def _object_scores(example: Example, prediction: Prediction, *, min_area_um2: float) -> dict[str, float | int]:
    """Figures of the method's own objects: F1, class, occupancy, docked cargo."""
    truth = true_objects(example, min_area_um2=min_area_um2)
    found = found_objects(example, prediction, min_area_um2=min_area_um2)
    n_true, loaded_true = truth.count()
    n_found, loaded_found = found.count()
    occupancy_true, occupancy_found = share(loaded_true, n_true), share(loaded_found, n_found)
    matching = match_iou(truth.labels, found.labels)
    true_label, found_label = matching.pairs.T
    called_loaded = found.is_loaded[found_label]
    docked = example.docked[true_label]
    return {
        **{f"f1_objects_{CLASS_NAMES[c]}": match_iou(truth.of_class(c), found.of_class(c)).f1 for c in CLASSES},
        "f1_objects": matching.f1,
        "f1_objects_detection": match_distance(truth.labels, found.labels).f1,
        "class_accuracy": share(int(np.count_nonzero(called_loaded == truth.is_loaded[true_label])), len(docked)),
        "occupancy_true": occupancy_true,
        "occupancy_found": occupancy_found,
        "occupancy_error": abs(occupancy_found - occupancy_true),
        "n_true": n_true,
        "n_found": n_found,
        "n_docked": int(np.count_nonzero(example.docked[np.unique(truth.labels[truth.labels > 0])])),
        "n_docked_matched": int(np.count_nonzero(docked)),
        "n_docked_called_loaded": int(np.count_nonzero(docked & called_loaded)),
    }
