"""Arrays of OME-Zarr plates: what their metadata ask for is decided before Zarr opens one."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from lysoquant.errors import FieldError, UnreachedFileError
from lysoquant.files import files_of, require_metadata
from lysoquant.io.raw.container import checked, opened
from lysoquant.io.raw.description import Plane
from lysoquant.io.raw.names import clean_label
from lysoquant.io.raw.ngff import AXIS_X, AXIS_Y, WRONG, read_object, said
from lysoquant.io.raw.pixels import MAX_PLANE_PX, Pixels, shown

_PACKERS: Final = ("blosc", "zstd", "zlib", "gzip", "bz2", "lzma", "lz4", "delta", "shuffle", "crc32", "crc32c")

_CODECS: Final = frozenset((*_PACKERS, "bytes", "transpose", "sharding_indexed"))
"""Codecs that only pack numbers. Others are refused: Zarr v2 knows one (``pickle``) that runs what a file says."""


@dataclass(frozen=True)
class Array:
    """What an array's own metadata say.

    Attributes
    ----------
    shape, chunk : tuple of int
        Of the array and of the smallest piece that is unpacked at a time.
    dtype : numpy.dtype
        Of the pixels.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]


def read_array(path: Path) -> Array:
    """What an array's metadata file says.

    Raises
    ------
    FieldError
        If it is gone, damaged, too large to be true, or names a codec that does more than unpack numbers.
    """
    if not path.is_file():
        raise UnreachedFileError(f"{shown(path)}: the array is gone; copy the plate again")
    try:
        content = read_object(path)
        if path.name == ".zarray":
            dtype, codecs = content["dtype"], [content["compressor"], *(content.get("filters") or ())]
            chunk = content["chunks"]
        else:
            dtype, codecs = f"|{content['data_type']}", list(content["codecs"])
            chunk = content["chunk_grid"]["configuration"]["chunk_shape"]
        while codecs:
            codec = codecs.pop()
            if codec is None:
                continue
            name = str(codec.get("id", codec.get("name"))).removeprefix("numcodecs.")
            if name not in _CODECS:
                raise ValueError(f"codec {clean_label(name)!r}; expected one of {', '.join(sorted(_CODECS))}")
            if name == "sharding_indexed":
                inside = codec["configuration"]
                chunk = inside["chunk_shape"]
                codecs += [*inside["codecs"], *inside["index_codecs"]]
        shape, chunk = _lengths(content["shape"]), _lengths(chunk)
        if len(shape) != len(chunk) or math.prod(chunk) > 2 * MAX_PLANE_PX:
            raise ValueError(f"chunks of {' x '.join(map(str, chunk))}")
        if not re.fullmatch(r"[<>|](?:[uif][1248]|u?int(?:8|16|32|64)|float(?:32|64))", str(dtype)):
            raise ValueError(f"data type {clean_label(str(dtype))!r}")
        return Array(shape=shape, chunk=chunk, dtype=np.dtype(dtype.removeprefix("|")))
    except OSError as error:
        raise FieldError(
            f"{shown(path)}: can't be read ({error.strerror}); check its rights or copy it again"
        ) from error
    except (*WRONG, RecursionError) as error:
        raise FieldError(f"{shown(path)}: not a usable Zarr array ({said(error)}); copy or export it again") from error


class ZarrImage:
    """An array of an OME-Zarr plate: a :class:`lysoquant.io.raw.planes.OpenImage`."""

    def __init__(self, path: Path) -> None:
        import zarr

        self._path = path
        self._array = read_array(path)
        if self._array.dtype.kind != "u" or self._array.dtype.itemsize > 2:
            raise FieldError(f"{shown(path)}: pixels are {self._array.dtype.name}; expected grey uint8 or uint16")
        with opened(path, "Zarr"):
            files_of(path)
            self._opened: Any = zarr.open_array(
                require_metadata(path.parent), mode="r", zarr_format=2 if path.name == ".zarray" else 3
            )

    def plane(self, plane: Plane) -> Pixels:
        """Pixels of a plane."""
        index, shape = plane.index or (), self._array.shape
        if len(index) != len(shape) or any(at >= length for at, length in zip(index, shape, strict=True)):
            raise FieldError(f"{shown(self._path)}: has no plane {plane.index}; it changed: run the plate again")
        if math.prod(length for at, length in zip(index, shape, strict=True) if at < 0) > MAX_PLANE_PX:
            raise FieldError(f"{shown(self._path)}: says that its planes are {shape}; copy the plate again")
        with opened(self._path, "Zarr"):
            pixels = np.asarray(self._opened[tuple(slice(None) if at < 0 else at for at in index)])
        is_turned = [at for at in index if at < 0] == [AXIS_X, AXIS_Y]
        return checked(pixels.T if is_turned else pixels, plane)

    def pixel_size_um(self) -> float | None:
        """None: an array has no pixel size of its own; the metadata of its image are in the plate's description."""
        return None

    def close(self) -> None:
        """Nothing: Zarr holds no file open."""


def _lengths(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(type(value) is int and 0 < value < 2**40 for value in values):
        raise ValueError(f"lengths {clean_label(str(values))}")
    return tuple(values)
