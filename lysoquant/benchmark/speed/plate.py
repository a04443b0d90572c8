"""Whole plates through ``lysoquant run``, as a user would: where their time goes, by the number of wells."""

from __future__ import annotations

import csv
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lysoquant.benchmark.speed.parts import Scale
from lysoquant.benchmark.speed.processes import Job, Used, watch
from lysoquant.benchmark.speed.table import Table
from lysoquant.errors import StageError
from lysoquant.progress import Progress
from lysoquant.record import read_json
from lysoquant.simulate.plate import PlateSettings, plate_wells, simulate_field
from lysoquant.simulate.writers import ImageXpress
from lysoquant.vocabulary import STAGES

DISTINCT_WELLS: Final = 6
"""Wells with images of their own; the others have copies of these, so that plates differ in their size only."""


@dataclass(frozen=True)
class PlateCost:
    """What a plate took.

    Attributes
    ----------
    n_wells, n_cells : int
        How much it is.
    used : Used
        What the command took.
    lost_seconds : float
        In which no job was at work on a well or table: start-up, planning, scheduling, ends of processes.
    network_seconds : float
        In which the network ran, jobs added up; NaN where a GPU's own path does not tell.
    network_cpu_seconds : float
        Of the threads that ran it; likewise.
    """

    n_wells: int
    n_cells: int
    used: Used
    lost_seconds: float
    network_seconds: float
    network_cpu_seconds: float


def measure(scale: Scale) -> list[Table]:
    """Plates of simulated wells of one field, one after another, from the smallest on."""
    costs = []
    with tempfile.TemporaryDirectory() as name, Progress("plates", total=len(scale.wells)) as progress:
        folder = Path(name)
        load = os.getloadavg()[0]
        for n_wells in sorted(scale.wells):
            project, raw = folder / f"W{n_wells}", folder / "raw" / f"W{n_wells}"
            write_plate(raw, n_wells=n_wells, distinct=folder / "distinct")
            _lysoquant(folder, "init", str(raw), "--output", str(project), "--plate-map", str(raw / "plate_map.csv"))
            _set_device(project / "config" / "config.yaml", scale.device)
            costs.append(run_plate(project, cores=scale.threads))
            shutil.rmtree(project)
            progress.advance(note=f"{n_wells} wells, {costs[-1].used.seconds:.0f} s")
    return tables(costs, cores=scale.threads, load=load)


def write_plate(raw: Path, *, n_wells: int, distinct: Path) -> None:
    """A MetaXpress export and its plate map; the wells' images are simulated once, in `distinct`, and then copied."""
    wells, rows, columns = plate_wells(n_wells)
    settings = PlateSettings(n_wells=n_wells, n_fields=1, name=raw.name)
    own, _, _ = plate_wells(DISTINCT_WELLS)
    writer, original = ImageXpress(raw, raw.name), ImageXpress(distinct, "own")
    size, pixel_size_um, channels = settings.size_px, settings.pixel_size_um, settings.channels
    writer.begin(
        wells=[well.well for well in wells],
        n_fields=1,
        n_rows=rows,
        n_columns=columns,
        channels=channels,
        size_px=size,
        pixel_size_um=pixel_size_um,
    )
    (distinct / "TimePoint_1").mkdir(parents=True, exist_ok=True)
    for number, well in enumerate(wells):
        source = own[number % DISTINCT_WELLS]
        if not _image(original, source.well, 1).is_file():
            image = simulate_field(settings, source, 0).image
            original.write_field(image, well=source.well, index=0, channels=channels, pixel_size_um=pixel_size_um)
        for wave in range(1, len(channels) + 1):
            shutil.copyfile(_image(original, source.well, wave), _image(writer, well.well, wave))
    with (raw / "plate_map.csv").open("w", encoding="utf-8", newline="") as handle:
        lines = csv.writer(handle, lineterminator="\n")
        lines.writerow(["well", "condition", "replicate", "control"])
        for number, well in enumerate(wells):
            condition = own[number % DISTINCT_WELLS].condition
            lines.writerow([well.well, condition.name, 1 + number // DISTINCT_WELLS, condition.control])


def _image(writer: ImageXpress, well: str, wave: int) -> Path:
    return writer.out / "TimePoint_1" / f"{writer.name}_{well}_s1_w{wave}.TIF"


def _set_device(config: Path, device: str) -> None:
    config.write_text(config.read_text(encoding="utf-8").replace("device: auto", f"device: {device}"), encoding="utf-8")


def run_plate(project: Path, *, cores: int) -> PlateCost:
    """Run a project of one plate as a user would, and look where the time goes.

    Raises
    ------
    StageError
        If the run fails: the last that it said.
    """
    used = _lysoquant(project.parent, "run", str(project), "--cores", str(cores))
    records = [(job, _record(project, job)) for job in used.jobs]
    works = [(job.ended - _worked(record), job.ended) for job, record in records]
    segmented = [well for job, record in records if job.stage == "segment" for well in record["wells"].values()]
    found = [well for job, record in records if job.stage == "cells" for well in record["wells"].values()]
    return PlateCost(
        n_wells=len(segmented),
        n_cells=sum(well["counts"]["cells"] for well in found),
        used=used,
        lost_seconds=used.seconds - covered(works),
        network_seconds=sum(well.get("network_seconds", math.nan) for well in segmented),
        network_cpu_seconds=sum(well.get("network_cpu_seconds", math.nan) for well in segmented),
    )


def _lysoquant(folder: Path, *arguments: str) -> Used:
    log = folder / f"{arguments[0]}.log"
    used = watch([sys.executable, "-P", "-m", "lysoquant.cli.main", *arguments], log=log)
    if used.status:
        said = log.read_text(encoding="utf-8", errors="replace").strip()[-500:]
        raise StageError(f"lysoquant {arguments[0]} ended with status {used.status}: {said}")
    return used


def _record(project: Path, job: Job) -> dict[str, Any]:
    name = job.option("--record")
    return {} if name is None else read_json(project / name) or {}


def _worked(record: dict[str, Any]) -> float:
    """Seconds of a job that its record counts as work on wells or tables."""
    wells = record.get("wells")
    seconds = [well["seconds"] for well in wells.values()] if isinstance(wells, dict) else [record.get("seconds", 0.0)]
    return float(sum(seconds))


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for began, ended in sorted(intervals):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return total


def tables(costs: Sequence[PlateCost], *, cores: int, load: float) -> list[Table]:
    """The plates side by side, and the stages of each."""
    title = (
        f"Plates of one field of 512 × 512 pixels of 0.1 µm a well, {cores} cores, load {load:.1f} before the first run"
    )
    return [Table(title, tuple(_plate_row(cost) for cost in costs)), Table("The same by stage", _stage_rows(costs))]


def _plate_row(cost: PlateCost) -> dict[str, str | int | float]:
    used = cost.used
    return {
        "wells": cost.n_wells,
        "cells": cost.n_cells,
        "jobs": len(used.jobs),
        "seconds": used.seconds,
        "seconds a well": used.seconds / cost.n_wells,
        "CPU seconds a well": used.cpu_seconds / cost.n_wells,
        "network of the seconds": _share(cost.network_seconds, used.seconds),
        "network of the CPU seconds": _share(cost.network_cpu_seconds, used.cpu_seconds),
        "start-up and scheduling of the seconds": cost.lost_seconds / used.seconds,
        "peak MiB of a process": used.peak_mb,
        "peak MiB of all": used.peak_sum_mb,
    }


def _share(part: float, whole: float) -> float | str:
    return "" if math.isnan(part) else part / whole


def _stage_rows(costs: Sequence[PlateCost]) -> tuple[dict[str, str | int | float], ...]:
    rows: list[dict[str, str | int | float]] = [{"stage": stage} for stage in (*STAGES, "no job, and lysoquant run")]
    for cost in costs:
        used, name = cost.used, f"{cost.n_wells} wells"
        spans = {stage: [(job.began, job.ended) for job in used.jobs if job.stage == stage] for stage in STAGES}
        for row, stage in zip(rows, STAGES, strict=False):
            row[f"{name}, seconds"] = covered(spans[stage])
            row[f"{name}, CPU seconds"] = used.cpu_by_stage[stage]
        rows[-1][f"{name}, seconds"] = used.seconds - covered(span for some in spans.values() for span in some)
        rows[-1][f"{name}, CPU seconds"] = used.cpu_seconds - sum(used.cpu_by_stage.values())
    return tuple(rows)
