"""From wells to conditions, and conditions against the negative control. The well is the replicate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, t

from lysoquant.aggregate.wells import ALL_FIELDS_FAILED, NO_IMAGES, Row

CONDITION_COLUMNS: Final[Mapping[str, type]] = {
    "condition": str,
    "control": str,
    "n_wells": int,
    "n_wells_failed": int,
    "n_cells": int,
    "n_endolysosomes": int,
    "occupancy_mean": float,
    "occupancy_sd": float,
    "occupancy_ci_low": float,
    "occupancy_ci_high": float,
    "occupancy_pooled": float,
    "area_um2_mean": float,
    "n_wells_with_occupancy": int,
}

STATISTICS_COLUMNS: Final[Mapping[str, type]] = {
    "condition": str,
    "reference": str,
    "test": str,
    "n_condition": int,
    "n_reference": int,
    "difference": float,
    "ci_low": float,
    "ci_high": float,
    "statistic": float,
    "df": float,
    "p_value": float,
    "p_adjusted": float,
}

_TEST: Final = "Welch t on well means"


@dataclass(frozen=True)
class Welch:
    """Difference of two means; see :func:`welch`."""

    difference: float
    ci_low: float
    ci_high: float
    statistic: float
    df: float
    p_value: float


def condition_rows(*, wells: Sequence[Row], confidence: float) -> list[Row]:
    """One row a condition, over all plates, sorted by name; wells without a condition do not enter.

    Parameters
    ----------
    wells : sequence of dict
        Rows of the well table.
    confidence : float
        Confidence of the interval, between 0 and 1.

    Returns
    -------
    list of dict
        Keys of :data:`CONDITION_COLUMNS`. Occupancy's mean, SD and t interval and the mean area are over wells, each
        weighing the same; `occupancy_pooled` is loaded over all endolysosomes of the condition. SD and interval are
        NaN below two wells with an occupancy (`n_wells_with_occupancy`); the interval is not cut at 0 and 1.
        `n_wells_failed` counts wells without images or with every field failed. A condition is a control when any of
        its wells is.
    """
    return [
        _condition_row(name, [row for row in wells if row["condition"] == name], confidence)
        for name in _conditions(wells)
    ]


def statistics_rows(*, wells: Sequence[Row], confidence: float) -> list[Row]:
    """Every other condition against each negative control, over all plates, sorted by condition and reference.

    Parameters
    ----------
    wells : sequence of dict
        Rows of the well table; those with control ``negative`` are the references.
    confidence : float
        Confidence of the interval of the difference, between 0 and 1.

    Returns
    -------
    list of dict
        Keys of :data:`STATISTICS_COLUMNS`: Welch's t test of the wells' `occupancy_mean`, with p values adjusted over
        the whole table by Benjamini and Hochberg [1]_. Numbers that fewer than two wells on a side can't give are NaN,
        beside the counts. No row without a negative control.

    References
    ----------
    .. [1] Benjamini Y, Hochberg Y (1995) Controlling the false discovery rate. J R Stat Soc B 57:289-300.
       doi:10.1111/j.2517-6161.1995.tb02031.x
    """
    names = _conditions(wells)
    references = sorted({str(row["condition"]) for row in wells if row["control"] == "negative"} & set(names))
    values = {name: _known(wells, name, "occupancy_mean") for name in names}
    rows: list[Row] = []
    for name in names:
        for reference in references if name not in references else ():
            found = welch(values[name], values[reference], confidence=confidence)
            counts = {"n_condition": values[name].size, "n_reference": values[reference].size}
            rows.append({"condition": name, "reference": reference, "test": _TEST} | counts | vars(found))
    adjusted = adjust(np.array([row["p_value"] for row in rows], dtype=np.float64))
    return [row | {"p_adjusted": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def welch(a: NDArray[np.float64], b: NDArray[np.float64], *, confidence: float) -> Welch:
    """Welch's t test of two means, two-sided, with the interval of their difference.

    Parameters
    ----------
    a, b : ndarray of float64, shape (n_a,) and (n_b,)
        Finite values of the two groups.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    Welch
        ``mean(a) - mean(b)``; the rest is NaN with fewer than two values in a group or no spread in either.

    References
    ----------
    Welch BL (1947) The generalization of Student's problem when several different population variances are involved.
    Biometrika 34:28-35. doi:10.1093/biomet/34.1-2.28
    """
    if not a.size or not b.size:
        return Welch(*[math.nan] * 6)
    difference = float(a.mean() - b.mean())
    if a.size < 2 or b.size < 2 or (np.ptp(a) == 0 and np.ptp(b) == 0):
        return Welch(difference, *[math.nan] * 5)
    of_a, of_b = float(a.var(ddof=1)) / a.size, float(b.var(ddof=1)) / b.size
    error = math.sqrt(of_a + of_b)
    df = (of_a + of_b) ** 2 / (of_a**2 / (a.size - 1) + of_b**2 / (b.size - 1))
    half = error * float(t.ppf((1 + confidence) / 2, df))
    statistic = difference / error
    p_value = 2 * float(t.sf(abs(statistic), df))
    return Welch(difference, difference - half, difference + half, statistic, df, p_value)


def adjust(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini-Hochberg adjusted p values, shape (n,); NaN stays NaN and does not count as a test."""
    adjusted = np.full(p_values.shape, np.nan)
    known = np.isfinite(p_values)
    if known.any():
        adjusted[known] = false_discovery_control(p_values[known], method="bh")
    return adjusted


def _conditions(wells: Sequence[Row]) -> list[str]:
    return sorted({str(row["condition"]) for row in wells} - {""})


def _known(wells: Sequence[Row], condition: str, column: str) -> NDArray[np.float64]:
    """Values of a condition's wells that are not NaN."""
    values = np.array([row[column] for row in wells if row["condition"] == condition], dtype=np.float64)
    return values[np.isfinite(values)]


def _condition_row(name: str, wells: Sequence[Row], confidence: float) -> Row:
    occupancy, area = _known(wells, name, "occupancy_mean"), _known(wells, name, "area_um2_mean")
    n_all, n_loaded = (sum(int(row[column]) for row in wells) for column in ("n_endolysosomes", "n_loaded"))
    mean = float(occupancy.mean()) if occupancy.size else math.nan
    sd = float(occupancy.std(ddof=1)) if occupancy.size > 1 else math.nan
    half = math.nan
    if occupancy.size > 1:
        half = float(t.ppf((1 + confidence) / 2, occupancy.size - 1)) * sd / math.sqrt(occupancy.size)
    return {
        "condition": name,
        "control": max(str(row["control"]) for row in wells),
        "n_wells": len(wells),
        "n_wells_failed": sum(_failed(row) for row in wells),
        "n_cells": sum(int(row["n_cells"]) for row in wells),
        "n_endolysosomes": n_all,
        "occupancy_mean": mean,
        "occupancy_sd": sd,
        "occupancy_ci_low": mean - half,
        "occupancy_ci_high": mean + half,
        "occupancy_pooled": n_loaded / n_all if n_all else math.nan,
        "area_um2_mean": float(area.mean()) if area.size else math.nan,
        "n_wells_with_occupancy": occupancy.size,
    }


def _failed(row: Row) -> bool:
    return bool({NO_IMAGES, ALL_FIELDS_FAILED} & set(str(row["flags"]).split(";")))
