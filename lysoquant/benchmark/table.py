"""The table of the comparison as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from lysoquant.benchmark.accuracy import METRICS, Row
from lysoquant.benchmark.baselines.method import Parameters
from lysoquant.metrics.summary import MeanSd

T = TypeVar("T")


def write_table(rows: Sequence[Row], folder: Path, *, about: Mapping[str, str | int]) -> list[Path]:
    """Write ``accuracy.csv``, ``accuracy.json`` and ``accuracy.md``; returns their paths.

    Parameters
    ----------
    about : mapping
        Seeds, numbers of cells, versions: what another needs to make the table again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"accuracy.{kind}" for kind in ("csv", "json", "md")]
    with paths[0].open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        records = [_record(row) for row in rows]
        writer.writerow(list(records[0]) if records else [])
        writer.writerows(list(record.values()) for record in records)
    document = {"about": dict(about), "methods": [_document(row) for row in rows]}
    paths[1].write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    paths[2].write_text(markdown(rows, about=about), encoding="utf-8")
    return paths


def markdown(rows: Sequence[Row], *, about: Mapping[str, str | int]) -> str:
    """The table for a page: mean ± standard deviation over images, the paper's figure beside it, then each method."""
    titles = ["method", *METRICS.values(), "images", "paper IoU", "paper F1"]
    lines = [_line(titles), _line(["---"] * len(titles))]
    for row in rows:
        paper = [row.paper.iou, row.paper.f1] if row.paper else ["–", "–"]
        figures = [_text(row.metrics[metric]) for metric in METRICS]
        if row.skipped:
            figures = [f"skipped: {row.skipped}", *["–"] * (len(METRICS) - 1)]
        lines.append(_line([row.title, *figures, str(row.n_images), *paper]))
    notes = [f"* **{row.title}**: {row.is_what}{_chosen(row)}" for row in rows]
    made = ", ".join(f"{name} {value}" for name, value in about.items())
    return "\n".join([*lines, "", *notes, "", f"Made with {made}.", ""])


def parameters_text(parameters: Parameters) -> str:
    """``sigma_px=1, threshold=0.2``."""
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in parameters.items()
    )


def _chosen(row: Row) -> str:
    if not row.parameters:
        return ""
    score = "" if math.isnan(row.tuning_score) else f"; on the tuning cells {row.tuning_score:.3f}"
    return f" Chosen: {parameters_text(row.parameters)}{score}."


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _text(value: MeanSd) -> str:
    if math.isnan(value.mean):
        return "–"
    return f"{value.mean:.3f}" if math.isnan(value.sd) else f"{value.mean:.3f} ± {value.sd:.3f}"


def _record(row: Row) -> dict[str, str | float | int]:
    """A line of the CSV; undefined figures are empty."""
    record: dict[str, str | float | int] = {
        "method": row.name,
        "title": row.title,
        "status": "skipped" if row.skipped else "ok",
        "reason": row.skipped,
        "n_images": row.n_images,
    }
    for metric, value in row.metrics.items():
        record |= {
            f"{metric}_mean": _known(value.mean, ""),
            f"{metric}_sd": _known(value.sd, ""),
            f"{metric}_n": value.n,
        }
    return record | {
        "tuning_score": _known(row.tuning_score, ""),
        "parameters": parameters_text(row.parameters),
        "paper_counterpart": row.paper.counterpart if row.paper else "",
        "paper_iou": row.paper.iou if row.paper else "",
        "paper_f1": row.paper.f1 if row.paper else "",
    }


def _document(row: Row) -> dict[str, object]:
    """A method in the JSON; undefined figures are null."""
    return {
        "name": row.name,
        "title": row.title,
        "is_what": row.is_what,
        "skipped": row.skipped or None,
        "n_images": row.n_images,
        "metrics": {
            metric: {"mean": _known(value.mean, None), "sd": _known(value.sd, None), "n": value.n}
            for metric, value in row.metrics.items()
        },
        "tuning_score": _known(row.tuning_score, None),
        "parameters": dict(row.parameters),
        "paper": asdict(row.paper) if row.paper else None,
    }


def _known(value: float, otherwise: T) -> float | T:
    return otherwise if math.isnan(value) else value
