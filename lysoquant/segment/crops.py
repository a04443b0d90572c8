"""Cells cut out of a field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


@dataclass(frozen=True)
class CellCrop:
    """One cell's window on its field.

    Attributes
    ----------
    cell : int
        Number of the cell in the label image.
    box : tuple of slice
        Rows and columns of the field.
    inside : bool array (y, x)
        The cell within the box.
    """

    cell: int
    box: tuple[slice, slice]
    inside: NDArray[np.bool_]


def cell_crops(cells: NDArray[np.integer]) -> Iterator[CellCrop]:
    """Bounding box and shape of each cell of a label image (Y, X), by number."""
    for cell, box in enumerate(ndimage.find_objects(cells.astype(np.int64)), start=1):
        if box is not None:
            rows, columns = box
            yield CellCrop(cell, (rows, columns), cells[box] == cell)
