"""Runs on a real SLURM: the tables of a local run, after a kill too; where jobs go; what an error names."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import Cluster, ask
from tiny_project import ROOT, edit_config, make_project

TABLES = ("wells.csv", "conditions.csv", "statistics.csv")
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")


def command(project: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "lysoquant.cli.main", "run", str(project), *arguments]


def run_on_slurm(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = command(project, "--profile", "slurm", "--", *QUICK, *arguments)
    return subprocess.run(done, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run to its end on this machine."""
    project = make_project(tmp_path_factory.mktemp("local") / "p", wells=("B02", "B03"))
    subprocess.run(command(project, "--cores", "2"), cwd=ROOT, check=True, capture_output=True)
    return project


@pytest.fixture(scope="module")
def killed(cluster: Cluster, local: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that was killed while a job ran on SLURM, and the name of its jobs; the folder's name needs quoting.

    The local run comes first, so that the job still runs when the next run finds it.
    """
    project = make_project(tmp_path_factory.mktemp("slurm") / 'a "plate" $HOME', wells=("B02", "B03"))
    log = project / "results" / "logs" / "snakemake.log"
    arguments = command(project, "--profile", "slurm", "--", *QUICK)
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        until = time.monotonic() + 300
        while "RUNNING" not in ask("squeue", "-h", "-o", "%T"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
    (name,) = set(ask("squeue", "-h", "-o", "%j").split())
    return project, name


def test_a_killed_run_goes_on_and_leaves_the_tables_of_a_local_one(killed: tuple[Path, str], local: Path) -> None:
    project, name = killed
    assert ask("squeue", "-h", "--name", name).strip()
    assert list((project / ".snakemake" / "locks").glob("*.lock"))
    done = run_on_slurm(project)
    assert done.returncode == 0, done.stderr
    assert "run: the last run was killed; 1 of its jobs were left on SLURM" in done.stderr
    assert f"JobName={name}" in ask("scontrol", "show", "job")
    assert "CANCELLED" in ask("squeue", "-h", "--states=all", "--name", name, "-o", "%T")
    for table in TABLES:
        path = Path("results", "tables", table)
        assert (project / path).read_bytes() == (local / path).read_bytes(), table


def test_a_gpu_is_asked_for_on_its_partition_and_an_error_names_the_logs(
    cluster: Cluster, local: Path, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(local, tmp_path / "p"))
    edit_config(project, "device: cpu", "device: cuda")
    edit_config(project, "overlap_px: 16", "overlap_px: 20")
    done = run_on_slurm(project, "--retries", "0", "--until", "segment")
    assert done.returncode == 1
    jobs = ask("scontrol", "show", "job").split("JobId=")[1:]
    (job,) = [job for job in jobs if str(project) in job]
    assert "Partition=gpu" in job
    assert re.search(r"TresPerJob=gres[:/]gpu[:=]1\b", job)
    assert re.search(r"error: segment P B02-B03 failed: SLURM-job '\d+' failed, SLURM status is: 'FAILED'", done.stderr)
    assert str(project / "results" / "logs" / "segment" / "P.B02-B03.log") in done.stderr
    (slurm_log,) = (project / ".snakemake" / "slurm_logs").rglob("*.log")
    assert str(slurm_log) in done.stderr
