"""The doctor and a pilot on a real SLURM: what nodes see, partitions that are wrong or full, and no job left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from on_slurm import SLOW
from slurm_cluster import Cluster, ask, why_not
from tiny_project import ROOT, edit_config, make_project

from lysoquant.project.command import workflow_folder

QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")
LYSOQUANT = (sys.executable, "-m", "lysoquant.cli.main")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    reason = why_not()
    if find_spec("snakemake_executor_plugin_slurm") is None:
        reason = "snakemake-executor-plugin-slurm is not installed"
    if reason is not None:
        if os.environ.get("LYSOQUANT_REQUIRE_SLURM") == "1":
            pytest.fail(f"{reason}, and LYSOQUANT_REQUIRE_SLURM is 1")
        pytest.skip(reason)
    with Cluster() as running:
        yield running


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("doctor") / 'a "plate" $HOME', wells=("B02", "B03", "B04"))


def run(*arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*prefix, *LYSOQUANT, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def doctor(project: Path, *arguments: str, status: int) -> dict[str, dict[str, Any]]:
    """Findings by check, after the doctor ended with that status."""
    told = project / "told.json"
    done = run("doctor", str(project), "--profile", "slurm", "--json", str(told), *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    return {finding["check"]: finding for finding in json.loads(told.read_text())["checks"]}


def jobs_left() -> str:
    return ask("squeue", "-h", "-o", "%j %T")


def profile_with(folder: Path, old: str, new: str) -> str:
    shutil.copytree(workflow_folder() / "profiles" / "slurm", folder)
    path = folder / "config.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    return str(folder)


def test_a_node_sees_the_project_the_raw_plate_and_this_python(cluster: Cluster, project: Path) -> None:
    found = doctor(project, status=0)
    states = {check: found[check]["state"] for check in ("SLURM", "account", "partition cpu", "node of cpu")}
    assert set(states.values()) == {"ok"}, found
    # segment on 8 cores in 12 GB; aggregate for an hour.
    assert found["partition cpu"]["seen"] == (
        "up, 2 of 2 nodes, MaxTime 1-00:00:00; largest jobs: 8 cores, 12000 MB, 60 min"
    )
    assert f"sees {project}, the raw plates and {sys.executable}" in found["node of cpu"]["seen"]
    assert "node of gpu" not in found
    assert jobs_left() == ""
    assert not list(project.glob(".lysoquant-doctor-*"))


def test_a_gpu_that_torch_does_not_find_on_the_node_is_a_problem(
    cluster: Cluster, project: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "p"))
    edit_config(copy, "device: cpu", "device: cuda")
    found = doctor(copy, status=1)
    assert found["partition gpu"]["state"] == "ok"
    assert "1 GPU" in found["partition gpu"]["seen"]
    assert "finds none by torch" in found["node of gpu"]["seen"]
    assert found["node of cpu"]["state"] == "ok"


def test_a_full_partition_is_a_warning_and_its_probe_is_cancelled(cluster: Cluster, project: Path) -> None:
    ask("sbatch", "--nodes=2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 600")
    try:
        found = doctor(project, "--wait", "4", status=0)
        assert found["node of cpu"]["state"] == "warning"
        assert "could not be probed in 4 s" in found["node of cpu"]["seen"]
        assert "lysoquant-doctor" not in jobs_left()
    finally:
        ask("scancel", "--user", "root")


def test_what_only_this_host_mounts_no_node_sees(cluster: Cluster, project: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    told = tmp_path / "told.json"
    script = 'mount -t tmpfs private "$1" && cp -r "$2" "$1/p" && shift 2 && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh", str(private), str(project))
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no private mounts on this host")
    done = run("doctor", str(private / "p"), "--profile", "slurm", "--json", str(told), prefix=prefix)
    assert done.returncode == 1, done.stdout + done.stderr
    found = {finding["check"]: finding for finding in json.loads(told.read_text())["checks"]}
    assert f"does not see a file just written in {private / 'p'}" in found["node of cpu"]["seen"]


def test_a_partition_that_is_not_there_stops_a_run_before_anything_is_submitted(
    cluster: Cluster, project: Path, tmp_path: Path
) -> None:
    profile = profile_with(tmp_path / "profile", "slurm_partition: cpu", "slurm_partition: night")
    done = run("run", str(project), "--profile", profile)
    assert done.returncode == 2
    assert "error: this SLURM has no partition 'night'; its partitions are cpu, frail, gpu" in done.stderr
    assert not (project / "results" / "logs" / "snakemake.log").exists()


def test_jobs_that_ask_for_more_time_than_the_partition_gives_are_a_problem(cluster: Cluster, project: Path) -> None:
    ask("scontrol", "update", "PartitionName=cpu", "MaxTime=10")
    try:
        found = doctor(project, status=1)
        assert "and MaxTime of the partition is 00:10:00" in found["partition cpu"]["seen"]
        assert "node of cpu" not in found
    finally:
        ask("scontrol", "update", "PartitionName=cpu", "MaxTime=1-0")


@SLOW
def test_a_pilot_runs_on_slurm_and_its_wells_are_not_done_again(cluster: Cluster, project: Path) -> None:
    done = run("run", str(project), "--profile", "slurm", "--pilot", "B02,B04", "--", *QUICK)
    assert done.returncode == 0, done.stderr
    results = project / "results"
    assert (results / "_pilot" / "report" / "index.html").is_file()
    assert not (results / "tables").exists()
    assert "from 2 wells, 2 fields done here" in done.stdout
    assert "wall time on SLURM, if no job has to wait (at most 100 at a time)" in done.stdout
    assert done.stdout.rstrip().endswith(f"lysoquant run '{project}' --profile slurm")
    before = {path: path.read_bytes() for path in results.glob("P/records/*/wells/*.json")}
    assert {path.stem for path in before} == {"B02", "B04"}
    assert len(before) == 8
    assert run("run", str(project), "--cores", "2").returncode == 0
    assert {path: path.read_bytes() for path in before} == before
    assert (results / "tables" / "wells.csv").read_text().count("\n") == 4
