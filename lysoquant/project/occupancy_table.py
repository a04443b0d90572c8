"""The occupancy table, as a run shows it at its end."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lysoquant.errors import StageError

TABLE_COLUMNS: Final = (
    "plate",
    "well",
    "condition",
    "n_cells",
    "n_empty",
    "n_loaded",
    "occupancy_mean",
    "occupancy_sd",
    "occupancy_pooled",
    "flags",
)
"""Columns of ``wells.csv`` that are shown after a run."""


def occupancy_table(path: Path, *, max_rows: int = 24) -> str:
    """The main columns of ``wells.csv``, aligned, for a terminal.

    Parameters
    ----------
    path : pathlib.Path
        ``wells.csv``.
    max_rows : int
        Wells shown; of the others only the number.

    Raises
    ------
    StageError
        If there is no table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except OSError as error:
        raise StageError(f"{path}: {error.strerror}; run `lysoquant aggregate PROJECT`") from error
    shown = [[_cell(row.get(column, "")) for column in TABLE_COLUMNS] for row in rows[:max_rows]]
    widths = [max(map(len, column)) for column in zip(TABLE_COLUMNS, *shown, strict=True)]
    numeric = [column.startswith(("n_", "occupancy")) for column in TABLE_COLUMNS]
    lines = [_aligned(cells, widths, numeric) for cells in (TABLE_COLUMNS, *shown)]
    if len(rows) > max_rows:
        lines.append(f"... and {len(rows) - max_rows} more wells in {path}")
    return "\n".join(lines)


def _aligned(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    )
    return "  ".join(padded).rstrip()


def _cell(text: str) -> str:
    """A value for the terminal: fractions with three decimals, control characters of a sheet left out."""
    if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text):
        return f"{float(text):.3f}"
    return "".join(letter for letter in text if letter.isprintable())
