"""Resolution levels of images and label images, each half the one before."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_BAND_ROWS: Final = 32
"""Rows that are made in one piece, whose sums stay in the processor's cache."""


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
    halved = np.empty((even.shape[0], even.shape[1] // 2, even.shape[2] // 2), dtype=planes.dtype)
    for index in np.ndindex(len(even), -(-halved.shape[1] // _BAND_ROWS)):
        target = halved[index[0], index[1] * _BAND_ROWS :][:_BAND_ROWS]
        band = even[index[0], 2 * index[1] * _BAND_ROWS :][: 2 * _BAND_ROWS]
        pairs = np.add(band[::2], band[1::2], dtype=np.uint32)
        total = pairs[:, ::2] + pairs[:, 1::2]
        total += 2
        target[:] = total >> 2
    return halved
