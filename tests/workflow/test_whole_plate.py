"""A plate as a user runs it, watched once: its jobs, where the benchmark says the time went, and what was imported."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from tiny_project import edit_config, make_project

from lysoquant.benchmark.speed.plate import PlateCost, covered, run_plate, tables, write_plate
from lysoquant.errors import StageError
from lysoquant.project.resources import local_threads
from lysoquant.simulate.plate import PlateSettings, SimulatedWell, plate_wells
from lysoquant.vocabulary import STAGES

HEAVY = (
    "torch", "sympy", "zarr", "ngio", "numpy", "pandas", "pyarrow", "scipy.stats", "scipy", "skimage", "sklearn",
    "dask", "distributed", "matplotlib", "statsmodels", "tifffile", "PIL",
)  # fmt: skip
IMPORTED = {
    "convert": {"numpy", "scipy", "tifffile", "zarr"},
    "cells": {"PIL", "numpy", "scipy", "skimage", "tifffile", "zarr"},
    "segment": {"numpy", "pandas", "pyarrow", "scipy", "skimage", "torch", "zarr"},
    "measure": {"numpy", "pandas", "pyarrow", "scipy", "tifffile", "zarr"},
    "aggregate": {"numpy", "pandas", "pyarrow", "scipy", "scipy.stats"},
    "report": {"PIL", "numpy", "pandas", "pyarrow", "zarr"},
}
"""Of the heavy packages what each stage imports in all its processes, from its start to its end."""


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("watched") / "P", wells=("B02", "B03"))
    edit_config(project, "{scheduler: threads}", "{scheduler: processes}")
    return project


@pytest.fixture(scope="module")
def cost(plate: Path) -> PlateCost:
    """What the plate took; every process leaves the names of the modules that it imports in its log."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPROFILEIMPORTTIME", "1")
        return run_plate(plate, cores=2)


def imported(log: Path) -> set[str]:
    names = set(re.findall(r"^import time:[ 0-9]+\|[ 0-9]+\| *(\S+)$", log.read_text(), re.M))
    assert names, log
    return {name for name in HEAVY if name in names}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_what_it_needs_and_nothing_more(stage: str, plate: Path, cost: PlateCost) -> None:
    logs = [*(plate / "results" / "logs" / stage).glob("*.log")]
    assert logs
    assert set().union(*map(imported, logs)) == IMPORTED[stage]


def test_run_and_plan_import_no_network_and_no_store(plate: Path, cost: PlateCost) -> None:
    """Describing a raw plate takes its reader; pandas and pyarrow are Snakemake's own."""
    assert imported(plate.parent / "run.log") == {"numpy", "tifffile"}
    planned = imported(plate / "results" / "logs" / "snakemake.log")
    assert planned - {"PIL"} == {"numpy", "pandas", "pyarrow", "tifffile"}


def test_a_plate_is_one_job_a_stage_and_one_for_its_metadata(cost: PlateCost) -> None:
    assert [job.stage for job in cost.used.jobs] == ["convert", *STAGES]
    assert cost.used.jobs[0].option("--plate") == "P"
    assert cost.used.jobs[0].option("--record") is None
    assert cost.used.jobs[1].option("--record") == "results/P/records/convert/B02-B03.json"
    assert (cost.n_wells, cost.n_cells) == (2, 2)


def test_time_and_memory_of_a_plate_add_up(cost: PlateCost) -> None:
    used = cost.used
    assert 0 < cost.network_cpu_seconds < used.cpu_by_stage["segment"]
    assert sum(used.cpu_by_stage.values()) < used.cpu_seconds
    assert 0 < cost.lost_seconds < used.seconds
    assert 0 < used.peak_mb <= used.peak_sum_mb
    whole, by_stage = tables([cost], cores=2, load=0.5)
    assert "2 cores, load 0.5" in whole.title
    assert (whole.rows[0]["wells"], whole.rows[0]["jobs"]) == (2, 7)
    assert [row["stage"] for row in by_stage.rows] == [*STAGES, "no job, and lysoquant run"]
    assert sum(float(row["2 wells, CPU seconds"]) for row in by_stage.rows) == pytest.approx(used.cpu_seconds)
    # One after another, so that the stages' times and what lies between them are the whole.
    assert sum(float(row["2 wells, seconds"]) for row in by_stage.rows) == pytest.approx(used.seconds, rel=0.05)


def test_a_run_that_fails_is_told_by_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"lysoquant run ended with status 2: .*config"):
        run_plate(tmp_path, cores=1)


def test_wells_beyond_the_first_six_have_copies_of_their_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def blank(plate: PlateSettings, well: SimulatedWell, index: int) -> SimpleNamespace:
        made.append(well.well)
        return SimpleNamespace(image=np.full((3, 8, 8), len(made), np.uint16))

    monkeypatch.setattr("lysoquant.benchmark.speed.plate.simulate_field", blank)
    for name, n_wells in (("A", 8), ("B", 13)):
        write_plate(tmp_path / name, n_wells=n_wells, distinct=tmp_path / "distinct")
    assert made == [well.well for well in plate_wells(6)[0]]
    images = sorted((tmp_path / "B" / "TimePoint_1").glob("*_w2.TIF"))
    assert len(images) == 13
    assert [tifffile.imread(path).max() for path in images] == [1 + number % 6 for number in range(13)]
    rows = (tmp_path / "B" / "plate_map.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows[1:8]] == [
        well.condition.name for well in [*plate_wells(6)[0], *plate_wells(1)[0]]
    ]


def test_the_length_of_intervals_that_overlap() -> None:
    assert covered([]) == 0
    assert covered([(3, 4), (0, 2), (1, 2.5), (1, 1.5)]) == 3.5


@pytest.mark.parametrize(
    ("stage", "cores", "n_jobs", "threads"),
    [("convert", 2, 6, 1), ("convert", 2, 1, 2), ("cells", 16, 6, 2), ("cells", 64, 6, 4), ("measure", 8, 0, 8)],
)
def test_jobs_of_one_host_lie_side_by_side_before_they_get_threads(
    stage: str, cores: int, n_jobs: int, threads: int
) -> None:
    assert local_threads(stage, cores=cores, n_jobs=n_jobs) == threads
