"""Flat-field files of a plate, estimated from its fields once and frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lysoquant.errors import FieldError, InputError
from lysoquant.illumination.estimate import Estimate, brightness, estimate_light
from lysoquant.illumination.flat_field import as_gain
from lysoquant.illumination.params import IlluminationParams
from lysoquant.io.flat_fields import write_flat_field
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.layout import Layout
from lysoquant.record import digest_file, read_json, versions, write_json
from lysoquant.vocabulary import FAILED

DEFAULT_FILES: Final = "flat/{plate}/{channel}.tif"
_MOST_FIELDS: Final = 400
"""More fields, taken evenly over the plate, would not change the estimate."""


def estimate_plate(
    *, layout: Layout, plate: str, params: IlluminationParams, replace: bool
) -> dict[str, tuple[Path, Estimate]]:
    """Estimate and write the flat field of every channel of a converted plate, all or none.

    Parameters
    ----------
    params : IlluminationParams
        Where the files go, and the camera's dark level.
    replace : bool
        Whether files that are there are written anew.

    Returns
    -------
    dict
        File and estimate by channel. Beside each file ``<name>.json`` says what it was made of.

    Raises
    ------
    InputError
        If a file is there already, or the fields do not tell what the light is.
    PlateError
        If the plate was not converted.
    """
    fields = _converted(layout, plate)
    if not fields:
        raise InputError(f"plate {plate} has no converted field; run `lysoquant convert PROJECT --plate {plate}` first")
    channels, shape = fields[0].channels, fields[0].shape
    files = {channel: layout.project / params.file(plate=plate, channel=channel) for channel in channels}
    if len(set(files.values())) < len(files):
        raise InputError(
            f"illumination.flat_field {params.flat_field!r} gives channels {', '.join(files)} of plate {plate} one "
            "file; put {channel} into it, and give channels names that differ in letters or digits"
        )
    there = [str(path) for path in files.values() if path.exists()]
    if there and not replace:
        raise InputError(f"{', '.join(there)}: there already; --replace estimates anew, which redoes cells and measure")
    found = {}
    for channel in channels:
        grids = (brightness(field.read(channel), dark=params.dark) for field in fields)
        found[channel] = estimate_light(grids, shape=shape, name=f"plate {plate}, channel {channel!r}")
        as_gain(found[channel].gain, dark=params.dark, name=f"the light of plate {plate}, channel {channel!r},")
    for channel, estimate in found.items():
        path = files[channel]
        write_flat_field(path, estimate.gain)
        write_json(
            path.with_name(f"{path.name}.json"),
            {
                "plate": plate,
                "channel": channel,
                "n_fields": estimate.n_fields,
                "difference_of_halves": round(estimate.difference, 6),
                "dark": params.dark,
                "sha256": digest_file(path),
                "versions": versions(),
            },
        )
    return {channel: (files[channel], estimate) for channel, estimate in found.items()}


def _converted(layout: Layout, plate: str) -> list[FieldStore]:
    """Readable fields of the wells that convert has done, one a position, evenly over the plate.

    Z planes and time points of a position show the same cells: as fields of their own they would agree on a light that
    is none. Of several the middle one is taken.
    """
    store = PlateStore.open(layout.plate_store(plate))
    found = []
    for well in store.wells:
        record = read_json(layout.well_record(plate, "convert", well)) or {}
        origins = dict(enumerate(record.get("origins", ())))
        of_position: dict[str, list[int]] = {}
        for report in record.get("fields", ()):
            if report["status"] != FAILED:
                index = report["field"]
                of_position.setdefault(origins.get(index, {}).get("position") or f"field {index}", []).append(index)
        found += [store.field(well, same[len(same) // 2]) for same in of_position.values()]
    step = -(-len(found) // _MOST_FIELDS) or 1
    return [field for field in found[::step] if _is_readable(field)]


def _is_readable(field: FieldStore) -> bool:
    try:
        return bool(field.channels and field.shape)
    except FieldError:
        return False
