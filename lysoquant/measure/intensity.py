"""Grey values of regions: whole, rim and lumen, and the share that is rich in cargo."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from lysoquant.measure.regions import Bools, Floats, Image, Ints, Labels, Runs, runs_of
from lysoquant.measure.thresholds import otsu_thresholds

_CENTRE_TO_EDGE_PX = 0.5


def region_intensities(
    *, labels: Labels | Runs, images: Mapping[str, Image], pixel_size_um: float, rim_width_um: float
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
    regions = runs_of(labels)
    is_rim = rim_pixels(regions, pixel_size_um=pixel_size_um, rim_width_um=rim_width_um)
    rim, owner = regions.pixels[is_rim], regions.index[is_rim]
    n_regions = len(regions.labels)
    rim_sizes = np.bincount(owner, minlength=n_regions)
    means: dict[str, Floats] = {}
    for channel, image in images.items():
        sums = regions.sums(image)
        rim_sums = np.bincount(owner, weights=image.ravel()[rim], minlength=n_regions).astype(np.float64)
        means[f"intensity_mean_{channel}"] = sums / regions.sizes
        means[f"rim_mean_{channel}"] = _ratio(rim_sums, rim_sizes)
        means[f"lumen_mean_{channel}"] = _ratio(sums - rim_sums, regions.sizes - rim_sizes)
    return means


def _ratio(sums: Floats, counts: Ints) -> Floats:
    ratio: Floats = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return ratio


def rim_pixels(regions: Runs, *, pixel_size_um: float, rim_width_um: float) -> Bools:
    """Whether each labelled pixel belongs to its region's rim; see :func:`region_intensities`.

    The distance to the outside is exact, but only looked for as far as the rim is wide: in the pixel's own row it is
    known from the run, and a row further off adds its own to the distance to it.

    Returns
    -------
    ndarray (M,), bool
        In the order of ``regions.pixels``.
    """
    limit = _largest_square(regions, pixel_size_um=pixel_size_um, rim_width_um=rim_width_um)
    reach = math.isqrt(limit)
    lengths, width = regions.lengths, regions.shape[1]
    after_first = np.arange(len(regions.pixels)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    across = np.minimum(after_first + 1, np.repeat(lengths, lengths) - after_first).astype(np.int32)
    here = regions.pixels + reach * width
    numbers = np.zeros((regions.shape[0] + 2 * reach) * width, dtype=np.int32)
    in_row = np.zeros_like(numbers)
    numbers[here], in_row[here] = regions.index + 1, across
    deep = np.flatnonzero(across > reach)
    for rows in range(1, reach + 1):
        for step in (-rows * width, rows * width):
            there = here[deep] + step
            inside = numbers[there] == numbers[here[deep]]
            deep = deep[inside & (in_row[there] > math.isqrt(limit - rows * rows))]
    is_rim = np.ones(len(here), dtype=np.bool_)
    is_rim[deep] = False
    return is_rim


def _largest_square(regions: Runs, *, pixel_size_um: float, rim_width_um: float) -> int:
    """Largest square of a distance in pixels, from a rim's pixel to the nearest one outside."""
    widest = math.ceil(rim_width_um / pixel_size_um + _CENTRE_TO_EDGE_PX) ** 2
    # No pixel lies deeper than the root of its region's size: a disc of that radius would hold more pixels.
    squares = np.arange(min(widest, int(regions.sizes.max(initial=0))) + 1)
    in_rim = (np.sqrt(squares) - _CENTRE_TO_EDGE_PX) * pixel_size_um < rim_width_um
    return int(np.count_nonzero(in_rim)) - 1


def cargo_area_fractions(*, labels: Labels | Runs, cell_of_region: Ints, cells: Labels | Runs, cargo: Image) -> Floats:
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
    regions, own_cells = runs_of(labels), runs_of(cells)
    values = cargo.ravel()
    thresholds = otsu_thresholds(own_cells, values[own_cells.pixels])
    limit = np.full(len(cell_of_region), np.nan)
    known = np.isin(cell_of_region, own_cells.labels)
    limit[known] = thresholds[np.searchsorted(own_cells.labels, cell_of_region[known])]
    above = values[regions.pixels] > limit[regions.index]
    fractions = np.bincount(regions.index[above], minlength=len(limit)) / regions.sizes
    return np.where(known, fractions, np.nan)
