"""What a way through the network is to :class:`lysoquant.model.predict.Predictor`, and what all ways share."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lysoquant.errors import StageError
from lysoquant.model.tiles import Crop, Key, Source, Tile
from lysoquant.vocabulary import BACKGROUND, EMPTY, LOADED

CLASSES: Final[tuple[int, ...]] = (BACKGROUND, EMPTY, LOADED)
FOREGROUND: Final = slice(EMPTY, LOADED + 1)
"""Planes of the probabilities that tell endolysosomes."""


class Flow(Protocol):
    """Crops and tiles of one run of a predictor.

    Attributes
    ----------
    lag : int
        Crops that are done and held back, so that work goes on elsewhere while the first of them is waited for.
    """

    lag: int

    def load(self, key: Key, source: Source) -> Crop[Key]:
        """A crop where the network can see it."""
        ...

    def has_signal(self, tile: Tile[Key]) -> bool:
        """Whether the network need look at a tile; without signal it is background by definition."""
        ...

    def send(self, tiles: list[Tile[Key]]) -> None:
        """Send tiles of one shape through the network; `waiting` of their crops falls now or in `settle`."""
        ...

    def settle(self) -> None:
        """Wait for the oldest call that is not drawn yet."""
        ...

    def bring(self, crop: Crop[Key]) -> None:
        """Begin to bring the probabilities of a crop that is done."""
        ...

    def fetch(self, crop: Crop[Key]) -> NDArray[np.float32]:
        """Probabilities (planes, Y, X) of a crop that was brought."""
        ...


@dataclass
class Counts:
    """Calls of the network that succeeded, tiles sent through it and pixels of their images."""

    calls: int = 0
    tiles: int = 0
    pixels: int = 0

    def add(self, tiles: list[Tile[Key]]) -> None:
        """One call."""
        self.calls += 1
        self.tiles += len(tiles)
        self.pixels += sum(tile.pixels for tile in tiles)


def background(shape: tuple[int, ...], planes: slice) -> NDArray[np.float32]:
    """Probabilities (planes, *shape) of nothing."""
    probabilities = np.zeros((len(CLASSES[planes]), *shape), np.float32)
    if BACKGROUND in CLASSES[planes]:
        probabilities[BACKGROUND] = 1
    return probabilities


def deterministic(device: torch.device) -> AbstractContextManager[None]:
    """Context in which a GPU's convolutions give the same bits every time."""
    if device.type != "cuda":
        return nullcontext()
    now = torch.backends.cudnn
    return now.flags(enabled=now.enabled, benchmark=False, deterministic=True, allow_tf32=now.allow_tf32)


_OUT_OF_MEMORY: Final = (
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate",
)
"""What libraries under torch say in a plain RuntimeError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory did not do."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in _OUT_OF_MEMORY)


def does_not_fit(device: torch.device, shape: tuple[int, ...], *, model: str, tile_px: int) -> StageError:
    """The error for a single tile that is too much."""
    return StageError(
        f"{device.type}: out of memory with a single tile of {shape[0]} x {shape[1]} px of model "
        f"{model!r}; give a smaller segment.tile_px (it is {tile_px}), "
        "end what else uses that memory, or choose another device (execution.device)"
    )
