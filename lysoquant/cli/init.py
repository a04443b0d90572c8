"""``lysoquant init``: from a raw plate to a project."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lysoquant.errors import InputError
from lysoquant.vocabulary import RAW_FORMATS, RawFormat

if TYPE_CHECKING:
    from lysoquant.io.raw.description import RawPlate
    from lysoquant.io.raw.select import TimeChoice, ZChoice
    from lysoquant.project.init import Initialised

_FOLDER = click.Path(path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _z(context: click.Context, parameter: click.Parameter, value: str) -> ZChoice:
    for word in ("projection", "max", "sharpest", "each"):
        if value == word:
            return word
    return _number(value, "projection, max, sharpest, each or a plane number from 1")


def _timepoint(context: click.Context, parameter: click.Parameter, value: str) -> TimeChoice:
    return "each" if value == "each" else _number(value, "each or a time point from 1")


def _number(value: str, expected: str) -> int:
    if re.fullmatch("[1-9][0-9]{0,5}", value):
        return int(value)
    raise click.BadParameter(f"{value!r}: expected {expected}")


def _pixel_size(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is None or 0 < value < 1000:
        return value
    raise click.BadParameter(f"{value:g}: expected a pixel size in um, such as 0.1")


@click.command("init")
@click.argument("raw_plate", type=click.Path(exists=True, path_type=Path))
@click.option("--output", "project", type=_FOLDER, required=True, metavar="PROJECT", help="Project folder to make.")
@click.option("--lysosome", metavar="CH", help="Channel of the limiting membrane (LAMP1, RAB7).")
@click.option(
    "--cargo",
    "cargoes",
    multiple=True,
    metavar="CH",
    help="Channel of the cargo (SEC62, ATZ, ...). Again for each further cargo; the first finds the endolysosomes.",
)
@click.option("--nucleus", metavar="CH", help="Channel of the nuclei.")
@click.option("--no-nucleus", is_flag=True, help="The plate has no nuclei: each field counts as one cell.")
@click.option("--plate-map", type=_FILE, metavar="CSV", help="Sheet with well, condition, replicate, control.")
@click.option(
    "--format", "format_", type=click.Choice(RAW_FORMATS), help="Reader, if it is not to be told by the content."
)
@click.option(
    "--pattern",
    metavar="REGEX",
    help="tiff, leica, zeiss, nikon: file names, with groups well (or row and column), field, channel, z, time.",
)
@click.option(
    "--channel-names",
    metavar="A;B;C",
    help="tiff, leica, zeiss, nikon: channel labels in the order of the files' channel axis.",
)
@click.option(
    "--pixel-size-um",
    type=float,
    callback=_pixel_size,
    metavar="UM",
    help="Pixel size in um, where the metadata have none or a wrong one.",
)
@click.option("--plate-name", metavar="NAME", help="Name of the plate in the project.")
@click.option(
    "--z",
    callback=_z,
    default="projection",
    show_default=True,
    help="Z planes: projection (the instrument's own), max, sharpest, each, or a plane number from 1.",
)
@click.option("--timepoint", callback=_timepoint, default="1", show_default=True, help="Time point from 1, or each.")
def init(
    *,
    raw_plate: Path,
    project: Path,
    lysosome: str | None,
    cargoes: tuple[str, ...],
    nucleus: str | None,
    no_nucleus: bool,
    plate_map: Path | None,
    format_: RawFormat | None,
    pattern: str | None,
    channel_names: str | None,
    pixel_size_um: float | None,
    plate_name: str | None,
    z: ZChoice,
    timepoint: TimeChoice,
) -> None:
    """Make a project of RAW_PLATE: read its metadata, name its channels, write the configuration.

    Roles follow from clear channel names (such as LAMP1, SEC62, DAPI); where they do not, the flags settle them.
    """
    from lysoquant.project.init import initialise

    described: list[RawPlate] = []
    try:
        made = initialise(
            raw=raw_plate,
            project=project,
            lysosome=lysosome,
            cargo=cargoes[0] if cargoes else None,
            other_cargoes=cargoes[1:],
            nucleus=nucleus,
            no_nucleus=no_nucleus,
            plate_map=plate_map,
            format=format_,
            pattern=pattern,
            channel_names=channel_names,
            pixel_size_um=pixel_size_um,
            plate_name=plate_name,
            z=z,
            timepoint=timepoint,
            on_described=described.append,
        )
    except InputError:
        # What was found helps to put right what is wrong.
        for raw in described:
            click.echo(_printable(_plate_lines(raw, raw_plate, roles={}) + _note_lines(raw.notes)))
        raise
    click.echo(describe_project(made))


def describe_project(made: Initialised) -> str:
    """What was found and written, and the next command, for a person."""
    from lysoquant.units import pixel_size_verdict

    channels = made.config.channels
    roles = {label: role for role, label in channels.by_role().items()}
    roles |= {label: f"cargo {number}" for number, label in enumerate(channels.other_cargoes, start=2)}
    verdict = pixel_size_verdict(made.pixel_size_um) or "inside the tested range"
    lines = [
        *_plate_lines(made.raw, made.project / made.source.path, roles=roles, name=made.source.plate),
        f"pixel size  {made.pixel_size_um:g} um ({verdict})",
        *_note_lines(made.notes),
        f"written     {', '.join(str(path) for path in made.written)}",
        f"next        look through {made.written[0]} and {made.written[2]}, then",
        f"            lysoquant run {shlex.quote(str(made.project))}",
    ]
    return _printable(lines)


def _plate_lines(raw: RawPlate, path: Path, *, roles: Mapping[str, str], name: str | None = None) -> list[str]:
    """What a raw plate is; channels with their roles where these are settled."""
    from lysoquant.io.raw.select import numbers_text, plane_names

    channels = [f"{label} ({roles.get(label, 'not used')})" if roles else label for label in raw.channels]
    files = sorted({file for well in raw.wells for file in raw.files(well)})
    first = f", such as {_relative(files[0], path)}" if files else ""
    of_wells = f"{'' if raw.declares_size else 'at least '}{raw.n_rows} x {raw.n_columns} wells"
    size = f"{raw.pixel_size_um:g} um" if raw.pixel_size_um is not None else "not in the plate's metadata"
    return [
        f"plate       {raw.name if name is None else name} ({raw.format}, {of_wells})",
        *([f"seen        {raw.seen}"] if raw.seen else []),
        f"raw data    {path}",
        f"pixels      in {len(files)} file{'s' * (len(files) != 1)}{first}",
        f"wells       {len(raw.wells)} with images, {_fields(raw)}",
        f"image       {raw.shape[0]} x {raw.shape[1]} pixels (y, x)",
        f"channels    {', '.join(channels)}",
        f"z           {plane_names(raw.z_planes)}",
        f"time points {numbers_text(raw.timepoints)}",
        *([] if roles else [f"pixel size  {size}"]),
    ]


def _relative(file: Path, path: Path) -> Path | str:
    """A file as seen from the raw plate, which may be that file."""
    if file == path:
        return file.name
    return file.relative_to(path) if file.is_relative_to(path) else file


def _note_lines(notes: Sequence[str]) -> list[str]:
    return [f"note        {note}" for note in notes]


def _printable(lines: Sequence[str]) -> str:
    # Labels and notes come from the instrument's files: no control character of theirs reaches the terminal.
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def _fields(raw: RawPlate) -> str:
    counts = sorted(Counter(len(fields) for fields in raw.wells.values()))
    total = sum(len(fields) for fields in raw.wells.values())
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{total} field{'s' * (total != 1)} ({each} a well)"
