"""Tiles through the network from and to the processor's memory."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lysoquant.model.batches import Batch
from lysoquant.model.clock import NetworkClock
from lysoquant.model.flow import Counts, background, deterministic, does_not_fit, is_out_of_memory
from lysoquant.model.inference import inference_network
from lysoquant.model.precision import Precision
from lysoquant.model.tiles import Crop, Key, Source, Tile, Tiler
from lysoquant.model.weights import Model


class HostNetwork:
    """The network and the threads that call it; crops and answers stay in the processor's memory.

    On the processor (`one_by_one`) each tile goes through the network by itself and in one thread, side by side with
    others. A GPU gets batches of tiles of one shape, one call at a time.
    """

    def __init__(
        self, model: Model, device: torch.device, precision: Precision, *, tiler: Tiler, planes: slice, one_by_one: bool
    ) -> None:
        self.model, self.device, self.tiler, self.planes, self.one_by_one = model, device, tiler, planes, one_by_one
        # The initializer counts for the pool's own threads only.
        self.threads = (
            ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,))
            if one_by_one
            else ThreadPoolExecutor(1)
        )
        self._network = inference_network(model.network, device, precision)
        self.clock = NetworkClock()

    def submit(self, tiles: list[Tile[Any]], slots: int) -> Future[Tensor]:
        """Have tiles of one shape go through the network."""
        return self.threads.submit(self._probabilities, tiles, 1 if self.one_by_one else slots)

    def _probabilities(self, tiles: list[Tile[Any]], slots: int) -> Tensor:
        """One call of the network: softmax of each tile, (tiles, planes, Y, X)."""
        images = torch.zeros((slots, tiles[0].crop.image.shape[0], *tiles[0].shape))
        for image, tile in zip(images, tiles, strict=False):
            part = self.tiler.image(tile)
            image[:, : part.shape[1], : part.shape[2]] = part
        with self.clock.call(), torch.inference_mode(), deterministic(self.device):
            scores = self._network(images.to(self.device))
            return torch.softmax(scores, dim=1)[: len(tiles), self.planes].cpu()


@dataclass
class _Call:
    """Tiles on their way through the network; without a result where the memory did not do for them."""

    tiles: list[Tile[Any]]
    result: Future[Tensor] | None


class HostFlow:
    """One run of tiles through a :class:`HostNetwork`."""

    lag = 0

    def __init__(self, network: HostNetwork, batch: Batch, counts: Counts, *, tile_px: int) -> None:
        self._network, self._batch, self._counts, self._tile_px = network, batch, counts, tile_px
        self._working: deque[_Call] = deque()

    def load(self, key: Key, source: Source) -> Crop[Key]:
        """The crop as the network sees it."""
        image = source if isinstance(source, Tensor) else source.network_input()
        empty = background(tuple(image.shape[1:]), self._network.planes)
        return Crop(key, image, torch.from_numpy(empty))

    def has_signal(self, tile: Tile[Key]) -> bool:
        """Whether any pixel of a tile's image is not zero."""
        return bool(self._network.tiler.image(tile).any())

    def bring(self, crop: Crop[Key]) -> None:
        """It is there already."""

    def fetch(self, crop: Crop[Key]) -> NDArray[np.float32]:
        """Probabilities (planes, Y, X)."""
        found: NDArray[np.float32] = crop.probabilities.numpy()
        return found

    def send(self, tiles: list[Tile[Key]]) -> None:
        """Send tiles of one shape off; before or after, wait for the oldest so that no more are in memory."""
        one_by_one = self._network.one_by_one
        while self._working and not one_by_one:
            self.settle()
        if not one_by_one and len(tiles) > self._batch.most(tiles[0].pixels):
            self._run(tiles)
            return
        self._working.append(_Call(tiles, self._submit(tiles)))
        while one_by_one and len(self._working) >= self._batch.most(tiles[0].pixels):
            self.settle()

    def settle(self) -> None:
        """Wait for the oldest call. If the memory did not do, wait for all and go on with a smaller batch."""
        call = self._working.popleft()
        if call.result is not None:
            try:
                self._take(call.tiles, call.result.result())
                return
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            for other in self._working:
                error_of_other = other.result.exception() if other.result else None
                if error_of_other is not None and is_out_of_memory(error_of_other):
                    other.result = None
            self._halve(call.tiles[0])
        self._run(call.tiles)

    def _submit(self, tiles: list[Tile[Any]]) -> Future[Tensor]:
        return self._network.submit(tiles, self._batch.slots(len(tiles), tiles[0].pixels))

    def _run(self, tiles: list[Tile[Any]]) -> None:
        """Send tiles through the network while nothing else goes, in smaller batches where the memory does not do."""
        while tiles:
            part = tiles[: self._batch.most(tiles[0].pixels)]
            try:
                found = self._submit(part).result()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(part[0])
                continue
            self._take(part, found)
            tiles = tiles[len(part) :]

    def _halve(self, tile: Tile[Any]) -> None:
        network = self._network
        if not self._batch.halve(tile.pixels):
            raise does_not_fit(network.device, tile.shape, model=network.model.card.name, tile_px=self._tile_px)
        if network.device.type == "cuda":
            torch.cuda.empty_cache()

    def _take(self, tiles: list[Tile[Any]], probabilities: Tensor) -> None:
        """Draw what the network answered into the crops."""
        self._counts.add(tiles)
        for tile, found in zip(tiles, probabilities, strict=True):
            tile.draw(found)
