"""What a comparison of two groups, or a test over all groups, came to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Groups = Sequence[Floats]
"""Finite values of each group, each of shape (n_i,)."""

_ROUNDING: Final = 1e-12
"""A range below this share of the values (or below this, of values below 1) is rounding, not spread."""


def has_spread(groups: Groups) -> bool:
    """Whether any group has two different values."""
    return any(np.ptp(values) > _ROUNDING * max(1.0, float(np.abs(values).max())) for values in groups if values.size)


@dataclass(frozen=True)
class Comparison:
    """Difference of two groups; NaN where it is undefined, with the reason.

    Attributes
    ----------
    difference : float
        First minus second.
    ci_low, ci_high : float
        Its interval.
    statistic, df, p_value : float
        Test statistic, its degrees of freedom and the two-sided p value, not adjusted.
    reason : str
        Why numbers are NaN; empty where none is.
    """

    difference: float
    ci_low: float
    ci_high: float
    statistic: float
    df: float
    p_value: float
    reason: str = ""

    @classmethod
    def undefined(cls, reason: str, *, difference: float = math.nan) -> Self:
        """Of which at most the difference is known."""
        return cls(difference, math.nan, math.nan, math.nan, math.nan, math.nan, reason)


@dataclass(frozen=True)
class Omnibus:
    """Test that all groups are alike; NaN where it is undefined, with the reason.

    Attributes
    ----------
    statistic : float
        F.
    df, df_denominator : float
        Degrees of freedom of numerator and denominator.
    p_value : float
        Not adjusted: it is one test.
    reason : str
        Why numbers are NaN; empty where none is.
    """

    statistic: float
    df: float
    df_denominator: float
    p_value: float
    reason: str = ""

    @classmethod
    def undefined(cls, reason: str) -> Self:
        """Of which nothing is known."""
        return cls(math.nan, math.nan, math.nan, math.nan, reason)
