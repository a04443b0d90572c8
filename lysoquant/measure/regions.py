"""Labelled pixels as flat arrays: what every measurement of a label image starts from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.integer]
"""A label image (Y, X): 0 is background, every other number is one object."""
Image = NDArray[np.number]
"""One image plane (Y, X) of grey values."""
Values = NDArray[np.number] | NDArray[np.bool_]
"""One value a pixel."""
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Pixels:
    """The labelled pixels of a field, in raster order.

    Attributes
    ----------
    labels : ndarray (N,), int64
        Numbers of the objects, rising.
    index : ndarray (M,), int64
        For each labelled pixel, the position of its object in `labels`.
    y, x : ndarray (M,), int64
        Coordinates of each labelled pixel.
    """

    labels: Ints
    index: Ints
    y: Ints
    x: Ints

    @property
    def sizes(self) -> Ints:
        """Number of pixels of each object: ndarray (N,), int64."""
        return np.bincount(self.index, minlength=len(self.labels))

    def sums(self, values: Values) -> Floats:
        """Sum over each object of one value a pixel: (M,) to (N,), float64."""
        return np.bincount(self.index, weights=values, minlength=len(self.labels)).astype(np.float64)

    def means(self, values: Values) -> Floats:
        """Mean over each object of one value a pixel: (M,) to (N,), float64."""
        means: Floats = self.sums(values) / self.sizes
        return means

    def means_where(self, values: Values, chosen: Bools) -> Floats:
        """Mean over the chosen pixels of each object, NaN where none is: (M,) and (M,) to (N,), float64."""
        counts = np.bincount(self.index[chosen], minlength=len(self.labels)).astype(np.float64)
        sums = np.bincount(self.index[chosen], weights=values[chosen], minlength=len(self.labels))
        undefined = np.full(len(counts), np.nan)
        means: Floats = np.divide(sums, counts, out=undefined, where=counts > 0)
        return means


def labelled_pixels(labels: Labels) -> Pixels:
    """The labelled pixels of a label image.

    Parameters
    ----------
    labels : ndarray (Y, X), integer
        0 is background.
    """
    y, x = np.nonzero(labels)
    values = labels[y, x].astype(np.int64)
    numbers, index = np.unique(values, return_inverse=True)
    return Pixels(labels=numbers, index=index.astype(np.int64), y=y.astype(np.int64), x=x.astype(np.int64))


def centroids_um(pixels: Pixels, pixel_size_um: float) -> tuple[Floats, Floats]:
    """Mean pixel-centre coordinates of each object in um, pixel (0, 0) having its centre at (0, 0).

    ImageJ puts that centre at (0.5, 0.5) pixel: its X and Y are half a pixel larger.

    Returns
    -------
    y, x : ndarray (N,), float64
    """
    return pixels.means(pixels.y) * pixel_size_um, pixels.means(pixels.x) * pixel_size_um


def crops(pixels: Pixels, *, shape: tuple[int, int], margin_px: int = 0) -> Iterator[tuple[tuple[slice, slice], Bools]]:
    """Each object alone, in the order of `pixels.labels`.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of the label image.
    margin_px : int
        Pixels around the object's bounding box, as far as the image reaches.

    Yields
    ------
    window : tuple of slice
        Where the crop lies in the image.
    mask : ndarray (y, x), bool
        The object's pixels in the crop.
    """
    numbered = np.zeros(shape, dtype=np.int64)
    numbered[pixels.y, pixels.x] = pixels.index + 1
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        window = (_widened(box[0], margin_px, shape[0]), _widened(box[1], margin_px, shape[1]))
        yield window, numbered[window] == number


def _widened(extent: slice, margin: int, size: int) -> slice:
    return slice(max(extent.start - margin, 0), min(extent.stop + margin, size))


def bounding_boxes(labels: Labels) -> Ints:
    """Top, left, bottom, right of each object in the order of rising labels, the last two exclusive: (N, 4), int64."""
    windows = (window for window, _ in crops(labelled_pixels(labels), shape=labels.shape))
    return np.array([[y.start, x.start, y.stop, x.stop] for y, x in windows], dtype=np.int64).reshape(-1, 4)
