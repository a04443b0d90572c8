"""``lysoquant init``: from a raw plate to a project."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lysoquant.vocabulary import RAW_FORMATS, RawFormat

if TYPE_CHECKING:
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
@click.option("--cargo", metavar="CH", help="Channel of the cargo (SEC62, ATZ, ...).")
@click.option("--nucleus", metavar="CH", help="Channel of the nuclei.")
@click.option("--no-nucleus", is_flag=True, help="The plate has no nuclei: each field counts as one cell.")
@click.option("--plate-map", type=_FILE, metavar="CSV", help="Sheet with well, condition, replicate, control.")
@click.option(
    "--format", "format_", type=click.Choice(RAW_FORMATS), help="Reader, if it is not to be told by the content."
)
@click.option(
    "--pattern",
    metavar="REGEX",
    help="tiff: file names, with groups well (or row and column), field, channel, z, time.",
)
@click.option("--channel-names", metavar="A;B;C", help="tiff: channel labels in the order of the files' channel axis.")
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
    cargo: str | None,
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

    made = initialise(
        raw=raw_plate,
        project=project,
        lysosome=lysosome,
        cargo=cargo,
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
    )
    click.echo(describe_project(made))


def describe_project(made: Initialised) -> str:
    """What was found and written, and the next command, for a person."""
    from lysoquant.units import pixel_size_verdict

    raw = made.raw
    roles = {label: role for role, label in made.config.channels.by_role().items()}
    channels = [f"{label} ({roles[label]})" if label in roles else f"{label} (not used)" for label in raw.channels]
    verdict = pixel_size_verdict(made.pixel_size_um) or "inside the tested range"
    lines = [
        f"plate       {made.source.plate} ({raw.format}, {raw.n_rows} x {raw.n_columns} wells)",
        f"raw data    {made.source.path}",
        f"wells       {len(raw.wells)} with images, {_fields(made)}",
        f"image       {raw.shape[0]} x {raw.shape[1]} pixels (y, x)",
        f"channels    {', '.join(channels)}",
        f"pixel size  {made.pixel_size_um:g} um ({verdict})",
        *(f"note        {note}" for note in made.notes),
        f"written     {', '.join(str(path) for path in made.written)}",
        f"next        look through {made.written[0]} and {made.written[2]}, then",
        f"            lysoquant run {shlex.quote(str(made.project))}",
    ]
    # Labels and notes come from the instrument's files: no control character of theirs reaches the terminal.
    return "\n".join("".join(c if c.isprintable() else "?" for c in line) for line in lines)


def _fields(made: Initialised) -> str:
    counts = sorted(Counter(len(fields) for fields in made.raw.wells.values()))
    total = sum(len(fields) for fields in made.raw.wells.values())
    each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{total} field{'s' * (total != 1)} ({each} a well)"
