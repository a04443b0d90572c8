"""Checks of folders: permission, locks, room."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lysoquant.project.doctor.finding import Finding, ok, problem, warning
from lysoquant.project.forecast.text import size

_ROUGHLY: Final = 2.0
"""Rough figures may be so many times too high or too low."""

_SPARE: Final = 1.2
"""Room to spare beyond figures that were measured."""

_LOCAL_ONLY: Final = {
    "nfs": ("nolock", "local_lock=all", "local_lock=flock"),
    "nfs4": ("nolock", "local_lock=all", "local_lock=flock"),
    "lustre": ("localflock",),
}
"""Options of mounts under which a lock holds on one host only."""


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(each for each in (folder, *folder.absolute().parents) if each.is_dir())


def writable(check: str, folder: Path) -> Finding:
    """Whether a file can be made in a folder, or in the nearest one above it that is there."""
    place = existing(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".lysoquant-doctor-"):
            pass
    except OSError as error:
        return problem(check, f"{place}: {error.strerror}", "give yourself permission to write there, or make room")
    return ok(check, f"{place} can be written")


def locks(folder: Path, mounts: Path = Path("/proc/mounts")) -> Finding:
    """Whether a second run would be refused: locks are tried, and the mount's options read."""
    place = existing(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".lysoquant-doctor-") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            other = os.open(file.name, os.O_RDWR)
            try:
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return _mounted_for_all(place, mounts)
            finally:
                os.close(other)
    except OSError as error:
        reason = error.strerror if error.errno not in (errno.EACCES, errno.EROFS) else f"not tried: {error.strerror}"
        return warning("locks", f"{place}: {reason}", "see to it that no two runs work on one project")
    return warning("locks", f"{place}: two locks on one file", "see to it that no two runs work on one project")


def _mounted_for_all(place: Path, mounts: Path) -> Finding:
    kind, options = _mount(place, mounts)
    local = [option for option in _LOCAL_ONLY.get(kind, ()) if option in options]
    if kind == "lustre" and "flock" not in options and not local:
        local = ["no flock"]
    if local:
        return warning(
            "locks",
            f"{place} is {kind} mounted with {', '.join(local)}: a lock holds on one host only",
            "start runs of a project on one host, or let the administrator mount it with locks",
        )
    return ok("locks", f"{place} has locks{f' ({kind})' if kind else ''}")


def _mount(place: Path, mounts: Path) -> tuple[str, frozenset[str]]:
    """Type and options of the file system of a folder; nothing where that is not told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "", frozenset()
    best: tuple[int, str, str] = (-1, "", "")
    real = place.resolve()
    for _, where, kind, options, *_ in (line.split(" ") for line in lines if line.count(" ") >= 3):
        point = Path(where.replace("\\040", " "))
        if real.is_relative_to(point) and len(point.parts) >= best[0]:
            best = (len(point.parts), kind, options)
    return best[1], frozenset(best[2].split(","))


def room(folder: Path, *, need_bytes: int, need_files: int, is_rough: bool) -> Iterator[Finding]:
    """Free bytes and files (inodes) of the file system of the results, against what will be written.

    Parameters
    ----------
    is_rough : bool
        The need is known to a factor of two only: a problem is then what lacks even half of it.
    """
    place = existing(folder)
    free = os.statvfs(place)
    least, most = (1 / _ROUGHLY, _ROUGHLY) if is_rough else (1.0, _SPARE)
    about = "roughly " if is_rough else ""
    remedy = "make room, or set `results` in config/config.yaml to a folder on a larger disk"
    free_bytes = free.f_bavail * free.f_frsize
    pairs = [("disk", need_bytes, free_bytes, f"{size(free_bytes)} free at {place}, {about}{size(need_bytes)} needed")]
    # File systems without a fixed number of files say 0 of 0.
    if free.f_files:
        seen = f"{free.f_favail} more files possible at {place}, {about}{need_files} needed"
        pairs.append(("files", need_files, free.f_favail, seen))
    for check, need, there, seen in pairs:
        if there < need * least:
            yield problem(check, seen, remedy)
        elif there < need * most:
            yield warning(check, seen, remedy)
        else:
            yield ok(check, seen)
