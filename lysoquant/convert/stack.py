"""One image of a stack: its maximum projection, or the plane in which most endolysosomes are cut through the lumen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lysoquant.errors import FieldError

_LUMEN_SIGMA_PX: Final = 1.5
"""Half a lumen's width: 0.1 to 0.2 um at the pixel sizes of the field."""


def max_projection(planes: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Maximum over Z, with two planes in memory at a time.

    Parameters
    ----------
    planes : iterable of (Y, X) array
        Grey values; the planes are asked for one after the other.

    Raises
    ------
    FieldError
        If the planes differ in size or dtype.
    """
    projection: npt.NDArray[Any] | None = None
    for number, plane in enumerate(planes, start=1):
        if projection is None:
            projection = plane
        elif plane.shape != projection.shape or plane.dtype != projection.dtype:
            raise FieldError(
                f"the planes of a stack differ: the first is {_kind(projection)}, number {number} is {_kind(plane)};"
                " export the field again"
            )
        else:
            # Into a new array at first: the first plane is the caller's.
            projection = np.maximum(projection, plane, out=projection if number > 2 else None)
    if projection is None:
        raise ValueError("a stack of no planes")
    return projection


def _kind(plane: npt.NDArray[Any]) -> str:
    return "{} x {} {}".format(*plane.shape, plane.dtype.name)


def lumen_score(image: npt.NDArray[Any]) -> float:
    """How many and how clear dark lumens between bright membranes a plane shows; compares planes of one stack.

    Parameters
    ----------
    image : (Y, X) array
        Grey values of the lysosome channel.

    Returns
    -------
    float
        Mean square root of the depth of the valleys: of the Laplacian of Gaussian, where it is positive, of the square
        roots of the grey values.

    Notes
    -----
    A membrane that is cut through the lumen encloses a dark spot, one that is cut at its cap is a bright disc, and one
    out of focus is a haze. Square roots of grey values make the photon noise of all planes equal; those of depths keep
    a few bright clumps from outvoting many dim rings. :func:`lysoquant.convert.quality.focus_score` is of no use here:
    it is divided by the image's variance, and where nothing is in focus noise is all of that, so that it is highest
    far out of focus.
    """
    valleys = ndimage.gaussian_laplace(np.sqrt(image, dtype=np.float32), _LUMEN_SIGMA_PX)
    return float(np.mean(np.sqrt(np.maximum(valleys, 0, out=valleys)), dtype=np.float64))
