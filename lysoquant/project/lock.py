"""One run at a time on a project, said before anything is changed.

The lock is the kernel's (``flock``), held by the run and by the Snakemake that it started, or by a plain Snakemake. It
goes with the last of them, however they end, so a killed run leaves nothing to remove. Snakemake's own lock stays
behind: who holds this one knows that the other is a killed run's.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from lysoquant.errors import InputError
from lysoquant.layout import Layout
from lysoquant.record import Json, process_lives

_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""Faults of a file system that has no locks."""

_HELD: Final = "LYSOQUANT_RUN_LOCK"
"""Variable that tells a run's own Snakemake which of its open files is the lock."""

_kept: list[int] = []
"""Open lock files of a plain Snakemake: until the process ends."""


@contextmanager
def only_run(layout: Layout) -> Iterator[int]:
    """Hold a project for one run.

    Yields
    ------
    int
        The open lock file, for a child process that shall hold the project too.

    Raises
    ------
    InputError
        If another run holds the project: which, on which host and since when. Nothing was changed then.
    """
    handle = _take(layout)
    os.environ[_HELD] = str(handle)
    try:
        yield handle
    finally:
        del os.environ[_HELD]
        _write(handle, "")
        os.close(handle)


def is_certain(handle: int) -> bool:
    """Whether who has this open lock file can be sure that no other run lives: not on a file system without locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def hold_as_snakemake(layout: Layout) -> None:
    """Hold a project until this process ends, unless the run that started it does so already.

    Raises
    ------
    InputError
        As :func:`only_run`.
    """
    held = os.environ.get(_HELD, "")
    if not (held.isdecimal() and _is_lock(int(held), layout)):
        _kept.append(_take(layout))


def _is_lock(handle: int, layout: Layout) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), layout.run_lock.stat())
    except OSError:
        return False


def _take(layout: Layout) -> int:
    """Open the lock file and lock it."""
    handle = os.open(layout.run_lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        refusal = _refusal(layout, _holder(handle))
        os.close(handle)
        raise InputError(refusal) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(handle)
            raise
        print(
            f"warning: the file system of {layout.run_lock} has no locks ({error.strerror});"
            " see to it that no other run works on this project",
            file=sys.stderr,
        )
    since = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    _write(handle, json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))
    return handle


def holder(layout: Layout) -> str | None:
    """What a run would be told if it began now; None where no other run holds the project. Writes nothing."""
    try:
        handle = os.open(layout.run_lock, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _refusal(layout, _holder(handle))
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


def _write(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode(), 0)


def _holder(handle: int) -> Json:
    """What the run that holds the project wrote of itself; empty where it has not yet."""
    try:
        value = json.loads(os.pread(handle, 4096, 0))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _refusal(layout: Layout, holder: Json) -> str:
    pid, host, since = (holder.get(name) for name in ("pid", "host", "since"))
    who = f"process {pid} on {host} since {since}" if holder else "it has just begun"
    if holder and host == socket.gethostname() and not process_lives(pid):
        way_out = "that process was killed and its Snakemake still ends its jobs; wait until it has"
    else:
        end = f", or end it (`kill {pid}` on {host})" if holder else ""
        way_out = f"wait until it ends{end}"
    what = f"{layout.project}: another run works on this project ({who})"
    return f"{what}; {way_out}, then run again; nothing was changed"
