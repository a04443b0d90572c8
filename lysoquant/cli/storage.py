"""What is said when the storage under a project is full or read-only: which file system, and the way out."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lysoquant.errors import StageError
from lysoquant.layout import Layout

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_LITTLE_BYTES: Final = 32 * 2**20
"""A job that met a full disk takes its unfinished file away, a shard of some MB; so the disk is not quite full then."""


@contextmanager
def storage_named(layout: Layout) -> Iterator[None]:
    """Make one line of a full or read-only file system.

    Raises
    ------
    StageError
        With the file system and the remedy.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL | {errno.EROFS}:
            raise
        # A write that fails names no file: of the places that are written to, the fullest is meant.
        place = Path(error.filename) if error.filename else min(_written(layout), key=_share_left)
        if error.errno == errno.EROFS:
            raise StageError(
                f"{place}: the file system {_mount(place)} is read-only; have it mounted for writing, or put the"
                " project on another one, then run again"
            ) from error
        raise StageError(f"{_full(place, error)}; what is done stays") from error


def nearly_full(layout: Layout) -> str | None:
    """What to say of a run that failed if a file system that it writes to has hardly any space left."""
    for place in _written(layout):
        status = os.statvfs(_existing(place))
        if status.f_bavail * status.f_frsize < _LITTLE_BYTES or (status.f_files and not status.f_favail):
            return _full(place, None)
    return None


def _full(place: Path, error: OSError | None) -> str:
    status = os.statvfs(_existing(place))
    if error is not None and error.errno == errno.EDQUOT:
        what = f"your quota on the file system {_mount(place)} is used up"
    elif status.f_files and not status.f_favail:
        what = f"the disk is full: the file system {_mount(place)} can hold no more files ({status.f_files} are there)"
    else:
        megabytes = (status.f_bavail * status.f_frsize / 1e6, status.f_blocks * status.f_frsize / 1e6)
        what = (
            f"the disk is full: {megabytes[0]:.1f} of {megabytes[1]:.0f} MB are left on the file system {_mount(place)}"
        )
    return f"{what}; free space there, then run again"


def _written(layout: Layout) -> tuple[Path, ...]:
    return (layout.results, layout.project, Path(tempfile.gettempdir()))


def _share_left(place: Path) -> float:
    status = os.statvfs(_existing(place))
    files = status.f_favail / status.f_files if status.f_files else 1.0
    return min(files, status.f_bavail / status.f_blocks if status.f_blocks else 1.0)


def _existing(place: Path) -> Path:
    return next(path for path in (place, *place.absolute().parents) if path.exists())


def _mount(place: Path) -> Path:
    """Where the file system of a place is mounted."""
    real = _existing(place).resolve()
    return next(path for path in (real, *real.parents) if path.is_mount())
