"""Grey values of regions: whole, rim and lumen, and the share that is rich in cargo."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from lysoquant.measure.regions import Bools, Floats, Image, Ints, Labels, Pixels, crops, labelled_pixels

_CENTRE_TO_EDGE_PX = 0.5


def region_intensities(
    *, labels: Labels, images: Mapping[str, Image], pixel_size_um: float, rim_width_um: float
) -> dict[str, Floats]:
    """Mean grey values of each region, of its rim and of its lumen.

    The rim holds the pixels whose centre is less than `rim_width_um` inside the region's outline (its pixel edges);
    a neighbouring region and the image's border bound a region as the background does. The lumen is the rest.

    Parameters
    ----------
    labels : ndarray (Y, X), integer
        0 is background; regions may touch.
    images : mapping of str to ndarray (Y, X)
        Raw grey values by channel label.
    pixel_size_um : float
        Edge of a pixel.
    rim_width_um : float
        Width of the rim.

    Returns
    -------
    dict of str to ndarray (N,), float64
        For each channel `intensity_mean_<channel>`, `rim_mean_<channel>` and `lumen_mean_<channel>` in grey values, in
        the order of rising labels. The lumen's is NaN where the rim leaves no pixel.
    """
    pixels = labelled_pixels(labels)
    is_rim = rim_pixels(pixels, shape=labels.shape, pixel_size_um=pixel_size_um, rim_width_um=rim_width_um)
    means: dict[str, Floats] = {}
    for channel, image in images.items():
        values = image[pixels.y, pixels.x]
        means[f"intensity_mean_{channel}"] = pixels.means(values)
        means[f"rim_mean_{channel}"] = pixels.means_where(values, is_rim)
        means[f"lumen_mean_{channel}"] = pixels.means_where(values, ~is_rim)
    return means


def rim_pixels(pixels: Pixels, *, shape: tuple[int, ...], pixel_size_um: float, rim_width_um: float) -> Bools:
    """Whether each labelled pixel belongs to its region's rim: ndarray (M,), bool; see :func:`region_intensities`."""
    height, width = shape
    rim = np.zeros((height, width), dtype=np.bool_)
    for window, mask in crops(pixels, shape=(height, width)):
        to_outside_px = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        depth_um = (to_outside_px - _CENTRE_TO_EDGE_PX) * pixel_size_um
        rim[window] |= mask & (depth_um < rim_width_um)
    chosen: Bools = rim[pixels.y, pixels.x]
    return chosen


def cargo_area_fractions(*, labels: Labels, cell_of_region: Ints, cells: Labels, cargo: Image) -> Floats:
    """Share of each region's pixels whose cargo exceeds the threshold of its cell.

    The threshold is Otsu's of all cargo values in the cell, so that it follows the cell's expression; the share is
    the plugin's %Cargo Area (area fraction above an automatic threshold) as a fraction.

    Parameters
    ----------
    labels, cells : ndarray (Y, X), integer
        Regions and cells; 0 is background.
    cell_of_region : ndarray (N,), int64
        Cell of each region, in the order of rising region labels.
    cargo : ndarray (Y, X)
        Raw grey values.

    Returns
    -------
    ndarray (N,), float64
        In [0, 1]; NaN where `cells` lacks the cell.

    References
    ----------
    .. [1] Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).
    """
    pixels = labelled_pixels(labels)
    thresholds = _cell_thresholds(cells, cargo)
    limit = np.array([thresholds.get(cell, np.nan) for cell in cell_of_region.tolist()], dtype=np.float64)
    above = cargo[pixels.y, pixels.x] > limit[pixels.index]
    return np.where(np.isnan(limit), np.nan, pixels.means(above))


def _cell_thresholds(cells: Labels, image: NDArray[np.number]) -> dict[int, float]:
    pixels = labelled_pixels(cells)
    height, width = cells.shape
    found = crops(pixels, shape=(height, width))
    return {
        cell: float(threshold_otsu(image[window][mask]))  # type: ignore[no-untyped-call]
        for cell, (window, mask) in zip(pixels.labels.tolist(), found, strict=True)
    }
