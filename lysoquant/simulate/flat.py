"""A second, independent simulator for testing only: flat rings drawn from formulas.

Nothing of its picture comes from the first simulator, which draws fluorophores in space: here a membrane is a ridge
around an ellipse, a lumen a filled ellipse, docked cargo a blob beside the ridge, the blur a Gaussian with a broad
tail, the noise that of an amplified detector with neighbours correlated. A model that was trained on the first and
holds on the second has not merely learnt the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.units import MEMBRANE_MARGIN_UM
from lysoquant.vocabulary import EMPTY, LOADED

Image = NDArray[np.float64]


@dataclass(frozen=True)
class FlatScene:
    """A field of one cell.

    Attributes
    ----------
    lysosome, cargo : uint16 array (Y, X)
    inside : bool array (Y, X)
        The cell.
    pixel_size_um : float
    ellipses : array (n, 5)
        y, x, both half axes of the ridge in um, angle.
    classes : uint8 array (n,)
    docked : bool array (n,)
    """

    lysosome: NDArray[np.uint16]
    cargo: NDArray[np.uint16]
    inside: NDArray[np.bool_]
    pixel_size_um: float
    ellipses: NDArray[np.float64]
    classes: NDArray[np.uint8]
    docked: NDArray[np.bool_]


def simulate_flat(rng: np.random.Generator, *, pixel_size_um: float, photons: float, docked: float) -> FlatScene:
    """One cell of 16 to 20 um.

    Parameters
    ----------
    photons : float
        Photo-electrons of a typical ridge.
    docked : float
        Chance of an empty endolysosome to carry cargo outside.
    """
    extent = rng.uniform(16, 20)
    size = round(extent / pixel_size_um)
    y, x = np.meshgrid(*[np.arange(size) * pixel_size_um] * 2, indexing="ij")
    inside = _cell(y, x, extent, rng)
    ellipses = _place(y[inside], x[inside], rng)
    classes = np.where(rng.random(len(ellipses)) < rng.uniform(0.15, 0.85), LOADED, EMPTY).astype(np.uint8)
    has_docked = (classes == EMPTY) & (rng.random(len(ellipses)) < docked)
    width = rng.uniform(0.03, 0.06)
    lysosome = _cloud(inside, 1.5 / pixel_size_um, rng) * rng.uniform(0.03, 0.15)
    cargo = _cloud(inside, 0.5 / pixel_size_um, rng) * rng.uniform(0.1, 0.5)
    keep_out = rng.random() < 0.5
    for row, kind, outside in zip(ellipses, classes, has_docked, strict=True):
        beyond, azimuth = _beyond(y, x, row)
        stain = 1 + 0.4 * np.cos(azimuth + rng.uniform(0, 2 * np.pi))
        lysosome += np.exp(rng.normal(0, 0.4)) * stain * np.exp(-0.5 * (beyond / width) ** 2)
        lumen = 1 / (1 + np.exp(np.clip((beyond + 0.05) / 0.015, -50, 50)))
        if kind == LOADED:
            around = float((cargo * lumen).sum() / lumen.sum())
            cargo = cargo * (1 - lumen) + max(rng.uniform(0.7, 2.0), 1.5 * around) * lumen
        elif keep_out:
            cargo = cargo * (1 - rng.uniform(0.4, 1) * lumen)
        if outside:
            for _ in range(rng.integers(1, 4)):
                cargo += rng.uniform(0.8, 2) * _blob(y, x, row, rng)
    psf = rng.uniform(0.085, 0.115)
    scale = photons * rng.uniform(0.8, 1.2)
    return FlatScene(
        lysosome=_detect(_blur(lysosome, psf / pixel_size_um), scale, rng),
        cargo=_detect(_blur(cargo, psf / pixel_size_um), scale, rng),
        inside=inside,
        pixel_size_um=pixel_size_um,
        ellipses=ellipses,
        classes=classes,
        docked=has_docked,
    )


def draw_ellipses(ellipses: NDArray[np.float64], *, shape: tuple[int, int], pixel_size_um: float) -> NDArray[np.int32]:
    """Label image of all within 0.04 um beyond each ridge; the nearer ridge wins a pixel of two."""
    labels = np.zeros(shape, np.int32)
    best = np.full(shape, np.inf)
    for number, row in enumerate(ellipses, start=1):
        reach = max(row[2], row[3]) + 0.1
        low = np.maximum(0, np.floor((row[:2] - reach) / pixel_size_um)).astype(int)
        high = np.minimum(shape, np.ceil((row[:2] + reach) / pixel_size_um).astype(int) + 1)
        box = slice(low[0], high[0]), slice(low[1], high[1])
        y, x = np.meshgrid(*[np.arange(a, b) * pixel_size_um for a, b in zip(low, high, strict=True)], indexing="ij")
        beyond, _ = _beyond(y, x, row)
        wins = (beyond < MEMBRANE_MARGIN_UM) & (beyond < best[box])
        labels[box][wins] = number
        best[box][wins] = beyond[wins]
    return labels


def _beyond(y: Image, x: Image, row: NDArray[np.float64]) -> tuple[Image, Image]:
    """Signed distance to the ridge (to first order, exact for a circle) and azimuth."""
    dy, dx = y - row[0], x - row[1]
    u, v = dy * np.cos(row[4]) + dx * np.sin(row[4]), dx * np.cos(row[4]) - dy * np.sin(row[4])
    radial = np.hypot(u, v)
    azimuth = np.arctan2(v, u)
    ridge = row[2] * row[3] / np.hypot(row[3] * np.cos(azimuth), row[2] * np.sin(azimuth))
    return radial - ridge, azimuth


def _cell(y: Image, x: Image, extent: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    dy, dx = y - extent / 2, x - extent / 2
    azimuth = np.arctan2(dy, dx)
    radius = extent * (0.42 + sum(rng.uniform(0, 0.025) * np.cos(k * azimuth + rng.uniform(0, 6.3)) for k in (2, 3)))
    return np.asarray(np.hypot(dy, dx) < radius)


def _place(y: Image, x: Image, rng: np.random.Generator) -> NDArray[np.float64]:
    """Ellipses of 0.25 to 0.8 um that at most touch."""
    rows: list[NDArray[np.float64]] = []
    for _ in range(int(rng.integers(200, 500))):
        at = int(rng.integers(len(y)))
        radius, ratio = rng.uniform(0.25, 0.8), rng.uniform(1, 1.25)
        row = np.array([y[at], x[at], radius * ratio**0.5, radius / ratio**0.5, rng.uniform(0, np.pi)])
        apart = [np.hypot(*(row[:2] - other[:2])) - row[2:4].max() - other[2:4].max() for other in rows]
        if min(apart, default=1.0) > 0.0:
            rows.append(row)
    return np.array(rows)


def _blob(y: Image, x: Image, row: NDArray[np.float64], rng: np.random.Generator) -> Image:
    turn = rng.uniform(0, 2 * np.pi)
    size = rng.uniform(0.06, 0.12)
    reach = row[2:4].max() + size + 0.06
    return np.asarray(
        np.exp(-0.5 * ((y - row[0] - reach * np.sin(turn)) ** 2 + (x - row[1] - reach * np.cos(turn)) ** 2) / size**2)
    )


def _cloud(inside: NDArray[np.bool_], scale_px: float, rng: np.random.Generator) -> Image:
    noise = ndimage.gaussian_filter(rng.standard_normal(inside.shape), scale_px)
    return np.asarray(np.exp(0.5 * noise / noise.std()) * inside)


def _blur(image: Image, sigma_px: float) -> Image:
    return np.asarray(
        0.85 * ndimage.gaussian_filter(image, sigma_px) + 0.15 * ndimage.gaussian_filter(image, 3 * sigma_px)
    )


def _detect(signal: Image, photons: float, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Amplified detector: Poisson, gamma multiplication noise, then a read-out that mixes neighbours along a line."""
    electrons = rng.poisson(signal * photons)
    amplified = rng.gamma(np.maximum(electrons, 1e-3) / 0.3, 0.3) + rng.normal(0, 1.5, signal.shape)
    mixed = ndimage.correlate1d(amplified, [0.15, 0.7, 0.15], axis=1)
    return np.clip(np.rint(mixed * 4 + 150), 0, 65535).astype(np.uint16)
