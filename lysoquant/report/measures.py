"""Which numbers a well and a cell have, how they are called and on which scale they are shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

FRACTION: Final = "fraction"
COUNT: Final = "count"
SCORE: Final = "score"
NUMBER: Final = "number"

_NOT_MEASURED: Final = frozenset({"plate", "well", "row", "column", "field", "cell", "label"})
_SHOWN_OF_A_CELL: Final = (
    "occupancy",
    "n_endolysosomes",
    "n_loaded",
    "n_empty",
    "area_um2",
    "is_expressing",
    "touches_border",
)
"""Columns of a cell that its row in a well's panel shows; they come first and are never left out."""

_FLAGS: Final = ("is_expressing", "touches_border")
_POSITIONS: Final = re.compile(r"(mean_)?centroid_[yx]_um")
_SCORES: Final = re.compile(r"(robust_z|b_score|ssmd|.*_z|.*_score|score)")
_NOT_SCORES: Final = re.compile(r"focus_score.*")
_FRACTIONS: Final = re.compile(r"occupancy(_mean|_pooled|_ci_low|_ci_high)?|(mean_)?p_loaded")
"""Shares that fill the scale from 0 to 1; others, such as circularity, would all have one colour on it."""

_UNITS: Final = (("um2", "µm²"), ("um", "µm"), ("px", "px"))
_WORDS: Final = {
    "n_cells": "cells",
    "n_endolysosomes": "endolysosomes",
    "n_empty": "empty endolysosomes",
    "n_loaded": "loaded endolysosomes",
    "n_fields": "fields",
    "n_fields_failed": "failed fields",
    "n_cells_expressing": "expressing cells",
    "occupancy_mean": "occupancy",
    "occupancy_sd": "occupancy, SD of cells",
    "occupancy_pooled": "occupancy, pooled",
    "occupancy_ci_low": "occupancy, lower end of interval",
    "occupancy_ci_high": "occupancy, upper end of interval",
    "area_um2_mean": "area of an endolysosome, µm²",
    "robust_z": "robust z",
    "b_score": "B score",
    "is_expressing": "expressing",
    "touches_border": "touches the border",
}


@dataclass(frozen=True)
class Measure:
    """One number of wells or cells.

    Attributes
    ----------
    key : str
        Its column in the table on disk; of a mean over cells, ``cells:`` and the column.
    title : str
        Its name for people, with the unit.
    group : str
        Heading under which it is offered.
    kind : str
        Scale: ``fraction`` (0 to 1), ``count`` (from 0), ``score`` (0 in the middle) or ``number``.
    """

    key: str
    title: str
    group: str
    kind: str


def title(key: str) -> str:
    """Name of a column for people.

    Examples
    --------
    >>> title("mean_distance_to_nucleus_um")
    'endolysosomes’ distance to nucleus, µm'
    """
    if key in _WORDS:
        return _WORDS[key]
    if key.startswith("n_"):
        return f"number of {key[2:].replace('_', ' ')}"
    words, whose = (key[5:], "endolysosomes’ ") if key.startswith("mean_") else (key, "")
    unit = ""
    for ending, sign in _UNITS:
        if words.endswith(f"_{ending}"):
            words, unit = words[: -len(ending) - 1], f", {sign}"
            break
    return f"{whose}{words.replace('_', ' ')}{unit}"


def kind(key: str, values: Sequence[float] | npt.NDArray[np.float64]) -> str:
    """Scale on which a column is shown."""
    if key.startswith("n_"):
        return COUNT
    if _SCORES.fullmatch(key) and not _NOT_SCORES.fullmatch(key):
        return SCORE
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    within = not known.size or (known.min() >= 0 and known.max() <= 1)
    return FRACTION if _FRACTIONS.fullmatch(key) and within else NUMBER


def cell_columns(cells: pd.DataFrame) -> list[str]:
    """Columns of the cell table that are measurements, those that a cell's row shows first."""
    numeric = [str(name) for name in cells.columns if pd.api.types.is_numeric_dtype(cells[name])]
    numeric += [str(name) for name in cells.columns if pd.api.types.is_bool_dtype(cells[name]) and name not in numeric]
    own = [name for name in numeric if name not in _NOT_MEASURED and not _POSITIONS.fullmatch(name)]
    first = [name for name in _SHOWN_OF_A_CELL if name in own]
    return first + [name for name in own if name not in first]


def compared_columns(cells: pd.DataFrame) -> list[str]:
    """Columns by which cells are compared with others of their condition: neither flags nor what others imply."""
    left_out = {"is_expressing", "touches_border", "n_empty", "n_loaded"}
    return [name for name in cell_columns(cells) if name not in left_out]


def own_numbers(wells: pd.DataFrame) -> pd.DataFrame:
    """Columns of the plate map that hold numbers only, such as doses: they stand after ``reason``, often as text."""
    names = [str(name) for name in wells.columns]
    later = names[names.index("reason") + 1 :] if "reason" in names else []
    found = {}
    for name in later:
        if not pd.api.types.is_numeric_dtype(wells[name]):
            text = wells[name].astype(object).where(wells[name].notna(), "").astype(str)
            numbers = pd.to_numeric(text.where(text != ""), errors="coerce")
            if (text != "").any() and numbers.notna().sum() == (text != "").sum():
                found[name] = numbers
    return pd.DataFrame(found, index=wells.index, dtype=np.float64)


def well_columns(wells: pd.DataFrame) -> list[str]:
    """Numeric columns of the well table, those that are looked at most first."""
    numeric = [
        str(name)
        for name in wells.columns
        if pd.api.types.is_numeric_dtype(wells[name])
        and not pd.api.types.is_bool_dtype(wells[name])
        and name not in _NOT_MEASURED
    ]
    first = [name for name in ("occupancy_mean", "n_endolysosomes", "n_cells") if name in numeric]
    return first + [name for name in numeric if name not in first]


def means_over_cells(cells: pd.DataFrame, columns: Sequence[str], counted: npt.NDArray[np.bool_]) -> pd.DataFrame:
    """Mean of each column over the counted cells of each well.

    Parameters
    ----------
    cells : pandas.DataFrame
        ``plate``, ``well`` and the columns.
    counted : ndarray, shape (n,), bool
        Cells that enter; of ``is_expressing`` and ``touches_border``, the share of all cells is taken.

    Returns
    -------
    pandas.DataFrame
        One row a well with cells, indexed by plate and well.
    """
    values = cells[list(columns)].astype(np.float64)
    values.loc[~counted, [name for name in columns if name not in _FLAGS]] = np.nan
    return values.groupby([cells["plate"], cells["well"]], sort=True).mean()


def well_measures(wells: pd.DataFrame, means: pd.DataFrame) -> list[tuple[Measure, list[float]]]:
    """Every number of the wells with its values in the order of `wells`; what holds nothing is left out.

    Parameters
    ----------
    wells : pandas.DataFrame
        The well table.
    means : pandas.DataFrame
        What :func:`means_over_cells` found.
    """
    found: list[tuple[Measure, list[float]]] = []

    def add(key: str, name: str, group: str, scale: str, values: npt.NDArray[np.float64]) -> None:
        if not np.isnan(values).all():
            found.append((Measure(key, name, group, scale), values.tolist()))

    for key in well_columns(wells):
        values = wells[key].to_numpy(dtype=np.float64)
        scale = kind(key, values)
        add(key, _capital(title(key)), "Scores" if scale == SCORE else "Wells", scale, values)
    for name, numbers in own_numbers(wells).items():
        add(str(name), str(name), "From the plate map", NUMBER, numbers.to_numpy(dtype=np.float64))
    rows = means.reindex(pd.MultiIndex.from_arrays([wells["plate"], wells["well"]]))
    for key in means.columns:
        values = rows[key].to_numpy(dtype=np.float64)
        share = key in _FLAGS
        scale = FRACTION if share else NUMBER if key.startswith("n_") else kind(key, values)
        name = f"{_capital(title(key))} ({'share' if share else 'mean'} of cells)"
        add(f"cells:{key}", name, "Means over cells", scale, values)
    return found


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
