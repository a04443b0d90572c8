"""Which object of the result is which object of the truth: one to one, by overlap or by distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from lysoquant.metrics.overlap import share

IOU_THRESHOLD = 0.5
"""Least IoU of a truth and a found object that are one (paper: F1 of segmentation)."""
DISTANCE_LIMIT_PX = 3.0
"""Largest distance of centroids at the model's pixel size, 75 nm (paper: F1 of detection)."""


@dataclass(frozen=True)
class Matching:
    """Objects of truth and result, and those that belong together.

    Attributes
    ----------
    n_truth, n_found : int
        Objects.
    pairs : int array (n, 2)
        Labels (truth, found) of each match, by truth label.
    """

    n_truth: int
    n_found: int
    pairs: NDArray[np.int64]

    @property
    def n_matched(self) -> int:
        """True positives."""
        return len(self.pairs)

    @property
    def precision(self) -> float:
        """Share of found objects that are true; NaN where nothing was found."""
        return share(self.n_matched, self.n_found)

    @property
    def recall(self) -> float:
        """Share of true objects that were found; NaN where there is none."""
        return share(self.n_matched, self.n_truth)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); NaN where there is neither a true nor a found object."""
        return share(2 * self.n_matched, self.n_truth + self.n_found)


def components(class_map: NDArray[np.generic], *, target: int) -> NDArray[np.int32]:
    """4-connected parts of one class of a class map (Y, X), numbered from 1."""
    labels, _ = ndimage.label(class_map == target)
    return np.asarray(labels, dtype=np.int32)


def match_iou(
    truth_labels: NDArray[np.integer], found_labels: NDArray[np.integer], *, threshold: float = IOU_THRESHOLD
) -> Matching:
    """Pair objects whose intersection over union is at least `threshold`.

    Of all one-to-one pairings the one with the most pairs is taken, among these the one with the largest sum of IoU
    (Hungarian method).

    Parameters
    ----------
    truth_labels, found_labels : int array (Y, X)
        Label images, 0 is background.
    threshold : float
        In (0, 1].
    """
    truth, found = _Objects.of(truth_labels), _Objects.of(found_labels)
    both = (truth.index >= 0) & (found.index >= 0)
    paired = truth.index[both] * np.int64(len(found.labels)) + found.index[both]
    codes, common = np.unique(paired, return_counts=True)
    rows, columns = np.divmod(codes, max(1, len(found.labels)))
    overlaps = common / (truth.sizes[rows] + found.sizes[columns] - common)
    enough = overlaps >= threshold
    return _match(truth, found, rows[enough], columns[enough], overlaps[enough])


def match_distance(
    truth_labels: NDArray[np.integer], found_labels: NDArray[np.integer], *, limit_px: float = DISTANCE_LIMIT_PX
) -> Matching:
    """Pair objects whose centroids lie at most `limit_px` apart.

    Of all one-to-one pairings the one with the most pairs is taken, among these the one with the smallest sum of
    distances (Hungarian method).

    Parameters
    ----------
    truth_labels, found_labels : int array (Y, X)
        Label images, 0 is background.
    limit_px : float
        In pixels of the label images.
    """
    truth, found = _Objects.of(truth_labels), _Objects.of(found_labels)
    if not len(truth.labels) or not len(found.labels):
        return Matching(len(truth.labels), len(found.labels), np.zeros((0, 2), np.int64))
    near = KDTree(truth.centroids()).query_ball_tree(KDTree(found.centroids()), limit_px * (1 + 1e-9))
    rows = np.repeat(np.arange(len(near)), [len(row) for row in near])
    columns = np.array([column for row in near for column in row], np.int64)
    distance = np.linalg.norm(truth.centroids()[rows] - found.centroids()[columns], axis=1)
    return _match(truth, found, rows, columns, 1 - distance / max(2 * limit_px, 1e-9))


@dataclass(frozen=True)
class _Objects:
    """Objects of a label image: their labels, sizes, and for every pixel their index, -1 for background."""

    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]
    index: NDArray[np.int64]

    @classmethod
    def of(cls, image: NDArray[np.integer]) -> _Objects:
        index = np.full(image.shape, -1, np.int64)
        foreground = image > 0
        labels, inverse, sizes = np.unique(image[foreground], return_inverse=True, return_counts=True)
        index[foreground] = inverse
        return cls(labels.astype(np.int64), sizes.astype(np.int64), index)

    def centroids(self) -> NDArray[np.float64]:
        """Mean (y, x) of each object's pixels."""
        pixels = np.nonzero(self.index >= 0)
        which = self.index[pixels]
        sums = [np.bincount(which, weights=axis, minlength=len(self.labels)) for axis in pixels]
        return np.asarray(np.stack(sums, axis=1) / self.sizes[:, None])


def _match(
    truth: _Objects,
    found: _Objects,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    quality: NDArray[np.float64],
) -> Matching:
    """Best pairing of candidate pairs (rows, columns), each of a quality in (0, 1]."""
    chosen = [
        group[_assign(rows[group], columns[group], quality[group])]
        for group in _independent(rows, columns, len(truth.labels), len(found.labels))
    ]
    taken = np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)
    taken = taken[np.argsort(rows[taken], kind="stable")]
    pairs = np.stack([truth.labels[rows[taken]], found.labels[columns[taken]]], axis=1)
    return Matching(len(truth.labels), len(found.labels), pairs)


def _independent(
    rows: NDArray[np.int64], columns: NDArray[np.int64], n_rows: int, n_columns: int
) -> list[NDArray[np.int64]]:
    """Candidate pairs in groups that share no object, so that each can be settled alone and stays small."""
    if not len(rows):
        return []
    size = n_rows + n_columns
    graph = coo_array((np.ones(len(rows), np.int8), (rows, n_rows + columns)), shape=(size, size))
    _, part = connected_components(graph, directed=False)
    order = np.argsort(part[rows], kind="stable")
    return np.split(order, np.flatnonzero(np.diff(part[rows][order])) + 1)


def _assign(rows: NDArray[np.int64], columns: NDArray[np.int64], quality: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the candidates to keep: most pairs first, then the largest sum of quality."""
    names_of_rows, row = np.unique(rows, return_inverse=True)
    names_of_columns, column = np.unique(columns, return_inverse=True)
    shape = len(names_of_rows), len(names_of_columns)
    # One pair more outweighs any gain of quality, which is at most 1 a pair.
    weight = np.zeros(shape)
    weight[row, column] = min(shape) + 1 + quality
    candidate = np.full(shape, -1, np.int64)
    candidate[row, column] = np.arange(len(rows))
    best = candidate[linear_sum_assignment(weight, maximize=True)]
    return np.asarray(best[best >= 0])
