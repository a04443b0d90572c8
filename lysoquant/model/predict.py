"""Tiled prediction of many crops in full batches."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lysoquant.errors import InputError, StageError
from lysoquant.model.inference import inference_network
from lysoquant.model.precision import Precision
from lysoquant.model.weights import Model
from lysoquant.vocabulary import BACKGROUND

Key = TypeVar("Key", bound=Hashable)

WAITING_BATCHES: Final = 4
"""As many batches of tiles of any shape wait on a GPU at most; then the shape that waits longest goes, full or not."""


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
        shared = _up(2 * self.overlap_px, multiple)
        if shared >= self.tile_px:
            multiple, shared = 1, 2 * self.overlap_px
        whole = _up(length, multiple)
        step = max(EDGE_PX, multiple)
        if whole <= self.tile_px:
            return Cuts(min(_up(whole, step), self.tile_px), ((0, slice(0, length)),))
        count = -(-(whole - shared) // (self.tile_px - shared))
        size = min(_up(-(-(whole + (count - 1) * shared) // count), step), self.tile_px)
        last = max(whole - size, 0) // multiple
        starts = [number * last // (count - 1) * multiple for number in range(count)]
        edges = [(before + size + start) // 2 for before, start in itertools.pairwise(starts)]
        parts = itertools.pairwise([0, *edges, length])
        return Cuts(size, tuple((start, slice(*part)) for start, part in zip(starts, parts, strict=True)))


def abutting_cuts(length: int, largest: int, *, multiple: int = 1) -> Cuts:
    """The fewest tiles along an edge whose answers abut, all but the last equal; multiples of `multiple`."""
    count = -(-length // largest)
    size = _up(-(-length // count), multiple)
    return Cuts(size, tuple((start, slice(start, min(start + size, length))) for start in range(0, length, size)))


def _up(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


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


@dataclass(frozen=True)
class _Tile(Generic[Key]):
    """What a tile answers for, and where its own image begins; `shape` is that image's."""

    crop: _Crop[Key]
    row: int
    column: int
    rows: slice
    columns: slice
    shape: tuple[int, int]


@dataclass
class _Call(Generic[Key]):
    """Tiles on their way through the network; without a result where the memory did not do for them."""

    tiles: list[_Tile[Key]]
    result: Future[NDArray[np.float32]] | None


@dataclass
class Predictor:
    """A model on a device, fed with crops of any size.

    On the processor a tile's probabilities depend on the tile alone, to the last bit: not on other tiles, the number of
    threads or the size of a batch. Each goes through the network by itself and in one thread, with as many side by side
    as torch has threads, since arithmetic shared between threads adds up in another order with another number of them.
    A GPU gets batches of tiles of one shape that are always full, if with nothing, and cuDNN's deterministic
    algorithms; another size of batch may change last bits there.

    While the network works, the caller goes on: it makes the next crops and uses those that are done. What is waited
    for and when depends on the crops alone, so that their order, and the counts at each, are always the same.

    A network of valid convolutions answers for tiles that abut; the image of a tile reaches half the network's loss
    further on each side, and is mirrored beyond the crop. Steps between tiles are multiples of the network's coarsest
    pixel, so that the result does not depend on the size of the tiles.

    Where the memory does not do for a batch, the batch is halved, and stays so: the run goes on, only slower.

    Attributes
    ----------
    batch_size : int
        Tiles in memory at a time: on a GPU those of one call of the network, on the processor at least two a thread.
        Smaller than what was asked for once the memory did not do.
    calls, tiles, pixels : int
        Calls of the network that succeeded, the tiles sent through it so far and the pixels of their images.
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
    pixels: int = field(default=0, init=False)
    halvings: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._one_by_one = tiles_go_one_by_one(self.device)
        threads = torch.get_num_threads() if self._one_by_one else 1
        if self._one_by_one:
            self.batch_size = max(self.batch_size, 2 * threads)
        # The initializer counts for the pool's own threads only.
        self._threads = (
            ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
            if self._one_by_one
            else ThreadPoolExecutor(1)
        )
        architecture = self.model.card.architecture
        self._multiple = architecture.multiple
        self._valid = architecture.padding == "valid"
        self._margin = architecture.loss_px // 2
        above = _up(self.plan.tile_px, self._multiple)
        if above != self.plan.tile_px and not self._valid:
            raise InputError(
                f"tile_px is {self.plan.tile_px}; the {architecture.levels} levels of model "
                f"{self.model.card.name!r} need a multiple of {self._multiple}; give {above}"
            )
        self._largest = above
        self._network = inference_network(self.model.network, self.device, self.precision)

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
        pending: deque[_Crop[Key]] = deque()
        groups: dict[tuple[int, int], list[_Tile[Key]]] = {}
        working: deque[_Call[Key]] = deque()
        for key, image in crops:
            crop = _Crop(key, image, _background(tuple(image.shape[1:])))
            pending.append(crop)
            for tile in self._tiles(crop):
                crop.waiting += 1
                group = groups.setdefault(tile.shape, [])
                group.append(tile)
                if self._one_by_one or len(group) >= self.batch_size:
                    self._send(groups.pop(tile.shape), working)
                elif sum(map(len, groups.values())) >= WAITING_BATCHES * self.batch_size:
                    self._send(groups.pop(next(iter(groups))), working)
            crop.complete = True
            while pending and pending[0].complete and not pending[0].waiting:
                done = pending.popleft()
                yield done.key, done.probabilities
        for group in groups.values():
            self._send(group, working)
        while pending:
            while pending[0].waiting:
                self._settle(working)
            done = pending.popleft()
            yield done.key, done.probabilities

    def _tiles(self, crop: _Crop[Key]) -> Iterator[_Tile[Key]]:
        """Tiles of a crop that hold any signal."""
        height, width = (self._cuts(length) for length in crop.image.shape[1:])
        shape = self._image_px(height.size), self._image_px(width.size)
        for row, rows in height.tiles:
            for column, columns in width.tiles:
                tile = _Tile(crop, row, column, rows, columns, shape)
                if self._image(tile).any():
                    yield tile

    def _cuts(self, length: int) -> Cuts:
        if self._valid:
            return abutting_cuts(length, self._largest, multiple=self._multiple)
        return self.plan.cuts(length, multiple=self._multiple)

    def _image_px(self, size: int) -> int:
        """Edge of the image of a tile that answers for `size` pixels."""
        architecture = self.model.card.architecture
        return architecture.answer_px(size) + architecture.loss_px if self._valid else size

    def _image(self, tile: _Tile[Key]) -> Tensor:
        """Image of a tile, as far as there is one."""
        image = tile.crop.image
        height, width = tile.shape
        if not self._valid:
            return image[:, tile.row : tile.row + height, tile.column : tile.column + width]
        rows, columns = (
            mirrored(start - self._margin, size, length)
            for start, size, length in zip((tile.row, tile.column), tile.shape, image.shape[1:], strict=True)
        )
        return image[:, rows[:, None], columns]

    def _send(self, tiles: list[_Tile[Key]], working: deque[_Call[Key]]) -> None:
        """Send tiles of one shape off; before or after, wait for the oldest so that no more are in memory."""
        if not self._one_by_one:
            while working:
                self._settle(working)
            if len(tiles) > self.batch_size:
                self._run(tiles)
                return
        working.append(_Call(tiles, self._threads.submit(self._probabilities, tiles)))
        while self._one_by_one and len(working) >= self.batch_size:
            self._settle(working)

    def _settle(self, working: deque[_Call[Key]]) -> None:
        """Wait for the oldest call. If the memory did not do, wait for all and go on with a smaller batch."""
        call = working.popleft()
        if call.result is not None:
            try:
                self._take(call.tiles, call.result.result())
                return
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
            for other in working:
                error_of_other = other.result.exception() if other.result else None
                if error_of_other is not None and _is_out_of_memory(error_of_other):
                    other.result = None
            self._halve(call.tiles[0].shape)
        self._run(call.tiles)

    def _run(self, tiles: list[_Tile[Key]]) -> None:
        """Send tiles through the network while nothing else goes, in smaller batches where the memory does not do."""
        while tiles:
            part = tiles[: self.batch_size]
            try:
                found = self._threads.submit(self._probabilities, part).result()
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._halve(part[0].shape)
                continue
            self._take(part, found)
            tiles = tiles[len(part) :]

    def _halve(self, shape: tuple[int, int]) -> None:
        if self.batch_size == 1:
            raise StageError(
                f"{self.device.type}: out of memory with a single tile of {shape[0]} x {shape[1]} px of model "
                f"{self.model.card.name!r}; give a smaller segment.tile_px (it is {self.plan.tile_px}), "
                "end what else uses that memory, or choose another device (execution.device)"
            )
        self.batch_size //= 2
        self.halvings += 1
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _take(self, tiles: list[_Tile[Key]], probabilities: NDArray[np.float32]) -> None:
        """Draw what the network answered into the crops."""
        self.calls += 1
        self.tiles += len(tiles)
        for tile, found in zip(tiles, probabilities, strict=True):
            self.pixels += tile.shape[0] * tile.shape[1]
            rows, columns = tile.rows, tile.columns
            row, column = tile.row, tile.column
            inner = found[:, rows.start - row : rows.stop - row, columns.start - column : columns.stop - column]
            tile.crop.probabilities[:, rows, columns] = inner
            tile.crop.waiting -= 1

    def _probabilities(self, tiles: list[_Tile[Key]]) -> NDArray[np.float32]:
        """One call of the network: softmax of each tile, (tiles, 3, Y, X)."""
        count = 1 if self._one_by_one else self.batch_size
        images = torch.zeros((count, tiles[0].crop.image.shape[0], *tiles[0].shape))
        for image, tile in zip(images, tiles, strict=False):
            part = self._image(tile)
            image[:, : part.shape[1], : part.shape[2]] = part
        with torch.inference_mode(), _deterministic(self.device):
            scores = self._network(images.to(self.device))
            probabilities: NDArray[np.float32] = torch.softmax(scores, dim=1)[: len(tiles)].cpu().numpy()
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


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in _OUT_OF_MEMORY)


def _background(shape: tuple[int, ...]) -> NDArray[np.float32]:
    probabilities = np.zeros((3, *shape), np.float32)
    probabilities[BACKGROUND] = 1
    return probabilities
