"""The cells around nuclei, by seeded watershed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

from lysoquant.cells.grid import coarsen, coarsen_labels, refine_labels, work_factor
from lysoquant.cells.labels import drop_small, reading_order, whole_pieces
from lysoquant.cells.relief import background_of, disc, smoothed

_SIGNAL_SMOOTHING_UM: Final = 1.0
"""Fills the gaps between vesicles and between tubules of the reticulum."""
_BACKGROUND_UM: Final = 60.0
"""A window this wide holds some background, or in a confluent field a nucleus, whose signal is as low."""
_SIGNAL_TO_NOISE: Final = 8.0
"""Over the lowest values around, not over their mean."""
_BORDER_SHARE: Final = 0.3
"""A cell ends where its signal has fallen to this share of its own median: dim cells beside bright ones keep their
size, and bright ones do not grow by their blur."""
_WIDE_SMOOTHING_UM: Final = 2.0
"""Of a cell it leaves the hill, of its vesicles nothing."""
_VALLEY: Final = 0.22
"""A hill at the image's border is a cell of its own if, from every nucleus, the way there leads through a valley whose
signal is lower by this, as a natural logarithm (a fifth)."""
_AROUND_NUCLEUS_UM: Final = 4.0
"""So far around a nucleus all is its cell's."""
_GAP_UM: Final = 1.5
_VALLEY_LENGTH_UM: Final = 1.0
"""So many micrometres farther from a nucleus weigh as much as a signal e times weaker."""


def boundary_signal(*, channels: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Sum of channels, each from 0 at its 1st to 1 at its 99.5th percentile, so that none rules by its gain alone.

    A channel without range (blank) adds nothing. One channel alone is scaled likewise, which changes no cell.

    Parameters
    ----------
    channels : sequence of (Y, X) ndarray
        Any real dtypes.

    Returns
    -------
    (Y, X) ndarray of float32
    """
    total = np.zeros(channels[0].shape, np.float32)
    for channel in channels:
        low, high = np.percentile(channel, (1.0, 99.5))
        if high > low:
            total += (channel.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    return total


def find_cells(
    nuclei: NDArray[Any],
    boundary: NDArray[Any],
    *,
    pixel_size_um: float,
    min_cell_area_um2: float,
    max_radius_um: float,
    beyond_border: bool = True,
) -> NDArray[np.uint32]:
    """Cells around nuclei, as far as a signal reaches.

    A watershed from the nuclei over the smoothed signal shares the foreground out; then each cell is cut where its
    signal falls to three tenths of its own median above background. Where a field has a nucleus, hills of the signal at
    the image's border that a valley parts from all nuclei are cells too, whose nuclei lie beyond the border.

    Parameters
    ----------
    nuclei : (Y, X) ndarray of int
        Label image of nuclei; no cell has two, and each contains its own.
    boundary : (Y, X) ndarray
        Signal that fills the cells, any real dtype (see :func:`boundary_signal` for several channels).
    pixel_size_um : float
        Pixel size in um.
    min_cell_area_um2 : float
        Smaller cells are dropped.
    max_radius_um : float
        A cell reaches at most this far from its nucleus.
    beyond_border : bool
        Whether there are cells whose nucleus the image does not show; without them they go to their neighbours.

    Returns
    -------
    (Y, X) ndarray of uint32
        0 background, 1..n cells in reading order of their centroids; each without holes and in one piece.

    Raises
    ------
    ValueError
        If the shapes differ or the pixel size is not positive.
    """
    if nuclei.shape != boundary.shape:
        raise ValueError(f"nuclei {nuclei.shape} and boundary signal {boundary.shape} differ in shape")
    factor = work_factor(pixel_size_um=pixel_size_um)
    work_um = pixel_size_um * factor
    seeds = coarsen_labels(labels=nuclei, factor=factor)
    if not seeds.any():
        return np.zeros(nuclei.shape, np.uint32)
    raw = coarsen(image=boundary, factor=factor)
    smooth, noise = smoothed(raw, sigma=_SIGNAL_SMOOTHING_UM / work_um)
    background = background_of(smooth, window=max(_BACKGROUND_UM, 2 * max_radius_um) / work_um)
    floor = _SIGNAL_TO_NOISE * noise
    if beyond_border:
        wide = ndimage.gaussian_filter(raw, _WIDE_SMOOTHING_UM / work_um, mode="nearest") - background
        seeds = _with_border_hills(seeds, wide, floor=floor, work_um=work_um, first=int(nuclei.max()) + 1)
    cells = _share_out(smooth - background, seeds, floor=floor, work_um=work_um, max_radius_um=max_radius_um)
    refined = refine_labels(labels=cells, factor=factor, shape=(nuclei.shape[0], nuclei.shape[1]))
    owned = np.where(np.isin(nuclei, np.unique(cells)), nuclei, 0).astype(np.int32)
    with_nucleus = np.where(owned > 0, owned, refined)
    whole = whole_pieces(with_nucleus, cores=np.where(refined > int(nuclei.max()), refined, owned))
    return reading_order(drop_small(whole, min_pixels=min_cell_area_um2 / pixel_size_um**2))


def _with_border_hills(
    seeds: NDArray[np.int32], signal: NDArray[np.float32], *, floor: float, work_um: float, first: int
) -> NDArray[np.int32]:
    """Seeds of nuclei and, numbered from `first` on, of cells whose nuclei lie beyond the image's border."""
    height = np.log(np.maximum(signal, max(floor, 1e-30)))
    around = ndimage.distance_transform_edt(seeds == 0) * work_um <= _AROUND_NUCLEUS_UM
    top, bottom = float(height.max()) + 1, float(height.min()) - 1
    # The highest pass on the way from any nucleus to each pixel.
    reached = reconstruction(  # type: ignore[no-untyped-call]
        np.where(around, top, bottom), np.where(around, top, height)
    )
    hills, n_hills = ndimage.label((height - reached >= _VALLEY) & (signal > 2 * floor))
    at_border = np.unique(np.concatenate([hills[[0, -1]].ravel(), hills[:, [0, -1]].ravel()]))
    number = np.zeros(n_hills + 1, np.int32)
    at_border = at_border[at_border > 0]
    number[at_border] = first + np.arange(at_border.size)
    return np.where(seeds > 0, seeds, number[hills]).astype(np.int32)


def _share_out(
    signal: NDArray[np.float32], seeds: NDArray[np.int32], *, floor: float, work_um: float, max_radius_um: float
) -> NDArray[np.int32]:
    distance_um = ndimage.distance_transform_edt(seeds == 0) * work_um
    reach = (distance_um <= max_radius_um) & (signal > floor)
    foreground = ndimage.binary_closing(np.pad(reach, 8, mode="edge"), disc(_GAP_UM / work_um))[8:-8, 8:-8]
    foreground = ndimage.binary_fill_holes(foreground | (seeds > 0))
    lowest = max(floor, float(signal.max()) * 1e-6, 1e-30)
    elevation = distance_um / _VALLEY_LENGTH_UM - np.log(np.maximum(signal, lowest))
    shared = watershed(elevation, seeds, mask=foreground)  # type: ignore[no-untyped-call]
    cells = np.zeros(seeds.shape, np.int32)
    for label, box in enumerate(ndimage.find_objects(shared), start=1):
        if box is None:
            continue
        part, seed = shared[box] == label, seeds[box] == label
        cut = _BORDER_SHARE * float(np.median(signal[box][part]))
        part &= ndimage.distance_transform_edt(~seed) * work_um <= max_radius_um
        cells[box][part & (signal[box] > cut) | seed] = label
    return whole_pieces(cells, cores=seeds)
