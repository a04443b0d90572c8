"""Tiled prediction of many crops in full batches."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lysoquant.errors import InputError, StageError
from lysoquant.model.precision import Precision, autocast
from lysoquant.model.weights import Model
from lysoquant.vocabulary import BACKGROUND

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class TilePlan:
    """How crops are cut: square tiles of one size, their margins thrown away inside a crop.

    Attributes
    ----------
    tile_px : int
        Edge of a tile, a multiple of the network's 2 ** (levels - 1). For a network of valid convolutions the edge of
        what a tile answers for, rounded up to that multiple; its image is larger by the network's loss.
    overlap_px : int
        Margin on each side that is not used, except at the border of the crop. Valid convolutions need none.
    """

    tile_px: int
    overlap_px: int

    def __post_init__(self) -> None:
        if not 0 <= 2 * self.overlap_px < self.tile_px:
            raise InputError(
                f"overlap_px is {self.overlap_px} and tile_px is {self.tile_px}; "
                "expected an overlap of less than half a tile"
            )

    def cuts(self, length: int) -> list[tuple[int, slice]]:
        """Start of each tile along an edge and the part of the edge that it answers for; the parts abut."""
        if length <= self.tile_px:
            return [(0, slice(0, length))]
        stride = self.tile_px - 2 * self.overlap_px
        starts = [*range(0, length - self.tile_px, stride), length - self.tile_px]
        edges = [start + self.overlap_px for start in starts[1:]]
        return [
            (start, slice(low, high)) for start, low, high in zip(starts, [0, *edges], [*edges, length], strict=True)
        ]


def abutting_cuts(length: int, stride: int) -> list[tuple[int, slice]]:
    """Start of each tile along an edge and the part of the edge that it answers for, all parts but the last equal."""
    return [(start, slice(start, min(start + stride, length))) for start in range(0, length, stride)]


def mirrored(start: int, size: int, length: int) -> Tensor:
    """Indices into an edge of `length` pixels for `size` pixels from `start`, which may lie outside.

    Beyond the edge the image is mirrored without repeating the border pixel, as often as it takes: the ``reflect`` of
    numpy.pad.
    """
    period = max(2 * (length - 1), 1)
    position = torch.arange(start, start + size) % period
    return torch.minimum(position, period - position) if length > 1 else position


@dataclass
class _Crop(Generic[Key]):
    key: Key
    image: Tensor
    probabilities: NDArray[np.float32]
    waiting: int = 0
    complete: bool = False


@dataclass
class Predictor:
    """A model on a device, fed with crops of any size.

    On the processor a tile's probabilities depend on the tile alone, to the last bit: not on other tiles, the number of
    threads or the size of a batch. Each goes through the network by itself and in one thread, with as many side by side
    as torch has threads, since arithmetic shared between threads adds up in another order with another number of them.
    A GPU gets batches that are always full, if with nothing, and cuDNN's deterministic algorithms; another size of
    batch may change last bits there.

    A network of valid convolutions answers for tiles that abut; the image of a tile reaches half the network's loss
    further on each side, and is mirrored beyond the crop. Steps between tiles are multiples of the network's coarsest
    pixel, so that the result does not depend on the size of the tiles.

    Where the memory does not do for a batch, the batch is halved, and stays so: the run goes on, only slower.

    Attributes
    ----------
    batch_size : int
        Tiles in memory at a time: on a GPU those of one call of the network, on the processor at least one a thread.
        Smaller than what was asked for once the memory did not do.
    calls, tiles : int
        Batches that succeeded and tiles sent through the network so far.
    halvings : int
        How often the batch was halved so far.
    """

    model: Model
    device: torch.device
    plan: TilePlan
    batch_size: int
    precision: Precision = "auto"
    calls: int = field(default=0, init=False)
    tiles: int = field(default=0, init=False)
    halvings: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._one_by_one = tiles_go_one_by_one(self.device)
        if self._one_by_one:
            threads = torch.get_num_threads()
            self.batch_size = max(self.batch_size, threads)
            # The initializer counts for the pool's own threads only.
            self._threads = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        architecture = self.model.card.architecture
        self._valid = architecture.padding == "valid"
        self._margin = architecture.loss_px // 2
        above = -(-self.plan.tile_px // architecture.multiple) * architecture.multiple
        if above != self.plan.tile_px and not self._valid:
            raise InputError(
                f"tile_px is {self.plan.tile_px}; the {architecture.levels} levels of model "
                f"{self.model.card.name!r} need a multiple of {architecture.multiple}; give {above}"
            )
        self._stride = above
        self._image_px = architecture.answer_px(above) + architecture.loss_px
        self._network = self.model.network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def predict(self, crops: Iterable[tuple[Key, Tensor]]) -> Iterator[tuple[Key, NDArray[np.float32]]]:
        """Class probabilities of crops, in the order in which the crops came.

        Parameters
        ----------
        crops : iterable of (key, float32 tensor (C, Y, X))
            Crops as :func:`lysoquant.model.preprocess.network_input` makes them. Tiles of many crops share a batch;
            a tile whose whole image has no signal (outside the cell) is background by definition and costs nothing.

        Yields
        ------
        key, float32 array (3, Y, X)
            Softmax of background, empty, loaded.

        Raises
        ------
        StageError
            If the memory does not do for a single tile.
        """
        pending: list[_Crop[Key]] = []
        batch: list[tuple[_Crop[Key], int, int, slice, slice]] = []
        for key, image in crops:
            crop = _Crop(key, image, _background(tuple(image.shape[1:])))
            pending.append(crop)
            for row, rows in self._cuts(image.shape[1]):
                for column, columns in self._cuts(image.shape[2]):
                    if self._tile(image, row, column).any():
                        crop.waiting += 1
                        batch.append((crop, row, column, rows, columns))
                        if len(batch) >= self.batch_size:
                            self._run(batch)
                            batch = []
            crop.complete = True
            while pending and pending[0].complete and not pending[0].waiting:
                done = pending.pop(0)
                yield done.key, done.probabilities
        if batch:
            self._run(batch)
        for done in pending:
            yield done.key, done.probabilities

    def _cuts(self, length: int) -> list[tuple[int, slice]]:
        return abutting_cuts(length, self._stride) if self._valid else self.plan.cuts(length)

    def _tile(self, image: Tensor, row: int, column: int) -> Tensor:
        """Image of the tile whose answer begins at (row, column)."""
        size = self._image_px
        if not self._valid:
            return image[:, row : row + size, column : column + size]
        rows, columns = (
            mirrored(start - self._margin, size, length)
            for start, length in zip((row, column), image.shape[1:], strict=True)
        )
        return image[:, rows[:, None], columns]

    def _run(self, batch: list[tuple[_Crop[Key], int, int, slice, slice]]) -> None:
        """Send tiles through the network, in smaller batches where the memory does not do for one."""
        while batch:
            part = batch[: self.batch_size]
            if self._send(part):
                batch = batch[len(part) :]
            else:
                self._halve()

    def _halve(self) -> None:
        if self.batch_size == 1:
            raise StageError(
                f"{self.device.type}: out of memory with a single tile of {self._image_px} px of model "
                f"{self.model.card.name!r}; give a smaller segment.tile_px (it is {self.plan.tile_px}), "
                "end what else uses that memory, or choose another device (execution.device)"
            )
        self.batch_size //= 2
        self.halvings += 1
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _send(self, batch: list[tuple[_Crop[Key], int, int, slice, slice]]) -> bool:
        """One call of the network; False where the memory does not do, with nothing of the attempt kept."""
        try:
            probabilities = self._probabilities(batch)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            return False
        self.calls += 1
        self.tiles += len(batch)
        for (crop, row, column, rows, columns), found in zip(batch, probabilities, strict=True):
            inner = found[:, rows.start - row : rows.stop - row, columns.start - column : columns.stop - column]
            crop.probabilities[:, rows, columns] = inner
            crop.waiting -= 1
        return True

    def _probabilities(self, batch: list[tuple[_Crop[Key], int, int, slice, slice]]) -> list[NDArray[np.float32]]:
        """Softmax of each tile: (3, Y, X)."""
        size = self._image_px
        tiles = [torch.zeros((1, crop.image.shape[0], size, size)) for crop, *_ in batch]
        for tile, (crop, row, column, _, _) in zip(tiles, batch, strict=True):
            part = self._tile(crop.image, row, column)
            tile[0, :, : part.shape[1], : part.shape[2]] = part
        if self._one_by_one:
            return [found[0] for found in self._threads.map(self._softmax, tiles)]
        full = [*tiles, *[torch.zeros_like(tiles[0])] * (self.batch_size - len(batch))]
        return list(self._softmax(torch.cat(full))[: len(batch)])

    def _softmax(self, tiles: Tensor) -> NDArray[np.float32]:
        """One call of the network: (tiles, 3, Y, X)."""
        with torch.inference_mode(), autocast(self.device, self.precision), _deterministic(self.device):
            scores = self._network(tiles.to(self.device).contiguous(memory_format=torch.channels_last))
            probabilities: NDArray[np.float32] = torch.softmax(scores.float(), dim=1).cpu().numpy()
        return probabilities


def tiles_go_one_by_one(device: torch.device) -> bool:
    """Whether tiles go through the network each by itself, side by side in threads, and not in one call for a batch."""
    return device.type == "cpu"


def _deterministic(device: torch.device) -> AbstractContextManager[None]:
    """Context in which a GPU's convolutions give the same bits every time."""
    if device.type != "cuda":
        return nullcontext()
    now = torch.backends.cudnn
    return now.flags(enabled=now.enabled, benchmark=False, deterministic=True, allow_tf32=now.allow_tf32)


_OUT_OF_MEMORY = ("CUDNN_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_ALLOC_FAILED", "DefaultCPUAllocator: can't allocate")
"""What libraries under torch say in a plain RuntimeError."""


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in _OUT_OF_MEMORY)


def _background(shape: tuple[int, ...]) -> NDArray[np.float32]:
    probabilities = np.zeros((3, *shape), np.float32)
    probabilities[BACKGROUND] = 1
    return probabilities
