"""What report reads of a project's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from lysoquant.errors import LysoquantError, StageError
from lysoquant.io.store import PlateStore
from lysoquant.io.tables import read_parquet
from lysoquant.layout import Layout
from lysoquant.report.content import Tables, counted, tidy
from lysoquant.report.heatmap import plate_format
from lysoquant.report.measures import cell_columns, compared_columns, means_over_cells
from lysoquant.vocabulary import well_order

_CELL_COLUMNS: Final = (
    "plate",
    "well",
    "field",
    "cell",
    "touches_border",
    "is_expressing",
    "n_endolysosomes",
    "n_loaded",
    "occupancy",
)
"""What all cells of a project are held in memory with; the other columns are read plate by plate."""

_TEXT: Final = dict.fromkeys(
    (
        *("plate", "well", "condition", "control", "reference", "test", "wells", "flags", "reason", "direction"),
        *("is_hit", "factor", "level", "measurement", "scale", "unit", "adjustment", "note"),
    ),
    str,
)


def read_tables(layout: Layout) -> Tables:
    """The project's tables; those that aggregate did not write are empty.

    Raises
    ------
    StageError
        If a table can't be read.
    """
    wells, cells, fields = (
        tidy(read_parquet(layout.tables / f"{name}.parquet", columns=columns))
        for name, columns in (("wells", None), ("cells", _CELL_COLUMNS), ("fields", None))
    )
    small = {
        name: _read_csv(layout.tables / f"{name}.csv")
        for name in ("conditions", "statistics", "plates", "hits", "dose_response")
    }
    return Tables(wells=wells.iloc[_reading_order(wells)].reset_index(drop=True), cells=cells, fields=fields, **small)


def empty_cells(layout: Layout) -> pd.DataFrame:
    """The cell table without its rows."""
    path = layout.tables / "cells.parquet"
    file = min(path.glob("*.parquet"), default=path) if path.is_dir() else path
    try:
        frame: pd.DataFrame = pq.read_schema(file).empty_table().to_pandas()
    except (OSError, ValueError) as error:
        raise StageError(f"table {path} can't be read ({error}); delete it and run aggregate again") from error
    return frame


def cells_of_plate(layout: Layout, plate: str) -> pd.DataFrame:
    """All columns of the cells of a plate, sorted by well in reading order, field and cell."""
    frame = _cells(layout, plate)
    keys = [
        (*well_order(well), field, cell)
        for well, field, cell in zip(frame["well"], frame["field"], frame["cell"], strict=True)
    ]
    return frame.iloc[sorted(range(len(keys)), key=keys.__getitem__)].reset_index(drop=True)


def means_of_wells(layout: Layout, plates: Sequence[str]) -> pd.DataFrame:
    """Means over the counted cells of every well; one plate's cells are in memory at a time."""
    found = []
    for plate in plates:
        cells = _cells(layout, plate)
        found.append(means_over_cells(cells, cell_columns(cells), counted(cells)))
    return pd.concat(found) if found else pd.DataFrame()


def compared_cells(layout: Layout) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Measurements by which cells are compared, and their values for all cells in the order of the table.

    Returns
    -------
    tuple of (list of str, ndarray of shape (n, m), float32)
        Read column by column, so that no more than this is in memory.
    """
    path = layout.tables / "cells.parquet"
    columns = compared_columns(empty_cells(layout))
    parts = [read_parquet(path, columns=[name])[name].to_numpy(dtype=np.float32) for name in columns]
    return columns, np.stack(parts, axis=1) if parts else np.empty((0, 0), dtype=np.float32)


def _cells(layout: Layout, plate: str) -> pd.DataFrame:
    path = layout.tables / "cells.parquet"
    try:
        table = pq.read_table(path, filters=[("plate", "=", plate)], partitioning=None)
    except (OSError, ValueError) as error:
        raise StageError(f"table {path} can't be read ({error}); delete it and run aggregate again") from error
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _reading_order(wells: pd.DataFrame) -> list[int]:
    keys = [(plate, well_order(well)) for plate, well in zip(wells["plate"], wells["well"], strict=True)]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _read_csv(path: Path) -> pd.DataFrame:
    """A small table, empty where there is none."""
    try:
        # A condition may be called "NA" or "nan": text stays as it was written.
        frame = pd.read_csv(path, dtype=_TEXT, keep_default_na=False, na_values={}, encoding="utf-8")
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        raise StageError(f"table {path} can't be read ({error}); delete it and run aggregate again") from error
    for name in frame.columns.difference(list(_TEXT)):
        numbers = pd.to_numeric(frame[name].replace({"": "NaN"}), errors="coerce")
        if numbers.isna().sum() == frame[name].isin(["", "NaN"]).sum():
            frame[name] = numbers
    return frame


def plate_sizes(layout: Layout, wells: pd.DataFrame) -> Mapping[str, tuple[int, int]]:
    """Rows and columns of each plate."""
    return {
        str(plate): _plate_size(layout, str(plate), list(group["well"]))
        for plate, group in wells.groupby("plate", sort=True)
    }


def _plate_size(layout: Layout, plate: str, wells: list[str]) -> tuple[int, int]:
    """Size of a plate by its store; without a store, and for wells outside it, by the wells' names."""
    try:
        rows, columns = PlateStore.open(layout.plate_store(plate)).size
    except LysoquantError:
        return plate_format(wells)
    places = [well_order(well) for well in wells]
    fits = all(row < rows and column <= columns for row, column in places)
    return (rows, columns) if fits else plate_format(wells)
