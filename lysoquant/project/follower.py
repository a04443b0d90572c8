"""What Snakemake says while it works, and what that amounts to."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from lysoquant.vocabulary import BATCH_STAGES, STAGES

_ONCE: Final = frozenset(STAGES) - frozenset(BATCH_STAGES)
"""Stages whose jobs have no wildcards."""


@dataclass
class Job:
    """A job of the workflow, as Snakemake announced it."""

    rule: str
    wildcards: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def title(self) -> str:
        return " ".join([self.rule, *self.wildcards.values()])


@dataclass
class Failure:
    """A job that failed, what is said of it, its log, the cluster's own logs of it and what it had asked for there."""

    rule: str
    log: str | None = None
    message: str | None = None
    cluster_logs: Sequence[str] = ()
    asked: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1


@dataclass
class Follower:
    """What Snakemake's messages amount to, line by line.

    Attributes
    ----------
    done, total : int
        Jobs.
    running : dict of str to Job
        By Snakemake's number of the job.
    failures : list of Failure
        In the order in which they happened, each job once and none that was tried again with success.
    locked : bool
        Another run, or one that was killed, holds the project.
    """

    done: int = 0
    total: int = 0
    running: dict[str, Job] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    locked: bool = False
    retried: list[Failure] = field(default_factory=list)
    """Failures of jobs that are about to be tried again."""
    _attempts: Counter[str] = field(default_factory=Counter)
    _job: Job | None = None
    _failure: Failure | None = None

    _PATTERNS = (
        ("start", re.compile(r"(?:local)?(?:rule|checkpoint) (\w+):$")),
        ("failure", re.compile(r"Error in rule (\w+):?$")),
        ("jobid", re.compile(r" {4}jobid: (\d+)$")),
        ("wildcards", re.compile(r" {4}wildcards: (.+)$")),
        ("message", re.compile(r" {4}message: (?!None$)(.+?)\.?$")),
        ("threads", re.compile(r" {4}threads: (\d+)$")),
        ("resources", re.compile(r" {4}resources: (.+)$")),
        ("restart", re.compile(r"Trying to restart job (\d+)\.")),
        ("log", re.compile(r" {4}log: (.+?)(?: \(check log file.*)?$")),
        ("finish", re.compile(r"Finished jobid: (\d+)")),
        ("progress", re.compile(r"(\d+) of (\d+) steps .*done$")),
        ("total", re.compile(r"total +(\d+)$")),
        ("lock", re.compile(r".*[Dd]irectory cannot be locked")),
    )

    def feed(self, line: str) -> str | None:
        """Take in a line; returns a short note for a log where something worth saying happened."""
        for name, pattern in self._PATTERNS:
            match = pattern.match(line.rstrip())
            if match:
                note: str | None = getattr(self, f"_on_{name}")(*match.groups())
                return note
        return None

    def _on_start(self, rule: str) -> None:
        self._job, self._failure = Job(rule), None

    def _on_failure(self, rule: str) -> None:
        self._job, self._failure = None, Failure(rule)

    def _on_jobid(self, number: str) -> str | None:
        if self._failure is not None:
            job = self.running.pop(number, None)
            if job is not None:
                self._failure.rule, self._failure.asked = job.title, job.asked
            self._failure.attempt = 1 + self._attempts[self._failure.rule]
        elif self._job is not None:
            self.running[number] = self._job
            if self._job.rule in _ONCE:
                return f"started {self._job.rule}"
        return None

    def _on_wildcards(self, text: str) -> str | None:
        if self._job is None:
            return None
        self._job.wildcards = dict(pair.split("=", 1) for pair in text.split(", ") if "=" in pair)
        return f"started {self._job.title}"

    def _on_threads(self, number: str) -> None:
        if self._job is not None:
            self._job.asked["threads"] = number

    def _on_resources(self, text: str) -> str | None:
        if self._job is None:
            return None
        self._job.asked |= dict(pair.split("=", 1) for pair in text.split(", ") if "=" in pair)
        attempt = 1 + self._attempts[self._job.title]
        if attempt == 1:
            return None
        asked = f"{self._job.asked.get('mem_mb', '?')} MB, {self._job.asked.get('runtime', '?')} min"
        return f"attempt {attempt} of {self._job.title} with {asked}"

    def _on_restart(self, _number: str) -> None:
        if self.failures:
            self._attempts[self.failures[-1].rule] += 1
            self.retried.append(self.failures[-1])

    def _on_message(self, text: str) -> None:
        if self._failure is not None:
            self._failure.message = text

    def _on_log(self, paths: str) -> str | None:
        failure = self._failure
        if failure is None:
            return None
        # Behind the job's own log, those of a cluster with their whole paths.
        failure.log, *failure.cluster_logs = re.split(r", (?=/)", paths)
        others = [other for other in self.failures if other.log != failure.log]
        known = next((other for other in self.failures if other.log == failure.log), None)
        self.failures = [*others, failure]
        return None if known and known.cluster_logs == failure.cluster_logs else f"FAILED {failure.rule}"

    def _on_finish(self, number: str) -> str | None:
        job = self.running.pop(number, None)
        self.failures = [failure for failure in self.failures if job is None or failure.rule != job.title]
        self.done += 1
        if job is None or (not job.wildcards and job.rule not in STAGES):
            return None
        return f"{self.done}/{self.total} {job.title} ({time.monotonic() - job.started:.0f} s)"

    def _on_progress(self, done: str, total: str) -> None:
        self.done, self.total = int(done), int(total)

    def _on_total(self, total: str) -> None:
        self.total = int(total)

    def _on_lock(self) -> None:
        self.locked = True
