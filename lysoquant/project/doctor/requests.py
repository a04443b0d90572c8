"""What the jobs of a project ask a cluster for, as Snakemake itself plans them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lysoquant.errors import StageError
from lysoquant.project.run import snakemake_command
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
    return [_largest(*key, found) for key, found in jobs.items()]


def _largest(stage: str, partition: str | None, jobs: list[dict[str, int]]) -> Request:
    def most(name: str) -> int:
        return max(job.get(name, 0) for job in jobs)

    return Request(
        stage=stage,
        partition=partition,
        jobs=len(jobs),
        threads=most("threads"),
        mem_mb=most("mem_mb"),
        runtime_min=most("runtime"),
        gpus=max(most("gpu"), most("gpus")),
    )


def on_partition(requests: Iterable[Request], partition: str | None) -> list[Request]:
    return [request for request in requests if request.partition == partition]
