"""A well's occupancy against its plate: robust z and B score, on the log odds of loaded against empty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAD_TO_SD: Final = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_OUTER: Final = 1.2815515655446004
"""80 % quantile of the absolute value of a standard normal variable."""

_CUT: Final = 2.5
_VARIANCE_WITHIN_CUT: Final = 0.9112563609
"""Variance of a standard normal variable within 2.5 of 0."""

_NO_SPREAD: Final = 1e-9
"""A median absolute deviation (in logits) below this is rounding, not spread."""

_MAX_SWEEPS: Final = 100
_CONVERGED: Final = 1e-12


def robust_z(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each well from the plate's median, in robust standard deviations.

    Parameters
    ----------
    values : ndarray of float64, shape (n_wells,)
        One value a well of one plate (here the empirical logit of occupancy); NaN for wells without one.

    Returns
    -------
    ndarray of float64, shape (n_wells,)
        ``(x - median) / (1.4826 MAD)``. All NaN with fewer than three values, or when more than half are equal
        (MAD is 0).

    References
    ----------
    Birmingham A et al. (2009) Statistical methods for analysis of high-throughput RNA interference screens.
    Nat Methods 6:569-575. doi:10.1038/nmeth.1351
    """
    known = np.isfinite(values)
    if known.sum() < 3:
        return np.full(values.shape, np.nan)
    centred = values - np.median(values[known])
    return _over_mad(centred)


def b_score(*, values: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance of each well from what its row and column let expect, in robust standard deviations.

    Tukey's two-way median polish takes out row and column effects of the plate; the residual is divided by
    1.4826 MAD of all residuals. It presumes that most wells of a row and of a column are alike: where a condition
    fills a whole row or column, the score takes the condition out as well.

    Parameters
    ----------
    values : ndarray of float64, shape (n_wells,)
        One value a well of one plate (here the empirical logit of occupancy); NaN for wells without one.
    rows, columns : ndarray of int64, shape (n_wells,)
        Position of each well on the plate; each position once.

    Returns
    -------
    ndarray of float64, shape (n_wells,)
        All NaN with fewer than two rows, two columns or six wells that have a value, or when the MAD is 0.

    References
    ----------
    Brideau C, Gunter B, Pikounis B, Liaw A (2003) Improved statistical methods for hit selection in high-throughput
    screening. J Biomol Screen 8:634-647. doi:10.1177/1087057103258285
    """
    known = np.isfinite(values)
    scores = np.full(values.shape, np.nan)
    row_names, row = np.unique(rows[known], return_inverse=True)
    column_names, column = np.unique(columns[known], return_inverse=True)
    if known.sum() < 6 or row_names.size < 2 or column_names.size < 2:
        return scores
    grid = np.full((row_names.size, column_names.size), np.nan)
    grid[row, column] = values[known]
    scores[known] = _over_mad(_median_polish(grid).residuals[row, column])
    return scores


def plate_surface(
    *, values: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64], fit: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """What each well's row and column let expect, from a median polish of some of the plate's wells.

    Parameters
    ----------
    values, rows, columns : ndarray, shape (n_wells,)
        As in :func:`b_score`.
    fit : ndarray of bool, shape (n_wells,)
        Wells that the row and column effects are taken from; each has a finite value.

    Returns
    -------
    ndarray of float64, shape (n_wells,)
        Also of the wells that are not in `fit`; a row or column without any of its wells in `fit` is taken for the
        median one. All NaN with fewer than two rows, two columns or six wells in `fit`.
    """
    row_names, row = np.unique(rows[fit], return_inverse=True)
    column_names, column = np.unique(columns[fit], return_inverse=True)
    if fit.sum() < 6 or row_names.size < 2 or column_names.size < 2:
        return np.full(values.shape, np.nan)
    grid = np.full((row_names.size, column_names.size), np.nan)
    grid[row, column] = values[fit]
    polished = _median_polish(grid)
    of_row = dict(zip(row_names.tolist(), polished.rows.tolist(), strict=True))
    of_column = dict(zip(column_names.tolist(), polished.columns.tolist(), strict=True))
    other_row, other_column = float(np.median(polished.rows)), float(np.median(polished.columns))
    return np.array(
        [
            of_row.get(r, other_row) + of_column.get(c, other_column)
            for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
    )


def robust_sd(values: NDArray[np.float64]) -> float:
    """1.4826 times the median absolute deviation of finite values; NaN without values or without spread."""
    if not values.size:
        return float("nan")
    mad = float(np.median(np.abs(values - np.median(values))))
    return MAD_TO_SD * mad if mad > _NO_SPREAD else float("nan")


def outer_sd(values: NDArray[np.float64]) -> float:
    """Standard deviation of inactive wells after a median polish, robust against active ones.

    The polish fits the middle of each row and column, so that many residuals are nearly 0 and their MAD is too small:
    for normal values 0.87 of their standard deviation before the polish on 384 wells and 0.73 on 96, where the
    residuals' own is 0.97 and 0.93. Their 80 % quantile, which is not from the middle, gives 0.97 and 0.91.

    Parameters
    ----------
    values : ndarray of float64, shape (n_wells,)
        Finite values.

    Returns
    -------
    float
        80 % quantile of the distance from the median, over that of a normal distribution; NaN where it is 0.
    """
    distance = float(np.quantile(np.abs(values - np.median(values)), 0.8))
    return distance / _OUTER if distance > _NO_SPREAD else float("nan")


def inner_sd(values: NDArray[np.float64]) -> float:
    """Standard deviation of the inactive ones among values, some of which are active and lie far out.

    Values within 2.5 standard deviations of the median are taken for inactive, and their standard deviation is that of
    a normal distribution cut there; repeated until it stays. Active ones beyond that do not widen it, as they widen a
    quantile: with a tenth of normal values replaced by far ones :func:`outer_sd` is 1.24 times too large.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Finite values.

    Returns
    -------
    float
        That of :func:`outer_sd` where so many values are equal that the others lie far out.
    """
    distance, found = np.abs(values - np.median(values)), robust_sd(values)
    for _ in range(_MAX_SWEEPS):
        before, inner = found, distance[distance <= _CUT * found]
        found = float(np.sqrt((inner**2).mean() / _VARIANCE_WITHIN_CUT)) if inner.size else float("nan")
        if not abs(found - before) > _CONVERGED * before:
            break
    return found if found > _NO_SPREAD else outer_sd(values)


@dataclass(frozen=True)
class _Polish:
    """Residuals and effects of a median polish; the plate's overall level is in the effects of the rows."""

    residuals: NDArray[np.float64]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]


def _median_polish(grid: NDArray[np.float64]) -> _Polish:
    """Tukey's median polish, rows first; NaN cells stay NaN and every row and column has a value."""
    residuals = grid.copy()
    rows, columns = np.zeros(grid.shape[0]), np.zeros(grid.shape[1])
    before = np.nansum(np.abs(residuals))
    for _ in range(_MAX_SWEEPS):
        of_rows = np.nanmedian(residuals, axis=1)
        residuals -= of_rows[:, None]
        of_columns = np.nanmedian(residuals, axis=0)
        residuals -= of_columns[None, :]
        rows, columns = rows + of_rows, columns + of_columns
        after = np.nansum(np.abs(residuals))
        if abs(before - after) <= _CONVERGED * max(before, 1.0):
            break
        before = after
    return _Polish(residuals, rows, columns)


def _over_mad(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values over 1.4826 times their median absolute deviation from their own median; NaN where that is 0."""
    return centred / robust_sd(centred[np.isfinite(centred)])
