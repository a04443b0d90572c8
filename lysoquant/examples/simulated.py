"""Cells of simulated scenes, with the truth drawn from their geometry at the model's pixel size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.examples.example import Example, too_small
from lysoquant.model.preprocess import model_length
from lysoquant.simulate.randomise import random_settings
from lysoquant.simulate.scene import Scene, simulate_scene
from lysoquant.simulate.vesicles import classes as vesicle_classes
from lysoquant.simulate.vesicles import draw_sections
from lysoquant.units import MODEL_PIXEL_SIZE_UM

_LEAST_CELL_UM2 = 40.0


def training_examples(*, seed: int, number: int, extent_um: float) -> list[Example]:
    """Cells of scene `number` of an endless stream, cut as a segmentation might cut them.

    Parameters
    ----------
    seed, number : int
        Equal numbers give equal cells.
    extent_um : float
        Edge of the scene.
    """
    rng = np.random.default_rng((seed, number, 104_729))
    scene = simulate_scene(random_settings(rng, extent_um=extent_um), rng)
    return [cut_cell(scene, inside, name=f"scene {number}") for inside in found_cells(scene, rng)]


def true_cells(scene: Scene, *, name: str) -> list[Example]:
    """Every cell of a scene in its true outline, if it is large enough to be looked at."""
    numbers = np.unique(scene.cells[scene.cells > 0])
    masks = [scene.cells == number for number in numbers]
    return [
        cut_cell(scene, mask, name=f"{name} cell {number}")
        for number, mask in zip(numbers, masks, strict=True)
        if _area_um2(mask, scene) >= _LEAST_CELL_UM2
    ]


def found_cells(scene: Scene, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Cells as a segmentation might find them: exact, too large, too small, two in one, or the whole field."""
    whole = np.ones(scene.cells.shape, bool)
    if rng.random() < 0.15:
        return [whole]
    pixel = scene.settings.optics.pixel_size_um
    numbers = rng.permutation(np.unique(scene.cells[scene.cells > 0]))
    masks = []
    for number in numbers:
        mask = scene.cells == number
        if rng.random() < 0.2:
            mask |= scene.cells == rng.choice(numbers)
        if _area_um2(mask, scene) < _LEAST_CELL_UM2:
            continue
        reach = rng.normal(0, 0.6) / pixel
        if abs(reach) >= 1:
            distance = ndimage.distance_transform_edt(~mask if reach > 0 else mask)
            mask = distance <= reach if reach > 0 else distance > -reach
        masks.append(mask)
    return masks or [whole]


def cut_cell(scene: Scene, inside: NDArray[np.bool_], *, name: str) -> Example:
    """The crop of one cell of a scene.

    Parameters
    ----------
    inside : bool array (Y, X)
        The cell in the scene; not empty.
    """
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    mask, pixel = inside[box], scene.settings.optics.pixel_size_um
    corner_um = np.array([box[0].start, box[1].start, 0]) * pixel
    moved = replace(scene.vesicles, centre_um=(scene.vesicles.centre_um - corner_um).astype(np.float32))
    shape = (model_length(mask.shape[0], pixel), model_length(mask.shape[1], pixel))
    drawn = draw_sections(
        moved, shape=shape, pixel_size_um=MODEL_PIXEL_SIZE_UM, within=to_model(mask, pixel).astype(bool)
    )
    kept, place = np.unique(drawn, return_inverse=True)
    regions = np.asarray(place.reshape(shape), dtype=np.int32) + np.int32(kept[0] > 0)
    kept = kept[kept > 0] - 1
    return Example(
        name=name,
        cargo=scene.image[2][box],
        lysosome=scene.image[1][box],
        inside=mask,
        pixel_size_um=pixel,
        regions=regions,
        classes=np.concatenate([[0], vesicle_classes(scene.loaded[kept])]).astype(np.uint8),
        ignored=too_small(regions),
        docked=np.concatenate([[False], scene.docked[kept]]),
    )


def to_model(labels: NDArray[np.generic], pixel_size_um: float) -> NDArray[np.generic]:
    """A label image (Y, X) at the model's pixel size: nearest, source pixel round(i / s) (the recipe)."""
    index = [
        np.minimum(
            np.rint(np.arange(model_length(length, pixel_size_um)) * (MODEL_PIXEL_SIZE_UM / pixel_size_um)), length - 1
        ).astype(int)
        for length in labels.shape
    ]
    return np.asarray(labels[np.ix_(*index)])


def _area_um2(mask: NDArray[np.bool_], scene: Scene) -> float:
    return float(np.count_nonzero(mask) * scene.settings.optics.pixel_size_um**2)
