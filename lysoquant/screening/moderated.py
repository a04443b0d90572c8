"""Variances of many conditions with few replicates each, moderated by each other (empirical Bayes)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import gammaln

Floats = NDArray[np.float64]

_FEWEST: Final = 3
"""Variances that a distribution of variances can be told from."""

_DF_LIMITS: Final = (1.0, 1e4)
"""Weights of the prior that are tried; the upper one stands for all conditions having one variance."""


_WIDE: Final = 20.0
"""The prior's scale is looked for between exp(-20) and exp(20) times the pooled variance."""


_LEAST: Final = 1e-5
"""Variances below this share of their median are rounding, and count as this much."""


@dataclass(frozen=True)
class Prior:
    """Distribution of the conditions' variances: what a condition's variance is expected to be before it is seen.

    Attributes
    ----------
    variance : float
        Its scale; NaN where no condition has replicates.
    df : float
        Its weight, as degrees of freedom; infinite where all conditions have one variance.
    max_df : float
        Degrees of freedom of all conditions together: no variance is known better.
    """

    variance: float
    df: float
    max_df: float


def fit_prior(*, variances: Floats, dfs: Floats) -> Prior:
    """Prior of the variances of many conditions, by maximum likelihood.

    Parameters
    ----------
    variances : ndarray of float64, shape (n_conditions,)
        Variance of each condition's wells.
    dfs : ndarray of float64, shape (n_conditions,)
        Their degrees of freedom, each above 0.

    Returns
    -------
    Prior
        With one or two conditions the pooled variance, taken for all, with an infinite weight; so too where the
        variances differ no more than chance lets expect, or where most of them are 0.

    Notes
    -----
    The model is Smyth's [1]_: a condition's variance over the prior's is F-distributed. Its parameters are fitted by
    likelihood, as by Wright and Simon [2]_, not by moments of logarithms: median polish leaves some variances of
    exactly 0, whose logarithms would decide.

    References
    ----------
    .. [1] Smyth GK (2004) Linear models and empirical Bayes methods for assessing differential expression in
       microarray experiments. Stat Appl Genet Mol Biol 3:3. doi:10.2202/1544-6115.1027
    .. [2] Wright GW, Simon RM (2003) A random variance model for detection of differential gene expression in small
       microarray experiments. Bioinformatics 19:2448-2455. doi:10.1093/bioinformatics/btg345
    """
    total = float(dfs.sum())
    if not total:
        return Prior(math.nan, math.inf, 0.0)
    pooled = float((variances * dfs).sum() / total)
    middle = float(np.median(variances))
    if variances.size < _FEWEST or middle <= 0:
        return Prior(pooled, math.inf, total)

    squares = dfs * np.maximum(variances, _LEAST * middle) / pooled

    def best_scale(df: float) -> float:
        """Logarithm of the most likely scale for a weight, over the pooled variance."""

        def slope(log_scale: float) -> float:
            share = squares / (squares + df * math.exp(log_scale))
            return float(((dfs + df) * share - dfs).sum())

        return float(brentq(slope, -_WIDE, _WIDE, xtol=1e-12)) if slope(-_WIDE) > 0 else -_WIDE

    def unlikely(log_df: float) -> float:
        """Minus the log likelihood of a weight at its best scale."""
        df = math.exp(log_df)
        log_scale = best_scale(df)
        ratio = squares / (df * math.exp(log_scale))
        terms = gammaln((dfs + df) / 2) - gammaln(df / 2) - dfs / 2 * (log_df + log_scale)
        return -float((terms - (dfs + df) / 2 * np.log1p(ratio)).sum())

    low, high = (math.log(limit) for limit in _DF_LIMITS)
    found = minimize_scalar(unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    df = math.exp(float(found.x))
    if df > 0.99 * _DF_LIMITS[1]:
        return Prior(pooled, math.inf, total)
    return Prior(math.exp(best_scale(df)) * pooled, df, total)


def moderated(*, variances: Floats, dfs: Floats, prior: Prior) -> tuple[Floats, Floats]:
    """Each condition's variance drawn towards the prior, and its degrees of freedom.

    Parameters
    ----------
    variances, dfs : ndarray of float64, shape (n_conditions,)
        A condition of one well has 0 degrees of freedom; its variance does not count.
    prior : Prior
        Of all conditions.

    Returns
    -------
    tuple of ndarray of float64, shape (n_conditions,)
        Moderated variances and their degrees of freedom, at most `prior.max_df`.
    """
    own = np.where(dfs > 0, variances, 0.0)
    if math.isinf(prior.df):
        found = np.full(variances.shape, prior.variance)
    else:
        found = (prior.df * prior.variance + dfs * own) / (prior.df + dfs)
    return found, np.minimum(prior.df + dfs, prior.max_df)
