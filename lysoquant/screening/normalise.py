"""From plates to one screen: each well against what its plate lets expect, in units of spread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.screening.params import ScreenParams
from lysoquant.screening.scores import outer_sd, plate_surface, robust_sd
from lysoquant.screening.wells import Wells

Floats = NDArray[np.float64]

_BULK: Final = 20
"""Wells of a plate below which their bulk is no reference: a few active ones would move it."""

_MEDIAN: Final = math.pi / 2
"""Variance of a median of normal values over that of their mean, for many values."""


@dataclass(frozen=True)
class Normalised:
    """Each well against its reference; each array has one value a well.

    Attributes
    ----------
    values : ndarray of float64
        ``(logit - centre) / scale``; NaN where the well does not count or has no reference.
    centre, scale : ndarray of float64
        In logits.
    centre_variance : ndarray of float64
        Variance of the centre as an estimate, in units of `scale` squared; wells of a plate share its error.
    reference : ndarray of int64
        Which wells share that error: a number for each reference.
    reference_df : float
        Degrees of freedom of the spread that the centre's variance rests on.
    reason : ndarray of str
        Why a well that counts has no reference; empty elsewhere.
    """

    values: Floats
    centre: Floats
    scale: Floats
    centre_variance: Floats
    reference: NDArray[np.int64]
    reference_df: float
    reason: NDArray[np.str_]


def normalise(wells: Wells, params: ScreenParams) -> Normalised:
    """Bring all plates of a screen to one scale.

    Parameters
    ----------
    wells : Wells
        Of all plates. Wells that don't count influence nothing.
    params : ScreenParams
        `normalise` says how:

        none
            Centre and spread (1 SD) of the negative controls of all plates together.
        negative_controls
            Median of the plate's own negative controls; spread of the controls around their plates' means, one for
            the screen: a plate has too few of them to tell its own.
        robust_z
            Median and 1.4826 MAD of the plate's wells but positive controls.
        b_score
            What a median polish of these wells leaves, over its spread (:func:`outer_sd`, not the MAD of the well
            table's `b_score`).
    """
    n = wells.logit.size
    negative = wells.counts & (wells.control == "negative")
    plate = np.unique(wells.plate, return_inverse=True)[1].astype(np.int64)
    if params.normalise in ("none", "negative_controls"):
        shared = params.normalise == "none"
        return _against_controls(wells, negative, np.zeros(n, dtype=np.int64) if shared else plate, params.min_controls)
    return _against_bulk(wells, plate, surface=params.normalise == "b_score")


def _against_controls(
    wells: Wells, negative: NDArray[np.bool_], group: NDArray[np.int64], min_controls: int
) -> Normalised:
    centre, variance = np.full((2, group.size), np.nan)
    reason = np.full(group.size, "", dtype=object)
    squares, df = 0.0, 0
    for number in np.unique(group):
        here = group == number
        controls = wells.logit[here & negative]
        if controls.size < min_controls:
            reason[here] = f"{controls.size} negative control wells to compare with, {min_controls} needed"
            continue
        centre[here] = np.median(controls)
        variance[here] = _MEDIAN / controls.size
        squares += float(((controls - controls.mean()) ** 2).sum())
        df += controls.size - 1
    spread = math.sqrt(squares / df) if squares > 0 else math.nan
    if df and math.isnan(spread):
        reason[reason == ""] = "the negative control wells are all equal"
    return _normalised(wells, centre, np.full(group.size, spread), variance, group, float(df), reason)


def _against_bulk(wells: Wells, plate: NDArray[np.int64], *, surface: bool) -> Normalised:
    centre, scale, variance = np.full((3, plate.size), np.nan)
    reason = np.full(plate.size, "", dtype=object)
    df = 0
    for number in np.unique(plate):
        here = plate == number
        bulk = wells.counts[here] & (wells.control[here] != "positive")
        if bulk.sum() < _BULK:
            reason[here] = f"{bulk.sum()} wells make no bulk to compare with, {_BULK} needed"
            continue
        values = wells.logit[here]
        expected = np.full(values.size, np.median(values[bulk]))
        if surface:
            expected = plate_surface(values=values, rows=wells.row[here], columns=wells.column[here], fit=bulk)
        if np.isnan(expected).all():
            reason[here] = "the wells lie in one row or column"
            continue
        left = values - expected
        # The polish ends on columns: the rows' median, and with it the plate's, may be a little off 0.
        level = float(np.median(left[bulk]))
        spread = outer_sd(left[bulk]) if surface else robust_sd(left[bulk])
        if math.isnan(spread):
            reason[here] = "most wells of the plate are equal"
        centre[here], scale[here] = expected + level, spread
        variance[here] = _MEDIAN / bulk.sum()
        df += int(bulk.sum()) - 1
    return _normalised(wells, centre, scale, variance, plate, float(df), reason)


def _normalised(
    wells: Wells,
    centre: Floats,
    scale: Floats,
    variance: Floats,
    reference: NDArray[np.int64],
    df: float,
    reason: NDArray[np.object_],
) -> Normalised:
    values = np.where(wells.counts, (wells.logit - centre) / scale, np.nan)
    why = np.where(wells.counts, reason, "").astype(np.str_)
    return Normalised(values, centre, scale, variance, reference, df, why)
