"""Examples from a folder of images with ImageJ ROI zips: ``NAME.tif`` and ``NAME.zip``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.errors import FieldError, InputError
from lysoquant.examples.crops import check_size, choose_channels, make_example, settle_pixel_size
from lysoquant.examples.drawn import Drawing, draw_regions, draw_union, read_drawing, refuse_drawn_twice
from lysoquant.examples.example import Example
from lysoquant.examples.simulated import to_model
from lysoquant.io.raw.names import natural_key, printable
from lysoquant.io.raw.pixels import Pixels
from lysoquant.io.rois import Outline
from lysoquant.io.stacks import open_stack
from lysoquant.model.preprocess import model_length
from lysoquant.units import MODEL_PIXEL_SIZE_UM

_IMAGE: Final = re.compile(r"(?P<stem>.+?)(?:\.ome)?\.tiff?", re.IGNORECASE)
_OUTLINES: Final = re.compile(r"(?P<stem>.+)\.zip", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """An image and its outlines.

    Attributes
    ----------
    name : str
        What both files are called.
    image, outlines : pathlib.Path
        ``NAME.tif`` and ``NAME.zip``.
    """

    name: str
    image: Path
    outlines: Path


def find_pairs(folder: Path) -> list[Pair]:
    """Images of a folder and their outlines, in natural order; other files and subfolders are passed over.

    Raises
    ------
    InputError
        If there is no image, or an image or a zip is without the other.
    """
    images, outlines = _by_stem(folder, _IMAGE), _by_stem(folder, _OUTLINES)
    if not images:
        raise InputError(f"{folder}: no .tif image; expected NAME.tif with NAME.zip (ImageJ ROIs) beside it")
    for name in sorted({*images, *outlines}, key=natural_key):
        if name not in outlines:
            raise InputError(
                f"{folder}: {images[name].name} has no {printable(name)}.zip; outline it (only a `cell` where there "
                "is no endolysosome), or take it out"
            )
        if name not in images:
            raise InputError(f"{folder}: {outlines[name].name} has no {printable(name)}.tif; put the image beside it")
    return [Pair(name, images[name], outlines[name]) for name in sorted(images, key=natural_key)]


def _by_stem(folder: Path, pattern: re.Pattern[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = pattern.fullmatch(path.name)
        if match is None or path.name.startswith(".") or not path.is_file():
            continue
        if match["stem"] in found:
            raise InputError(f"{folder}: {found[match['stem']].name} and {path.name} have one name; rename one")
        found[match["stem"]] = path
    return found


def folder_examples(
    folder: Path, *, lysosome: str | None = None, cargo: str | None = None, pixel_size_um: float | None = None
) -> Iterator[Example]:
    """Every cell of every image of a folder; see :func:`lysoquant.examples.annotated.read_examples`."""
    for pair in find_pairs(folder):
        yield from pair_examples(pair, lysosome=lysosome, cargo=cargo, pixel_size_um=pixel_size_um)


def pair_examples(
    pair: Pair, *, lysosome: str | None = None, cargo: str | None = None, pixel_size_um: float | None = None
) -> list[Example]:
    """Every cell of one image: those outlined as ``cell``, else the whole image.

    Raises
    ------
    InputError
        One line that names the file, the fault and the remedy.
    """
    where = str(pair.image)
    try:
        stack = open_stack(pair.image)
        chosen = choose_channels(stack.channels, lysosome=lysosome, cargo=cargo, where=where)
        size = settle_pixel_size(stack.pixel_size_um, given=pixel_size_um, where=where)
        planes = [stack.read(channel) for channel in chosen]
    except FieldError as error:
        raise InputError(str(error)) from error
    drawing = read_drawing(pair.outlines)
    for cell in drawing.cells:
        if not cell.mask(stack.shape)[1].any():
            raise InputError(f"{pair.outlines}: cell {printable(cell.name)!r} lies outside the image; delete it")
    refuse_drawn_twice(drawing.regions, stack.shape, where=str(pair.outlines))
    cells: Sequence[Outline | None] = drawing.cells or [None]
    found = [_cell(pair, drawing, planes, cell, size) for cell in cells]
    placed = {int(number) for _, numbers in found for number in numbers}
    for number, outline in enumerate(drawing.regions, start=1):
        if number not in placed:
            place, remedy = ("every cell", "enlarge its cell") if drawing.cells else ("the image", "draw it larger")
            raise InputError(
                f"{pair.outlines}: outline {printable(outline.name)!r} lies outside {place}, or under others; "
                f"delete it, or {remedy}"
            )
    return [example for example, _ in found]


def _cell(
    pair: Pair, drawing: Drawing, planes: Sequence[Pixels], cell: Outline | None, pixel_size_um: float
) -> tuple[Example, NDArray[np.int32]]:
    """One cell, its regions drawn at the model's pixel size, and the numbers of the outlines that it shows."""
    name = pair.name if cell is None or len(drawing.cells) == 1 else f"{pair.name} {cell.name}"
    origin = (0, 0)
    inside: NDArray[np.bool_] = np.ones(planes[0].shape, bool)
    if cell is not None:
        origin, inside = _cut_out(cell, planes[0].shape)
    box = (slice(origin[0], origin[0] + inside.shape[0]), slice(origin[1], origin[1] + inside.shape[1]))
    check_size(inside.shape, pixel_size_um=pixel_size_um, where=f"{pair.image}: {name}")
    shape = (model_length(inside.shape[0], pixel_size_um), model_length(inside.shape[1], pixel_size_um))
    scale = pixel_size_um / MODEL_PIXEL_SIZE_UM
    drawn = draw_regions(drawing.regions, shape, scale=scale, origin=origin)
    regions = np.where(to_model(inside, pixel_size_um), drawn, np.int32(0))
    lysosome, cargo = (plane[box] for plane in planes)
    example = make_example(
        name=name,
        cargo=cargo,
        lysosome=lysosome,
        inside=inside,
        pixel_size_um=pixel_size_um,
        regions=regions,
        classes=np.array([0, *drawing.classes], np.uint8),
        ignored=draw_union(drawing.ignored, shape, scale=scale, origin=origin),
    )
    return example, np.unique(regions)


def _cut_out(cell: Outline, shape: tuple[int, int]) -> tuple[tuple[int, int], NDArray[np.bool_]]:
    """First row and column of the bounding box of a cell's pixels, and the cell in it."""
    (rows, columns), mask = cell.mask(shape)
    y, x = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (rows.start + int(y[0]), columns.start + int(x[0])), mask[y[0] : y[-1] + 1, x[0] : x[-1] + 1]
