"""MetaXpress plates of an ImageXpress: TimePoint and ZStep folders, one TIFF a plane, with an .HTD file or without.

The .HTD file of an export says what was asked for, the names of the files what was done; where they differ, both are
kept: what is missing becomes a field's problem, what is more than declared becomes a note. The folders of the
MetaXpress database have no .HTD file, a GUID behind each name and thumbnails: there the names are all that is known.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.raw.description import INSTRUMENT_PROJECTION, Acquisition, Plane, Position
from lysoquant.io.raw.htd import Htd, read_htd
from lysoquant.io.raw.names import (
    Folder,
    clean_label,
    count_of,
    natural_key,
    normal_well,
    plate_format,
    printable,
    read_folder,
    some,
    unique_labels,
)
from lysoquant.io.raw.pixels import ImageFile, inspect_image, read_plane, wavelength_name
from lysoquant.io.raw.reader import Options, Reader, Source
from lysoquant.vocabulary import well_order

_GUID: Final = r"[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}"
_IMAGE: Final = re.compile(
    rf"(?:(?P<plate>.*?)_)??(?P<well>[A-Z]{{1,2}}[0-9]{{1,3}})(?:_s(?P<site>[0-9]{{1,5}}))?(?:_w(?P<wave>[0-9]{{1,3}}))?"
    rf"(?:_?(?P<guid>{_GUID}))?\.tiff?",
    re.IGNORECASE,
)
# The leftmost well that fits wins: in `9987_B02_w1` the wave must not be read as well W01 of a 1536-well plate.
_TIME: Final = re.compile(r"TimePoint_([0-9]{1,6})", re.IGNORECASE)
_STEP: Final = re.compile(r"ZStep_([0-9]{1,6})", re.IGNORECASE)
_SINGLE: Final = 1
"""Number of a plane or time point that is the only one."""

_LOOKED_AT: Final = 3
"""Positions that are looked at for copies before a channel whose images are all of one value counts as a stack."""

_Key = tuple[str, int, int]
"""Well, site, wave."""


@dataclass(frozen=True)
class _Image:
    """A file of the plate; `step` is None outside a ZStep folder, `where` is its path within the plate."""

    path: Path
    where: str
    plate: str
    key: _Key
    time: int
    step: int | None
    form: tuple[bool, bool]
    """Whether its name tells a site, and a wave."""


@dataclass
class _Found:
    """What the folders of a plate hold."""

    images: list[_Image] = field(default_factory=list)
    thumbnails: int = 0
    strangers: list[str] = field(default_factory=list)
    steps: set[int] = field(default_factory=set)


_Stacks = dict[_Key, dict[tuple[int, int], list[_Image]]]
"""Images of a channel of a field by time point and Z plane; more than one is a duplicate."""


def recognise_imagexpress(source: Source) -> str | None:
    """By what a MetaXpress plate is known: an .HTD file, or names that end in a GUID."""
    if source.file is not None:
        return source.file if source.file.lower().endswith(".htd") else None
    htd = _htd_names(source.folder)
    if htd:
        return f"{printable(htd[0])}, which MetaXpress writes with a plate"
    for folder in _image_folders(source.folder):
        for name in folder.images():
            if (match := _IMAGE.fullmatch(name)) and match["guid"] and normal_well(match["well"]):
                return f"{printable(name)}, a name of the MetaXpress database"
    return None


def describe_imagexpress(source: Source, options: Options) -> Acquisition:
    """Describe a MetaXpress plate from its .HTD file, if it has one, and the names of its files.

    Each folder is read once. Images are opened for the size of the images and of a pixel (one, or more if it is
    damaged), for the channels' names where there is no .HTD file (one a wave), and, of each wave with several Z planes,
    at one position: MetaXpress copies the only plane of a wave into the ZStep folders of the others.

    Parameters
    ----------
    source : Source
        The plate's folder, its .HTD file, or one of its TimePoint or ZStep folders.
    options : Options
        Not used.

    Returns
    -------
    Acquisition
        ``ZStep_0``, and an image beside the ZStep folders of its wave, are the instrument's projection.

    Raises
    ------
    PlateError
        If there is no usable .HTD file and no name that tells a well, no image, or no readable image.
    """
    if source.file is not None and not source.file.lower().endswith(".htd"):
        raise PlateError(f"{source.path}: expected the folder of a MetaXpress plate or its .HTD file; give that")
    folder = source.folder
    notes: list[str] = []
    htd_path = _htd_path(folder)
    times = _time_folders(folder)
    found = _find_images(folder, times, notes)
    if not found.images:
        named = read_htd(htd_path).name if htd_path else "P1"
        raise PlateError(
            f"{folder.path}: {f'{htd_path.name} is there, but ' if htd_path else ''}no image named like"
            f" {named}_B02_s1_w1.TIF; give the folder that holds the TimePoint folders or the images, or export the"
            " plate again"
        )
    declared = read_htd(htd_path) if htd_path else None
    _part_helpers(found, declared, notes)
    htd = declared or _from_names(folder, found, notes)
    _note_oddities(found, htd, notes)
    if len(times) != htd.time_points:
        notes.append(f"{htd.file} declares {count_of(htd.time_points, 'time point')}, {len(times)} are on disk")
    labels = _channel_labels(found.images, htd, notes)
    stacks = _stacks(found, htd, notes)
    _merge_copies(stacks, labels, notes)
    wells = _wells(stacks, htd, labels, notes)
    image = _first_readable(stacks)
    n_rows, n_columns = plate_format(wells, declared=(htd.n_rows, htd.n_columns) if htd_path else None)
    return Acquisition(
        name=clean_label(htd.name),
        format=IMAGEXPRESS.name,
        channels=tuple(labels.values()),
        wells=wells,
        n_rows=n_rows,
        n_columns=n_columns,
        pixel_size_um=image.pixel_size_um,
        shape=image.shape,
        notes=tuple(notes),
        declares_size=htd_path is not None,
    )


IMAGEXPRESS: Final = Reader(
    name="imagexpress",
    title="MetaXpress plate (ImageXpress)",
    needs="the folder with the .HTD file, or the folder of the MetaXpress database that holds its images",
    recognise=recognise_imagexpress,
    describe=describe_imagexpress,
)


def _htd_names(folder: Folder) -> list[str]:
    return folder.with_suffix(".htd")


def _htd_path(folder: Folder) -> Path | None:
    names = _htd_names(folder)
    if len(names) > 1:
        raise PlateError(f"{folder.path}: {len(names)} .HTD files ({some(names)}); expected one plate: part them")
    return folder.path / names[0] if names else None


def _time_folders(folder: Folder) -> list[tuple[int, Folder]]:
    """Folders with their time point; the plate's own folder, which has one, where there are no TimePoint folders."""
    numbered = [(int(match[1]), name) for name in folder.folders + folder.linked if (match := _TIME.fullmatch(name))]
    return [(number, read_folder(folder.path / name)) for number, name in numbered] or [(_SINGLE, folder)]


def _step_folders(folder: Folder) -> list[tuple[int, Folder]]:
    numbered = [(int(match[1]), name) for name in folder.folders + folder.linked if (match := _STEP.fullmatch(name))]
    return [(number, read_folder(folder.path / name)) for number, name in numbered]


def _image_folders(folder: Folder) -> Iterator[Folder]:
    """All folders of a plate that may hold images."""
    for _, time_folder in _time_folders(folder):
        yield time_folder
        yield from (step_folder for _, step_folder in _step_folders(time_folder))


def _find_images(root: Folder, time_folders: Sequence[tuple[int, Folder]], notes: list[str]) -> _Found:
    found = _Found()
    for time, folder in time_folders:
        own = _STEP.fullmatch(folder.path.name)
        _sort_files(root, folder, time, int(own[1]) if own else None, found, notes)
        for step, step_folder in _step_folders(folder):
            _sort_files(root, step_folder, time, step, found, notes)
    return found


def _sort_files(root: Folder, folder: Folder, time: int, step: int | None, found: _Found, notes: list[str]) -> None:
    folder.note_unreadable(notes)
    inside = folder.path.relative_to(root.path)
    if step is not None:
        found.steps.add(step)
    for name in folder.images():
        where = printable((inside / name).as_posix())
        if "_thumb" in name.lower():
            found.thumbnails += 1
            continue
        match = _IMAGE.fullmatch(name)
        well = normal_well(match["well"]) if match else None
        if match is None or well is None:
            found.strangers.append(where)
            continue
        key = (well, int(match["site"] or 1), int(match["wave"] or 1))
        form = (match["site"] is not None, match["wave"] is not None)
        found.images.append(_Image(folder.path / name, where, printable(match["plate"] or ""), key, time, step, form))


def _part_helpers(found: _Found, htd: Htd | None, notes: list[str]) -> None:
    """Pass over images that people laid beside the plate's, and whose names merely end like a well.

    MetaXpress names all images of a plate alike. So ``control_A1.tif`` is none of ``9987_B02_s1_w1.TIF``'s plate: its
    name tells no site and wave, or begins otherwise and is of a well that neither the .HTD file nor the other images
    know.
    """
    (form, _), *_ = Counter(image.form for image in found.images).most_common(1)
    alike = [image for image in found.images if image.form == form]
    (prefix, _), *_ = Counter(image.plate for image in alike).most_common(1)
    own = {prefix, htd.name} if htd else {prefix}
    known = {image.key[0] for image in alike if image.plate in own}.union(htd.wells if htd else ())
    kept = [image for image in alike if image.plate in own or image.key[0] in known]
    paths = {image.path for image in kept}
    helpers = [image.where for image in found.images if image.path not in paths]
    if helpers:
        example = next(image.where for image in kept if image.plate in own)
        notes.append(
            f"{count_of(len(helpers), 'image')} passed over, not named like the others ({example}): {some(helpers)}"
        )
    found.images = kept


def _note_oddities(found: _Found, htd: Htd, notes: list[str]) -> None:
    if found.thumbnails:
        notes.append(f"{count_of(found.thumbnails, 'thumbnail')} passed over")
    if found.strangers:
        notes.append(
            f"{count_of(len(found.strangers), 'image')} passed over whose name is not <plate>_<well>_s<site>_w<wave>:"
            f" {some(found.strangers, most=1)}"
        )
    others = sorted({image.plate for image in found.images} - {htd.name, ""}, key=natural_key)
    if others:
        notes.append(f"file names begin with {some([*map(repr, others)])}, the .HTD file's with {htd.name!r}")


def _channel_labels(images: Sequence[_Image], htd: Htd, notes: list[str]) -> dict[int, str]:
    """Channel label by wave, of the waves that have an image."""
    present = {image.key[2] for image in images}
    for wave, name in htd.waves.items():
        if wave not in present:
            notes.append(f"wave {wave} {name!r} is declared in {htd.file} but has no image: left out of the channels")
    for wave in sorted(present - set(htd.waves)):
        notes.append(f"wave {wave} has images but is not declared in {htd.file}: its channel is called 'w{wave}'")
    waves = sorted(present)
    return dict(zip(waves, unique_labels([htd.waves.get(wave) or f"w{wave}" for wave in waves], notes), strict=True))


def _from_names(folder: Folder, found: _Found, notes: list[str]) -> Htd:
    """What an .HTD file would declare, from the files alone."""
    plates = Counter(image.plate for image in found.images if image.plate)
    waves = {wave: _wave_name(found.images, wave) for wave in sorted({image.key[2] for image in found.images})}
    wells = tuple(sorted({image.key[0] for image in found.images}, key=well_order))
    notes.append("no .HTD file: wells, fields and channels are those that the files' names and metadata tell")
    return Htd(
        name=plates.most_common(1)[0][0] if plates else printable(folder.path.name),
        file="",
        n_rows=1,
        n_columns=1,
        wells=wells,
        grid_sites=tuple(sorted({image.key[1] for image in found.images})),
        waves={wave: name or "" for wave, name in waves.items()},
        z_steps=0,
        time_points=len({image.time for image in found.images}),
    )


def _wave_name(images: Sequence[_Image], wave: int) -> str | None:
    """Name of a wave in the metadata of its first image that can be read."""
    for image in images:
        if image.key[2] == wave:
            try:
                return wavelength_name(image.path)
            except FieldError:
                continue
    return None


def _stacks(found: _Found, htd: Htd, notes: list[str]) -> _Stacks:
    """Images by channel of a field, then by time point and Z plane.

    An image outside the ZStep folders of its wave is a single plane, or the projection that a database keeps there.
    """
    in_steps = {image.key[2] for image in found.images if image.step is not None}
    stacks: _Stacks = defaultdict(lambda: defaultdict(list))
    beside: set[int] = set()
    for image in found.images:
        outside = INSTRUMENT_PROJECTION if image.key[2] in in_steps else _SINGLE
        if image.step is None and outside == INSTRUMENT_PROJECTION:
            beside.add(image.key[2])
        stacks[image.key][image.time, outside if image.step is None else image.step].append(image)
    if INSTRUMENT_PROJECTION in found.steps:
        notes.append("ZStep_0 holds the instrument's projections")
    if beside:
        waves = _numbers(beside)
        notes.append(f"images beside the ZStep folders are taken as the instrument's projection: wave {waves}")
    on_disk = len(found.steps - {INSTRUMENT_PROJECTION})
    if htd.z_steps and on_disk != htd.z_steps:
        notes.append(f"{htd.file} declares {count_of(htd.z_steps, 'Z step')}, {on_disk} are on disk")
    return stacks


def _merge_copies(stacks: _Stacks, labels: Mapping[int, str], notes: list[str]) -> None:
    """Make one plane of a wave whose planes are copies of one image."""
    for wave, label in labels.items():
        if not _are_copies([planes for key, planes in stacks.items() if key[2] == wave]):
            continue
        for key, planes in stacks.items():
            if key[2] == wave:
                first = {time: min(number for at, number in planes if at == time) for time, _ in planes}
                stacks[key] = {(time, number): planes[time, number] for time, number in first.items()}
        notes.append(f"wave {wave} {label!r}: the same image lies in every ZStep folder; it counts as one plane")


def _are_copies(channel: Sequence[Mapping[tuple[int, int], list[_Image]]]) -> bool:
    """Whether the planes of a wave are equal at the first position where they are not of one value."""
    looked_at = 0
    for planes in channel:
        time = min(planes)[0]
        stack = [planes[time, number][0] for at, number in sorted(planes) if at == time]
        if len(stack) < 2 or looked_at == _LOOKED_AT:
            continue
        looked_at += 1
        try:
            first = read_plane(Plane(stack[0].path))
            if any(not np.array_equal(first, read_plane(Plane(image.path))) for image in stack[1:]):
                return False
        except FieldError:
            continue
        if first.min() != first.max():
            return True
    return False


def _wells(stacks: _Stacks, htd: Htd, labels: Mapping[int, str], notes: list[str]) -> dict[str, tuple[Position, ...]]:
    on_disk = {well for well, _, _ in stacks}
    if undeclared := sorted(on_disk - set(htd.wells), key=well_order):
        notes.append(f"wells with images that are not selected in {htd.file} are kept: {some(undeclared)}")
    if absent := [well for well in htd.wells if well not in on_disk]:
        notes.append(f"selected wells without any image: {some(absent)}")
    sites = _sites({site for _, site, _ in stacks}, htd, notes)
    return {
        well: tuple(_position(stacks, labels, well, site) for site in sites)
        for well in sorted(on_disk | set(htd.wells), key=well_order)
    }


def _sites(on_disk: set[int], htd: Htd, notes: list[str]) -> list[int]:
    """Site numbers that every well should have.

    MetaXpress counts acquired sites (1 to n); exports that keep the place in the grid instead are recognised by
    numbers beyond n that are all selected places.
    """
    count = len(htd.grid_sites)
    counted = set(range(1, count + 1))
    if on_disk <= counted:
        return sorted(counted)
    if on_disk <= set(htd.grid_sites):
        notes.append(f"fields are numbered by their place in the grid: {_numbers(htd.grid_sites)}")
        return list(htd.grid_sites)
    if len(on_disk) == count:
        notes.append(f"fields are numbered {_numbers(on_disk)}, not 1 to {count}")
        return sorted(on_disk)
    notes.append(
        f"{htd.file} selects {count_of(count, 'field')}; fields beyond are kept: {_numbers(on_disk - counted)}"
    )
    return sorted(on_disk | counted)


def _numbers(numbers: Iterable[int]) -> str:
    return some([str(number) for number in sorted(numbers)])


def _position(stacks: _Stacks, labels: Mapping[int, str], well: str, site: int) -> Position:
    planes: dict[str, dict[tuple[int, int], Plane]] = {}
    faults: dict[tuple[str, int, int], str] = {}
    for wave, label in labels.items():
        for (time, number), images in stacks.get((well, site, wave), {}).items():
            ordered = sorted(images, key=lambda image: natural_key(image.where))
            planes.setdefault(label, {})[time, number] = Plane(ordered[0].path)
            if len(ordered) > 1:
                faults[label, time, number] = (
                    f"well {well} field s{site}: {len(ordered)} images of channel {label!r}:"
                    f" {' and '.join(image.where for image in ordered)}; keep one"
                )
    return Position(name=f"s{site}", planes=planes, faults=faults)


def _first_readable(stacks: _Stacks) -> ImageFile:
    first: FieldError | None = None
    for key in sorted(stacks, key=lambda key: (*well_order(key[0]), *key[1:])):
        for images in stacks[key].values():
            for image in images:
                try:
                    return inspect_image(image.path)
                except FieldError as error:
                    first = first or error
    raise PlateError(f"none of the plate's images can be read; the first: {first}") from first
