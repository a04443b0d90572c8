"""Cells cut out of a field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.errors import FieldError
from lysoquant.model.preprocess import model_length
from lysoquant.units import MODEL_PIXEL_SIZE_UM


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


MAX_MODEL_PX: Final = 2**29
"""Largest cell at the model's pixel size (579 um square). A whole field of 2560 x 2160 pixels of 0.24 um, the coarsest
that is accepted, is just below it and takes 11 GB (20 bytes a pixel)."""


def require_reasonable(crops: Sequence[CellCrop], *, pixel_size_um: float) -> None:
    """Refuse a field that has a cell so large that the network would fill the memory and hardly end.

    Raises
    ------
    FieldError
        With the remedy.
    """
    for crop in crops:
        height, width = (model_length(length, pixel_size_um) for length in crop.inside.shape)
        if height * width > MAX_MODEL_PX:
            raise FieldError(
                f"cell {crop.cell} has {height} x {width} pixels at the model's {MODEL_PIXEL_SIZE_UM} um "
                f"({crop.inside.shape[0]} x {crop.inside.shape[1]} of {pixel_size_um:g} um), expected at most "
                f"{MAX_MODEL_PX} in all: not segmented; correct pixel_size_um in plates.tsv if it is wrong, find cells "
                "instead of taking the whole field as one (cells.method), or image finer"
            )


def cell_crops(cells: NDArray[np.integer]) -> Iterator[CellCrop]:
    """Bounding box and shape of each cell of a label image (Y, X), by number."""
    for cell, box in enumerate(ndimage.find_objects(cells.astype(np.int64)), start=1):
        if box is not None:
            rows, columns = box
            yield CellCrop(cell, (rows, columns), cells[box] == cell)
