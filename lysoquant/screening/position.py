"""Does the position of a well on its plate, or its turn at the microscope, show in its value?"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, kruskal, mannwhitneyu, theilslopes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FORMATS: Final = {
    "6": (2, 3),
    "12": (3, 4),
    "24": (4, 6),
    "48": (6, 8),
    "96": (8, 12),
    "384": (16, 24),
    "1536": (32, 48),
}
"""Rows and columns of a plate by its number of wells."""

_AUTO: Final = ("96", "384", "1536")


def plate_shape(*, rows: Ints, columns: Ints, plate_format: str) -> tuple[int, int] | None:
    """Rows and columns of a plate.

    Parameters
    ----------
    rows, columns : ndarray of int64, shape (n_wells,)
        Row from 0 and column from 1 of every well of the plate.
    plate_format : str
        A key of :data:`FORMATS`, or ``auto`` for the smallest of 96, 384 and 1536 that holds all wells.

    Returns
    -------
    tuple of int or None
        None where a well lies outside of the format.
    """
    for name in _AUTO if plate_format == "auto" else (plate_format,):
        n_rows, n_columns = FORMATS[name]
        if not rows.size or (rows.max() < n_rows and columns.max() <= n_columns):
            return n_rows, n_columns
    return None


def on_edge(*, rows: Ints, columns: Ints, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether each well is in the plate's first or last row or column, shape (n_wells,)."""
    n_rows, n_columns = shape
    return np.asarray((rows == 0) | (rows == n_rows - 1) | (columns == 1) | (columns == n_columns))


def edge_effect(values: Floats, edge: NDArray[np.bool_]) -> tuple[float, float]:
    """Median of the edge wells less that of the others, and the p value of a Mann-Whitney test, two-sided.

    Parameters
    ----------
    values : ndarray of float64, shape (n_wells,)
        Finite values.
    edge : ndarray of bool, shape (n_wells,)
        See :func:`on_edge`.

    Returns
    -------
    tuple of float
        Both NaN with fewer than three wells on a side.
    """
    outer, inner = values[edge], values[~edge]
    if outer.size < 3 or inner.size < 3:
        return math.nan, math.nan
    p_value = float(mannwhitneyu(outer, inner, alternative="two-sided").pvalue)
    return float(np.median(outer) - np.median(inner)), p_value


def line_p_value(values: Floats, lines: Ints) -> float:
    """p value of a Kruskal-Wallis test over rows, or over columns.

    Parameters
    ----------
    values : ndarray of float64, shape (n_wells,)
        Finite values.
    lines : ndarray of int64, shape (n_wells,)
        Row or column of each well.

    Returns
    -------
    float
        NaN with fewer than two lines of at least two wells, or where all values are equal. Lines of a single well do
        not enter.
    """
    groups = [group for line in np.unique(lines) if (group := values[lines == line]).size > 1]
    if len(groups) < 2 or np.ptp(np.concatenate(groups)) == 0:
        return math.nan
    return float(kruskal(*groups).pvalue)


def acquisition_rank(*, rows: Ints, columns: Ints, order: str) -> Ints:
    """Turn of each well of a plate, from 0, by the order of its imaging.

    Parameters
    ----------
    rows, columns : ndarray of int64, shape (n_wells,)
        Row and column of each well.
    order : str
        ``rows``, ``rows_snake``, ``columns`` or ``columns_snake``; snake: every other line backwards.
    """
    outer, inner = (rows, columns) if order.startswith("rows") else (columns, rows)
    if order.endswith("_snake"):
        turn = np.unique(outer, return_inverse=True)[1]
        inner = np.where(turn % 2 == 1, -inner, inner)
    rank = np.empty(rows.size, dtype=np.int64)
    rank[np.lexsort((inner, outer))] = np.arange(rows.size)
    return rank


def drift(values: Floats, rank: Ints) -> tuple[float, float]:
    """Theil-Sen slope of the values over the wells' turn, and the p value of Kendall's tau, two-sided.

    Parameters
    ----------
    values : ndarray of float64, shape (n_wells,)
        Finite values.
    rank : ndarray of int64, shape (n_wells,)
        See :func:`acquisition_rank`.

    Returns
    -------
    tuple of float
        Slope per well; both NaN with fewer than six wells or where all values are equal.

    References
    ----------
    Sen PK (1968) Estimates of the regression coefficient based on Kendall's tau. J Am Stat Assoc 63:1379-1389.
    doi:10.1080/01621459.1968.10480934
    """
    if values.size < 6 or np.ptp(values) == 0:
        return math.nan, math.nan
    return float(theilslopes(values, rank).slope), float(kendalltau(values, rank).pvalue)
