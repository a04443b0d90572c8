"""Resolution levels of images and label images, each half the one before."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def image_pyramid(planes: npt.NDArray[Any], *, levels: int) -> list[npt.NDArray[Any]]:
    """Levels of an image by means of 2 x 2 pixels, rounded half up.

    Parameters
    ----------
    planes : (C, Y, X) array of uint8 or uint16
        Grey values.
    levels : int
        Number of levels, the image itself included.

    Returns
    -------
    list of (C, y, x) arrays
        Same dtype; the first is `planes` itself. The last row or column of an odd size counts twice.
    """
    pyramid = [planes]
    for _ in range(levels - 1):
        pyramid.append(_halve(pyramid[-1]))
    return pyramid


def label_pyramid(labels: npt.NDArray[Any], *, levels: int) -> list[npt.NDArray[Any]]:
    """Levels of a label image by every second pixel, so that no number arises that is not there.

    Parameters
    ----------
    labels : (Y, X) array of integer
        Label image.
    levels : int
        Number of levels, the image itself included.

    Returns
    -------
    list of (y, x) arrays
        Same dtype; the first is `labels` itself.
    """
    return [labels[:: 2**level, :: 2**level] for level in range(levels)]


def _halve(planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    rows, columns = planes.shape[1] % 2, planes.shape[2] % 2
    even = np.pad(planes, ((0, 0), (0, rows), (0, columns)), mode="edge") if rows or columns else planes
    total = np.full((even.shape[0], even.shape[1] // 2, even.shape[2] // 2), 2, dtype=np.uint32)
    for first_row in (0, 1):
        for first_column in (0, 1):
            total += even[:, first_row::2, first_column::2]
    return (total // 4).astype(planes.dtype)
