"""Examples as images with ImageJ ROI zips, for people to correct and for training to read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.errors import InputError
from lysoquant.examples.drawn import CELL, IGNORE
from lysoquant.examples.example import Example, too_small
from lysoquant.io.outlines import NewOutline, Ring, trace, write_outlines
from lysoquant.io.stacks import write_stack
from lysoquant.units import MODEL_PIXEL_SIZE_UM
from lysoquant.vocabulary import CLASS_COLOURS, CLASS_NAMES

CHANNELS: Final = ("cargo", "lysosome")
"""Red and green in Fiji, as in the paper's figures."""

_CELL_COLOUR: Final = (255, 255, 0)
_IGNORE_COLOUR: Final = (128, 128, 128)


def write_example(folder: Path, example: Example) -> Path:
    """Write ``NAME.tif`` (channels cargo and lysosome) and ``NAME.zip`` (ImageJ ROIs) of one cell.

    :func:`lysoquant.examples.annotated.read_examples` reads the same regions, classes and ignored pixels from them.
    Outlines are named ``cell``, ``empty-0001``, ``loaded-0002`` (numbered in one count) and ``ignore-0001``.

    Parameters
    ----------
    folder : pathlib.Path
        Where to; it must be there.
    example : Example
        uint8 or uint16 grey values. NAME is its name, what a file name should not hold replaced by ``_``.

    Returns
    -------
    pathlib.Path
        The image.

    Raises
    ------
    InputError
        If an image of that name is there.
    """
    image = folder / f"{file_name(example.name)}.tif"
    if image.exists():
        raise InputError(f"{image} is there already; give an empty folder, or examples of different names")
    write_outlines(image.with_suffix(".zip"), example_outlines(example))
    planes = np.stack([np.asarray(example.cargo), np.asarray(example.lysosome)])
    write_stack(image, planes, channels=CHANNELS, pixel_size_um=example.pixel_size_um)
    return image


def file_name(name: str) -> str:
    """A name that is safe as a file's on every system."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")[:120] or "cell"


def example_outlines(example: Example) -> Iterator[NewOutline]:
    """The outlines of an example: its cell, its regions, and what is ignored.

    Small regions have no ``ignore``: every reader ignores them, and a person may enlarge them.
    """
    scale = example.pixel_size_um / MODEL_PIXEL_SIZE_UM
    yield NewOutline(CELL, trace(example.inside), _CELL_COLOUR)
    yield from region_outlines(example.regions, example.classes, scale=scale)
    yield from ignored_outlines(example.ignored & ~too_small(example.regions), scale=scale)


def region_outlines(
    regions: NDArray[np.int32], classes: NDArray[np.uint8], *, scale: float = 1.0
) -> Iterator[NewOutline]:
    """Outlines of a label image, named by class and number.

    Parameters
    ----------
    regions : int32 array (Y, X)
        Instances; pixel i lies at image coordinate i / scale.
    classes : uint8 array (n + 1,)
        Class of each.
    """
    for number, rings in _rings_of_each(regions, scale):
        target = int(classes[number])
        yield NewOutline(f"{CLASS_NAMES[target]}-{number:04d}", rings, CLASS_COLOURS[target])


def ignored_outlines(ignored: NDArray[np.bool_], *, scale: float = 1.0) -> Iterator[NewOutline]:
    """Outlines of the parts of a mask (Y, X), named ``ignore-0001`` and so on."""
    parts, _ = ndimage.label(ignored)
    for number, rings in _rings_of_each(parts, scale):
        yield NewOutline(f"{IGNORE}-{number:04d}", rings, _IGNORE_COLOUR)


def _rings_of_each(labels: NDArray[np.integer], scale: float) -> Iterator[tuple[int, list[Ring]]]:
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            corner = np.array([box[1].start, box[0].start]) / scale
            yield number, [ring + corner for ring in trace(labels[box] == number, scale=scale)]
