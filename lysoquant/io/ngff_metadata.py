"""NGFF metadata of plates, images and label images as files, of either version."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from lysoquant.files import open_file
from lysoquant.record import Json, write_text_atomic
from lysoquant.vocabulary import NgffVersion

OWN: Final = "lysoquant"
"""Key of our own metadata, next to ``ome``."""

METADATA: Final[dict[NgffVersion, str]] = {"0.5": "zarr.json", "0.4": ".zattrs"}

_CHANNEL_COLOURS: Final = ("0000FF", "00FF00", "FF0000", "FFFFFF", "FFFF00", "00FFFF", "FF00FF")
"""Display colours in acquisition order, which instruments as a rule take by wavelength."""


def zarr_format(ngff_version: NgffVersion) -> Any:
    return {"0.4": 2, "0.5": 3}[ngff_version]


def version_at(path: Path) -> NgffVersion | None:
    return next((version for version, file in METADATA.items() if (path / file).is_file()), None)


def read_attributes(folder: Path, ngff_version: NgffVersion) -> Json:
    """Attributes of a group; empty where it is absent or damaged."""
    try:
        with open_file(folder / METADATA[ngff_version]) as handle:
            value = json.loads(handle.read().decode())
    except (OSError, ValueError, RecursionError):
        return {}
    if isinstance(value, dict) and ngff_version == "0.5":
        value = value.get("attributes")
    return value if isinstance(value, dict) else {}


def ome_of(attributes: Json, ngff_version: NgffVersion) -> Json:
    value = attributes.get("ome", {}) if ngff_version == "0.5" else attributes
    return value if isinstance(value, dict) else {}


def write_group(folder: Path, ngff_version: NgffVersion, ome: Json, own: Json | None = None) -> None:
    """Write a group's metadata; the file of :data:`METADATA` comes last, since it says that the group is whole."""
    ours = {} if own is None else {OWN: own}
    if ngff_version == "0.5" and ome:
        ome = {"ome": {"version": ngff_version, **ome}}
    write_attributes(folder, ngff_version, {**ome, **ours})


def write_attributes(folder: Path, ngff_version: NgffVersion, attributes: Json) -> None:
    if ngff_version == "0.4":
        _write_if_changed(folder / ".zgroup", {"zarr_format": 2})
        _write_if_changed(folder / ".zattrs", attributes)
    else:
        _write_if_changed(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})


def _write_if_changed(path: Path, value: Json) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    if not path.is_file() or path.read_bytes() != text.encode():
        write_text_atomic(path, text)


def multiscale_of(name: str, axes: str, pixel_size_um: float, *, levels: int, is_mean: bool) -> Json:
    """NGFF multiscale. The mean of 2 x 2 pixels lies half a pixel further in; every second pixel stays in place."""
    has_size = math.isfinite(pixel_size_um)
    size = pixel_size_um if has_size else 1.0
    space: Json = {"type": "space", "unit": "micrometer"} if has_size else {"type": "space"}
    types: dict[str, Json] = {"t": {"type": "time"}, "c": {"type": "channel"}, "z": {"type": "space"}}
    datasets = []
    for level in range(levels):
        shift = (2**level - 1) / 2 * size if is_mean else 0.0
        leading = len(axes) - 2
        transformations: list[Json] = [{"type": "scale", "scale": [1.0] * leading + [size * 2**level] * 2}]
        if shift:
            transformations.append({"type": "translation", "translation": [0.0] * leading + [shift] * 2})
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    return {
        "name": name,
        "axes": [{"name": axis, **types.get(axis, space)} for axis in axes],
        "datasets": datasets,
        "type": "mean" if is_mean else "nearest",
    }


def omero_channels(channels: Sequence[str], dtype: np.dtype[Any], windows: Sequence[tuple[float, float]]) -> list[Json]:
    """Labels, colours and display windows."""
    entries = []
    for index, (label, (start, end)) in enumerate(zip(channels, windows, strict=True)):
        window = {"min": 0.0, "max": float(np.iinfo(dtype).max), "start": start, "end": max(end, start + 1)}
        colour = _CHANNEL_COLOURS[index % len(_CHANNEL_COLOURS)] if len(channels) > 1 else "FFFFFF"
        entries.append({"label": label, "color": colour, "active": True, "window": window})
    return entries
