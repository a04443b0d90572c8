"""Runs on a real SLURM: the tables of a local run, after a kill too; where jobs go; what an error names."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from on_slurm import (
    QUICK,
    assert_equal_tables,
    run_command,
    run_on_slurm,
    slurm_command,
    stage_processes,
    unmeasured,
)
from slurm_cluster import Cluster, ask
from tiny_project import ROOT, edit_config, make_project

from lysoquant.project.command import workflow_folder

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def killed(cluster: Cluster, local: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that was killed while a job ran on SLURM, and the name of its jobs; the folder's name needs quoting.

    The job is stopped, so that it surely still runs when the next run finds it.
    """
    project = make_project(tmp_path_factory.mktemp("slurm") / 'a "plate" $HOME', wells=("B02", "B03"))
    log = project / "results" / "logs" / "snakemake.log"
    arguments = slurm_command(project)
    with subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        until = time.monotonic() + 300
        while "RUNNING" not in ask("squeue", "-h", "-o", "%T") or not (jobs := stage_processes(project)):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        for job in jobs:
            os.kill(job, signal.SIGSTOP)
        os.killpg(process.pid, signal.SIGKILL)
    (name,) = set(ask("squeue", "-h", "-o", "%j").split())
    return project, name


def test_a_killed_run_goes_on_and_leaves_the_tables_of_a_local_one(
    killed: tuple[Path, str], local: Path, record_property: Record
) -> None:
    project, name = killed
    assert ask("squeue", "-h", "--name", name).strip()
    assert list((project / ".snakemake" / "locks").glob("*.lock"))
    done = run_on_slurm(project)
    assert done.returncode == 0, done.stderr
    assert "run: the last run was killed; 1 of its jobs were left on SLURM" in done.stderr
    assert f"JobName={name}" in ask("scontrol", "show", "job")
    assert "CANCELLED" in ask("squeue", "-h", "--states=all", "--name", name, "-o", "%T")
    assert_equal_tables(project, local)
    record_property("fault", "SIGKILL of a run on SLURM while a job runs there, then a run")
    record_property("times", "1")
    record_property("lost", "nothing")


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
    said = r"error: segment P B02-B03 failed: SLURM job \d+ ended as FAILED, its command failed\n"
    asked = r"error: it had asked for 19 min, 12000 MB, 8 threads, 1 GPU, partition gpu\n"
    assert re.search(said + asked, done.stderr), done.stderr
    assert str(project / "results" / "logs" / "segment" / "P.B02-B03.log") in done.stderr
    (slurm_log,) = (project / ".snakemake" / "slurm_logs").rglob("*.log")
    assert str(slurm_log) in done.stderr


def test_a_plain_snakemake_is_left_alone_while_it_runs_and_its_orphans_end_with_unlock(
    cluster: Cluster, local: Path, tmp_path: Path, record_property: Record
) -> None:
    project = unmeasured(local, tmp_path / "p")
    log = project / "results" / "logs" / "snakemake.log"
    log.parent.mkdir()
    log.write_text("what the last run said\n")
    plain = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(project)]
    profile = ["--workflow-profile", str(workflow_folder() / "profiles" / "slurm")]
    options = [*profile, *QUICK, "--slurm-status-command", "squeue"]
    with subprocess.Popen([*plain, *options], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        until = time.monotonic() + 120
        while not (stages := stage_processes(project, "measure")):
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
        for stage in stages:
            os.kill(stage, signal.SIGSTOP)
        refused = run_on_slurm(project)
        assert refused.returncode == 2
        assert f"another run works on this project (process {process.pid} on " in refused.stderr
        assert log.read_text() == "what the last run said\n"
        assert process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
    assert stage_processes(project, "measure") == stages
    unlocked = subprocess.run(run_command(project, "--unlock"), cwd=ROOT, capture_output=True, text=True, check=True)
    # Nothing writes any more when the lock is gone.
    assert stage_processes(project) == []
    assert "run: 1 jobs of a killed run were left on SLURM and are cancelled" in unlocked.stderr
    subprocess.run(run_command(project, "--cores", "2"), cwd=ROOT, check=True, capture_output=True)
    assert_equal_tables(project, local)
    record_property("fault", "SIGKILL of plain Snakemake while its job runs on SLURM, then --unlock and a run")
    record_property("times", "1")
    record_property("lost", "nothing")
