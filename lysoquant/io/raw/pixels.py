"""One TIFF file: what it holds, its pixel size, one of its planes.

Files are not trusted: XML with a document type or entities is refused, an OME-TIFF is not followed into
other files, and whatever goes wrong inside a damaged file becomes a `FieldError` that names it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError

import numpy as np
import tifffile
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from numpy.typing import NDArray

from lysoquant.errors import FieldError, UnreachedFileError
from lysoquant.files import require_file
from lysoquant.io.raw.description import Plane
from lysoquant.io.raw.names import clean_label, printable

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

MAX_PLANE_PX: Final = 2**28
"""Largest plane that is read (16,384 x 16,384): a damaged header must not ask for all memory."""

UM_PER_UNIT: Final = {
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "\N{MICRO SIGN}m": 1.0,
    "\N{GREEK SMALL LETTER MU}m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}

_MAX_PLANES: Final = 100_000
"""Planes of one file that OME-XML may speak of."""

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


def inspect_image(path: Path) -> ImageFile:
    """Structure of an image file, from its headers alone.

    Raises
    ------
    FieldError
        If the file is gone, unreadable, or no stack of grey uint8 or uint16 planes.
    """
    with _opened(path) as (tif, xml):
        return _structure(path, tif, xml)


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
    with _opened(plane.path) as (tif, xml):
        if plane.page is not None:
            pixels = _page_pixels(plane.path, tif, plane.page)
        else:
            image = _structure(plane.path, tif, xml)
            _check_index(plane, image)
            pixels = _plane_pixels(plane, tif.series[0], image)
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def file_pixel_size_um(path: Path) -> float | None:
    """Pixel size that an image file's metadata give.

    MetaSeries (``spatial-calibration-x`` where the calibration is on), OME-XML (``PhysicalSizeX``) and ImageJ
    (resolution tags with a metric unit) are understood, in this order. Resolutions in dots per inch are not
    sizes of anything that was imaged and are passed over, as are pixels that are not square.

    Returns
    -------
    float or None
        Micrometres; None where the file says nothing usable.

    Raises
    ------
    FieldError
        If the file is gone or unreadable.
    """
    with _opened(path) as (tif, xml):
        return _pixel_size_um(tif, xml)


def ome_xml(path: Path) -> Element | None:
    """The OME-XML in a TIFF, without document type or entities; None where there is none.

    Raises
    ------
    FieldError
        If the file is gone or unreadable.
    """
    with _opened(path) as (_, xml):
        return xml if xml is not None and local_name(xml) == "OME" else None


def wavelength_name(path: Path) -> str | None:
    """Name of the illumination that a MetaSeries file gives (``DAPI``); None where it gives none.

    Raises
    ------
    FieldError
        If the file is gone or unreadable.
    """
    with _opened(path) as (tif, xml):
        if xml is None or not tif.is_metaseries:
            return None
        names = [prop.get("value", "") for prop in xml.iter("prop") if prop.get("id") == "_IllumSetting_"]
        return clean_label(names[0]) or None if names else None


def shown(path: Path) -> str:
    """A file as messages name it: with its folder, without the way there, so that records stay the same elsewhere."""
    return printable("/".join(path.parts[-2:]))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Element | None]]:
    try:
        # _multifile=False: an OME-TIFF can name other files anywhere on the disk.
        with tifffile.TiffFile(require_file(path), _multifile=False) as tif:
            if tif.flags & _SLIDE_SCANNER_FLAGS:
                raise FieldError(f"{shown(path)}: a slide scanner's file; export it as plain or OME-TIFF")
            yield tif, description_xml(tif, where=shown(path))
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


def description_xml(tif: Any, *, where: str) -> Element | None:
    """The first page's description as XML, vetted before tifffile parses it without care; None where it is none.

    Parameters
    ----------
    tif : tifffile.TiffFile
        The open file.
    where : str
        The file, as messages name it.

    Raises
    ------
    FieldError
        If it has a document type or entities, or declares more planes than any file holds.
    """
    text = tif.pages.first.description.lstrip("\ufeff \t\r\n")
    if not text.startswith("<"):
        return None
    try:
        root: Element = fromstring(text, forbid_dtd=True)
    except DefusedXmlException as error:
        raise FieldError(
            f"{where}: its XML metadata hold a document type or entities, which are refused; save it without"
        ) from error
    except ParseError:
        return None
    count = _declared_planes(root, tif.pages.first)
    if count > _MAX_PLANES:  # tifffile would make room for as many
        raise FieldError(f"{where}: its XML speaks of {count} planes; expected at most {_MAX_PLANES}: export it again")
    return root


def _declared_planes(root: Element, page: Any) -> int:
    """The most planes that any element of OME-XML speaks of, in planes as large as the file's first."""
    counts = [0]
    for element in root.iter():
        if local_name(element) == "Pixels":
            sizes = [max(1, _whole(element.get(f"Size{axis}"))) for axis in "XYZCT"]
            counts.append(math.prod(sizes) // max(1, page.imagewidth * page.imagelength))
        elif local_name(element) == "TiffData":
            counts += [_whole(element.get(name)) for name in ("IFD", "PlaneCount", "FirstZ", "FirstC", "FirstT")]
    return max(counts)


def _whole(text: str | None) -> int:
    """A whole number; 0 where the text is none."""
    try:
        return int(text or 0)
    except ValueError:
        return 0


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
        channel_names=_channel_names(tif, xml, dict(leading)),
        pixel_size_um=_pixel_size_um(tif, xml),
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


def _plane_pixels(plane: Plane, series: Any, image: ImageFile) -> NDArray[Any]:
    index = plane.index or ()
    n_planes = math.prod(image.lengths)
    if len(series) == n_planes and "S" not in series.axes:
        page = series[int(np.ravel_multi_index(index, image.lengths)) if index else 0]
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


def _check_extent(path: Path, page: Any) -> None:
    """Data that a file lacks would be read as zeros: a black image that looks whole."""
    if page is None or not page.dataoffsets or 0 in page.dataoffsets or 0 in page.databytecounts:
        raise FieldError(f"{shown(path)}: pixel data are missing in the file; copy it again")
    if int(page.compression) in _BILEVEL:
        raise FieldError(f"{shown(path)}: grey pixels in a code for black and white; it is damaged: copy it again")
    size = page.parent.filehandle.size
    end = max(offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True))
    if end > size:
        raise FieldError(f"{shown(path)}: truncated at {size} of at least {end} bytes; copy it again")


def _channel_names(tif: Any, xml: Element | None, leading: Mapping[str, int]) -> tuple[str, ...]:
    expected = leading.get("C", 1)
    names = _ome_channel_names(xml)
    if not names and tif.is_imagej:
        labels = (tif.imagej_metadata or {}).get("Labels", [])
        # ImageJ labels every plane: they name the channels only where channels are all there is.
        names = [labels] if isinstance(labels, str) else list(labels) if set(leading) <= {"C"} else []
    cleaned = tuple(clean_label(str(name)) for name in names)
    return cleaned if len(cleaned) == expected and all(cleaned) else ()


def _ome_channel_names(xml: Element | None) -> list[str]:
    pixels = _first(xml, "Pixels")
    if pixels is None:
        return []
    return [child.get("Name", "") for child in pixels if local_name(child) == "Channel"]


def _pixel_size_um(tif: Any, xml: Element | None) -> float | None:
    for size in (_metaseries_size_um(tif, xml), _ome_size_um(xml), _imagej_size_um(tif)):
        if size is not None:
            return size
    return None


def _metaseries_size_um(tif: Any, xml: Element | None) -> float | None:
    if xml is None or not tif.is_metaseries:
        return None
    values = {prop.get("id"): prop.get("value") for prop in xml.iter("prop")}
    if values.get("spatial-calibration-state") != "on":
        return None
    unit = values.get("spatial-calibration-units")
    return _square_um(values.get("spatial-calibration-x"), values.get("spatial-calibration-y"), unit)


def _ome_size_um(xml: Element | None) -> float | None:
    pixels = _first(xml, "Pixels")
    if pixels is None:
        return None
    x, y = (in_um(pixels.get(f"PhysicalSize{a}"), pixels.get(f"PhysicalSize{a}Unit", "um")) for a in "XY")
    return _square_um(x, y, "um")


def _imagej_size_um(tif: Any) -> float | None:
    unit = (tif.imagej_metadata or {}).get("unit")
    tags = tif.pages.first.tags
    if not isinstance(unit, str) or "XResolution" not in tags:
        return None
    x, y = (_inverse(tags[name].value if name in tags else None) for name in ("XResolution", "YResolution"))
    return _square_um(x, y, unit)


def _inverse(resolution: object) -> float | None:
    if not isinstance(resolution, tuple) or len(resolution) != 2 or not resolution[0]:
        return None
    return float(resolution[1] / resolution[0])


def in_um(value: object, unit: str | None) -> float | None:
    """A length in micrometres; None unless it is a positive number of a known unit."""
    try:
        size = float(str(value))
    except ValueError:
        return None
    factor = UM_PER_UNIT.get((unit or "").replace("\\u00B5", "\N{MICRO SIGN}").strip())
    if factor is None or not math.isfinite(size) or size <= 0:
        return None
    return size * factor


def _square_um(x: object, y: object, unit: str | None) -> float | None:
    """Size of a pixel from its width and height (absent: as wide); None where they differ by over 1 %."""
    width = in_um(x, unit)
    height = width if y is None else in_um(y, unit)
    if width is None or height is None or not math.isclose(width, height, rel_tol=0.01):
        return None
    return width


def _first(xml: Element | None, name: str) -> Element | None:
    return next((element for element in xml.iter() if local_name(element) == name), None) if xml is not None else None


def local_name(element: Element) -> str:
    """Name of an XML element without its namespace."""
    return str(element.tag).rpartition("}")[2]
