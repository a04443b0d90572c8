"""Augmentation of tiles: the recipe's rotation, elastic grid and smooth intensity curves; flips, blur and noise.

Recipe: Falk et al. 2019 as used by Morone et al. 2020. Coordinates are (y, x) in pixels of the rescaled image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import BSpline, PchipInterpolator
from torch import Tensor

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Augmentation:
    """How tiles are varied.

    Attributes
    ----------
    rotation : bool
        Turn by any angle.
    elastic_px, grid_px : float
        Standard deviation of the displacement of a grid's knots, and their distance.
    black, white : float
        Largest shift of black from 0 and of white from 1.
    slopes : tuple of float
        Least and largest slope of the intensity curve between its control points.
    flip : bool
        Mirror half of the tiles (a flag in the original that was never applied).
    gamma : float
        Standard deviation of the logarithm of a further exponent of the intensities.
    blur_px : float
        Largest standard deviation of a further Gaussian blur, applied to a third of the tiles.
    noise : float
        Largest standard deviation of further noise, in parts of the range.
    """

    rotation: bool = True
    elastic_px: float = 10.0
    grid_px: float = 150.0
    black: float = 0.05
    white: float = 0.05
    slopes: tuple[float, float] = (0.8, 1.2)
    flip: bool = True
    gamma: float = 0.15
    blur_px: float = 1.5
    noise: float = 0.03


PAPER = Augmentation(flip=False, gamma=0.0, blur_px=0.0, noise=0.0)
"""What the original applied."""


def sampling_points(
    centre: NDArray[np.float64], size: int, settings: Augmentation, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Where a tile's pixels come from.

    Parameters
    ----------
    centre : array (2,)
        Centre of the tile.
    size : int
        Its edge.

    Returns
    -------
    float array (2, size, size)
        Source y and x of every pixel: a grid about the centre, mirrored, turned and bent.
    """
    offset = np.arange(size) - (size - 1) / 2
    y, x = np.meshgrid(offset, offset, indexing="ij")
    if settings.flip and rng.random() < 0.5:
        x = -x
    if settings.rotation:
        angle = rng.uniform(0, 2 * np.pi)
        y, x = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
    points = np.stack([y, x]) + np.asarray(centre)[:, None, None]
    if settings.elastic_px:
        points += displacement(size, settings.elastic_px, settings.grid_px, rng)
    return points


def displacement(size: int, deviation_px: float, grid_px: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth random displacement (2, size, size): a uniform cubic B-spline with normal coefficients on a grid."""
    knots = int(np.ceil(size / grid_px)) + 3
    coefficients = rng.normal(0, deviation_px, (2, knots, knots))
    basis = spline_basis(size, knots, grid_px)
    return np.asarray(basis @ coefficients @ basis.T)


def spline_basis(size: int, knots: int, grid_px: float) -> NDArray[np.float64]:
    """Cubic B-spline weights (size, knots) of `knots` coefficients, `grid_px` apart, at pixels 0 to size - 1."""
    edges = np.arange(-3, knots + 1)
    return np.asarray(BSpline.design_matrix(np.arange(size) / grid_px, edges.astype(float), 3).toarray())


def sample(image: Tensor, points: NDArray[np.float64], *, mode: str = "bilinear", mirror: bool = False) -> Tensor:
    """Values of planes (C, Y, X) at points (2, S, S).

    Parameters
    ----------
    mode : {"bilinear", "nearest"}
    mirror : bool
        Beyond the edge: mirrored (as networks with valid convolutions see it) instead of zero.
    """
    height, width = image.shape[-2:]
    scaled = [2 * points[1] / max(1, width - 1) - 1, 2 * points[0] / max(1, height - 1) - 1]
    grid = torch.from_numpy(np.stack(scaled, axis=-1).astype(np.float32))
    padding = "reflection" if mirror else "zeros"
    found = torch.nn.functional.grid_sample(
        image[None].float(), grid[None], mode=mode, padding_mode=padding, align_corners=True
    )
    return found[0]


def intensity_curve(settings: Augmentation, rng: np.random.Generator, *, points: int = 5) -> PchipInterpolator:
    """A smooth, rising curve from black to white.

    Five control points, evenly spaced on [0, 1]; slopes between them are drawn, then scaled together so that the curve
    ends at white; a monotone cubic smooths it.
    """
    black = rng.uniform(-settings.black, settings.black)
    white = 1 + rng.uniform(-settings.white, settings.white)
    slopes = rng.uniform(*settings.slopes, points - 1)
    rise = np.concatenate([[0], np.cumsum(slopes / slopes.sum())])
    return PchipInterpolator(np.linspace(0, 1, points), black + (white - black) * rise)


def vary_intensities(image: Array, settings: Augmentation, rng: np.random.Generator) -> Array:
    """A tile's signal planes (C, Y, X) through curves of their own, blurred and with noise, in [0, 1].

    Pixels that are exactly zero in all planes (outside the cell) stay zero.
    """
    outside = ~image.any(axis=0)
    steps = np.linspace(0, 1, 1025)
    blur = rng.uniform(0, settings.blur_px) if rng.random() < 1 / 3 else 0.0
    planes = []
    for plane in image:
        exponent = np.exp(rng.normal(0, settings.gamma)) if settings.gamma else 1.0
        curve = intensity_curve(settings, rng)(steps**exponent)
        varied = curve[(plane * (len(steps) - 1) + 0.5).astype(np.int32)].astype(np.float32)
        if blur > 0.3:
            varied = ndimage.gaussian_filter(varied, blur)
        if settings.noise:
            varied = varied + rng.uniform(0, settings.noise) * rng.standard_normal(plane.shape, np.float32)
        varied[outside] = 0
        planes.append(np.clip(varied, 0, 1))
    return np.stack(planes).astype(np.float32)
