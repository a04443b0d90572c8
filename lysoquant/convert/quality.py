"""What can be said of a raw image before anything is found in it: sharp, saturated, empty, of fine or coarse things."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lysoquant.convert.curvature import smooth_variances

_SMOOTHING_PX: Final = 1.0
"""Camera noise is as strong in a blurred image as in a sharp one, so it is smoothed before the Laplacian."""

_DETECTOR_CEILINGS: Final = (1023, 4095, 16383)
"""Largest values of 10-, 12- and 14-bit cameras, whose images are stored as uint16."""

_PILED_UP_PX: Final = 8
"""So many pixels at a camera's largest value are no coincidence."""

_BINNED_PX: Final = 4
"""Signal is looked for in means of so many pixels squared, which a single hot pixel does not fill."""

_BAND_ROWS: Final = 32
"""Rows in one piece, which stay in the processor's cache."""

_ROWS_APART: Final = 4
_FEW_PX: Final = 2**19
"""Sharpness and noise of an image of up to so many pixels are taken at every row, of larger ones at every second to
fourth: neighbouring rows show the same things."""

_BACKGROUND_PERCENTILE: Final = 10.0
_SIGNAL_PERCENTILE: Final = 99.9

_MAD_OF_NORMAL: Final = 0.6745
"""Median absolute deviation of a normal distribution with a standard deviation of 1."""

_ROUNDING_NOISE: Final = 12**-0.5
"""Standard deviation of what rounding to whole grey values takes away: no image has less noise."""

_FINE_UM: Final = 0.2
_COARSE_UM: Final = 2.5
"""Endolysosomes vary between these two lengths, nuclei beyond the second."""


def focus_score(image: npt.NDArray[Any]) -> float:
    """Sharpness: variance of the Laplacian of Gaussian over the variance of the smoothed image.

    Parameters
    ----------
    image : (Y, X) array
        Grey values.

    Returns
    -------
    float
        From 0 (blurred) upwards; NaN for an image of one value or below 3 x 3 pixels. Grows with detail near the
        pixel size, so scores compare fields of one plate and channel, not instruments.

    Notes
    -----
    Dividing by the variance makes the score independent of exposure, gain and camera offset. In a field with nothing
    in it the score is that of the noise, about 1.4 where the noise is white: read it together with the number of cells.

    References
    ----------
    Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy, doi:10.1109/ICPR.2000.903548 (variance of
    the Laplacian); Bray et al. 2012, doi:10.1177/1087057111420292 (why a screen's score must not follow the exposure).
    """
    if _is_flat(image) or min(image.shape) < 3:
        return math.nan
    variance, bent = smooth_variances(image, sigma_px=_SMOOTHING_PX, every=_rows_apart(image))
    return bent / variance if variance > 0 else math.nan


def saturated_fraction(image: npt.NDArray[Any]) -> float:
    """Share of pixels at the largest value that the image's dtype or its camera can hold.

    Parameters
    ----------
    image : (Y, X) array of uint8 or uint16
        Grey values. In uint16 the ceiling is that of a 10-, 12- or 14-bit camera where at least 8 pixels pile up there
        and none is brighter.

    Returns
    -------
    float
        Fraction in [0, 1].
    """
    largest = int(image.max())
    n_largest = int(np.count_nonzero(image == largest))
    is_ceiling = largest == np.iinfo(image.dtype).max or (
        image.dtype.itemsize > 1 and largest in _DETECTOR_CEILINGS and n_largest >= _PILED_UP_PX
    )
    return n_largest / image.size if is_ceiling else 0.0


def signal_to_background(image: npt.NDArray[Any]) -> float:
    """How far the brightest things stand above the background, in units of the noise of a pixel.

    Parameters
    ----------
    image : (Y, X) array
        Grey values.

    Returns
    -------
    float
        99.9th less 10th percentile of the means of 4 x 4 pixels, over the noise; 0 for an image of one value, about 1
        where there is nothing but noise. Independent of exposure, gain and camera offset.

    Notes
    -----
    The noise is the median absolute difference of neighbours across both axes (Immerkaer's mask of 2 x 2 pixels), which
    things larger than a few pixels and slow shading do not reach; never less than what rounding leaves.

    References
    ----------
    Immerkaer 1996, Fast noise variance estimation, doi:10.1006/cviu.1996.0060.
    """
    if _is_flat(image) or min(image.shape) < _BINNED_PX:
        return 0.0
    low, high = np.percentile(_block_means(image, _BINNED_PX), [_BACKGROUND_PERCENTILE, _SIGNAL_PERCENTILE])
    noise = max(_median_across(image) / 2 / _MAD_OF_NORMAL, _ROUNDING_NOISE)
    return float(high - low) / noise


def detail_fraction(image: npt.NDArray[Any], *, pixel_size_um: float) -> float:
    """Share of an image's variance that lies within 2.5 um: small things such as endolysosomes, not nuclei.

    Parameters
    ----------
    image : (Y, X) array
        Grey values.
    pixel_size_um : float
        Edge of a pixel.

    Returns
    -------
    float
        In [0, 1], of means over 0.2 um, which takes most of the noise away; NaN where nothing varies, or the image is
        smaller than 10 um.
    """
    if not pixel_size_um > 0 or min(image.shape) * pixel_size_um < 4 * _COARSE_UM:
        return math.nan
    n_fine = max(1, round(_FINE_UM / pixel_size_um))
    fine = _block_means(image, n_fine)
    coarse = _block_means(fine, max(2, round(_COARSE_UM / (n_fine * pixel_size_um))))
    variance = float(fine.var(dtype=np.float64))
    return max(0.0, 1 - float(coarse.var(dtype=np.float64)) / variance) if variance > 0 else math.nan


def _is_flat(image: npt.NDArray[Any]) -> bool:
    """Whether an image is of one value; the first row mostly tells."""
    return bool(image.size == 0 or ((image[0] == image[0, 0]).all() and image.min() == image.max()))


def _rows_apart(image: npt.NDArray[Any]) -> int:
    return min(_ROWS_APART, 1 + image.size // _FEW_PX)


def _median_across(image: npt.NDArray[Any]) -> float:
    """Median absolute difference of neighbours across both axes, one for each 2 x 2 pixels."""
    every = _rows_apart(image)
    upper, lower = image[::every], image[1::every]
    starts = range(0, len(lower), _BAND_ROWS)
    bands = (_across(upper[row : row + _BAND_ROWS], lower[row : row + _BAND_ROWS]) for row in starts)
    if image.dtype.kind != "u":
        return float(np.median(np.concatenate(list(bands))))
    # Whole numbers are counted, which takes a fifth of the time of putting them in order.
    counts = np.zeros(2 * np.iinfo(image.dtype).max + 1, np.int64)
    for band in bands:
        found = np.bincount(band)
        counts[: len(found)] += found
    upto = np.cumsum(counts)
    return float(np.searchsorted(upto, [(upto[-1] - 1) // 2, upto[-1] // 2], side="right").mean())


def _across(upper: npt.NDArray[Any], lower: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Absolute differences between rows and those below them, and of these between columns; flat."""
    down = np.subtract(upper[: len(lower)], lower, dtype=np.int32 if upper.dtype.kind == "u" else np.float32)
    across: npt.NDArray[Any] = np.abs(down[:, :-1] - down[:, 1:])
    return across.ravel()


def _block_means(image: npt.NDArray[Any], edge: int) -> npt.NDArray[np.float32]:
    """Means of squares of `edge` pixels; what is left over at the lower and right border is left out."""
    height, width = (length // edge for length in image.shape)
    means = np.empty((height, width), np.float32)
    step = max(8, _BAND_ROWS // edge)
    for first in range(0, height, step):
        band = image[first * edge : min(first + step, height) * edge, : width * edge]
        # Rows first, which lie in one piece: a mean over both axes at once takes ten times as long.
        rows = band[::edge].astype(np.float32)
        for row in range(1, edge):
            rows += band[row::edge]
        sums = means[first : first + step]
        sums[:] = rows[:, ::edge]
        for column in range(1, edge):
            sums += rows[:, column::edge]
    means /= edge * edge
    return means
