"""A well's occupancy against its plate: robust z and B score."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

MAD_TO_SD: Final = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_NO_SPREAD: Final = 1e-9
"""A median absolute deviation (in logits) below this is rounding, not spread."""

_MAX_SWEEPS: Final = 100
_CONVERGED: Final = 1e-12


def empirical_logit(*, n_empty: NDArray[np.int64], n_loaded: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log odds of loaded against empty, finite also where a well has only one class.

    Occupancy is a fraction whose spread shrinks towards 0 and 1; on this scale distances mean the same everywhere.

    Parameters
    ----------
    n_empty, n_loaded : ndarray of int64, shape (n_wells,)
        Endolysosomes of each well by class.

    Returns
    -------
    ndarray of float64, shape (n_wells,)
        ``log((n_loaded + 0.5) / (n_empty + 0.5))``; NaN for a well without endolysosomes.

    References
    ----------
    Haldane JBS (1956) The estimation and significance of the logarithm of a ratio of frequencies.
    Ann Hum Genet 20:309-311. doi:10.1111/j.1469-1809.1955.tb01285.x
    """
    logit = np.log((n_loaded + 0.5) / (n_empty + 0.5))
    return np.where(n_empty + n_loaded > 0, logit, np.nan)


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
    scores[known] = _over_mad(_median_polish(grid)[row, column])
    return scores


def _median_polish(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Residuals of Tukey's median polish, rows first; NaN cells stay NaN and every row and column has a value."""
    residuals = grid.copy()
    before = np.nansum(np.abs(residuals))
    for _ in range(_MAX_SWEEPS):
        residuals -= np.nanmedian(residuals, axis=1, keepdims=True)
        residuals -= np.nanmedian(residuals, axis=0, keepdims=True)
        after = np.nansum(np.abs(residuals))
        if abs(before - after) <= _CONVERGED * max(before, 1.0):
            break
        before = after
    return residuals


def _over_mad(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values over 1.4826 times their median absolute deviation from their own median; NaN where that is 0."""
    known = centred[np.isfinite(centred)]
    mad = float(np.median(np.abs(known - np.median(known))))
    if mad <= _NO_SPREAD:
        return np.full(centred.shape, np.nan)
    return centred / (MAD_TO_SD * mad)
