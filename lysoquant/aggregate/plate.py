"""One plate: its wells' part tables joined, and the rows of its wells. A plate that did not change is left as it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pyarrow as pa

from lysoquant.aggregate.expression import Gate, find_gate
from lysoquant.aggregate.field_quality import FieldJudge, field_judge
from lysoquant.aggregate.params import AggregateSettings
from lysoquant.aggregate.parts import (
    SORT_KEYS,
    Parts,
    Schemas,
    all_aligned,
    joined_schemas,
    read_cargo,
    read_fields,
    read_parts,
    summary,
)
from lysoquant.aggregate.plate_map import MapRow, PlateMap
from lysoquant.aggregate.shares import shares_of
from lysoquant.aggregate.wells import Row, WellParts, score_plate, well_row
from lysoquant.errors import InputError
from lysoquant.io.tables import parquet_writer
from lysoquant.layout import Layout
from lysoquant.record import Json, digest_file, digest_json, read_json, write_json
from lysoquant.vocabulary import well_order
from lysoquant.workers.pool import Workers

_STAGE: Final = "aggregate"


@dataclass(frozen=True)
class Plate:
    """One plate on its way into the tables.

    Attributes
    ----------
    wells : sequence of str
        Measured wells in reading order.
    measured : dict
        Digest of what measure left, by well.
    common : dict
        Parameters and code: what else every plate's result depends on.
    """

    layout: Layout
    name: str
    wells: Sequence[str]
    measured: Json
    plate_map: PlateMap
    settings: AggregateSettings
    common: Json

    def schemas(self) -> Schemas:
        """Schema of each joined table as this plate alone would have it; from the last record where no well changed."""
        old = read_json(self._record) or {}
        if old.get("measured") == self.measured and old.get("common") == self.common:
            return {
                name: pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(old["own_schemas"][name]))) for name in SORT_KEYS
            }
        return joined_schemas(self.layout, self.name, self.wells, shares=shares_of(self.settings))

    def done(self, schemas: Schemas) -> Json | None:
        """The record of this plate where nothing that it depends on changed and its tables are whole."""
        old = read_json(self._record)
        if old is None or old.get("key") != self._key(schemas):
            return None
        whole = all(
            self.table(name).is_file() and digest_file(self.table(name)) == old["digests"][name] for name in SORT_KEYS
        )
        return old if whole else None

    def table(self, name: str) -> Path:
        """This plate's part of a joined table."""
        return self.layout.plate_tables(self.name) / f"{name}.parquet"

    def join(self, schemas: Schemas, own: Schemas, pool: Workers, on_well: Callable[[str], None]) -> Json:
        """Write the plate's part of each joined table and its record.

        Parameters
        ----------
        schemas, own : dict of str to pyarrow.Schema
            Of the project's tables, and of this plate's alone.
        pool : Workers
            They read wells and sum them up; only as many wells are in memory as tasks are given out at a time.
        on_well : callable
            Called with each well's name as it is written.

        Returns
        -------
        dict
            The record: rows of the wells, lengths and digests of the tables.
        """
        started = time.perf_counter()
        self._record.unlink(missing_ok=True)
        rows: dict[str, Row] = {
            well: well_row(
                plate=self.name,
                well=well,
                mapped=self._mapped(well),
                parts=WellParts.without_images(),
                params=self.settings.params,
                shares=shares_of(self.settings),
            )
            for well in self.plate_map.wells(self.name)
            if well not in self.measured
        }
        lengths = dict.fromkeys(SORT_KEYS, 0)
        gate = self._gate()
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(parquet_writer(self.table(name), schema)) for name, schema in schemas.items()
            }
            for well, (row, tables) in self._wells(schemas, gate, pool):
                rows[well] = row
                for name, table in tables.items():
                    lengths[name] += table.num_rows
                    if table.num_rows:
                        writers[name].write_table(table)
                on_well(well)
        found: Json = {
            "stage": _STAGE,
            "plate": self.name,
            "key": self._key(schemas),
            "common": self.common,
            "measured": self.measured,
            "own_schemas": {name: schema.serialize().to_pybytes().hex() for name, schema in own.items()},
            "rows": score_plate([rows[well] for well in sorted(rows, key=well_order)]),
            "expression": gate.record(),
            "lengths": lengths,
            "digests": {name: digest_file(self.table(name)) for name in SORT_KEYS},
            "wrote": [self.layout.relative(self.table(name)) for name in SORT_KEYS],
            "seconds": round(time.perf_counter() - started, 3),
        }
        write_json(self._record, found)
        return found

    def _gate(self) -> Gate:
        """Which of the plate's cells express.

        Raises
        ------
        InputError
            If the plate has no well of the condition that the gate takes for untransfected.
        """
        params = self.settings.params.expression
        wanted = self.wells if params.method == "mixture" else []
        controls = frozenset[str]()
        if params.method == "controls":
            mapped = ((well, self._mapped(well)) for well in self.wells)
            wanted = [well for well, row in mapped if row is not None and row.condition == params.control_condition]
            controls = frozenset(wanted)
            if not wanted:
                raise InputError(
                    f"plate {self.name} has no measured well of condition {params.control_condition!r}"
                    " (aggregate.expression.control_condition); name one of its conditions, or choose another"
                    " aggregate.expression.method"
                )
        cargo = {well: read_cargo(self.layout, self.name, well, settings=self.settings) for well in wanted}
        return find_gate(cargo_mean=cargo, control_wells=controls, params=params)

    def _wells(self, schemas: Schemas, gate: Gate, pool: Workers) -> Iterator[tuple[str, tuple[Row, Parts]]]:
        rows = [row for well in self.wells for row in read_fields(self.layout, self.name, well)]
        judge = field_judge(rows, settings=self.settings)
        tasks = [
            _Task(self.layout, self.name, well, self._mapped(well), self.settings, schemas, gate, judge)
            for well in self.wells
        ]
        yield from zip(self.wells, pool.stream(_summed_up, tasks), strict=True)

    def _mapped(self, well: str) -> MapRow | None:
        return self.plate_map.rows.get((self.name, well))

    def _key(self, schemas: Schemas) -> str:
        """Digest of all that the plate's tables and rows depend on."""
        told = {well: repr(self._mapped(well)) for well in sorted(self.plate_map.wells(self.name))}
        columns = {name: [(field.name, str(field.type)) for field in schema] for name, schema in schemas.items()}
        return digest_json({"common": self.common, "measured": self.measured, "map": told, "columns": columns})

    @property
    def _record(self) -> Path:
        return self.layout.plate_stage_record(self.name, _STAGE)


@dataclass(frozen=True)
class _Task:
    """One well, with all that a worker needs for it."""

    layout: Layout
    plate: str
    well: str
    mapped: MapRow | None
    settings: AggregateSettings
    schemas: Schemas
    gate: Gate
    judge: FieldJudge


def _summed_up(task: _Task) -> tuple[Row, Parts]:
    """A well's row, its scores still NaN, and its part tables as they go into the joined ones."""
    tables = read_parts(task.layout, task.plate, task.well, settings=task.settings, gate=task.gate, judge=task.judge)
    shares = shares_of(task.settings)
    parts = replace(summary(tables, shares=shares), doubt=task.gate.doubt)
    row = well_row(
        plate=task.plate,
        well=task.well,
        mapped=task.mapped,
        parts=parts,
        params=task.settings.params,
        shares=shares,
    )
    return row, all_aligned(tables, task.schemas)
