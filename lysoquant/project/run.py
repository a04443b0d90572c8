"""Running the workflow: find it, start Snakemake as a program, follow what it says."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tqdm import tqdm

import lysoquant
from lysoquant.cells.cellpose_file import cellpose_file, require_cellpose
from lysoquant.config import Project
from lysoquant.errors import InputError, StageError
from lysoquant.model.card import check_fit, read_card
from lysoquant.project.batches import model_file
from lysoquant.project.lock import is_certain
from lysoquant.project.profile import profile_settings
from lysoquant.project.slurm import (
    cancel_jobs,
    check_folder,
    check_partitions,
    explain,
    killed_run,
    lost_runs,
    mark_ended,
    plain_states,
    status_arguments,
    uses_slurm,
)
from lysoquant.vocabulary import BATCH_STAGES, STAGES

_PACKAGE: Final = Path(lysoquant.__file__).parent

TABLE_COLUMNS: Final = (
    "plate",
    "well",
    "condition",
    "n_cells",
    "n_empty",
    "n_loaded",
    "occupancy_mean",
    "occupancy_sd",
    "occupancy_pooled",
    "flags",
)
"""Columns of ``wells.csv`` that are shown after a run."""

_ONCE: Final = frozenset(STAGES) - frozenset(BATCH_STAGES)
"""Stages whose jobs have no wildcards."""

_TAIL_LINES: Final = 15
_CORES_OF_A_CLUSTER: Final = "100000"
_PATIENCE_S: Final = 5.0


def workflow_folder() -> Path:
    """The folder of the Snakefile: beside the package in a checkout, inside it in an installed wheel.

    Raises
    ------
    StageError
        If it is in neither place.
    """
    for folder in (_PACKAGE.parent / "workflow", _PACKAGE / "_workflow"):
        if (folder / "Snakefile").is_file():
            return folder
    raise StageError(f"no workflow beside or in {_PACKAGE}; install lysoquant again")


def command_prefix(*, conda: bool, pilot: str | None = None) -> str:
    """Shell text before every job, so that ``lysoquant`` is the one that planned the workflow.

    Parameters
    ----------
    conda : bool
        Jobs run in a conda environment: its Python, with this library; otherwise this very Python.
    pilot : str, optional
        Wells of a pilot; every job is told of them.
    """
    more = f" --pilot {shlex.quote(pilot)}" if pilot else ""
    python = f"PYTHONPATH={shlex.quote(str(_PACKAGE.parent))} python" if conda else shlex.quote(sys.executable)
    return f'lysoquant() {{ {python} -P -m lysoquant.cli.main "$@"{more}; }}; '


def check_model(project: Project) -> None:
    """Refuse a model that is missing, damaged or does not fit the channels, before any work; likewise Cellpose.

    Raises
    ------
    InputError, ConfigError, ModelError
        With the remedy.
    """
    cells = project.config.cells
    if cells.method == "cellpose":
        require_cellpose()
        cellpose_file(cells.cellpose_model, project=project.layout.project)
    check_fit(read_card(model_file(project)), roles=set(project.config.channels.by_role()))


def snakemake_command(
    project: Path,
    *,
    cores: int | None,
    profile: str | None,
    dry_run: bool,
    unlock: bool,
    more: Sequence[str] = (),
    pilot: str | None = None,
) -> list[str]:
    """The command line that a run amounts to.

    Parameters
    ----------
    cores : int, optional
        Processor cores; all of them by default, or as the profile says.
    profile : str, optional
        A profile of the workflow by name (``slurm``), or a profile's folder.
    more : sequence of str
        Further arguments for Snakemake.
    pilot : str, optional
        Wells of a pilot (``PLATE/WELL,...``).

    Raises
    ------
    InputError
        If there is no such profile.
    """
    workflow = workflow_folder()
    command = [sys.executable, "-P", "-m", "snakemake", "--snakefile", str(workflow / "Snakefile")]
    folder = profile_folder(profile)
    command += ["--directory", str(project), "--workflow-profile", str(folder)]
    if cores is not None or profile is None:
        command += ["--cores", str(cores or "all")]
    elif dry_run and uses_slurm(folder, more):
        # Else a dry run cuts every job down to one core, and what it shows of memory and time is not what is asked for.
        command += ["--cores", _CORES_OF_A_CLUSTER]
    command += ["--keep-going", "--rerun-incomplete"]
    command += ["--dry-run"] * dry_run + ["--unlock"] * unlock
    if pilot:
        # What is given here takes the place of all that the profile gives, so the profile's values come along.
        kept = (profile_settings(folder).get("config") or {}).items()
        command += ["--config", f"pilot={pilot}", *(f"{name}={json.dumps(value)}" for name, value in kept)]
    return [*command, *more]


def profile_folder(name: str | None) -> Path:
    """Folder of a profile of the workflow.

    Parameters
    ----------
    name : str, optional
        One of the workflow's own (``slurm``), or a folder; the workflow's own ``default`` by default.

    Raises
    ------
    InputError
        If there is no such profile.
    """
    workflow, name = workflow_folder(), name or "default"
    for folder in (workflow / "profiles" / name, Path(name)):
        if any(folder.glob("config*.yaml")):
            return folder.absolute()
    known = sorted(path.parent.name for path in (workflow / "profiles").glob("*/config*.yaml"))
    raise InputError(f"--profile {name!r} is neither {' nor '.join(known)} nor a folder with a profile's config.yaml")


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


class _Display:
    """A bar on a terminal, plain lines in a log."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        if sys.stderr.isatty():
            layout = "{desc}: {percentage:3.0f}%|{bar:24}| {n_fmt}/{total_fmt} jobs [{elapsed}] {postfix}"
            self._bar = tqdm(total=0, desc="lysoquant", file=sys.stderr, bar_format=layout, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def show(self, follower: Follower, note: str | None) -> None:
        if self._bar is not None:
            self._bar.total, self._bar.n = follower.total, follower.done
            self._bar.set_postfix_str(", ".join(job.title for job in follower.running.values()), refresh=True)
        elif note is not None:
            print(f"run: {note}", file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str("", refresh=True)
            self._bar.close()


def follow(
    command: Sequence[str],
    *,
    log: Path,
    project: Path,
    held: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run Snakemake, show its progress, and keep all that it says in a log.

    Parameters
    ----------
    held : sequence of int
        Open files that Snakemake holds too: the lock of the project.
    environment : mapping of str to str, optional
        Of Snakemake; this process's own by default.

    Raises
    ------
    StageError
        If it fails: which job, the last lines of its log and where that lies.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    follower, tail = Follower(), deque[str](maxlen=_TAIL_LINES)
    with _hearing_interrupts():
        started = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            pass_fds=held,
            env=environment,
        )
    with log.open("w", encoding="utf-8") as text, started as process, _Display() as display:
        try:
            for line in process.stdout or ():
                text.write(line)
                text.flush()
                tail.append(line.rstrip())
                display.show(follower, follower.feed(line))
                _keep_logs(follower, project)
        except BaseException:
            _stop(process)
            raise
    if process.returncode:
        raise StageError(_what_failed(follower, tail, log=log, project=project))


def _keep_logs(follower: Follower, project: Path) -> None:
    """Put the log of an attempt aside before the next attempt writes its own."""
    for failure in follower.retried:
        path = project / (failure.log or "")
        if path.is_file():
            shutil.copyfile(path, path.with_name(f"{path.stem}.attempt-{failure.attempt}.log"))
    follower.retried.clear()


@contextmanager
def _hearing_interrupts() -> Iterator[None]:
    """A child that is started here obeys SIGINT, also where a shell put the run into the background and ignores it."""
    before = signal.getsignal(signal.SIGINT)
    ignored = before is signal.SIG_IGN and threading.current_thread() is threading.main_thread()
    if ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        if ignored:
            signal.signal(signal.SIGINT, before)


def _stop(process: subprocess.Popen[str]) -> None:
    """Let Snakemake end its jobs; a key press on a terminal has reached it already."""
    try:
        process.wait(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait()


def _what_failed(follower: Follower, tail: Sequence[str], *, log: Path, project: Path) -> str:
    if follower.locked:
        return _locked(project)
    if not follower.failures:
        return "\n".join([*filter(None, tail), f"the workflow stopped; all that it said: {log}"])
    lines: list[str] = []
    for failure in follower.failures:
        path = project / (failure.log or "")
        ended, *asked = _how_it_ended(failure)
        log_title = f"the last lines of {path}:"
        lines += [ended, *asked, log_title] if asked else [f"{ended}; {log_title}"]
        lines += _last_lines(path)
        lines += [f"the cluster's log of that job: {name}" for name in failure.cluster_logs]
    return "\n".join([*lines, f"{follower.done} of {follower.total} jobs were done; all that the run said: {log}"])


def _how_it_ended(failure: Failure) -> list[str]:
    what = f"{failure.rule} failed" + (f" at attempt {failure.attempt}" if failure.attempt > 1 else "")
    if not failure.message:
        return [what]
    rule = failure.rule.split()[0]
    explained = explain(failure.message, rule=rule, asked=failure.asked, logs=failure.cluster_logs)
    if explained is None:
        return [f"{what}: {failure.message}"]
    return [f"{what}: {explained[0]}", *explained[1:]]


def _locked(project: Path) -> str:
    return (
        f"{project} is locked by another run, or by one that was killed;"
        f" if none is running: lysoquant run {shlex.quote(str(project))} --unlock"
    )


def _last_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ["  (no log was written)"]
    return [f"  {line}" for line in lines[-_TAIL_LINES:]]


def occupancy_table(path: Path, *, max_rows: int = 24) -> str:
    """The main columns of ``wells.csv``, aligned, for a terminal.

    Parameters
    ----------
    path : pathlib.Path
        ``wells.csv``.
    max_rows : int
        Wells shown; of the others only the number.

    Raises
    ------
    StageError
        If there is no table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
    except OSError as error:
        raise StageError(f"{path}: {error.strerror}; run `lysoquant aggregate PROJECT`") from error
    shown = [[_cell(row.get(column, "")) for column in TABLE_COLUMNS] for row in rows[:max_rows]]
    widths = [max(map(len, column)) for column in zip(TABLE_COLUMNS, *shown, strict=True)]
    numeric = [column.startswith(("n_", "occupancy")) for column in TABLE_COLUMNS]
    lines = [_aligned(cells, widths, numeric) for cells in (TABLE_COLUMNS, *shown)]
    if len(rows) > max_rows:
        lines.append(f"... and {len(rows) - max_rows} more wells in {path}")
    return "\n".join(lines)


def _aligned(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, numeric, strict=True)
    )
    return "  ".join(padded).rstrip()


def _cell(text: str) -> str:
    """A value for the terminal: fractions with three decimals, control characters of a sheet left out."""
    if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text):
        return f"{float(text):.3f}"
    return "".join(letter for letter in text if letter.isprintable())


def run_workflow(
    project: Project,
    *,
    cores: int | None = None,
    profile: str | None = None,
    dry_run: bool = False,
    unlock: bool = False,
    more: Sequence[str] = (),
    held: Sequence[int] = (),
    pilot: str | None = None,
) -> None:
    """Run the whole workflow of a project, or that of a pilot on some of its wells.

    A dry run and an unlocking show Snakemake's own text.

    Parameters
    ----------
    pilot : str, optional
        Wells of a pilot (``PLATE/WELL,...``).
    held : sequence of int
        Open files that Snakemake holds too: the lock of the project (:mod:`lysoquant.project.lock`).

    Raises
    ------
    InputError
        If the profile does not exist.
    StageError
        If a job fails or the project is locked.
    """
    layout = project.layout
    command = snakemake_command(
        layout.project, cores=cores, profile=profile, dry_run=dry_run, unlock=unlock, more=more, pilot=pilot
    )
    if unlock:
        _cancel_lost_jobs(layout.project)
    if dry_run or unlock:
        finished = subprocess.run(command, check=False, env=dict(os.environ), pass_fds=held)
        if finished.returncode:
            raise StageError(f"snakemake ended with status {finished.returncode}; see its message above")
        return
    log = layout.logs / "snakemake.log"
    folder = profile_folder(profile)
    environment = None
    if uses_slurm(folder, more):
        check_folder(layout.project)
        command += status_arguments(folder, more)
        check_partitions(folder, more, gpu=project.config.execution.device == "cuda")
        environment = plain_states(workflow_folder() / "slurm")
    _clear_killed_run(layout.project, log=log, profile=profile, held=held)
    try:
        follow(command, log=log, project=layout.project, held=held, environment=environment)
    finally:
        with suppress(OSError):  # on a full disk; what is wrong has been said
            mark_ended(log)


def _clear_killed_run(project: Path, *, log: Path, profile: str | None, held: Sequence[int]) -> None:
    """Cancel the jobs that killed runs left on SLURM, plain Snakemake's too, and remove the lock of the last one.

    Only a run that holds the project (:mod:`lysoquant.project.lock`) may do this: then the others are known to be dead.
    """
    killed = killed_run(log)
    if killed is not None:
        names = ",".join(dict.fromkeys([killed, *lost_runs(project)]))
        said = f"{cancel_jobs(names)} of its jobs were left on SLURM"
    else:
        _cancel_lost_jobs(project)
        if not (any((project / ".snakemake" / "locks").glob("*.lock")) and all(map(is_certain, held))):
            return
        said = "its lock is removed"
    print(f"run: the last run was killed; {said}", file=sys.stderr, flush=True)
    command = snakemake_command(project, cores=None, profile=profile, dry_run=False, unlock=True)
    finished = subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=held)
    if finished.returncode:
        raise StageError(f"snakemake --unlock ended with status {finished.returncode}: {finished.stderr.strip()}")


def _cancel_lost_jobs(project: Path) -> None:
    """Cancel what a plain Snakemake that was killed left on SLURM; nothing where there is no SLURM."""
    names = lost_runs(project)
    if names and shutil.which("squeue") and (number := cancel_jobs(",".join(names))):
        print(f"run: {number} jobs of a killed run were left on SLURM and are cancelled", file=sys.stderr, flush=True)
