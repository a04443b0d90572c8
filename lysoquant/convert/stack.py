"""One image of a stack: its maximum projection, or the plane in which most endolysosomes are cut through the lumen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lysoquant.errors import FieldError


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
            projection = plane.copy()
        elif plane.shape != projection.shape or plane.dtype != projection.dtype:
            raise FieldError(
                f"the planes of a stack differ: the first is {_kind(projection)}, number {number} is {_kind(plane)};"
                " export the field again"
            )
        else:
            np.maximum(projection, plane, out=projection)
    if projection is None:
        raise ValueError("a stack of no planes")
    return projection


def _kind(plane: npt.NDArray[Any]) -> str:
    return "{} x {} {}".format(*plane.shape, plane.dtype.name)


def ring_sharpness(image: npt.NDArray[Any]) -> float:
    """How much sharp detail of the size of a limiting membrane a plane holds; compares planes of one stack."""
    smooth = ndimage.gaussian_filter(np.sqrt(image, dtype=np.float32), 1.0)
    return float(ndimage.laplace(smooth).var(dtype=np.float64))
