"""Megabytes a second of convert, beside reading and compressing alone and beside other writers of OME-Zarr."""

from __future__ import annotations

import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.benchmark.speed.codecs import codecs
from lysoquant.benchmark.speed.parts import Scale
from lysoquant.benchmark.speed.plate_ways import CHANNELS, Job, ways, write_raw
from lysoquant.benchmark.speed.table import Table
from lysoquant.model.memory import keep_freed_memory
from lysoquant.simulate.plate import PlateSettings, plate_wells, simulate_field

SIZE_PX: Final = 2048
_WELLS, _FIELDS = 4, 4
_SIMULATED_PX: Final = 1024
"""Fields are simulated so large and mirrored to twice the edge: no chunk holds anything twice."""
_REFERENCE: Final = "reading, levels, compressing"
_OURS: Final = "lysoquant convert"
_MIB: Final = 2**20

Fields = list[NDArray[np.uint16]]


@dataclass(frozen=True)
class Cost:
    """What one way took for a plate, in a process of its own.

    Attributes
    ----------
    seconds, cpu_seconds : float
        Wall clock, and of all threads.
    peak_mib, start_mib : float
        Resident memory at most, and before the work began.
    files, stored_bytes : int
        Left behind in the store.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    start_mib: float
    files: int
    stored_bytes: int


def measure(scale: Scale) -> Sequence[Table]:
    """Tables of one run."""
    fields = [_field(number) for number in range(scale.images)]
    with tempfile.TemporaryDirectory() as folder:
        return [
            speeds(fields, Path(folder) / "speed", wells=_WELLS, threads=scale.threads, repeats=scale.repeats),
            memory(fields, Path(folder) / "memory", wells=(1, _WELLS), threads=sorted({1, scale.threads, 4})),
            codecs(list(fields[0]), repeats=scale.repeats),
        ]


def speeds(fields: Fields, folder: Path, *, wells: int, threads: int, repeats: int) -> Table:
    """Every way for the same plate, in turns, the least of each figure; the ratios are of CPU seconds."""
    jobs = _jobs(fields, folder, wells=wells, threads=threads)
    costs: dict[str, list[Cost]] = {name: [] for name in ways()}
    for _ in range(repeats):
        for name, found in costs.items():
            found.append(_in_own_process(name, jobs))
    least = {name: min(found, key=lambda cost: cost.cpu_seconds) for name, found in costs.items()}
    wall = {name: min(cost.seconds for cost in found) for name, found in costs.items()}
    size = wells * _FIELDS * len(CHANNELS) * fields[0][0].nbytes
    n_pixels = f"{fields[0].shape[-1]}²"
    title = f"{wells} wells × {_FIELDS} fields × {len(CHANNELS)} channels of {n_pixels}, {size / 1e6:,.0f} MB"
    rows = [_row(name, cost, least, size=size, seconds=wall[name]) for name, cost in least.items()]
    return Table(f"{title}, threads {threads}", tuple(rows))


def memory(fields: Fields, folder: Path, *, wells: Sequence[int], threads: Sequence[int]) -> Table:
    """Peak memory of convert by wells and threads."""
    rows: list[dict[str, str | int | float]] = []
    for number in wells:
        for count in threads:
            cost = _in_own_process(_OURS, _jobs(fields, folder / f"{number}-{count}", wells=number, threads=count))
            shutil.rmtree(folder / f"{number}-{count}")
            rows.append(
                {
                    "wells": number,
                    "fields": number * _FIELDS,
                    "threads": count,
                    "peak MiB": cost.peak_mib,
                    "above the start": cost.peak_mib - cost.start_mib,
                }
            )
    mib = len(CHANNELS) * fields[0][0].nbytes / _MIB
    return Table(f"Memory of convert, a field of {mib:.0f} MiB", tuple(rows))


def cost_of(name: str, jobs: Sequence[Job]) -> Cost:
    """Cost of a way for the last of the jobs, after the others, which import what it needs."""
    keep_freed_memory()  # as the command does
    way = ways()[name]
    for job in jobs:
        shutil.rmtree(job.layout.results, ignore_errors=True)
    for job in jobs[:-1]:
        way(job)
    job = jobs[-1]
    start_mib, started, cpu = _memory_mib("VmRSS"), time.perf_counter(), time.process_time()
    way(job)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    files = [path.stat().st_size for path in job.store.rglob("*") if path.is_file()]
    return Cost(seconds, cpu_seconds, _memory_mib("VmHWM"), start_mib, len(files), sum(files))


def _in_own_process(name: str, jobs: Sequence[Job]) -> Cost:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(cost_of, name, jobs).result()


def _jobs(fields: Fields, folder: Path, *, wells: int, threads: int) -> list[Job]:
    """A plate of one small field, to warm up with, and the plate that is measured."""
    write_raw(folder / "small", [np.ascontiguousarray(fields[0][:, :64, :64])], wells=1, fields_a_well=1)
    write_raw(folder / "plate", fields, wells=wells, fields_a_well=_FIELDS)
    return [Job(folder / name, threads) for name in ("small", "plate")]


def _row(
    name: str, cost: Cost, all_ways: Mapping[str, Cost], *, size: int, seconds: float
) -> dict[str, str | int | float]:
    ome_zarr = next(cost for name, cost in all_ways.items() if name.startswith("ome-zarr-py"))
    return {
        "way": name,
        "MB/s": size / 1e6 / seconds,
        "MB a CPU second": size / 1e6 / cost.cpu_seconds,
        "of reading, levels, compressing": all_ways[_REFERENCE].cpu_seconds / cost.cpu_seconds,
        "times ome-zarr-py": ome_zarr.cpu_seconds / cost.cpu_seconds,
        "files": cost.files,
        "raw bytes a stored byte": size / cost.stored_bytes if cost.stored_bytes else "",
        "peak MiB": cost.peak_mib,
    }


def _field(number: int) -> NDArray[np.uint16]:
    settings = PlateSettings(n_wells=4, n_fields=1, size_px=_SIMULATED_PX)
    image = simulate_field(settings, plate_wells(settings.n_wells)[0][number % 4], number // 4).image
    edge = (SIZE_PX - _SIMULATED_PX) // 2
    return np.pad(image, ((0, 0), (edge, edge), (edge, edge)), mode="symmetric")


def _memory_mib(key: str) -> float:
    """A line of the process's own status; where the system has none, the most that it ever held."""
    status = Path("/proc/self/status")
    if not status.is_file():
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (_MIB if sys.platform == "darwin" else 1024)
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines[key].split()[0]) / 1024
