"""Wells of a raw plate on their way into the store: what their fields came to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from lysoquant.convert.describe import positions
from lysoquant.convert.field import FieldConverter, FieldOutcome, Place
from lysoquant.convert.overlap import overlapped
from lysoquant.record import Json, WellOutcome, digest_json


def convert_wells(wells: Sequence[str], converter: FieldConverter, *, cores: int) -> Iterator[tuple[str, WellOutcome]]:
    """Write the images of wells, each when its fields are done; raises StageError as lysoquant.convert.step.run."""
    places = [
        Place(well, index, position)
        for well in wells
        for index, position in enumerate(positions(converter.described, well))
    ]
    finished = _finished(places, converter, cores=cores)
    for well, fields in groupby(finished, key=lambda field: field[0]):
        yield well, _outcome([outcome for _, outcome in fields], converter)


def _finished(places: Sequence[Place], converter: FieldConverter, *, cores: int) -> Iterator[tuple[str, FieldOutcome]]:
    for place, image, (digest, *numbers) in overlapped(places, read=converter.read, jobs=converter.jobs, cores=cores):
        outcome = converter.finish(place, image, digest, numbers)
        del image  # or it would be held until the next field is done
        yield place.well, outcome


def _outcome(fields: Sequence[FieldOutcome], converter: FieldConverter) -> WellOutcome:
    params = converter.settings.params
    # The layout is content too: label images follow the image's pyramid, chunks and format.
    content = {
        "fields": [field.content for field in fields],
        "channels": list(converter.described.channels),
        "ngff_version": params.ngff_version,
        "pyramid_levels": params.pyramid_levels,
        "chunk_px": params.chunk_px,
    }
    return WellOutcome(
        digest=digest_json(content),
        wrote=[converter.layout.relative(field.path) for field in fields],
        read=_without_repeats(fields),
        counts={"fields": len(fields), "planes": sum(field.n_planes for field in fields)},
        fields=[field.report for field in fields],
        extra={"origins": [field.origin for field in fields]},
    )


def _without_repeats(fields: Sequence[FieldOutcome]) -> list[Json]:
    """Identity of the files that the fields were read from; several may lie in one."""
    return list({entry["path"]: entry for field in fields for entry in field.read}.values())
