"""How many tiles go through a GPU's network in one call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from lysoquant.model.architecture import Architecture

BatchChoice = int | Literal["auto"]

MOST_PX: Final = 16 * 1024**2
"""No batch has more pixels: sixteen of the largest default tiles. Not measured: no GPU was there."""
SHARE: Final = 0.5
"""Of the free memory; the rest is for other programs, crops on their way, and what the estimate misses."""
WAITING_BATCHES: Final = 4
"""As many batches of tiles of any shape wait at most; then the shape that waits longest goes, full or not."""
_FINEST_COPIES: Final = 8
"""Maps of the first level's features alive at once: skipped, lifted, both joined (two), result, and coarser levels."""
_LEARNING_CALLS: Final = 16
"""Calls whose memory is looked at."""
_FALLBACK_TILES: Final = 4
"""Largest tiles in a batch where the free memory is not known."""


def bytes_a_pixel(architecture: Architecture, *, element_bytes: int) -> int:
    """Memory that a pixel of a batch takes, as worked out from the architecture."""
    features = _FINEST_COPIES * architecture.base_features * element_bytes
    scores = 3 * 4 * architecture.classes
    return features + scores + 4 * architecture.in_channels


@dataclass
class Batch:
    """Size of a batch: a given number of tiles, or as many pixels as the memory holds.

    Attributes
    ----------
    tiles : int or None
        Every batch has exactly so many tiles, if with nothing. None: at most so many that `pixels` are not exceeded; a
        power of two, the least that holds what is there.
    pixels : int
        Of a batch where the number of tiles is free.
    halvings : int
        How often the memory did not do.
    """

    tiles: int | None
    pixels: int
    halvings: int = field(default=0, init=False)
    _a_pixel: float = field(default=0.0, init=False)
    _calls: int = field(default=0, init=False)

    @classmethod
    def choose(cls, choice: BatchChoice, *, largest_px: int, a_pixel: int, free_bytes: int | None) -> Batch:
        """From the setting and the memory that is free; `largest_px` pixels has the largest tile."""
        if choice != "auto":
            return cls(choice, choice * largest_px)
        fits = _FALLBACK_TILES * largest_px if free_bytes is None else int(SHARE * free_bytes / a_pixel)
        return cls(None, min(fits, MOST_PX))

    def most(self, tile_px: int) -> int:
        """Tiles of so many pixels in one call at most."""
        if self.tiles is not None:
            return self.tiles
        return _power_below(max(self.pixels // tile_px, 1))

    def slots(self, count: int, tile_px: int) -> int:
        """Places in a call for so many tiles."""
        return self.tiles if self.tiles is not None else min(_power_above(count), self.most(tile_px))

    def too_many_wait(self, tiles: int, pixels: int) -> bool:
        """Whether so many tiles of all shapes, with so many pixels, are more than should wait."""
        if self.tiles is not None:
            return tiles >= WAITING_BATCHES * self.tiles
        return pixels >= WAITING_BATCHES * self.pixels

    def halve(self, tile_px: int) -> bool:
        """After a call of tiles of so many pixels did not fit; False if it was a single tile."""
        if self.most(tile_px) == 1:
            return False
        if self.tiles is not None:
            self.tiles //= 2
        else:
            self.pixels = self.most(tile_px) // 2 * tile_px
        self.halvings += 1
        return True

    @property
    def is_learning(self) -> bool:
        """Whether what calls take is still of interest."""
        return self.tiles is None and not self.halvings and self._calls < _LEARNING_CALLS

    def learn(self, *, taken_bytes: int, taken_px: int, free_bytes: int) -> None:
        """Size the next batches by the most that a pixel of a call took so far.

        Parameters
        ----------
        taken_bytes, taken_px : int
            Most memory of a call beside what was there before, and its pixels.
        free_bytes : int
            Free memory before that call.
        """
        self._calls += 1
        self._a_pixel = max(self._a_pixel, taken_bytes / taken_px)
        self.pixels = min(int(SHARE * free_bytes / self._a_pixel), MOST_PX) if self._a_pixel else self.pixels


def _power_below(count: int) -> int:
    return 1 << (count.bit_length() - 1)


def _power_above(count: int) -> int:
    return 1 << (count - 1).bit_length()
