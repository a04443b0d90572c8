"""What all readers of people's outlines share: channels by role, pixel sizes, and cells cut out as examples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.errors import InputError
from lysoquant.examples.example import Example, too_small
from lysoquant.examples.simulated import to_model
from lysoquant.io.raw.names import printable, some
from lysoquant.model.preprocess import model_length
from lysoquant.units import ACCEPTED_PIXEL_SIZE_UM, MODEL_PIXEL_SIZE_UM, pixel_size_accepted

MAX_MODEL_PX: Final = 2**27
"""Largest cell at the model's pixel size (11,585 x 11,585, or 290 um square): more would ask for all memory."""


def choose_channels(channels: Sequence[str], *, lysosome: str | None, cargo: str | None, where: str) -> tuple[str, str]:
    """The lysosome and the cargo channel: as named, or the channels that bear the names of the roles.

    Raises
    ------
    InputError
        Listing the channels, if a role can't be settled.
    """
    chosen = [
        _channel(channels, role=role, wanted=wanted, where=where)
        for role, wanted in (("lysosome", lysosome), ("cargo", cargo))
    ]
    if chosen[0] == chosen[1]:
        raise InputError(f"{where}: {printable(chosen[0])!r} can't be both lysosome and cargo; name two channels")
    return chosen[0], chosen[1]


def _channel(channels: Sequence[str], *, role: str, wanted: str | None, where: str) -> str:
    matches = [name for name in channels if (name == wanted if wanted else name.lower() == role)]
    if len(matches) == 1:
        return matches[0]
    fault = f"there is no channel {wanted!r}" if wanted else f"no channel is called {role}"
    held = some([printable(name) for name in channels], most=12)
    raise InputError(f"{where}: {fault}; its channels are {held}: say which with --{role}")


def settle_pixel_size(found: float | None, *, given: float | None, where: str) -> float:
    """The pixel size that was given, else the file's own.

    Raises
    ------
    InputError
        If there is none, or it lies outside twice the tested range.
    """
    size = given if given is not None else found
    if size is None or math.isnan(size):
        raise InputError(f"{where}: its metadata give no pixel size; give it with --pixel-size-um")
    if not pixel_size_accepted(size):
        low, high = ACCEPTED_PIXEL_SIZE_UM
        raise InputError(
            f"{where}: a pixel size of {size:g} um, expected {low:g} to {high:g} um; give the right one with "
            "--pixel-size-um, or image finer"
        )
    return size


def check_size(shape: Sequence[int], *, pixel_size_um: float, where: str) -> None:
    """Refuse a cell that would fill the memory at the model's pixel size.

    Raises
    ------
    InputError
        With the remedy.
    """
    height, width = (model_length(length, pixel_size_um) for length in shape)
    if height * width > MAX_MODEL_PX:
        raise InputError(
            f"{where}: {height} x {width} pixels at {MODEL_PIXEL_SIZE_UM} um, expected at most {MAX_MODEL_PX} in all; "
            "outline its cells"
        )


def make_example(
    *,
    name: str,
    cargo: NDArray[np.generic],
    lysosome: NDArray[np.generic],
    inside: NDArray[np.bool_],
    pixel_size_um: float,
    regions: NDArray[np.int32],
    classes: NDArray[np.uint8],
    ignored: NDArray[np.bool_],
) -> Example:
    """An example of a cell that somebody outlined.

    Regions are cut to the cell and numbered anew. What is left of one under the paper's smallest annotated area is
    neither right nor wrong to find: it is ignored, as in simulated cells.

    Parameters
    ----------
    cargo, lysosome : array (Y, X)
        Grey values of the cell's bounding box.
    inside : bool array (Y, X)
        The cell.
    regions : int32 array (My, Mx)
        Instances at the model's pixel size.
    classes : uint8 array (n + 1,)
        Class of each.
    ignored : bool array (My, Mx)
        Pixels that shall not count.
    """
    regions = np.where(to_model(inside, pixel_size_um), regions, 0)
    kept, numbered = np.unique(np.append(0, regions), return_inverse=True)
    regions = numbered[1:].reshape(regions.shape).astype(np.int32)
    return Example(
        name=name,
        cargo=cargo,
        lysosome=lysosome,
        inside=inside,
        pixel_size_um=pixel_size_um,
        regions=regions,
        classes=np.asarray(classes[kept]),
        ignored=ignored | too_small(regions),
        docked=np.zeros(len(kept), bool),
    )
