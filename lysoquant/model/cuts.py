"""How crops are cut into tiles."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lysoquant.errors import InputError

EDGE_PX: Final = 64
"""Edges of tiles are multiples of this many pixels where the largest allows it: few shapes, so that batches fill."""


@dataclass(frozen=True)
class Cuts:
    """How an edge is cut: tiles of one size, and the part of the edge that each answers for; the parts abut.

    Attributes
    ----------
    size : int
        Edge of every tile; it may reach beyond the crop, where there is nothing.
    tiles : tuple of (int, slice)
        Start of each tile and the part that it answers for.
    """

    size: int
    tiles: tuple[tuple[int, slice], ...]


@dataclass(frozen=True)
class TilePlan:
    """How crops are cut: into the fewest tiles, all equal and no larger than need be, their margins thrown away.

    Attributes
    ----------
    tile_px : int
        Largest edge of a tile, a multiple of the network's 2 ** (levels - 1). For a network of valid convolutions the
        edge of what a tile answers for, rounded up to that multiple; its image is larger by the network's loss.
    overlap_px : int
        Least margin on each side that is not used, except at the border of the crop. Valid convolutions need none.
    """

    tile_px: int
    overlap_px: int

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.overlap_px < self.tile_px:
            raise InputError(
                f"overlap_px is {self.overlap_px} and tile_px is {self.tile_px}; "
                "expected an overlap of less than half a tile"
            )

    def cuts(self, length: int, *, multiple: int = 1) -> Cuts:
        """Tiles along an edge, beginning at multiples of the network's coarsest pixel.

        Poolings group pixels from the start of a tile on. Only with the groups of the whole crop can a tile give what
        the crop as a whole would; where a tile is too small for that beside its margins, it begins anywhere.
        """
        shared = up(2 * self.overlap_px, multiple)
        if shared >= self.tile_px:
            multiple, shared = 1, 2 * self.overlap_px
        whole = up(length, multiple)
        step = max(EDGE_PX, multiple)
        if whole <= self.tile_px:
            return Cuts(min(up(whole, step), self.tile_px), ((0, slice(0, length)),))
        count = -(-(whole - shared) // (self.tile_px - shared))
        size = min(up(-(-(whole + (count - 1) * shared) // count), step), self.tile_px)
        last = max(whole - size, 0) // multiple
        starts = [number * last // (count - 1) * multiple for number in range(count)]
        edges = [(before + size + start) // 2 for before, start in itertools.pairwise(starts)]
        parts = itertools.pairwise([0, *edges, length])
        return Cuts(size, tuple((start, slice(*part)) for start, part in zip(starts, parts, strict=True)))


def abutting_cuts(length: int, largest: int, *, multiple: int = 1) -> Cuts:
    """The fewest tiles along an edge whose answers abut, all but the last equal; multiples of `multiple`."""
    count = -(-length // largest)
    size = up(-(-length // count), multiple)
    return Cuts(size, tuple((start, slice(start, min(start + size, length))) for start in range(0, length, size)))


def up(length: int, multiple: int) -> int:
    """The next multiple."""
    return -(-length // multiple) * multiple


def mirrored(start: int, size: int, length: int) -> Tensor:
    """Indices into an edge of `length` pixels for `size` pixels from `start`, which may lie outside.

    Beyond the edge the image is mirrored without repeating the border pixel, as often as it takes: the ``reflect`` of
    numpy.pad.
    """
    period = max(2 * (length - 1), 1)
    position = torch.arange(start, start + size) % period
    return torch.minimum(position, period - position) if length > 1 else position
