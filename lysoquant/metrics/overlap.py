"""Pixels that truth and result have in common."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def overlap(
    truth: NDArray[np.generic],
    found: NDArray[np.generic],
    *,
    target: int,
    counted: NDArray[np.bool_] | None = None,
) -> tuple[int, int]:
    """Pixels of one class in both class maps, and in either.

    Parameters
    ----------
    truth, found : int array (Y, X)
        Class of every pixel.
    target : int
        The class.
    counted : bool array (Y, X), optional
        Pixels that count; default: all.

    Returns
    -------
    intersection, union : int
    """
    if truth.shape != found.shape:
        raise ValueError(f"truth is {truth.shape} and found is {found.shape}; expected equal shapes")
    in_truth, in_found = truth == target, found == target
    both, either = in_truth & in_found, in_truth | in_found
    if counted is not None:
        both, either = both & counted, either & counted
    return int(np.count_nonzero(both)), int(np.count_nonzero(either))


def iou(
    truth: NDArray[np.generic],
    found: NDArray[np.generic],
    *,
    target: int,
    counted: NDArray[np.bool_] | None = None,
) -> float:
    """Intersection over union of one class, pixel by pixel (paper, Methods).

    Parameters as in :func:`overlap`.

    Returns
    -------
    float
        In [0, 1]; NaN where the class is in neither.
    """
    return share(*overlap(truth, found, target=target, counted=counted))


def share(part: float, whole: float) -> float:
    """`part` / `whole`, NaN where there is nothing to take a part of."""
    return part / whole if whole else math.nan
