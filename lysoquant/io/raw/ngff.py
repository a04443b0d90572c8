"""OME-Zarr metadata as the JSON that they are; nothing in them is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lysoquant.errors import FieldError
from lysoquant.files import open_file
from lysoquant.io.raw.names import clean_label, printable
from lysoquant.vocabulary import NgffVersion

GROUP_METADATA: Final[Mapping[NgffVersion, str]] = {"0.5": "zarr.json", "0.4": ".zattrs"}

ARRAY_FILE: Final[Mapping[NgffVersion, str]] = {"0.5": "zarr.json", "0.4": ".zarray"}

_MAX_METADATA_BYTES: Final = 2**24
"""Longer metadata of one group are damaged: a plate of 1536 wells has about 200 kB."""

WRONG: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What metadata of another form than expected raise while they are read."""

Json = dict[str, Any]


def attributes_of(folder: Path, version: NgffVersion) -> Json:
    """NGFF metadata of a group; empty where there are none that can be read."""
    try:
        content = read_object(folder / GROUP_METADATA[version])
        found = content["attributes"]["ome"] if version == "0.5" else content
    except (*WRONG, OSError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_object(path: Path) -> Json:
    with open_file(path) as handle:
        text = handle.read(_MAX_METADATA_BYTES + 1)
    if len(text) > _MAX_METADATA_BYTES:
        raise ValueError(f"metadata of more than {_MAX_METADATA_BYTES // 2**20} MiB")
    value = json.loads(text.decode())
    if not isinstance(value, dict):
        raise TypeError("no JSON object")
    return value


def folder_inside(folder: Path, path: object) -> Path:
    """A folder below another.

    Raises
    ------
    ValueError
        If the path leads out of it, or over a linked folder.
    """
    parts = path.split("/") if isinstance(path, str) else []
    for part in parts or [""]:
        if not re.fullmatch(r"(?!\.)[A-Za-z0-9._ -]{1,100}", part):
            raise ValueError(f"path {clean_label(str(path))!r} does not lead into {printable(folder.name)}")
        folder = folder / part
        if folder.is_symlink():
            raise ValueError(f"{printable(folder.name)} is a linked folder, which is not followed")
    return folder


def said(error: Exception) -> str:
    if isinstance(error, FieldError):
        return str(error)
    # Metadata decide how long such a text is.
    text = printable(" ".join(str(error).split()))[:300]
    return text if type(error) is ValueError else f"{type(error).__name__}: {text}"


AXIS_Y, AXIS_X = -1, -2
"""In place of a number in a plane's index: the array's axes Y and X."""


def plane_index(axes: str, channel: int, time: int = 0, z: int = 0) -> tuple[int, ...]:
    at = {"t": time, "c": channel, "z": z, "y": AXIS_Y, "x": AXIS_X}
    return tuple(at[axis] for axis in axes)
