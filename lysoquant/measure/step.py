"""measure: the tables of a well from its images and label images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from lysoquant.errors import FieldError, StageError
from lysoquant.illumination.flat_field import FlatFields, shape_of_fields
from lysoquant.io.field_tables import write_field_tables
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.io.tables import read_parquet, write_parquet
from lysoquant.layout import Layout
from lysoquant.measure.columns import (
    cells_schema,
    channel_qualities,
    endolysosomes_schema,
    fields_schema,
    segment_schema,
)
from lysoquant.measure.field import Columns, FieldTables, Objects, measure_field
from lysoquant.measure.params import MeasureSettings
from lysoquant.record import (
    Json,
    WellOutcome,
    digest_file,
    digest_json,
    failed_field,
    field_report,
    merge_field_reports,
    require_wells,
    run_batch,
)
from lysoquant.vocabulary import CELLS, ENDOLYSOSOMES, FAILED
from lysoquant.workers.params import DaskSettings
from lysoquant.workers.pool import workers

_UPSTREAM = ("convert", "cells", "segment")


def run(
    *,
    layout: Layout,
    plate: str,
    wells: Sequence[str],
    settings: MeasureSettings,
    record: Path,
    cores: int = 1,
    dask: DaskSettings = DaskSettings(),  # noqa: B008 (frozen)
) -> Json:
    """Measure the wells of a batch whose images, label images or settings changed.

    Parameters
    ----------
    layout : Layout
        Paths of the project; a well's part tables go to ``layout.well_tables``.
    plate : str
        Plate name.
    wells : sequence of str
        Wells of the batch.
    settings : MeasureSettings
        All that the result depends on besides images and label images.
    record : pathlib.Path
        The batch record.
    cores : int
        Processes or threads.
    dask : DaskSettings
        Where the fields are measured; the tables' bytes don't depend on it.

    Returns
    -------
    dict
        The batch record.

    Raises
    ------
    StageError
        If an earlier stage has not been run, a table can't be read, no worker comes, or a field fails
        under ``on_bad_field: fail``.
    """
    upstream = {stage: require_wells(layout, plate, stage, wells) for stage in _UPSTREAM}
    store = PlateStore.open(layout.plate_store(plate))
    reports = {well: _merged_reports(upstream, well) for well in wells}
    lights = FlatFields.of(
        project=layout.project,
        plate=plate,
        shape=shape_of_fields(store, wells),
        channels=_channels(plate, store, reports) if settings.illumination.flat_field else (),
        params=settings.illumination,
    )
    batch = _Batch(
        layout=layout,
        plate=plate,
        store=store,
        settings=settings,
        reports=reports,
        lights=lights,
    )

    def work(todo: list[str]) -> Iterator[tuple[str, WellOutcome]]:
        n_fields = sum(len(reports[well]) for well in todo)
        logs = layout.workers_logs("measure")
        with workers(dask, cores=max(1, cores), logs=logs, preload=[__name__], n_tasks=n_fields) as pool:
            for group in batch.groups(todo, at_least=pool.n_ahead):
                tasks = {well: batch.tasks(well) for well in group}
                measured = iter(pool.map(_measure, [task for some in tasks.values() for task in some]))
                for well, some in tasks.items():
                    yield well, batch.finish(well, {task.index: next(measured) for task in some})

    return run_batch(
        stage="measure",
        layout=layout,
        plate=plate,
        wells=wells,
        parameters=settings.model_dump(mode="json"),
        inputs={
            well: {stage: upstream[stage][well]["digest"] for stage in _UPSTREAM} | lights.inputs() for well in wells
        },
        work=work,
        record=record,
    )


def _merged_reports(upstream: Mapping[str, Mapping[str, Json]], well: str) -> dict[int, Json]:
    """What the earlier stages say of each field of a well, by field."""
    told: dict[int, list[Json]] = {}
    for stage in _UPSTREAM:
        for report in upstream[stage][well]["fields"]:
            told.setdefault(report["field"], []).append(report)
    return {index: merge_field_reports(told[index]) for index in sorted(told)}


@dataclass(frozen=True)
class _Task:
    """One field, with all that a worker needs to measure it."""

    store: FieldStore
    index: int
    channels: tuple[str, ...]
    objects: Objects
    settings: MeasureSettings
    lights: FlatFields


def _measure(task: _Task) -> FieldTables | FieldError:
    """A field's measurements, or why it has none."""
    try:
        return measure_field(
            images={channel: task.lights.read(task.store, channel) for channel in task.channels},
            cells=task.store.read_label(CELLS),
            labels=task.store.read_label(ENDOLYSOSOMES),
            objects=task.objects,
            pixel_size_um=task.store.pixel_size_um,
            channels=task.settings.channels,
            params=task.settings.params,
        )
    except FieldError as error:
        return error


@dataclass(frozen=True)
class _Batch:
    """What the wells of a batch have in common."""

    layout: Layout
    plate: str
    store: PlateStore
    settings: MeasureSettings
    reports: dict[str, dict[int, Json]]
    lights: FlatFields

    def groups(self, wells: Sequence[str], *, at_least: int) -> Iterator[list[str]]:
        """Wells in order, so many together that they have at least that many fields."""
        group: list[str] = []
        for well in wells:
            group.append(well)
            if sum(len(self.reports[each]) for each in group) >= at_least:
                yield group
                group = []
        if group:
            yield group

    def tasks(self, well: str) -> list[_Task]:
        """The fields of a well that no earlier stage failed."""
        others = self.settings.channels.other_cargoes
        objects = read_parquet(self._objects_path(well), columns=segment_schema(others).names)
        return [
            _Task(
                store=self.store.field(well, index),
                index=index,
                channels=self._channels(well),
                objects=_objects_of(objects, index, others),
                settings=self.settings,
                lights=self.lights,
            )
            for index, report in self.reports[well].items()
            if report["status"] != FAILED
        ]

    def finish(self, well: str, measured: Mapping[int, FieldTables | FieldError]) -> WellOutcome:
        """Write a well's tables."""
        good = {index: tables for index, tables in measured.items() if not isinstance(tables, FieldError)}
        own = [self._report(well, index, measured.get(index)) for index in self.reports[well]]
        channels, others = self._channels(well), self.settings.channels.other_cargoes
        regions = {index: found.regions for index, found in good.items()}
        cells = {index: found.cells for index, found in good.items()}
        copies = [path for index in self.reports[well] for path in self._write_copies(well, index, good.get(index))]
        written = {
            "endolysosomes": self._write(well, "endolysosomes", regions, endolysosomes_schema(channels, others)),
            "cells": self._write(well, "cells", cells, cells_schema(channels, others)),
            "fields": self._write_fields(well, own, channels),
        }
        return WellOutcome(
            digest=digest_json({name: digest_file(path) for name, path in written.items()}),
            wrote=[self.layout.relative(path) for path in (*written.values(), *copies)],
            read=[
                self.layout.relative(self._objects_path(well)),
                *(self.layout.relative(self.store.field(well, index).path) for index in measured),
            ],
            counts={
                "cells": sum(report["n_cells"] for report in own),
                "endolysosomes": sum(report["n_endolysosomes"] for report in own),
                "n_below_min_area": sum(tables.n_below_min_area for tables in good.values()),
            },
            fields=own,
        )

    def _channels(self, well: str) -> tuple[str, ...]:
        return _channels(self.plate, self.store, self.reports, well)

    def _objects_path(self, well: str) -> Path:
        return self.layout.plate_folder(self.plate) / "segment" / f"{well}.parquet"

    def _report(self, well: str, index: int, measured: FieldTables | FieldError | None) -> Json:
        """What measure itself says of a field; None stands for one that had failed before."""
        if measured is None:
            return field_report(index, status=FAILED, n_cells=0, n_endolysosomes=0)
        if isinstance(measured, FieldError):
            where = f"plate {self.plate}, well {well}, field {index}"
            failed = failed_field(index, measured, on_bad_field=self.settings.on_bad_field, where=where)
            return failed | {"n_cells": 0, "n_endolysosomes": 0}
        return field_report(index, n_cells=_length(measured.cells), n_endolysosomes=_length(measured.regions))

    def _write(self, well: str, name: str, columns: Mapping[int, Columns], schema: pa.Schema) -> Path:
        """Write the rows of a well's fields, one field after another."""
        lengths = [_length(of_field) for of_field in columns.values()]
        frame: dict[str, Any] = {
            "plate": [self.plate] * sum(lengths),
            "well": [well] * sum(lengths),
            "field": np.repeat(np.array([*columns], dtype=np.int64), lengths),
        }
        for column in schema:
            if column.name not in frame:
                nothing = np.empty(0, dtype=column.type.to_pandas_dtype())
                frame[column.name] = np.concatenate(
                    [nothing, *(of_field[column.name] for of_field in columns.values())], dtype=nothing.dtype
                )
        path = self.layout.well_tables(self.plate, well) / f"{name}.parquet"
        write_parquet(path, pd.DataFrame(frame), schema)
        return path

    def _write_copies(self, well: str, index: int, measured: FieldTables | None) -> list[Path]:
        """Write the tables of a field beside its image; a field without measurements has none."""
        field = self.store.field(well, index)
        if measured is None or not self.settings.params.store_tables:
            field.remove_tables()
            return []
        channels, others = self._channels(well), self.settings.channels.other_cargoes
        return write_field_tables(
            field,
            size_px=field.shape,
            pixel_size_um=field.pixel_size_um,
            cell_boxes_px=measured.cell_boxes_px,
            cells=measured.cells,
            endolysosomes=measured.regions,
            schemas={CELLS: cells_schema(channels, others), ENDOLYSOSOMES: endolysosomes_schema(channels, others)},
        )

    def _write_fields(self, well: str, own: Sequence[Json], channels: Sequence[str]) -> Path:
        rows, schema = [], fields_schema(channels)
        for report in own:
            merged = merge_field_reports([self.reports[well][report["field"]], report])
            rows.append(
                {
                    "plate": self.plate,
                    "well": well,
                    "field": report["field"],
                    "status": merged["status"],
                    "reason": "; ".join(merged["reasons"]),
                    "focus_score": merged.get("focus_score", math.nan),
                    "saturated_fraction": merged.get("saturated_fraction", math.nan),
                    "n_cells": report["n_cells"],
                    "n_endolysosomes": report["n_endolysosomes"],
                    **{name: merged.get(name, math.nan) for name in channel_qualities(channels)},
                }
            )
        path = self.layout.well_tables(self.plate, well) / "fields.parquet"
        write_parquet(path, pd.DataFrame(rows, columns=schema.names), schema)
        return path


def _channels(plate: str, store: PlateStore, reports: Mapping[str, Mapping[int, Json]], *first: str) -> tuple[str, ...]:
    """Channels of a plate, by its first field that can be read, those of the wells `first` before others."""
    # Every field has every channel of the plate: convert writes a failed one with all of them. One may be damaged.
    problems: list[FieldError] = []
    for each in dict.fromkeys([*first, *reports]):
        for index in reports[each]:
            try:
                return store.field(each, index).channels
            except FieldError as error:
                problems.append(error)
    raise StageError(f"plate {plate}: no field of wells {', '.join(reports)} can be read; {problems[0]}")


def _objects_of(objects: pd.DataFrame, index: int, other_cargoes: Sequence[str]) -> Objects:
    rows = objects[objects["field"] == index].sort_values("label")
    return Objects(
        label=rows["label"].to_numpy(dtype=np.int64),
        cell=rows["cell"].to_numpy(dtype=np.int64),
        p_loaded=rows["p_loaded"].to_numpy(dtype=np.float64),
        is_loaded=rows["is_loaded"].to_numpy(dtype=np.bool_),
        others={
            f"{name}_{cargo}": rows[f"{name}_{cargo}"].to_numpy(dtype=kind)
            for cargo in other_cargoes
            for name, kind in (("p_loaded", np.float64), ("is_loaded", np.bool_))
        },
    )


def _length(columns: Columns) -> int:
    return len(columns["cell"])
