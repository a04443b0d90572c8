"""From wells to the replicates that tests compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lysoquant.aggregate.params import StatisticsParams
from lysoquant.aggregate.wells import COLUMNS, Row
from lysoquant.errors import ConfigError
from lysoquant.statistics.log_odds import log_odds

_OF_CELLS = {
    "fraction": ("occupancy_mean", "occupancy_sd"),
    "logit": ("occupancy_logit_mean", "occupancy_logit_sd"),
}
"""Mean and SD over a well's cells by scale."""


@dataclass(frozen=True)
class Replicate:
    """One independent replicate: a well, or the wells of one replicate number.

    Attributes
    ----------
    plate, condition : str
    level : str
        Of the second factor; empty where the plate map says nothing.
    value : float
        The measurement, on the scale of the tests; NaN where the replicate has none.
    n_cells : int
        Cells with an occupancy.
    cell_mean, cell_squares : float
        Their mean on the scale of the tests and the sum of their squared distances from it.
    n_loaded, n_endolysosomes : int
        Of those cells.
    """

    plate: str
    condition: str
    level: str
    value: float
    n_cells: int
    cell_mean: float
    cell_squares: float
    n_loaded: int
    n_endolysosomes: int

    @property
    def pooled(self) -> float:
        """Loaded over all endolysosomes; NaN where there is none."""
        return self.n_loaded / self.n_endolysosomes if self.n_endolysosomes else math.nan


def replicates(*, wells: Sequence[Row], params: StatisticsParams) -> list[Replicate]:
    """Replicates of all wells that have a condition, in the order of the wells.

    Parameters
    ----------
    wells : sequence of dict
        Rows of the well table.
    params : StatisticsParams
        Measurement, scale, unit and second factor.

    Returns
    -------
    list of Replicate
        With ``unit: replicate`` the wells of one plate, condition, level and replicate number are one: their values
        averaged, their cells and counts put together. A well without a number is a replicate of its own.

    Raises
    ------
    ConfigError
        If the measurement or the second factor is no column that can be one, or log odds are asked of what is no
        fraction.
    """
    named = [row for row in wells if row["condition"] != ""]
    with_factor = "two_way_sidak" in params.tests
    params.require_factor(
        {name for row in wells for name, value in row.items() if name not in COLUMNS and isinstance(value, str)}
    )
    values = _values(named, params) if named else np.zeros(0)
    grouped: dict[tuple[str, ...], list[int]] = {}
    for at, row in enumerate(named):
        level = str(row.get(params.second_factor, "")) if with_factor else ""
        key = (str(row["plate"]), str(row["condition"]), level)
        own = params.unit == "well" or row["replicate"] == ""
        grouped.setdefault((*key, str(row["well"]) if own else "", str(row["replicate"])), []).append(at)
    return [
        _joined(key[:3], [named[at] for at in members], values[members], params.scale)
        for key, members in grouped.items()
    ]


def _joined(key: Sequence[str], rows: Sequence[Row], values: NDArray[np.float64], scale: str) -> Replicate:
    known = values[np.isfinite(values)]
    n_cells = np.array([row["n_cells_with_occupancy"] for row in rows], dtype=np.int64)
    mean, sd = (np.array([row[name] for row in rows], dtype=np.float64)[n_cells > 0] for name in _OF_CELLS[scale])
    of_each = n_cells[n_cells > 0]
    squares = np.where(of_each > 1, sd, 0.0) ** 2 * (of_each - 1)
    cell_mean = float((of_each * mean).sum() / of_each.sum()) if of_each.size else math.nan
    plate, condition, level = key
    return Replicate(
        plate=plate,
        condition=condition,
        level=level,
        value=float(known.mean()) if known.size else math.nan,
        n_cells=int(of_each.sum()),
        cell_mean=cell_mean,
        cell_squares=float(squares.sum() + (of_each * (mean - cell_mean) ** 2).sum()),
        n_loaded=sum(int(row["n_loaded"]) for row in rows),
        n_endolysosomes=sum(int(row["n_endolysosomes"]) for row in rows),
    )


def _values(wells: Sequence[Row], params: StatisticsParams) -> NDArray[np.float64]:
    """The measurement of each well on the scale of the tests."""
    name = params.measurement
    numeric = [column for column, value in wells[0].items() if isinstance(value, int | float)]
    if name not in numeric:
        raise ConfigError(
            f"aggregate.statistics.measurement is {name!r}, no number of the well table; expected one of"
            f" {', '.join(numeric)}"
        )
    values = np.array([row[name] for row in wells], dtype=np.float64)
    if params.scale == "fraction":
        return values
    known = np.isfinite(values)
    outside = np.flatnonzero(known & ((values < 0) | (values > 1)))
    if outside.size:
        first = wells[int(outside[0])]
        raise ConfigError(
            f"aggregate.statistics.scale is 'logit', and {name} of well {first['well']} of plate {first['plate']} is"
            f" {values[outside[0]]:g}, no fraction; expected values from 0 to 1: choose another measurement, or set"
            " scale to fraction"
        )
    return log_odds(values, n=np.array([row["n_endolysosomes"] for row in wells], dtype=np.int64))
