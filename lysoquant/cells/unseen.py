"""Seeds of cells whose nucleus is not to be seen: hills of their signal, and holes that a nucleus leaves in it."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

_VALLEY: Final = 0.22
"""A hill is a cell of its own if, from every nucleus, the way there leads through a valley whose signal is lower by
this, as a natural logarithm (a fifth)."""
_AROUND_NUCLEUS_UM: Final = 4.0
"""So far around a nucleus all is its cell's."""
_DIMMEST: Final = 0.05
"""A cell's signal reaches this share of what is usual around the nuclei that were found: what is dimmer is haze, uneven
light or the camera's pattern, which in a field of few bright cells stands far above the noise."""
_HOLE_DEPTH: Final = 0.2
"""A hole's bottom lies below every way out of it by this, as a natural logarithm."""
_HOLE_AREA: Final = (0.25, 2.0)
"""A nucleus's hole is so large, of a disc of a nucleus's diameter."""
_ROUNDNESS: Final = 0.65
"""The largest disc in a nucleus's hole takes this share of it; of a gap between cells it takes less."""
_HAZE: Final = 1.2
"""Over a nucleus there is some signal out of focus: its lowest is so many times what counts as signal."""
_CLOSED: Final = 0.75
"""All around a nucleus there is cytoplasm: the lowest fifth of the rim reaches this share of the rim's median."""


def unseen_cells(
    seeds: NDArray[np.int32],
    signal: NDArray[np.float32],
    *,
    floor: float,
    work_um: float,
    nucleus_diameter_um: float,
    max_radius_um: float,
    at_border: bool,
    inside: bool,
) -> NDArray[np.int32]:
    """Seeds of cells whose nucleus is not among those that were found.

    Parameters
    ----------
    seeds : (y, x) ndarray of int32
        Nuclei that were found.
    signal : (y, x) ndarray of float32
        What fills the cells, above background, smoothed so far that a cell is one hill.
    floor : float
        Signal below it is none.
    work_um, nucleus_diameter_um, max_radius_um : float
        Size of a pixel, typical diameter of a nucleus, and largest radius of a cell, in um.
    at_border, inside : bool
        Whether to look for cells that the image's border cuts, and for others.

    Returns
    -------
    (y, x) ndarray of int32
        1..n, and 0 where nothing was found.
    """
    height = np.log(np.maximum(signal, max(floor, 1e-30)))
    least = max(2 * floor, _DIMMEST * _usual(signal, seeds, within=_AROUND_NUCLEUS_UM / work_um))
    unseen = np.zeros(seeds.shape, np.int32)
    if inside:
        limits = tuple(share * np.pi / 4 * (nucleus_diameter_um / work_um) ** 2 for share in _HOLE_AREA)
        away = ndimage.distance_transform_edt(seeds == 0) * work_um > nucleus_diameter_um / 2
        unseen = _holes(signal, height, away, lowest=_HAZE * floor, least=least, n_pixels=(limits[0], limits[1]))
    known = (seeds > 0) | (unseen > 0)
    hills = _hills(height, known, signal > least, around=_AROUND_NUCLEUS_UM / work_um)
    cut = np.zeros(int(hills.max()) + 1, bool)
    cut[np.concatenate([hills[[0, -1]].ravel(), hills[:, [0, -1]].ravel()])] = True
    # A wider hill is no cell but uneven light.
    cell_sized = np.bincount(hills.ravel()) <= np.pi * (max_radius_um / work_um) ** 2
    wanted = np.where(cut, at_border, inside & cell_sized)
    wanted[0] = False
    number = np.where(wanted, int(unseen.max()) + np.cumsum(wanted), 0).astype(np.int32)
    return np.where(unseen > 0, unseen, number[hills])


def _usual(signal: NDArray[np.float32], seeds: NDArray[np.int32], *, within: float) -> float:
    """The median over the nuclei of the median signal on them and around them; 0 without nuclei."""
    distance, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    around = np.where(distance <= within, seeds[tuple(nearest)], 0)
    numbers = np.unique(around[around > 0])
    return float(np.median(ndimage.median(signal, around, numbers))) if numbers.size else 0.0


def _hills(
    height: NDArray[np.float32], known: NDArray[np.bool_], is_signal: NDArray[np.bool_], *, around: float
) -> NDArray[np.int32]:
    """Hills that a valley parts from all nuclei."""
    near = ndimage.distance_transform_edt(~known) <= around
    top, bottom = float(height.max()) + 1, float(height.min()) - 1
    # The highest pass on the way from any nucleus to each pixel.
    reached = reconstruction(np.where(near, top, bottom), np.where(near, top, height))  # type: ignore[no-untyped-call]
    hills, _ = ndimage.label((height - reached >= _VALLEY) & is_signal)
    return hills.astype(np.int32)


def _holes(
    signal: NDArray[np.float32],
    height: NDArray[np.float32],
    away: NDArray[np.bool_],
    *,
    lowest: float,
    least: float,
    n_pixels: tuple[float, float],
) -> NDArray[np.int32]:
    """Round holes in the signal of a nucleus's size, away from the nuclei that were found."""
    filled = reconstruction(height + _HOLE_DEPTH, height, method="erosion")  # type: ignore[no-untyped-call]
    bottoms, _ = ndimage.label(filled - height >= _HOLE_DEPTH - 1e-6, np.ones((3, 3)))
    basins = watershed(height, bottoms)  # type: ignore[no-untyped-call]
    found = np.zeros(height.shape, np.int32)
    for label, box in enumerate(ndimage.find_objects(basins), start=1):
        hole = _hole(signal[box], basins[box] == label, bottoms[box] == label, lowest=lowest, least=least)
        n = np.count_nonzero(hole)
        if not n_pixels[0] <= n <= n_pixels[1] or not away[box][hole].all() or _is_cut(box, hole, height.shape):
            continue
        radius = float(ndimage.distance_transform_edt(np.pad(hole, 1)).max())
        if np.pi * radius**2 >= _ROUNDNESS * n:
            found[box][hole] = found.max() + 1
    return found


def _hole(
    signal: NDArray[np.float32], basin: NDArray[np.bool_], bottom: NDArray[np.bool_], *, lowest: float, least: float
) -> NDArray[np.bool_]:
    """What of a basin lies in the lower half between its bottom and its rim; nothing where the rim is open."""
    depth = float(signal[bottom].min())
    rim = signal[basin & ~ndimage.binary_erosion(basin)]
    middle = float(np.median(rim))
    if depth < lowest or middle < least or float(np.percentile(rim, 20)) < _CLOSED * middle:
        return np.zeros_like(basin)
    pieces, _ = ndimage.label(basin & (signal < (depth + middle) / 2))
    own = np.unique(pieces[bottom])
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(np.isin(pieces, own[own > 0]))
    return filled


def _is_cut(box: tuple[slice, ...], hole: NDArray[np.bool_], shape: tuple[int, ...]) -> bool:
    """Whether the image's border cuts a hole."""
    starts = (box[axis].start == 0 and bool(np.take(hole, 0, axis).any()) for axis in (0, 1))
    stops = (box[axis].stop == shape[axis] and bool(np.take(hole, -1, axis).any()) for axis in (0, 1))
    return any((*starts, *stops))
