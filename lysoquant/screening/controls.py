"""How far the positive controls of a plate lie from the negative ones: Z', SSMD, signal window.

Each function takes finite values of the two kinds of control wells, here empirical logits of occupancy, and gives NaN
where fewer than two wells of a kind or no difference leave nothing to say.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from lysoquant.screening.scores import MAD_TO_SD

Floats = NDArray[np.float64]


def z_prime(*, positive: Floats, negative: Floats) -> float:
    """Z' of two groups of control wells: ``1 - 3 (sd_p + sd_n) / |mean_p - mean_n|``.

    Parameters
    ----------
    positive, negative : ndarray of float64, shape (n_p,) and (n_n,)
        Finite values.

    Returns
    -------
    float
        At most 1; 0 where the bands of three standard deviations touch.

    References
    ----------
    Zhang JH, Chung TDY, Oldenburg KR (1999) A simple statistical parameter for use in evaluation and validation of
    high throughput screening assays. J Biomol Screen 4:67-73. doi:10.1177/108705719900400206
    """
    if not _enough(positive, negative):
        return math.nan
    return _band(positive.mean() - negative.mean(), _sd(positive) + _sd(negative))


def robust_z_prime(*, positive: Floats, negative: Floats) -> float:
    """Z' with medians for means and 1.4826 MAD for standard deviations, so that a bad control well does not decide.

    Parameters and returns as of :func:`z_prime`.
    """
    if not _enough(positive, negative):
        return math.nan
    return _band(np.median(positive) - np.median(negative), _mad_sd(positive) + _mad_sd(negative))


def ssmd(*, positive: Floats, negative: Floats) -> float:
    """Strictly standardised mean difference, by moments: ``(mean_p - mean_n) / sqrt(sd_p^2 + sd_n^2)``.

    It makes no assumption on equal spread of the two groups.

    References
    ----------
    Zhang XD (2007) A pair of new statistical parameters for quality control in RNA interference high-throughput
    screening assays. Genomics 89:552-561. doi:10.1016/j.ygeno.2006.12.014
    """
    if not _enough(positive, negative):
        return math.nan
    return _over(positive.mean() - negative.mean(), math.hypot(_sd(positive), _sd(negative)))


def robust_ssmd(*, positive: Floats, negative: Floats) -> float:
    """SSMD with medians for means and 1.4826 MAD for standard deviations; see :func:`ssmd`."""
    if not _enough(positive, negative):
        return math.nan
    return _over(np.median(positive) - np.median(negative), math.hypot(_mad_sd(positive), _mad_sd(negative)))


def unbiased_ssmd(*, sample: Floats, negative: Floats) -> float:
    """SSMD of a condition's wells against negative controls, unbiased if both have the same normal spread.

    Parameters
    ----------
    sample, negative : ndarray of float64, shape (n_s,) and (n_n,)
        Finite values; one well in `sample` is enough where `negative` has three.

    Returns
    -------
    float
        ``(mean_s - mean_n) / sqrt(2 / K * ((n_s - 1) sd_s^2 + (n_n - 1) sd_n^2))`` with
        ``K = 2 (gamma(v / 2) / gamma((v - 1) / 2))^2`` (about ``n_s + n_n - 3.48``) and ``v = n_s + n_n - 2``; NaN
        with ``v < 2`` or without spread.

    References
    ----------
    Zhang XD (2007) A new method with flexible and balanced control of false negatives and false positives for hit
    selection in RNA interference high-throughput screening assays. J Biomol Screen 12:645-655.
    doi:10.1177/1087057107300645
    """
    df = sample.size + negative.size - 2
    if not sample.size or not negative.size or df < 2:
        return math.nan
    k = 2 * math.exp(2 * float(gammaln(df / 2) - gammaln((df - 1) / 2)))
    squares = float(((sample - sample.mean()) ** 2).sum() + ((negative - negative.mean()) ** 2).sum())
    return _over(sample.mean() - negative.mean(), math.sqrt(2 / k * squares))


def signal_window(*, positive: Floats, negative: Floats) -> float:
    """Room between the controls' three-standard-deviation bands, in standard deviations of the higher control.

    ``(mean_high - mean_low - 3 (sd_high + sd_low)) / sd_high``, where the higher control has the larger mean.

    References
    ----------
    Sittampalam GS et al. (1997) Design of signal windows in high throughput screening assays for drug discovery.
    J Biomol Screen 2:159-169. doi:10.1177/108705719700200306
    """
    if not _enough(positive, negative):
        return math.nan
    low, high = sorted((positive, negative), key=lambda values: float(values.mean()))
    return _over(high.mean() - low.mean() - 3 * (_sd(high) + _sd(low)), _sd(high))


def _enough(positive: Floats, negative: Floats) -> bool:
    return positive.size >= 2 and negative.size >= 2


def _sd(values: Floats) -> float:
    return float(values.std(ddof=1))


def _mad_sd(values: Floats) -> float:
    return MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))


def _band(difference: float, spread: float) -> float:
    return 1 - _over(3 * spread, abs(difference))


def _over(value: float, by: float) -> float:
    return float(value) / float(by) if by > 0 else math.nan
