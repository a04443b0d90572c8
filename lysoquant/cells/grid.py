"""Between a field's own pixels and the coarser grid on which cells are found."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

WORK_PIXEL_SIZE_UM: Final = 0.6
"""Nuclei and cells are micrometres large: a finer grid costs time and changes nothing."""


def work_factor(*, pixel_size_um: float, work_um: float = WORK_PIXEL_SIZE_UM) -> int:
    """How many of the field's pixels make one pixel of the coarse grid, along one axis.

    Parameters
    ----------
    pixel_size_um, work_um : float
        Size of a pixel, and about that of the coarse grid's, in um.

    Raises
    ------
    ValueError
        If the pixel size is not a positive number.
    """
    if not pixel_size_um > 0 or not np.isfinite(pixel_size_um):
        raise ValueError(f"pixel size {pixel_size_um!r} um is not positive")
    return max(1, round(work_um / pixel_size_um))


def coarsen(*, image: NDArray[Any], factor: int) -> NDArray[np.float32]:
    """Block means of an image; the last row and column of blocks are completed with edge values.

    Parameters
    ----------
    image : (Y, X) ndarray
        Any real dtype.
    factor : int
        Edge of a block in pixels.

    Returns
    -------
    (ceil(Y / factor), ceil(X / factor)) ndarray of float32
    """
    padded = np.pad(image.astype(np.float32), [(0, -size % factor) for size in image.shape], mode="edge")
    rows, columns = (size // factor for size in padded.shape)
    means: NDArray[np.float32] = padded.reshape(rows, factor, columns, factor).mean(axis=(1, 3))
    return means


def coarsen_labels(*, labels: NDArray[Any], factor: int) -> NDArray[np.int32]:
    """The label at the centre of every block; shaped as :func:`coarsen`'s result."""
    rows, columns = (np.minimum(np.arange(0, size, factor) + factor // 2, size - 1) for size in labels.shape)
    return labels[np.ix_(rows, columns)].astype(np.int32)


def refine_labels(*, labels: NDArray[np.int32], factor: int, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Label image on the field's own pixels, with smooth outlines instead of blocks.

    Each label's mask is smoothed and interpolated linearly. A pixel is foreground where the sum over labels
    reaches one half, and belongs to the label that is largest there, so neighbours share a smooth border without gap.

    Parameters
    ----------
    labels : (y, x) ndarray of int32
        On the coarse grid.
    factor : int
        Edge of a block in pixels.
    shape : (Y, X)
        Shape of the field.

    Returns
    -------
    (Y, X) ndarray of int32
    """
    if factor == 1:
        return labels
    total = np.zeros(shape, np.float32)
    best = np.zeros(shape, np.float32)
    refined = np.zeros(shape, np.int32)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        low = tuple(slice(max(0, s.start - 4), min(n, s.stop + 4)) for s, n in zip(box, labels.shape, strict=True))
        high = tuple(slice(s.start * factor, min(n, s.stop * factor)) for s, n in zip(low, shape, strict=True))
        mask = ndimage.gaussian_filter((labels[low] == label).astype(np.float32), 1.0, mode="nearest", truncate=3)
        soft = _interpolate(mask, factor=factor)[: high[0].stop - high[0].start, : high[1].stop - high[1].start]
        total[high] += soft
        wins = soft > best[high]
        best[high][wins] = soft[wins]
        refined[high][wins] = label
    refined[total < 0.5] = 0
    return refined


def _interpolate(image: NDArray[np.float32], *, factor: int) -> NDArray[np.float32]:
    for axis in (0, 1):
        size = image.shape[axis]
        position = np.clip((np.arange(size * factor) - (factor - 1) / 2) / factor, 0, size - 1)
        left = np.minimum(position.astype(np.intp), max(size - 2, 0))
        weight = (position - left).astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight[None, :]
        right = np.minimum(left + 1, size - 1)
        image = np.take(image, left, axis) * (1 - weight) + np.take(image, right, axis) * weight
    return image
