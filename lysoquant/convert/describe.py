"""What a raw plate is, before any pixel of it is read: all that planning needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lysoquant.convert.params import ConvertSettings
from lysoquant.io import raw as raw_io
from lysoquant.io.raw.description import Field, RawPlate
from lysoquant.layout import Layout
from lysoquant.record import Json, digest_json

_NO_FIELD = Field(name="", planes={}, problems=("the well has no image; export it again or leave it out of wells.tsv",))


def describe_plate(*, layout: Layout, settings: ConvertSettings) -> RawPlate:
    """What the raw plate is that the settings name: its channels, wells, fields and files; reads no pixels.

    Raises
    ------
    PlateError
        If the raw plate can't be described.
    """
    source = settings.source
    return raw_io.describe(
        layout.project / source.path,
        format=source.format,
        pattern=source.pattern,
        channel_names=None if source.channel_names is None else source.channel_names.split(";"),
        z=settings.params.z,
        timepoint=settings.params.timepoint,
    )


def positions(described: RawPlate, well: str) -> Sequence[Field]:
    """Fields of a well; a well without any has one that failed, so that it is in every table."""
    return described.wells[well] or (_NO_FIELD,)


def description_digest(described: RawPlate, well: str, source: Path) -> str:
    """Digest of all that the plate's own metadata and file names say of a well."""
    fields = fields_json(positions(described, well), name_of=lambda path: relative(path, source))
    plate = [list(described.channels), described.pixel_size_um, list(described.shape)]
    return digest_json({"fields": fields, "plate": plate})


def fields_json(fields: Sequence[Field], *, name_of: Callable[[Path], str]) -> list[Json]:
    """Which plane of which file is which channel of which field."""
    return [
        {
            "name": field.name,
            "position": field.position,
            "planes": {
                channel: {
                    str(number): [name_of(plane.path), plane.index, plane.page] for number, plane in planes.items()
                }
                for channel, planes in field.planes.items()
            },
            "reduction": field.reduction,
            "timepoint": field.timepoint,
            "problems": list(field.problems),
        }
        for field in fields
    ]


def relative(path: Path, source: Path) -> str:
    """A raw file's name within its plate."""
    return path.relative_to(source).as_posix() if path.is_relative_to(source) else path.name
