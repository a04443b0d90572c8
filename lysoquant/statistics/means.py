"""Two means: Welch's and Student's t test, and Hedges' g."""

from __future__ import annotations

import math

from scipy.special import gammaln
from scipy.stats import t

from lysoquant.statistics.comparison import Comparison, Floats, has_spread


def welch(a: Floats, b: Floats, *, confidence: float) -> Comparison:
    """Welch's t test of two means, two-sided, with the interval of their difference. Variances may differ.

    Parameters
    ----------
    a, b : ndarray of float64, shape (n_a,) and (n_b,)
        Finite values of the two groups.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Comparison
        ``mean(a) - mean(b)``; the rest is NaN with fewer than two values in a group or no spread in either.

    References
    ----------
    Welch BL (1947) The generalization of Student's problem when several different population variances are involved.
    Biometrika 34:28-35. doi:10.1093/biomet/34.1-2.28
    """
    if (undefined := _undefined(a, b, least=2)) is not None:
        return undefined
    of_a, of_b = float(a.var(ddof=1)) / a.size, float(b.var(ddof=1)) / b.size
    df = (of_a + of_b) ** 2 / (of_a**2 / (a.size - 1) + of_b**2 / (b.size - 1))
    return by_t(float(a.mean() - b.mean()), error=math.sqrt(of_a + of_b), df=df, confidence=confidence)


def student(a: Floats, b: Floats, *, confidence: float) -> Comparison:
    """Student's unpaired t test of two means, two-sided, with the interval of their difference. Takes equal variances.

    Parameters
    ----------
    a, b : ndarray of float64, shape (n_a,) and (n_b,)
        Finite values of the two groups.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Comparison
        ``mean(a) - mean(b)``; the rest is NaN where a group is empty, both have one value, or neither has spread.

    References
    ----------
    Student (1908) The probable error of a mean. Biometrika 6:1-25. doi:10.1093/biomet/6.1.1
    """
    if (undefined := _undefined(a, b, least=1)) is not None:
        return undefined
    df = float(a.size + b.size - 2)
    error = _pooled_sd(a, b) * math.sqrt(1 / a.size + 1 / b.size)
    return by_t(float(a.mean() - b.mean()), error=error, df=df, confidence=confidence)


def by_t(difference: float, *, error: float, df: float, confidence: float) -> Comparison:
    """A difference of known standard error and degrees of freedom against 0, two-sided."""
    half = error * float(t.ppf((1 + confidence) / 2, df))
    statistic = difference / error
    p_value = 2 * float(t.sf(abs(statistic), df))
    return Comparison(difference, difference - half, difference + half, statistic, df, p_value)


def hedges_g(a: Floats, b: Floats) -> float:
    """Difference of two means in pooled standard deviations, without the bias of small samples.

    Parameters
    ----------
    a, b : ndarray of float64, shape (n_a,) and (n_b,)
        Finite values of the two groups.

    Returns
    -------
    float
        Positive where `a` is larger; NaN where a group is empty, both have one value, or neither has spread.

    References
    ----------
    Hedges LV (1981) Distribution theory for Glass's estimator of effect size and related estimators.
    J Educ Stat 6:107-128. doi:10.3102/10769986006002107
    """
    if _undefined(a, b, least=1) is not None:
        return math.nan
    df = a.size + b.size - 2
    unbiased = math.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) * math.sqrt(2 / df) if df > 1 else math.nan
    return unbiased * float(a.mean() - b.mean()) / _pooled_sd(a, b)


def _pooled_sd(a: Floats, b: Floats) -> float:
    squares = float(((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum())
    return math.sqrt(squares / (a.size + b.size - 2))


def _undefined(a: Floats, b: Floats, *, least: int) -> Comparison | None:
    """The comparison of groups that are too small or have no spread; None where they can be tested."""
    if not a.size or not b.size:
        return Comparison.undefined("no value on one side")
    difference = float(a.mean() - b.mean())
    if min(a.size, b.size) < least or a.size + b.size < 3:
        return Comparison.undefined("fewer than two values on one side", difference=difference)
    if not has_spread([a, b]):
        return Comparison.undefined("no spread on either side", difference=difference)
    return None
