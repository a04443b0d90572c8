"""Occupancy as counts that vary more than chance: the beta-binomial distribution with one overdispersion for all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import betaln, expit, logit, psi, zeta
from scipy.stats import f, t

from lysoquant.statistics.comparison import Comparison, Floats

_LEAST: Final = 1e-7
"""Overdispersion below which counts are binomial for all that their likelihood can tell."""
_GRID: Final = 24
"""Overdispersions that are looked at before the best is refined: the likelihood can have two hills."""
_TOLERANCE: Final = 1e-7
"""A Newton step shorter than this ends within its square of the top."""
_HALVINGS: Final = 60

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class BetaBinomial:
    """A fitted model; see :func:`fit`.

    Attributes
    ----------
    occupancy : ndarray of float64, shape (n_conditions,)
        Most likely occupancy of each condition.
    overdispersion : float
        Correlation of two endolysosomes of one cluster, from 0 (binomial) to 1.
    df : int
        Clusters minus conditions.
    log_likelihood : float
        At these values, binomial coefficients left out.
    reason : str
        Why there are no intervals and tests; empty where there are.
    """

    occupancy: Floats
    overdispersion: float
    df: int
    log_likelihood: float
    reason: str
    _clusters: _Clusters

    @property
    def is_binomial(self) -> bool:
        """Whether the clusters don't vary by more than chance, as far as their counts can tell."""
        return self.overdispersion <= 2 * _LEAST

    def intervals(self, *, confidence: float) -> tuple[Floats, Floats]:
        """Profile-likelihood interval of each condition's occupancy, in [0, 1].

        Student's t takes the place of the normal quantile, since the overdispersion comes from few clusters.

        Returns
        -------
        tuple of ndarray of float64, shape (n_conditions,)
            Lower and upper bounds.
        """
        if self.reason:
            nothing = np.full(self.occupancy.shape, np.nan)
            return nothing, nothing
        drop = float(t.ppf((1 + confidence) / 2, self.df)) ** 2 / 2
        return (
            _fallen(self._clusters, self.overdispersion, self.occupancy, towards=0.0, drop=drop),
            _fallen(self._clusters, self.overdispersion, self.occupancy, towards=1.0, drop=drop),
        )

    def compare(
        self, pairs: Sequence[tuple[int, int]], *, confidence: float, on_logit: bool = False
    ) -> list[Comparison]:
        """First minus second condition of each pair.

        Parameters
        ----------
        pairs : sequence of (int, int)
            Numbers of the conditions.
        confidence : float
            Between 0 and 1.
        on_logit : bool
            Difference of log odds in place of fractions; infinite log odds have none.

        Returns
        -------
        list of Comparison
            The statistic is the signed root of the likelihood ratio, held against t. The interval joins those of both
            conditions (MOVER [1]_), which also holds where one is 0 or 1.

        References
        ----------
        .. [1] Zou GY, Donner A (2008) Construction of confidence limits about effect measures: a general approach.
           Stat Med 27:1693-1702. doi:10.1002/sim.3095
        """
        bounds = np.array([*self.intervals(confidence=confidence), self.occupancy])
        if on_logit:
            with np.errstate(divide="ignore"):
                bounds = logit(bounds)
        return [self._compared(i, j, bounds[:, i], bounds[:, j]) for i, j in pairs]

    def _compared(self, i: int, j: int, of_i: Floats, of_j: Floats) -> Comparison:
        """Comparison from lower bound, upper bound and estimate of both, on the scale that is asked for."""
        (low_i, high_i, a), (low_j, high_j, b) = of_i.tolist(), of_j.tolist()
        if not (math.isfinite(a) and math.isfinite(b)):
            return Comparison.undefined("all endolysosomes of one side are of one class")
        if self.reason:
            return Comparison.undefined(self.reason, difference=a - b)
        below, above = math.hypot(a - low_i, high_j - b), math.hypot(high_i - a, b - low_j)
        ratio = 2 * max(0.0, self._gain(i, j))
        return Comparison(
            difference=a - b,
            ci_low=a - b - below,
            ci_high=a - b + above,
            statistic=math.copysign(math.sqrt(ratio), a - b),
            df=float(self.df),
            p_value=float(f.sf(ratio, 1, self.df)),
        )

    def residuals(self, i: int) -> Floats:
        """Pearson residuals of the clusters of condition `i`, shape (n_clusters_i,); NaN for an occupancy of 0 or 1."""
        own, occupancy = self._clusters.of(i), float(self.occupancy[i])
        inflation = 1 + (own.total - 1) * self.overdispersion
        variance = own.total * occupancy * (1 - occupancy) * inflation
        if occupancy in (0.0, 1.0):
            return np.full(own.total.shape, np.nan)
        return np.asarray((own.loaded - own.total * occupancy) / np.sqrt(variance))

    def _gain(self, i: int, j: int) -> float:
        """By how much two occupancies are likelier than one for both."""
        both = self._clusters.joined(i, j)
        pooled = np.array([both.loaded.sum() / both.total.sum()])
        common = _best(both, self.overdispersion, start=pooled)
        apart = sum(
            float(_log_likelihood(self._clusters.of(k), self.overdispersion, self.occupancy[[k]])[0]) for k in (i, j)
        )
        return apart - float(_log_likelihood(both, self.overdispersion, common)[0])


@dataclass(frozen=True)
class _Clusters:
    """Counts by cluster; `condition` numbers 0 to n - 1, each with a cluster."""

    loaded: Counts
    total: Counts
    condition: Counts

    def of(self, i: int) -> _Clusters:
        own = self.condition == i
        return _Clusters(self.loaded[own], self.total[own], np.zeros(int(own.sum()), dtype=np.int64))

    def joined(self, i: int, j: int) -> _Clusters:
        own = (self.condition == i) | (self.condition == j)
        return _Clusters(self.loaded[own], self.total[own], np.zeros(int(own.sum()), dtype=np.int64))


def fit(*, loaded: Counts, total: Counts, condition: Counts) -> BetaBinomial:
    """Fit an occupancy a condition and one overdispersion for all.

    Parameters
    ----------
    loaded, total : ndarray of int64, shape (n_clusters,)
        Loaded and all endolysosomes of each cluster (a well, or a cell); each has at least one.
    condition : ndarray of int64, shape (n_clusters,)
        Number of the cluster's condition, 0 to n_conditions - 1; each has a cluster.

    Returns
    -------
    BetaBinomial
        With a reason, and no tests, where no condition has two clusters.

    Notes
    -----
    The overdispersion has the largest profile likelihood after Cox and Reid's adjustment [1]_, which takes out the
    bias that the estimated occupancies bring, as REML does for variances; the occupancies are the most likely ones
    given it [2]_.

    References
    ----------
    .. [1] Cox DR, Reid N (1987) Parameter orthogonality and approximate conditional inference. J R Stat Soc B 49:1-39.
       doi:10.1111/j.2517-6161.1987.tb01422.x
    .. [2] Crowder MJ (1978) Beta-binomial anova for proportions. J R Stat Soc C 27:34-37. doi:10.2307/2346223
    """
    clusters = _Clusters(loaded, total, condition)
    n_conditions = int(condition.max()) + 1
    df = condition.size - n_conditions
    pooled = np.bincount(condition, loaded) / np.bincount(condition, total)
    if df < 1:
        return BetaBinomial(pooled, math.nan, df, math.nan, "no condition has two replicates", clusters)

    start = pooled

    def cost(on_logit: float) -> float:
        nonlocal start
        # The occupancies of the overdispersion before are close: a few steps instead of many.
        profile, start = _adjusted_profile(clusters, float(expit(on_logit)), start=start)
        return -profile

    ends = float(logit(_LEAST)), float(logit(1 - 1e-4))
    grid = np.linspace(*ends, _GRID)
    at = int(np.argmin([cost(x) for x in grid]))
    around = float(grid[max(at - 1, 0)]), float(grid[min(at + 1, _GRID - 1)])
    found = minimize_scalar(cost, bounds=around, method="bounded", options={"xatol": 1e-9})
    overdispersion = float(expit(found.x))
    occupancy = _best(clusters, overdispersion, start=start)
    likelihood = float(_log_likelihood(clusters, overdispersion, occupancy).sum())
    return BetaBinomial(occupancy, overdispersion, df, likelihood, "", clusters)


def _adjusted_profile(clusters: _Clusters, rho: float, *, start: Floats) -> tuple[float, Floats]:
    """Profile likelihood after Cox and Reid, and the occupancies that it has."""
    occupancy = _best(clusters, rho, start=start)
    profile = float(_log_likelihood(clusters, rho, occupancy).sum())
    inside = (occupancy > 0) & (occupancy < 1)
    _, curvature = _derivatives(clusters, rho, occupancy)
    information = -curvature[inside] * (occupancy[inside] * (1 - occupancy[inside])) ** 2
    return profile - 0.5 * float(np.log(information).sum()), occupancy


def _log_likelihood(clusters: _Clusters, rho: float, occupancy: Floats) -> Floats:
    """By condition, shape (n_conditions,), binomial coefficients left out; a likely 0 or 1 is a likelihood of 1."""
    scale = (1 - rho) / rho
    mean = occupancy[clusters.condition]
    inside = (mean > 0) & (mean < 1)
    a, b = np.where(inside, mean, 0.5) * scale, np.where(inside, 1 - mean, 0.5) * scale
    of_each = betaln(a + clusters.loaded, b + clusters.total - clusters.loaded) - betaln(a, b)
    certain = np.where(clusters.loaded == clusters.total * mean, 0.0, -np.inf)
    return _by_condition(clusters, np.where(inside, of_each, certain), occupancy.size)


def _derivatives(clusters: _Clusters, rho: float, occupancy: Floats) -> tuple[Floats, Floats]:
    """First and second derivative of the log likelihood by each condition's occupancy."""
    scale = (1 - rho) / rho
    mean = occupancy[clusters.condition]
    a, b = mean * scale, (1 - mean) * scale
    loaded, empty = clusters.loaded, clusters.total - clusters.loaded
    with np.errstate(divide="ignore", invalid="ignore"):
        first = scale * (psi(a + loaded) - psi(a) - psi(b + empty) + psi(b))
        # The Hurwitz zeta function of 2 is the trigamma function.
        second = scale**2 * (zeta(2, a + loaded) - zeta(2, a) + zeta(2, b + empty) - zeta(2, b))
    return _by_condition(clusters, first, occupancy.size), _by_condition(clusters, second, occupancy.size)


def _by_condition(clusters: _Clusters, values: Floats, n_conditions: int) -> Floats:
    return np.asarray(np.bincount(clusters.condition, values, minlength=n_conditions), dtype=np.float64)


def _best(clusters: _Clusters, rho: float, *, start: Floats) -> Floats:
    """Most likely occupancy of each condition, shape (n_conditions,): the likelihood has one hill, so Newton's steps
    within halving bounds find it."""
    n_all, n_loaded = np.bincount(clusters.condition, clusters.total), np.bincount(clusters.condition, clusters.loaded)
    low, high = np.zeros(n_all.size), np.ones(n_all.size)
    edge = (n_loaded == 0) | (n_loaded == n_all)
    best = np.where(edge, 0.5, start)
    for _ in range(200):
        slope, curvature = _derivatives(clusters, rho, best)
        low, high = np.where(slope > 0, best, low), np.where(slope > 0, high, best)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = best - slope / curvature
        inside = (step > low) & (step < high)
        new = np.where(inside, step, (low + high) / 2)
        done = inside & (np.abs(new - best) <= _TOLERANCE)
        best = new
        if (done | edge).all():
            break
    return np.where(edge, n_loaded / n_all, best)


def _fallen(clusters: _Clusters, rho: float, best: Floats, *, towards: float, drop: float) -> Floats:
    """Where each condition's log likelihood has fallen by `drop` from its top, on the side of `towards`."""
    top = _log_likelihood(clusters, rho, best)
    inside, outside = best.copy(), np.full(best.shape, towards)
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        low = top - _log_likelihood(clusters, rho, middle) > drop
        inside, outside = np.where(low, inside, middle), np.where(low, middle, outside)
    return np.where(best == towards, towards, inside)
