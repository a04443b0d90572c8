"""Region competition (paper, Figure 1F): Squassh's idea with the tools of scikit-image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import morphological_chan_vese

from lysoquant.benchmark.baselines.method import PaperFigure
from lysoquant.benchmark.baselines.rings import Labels, Radii, RingMethod, View, fill_lumens, split_touching

_STEPS = 6
_MARGIN_PX = 8


@dataclass(frozen=True)
class RegionParameters:
    """Window of the background, least intensity over it, what is filled and split, and smoothness of the outline."""

    background_px: int
    least_intensity: float
    largest_lumen_px2: float
    split_distance_px: float
    smoothness: int


def candidates(radii: Radii) -> Sequence[RegionParameters]:
    """The grid: 3 x 2 x 3 of intensity, splitting and smoothness; lumens up to the largest annotated one."""
    lumen = float(math.ceil(math.pi * radii.high_px**2))
    grid = itertools.product((0.05, 0.1, 0.2), (4.0, 10.0), (1, 2, 4))
    return [RegionParameters(41, least, lumen, distance, smoothness) for least, distance, smoothness in grid]


def prepare(view: View) -> Callable[[RegionParameters], Labels]:
    """The method on one cell."""

    @cache
    def flat(background_px: int) -> NDArray[np.float32]:
        smooth = ndimage.gaussian_filter(view.lysosome, 1.0)
        opened = ndimage.grey_opening(smooth, size=(background_px, background_px))
        return np.asarray(smooth - ndimage.gaussian_filter(opened, background_px / 4), np.float32)

    @cache
    def seeds(background_px: int, least: float, lumen_px2: float, distance_px: float) -> Labels:
        mask = fill_lumens((flat(background_px) > least) & view.inside, largest_px=lumen_px2)
        return split_touching(mask, distance_px=distance_px)

    def segment(chosen: RegionParameters) -> Labels:
        start = seeds(chosen.background_px, chosen.least_intensity, chosen.largest_lumen_px2, chosen.split_distance_px)
        return compete(flat(chosen.background_px), start, view.inside, smoothness=chosen.smoothness)

    return segment


def compete(image: NDArray[np.float32], labels: Labels, inside: NDArray[np.bool_], *, smoothness: int) -> Labels:
    """Move the outline of each object to where its own mean and that of its surroundings meet.

    Parameters
    ----------
    image : float32 array (Y, X)
        Intensity over the background.
    labels : int32 array (Y, X)
        Where objects begin; none takes pixels that another has.
    smoothness : int
        Times that the outline is smoothed in each step.
    """
    result = labels.copy()
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        window = tuple(
            slice(max(0, s.start - _MARGIN_PX), min(edge, s.stop + _MARGIN_PX))
            for s, edge in zip(box, image.shape, strict=True)
        )
        own = result[window] == number
        room = (own | (result[window] == 0)) & inside[window]
        level = np.where(room, image[window], np.float32(0))
        moved = morphological_chan_vese(  # type: ignore[no-untyped-call]
            level, _STEPS, init_level_set=own.astype(np.int8), smoothing=smoothness
        )
        grown = ndimage.binary_fill_holes(moved.astype(bool)) & room
        if grown.any():
            result[window][own] = 0
            result[window][grown] = number
    return result


REGIONS = RingMethod(
    name="regions",
    title="region competition",
    is_what=(
        "Objects over a local background, whose outlines then compete with their surroundings, each object against its "
        "own neighbourhood (scikit-image morphological_chan_vese). The idea of Squassh (local intensities, smooth "
        "outlines, no global threshold) without its deconvolution by the microscope's point spread function."
    ),
    paper=PaperFigure("Squassh", "0.696", "0.821"),
    candidates=candidates,
    prepare=prepare,
)
