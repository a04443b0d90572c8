"""The log of a training run and its curves as a picture."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from lysoquant.train.validate import Validation

COLUMNS = (
    "iteration", "loss", "learning_rate", "seconds", "validation_loss", "iou_empty", "iou_loaded", "f1_segmentation"
)  # fmt: skip


def append(path: Path, *, iteration: int, loss: float, rate: float, seconds: float, validation: Validation) -> None:
    """Add a line to the log, with its header first if it is new."""
    new = not path.exists()
    values = (validation.loss, validation.iou_empty, validation.iou_loaded, validation.f1_segmentation)
    with path.open("a", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        found = ("" if math.isnan(value) else f"{value:.4f}" for value in values)
        writer.writerow([iteration, f"{loss:.5f}", f"{rate:.3g}", f"{seconds:.0f}", *found])


def cut_after(path: Path, iteration: int) -> float:
    """Drop lines of iterations that a checkpoint does not hold; returns the seconds spent up to it."""
    if not path.exists():
        return 0.0
    rows = [row for row in _read(path) if int(row["iteration"]) <= iteration]
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return float(rows[-1]["seconds"]) if rows else 0.0


def draw(log: Path, picture: Path) -> None:
    """Loss and metrics over the iterations as a PNG."""
    from matplotlib.figure import Figure

    rows = _read(log)
    iterations = [int(row["iteration"]) for row in rows]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, columns in ((left, ("loss", "validation_loss")), (right, ("iou_empty", "iou_loaded", "f1_segmentation"))):
        for column in columns:
            values = [float(row[column]) if row[column] else math.nan for row in rows]
            axes.plot(iterations, values, marker=".", label=column.replace("_", " "))
        axes.set_xlabel("iteration")
        axes.legend()
        axes.grid(alpha=0.3)
    left.set_yscale("log")
    right.set_ylim(0, 1)
    figure.savefig(picture, dpi=110)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return [row for row in csv.DictReader(handle) if _whole(row)]


def _whole(row: dict[str, str]) -> bool:
    """Whether a line has all its columns; a crash can cut one short."""
    return all(row.get(name) is not None for name in COLUMNS) and row["iteration"].isdigit()
