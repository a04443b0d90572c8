"""Nuclei of a field, by a threshold of their own each."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

from lysoquant.cells.grid import coarsen, refine_labels, work_factor
from lysoquant.cells.labels import drop_small, reading_order, whole_pieces
from lysoquant.cells.relief import background_of, disc, smoothed

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
_SPECK_DIAMETERS: Final = 1 / 8
"""A disc of this radius fits into every nucleus, and into no speck."""
_SPECK_CONTRAST: Final = 2.0
"""The chromatin of a nucleus is at most so many times brighter in spots than around them."""
_DIMMEST_NUCLEUS: Final = 0.1
"""Objects this much dimmer than the field's bright nuclei are haze."""
_WIDE_SHARE: Final = 0.25
"""Whole nuclei are larger than this share of a disc of a nucleus's diameter."""
_EDGE_SHARE: Final = 0.4
"""A blurred edge lies at half the height of what it bounds; less, since nuclei are brighter inside."""
_CUT_NUCLEUS_SHARE: Final = 0.25
"""A cell without its nucleus would be taken for a part of its neighbour, so slivers of nuclei count at the border."""
_SHARPNESS: Final = 2.0
"""A nucleus is at least so many times higher than the ring around it."""


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
    sigma = diameter_um / 16 / work_um
    smooth, noise = smoothed(raw, sigma=sigma)
    shading = _shading(smooth)
    background = shading + background_of(smooth - shading, window=4 * diameter_um / work_um)
    floor = np.maximum(_MIN_CONTRAST_TO_BACKGROUND * background, _MIN_CONTRAST_TO_NOISE * noise)
    clean = _without_specks(raw - background, floor=floor, diameter=diameter_um / work_um)
    height = ndimage.gaussian_filter(clean, sigma, mode="nearest")
    mask = _nuclear_mask(height, floor=floor, diameter=diameter_um / work_um)
    labels = _split(mask, height, diameter=diameter_um / work_um)
    labels = drop_small(labels, min_pixels=min_area_um2 / work_um**2, share_at_border=_CUT_NUCLEUS_SHARE)
    labels = _drop_blunt(labels, height, diameter=diameter_um / work_um)
    refined = refine_labels(labels=labels, factor=factor, shape=(nucleus.shape[0], nucleus.shape[1]))
    return reading_order(whole_pieces(refined, cores=refined))


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


def _without_specks(height: NDArray[np.float32], *, floor: NDArray[np.float32], diameter: float) -> NDArray[np.float32]:
    """What is narrower than any nucleus brought down to what lies around it: bright debris would set the scale."""
    brush = disc(_SPECK_DIAMETERS * diameter)
    # Beyond the border a nucleus goes on, so what the image cuts is not narrower for it.
    edge = brush.shape[0]
    wide = ndimage.grey_opening(np.pad(height, edge, mode="edge"), footprint=brush)[edge:-edge, edge:-edge]
    return np.minimum(height, _SPECK_CONTRAST * np.maximum(wide, floor)).astype(np.float32)


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
        basins = _upper_part(height, basins, share=share, percentile=percentile, diameter=diameter)
    round_brush = disc(diameter / 8)
    # Beyond the border a nucleus goes on, so what the image cuts is not thinner for it.
    edge = round_brush.shape[0]
    opened = ndimage.binary_opening(np.pad(basins > 0, edge, mode="edge"), round_brush)[edge:-edge, edge:-edge]
    filled: NDArray[np.bool_] = ndimage.binary_fill_holes(opened)
    return filled


def _upper_part(
    height: NDArray[np.float32], basins: NDArray[np.int32], *, share: float, percentile: float, diameter: float
) -> NDArray[np.int32]:
    """Of every basin what is higher than a share of its top; nothing of basins far below the field's high ones."""
    parts = []
    for label, box in enumerate(ndimage.find_objects(basins), start=1):
        if box is not None:
            basin = basins[box] == label
            top = float(np.percentile(height[box][basin], percentile))
            parts.append((label, box, top, basin & (height[box] > share * top)))
    # Debris may be far brighter than any nucleus, so the small ones have no say.
    wide = [top for _, _, top, part in parts if np.count_nonzero(part) >= _WIDE_SHARE * np.pi / 4 * diameter**2]
    tops = wide or [top for _, _, top, _ in parts]
    dimmest = _DIMMEST_NUCLEUS * float(np.percentile(tops, 90)) if tops else 0.0
    upper = np.zeros_like(basins)
    for label, box, top, part in parts:
        if top >= dimmest:
            upper[box][part] = label
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
