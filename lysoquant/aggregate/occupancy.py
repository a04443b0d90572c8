"""From cells to the occupancy of their well, with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from lysoquant.record import digest_json
from lysoquant.statistics.beta_binomial import fit
from lysoquant.statistics.log_odds import log_odds

_DRAWS_AT_ONCE: Final = 2_000_000
"""Cells drawn in one array, so that a well of many cells does not set the memory."""


@dataclass(frozen=True)
class Occupancy:
    """Occupancy of one well; see :func:`well_occupancy`.

    Attributes
    ----------
    n_empty, n_loaded : int
        Endolysosomes of the counted cells.
    mean, sd : float
        Over the counted cells that have an endolysosome, each cell weighing the same.
    pooled : float
        Loaded over all endolysosomes, each endolysosome weighing the same.
    ci_low, ci_high : float
        Interval of `pooled`.
    n_cells : int
        Counted cells that have an endolysosome.
    logit_mean, logit_sd : float
        Of the log odds of those cells' occupancies, each cell weighing the same.
    """

    n_empty: int
    n_loaded: int
    mean: float
    sd: float
    pooled: float
    ci_low: float
    ci_high: float
    n_cells: int
    logit_mean: float
    logit_sd: float


def well_occupancy(
    *,
    n_empty: NDArray[np.int64],
    n_loaded: NDArray[np.int64],
    confidence: float,
    n_resamples: int,
    seed: int,
    interval: Literal["bootstrap", "beta_binomial"] = "bootstrap",
) -> Occupancy:
    """Occupancy of a well from the counts of its cells.

    Parameters
    ----------
    n_empty, n_loaded : ndarray of int64, shape (n_cells,)
        Endolysosomes of each counted cell by class. Cells without any have no occupancy and do not enter.
    confidence : float
        Confidence of the interval, between 0 and 1.
    n_resamples : int
        Bootstrap resamples.
    seed : int
        Seed of the bootstrap; see :func:`bootstrap_seed`.
    interval : str
        What gives `ci_low` and `ci_high`.

    Returns
    -------
    Occupancy
        Fractions in [0, 1]. All NaN without an endolysosome; `sd` (n - 1 in the denominator) is NaN for one cell.

    Notes
    -----
    Endolysosomes of one cell are alike, so the interval resamples cells, not endolysosomes [1]_: it is the percentile
    interval of the ratio of sums. Where resampling can't say anything (one cell, or all resamples equal, as when every
    endolysosome is loaded) it is Wilson's interval over endolysosomes, which takes them for independent and is
    therefore the narrowest that could be true.
    The beta-binomial interval is that of :func:`lysoquant.statistics.beta_binomial.fit` over the cells; of one cell it
    is Wilson's too.

    References
    ----------
    .. [1] Field CA, Welsh AH (2007) Bootstrapping clustered data. J R Stat Soc B 69:369-390.
       doi:10.1111/j.1467-9868.2007.00593.x
    """
    total = n_empty + n_loaded
    loaded, total = n_loaded[total > 0], total[total > 0]
    if total.size == 0:
        return Occupancy(0, 0, math.nan, math.nan, math.nan, math.nan, math.nan, 0, math.nan, math.nan)
    of_cells = loaded / total
    logits = log_odds(of_cells, n=total)
    n_all, n_in = int(total.sum()), int(loaded.sum())
    if total.size == 1:
        low, high = wilson_interval(successes=n_in, trials=n_all, confidence=confidence)
    elif interval == "beta_binomial":
        low, high = beta_binomial_interval(loaded=loaded, total=total, confidence=confidence)
    else:
        pooled = _resampled(loaded=loaded, total=total, n_resamples=n_resamples, seed=seed)
        low, high = (float(q) for q in np.quantile(pooled, [(1 - confidence) / 2, (1 + confidence) / 2]))
        if np.ptp(pooled) == 0:
            low, high = wilson_interval(successes=n_in, trials=n_all, confidence=confidence)
    sd, logit_sd = (float(x.std(ddof=1)) if total.size > 1 else math.nan for x in (of_cells, logits))
    return Occupancy(
        n_empty=n_all - n_in,
        n_loaded=n_in,
        mean=float(of_cells.mean()),
        sd=sd,
        pooled=n_in / n_all,
        ci_low=low,
        ci_high=high,
        n_cells=total.size,
        logit_mean=float(logits.mean()),
        logit_sd=logit_sd,
    )


def beta_binomial_interval(
    *, loaded: NDArray[np.int64], total: NDArray[np.int64], confidence: float
) -> tuple[float, float]:
    """Interval of the occupancy that clusters of endolysosomes, cells or wells, have in common.

    Parameters
    ----------
    loaded, total : ndarray of int64, shape (n_clusters,)
        Loaded and all endolysosomes of each cluster; clusters without any do not count.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    tuple of float
        Lower and upper bound, in [0, 1]; NaN with fewer than two clusters.
    """
    known = total > 0
    if known.sum() < 2:
        return math.nan, math.nan
    found = fit(loaded=loaded[known], total=total[known], condition=np.zeros(int(known.sum()), dtype=np.int64))
    low, high = found.intervals(confidence=confidence)
    return float(low[0]), float(high[0])


def bootstrap_seed(*, plate: str, well: str) -> int:
    """Seed of a well's bootstrap: the same whichever wells are computed with it, and in which order."""
    return int(digest_json([plate, well])[:32], 16)


def wilson_interval(*, successes: int, trials: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Parameters
    ----------
    successes, trials : int
        Counts; without trials both bounds are NaN.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    tuple of float
        Lower and upper bound, in [0, 1].

    References
    ----------
    Wilson EB (1927) Probable inference, the law of succession, and statistical inference. J Am Stat Assoc 22:209-212.
    doi:10.1080/01621459.1927.10502953
    """
    if trials == 0:
        return math.nan, math.nan
    z = float(ndtri((1 + confidence) / 2))
    p = successes / trials
    centre = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    # At 0 and at all successes one bound is exact; rounding must not move it.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return low, high


def _resampled(
    *, loaded: NDArray[np.int64], total: NDArray[np.int64], n_resamples: int, seed: int
) -> NDArray[np.float64]:
    """Pooled occupancy of each resample of the cells, shape (n_resamples,)."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // loaded.size)
    parts = []
    for start in range(0, n_resamples, at_once):
        shape = (min(at_once, n_resamples - start), loaded.size)
        drawn = generator.integers(0, loaded.size, size=shape, dtype=np.int64)
        parts.append(loaded[drawn].sum(axis=1) / total[drawn].sum(axis=1))
    return np.concatenate(parts)
