"""Training tiles: whole cells prepared once, tiles drawn from them where endolysosomes are."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from lysoquant.examples.example import Example
from lysoquant.model.preprocess import Normalization
from lysoquant.train.augment import Augmentation, sample, sampling_points, vary_intensities
from lysoquant.train.loss import LossWeights, pixel_weights, separate_touching
from lysoquant.train.sources import Source
from lysoquant.vocabulary import BACKGROUND

_LANES = 8
"""Batches in turn come from this many different sets of cells, whatever the number of processes."""


@dataclass(frozen=True)
class TileSettings:
    """How tiles are cut.

    Attributes
    ----------
    tile_px : int
        Edge of the part of a tile that the network answers for.
    margin_px : int
        What a network with valid convolutions needs besides on each side.
    jitter_px : float
        Largest shift of a tile's centre from the pixel that was drawn.
    tiles_per_scene : int
        Tiles from one set of cells before the next is made.
    """

    tile_px: int = 384
    margin_px: int = 0
    jitter_px: float = 32.0
    tiles_per_scene: int = 8
    normalization: Normalization = "cell"
    in_channels: int = 3
    augmentation: Augmentation = field(default_factory=Augmentation)
    weights: LossWeights = field(default_factory=LossWeights)


@dataclass(frozen=True)
class PreparedCell:
    """A cell ready to be cut: planes float16 (C, Y, X), classes uint8 and weights float16 (Y, X).

    `chance` is the running sum, along the flat cell, of the chance of each pixel to be a tile's centre.
    """

    planes: Tensor
    classes: Tensor
    weights: Tensor
    chance: NDArray[np.float64]


def prepare(example: Example, settings: TileSettings) -> PreparedCell:
    """Normalise, weigh and separate one cell.

    Tiles are drawn with density 1 on foreground and v (the weights' balance) on background, hardly ever outside
    the cell.
    """
    image = example.network_input(normalization=settings.normalization, in_channels=settings.in_channels)
    classes = example.class_map
    classes[separate_touching(example.regions)] = BACKGROUND
    weights = pixel_weights(example.regions, classes, settings.weights)
    weights[example.ignored] = 0
    density = np.where(classes != BACKGROUND, 1.0, settings.weights.balance)
    density[~image.numpy().any(axis=0)] *= 1e-3
    return PreparedCell(
        planes=image[:2].half(),
        classes=torch.from_numpy(classes),
        weights=torch.from_numpy(weights.astype(np.float16)),
        chance=np.cumsum(density, dtype=np.float64),
    )


def draw_tile(cell: PreparedCell, settings: TileSettings, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """One augmented tile.

    Returns
    -------
    image, classes, weights
        float32 (in_channels, S + 2 margin, S + 2 margin), int64 (S, S), float32 (S, S).
    """
    drawn = np.searchsorted(cell.chance, rng.random() * cell.chance[-1], side="right")
    centre = np.array(np.unravel_index(min(int(drawn), len(cell.chance) - 1), cell.classes.shape), np.float64)
    centre += rng.uniform(-settings.jitter_px, settings.jitter_px, 2)
    margin = settings.margin_px
    points = sampling_points(centre, settings.tile_px + 2 * margin, settings.augmentation, rng)
    planes = sample(cell.planes, points, mirror=margin > 0)
    inner = points[:, margin : margin + settings.tile_px, margin : margin + settings.tile_px]
    labels = torch.stack([cell.classes.float(), cell.weights.float()])
    classes, weights = sample(labels, inner, mode="nearest", mirror=margin > 0)
    image = torch.zeros((settings.in_channels, *planes.shape[1:]))
    image[:2] = torch.from_numpy(vary_intensities(planes.numpy(), settings.augmentation, rng))
    return image, classes.long(), weights


class TileStream(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """Endless batches; batch b is the same whatever the number of worker processes, and wherever a run begins.

    Each tile of a batch comes from another set of cells. A set serves `tiles_per_scene` tiles, eight batches apart.
    """

    def __init__(
        self, source: Source, settings: TileSettings, *, seed: int, batch_size: int, first_batch: int = 0
    ) -> None:
        self.source, self.settings, self.seed = source, settings, seed
        self.batch_size, self.first_batch = batch_size, first_batch
        self._cells: OrderedDict[int, list[PreparedCell]] = OrderedDict()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        worker = get_worker_info()
        step, offset = (worker.num_workers, worker.id) if worker else (1, 0)
        number = self.first_batch + offset
        while True:
            yield self.batch(number)
            number += step

    def batch(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images, classes and weights of one batch, stacked."""
        turn, lane = divmod(number, _LANES)
        round_, _ = divmod(turn, self.settings.tiles_per_scene)
        tiles = []
        for place in range(self.batch_size):
            scene = (round_ * _LANES + lane) * self.batch_size + place
            rng = np.random.default_rng((self.seed, number, place, 15_485_863))
            cells = self._prepared(scene)
            area = np.array([float(cell.chance[-1]) for cell in cells])
            tiles.append(draw_tile(cells[int(rng.choice(len(cells), p=area / area.sum()))], self.settings, rng))
        images, classes, weights = (torch.stack(part) for part in zip(*tiles, strict=True))
        return images, classes, weights

    def _prepared(self, scene: int) -> list[PreparedCell]:
        if scene not in self._cells:
            self._cells[scene] = [prepare(example, self.settings) for example in self.source.cells(scene)]
            while len(self._cells) > _LANES * self.batch_size:
                self._cells.popitem(last=False)
        return self._cells[scene]
