"""Part tables of one well: read, sorted, joined to one schema, and summed up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lysoquant.aggregate.expression import Floats, Gate, is_expressing
from lysoquant.aggregate.field_quality import FieldJudge, judged
from lysoquant.aggregate.params import AggregateSettings
from lysoquant.aggregate.shares import Share, combined, shares_of, with_combinations
from lysoquant.aggregate.wells import WellParts
from lysoquant.errors import InputError, StageError
from lysoquant.io.tables import read_schema
from lysoquant.layout import Layout

SORT_KEYS: Final = {"endolysosomes": ("field", "cell", "label"), "cells": ("field", "cell"), "fields": ("field",)}
"""Part tables and what sorts the rows of one well."""

Parts = dict[str, pa.Table]
"""Part tables of one well by name."""

Schemas = dict[str, pa.Schema]
"""Schema of each joined table by name."""


def joined_schemas(layout: Layout, plate: str, wells: Sequence[str], *, shares: Sequence[Share] = ()) -> Schemas:
    """Schema of each joined table of a plate: every column that any of its wells has."""
    found: Schemas = dict.fromkeys(SORT_KEYS, pa.schema([]))
    for name in SORT_KEYS if wells else ():
        parts = [read_schema(_part_path(layout, plate, well, name)).remove_metadata() for well in wells]
        unified = unified_schema(map(_with_expression, parts) if name == "cells" else parts)
        found[name] = with_combinations(name, unified, shares)
    return found


def unified_schema(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """One schema for tables whose plates have different channels.

    Parameters
    ----------
    schemas : iterable of pyarrow.Schema
        In the order of plates and wells.

    Returns
    -------
    pyarrow.Schema
        Columns of the first in their order; a column that only a later one has comes before the column that follows
        it there. Types are widened where wells differ (a column of an empty well may have no type).
    """
    distinct = list(dict.fromkeys(schemas))
    names: list[str] = []
    for schema in distinct:
        at = len(names)
        for name in reversed(schema.names):
            if name in names:
                at = names.index(name)
            else:
                names.insert(at, name)
    merged = pa.unify_schemas(distinct, promote_options="permissive")
    return pa.schema([pa.field(name, merged.field(name).type) for name in names])


def read_cargo(layout: Layout, plate: str, well: str, *, settings: AggregateSettings) -> Floats:
    """Mean cargo intensity of each cell of a well: ndarray (n_cells,), float64; NaN where it is unknown.

    Raises
    ------
    InputError
        If the plate lacks the cargo channel.
    StageError
        If the table can't be read.
    """
    return _cargo_mean(_read_table(_part_path(layout, plate, well, "cells"), plate), plate=plate, settings=settings)


def read_fields(layout: Layout, plate: str, well: str) -> list[dict[str, Any]]:
    """Rows of the fields of a well.

    Raises
    ------
    StageError
        If the table can't be read.
    """
    rows: list[dict[str, Any]] = _read_table(_part_path(layout, plate, well, "fields"), plate).to_pylist()
    return rows


def read_parts(
    layout: Layout, plate: str, well: str, *, settings: AggregateSettings, gate: Gate, judge: FieldJudge
) -> Parts:
    """Part tables of one well, sorted, the cells with `is_expressing`, the fields judged, with the combinations.

    Raises
    ------
    InputError
        If the expression gate needs a channel that the plate lacks.
    StageError
        If a table can't be read or lacks another cargo.
    """
    tables: Parts = {}
    for name, keys in SORT_KEYS.items():
        table = _read_table(_part_path(layout, plate, well, name), plate)
        tables[name] = table.sort_by([(key, "ascending") for key in keys])
    tables["fields"] = judged(tables["fields"], judge)
    cells = tables["cells"]
    expressing = is_expressing(cargo_mean=_cargo_mean(cells, plate=plate, settings=settings), gate=gate)
    at = cells.schema.get_field_index("n_endolysosomes")
    tables["cells"] = cells.add_column(at, "is_expressing", pa.array(expressing))
    _add_combinations(tables, settings, plate)
    return tables


def _add_combinations(tables: Parts, settings: AggregateSettings, plate: str) -> None:
    cells, regions = tables["cells"], tables["endolysosomes"]
    columns = {settings.cargo: "is_loaded", **{cargo: f"is_loaded_{cargo}" for cargo in settings.other_cargoes}}
    for cargo, column in columns.items():
        if column not in regions.column_names:
            raise StageError(
                f"plate {plate}: its endolysosomes were not classified by cargo {cargo!r}; run `lysoquant segment"
                f" PROJECT --plate {plate}` and `lysoquant measure PROJECT --plate {plate}` first"
            )
    added = combined(
        loaded={cargo: np.asarray(regions.column(name).to_numpy(), np.bool_) for cargo, name in columns.items()},
        cell_of_region=np.searchsorted(_cell_keys(cells), _cell_keys(regions)),
        n_of_cells=_whole(cells, "n_endolysosomes"),
        shares=shares_of(settings),
    )
    for name, new in zip(("endolysosomes", "cells"), added, strict=True):
        for column, values in new.items():
            tables[name] = tables[name].append_column(column, pa.array(values))


def all_aligned(tables: Parts, schemas: Schemas) -> Parts:
    """Tables of a well with exactly the columns of the joined ones; null where they lack one."""
    return {name: _aligned(table, schemas[name]) for name, table in tables.items()}


def _aligned(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def summary(tables: Parts, *, shares: Sequence[Share] = ()) -> WellParts:
    """What the well's row needs of its tables."""
    cells, regions, fields = tables["cells"], tables["endolysosomes"], tables["fields"]
    expressing = np.asarray(cells.column("is_expressing").to_numpy(), dtype=np.bool_)
    counted = np.isin(_cell_keys(regions), _cell_keys(cells)[expressing])
    return WellParts(
        statuses=fields.column("status").to_pylist(),
        reasons=[reason or "" for reason in fields.column("reason").to_pylist()],
        expressing=expressing,
        n_empty=_whole(cells, "n_empty"),
        n_loaded=_whole(cells, "n_loaded"),
        area_um2=_real(regions, "area_um2")[counted],
        n_share={share.n_column: _whole(cells, share.n_column) for share in shares},
    )


def _part_path(layout: Layout, plate: str, well: str, name: str) -> Path:
    return layout.well_tables(plate, well) / f"{name}.parquet"


def _with_expression(schema: pa.Schema) -> pa.Schema:
    at = schema.get_field_index("n_endolysosomes")
    return schema.insert(at, pa.field("is_expressing", pa.bool_()))


def _read_table(path: Path, plate: str) -> pa.Table:
    try:
        # Without `partitioning` a folder such as "a=b" above the file would become a column.
        return pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowInvalid) as error:
        reason = " ".join(str(error).split())
        raise StageError(
            f"{path}: the part table can't be read ({reason}); delete it and run"
            f" `lysoquant measure PROJECT --plate {plate}` again"
        ) from error


def _cargo_mean(cells: pa.Table, *, plate: str, settings: AggregateSettings) -> Floats:
    column = f"intensity_mean_{settings.cargo}"
    if column in cells.column_names:
        return _real(cells, column)
    if settings.params.expression.method == "none" or not cells.num_rows:
        return np.full(cells.num_rows, np.nan)
    raise InputError(
        f"plate {plate}: its cells have no cargo channel {settings.cargo!r}; correct channels.cargo, or set"
        " aggregate.expression.method to none"
    )


def _whole(table: pa.Table, column: str) -> NDArray[np.int64]:
    return np.asarray(table.column(column).to_numpy(), dtype=np.int64)


def _real(table: pa.Table, column: str) -> NDArray[np.float64]:
    return np.asarray(table.column(column).to_numpy(), dtype=np.float64)


def _cell_keys(table: pa.Table) -> NDArray[np.int64]:
    """One number a cell of the well: cells are numbered anew, as 32-bit labels, in every field."""
    return (_whole(table, "field") << 32) + _whole(table, "cell")
