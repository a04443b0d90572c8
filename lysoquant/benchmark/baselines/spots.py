"""Spot detectors: wavelets (paper, Figure 1G) and the Laplacian of a Gaussian (Figure 1H)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import blob_log

from lysoquant.benchmark.baselines.method import PaperFigure
from lysoquant.benchmark.baselines.rings import Labels, Radii, RingMethod, View, draw_discs

_B3 = np.array([1, 4, 6, 4, 1], np.float32) / 16
_MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class WaveletParameters:
    """First of three scales, threshold in standard deviations of a plane's noise, and how scales are put together."""

    first_scale: int
    threshold_sd: float
    combine: Literal["product", "sum"]


def a_trous(image: NDArray[np.float32], *, scales: int) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Undecimated wavelet transform with the cubic B-spline (Olivo-Marin 2002, doi:10.1016/S0031-3203(01)00127-3).

    Parameters
    ----------
    image : float32 array (Y, X)
        The image; it is mirrored at its border.
    scales : int
        Planes; plane i (from 1) is the difference of two smoothings, the coarser with a kernel of 2^(i+1) + 1 pixels.

    Returns
    -------
    planes : list of float32 array (Y, X)
        From fine to coarse.
    rest : float32 array (Y, X)
        What is left; planes and rest add up to the image.
    """
    planes: list[NDArray[np.float32]] = []
    smooth = image
    for scale in range(scales):
        kernel = np.zeros(4 * 2**scale + 1, np.float32)
        kernel[:: 2**scale] = _B3
        coarser = ndimage.convolve1d(
            ndimage.convolve1d(smooth, kernel, axis=0, mode="mirror"), kernel, axis=1, mode="mirror"
        )
        planes.append(smooth - coarser)
        smooth = coarser
    return planes, smooth


def wavelet_candidates(_: Radii) -> Sequence[WaveletParameters]:
    """The grid: 4 x 5 x 2 of scales (2-4 as in the paper, to 5-7), thresholds and combinations."""
    grid = itertools.product((2, 3, 4, 5), (0.5, 1.0, 2.0, 4.0, 8.0), ("product", "sum"))
    return [WaveletParameters(first, sds, combine) for first, sds, combine in grid]  # type: ignore[arg-type]


def prepare_wavelet(view: View) -> Callable[[WaveletParameters], Labels]:
    """The method on one cell."""
    planes = cache(lambda: a_trous(view.lysosome, scales=7)[0])

    def segment(chosen: WaveletParameters) -> Labels:
        kept = []
        for plane in planes()[chosen.first_scale - 1 : chosen.first_scale + 2]:
            values = plane[view.inside]
            spread = _MAD_TO_SD * np.median(np.abs(values - np.median(values))) if len(values) else 0.0
            kept.append(plane > max(chosen.threshold_sd * float(spread), 1e-6))
        # A product of significant planes is positive where all are, their sum where any is.
        mask = np.all(kept, axis=0) if chosen.combine == "product" else np.any(kept, axis=0)
        return np.asarray(ndimage.label(mask & view.inside)[0], np.int32)

    return segment


@dataclass(frozen=True)
class LogParameters:
    """Scales looked at, least response, and a disc's radius as a multiple of its blob's sqrt(2) sigma."""

    sigma_low_px: float
    sigma_high_px: float
    threshold: float
    radius_factor: float


def log_candidates(radii: Radii) -> Sequence[LogParameters]:
    """The grid: 4 x 5 of thresholds and radii; scales from the annotated sizes."""
    low, high = (round(radius / math.sqrt(2), 1) for radius in (radii.low_px, radii.high_px))
    grid = itertools.product((0.025, 0.05, 0.1, 0.2), (0.6, 0.8, 1.0, 1.2, 1.4))
    return [LogParameters(round(0.7 * low, 1), round(1.2 * high, 1), threshold, factor) for threshold, factor in grid]


def prepare_log(view: View) -> Callable[[LogParameters], Labels]:
    """The method on one cell."""

    @cache
    def blobs(low_px: float, high_px: float, threshold: float) -> NDArray[np.float64]:
        found = blob_log(  # type: ignore[no-untyped-call]
            view.lysosome, min_sigma=low_px, max_sigma=high_px, num_sigma=6, log_scale=True, threshold=threshold
        )
        return np.asarray(found)

    def segment(chosen: LogParameters) -> Labels:
        found = blobs(chosen.sigma_low_px, chosen.sigma_high_px, chosen.threshold)
        discs = [(y, x, chosen.radius_factor * math.sqrt(2) * sigma) for y, x, sigma in found.tolist()]
        return draw_discs(view.inside.shape, discs, inside=view.inside)

    return segment


WAVELET = RingMethod(
    name="wavelet",
    title="wavelet spots",
    is_what=(
        "The undecimated B3-spline wavelet transform of Olivo-Marin 2002: bright coefficients of three scales that "
        "exceed a multiple of their noise; each connected part is an object. The idea of Icy's spot detector, written "
        "from the paper and not from its code. It looks for spots, so a large ring stays a ring or falls into pieces."
    ),
    paper=PaperFigure("Icy spot detector", "0.187", "0.315"),
    candidates=wavelet_candidates,
    prepare=prepare_wavelet,
)

LOG = RingMethod(
    name="log",
    title="LoG spots",
    is_what=(
        "Maxima of the scale-normalised Laplacian of a Gaussian (scikit-image blob_log), each drawn as a disc. The "
        "filter behind cmeAnalysis' detection without its fit of the point spread function and its tracking."
    ),
    paper=PaperFigure("cmeAnalysis", "0.504", "0.671"),
    candidates=log_candidates,
    prepare=prepare_log,
)
