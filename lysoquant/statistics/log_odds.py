"""Fractions on the scale of log odds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lysoquant.statistics.comparison import Floats


def empirical_logit(*, n_empty: NDArray[np.int64] | Floats, n_loaded: NDArray[np.int64] | Floats) -> Floats:
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


def log_odds(fraction: Floats, *, n: NDArray[np.int64]) -> Floats:
    """Log odds of fractions of `n` things, finite also for 0 and 1.

    Parameters
    ----------
    fraction : ndarray of float64, shape (n_values,)
        In [0, 1]; NaN where there is nothing.
    n : ndarray of int64, shape (n_values,)
        Endolysosomes that each fraction is of.

    Returns
    -------
    ndarray of float64, shape (n_values,)
        As :func:`empirical_logit` of `fraction` times `n` loaded ones; NaN where `fraction` is or `n` is 0.
    """
    return empirical_logit(n_empty=(1 - fraction) * n, n_loaded=fraction * n)
