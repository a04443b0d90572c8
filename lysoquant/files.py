"""Opening what a user or an instrument gave: files only.

A folder of raw data or a sheet's path may hold a pipe, which nobody ever writes to, or a device without an end.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from typing import Final

ARRAY_METADATA: Final = (".zarray", "zarr.json")
"""Names of a Zarr array's metadata file (v2, v3): it stands for the array, whose pixels lie in further files."""


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


def files_of(path: Path) -> list[Path]:
    """All files that an image file stands for: itself, or those of a Zarr array for its metadata file.

    Raises
    ------
    OSError
        As :func:`files_below`, for an array.
    """
    return files_below(path.parent) if path.name in ARRAY_METADATA else [path]


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and the folders below it.

    Raises
    ------
    OSError
        If a folder can't be read or is a link, which is not followed, or something is no file: Zarr would wait for a
        pipe without end.
    """
    found, folders = [], [os.fspath(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_symlink() and entry.is_dir():
                    raise OSError(errno.ELOOP, "a linked folder, which is not followed", entry.path)
                elif entry.is_file():
                    found.append(Path(entry.path))
                else:
                    found.append(require_file(Path(entry.path)))
    return sorted(found)


def require_metadata(array: Path) -> Path:
    """The folder of a Zarr array again, whose metadata are files as far as they are there; for Zarr, which opens them.

    Raises
    ------
    OSError
        If one of them is a folder, a pipe or a device.
    """
    for name in (*ARRAY_METADATA, ".zattrs"):
        with suppress(FileNotFoundError):
            require_file(array / name)
    return array


def size_and_time(path: Path) -> tuple[int, int]:
    """Size and time of change (ns) of an image file; of a Zarr array the sum, and a number that stands for all times.

    Raises
    ------
    OSError
        As :func:`files_of`, or if the file is not there.
    """
    status = path.stat()
    if path.name not in ARRAY_METADATA:
        return status.st_size, status.st_mtime_ns
    total, sha = 0, sha256()
    for file in files_of(path):
        status = file.stat()
        total += status.st_size
        sha.update(
            f"{file.relative_to(path.parent)}/{status.st_size}-{status.st_mtime_ns}\n".encode("utf-8", "replace")
        )
    return total, int(sha.hexdigest()[:15], 16)


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.ENXIO, "a pipe or a device, not a file", str(path))
