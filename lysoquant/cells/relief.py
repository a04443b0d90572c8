"""An image as a relief: smoothed, with its noise, and what lies under everything narrow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.cells.grid import coarsen


def smoothed(image: NDArray[np.float32], *, sigma: float) -> tuple[NDArray[np.float32], float]:
    """Gaussian smoothing, and the standard deviation that white noise of the image keeps after it."""
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(image, sigma, mode="nearest")
    # Immerkaer's operator is blind to planes and to edges' first order, so structure hardly counts as noise.
    residual = ndimage.convolve(image, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32), mode="mirror")
    noise = float(np.median(np.abs(residual))) / 0.6745 / 6
    return smooth, noise / max(1.0, 2 * np.sqrt(np.pi) * sigma)


def background_of(image: NDArray[np.float32], *, window: float) -> NDArray[np.float32]:
    """What remains when everything narrower than a window is taken away."""
    step = max(1, int(window // 32))
    small = coarsen(image=image, factor=step)
    size = max(3, round(window / step) | 1)
    opened = ndimage.grey_opening(small, (size, size), mode="nearest")
    opened = ndimage.gaussian_filter(opened, size / 4, mode="nearest")
    rows, columns = ((np.arange(n) - (step - 1) / 2) / step for n in image.shape)
    grid = np.meshgrid(rows, columns, indexing="ij")
    background: NDArray[np.float32] = ndimage.map_coordinates(opened, grid, order=1, mode="nearest")
    return background


def disc(radius: float) -> NDArray[np.bool_]:
    """All that lies within a radius, in pixels, of a pixel."""
    edge = int(radius)
    y, x = np.ogrid[-edge : edge + 1, -edge : edge + 1]
    within: NDArray[np.bool_] = y**2 + x**2 <= radius**2
    return within
