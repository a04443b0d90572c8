"""OME-Zarr plates: which images are used where they lie."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Final

from lysoquant.convert.describe import positions
from lysoquant.convert.params import ConvertParams
from lysoquant.io.raw.description import Field, RawPlate
from lysoquant.io.raw.zarr_in_place import InPlace, in_place
from lysoquant.vocabulary import NGFF_VERSIONS, NgffVersion

_LOOKED_AT: Final = 10
"""Fields that tell whether a plate's images can be used in place."""


def in_place_of(position: Field, described: RawPlate, params: ConvertParams) -> InPlace | str | None:
    """How a field's image is used where it lies, or why it is not; None where there is no question of that."""
    if described.format != "ome-zarr" or not params.in_place or position.problems:
        return None
    planes = [plane for channel in described.channels for plane in position.planes[channel].values()]
    return in_place(planes, ngff_version=params.ngff_version, levels=params.pyramid_levels)


def suggested_version(described: RawPlate, params: ConvertParams) -> NgffVersion:
    """The version under which a plate's images are used in place, by the first fields; else that of the settings.

    Parameters
    ----------
    described : RawPlate
        Any plate; it is only looked at further if it is an OME-Zarr plate.
    """
    fields = [field for well in described.wells for field in described.wells[well] if not field.problems]
    for version in NGFF_VERSIONS:
        as_version = params.model_copy(update={"ngff_version": version})
        if any(isinstance(in_place_of(field, described, as_version), InPlace) for field in fields[:_LOOKED_AT]):
            return version
    return params.ngff_version


def link_to(array: Path, folder: Path) -> Path:
    """Relative path for a link in a folder; the system follows it from where the folder really is."""
    return Path(os.path.relpath(array.resolve(), folder.resolve()))


def in_place_notes(described: RawPlate, params: ConvertParams) -> list[str]:
    """How many images are used in place, and why others are copied."""
    found = Counter(
        result if isinstance(result, str) else ""
        for well in described.wells
        for position in positions(described, well)
        if (result := in_place_of(position, described, params)) is not None
    )
    return [
        f"images of {number} fields are copied: {reason}" if reason else f"images of {number} fields are used in place"
        for reason, number in sorted(found.items())
    ]
