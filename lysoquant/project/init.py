"""A project from a raw plate: what the plate's own metadata say, checked, and written as three files."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from lysoquant.cells.params import CellsParams
from lysoquant.channels import Channels
from lysoquant.config.faults import fault_lines
from lysoquant.config.load import CONFIG_PATH, load_config
from lysoquant.config.model import Config
from lysoquant.config.sheets import WellRow, check_plate_name, read_plates, read_wells
from lysoquant.config.template import render_config, render_plates, render_wells
from lysoquant.config.text import did_you_mean, shown
from lysoquant.convert.params import ConvertParams, PlateSource
from lysoquant.errors import ConfigError, PlateError
from lysoquant.project.flags import in_flags
from lysoquant.record import write_text_atomic
from lysoquant.units import ACCEPTED_PIXEL_SIZE_UM, pixel_size_accepted, pixel_size_verdict
from lysoquant.vocabulary import PATTERN_FORMATS, PLATE_NAME, ROLES, RawFormat, row_index, split_well, well_order

if TYPE_CHECKING:
    from lysoquant.io.raw.description import RawPlate
    from lysoquant.io.raw.select import TimeChoice, ZChoice

ROLE_WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "lysosome": ("lysosome", "lyso", "lamp1", "lamp2", "rab7"),
    "cargo": ("cargo", "sec62", "fam134b", "atz", "ha"),
    "nucleus": ("nucleus", "nuclei", "dapi", "hoechst"),
}
"""Words by which a channel's name gives its role; case, blanks and punctuation do not count.

A word of three letters or fewer must stand alone in the name ("HA 561", not "alpha").
"""

_FILES: Final = ("config.yaml", "plates.tsv", "wells.tsv")


@dataclass(frozen=True)
class Initialised:
    """What :func:`initialise` found and wrote.

    Attributes
    ----------
    project : pathlib.Path
        The project folder.
    raw : RawPlate
        The plate as its reader described it.
    source : PlateSource
        Its row of ``plates.tsv``.
    config : Config
        The configuration.
    wells : tuple of WellRow
        The rows of ``wells.tsv``.
    pixel_size_um : float
        Pixel size that the run will use.
    notes : tuple of str
        What a person should know: choices made and doubts.
    written : tuple of pathlib.Path
        The files.
    """

    project: Path
    raw: RawPlate
    source: PlateSource
    config: Config
    wells: tuple[WellRow, ...]
    pixel_size_um: float
    notes: tuple[str, ...]
    written: tuple[Path, ...]


def initialise(
    *,
    raw: Path,
    project: Path,
    lysosome: str | None = None,
    cargo: str | None = None,
    other_cargoes: Sequence[str] = (),
    nucleus: str | None = None,
    no_nucleus: bool = False,
    plate_map: Path | None = None,
    format: RawFormat | None = None,
    pattern: str | None = None,
    channel_names: str | None = None,
    pixel_size_um: float | None = None,
    plate_name: str | None = None,
    z: ZChoice = "projection",
    timepoint: TimeChoice = 1,
    on_described: Callable[[RawPlate], None] = lambda plate: None,
) -> Initialised:
    """Describe a raw plate and write the project's ``config.yaml``, ``plates.tsv`` and ``wells.tsv``.

    Nothing else is written, and nothing at all if anything is wrong.

    Parameters
    ----------
    raw : pathlib.Path
        The raw plate.
    project : pathlib.Path
        The project folder; made if it is not there.
    lysosome, cargo, nucleus : str, optional
        Labels of the channels with these roles; where absent, the role is settled by :data:`ROLE_WORDS`.
    other_cargoes : sequence of str
        Labels of the channels of further cargoes; no name settles these.
    no_nucleus : bool
        The plate has no nuclei; the whole field is then taken as one cell.
    plate_map : pathlib.Path, optional
        Sheet with the columns of ``wells.tsv``.
    format, pattern, channel_names, z, timepoint
        As in ``plates.tsv`` and the section ``convert``.
    pixel_size_um : float, optional
        Pixel size, where the metadata have none or a wrong one.
    plate_name : str, optional
        Name of the plate; otherwise its own, made safe.
    on_described : callable, optional
        Told what the plate is as soon as that is known, also where something else is wrong then.

    Raises
    ------
    PlateError
        If the raw plate can't be read.
    ConfigError
        If a role or the pixel size can't be settled, a label or a well does not exist, or the project is there already.
    """
    from lysoquant.io.raw import describe

    _check_places(raw, project)
    names = [name.strip() for name in channel_names.split(";")] if channel_names is not None else None
    try:
        plate = describe(
            raw,
            format=format,
            pattern=pattern,
            channel_names=names,
            z=z,
            timepoint=timepoint,
            on_undecided=lambda undecided: on_described(_in_flags(undecided)),
        )
    except PlateError as error:
        raise PlateError(in_flags(str(error))) from error
    plate = _in_flags(plate)
    on_described(plate)
    _check_reader_flags(plate.format, pattern=pattern, channel_names=channel_names)
    name, name_notes = _plate_name(plate.name, plate_name)
    channels = settle_roles(
        plate.channels,
        lysosome=lysosome,
        cargo=cargo,
        other_cargoes=other_cargoes,
        nucleus=nucleus,
        no_nucleus=no_nucleus,
    )
    _check_sharpest(plate, channels)
    size, size_notes = _pixel_size(plate.pixel_size_um, pixel_size_um)
    rows, map_notes = _wells(plate, name, plate_map)
    config, version_notes = _config(channels, plate, z=z, timepoint=timepoint)
    source = _source(
        plate=name,
        path=_raw_path(raw, project),
        format=plate.format,
        pattern=pattern,
        pixel_size_um=pixel_size_um,
        channel_names=";".join(names) if names is not None else None,
    )
    written = _write(project, config=config, source=source, rows=rows, reasons=version_notes)
    notes = [*plate.notes, *_field_notes(plate), *name_notes, *size_notes, *map_notes, *version_notes.values()]
    if channels.nucleus is None:
        notes.append("no nucleus channel: cells.method is 'field', so each field counts as one cell")
    return Initialised(
        project=project,
        raw=plate,
        source=source,
        config=config,
        wells=rows,
        pixel_size_um=size,
        notes=tuple(notes),
        written=written,
    )


def _check_sharpest(plate: RawPlate, channels: Channels) -> None:
    """The sharpest plane is chosen in the lysosome channel, so that must have several where others have."""
    fields = [field for fields in plate.wells.values() for field in fields if field.reduction == "sharpest"]
    most = {label: max((len(field.planes.get(label, ())) for field in fields), default=0) for label in plate.channels}
    stacks = [label for label, number in most.items() if number > 1]
    if stacks and most[channels.lysosome] <= 1:
        raise ConfigError(
            f"--z sharpest: the lysosome channel {shown(channels.lysosome)} has a single Z plane, which can't tell the "
            f"sharpest of {_listed(stacks)}; give --z max, each or a plane number"
        )


def _in_flags(plate: RawPlate) -> RawPlate:
    return replace(plate, notes=[in_flags(note) for note in plate.notes])


def settle_roles(
    labels: Sequence[str],
    *,
    lysosome: str | None = None,
    cargo: str | None = None,
    other_cargoes: Sequence[str] = (),
    nucleus: str | None = None,
    no_nucleus: bool = False,
) -> Channels:
    """Roles from the given labels, and from channel names where they leave no doubt.

    A name leaves no doubt where exactly one channel has a word of the role, and no word of another open role.

    Parameters
    ----------
    labels : sequence of str
        The plate's channel labels.

    Raises
    ------
    ConfigError
        If a given label is not one of them, two roles share one, or a role stays open: lists the channels and the flag.
    """
    if len(labels) < 2:
        raise ConfigError(
            f"the plate has one channel, {_listed(labels)}; expected at least two, of lysosomes and of cargo: "
            "check that the export is whole, or that --pattern and --channel-names tell its channels apart"
        )
    given = {"lysosome": lysosome, "cargo": cargo, "nucleus": nucleus}
    chosen = {role: label for role, label in given.items() if label is not None}
    _check_given(labels, [*chosen.items(), *(("cargo", label) for label in other_cargoes)], no_nucleus=no_nucleus)
    open_roles = [role for role in ROLES if role not in chosen and not (role == "nucleus" and no_nucleus)]
    free = [label for label in labels if label not in (*chosen.values(), *other_cargoes)]
    fits = {label: [role for role in open_roles if _has_word(label, role)] for label in free}
    unsettled = []
    for role in open_roles:
        candidates = [label for label in free if role in fits[label]]
        if len(candidates) == 1 and fits[candidates[0]] == [role]:
            chosen[role] = candidates[0]
        else:
            unsettled.append(role)
    if unsettled:
        raise ConfigError(_unsettled(labels, unsettled))
    return Channels(
        lysosome=chosen["lysosome"],
        cargo=chosen["cargo"],
        other_cargoes=tuple(other_cargoes),
        nucleus=chosen.get("nucleus"),
    )


def _check_given(labels: Sequence[str], chosen: Sequence[tuple[str, str]], *, no_nucleus: bool) -> None:
    """Check roles and labels as they were given, a role with several cargoes several times."""
    for role, label in chosen if no_nucleus else ():
        if role == "nucleus":
            raise ConfigError(f"--nucleus {shown(label)} with --no-nucleus: expected one of the two; drop one")
    for role, label in chosen:
        if label not in labels:
            raise ConfigError(
                f"--{role} {shown(label)}: no such channel{did_you_mean(label, labels)}; "
                f"expected one of {_listed(labels)}"
            )
    for (first, label), (second, other) in combinations(chosen, 2):
        if label == other:
            raise ConfigError(
                f"--{first} and --{second} are both {shown(label)}; "
                f"expected a channel of its own for each role and each cargo, of {_listed(labels)}"
            )


def _has_word(label: str, role: str) -> bool:
    words = re.findall(r"[^\W_]+", label.casefold())
    joined = "".join(words)
    return any(word in words if len(word) <= 3 else word in joined for word in ROLE_WORDS[role])


def _unsettled(labels: Sequence[str], roles: Sequence[str]) -> str:
    flags = [f"--{role} CH" + (" (or --no-nucleus)" if role == "nucleus" else "") for role in roles]
    return (
        f"can't tell the {' and '.join(roles)} channel from the channel names {_listed(labels)}; "
        f"give {' and '.join(flags)} with one of these names for CH"
    )


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(repr(label) for label in labels)


def _check_places(raw: Path, project: Path) -> None:
    if project.exists() and not project.is_dir():
        raise ConfigError(f"--output {project}: is a file; expected a folder, there already or not")
    for name in _FILES:
        existing = project / CONFIG_PATH.parent / name
        if existing.exists():
            raise ConfigError(
                f"--output {project}: {existing} is there already; choose another folder, "
                "move the file away, or add the plate to its plates.tsv and wells.tsv by hand"
            )
    if raw.is_dir() and project.resolve().is_relative_to(raw.resolve()):
        raise ConfigError(f"--output {project}: lies inside the raw plate {raw}; choose a folder outside it")


def _check_reader_flags(format: str, **given: str | None) -> None:
    for name, value in given.items():
        if value is not None and format not in PATTERN_FORMATS:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(
                f"{flag} {shown(value)}: serves the formats {', '.join(PATTERN_FORMATS)} only, and this plate is "
                f"{format!r}; drop it"
            )


def _plate_name(own: str, given: str | None) -> tuple[str, list[str]]:
    if given is not None:
        check_plate_name(given, where="--plate-name")
        return given, []
    safe = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "_", own)).strip("._-")[:100]
    if PLATE_NAME.fullmatch(safe) is None:
        raise ConfigError(f"plate {shown(own)}: no folder name can be made of it; give --plate-name NAME")
    check_plate_name(safe, where="plate (give --plate-name NAME)")
    if safe == own:
        return safe, []
    return safe, [f"the plate calls itself {shown(own)}; here it is {safe!r} (--plate-name sets another name)"]


def _pixel_size(own: float | None, given: float | None) -> tuple[float, list[str]]:
    size = given if given is not None else own
    if size is None:
        raise ConfigError("the plate's metadata have no pixel size; give it: --pixel-size-um UM")
    notes = []
    if own is not None and given is not None and abs(own - given) > 1e-6 * given:
        notes.append(f"pixel size {given:g} um as given; the plate's own metadata say {own:g} um")
    verdict = pixel_size_verdict(size)
    if verdict is not None and pixel_size_accepted(size):
        notes.append(f"WARNING: {verdict}: every field will be flagged")
    elif verdict is not None:
        low, high = ACCEPTED_PIXEL_SIZE_UM
        notes.append(
            f"WARNING: {verdict} and beyond twice that range ({low:g} to {high:g} um): no field will be segmented; "
            "correct a wrong value with --pixel-size-um, or set segment.allow_untested_pixel_size: true "
            "to go on at your own risk"
        )
    return size, notes


def _wells(plate: RawPlate, name: str, plate_map: Path | None) -> tuple[tuple[WellRow, ...], list[str]]:
    found = sorted(plate.wells, key=well_order)
    if plate_map is None:
        notes = ["no plate map: conditions are empty; fill in config/wells.tsv before the run"]
        return tuple(WellRow(plate=name, well=well) for well in found), notes
    mapped = {row.well: row for row in read_wells(plate_map, plates=[name])}
    _check_extent(plate, mapped, plate_map)
    without_images = [well for well in mapped if well not in plate.wells]
    without_row = [well for well in found if well not in mapped]
    if len(without_row) == len(found):
        raise ConfigError(
            f"{plate_map}: none of its wells ({_some(list(mapped))}) has images; the plate has {_some(found)}; "
            "give this plate's own map"
        )
    columns = next(iter(mapped.values())).extra
    blank = WellRow(plate=name, well="", extra=dict.fromkeys(columns, ""))
    notes = []
    if without_images:
        notes.append(
            f"{plate_map}: {_counted(without_images)} without images, as the tables will say: {_some(without_images)}"
        )
    if without_row:
        notes.append(
            f"{plate_map}: {_counted(without_row)} with images not in it, condition empty: {_some(without_row)}"
        )
    wells = sorted({*found, *mapped}, key=well_order)
    return tuple(mapped.get(well, replace(blank, well=well)) for well in wells), notes


def _check_extent(plate: RawPlate, mapped: Mapping[str, WellRow], plate_map: Path) -> None:
    for well in mapped if plate.declares_size else ():
        row, column = split_well(well)
        if row_index(row) >= plate.n_rows or column > plate.n_columns:
            raise ConfigError(
                f"{plate_map}: well {well!r} is not on a plate of {plate.n_rows} x {plate.n_columns} wells; "
                "correct it or give this plate's own map"
            )


def _some(wells: Sequence[str]) -> str:
    return ", ".join(wells[:8]) + (" ..." if len(wells) > 8 else "")


def _counted(wells: Sequence[str]) -> str:
    return f"{len(wells)} well{'s' * (len(wells) != 1)}"


def _field_notes(plate: RawPlate) -> list[str]:
    bad = [
        f"{well} {position.name}: {position.problems[0]}"
        for well, fields in plate.wells.items()
        for position in fields
        if position.problems
    ]
    if not bad:
        return []
    total = sum(len(fields) for fields in plate.wells.values())
    return [in_flags(f"WARNING: {len(bad)} of {total} fields can't be used as they are, first {bad[0]}")]


def _config(
    channels: Channels, plate: RawPlate, *, z: ZChoice, timepoint: TimeChoice
) -> tuple[Config, Mapping[str, str]]:
    """The configuration, and why settings have another value than their default."""
    from lysoquant.convert.in_place import suggested_version

    cells = CellsParams(method="watershed" if channels.nucleus is not None else "field")
    convert = ConvertParams(z=z, timepoint=timepoint)
    version = suggested_version(plate, convert)
    reasons = {}
    if version != convert.ngff_version:
        reasons["convert.ngff_version"] = (
            f'the raw plate is OME-Zarr {version}: with convert.ngff_version "{version}" its images are used in place, '
            f'with "{convert.ngff_version}" they would be copied'
        )
        convert = convert.model_copy(update={"ngff_version": version})
    try:
        return Config(channels=channels, cells=cells, convert=convert), reasons
    except ValidationError as error:
        raise ConfigError("\n".join(fault_lines(error, model=Config, value={}, name="channel names"))) from None


def _source(**values: object) -> PlateSource:
    try:
        return PlateSource.model_validate({name: value for name, value in values.items() if value is not None})
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        flag = str(fault["loc"][0]).replace("_", "-")
        raise ConfigError(f"--{flag} {shown(fault['input'])}: {fault['msg'].lower()}") from None


def _raw_path(raw: Path, project: Path) -> str:
    absolute, home = raw.resolve(), project.resolve()
    path = absolute.relative_to(home) if absolute.is_relative_to(home) else absolute
    try:
        path.as_posix().encode()
    except UnicodeEncodeError:
        raise ConfigError(f"raw plate {shown(str(path))}: its path is not UTF-8; rename the folder") from None
    return path.as_posix()


def _write(
    project: Path,
    *,
    config: Config,
    source: PlateSource,
    rows: tuple[WellRow, ...],
    reasons: Mapping[str, str],
) -> tuple[Path, ...]:
    """Write the three files into a new folder, read them back, and only then move them into place."""
    target = project / CONFIG_PATH.parent
    made = [folder for folder in (project, *project.parents) if not folder.exists()]
    project.mkdir(parents=True, exist_ok=True)
    draft = project / f".config.{os.getpid()}.part"
    try:
        write_text_atomic(draft / "config.yaml", render_config(config, reasons=reasons))
        write_text_atomic(draft / "plates.tsv", render_plates([source]))
        write_text_atomic(draft / "wells.tsv", render_wells(rows))
        _check_draft(draft, project, config=config, source=source, rows=rows)
        if not target.exists():
            draft.rename(target)
        for name in reversed(_FILES if draft.exists() else ()):
            (draft / name).replace(target / name)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        for folder in made:
            folder.rmdir()
        raise
    shutil.rmtree(draft, ignore_errors=True)
    return tuple(target / name for name in _FILES)


def _check_draft(draft: Path, project: Path, *, config: Config, source: PlateSource, rows: tuple[WellRow, ...]) -> None:
    try:
        plates = read_plates(draft / "plates.tsv", project=project)
        back = (load_config(draft / "config.yaml"), plates, read_wells(draft / "wells.tsv", plates=plates))
    except ConfigError as error:
        raise ConfigError(f"raw plate {shown(source.path)}: what was given can't be kept: {error}") from None
    if back != (config, {source.plate: source}, rows):
        raise ConfigError(
            f"raw plate {shown(source.path)}: its path, pattern or channel names can't be kept in plates.tsv, which "
            "drops blanks at the ends of cells; rename them"
        )
