"""The objects of a label image as runs of pixels: what every measurement of it starts from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

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
class Runs:
    """The objects of a field, each as its runs: pixels of one object side by side in a row, as many as there are.

    Attributes
    ----------
    shape : tuple of int
        (Y, X) of the label image.
    labels : ndarray (N,), int64
        Numbers of the objects, rising.
    owner : ndarray (R,), int64
        For each run, in raster order, the position of its object in `labels`.
    y, start, stop : ndarray (R,), int64
        Row, first column and the column after the last.
    """

    shape: tuple[int, int]
    labels: Ints
    owner: Ints
    y: Ints
    start: Ints
    stop: Ints

    @property
    def lengths(self) -> Ints:
        """Pixels of each run: ndarray (R,), int64."""
        return self.stop - self.start

    @cached_property
    def sizes(self) -> Ints:
        """Number of pixels of each object: ndarray (N,), int64."""
        return self.totals(self.lengths).astype(np.int64)

    @cached_property
    def first(self) -> Ints:
        """The first run of each object: ndarray (N,), int64."""
        return np.unique(self.owner, return_index=True)[1].astype(np.int64)

    @cached_property
    def pixels(self) -> Ints:
        """Place of each labelled pixel in the flattened image, in raster order: ndarray (M,), int64."""
        lengths = self.lengths
        before = np.cumsum(lengths) - lengths
        places: Ints = np.repeat(self.y * self.shape[1] + self.start - before, lengths)
        places += np.arange(len(places))
        return places

    @cached_property
    def index(self) -> Ints:
        """Position in `labels` of each labelled pixel's object: ndarray (M,), int64."""
        return np.repeat(self.owner, self.lengths)

    @cached_property
    def numbered(self) -> NDArray[np.int32]:
        """Label image (Y, X) with the objects numbered 1 to N in the order of `labels`."""
        image = np.zeros(self.shape, dtype=np.int32)
        image.ravel()[self.pixels] = np.repeat(self.owner.astype(np.int32) + 1, self.lengths)
        return image

    def labels_at(self, places: Ints) -> Ints:
        """Label at each place of the flattened image, 0 for background: ndarray of the same shape, int64."""
        found: Ints = np.append(0, self.labels)[self.numbered.ravel()[places]]
        return found

    def totals(self, values: Values) -> Floats:
        """Sum over each object of one value a run: (R,) to (N,), float64."""
        return np.bincount(self.owner, weights=values, minlength=len(self.labels)).astype(np.float64)

    def sums(self, image: Image) -> Floats:
        """Sum of each object's pixels in an image: (Y, X) to (N,), float64; exact for whole numbers."""
        if not len(self.owner):
            return np.zeros(len(self.labels))
        exact = np.int64 if np.issubdtype(image.dtype, np.integer) else np.float64
        begin = np.cumsum(self.lengths) - self.lengths
        return self.totals(np.add.reduceat(image.ravel()[self.pixels], begin, dtype=exact))

    def means(self, image: Image) -> Floats:
        """Mean of each object's pixels in an image: (Y, X) to (N,), float64."""
        means: Floats = self.sums(image) / self.sizes
        return means


def runs_of(labels: Labels | Runs) -> Runs:
    """The runs of a label image (Y, X), 0 being background; runs are given back as they are."""
    if isinstance(labels, Runs):
        return labels
    height, width = labels.shape
    flat = labels.ravel()
    begins = np.ones(labels.shape, dtype=np.bool_)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=begins[:, 1:])
    begin = np.flatnonzero(begins)
    end = np.append(begin[1:], flat.size)
    inside = flat[begin] != 0
    begin, end = begin[inside], end[inside]
    numbers, owner = np.unique(flat[begin].astype(np.int64), return_inverse=True)
    y = begin // max(width, 1)
    row = y * width
    return Runs((height, width), numbers, owner.astype(np.int64), y=y, start=begin - row, stop=end - row)


def largest_parts(objects: Runs) -> Runs:
    """Each object's largest 8-connected part, the first in raster order among equals."""
    n_runs = len(objects.owner)
    upper, lower = _touching(objects)
    pairs = coo_array((np.ones(len(upper), dtype=np.int8), (upper, lower)), shape=(n_runs, n_runs))
    n_parts, part = connected_components(pairs, directed=False)
    if n_parts == len(objects.labels):
        return objects
    size = np.bincount(part, weights=objects.lengths, minlength=n_parts)
    first = np.unique(part, return_index=True)[1]
    owner = objects.owner[first]
    order = np.lexsort((first, -size, owner))
    chosen = np.zeros(n_parts, dtype=np.bool_)
    chosen[order[np.unique(owner[order], return_index=True)[1]]] = True
    return _chosen(objects, chosen[part])


def without(objects: Runs, dropped: Bools) -> Runs:
    """The objects that are not dropped: ndarray (N,), bool."""
    kept = _chosen(objects, ~dropped[objects.owner])
    position = np.cumsum(~dropped) - 1
    return Runs(kept.shape, kept.labels[~dropped], position[kept.owner], kept.y, kept.start, kept.stop)


def _chosen(objects: Runs, runs: Bools) -> Runs:
    return Runs(
        objects.shape,
        objects.labels,
        owner=objects.owner[runs],
        y=objects.y[runs],
        start=objects.start[runs],
        stop=objects.stop[runs],
    )


def _touching(objects: Runs) -> tuple[Ints, Ints]:
    """Pairs of runs of one object in neighbouring rows that touch, by a side or a corner."""
    pitch = objects.shape[1] + 1
    starts, stops = objects.y * pitch + objects.start, objects.y * pitch + objects.stop
    low = np.searchsorted(stops, starts + pitch, side="left")
    high = np.searchsorted(starts, stops + pitch, side="right")
    n_below = high - low
    upper = np.repeat(np.arange(len(starts)), n_below)
    lower = np.arange(len(upper)) + np.repeat(low - (np.cumsum(n_below) - n_below), n_below)
    same = objects.owner[upper] == objects.owner[lower]
    return upper[same], lower[same]


def centroids_um(objects: Runs, pixel_size_um: float) -> tuple[Floats, Floats]:
    """Mean pixel-centre coordinates of each object in um, pixel (0, 0) having its centre at (0, 0).

    ImageJ puts that centre at (0.5, 0.5) pixel: its X and Y are half a pixel larger.

    Returns
    -------
    y, x : ndarray (N,), float64
    """
    sum_y = objects.totals(objects.y * objects.lengths)
    sum_x = objects.totals((objects.start + objects.stop - 1) * objects.lengths) / 2.0
    return sum_y / objects.sizes * pixel_size_um, sum_x / objects.sizes * pixel_size_um


def bounding_boxes(labels: Labels | Runs) -> Ints:
    """Top, left, bottom, right of each object in the order of rising labels, the last two exclusive: (N, 4), int64."""
    objects = runs_of(labels)
    boxes = np.zeros((len(objects.labels), 4), dtype=np.int64)
    boxes[:, :2] = np.iinfo(np.int64).max
    for column, least in enumerate((objects.y, objects.start)):
        np.minimum.at(boxes[:, column], objects.owner, least)
    for column, most in enumerate((objects.y + 1, objects.stop), start=2):
        np.maximum.at(boxes[:, column], objects.owner, most)
    return boxes
