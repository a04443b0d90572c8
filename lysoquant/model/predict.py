"""Tiled prediction of many crops in full batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from lysoquant.model.batches import Batch, BatchChoice, bytes_a_pixel
from lysoquant.model.cuts import TilePlan
from lysoquant.model.flow import Counts, Flow
from lysoquant.model.gpu_flow import DeviceNetwork, GpuFlow
from lysoquant.model.host_flow import HostFlow, HostNetwork
from lysoquant.model.lanes import lanes_of
from lysoquant.model.precision import Precision, resolve_precision
from lysoquant.model.tiles import Crop, Key, Source, Tile, Tiler
from lysoquant.model.weights import Model

GpuPath = Literal["fast", "plain"]


class Predictor:
    """A model on a device, fed with crops of any size.

    On the processor a tile's probabilities depend on the tile alone, to the last bit: not on other tiles, the number of
    threads or the size of a batch. Each goes through the network by itself and in one thread, with as many side by side
    as torch has threads, since arithmetic shared between threads adds up in another order with another number of them.
    A GPU gets batches of tiles of one shape and cuDNN's deterministic algorithms; another size of batch may change last
    bits there. A given number of tiles is in every batch, if with nothing; under "auto" a batch has as many as the
    memory holds, or the next power of two of those that are left.

    While the network works, the caller goes on: it makes the next crops and uses those that are done. What is waited
    for and when depends on the crops alone, so that their order, and the counts at each, are always the same.

    A network of valid convolutions answers for tiles that abut; the image of a tile reaches half the network's loss
    further on each side, and is mirrored beyond the crop. Steps between tiles are multiples of the network's coarsest
    pixel, so that the result does not depend on the size of the tiles.

    Where the memory does not do for a batch, the batch is halved, and stays so: the run goes on, only slower.

    Parameters
    ----------
    batch_size : int or "auto"
        Tiles in memory at a time: on a GPU those of one call of the network, on the processor at least two a thread.
    planes : slice
        Of background, empty and loaded, those that are wanted.
    gpu_path : {"fast", "plain"}
        fast: on a GPU all between raw pixels and probabilities happens there (:mod:`lysoquant.model.gpu_flow`); plain:
        only the network does.
    """

    def __init__(
        self,
        model: Model,
        device: torch.device,
        plan: TilePlan,
        batch_size: BatchChoice,
        precision: Precision = "auto",
        *,
        planes: slice = slice(None),
        gpu_path: GpuPath = "fast",
    ) -> None:
        self.model, self.device, self.plan = model, device, plan
        self._tiler = Tiler(plan, model.card)
        self._counts = Counts()
        stays = stays_on_device(device) and gpu_path == "fast"
        one_by_one = not stays and tiles_go_one_by_one(device)
        self._network: HostNetwork | DeviceNetwork
        lanes = lanes_of(device)
        if stays:
            self._network = DeviceNetwork(model, lanes, precision, tiler=self._tiler, planes=planes)
        else:
            self._network = HostNetwork(
                model, device, precision, tiler=self._tiler, planes=planes, one_by_one=one_by_one
            )
        if one_by_one:
            side_by_side = 2 * torch.get_num_threads()
            batch_size = side_by_side if batch_size == "auto" else max(batch_size, side_by_side)
        element_bytes = 2 if resolve_precision(precision, device) == "bf16" else 4
        self._batch = Batch.choose(
            batch_size,
            largest_px=self._largest_px,
            a_pixel=bytes_a_pixel(model.card.architecture, element_bytes=element_bytes),
            free_bytes=lanes.free_bytes(),
        )

    @property
    def _largest_px(self) -> int:
        height, width = self._tiler.largest_shape
        return height * width

    @property
    def batch_size(self) -> int:
        """Largest tiles in a batch now: fewer than asked for once the memory did not do."""
        return self._batch.most(self._largest_px)

    @property
    def calls(self) -> int:
        """Calls of the network that succeeded so far."""
        return self._counts.calls

    @property
    def tiles(self) -> int:
        """Tiles sent through the network so far."""
        return self._counts.tiles

    @property
    def pixels(self) -> int:
        """Pixels of the images of these tiles."""
        return self._counts.pixels

    @property
    def halvings(self) -> int:
        """How often the batch was halved so far."""
        return self._batch.halvings

    @property
    def way(self) -> dict[str, str | int]:
        """How the network was called: in which path, and on a GPU how many calls were replays, or why none."""
        if isinstance(self._network, HostNetwork):
            return {"path": "processor" if self._network.one_by_one else "plain"}
        replays = self._network.replays
        told: dict[str, str | int] = {"path": "fast", "replayed_calls": replays.replayed}
        return told | ({"not_recorded": replays.reason} if replays.reason else {})

    def network_time(self) -> dict[str, float]:
        """``network_seconds`` and, where threads wait for the calls, ``network_cpu_seconds`` since this was last asked.

        On a GPU's fast path nobody waits: the seconds are the device's own, of calls that it is done with.
        """
        network = self._network
        return network.clock.lap() if isinstance(network, HostNetwork) else network.lap()

    def predict(self, crops: Iterable[tuple[Key, Source]]) -> Iterator[tuple[Key, NDArray[np.float32]]]:
        """Class probabilities of crops, in the order in which the crops came.

        Parameters
        ----------
        crops : iterable of (key, CellPixels or float32 tensor (C, Y, X))
            Crops as they were acquired, or as :func:`lysoquant.model.preprocess.network_input` makes them. Tiles of
            many crops share a batch; a tile whose whole image has no signal (outside the cell) is background by
            definition and costs nothing.

        Yields
        ------
        key, float32 array (planes, Y, X)
            Softmax of background, empty, loaded, as far as they are wanted.

        Raises
        ------
        StageError
            If the memory does not do for a single tile.
        """
        flow = self._flow()
        pending: deque[Crop[Key]] = deque()
        groups: dict[tuple[int, int], list[Tile[Key]]] = {}
        for key, source in crops:
            crop = flow.load(key, source)
            pending.append(crop)
            for tile in self._tiler.tiles(crop):
                if flow.has_signal(tile):
                    crop.waiting += 1
                    self._group(tile, groups, flow)
            crop.complete = True
            if crop.done:
                flow.bring(crop)
            while len(pending) > flow.lag and pending[0].done:
                yield pending[0].key, flow.fetch(pending.popleft())
        for group in groups.values():
            flow.send(group)
        while pending:
            while pending[0].waiting:
                flow.settle()
            yield pending[0].key, flow.fetch(pending.popleft())

    def _flow(self) -> Flow:
        if isinstance(self._network, HostNetwork):
            return HostFlow(self._network, self._batch, self._counts, tile_px=self.plan.tile_px)
        return GpuFlow(self._network, self._batch, self._counts, tile_px=self.plan.tile_px)

    def _group(self, tile: Tile[Key], groups: dict[tuple[int, int], list[Tile[Key]]], flow: Flow) -> None:
        """Put a tile with those of its shape; send these if they fill a batch, or the oldest if too many wait."""
        group = groups.setdefault(tile.shape, [])
        group.append(tile)
        if self._sends_at_once or len(group) >= self._batch.most(tile.pixels):
            flow.send(groups.pop(tile.shape))
            return
        waiting = [other.pixels for group in groups.values() for other in group]
        if self._batch.too_many_wait(len(waiting), sum(waiting)):
            flow.send(groups.pop(next(iter(groups))))

    @property
    def _sends_at_once(self) -> bool:
        return isinstance(self._network, HostNetwork) and self._network.one_by_one


def tiles_go_one_by_one(device: torch.device) -> bool:
    """Whether tiles go through the network each by itself, side by side in threads, and not in one call for a batch."""
    return device.type == "cpu"


def stays_on_device(device: torch.device) -> bool:
    """Whether a crop's way from raw pixels to probabilities can lie on the device."""
    return device.type == "cuda"
