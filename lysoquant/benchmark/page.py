"""Puts the figures of ``make accuracy`` into docs/accuracy.md: ``python -m lysoquant.benchmark.page``.

The page is written by hand; between ``<!-- NAME -->`` and ``<!-- end -->`` stand tables that this module writes.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from lysoquant.errors import InputError

ROOT: Final = Path(__file__).parents[2]
STREAMS: Final = {
    "simulated": "held-out cells",
    "outside": "second simulator",
    "wide": "training's whole range",
    "rescaled": "two pixel sizes",
}
_TARGETS: Final = (
    ("IoU empty", "metrics", "iou_empty", "≥ 0.90"),
    ("IoU loaded", "metrics", "iou_loaded", "≥ 0.90"),
    ("IoU empty, all pixels together", "pooled", "iou_empty_pooled", ""),
    ("IoU loaded, all pixels together", "pooled", "iou_loaded_pooled", ""),
    ("F1 segmentation, parts of the class map", "metrics", "f1_segmentation", "≥ 0.90"),
    ("F1 segmentation, objects", "metrics", "f1_objects", ""),
    ("F1 detection, parts of the class map", "metrics", "f1_detection", "≥ 0.88"),
    ("F1 detection, objects", "metrics", "f1_objects_detection", ""),
    ("AUC empty", "metrics", "auc_empty", "≥ 0.995"),
    ("AUC loaded", "metrics", "auc_loaded", "≥ 0.995"),
    ("class of matched objects right", "metrics", "class_accuracy", ""),
    ("occupancy of a cell, mean absolute error", "metrics", "occupancy_error", "≤ 0.03"),
    ("occupancy, mean of found less true", "pooled", "occupancy_bias", ""),
    ("docked cargo called loaded", "pooled", "docked_called_loaded", "≤ 0.05"),
    ("shift of occupancy at twice the pixel size", "pooled", "pixel_size_shift", "≤ 0.03"),
)
_GROUPS: Final = (
    ("IoU empty", "iou_empty"), ("IoU loaded", "iou_loaded"), ("F1 seg., parts", "f1_segmentation"),
    ("F1 seg., objects", "f1_objects"), ("F1 det., objects", "f1_objects_detection"), ("AUC empty", "auc_empty"),
    ("AUC loaded", "auc_loaded"), ("occupancy error", "occupancy_error"),
)  # fmt: skip


def write_page(figures: Path, page: Path) -> None:
    """Bring the tables of a page up to date.

    Parameters
    ----------
    figures : pathlib.Path
        The folder that ``make accuracy`` left.
    page : pathlib.Path
        The page; text outside of the marks stays.

    Raises
    ------
    InputError
        If a file of figures or a mark is missing.
    """
    tables: Mapping[str, Callable[[], str]] = {
        "streams": lambda: _streams({name: _metrics(figures / name) for name in STREAMS}),
        "conditions": lambda: _conditions(_metrics(figures / "simulated")),
        "baselines": lambda: read_figures(figures / "baselines" / "accuracy.md"),
        "adaptation": lambda: _adaptation(figures / "adaptation" / "adaptation.csv"),
    }
    fill_page(page, {name: table() for name, table in tables.items()})


def fill_page(page: Path, tables: Mapping[str, str]) -> None:
    """Put tables between a page's marks ``<!-- NAME -->`` and ``<!-- end -->``.

    Raises
    ------
    InputError
        If the page or a mark is missing.
    """
    text = read_figures(page)
    for name, table in tables.items():
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not mark.search(text):
            raise InputError(f"{page}: has no '<!-- {name} -->' with '<!-- end -->' after it; put them in")
        filled = table.strip()
        text = mark.sub(lambda found, filled=filled: f"{found[1]}{filled}\n{found[2]}", text)  # type: ignore[misc]
    page.write_text(text, encoding="utf-8")


def read_figures(path: Path) -> str:
    """Text of a page or of a file of figures.

    Raises
    ------
    InputError
        If it is missing.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist; make it with `make accuracy`")
    return path.read_text(encoding="utf-8")


def _metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_figures(folder / "metrics.json"))
    return found


def _streams(found: Mapping[str, dict[str, Any]]) -> str:
    lines = [["", *(f"{title}, n = {found[name]['n']}" for name, title in STREAMS.items()), "target", "paper"]]
    for title, kind, key, target in _TARGETS:
        figures = [_figure(document[kind][key], digits=4 if "auc" in key else 3) for document in found.values()]
        lines.append([title, *figures, target, found["simulated"]["paper"].get(key, "")])
    return _table(lines)


def _conditions(document: dict[str, Any]) -> str:
    lines = [["", "n", *(title for title, _ in _GROUPS), "docked → loaded"]]
    for name, group in document["groups"].items():
        if "," not in name:
            figures = [_figure(group["metrics"][key]["mean"], digits=4 if "auc" in key else 3) for _, key in _GROUPS]
            lines.append([name, str(group["n"]), *figures, _figure(group["pooled"]["docked_called_loaded"])])
    return _table(lines)


def _adaptation(path: Path) -> str:
    read_figures(path)
    table = pd.read_csv(path)
    lines = [[name.replace("_", " ") for name in table.columns]]
    for row in table.itertuples(index=False):
        lines.append([row[0], *(_figure(None if pd.isna(value) else float(value)) for value in row[1:])])
    return _table(lines)


def _figure(value: Any, *, digits: int = 3) -> str:
    if isinstance(value, dict):
        if value["mean"] is None:
            return "–"
        spread = "" if value["sd"] is None else f" ± {value['sd']:.{digits}f}"
        return f"{value['mean']:.{digits}f}{spread}"
    if value is None:
        return "–"
    return f"{value:.0f}" if value > 1 and value == int(value) else f"{value:.{digits}f}"


def _table(lines: list[list[str]]) -> str:
    rows = ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join([rows[0], "|" + "---|" * len(lines[0]), *rows[1:]])


if __name__ == "__main__":
    write_page(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "accuracy", ROOT / "docs" / "accuracy.md")
