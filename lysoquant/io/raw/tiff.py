"""Any TIFF files: well, field, channel, Z plane and time point from their names, the rest from their metadata."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.raw.description import Acquisition, Plane, Position
from lysoquant.io.raw.names import (
    Folder,
    clean_label,
    count_of,
    is_image,
    natural_key,
    plate_format,
    printable,
    read_folder,
    some,
    unique_labels,
)
from lysoquant.io.raw.pattern import EXAMPLE_PATTERN, MAX_NAME, compile_pattern, well_of
from lysoquant.io.raw.pixels import ImageFile, inspect_image
from lysoquant.io.raw.reader import Options, Reader, Source
from lysoquant.vocabulary import well_order

_ALONE: Final = "1"
"""Name of the one field or channel where the pattern has no group for it."""


@dataclass(frozen=True)
class _Image:
    """A file and what the pattern found in its name."""

    path: Path
    where: str
    well: str
    field: str
    channel: str
    z: str
    time: str


@dataclass(frozen=True)
class _Layout:
    """How channels, Z planes and time points lie in the files, which are taken to be alike.

    Attributes
    ----------
    labels : mapping of str to (str, int or None)
        By channel label the text of the channel group, and its index along the files' channel axis.
    axes : str
        The files' axes before Y and X: C, Z, T; another letter is the channel axis too.
    n_z, n_times : int
        Planes and time points in each file.
    z_texts, time_texts : sequence of str
        Texts of the groups z and time, in natural order.
    """

    labels: Mapping[str, tuple[str, int | None]]
    axes: str
    n_z: int
    n_times: int
    z_texts: Sequence[str]
    time_texts: Sequence[str]

    def planes(self, image: _Image, channel: int | None) -> Iterator[tuple[tuple[int, int], Plane]]:
        """Planes of a channel in a file, by time point and Z plane."""
        for time in range(self.n_times):
            for number in range(self.n_z):
                place = {"T": time, "Z": number}
                index = tuple(place.get(axis, channel or 0) for axis in self.axes)
                at = (self.time_texts.index(image.time) + time + 1, self.z_texts.index(image.z) + number + 1)
                yield at, Plane(image.path, index or None)


@dataclass
class _Sorting:
    """Files that the pattern could not place."""

    unmatched: list[str] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)


def recognise_tiff(source: Source) -> str | None:
    """TIFF files: a file, or any in the folder or its subfolders."""
    if source.file is not None:
        return source.file if is_image(source.file) else None
    images = list_images(source.folder, [])
    if not images:
        return None
    return f"{count_of(len(images), 'TIFF file')}, such as {printable(images[0])}"


def list_images(folder: Folder, notes: list[str]) -> list[str]:
    """Paths of all TIFF files under a folder, relative to it (posix), in natural order.

    Parameters
    ----------
    folder : Folder
        The folder; its subfolders are read once each, links to folders are not followed.
    notes : list of str
        Gets a line about links that were not followed.
    """
    images, linked, todo = [], [], [folder]
    while todo:
        here = todo.pop()
        here.note_unreadable(notes)
        inside = here.path.relative_to(folder.path)
        images += [(inside / name).as_posix() for name in here.images()]
        linked += [(inside / name).as_posix() for name in here.linked]
        todo += [read_folder(here.path / name) for name in here.folders]
    if linked:
        notes.append(f"{count_of(len(linked), 'linked folder')} not followed: {some(sorted(linked))}")
    return sorted(images, key=natural_key)


def describe_tiff(source: Source, options: Options) -> Acquisition:
    """Describe a folder of TIFF files, or one file, as a plate.

    The files are taken to be alike: one is opened (more only if it is damaged) for axes, size, channel names and
    pixel size. A file that differs is found when its plane is read.

    Parameters
    ----------
    source : Source
        The folder, or the one file.
    options : Options
        The pattern, searched in each relative path, with the named groups ``well`` or ``row`` and ``column``, and any
        of ``field``, ``channel``, ``z``, ``time``; not needed for a single image. Channel labels in the order of the
        files' channel axis, or of the channel group's texts.

    Returns
    -------
    Acquisition
        Z planes and time points are counted from 1 in the order of the files' axis or of the group's texts.

    Raises
    ------
    PlateError
        If there is no image, the pattern is lacking, not usable or matches nothing, no image is readable, the files'
        axes are not understood, or channel names do not fit.
    """
    told: list[str] = []
    images = _images(source, options, told)
    folder = source.folder.path
    expression = compile_pattern(options.pattern)
    groups = set(expression.groupindex)
    placed = _place(folder, images, expression, told)
    image = _first_readable(placed)
    layout = _layout(image, placed, groups=groups, channel_names=options.channel_names, notes=told)
    wells = _wells(placed, layout, told)
    if image.further_images:
        told.append(f"{count_of(image.further_images, 'further image')} in a file passed over: only the first is read")
    n_rows, n_columns = plate_format(wells)
    return Acquisition(
        name=clean_label(re.sub(r"(\.ome)?\.tiff?$", "", source.path.name, flags=re.IGNORECASE)),
        format=TIFF.name,
        channels=tuple(layout.labels),
        wells=wells,
        n_rows=n_rows,
        n_columns=n_columns,
        pixel_size_um=image.pixel_size_um,
        shape=image.shape,
        notes=tuple(told),
    )


TIFF: Final = Reader(
    name="tiff",
    title="TIFF files by pattern",
    needs="(OME-)TIFF files with a pattern that finds the well in their names, or one image",
    recognise=recognise_tiff,
    describe=describe_tiff,
    is_fallback=True,
)


def _images(source: Source, options: Options, notes: list[str]) -> list[str]:
    if source.file is not None:
        if not is_image(source.file):
            raise PlateError(f"{source.path}: expected a folder or a TIFF file; give that, or save it as OME-TIFF")
        return [source.file]
    images = list_images(source.folder, notes)
    if not images:
        raise PlateError(f"{source.path}: no TIFF file in it or its subfolders; give the folder that holds the images")
    if options.pattern is None and len(images) > 1:
        raise PlateError(
            f"{source.path}: {count_of(len(images), 'TIFF file')} (such as {printable(images[0])}) without the metadata"
            f" of a plate; set pattern in plates.tsv to what finds the well in a name, such as '{EXAMPLE_PATTERN}'"
        )
    return images


def _place(folder: Path, images: Sequence[str], expression: re.Pattern[str], notes: list[str]) -> list[_Image]:
    placed, sorting = [], _Sorting()
    for where in images:
        match = expression.search(where) if len(where) <= MAX_NAME else None
        if match is None:
            sorting.unmatched.append(printable(where))
            continue
        texts = {name: text or "" for name, text in match.groupdict().items()}
        well = well_of(texts)
        if well is None:
            sorting.impossible.append(printable(where))
            continue
        rest = {name: clean_label(texts.get(name, "")) or _ALONE for name in ("field", "channel", "z", "time")}
        placed.append(_Image(path=folder / where, where=printable(where), well=well, **rest))
    _note_sorting(sorting, expression, placed, notes)
    return placed


def _note_sorting(sorting: _Sorting, expression: re.Pattern[str], placed: Sequence[_Image], notes: list[str]) -> None:
    lost = []
    if sorting.unmatched:
        example = f"{'such as ' if len(sorting.unmatched) > 1 else ''}{sorting.unmatched[0]}"
        lost.append(f"{count_of(len(sorting.unmatched), 'image')} not matched by the pattern passed over: {example}")
    if sorting.impossible:
        lost.append(
            f"{count_of(len(sorting.impossible), 'image')} passed over whose well is none from A01 to AF48:"
            f" {sorting.impossible[0]}"
        )
    if not placed:
        raise PlateError(f"pattern {expression.pattern!r} places no image ({'; '.join(lost)}); correct the pattern")
    notes += lost
    if not {"well", "row"} & set(expression.groupindex):
        notes.append("nothing names a well: all images are taken as well A01")


def _first_readable(placed: Sequence[_Image]) -> ImageFile:
    first: FieldError | None = None
    for image in placed:
        try:
            return inspect_image(image.path)
        except FieldError as error:
            first = first or error
    raise PlateError(f"none of the images can be read; the first: {first}") from first


def _layout(
    image: ImageFile,
    placed: Sequence[_Image],
    *,
    groups: set[str],
    channel_names: Sequence[str] | None,
    notes: list[str],
) -> _Layout:
    lengths = dict(zip(image.axes, image.lengths, strict=True))
    for axis, length in lengths.items():
        _check_not_twice(axis, length, groups)
        if axis not in "TZC" and not _is_named_axis(image, length, channel_names):
            raise PlateError(
                f"the files hold {length} planes along an axis that their metadata do not name ({axis});"
                f" if they are channels, give {length} channel names, else save the files as OME-TIFF"
            )
    z_texts, time_texts = _texts(file.z for file in placed), _texts(file.time for file in placed)
    for what, texts in (("Z planes", z_texts), ("time points", time_texts)):
        if len(texts) > 1 and [text.lstrip("0") for text in texts] != [str(n + 1) for n in range(len(texts))]:
            notes.append(f"{what} are counted from 1 in the order of their names: {some(texts)}")
    return _Layout(
        labels=_labels(image, placed, groups=groups, channel_names=channel_names, notes=notes),
        axes=image.axes,
        n_z=lengths.get("Z", 1),
        n_times=lengths.get("T", 1),
        z_texts=z_texts,
        time_texts=time_texts,
    )


def _check_not_twice(axis: str, length: int, groups: set[str]) -> None:
    group = {"C": "channel", "Z": "z", "T": "time"}.get(axis)
    if group in groups:
        raise PlateError(
            f"the pattern has a group {group}, but each file holds {length} planes along {axis}; drop the group"
        )


def _is_named_axis(image: ImageFile, length: int, channel_names: Sequence[str] | None) -> bool:
    return "C" not in image.axes and len(image.axes) == 1 and channel_names is not None and len(channel_names) == length


def _labels(
    image: ImageFile,
    placed: Sequence[_Image],
    *,
    groups: set[str],
    channel_names: Sequence[str] | None,
    notes: list[str],
) -> dict[str, tuple[str, int | None]]:
    if "channel" in groups:
        texts = _texts(file.channel for file in placed)
        names = _given_names(channel_names, len(texts)) or texts
        if names != texts:
            pairs = [f"{text!r} is {name!r}" for text, name in zip(texts, names, strict=True)]
            notes.append(f"channels: {some(pairs, most=len(pairs))}")
        return {name: (text, None) for name, text in zip(names, texts, strict=True)}
    axis = next((position for position, axis in enumerate(image.axes) if axis not in "TZ"), None)
    count = 1 if axis is None else image.lengths[axis]
    names = _given_names(channel_names, count) or _file_names(image, count, notes)
    return {name: (_ALONE, None if axis is None else number) for number, name in enumerate(names)}


def _given_names(channel_names: Sequence[str] | None, count: int) -> list[str]:
    if channel_names is None:
        return []
    names = [clean_label(name) for name in channel_names]
    if len(names) != count or not all(names) or len(set(names)) != len(names):
        raise PlateError(
            f"channel names {'; '.join(names)!r} do not fit: expected {count_of(count, 'name')}, each different,"
            " separated by ';'"
        )
    return names


def _file_names(image: ImageFile, count: int, notes: list[str]) -> list[str]:
    if len(image.channel_names) == count:
        return unique_labels(image.channel_names, notes)
    names = [f"channel_{number}" for number in range(1, count + 1)]
    notes.append(f"{count_of(count, 'channel')} without a name in the files: called {', '.join(names)}")
    return names


def _wells(placed: Sequence[_Image], layout: _Layout, notes: list[str]) -> dict[str, tuple[Position, ...]]:
    by_place: dict[tuple[str, str], list[_Image]] = defaultdict(list)
    fields_of: dict[str, set[str]] = defaultdict(set)
    for image in placed:
        by_place[image.well, image.field].append(image)
        fields_of[image.well].add(image.field)
    most = max(len(names) for names in fields_of.values())
    wells = sorted(fields_of, key=well_order)
    if fewer := [f"{well} ({len(fields_of[well])})" for well in wells if len(fields_of[well]) < most]:
        notes.append(f"wells with fewer than {count_of(most, 'field')}: {some(fewer)}")
    return {
        well: tuple(_position(by_place[well, name], layout, well, name) for name in _texts(fields_of[well]))
        for well in wells
    }


def _position(images: Sequence[_Image], layout: _Layout, well: str, name: str) -> Position:
    planes: dict[str, dict[tuple[int, int], Plane]] = {}
    faults: dict[tuple[str, int, int], str] = {}
    same: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for image in images:
        same[image.channel, image.time, image.z].append(image.where)
    for label, (text, channel) in layout.labels.items():
        own: dict[tuple[int, int], Plane] = {}
        for image in images:
            if image.channel != text:
                continue
            wheres = same[text, image.time, image.z]
            for at, plane in layout.planes(image, channel):
                own.setdefault(at, plane)
                if len(wheres) > 1:
                    faults[label, *at] = (
                        f"well {well} field {name}: {len(wheres)} images of one channel: {' and '.join(wheres)};"
                        " keep one, or let the pattern tell them apart"
                    )
        if own:
            planes[label] = own
    return Position(name=name, planes=planes, faults=faults)


def _texts(texts: Iterable[str]) -> list[str]:
    return sorted(set(texts), key=natural_key)
