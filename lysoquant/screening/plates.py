"""One row a plate: its counts, how far its controls are apart, and whether position or time shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.screening.controls import robust_ssmd, robust_z_prime, signal_window, ssmd, z_prime
from lysoquant.screening.normalise import Normalised
from lysoquant.screening.params import ScreenParams
from lysoquant.screening.position import acquisition_rank, drift, edge_effect, line_p_value, on_edge, plate_shape
from lysoquant.screening.wells import Wells

Floats = NDArray[np.float64]

PLATE_COLUMNS: Final[Mapping[str, type]] = {
    "plate": str,
    "n_wells": int,
    "n_wells_failed": int,
    "n_negative": int,
    "n_positive": int,
    "n_cells": int,
    "n_endolysosomes": int,
    "occupancy_median": float,
    "logit_mad": float,
    "z_prime": float,
    "robust_z_prime": float,
    "ssmd": float,
    "robust_ssmd": float,
    "signal_window": float,
    "edge_effect": float,
    "edge_p_value": float,
    "row_p_value": float,
    "column_p_value": float,
    "drift_per_well": float,
    "drift_p_value": float,
    "n_wells_excluded": int,
    "flags": str,
    "reason": str,
}

_POSITION_FLAGS: Final = ("edge_effect", "row_effect", "column_effect", "drift")

_OWN: Final = 3
"""Wells of a condition on a plate from which on they are held against each other and not against the plate."""


_THE_PLATE: Final = 0


def plate_rows(wells: Wells, normalised: Normalised, params: ScreenParams) -> list[dict[str, str | int | float]]:
    """One row a plate, in the order of the well table.

    Parameters
    ----------
    wells : Wells
        Of all plates.
    normalised : Normalised
        Says which plates have no reference.
    params : ScreenParams
        Limits of the flags.

    Returns
    -------
    list of dict
        Keys of :data:`PLATE_COLUMNS`. Counts of wells are of all wells, those of control wells and what is measured
        of wells that count.
    """
    return [_plate_row(name, wells, normalised, params) for name in wells.plates()]


def position_flags(row: Mapping[str, str | int | float]) -> str:
    """Which effects of position or time the row of a plate is flagged for, joined by ``;``."""
    return ";".join(flag for flag in str(row["flags"]).split(";") if flag in _POSITION_FLAGS)


def effects_left_in(plates: Sequence[Mapping[str, str | int | float]], params: ScreenParams) -> dict[str, str]:
    """Effects of position, by plate, that the normalisation leaves in its wells; all but a median polish do."""
    return {} if params.normalise == "b_score" else {str(row["plate"]): position_flags(row) for row in plates}


def _plate_row(name: str, wells: Wells, normalised: Normalised, params: ScreenParams) -> dict[str, str | int | float]:
    here = wells.plate == name
    known = here & wells.counts
    logit = wells.logit[known]
    negative, positive = (wells.logit[known & (wells.control == kind)] for kind in ("negative", "positive"))
    loaded, total = wells.n_loaded[known], (wells.n_loaded + wells.n_empty)[known]
    row: dict[str, str | int | float] = {
        "plate": name,
        "n_wells": int(here.sum()),
        "n_wells_failed": int(wells.failed[here].sum()),
        "n_negative": negative.size,
        "n_positive": positive.size,
        "n_cells": int(wells.n_cells[here].sum()),
        "n_endolysosomes": int((wells.n_empty + wells.n_loaded)[here].sum()),
        "occupancy_median": float(np.median(loaded / total)) if logit.size else math.nan,
        "logit_mad": float(np.median(np.abs(logit - np.median(logit)))) if logit.size else math.nan,
        "z_prime": z_prime(positive=positive, negative=negative),
        "robust_z_prime": robust_z_prime(positive=positive, negative=negative),
        "ssmd": ssmd(positive=positive, negative=negative),
        "robust_ssmd": robust_ssmd(positive=positive, negative=negative),
        "signal_window": signal_window(positive=positive, negative=negative),
        **_position(wells, here, known, params),
        "n_wells_excluded": int((here & ~wells.counts).sum()),
    }
    faults = _faults(row, params)
    reasons = [*faults.values(), *sorted(set(normalised.reason[known].tolist()) - {""})]
    if normalised.reason[known].any():
        faults["not_normalised"] = ""
    row |= {"flags": ";".join(faults), "reason": "; ".join(reason for reason in reasons if reason)}
    return {column: row[column] for column in PLATE_COLUMNS}


def _position(
    wells: Wells, here: NDArray[np.bool_], known: NDArray[np.bool_], params: ScreenParams
) -> dict[str, float]:
    values, like = _against_its_like(wells.logit[known], wells.condition[known])
    rows, columns = wells.row[known], wells.column[known]
    shape = plate_shape(rows=wells.row[here], columns=wells.column[here], plate_format=params.plate_format)
    effect, edge_p = math.nan, math.nan
    if shape is not None:
        edge = on_edge(rows=rows, columns=columns, shape=shape)
        # A condition whose wells are all on one side says nothing of the other.
        n_like, n_on_edge = np.bincount(like), np.bincount(like, weights=edge)
        telling = (like == _THE_PLATE) | ((n_on_edge > 0) & (n_on_edge < n_like))[like]
        effect, edge_p = edge_effect(values[telling], edge[telling])
    # The turn of a well counts wells that are excluded: they were imaged too.
    rank = acquisition_rank(rows=wells.row[here], columns=wells.column[here], order=params.acquisition_order)
    slope, drift_p = drift(values, rank[known[here]])
    return {
        "edge_effect": effect,
        "edge_p_value": edge_p,
        "row_p_value": line_p_value(values, rows),
        "column_p_value": line_p_value(values, columns),
        "drift_per_well": slope,
        "drift_p_value": drift_p,
    }


def _against_its_like(logit: Floats, condition: NDArray[np.str_]) -> tuple[Floats, NDArray[np.int64]]:
    """Each well less the median of its condition where that has several on the plate, of all other wells elsewhere.

    So the layout of controls and conditions does not pass for an effect of position. Also the number of what each well
    was held against, :data:`_THE_PLATE` for the other wells.
    """
    names, which, counts = np.unique(condition, return_inverse=True, return_counts=True)
    own = (counts >= _OWN) & (names != "")
    like = np.where(own[which], which + 1, _THE_PLATE).astype(np.int64)
    left = logit.copy()
    for number in np.unique(like):
        left[like == number] -= np.median(logit[like == number])
    return left, like


def _faults(row: Mapping[str, str | int | float], params: ScreenParams) -> dict[str, str]:
    """Flags of a plate in fixed order, each with its reason."""

    def number(name: str) -> float:
        return float(row[name])

    n_negative, n_positive = int(row["n_negative"]), int(row["n_positive"])
    faults: dict[str, str] = {}
    for kind, count in (("negative", n_negative), ("positive", n_positive)):
        if not count:
            faults[f"no_{kind}_control"] = f"no {kind} control well"
    if 0 < min(n_negative, n_positive) < params.min_controls:
        faults["few_controls"] = (
            f"{n_negative} negative and {n_positive} positive control wells, {params.min_controls} of each expected"
        )
    for name, least, size in (
        ("z_prime", params.min_z_prime, number("z_prime")),
        ("ssmd", params.min_ssmd, abs(number("ssmd"))),
        ("signal_window", params.min_signal_window, number("signal_window")),
    ):
        if size < least:
            faults[f"low_{name}"] = f"{name} {number(name):.3g}, at least {least:g} expected"
    for flag, column, test in (
        ("edge_effect", "edge_p_value", "Mann-Whitney test of edge wells"),
        ("row_effect", "row_p_value", "Kruskal-Wallis test over rows"),
        ("column_effect", "column_p_value", "Kruskal-Wallis test over columns"),
        ("drift", "drift_p_value", "Kendall test over the order of imaging"),
    ):
        if number(column) <= params.max_position_p:
            faults[flag] = f"{test}: p {number(column):.2g}"
    n_wells, n_failed = int(row["n_wells"]), int(row["n_wells_failed"])
    if n_failed > params.max_failed * n_wells:
        faults["many_failed_wells"] = f"{n_failed} of {n_wells} wells failed"
    return faults
