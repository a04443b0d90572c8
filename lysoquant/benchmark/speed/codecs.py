"""What compressors and sizes of chunks cost: bytes, time to write, time to read a plane and a crop of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numcodecs  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from lysoquant.benchmark.speed.table import Table
from lysoquant.io.arrays import BLOCK_BYTES, LEVEL, SHUFFLE

_CROP_PX: Final = 300
"""Edge of a cell's box of 30 um."""

Plane = NDArray[np.uint16]


@dataclass(frozen=True)
class Choice:
    """A compressor and a size of chunks.

    Attributes
    ----------
    compressor : str
        zstd or lz4 within Blosc; plain zstd without.
    shuffle : str
        shuffle (bytes), bitshuffle; empty without Blosc.
    block_kib : int
        What Blosc hands to the compressor at a time; 0 leaves it to Blosc.
    chunk_px : int
        Edge of a chunk.
    """

    compressor: str = "zstd"
    level: int = LEVEL
    shuffle: str = SHUFFLE[2]
    block_kib: int = BLOCK_BYTES // 1024
    chunk_px: int = 512

    def codec(self) -> Any:
        if not self.shuffle:
            return numcodecs.Zstd(self.level)
        shuffle = getattr(numcodecs.Blosc, self.shuffle.upper())
        return numcodecs.Blosc(self.compressor, self.level, shuffle, blocksize=self.block_kib * 1024)


CHOICES: Final = (
    *(Choice(level=level, shuffle="shuffle", block_kib=0) for level in (1, 3, 5)),
    *(Choice(level=level, block_kib=0) for level in (1, 3, 5)),
    Choice(level=1, shuffle="shuffle"),
    *(Choice(level=level) for level in (1, 2, 3)),
    *(Choice(chunk_px=edge) for edge in (256, 1024, 2048)),
    *(Choice(compressor="lz4", level=5, shuffle=shuffle) for shuffle in ("shuffle", "bitshuffle")),
    *(Choice(level=level, shuffle="", block_kib=0) for level in (1, 3)),
)


def codecs(planes: Sequence[Plane], *, repeats: int, choices: Sequence[Choice] = CHOICES) -> Table:
    """A row a choice; seconds of one thread, the least of the repeats."""
    rows = tuple(_row(choice, planes, repeats=repeats) for choice in choices)
    return Table(f"Compressors and chunks, {len(planes)} planes of {planes[0].shape[-1]}², one thread", rows)


def _row(choice: Choice, planes: Sequence[Plane], *, repeats: int) -> dict[str, str | int | float]:
    codec, size = choice.codec(), sum(plane.nbytes for plane in planes) / 1e6
    chunks = [_chunks(plane, choice.chunk_px) for plane in planes]
    packed = [[codec.encode(chunk) for chunk in chunks_of_plane] for chunks_of_plane in chunks]
    write_s = _least(lambda: [codec.encode(chunk) for chunk in itertools.chain(*chunks)], repeats)
    read_s = _least(lambda: [codec.decode(chunk) for chunk in itertools.chain(*packed)], repeats)
    touched = [_touched(plane.shape, choice.chunk_px) for plane in planes]
    crops = [[kept[place] for place in places] for kept, crop in zip(packed, touched, strict=True) for places in crop]
    crop_s = _least(lambda: [codec.decode(chunk) for chunk in itertools.chain(*crops)], repeats)
    return {
        "compressor": choice.compressor if choice.shuffle else f"{choice.compressor}, no Blosc",
        "level": choice.level,
        "shuffled": {"shuffle": "bytes", "bitshuffle": "bits", "": ""}[choice.shuffle],
        "block": f"{choice.block_kib} KiB" if choice.block_kib else "Blosc's own" if choice.shuffle else "",
        "chunk": f"{choice.chunk_px}²",
        "raw bytes a stored byte": size * 1e6 / sum(map(len, itertools.chain(*packed))),
        "written MB/s": size / write_s,
        "read MB/s": size / read_s,
        f"ms a crop of {_CROP_PX}²": 1e3 * crop_s / len(crops),
    }


def _chunks(plane: Plane, edge: int) -> list[Plane]:
    """Chunks in reading order, those at the border filled up with zeros."""
    height, width = (-(-size // edge) * edge for size in plane.shape)
    whole = np.pad(plane, ((0, height - plane.shape[0]), (0, width - plane.shape[1])))
    tops, lefts = range(0, height, edge), range(0, width, edge)
    return [np.ascontiguousarray(whole[top : top + edge, left : left + edge]) for top in tops for left in lefts]


def _touched(shape: tuple[int, ...], edge: int) -> list[list[int]]:
    """For crops at nine places, the chunks that they lie in."""
    across = -(-shape[1] // edge)
    starts = [[(size - _CROP_PX) * part // 8 for part in (1, 4, 6)] for size in shape]
    spans = [[range(start // edge, (start + _CROP_PX - 1) // edge + 1) for start in axis] for axis in starts]
    return [[row * across + column for row in rows for column in columns] for rows in spans[0] for columns in spans[1]]


def _least(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.thread_time()
        work()
        seconds.append(time.thread_time() - started)
    return min(seconds)
