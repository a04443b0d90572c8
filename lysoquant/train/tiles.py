"""Training tiles cut from simulated scenes, through the same preprocessing as inference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from lysoquant.model.preprocess import Normalization, network_input
from lysoquant.simulate.randomise import random_settings
from lysoquant.simulate.scene import Scene, simulate_scene
from lysoquant.simulate.vesicles import classes as vesicle_classes
from lysoquant.simulate.vesicles import draw_sections
from lysoquant.train.loss import pixel_weights, separate_touching
from lysoquant.units import MIN_AREA_UM2, MODEL_PIXEL_SIZE_UM


@dataclass(frozen=True)
class Tile:
    """One training example: image float32 (C, Y, X), classes int64 (Y, X), weights float32 (Y, X)."""

    image: Tensor
    classes: Tensor
    weights: Tensor


@dataclass(frozen=True)
class TileSettings:
    """How tiles are cut."""

    tile_px: int = 384
    tiles_per_scene: int = 6
    extent_um: float = 26.0
    normalization: Normalization = "cell"
    in_channels: int = 3


class SceneTiles(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """An endless stream of tiles; the same seed and start give the same stream for a given number of workers."""

    def __init__(self, settings: TileSettings, *, seed: int, first_scene: int = 0) -> None:
        self.settings, self.seed, self.first_scene = settings, seed, first_scene

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        worker = get_worker_info()
        step, offset = (worker.num_workers, worker.id) if worker else (1, 0)
        number = self.first_scene + offset
        while True:
            for tile in scene_tiles(self.settings, seed=self.seed, number=number):
                yield tile.image, tile.classes, tile.weights
            number += step


def scene_tiles(settings: TileSettings, *, seed: int, number: int) -> list[Tile]:
    """Tiles of scene `number` of a stream."""
    rng = np.random.default_rng((seed, number, 104_729))
    scene = simulate_scene(random_settings(rng, extent_um=settings.extent_um), rng)
    tiles: list[Tile] = []
    for inside in _cell_masks(scene, rng):
        tiles += cut_tiles(scene, inside, settings, rng, count=settings.tiles_per_scene - len(tiles))
        if len(tiles) >= settings.tiles_per_scene:
            break
    return tiles


def _cell_masks(scene: Scene, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Cells as a segmentation might find them: exact, too large, too small, two in one, or the whole field."""
    if rng.random() < 0.15:
        return [np.ones(scene.cells.shape, bool)]
    pixel = scene.settings.optics.pixel_size_um
    numbers = rng.permutation(np.unique(scene.cells[scene.cells > 0]))
    masks = []
    for number in numbers:
        mask = scene.cells == number
        if rng.random() < 0.2:
            mask |= scene.cells == rng.choice(numbers)
        if np.count_nonzero(mask) * pixel**2 < 40:
            continue
        reach = rng.normal(0, 0.6) / pixel
        if abs(reach) >= 1:
            distance = ndimage.distance_transform_edt(~mask if reach > 0 else mask)
            mask = distance <= reach if reach > 0 else distance > -reach
        masks.append(mask)
    return masks


def cut_tiles(
    scene: Scene, inside: NDArray[np.bool_], settings: TileSettings, rng: np.random.Generator, *, count: int
) -> list[Tile]:
    """Random tiles of one cell, two of three centred near an endolysosome."""
    boxes = ndimage.find_objects(inside.astype(np.uint8))
    if not boxes or boxes[0] is None:
        return []
    box = boxes[0]
    pixel = scene.settings.optics.pixel_size_um
    mask = inside[box]
    image = network_input(
        scene.image[2][box],
        scene.image[1][box],
        mask,
        pixel_size_um=pixel,
        normalization=settings.normalization,
        in_channels=settings.in_channels,
    ).numpy()
    size = settings.tile_px
    spare = [max(0, size - length) for length in image.shape[1:]]
    image = np.pad(image, ((0, 0), (0, spare[0]), (0, spare[1])))
    cut = np.flatnonzero(scene.vesicles.is_cut())
    origin_um = np.array([box[0].start, box[1].start]) * pixel
    spots = (scene.vesicles.centre_um[cut, :2] - origin_um) / MODEL_PIXEL_SIZE_UM
    here = (spots >= 0).all(axis=1) & (spots < np.array(image.shape[1:])).all(axis=1)
    spots = spots[here]
    tiles = []
    area_um2 = np.count_nonzero(mask) * pixel**2
    for _ in range(min(count, 1 + int(area_um2 / (size * MODEL_PIXEL_SIZE_UM) ** 2 * 1.5))):
        room = np.array(image.shape[1:]) - size
        if len(spots) and rng.random() < 0.67:
            corner = spots[rng.integers(len(spots))] - size / 2 + rng.uniform(-size / 3, size / 3, 2)
        else:
            corner = rng.uniform(0, 1, 2) * room
        corner = np.clip(corner.astype(int), 0, room)
        tiles.append(_tile(scene, image, mask, origin_um, corner, size, rng))
    return tiles


def _tile(
    scene: Scene,
    image: NDArray[np.float32],
    mask: NDArray[np.bool_],
    origin_um: NDArray[np.float64],
    corner: NDArray[np.int64],
    size: int,
    rng: np.random.Generator,
) -> Tile:
    rows, columns = slice(corner[0], corner[0] + size), slice(corner[1], corner[1] + size)
    shift = np.array([*(origin_um + corner * MODEL_PIXEL_SIZE_UM), 0], np.float32)
    moved = replace(scene.vesicles, centre_um=scene.vesicles.centre_um - shift)
    pixel = scene.settings.optics.pixel_size_um
    nearest = [np.rint((corner[axis] + np.arange(size)) * MODEL_PIXEL_SIZE_UM / pixel).astype(int) for axis in (0, 1)]
    within = np.zeros((size, size), bool)
    rows_in, columns_in = (index < length for index, length in zip(nearest, mask.shape, strict=True))
    within[np.ix_(rows_in, columns_in)] = mask[np.ix_(nearest[0][rows_in], nearest[1][columns_in])]
    regions = draw_sections(moved, shape=(size, size), pixel_size_um=MODEL_PIXEL_SIZE_UM, within=within)
    table = np.concatenate([[0], vesicle_classes(scene.loaded)])
    classes = table[regions]
    classes[separate_touching(regions)] = 0
    weights = pixel_weights(regions, classes)
    weights[_too_small(regions)] = 0
    tile = _augment(image[:, rows, columns], rng)
    flip, turn = rng.random() < 0.5, int(rng.integers(4))
    arrays = [np.rot90(a[..., ::-1] if flip else a, turn, axes=(-2, -1)) for a in (tile, classes, weights)]
    return Tile(
        torch.from_numpy(np.ascontiguousarray(arrays[0])),
        torch.from_numpy(np.ascontiguousarray(arrays[1]).astype(np.int64)),
        torch.from_numpy(np.ascontiguousarray(arrays[2])),
    )


def _too_small(regions: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Regions below the paper's smallest annotated one: neither right nor wrong to find, so they do not count."""
    area_um2 = np.bincount(regions.ravel()) * MODEL_PIXEL_SIZE_UM**2
    small = area_um2 < MIN_AREA_UM2
    small[0] = False
    return np.asarray(small[regions])


def _augment(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth intensity curves: another gamma, black and white for each channel."""
    image = image.copy()
    for plane in image[:2]:
        gamma, white = np.exp(rng.normal(0, 0.15)), rng.uniform(0.85, 1.1)
        plane[:] = np.clip(plane * np.float32(white), 0, 1) ** np.float32(gamma)
    return image
