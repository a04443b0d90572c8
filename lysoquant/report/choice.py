"""Which cells are pictured: measurements in, indices out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

_MAD_TO_SD: Final = 1.4826
_LARGEST: Final = 20.0
"""Deviations beyond count as this: one number gone wild must not decide alone."""

LEAST_CELLS: Final = 8
"""Cells of a condition of which none is strange: fewer have no spread that says what is usual."""


@dataclass(frozen=True)
class Strange:
    """A cell far from the others of its condition.

    Attributes
    ----------
    index : int
        Its place in the input.
    distance : float
        Root mean square of its deviations from the medians, in robust standard deviations.
    column : int
        The measurement that deviates most.
    deviation : float
        By how much, in robust standard deviations.
    """

    index: int
    distance: float
    column: int
    deviation: float


def deviations(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Measurements of a condition's cells in robust standard deviations from its medians.

    Parameters
    ----------
    values : ndarray, shape (n, m), float64
        m measurements of n cells; NaN where undefined.

    Returns
    -------
    ndarray, shape (n, m), float64
        (value - median) / (1.4826 x median absolute deviation), within -20 and 20; NaN where the value is undefined or
        more than half of the cells have the same one.
    """
    known = np.isfinite(values)
    scaled = np.full(values.shape, np.nan)
    for column in range(values.shape[1]):
        own = values[known[:, column], column]
        if not own.size:
            continue
        median = np.median(own)
        spread = _MAD_TO_SD * np.median(np.abs(own - median))
        if spread > 0:
            scaled[known[:, column], column] = np.clip((own - median) / spread, -_LARGEST, _LARGEST)
    return scaled


def choose_strange(
    values: npt.NDArray[np.float64], *, touches_border: npt.NDArray[np.bool_], count: int, taken: Sequence[int] = ()
) -> list[Strange]:
    """The strangest cells of a condition: those farthest from its median in all measurements together.

    Parameters
    ----------
    values : ndarray, shape (n, m), float64
        m measurements of the condition's n cells.
    touches_border : ndarray, shape (n,), bool
        Cells cut by the field's border are strange for that alone: they come only when there are not enough whole ones,
        unless more than half of the cells are cut.
    count : int
        Cells wanted.
    taken : sequence of int
        Cells that are not to be chosen: they are pictured already.

    Returns
    -------
    list of Strange
        At most `count`, the strangest first, ties by the order of the input; none of fewer than eight cells.
    """
    if len(values) < LEAST_CELLS or not count:
        return []
    scaled = deviations(values)
    known = np.isfinite(scaled)
    n_known = known.sum(axis=1)
    squares = np.where(known, scaled, 0.0) ** 2
    distance = np.round(np.sqrt(squares.sum(axis=1) / np.maximum(n_known, 1)), 9)
    candidates = np.setdiff1d(np.flatnonzero(n_known), np.array(taken, dtype=np.int64))
    is_last = touches_border[candidates] & (touches_border.mean() <= 0.5)
    order = np.lexsort((candidates, -distance[candidates], is_last))
    found = []
    for index in candidates[order[:count]].tolist():
        column = int(np.argmax(squares[index]))
        found.append(Strange(index, float(distance[index]), column, float(scaled[index, column])))
    return found


_LEAST_SHARE: Final = 0.12
_LARGEST_SHARE: Final = 0.3
_FIELD_BYTES: Final = 13_000
"""What a field should have before the montage gets more than its least share."""


def room_for_montage(page_bytes: float, *, n_fields: int) -> float:
    """Bytes of the page for the montage: 12 to 30 % of it, the more the fewer fields there are to picture.

    Examples
    --------
    >>> room_for_montage(45e6, n_fields=16)
    13500000.0
    """
    left = page_bytes - n_fields * _FIELD_BYTES
    return float(min(max(left, page_bytes * _LEAST_SHARE), page_bytes * _LARGEST_SHARE))


def shares(most: int, n_conditions: int, *, typical: int, strange: int) -> tuple[int, int, int]:
    """How many conditions are pictured, and by how many typical and strange cells each.

    Parameters
    ----------
    most : int
        Cells that there is room for; one condition is always shown.
    n_conditions : int
        Conditions that there are.
    typical, strange : int
        Cells wanted of each.

    Returns
    -------
    tuple of int
        As many conditions as have room for at least one cell of either kind that is wanted, then as many cells as
        wanted or as there is room for, of both kinds alike.

    Examples
    --------
    >>> shares(54, 130, typical=3, strange=3)
    (27, 1, 1)
    >>> shares(54, 11, typical=3, strange=3)
    (11, 2, 2)
    """
    n_shown = min(n_conditions, max(most // ((typical > 0) + (strange > 0)), 1))
    each = max(most // max(n_shown, 1), 1)
    of_strange = min(strange, each // 2) if typical else min(strange, each)
    return n_shown, min(typical, each - of_strange), of_strange
