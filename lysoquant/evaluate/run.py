"""A model against many known cells, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from lysoquant.errors import InputError
from lysoquant.evaluate.score import CLASSES, Prediction, score_example
from lysoquant.examples.example import Example
from lysoquant.metrics.overlap import share
from lysoquant.metrics.summary import MeanSd, mean_sd
from lysoquant.model.card import check_fit
from lysoquant.model.precision import choose_device
from lysoquant.model.weights import Model, load_model
from lysoquant.segment.instances import split_objects
from lysoquant.segment.network import make_predictor, normalization_of
from lysoquant.segment.params import SegmentParams
from lysoquant.units import MODEL_PIXEL_SIZE_UM
from lysoquant.vocabulary import CLASS_NAMES

FPR_GRID = np.concatenate([[0.0], np.logspace(-4, 0, 241)])
"""False positive rates at which the ROC of every image is kept: dense where a good curve bends."""

METRICS = (
    "iou_empty",
    "iou_loaded",
    "f1_segmentation_empty",
    "f1_segmentation_loaded",
    "f1_segmentation",
    "f1_detection_empty",
    "f1_detection_loaded",
    "f1_detection",
    "auc_empty",
    "auc_loaded",
    "iou_objects_empty",
    "iou_objects_loaded",
    "f1_objects_empty",
    "f1_objects_loaded",
    "f1_objects",
    "f1_objects_detection",
    "class_accuracy",
    "occupancy_error",
)
"""Columns of which mean and standard deviation over images are reported."""

ALL = "all"
"""Group of every image."""


@dataclass(frozen=True)
class Shown:
    """An example and its result, kept for the figure."""

    condition: str
    example: Example
    prediction: Prediction


@dataclass(frozen=True)
class Evaluation:
    """What a model did on many examples.

    Attributes
    ----------
    model : Model
        The model.
    table : pandas.DataFrame
        One row an example: condition, pixel size and the figures of
        :class:`lysoquant.evaluate.score.ExampleScores`.
    tpr : dict of float64 array (n, len(FPR_GRID))
        True positive rate of each class and example at `FPR_GRID`.
    shown : list of Shown
        Examples for the figure.
    """

    model: Model
    table: pd.DataFrame
    tpr: dict[int, NDArray[np.float64]]
    shown: list[Shown]


def evaluate(
    model_file: Path,
    examples: Iterable[tuple[str, Example]],
    *,
    device: str = "auto",
    params: SegmentParams | None = None,
    show: frozenset[int] = frozenset(),
    on_example: Callable[[str], None] = lambda name: None,
) -> Evaluation:
    """Segment examples with a model as the pipeline would, and score each.

    Parameters
    ----------
    model_file : pathlib.Path
        The model.
    examples : iterable of (str, Example)
        Condition and example; read one by one, and only those whose tiles wait for a batch are held.
    device : {"auto", "cpu", "cuda"}
        Where the network runs.
    params : SegmentParams, optional
        Settings of segment; its `model` is not used.
    show : frozenset of int
        Numbers of the examples that are kept for the figure.
    on_example : callable
        Told the name of each example that is done.

    Raises
    ------
    InputError
        If there is no example.
    ModelError
        If the model file is damaged or needs other channels.
    """
    model = load_model(model_file)
    check_fit(model.card, roles={"cargo", "lysosome"})
    return evaluate_model(model, examples, device=device, params=params, show=show, on_example=on_example)


def evaluate_model(
    model: Model,
    examples: Iterable[tuple[str, Example]],
    *,
    device: str = "auto",
    params: SegmentParams | None = None,
    show: frozenset[int] = frozenset(),
    on_example: Callable[[str], None] = lambda name: None,
) -> Evaluation:
    """:func:`evaluate` for a model that is loaded already."""
    rows: list[dict[str, str | float | int]] = []
    tpr: dict[int, list[NDArray[np.float64]]] = {c: [] for c in CLASSES}
    shown: list[Shown] = []
    found = predict_examples(model, examples, device=device, params=params or SegmentParams())
    for number, (condition, example, prediction) in enumerate(found):
        scores = score_example(example, prediction)
        rows.append({"condition": condition, "pixel_size_um": example.pixel_size_um, **scores.row()})
        for c in CLASSES:
            tpr[c].append(scores.rocs[c].at(FPR_GRID))
        if number in show:
            shown.append(Shown(condition, example, prediction))
        on_example(example.name)
    if not rows:
        raise InputError("there is no example to evaluate on; expected at least one cell with known endolysosomes")
    return Evaluation(model, pd.DataFrame(rows), {c: np.stack(tpr[c]) for c in CLASSES}, shown)


def predict_examples(
    model: Model, examples: Iterable[tuple[str, Example]], *, device: str, params: SegmentParams
) -> Iterator[tuple[str, Example, Prediction]]:
    """Results for a stream of examples, in its order."""
    predictor = make_predictor(model, choose_device(device), params)
    waiting: dict[int, tuple[str, Example]] = {}

    def images() -> Iterator[tuple[int, Tensor]]:
        for number, (condition, example) in enumerate(examples):
            waiting[number] = condition, example
            yield (
                number,
                example.network_input(
                    normalization=normalization_of(params, model),
                    in_channels=model.card.architecture.in_channels,
                ),
            )

    for number, probabilities in predictor.predict(images()):
        condition, example = waiting.pop(number)
        yield condition, example, as_prediction(probabilities, params=params)


def as_prediction(probabilities: NDArray[np.float32], *, params: SegmentParams) -> Prediction:
    """Class map and objects from class probabilities (3, My, Mx), as segment makes them."""
    labels, is_loaded = found_objects(probabilities, params=params)
    return Prediction(
        classes=probabilities.argmax(axis=0).astype(np.uint8),
        probabilities=probabilities,
        labels=labels,
        is_loaded=is_loaded,
    )


def found_objects(
    probabilities: NDArray[np.float32], *, params: SegmentParams
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Objects 1 to n (My, Mx) of class probabilities (3, My, Mx) without specks, and whether each (n,) is loaded."""
    objects = split_objects(
        probabilities, foreground_threshold=params.foreground_threshold, split_depth_um=params.split_depth_um
    )
    area_um2 = np.bincount(objects.labels.ravel(), minlength=len(objects.p_loaded) + 1) * MODEL_PIXEL_SIZE_UM**2
    labels = np.where((area_um2 >= params.min_object_area_um2)[objects.labels], objects.labels, 0)
    return labels.astype(np.int32), objects.p_loaded >= 0.5


def groups(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows of all examples, then of each part of the conditions' names, then of each condition.

    A condition such as ``0.065 um, middle noise, docked`` belongs to ``0.065 um``, to ``middle noise`` and to
    ``docked``. A group of all rows is only there once.
    """
    parts = table["condition"].str.split(", ")
    names = dict.fromkeys(name for column in zip(*parts, strict=False) for name in column)
    found = {ALL: table}
    for name in [*names, *dict.fromkeys(table["condition"])]:
        rows = table[(table["condition"] == name) | parts.map(lambda words, name=name: name in words)]
        if len(rows) < len(table):
            found[name] = rows
    return found


def summarise(table: pd.DataFrame) -> dict[str, MeanSd]:
    """Mean and standard deviation over images of each figure."""
    return {metric: mean_sd(table[metric]) for metric in METRICS}


def pool(table: pd.DataFrame) -> dict[str, float]:
    """Figures from the sums over images: IoU of all pixels, bias of occupancy, docked cargo called loaded.

    Returns
    -------
    dict of float
        `iou_empty_pooled`, `iou_loaded_pooled`; `occupancy_bias`, the mean of found less true;
        `docked_called_loaded`, the share of found docked endolysosomes that are called loaded; `pixel_size_shift`, the
        mean absolute difference of the found occupancy between two examples of one name; NaN where undefined.
    """
    total = table.sum(numeric_only=True)
    ious = {
        f"iou_{name}_pooled": share(float(total[f"intersection_{name}_px"]), float(total[f"union_{name}_px"]))
        for name in (CLASS_NAMES[c] for c in CLASSES)
    }
    pairs = table.groupby("name")["occupancy_found"].agg(["size", "min", "max"])
    return {
        **ious,
        "pixel_size_shift": mean_sd((pairs["max"] - pairs["min"])[pairs["size"] == 2]).mean,
        "occupancy_bias": mean_sd(table["occupancy_found"] - table["occupancy_true"]).mean,
        "docked_called_loaded": share(float(total["n_docked_called_loaded"]), float(total["n_docked_matched"])),
    }
