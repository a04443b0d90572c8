"""Any TIFF files: well, field, channel, Z plane and time point from their names, the rest from their metadata."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.raw.description import Field, Plane, RawPlate
from lysoquant.io.raw.names import (
    Folder,
    clean_label,
    count_of,
    natural_key,
    normal_row,
    normal_well,
    plate_format,
    printable,
    read_folder,
    some,
    unique_labels,
)
from lysoquant.io.raw.pixels import ImageFile, inspect_image
from lysoquant.vocabulary import well_order

EXAMPLE_PATTERN: Final = r"(?P<well>[A-P]\d{2})_f(?P<field>\d+)_(?P<channel>[^_.]+)\.tif"
"""A pattern to show in messages: ``B03_f1_DAPI.tif``."""

_GROUPS: Final = ("well", "row", "column", "field", "channel", "z", "time")
_MAX_PATTERN: Final = 500
_MAX_NAME: Final = 400

_REPEATED_REPEAT: Final = re.compile(r"[^\\][*+}][^()\[\]]*\)(?:[*+]|\{\d*,\d*\})")
"""``(a+)*`` and its like: on a name that almost matches they take time that doubles with every letter."""

_ALONE: Final = "1"
"""Name of the one field or channel where the pattern has no group for it."""

_Z = int | Literal["projection"]


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
class _Channels:
    """How the channels of a field are found: by name group, or by index along an axis of each file.

    Attributes
    ----------
    labels : mapping of str to tuple
        For each label the text of the pattern's channel group and the index of the plane in the file.
    """

    labels: Mapping[str, tuple[str, tuple[int, ...] | None]]


@dataclass
class _Sorting:
    """Files that the pattern could not place."""

    unmatched: list[str] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)


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


def describe_tiff(
    source: Path,
    images: Sequence[str],
    *,
    pattern: str | None,
    channel_names: Sequence[str] | None,
    z: _Z,
    timepoint: int,
    notes: Sequence[str] = (),
) -> RawPlate:
    """Describe a folder of TIFF files, or one file, as a plate.

    The files are taken to be alike: one is opened (more only if it is damaged) for axes, size, channel names and
    pixel size. A file that differs is found when its plane is read.

    Parameters
    ----------
    source : pathlib.Path
        The folder, or the one file.
    images : sequence of str
        Paths of the images relative to the folder.
    pattern : str or None
        Regular expression, searched in each relative path, with the named groups ``well`` or ``row`` and
        ``column``, and any of ``field``, ``channel``, ``z``, ``time``. None for a single image.
    channel_names : sequence of str or None
        Channel labels in the order of the files' channel axis, or of the channel group's texts.
    z, timepoint : int or "projection", int
        Plane and time point, counted from 1 in the order of the file's axis or of the group's texts.
    notes : sequence of str
        What was noted before.

    Returns
    -------
    RawPlate

    Raises
    ------
    PlateError
        If the pattern is not usable or matches nothing, no image is readable, the files' axes are not understood,
        or plane, time point or channel names do not fit.
    """
    told = list(notes)
    folder = source if source.is_dir() else source.parent
    expression = _compiled(pattern)
    groups = set(expression.groupindex)
    placed = _place(folder, images, expression, told)
    placed = _at_time(placed, timepoint, told)
    placed = _at_z(placed, z, told)
    image = _first_readable(placed)
    index, axis = _fixed_index(image, groups=groups, z=z, timepoint=timepoint, channel_names=channel_names, notes=told)
    texts = _texts(file.channel for file in placed) if "channel" in groups else None
    channels = _channels(image, texts=texts, index=index, axis=axis, channel_names=channel_names, notes=told)
    wells = _wells(placed, channels, told)
    if image.further_images:
        told.append(f"{count_of(image.further_images, 'further image')} in a file passed over: only the first is read")
    n_rows, n_columns = plate_format(wells)
    return RawPlate(
        name=clean_label(re.sub(r"(\.ome)?\.tiff?$", "", source.name, flags=re.IGNORECASE)),
        format="tiff",
        channels=tuple(channels.labels),
        wells=wells,
        n_rows=n_rows,
        n_columns=n_columns,
        pixel_size_um=image.pixel_size_um,
        shape=image.shape,
        notes=tuple(told),
    )


def _compiled(pattern: str | None) -> re.Pattern[str]:
    if pattern is None:
        return re.compile("")
    if len(pattern) > _MAX_PATTERN:
        raise PlateError(f"the pattern has {len(pattern)} characters; expected at most {_MAX_PATTERN}: shorten it")
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise PlateError(
            f"pattern {pattern!r} is not a regular expression ({error}); give one such as {EXAMPLE_PATTERN}"
        ) from error
    if _REPEATED_REPEAT.search(pattern):
        raise PlateError(
            f"pattern {pattern!r} repeats a group that itself repeats, which can take forever on a long name;"
            " write .* instead of the outer group"
        )
    _check_groups(pattern, set(expression.groupindex))
    return expression


def _check_groups(pattern: str, groups: set[str]) -> None:
    unknown = sorted(groups - set(_GROUPS))
    if unknown or not groups:
        found = f"has the unknown group {unknown[0]!r}" if unknown else "has no named group"
        raise PlateError(f"pattern {pattern!r} {found}; expected (?P<name>...) with names {', '.join(_GROUPS)}")
    if ("row" in groups) != ("column" in groups) or {"well", "row"} <= groups:
        raise PlateError(f"pattern {pattern!r} must have either the group well, or both row and column")


def _place(folder: Path, images: Sequence[str], expression: re.Pattern[str], notes: list[str]) -> list[_Image]:
    placed, sorting = [], _Sorting()
    for where in images:
        match = expression.search(where) if len(where) <= _MAX_NAME else None
        if match is None:
            sorting.unmatched.append(printable(where))
            continue
        texts = {name: text or "" for name, text in match.groupdict().items()}
        well = _well(texts)
        if well is None:
            sorting.impossible.append(printable(where))
            continue
        rest = {name: clean_label(texts.get(name, "")) or _ALONE for name in ("field", "channel", "z", "time")}
        placed.append(_Image(path=folder / where, where=printable(where), well=well, **rest))
    _note_sorting(sorting, expression, placed, notes)
    return placed


def _well(texts: Mapping[str, str]) -> str | None:
    if "well" in texts:
        return normal_well(texts["well"])
    if "row" in texts:
        row = normal_row(texts["row"])
        return normal_well(f"{row}{texts['column']}") if row else None
    return "A01"


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


def _at_time(placed: Sequence[_Image], timepoint: int, notes: list[str]) -> list[_Image]:
    times = _texts(image.time for image in placed)
    if len(times) == 1:
        return list(placed)
    if not 1 <= timepoint <= len(times):
        raise PlateError(f"time point {timepoint} of {len(times)}; set `convert.timepoint` to 1 to {len(times)}")
    notes.append(f"{len(times)} time points: only {times[timepoint - 1]!r} is read (`convert.timepoint`)")
    return [image for image in placed if image.time == times[timepoint - 1]]


def _at_z(placed: Sequence[_Image], z: _Z, notes: list[str]) -> list[_Image]:
    planes = _texts(image.z for image in placed)
    if len(planes) == 1:
        return list(placed)
    number = _plane_number(z, len(planes))
    notes.append(f"{len(planes)} Z planes: only {planes[number]!r} is read (`convert.z`)")
    return [image for image in placed if image.z == planes[number]]


def _plane_number(z: _Z, count: int) -> int:
    """Index of the Z plane, counted from 0."""
    if z == "projection":
        raise PlateError(
            f"the files hold {count} Z planes and no projection by the instrument;"
            f" set `convert.z` to a plane number from 1 to {count}"
        )
    if not 1 <= z <= count:
        raise PlateError(f"Z plane {z} of {count}; set `convert.z` to a plane number from 1 to {count}")
    return z - 1


def _first_readable(placed: Sequence[_Image]) -> ImageFile:
    first: FieldError | None = None
    for image in placed:
        try:
            return inspect_image(image.path)
        except FieldError as error:
            first = first or error
    raise PlateError(f"none of the images can be read; the first: {first}") from first


def _fixed_index(
    image: ImageFile,
    *,
    groups: set[str],
    z: _Z,
    timepoint: int,
    channel_names: Sequence[str] | None,
    notes: list[str],
) -> tuple[list[int], int | None]:
    """Index of the plane along the axes before Y and X, and which of them is the channel axis."""
    index, channel_axis = [0] * len(image.axes), None
    _check_single("z", "Z plane", 1 if z == "projection" else z, several="z" in groups or "Z" in image.axes)
    _check_single("timepoint", "time point", timepoint, several="time" in groups or "T" in image.axes)
    for position, (axis, length) in enumerate(zip(image.axes, image.lengths, strict=True)):
        _check_not_twice(axis, length, groups)
        if axis == "Z":
            index[position] = _plane_number(z, length)
            notes.append(f"each file holds {length} Z planes: only plane {z} is read (`convert.z`)")
        elif axis == "T":
            if not 1 <= timepoint <= length:
                raise PlateError(f"time point {timepoint} of {length}; set `convert.timepoint` to 1 to {length}")
            index[position] = timepoint - 1
            notes.append(f"each file holds {length} time points: only {timepoint} is read (`convert.timepoint`)")
        elif axis == "C" or _is_named_axis(image, length, channel_names):
            channel_axis = position
        else:
            raise PlateError(
                f"the files hold {length} planes along an axis that their metadata do not name ({axis});"
                f" if they are channels, give {length} channel names, else save the files as OME-TIFF"
            )
    return index, channel_axis


def _check_single(setting: str, what: str, number: int, *, several: bool) -> None:
    if number != 1 and not several:
        raise PlateError(f"{what} {number} of 1; set `convert.{setting}` to 1")


def _check_not_twice(axis: str, length: int, groups: set[str]) -> None:
    group = {"C": "channel", "Z": "z", "T": "time"}.get(axis)
    if group in groups:
        raise PlateError(
            f"the pattern has a group {group}, but each file holds {length} planes along {axis}; drop the group"
        )


def _is_named_axis(image: ImageFile, length: int, channel_names: Sequence[str] | None) -> bool:
    return "C" not in image.axes and len(image.axes) == 1 and channel_names is not None and len(channel_names) == length


def _channels(
    image: ImageFile,
    *,
    texts: list[str] | None,
    index: Sequence[int],
    axis: int | None,
    channel_names: Sequence[str] | None,
    notes: list[str],
) -> _Channels:
    if texts is not None:
        names = _given_names(channel_names, len(texts)) or texts
        if names != texts:
            pairs = [f"{text!r} is {name!r}" for text, name in zip(texts, names, strict=True)]
            notes.append(f"channels: {some(pairs, most=len(pairs))}")
        place = tuple(index) or None
        return _Channels({name: (text, place) for name, text in zip(names, texts, strict=True)})
    count = 1 if axis is None else image.lengths[axis]
    names = _given_names(channel_names, count) or _file_names(image, count, notes)
    places = [tuple(c if position == axis else i for position, i in enumerate(index)) or None for c in range(count)]
    return _Channels({name: (_ALONE, place) for name, place in zip(names, places, strict=True)})


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


def _wells(placed: Sequence[_Image], channels: _Channels, notes: list[str]) -> dict[str, tuple[Field, ...]]:
    by_place: dict[tuple[str, str, str], list[_Image]] = defaultdict(list)
    fields_of: dict[str, set[str]] = defaultdict(set)
    for image in placed:
        by_place[image.well, image.field, image.channel].append(image)
        fields_of[image.well].add(image.field)
    most = max(len(names) for names in fields_of.values())
    wells = sorted(fields_of, key=well_order)
    if fewer := [f"{well} ({len(fields_of[well])})" for well in wells if len(fields_of[well]) < most]:
        notes.append(f"wells with fewer than {count_of(most, 'field')}: {some(fewer)}")
    return {well: tuple(_field(by_place, channels, well, name) for name in _texts(fields_of[well])) for well in wells}


def _field(by_place: Mapping[tuple[str, str, str], list[_Image]], channels: _Channels, well: str, name: str) -> Field:
    planes: dict[str, Plane] = {}
    problems: list[str] = []
    for label, (text, index) in channels.labels.items():
        images = by_place.get((well, name, text), [])
        if not images:
            problems.append(f"well {well} field {name}: no image of channel {label!r}; export the well again")
            continue
        planes[label] = Plane(images[0].path, index)
        if len(images) > 1:
            problem = (
                f"well {well} field {name}: {len(images)} images of one channel:"
                f" {' and '.join(image.where for image in images)}; keep one, or let the pattern tell them apart"
            )
            problems += [problem] if problem not in problems else []
    return Field(name=name, planes=planes, problems=tuple(problems))


def _texts(texts: Iterable[str]) -> list[str]:
    return sorted(set(texts), key=natural_key)
