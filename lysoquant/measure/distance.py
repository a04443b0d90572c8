"""Where a region lies in its cell: between the nucleus and the cell's border, and among the other regions."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from lysoquant.measure.regions import Bools, Floats, Image, Ints, Labels, Runs, largest_parts, runs_of
from lysoquant.measure.shape import filled
from lysoquant.measure.thresholds import otsu_thresholds

SMOOTHING_UM: Final = 0.25
"""Standard deviation of the Gaussian that a nucleus image is smoothed with, well below any nucleus' size."""
MIN_SEPARABILITY: Final = 0.75
"""Smallest share of a cell's variance that Otsu's threshold must explain. Splitting noise (a normal distribution) in
two explains 2 / pi = 0.64 of its variance, an even gradient 0.75; a stained nucleus far more."""
MIN_NUCLEUS_AREA_UM2: Final = 20.0
"""Smaller bodies are debris or a neighbour's edge; a cross-section of a 5 um sphere."""


def find_nuclei(*, cells: Labels | Runs, image: Image, pixel_size_um: float) -> NDArray[np.int64]:
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
    own = runs_of(cells)
    values = smooth.ravel()[own.pixels]
    above = values > otsu_thresholds(own, values)[own.index]
    above &= (_separabilities(own, values, above) >= MIN_SEPARABILITY)[own.index]
    bright = np.zeros(own.shape, dtype=np.int64)
    bright.ravel()[own.pixels[above]] = own.labels[own.index[above]]
    bodies = filled(largest_parts(runs_of(bright)))
    # Within a body's outline may lie another cell, which keeps its pixels.
    inside = own.labels_at(bodies.pixels) == bodies.labels[bodies.index]
    sizes = np.bincount(bodies.index[inside], minlength=len(bodies.labels))
    inside &= (sizes * pixel_size_um**2 >= MIN_NUCLEUS_AREA_UM2)[bodies.index]
    nuclei = np.zeros(own.shape, dtype=np.int64)
    nuclei.ravel()[bodies.pixels[inside]] = bodies.labels[bodies.index[inside]]
    return nuclei


def _separabilities(cells: Runs, values: Floats, above: Bools) -> Floats:
    """Share of each cell's variance that lies between its two classes; 0 where there is one class only."""
    n_cells, sizes = len(cells.labels), cells.sizes
    n_above = np.bincount(cells.index[above], minlength=n_cells)
    sum_above = np.bincount(cells.index[above], weights=values[above], minlength=n_cells)
    sums = np.bincount(cells.index, weights=values, minlength=n_cells)
    off = values - (sums / sizes)[cells.index]
    variance = np.bincount(cells.index, weights=off * off, minlength=n_cells) / sizes
    two = (n_above > 0) & (n_above < sizes)
    gap = sum_above[two] / n_above[two] - (sums - sum_above)[two] / (sizes - n_above)[two]
    share = (n_above / sizes)[two]
    separabilities = np.zeros(n_cells)
    separabilities[two] = share * (1.0 - share) * gap**2 / variance[two]
    return separabilities


def distances_to_nucleus_um(
    *, y_um: Floats, x_um: Floats, cell_of_region: Ints, nuclei: Labels | Runs, pixel_size_um: float
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
    bodies = runs_of(nuclei)
    own, _ = _sides(bodies)
    distances = _nearest_px(y_um, x_um, cell_of_region, bodies, own, own, pixel_size_um) * pixel_size_um
    distances[_label_at(bodies, y_um, x_um, pixel_size_um) == cell_of_region] = 0.0
    return distances


def distances_to_cell_border_um(
    *, y_um: Floats, x_um: Floats, cell_of_region: Ints, cells: Labels | Runs, pixel_size_um: float
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
    bodies = runs_of(cells)
    # The nearest outside pixel shares a side with the cell: else one step towards the centroid would be nearer.
    own, outside = _sides(bodies)
    distances = _nearest_px(y_um, x_um, cell_of_region, bodies, own, outside, pixel_size_um) * pixel_size_um
    distances[_label_at(bodies, y_um, x_um, pixel_size_um) != cell_of_region] = 0.0
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


def _sides(objects: Runs) -> tuple[Ints, Ints]:
    """Places of the pixels on both sides of all outlines, but where these are the image's border.

    Returns
    -------
    own, outside : ndarray (S,), int64
        The object's own pixel, and the one of another object or the background that it shares a side with.
    """
    width = objects.shape[1]
    numbers = objects.numbered.ravel()
    below = np.flatnonzero(numbers[width:] != numbers[: len(numbers) - width]) + width
    first, last = (objects.y * width + column for column in (objects.start, objects.stop - 1))
    first, last = first[objects.start > 0], last[objects.stop < width]
    own = np.concatenate([below, below - width, first, last])
    outside = np.concatenate([below - width, below, first - 1, last + 1])
    labelled = numbers[own] > 0
    return own[labelled], outside[labelled]


def _nearest_px(
    y_um: Floats, x_um: Floats, cell: Ints, objects: Runs, owned: Ints, targets: Ints, pixel_size_um: float
) -> Floats:
    """Distance in pixels from each point to the nearest target of its cell, NaN where that has none.

    A target belongs to the object at the place in `owned`.
    """
    height, width = objects.shape
    # Cells lie farther apart along a third axis than any two places in the image, so a target is of the same cell.
    reach = float(np.hypot(height, width)) + 1.0
    cells, layer_of_point = np.unique(cell, return_inverse=True)
    owner = objects.labels_at(owned)
    wanted = np.isin(owner, cells)
    y, x = np.divmod(targets[wanted], width)
    layer = np.searchsorted(cells, owner[wanted])
    tree = cKDTree(np.column_stack([y, x, 2.0 * reach * layer]), balanced_tree=False, compact_nodes=False)
    places = np.column_stack([y_um / pixel_size_um, x_um / pixel_size_um, 2.0 * reach * layer_of_point])
    distances = np.asarray(tree.query(places, distance_upper_bound=reach)[0], dtype=np.float64)
    return np.where(np.isfinite(distances), distances, np.nan)


def _label_at(objects: Runs, y_um: Floats, x_um: Floats, pixel_size_um: float) -> Ints:
    y, x = np.rint(y_um / pixel_size_um).astype(np.int64), np.rint(x_um / pixel_size_um).astype(np.int64)
    return objects.labels_at(y * objects.shape[1] + x)
