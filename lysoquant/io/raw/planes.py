"""Image files held open, and pixels of a plane, by the type of its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from lysoquant.files import ARRAY_METADATA
from lysoquant.io.raw.description import Plane
from lysoquant.io.raw.leica import LifImage
from lysoquant.io.raw.nikon import Nd2Image
from lysoquant.io.raw.pixels import Pixels, TiffImage
from lysoquant.io.raw.zarr_array import ZarrImage
from lysoquant.io.raw.zeiss import CziImage


class OpenImage(Protocol):
    """An image file held open, for one thread; every method raises FieldError: file, fault, remedy."""

    def plane(self, plane: Plane) -> Pixels:
        """Pixels (Y, X) of a plane of the file, uint8 or uint16, as stored, in native byte order."""

    def pixel_size_um(self) -> float | None:
        """Pixel size that the file's own metadata give, or None."""

    def close(self) -> None:
        """Close the file."""


IMAGE_TYPES: Final[Mapping[str, Callable[[Path], OpenImage]]] = {
    ".tif": TiffImage,
    ".tiff": TiffImage,
    ".lif": LifImage,
    ".czi": CziImage,
    ".nd2": Nd2Image,
    **dict.fromkeys(ARRAY_METADATA, ZarrImage),
}
"""By the ending of a file in lower case, or its name. A new type of file is a line here."""


def _type(path: Path) -> Callable[[Path], OpenImage]:
    return IMAGE_TYPES.get(path.name) or IMAGE_TYPES.get(path.suffix.lower(), TiffImage)


def reads_content(path: Path) -> bool:
    """Whether a file can be read from its bytes, so that who has them need not open it again."""
    return _type(path) is TiffImage


def open_image(path: Path, content: bytes | None = None) -> OpenImage:
    """Open an image file.

    Parameters
    ----------
    path : pathlib.Path
        The file; of a Zarr array its metadata file.
    content : bytes, optional
        All bytes of a file for which :func:`reads_content` is true.

    Raises
    ------
    FieldError
        If the file is gone, truncated or unreadable. The message is one line: file, fault, remedy.
    """
    return _type(path)(path) if content is None else TiffImage(path, content)


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
    """
    with closing(open_image(plane.path)) as image:
        return image.plane(plane)


def file_pixel_size_um(path: Path) -> float | None:
    """Pixel size that an image file's metadata give; None where they say nothing usable.

    Raises
    ------
    FieldError
        If the file is gone or unreadable.
    """
    with closing(open_image(path)) as image:
        return image.pixel_size_um()
