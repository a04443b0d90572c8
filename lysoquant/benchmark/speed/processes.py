"""What a command and all that it starts take: time, processor time by stage, memory, and when its jobs run."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from lysoquant.vocabulary import STAGES

INTERVAL_S: Final = 0.2
"""Between two looks at the processes: what one takes after the last look at it is not counted for its stage."""
_COMMAND: Final = "lysoquant.cli.main"
_ALOOF: Final = "multiprocessing.forkserver"
"""Runs in processes that no other waits for, so that the system does not add their time to the command's."""
_MIB: Final = 2**20


@dataclass
class Job:
    """A process that does a stage.

    Attributes
    ----------
    stage : str
        Its stage.
    arguments : tuple of str
        What the command was told.
    began, ended : float
        Wall-clock seconds from the start of the watched command.
    """

    stage: str
    arguments: tuple[str, ...]
    began: float
    ended: float

    def option(self, name: str) -> str | None:
        """The value of an option, where it was given."""
        where = self.arguments.index(name) + 1 if name in self.arguments else len(self.arguments)
        return self.arguments[where] if where < len(self.arguments) else None


@dataclass(frozen=True)
class Used:
    """What a watched command took.

    Attributes
    ----------
    status : int
        Its exit status.
    seconds, cpu_seconds : float
        Wall clock; user and system time of all its processes.
    cpu_by_stage : mapping of str to float
        Of the processor time, that of each stage's processes up to the last look at them.
    peak_mb, peak_sum_mb : float
        Resident memory of the largest process, and the sum over all at a time (what they share counts in each), MiB.
    jobs : sequence of Job
        In the order in which they began.
    """

    status: int
    seconds: float
    cpu_seconds: float
    cpu_by_stage: Mapping[str, float]
    peak_mb: float
    peak_sum_mb: float
    jobs: Sequence[Job]


def watch(command: Sequence[str], *, log: Path) -> Used:
    """Run a command and look at its processes while it runs; what it says goes to a file."""
    began = time.time()
    with log.open("w", encoding="utf-8") as text:
        process = subprocess.Popen(command, stdout=text, stderr=subprocess.STDOUT)
        watcher = _Watcher(process.pid, began)
        thread = threading.Thread(target=watcher.watch, daemon=True)
        thread.start()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.time() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        watcher.over.set()
        thread.join()
    by_stage = dict.fromkeys(STAGES, 0.0)
    for pid, cpu_seconds in watcher.cpu_seconds.items():
        by_stage[watcher.stages[pid]] += cpu_seconds
    return Used(
        status=process.returncode,
        seconds=seconds,
        cpu_seconds=used.ru_utime + used.ru_stime + sum(watcher.cpu_seconds[pid] for pid in watcher.aloof),
        cpu_by_stage=by_stage,
        peak_mb=watcher.peak_mb,
        peak_sum_mb=watcher.peak_sum_mb,
        jobs=sorted(watcher.jobs.values(), key=lambda job: job.began),
    )


@dataclass
class _Watcher:
    """Looks at a process and its descendants, again and again."""

    root: int
    began: float
    over: threading.Event = field(default_factory=threading.Event)
    jobs: dict[int, Job] = field(default_factory=dict)
    stages: dict[int, str] = field(default_factory=dict)
    cpu_seconds: dict[int, float] = field(default_factory=dict)
    aloof: set[int] = field(default_factory=set)
    peak_mb: float = 0.0
    peak_sum_mb: float = 0.0

    def watch(self) -> None:
        while not self.over.wait(INTERVAL_S):
            try:
                root = psutil.Process(self.root)
                self._look([root, *root.children(recursive=True)])
            except psutil.Error:
                continue

    def _look(self, processes: Sequence[psutil.Process]) -> None:
        memory = [self._look_at(process) for process in processes]
        self.peak_mb = max(self.peak_mb, *memory)
        self.peak_sum_mb = max(self.peak_sum_mb, sum(memory))

    def _look_at(self, process: psutil.Process) -> float:
        """Take in one process; returns its resident memory in MiB."""
        try:
            with process.oneshot():
                memory, used = process.memory_info().rss / _MIB, process.cpu_times()
                self._place(process)
        except psutil.Error:
            return 0.0
        if process.pid in self.stages:
            self.cpu_seconds[process.pid] = used.user + used.system
        return float(memory)

    def _place(self, process: psutil.Process) -> None:
        """Find the stage of a process: what its command line says, or that of the process that started it."""
        pid = process.pid
        if pid in self.jobs:
            self.jobs[pid].ended = time.time() - self.began
        if pid in self.stages:
            return
        words = process.cmdline()
        after = words[words.index(_COMMAND) + 1 :] if _COMMAND in words and "-m" in words else []
        parent = self.stages.get(process.ppid())
        if parent is not None:
            self.stages[pid] = parent
            if any(_ALOOF in word for word in words):
                self.aloof.add(pid)
        elif after and after[0] in STAGES:
            self.stages[pid] = after[0]
            now = time.time() - self.began
            self.jobs[pid] = Job(after[0], tuple(after[1:]), process.create_time() - self.began, now)
