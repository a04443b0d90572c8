"""Fractions on the scale of log odds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lysoquant.statistics.comparison import Floats


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
        ``log((fraction n + 1/2) / ((1 - fraction) n + 1/2))``; NaN where `fraction` is or `n` is 0.

    References
    ----------
    Haldane JBS (1956) The estimation and significance of the logarithm of a ratio of frequencies.
    Ann Hum Genet 20:309-311. doi:10.1111/j.1469-1809.1955.tb01285.x
    """
    found = np.log((fraction * n + 0.5) / ((1 - fraction) * n + 0.5))
    return np.where(n > 0, found, np.nan)
