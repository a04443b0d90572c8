"""Tiles through the network without leaving the device: raw pixels go in, probabilities of whole crops come back.

A cell's raw pixels and mask are copied to the device while it works, normalised, resampled and cut there; batches are
replayed as graphs; what comes back is copied out while the next batch is computed. The processor only lines work up.
It runs on any device of torch; the tests run it on the processor. On a GPU it was never run: none was there.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lysoquant.errors import StageError
from lysoquant.model.batches import Batch
from lysoquant.model.flow import Counts, background, deterministic, does_not_fit, is_out_of_memory
from lysoquant.model.inference import resident_network
from lysoquant.model.lanes import Lanes
from lysoquant.model.precision import Precision
from lysoquant.model.preprocess import CellPixels
from lysoquant.model.preprocess_device import network_input_from, packed
from lysoquant.model.replay import Replays
from lysoquant.model.tiles import Crop, Key, Source, Tile, Tiler
from lysoquant.model.weights import Model

CROPS_ON_THEIR_WAY: Final = 8
"""Crops that are done are held back until so many came after them: the device always has work lined up."""


class DeviceNetwork:
    """The network on its device, with softmax, and tiles without signal made background."""

    def __init__(self, model: Model, lanes: Lanes, precision: Precision, *, tiler: Tiler, planes: slice) -> None:
        self.model, self.lanes, self.tiler, self.planes = model, lanes, tiler, planes
        self._network = resident_network(model.network, lanes.device, precision)
        with lanes.compute():
            self._nothing = torch.from_numpy(background((1, 1), slice(None))).to(lanes.device)
        self.replays = Replays(self._answer, lanes)
        self._marks: deque[tuple[Any, Any]] = deque()

    def background(self, shape: tuple[int, ...]) -> Tensor:
        """Probabilities (planes, *shape) of nothing, on the device."""
        return self._nothing[self.planes].repeat(1, *shape)

    def run(self, tiles: list[Tile[Key]], slots: int) -> tuple[Tensor, int]:
        """Answers (slots, planes, Y, X) for tiles of one shape, and the memory that a first call took."""
        with self.lanes.compute(), torch.inference_mode(), deterministic(self.lanes.device):
            given = self.replays.given((slots, tiles[0].crop.image.shape[0], *tiles[0].shape))
            given.zero_()
            for image, tile in zip(given, tiles, strict=False):
                part = self.tiler.image(tile)
                image[:, : part.shape[1], : part.shape[2]] = part
            began = self.lanes.mark()
            answer = self.lanes.taken_bytes(lambda: self.replays.call(given))
            self._marks.append((began, self.lanes.mark()))
            return answer

    def lap(self) -> dict[str, float]:
        """``network_seconds`` of the device in calls that ended since this was last asked, by its own clock."""
        total = 0.0
        while self._marks and (seconds := self.lanes.seconds(*self._marks[0])) is not None:
            self._marks.popleft()
            total += seconds
        return {"network_seconds": round(total, 6)}

    def _answer(self, images: Tensor) -> Tensor:
        probabilities = torch.softmax(self._network(images), dim=1)
        has_signal = images.flatten(1).any(dim=1)[:, None, None, None]
        return torch.where(has_signal, probabilities, self._nothing)[:, self.planes]


class GpuFlow:
    """One run of crops through a :class:`DeviceNetwork`."""

    lag = CROPS_ON_THEIR_WAY

    def __init__(self, network: DeviceNetwork, batch: Batch, counts: Counts, *, tile_px: int) -> None:
        self._network, self._batch, self._counts, self._tile_px = network, batch, counts, tile_px
        self._lanes = network.lanes

    def load(self, key: Key, source: Source) -> Crop[Key]:
        """Send a crop's pixels to the device, and line up what makes the network's image of them.

        A crop for which the device has no room stays in the processor's memory; only its tiles travel.
        """
        for _ in range(2):
            try:
                return self._on_device(key, source)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise self._trouble(error) from error
                self._give_back()
        image = source.network_input() if isinstance(source, CellPixels) else source
        return Crop(key, image, torch.from_numpy(background(tuple(image.shape[1:]), self._network.planes)), source)

    def _on_device(self, key: Key, source: Source) -> Crop[Key]:
        lanes = self._lanes
        moved = lanes.upload(packed(source) if isinstance(source, CellPixels) else source)
        with lanes.compute(), torch.inference_mode():
            image = network_input_from(moved, source) if isinstance(source, CellPixels) else moved
            return Crop(key, image, self._network.background(tuple(image.shape[1:])), source)

    def has_signal(self, tile: Tile[Key]) -> bool:
        """Whether a tile may have signal, as far as the processor can tell: by the cell's mask."""
        rows, columns = self._network.tiler.indices(tile)
        source = tile.crop.source
        if isinstance(source, CellPixels):
            return source.reaches(rows, columns)
        return source is None or bool(source[:, rows[:, None], columns].any())

    def send(self, tiles: list[Tile[Key]]) -> None:
        """Line up batches of these tiles, smaller ones where the memory does not do."""
        while tiles:
            part = tiles[: self._batch.most(tiles[0].pixels)]
            try:
                self._run(part)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise self._trouble(error) from error
                self._shrink(part[0])
                continue
            tiles = tiles[len(part) :]

    def _run(self, tiles: list[Tile[Key]]) -> None:
        slots = self._batch.slots(len(tiles), tiles[0].pixels)
        free_bytes = self._lanes.free_bytes() if self._batch.is_learning else None
        found, taken_bytes = self._network.run(tiles, slots)
        if free_bytes is not None:
            self._batch.learn(taken_bytes=taken_bytes, taken_px=slots * tiles[0].pixels, free_bytes=free_bytes)
        with self._lanes.compute(), torch.inference_mode():
            for tile, answer in zip(tiles, found, strict=False):
                tile.draw(answer)
        self._counts.add(tiles)
        for crop in {id(tile.crop): tile.crop for tile in tiles}.values():
            if crop.done:
                self.bring(crop)

    def settle(self) -> None:
        """Nothing is left to wait for: an answer's way into its crop is lined up with the call."""
        raise RuntimeError("a tile was neither sent nor background")

    def bring(self, crop: Crop[Key]) -> None:
        """Line up the copy to the processor's memory, and let go of the crop's memory on the device."""
        if crop.probabilities.device.type == self._lanes.device.type:
            crop.probabilities, crop.arrived = self._lanes.bring(crop.probabilities)
        crop.image, crop.source = crop.image.new_empty(0), None

    def fetch(self, crop: Crop[Key]) -> NDArray[np.float32]:
        """Probabilities (planes, Y, X), once they are there."""
        crop.arrived()
        found: NDArray[np.float32] = crop.probabilities.numpy()
        return found

    def _shrink(self, tile: Tile[Key]) -> None:
        self._give_back()
        if not self._batch.halve(tile.pixels):
            name = self._network.model.card.name
            raise does_not_fit(self._lanes.device, tile.shape, model=name, tile_px=self._tile_px)

    def _give_back(self) -> None:
        self._lanes.wait()
        self._network.replays.forget()
        self._lanes.release()

    def _trouble(self, error: BaseException) -> StageError:
        said = str(error).strip() or type(error).__name__
        return StageError(
            f"{self._lanes.device.type}: the network failed on segment's fast path ({said.splitlines()[0]}); set "
            "segment.gpu_path: plain, which does without what is new to the device, and report it"
        )
