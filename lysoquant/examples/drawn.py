"""Outlines by what their names say they are, and label images drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.errors import FieldError, InputError
from lysoquant.io.raw.names import printable
from lysoquant.io.rois import Outline, read_outlines
from lysoquant.vocabulary import CLASS_NAMES, EMPTY, LOADED

CELL: Final = "cell"
IGNORE: Final = "ignore"
CLASS_BY_NAME: Final = {CLASS_NAMES[EMPTY]: EMPTY, CLASS_NAMES[LOADED]: LOADED}
NAMES: Final = (*CLASS_BY_NAME, CELL, IGNORE)
"""How the name of an outline begins."""


@dataclass(frozen=True)
class Drawing:
    """The outlines of one image, each kind in the order of the file.

    Attributes
    ----------
    regions : list of Outline
        Endolysosomes.
    classes : list of int
        Class of each.
    cells, ignored : list of Outline
        Cells; areas that shall not count.
    """

    regions: list[Outline] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    cells: list[Outline] = field(default_factory=list)
    ignored: list[Outline] = field(default_factory=list)


def kind(name: str) -> str | None:
    """What an outline is by its name, such as ``Loaded-0003``; None where the name does not say."""
    return next((begin for begin in NAMES if name.lower().startswith(begin)), None)


def read_drawing(path: Path) -> Drawing:
    """The outlines of an ImageJ ROI zip; nothing is unpacked to disk.

    Raises
    ------
    InputError
        If the file can't be read, holds anything but areas, or a name does not say what the area is.
    """
    try:
        outlines = read_outlines(path)
    except FieldError as error:
        raise InputError(str(error)) from error
    drawing = Drawing()
    for outline in outlines:
        match kind(outline.name):
            case "cell":
                drawing.cells.append(outline)
            case "ignore":
                drawing.ignored.append(outline)
            case None:
                raise InputError(
                    f"{path}: outline {printable(outline.name)!r}: a name must begin with {', '.join(NAMES[:-1])} or "
                    f"{NAMES[-1]}; rename it in the ROI Manager"
                )
            case name:
                drawing.regions.append(outline)
                drawing.classes.append(CLASS_BY_NAME[name])
    return drawing


def draw_regions(
    outlines: Sequence[Outline], shape: tuple[int, int], *, scale: float = 1.0, origin: tuple[int, int] = (0, 0)
) -> NDArray[np.int32]:
    """Label image of outlines, numbered from 1 in their order; of overlapping ones the earlier keeps the pixels.

    Parameters as in :meth:`lysoquant.io.rois.Outline.mask`.
    """
    regions = np.zeros(shape, np.int32)
    for number, outline in enumerate(outlines, start=1):
        box, mask = outline.mask(shape, scale=scale, origin=origin)
        part = regions[box]
        part[mask & (part == 0)] = number
    return regions


def refuse_drawn_twice(outlines: Sequence[Outline], shape: tuple[int, int], *, where: str) -> None:
    """Refuse an outline of which earlier ones hold more than half: an endolysosome was drawn twice.

    Raises
    ------
    InputError
        Naming both outlines.
    """
    regions = draw_regions(outlines, shape)
    for number, outline in enumerate(outlines, start=1):
        box, mask = outline.mask(shape)
        taken = regions[box][mask & (regions[box] != number)]
        if 2 * taken.size > np.count_nonzero(mask):
            other = outlines[int(np.bincount(taken).argmax()) - 1].name
            raise InputError(
                f"{where}: more than half of outline {printable(outline.name)!r} lies under {printable(other)!r}; "
                "delete one of the two"
            )


def draw_union(
    outlines: Sequence[Outline], shape: tuple[int, int], *, scale: float = 1.0, origin: tuple[int, int] = (0, 0)
) -> NDArray[np.bool_]:
    """Pixels inside any of the outlines."""
    union = np.zeros(shape, bool)
    for outline in outlines:
        box, mask = outline.mask(shape, scale=scale, origin=origin)
        union[box] |= mask
    return union
