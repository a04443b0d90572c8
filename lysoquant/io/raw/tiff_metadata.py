"""What the metadata of a TIFF say: OME-XML, MetaSeries, ImageJ.

XML with a document type or entities is refused, and so is XML that speaks of more planes than a file can hold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from lysoquant.errors import FieldError
from lysoquant.io.raw.names import clean_label

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


def channel_names(tif: Any, xml: Element | None, leading: Mapping[str, int]) -> tuple[str, ...]:
    """Names of the channels, one for each; empty where the metadata do not give them.

    Parameters
    ----------
    leading : mapping of str to int
        Lengths of the axes before Y and X.
    """
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


def pixel_size_um(tif: Any, xml: Element | None) -> float | None:
    """Pixel size that a file's metadata give; None where they say nothing usable.

    MetaSeries (``spatial-calibration-x`` where the calibration is on), OME-XML (``PhysicalSizeX``) and ImageJ
    (resolution tags with a metric unit) are understood, in this order. Resolutions in dots per inch are not
    sizes of anything that was imaged and are passed over, as are pixels that are not square.
    """
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
