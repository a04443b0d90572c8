"""One TIFF file: what it holds, its pixel size, one of its planes.

Files are not trusted: XML with a document type or entities is refused, an OME-TIFF is not followed into
other files, and whatever goes wrong inside a damaged file becomes a `FieldError` that names it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element

import numpy as np
import tifffile
from numpy.typing import NDArray

from lysoquant.errors import FieldError, UnreachedFileError
from lysoquant.files import require_file
from lysoquant.io.raw.description import Plane
from lysoquant.io.raw.names import clean_label, printable
from lysoquant.io.raw.tiff_metadata import channel_names, description_xml, local_name, pixel_size_um

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

MAX_PLANE_PX: Final = 2**28
"""Largest plane that is read (16,384 x 16,384): a damaged header must not ask for all memory."""

_BILEVEL: Final = frozenset({2, 3, 4, 32771})
"""Codes for black and white; pixels of more bits made of them are noise."""

_SLIDE_SCANNER_FLAGS: Final = frozenset({"svs", "scn", "qpi", "ndpi", "bif", "avs", "philips", "indica"})


@dataclass(frozen=True)
class ImageFile:
    """Structure of an image file.

    Attributes
    ----------
    axes : str
        One letter an axis before Y and X, of length above 1: T, Z, C as tifffile names them, others if unknown.
    lengths : tuple of int
        Lengths of these axes.
    shape : tuple of int
        (Y, X) of a plane.
    channel_names : tuple of str
        Names of the channels where the file's metadata give one for each; else empty.
    pixel_size_um : float or None
        Pixel size where the file's metadata give one.
    further_images : int
        Images in the file besides the first, which is the only one that is read.
    """

    axes: str
    lengths: tuple[int, ...]
    shape: tuple[int, int]
    channel_names: tuple[str, ...]
    pixel_size_um: float | None
    further_images: int


class TiffImage:
    """A TIFF file held open; close it after use.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    content : bytes, optional
        All of its bytes, if they were read already: then the file is not opened again.

    Attributes
    ----------
    xml : xml.etree.ElementTree.Element or None
        The first page's description where it is XML.

    Raises
    ------
    FieldError
        From here and from every method: if the file is gone, unreadable, or refused.
    """

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        self._path = path
        with _in_one_line(path), ExitStack() as on_error:
            source = require_file(path) if content is None else on_error.enter_context(BytesIO(content))
            # _multifile=False: an OME-TIFF can name other files anywhere on the disk.
            self._tif = on_error.enter_context(tifffile.TiffFile(source, name=path.name, _multifile=False))
            if self._tif.flags & _SLIDE_SCANNER_FLAGS:
                raise FieldError(f"{shown(path)}: a slide scanner's file; export it as plain or OME-TIFF")
            self.xml = description_xml(self._tif, where=shown(path))
            # Closed too, since tifffile's objects refer to each other: they, and the bytes, would stay for a while.
            self._opened = on_error.pop_all()

    def structure(self) -> ImageFile:
        """As :func:`inspect_image`."""
        with _in_one_line(self._path):
            return _structure(self._path, self._tif, self.xml)

    def plane(self, plane: Plane) -> Pixels:
        """As :func:`read_plane`."""
        with _in_one_line(self._path):
            if plane.page is not None:
                pixels = _page_pixels(plane.path, self._tif, plane.page)
            else:
                image = _structure(plane.path, self._tif, self.xml)
                _check_index(plane, image)
                pixels = _plane_pixels(plane, self._tif, image)
            return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))

    def pixel_size_um(self) -> float | None:
        """Pixel size that the file's metadata give; None where they say nothing usable."""
        with _in_one_line(self._path):
            return pixel_size_um(self._tif, self.xml)

    def wavelength_name(self) -> str | None:
        """As :func:`wavelength_name`."""
        with _in_one_line(self._path):
            if self.xml is None or not self._tif.is_metaseries:
                return None
            names = [prop.get("value", "") for prop in self.xml.iter("prop") if prop.get("id") == "_IllumSetting_"]
            return clean_label(names[0]) or None if names else None

    def close(self) -> None:
        """Close the file, and let go of its bytes."""
        self._opened.close()


def inspect_image(path: Path) -> ImageFile:
    """Structure of an image file, from its headers alone.

    Raises
    ------
    FieldError
        If the file is gone, unreadable, or no stack of grey uint8 or uint16 planes.
    """
    with closing(TiffImage(path)) as image:
        return image.structure()


def read_plane(plane: Plane) -> Pixels:
    """Read one plane.

    Parameters
    ----------
    plane : Plane
        File and index of the plane among the axes before Y and X.

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
    with closing(TiffImage(plane.path)) as image:
        return image.plane(plane)


def ome_xml(path: Path) -> Element | None:
    """The OME-XML in a TIFF, without document type or entities; None where there is none.

    Raises
    ------
    FieldError
        If the file is gone or unreadable.
    """
    with closing(TiffImage(path)) as image:
        return image.xml if image.xml is not None and local_name(image.xml) == "OME" else None


def wavelength_name(path: Path) -> str | None:
    """Name of the illumination that a MetaSeries file gives (``DAPI``); None where it gives none.

    Raises
    ------
    FieldError
        If the file is gone or unreadable.
    """
    with closing(TiffImage(path)) as image:
        return image.wavelength_name()


def shown(path: Path) -> str:
    """A file as messages name it: with its folder, without the way there, so that records stay the same elsewhere."""
    return printable("/".join(path.parts[-2:]))


@contextmanager
def _in_one_line(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes tifffile raise becomes a FieldError."""
    try:
        yield
    except FieldError:
        raise
    except FileNotFoundError as error:
        raise UnreachedFileError(f"{shown(path)}: the file is gone; copy it from the instrument again") from error
    except OSError as error:
        kind = FieldError if error.errno is None else UnreachedFileError
        reason = error.strerror or _one_line(error)
        raise kind(f"{shown(path)}: can't be read ({reason}); check its rights or copy it again") from error
    except Exception as error:  # a damaged file makes tifffile and its codecs raise nearly anything
        raise FieldError(
            f"{shown(path)}: not a readable TIFF ({_one_line(error)}); it is truncated or damaged: copy it again"
        ) from error


def _one_line(error: Exception) -> str:
    return clean_label(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _structure(path: Path, tif: Any, xml: Element | None) -> ImageFile:
    series = tif.series[0]
    axes = _grey_axes(path, tif, series)
    _check_pixels(path, series, axes)
    leading = [(axis, n) for axis, n in zip(axes, series.shape, strict=True) if axis not in "YX" and n > 1]
    letters = "".join(axis for axis, _ in leading)
    lengths = tuple(n for _, n in leading)
    return ImageFile(
        axes=letters,
        lengths=lengths,
        shape=(series.shape[axes.index("Y")], series.shape[axes.index("X")]),
        channel_names=channel_names(tif, xml, dict(leading)),
        pixel_size_um=pixel_size_um(tif, xml),
        further_images=len(tif.series) - 1,
    )


def _grey_axes(path: Path, tif: Any, series: Any) -> str:
    """The series' axes, with samples as channels where ImageJ says that they are; RGB is refused."""
    axes: str = series.axes
    if "S" not in axes:
        return axes
    imagej: Mapping[str, Any] = tif.imagej_metadata or {}
    samples = series.shape[axes.index("S")]
    composite = imagej.get("mode") == "composite" and imagej.get("channels") == samples
    if not composite or "C" in axes:
        raise FieldError(
            f"{shown(path)}: an RGB image ({samples} samples a pixel); expected grey channels: export the raw channels"
        )
    return axes.replace("S", "C")


def _check_pixels(path: Path, series: Any, axes: str) -> None:
    dtype = np.dtype(series.dtype)
    if dtype.kind != "u" or dtype.itemsize > 2:
        raise FieldError(f"{shown(path)}: pixels are {dtype.name}; expected uint8 or uint16: export raw camera data")
    if "Y" not in axes or "X" not in axes:
        raise FieldError(f"{shown(path)}: axes are {axes}; expected a plane with Y and X: export images, not lines")
    if 0 in series.shape:
        raise FieldError(f"{shown(path)}: the image is empty (shape {series.shape}); copy it again")
    size = series.shape[axes.index("Y")] * series.shape[axes.index("X")]
    if size > MAX_PLANE_PX:
        raise FieldError(
            f"{shown(path)}: planes of {size} pixels; expected at most {MAX_PLANE_PX}: copy the file again"
        )


def _check_index(plane: Plane, image: ImageFile) -> None:
    index = plane.index or ()
    if len(index) != len(image.lengths) or any(not 0 <= i < n for i, n in zip(index, image.lengths, strict=True)):
        held = ", ".join(f"{n} {axis}" for axis, n in zip(image.axes, image.lengths, strict=True)) or "a single plane"
        raise FieldError(
            f"{shown(plane.path)}: has no plane {index}: it holds {held}, unlike the plate's first image;"
            " export the plate's files all alike"
        )


def _plane_pixels(plane: Plane, tif: Any, image: ImageFile) -> NDArray[Any]:
    series, index = tif.series[0], plane.index or ()
    n_planes = math.prod(image.lengths)
    if len(series) == n_planes and "S" not in series.axes:
        number = int(np.ravel_multi_index(index, image.lengths)) if index else 0
        page = series[number]
        if not _says_where(page) and _is_imagej_stack(tif, n_planes):
            return _contiguous(tif, number)
        _check_extent(plane.path, page)
        pixels: NDArray[Any] = page.asarray()
        return pixels.reshape(image.shape)
    for page in series:
        _check_extent(plane.path, page)
    axes = series.axes.replace("S", "C")
    whole = np.moveaxis(series.asarray(), (axes.index("Y"), axes.index("X")), (-2, -1))
    pixels = whole.reshape(*image.lengths, *image.shape)[index]
    return pixels


def _page_pixels(path: Path, tif: Any, number: int) -> NDArray[Any]:
    if number >= len(tif.pages):
        raise FieldError(f"{shown(path)}: has no page {number}, only {len(tif.pages)}; copy it again")
    page = tif.pages[number].aspage()
    if page.samplesperpixel != 1:
        raise FieldError(
            f"{shown(path)}: an RGB image ({page.samplesperpixel} samples a pixel); expected grey channels:"
            " export the raw channels"
        )
    _check_pixels(path, page, page.axes)
    _check_extent(path, page)
    pixels: NDArray[Any] = page.asarray()
    return pixels.reshape(page.shape[page.axes.index("Y")], page.shape[page.axes.index("X")])


def _is_imagej_stack(tif: Any, n_planes: int) -> bool:
    """Whether ImageJ's own rule finds the planes: one behind the other from the first on, whatever later pages say.

    Programs write ImageJ stacks with later pages that say nothing, and ImageJ opens them.
    """
    first, held = tif.pages.first, tif.imagej_metadata or {}
    if held.get("images") != n_planes or first.samplesperpixel != 1 or not first.is_contiguous:
        return False
    end: int = first.dataoffsets[0] + n_planes * first.nbytes
    return bool(first.compression == tifffile.COMPRESSION.NONE and end <= tif.filehandle.size)


def _contiguous(tif: Any, number: int) -> NDArray[Any]:
    first = tif.pages.first
    tif.filehandle.seek(first.dataoffsets[0] + number * first.nbytes)
    pixels = np.frombuffer(tif.filehandle.read(first.nbytes), np.dtype(tif.byteorder + first.dtype.char))
    return pixels.reshape(first.imagelength, first.imagewidth)


def _says_where(page: Any) -> bool:
    return page is not None and bool(page.dataoffsets) and 0 not in (*page.dataoffsets, *page.databytecounts)


def _check_extent(path: Path, page: Any) -> None:
    """Data that a file lacks would be read as zeros: a black image that looks whole."""
    if not _says_where(page):
        raise FieldError(f"{shown(path)}: pixel data are missing in the file; copy it again")
    if int(page.compression) in _BILEVEL:
        raise FieldError(f"{shown(path)}: grey pixels in a code for black and white; it is damaged: copy it again")
    size = page.parent.filehandle.size
    end = max(offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True))
    if end > size:
        raise FieldError(f"{shown(path)}: truncated at {size} of at least {end} bytes; copy it again")
