"""One row a dose-response curve: a condition whose wells have doses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

import numpy as np

from lysoquant.screening.curves import HILL_LIMITS, Curve, fit_curve
from lysoquant.screening.params import ScreenParams
from lysoquant.screening.wells import Wells

DOSE_COLUMNS: Final[Mapping[str, type]] = {
    "condition": str,
    "n_wells": int,
    "n_doses": int,
    "bottom": float,
    "top": float,
    "ec50": float,
    "ec50_ci_low": float,
    "ec50_ci_high": float,
    "hill": float,
    "r_squared": float,
    "flags": str,
    "reason": str,
}

_PARAMETERS: Final = ("bottom", "top", "ec50", "ec50_ci_low", "ec50_ci_high", "hill", "r_squared")
_FEWEST_WELLS: Final = 5
_PLATEAU: Final = 0.9
"""Share of the way to a plateau from which on it counts as reached."""

_FLAT: Final = 0.05
"""A curve whose F test against a horizontal line has a larger p value has no EC50."""


def dose_rows(wells: Wells, params: ScreenParams, *, confidence: float) -> list[dict[str, str | int | float]]:
    """One row a condition with doses above 0, sorted by condition.

    Parameters
    ----------
    wells : Wells
        Of all plates. Wells of the condition that count are the points, each with its pooled occupancy. Negative
        controls with dose 0 on the same plates are its zero dose, beside its own.
    params : ScreenParams
        Limits of the flags.
    confidence : float
        Of the EC50's interval, between 0 and 1.

    Returns
    -------
    list of dict
        Keys of :data:`DOSE_COLUMNS`; what can't be said is NaN with the reason.
    """
    dosed = (wells.dose > 0) & (wells.condition != "")
    return [_dose_row(str(name), wells, params, confidence) for name in np.unique(wells.condition[dosed])]


def _dose_row(name: str, wells: Wells, params: ScreenParams, confidence: float) -> dict[str, str | int | float]:
    own = (wells.condition == name) & ~np.isnan(wells.dose)
    vehicle = (wells.control == "negative") & (wells.dose == 0) & np.isin(wells.plate, wells.plate[own])
    points = (own | vehicle) & wells.counts
    doses = wells.dose[points]
    occupancy = wells.n_loaded[points] / (wells.n_loaded + wells.n_empty)[points]
    n_doses = int(np.unique(doses[doses > 0]).size)
    row: dict[str, str | int | float] = {"condition": name, "n_wells": doses.size, "n_doses": n_doses}
    row |= dict.fromkeys(_PARAMETERS, math.nan)
    if n_doses < params.min_doses or doses.size < _FEWEST_WELLS:
        told = f"{n_doses} doses in {doses.size} wells; {params.min_doses} in {_FEWEST_WELLS} needed"
        return row | {"flags": "too_few_doses", "reason": told}
    curve = fit_curve(doses, occupancy, confidence=confidence) if np.ptp(occupancy) > 0 else None
    if curve is None or curve.flat_p_value > _FLAT:
        told = "" if curve is None else f" (F test: p {curve.flat_p_value:.2g})"
        row |= {"r_squared": math.nan if curve is None else curve.r_squared}
        return row | {"flags": "no_response", "reason": f"no better than a horizontal line{told}"}
    faults = _faults(curve, doses.max(), doses[doses > 0].min(), params)
    found = asdict(curve)
    row |= {parameter: found[parameter] for parameter in _PARAMETERS}
    return row | {"flags": ";".join(faults), "reason": "; ".join(faults.values())}


def _faults(curve: Curve, highest: float, lowest: float, params: ScreenParams) -> dict[str, str]:
    """Flags of a curve in fixed order, each with its reason."""
    faults: dict[str, str] = {}
    if not lowest <= curve.ec50 <= highest:
        faults["ec50_outside_doses"] = f"the EC50 is not between {lowest:g} and {highest:g}"
    missed = [end for end, reached in (("lowest", 1 - curve.lowest), ("highest", curve.highest)) if reached < _PLATEAU]
    if missed:
        faults["no_plateau"] = f"no plateau at the {' and the '.join(missed)} dose"
    # The fit comes close to its limits and does not touch them.
    if not 1.01 * HILL_LIMITS[0] < abs(curve.hill) < 0.99 * HILL_LIMITS[1]:
        faults["hill_at_limit"] = f"the Hill slope ends at its limit {curve.hill:.3g}"
    if curve.r_squared < params.min_r_squared:
        faults["poor_fit"] = f"R squared {curve.r_squared:.2g}, at least {params.min_r_squared:g} expected"
    return faults
