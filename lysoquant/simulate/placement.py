"""Where a scene's endolysosomes lie, and what each is like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lysoquant.simulate.cell_shapes import cytosol_depth
from lysoquant.simulate.settings import Appearance, SceneSettings
from lysoquant.simulate.vesicles import Vesicles, random_directions, settle


def place_vesicles(
    settings: SceneSettings, cells: NDArray[np.int32], nuclei: NDArray[np.int32], rng: np.random.Generator
) -> Vesicles:
    look, pixel = settings.appearance, settings.optics.pixel_size_um
    depth = cytosol_depth(cells, nuclei, pixel) * (nuclei == 0)
    typical = np.pi * settings.biology.cell_radius_um**2
    wanted = int(settings.biology.per_cell * np.count_nonzero(cells) * pixel**2 / typical)
    radius = _radii(wanted, look, rng)
    flat = np.flatnonzero(depth > 0.05)
    if not wanted or not len(flat):
        place = np.zeros((0, 2))
        radius = radius[:0]
    else:
        chance = depth.ravel()[flat].astype(np.float64) ** 1.5
        chosen = rng.choice(flat, size=wanted, p=chance / chance.sum())
        place = (np.stack(np.unravel_index(chosen, cells.shape), axis=1) + rng.random((wanted, 2)) - 0.5) * pixel
    centre = np.concatenate([place, _heights(radius, look, rng)[:, None]], axis=1).astype(np.float32)
    _cluster(centre, radius, look.clustering, rng)
    index = np.rint(centre[:, :2] / pixel).astype(int)
    inside = ((index >= 0) & (index < np.array(cells.shape))).all(axis=1)
    owner = np.zeros(len(radius), int)
    owner[inside] = cells[tuple(index[inside].T)]
    on_nucleus = np.zeros(len(radius), bool)
    on_nucleus[inside] = nuclei[tuple(index[inside].T)] > 0
    keep = (owner > 0) & ~on_nucleus & settle(centre, radius, gap_um=-0.02)
    count = len(radius)
    wave = random_directions(3 * count, rng).reshape(count, 3, 3) * rng.uniform(1.5, 5, (count, 3, 1))
    bright = np.exp(rng.normal(0, look.brightness_spread, count))
    found = Vesicles(
        centre_um=centre,
        radius_um=radius,
        wave=wave.astype(np.float32),
        phase=rng.uniform(0, 2 * np.pi, (count, 3)).astype(np.float32),
        bulge=rng.uniform(0, look.bulge, count).astype(np.float32),
        stretch=rng.uniform(0, look.stretch, count).astype(np.float32),
        axis=_in_plane(count, rng),
        patch=rng.uniform(0.05, max(0.06, look.patchiness), count).astype(np.float32),
        brightness=np.clip(bright, 0.12, 8).astype(np.float32),
        cell=owner - 1,
    )
    return found.take(np.flatnonzero(keep))


def _radii(count: int, look: Appearance, rng: np.random.Generator) -> NDArray[np.float32]:
    radius = np.clip(look.radius_um * np.exp(rng.normal(0, look.radius_spread, count)), 0.14, 1.6)
    if look.swollen:
        wide = rng.random(count) < look.swollen
        radius[wide] = np.minimum(radius[wide] * rng.uniform(2, 5, np.count_nonzero(wide)), 2.8)
    return radius.astype(np.float32)


def _in_plane(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    azimuth = rng.uniform(0, 2 * np.pi, count)
    return np.stack([np.sin(azimuth), np.cos(azimuth), 0 * azimuth], axis=1).astype(np.float32)


def _heights(radius: NDArray[np.float32], look: Appearance, rng: np.random.Generator) -> NDArray[np.float32]:
    """Height of each centre over the focal plane: cut by it, or wholly out of focus."""
    count = len(radius)
    cut = rng.uniform(-0.7, 0.7, count) * radius
    away = (radius * rng.uniform(0.85, 1.3, count) + rng.exponential(0.5, count)) * rng.choice([-1, 1], count)
    return np.where(rng.random(count) < look.out_of_focus, away, cut).astype(np.float32)


def _cluster(centre: NDArray[np.float32], radius: NDArray[np.float32], share: float, rng: np.random.Generator) -> None:
    """Move a share of the vesicles so that each touches an earlier one, in place."""
    for index in np.flatnonzero(rng.random(len(radius)) < share).tolist():
        if index == 0:
            continue
        other = int(rng.integers(max(0, index - 6), index))
        apart = radius[index] + radius[other] + rng.uniform(0, 0.08)
        high = centre[index, 2] - centre[other, 2]
        flat = np.sqrt(max(apart**2 - high**2, (0.3 * apart) ** 2))
        azimuth = rng.uniform(0, 2 * np.pi)
        centre[index, :2] = centre[other, :2] + flat * np.array([np.sin(azimuth), np.cos(azimuth)])
