"""Cells with crisp rings, drawn from geometry: what any method should find."""

from __future__ import annotations

import numpy as np

from lysoquant.examples.example import Example
from lysoquant.units import MODEL_PIXEL_SIZE_UM
from lysoquant.vocabulary import EMPTY, LOADED

SPACING_PX = 64
RING_WIDTH_PX = 2.0


def rings(*, seed: int, rows: int = 3, columns: int = 4, noise: float = 8.0) -> Example:
    """A grid of rings of 11 to 20 pixels' radius at the model's pixel size, every other one loaded.

    The truth reaches one ring width beyond the ridge.
    """
    rng = np.random.default_rng(seed)
    shape = (rows * SPACING_PX, columns * SPACING_PX)
    y, x = np.mgrid[: shape[0], : shape[1]]
    lysosome = np.full(shape, 100.0)
    cargo = np.full(shape, 400.0)
    regions = np.zeros(shape, np.int32)
    classes = [0]
    for number in range(rows * columns):
        row, column = divmod(number, columns)
        centre = (np.array([row, column]) + 0.5) * SPACING_PX + rng.uniform(-5, 5, 2)
        radius = rng.uniform(11, 20)
        distance = np.hypot(y - centre[0], x - centre[1])
        loaded = number % 2 == 1
        lysosome += 800 * np.exp(-((distance - radius) ** 2) / (2 * RING_WIDTH_PX**2))
        cargo[distance < radius - RING_WIDTH_PX] = 1200 if loaded else 120
        regions[distance <= radius + RING_WIDTH_PX] = number + 1
        classes.append(LOADED if loaded else EMPTY)
    return Example(
        name=f"rings {seed}",
        cargo=(cargo + rng.normal(0, noise, shape)).round().clip(0).astype(np.uint16),
        lysosome=(lysosome + rng.normal(0, noise, shape)).round().clip(0).astype(np.uint16),
        inside=np.ones(shape, bool),
        pixel_size_um=MODEL_PIXEL_SIZE_UM,
        regions=regions,
        classes=np.array(classes, np.uint8),
        ignored=np.zeros(shape, bool),
        docked=np.zeros(len(classes), bool),
    )
