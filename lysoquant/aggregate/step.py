"""aggregate: the wells' part tables in, the project's tables out."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pyarrow as pa

from lysoquant.aggregate.conditions import CONDITION_COLUMNS, condition_rows
from lysoquant.aggregate.params import AggregateSettings
from lysoquant.aggregate.parts import SORT_KEYS, unified_schema
from lysoquant.aggregate.plate import Plate
from lysoquant.aggregate.plate_map import PlateMap, read_plate_map
from lysoquant.aggregate.shares import share_columns, shares_of, with_shares
from lysoquant.aggregate.statistics import statistics_rows
from lysoquant.aggregate.trial import STATISTICS_COLUMNS
from lysoquant.aggregate.wells import COLUMNS, Row
from lysoquant.errors import ConfigError, StageError
from lysoquant.io.tables import parquet_writer, write_data_set
from lysoquant.layout import Layout
from lysoquant.progress import Progress
from lysoquant.record import Json, digest_file, digest_json, require_wells, run_project, write_text_atomic
from lysoquant.screening.doses import DOSE_COLUMNS
from lysoquant.screening.hits import HIT_COLUMNS
from lysoquant.screening.params import ScreenParams
from lysoquant.screening.plates import PLATE_COLUMNS
from lysoquant.screening.screen import screen
from lysoquant.screening.wells import read_dose
from lysoquant.source import source_digest
from lysoquant.vocabulary import well_order
from lysoquant.workers.params import DaskSettings
from lysoquant.workers.pool import workers

_STAGE: Final = "aggregate"

_SMALL: Final = (
    "wells.parquet",
    "wells.csv",
    "conditions.csv",
    "statistics.csv",
    "plates.csv",
    "hits.csv",
    "dose_response.csv",
)
"""Tables of one file; those of :data:`SORT_KEYS` are folders of a file a plate."""

_ARROW_TYPES: Final = {str: pa.string(), int: pa.int64(), float: pa.float64()}


def run(
    *,
    layout: Layout,
    plates: Mapping[str, Sequence[str]],
    plate_map: Sequence[Mapping[str, str]],
    settings: AggregateSettings,
    record: Path,
    cores: int = 1,
    dask: DaskSettings = DaskSettings(),  # noqa: B008 (frozen)
) -> Json:
    """Join all wells' part tables and compute wells, conditions, statistics, plates, hits and dose-response curves.

    Returns at once when neither the wells' content, the plate map, the settings nor the code changed. Of several plates
    only those that changed are read again.

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
    cores : int
        Processes or threads.
    dask : DaskSettings
        Where wells are read and summed up; the tables' bytes don't depend on it.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    ConfigError
        If the plate map is impossible or a dose is no number.
    InputError
        If the expression gate needs a channel that a plate lacks.
    StageError
        If there is no well, a well was not measured or its part tables can't be read, or no worker comes.
    """
    wells = {plate: sorted(set(plates[plate]), key=well_order) for plate in sorted(plates)}
    if not any(wells.values()):
        raise StageError("aggregate: no plate has a measured well; add a plate to plates.tsv and run measure first")
    mapped = read_plate_map(rows=plate_map, plates=wells, reserved={**COLUMNS, **share_columns(shares_of(settings))})
    _check_doses(mapped, settings.params.screen.dose_column)
    inputs = _inputs(layout=layout, wells=wells, plate_map=mapped)
    parameters = settings.model_dump(mode="json")

    def work() -> Json:
        plates = [
            Plate(
                layout=layout,
                name=plate,
                wells=names,
                measured=inputs["measure"][plate],
                plate_map=mapped,
                settings=settings,
                # What screen and tests are told changes no row of a plate but its place in the screen, found anew.
                common={
                    "parameters": settings.model_dump(mode="json", exclude={"params": {"screen", "statistics"}}),
                    "code": source_digest(_STAGE),
                },
            )
            for plate, names in wells.items()
        ]
        counts, outputs, gates = _write_tables(
            layout=layout, plates=plates, plate_map=mapped, settings=settings, cores=max(1, cores), dask=dask
        )
        return {
            "digest": digest_json(outputs),
            "outputs": outputs,
            "read": [layout.relative(layout.well_tables(plate, well)) for plate in wells for well in wells[plate]],
            "wrote": list(outputs),
            "counts": counts,
            "expression": gates,
        }

    return run_project(stage=_STAGE, layout=layout, parameters=parameters, inputs=inputs, work=work, record=record)


def _inputs(*, layout: Layout, wells: Mapping[str, Sequence[str]], plate_map: PlateMap) -> Json:
    """Digests of what the tables are made of."""
    measured = {
        plate: {well: found["digest"] for well, found in require_wells(layout, plate, "measure", names).items()}
        for plate, names in wells.items()
    }
    return {"measure": measured, "plate_map": plate_map.digest}


def _check_doses(plate_map: PlateMap, dose_column: str) -> None:
    """Refuse, before any well is read, a dose that is no number and a column of doses that the plate map lacks."""
    known = plate_map.extra_columns
    if dose_column not in (*known, "", ScreenParams().dose_column):
        raise ConfigError(
            f"aggregate.screen.dose_column is {dose_column!r}; expected one of your own columns of wells.tsv"
            f" ({', '.join(known) or 'there are none'}), or '' for no doses"
        )
    for (plate, well), row in plate_map.rows.items():
        read_dose(row.extra.get(dose_column, ""), plate=plate, well=well, dose_column=dose_column)


def _write_tables(
    layout: Layout,
    plates: Sequence[Plate],
    plate_map: PlateMap,
    settings: AggregateSettings,
    *,
    cores: int,
    dask: DaskSettings,
) -> tuple[dict[str, int], dict[str, str], Json]:
    """Write all tables; returns their lengths, the digests of their files, and the expression gate of each plate."""
    layout.tables.mkdir(parents=True, exist_ok=True)
    records = _join_parts(layout, plates, cores=cores, dask=dask)
    outputs: dict[str, str] = {}
    for name in SORT_KEYS:
        # The number keeps the plates in order: a reader takes the files of a folder by name.
        files = {f"{number:05}-{plate.name}.parquet": plate.table(name) for number, plate in enumerate(plates)}
        folder = layout.tables / f"{name}.parquet"
        write_data_set(folder, files)
        outputs |= {
            layout.relative(folder / file): record["digests"][name] for file, record in zip(files, records, strict=True)
        }
    rows: list[Row] = [row for record in records for row in record["rows"]]
    confidence = settings.params.confidence
    found = screen(rows, settings.params.screen, confidence=confidence)
    rows = [row | own for row, own in zip(rows, found.wells, strict=True)]
    shares = shares_of(settings)
    of_shares = share_columns(shares)
    _write_well_table(layout.tables, rows, {**COLUMNS, **of_shares, **dict.fromkeys(plate_map.extra_columns, str)})
    of_conditions = condition_rows(wells=rows, confidence=confidence, interval=settings.params.interval)
    conditions = with_shares(of_conditions, rows, shares)
    statistics = statistics_rows(wells=rows, params=settings.params.statistics, confidence=confidence)
    write_text_atomic(layout.tables / "conditions.csv", csv_text(conditions, columns=[*CONDITION_COLUMNS, *of_shares]))
    write_text_atomic(layout.tables / "statistics.csv", csv_text(statistics, columns=STATISTICS_COLUMNS))
    for name, table, columns in (
        ("plates.csv", found.plates, PLATE_COLUMNS),
        ("hits.csv", found.hits, HIT_COLUMNS),
        ("dose_response.csv", found.dose_response, DOSE_COLUMNS),
    ):
        write_text_atomic(layout.tables / name, csv_text(table, columns=columns))
    outputs |= {layout.relative(layout.tables / name): digest_file(layout.tables / name) for name in _SMALL}
    lengths = {name: sum(record["lengths"][name] for record in records) for name in SORT_KEYS}
    gates = {plate.name: record["expression"] for plate, record in zip(plates, records, strict=True)}
    return {"wells": len(rows), **lengths, "conditions": len(conditions)}, outputs, gates


def _join_parts(layout: Layout, plates: Sequence[Plate], *, cores: int, dask: DaskSettings) -> list[Json]:
    """Bring every plate's part of the joined tables up to date; returns the plates' records."""
    own = [plate.schemas() for plate in plates]
    schemas = {name: unified_schema(each[name] for each in own) for name in SORT_KEYS}
    records = [plate.done(schemas) for plate in plates]
    todo = [number for number, record in enumerate(records) if record is None]
    n_wells = [len(plate.wells) for plate in plates]
    n_done = sum(n_wells) - sum(n_wells[number] for number in todo)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress(_STAGE, total=sum(n_wells), done=n_done))
        if todo:
            logs, n_left = layout.workers_logs(_STAGE), sum(n_wells) - n_done
            pool = stack.enter_context(
                workers(dask, cores=cores, logs=logs, preload=[Plate.__module__], n_tasks=n_left)
            )
        for number in todo:
            plate = plates[number]

            def on_well(well: str, name: str = plate.name) -> None:
                progress.advance(note=f"{name} {well}")

            records[number] = plate.join(schemas, own[number], pool, on_well)
    return [record for record in records if record is not None]


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
