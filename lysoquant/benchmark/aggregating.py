"""Memory and time of aggregate by the number of plates, on made-up part tables."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from lysoquant.aggregate.params import AggregateParams, AggregateSettings
from lysoquant.aggregate.step import run
from lysoquant.io.tables import write_parquet
from lysoquant.layout import Layout
from lysoquant.measure.columns import cells_schema, endolysosomes_schema, fields_schema
from lysoquant.record import write_json

CHANNELS: Final = ("nucleus", "lysosome", "cargo")


@dataclass(frozen=True)
class Size:
    """What each plate holds."""

    wells: int = 96
    fields: int = 9
    cells: int = 20
    """Cells of a field."""
    regions: int = 30
    """Endolysosomes of a cell."""


@dataclass(frozen=True)
class Cost:
    """What aggregate took for so many plates.

    Attributes
    ----------
    peak_mb, again_mb : float
        Peak memory of a fresh process that did all plates, and of one that did them again after one had changed.
    seconds, again_seconds : float
        Their times, Python's start left out.
    n_regions : int
        Rows of the longest table.
    """

    plates: int
    n_regions: int
    peak_mb: float
    seconds: float
    again_mb: float
    again_seconds: float


def costs(folder: Path, counts: Sequence[int], size: Size) -> Iterator[Cost]:
    """Cost of each number of plates, in rising order.

    Parameters
    ----------
    folder : pathlib.Path
        An empty folder for the tables.
    """
    layout = Layout(project=folder, results=folder / "results")
    made: dict[str, list[str]] = {}
    for count in sorted(counts):
        for number in range(len(made), count):
            made[f"plate{number:03}"] = write_plate(layout, f"plate{number:03}", size, seed=number)
        for record in layout.results.glob("**/records/aggregate/*.json"):
            record.unlink()
        peak_mb, seconds, n_regions = _in_a_fresh_process(layout, made)
        changed = next(iter(made))
        write_plate(layout, changed, size, seed=1000 + count)
        again_mb, again_seconds, _ = _in_a_fresh_process(layout, made)
        yield Cost(count, n_regions, peak_mb, seconds, again_mb, again_seconds)


def write_plate(layout: Layout, plate: str, size: Size, *, seed: int) -> list[str]:
    """Part tables and measure's records of a plate; returns its wells."""
    wells = [f"{chr(ord('A') + number // 24)}{number % 24 + 1:02}" for number in range(size.wells)]
    random = np.random.default_rng(seed)
    for well in wells:
        folder = layout.well_tables(plate, well)
        n_cells, n_regions = size.fields * size.cells, size.fields * size.cells * size.regions
        keys = {"plate": plate, "well": well}
        cells = keys | {
            "field": np.repeat(np.arange(size.fields), size.cells),
            "cell": np.tile(np.arange(1, size.cells + 1), size.fields),
        }
        n_loaded = random.integers(0, size.regions + 1, n_cells)
        numbers = {"n_endolysosomes": size.regions, "n_loaded": n_loaded, "n_empty": size.regions - n_loaded}
        _write(folder / "cells.parquet", cells | numbers, cells_schema(CHANNELS), n_cells, random)
        regions = keys | {
            "field": np.repeat(np.arange(size.fields), size.cells * size.regions),
            "cell": np.repeat(cells["cell"], size.regions),
            "label": np.tile(np.arange(1, size.cells * size.regions + 1), size.fields),
        }
        _write(folder / "endolysosomes.parquet", regions, endolysosomes_schema(CHANNELS), n_regions, random)
        fields = keys | {"field": np.arange(size.fields), "status": "ok", "reason": ""}
        _write(folder / "fields.parquet", fields, fields_schema(CHANNELS), size.fields, random)
        write_json(layout.well_record(plate, "measure", well), {"digest": f"{plate} {well} {seed}"})
    return wells


def _write(path: Path, given: Mapping[str, Any], schema: pa.Schema, length: int, random: np.random.Generator) -> None:
    made = {
        field.name: random.random(length) if pa.types.is_floating(field.type) else random.integers(0, 2, length)
        for field in schema
        if field.name not in given
    }
    frame = pd.DataFrame({**given, **made}, index=range(length)).astype(
        {field.name: bool for field in schema if pa.types.is_boolean(field.type)}
    )
    write_parquet(path, frame, schema)


def _in_a_fresh_process(layout: Layout, plates: dict[str, list[str]]) -> tuple[float, float, int]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_aggregate, layout, plates).result()


def _aggregate(layout: Layout, plates: dict[str, list[str]]) -> tuple[float, float, int]:
    started = time.perf_counter()
    record = run(
        layout=layout,
        plates=plates,
        plate_map=[],
        settings=AggregateSettings(params=AggregateParams(bootstrap=100), cargo="cargo"),
        record=layout.project_record("aggregate"),
    )
    seconds = time.perf_counter() - started
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds, record["counts"]["endolysosomes"]
