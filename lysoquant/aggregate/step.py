"""aggregate: the wells' part tables in, the project's tables out."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lysoquant.aggregate.conditions import CONDITION_COLUMNS, STATISTICS_COLUMNS, condition_rows, statistics_rows
from lysoquant.aggregate.expression import is_expressing
from lysoquant.aggregate.params import AggregateSettings
from lysoquant.aggregate.plate_map import PlateMap, read_plate_map
from lysoquant.aggregate.wells import COLUMNS, Row, WellParts, score_plate, well_row
from lysoquant.errors import InputError, StageError
from lysoquant.io.tables import parquet_writer, read_schema
from lysoquant.layout import Layout
from lysoquant.progress import Progress
from lysoquant.record import (
    Json,
    digest_file,
    digest_json,
    read_json,
    require_wells,
    versions,
    write_json,
    write_text_atomic,
)
from lysoquant.source import source_digest
from lysoquant.vocabulary import well_order

_STAGE: Final = "aggregate"

_SORT_KEYS: Final = {"endolysosomes": ("field", "cell", "label"), "cells": ("field", "cell"), "fields": ("field",)}
"""Part tables and what sorts the rows of one well."""

_OUTPUTS: Final = (
    *(f"{name}.parquet" for name in _SORT_KEYS),
    "wells.parquet",
    "wells.csv",
    "conditions.csv",
    "statistics.csv",
)

_ARROW_TYPES: Final = {str: pa.string(), int: pa.int64(), float: pa.float64()}

_Parts = dict[str, pa.Table]
"""Part tables of one well by name."""


def run(
    *,
    layout: Layout,
    plates: Mapping[str, Sequence[str]],
    plate_map: Sequence[Mapping[str, str]],
    settings: AggregateSettings,
    record: Path,
) -> Json:
    """Join all wells' part tables and compute wells, conditions and statistics.

    Returns at once when neither the wells' content, the plate map, the settings nor the code changed.

    Parameters
    ----------
    layout : Layout
        Paths of the project; the tables go to ``layout.tables``.
    plates : mapping of str to sequence of str
        Measured wells by plate, in any order.
    plate_map : sequence of mapping of str to str
        Rows of ``wells.tsv``: plate, well, condition, replicate, control and the user's own columns. A well without
        images gets its row all the same, and so does a measured well that the map does not name.
    settings : AggregateSettings
        Everything else that the result depends on.
    record : pathlib.Path
        Where to leave the record.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    ConfigError
        If the plate map is impossible.
    InputError
        If the expression gate needs a channel that a plate lacks.
    StageError
        If there is no well, or a well was not measured or its part tables can't be read.
    """
    started = time.perf_counter()
    wells = {plate: sorted(set(plates[plate]), key=well_order) for plate in sorted(plates)}
    if not any(wells.values()):
        raise StageError("aggregate: no plate has a measured well; add a plate to plates.tsv and run measure first")
    mapped = read_plate_map(rows=plate_map, plates=wells, reserved=COLUMNS)
    inputs = _inputs(layout=layout, wells=wells, plate_map=mapped)
    parameters = settings.model_dump(mode="json")
    code = source_digest(_STAGE)
    key = digest_json({"parameters": parameters, "code": code, "inputs": inputs})
    done = layout.project_work_record(_STAGE)
    old = read_json(done)
    if old is not None and old.get("key") == key and _are_whole(layout, old):
        if read_json(record) != old:
            write_json(record, old)
        return old
    for stale in (done, record):
        stale.unlink(missing_ok=True)
    counts = _write_tables(layout=layout, wells=wells, plate_map=mapped, settings=settings)
    outputs = {layout.relative(layout.tables / name): digest_file(layout.tables / name) for name in _OUTPUTS}
    found: Json = {
        "stage": _STAGE,
        "key": key,
        "inputs": inputs,
        "parameters": parameters,
        "code": code,
        "digest": digest_json(outputs),
        "outputs": outputs,
        "read": [layout.relative(layout.well_tables(plate, well)) for plate in wells for well in wells[plate]],
        "wrote": list(outputs),
        "counts": counts,
        "seconds": round(time.perf_counter() - started, 3),
        "versions": versions(),
    }
    write_json(done, found)
    write_json(record, found)
    return found


def _are_whole(layout: Layout, record: Json) -> bool:
    """Whether the tables are there as they were written."""
    outputs: Json = record.get("outputs", {})
    paths = {layout.relative(path): path for path in (layout.tables / name for name in _OUTPUTS)}
    return all(path.is_file() and outputs.get(name) == digest_file(path) for name, path in paths.items())


def _inputs(*, layout: Layout, wells: Mapping[str, Sequence[str]], plate_map: PlateMap) -> Json:
    """Digests of what the tables are made of."""
    measured = {
        plate: {well: found["digest"] for well, found in require_wells(layout, plate, "measure", names).items()}
        for plate, names in wells.items()
    }
    return {"measure": measured, "plate_map": plate_map.digest}


def _write_tables(
    *, layout: Layout, wells: Mapping[str, Sequence[str]], plate_map: PlateMap, settings: AggregateSettings
) -> dict[str, int]:
    """Write all tables; returns their lengths."""
    layout.tables.mkdir(parents=True, exist_ok=True)
    rows, lengths = _join_parts(layout=layout, wells=wells, plate_map=plate_map, settings=settings)
    _write_well_table(layout.tables, rows, {**COLUMNS, **dict.fromkeys(plate_map.extra_columns, str)})
    confidence = settings.params.confidence
    conditions = condition_rows(wells=rows, confidence=confidence)
    statistics = statistics_rows(wells=rows, confidence=confidence)
    write_text_atomic(layout.tables / "conditions.csv", csv_text(conditions, columns=CONDITION_COLUMNS))
    write_text_atomic(layout.tables / "statistics.csv", csv_text(statistics, columns=STATISTICS_COLUMNS))
    return {"wells": len(rows), **lengths, "conditions": len(conditions)}


def _join_parts(
    *, layout: Layout, wells: Mapping[str, Sequence[str]], plate_map: PlateMap, settings: AggregateSettings
) -> tuple[list[Row], dict[str, int]]:
    """Write the joined part tables, one well in memory at a time; returns the wells' rows and the tables' lengths."""
    schemas = _schemas(layout=layout, wells=wells)
    lengths = dict.fromkeys(schemas, 0)
    rows: list[Row] = []
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(_STAGE, total=sum(map(len, wells.values()))))
        writers = {
            name: stack.enter_context(parquet_writer(layout.tables / f"{name}.parquet", schema))
            for name, schema in schemas.items()
        }
        for plate, measured in wells.items():
            of_plate: list[Row] = []
            for well in sorted({*measured, *plate_map.wells(plate)}, key=well_order):
                found = WellParts.without_images()
                if well in measured:
                    tables = _read_parts(layout=layout, plate=plate, well=well, settings=settings)
                    for name, table in tables.items():
                        lengths[name] += table.num_rows
                        if table.num_rows:
                            writers[name].write_table(_aligned(table, schemas[name]))
                    found = _summary(tables)
                    progress.advance(note=f"{plate} {well}")
                told = plate_map.rows.get((plate, well))
                of_plate.append(well_row(plate=plate, well=well, mapped=told, parts=found, params=settings.params))
            rows += score_plate(of_plate)
    return rows, lengths


def _part_path(layout: Layout, plate: str, well: str, name: str) -> Path:
    return layout.well_tables(plate, well) / f"{name}.parquet"


def _schemas(*, layout: Layout, wells: Mapping[str, Sequence[str]]) -> dict[str, pa.Schema]:
    """Schema of each joined table: every column that any well has."""
    found: dict[str, pa.Schema] = {}
    for name in _SORT_KEYS:
        parts = [
            read_schema(_part_path(layout, plate, well, name)).remove_metadata()
            for plate, measured in wells.items()
            for well in measured
        ]
        found[name] = unified_schema(map(_with_expression, parts) if name == "cells" else parts)
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


def _read_parts(*, layout: Layout, plate: str, well: str, settings: AggregateSettings) -> _Parts:
    """Part tables of one well, sorted, the cells with `is_expressing`."""
    tables: _Parts = {}
    for name, keys in _SORT_KEYS.items():
        table = _read_table(_part_path(layout, plate, well, name), plate)
        tables[name] = table.sort_by([(key, "ascending") for key in keys])
    cells = tables["cells"]
    expressing = is_expressing(
        cargo_mean=_cargo_mean(cells, plate=plate, settings=settings), params=settings.params.expression
    )
    at = cells.schema.get_field_index("n_endolysosomes")
    tables["cells"] = cells.add_column(at, "is_expressing", pa.array(expressing))
    return tables


def _cargo_mean(cells: pa.Table, *, plate: str, settings: AggregateSettings) -> NDArray[np.float64]:
    column = f"intensity_mean_{settings.cargo}"
    if column in cells.column_names:
        return _real(cells, column)
    if settings.params.expression.method == "none" or not cells.num_rows:
        return np.full(cells.num_rows, np.nan)
    raise InputError(
        f"plate {plate}: its cells have no cargo channel {settings.cargo!r}; correct channels.cargo, or set"
        " aggregate.expression.method to none"
    )


def _aligned(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly the columns of the schema; null where it lacks one."""
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _summary(tables: _Parts) -> WellParts:
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
    )


def _whole(table: pa.Table, column: str) -> NDArray[np.int64]:
    return np.asarray(table.column(column).to_numpy(), dtype=np.int64)


def _real(table: pa.Table, column: str) -> NDArray[np.float64]:
    return np.asarray(table.column(column).to_numpy(), dtype=np.float64)


def _cell_keys(table: pa.Table) -> NDArray[np.int64]:
    """One number a cell of the well: cells are numbered anew, as 32-bit labels, in every field."""
    return (_whole(table, "field") << 32) + _whole(table, "cell")


def _write_well_table(folder: Path, rows: Sequence[Row], columns: Mapping[str, type]) -> None:
    """``wells.parquet`` and ``wells.csv``: the same columns and rows."""
    schema = pa.schema([pa.field(name, _ARROW_TYPES[kind]) for name, kind in columns.items()])
    complete = [{name: row.get(name, "") for name in columns} for row in rows]
    with parquet_writer(folder / "wells.parquet", schema) as writer:
        writer.write_table(pa.Table.from_pylist(complete, schema=schema))
    write_text_atomic(folder / "wells.csv", csv_text(complete, columns=columns))


def csv_text(rows: Iterable[Mapping[str, str | int | float]], *, columns: Iterable[str]) -> str:
    """CSV whose bytes depend on nothing but the rows.

    Parameters
    ----------
    rows : iterable of mapping
        Values by column; each has every column.
    columns : iterable of str
        Columns in their order.

    Returns
    -------
    str
        Header and rows with ``\\n`` line ends; floats to ten significant digits, NaN as an empty cell.
    """
    names = list(columns)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_csv_cell(row[name]) for name in names] for row in rows)
    return text.getvalue()


def _csv_cell(value: str | int | float) -> str:
    if isinstance(value, float):
        # Adding zero turns -0.0 into 0.0, which would otherwise be written as "-0".
        return "" if math.isnan(value) else f"{value + 0.0:.10g}"
    return str(value)
