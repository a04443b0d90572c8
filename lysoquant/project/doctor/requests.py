"""What the jobs of a project ask a cluster for, as Snakemake itself plans them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lysoquant.errors import StageError
from lysoquant.project.command import snakemake_command
from lysoquant.vocabulary import STAGES

_RULE: Final = re.compile(r"^(?:local)?rule (\w+):\n((?: {4}.*\n)*)", re.MULTILINE)
_TAIL_LINES: Final = 5


@dataclass(frozen=True)
class Request:
    """What the jobs of a stage on one partition ask for at their first attempt: the largest of each.

    Attributes
    ----------
    partition : str or None
        None for the cluster's default.
    """

    stage: str
    partition: str | None
    jobs: int
    threads: int
    mem_mb: int
    runtime_min: int
    gpus: int


def planned_requests(project: Path, *, profile: str | None, held: Sequence[int] = ()) -> list[Request]:
    """Ask for a dry run and read what its jobs request, whatever the profile sets.

    Parameters
    ----------
    held : sequence of int
        Open files that Snakemake holds too: the lock of the project.

    Raises
    ------
    StageError
        If Snakemake can't plan, with its last words.
    """
    command = snakemake_command(project, cores=None, profile=profile, dry_run=True, unlock=False)
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, errors="replace", encoding="utf-8", pass_fds=held
    )
    said = done.stdout + done.stderr
    if done.returncode:
        last = [line.strip() for line in said.splitlines() if line.strip()][-_TAIL_LINES:]
        raise StageError(f"snakemake --dry-run ended with status {done.returncode}: {'; '.join(last)}")
    return read_requests(said)


def read_requests(text: str) -> list[Request]:
    """Requests by stage and partition from what a dry run says."""
    jobs: dict[tuple[str, str | None], list[dict[str, int]]] = {}
    for rule, body in _RULE.findall(text):
        if rule not in STAGES:
            continue
        threads = re.search(r"^ {4}threads: (\d+)$", body, re.MULTILINE)
        line = re.search(r"^ {4}resources: (.*)$", body, re.MULTILINE)
        resources = dict(pair.partition("=")[::2] for pair in (line[1] if line else "").split(", "))
        numbers = {name: int(value) for name, value in resources.items() if value.isdecimal()}
        key = rule, resources.get("slurm_partition")
        jobs.setdefault(key, []).append(numbers | {"threads": int(threads[1]) if threads else 1})
    return [largest([_request(*key, job) for job in found]) for key, found in jobs.items()]


def _request(stage: str, partition: str | None, numbers: Mapping[str, int]) -> Request:
    return Request(
        stage=stage,
        partition=partition,
        jobs=1,
        threads=numbers["threads"],
        mem_mb=numbers.get("mem_mb", 0),
        runtime_min=numbers.get("runtime", 0),
        gpus=max(numbers.get("gpu", 0), numbers.get("gpus", 0)),
    )


def largest(requests: Sequence[Request]) -> Request:
    """The most of everything that any of the requests asks for."""
    first = requests[0]
    return Request(
        stage=first.stage,
        partition=first.partition,
        jobs=sum(each.jobs for each in requests),
        threads=max(each.threads for each in requests),
        mem_mb=max(each.mem_mb for each in requests),
        runtime_min=max(each.runtime_min for each in requests),
        gpus=max(each.gpus for each in requests),
    )
