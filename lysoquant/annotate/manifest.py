"""What was given out to be corrected, and what came back changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from pydantic import ValidationError

from lysoquant.errors import InputError
from lysoquant.examples.drawn import kind
from lysoquant.files import open_file
from lysoquant.io.rois import Outline
from lysoquant.io.stacks import Stack
from lysoquant.model.preprocess import model_length
from lysoquant.params import Params
from lysoquant.record import digest_array, digest_bytes, write_text_atomic
from lysoquant.units import MODEL_PIXEL_SIZE_UM

MANIFEST: Final = "manifest.json"
_MAX_BYTES: Final = 64 * 2**20


class ExportedCell(Params):
    """One cell that was given out."""

    name: str
    """NAME of its files."""
    plate: str
    well: str
    field: int
    cell: int
    """Number in the label image `cells`."""
    box: tuple[int, int, int, int]
    """Rows from, to and columns from, to of the field."""
    pixel_size_um: float
    uncertainty: float
    """How unsure the model was of the cell, see `Manifest.score`."""
    pixels_sha256: str
    """Digest of the grey values."""
    outlines: dict[str, str]
    """Digest of what each outline encloses, by name."""


class Manifest(Params):
    """All that was given out at once."""

    version: Literal[1] = 1
    model: str
    """Name of the model that drew the outlines."""
    model_sha256: str
    score: str
    """What uncertainty means."""
    candidates: int
    """Cells that the model looked at."""
    cells: tuple[ExportedCell, ...]


@dataclass(frozen=True)
class Changes:
    """Outlines that a person left, changed, added or removed.

    Attributes
    ----------
    unchanged : int
        Equal area and kind.
    reclassified : int
        Equal area under a name of another kind.
    reshaped : int
        Another area under the same name.
    added, removed : int
        All others now, and before.
    """

    unchanged: int = 0
    reclassified: int = 0
    reshaped: int = 0
    added: int = 0
    removed: int = 0

    @property
    def any(self) -> bool:
        """Whether the person did anything."""
        return bool(self.reclassified or self.reshaped or self.added or self.removed)

    def plus(self, other: Changes) -> Changes:
        """The sum of two."""
        return Changes(**{name: value + getattr(other, name) for name, value in vars(self).items()})


def compare(before: Mapping[str, str], after: Mapping[str, str]) -> Changes:
    """What happened to outlines, each a digest of its area by its name."""
    old, new = dict(before), dict(after)
    counts = {"unchanged": 0, "reclassified": 0, "reshaped": 0}
    for name, digest in after.items():
        same = [known for known, was in old.items() if was == digest]
        # An area that was there twice is the one whose name is the nearest.
        match = next((known for known in same if known == name), None) or next(
            (known for known in same if kind(known) == kind(name)), same[0] if same else None
        )
        if match is not None:
            counts["unchanged" if kind(match) == kind(name) else "reclassified"] += 1
            del old[match], new[name]
    for name in list(new):
        if name in old:
            counts["reshaped"] += 1
            del old[name], new[name]
    return Changes(**counts, added=len(new), removed=len(old))


def outline_digest(outline: Outline, shape: tuple[int, int], *, pixel_size_um: float) -> str:
    """Digest of the pixels at the model's pixel size that an outline encloses.

    Parameters
    ----------
    shape : (Y, X)
        Shape of the image on which it was drawn.
    pixel_size_um : float
        Pixel size of the image.
    """
    grid = (model_length(shape[0], pixel_size_um), model_length(shape[1], pixel_size_um))
    (rows, columns), mask = outline.mask(grid, scale=pixel_size_um / MODEL_PIXEL_SIZE_UM)
    y, x = np.nonzero(mask)
    return digest_array(np.stack([y + rows.start, x + columns.start]).astype(np.int32))


def pixels_digest(stack: Stack) -> str:
    """Digest of the grey values of all channels."""
    return digest_bytes(*(digest_array(stack.read(channel)).encode() for channel in stack.channels))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``."""
    write_text_atomic(folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read ``manifest.json``.

    Raises
    ------
    InputError
        If it is absent or damaged.
    """
    path = folder / MANIFEST
    try:
        with open_file(path) as handle:
            text = handle.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path}: {error.strerror}; give a folder that `lysoquant annotate export` wrote (images that you outlined "
            "from nothing need no import: train from their folder)"
        ) from error
    try:
        return Manifest.model_validate_json(text[:_MAX_BYTES])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the top"
        raise InputError(f"{path}: damaged at {place} ({first['msg']}); put the exported file back") from error
