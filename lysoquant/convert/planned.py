"""What a raw plate was when the workflow was planned: no job reads an instrument's whole index for its few wells."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lysoquant.convert.describe import fields_json
from lysoquant.convert.params import ConvertSettings
from lysoquant.io.raw.description import Field, Plane, RawPlate
from lysoquant.layout import Layout
from lysoquant.record import Json, digest_json, read_json


def planned_json(described: RawPlate, wells: Sequence[str], settings: ConvertSettings, *, base: Path) -> Json:
    """What a plan keeps of some wells of a raw plate.

    Parameters
    ----------
    base : pathlib.Path
        Folder to which the files are named relative, where they lie in it.
    """
    inside = os.path.join(base, "")  # noqa: PTH118 - strings: a plate has a hundred thousand files
    return {
        "settings": _looked_at(settings),
        "plate": {
            "name": described.name,
            "format": described.format,
            "channels": list(described.channels),
            "n_rows": described.n_rows,
            "n_columns": described.n_columns,
            "pixel_size_um": described.pixel_size_um,
            "shape": list(described.shape),
        },
        "wells": {
            well: fields_json(described.wells[well], name_of=lambda path: os.fspath(path).removeprefix(inside))
            for well in wells
        },
    }


def planned_plate(
    *, layout: Layout, plate: str, batch: str, wells: Sequence[str], settings: ConvertSettings, base: Path
) -> RawPlate | None:
    """Some wells of a raw plate as the plan of their batch keeps them.

    Parameters
    ----------
    base : pathlib.Path
        As in :func:`planned_json`.

    Returns
    -------
    RawPlate or None
        None where there is no plan, or it was made under other settings or is not that of the tracked raw record: then
        the plate must be described anew.
    """
    plan = read_json(layout.raw_plan(plate, batch)) or {}
    record = read_json(layout.raw_record(plate, batch)) or {}
    try:
        fields = {well: plan["wells"][well] for well in wells}
        tracked = [record["channels"], record["pixel_size_um"], *(record["fields_digest"][well] for well in wells)]
        about = plan["plate"]
        found = [about["channels"], about["pixel_size_um"], *(digest_json(fields[well]) for well in wells)]
        if plan["settings"] != _looked_at(settings) or found != tracked:
            return None
        return RawPlate(
            **{**about, "shape": (about["shape"][0], about["shape"][1])},
            wells={well: [_field(each, base) for each in fields[well]] for well in wells},
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def _looked_at(settings: ConvertSettings) -> Json:
    """The settings that decide what a description says."""
    params = settings.params
    return {"source": settings.source.model_dump(mode="json"), "z": params.z, "timepoint": params.timepoint}


def _field(each: Mapping[str, Any], base: Path) -> Field:
    return Field(
        name=each["name"],
        position=each["position"],
        planes={
            channel: {int(number): _plane(plane, base) for number, plane in planes.items()}
            for channel, planes in each["planes"].items()
        },
        problems=tuple(each["problems"]),
        timepoint=each["timepoint"],
        reduction=each["reduction"],
    )


def _plane(said: Sequence[Any], base: Path) -> Plane:
    name, index, page = said
    return Plane(path=base / name, index=None if index is None else tuple(index), page=page)
