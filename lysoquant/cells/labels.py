"""Label images: whole pieces, without small ones, numbered in reading order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def reading_order(labels: NDArray[Any]) -> NDArray[np.uint32]:
    """Labels numbered 1..n by their centroids, top to bottom, then left to right.

    Parameters
    ----------
    labels : (Y, X) ndarray of int
        Any positive numbers, with gaps or not.

    Returns
    -------
    (Y, X) ndarray of uint32
    """
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    renumbered = np.zeros(int(labels.max(initial=0)) + 1, np.uint32)
    if numbers.size:
        centroids = np.array(ndimage.center_of_mass(labels > 0, labels, numbers))
        order = np.lexsort((centroids[:, 1], centroids[:, 0]))
        renumbered[numbers[order]] = np.arange(1, numbers.size + 1)
    ordered: NDArray[np.uint32] = renumbered[labels]
    return ordered


def whole_pieces(labels: NDArray[np.int32], *, cores: NDArray[np.int32]) -> NDArray[np.int32]:
    """Each label's piece that holds most of its core, without holes; the other pieces are dropped."""
    whole = np.zeros_like(labels)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        pieces, _ = ndimage.label(labels[box] == label)
        held = np.bincount(pieces[cores[box] == label], minlength=2)
        held[0] = 0
        filled = ndimage.binary_fill_holes(pieces == held.argmax())
        whole[box][filled & ((labels[box] == label) | (labels[box] == 0))] = label
    return whole


def drop_small(labels: NDArray[np.int32], *, min_pixels: float, share_at_border: float = 1.0) -> NDArray[np.int32]:
    """Without labels of fewer pixels, or at the image's border of fewer than a share of them."""
    areas = np.bincount(labels.ravel())
    limits = np.full(areas.size, min_pixels)
    limits[np.concatenate([labels[[0, -1]].ravel(), labels[:, [0, -1]].ravel()])] *= share_at_border
    small = areas < limits
    small[0] = True
    return np.where(small[labels], 0, labels).astype(np.int32)


def median_diameter_um(nuclei: NDArray[Any], *, pixel_size_um: float) -> float:
    """Median over nuclei of the diameter of the circle of equal area.

    Parameters
    ----------
    nuclei : (Y, X) ndarray of int
        Label image; nuclei that the image's border cuts do not count.
    pixel_size_um : float
        Pixel size in um.

    Returns
    -------
    float
        In um; NaN where no nucleus is whole.
    """
    area = np.bincount(nuclei.ravel()).astype(np.float64)
    cut = np.concatenate([nuclei[[0, -1]].ravel(), nuclei[:, [0, -1]].ravel()])
    area[np.unique([0, *cut.tolist()])] = 0
    whole = area[area > 0]
    return float(np.median(2 * np.sqrt(whole / np.pi)) * pixel_size_um) if whole.size else float("nan")
