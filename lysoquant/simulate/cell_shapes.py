"""Outlines of simulated cells and nuclei, and how thick the cytosol is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.simulate.optics import Image
from lysoquant.simulate.settings import SceneSettings


def cells_and_nuclei(settings: SceneSettings, rng: np.random.Generator) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Star-shaped cells around nuclei that keep their distance; a pixel of two cells is the relatively nearer's."""
    biology, pixel = settings.biology, settings.optics.pixel_size_um
    extent = np.array(settings.shape) * pixel
    centres: list[NDArray[np.float64]] = []
    for _ in range(600):
        place = rng.uniform(-0.1, 1.1, 2) * extent
        if all(np.linalg.norm(place - other) > biology.cell_spacing_um for other in centres):
            centres.append(place)
    step = max(1, round(0.2 / pixel))
    y, x = (np.arange(0, length, step) * pixel for length in settings.shape)
    best = np.ones((len(y), len(x)), np.float32)
    cells = np.zeros(best.shape, np.int32)
    nuclei = np.zeros(best.shape, np.int32)
    for number, centre in enumerate(centres, start=1):
        dy, dx = y[:, None] - centre[0], x[None] - centre[1]
        distance, azimuth = np.hypot(dy, dx), np.arctan2(dy, dx)
        radius = biology.cell_radius_um * rng.uniform(0.75, 1.2)
        outline = radius * (1 + _wavy(azimuth, rng, amplitude=0.22))
        relative = (distance / np.maximum(outline, 1)).astype(np.float32)
        mine = relative < best
        best[mine] = relative[mine]
        cells[mine] = number
        turn, long = rng.uniform(0, np.pi), radius * rng.uniform(0.42, 0.55)
        along, across = dy * np.sin(turn) + dx * np.cos(turn), dy * np.cos(turn) - dx * np.sin(turn)
        nuclei[((along / long) ** 2 + (across / (long * rng.uniform(0.6, 0.9))) ** 2 < 1) & (relative < 0.9)] = number
    nuclei[cells != nuclei] = 0
    cells, nuclei = (_enlarge(image, settings.shape, step) for image in (cells, nuclei))
    return _renumber(cells, nuclei)


def _wavy(azimuth: NDArray[np.float64], rng: np.random.Generator, *, amplitude: float) -> NDArray[np.float64]:
    waves = [np.cos(n * azimuth + rng.uniform(0, 2 * np.pi)) * rng.uniform(0, amplitude) / n**0.5 for n in (2, 3, 5)]
    return np.asarray(sum(waves), np.float64)


def _enlarge(labels: NDArray[np.int32], shape: tuple[int, int], step: int) -> NDArray[np.int32]:
    rows, columns = (
        np.minimum(np.rint(np.arange(n) / step).astype(int), m - 1) for n, m in zip(shape, labels.shape, strict=True)
    )
    return labels[np.ix_(rows, columns)]


def _renumber(cells: NDArray[np.int32], nuclei: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    present = np.unique(cells[cells > 0])
    table = np.zeros(int(max(cells.max(initial=0), nuclei.max(initial=0))) + 1, np.int32)
    table[present] = np.arange(1, len(present) + 1)
    return table[cells], table[nuclei]


def cytosol_depth(cells: NDArray[np.int32], nuclei: NDArray[np.int32], pixel_size_um: float) -> Image:
    """Thickness of the cytosol: 1 beside the nucleus, falling to the rim, little over the nucleus, 0 outside."""
    step = max(1, round(0.4 / pixel_size_um))
    small_cells, small_nuclei = cells[::step, ::step], nuclei[::step, ::step]
    away = ndimage.distance_transform_edt(small_nuclei == 0) * step * pixel_size_um
    edge = ndimage.distance_transform_edt(small_cells > 0) * step * pixel_size_um
    depth = (0.25 + 0.75 * np.exp(-away / 5)) * np.clip(edge / 2, 0, 1)
    depth = np.where(small_nuclei > 0, 0.12, depth) * (small_cells > 0)
    rows, columns = (np.arange(length) / step for length in cells.shape)
    smooth = ndimage.gaussian_filter(depth, 0.6 / (step * pixel_size_um))
    return ndimage.map_coordinates(smooth, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest").astype(
        np.float32
    )
