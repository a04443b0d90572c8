"""Pixels of a plane, by the type of its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lysoquant.files import ARRAY_METADATA
from lysoquant.io.raw import pixels
from lysoquant.io.raw.description import Plane
from lysoquant.io.raw.leica import lif_size_um, read_lif_plane
from lysoquant.io.raw.nikon import nd2_size_um, read_nd2_plane
from lysoquant.io.raw.ome_zarr import read_zarr_plane, zarr_size_um
from lysoquant.io.raw.pixels import Pixels
from lysoquant.io.raw.zeiss import czi_size_um, read_czi_plane


@dataclass(frozen=True)
class PixelReader:
    """How files of one type are read.

    Attributes
    ----------
    read_plane : callable
        Pixels (Y, X) of a plane, uint8 or uint16; raises FieldError: file, fault, remedy.
    pixel_size_um : callable
        Pixel size that the file's own metadata give, or None.
    """

    read_plane: Callable[[Plane], Pixels]
    pixel_size_um: Callable[[Path], float | None]


_TIFF: Final = PixelReader(pixels.read_plane, pixels.file_pixel_size_um)

PIXEL_READERS: Final[Mapping[str, PixelReader]] = {
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".lif": PixelReader(read_lif_plane, lif_size_um),
    ".czi": PixelReader(read_czi_plane, czi_size_um),
    ".nd2": PixelReader(read_nd2_plane, nd2_size_um),
    **dict.fromkeys(ARRAY_METADATA, PixelReader(read_zarr_plane, zarr_size_um)),
}
"""By the ending of a file in lower case, or its name. A new type of file is a line here."""


def read_plane(plane: Plane) -> Pixels:
    """Read one plane.

    Returns
    -------
    numpy.ndarray, shape (Y, X), uint8 or uint16
        Grey values as stored, in native byte order.

    Raises
    ------
    FieldError
        If the file is gone, truncated or unreadable, is not of grey uint8 or uint16 planes, or has no such plane.
        The message is one line: file, fault, remedy.
    """
    return _reader(plane.path).read_plane(plane)


def file_pixel_size_um(path: Path) -> float | None:
    """Pixel size that an image file's metadata give; None where they say nothing usable.

    Raises
    ------
    FieldError
        If the file is gone or unreadable.
    """
    return _reader(path).pixel_size_um(path)


def _reader(path: Path) -> PixelReader:
    return PIXEL_READERS.get(path.name) or PIXEL_READERS.get(path.suffix.lower(), _TIFF)
