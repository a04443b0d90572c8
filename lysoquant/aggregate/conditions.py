"""From wells to conditions. The well is the replicate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from lysoquant.aggregate.occupancy import beta_binomial_interval
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


def condition_rows(
    *, wells: Sequence[Row], confidence: float, interval: Literal["bootstrap", "beta_binomial"] = "bootstrap"
) -> list[Row]:
    """One row a condition, over all plates, sorted by name; wells without a condition do not enter.

    Parameters
    ----------
    wells : sequence of dict
        Rows of the well table.
    confidence : float
        Confidence of the interval, between 0 and 1.
    interval : str
        bootstrap: t interval of the mean over wells; beta_binomial: of the occupancy that the wells have in common,
        from their counts.

    Returns
    -------
    list of dict
        Keys of :data:`CONDITION_COLUMNS`. Occupancy's mean, SD and t interval and the mean area are over wells, each
        weighing the same; `occupancy_pooled` is loaded over all endolysosomes of the condition. SD and interval are
        NaN below two wells with an occupancy (`n_wells_with_occupancy`); the t interval is not cut at 0 and 1.
        `n_wells_failed` counts wells without images or with every field failed. A condition is a control when any of
        its wells is.
    """
    return [
        _condition_row(name, [row for row in wells if row["condition"] == name], confidence, interval)
        for name in _conditions(wells)
    ]


def _conditions(wells: Sequence[Row]) -> list[str]:
    return sorted({str(row["condition"]) for row in wells} - {""})


def _known(wells: Sequence[Row], condition: str, column: str) -> NDArray[np.float64]:
    """Values of a condition's wells that are not NaN."""
    values = np.array([row[column] for row in wells if row["condition"] == condition], dtype=np.float64)
    return values[np.isfinite(values)]


def _condition_row(name: str, wells: Sequence[Row], confidence: float, interval: str) -> Row:
    occupancy, area = _known(wells, name, "occupancy_mean"), _known(wells, name, "area_um2_mean")
    n_all, n_loaded = (sum(int(row[column]) for row in wells) for column in ("n_endolysosomes", "n_loaded"))
    mean = float(occupancy.mean()) if occupancy.size else math.nan
    sd = float(occupancy.std(ddof=1)) if occupancy.size > 1 else math.nan
    half = math.nan
    if occupancy.size > 1:
        half = float(t.ppf((1 + confidence) / 2, occupancy.size - 1)) * sd / math.sqrt(occupancy.size)
    low, high = mean - half, mean + half
    if interval == "beta_binomial":
        loaded, total = (_whole(wells, column) for column in ("n_loaded", "n_endolysosomes"))
        low, high = beta_binomial_interval(loaded=loaded, total=total, confidence=confidence)
    return {
        "condition": name,
        "control": max(str(row["control"]) for row in wells),
        "n_wells": len(wells),
        "n_wells_failed": sum(_failed(row) for row in wells),
        "n_cells": sum(int(row["n_cells"]) for row in wells),
        "n_endolysosomes": n_all,
        "occupancy_mean": mean,
        "occupancy_sd": sd,
        "occupancy_ci_low": low,
        "occupancy_ci_high": high,
        "occupancy_pooled": n_loaded / n_all if n_all else math.nan,
        "area_um2_mean": float(area.mean()) if area.size else math.nan,
        "n_wells_with_occupancy": occupancy.size,
    }


def _whole(wells: Sequence[Row], column: str) -> NDArray[np.int64]:
    return np.array([row[column] for row in wells], dtype=np.int64)


def _failed(row: Row) -> bool:
    return bool({NO_IMAGES, ALL_FIELDS_FAILED} & set(str(row["flags"]).split(";")))
