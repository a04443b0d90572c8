"""From points in space to camera pixels: point-spread function, optical section, camera.

Fluorophores are points (y, x, z) in um with z = 0 in focus. A point is weighted by the axial response of the optical
section and blurred laterally by a Gaussian that widens with its distance from focus.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]

_LAYER_EDGES_UM = np.array([0.0, 0.12, 0.3, 0.6, 1.0, 1.6, np.inf])
_LAYER_CENTRES_UM = np.array([0.05, 0.2, 0.45, 0.8, 1.3, 2.0])
_BACKGROUND_TRUNCATE = 3.0


@dataclass(frozen=True)
class Optics:
    """A confocal or spinning-disk objective.

    Attributes
    ----------
    pixel_size_um : float
        Camera pixel in the sample.
    sigma_um : float
        Standard deviation of the lateral point-spread function in focus.
    sigma_z_um : float
        Standard deviation of the axial response of the optical section.
    spread : float
        Growth of the lateral deviation per um out of focus.
    leak : float
        Share of out-of-focus light that passes the section (pinhole cross-talk of a spinning disk).
    """

    pixel_size_um: float = 0.1
    sigma_um: float = 0.1
    sigma_z_um: float = 0.35
    spread: float = 0.4
    leak: float = 0.05

    @property
    def oversampling(self) -> int:
        """Grid points per pixel edge on which points are laid down."""
        return 2 if self.pixel_size_um > 0.06 else 1

    def axial_weight(self, z_um: NDArray[np.floating]) -> NDArray[np.floating]:
        """Response to a point at distance z from focus, 1 in focus."""
        return np.asarray(np.exp(-0.5 * (z_um / self.sigma_z_um) ** 2) * (1 - self.leak) + self.leak)

    def lateral_sigma_um(self, z_um: float) -> float:
        return float(np.hypot(self.sigma_um, self.spread * z_um))


@dataclass(frozen=True)
class Camera:
    """An sCMOS camera or a detector that behaves like one.

    Attributes
    ----------
    photons : float
        Photo-electrons of signal 1.
    offset : float
        Grey value of darkness.
    gain : float
        Grey values a photo-electron.
    read_noise : float
        Standard deviation of the read-out, in photo-electrons.
    maximum : int
        Largest grey value (4095 for 12 bits).
    """

    photons: float = 120.0
    offset: float = 100.0
    gain: float = 2.0
    read_noise: float = 2.0
    maximum: int = 65535

    def expose(self, signal: Image, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Grey values (Y, X) of an expected signal (Y, X): Poisson and read noise, gain, offset, saturation."""
        electrons = rng.poisson(np.maximum(signal, 0) * self.photons) + rng.normal(0, self.read_noise, signal.shape)
        return np.clip(np.rint(electrons * self.gain + self.offset), 0, self.maximum).astype(np.uint16)


@dataclass(frozen=True)
class Points:
    """Fluorescent points of one channel.

    Attributes
    ----------
    position_um : array (N, 3)
        y, x, z.
    weight : array (N,)
        Fluorescence.
    """

    position_um: NDArray[np.float32]
    weight: NDArray[np.float32]


def join(clouds: list[Points]) -> Points:
    """All points of several clouds."""
    if not clouds:
        return Points(np.zeros((0, 3), np.float32), np.zeros(0, np.float32))
    return Points(np.concatenate([c.position_um for c in clouds]), np.concatenate([c.weight for c in clouds]))


def image_points(points: Points, *, shape: tuple[int, int], optics: Optics) -> Image:
    """Expected image of points.

    Parameters
    ----------
    points : Points
        Where the fluorophores are and how bright.
    shape : tuple of int
        (Y, X) of the image in pixels; pixel (0, 0) has its centre at (0, 0) um.

    Returns
    -------
    float32 array (Y, X)
        Fluorescence a um2, so that brightness does not depend on the pixel size.
    """
    factor = optics.oversampling
    step = optics.pixel_size_um / factor
    fine_shape = (shape[0] * factor, shape[1] * factor)
    total = np.zeros(fine_shape, np.float32)
    weight = points.weight * optics.axial_weight(points.position_um[:, 2]).astype(np.float32)
    layer = np.digitize(np.abs(points.position_um[:, 2]), _LAYER_EDGES_UM) - 1
    for index, centre in enumerate(_LAYER_CENTRES_UM):
        chosen = layer == index
        if chosen.any():
            laid = _lay_down(points.position_um[chosen, :2], weight[chosen], fine_shape, step, factor)
            sigma_px = optics.lateral_sigma_um(float(centre)) / step
            total += ndimage.gaussian_filter(laid, sigma_px, truncate=_BACKGROUND_TRUNCATE, mode="constant")
    return bin_pixels(total, factor) / np.float32(step * step)


def _lay_down(
    position_um: NDArray[np.float32], weight: NDArray[np.float32], shape: tuple[int, int], step: float, factor: int
) -> Image:
    """Bilinear sum of point weights on the fine grid."""
    at = position_um / np.float32(step) + np.float32((factor - 1) / 2)
    inside = ((at > 0) & (at < np.array(shape) - 1.001)).all(axis=1)
    at, weight = at[inside], weight[inside]
    corner = at.astype(np.int64)
    part = at - corner
    flat = corner[:, 0] * shape[1] + corner[:, 1]
    total = np.zeros(shape[0] * shape[1])
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = (part[:, 0] if down else 1 - part[:, 0]) * (part[:, 1] if right else 1 - part[:, 1])
        total += np.bincount(flat + down * shape[1] + right, weights=weight * share, minlength=total.size)
    return total.reshape(shape).astype(np.float32)


def bin_pixels(image: Image, factor: int) -> Image:
    """Mean over blocks of factor x factor."""
    if factor == 1:
        return image
    height, width = image.shape[0] // factor, image.shape[1] // factor
    return np.asarray(image.reshape(height, factor, width, factor).mean(axis=(1, 3)), np.float32)
