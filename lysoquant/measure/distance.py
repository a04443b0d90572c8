"""Where a region lies in its cell: between the nucleus and the cell's border, and among the other regions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.filters import threshold_otsu

from lysoquant.measure.regions import Bools, Floats, Image, Ints, Labels, crops, labelled_pixels

SMOOTHING_UM: Final = 0.25
"""Standard deviation of the Gaussian that a nucleus image is smoothed with, well below any nucleus' size."""
MIN_SEPARABILITY: Final = 0.75
"""Smallest share of a cell's variance that Otsu's threshold must explain. Splitting noise (a normal distribution) in
two explains 2 / pi = 0.64 of its variance, an even gradient 0.75; a stained nucleus far more."""
MIN_NUCLEUS_AREA_UM2: Final = 20.0
"""Smaller bodies are debris or a neighbour's edge; a cross-section of a 5 um sphere."""


def find_nuclei(*, cells: Labels, image: Image, pixel_size_um: float) -> NDArray[np.int64]:
    """The nucleus of each cell, from the nucleus channel.

    Within each cell: Otsu's threshold of the smoothed image, the largest 8-connected body, its holes filled. A cell
    gets no nucleus where the threshold does not separate two populations or the body is too small.

    Parameters
    ----------
    cells : ndarray (Y, X), integer
        0 is background.
    image : ndarray (Y, X)
        Grey values of the nucleus channel.
    pixel_size_um : float
        Edge of a pixel.

    Returns
    -------
    ndarray (Y, X), int64
        Each nucleus has its cell's label.

    References
    ----------
    .. [1] Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979): the threshold, and separability to judge it.
    """
    smooth = ndimage.gaussian_filter(image.astype(np.float64), SMOOTHING_UM / pixel_size_um, mode="nearest")
    nuclei = np.zeros(cells.shape, dtype=np.int64)
    for cell, window, mask in _cells(cells):
        body = _nucleus(smooth[window], mask)
        if np.count_nonzero(body) * pixel_size_um**2 >= MIN_NUCLEUS_AREA_UM2:
            nuclei[window][body] = cell
    return nuclei


def _nucleus(smooth: Floats, mask: Bools) -> Bools:
    values = smooth[mask]
    threshold = threshold_otsu(values)  # type: ignore[no-untyped-call]
    above = values > threshold
    if _separability(values, above) < MIN_SEPARABILITY:
        return np.zeros_like(mask)
    bodies, _ = ndimage.label(mask & (smooth > threshold), structure=np.ones((3, 3)))
    largest = bodies == np.argmax(np.bincount(bodies[mask], minlength=2)[1:]) + 1
    return np.asarray(ndimage.binary_fill_holes(largest)) & mask


def _separability(values: Floats, above: Bools) -> float:
    """Share of the variance that lies between the two classes; 0 where there is one class only."""
    share = above.mean()
    if share in (0.0, 1.0):
        return 0.0
    gap = values[above].mean() - values[~above].mean()
    return float(share * (1.0 - share) * gap**2 / values.var())


def distances_to_nucleus_um(
    *, y_um: Floats, x_um: Floats, cell_of_region: Ints, nuclei: Labels, pixel_size_um: float
) -> Floats:
    """Distance from each region's centroid to the nearest pixel centre of its own cell's nucleus.

    Parameters
    ----------
    y_um, x_um : ndarray (N,), float64
        Centroids; pixel (0, 0) has its centre at (0, 0).
    cell_of_region : ndarray (N,), int64
        Cell of each region.
    nuclei : ndarray (Y, X), integer
        Nuclei with their cells' labels.
    pixel_size_um : float
        Edge of a pixel.

    Returns
    -------
    ndarray (N,), float64
        In um; 0 over the nucleus, NaN where the cell has none.
    """
    distances = np.full(len(cell_of_region), np.nan)
    for cell, window, mask in _cells(nuclei):
        chosen = cell_of_region == cell
        if not chosen.any():
            continue
        rim = mask & ~ndimage.binary_erosion(mask)
        distances[chosen] = _nearest_px(y_um[chosen], x_um[chosen], rim, window, pixel_size_um) * pixel_size_um
    distances[_label_at(nuclei, y_um, x_um, pixel_size_um) == cell_of_region] = 0.0
    return distances


def distances_to_cell_border_um(
    *, y_um: Floats, x_um: Floats, cell_of_region: Ints, cells: Labels, pixel_size_um: float
) -> Floats:
    """Distance from each region's centroid to the nearest pixel centre outside its cell.

    The image's border does not count: a cell that touches it goes on beyond it. So the distance is too large where
    the cell's true border was cut off (`touches_border` of the cell), and NaN for a cell that fills the image.

    Parameters
    ----------
    y_um, x_um, cell_of_region, pixel_size_um
        As in :func:`distances_to_nucleus_um`.
    cells : ndarray (Y, X), integer
        Cells; 0 is background.

    Returns
    -------
    ndarray (N,), float64
        In um; 0 for a centroid outside the cell.
    """
    distances = np.full(len(cell_of_region), np.nan)
    for cell, window, mask in _cells(cells, margin_px=1):
        chosen = cell_of_region == cell
        if not chosen.any():
            continue
        # The nearest outside pixel shares a side with the cell: else one step towards the centroid would be nearer.
        just_outside = ndimage.binary_dilation(mask) & ~mask
        distances[chosen] = _nearest_px(y_um[chosen], x_um[chosen], just_outside, window, pixel_size_um) * pixel_size_um
    distances[_label_at(cells, y_um, x_um, pixel_size_um) != cell_of_region] = 0.0
    return distances


def perinuclear_index(*, to_nucleus_um: Floats, to_border_um: Floats) -> Floats:
    """How near to the nucleus each region lies on the way from the nucleus to the cell's border.

    Parameters
    ----------
    to_nucleus_um, to_border_um : ndarray (N,), float64
        Distances of :func:`distances_to_nucleus_um` and :func:`distances_to_cell_border_um`.

    Returns
    -------
    ndarray (N,), float64
        ``to_border / (to_nucleus + to_border)``: 1 at or over the nucleus, 0 at the border, 0.5 midway; NaN where
        either distance is unknown or both are 0. It is a share and no distance, so cells of any size can be compared.
    """
    whole = to_nucleus_um + to_border_um
    index: Floats = np.divide(to_border_um, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return index


def nearest_neighbours_um(*, y_um: Floats, x_um: Floats, cell_of_region: Ints) -> Floats:
    """Distance from each region's centroid to the nearest centroid of another region of its cell.

    Parameters
    ----------
    y_um, x_um, cell_of_region
        As in :func:`distances_to_nucleus_um`.

    Returns
    -------
    ndarray (N,), float64
        In um; NaN for the only region of a cell.
    """
    if not len(cell_of_region):
        return np.zeros(0)
    # Cells lie farther apart along a third axis than any two regions of one cell, so a neighbour is of the same cell.
    reach = float(np.hypot(np.ptp(y_um), np.ptp(x_um))) + 1.0
    numbers = np.unique(cell_of_region, return_inverse=True)[1]
    places = np.column_stack([y_um, x_um, 2.0 * reach * numbers])
    distances = np.asarray(cKDTree(places).query(places, k=2, distance_upper_bound=reach)[0], dtype=np.float64)[:, 1]
    return np.where(np.isfinite(distances), distances, np.nan)


def _cells(labels: Labels, margin_px: int = 0) -> Iterator[tuple[int, tuple[slice, slice], Bools]]:
    pixels = labelled_pixels(labels)
    height, width = labels.shape
    found = crops(pixels, shape=(height, width), margin_px=margin_px)
    for cell, (window, mask) in zip(pixels.labels.tolist(), found, strict=True):
        yield cell, window, mask


def _nearest_px(
    y_um: Floats, x_um: Floats, targets: Bools, window: tuple[slice, slice], pixel_size_um: float
) -> Floats:
    """Distance in pixels from each point to the nearest target pixel of a crop; NaN where there is no target."""
    if not targets.any():
        return np.full(len(y_um), np.nan)
    y, x = np.nonzero(targets)
    tree = cKDTree(np.column_stack([y + window[0].start, x + window[1].start]))
    return np.asarray(tree.query(np.column_stack([y_um, x_um]) / pixel_size_um)[0], dtype=np.float64)


def _label_at(labels: Labels, y_um: Floats, x_um: Floats, pixel_size_um: float) -> Ints:
    y, x = np.rint(y_um / pixel_size_um).astype(np.int64), np.rint(x_um / pixel_size_um).astype(np.int64)
    found: Ints = labels[y, x].astype(np.int64)
    return found
