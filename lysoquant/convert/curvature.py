"""How much an image varies and bends once it is smoothed: what its focus score is made of."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_ROWS: Final = 8
_DOWN_PX: Final = 128
_ACROSS_PX: Final = 16
"""Sizes of the products below: so small that they stay in the processor's cache and no library splits them between
threads, which would make sums depend on their number."""

_TRUNCATE: Final = 4.0
"""Standard deviations at which the Gaussian ends."""

_Floats = npt.NDArray[np.float32]


def smooth_variances(image: npt.NDArray[Any], *, sigma_px: float, every: int = 1) -> tuple[float, float]:
    """Variance of an image smoothed by a Gaussian, and of the Laplacian of that.

    Parameters
    ----------
    image : (Y, X) array
        Grey values, at least 3 x 3.
    sigma_px : float
        Standard deviation of the Gaussian.
    every : int
        How many rows apart the rows lie that are looked at, with their neighbours.

    Returns
    -------
    tuple of float
        Both over the pixels of these rows that have neighbours on all sides.

    Notes
    -----
    The smoothed image is that of ``scipy.ndimage.gaussian_filter`` with its defaults, the Laplacian that of four
    neighbours. Gaussian and second difference are products with a banded matrix, along the columns and then along the
    rows: more operations than sums of shifted images, in less time.
    """
    values, curvatures = _Moments(), _Moments()
    for smooth, down in _smooth_rows(image, sigma_px=sigma_px, every=every):
        inner = smooth[:, 1:-1]
        laplacian = smooth[:, :-2] + smooth[:, 2:]
        laplacian -= 2 * inner
        laplacian += down[:, 1:-1]
        values.add(inner)
        curvatures.add(laplacian)
    return values.variance, curvatures.variance


def _smooth_rows(image: npt.NDArray[Any], *, sigma_px: float, every: int) -> Iterator[tuple[_Floats, _Floats]]:
    """Every n-th inner row smoothed and its second difference down the columns, (n, X) each, some rows at a time.

    One constant is taken off all grey values, which keeps digits. The arrays are used again for the next rows.
    """
    height, width = image.shape
    reach, padded = _reach(sigma_px), -(-width // _DOWN_PX) * _DOWN_PX
    matrix, gaussian = _down_matrix(sigma_px, every), np.ascontiguousarray(_gaussian(_ACROSS_PX, sigma_px).T)
    grey = np.zeros((matrix.shape[1], padded), np.float32)
    down = np.zeros((len(matrix), padded + 2 * reach), np.float32)
    smooth = np.empty((len(matrix), padded), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(down, _ACROSS_PX + 2 * reach, axis=1)[:, ::_ACROSS_PX]
    offset = np.float32(image[::8, ::8].mean())
    columns = _reflected(np.arange(-reach, width + reach), width)
    beyond = np.r_[:reach, reach + width : width + 2 * reach]
    for start in range(1, height - 1, _ROWS * every):
        rows = _reflected(start - 1 - reach + np.arange(len(grey)), height)
        np.subtract(image[rows], offset, out=grey[:, :width], casting="unsafe", dtype=np.float32)
        np.matmul(matrix, _blocks(grey, _DOWN_PX), out=_blocks(down[:, reach:-reach], _DOWN_PX))
        down[:, beyond] = down[:, reach + columns[beyond]]
        np.matmul(windows.swapaxes(0, 1), gaussian, out=_blocks(smooth, _ACROSS_PX))
        n_rows = min(_ROWS, -(-(height - 1 - start) // every))
        yield smooth[:n_rows, :width], smooth[_ROWS : _ROWS + n_rows, :width]


class _Moments:
    """Variance of float32 values that come in parts."""

    def __init__(self) -> None:
        self._sums = np.zeros(3)

    def add(self, values: _Floats) -> None:
        """Take more values, (Y, X): summed along rows in single precision, over the rows in double."""
        rows = values.sum(axis=1), np.einsum("yx,yx->y", values, values)
        self._sums += [values.size, *(row.sum(dtype=np.float64) for row in rows)]

    @property
    def variance(self) -> float:
        """Variance of all values so far."""
        count, total, squares = self._sums
        return max(float(squares / count - (total / count) ** 2), 0.0)


def _blocks(image: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    """View of (Y, X) as blocks of columns: (X / width, Y, width)."""
    return image.reshape(len(image), -1, width).swapaxes(0, 1)


def _reflected(index: npt.NDArray[np.intp], size: int) -> npt.NDArray[np.intp]:
    """Indices beyond an edge mirrored at it, the edge itself taken twice."""
    inside = np.mod(index, 2 * size)
    return np.where(inside < size, inside, 2 * size - 1 - inside)


def _reach(sigma_px: float) -> int:
    return int(_TRUNCATE * sigma_px + 0.5)


@functools.cache
def _gaussian(size: int, sigma_px: float) -> _Floats:
    """Matrix (size, size + 2 reach) that makes of so many values and their neighbours the weighted means."""
    reach = _reach(sigma_px)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_px) ** 2)
    diagonals = [weight * np.eye(size, size + 2 * reach, k=place) for place, weight in enumerate(weights)]
    matrix: _Floats = (np.sum(diagonals, axis=0) / weights.sum()).astype(np.float32)
    return matrix


@functools.cache
def _down_matrix(sigma_px: float, every: int) -> _Floats:
    """Matrix that makes of rows every n-th smoothed row but the first, and below those their second differences."""
    matrix = _gaussian((_ROWS - 1) * every + 3, sigma_px)
    second = matrix[:-2] - 2 * matrix[1:-1] + matrix[2:]
    return np.concatenate([matrix[1:-1:every], second[::every]])
