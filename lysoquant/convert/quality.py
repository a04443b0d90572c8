"""What can be said of a raw image before anything is found in it: is it sharp, is it saturated."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_SMOOTHING_PX: Final = 1.0
"""Camera noise is as strong in a blurred image as in a sharp one, so it is smoothed before the Laplacian."""

_DETECTOR_CEILINGS: Final = (1023, 4095, 16383)
"""Largest values of 10-, 12- and 14-bit cameras, whose images are stored as uint16."""

_PILED_UP_PX: Final = 8
"""So many pixels at a camera's largest value are no coincidence."""


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
    if image.min() == image.max() or min(image.shape) < 3:
        return math.nan
    smooth = ndimage.gaussian_filter(image, _SMOOTHING_PX, output=np.float32)
    inner = smooth[1:-1, 1:-1]
    # By slices: ndimage.laplace takes ten times as long.
    laplacian = smooth[:-2, 1:-1] + smooth[2:, 1:-1] + smooth[1:-1, :-2] + smooth[1:-1, 2:] - 4 * inner
    variance = float(inner.var(dtype=np.float64))
    return float(laplacian.var(dtype=np.float64)) / variance if variance > 0 else math.nan


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
