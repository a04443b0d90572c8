"""Tables of the page: frames in, headings and texts of cells out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from lysoquant.report.wording import UNDEFINED, flag_words, fraction, number

MAX_ROWS: Final = 2000
"""Rows of the longest table of the page; the tables on disk have them all."""


@dataclass(frozen=True)
class Column:
    """Heading of a column; `key` is its name in the table on disk; a minor one is not printed."""

    key: str
    title: str
    numeric: bool
    minor: bool = False

    @property
    def style(self) -> str:
        """Its classes on the page."""
        kind = "num" if self.numeric else "wrap" if self.key in ("reason", "wells", "note") else ""
        return f"{kind} minor".strip() if self.minor else kind


@dataclass(frozen=True)
class Cell:
    """Text of a table cell and the value by which it is sorted ("" sorts last)."""

    text: str
    value: str


@dataclass(frozen=True)
class Table:
    """A table to show, the columns left out because nothing is in them, and the number of rows left out at its end."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    empty: Sequence[str] = ()
    n_left_out: int = 0


_WELL_COLUMNS: Final = (
    Column("plate", "Plate", False),
    Column("well", "Well", False),
    Column("condition", "Condition", False),
    Column("replicate", "Rep.", False),
    Column("control", "Control", False),
    Column("flags", "Flags", False),
    Column("n_fields", "Fields", True),
    Column("n_fields_failed", "Failed", True),
    Column("n_cells", "Cells", True),
    Column("n_endolysosomes", "Endolysosomes", True),
    Column("n_empty", "Empty", True),
    Column("n_loaded", "Loaded", True),
    Column("occupancy_mean", "Occupancy", True),
    Column("occupancy_sd", "SD of cells", True),
    Column("occupancy_pooled", "Pooled", True),
    Column("occupancy_ci_low", "CI low", True),
    Column("occupancy_ci_high", "CI high", True),
    Column("area_um2_mean", "Area µm²", True),
    Column("robust_z", "Robust z", True),
    Column("b_score", "B score", True),
)

_HIT_COLUMNS: Final = (
    *("rank", "condition", "dose", "is_hit", "direction", "effect", "effect_ci_low", "effect_ci_high", "p_adjusted"),
    *("n_plates", "n_wells", "n_cells", "n_endolysosomes", "occupancy_pooled", "flags", "reason"),
)

_STATISTICS_COLUMNS: Final = (
    *("plate", "condition", "reference", "factor", "level", "test", "n_condition", "n_reference", "difference"),
    *("ci_low", "ci_high", "p_value", "p_adjusted", "adjustment", "flags", "note"),
)

_TITLES: Final = {
    "is_hit": "Hit",
    "effect_ci_low": "Effect, CI low",
    "effect_ci_high": "Effect, CI high",
    "ssmd": "SSMD",
    "n_plates": "Plates",
    "n_negative": "Negative",
    "n_positive": "Positive",
    "occupancy_median": "Occupancy, median",
    "logit_mad": "MAD of logits",
    "z_prime": "Z′",
    "robust_z_prime": "Robust Z′",
    "robust_ssmd": "Robust SSMD",
    "edge_p_value": "Edge p",
    "row_p_value": "Rows p",
    "column_p_value": "Columns p",
    "drift_per_well": "Drift a well",
    "drift_p_value": "Drift p",
    "n_doses": "Doses",
    "ec50": "EC50",
    "ec50_ci_low": "EC50, CI low",
    "ec50_ci_high": "EC50, CI high",
    "hill": "Hill slope",
    "r_squared": "R²",
    "n_wells": "Wells",
    "n_wells_failed": "Wells failed",
    "n_wells_with_occupancy": "Wells with occupancy",
    "n_cells": "Cells",
    "n_endolysosomes": "Endolysosomes",
    "occupancy_mean": "Occupancy",
    "occupancy_sd": "SD of wells",
    "occupancy_pooled": "Pooled",
    "occupancy_ci_low": "CI low",
    "occupancy_ci_high": "CI high",
    "area_um2_mean": "Area µm²",
    "n_condition": "n",
    "n_reference": "n of reference",
    "ci_low": "CI low",
    "ci_high": "CI high",
    "df": "df",
    "df_denominator": "df below",
    "n_family": "Tests",
    "hedges_g": "Hedges’ g",
    "normality_p": "Normality p",
    "equal_variance_p": "Equal variance p",
    "p_value": "p",
    "p_adjusted": "p adjusted",
}


def well_table(wells: pd.DataFrame) -> Table:
    """The occupancy table."""
    return _table(wells, [column for column in _WELL_COLUMNS if column.key in wells])


def hit_table(hits: pd.DataFrame) -> Table:
    """The hit list, by rank, with what decided first."""
    return _led_by(hits.sort_values("rank", kind="stable") if "rank" in hits else hits, _HIT_COLUMNS)


def plate_table(plates: pd.DataFrame) -> Table:
    """The plates, with what they are flagged for first; the reasons stand apart."""
    return plain_table(_first(plates.drop(columns="reason", errors="ignore"), ("plate", "flags")))


def statistics_table(statistics: pd.DataFrame) -> Table:
    """The tests between conditions, with what decides first."""
    return _led_by(statistics, _STATISTICS_COLUMNS)


def _led_by(frame: pd.DataFrame, columns: Sequence[str]) -> Table:
    """A table with these columns first, the others being minor."""
    ordered = _first(frame, columns)
    return _table(ordered, [_column(ordered, str(key), minor=key not in columns) for key in ordered.columns])


def _first(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The frame with these columns first, as far as it has them."""
    known = [name for name in columns if name in frame]
    return frame[known + [str(name) for name in frame.columns if name not in known]]


def plain_table(frame: pd.DataFrame) -> Table:
    """Any table with all its columns."""
    return _table(frame, [_column(frame, str(key)) for key in frame.columns])


def _column(frame: pd.DataFrame, key: str, *, minor: bool = False) -> Column:
    return Column(key, heading(key), _is_numeric(frame[key]), minor)


def heading(key: str) -> str:
    """Heading of a column; names of cargoes and combinations in it stay as they are typed.

    Examples
    --------
    >>> heading("n_loaded_LC3")
    'Loaded LC3'
    """
    words = key.removeprefix("n_").replace("_", " ")
    return _TITLES.get(key, words[:1].upper() + words[1:])


def _is_numeric(values: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(values))


def _table(frame: pd.DataFrame, columns: Sequence[Column]) -> Table:
    kept = [column for column in columns if not _is_blank(frame[column.key])] if len(frame) else list(columns)
    if "plate" in frame and frame["plate"].nunique() == 1:
        kept = [column for column in kept if column.key != "plate"]
    shown = frame.head(MAX_ROWS)
    rows = [[_cell(row[column.key], column) for column in kept] for row in shown.to_dict("records")]
    empty = [column.key for column in columns if column not in kept and column.key != "plate"]
    return Table(kept, rows, empty, len(frame) - len(shown))


def _is_blank(values: pd.Series[Any]) -> bool:
    return bool((values.isna() | (values.astype(str) == "")).all())


def _cell(value: Any, column: Column) -> Cell:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell(UNDEFINED, "")
    if column.key == "is_hit":
        return Cell("hit" if str(value) == "True" else "no", str(value))
    if not column.numeric:
        text = flag_words(str(value)) if column.key == "flags" else str(value)
        return Cell(text, str(value))
    counted = column.key.startswith("n_") or column.key == "rank" or isinstance(value, int)
    if counted and float(value).is_integer():
        return Cell(f"{int(value):,}", str(int(value)))
    text = fraction(float(value)) if column.key.startswith("occupancy") else number(float(value))
    return Cell(text, repr(float(value)))
