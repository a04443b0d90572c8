"""measure and aggregate on Dask workers that a real SLURM gives: the bytes of a local run, and no job left over."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import Cluster, ask, cluster_or_skip
from tiny_project import edit_config, make_project

from lysoquant.cli.main import invoke
from lysoquant.errors import StageError
from lysoquant.workers.params import DaskSettings, SlurmWorkers
from lysoquant.workers.pool import Workers, workers

# Each of the virtual nodes is this host, so workers and scheduler meet on loopback.
SLURM = SlurmWorkers(jobs=2, memory_mb=900, runtime_min=5, interface="lo", host="127.0.0.1", wait_min=2)
LOOPBACK = "{jobs: 2, memory_mb: 900, runtime_min: 5, interface: lo, host: 127.0.0.1, wait_min: 2}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with cluster_or_skip("dask_jobqueue", "dask-jobqueue") as running:
        yield running


def jobs() -> list[str]:
    return ask("squeue", "-h", "--name", "lysoquant-dask", "-o", "%i").split()


def wait_until_no_job_is_left() -> None:
    until = time.monotonic() + 30
    while jobs():
        assert time.monotonic() < until, ask("squeue")
        time.sleep(0.2)


def tables(project: Path) -> dict[str, bytes]:
    folders = [project / "results" / "tables", project / "results" / "P" / "measure"]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(project).as_posix(): path.read_bytes() for path in files}


def test_measure_and_aggregate_on_slurm_write_the_bytes_of_a_local_run(cluster: Cluster, tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", wells=("B02", "B03"))
    for stage in ("convert", "cells", "segment", "measure", "aggregate"):
        assert invoke([stage, str(project)]) == 0, stage
    local = tables(project)
    assert len(local) == 10 + 2 * 3
    results = project / "results"
    for path in (*results.glob("P/records/measure/**/*.json"), *results.glob("**/records/aggregate*/*.json")):
        path.unlink()
    for path in local:
        (project / path).unlink()
    edit_config(project, "dask: {scheduler: threads}", f"dask: {{scheduler: slurm, slurm: {LOOPBACK}}}")
    for stage in ("measure", "aggregate"):
        assert invoke([stage, str(project)]) == 0, stage
        assert list((results / "logs" / stage / "workers").glob("lysoquant-dask-*.log"))
    assert tables(project) == local
    wait_until_no_job_is_left()


def where(ready: Workers, *, seconds: float, tasks: int) -> list[str]:
    """The job that did each of some tasks. Workers know no module of the tests, so the task is a shell's."""
    return ready.map(subprocess.getoutput, [f"sleep {seconds}; echo $SLURM_JOB_ID"] * tasks)


def wait_for_all(ready: Workers) -> set[str]:
    """Jobs that have taken a task, once all have."""
    until = time.monotonic() + 60
    seen: set[str] = set()
    while len(seen) < SLURM.jobs:
        assert time.monotonic() < until, ask("squeue")
        seen |= set(where(ready, seconds=0.05, tasks=8))
    return seen


def test_a_cancelled_jobs_tasks_are_done_by_others_and_the_job_is_replaced(cluster: Cluster, tmp_path: Path) -> None:
    with workers(DaskSettings(scheduler="slurm", slurm=SLURM), cores=1, logs=tmp_path / 'a "b" 5%') as ready:
        assert (ready.n_workers, ready.n_ahead) == (2, 8)
        first = wait_for_all(ready)
        lost = min(first)
        # It is cancelled while it has a task in hand.
        with subprocess.Popen(["sh", "-c", f"sleep 1; scancel {lost}"]):
            done = where(ready, seconds=2, tasks=6)
        assert len(done) == 6
        assert lost not in done
        until = time.monotonic() + 60
        while not (set(jobs()) - first):
            assert time.monotonic() < until, ask("squeue")
            time.sleep(0.2)
    wait_until_no_job_is_left()
    assert list((tmp_path / 'a "b" 5%').glob("lysoquant-dask-*.log"))


def test_an_error_inside_leaves_no_job(cluster: Cluster, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match="invalid literal"),
        workers(DaskSettings(scheduler="slurm", slurm=SLURM), cores=1, logs=tmp_path) as ready,
    ):
        ready.map(int, ["no number"])
    wait_until_no_job_is_left()


def test_a_job_that_slurm_keeps_waiting_is_an_error_that_says_why(cluster: Cluster, tmp_path: Path) -> None:
    """Both nodes are full, so a job of a whole node has to wait."""
    full = ask("sbatch", "--parsable", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap=sleep 60").strip()
    waiting = SLURM.model_copy(update={"cores": 8, "wait_min": 0.1})
    try:
        with (
            pytest.raises(StageError, match=r"no Dask worker came from SLURM in 0\.1 min \(PENDING \w+.*\); look into"),
            workers(DaskSettings(scheduler="slurm", slurm=waiting), cores=1, logs=tmp_path),
        ):
            pass
    finally:
        ask("scancel", full)
    wait_until_no_job_is_left()
    refused = SLURM.model_copy(update={"partition": "night"})
    with (
        pytest.raises(StageError, match=r"takes no job of a Dask worker \(sbatch: error: .*invalid partition"),
        workers(DaskSettings(scheduler="slurm", slurm=refused), cores=1, logs=tmp_path),
    ):
        pass
