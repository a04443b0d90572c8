"""Cells with several nuclei: nuclei side by side with no valley of the signal between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_VALLEY: Final = 0.8
"""A border at which the signal falls to less than this share of what it is beside it parts two cells."""
_BORDER_UM: Final = 1.5
_BESIDE_UM: Final = (2.4, 6.0)
"""What lies so far from a border is beside it."""
_OFF_NUCLEUS_UM: Final = 1.0
"""Nearer to a nucleus the signal is low by the nucleus, and tells nothing of a border."""


def cell_of_each_nucleus(
    nuclei: NDArray[np.int32],
    cells: NDArray[np.int32],
    signal: NDArray[np.float32],
    *,
    n_nuclei: int,
    work_um: float,
    gap_um: float,
) -> NDArray[np.int32]:
    """Which nucleus's number the cell of each nucleus has: its own, or the first of those that share a cell.

    Parameters
    ----------
    nuclei, cells : (y, x) ndarray of int32
        A cell for each nucleus, with the nucleus's number; higher numbers than `n_nuclei` are cells of no nucleus.
    signal : (y, x) ndarray of float32
        What fills the cells, above background.
    n_nuclei : int
        The highest number of a nucleus.
    work_um, gap_um : float
        Size of a pixel; how far apart the edges of nuclei of one cell may lie, in um.

    Returns
    -------
    (highest number in cells + 1,) ndarray of int32
    """
    owner = np.arange(max(int(cells.max(initial=0)), n_nuclei) + 1, dtype=np.int32)
    off_nuclei = ndimage.distance_transform_edt(nuclei == 0) * work_um > _OFF_NUCLEUS_UM
    boxes = ndimage.find_objects(cells)
    for first, second in _neighbours(nuclei, n_nuclei=n_nuclei, reach=gap_um / work_um):
        if not _valley_between(first, second, cells, signal, off_nuclei, boxes=boxes, work_um=work_um):
            one, other = sorted((owner[first], owner[second]))
            owner[owner == other] = one
    return owner


def _neighbours(nuclei: NDArray[np.int32], *, n_nuclei: int, reach: float) -> Iterator[tuple[int, int]]:
    """Pairs of nuclei whose edges lie no farther apart than `reach` pixels, the lower number first."""
    margin = int(reach) + 1
    for first, box in enumerate(ndimage.find_objects(nuclei, n_nuclei), start=1):
        if box is None:
            continue
        around = nuclei[tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)]
        # Pixels that touch are 1 apart from centre to centre.
        near = ndimage.distance_transform_edt(around != first) <= reach + 1
        for second in np.unique(around[near & (around > first) & (around <= n_nuclei)]).tolist():
            yield first, second


def _valley_between(
    first: int,
    second: int,
    cells: NDArray[np.int32],
    signal: NDArray[np.float32],
    off_nuclei: NDArray[np.bool_],
    *,
    boxes: list[Any],
    work_um: float,
) -> bool:
    """Whether the signal is low where two cells meet; not so where nothing but their nuclei meets."""
    if boxes[first - 1] is None or boxes[second - 1] is None:
        return True
    sides = zip(boxes[first - 1], boxes[second - 1], strict=True)
    box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in sides)
    one, other = cells[box] == first, cells[box] == second
    to_one, to_other = (ndimage.distance_transform_edt(~cell) * work_um for cell in (one, other))
    border = (one & (to_other <= _BORDER_UM)) | (other & (to_one <= _BORDER_UM))
    if not border.any():
        return True
    away = ndimage.distance_transform_edt(~border) * work_um
    beside = (one | other) & (away > _BESIDE_UM[0]) & (away <= _BESIDE_UM[1]) & off_nuclei[box]
    border &= off_nuclei[box]
    if not border.any() or not beside.any():
        return False
    return float(signal[box][border].mean()) < _VALLEY * float(signal[box][beside].mean())
