"""The words of the project, each in one place: stages, roles, labels, classes, columns.

Imports nothing heavy: the command line and the workflow read it at start-up.
"""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

STAGES: Final = ("convert", "cells", "segment", "measure", "aggregate", "report")
"""The stages in the order in which data pass through them."""

BATCH_STAGES: Final = ("convert", "cells", "segment", "measure")
"""Stages that run as one job a batch of wells; the others run once a project."""

ROLES: Final = ("lysosome", "cargo", "nucleus")
"""Channel roles: limiting membrane (LAMP1, RAB7), cargo (SEC62, ATZ, ...), nuclei."""

CELLS: Final = "cells"
ENDOLYSOSOMES: Final = "endolysosomes"
ENDOLYSOSOME_CLASSES: Final = "endolysosome_classes"
LABELS: Final = (CELLS, ENDOLYSOSOMES, ENDOLYSOSOME_CLASSES)
"""Label images of every field, in the order in which they are written."""

BACKGROUND: Final = 0
EMPTY: Final = 1
LOADED: Final = 2
CLASS_NAMES: Final = ("background", "empty", "loaded")
CLASS_COLOURS: Final = {EMPTY: (0, 255, 255), LOADED: (255, 0, 255)}
"""RGB of the paper's Figure 2: empty cyan, loaded magenta."""

OK: Final = "ok"
FLAGGED: Final = "flagged"
FAILED: Final = "failed"
FIELD_STATUSES: Final = (OK, FLAGGED, FAILED)
"""Field statuses from best to worst; a field has the worst that any stage gave it."""

CONTROLS: Final = ("", "negative", "positive")
"""Values of the plate map's ``control`` column; empty for a sample well."""

NgffVersion = Literal["0.4", "0.5"]
NGFF_VERSIONS: Final[tuple[NgffVersion, ...]] = get_args(NgffVersion)

RawFormat = Literal["imagexpress", "harmony", "cellvoyager", "leica", "zeiss", "nikon", "ome-zarr", "ome-tiff", "tiff"]
RAW_FORMATS: Final[tuple[RawFormat, ...]] = get_args(RawFormat)
PATTERN_FORMATS: Final[tuple[RawFormat, ...]] = ("tiff", "leica", "zeiss", "nikon")
"""Formats whose wells may be told by a pattern on names, and whose channels by a list of labels."""
"""Formats of raw plates; each has a reader in :mod:`lysoquant.io.raw.formats`."""

PLATE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""A plate name is also a folder name and a workflow wildcard, so its letters are few."""

WELL_NAME: Final = re.compile(r"(?P<row>[A-Z]|A[A-F])(?P<column>0[1-9]|[1-3][0-9]|4[0-8])")
"""Canonical well name: ``B03``; rows A to AF and columns 01 to 48 (1536-well plates)."""


def well_name(row: str, column: int) -> str:
    """Canonical name of a well: ``("B", 3)`` gives ``B03``."""
    return f"{row}{column:02d}"


def split_well(name: str) -> tuple[str, int]:
    """Row letters and column number of a canonical well name.

    Raises
    ------
    ValueError
        If the name is not canonical (``b3``, ``B3`` and ``Z99`` are not).
    """
    match = WELL_NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not a well name such as B03")
    return match["row"], int(match["column"])


def row_index(row: str) -> int:
    """Zero-based index of a plate row: A is 0, Z is 25, AA is 26."""
    index = 0
    for letter in row:
        index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1


def row_letters(index: int) -> str:
    """Letters of a zero-based plate row; the inverse of :func:`row_index`."""
    return chr(ord("A") + index) if index < 26 else "A" + chr(ord("A") + index - 26)


def well_order(name: str) -> tuple[int, int]:
    """Sorting key that puts wells in reading order (A01, A02, ..., B01, ..., AA01)."""
    row, column = split_well(name)
    return row_index(row), column
