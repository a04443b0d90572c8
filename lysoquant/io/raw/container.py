"""Files that hold many images each (Leica LIF, Zeiss CZI, Nikon ND2): their images in wells and fields.

A module a format says what its files hold (:class:`Image`); here the images become a plate. Metadata are taken from the
formats' own libraries, pixels are read plane by plane.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.errors import FieldError, PlateError, UnreachedFileError
from lysoquant.files import open_file
from lysoquant.io.raw.description import Acquisition, Plane, Position
from lysoquant.io.raw.names import (
    clean_label,
    count_of,
    natural_key,
    normal_well,
    plate_format,
    printable,
    some,
    unique_labels,
)
from lysoquant.io.raw.pattern import MAX_NAME, compile_pattern, well_of
from lysoquant.io.raw.pixels import MAX_PLANE_PX, Pixels, shown
from lysoquant.io.raw.reader import Options, Reader, Source
from lysoquant.vocabulary import RawFormat, well_order

_MAX_PLANES: Final = 1_000_000
"""More planes in one image are a damaged header."""

_SAME: Final = 1e-3
"""Relative difference under which two pixel sizes are one, written with fewer digits."""

_IN_NAME: Final = re.compile(
    r"(?:^|[^A-Za-z0-9])(?:[Ww]ell[ _-]?)?(?P<well>[A-P][-_ ]?0?[0-9]{1,2})(?![A-Za-z0-9])"
    r"|(?:^|/)(?P<row>[A-P])/(?P<column>0?[0-9]{1,2})(?:/|$)"
)
"""A well as people and instruments write it into names: ``B03``, ``Well_B3``, ``plate/B/3/R1``; ``c3`` is a channel."""


@dataclass(frozen=True)
class Image:
    """One image of a file.

    Attributes
    ----------
    key : tuple of int
        Finds the image in its file; the first part of every plane's index.
    name : str
        As the file names it, with the folders of the file before it; may be empty.
    channels : sequence of str
        Names of the channels; empty ones where the file gives none.
    n_z, n_times : int
        Z planes and time points.
    shape : tuple of int
        (Y, X).
    pixel_size_um : float or None
        Pixel size where the file gives one of square pixels.
    well : str or None
        Canonical well where the file's metadata name one.
    problem : str
        Why the image can't be used, with the remedy; empty where it can.
    """

    key: tuple[int, ...]
    name: str
    channels: Sequence[str]
    n_z: int
    n_times: int
    shape: tuple[int, int]
    pixel_size_um: float | None
    well: str | None = None
    problem: str = ""


Inspect = Callable[[Path], Sequence[Image]]
"""What a file holds; raises FieldError where it can't be read."""


@dataclass(frozen=True)
class _Placed:
    path: Path
    image: Image
    where: str
    well: str
    field: str


@contextmanager
def opened(path: Path, title: str) -> Iterator[None]:
    """Whatever a damaged file makes a library raise becomes one line.

    Raises
    ------
    FieldError
        File, fault, remedy.
    """
    try:
        if not path.is_file():
            raise UnreachedFileError(f"{shown(path)}: the file is gone; copy it from the instrument again")
        yield
    except FieldError:
        raise
    except ImportError:
        raise
    except OSError as error:
        reason = error.strerror or clean_label(str(error))
        raise FieldError(f"{shown(path)}: can't be read ({reason}); check its rights or copy it again") from error
    except MemoryError as error:
        raise FieldError(f"{shown(path)}: asks for more memory than there is; it is damaged: copy it again") from error
    except Exception as error:  # libraries raise nearly anything on a damaged file
        reason = clean_label(f"{type(error).__name__}: {error}")
        raise FieldError(
            f"{shown(path)}: not a readable {title} file ({reason}); it is truncated or damaged: copy it again"
        ) from error


def checked(pixels: NDArray[Any], plane: Plane) -> Pixels:
    """One plane as read, if it is grey and of a dtype that is understood.

    Raises
    ------
    FieldError
        File, fault, remedy.
    """
    if pixels.ndim != 2 or pixels.dtype.kind != "u" or pixels.dtype.itemsize > 2:
        what = f"{pixels.dtype.name} of shape {pixels.shape}"
        raise FieldError(
            f"{shown(plane.path)}: pixels are {what}; expected grey uint8 or uint16: export raw camera data"
        )
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def problem_of(*, dtype: Any, axes: Sequence[str], shape: tuple[int, int], n_planes: int) -> str:
    """Why an image of these properties can't be used; empty where it can.

    Parameters
    ----------
    dtype : numpy dtype
        Of the pixels.
    axes : sequence of str
        Names of its axes that are neither C, Z, T, Y nor X and longer than 1.
    shape : tuple of int
        (Y, X); 0 where there is no such axis.
    n_planes : int
        Of all channels, planes and time points.
    """
    kind = np.dtype(dtype)
    if 0 in shape:
        return "is no image with Y and X (a line or another scan); acquire an xy image"
    if "S" in axes:
        return "is an RGB image; export the raw channels"
    if axes:
        return f"has the axes {', '.join(map(printable, axes))}; expected channels, Z planes and time points only"
    if kind.kind != "u" or kind.itemsize > 2:
        return f"has pixels of {kind.name}; expected uint8 or uint16: export raw camera data"
    if shape[0] * shape[1] > MAX_PLANE_PX or n_planes > _MAX_PLANES:
        return f"says that it has {n_planes} planes of {shape[0]} x {shape[1]} pixels; copy the file again"
    return ""


def files_with(source: Source, suffix: str) -> list[Path]:
    """Files of a kind: the one that was given, or those in the folder, in natural order."""
    names = source.folder.with_suffix(suffix) if source.file is None else [source.file]
    return [source.folder.path / name for name in names if name.lower().endswith(suffix)]


def container_reader(
    *, name: RawFormat, title: str, needs: str, suffix: str, magic: Sequence[bytes], inspect: Inspect
) -> Reader:
    """The reader of a format whose files begin with one of these bytes and hold what `inspect` says."""
    return Reader(
        name=name,
        title=title,
        needs=needs,
        recognise=partial(recognise_files, suffix=suffix, magic=magic),
        describe=partial(describe_files, format=name, suffix=suffix, inspect=inspect),
    )


def square_size_um(width_um: float, height_um: float) -> float | None:
    """Size of a pixel, to six digits; None unless it is square."""
    is_square = math.isfinite(width_um) and width_um > 0 and math.isclose(width_um, height_um, rel_tol=0.01)
    return float(f"{width_um:.6g}") if is_square else None


def recognise_files(source: Source, *, suffix: str, magic: Sequence[bytes]) -> str | None:
    """What is seen where files with this ending begin with one of these bytes."""
    found = [path.name for path in files_with(source, suffix) if any(_begins_with(path, bytes_) for bytes_ in magic)]
    kind = suffix[1:].upper()
    return f"{count_of(len(found), f'{kind} file')}, such as {printable(found[0])}" if found else None


def _begins_with(path: Path, magic: bytes) -> bool:
    try:
        with open_file(path) as handle:
            return handle.read(len(magic)) == magic
    except OSError:
        return False


def describe_files(
    source: Source,
    options: Options,
    *,
    format: RawFormat,
    suffix: str,
    inspect: Inspect,
) -> Acquisition:
    """A plate from the images of its files.

    An image's well is what a pattern finds in ``<file>/<name of the image>``, else what the file's metadata say, else
    what its name says. Where nothing names a well, the images of a single file are the fields of well A01.

    Parameters
    ----------
    source : Source
        The file, or the folder of files.
    options : Options
        Pattern with the groups ``well`` or ``row`` and ``column``, and ``field``.
    format, suffix : str
        Format name, and ending of its files in lower case.
    inspect : callable
        What a file holds; raises FieldError.

    Returns
    -------
    Acquisition

    Raises
    ------
    PlateError
        If there is no usable image, or nothing names the wells of several files.
    """
    notes: list[str] = []
    paths = files_with(source, suffix)
    held = [(path, image) for path in paths for image in _inspected(path, inspect, notes)]
    usable = [(path, image) for path, image in held if not image.problem]
    notes += _unusable(held)
    if not usable:
        raise PlateError(f"{source.path}: no usable image ({'; '.join(notes) or 'it holds none'}); give another file")
    placed = _placed(source, usable, options.pattern, notes)
    labels = _labels(placed, options.channel_names, notes)
    first = placed[0].image
    wells = _wells(placed, labels, first)
    n_rows, n_columns = plate_format(wells)
    return Acquisition(
        name=clean_label(source.path.stem if source.file is not None else source.path.name),
        format=format,
        channels=labels,
        wells=wells,
        n_rows=n_rows,
        n_columns=n_columns,
        pixel_size_um=first.pixel_size_um,
        shape=first.shape,
        notes=tuple(notes),
        stacks_vary=True,
    )


def _unusable(held: Sequence[tuple[Path, Image]]) -> list[str]:
    """One line for the images of a file that have the same problem."""
    names: dict[tuple[Path, str], list[str]] = defaultdict(list)
    for path, image in held:
        if image.problem:
            names[path, image.problem].append(repr(printable(image.name)))
    return [
        f"{printable(path.name)}: {count_of(len(images), 'image')} passed over ({some(images)}):"
        f" {'it' if len(images) == 1 else 'each'} {problem}"
        for (path, problem), images in names.items()
    ]


def common_size_um(images: Sequence[Image]) -> float | None:
    """The pixel size that all usable images of a file have; None where they differ or do not say."""
    sizes = {image.pixel_size_um for image in images if not image.problem}
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes) or not known or max(known) > min(known) * (1 + _SAME):
        return None
    return known[0]


def _inspected(path: Path, inspect: Inspect, notes: list[str]) -> Sequence[Image]:
    try:
        return inspect(path)
    except FieldError as error:
        notes.append(f"passed over: {error}")
        return ()


def _placed(
    source: Source, usable: Sequence[tuple[Path, Image]], pattern: str | None, notes: list[str]
) -> list[_Placed]:
    expression = compile_pattern(pattern)
    if extra := sorted(set(expression.groupindex) - {"well", "row", "column", "field"}):
        raise PlateError(f"pattern {pattern!r}: the group {extra[0]} has no use here; the file says it itself")
    placed, strangers = [], []
    for path, image in usable:
        where = f"{path.name}/{image.name}" if image.name else path.name
        found = _place_of(where, path, image, expression if pattern is not None else None)
        if found is None:
            strangers.append(printable(where))
        else:
            placed.append(_Placed(path, image, printable(where), *found))
    if placed:
        if pattern is None and (by_name := [each for each in placed if each.image.well is None]):
            notes.append(f"wells are taken from the images' names: {by_name[0].where} is in {by_name[0].well}")
        if strangers:
            notes.append(f"{count_of(len(strangers), 'image')} without a well passed over: {some(strangers)}")
        return placed
    if pattern is not None:
        raise PlateError(f"pattern {pattern!r} finds a well in none of the images, such as {strangers[0]}; correct it")
    if len({path for path, _ in usable}) > 1:
        raise PlateError(
            f"{source.path}: no well in the names of the images, such as {strangers[0]}; set pattern in"
            " plates.tsv to what finds the well, such as '(?P<well>[A-P][0-9]{2})', or give one file"
        )
    notes.append("nothing names a well: all images are taken as fields of well A01")
    return [
        _Placed(path, image, where, "A01", printable(image.name) or str(number))
        for number, ((path, image), where) in enumerate(zip(usable, strangers, strict=True), start=1)
    ]


def _place_of(where: str, path: Path, image: Image, expression: re.Pattern[str] | None) -> tuple[str, str] | None:
    """Well and field name of an image."""
    name = printable(image.name) or printable(path.stem)
    if expression is not None:
        match = expression.search(where) if len(where) <= MAX_NAME else None
        if match is None:
            return None
        texts = {group: text or "" for group, text in match.groupdict().items()}
        well = well_of(texts)
        return None if well is None else (well, clean_label(texts.get("field", "")) or name)
    if image.well is not None:
        return image.well, name
    for text in (image.name[:MAX_NAME], path.stem[:MAX_NAME]):
        for match in _IN_NAME.finditer(text):
            well = normal_well(match["well"] or f"{match['row']}{match['column']}")
            if well is not None:
                return well, name
    return None


def _labels(placed: Sequence[_Placed], given: Sequence[str] | None, notes: list[str]) -> tuple[str, ...]:
    """Labels of the channels in the order of the files' channel axis; as many as most images have."""
    counts = [len(each.image.channels) for each in placed]
    n_channels = max(sorted(set(counts)), key=counts.count)
    names = next(list(each.image.channels) for each in placed if len(each.image.channels) == n_channels)
    if given is not None:
        cleaned = [clean_label(name) for name in given]
        if len(cleaned) != n_channels or not all(cleaned) or len(set(cleaned)) < len(cleaned):
            raise PlateError(
                f"channel names {'; '.join(cleaned)!r} do not fit: expected {count_of(n_channels, 'name')}, each"
                " different, separated by ';'"
            )
        return tuple(cleaned)
    cleaned = [clean_label(name) for name in names]
    if unnamed := [f"channel_{number}" for number, name in enumerate(cleaned, start=1) if not name]:
        notes.append(f"{count_of(len(unnamed), 'channel')} without a name in the file: called {', '.join(unnamed)}")
    full = [name or f"channel_{number}" for number, name in enumerate(cleaned, start=1)]
    return tuple(unique_labels(full, notes))


def _wells(placed: Sequence[_Placed], labels: Sequence[str], first: Image) -> Mapping[str, tuple[Position, ...]]:
    by_well: dict[str, list[_Placed]] = defaultdict(list)
    for each in placed:
        by_well[each.well].append(each)
    wells = {}
    for well in sorted(by_well, key=well_order):
        # Stable: images of one name keep the order of their files.
        ordered = sorted(by_well[well], key=lambda each: natural_key(each.field))
        names = unique_labels([each.field for each in ordered], [])
        wells[well] = tuple(_position(each, name, labels, first) for each, name in zip(ordered, names, strict=True))
    return wells


def _position(each: _Placed, name: str, labels: Sequence[str], first: Image) -> Position:
    image, problems = each.image, []
    if len(image.channels) != len(labels):
        problems.append(
            f"{each.where}: has {count_of(len(image.channels), 'channel')}, other images {len(labels)};"
            " acquire or export the field again"
        )
    size, usual = image.pixel_size_um, first.pixel_size_um
    if size is not None and usual is not None and abs(size - usual) > _SAME * usual:
        problems.append(
            f"{each.where}: its pixels are {size:g} um, of the first image {usual:g} um; acquire all with one size"
        )
    planes = {
        label: {
            (time + 1, z + 1): Plane(each.path, (*image.key, time, channel, z))
            for time in range(image.n_times)
            for z in range(image.n_z)
        }
        for channel, label in enumerate(labels[: len(image.channels)])
    }
    return Position(name=name, planes=planes, problems=tuple(problems))
