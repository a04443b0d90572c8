"""Snakemake started as a program: its progress shown, what it says kept, its failures explained."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tqdm import tqdm

from lysoquant.errors import StageError
from lysoquant.project.follower import Failure, Follower
from lysoquant.project.slurm import explain

_TAIL_LINES: Final = 15
_PATIENCE_S: Final = 5.0


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
