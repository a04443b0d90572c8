"""What an evaluation leaves behind: a table of images, a JSON file, and the summary for the screen."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Final

import pandas as pd

from lysoquant.evaluate.run import ALL, METRICS, Evaluation, groups, pool, summarise
from lysoquant.metrics.summary import MeanSd
from lysoquant.record import Json, versions

PAPER: Final = {
    "iou_empty": "0.881 ± 0.012",
    "iou_loaded": "0.877 ± 0.014",
    "f1_segmentation_empty": "0.752 ± 0.134",
    "f1_segmentation_loaded": "0.814 ± 0.100",
    "f1_detection_empty": "0.777 ± 0.136",
    "f1_detection_loaded": "0.790 ± 0.055",
    "auc_empty": "0.9943",
    "auc_loaded": "0.9947",
}
"""Figures of the paper's network on its three validation images (Figure 3)."""

_GROUP_COLUMNS: Final = (
    ("IoU empty", "iou_empty"),
    ("IoU loaded", "iou_loaded"),
    ("F1 seg.", "f1_segmentation"),
    ("F1 det.", "f1_detection"),
    ("F1 obj.", "f1_objects"),
    ("occ. error", "occupancy_error"),
)
_AUC_DIGITS: Final = 4


def write_report(folder: Path, evaluation: Evaluation, *, data: str, seed: int | None, device: str) -> list[Path]:
    """Write ``scores.csv`` and ``metrics.json`` into a folder that exists.

    Parameters
    ----------
    data : str
        What the examples are: ``simulated``, ``outside``, or the name of a folder.
    seed : int or None
        Seed of the examples; None for a folder.
    device : str
        Where the network ran.

    Returns
    -------
    list of pathlib.Path
        The files.
    """
    scores, metrics = folder / "scores.csv", folder / "metrics.json"
    evaluation.table.to_csv(scores, index=False, lineterminator="\n", float_format="%.6g")
    content = document(evaluation, data=data, seed=seed, device=device)
    metrics.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    return [scores, metrics]


def document(evaluation: Evaluation, *, data: str, seed: int | None, device: str) -> Json:
    """The content of ``metrics.json``; what is undefined is null."""
    every = groups(evaluation.table)
    return {
        "model": {"name": evaluation.model.card.name, "sha256": evaluation.model.sha256},
        "data": data,
        "seed": seed,
        "n": len(evaluation.table),
        "device": device,
        "versions": versions(),
        **_figures(every.pop(ALL)),
        "groups": {name: {"n": len(rows), **_figures(rows)} for name, rows in every.items()},
        "paper": dict(PAPER),
    }


def summary_text(evaluation: Evaluation) -> str:
    """Mean ± SD (n) of every figure beside the paper's, the pooled figures, and a line for each group."""
    table = evaluation.table
    summary = summarise(table)
    lines = [f"{'mean ± SD (images)':<26}{'found':<26}paper (3 images)"]
    lines += [f"{metric:<26}{_text(metric, summary[metric]):<26}{PAPER.get(metric, '')}".rstrip() for metric in METRICS]
    lines += ["", "over all images"]
    lines += [f"{name:<26}{_number(value)}" for name, value in pool(table).items()]
    lines += _undefined(table)
    others = {name: rows for name, rows in groups(table).items() if name != ALL}
    if others:
        width = max(len(name) for name in others) + 2
        titles = "".join(f"{title:>12}" for title, _ in _GROUP_COLUMNS)
        lines += ["", f"{'means of groups':<{width}}{'n':>4}{titles}{'docked → loaded':>18}"]
        lines += [_group_line(name, rows, width) for name, rows in others.items()]
    return "\n".join(lines)


def _figures(rows: pd.DataFrame) -> Json:
    summary = {
        metric: {"mean": _null(value.mean), "sd": _null(value.sd), "n": value.n}
        for metric, value in summarise(rows).items()
    }
    return {"metrics": summary, "pooled": {name: _null(value) for name, value in pool(rows).items()}}


def _group_line(name: str, rows: pd.DataFrame, width: int) -> str:
    summary, docked = summarise(rows), pool(rows)["docked_called_loaded"]
    cells = "".join(f"{_number(summary[metric].mean):>12}" for _, metric in _GROUP_COLUMNS)
    return f"{name:<{width}}{len(rows):>4}{cells}{_number(docked):>18}"


def _undefined(table: pd.DataFrame) -> list[str]:
    """Cells with endolysosomes of which none was found, or the other way round: their error is undefined."""
    count = int((table["occupancy_error"].isna() & (table["n_true"] + table["n_found"] > 0)).sum())
    return [f"{count} images have endolysosomes in the truth or the result only: no occupancy error"] if count else []


def _text(metric: str, value: MeanSd) -> str:
    return value.text(digits=_AUC_DIGITS if metric.startswith("auc") else 3)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value
