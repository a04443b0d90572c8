"""The light of a plate from its own fields: what they have in common is the light, what they differ in is cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lysoquant.errors import InputError
from lysoquant.illumination.flat_field import Gain

MIN_FIELDS: Final = 16
"""With fewer fields cells are taken for light."""

MAX_DIFFERENCE: Final = 0.03
"""Halves of the fields whose light differs by more do not tell what the light is."""

_BLOCKS: Final = 16
"""Blocks along the shorter edge; a block's median leaves out what is bright in it."""

_DEGREE: Final = 4
_ROUNDS: Final = 10
_HUBER: Final = 1.345

Grid = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Light of one channel.

    Attributes
    ----------
    gain : (Y, X) array of float32
        Light on each pixel, of mean 1.
    n_fields : int
        Fields that it was made of.
    difference : float
        Root mean square relative difference between the light of every other field and that of the rest.
    """

    gain: Gain
    n_fields: int
    difference: float


def brightness(image: npt.NDArray[Any], *, dark: float) -> Grid | None:
    """Medians of a field's blocks over their own median; None where the field is not brighter than `dark`.

    Parameters
    ----------
    image : (Y, X) array
        Raw grey values.
    dark : float
        Grey value without light.
    """
    edge = max(1, min(image.shape) // _BLOCKS)
    height, width = (length // edge * edge for length in image.shape)
    blocks = image[:height, :width].reshape(height // edge, edge, width // edge, edge).swapaxes(1, 2)
    medians: Grid = np.median(blocks.reshape(*blocks.shape[:2], -1), axis=2).astype(np.float64) - dark
    usual = float(np.median(medians))
    return medians / usual if usual > 1 else None


def estimate_light(grids: Iterable[Grid | None], *, shape: tuple[int, int], name: str) -> Estimate:
    """Light from the brightness of many fields: their median, smoothed by a robust polynomial of the fourth degree.

    Parameters
    ----------
    grids : iterable of (n, m) arrays
        What :func:`brightness` says of each field.
    shape : (Y, X)
        Shape of the fields.
    name : str
        Plate and channel, for messages.

    Raises
    ------
    InputError
        If there are too few fields, or halves of them give another light.
    """
    found = list(grids)
    usable = [grid for grid in found if grid is not None]
    if len(usable) < MIN_FIELDS:
        raise InputError(
            f"{name}: {len(usable)} of {len(found)} positions are brighter than illumination.dark, expected at least "
            f"{MIN_FIELDS} to tell light from cells; take flat-field images at the microscope and name them in "
            "illumination.flat_field"
        )
    halves = [_light(usable[start::2], shape) for start in (0, 1)]
    difference = float(np.sqrt(np.mean((halves[0] / halves[1] - 1) ** 2)))
    if not difference <= MAX_DIFFERENCE:
        raise InputError(
            f"{name}: the light by one half of {len(usable)} fields and by the other differ by {difference:.1%}, "
            f"expected at most {MAX_DIFFERENCE:.0%}: too few or too crowded fields to tell light from cells; take "
            "flat-field images at the microscope and name them in illumination.flat_field"
        )
    return Estimate(_light(usable, shape).astype(np.float32), len(usable), difference)


def _light(grids: Sequence[Grid], shape: tuple[int, int]) -> Grid:
    usual: Grid = np.median(grids, axis=0)
    rows, columns = usual.shape
    terms = _polynomials(_centres(rows), _centres(columns)).reshape(rows * columns, -1)
    values, weights = usual.ravel(), np.ones(usual.size)
    for _ in range(_ROUNDS):
        factors = np.linalg.lstsq(terms * weights[:, None], values * weights, rcond=None)[0]
        off = np.abs(values - terms @ factors)
        spread = float(np.median(off)) / 0.6745 + 1e-9
        weights = np.sqrt(1 / np.maximum(1, off / (_HUBER * spread)))
    # Blocks leave out less than one block at the lower and right border; the polynomial is stretched over it.
    light: Grid = _polynomials(_centres(shape[0]), _centres(shape[1])) @ factors
    even: Grid = light / light.mean()
    return even


def _centres(count: int) -> Grid:
    """Centres of `count` equal steps from -1 to 1."""
    return (np.arange(count) + 0.5) / count * 2 - 1


def _polynomials(y: Grid, x: Grid) -> Grid:
    """(Y, X, term): every product of powers up to the degree."""
    powers = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)]
    return np.stack([y[:, None] ** i * x[None] ** j for i, j in powers], axis=-1)
