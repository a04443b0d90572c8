"""Every method on the same cells: tuned on some, scored on others."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lysoquant.benchmark.baselines.method import (
    Baseline,
    MethodUnavailableError,
    PaperFigure,
    Parameters,
    Tuned,
)
from lysoquant.errors import InputError
from lysoquant.evaluate.score import Prediction, counted_pixels, score_example
from lysoquant.examples.example import Example
from lysoquant.metrics.overlap import iou
from lysoquant.metrics.summary import MeanSd, mean_sd

METRICS: Final = {
    "iou_empty": "IoU empty",
    "iou_loaded": "IoU loaded",
    "iou": "IoU both",
    "f1_pixels": "F1 pixels",
    "f1_segmentation": "F1 segmentation",
    "f1_detection": "F1 detection",
    "f1_objects": "F1 objects",
    "occupancy_error": "occupancy error",
    "seconds": "seconds an image",
}
"""Columns and their titles. `iou` and `f1_pixels` = 2 IoU / (1 + IoU) take empty and loaded together, as the paper's
Figure 1; the others are those of ``lysoquant evaluate``. Seconds are wall-clock of one cell, from raw pixels to
objects, on the machine that made the table."""


@dataclass(frozen=True)
class Row:
    """One method of the table.

    Attributes
    ----------
    skipped : str
        Why the method did not run; empty if it did.
    parameters : mapping
        What tuning chose.
    tuning_score : float
        Mean of IoU and F1 on the tuning cells, which tuning maximised; NaN for what is not tuned.
    metrics : mapping of MeanSd
        Mean, standard deviation and number of images of each of `METRICS`.
    n_images : int
        Images that the method was asked about.
    """

    name: str
    title: str
    is_what: str
    paper: PaperFigure | None
    skipped: str
    parameters: Parameters
    tuning_score: float
    metrics: Mapping[str, MeanSd]
    n_images: int


def run(
    tuning: Iterable[Example],
    test: Iterable[Example],
    methods: Sequence[Baseline],
    *,
    on_step: Callable[[str], None] = lambda done: None,
) -> list[Row]:
    """Tune each method and score it on cells that it has not seen.

    Parameters
    ----------
    tuning : iterable of Example
        Cells that parameters are chosen on; all are held in memory.
    test : iterable of Example
        Cells of the table; one is held at a time.
    methods : sequence of Baseline
        In the order of the table.
    on_step : callable
        Told what is done: each method tuned, each test cell scored by all.

    Raises
    ------
    InputError
        If there is no cell to tune on, or none to test.
    """
    known = list(tuning)
    if not known:
        raise InputError("there is no example to tune on; give at least one cell with known endolysosomes")
    tuned: dict[str, Tuned] = {}
    skipped: dict[str, str] = {}
    for method in methods:
        try:
            tuned[method.name] = method.tune(known)
        except MethodUnavailableError as error:
            skipped[method.name] = str(error)
        on_step(f"{method.name} skipped" if method.name in skipped else f"{method.name} tuned")
    scores: dict[str, list[dict[str, float]]] = {name: [] for name in tuned}
    count = 0
    for example in test:
        count += 1
        for name, ready in tuned.items():
            scores[name].append(_score(example, ready))
        on_step(example.name)
    if not count:
        raise InputError("there is no example to test on; give at least one cell with known endolysosomes")
    return [_row(method, tuned.get(method.name), skipped.get(method.name, ""), scores, count) for method in methods]


def _score(example: Example, method: Tuned) -> dict[str, float]:
    started = time.perf_counter()
    prediction = method.predict(example)
    seconds = time.perf_counter() - started
    figures = score_example(example, prediction).row()
    both = class_blind_iou(example, prediction)
    own = {"iou": both, "f1_pixels": 2 * both / (1 + both), "seconds": seconds}
    return {name: own[name] if name in own else float(figures[name]) for name in METRICS}


def class_blind_iou(example: Example, prediction: Prediction) -> float:
    """IoU of all endolysosomes whatever their class, pixel by pixel; NaN where there is none in either."""
    return iou(example.class_map > 0, prediction.classes > 0, target=1, counted=counted_pixels(example))


def _row(
    method: Baseline, tuned: Tuned | None, skipped: str, scores: Mapping[str, list[dict[str, float]]], count: int
) -> Row:
    rows = scores.get(method.name, [])
    return Row(
        name=method.name,
        title=method.title,
        is_what=method.is_what,
        paper=method.paper,
        skipped=skipped,
        parameters=tuned.parameters if tuned else {},
        tuning_score=tuned.tuning_score if tuned else math.nan,
        metrics={metric: mean_sd(row[metric] for row in rows) for metric in METRICS},
        n_images=count if tuned else 0,
    )
