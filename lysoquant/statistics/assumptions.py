"""Whether what a test takes for granted holds, as far as a few replicates can say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import levene, shapiro

from lysoquant.statistics.comparison import Groups, has_spread

_LEAST: Final = 3
"""Values below which neither test can say anything; for equal variances in each group."""
_MOST: Final = 5000
"""Values above which the approximation of the Shapiro-Wilk p value is not to be trusted."""


@dataclass(frozen=True)
class Assumptions:
    """Both checks of one set of groups.

    Attributes
    ----------
    n : int
        Values over all groups.
    normality_p : float
        Shapiro-Wilk of the residuals from the groups' means [1]_.
    equal_variance_p : float
        Brown-Forsythe (Levene around medians) [2]_ of the groups of at least three values.
    reasons : tuple of str
        Why one is NaN.

    References
    ----------
    .. [1] Shapiro SS, Wilk MB (1965) An analysis of variance test for normality. Biometrika 52:591-611.
       doi:10.1093/biomet/52.3-4.591
    .. [2] Brown MB, Forsythe AB (1974) Robust tests for the equality of variances. J Am Stat Assoc 69:364-367.
       doi:10.1080/01621459.1974.10482955
    """

    n: int
    normality_p: float
    equal_variance_p: float
    reasons: tuple[str, ...]


def check(groups: Groups) -> Assumptions:
    """Check that residuals are normal and variances equal; either is NaN where it can't be told, with the reason."""
    residuals = np.concatenate([values - values.mean() for values in groups if values.size] or [np.zeros(0)])
    # A group of one value has no residual to look at.
    n_free = residuals.size - sum(values.size > 0 for values in groups)
    reasons: list[str] = []
    normality_p = equal_variance_p = math.nan
    if residuals.size < _LEAST or n_free < 2:
        reasons.append("too few values for a check of normality")
    elif residuals.size > _MOST:
        reasons.append(f"more than {_MOST} values: no check of normality")
    elif not has_spread(groups):
        reasons.append("no spread for a check of normality")
    else:
        normality_p = float(shapiro(residuals).pvalue)
    large = [values for values in groups if values.size >= _LEAST]
    if len(large) < 2:
        reasons.append("too few values for a check of equal variances")
    elif not has_spread(large):
        reasons.append("no spread for a check of equal variances")
    else:
        equal_variance_p = float(levene(*large, center="median").pvalue)
    return Assumptions(residuals.size, normality_p, equal_variance_p, tuple(reasons))
