"""p values of a family of tests, adjusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from scipy.stats import false_discovery_control

from lysoquant.statistics.comparison import Floats

Adjustment = Literal["bh", "holm", "sidak", "none"]

ADJUSTMENTS: Final[Mapping[Adjustment, str]] = {
    "bh": "Benjamini-Hochberg",
    "holm": "Holm",
    "sidak": "Sidak",
    "none": "none",
}
"""What a table calls each way of adjusting."""


def adjust(p_values: Floats, *, method: Adjustment = "bh") -> Floats:
    """Adjusted p values of one family of tests.

    Parameters
    ----------
    p_values : ndarray of float64, shape (n,)
        NaN where there was no test: it stays NaN and does not count.
    method : str
        bh: Benjamini and Hochberg's false discovery rate [1]_. holm, sidak: the chance of any false alarm, Holm's step
        down after Bonferroni [2]_, or Sidak's ``1 - (1 - p)^n`` [3]_. none: as they are.

    Returns
    -------
    ndarray of float64, shape (n,)

    References
    ----------
    .. [1] Benjamini Y, Hochberg Y (1995) Controlling the false discovery rate. J R Stat Soc B 57:289-300.
       doi:10.1111/j.2517-6161.1995.tb02031.x
    .. [2] Holm S (1979) A simple sequentially rejective multiple test procedure. Scand J Stat 6:65-70.
    .. [3] Sidak Z (1967) Rectangular confidence regions for the means of multivariate normal distributions.
       J Am Stat Assoc 62:626-633. doi:10.1080/01621459.1967.10482935
    """
    adjusted = np.full(p_values.shape, np.nan)
    known = np.isfinite(p_values)
    if known.any():
        adjusted[known] = _adjusted(p_values[known], method)
    return adjusted


def _adjusted(p: Floats, method: Adjustment) -> Floats:
    if method == "bh":
        return np.asarray(false_discovery_control(p, method="bh"))
    if method == "sidak":
        # As a sum of logarithms: 1 - p is 1 for a p below 1e-16.
        with np.errstate(divide="ignore"):
            return np.asarray(-np.expm1(p.size * np.log1p(-p)))
    if method == "holm":
        order = np.argsort(p, kind="stable")
        stepped = np.maximum.accumulate((p.size - np.arange(p.size)) * p[order])
        adjusted = np.empty_like(p)
        adjusted[order] = np.minimum(stepped, 1)
        return adjusted
    return p
