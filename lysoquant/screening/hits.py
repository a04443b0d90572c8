"""Which conditions differ from their reference: one row a condition, over all plates of the screen.

The well is the unit. How p values are made and what they assume: docs/screening.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm, t

from lysoquant.screening.controls import unbiased_ssmd
from lysoquant.screening.moderated import fit_prior, moderated
from lysoquant.screening.normalise import Normalised
from lysoquant.screening.params import ScreenParams
from lysoquant.screening.scores import inner_sd, outer_sd
from lysoquant.screening.wells import Wells
from lysoquant.statistics.multiplicity import adjust

Floats = NDArray[np.float64]

HIT_COLUMNS: Final[Mapping[str, type]] = {
    "condition": str,
    "dose": float,
    "n_plates": int,
    "n_wells": int,
    "wells": str,
    "n_cells": int,
    "n_endolysosomes": int,
    "occupancy_pooled": float,
    "effect": float,
    "effect_ci_low": float,
    "effect_ci_high": float,
    "score": float,
    "ssmd": float,
    "p_value": float,
    "p_adjusted": float,
    "is_hit": bool,
    "direction": str,
    "rank": int,
    "flags": str,
    "reason": str,
}

_FEWEST_FOR_BULK: Final = 50
"""Tested conditions from which on their own scores tell what inactive ones look like."""

_LEAST_P: Final = 1e-300
"""Below this p values have no normal quantile left."""

_MANY: Final = 1e9
"""Degrees of freedom that are as good as infinite."""


@dataclass(frozen=True)
class _Group:
    """Wells that are replicates of one thing.

    Attributes
    ----------
    condition : str
        Empty for a well that the plate map gives no condition.
    dose : float
        NaN for none.
    control : str
        Control where any of the condition's wells is.
    all, used : ndarray of int64
        Numbers of its wells, and of those with a normalised value.
    """

    condition: str
    dose: float
    control: str
    all: NDArray[np.int64]
    used: NDArray[np.int64]


@dataclass(frozen=True)
class _Tests:
    """Test of each group's mean normalised value; one value a group, NaN where there is none.

    Attributes
    ----------
    mean, low, high : ndarray of float64
        Mean with its interval, against the reference.
    p_value : ndarray of float64
        Two-sided.
    by_bulk : bool
        Whether the p values rest on the bulk of the conditions.
    """

    mean: Floats
    low: Floats
    high: Floats
    p_value: Floats
    by_bulk: bool


def hit_rows(
    wells: Wells,
    normalised: Normalised,
    params: ScreenParams,
    *,
    confidence: float,
    position_effects: Mapping[str, str] = MappingProxyType({}),
) -> list[dict[str, str | int | float]]:
    """One row a condition and dose, sorted by them; wells without a condition have a row each, sorted by well, first.

    Parameters
    ----------
    wells : Wells
        Of all plates.
    normalised : Normalised
        Their values against the reference.
    params : ScreenParams
        What a hit is.
    confidence : float
        Of the effect's interval, between 0 and 1.
    position_effects : mapping of str to str
        By plate, which effects of position were found that the normalisation leaves in.

    Returns
    -------
    list of dict
        Keys of :data:`HIT_COLUMNS`. Undefined numbers are NaN, with the reason. Controls have a row and are never
        hits; their p values don't enter the adjustment.
    """
    groups = _groups(wells, normalised)
    candidates = np.array([not group.control for group in groups], dtype=np.bool_)
    # What a polish or effects of position leave is no normal distribution: its wings tell how wide it is.
    by_wings = params.normalise == "b_score" or any(position_effects.values())
    tests = _tests(groups, normalised, candidates, params, confidence=confidence, by_wings=by_wings)
    p_values = tests.p_value.copy()
    if _against_negatives(params):
        # The reference is not tested against itself.
        itself = [group.control == "negative" for group in groups]
        for of_reference in (p_values, tests.low, tests.high):
            of_reference[itself] = np.nan
    tested = candidates & np.isfinite(p_values)
    adjusted = adjust(np.where(tested, p_values, np.nan))
    ranks = _ranks(p_values, tests.mean, tested)
    negative = np.flatnonzero(np.isfinite(normalised.values) & (wells.control == "negative"))
    rows = []
    for number, group in enumerate(groups):
        row = {**_counted(group, wells), **_effect(group, normalised, tests, number)}
        row |= {
            "ssmd": _ssmd(group, normalised, negative),
            "p_value": float(p_values[number]),
            "p_adjusted": float(adjusted[number]),
            "rank": ranks[number],
        }
        seen = {plate: position_effects.get(plate, "") for plate in np.unique(wells.plate[group.used]).tolist()}
        rows.append(_judged(row, group, wells, normalised, params, by_bulk=tests.by_bulk, position_effects=seen))
    return rows


def _groups(wells: Wells, normalised: Normalised) -> list[_Group]:
    """Groups in the order of their rows."""
    doses = np.where(np.isnan(wells.dose), -1.0, wells.dose)
    single = (wells.condition == "") & (wells.control == "")
    members: dict[tuple[str, str, float, int], list[int]] = {}
    for number in range(wells.well.size):
        own = number if single[number] else -1
        key = (str(wells.condition[number]), "" if wells.condition[number] else str(wells.control[number]))
        members.setdefault((*key, float(doses[number]), own), []).append(number)
    known = np.isfinite(normalised.values)
    groups = []
    for (condition, _, dose, _), numbers in sorted(members.items()):
        everything = np.array(numbers, dtype=np.int64)
        control = max(str(word) for word in wells.control[everything])
        groups.append(
            _Group(condition, dose if dose >= 0 else math.nan, control, everything, everything[known[everything]])
        )
    return groups


def _against_negatives(params: ScreenParams) -> bool:
    return params.normalise in ("none", "negative_controls")


def _tests(
    groups: list[_Group],
    normalised: Normalised,
    candidates: NDArray[np.bool_],
    params: ScreenParams,
    *,
    confidence: float,
    by_wings: bool,
) -> _Tests:
    values = normalised.values
    n = np.array([group.used.size for group in groups], dtype=np.float64)
    mean = np.array([values[group.used].mean() if group.used.size else math.nan for group in groups])
    variance = np.array([values[group.used].var(ddof=1) if group.used.size > 1 else 0.0 for group in groups])
    df = np.maximum(n - 1, 0)
    # Positive controls are far out, where the spread of logits is another one.
    inner = (df > 0) & np.array([group.control != "positive" for group in groups], dtype=np.bool_)
    prior = fit_prior(variances=variance[inner], dfs=df[inner])
    variance, capped = moderated(variances=variance, dfs=df, prior=prior)
    df = prior.df + df
    if not _against_negatives(params):
        # Without replicates the spread of the plate's bulk, which is 1, is what a well is held against.
        variance, df = np.where(n == 1, 1.0, variance), np.where(n == 1, math.inf, df)
        capped = np.where(n == 1, normalised.reference_df, capped)
    of_centre = np.array([_centre_variance(group, normalised) for group in groups])
    own = np.divide(variance, n, out=np.full(n.shape, np.nan), where=n > 0)
    bulk = np.flatnonzero(candidates & np.isfinite(own) & (own > 0))
    by_bulk = params.null_distribution == "bulk" and bulk.size >= _FEWEST_FOR_BULK
    inflation = 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        if by_bulk:
            p_value, inflation = _by_bulk(mean / np.sqrt(own), df, bulk, by_wings=by_wings)
        error = np.sqrt(own * inflation + of_centre)
        freedom = (own + of_centre) ** 2 / (own**2 / capped + of_centre**2 / normalised.reference_df)
        if not by_bulk:
            p_value = 2 * t.sf(np.abs(mean) / error, freedom)
        half = error * t.ppf((1 + confidence) / 2, freedom)
    return _Tests(mean, mean - half, mean + half, p_value, by_bulk)


def _by_bulk(statistic: Floats, df: Floats, bulk: NDArray[np.int64], *, by_wings: bool) -> tuple[Floats, float]:
    """p values by what most of the tested conditions look like.

    Parameters
    ----------
    statistic, df : ndarray of float64, shape (n_groups,)
        t statistics and their degrees of freedom; what all share (the error of the centre, that of a common spread) is
        left out of both, since the bulk has it too.
    bulk : ndarray of int64
        Numbers of the tested conditions, most of which are inactive.
    by_wings : bool
        Spread by the 80 % quantile, else by those that lie within 2.5 standard deviations.

    Returns
    -------
    tuple
        p values, shape (n_groups,), of normal scores over the bulk's median and robust spread; and by what the
        variance of the groups' means is to be multiplied, at least 1.

    References
    ----------
    Efron B (2004) Large-scale simultaneous hypothesis testing: the choice of a null hypothesis.
    J Am Stat Assoc 99:96-104. doi:10.1198/016214504000000089
    """
    tail = np.maximum(t.sf(np.abs(statistic), np.minimum(df, _MANY)), _LEAST_P)
    scores = np.copysign(norm.isf(tail), statistic)
    spread = (outer_sd if by_wings else inner_sd)(scores[bulk])
    p_values: Floats = 2 * norm.sf(np.abs(scores - np.median(scores[bulk])) / spread)
    return p_values, max(spread**2, 1.0)


def _centre_variance(group: _Group, normalised: Normalised) -> float:
    """Variance of the mean of the group's centres: wells of one reference share its error."""
    if not group.used.size:
        return math.nan
    which, first, counts = np.unique(normalised.reference[group.used], return_index=True, return_counts=True)
    shares = counts / group.used.size
    return float((shares**2 * normalised.centre_variance[group.used][first]).sum()) if which.size else math.nan


def _ranks(p_values: Floats, mean: Floats, tested: NDArray[np.bool_]) -> list[int | float]:
    """Rank of each tested condition, from 1: smallest p value first, then the largest score; NaN of the others."""
    order = sorted(np.flatnonzero(tested).tolist(), key=lambda i: (p_values[i], -abs(mean[i]), i))
    ranks: list[int | float] = [math.nan] * tested.size
    for rank, number in enumerate(order, start=1):
        ranks[number] = rank
    return ranks


def _counted(group: _Group, wells: Wells) -> dict[str, str | int | float]:
    """Counts over the wells that are used."""
    used = group.used
    n_loaded = int(wells.n_loaded[used].sum())
    n_all = n_loaded + int(wells.n_empty[used].sum())
    return {
        "condition": group.condition,
        "dose": group.dose,
        "n_plates": int(np.unique(wells.plate[used]).size),
        "n_wells": used.size,
        "wells": " ".join(_name(wells, number) for number in used),
        "n_cells": int(wells.n_cells[used].sum()),
        "n_endolysosomes": n_all,
        "occupancy_pooled": n_loaded / n_all if n_all else math.nan,
    }


def _name(wells: Wells, number: int) -> str:
    return f"{wells.plate[number]}:{wells.well[number]}"


def _effect(group: _Group, normalised: Normalised, tests: _Tests, number: int) -> dict[str, float]:
    """Mean normalised value, and the same as a difference of occupancy at the mean centre and scale of the wells."""
    if not group.used.size:
        return dict.fromkeys(("effect", "effect_ci_low", "effect_ci_high", "score"), math.nan)
    centre, scale = normalised.centre[group.used].mean(), normalised.scale[group.used].mean()

    def occupancy(value: float) -> float:
        return float(expit(centre + scale * value) - expit(centre))

    return {
        "effect": occupancy(float(tests.mean[number])),
        "effect_ci_low": occupancy(float(tests.low[number])),
        "effect_ci_high": occupancy(float(tests.high[number])),
        "score": float(tests.mean[number]),
    }


def _ssmd(group: _Group, normalised: Normalised, negative: NDArray[np.int64]) -> float:
    if group.control == "negative":
        return math.nan
    return unbiased_ssmd(sample=normalised.values[group.used], negative=normalised.values[negative])


def _judged(
    row: dict[str, str | int | float],
    group: _Group,
    wells: Wells,
    normalised: Normalised,
    params: ScreenParams,
    *,
    by_bulk: bool,
    position_effects: Mapping[str, str],
) -> dict[str, str | int | float]:
    """The row with what follows from its numbers: hit or not, direction, flags and reason."""
    effect, adjusted = float(row["effect"]), float(row["p_adjusted"])
    is_hit = adjusted <= params.max_p_adjusted and abs(effect) >= params.min_effect
    lost = np.setdiff1d(group.all, group.used).tolist()
    flags = {
        "negative_control": group.control == "negative",
        "positive_control": group.control == "positive",
        "not_tested": not group.control and math.isnan(adjusted),
        "single_well": group.used.size == 1,
        "excluded_wells": bool(lost),
        "position_effects": is_hit and any(position_effects.values()),
        "wells_disagree": is_hit and bool((normalised.values[group.used] * effect < 0).any()),
    }
    told = [_verdict(group, effect, adjusted, params, by_bulk=by_bulk)]
    told += [
        f"{_name(wells, number)} left out: {wells.excluded[number] or normalised.reason[number]}" for number in lost
    ]
    if is_hit:
        told += [f"{plate} has {seen.replace(';', ', ')}" for plate, seen in position_effects.items() if seen]
    row |= {
        "is_hit": is_hit,
        "direction": "" if math.isnan(effect) or effect == 0 else "up" if effect > 0 else "down",
        "flags": ";".join(name for name, holds in flags.items() if holds),
        "reason": "; ".join(part for part in told if part),
    }
    return {column: row[column] for column in HIT_COLUMNS}


def _verdict(group: _Group, effect: float, adjusted: float, params: ScreenParams, *, by_bulk: bool) -> str:
    """Why the condition is a hit or not, with the test, its n and the adjusted p value."""
    if group.control:
        return f"{group.control} control: not a candidate"
    if not group.used.size:
        return "no well to test"
    if math.isnan(adjusted):
        return "no spread to test against"
    n = group.used.size
    test = f"{'moderated t of' if n > 1 else 't of'} {n} well{'s' * (n > 1)}{' against the bulk' * by_bulk}"
    if adjusted > params.max_p_adjusted:
        return f"{test}: adjusted p {adjusted:.2g} > {params.max_p_adjusted:g}"
    told = f"{test}: adjusted p {adjusted:.2g} <= {params.max_p_adjusted:g}"
    if abs(effect) < params.min_effect:
        return f"{told}, but |effect| {abs(effect):.2g} < {params.min_effect:g}"
    return f"{told}, |effect| {abs(effect):.2g} >= {params.min_effect:g}"
