"""Endolysosomes in space: where they lie, the shape of their membrane, and their cut by the focal plane."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.spatial import cKDTree

from lysoquant.simulate.optics import Optics, Points
from lysoquant.units import MEMBRANE_MARGIN_UM
from lysoquant.vocabulary import EMPTY, LOADED

_MODES = 3
_AZIMUTHS = 48
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Vesicles:
    """Endolysosomes of a scene, one entry a vesicle.

    Attributes
    ----------
    centre_um : array (V, 3)
        y, x, z.
    radius_um : array (V,)
        Radius of the membrane's ridge.
    wave : array (V, 3, 3)
        Wave vectors on the unit sphere of shape and staining.
    phase : array (V, 3)
        Their phases.
    bulge : array (V,)
        Relative amplitude of the deviation from a sphere.
    patch : array (V,)
        Unevenness of the membrane's staining (standard deviation of its logarithm).
    stretch : array (V,)
        Elongation: the radius along `axis` is 1 + stretch, across it 1 - stretch.
    axis : array (V, 3)
        Unit vector in the focal plane.
    brightness : array (V,)
        Fluorescence of the membrane a um2.
    cell : int array (V,)
        Index of the vesicle's cell.
    """

    centre_um: Array
    radius_um: Array
    wave: Array
    phase: Array
    bulge: Array
    patch: Array
    stretch: Array
    axis: Array
    brightness: Array
    cell: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.radius_um)

    def take(self, index: NDArray[np.int64]) -> Vesicles:
        return Vesicles(**{item.name: getattr(self, item.name)[index] for item in fields(self)})

    def waves(self, which: NDArray[np.int64], direction: Array) -> Array:
        """Smooth random function of unit variance on the sphere of each vesicle, at unit directions (N, 3)."""
        angle = np.einsum("nkd,nd->nk", self.wave[which], direction) + self.phase[which]
        return np.asarray(np.cos(angle).sum(axis=1) / np.float32(np.sqrt(_MODES / 2)))

    def shell_radius_um(self, which: NDArray[np.int64], direction: Array) -> Array:
        """Distance of the membrane from the centre along unit directions (N, 3) of vesicles `which` (N,)."""
        along = np.einsum("nd,nd->n", self.axis[which], direction)
        shape = 1 + self.bulge[which] * self.waves(which, direction) + self.stretch[which] * (2 * along**2 - 1)
        return np.asarray(self.radius_um[which] * np.maximum(shape, np.float32(0.3)))

    def is_cut(self) -> NDArray[np.bool_]:
        """Whether the focal plane cuts the lumen: its circle is at least seven tenths of the vesicle's radius."""
        return np.abs(self.centre_um[:, 2]) < 0.714 * self.radius_um

    def section_radius_um(self, which: int) -> Array:
        """Distance of the membrane's ridge from the centre in the focal plane, at 48 azimuths."""
        azimuth = np.linspace(0, 2 * np.pi, _AZIMUTHS, endpoint=False)
        index = np.full(_AZIMUTHS, which)
        height = -self.centre_um[which, 2]
        radius = np.full(_AZIMUTHS, self.radius_um[which], np.float32)
        for _ in range(4):
            up = np.clip(height / radius, -0.98, 0.98)
            flat = np.sqrt(1 - up**2)
            direction = np.stack([flat * np.sin(azimuth), flat * np.cos(azimuth), up], axis=1).astype(np.float32)
            radius = self.shell_radius_um(index, direction)
        return np.asarray(radius * flat, np.float32)


def random_directions(count: int, rng: np.random.Generator) -> Array:
    """Unit vectors, uniform on the sphere."""
    vectors = rng.standard_normal((count, 3)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def membrane_points(vesicles: Vesicles, *, density_um2: float, rng: np.random.Generator) -> Points:
    """Fluorophores of the limiting membranes: patchy 3-D shells."""
    count = np.maximum(30, density_um2 * 4 * np.pi * vesicles.radius_um**2).astype(int)
    which = np.repeat(np.arange(len(vesicles)), count)
    direction = random_directions(len(which), rng)
    radius = vesicles.shell_radius_um(which, direction)
    stain = np.exp(vesicles.patch[which] * vesicles.waves(which, direction[:, [1, 2, 0]]))
    area = 4 * np.pi * vesicles.radius_um**2
    weight = vesicles.brightness[which] * stain * (area / count)[which]
    return Points(vesicles.centre_um[which] + direction * radius[:, None], weight.astype(np.float32))


def lumen_points(
    vesicles: Vesicles,
    which: NDArray[np.int64],
    *,
    concentration: Array,
    fill: Array,
    density_um3: float,
    rng: np.random.Generator,
) -> Points:
    """Fluorophores inside vesicles `which`.

    Parameters
    ----------
    concentration : array (len(which),)
        Fluorescence a um3 of the filled part.
    fill : array (len(which),)
        Radius of the filled part relative to the lumen; less than 1 is a clump off the centre.
    """
    radius = vesicles.radius_um[which] * 0.93 * fill
    volume = 4 / 3 * np.pi * radius**3
    count = np.maximum(40, density_um3 * volume).astype(int)
    nth = np.repeat(np.arange(len(which)), count)
    direction = random_directions(len(nth), rng)
    depth = rng.random(len(nth)).astype(np.float32) ** np.float32(1 / 3)
    shift = random_directions(len(which), rng) * (vesicles.radius_um[which] * 0.93 * (1 - fill))[:, None]
    shift[:, 2] *= 0.4
    limit = vesicles.shell_radius_um(which[nth], direction) * 0.93 * fill[nth]
    clump = np.exp(0.5 * np.cos(4 * direction[:, 0] + vesicles.phase[which[nth], 0]) * depth)
    position = vesicles.centre_um[which[nth]] + shift[nth] + direction * (limit * depth)[:, None]
    return Points(position.astype(np.float32), (concentration * volume / count)[nth] * clump.astype(np.float32))


def docked_points(
    vesicles: Vesicles, which: NDArray[np.int64], *, concentration: Array, rng: np.random.Generator
) -> Points:
    """Small vesicles of cargo on the outside of the membranes of `which`, where the focal plane shows them.

    One to four lie anywhere; a third of the membranes carry an arc of up to twelve side by side instead.
    """
    arc = rng.random(len(which)) < 1 / 3
    buds = np.where(arc, rng.integers(4, 13, len(which)), rng.integers(1, 5, len(which)))
    nth = np.repeat(np.arange(len(which)), buds)
    width = np.where(arc, rng.uniform(0.4, 1.6, len(which)), np.pi)
    azimuth = rng.uniform(0, 2 * np.pi, len(which))[nth] + width[nth] * rng.uniform(-1, 1, len(nth))
    up = np.clip(
        -vesicles.centre_um[which[nth], 2] / vesicles.radius_um[which[nth]] + rng.normal(0, 0.25, len(nth)), -0.95, 0.95
    )
    flat = np.sqrt(1 - up**2)
    direction = np.stack([flat * np.sin(azimuth), flat * np.cos(azimuth), up], axis=1).astype(np.float32)
    size = rng.uniform(0.05, 0.16, len(nth)).astype(np.float32)
    distance = vesicles.shell_radius_um(which[nth], direction) + size + rng.uniform(0, 0.1, len(nth)).astype(np.float32)
    centre = vesicles.centre_um[which[nth]] + direction * distance[:, None]
    grains = 40
    offset = rng.standard_normal((len(nth), grains, 3)).astype(np.float32) * size[:, None, None] * 0.6
    weight = concentration[nth] * (4 / 3 * np.pi * size**3) * 2.5 / grains
    return Points((centre[:, None] + offset).reshape(-1, 3), np.repeat(weight, grains).astype(np.float32))


def excluded_share(vesicles: Vesicles, *, shape: tuple[int, int], optics: Optics) -> Array:
    """Share of a uniform stain's light that vesicles displace at each pixel (Y, X), from 0 to 1.

    The light along the optical axis is the axial response; a vesicle takes away the part of it inside its sphere.
    """
    taken = np.zeros(shape, np.float32)
    scale = np.sqrt(2) * optics.sigma_z_um
    for centre, radius in zip(vesicles.centre_um, vesicles.radius_um, strict=True):
        window = _window(centre[:2], radius * 1.02, shape, optics.pixel_size_um)
        if window is None:
            continue
        rows, columns, y, x = window
        half = np.sqrt(np.maximum(0, (0.97 * radius) ** 2 - y**2 - x**2))
        share = special.erf((centre[2] + half) / scale) - special.erf((centre[2] - half) / scale)
        taken[rows, columns] = np.maximum(taken[rows, columns], share / 2)
    return taken


def draw_sections(
    vesicles: Vesicles, *, shape: tuple[int, int], pixel_size_um: float, within: NDArray[np.bool_] | None = None
) -> NDArray[np.int32]:
    """Label image of the vesicles that the focal plane cuts: everything out to 0.04 um beyond the ridge.

    Returns
    -------
    int32 array (Y, X)
        1 + index of the vesicle; where two would overlap the one whose outline is relatively farther wins.
    """
    labels = np.zeros(shape, np.int32)
    level = np.full(shape, np.inf, np.float32)
    for which in np.flatnonzero(vesicles.is_cut()).tolist():
        outline = vesicles.section_radius_um(which) + np.float32(MEMBRANE_MARGIN_UM)
        window = _window(vesicles.centre_um[which, :2], float(outline.max()), shape, pixel_size_um)
        if window is None:
            continue
        rows, columns, y, x = window
        turn = (np.arctan2(y, x) / (2 * np.pi)) % 1 * _AZIMUTHS
        before = turn.astype(int) % _AZIMUTHS
        part = turn - np.floor(turn)
        limit = outline[before] * (1 - part) + outline[(before + 1) % _AZIMUTHS] * part
        relative = np.hypot(y, x) / limit
        wins = (relative < 1) & (relative < level[rows, columns])
        labels[rows, columns][wins] = which + 1
        level[rows, columns][wins] = relative[wins]
    if within is not None:
        labels[~within] = 0
    return labels


def _window(
    centre_um: Array, radius_um: float, shape: tuple[int, int], pixel_size_um: float
) -> tuple[slice, slice, NDArray[np.float64], NDArray[np.float64]] | None:
    """Slices and um coordinates relative to the centre of the pixels around a vesicle."""
    low = np.maximum(0, np.floor((centre_um - radius_um) / pixel_size_um)).astype(int)
    high = np.minimum(np.array(shape) - 1, np.ceil((centre_um + radius_um) / pixel_size_um)).astype(int) + 1
    if (high <= low).any():
        return None
    y = np.arange(low[0], high[0])[:, None] * pixel_size_um - centre_um[0]
    x = np.arange(low[1], high[1])[None] * pixel_size_um - centre_um[1]
    return slice(low[0], high[0]), slice(low[1], high[1]), y + 0 * x, x + 0 * y


def settle(centre_um: Array, radius_um: Array, *, gap_um: float) -> NDArray[np.bool_]:
    """Which vesicles may stay so that no two overlap by more than `gap_um` (negative: they may squeeze).

    Larger vesicles are settled first, as later ones have to fit in between.
    """
    keep = np.zeros(len(radius_um), bool)
    tree = cKDTree(centre_um)
    reach = 2 * float(radius_um.max(initial=0.1)) + gap_um
    neighbours = tree.query_ball_point(centre_um, reach)
    for index in np.argsort(-radius_um):
        others = np.array([other for other in neighbours[index] if keep[other]], dtype=int)
        if len(others):
            apart = np.linalg.norm(centre_um[others] - centre_um[index], axis=1)
            if (apart < radius_um[others] + radius_um[index] + gap_um).any():
                continue
        keep[index] = True
    return keep


def classes(loaded: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Class of each vesicle."""
    return np.where(loaded, LOADED, EMPTY).astype(np.uint8)
