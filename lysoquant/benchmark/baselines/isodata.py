"""IsoData threshold and watershed (paper, Figure 1B)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_isodata

from lysoquant.benchmark.baselines.method import PaperFigure
from lysoquant.benchmark.baselines.rings import Labels, Radii, RingMethod, View, fill_lumens, split_touching


@dataclass(frozen=True)
class IsodataParameters:
    """Smoothing before the threshold, the scale of the background taken off (0: none), what is filled and split."""

    smoothing_px: float
    background_px: float
    largest_lumen_px2: float
    split_distance_px: float


def candidates(radii: Radii) -> Sequence[IsodataParameters]:
    """The grid: 3 x 3 x 4 of smoothing, background and splitting; lumens up to the largest annotated one."""
    lumen = float(math.ceil(math.pi * radii.high_px**2))
    return [
        IsodataParameters(smoothing, background, lumen, distance)
        for smoothing, background, distance in itertools.product(
            (1.0, 2.0, 4.0), (0.0, 20.0, 40.0), (2.0, 4.0, 8.0, 12.0)
        )
    ]


def prepare(view: View) -> Callable[[IsodataParameters], Labels]:
    """The method on one cell."""

    @cache
    def bright(smoothing_px: float, background_px: float) -> NDArray[np.bool_]:
        image = ndimage.gaussian_filter(view.lysosome, smoothing_px)
        if background_px:
            image = image - ndimage.gaussian_filter(view.lysosome, background_px)
        values = image[view.inside]
        if not len(values) or values.min() == values.max():
            return np.zeros(image.shape, bool)
        return np.asarray((image > threshold_isodata(values)) & view.inside)  # type: ignore[no-untyped-call]

    def segment(chosen: IsodataParameters) -> Labels:
        mask = fill_lumens(bright(chosen.smoothing_px, chosen.background_px), largest_px=chosen.largest_lumen_px2)
        return split_touching(mask, distance_px=chosen.split_distance_px)

    return segment


ISODATA = RingMethod(
    name="isodata",
    title="IsoData + watershed",
    is_what=(
        "One automatic threshold a cell (scikit-image threshold_isodata), holes filled, touching objects split by a "
        "watershed of the distance transform. Not ImageJ's own code, and no choice among its other thresholds."
    ),
    paper=PaperFigure("IsoData + watershed, ImageJ", "0.641", "0.782"),
    candidates=candidates,
    prepare=prepare,
)
