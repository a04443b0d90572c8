"""What lies between the endolysosomes: reticulum, haze, tubules, specks, granules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.simulate.optics import Image, Optics, Points
from lysoquant.simulate.settings import Appearance, SceneSettings


def reticulum(
    cells: NDArray[np.int32], depth: Image, look: Appearance, optics: Optics, rng: np.random.Generator
) -> Image:
    """A net of tubules (zero crossings of two smooth fields), sheets near the nucleus, its copy out of focus."""
    pixel = optics.pixel_size_um
    net = np.zeros(cells.shape, np.float32)
    for scale in (0.5, 0.8):
        wave = noise_field(cells.shape, scale * look.mesh_um / pixel, rng)
        net += np.exp(-((wave / np.float32(0.22)) ** 2))
    net = ndimage.gaussian_filter(net, max(0.3, optics.sigma_um / pixel), truncate=3)
    net *= np.exp(np.float32(0.3) * noise_field(cells.shape, 1.2 / pixel, rng))
    far = ndimage.gaussian_filter(net, 0.5 / pixel, truncate=2)
    smooth = np.float32(look.sheets)
    return ((1 - smooth) * (0.8 * net + 0.2 * far) + smooth * 0.6) * (0.25 + depth) * (cells > 0)


def haze(depth: Image, optics: Optics, rng: np.random.Generator, *, strength: float = 0.35) -> Image:
    cloudy = noise_field(depth.shape, 1.5 / optics.pixel_size_um, rng)
    return np.asarray(depth * np.exp(np.float32(strength) * cloudy), np.float32)


def noise_field(shape: tuple[int, ...], scale_px: float, rng: np.random.Generator) -> Image:
    """Smooth Gaussian noise of unit variance and correlation length `scale_px`, made coarse and enlarged."""
    step = max(1, int(scale_px / 2))
    coarse = tuple(length // step + 3 for length in shape)
    noise = ndimage.gaussian_filter(rng.standard_normal(coarse).astype(np.float32), scale_px / step, mode="wrap")
    noise = np.asarray(noise / max(float(noise.std()), 1e-6), np.float32)
    if step == 1:
        return np.asarray(noise[: shape[0], : shape[1]])
    axes = [np.arange(length) / step for length in shape]
    grid = np.meshgrid(*axes, indexing="ij")
    return ndimage.map_coordinates(noise, grid, order=1, mode="nearest").astype(np.float32)


def tubules(cells: NDArray[np.int32], count: int, pixel: float, rng: np.random.Generator) -> Points:
    """Thin, wavy, dim tubules of 0.5 to 3 um."""
    start = _in_cells(cells, count, pixel, rng)
    count, steps = len(start), 60
    turn = rng.uniform(0, 2 * np.pi, (count, 1)) + np.cumsum(rng.normal(0, 0.16, (count, steps)), axis=1)
    stride = rng.uniform(0.5, 3, (count, 1)) / steps
    y = start[:, :1] + np.cumsum(np.sin(turn) * stride, axis=1)
    x = start[:, 1:] + np.cumsum(np.cos(turn) * stride, axis=1)
    z = rng.normal(0, 0.4, (count, 1)) + np.cumsum(rng.normal(0, 0.02, (count, steps)), axis=1)
    weight = np.exp(rng.normal(-1.2, 0.6, (count, 1))) * stride * 0.35 + 0 * x
    return Points(np.stack([y, x, z], axis=2).reshape(-1, 3).astype(np.float32), weight.ravel().astype(np.float32))


def specks(cells: NDArray[np.int32], count: int, pixel: float, rng: np.random.Generator) -> Points:
    """Transport vesicles below the resolution."""
    place = _in_cells(cells, count, pixel, rng)
    z = rng.normal(0, 0.5, (len(place), 1))
    weight = np.exp(rng.normal(-3.2, 0.8, len(place)))
    return Points(np.concatenate([place, z], axis=1).astype(np.float32), weight.astype(np.float32))


def granules(
    cells: NDArray[np.int32], expression: NDArray[np.float64], settings: SceneSettings, rng: np.random.Generator
) -> Points:
    """Condensed cargo in the cytosol, 0.1 to 0.5 um wide, without a membrane of its own."""
    pixel = settings.optics.pixel_size_um
    expected = settings.appearance.inclusions * np.count_nonzero(cells) * pixel**2 / 10
    place = _in_cells(cells, int(rng.poisson(expected)), pixel, rng)
    level = expression[cells[tuple(np.rint(place / pixel).astype(int).T)] - 1] if len(place) else np.zeros(0)
    size = rng.uniform(0.05, 0.25, len(place))
    grains = 60
    centre = np.concatenate([place, rng.normal(0, 0.3, (len(place), 1))], axis=1)
    offset = rng.standard_normal((len(place), grains, 3)) * size[:, None, None] * 0.6
    weight = level * np.exp(rng.uniform(0, 1.6, len(place))) * 4 / 3 * np.pi * size**3 * 2.5 / grains
    return Points(
        (centre[:, None] + offset).reshape(-1, 3).astype(np.float32), np.repeat(weight, grains).astype(np.float32)
    )


def _in_cells(cells: NDArray[np.int32], count: int, pixel: float, rng: np.random.Generator) -> NDArray[np.float64]:
    flat = np.flatnonzero(cells)
    if not count or not len(flat):
        return np.zeros((0, 2))
    places = np.stack(np.unravel_index(rng.choice(flat, count), cells.shape), axis=1)
    return np.asarray(places * pixel, np.float64)
