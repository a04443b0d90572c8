"""Runs of tiny projects on a SLURM, and what they leave there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from slurm_cluster import ask
from tiny_project import ROOT

SLOW = pytest.mark.skipif(
    os.environ.get("LYSOQUANT_SLOW") != "1", reason="minutes of waiting: `make reliability` does it"
)
TABLES = ("wells.csv", "conditions.csv", "statistics.csv", "plates.csv", "hits.csv", "dose_response.csv")
QUICK = ("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "1")


def run_command(project: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "lysoquant.cli.main", "run", str(project), *arguments]


def slurm_command(project: Path, *arguments: str) -> list[str]:
    """``lysoquant run`` with the shipped profile and quick looks at jobs; more arguments go to Snakemake."""
    return run_command(project, "--profile", "slurm", "--", *QUICK, *arguments)


def run_on_slurm(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(slurm_command(project, *arguments), cwd=ROOT, capture_output=True, text=True, check=False)


def unmeasured(finished: Path, project: Path) -> Path:
    """A copy of a finished project that has yet to be measured."""
    shutil.copytree(finished, project)
    for folder in ("P/records/measure", "records", "tables", "report", "logs"):
        shutil.rmtree(project / "results" / folder)
    return project


@dataclass(frozen=True)
class SlurmJob:
    """A job as SLURM has it; memory and run-time limit as it writes them (``500M``, ``1:00``)."""

    number: str
    name: str
    state: str
    memory: str
    limit: str
    node: str
    account: str
    comment: str
    project: Path


def jobs_of(project: Path, rule: str = "") -> list[SlurmJob]:
    """All jobs of a project and a rule, ended ones too, in the order in which they were submitted."""
    lines = ask("squeue", "-h", "--states=all", "--sort=i", "-o", "%A|%j|%T|%m|%l|%N|%a|%k|%Z").splitlines()
    jobs = [SlurmJob(*fields[:-1], project=Path(fields[-1])) for fields in (line.split("|", 8) for line in lines)]
    return [job for job in jobs if job.project == project and job.comment.startswith(f"rule_{rule}")]


def stage_processes(project: Path, stage: str = "") -> list[int]:
    """Processes of a stage's command that work in a project."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
            inside = path.with_name("cwd").readlink() == project
        except OSError:
            continue
        if inside and b"lysoquant.cli.main" in words and stage.encode() in words:
            found.append(int(path.parent.name))
    return found


def assert_equal_tables(project: Path, expected: Path) -> None:
    for table in TABLES:
        path = Path("results", "tables", table)
        assert (project / path).read_bytes() == (expected / path).read_bytes(), table
