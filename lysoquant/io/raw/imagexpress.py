"""MetaXpress exports of an ImageXpress: an .HTD file, TimePoint and ZStep folders, one TIFF a plane.

The .HTD file says what was asked for, the names of the files what was done; where they differ, both are kept:
what is missing becomes a field's problem, what is more than declared becomes a note.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.raw.description import Field, Plane, RawPlate
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
from lysoquant.io.raw.pixels import ImageFile, inspect_image
from lysoquant.vocabulary import well_order

_GUID: Final = r"[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}"
_IMAGE: Final = re.compile(
    rf"(?:(?P<plate>.*?)_)??(?P<well>[A-Z]{{1,2}}[0-9]{{1,3}})(?:_s(?P<site>[0-9]{{1,5}}))?(?:_w(?P<wave>[0-9]{{1,3}}))?"
    rf"(?:_?{_GUID})?\.tiff?",
    re.IGNORECASE,
)
# The leftmost well that fits wins: in `9987_B02_w1` the wave must not be read as well W01 of a 1536-well plate.
_TIME: Final = re.compile(r"TimePoint_([0-9]{1,6})", re.IGNORECASE)
_STEP: Final = re.compile(r"ZStep_([0-9]{1,6})", re.IGNORECASE)
_PROJECTION_STEP: Final = 0

_Key = tuple[str, int, int]
"""Well, site, wave."""


@dataclass(frozen=True)
class _Image:
    """A file of the export; `step` is None outside a ZStep folder, `where` is its path within the plate."""

    path: Path
    where: str
    plate: str
    key: _Key
    step: int | None


@dataclass
class _Found:
    """What the folders of one time point hold."""

    images: list[_Image] = field(default_factory=list)
    thumbnails: int = 0
    strangers: list[str] = field(default_factory=list)
    steps: set[int] = field(default_factory=set)


def describe_imagexpress(folder: Folder, *, z: int | Literal["projection"], timepoint: int) -> RawPlate:
    """Describe a MetaXpress export from its .HTD file and the names of its files.

    Each folder is read once, and one image is opened (more only if it is damaged) for the size of the images and
    of a pixel. A wave's planes are never stacked: one plane is taken by `z`, and a wave that has a single one
    (projections and single planes of mixed acquisitions) gives that.

    Parameters
    ----------
    folder : Folder
        The plate's folder, or one of its TimePoint or ZStep folders (each holds a copy of the .HTD file).
    z : int or "projection"
        ``ZStep_<z>``, or the instrument's projection (``ZStep_0``).
    timepoint : int
        ``TimePoint_<timepoint>``.

    Returns
    -------
    RawPlate

    Raises
    ------
    PlateError
        If there is no usable .HTD file, no image, no readable image, or not the plane or time point asked for.
    """
    htd = read_htd(_htd_path(folder))
    notes: list[str] = []
    found = _find_images(folder, _time_folders(folder, htd, timepoint, notes), notes)
    if not found.images:
        raise PlateError(
            f"{folder.path}: {htd.file} is there, but no image named like {htd.name}_B02_s1_w1.TIF;"
            " give the folder that holds the TimePoint folders or the images, or export the plate again"
        )
    _note_oddities(found, htd, notes)
    labels = _channel_labels(found.images, htd, notes)
    chosen = _choose_planes(found, labels, z, notes)
    _note_steps(found, htd, z, notes)
    wells = _wells(chosen, htd, labels, notes)
    image = _first_readable(chosen)
    n_rows, n_columns = plate_format(wells, declared=(htd.n_rows, htd.n_columns))
    return RawPlate(
        name=clean_label(htd.name),
        format="imagexpress",
        channels=tuple(labels.values()),
        wells=wells,
        n_rows=n_rows,
        n_columns=n_columns,
        pixel_size_um=image.pixel_size_um,
        shape=image.shape,
        notes=tuple(notes),
    )


def _htd_path(folder: Folder) -> Path:
    names = folder.with_suffix(".htd")
    if not names:
        raise PlateError(f"{folder.path}: no .HTD file; expected a MetaXpress export: give the folder that holds it")
    if len(names) > 1:
        raise PlateError(f"{folder.path}: {len(names)} .HTD files ({some(names)}); expected one plate: part them")
    return folder.path / names[0]


def _time_folders(folder: Folder, htd: Htd, timepoint: int, notes: list[str]) -> list[Folder]:
    """The folders of the chosen time point; the plate's own folder where there are no TimePoint folders."""
    numbered = [(int(match[1]), name) for name in folder.folders + folder.linked if (match := _TIME.fullmatch(name))]
    present = sorted({number for number, _ in numbered})
    if not numbered:
        if timepoint != 1 and not _TIME.fullmatch(folder.path.name):
            raise PlateError(f"{folder.path}: one time point only, not {timepoint}; set `convert.timepoint` to 1")
        return [folder]
    if timepoint not in present:
        raise PlateError(
            f"{folder.path}: no TimePoint_{timepoint}; set `convert.timepoint` to one of {_numbers(present)}"
        )
    if len(present) > 1:
        notes.append(f"{len(present)} time points: only TimePoint_{timepoint} is read (`convert.timepoint`)")
    if len(present) != htd.time_points:
        notes.append(f"{htd.file} declares {count_of(htd.time_points, 'time point')}, {len(present)} are on disk")
    return [read_folder(folder.path / name) for number, name in numbered if number == timepoint]


def _find_images(root: Folder, time_folders: Sequence[Folder], notes: list[str]) -> _Found:
    found = _Found()
    for folder in time_folders:
        own = _STEP.fullmatch(folder.path.name)
        _sort_files(root, folder, int(own[1]) if own else None, found, notes)
        for name in folder.folders + folder.linked:
            if step := _STEP.fullmatch(name):
                _sort_files(root, read_folder(folder.path / name), int(step[1]), found, notes)
    return found


def _sort_files(root: Folder, folder: Folder, step: int | None, found: _Found, notes: list[str]) -> None:
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
        found.images.append(_Image(folder.path / name, where, printable(match["plate"] or ""), key, step))


def _note_oddities(found: _Found, htd: Htd, notes: list[str]) -> None:
    if found.thumbnails:
        notes.append(f"{count_of(found.thumbnails, 'thumbnail')} passed over")
    if found.strangers:
        notes.append(
            f"{count_of(len(found.strangers), 'image')} passed over whose name is not <plate>_<well>_s<site>_w<wave>:"
            f" {some(found.strangers, most=1)}"
        )
    others = sorted({image.plate for image in found.images} - {htd.name}, key=natural_key)
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


def _choose_planes(
    found: _Found, labels: Mapping[int, str], z: int | Literal["projection"], notes: list[str]
) -> dict[_Key, list[_Image]]:
    """Images of the chosen Z plane by well, site and wave; more than one is a duplicate."""
    deepest = max(found.steps, default=1)
    if z != "projection" and not 1 <= z <= max(deepest, 1):
        raise PlateError(
            f"Z plane {z} was asked for; the plate has {count_of(max(deepest, 1), 'Z plane')}: set `convert.z` to"
            f" 'projection' or to a number from 1 to {max(deepest, 1)}"
        )
    wanted = _PROJECTION_STEP if z == "projection" else z
    step_of = {}
    for wave, label in labels.items():
        steps = {image.step for image in found.images if image.key[2] == wave}
        step_of[wave] = wanted if wanted in steps else _single_step(steps, wave, label, z)
        if found.steps and step_of[wave] != wanted:
            step = step_of[wave]
            folder = "outside the ZStep folders" if step is None else f"ZStep_{step}"
            notes.append(f"wave {wave} {label!r} has a single Z plane ({folder}): it is the one that is read")
    chosen: dict[_Key, list[_Image]] = defaultdict(list)
    for image in found.images:
        if image.step == step_of[image.key[2]]:
            chosen[image.key].append(image)
    return chosen


def _single_step(steps: set[int | None], wave: int, label: str, z: int | Literal["projection"]) -> int | None:
    if len(steps) == 1:
        return next(iter(steps))
    planes = ", ".join(str(step) for step in sorted(step for step in steps if step))
    if z == "projection":
        raise PlateError(
            f"wave {wave} {label!r} has Z planes {planes} and no projection of the instrument (no ZStep_0):"
            " set `convert.z` to one of these numbers"
        )
    raise PlateError(f"wave {wave} {label!r} has no Z plane {z}, only {planes}: set `convert.z` to one of these")


def _note_steps(found: _Found, htd: Htd, z: int | Literal["projection"], notes: list[str]) -> None:
    on_disk = len(found.steps - {_PROJECTION_STEP})
    if htd.z_steps and on_disk != htd.z_steps:
        notes.append(f"{htd.file} declares {count_of(htd.z_steps, 'Z step')}, {on_disk} are on disk")
    if z == "projection" and _PROJECTION_STEP in found.steps:
        notes.append("the instrument's projection (ZStep_0) is read (`convert.z`)")
    elif z != "projection" and found.steps:
        notes.append(f"Z plane {z} (ZStep_{z}) is read (`convert.z`)")


def _wells(
    chosen: Mapping[_Key, list[_Image]], htd: Htd, labels: Mapping[int, str], notes: list[str]
) -> dict[str, tuple[Field, ...]]:
    on_disk = {well for well, _, _ in chosen}
    if undeclared := sorted(on_disk - set(htd.wells), key=well_order):
        notes.append(f"wells with images that are not selected in {htd.file} are kept: {some(undeclared)}")
    if absent := [well for well in htd.wells if well not in on_disk]:
        notes.append(f"selected wells without any image: {some(absent)}")
    sites = _sites({site for _, site, _ in chosen}, htd, notes)
    return {
        well: tuple(_field(chosen, htd, labels, well, site) for site in sites)
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


def _field(chosen: Mapping[_Key, list[_Image]], htd: Htd, labels: Mapping[int, str], well: str, site: int) -> Field:
    planes, problems, missing = {}, [], []
    for wave, label in labels.items():
        images = sorted(chosen.get((well, site, wave), ()), key=lambda image: natural_key(image.where))
        if not images:
            missing.append(f"{label!r} (w{wave})")
            continue
        planes[label] = Plane(images[0].path)
        if len(images) > 1:
            problems.append(
                f"well {well} field s{site}: {len(images)} images of channel {label!r}:"
                f" {' and '.join(image.where for image in images)}; keep one"
            )
    if missing:
        what = "any channel" if not planes else f"channel {', '.join(missing)}"
        problems.append(f"well {well} field s{site}: no image of {what}; copy or export it again")
    return Field(name=f"s{site}", planes=planes, problems=tuple(problems))


def _first_readable(chosen: Mapping[_Key, list[_Image]]) -> ImageFile:
    first: FieldError | None = None
    for key in sorted(chosen, key=lambda key: (*well_order(key[0]), *key[1:])):
        for image in chosen[key]:
            try:
                return inspect_image(image.path)
            except FieldError as error:
                first = first or error
    raise PlateError(f"none of the plate's images can be read; the first: {first}") from first
