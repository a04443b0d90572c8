"""Nuclei, and the cells around them, by seeded watershed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

from lysoquant.cells.grid import coarsen, coarsen_labels, refine_labels, work_factor

_MIN_CONTRAST_TO_NOISE: Final = 6.0
"""The two halves into which a threshold cuts pure noise lie 1.6 standard deviations apart; nuclei lie far more."""
_MIN_CONTRAST_TO_BACKGROUND: Final = 0.05
"""What stands out from its surroundings by less is uneven illumination or camera pattern."""
_SPLIT_DEPTH: Final = 0.03
"""Touching nuclei are split where the neck is this share of a diameter narrower (on each side) than both, or as much
dimmer (see `_BRIGHTNESS_WEIGHT`)."""
_BRIGHTNESS_WEIGHT: Final = 0.15
"""What brightness, relative to the brightest around, counts beside the distance from the edge in diameters."""
_EDGE_DIAMETERS: Final = 0.25
"""So far inside a nucleus its brightness counts in full."""
_DIMMEST_NUCLEUS: Final = 0.1
"""Objects this much dimmer than the field's bright nuclei are haze."""
_EDGE_SHARE: Final = 0.4
"""A blurred edge lies at half the height of what it bounds; less, since nuclei are brighter inside."""
_CUT_NUCLEUS_SHARE: Final = 0.25
"""A cell without its nucleus would be taken for a part of its neighbour, so slivers of nuclei count at the border."""
_SHARPNESS: Final = 2.0
"""A nucleus is at least so many times higher than the ring around it."""
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


def find_nuclei(
    nucleus: NDArray[Any], *, pixel_size_um: float, diameter_um: float, min_area_um2: float
) -> NDArray[np.uint32]:
    """Nuclei of a field.

    Smoothed at a sixteenth of a diameter, local background taken off, cut by Otsu's threshold of the logarithm, then
    each nucleus at half its own height; touching ones split where they are narrow and dim.
    Where nothing stands out of noise and background, no nucleus is found.

    Parameters
    ----------
    nucleus : (Y, X) ndarray
        Nuclear stain, any real dtype.
    pixel_size_um, diameter_um : float
        Pixel size, and typical diameter of a nucleus, in um.
    min_area_um2 : float
        Smaller objects are debris; at the image's border, a quarter of it, since the image cuts nuclei.

    Returns
    -------
    (Y, X) ndarray of uint32
        0 background, 1..n nuclei in reading order of their centroids.

    Raises
    ------
    ValueError
        If the pixel size is not positive.

    References
    ----------
    Otsu 1979, doi:10.1109/TSMC.1979.4310076; h-maxima: Soille, Morphological Image Analysis, 2nd ed., section 6.3.
    """
    factor = work_factor(pixel_size_um=pixel_size_um)
    work_um = pixel_size_um * factor
    raw = coarsen(image=nucleus, factor=factor)
    smooth, noise = _smooth(raw, sigma=diameter_um / 16 / work_um)
    shading = _shading(smooth)
    background = shading + _background(smooth - shading, window=4 * diameter_um / work_um)
    floor = np.maximum(_MIN_CONTRAST_TO_BACKGROUND * background, _MIN_CONTRAST_TO_NOISE * noise)
    height = smooth - background
    mask = _nuclear_mask(height, floor=floor, diameter=diameter_um / work_um)
    labels = _split(mask, height, diameter=diameter_um / work_um)
    labels = _drop_small(labels, min_pixels=min_area_um2 / work_um**2, share_at_border=_CUT_NUCLEUS_SHARE)
    labels = _drop_blunt(labels, height, diameter=diameter_um / work_um)
    refined = refine_labels(labels=labels, factor=factor, shape=(nucleus.shape[0], nucleus.shape[1]))
    return reading_order(_whole(refined, cores=refined))


def median_diameter_um(nuclei: NDArray[Any], *, pixel_size_um: float) -> float:
    """Median over nuclei of the diameter of the circle of equal area.

    Parameters
    ----------
    nuclei : (Y, X) ndarray of int
        Label image; nuclei that the image's border cuts do not count.
    pixel_size_um : float
        Pixel size in um.

    Returns
    -------
    float
        In um; NaN where no nucleus is whole.
    """
    area = np.bincount(nuclei.ravel()).astype(np.float64)
    cut = np.concatenate([nuclei[[0, -1]].ravel(), nuclei[:, [0, -1]].ravel()])
    area[np.unique([0, *cut.tolist()])] = 0
    whole = area[area > 0]
    return float(np.median(2 * np.sqrt(whole / np.pi)) * pixel_size_um) if whole.size else float("nan")


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
    smooth, noise = _smooth(raw, sigma=_SIGNAL_SMOOTHING_UM / work_um)
    background = _background(smooth, window=max(_BACKGROUND_UM, 2 * max_radius_um) / work_um)
    floor = _SIGNAL_TO_NOISE * noise
    if beyond_border:
        wide = ndimage.gaussian_filter(raw, _WIDE_SMOOTHING_UM / work_um, mode="nearest") - background
        seeds = _with_border_hills(seeds, wide, floor=floor, work_um=work_um, first=int(nuclei.max()) + 1)
    cells = _share_out(smooth - background, seeds, floor=floor, work_um=work_um, max_radius_um=max_radius_um)
    refined = refine_labels(labels=cells, factor=factor, shape=(nuclei.shape[0], nuclei.shape[1]))
    owned = np.where(np.isin(nuclei, np.unique(cells)), nuclei, 0).astype(np.int32)
    with_nucleus = np.where(owned > 0, owned, refined)
    whole = _whole(with_nucleus, cores=np.where(refined > int(nuclei.max()), refined, owned))
    return reading_order(_drop_small(whole, min_pixels=min_cell_area_um2 / pixel_size_um**2))


def reading_order(labels: NDArray[Any]) -> NDArray[np.uint32]:
    """Labels numbered 1..n by their centroids, top to bottom, then left to right.

    Parameters
    ----------
    labels : (Y, X) ndarray of int
        Any positive numbers, with gaps or not.

    Returns
    -------
    (Y, X) ndarray of uint32
    """
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    renumbered = np.zeros(int(labels.max(initial=0)) + 1, np.uint32)
    if numbers.size:
        centroids = np.array(ndimage.center_of_mass(labels > 0, labels, numbers))
        order = np.lexsort((centroids[:, 1], centroids[:, 0]))
        renumbered[numbers[order]] = np.arange(1, numbers.size + 1)
    ordered: NDArray[np.uint32] = renumbered[labels]
    return ordered


def _smooth(image: NDArray[np.float32], *, sigma: float) -> tuple[NDArray[np.float32], float]:
    """Gaussian smoothing, and the standard deviation that white noise of the image keeps after it."""
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(image, sigma, mode="nearest")
    # Immerkaer's operator is blind to planes and to edges' first order, so structure hardly counts as noise.
    residual = ndimage.convolve(image, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32), mode="mirror")
    noise = float(np.median(np.abs(residual))) / 0.6745 / 6
    return smooth, noise / max(1.0, 2 * np.sqrt(np.pi) * sigma)


def _background(image: NDArray[np.float32], *, window: float) -> NDArray[np.float32]:
    """What remains when everything narrower than a window is taken away."""
    step = max(1, int(window // 32))
    small = coarsen(image=image, factor=step)
    size = max(3, round(window / step) | 1)
    opened = ndimage.grey_opening(small, (size, size), mode="nearest")
    opened = ndimage.gaussian_filter(opened, size / 4, mode="nearest")
    rows, columns = ((np.arange(n) - (step - 1) / 2) / step for n in image.shape)
    grid = np.meshgrid(rows, columns, indexing="ij")
    background: NDArray[np.float32] = ndimage.map_coordinates(opened, grid, order=1, mode="nearest")
    return background


def _shading(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Quadratic surface through the lower pixels: an opening alone cuts a slope off at the image's edges."""
    step = max(1, max(image.shape) // 64)
    sample = image[::step, ::step].ravel().astype(np.float64)
    terms = _quadratic(image.shape)
    fitted = terms[:, ::step, ::step].reshape(6, -1).T
    residual, limit = np.zeros_like(sample), np.inf
    for _ in range(8):
        keep = residual <= limit
        factors = np.linalg.lstsq(fitted[keep], sample[keep], rcond=None)[0]
        residual = sample - fitted @ factors
        below = residual[residual <= 0]
        # No pixel lies below a surface through very few of them: then it can't become better.
        if not below.size:
            break
        limit = 2 * 1.4826 * float(np.median(-below))
    surface: NDArray[np.float32] = np.tensordot(factors, terms, axes=1).astype(np.float32)
    return surface


def _quadratic(shape: tuple[int, ...]) -> NDArray[np.float64]:
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y])


def _nuclear_mask(height: NDArray[np.float32], *, floor: NDArray[np.float32], diameter: float) -> NDArray[np.bool_]:
    mask = height > floor
    if not mask.any():
        return mask
    # Of the logarithm, so that a few very bright nuclei do not hide dim ones; of a sample with the background.
    logarithm = np.log(np.maximum(height, np.maximum(floor, 1e-6) / 2))
    mask &= height > np.exp(threshold_otsu(logarithm))  # type: ignore[no-untyped-call]
    peaks = ndimage.gaussian_filter(height, diameter / 4, mode="nearest")
    basins = watershed(-peaks, mask=mask)  # type: ignore[no-untyped-call]
    # Haze of the cytoplasm may make up most of a basin: it goes first, by what is nearly the basin's top.
    for share, percentile in ((0.3, 98), (_EDGE_SHARE, 75)):
        basins = _upper_part(height, basins, share=share, percentile=percentile)
    disc = _disc(diameter / 8)
    # Beyond the border a nucleus goes on, so what the image cuts is not thinner for it.
    edge = disc.shape[0]
    opened = ndimage.binary_opening(np.pad(basins > 0, edge, mode="edge"), disc)[edge:-edge, edge:-edge]
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(opened)
    return filled


def _upper_part(
    height: NDArray[np.float32], basins: NDArray[np.int32], *, share: float, percentile: float
) -> NDArray[np.int32]:
    """Of every basin what is higher than a share of its top; nothing of basins far below the field's high ones."""
    upper = np.zeros_like(basins)
    boxes = [(label, box) for label, box in enumerate(ndimage.find_objects(basins), start=1) if box is not None]
    tops = [float(np.percentile(height[box][basins[box] == label], percentile)) for label, box in boxes]
    dimmest = _DIMMEST_NUCLEUS * float(np.percentile(tops, 90)) if tops else 0.0
    for (label, box), top in zip(boxes, tops, strict=True):
        if top >= dimmest:
            upper[box][(basins[box] == label) & (height[box] > share * top)] = label
    return upper


def _split(mask: NDArray[np.bool_], height: NDArray[np.float32], *, diameter: float) -> NDArray[np.int32]:
    """Nuclei of a mask: basins of the distance from the edge, in diameters, with the brightness on top of it."""
    if not mask.any():
        return np.zeros(mask.shape, np.int32)
    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    distance = ndimage.gaussian_filter(distance, diameter / 18) / diameter
    bright = ndimage.gaussian_filter(height, diameter / 10, mode="nearest")
    highest = ndimage.maximum_filter(np.where(mask, bright, 0), size=max(3, int(diameter)))
    around = ndimage.gaussian_filter(highest, diameter / 4, mode="nearest")
    # At the edge brightness says nothing: there all nuclei are dim.
    inner = np.minimum(distance / _EDGE_DIAMETERS, 1)
    relief = np.where(mask, distance + _BRIGHTNESS_WEIGHT * inner * bright / np.maximum(around, 1e-6), 0)
    flattened = reconstruction(relief - _SPLIT_DEPTH, relief)  # type: ignore[no-untyped-call]
    seeds, _ = ndimage.label((relief - flattened >= _SPLIT_DEPTH - 1e-6) & mask, np.ones((3, 3)))
    return watershed(-relief, seeds, mask=mask).astype(np.int32)  # type: ignore[no-untyped-call, no-any-return]


def _drop_blunt(labels: NDArray[np.int32], height: NDArray[np.float32], *, diameter: float) -> NDArray[np.int32]:
    """Without objects that fade out slowly: uneven illumination and haze, which no edge bounds."""
    size = int(labels.max(initial=0)) + 1
    distance, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    ring = np.where((distance > diameter / 12) & (distance < diameter / 3), labels[tuple(nearest)], 0)
    around, inside = (_means(height, regions, size=size) for regions in (ring, labels))
    blunt = around * _SHARPNESS > inside
    return np.where(blunt[labels], 0, labels).astype(np.int32)


def _means(image: NDArray[np.float32], labels: NDArray[np.int32], *, size: int) -> NDArray[np.float64]:
    """Mean by label, 0 where a label has no pixel."""
    sums = np.bincount(labels.ravel(), image.ravel(), minlength=size)
    means: NDArray[np.float64] = sums / np.maximum(np.bincount(labels.ravel(), minlength=size), 1)
    return means


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
    foreground = ndimage.binary_closing(np.pad(reach, 8, mode="edge"), _disc(_GAP_UM / work_um))[8:-8, 8:-8]
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
    return _whole(cells, cores=seeds)


def _whole(labels: NDArray[np.int32], *, cores: NDArray[np.int32]) -> NDArray[np.int32]:
    """Each label's piece that holds most of its core, without holes; the other pieces are dropped."""
    whole = np.zeros_like(labels)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        pieces, _ = ndimage.label(labels[box] == label)
        held = np.bincount(pieces[cores[box] == label], minlength=2)
        held[0] = 0
        filled = ndimage.binary_fill_holes(pieces == held.argmax())
        whole[box][filled & ((labels[box] == label) | (labels[box] == 0))] = label
    return whole


def _drop_small(labels: NDArray[np.int32], *, min_pixels: float, share_at_border: float = 1.0) -> NDArray[np.int32]:
    areas = np.bincount(labels.ravel())
    limits = np.full(areas.size, min_pixels)
    limits[np.concatenate([labels[[0, -1]].ravel(), labels[:, [0, -1]].ravel()])] *= share_at_border
    small = areas < limits
    small[0] = True
    return np.where(small[labels], 0, labels).astype(np.int32)


def _disc(radius: float) -> NDArray[np.bool_]:
    edge = int(radius)
    y, x = np.ogrid[-edge : edge + 1, -edge : edge + 1]
    disc: NDArray[np.bool_] = y**2 + x**2 <= radius**2
    return disc
