"""SIGKILL at random moments: what is left is never taken for whole, and the next run leaves what it should.

LYSOQUANT_KILLS is how often the whole run is killed; `make reliability` does it 30 times, the test suite less often.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import results
from tiny_project import ROOT

from lysoquant.vocabulary import STAGES

Tell = Callable[..., None]

KILLS = int(os.environ.get("LYSOQUANT_KILLS", "3"))
PHASES = ("convert", "segment", "aggregate", "planning", "cells", "measure", "report")
"""When to kill: at a random moment after a job of that stage began, or before any. The first ones are the suite's."""

LONGEST_S = 2.0
"""About what a job of the tiny project takes on an idle machine."""

STARTED = re.compile(r"run: started (?P<title>\w+)(?: .*)?$")
FINISHED = re.compile(r"run: \d+/\d+ (?P<title>\w+)(?: .*)? \((?P<seconds>\d+) s\)$")


class Run:
    """A `lysoquant run` in a session of its own, with what it said of its jobs."""

    def __init__(self, project: Path) -> None:
        command = [sys.executable, "-m", "lysoquant.cli.main", "run", str(project), "--cores", "2"]
        self.project = project
        self.running: Counter[str] = Counter()
        self.lines: list[str] = []
        self.begun = time.monotonic()
        self.times: dict[str, float] = {}
        """Seconds from the start to the first job of a stage, or to the last line of all under "end"."""
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._news:
                self.lines.append(line.rstrip())
                if match := STARTED.match(line.rstrip()):
                    self.running[match["title"]] += 1
                    self.times.setdefault(match["title"], time.monotonic() - self.begun)
                elif match := FINISHED.match(line.rstrip()):
                    self.running[match["title"]] -= 1
                self._news.notify()
        with self._news:
            self.times["end"] = time.monotonic() - self.begun
            self._news.notify()

    def wait_for(self, stage: str) -> bool:
        """Wait until a job of a stage has begun; False where the run ended without one."""
        with self._news:
            self._news.wait_for(lambda: stage in self.times or "end" in self.times)
        return stage in self.times

    def kill(self) -> str:
        """Kill the run with all its processes; returns the stages whose jobs ran."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pid in of_project(self.project):
            os.kill(pid, signal.SIGKILL)
        self._reader.join()
        stages = sorted(stage for stage, jobs in self.running.items() if jobs > 0)
        return " and ".join(stages) or ("between jobs" if self.running else "planning")

    def end(self) -> int:
        status = self._process.wait()
        self._reader.join()
        return status


def of_project(project: Path) -> list[int]:
    """Processes whose working folder is a project's: jobs of a run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == project:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def test_a_killed_run_goes_on_to_the_same_results(
    raw_only: Path, undisturbed: Path, tmp_path: Path, tell: Tell
) -> None:
    chance = random.Random(20_260_101)
    hit: Counter[str] = Counter()
    moments = (PHASES * (KILLS // len(PHASES) + 1))[:KILLS]
    chains = [moments[start : start + len(PHASES)] for start in range(0, KILLS, len(PHASES))]
    for number, chain in enumerate(chains):
        project = Path(shutil.copytree(raw_only, tmp_path / str(number)))
        # In the order of the stages, so that each finds work.
        for phase in sorted(chain, key=("planning", *STAGES).index):
            run = Run(project)
            if phase != "planning":
                assert run.wait_for(phase), "\n".join(run.lines)
            time.sleep(chance.uniform(0, LONGEST_S))
            hit[run.kill()] += 1
            assert results.half_written(project, undisturbed) == []
        # The last kill may come after Snakemake's own end.
        left = any((project / ".snakemake" / "locks").glob("*.lock"))
        run = Run(project)
        assert run.end() == 0, "\n".join(run.lines)
        assert ("run: the last run was killed; its lock is removed" in run.lines) == left
        assert results.differences(project, undisturbed) == []
        shutil.rmtree(project)
    assert sum(hit.values()) == KILLS
    told = ", ".join(f"{stage} {count}" for stage, count in sorted(hit.items()))
    tell(f"SIGKILL of `lysoquant run` with Snakemake and its jobs; jobs that ran then: {told}", times=KILLS)


def stage_command(project: Path, stage: str, *, n: int) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("killed_at_write.py")
    command = [sys.executable, str(script), str(n), str(project / "results"), stage, str(project)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_a_stage_killed_before_any_of_its_writes_leaves_nothing_half(
    raw_only: Path, undisturbed: Path, tmp_path: Path, tell: Tell
) -> None:
    times = max(1, KILLS // 4)
    chance = random.Random(20_260_102)
    told = []
    counting = Path(shutil.copytree(raw_only, tmp_path / "counting"))
    project = Path(shutil.copytree(raw_only, tmp_path / "p"))
    for stage in STAGES:
        done = stage_command(counting, stage, n=0)
        assert done.returncode == 0, done.stderr
        changes = int(done.stdout.splitlines()[-1])
        for _ in range(times):
            # A killed one has done wells that the next one does not do again: it may end before its moment.
            done = stage_command(project, stage, n=chance.randint(1, changes))
            assert done.returncode in (0, -signal.SIGKILL), done.stderr
            assert results.half_written(project, undisturbed) == []
            if done.returncode == 0:
                shutil.rmtree(project / "results" / "P" / "records" / stage / "wells", ignore_errors=True)
                (project / "results" / "records" / stage / "project.json").unlink(missing_ok=True)
                done = stage_command(project, stage, n=chance.randint(1, changes))
                assert done.returncode == -signal.SIGKILL, done.stderr
        done = stage_command(project, stage, n=0)
        assert done.returncode == 0, done.stderr
        told.append(f"{stage} {times} of {changes}")
    assert results.differences(project, undisturbed) == []
    tell(
        f"SIGKILL of a stage before a change of a file in its results ({', '.join(told)} changes)",
        times=times * len(STAGES),
    )
