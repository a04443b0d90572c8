"""Other cargoes and combinations of cargoes: their endolysosomes counted beside the loaded ones of the first cargo."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lysoquant.aggregate.combinations import Combination
from lysoquant.aggregate.params import AggregateSettings

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Row = dict[str, str | int | float]
Columns = dict[str, Ints | Bools | NDArray[np.float64]]


@dataclass(frozen=True)
class Share:
    """Endolysosomes that another cargo loads, or that a combination picks.

    Attributes
    ----------
    name : str
        End of the column names of its occupancies: the label of the cargo, the name of the combination.
    is_column, n_column : str
        Column of the regions that says whether each is one, and of cells and wells with their number.
    combination : Combination or None
        None for another cargo, which measure has counted.
    """

    name: str
    is_column: str
    n_column: str
    combination: Combination | None = None

    def columns(self) -> dict[str, type]:
        """Columns of the well table by type."""
        occupancies = (f"occupancy_mean_{self.name}", f"occupancy_pooled_{self.name}")
        return {self.n_column: int, **dict.fromkeys(occupancies, float)}

    def of_well(self, *, n_all: Ints, n_share: Ints) -> dict[str, int | float]:
        """Values of :meth:`columns` from the counts of a well's cells, shape (n_cells,) each.

        As for the loaded ones of the first cargo, the mean occupancy is over the cells that have an endolysosome, and
        both occupancies are NaN without any.
        """
        some, total = n_all > 0, int(n_all.sum())
        mean = float((n_share[some] / n_all[some]).mean()) if some.any() else math.nan
        n_found = int(n_share.sum())
        return dict(zip(self.columns(), (n_found, mean, n_found / total if total else math.nan), strict=True))


def shares_of(settings: AggregateSettings) -> tuple[Share, ...]:
    """Other cargoes in the order of the settings, then combinations by name."""
    others = [Share(cargo, f"is_loaded_{cargo}", f"n_loaded_{cargo}") for cargo in settings.other_cargoes]
    combined = [
        Share(name, f"is_{name}", f"n_{name}", Combination(text))
        for name, text in sorted(settings.params.combinations.items())
    ]
    return (*others, *combined)


def share_columns(shares: Sequence[Share]) -> dict[str, type]:
    """Columns of the well table by type."""
    return {name: kind for share in shares for name, kind in share.columns().items()}


def with_shares(conditions: Sequence[Row], wells: Sequence[Row], shares: Sequence[Share]) -> list[Row]:
    """Rows of the table of conditions with the columns of the well table, over each condition's wells.

    As for the first cargo, the mean occupancy is of the wells that have one, each weighing the same.
    """
    rows = []
    for condition in conditions:
        own = [row for row in wells if row["condition"] == condition["condition"]]
        n_all = sum(int(row["n_endolysosomes"]) for row in own)
        more: Row = {}
        for share in shares:
            n_column, mean_column, pooled_column = share.columns()
            n_found = sum(int(row[n_column]) for row in own)
            means = np.array([row[mean_column] for row in own], dtype=np.float64)
            known = means[np.isfinite(means)]
            more[n_column] = n_found
            more[mean_column] = float(known.mean()) if known.size else math.nan
            more[pooled_column] = n_found / n_all if n_all else math.nan
        rows.append(condition | more)
    return rows


def with_combinations(name: str, schema: pa.Schema, shares: Sequence[Share]) -> pa.Schema:
    """Schema of a part table with the columns that :func:`combined` adds."""
    for share in shares:
        if share.combination is not None and name == "endolysosomes":
            schema = schema.append(pa.field(share.is_column, pa.bool_()))
        elif share.combination is not None and name == "cells":
            schema = schema.append(pa.field(share.n_column, pa.int64()))
            schema = schema.append(pa.field(f"occupancy_{share.name}", pa.float64()))
    return schema


def combined(
    *, loaded: Mapping[str, Bools], cell_of_region: Ints, n_of_cells: Ints, shares: Sequence[Share]
) -> tuple[Columns, Columns]:
    """Columns that combinations add to the regions and cells of a well.

    Parameters
    ----------
    loaded : mapping of str to ndarray (n_regions,), bool
        Whether each region is loaded, by cargo.
    cell_of_region : ndarray (n_regions,), int64
        Index of each region's cell.
    n_of_cells : ndarray (n_cells,), int64
        Endolysosomes of each cell.

    Returns
    -------
    tuple of dict
        `is_<name>` of the regions; `n_<name>` and `occupancy_<name>` of the cells, NaN where there is no endolysosome.
    """
    of_regions: Columns = {}
    of_cells: Columns = {}
    for share in shares:
        if share.combination is not None:
            holds = share.combination.of(loaded)
            count = np.bincount(cell_of_region[holds], minlength=len(n_of_cells))
            undefined = np.full(len(n_of_cells), np.nan)
            of_regions[share.is_column] = holds
            of_cells[share.n_column] = count
            of_cells[f"occupancy_{share.name}"] = np.divide(count, n_of_cells, out=undefined, where=n_of_cells > 0)
    return of_regions, of_cells
