"""Opening what a user or an instrument gave: files only.

A folder of raw data or a sheet's path may hold a pipe, which nobody ever writes to, or a device without an end.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def require_file(path: Path) -> Path:
    """The path again, for a library that opens it itself.

    Raises
    ------
    OSError
        If there is nothing, or what is there is a folder, a pipe or a device.
    """
    _check(path, path.stat().st_mode)
    return path


def open_file(path: Path) -> BufferedReader:
    """Open a file for reading bytes.

    Raises
    ------
    OSError
        If it can't be opened, or is a folder, a pipe or a device.
    """
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        _check(path, os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.ENXIO, "a pipe or a device, not a file", str(path))
