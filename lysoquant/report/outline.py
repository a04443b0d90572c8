"""Outlines of label images in few bytes: label images in, closed curves and their code out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

LEAST: Final = 4
"""Points of the smallest outline; it is a few pixels wide."""

_MOST: Final = 250
"""Points of the longest outline: more are not seen."""

_ESCAPE: Final = 0
"""A byte before a step that is too long for half a byte a direction."""

_STRIDE: Final = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""(y, x) of the neighbour beyond the top, right, bottom and left side of a pixel."""

Points = npt.NDArray[np.float64]


def outlines(labels: npt.NDArray[np.integer], *, spacing_px: float) -> dict[int, Points]:
    """The outer outline of every label, as a smooth closed curve.

    Parameters
    ----------
    labels : ndarray, shape (Y, X), integer
        Label image; 0 is background. Pixels of a label hang together by their sides; of several parts, the one with
        the longest outline is outlined.
    spacing_px : float
        Length of outline that one point stands for.

    Returns
    -------
    dict of int to ndarray, shape (n, 2), float64
        Points (y, x) of each label, in pixels from the image's upper left corner; each is the mean of its stretch of
        the outline, which rounds off the staircase of the pixels.
    """
    follows, label_of, middles = _sides(labels)
    rings = _rings(follows.tolist())
    longest: dict[int, list[int]] = {}
    for ring in rings:
        label = int(label_of[ring[0]])
        if len(ring) > len(longest.get(label, ())):
            longest[label] = ring
    return {label: _means(middles[longest[label]], spacing_px) for label in sorted(longest)}


def _sides(
    labels: npt.NDArray[np.integer],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Sides of pixels that bound a label, clockwise: which follows each, its label, and its middle."""
    padded = np.pad(labels.astype(np.int64), 1)
    width = padded.shape[1]
    flat = padded.ravel()
    steps = [dy * width + dx for dy, dx in _STRIDE]
    inside = np.flatnonzero(flat)
    number = np.full(4 * flat.size, -1, dtype=np.int64)
    pixels = [inside[flat[inside + step] != flat[inside]] for step in steps]
    starts = np.cumsum([0, *(len(some) for some in pixels)])
    for side, some in enumerate(pixels):
        number[side * flat.size + some] = np.arange(starts[side], starts[side + 1])
    follows = np.empty(starts[-1], dtype=np.int64)
    middles = np.empty((starts[-1], 2))
    for side, some in enumerate(pixels):
        ahead, beyond = steps[(side + 1) % 4], steps[side]
        own = flat[some]
        # Round the same pixel, straight on along the next one, or into the corner of the one diagonally ahead.
        turn = flat[some + ahead] != own
        straight = ~turn & (flat[some + ahead + beyond] != own)
        target = np.where(turn, some, np.where(straight, some + ahead, some + ahead + beyond))
        next_side = np.where(turn, (side + 1) % 4, np.where(straight, side, (side + 3) % 4))
        here = slice(starts[side], starts[side + 1])
        follows[here] = number[next_side * flat.size + target]
        dy, dx = _STRIDE[side]
        middles[here, 0] = some // width - 0.5 + dy / 2
        middles[here, 1] = some % width - 0.5 + dx / 2
    return follows, flat[np.concatenate(pixels)], middles


def _rings(follows: Sequence[int]) -> list[list[int]]:
    seen = bytearray(len(follows))
    rings = []
    for first in range(len(follows)):
        if seen[first]:
            continue
        ring, side = [], first
        while not seen[side]:
            seen[side] = 1
            ring.append(side)
            side = follows[side]
        rings.append(ring)
    return rings


def _means(middles: npt.NDArray[np.float64], spacing_px: float) -> Points:
    n = len(middles)
    wanted = min(max(round(n / spacing_px), LEAST), _MOST, n)
    part = np.arange(n) * wanted // n
    sums = [np.bincount(part, weights=middles[:, axis], minlength=wanted) for axis in (0, 1)]
    return np.stack(sums, axis=1) / np.bincount(part, minlength=wanted)[:, None]


def encode_outlines(curves: Sequence[Points], *, scale: float) -> bytes:
    """Closed curves as bytes: about one a point where points lie close.

    Parameters
    ----------
    curves : sequence of ndarray, shape (n, 2)
        Points (y, x); at most 250 a curve.
    scale : float
        Steps of the code's grid in one unit of the points; the grid has at most 65,535.

    Returns
    -------
    bytes
        Each curve: number of points; the step (dy, dx) to its first point from that of the curve before, or from 0, 0;
        then a step to each next point: one byte, ``(dy + 8) << 4 | (dx + 8)``, for steps of -7 to 7, else a zero byte,
        dy and dx. All but that one byte are numbers of seven bits a byte, lowest first, the eighth bit says that more
        follow; steps are first doubled, and of negative ones the bits turned over (0, -1, 1, -2 are 0, 1, 2, 3).
    """
    coded = bytearray()
    before = [0, 0]
    for curve in curves:
        grid = np.clip(np.rint(curve * scale), 0, 65535).astype(np.int64)
        first = grid[0].tolist()
        coded += _number(len(grid)) + _step(first[0] - before[0]) + _step(first[1] - before[1])
        before = first
        for dy, dx in np.diff(grid, axis=0).tolist():
            if max(abs(dy), abs(dx)) <= 7:
                coded.append((dy + 8) << 4 | (dx + 8))
            else:
                coded.append(_ESCAPE)
                coded += _step(dy) + _step(dx)
    return bytes(coded)


def _step(value: int) -> bytes:
    return _number(2 * value if value >= 0 else -2 * value - 1)


def _number(value: int) -> bytes:
    coded = bytearray()
    while value > 127:
        coded.append(value & 127 | 128)
        value >>= 7
    coded.append(value)
    return bytes(coded)


def encode_marks(centres: Points, *, size: tuple[int, int]) -> bytes:
    """Places as bytes: one or two each.

    Parameters
    ----------
    centres : ndarray, shape (n, 2)
        Places (y, x) on a grid of `size`; rounded to it, and moved inside where they lie outside.
    size : tuple of int
        Rows and columns of the grid.

    Returns
    -------
    bytes
        The distances between neighbours in reading order, the first from the grid's first place; seven bits a byte,
        lowest first, the eighth bit says that more follow.
    """
    rows, columns = size
    y = np.clip(np.rint(centres[:, 0]), 0, rows - 1).astype(np.int64)
    x = np.clip(np.rint(centres[:, 1]), 0, columns - 1).astype(np.int64)
    coded = bytearray()
    for gap in np.diff(np.sort(y * columns + x), prepend=0).tolist():
        coded += _number(gap)
    return bytes(coded)


def by_class(curves: Mapping[int, Points], classes: Mapping[int, int]) -> dict[int, list[Points]]:
    """Curves of labels by the class of each; labels without a class are left out."""
    found: dict[int, list[Points]] = {}
    for label, kind in sorted(classes.items()):
        if label in curves:
            found.setdefault(kind, []).append(curves[label])
    return found
