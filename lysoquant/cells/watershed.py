"""The cells around nuclei, by seeded watershed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from lysoquant.cells.grid import coarsen, coarsen_labels, refine_labels, work_factor
from lysoquant.cells.labels import drop_small, reading_order, whole_pieces
from lysoquant.cells.relief import background_of, disc, smoothed
from lysoquant.cells.several_nuclei import cell_of_each_nucleus
from lysoquant.cells.unseen import unseen_cells

_SIGNAL_SMOOTHING_UM: Final = 1.0
"""Fills the gaps between vesicles and between tubules of the reticulum."""
_BACKGROUND_UM: Final = 60.0
"""A window this wide holds some background, or in a confluent field a nucleus, whose signal is as low."""
_SIGNAL_TO_NOISE: Final = 8.0
"""Over the lowest values around, not over their mean."""
_BORDER_SHARE: Final = 0.3
"""A cell ends where its signal has fallen to this share of its own median: dim cells beside bright ones keep their
size, and bright ones do not grow by their blur."""
_CORE_SHARE: Final = 0.1
"""And to no less than this share of the signal at its core: around a bright cell that lies alone most of what the
watershed gives it is blur, whose median is no cell's."""
_WIDE_SMOOTHING_UM: Final = 2.0
"""Of a cell it leaves the hill, of its vesicles nothing."""
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
    nucleus_diameter_um: float,
    beyond_border: bool = True,
    without_nucleus: bool = True,
    one_cells_nuclei_um: float = 0.0,
) -> NDArray[np.uint32]:
    """Cells around nuclei, as far as a signal reaches.

    A watershed from the nuclei over the smoothed signal shares the foreground out; then each cell is cut where its
    signal falls to three tenths of its own median above background. Where a field has a nucleus, cells whose own the
    image does not show are found by the signal (:func:`lysoquant.cells.unseen.unseen_cells`).

    Parameters
    ----------
    nuclei : (Y, X) ndarray of int
        Label image of nuclei; each cell contains its own.
    boundary : (Y, X) ndarray
        Signal that fills the cells, any real dtype (see :func:`boundary_signal` for several channels).
    pixel_size_um : float
        Pixel size in um.
    min_cell_area_um2 : float
        Smaller cells are dropped.
    max_radius_um : float
        A cell reaches at most this far from its nucleus.
    nucleus_diameter_um : float
        Typical diameter of a nucleus, in um.
    beyond_border, without_nucleus : bool
        Whether there are cells whose nucleus lies beyond the border, and inside the image such whose nucleus was not
        found; otherwise their pixels go to their neighbours.
    one_cells_nuclei_um : float
        Nuclei whose edges lie no farther apart are one cell's, where no valley of the signal parts them; 0: no cell has
        two nuclei.

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
    n_nuclei = int(nuclei.max(initial=0))
    if not seeds.any():
        return np.zeros(nuclei.shape, np.uint32)
    raw = coarsen(image=boundary, factor=factor)
    smooth, noise = smoothed(raw, sigma=_SIGNAL_SMOOTHING_UM / work_um)
    background = background_of(smooth, window=max(_BACKGROUND_UM, 2 * max_radius_um) / work_um)
    floor = _SIGNAL_TO_NOISE * noise
    if beyond_border or without_nucleus:
        wide = ndimage.gaussian_filter(raw, _WIDE_SMOOTHING_UM / work_um, mode="nearest") - background
        unseen = unseen_cells(
            seeds,
            wide,
            floor=floor,
            work_um=work_um,
            nucleus_diameter_um=nucleus_diameter_um,
            max_radius_um=max_radius_um,
            at_border=beyond_border,
            inside=without_nucleus,
        )
        seeds = np.where(seeds > 0, seeds, np.where(unseen > 0, unseen + n_nuclei, 0)).astype(np.int32)
    signal = smooth - background
    cells = _share_out(signal, seeds, floor=floor, work_um=work_um, max_radius_um=max_radius_um)
    if one_cells_nuclei_um > 0:
        owner = cell_of_each_nucleus(
            seeds, cells, signal, n_nuclei=n_nuclei, work_um=work_um, gap_um=one_cells_nuclei_um
        )
        nuclei, cells = owner[nuclei], owner[cells]
    refined = refine_labels(labels=cells, factor=factor, shape=(nuclei.shape[0], nuclei.shape[1]))
    owned = np.where(np.isin(nuclei, np.unique(cells)), nuclei, 0).astype(np.int32)
    with_nucleus = np.where(owned > 0, owned, refined)
    whole = whole_pieces(with_nucleus, cores=np.where(refined > n_nuclei, refined, owned))
    return reading_order(drop_small(whole, min_pixels=min_cell_area_um2 / pixel_size_um**2))


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
        cut = max(
            _BORDER_SHARE * float(np.median(signal[box][part])), _CORE_SHARE * float(np.median(signal[box][seed]))
        )
        part &= ndimage.distance_transform_edt(~seed) * work_um <= max_radius_um
        cells[box][part & (signal[box] > cut) | seed] = label
    return whole_pieces(cells, cores=seeds)
