"""OME-TIFF plates whose OME-XML says which image lies in which well: in a companion file or in the TIFF files.

The files are addressed as the XML says: image, channel, Z plane and time point to page and file. What it names is
looked for in the plate's folder only, and nothing in it is trusted: entities are refused, numbers are checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from lysoquant.errors import FieldError, PlateError
from lysoquant.files import open_file
from lysoquant.io.raw.description import Acquisition, Plane, Position
from lysoquant.io.raw.names import (
    PLATE_FORMATS,
    clean_label,
    count_of,
    is_image,
    plate_format,
    printable,
    some,
    unique_labels,
)
from lysoquant.io.raw.pixels import ome_xml
from lysoquant.io.raw.reader import Options, Reader, Source
from lysoquant.io.raw.tiff import list_images
from lysoquant.io.raw.tiff_metadata import in_um, local_name
from lysoquant.vocabulary import WELL_NAME, row_letters, well_name, well_order

_COMPANIONS: Final = (".companion.ome", ".ome.xml", ".ome")
_MAX_XML_BYTES: Final = 1 << 26
_MAX_PLANES: Final = 1_000_000
_ORDERS: Final = ("XYZCT", "XYZTC", "XYCZT", "XYCTZ", "XYTZC", "XYTCZ")


@dataclass(frozen=True)
class _Document:
    """OME-XML and the file that holds it; `is_tiff` where that is a TIFF, whose pages it can mean without naming it."""

    root: Element
    path: Path
    is_tiff: bool

    @property
    def plates(self) -> list[Element]:
        return [plate for plate in _children(self.root, "Plate") if next(_samples(plate), None) is not None]


@dataclass(frozen=True)
class _Image:
    """An image that a well sample refers to."""

    name: str
    labels: Sequence[str]
    shape: tuple[int, int]
    pixel_size_um: float | None
    planes: Mapping[tuple[int, int, int], Plane]
    is_rgb: bool


@dataclass
class _Plate:
    """What the documents say together."""

    folder: Path
    name: str = ""
    rows: int = 1
    columns: int = 1
    images: dict[str, list[_Image]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def recognise_ome_tiff(source: Source) -> str | None:
    """A companion file, or the first TIFF of the folder, whose OME-XML places images in wells."""
    for path in _first_files(source):
        try:
            document = _read(path)
        except (FieldError, PlateError):
            continue
        if document is not None and document.plates:
            return f"OME-XML in {printable(path.name)} that places images in wells"
    return None


def describe_ome_tiff(source: Source, options: Options) -> Acquisition:
    """Describe OME-TIFF files by the plate in their OME-XML.

    Every companion file is read; of the TIFF files those headers that no XML read before refers to.

    Parameters
    ----------
    source : Source
        The folder, the companion file, or one TIFF file.
    options : Options
        Not used.

    Raises
    ------
    PlateError
        If no XML places an image in a well, several plates are described, XML is damaged, or it names a file outside
        the folder.
    """
    plate = _Plate(folder=source.folder.path)
    known: set[Path] = set()
    lost: list[str] = []
    without: list[str] = []
    for path in _files(source, plate.notes):
        if path in known:
            continue
        try:
            document = _read(path)
        except FieldError as error:
            lost.append(str(error))
            continue
        if document is None or not document.plates:
            without += [printable(path.name)] if document is None or not _is_binary_only(document.root) else []
            continue
        known |= _take(plate, document)
    if not plate.images:
        raise PlateError(
            f"{source.path}: no OME-XML that places an image in a well"
            f"{f'; the first file that cannot be read: {lost[0]}' if lost else ''};"
            " set format in plates.tsv to tiff and pattern in plates.tsv to what finds the well in a name"
        )
    if without:
        plate.notes.append(
            f"{count_of(len(without), 'file')} passed over that no plate's OME-XML refers to: {some(without)}"
        )
    if lost:
        plate.notes.append(f"{count_of(len(lost), 'file')} passed over, the first: {lost[0]}")
    return _acquisition(source, plate)


OME_TIFF: Final = Reader(
    name="ome-tiff",
    title="OME-TIFF plate",
    needs="OME-TIFF files or a .companion.ome file whose OME-XML places images in wells",
    recognise=recognise_ome_tiff,
    describe=describe_ome_tiff,
)


def _first_files(source: Source) -> list[Path]:
    if source.file is not None:
        return [source.path] if _is_companion(source.file) or is_image(source.file) else []
    folder = source.folder
    companions = [folder.path / name for name in folder.files if _is_companion(name)]
    return companions + [folder.path / name for name in folder.images()[:1]]


def _files(source: Source, notes: list[str]) -> list[Path]:
    if source.file is not None:
        return [source.path]
    folder = source.folder
    companions = [folder.path / name for name in folder.files if _is_companion(name)]
    return companions + [folder.path / where for where in list_images(folder, notes)]


def _is_companion(name: str) -> bool:
    return name.lower().endswith(_COMPANIONS)


def _read(path: Path) -> _Document | None:
    """The OME-XML of a TIFF or companion file; None where it holds none."""
    if is_image(path.name):
        root = ome_xml(path)
        return None if root is None else _Document(root, path, is_tiff=True)
    name = printable(path.name)
    try:
        with open_file(path) as handle:
            content = handle.read(_MAX_XML_BYTES + 1)
        if len(content) > _MAX_XML_BYTES:
            raise PlateError(f"{name}: larger than {_MAX_XML_BYTES >> 20} MB; expected the OME-XML of a plate")
        root = fromstring(content, forbid_dtd=True)
    except OSError as error:
        raise PlateError(f"{path}: can't be read ({error.strerror}); check its rights or copy it again") from error
    except DefusedXmlException as error:
        raise PlateError(f"{name}: its XML holds a document type or entities, which are refused; remove it") from error
    except (ParseError, ValueError, LookupError) as error:
        raise PlateError(f"{name}: not readable XML ({clean_label(str(error))}); copy or export it again") from error
    return _Document(root, path, is_tiff=False) if local_name(root) == "OME" else None


def _is_binary_only(root: Element) -> bool:
    return bool(_children(root, "BinaryOnly"))


def _take(plate: _Plate, document: _Document) -> set[Path]:
    """Add what a document says to the plate; gives the files that it refers to."""
    if len(document.plates) > 1:
        names = [clean_label(one.get("Name", "")) or one.get("ID", "?") for one in document.plates]
        raise PlateError(
            f"{printable(document.path.name)}: describes {len(names)} plates ({some(names)}); expected one: export them"
            " one by one"
        )
    (own,) = document.plates
    name = clean_label(own.get("Name", ""))
    if plate.name and name and name != plate.name:
        raise PlateError(f"{plate.folder}: files of two plates ({plate.name!r} and {name!r}); give a folder for each")
    plate.name = plate.name or name
    plate.rows = max(plate.rows, _number(document, own, "Rows", default=1, low=0, high=32))
    plate.columns = max(plate.columns, _number(document, own, "Columns", default=1, low=0, high=48))
    images = {image.get("ID", ""): image for image in _children(document.root, "Image")}
    unplaced = set(images)
    files: set[Path] = set()
    for well, sample in _samples(own):
        label = _well_of(document, well)
        reference = next(iter(_children(sample, "ImageRef")), None)
        if reference is None:
            continue
        identifier = reference.get("ID", "")
        if identifier not in images:
            raise PlateError(
                f"{printable(document.path.name)}: well {label} refers to the image {identifier[:40]!r}, which it does"
                " not describe; export the plate again"
            )
        unplaced.discard(identifier)
        image = _image(plate, document, images[identifier])
        plate.images.setdefault(label, []).append(image)
        files |= {plane.path for plane in image.planes.values()}
    if unplaced:
        plate.notes.append(
            f"{count_of(len(unplaced), 'image')} in {printable(document.path.name)} passed over that lie in no well"
        )
    return files


def _samples(plate: Element) -> Iterator[tuple[Element, Element]]:
    """Wells and their samples that refer to an image, by the samples' index."""
    for well in _children(plate, "Well"):
        samples = [sample for sample in _children(well, "WellSample") if _children(sample, "ImageRef")]
        yield from ((well, sample) for sample in sorted(samples, key=lambda each: _index(each.get("Index", ""))))


def _index(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _well_of(document: _Document, well: Element) -> str:
    row = _number(document, well, "Row", default=0, low=0, high=31)
    column = _number(document, well, "Column", default=0, low=0, high=47)
    label = well_name(row_letters(row), column + 1)
    if WELL_NAME.fullmatch(label) is None:
        raise PlateError(f"{printable(document.path.name)}: a well {label}; expected one from A01 to AF48")
    return label


def _image(plate: _Plate, document: _Document, image: Element) -> _Image:
    pixels = next(iter(_children(image, "Pixels")), None)
    name = clean_label(image.get("Name", ""))
    if pixels is None:
        raise PlateError(f"{printable(document.path.name)}: image {name!r} has no Pixels; export the plate again")
    sizes = {axis: _number(document, pixels, f"Size{axis}", default=1, low=1, high=_MAX_PLANES) for axis in "XYZCT"}
    count = sizes["Z"] * sizes["C"] * sizes["T"]
    if count > _MAX_PLANES:
        raise PlateError(
            f"{printable(document.path.name)}: image {name!r} of {count} planes; expected at most {_MAX_PLANES}"
        )
    channels = _children(pixels, "Channel")
    is_rgb = any(channel.get("SamplesPerPixel", "1") != "1" for channel in channels)
    names = [clean_label(channel.get("Name", "")) for channel in channels]
    labels = [(names[number] if number < len(names) else "") or f"channel_{number + 1}" for number in range(sizes["C"])]
    width, height = (
        in_um(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "um")) for axis in "XY"
    )
    is_square = width is not None and (height is None or abs(width - height) <= 0.01 * width)
    return _Image(
        name=name,
        labels=unique_labels(labels, []),
        shape=(sizes["Y"], sizes["X"]),
        pixel_size_um=width if is_square else None,
        planes=dict(_planes(plate, document, pixels, sizes)),
        is_rgb=is_rgb,
    )


def _planes(
    plate: _Plate, document: _Document, pixels: Element, sizes: Mapping[str, int]
) -> Iterator[tuple[tuple[int, int, int], Plane]]:
    """Channel, time point and Z plane (from 0, 1, 1) with the page that holds it."""
    order = pixels.get("DimensionOrder", "XYZCT")
    if order not in _ORDERS:
        raise PlateError(
            f"{printable(document.path.name)}: DimensionOrder {order[:20]!r}; expected one of {', '.join(_ORDERS)}"
        )
    axes = order[2:]
    total = sizes["Z"] * sizes["C"] * sizes["T"]
    for data in _children(pixels, "TiffData"):
        start = 0
        for axis, step in zip(axes, (1, sizes[axes[0]], sizes[axes[0]] * sizes[axes[1]]), strict=True):
            start += step * _number(document, data, f"First{axis}", default=0, low=0, high=sizes[axis] - 1)
        page = _number(document, data, "IFD", default=0, low=0, high=_MAX_PLANES)
        every = 1 if data.get("IFD") is not None else total - start
        count = min(_number(document, data, "PlaneCount", default=every, low=0, high=_MAX_PLANES), total - start)
        path = _file(plate, document, data)
        for offset in range(count):
            rest, place = start + offset, {}
            for axis in axes:
                rest, place[axis] = divmod(rest, sizes[axis])
            yield (place["C"], place["T"] + 1, place["Z"] + 1), Plane(path, page=page + offset)


def _file(plate: _Plate, document: _Document, data: Element) -> Path:
    """The file of a TiffData element, which must lie in the plate's folder."""
    uuid = next(iter(_children(data, "UUID")), None)
    name = uuid.get("FileName") if uuid is not None else None
    own = document.root.get("UUID")
    if uuid is None or name is None or (document.is_tiff and own is not None and (uuid.text or "").strip() == own):
        if not document.is_tiff:
            raise PlateError(f"{printable(document.path.name)}: a TiffData without a FileName; export the plate again")
        return document.path
    path = document.path.parent / name
    is_plain = name.isprintable() and not PureWindowsPath(name).is_absolute() and not PureWindowsPath(name).drive
    if not is_plain or not path.parent.resolve().is_relative_to(plate.folder.resolve()) or not is_image(path.name):
        raise PlateError(
            f"{printable(document.path.name)}: refers to {printable(name)[:100]!r}; expected a TIFF file in the"
            " plate's folder: correct the name"
        )
    return path


def _acquisition(source: Source, plate: _Plate) -> Acquisition:
    ordered = {well: plate.images[well] for well in sorted(plate.images, key=well_order)}
    every = [image for images in ordered.values() for image in images]
    sizes = {image.pixel_size_um for image in every}
    if len(sizes) > 1:
        plate.notes.append("the images differ in pixel size, or some give none: each file's own counts")
    n_rows, n_columns = plate_format(ordered, declared=(plate.rows, plate.columns))
    channels = dict.fromkeys(label for image in every for label in image.labels)
    return Acquisition(
        name=plate.name or clean_label(source.path.name),
        format=OME_TIFF.name,
        channels=tuple(channels),
        wells={well: tuple(_positions(well, images)) for well, images in ordered.items()},
        n_rows=n_rows,
        n_columns=n_columns,
        pixel_size_um=sizes.pop() if len(sizes) == 1 else None,
        shape=every[0].shape,
        notes=tuple(plate.notes),
        stacks_vary=True,
        declares_size=(plate.rows, plate.columns) in PLATE_FORMATS,
    )


def _positions(well: str, images: Sequence[_Image]) -> Iterator[Position]:
    """Fields of a well by the images' names, or numbered where these do not tell them apart."""
    names = Counter(image.name for image in images)
    for number, image in enumerate(images, start=1):
        name = image.name if image.name and names[image.name] == 1 else f"f{number}"
        planes: dict[str, dict[tuple[int, int], Plane]] = {}
        for (channel, time, z), plane in image.planes.items():
            planes.setdefault(image.labels[channel], {})[time, z] = plane
        problem = f"well {well} field {name}: an RGB image; expected grey channels: export the raw channels"
        yield Position(name=name, planes=planes, problems=(problem,) if image.is_rgb else ())


def _number(document: _Document, element: Element, key: str, *, default: int, low: int, high: int) -> int:
    text = element.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):
        raise PlateError(
            f"{printable(document.path.name)}: {local_name(element)} {key} is {text[:40]!r}; expected a whole number"
            f" from {low} to {high}: correct it or export the plate again"
        )
    return int(text)


def _children(element: Element, name: str) -> list[Element]:
    return [child for child in element if local_name(child) == name]
