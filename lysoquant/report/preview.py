"""A field as the page shows it: planes, labels and regions in, a JSON value of limited size out."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lysoquant.report import outline, picture
from lysoquant.vocabulary import EMPTY, LOADED

Json = dict[str, Any]
Labels = npt.NDArray[np.integer[Any]]

_SPACING_PX: Final = 3.0
"""Length that one point of an outline stands for, in pixels of half the picture's bytes: steps of six of the grid."""

_GRID: Final = 2
"""Steps of the outlines' grid in such a pixel."""

_SMALLEST_BYTES: Final = 3 + outline.LEAST - 1
"""Bytes of the smallest outline."""

TOO_MANY: Final = "its {n:,} endolysosomes are too many to be outlined in a page of this size"


@dataclass(frozen=True)
class Regions:
    """Counted endolysosomes of a field.

    Attributes
    ----------
    label : ndarray, shape (n,), int64
        Their numbers in the label image.
    is_loaded : ndarray, shape (n,), bool
        Their classes.
    centre_px : ndarray, shape (n, 2), float64
        (y, x) of their centres in pixels of the field.
    """

    label: npt.NDArray[np.int64]
    is_loaded: npt.NDArray[np.bool_]
    centre_px: npt.NDArray[np.float64]


def field_view(
    index: int,
    *,
    planes: Sequence[npt.NDArray[Any]],
    contrasts: Sequence[tuple[float, float]],
    shape: tuple[int, int],
    cells: Labels,
    endolysosomes: Labels,
    regions: Regions,
    allowed: int,
) -> Json:
    """Picture and outlines of a field.

    Parameters
    ----------
    index : int
        Number of the field.
    planes : sequence of ndarray, shape (y, x)
        Lysosome and cargo at a level with enough pixels.
    contrasts : sequence of (float, float)
        The plate's contrast of both.
    shape : tuple of int
        Rows and columns of the field at full resolution.
    cells, endolysosomes : ndarray, shape (Y, X), integer
        Label images at full resolution.
    regions : Regions
        Endolysosomes to outline; others in the label image were not counted.
    allowed : int
        Bytes for all of it, before they are written as text.

    Returns
    -------
    dict
        ``image`` (WebP, lysosome above cargo, of the size for which there is room), ``size`` (rows, columns) of what
        the outlines are drawn on, ``cells`` (numbers and outlines), ``empty`` and ``loaded`` (outlines, or marks where
        outlines don't fit: ``shape``), ``note``.
    """
    size = picture.size_within(shape, picture.picture_edge(allowed / 2))
    per_px = size[0] / shape[0]
    share = int(allowed * picture.OUTLINE_SHARE)
    numbers, drawn = _cells(cells, per_px)
    kind, empty, loaded = _endolysosomes(endolysosomes, regions, size, per_px, share - len(drawn))
    used = len(drawn) + len(empty) + len(loaded)
    pixels = picture.size_within(shape, picture.picture_edge(allowed - used))
    image = picture.encoded(picture.stacked(planes, contrasts=contrasts, size=pixels), allowed=allowed - used)
    return {
        "field": index,
        "size": [size[0], size[1]],
        "image": _text(image),
        "cells": {"numbers": numbers, "lines": _text(drawn)},
        "shape": kind,
        "empty": _text(empty),
        "loaded": _text(loaded),
        "note": TOO_MANY.format(n=len(regions.label)) if kind == "none" else "",
    }


def _cells(cells: Labels, per_px: float) -> tuple[list[int], bytes]:
    every = _every(per_px)
    curves = outline.outlines(cells[::every, ::every], spacing_px=_SPACING_PX / per_px / every)
    return list(curves), outline.encode_outlines(list(curves.values()), scale=every * per_px * _GRID)


def _every(per_px: float) -> int:
    """Pixels of the field of which one is enough for outlines twice as fine as the picture."""
    return max(1, int(0.5 / per_px))


def _endolysosomes(
    labels: Labels, regions: Regions, size: tuple[int, int], per_px: float, allowed: int
) -> tuple[str, bytes, bytes]:
    """Outlines of empty and loaded regions; marks where outlines need too many bytes, nothing where marks do too."""
    classes = {
        int(label): LOADED if loaded else EMPTY
        for label, loaded in zip(regions.label.tolist(), regions.is_loaded.tolist(), strict=True)
    }
    if len(classes) * _SMALLEST_BYTES <= allowed:
        every = _every(per_px)
        curves = outline.outlines(labels[::every, ::every], spacing_px=_SPACING_PX / per_px / every)
        of = outline.by_class(curves, classes)
        scale = every * per_px * _GRID
        found = [outline.encode_outlines(of.get(kind, ()), scale=scale) for kind in (EMPTY, LOADED)]
        if sum(map(len, found)) <= allowed:
            return "outlines", found[0], found[1]
    chosen = [~regions.is_loaded, regions.is_loaded]
    found = [outline.encode_marks(regions.centre_px[some] * per_px, size=size) for some in chosen]
    if sum(map(len, found)) <= allowed:
        return "marks", found[0], found[1]
    return "none", b"", b""


def absent(index: int, reason: str) -> Json:
    """What stands in the place of a field without a picture."""
    return {"field": index, "note": reason}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def shown_fields(n_fields: Mapping[tuple[str, str], int], *, room: float) -> dict[tuple[str, str], int]:
    """How many fields of each well are pictured.

    Parameters
    ----------
    n_fields : mapping of (plate, well) to int
        Fields of the wells, the most wanted well first.
    room : float
        Bytes for all of them, before they are written as text.

    Returns
    -------
    dict of (plate, well) to int
        All fields where each can have :data:`picture.LEAST_BYTES`; else as many of every well; else the first field of
        as many wells as there is room for.
    """
    can = int(room // picture.LEAST_BYTES)
    if can >= sum(n_fields.values()):
        return dict(n_fields)
    each = can // max(len(n_fields), 1)
    if each:
        return {well: min(n, each) for well, n in n_fields.items()}
    return {well: 1 if rank < can else 0 for rank, well in enumerate(n_fields)}
