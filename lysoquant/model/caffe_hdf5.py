"""Values out of an HDF5 file that nobody vouches for.

Nothing outside the file is opened: soft and external links, values kept in other files and virtual data sets are
refused, and so is every type or size that was not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from lysoquant.errors import ModelError

_MAX_VALUES: Final = 64
_MAX_LETTERS: Final = 2000
_MAX_STORED_LETTERS: Final = 2**20


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file open for reading; whatever the library finds wrong with it is a :class:`ModelError`."""
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ModelError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: not a whole HDF5 file ({reason}); download it again") from error


def child(parent: h5py.Group, name: str) -> Any:
    """Group or data set of this name in `parent`, or None.

    Raises
    ------
    ModelError
        If the name is a link to another place or another file.
    """
    link = parent.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink):
        raise ModelError(f"{_place(parent, name)} is a link to another place, which is not followed; give plain files")
    return parent[name]


def group(parent: h5py.Group, name: str) -> h5py.Group:
    """Group of this name in `parent`."""
    found = child(parent, name)
    if not isinstance(found, h5py.Group):
        raise ModelError(f"{_place(parent, name)} is missing or not a group; give the files of a published U-Net model")
    return found


def dataset(parent: h5py.Group, name: str) -> h5py.Dataset | None:
    """Data set of this name in `parent` that keeps its values in this very file, or None."""
    found = child(parent, name)
    if found is None:
        return None
    if not isinstance(found, h5py.Dataset):
        raise ModelError(f"{_place(parent, name)} is a {type(found).__name__.lower()}, expected values")
    if found.is_virtual or found.external:
        raise ModelError(f"{_place(parent, name)} keeps its values in another file, which is not opened")
    return found


def float32_shape(parent: h5py.Group, name: str) -> tuple[int, ...] | None:
    """Shape of a data set of single-precision numbers, or None if it is absent. Nothing is read."""
    found = dataset(parent, name)
    if found is None:
        return None
    if found.dtype.kind != "f" or found.dtype.itemsize != 4:
        raise ModelError(f"{_place(parent, name)} has type {found.dtype}, expected float32")
    if found.shape is None:
        raise ModelError(f"{_place(parent, name)} has no values")
    return tuple(int(edge) for edge in found.shape)


def float32_array(parent: h5py.Group, name: str) -> NDArray[np.float32]:
    """Values of a data set whose shape was approved before; all of them finite."""
    values = np.ascontiguousarray(parent[name][()], dtype=np.float32)
    if not np.isfinite(values).all():
        raise ModelError(f"{_place(parent, name)} has values that are not finite; download the file again")
    return values


def numbers(parent: h5py.Group, name: str) -> list[float]:
    """A few numbers, or an empty list if there are none of this name."""
    found = dataset(parent, name)
    if found is None:
        return []
    if found.dtype.kind not in "iuf" or not 1 <= (found.size or 0) <= _MAX_VALUES:
        raise ModelError(f"{_place(parent, name)} has type {found.dtype} and shape {found.shape}, expected a number")
    values = [float(value) for value in np.ravel(found[()])]
    if not np.isfinite(values).all():
        raise ModelError(f"{_place(parent, name)} is not finite")
    return values


def texts(parent: h5py.Group, name: str) -> list[str]:
    """A few short texts on one line each, or an empty list if there are none of this name.

    Fixed-length strings end at their first null; what can't be printed becomes a blank.
    """
    found = dataset(parent, name)
    if found is None:
        return []
    kind = h5py.check_string_dtype(found.dtype)
    size = found.size or 0
    if kind is None or size > _MAX_VALUES or size * (kind.length or 0) > _MAX_STORED_LETTERS:
        raise ModelError(f"{_place(parent, name)} has type {found.dtype} and shape {found.shape}, expected a text")
    return [_line(value) for value in np.ravel(np.asarray(found[()], dtype=object))]


def _line(value: object) -> str:
    raw = value if isinstance(value, bytes) else str(value).encode(errors="replace")
    text = raw.split(b"\0", 1)[0].decode("utf-8", errors="replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:_MAX_LETTERS]


def _place(parent: h5py.Group, name: str) -> str:
    return f"{parent.file.filename}: {_line(parent.name).rstrip('/')}/{_line(name)}"
