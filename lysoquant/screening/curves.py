"""A four-parameter logistic curve through responses by dose."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.special import expit
from scipy.stats import f as f_distribution
from scipy.stats import t

Floats = NDArray[np.float64]

HILL_LIMITS: Final = (0.1, 10.0)
_DECADES_OUTSIDE: Final = 2.0
"""The EC50 is looked for so far below the lowest and above the highest dose."""

_HILL_STARTS: Final = (0.4, 0.7, 1.0, 1.5, 2.5, 5.0, 9.0)
_EC50_STARTS: Final = 25
"""How many EC50s and which slopes are tried for a start of the fit."""

_LN10: Final = math.log(10)


@dataclass(frozen=True)
class Curve:
    """A fitted curve: ``bottom + (top - bottom) / (1 + (ec50 / dose)^hill)``.

    Attributes
    ----------
    bottom, top : float
        Lower and upper plateau.
    ec50, ec50_ci_low, ec50_ci_high : float
        Dose of the response halfway between, with its interval.
    log10_ec50_error : float
        Standard error of its decimal logarithm.
    hill : float
        Steepness; above 0 where the response rises with the dose.
    r_squared : float
        Share of the responses' variance that the curve explains.
    flat_p_value : float
        F test against a horizontal line.
    lowest, highest : float
        Share of the way from one plateau to the other at the lowest dose (0 where there is a zero dose) and at the
        highest.
    """

    bottom: float
    top: float
    ec50: float
    ec50_ci_low: float
    ec50_ci_high: float
    log10_ec50_error: float
    hill: float
    r_squared: float
    flat_p_value: float
    lowest: float
    highest: float


def fit_curve(
    doses: Floats, responses: Floats, *, limits: tuple[float, float] = (0.0, 1.0), confidence: float
) -> Curve | None:
    """Fit a curve by least squares.

    Parameters
    ----------
    doses : ndarray of float64, shape (n,)
        From 0 on, at least two of them different and above 0; a response at dose 0 is one of the plateau there.
    responses : ndarray of float64, shape (n,)
        At least five, not all equal.
    limits : tuple of float
        Between which both plateaus lie; for occupancy 0 and 1.
    confidence : float
        Of the interval of the EC50, between 0 and 1.

    Returns
    -------
    Curve or None
        None where the fit does not converge.

    Notes
    -----
    The interval is Wald's on the logarithm of the EC50 (delta method, Student's distribution with ``n - 4`` degrees of
    freedom), so its ends are a factor apart and above 0. It is NaN where the curve does not determine the EC50.
    """
    logs = np.full(doses.shape, -np.inf)
    logs[doses > 0] = np.log10(doses[doses > 0])
    lowest, highest = float(logs[doses > 0].min()), float(logs.max())
    bounds = (
        [limits[0], limits[0], lowest - _DECADES_OUTSIDE, HILL_LIMITS[0]],
        [limits[1], limits[1], highest + _DECADES_OUTSIDE, HILL_LIMITS[1]],
    )
    try:
        with warnings.catch_warnings():
            # A covariance that can't be estimated is infinite, which is what is read from it.
            warnings.simplefilter("ignore", OptimizeWarning)
            found, covariance = curve_fit(
                # Not checked: the logarithm of dose 0 is meant to be minus infinity.
                _response,
                logs,
                responses,
                p0=_start(logs, responses, limits),
                bounds=bounds,
                check_finite=False,
            )
    except RuntimeError:
        return None
    return _curve(found, covariance, logs, responses, confidence)


def _start(logs: Floats, responses: Floats, limits: tuple[float, float]) -> Floats:
    """The best curve of a grid of EC50s and slopes: its plateaus follow by linear regression, cut at the limits."""
    finite = logs[np.isfinite(logs)]
    margin = np.ptp(finite) / 4
    middles = np.linspace(finite.min() - margin, finite.max() + margin, _EC50_STARTS)
    middle, hill = (axis.ravel() for axis in np.meshgrid(middles, _HILL_STARTS))
    way = expit(_LN10 * hill[:, None] * (logs - middle[:, None]))
    centred = way - way.mean(axis=1, keepdims=True)
    squares = np.maximum((centred**2).sum(axis=1), 1e-12)
    slope = (centred * responses).sum(axis=1) / squares
    at_zero = np.clip(responses.mean() - slope * way.mean(axis=1), *limits)
    at_infinity = np.clip(at_zero + slope, *limits)
    left = responses - at_zero[:, None] - (at_infinity - at_zero)[:, None] * way
    best = int(np.argmin((left**2).sum(axis=1)))
    return np.array([at_zero[best], at_infinity[best], middle[best], hill[best]])


def _response(logs: Floats, at_zero: float, at_infinity: float, log_ec50: float, hill: float) -> Floats:
    return np.asarray(at_zero + (at_infinity - at_zero) * expit(_LN10 * hill * (logs - log_ec50)))


def _curve(found: Floats, covariance: Floats, logs: Floats, responses: Floats, confidence: float) -> Curve:
    at_zero, at_infinity, log_ec50, hill = (float(value) for value in found)
    left = float(((responses - _response(logs, *found)) ** 2).sum())
    total = float(((responses - responses.mean()) ** 2).sum())
    df = responses.size - 4
    error = math.sqrt(float(covariance[2, 2]))
    half = error * float(t.ppf((1 + confidence) / 2, df)) if math.isfinite(error) else math.nan
    way = expit(_LN10 * hill * (np.array([logs.min(), logs.max()]) - log_ec50))
    return Curve(
        bottom=min(at_zero, at_infinity),
        top=max(at_zero, at_infinity),
        ec50=10**log_ec50,
        ec50_ci_low=_power(log_ec50 - half),
        ec50_ci_high=_power(log_ec50 + half),
        log10_ec50_error=error,
        hill=math.copysign(hill, at_infinity - at_zero),
        r_squared=1 - left / total,
        flat_p_value=float(f_distribution.sf((total - left) / 3 / (left / df), 3, df)) if left > 0 else 0.0,
        lowest=float(way[0]),
        highest=float(way[1]),
    )


def _power(log: float) -> float:
    return 10**log if abs(log) < 300 else math.nan
