"""Circular Hough transform (paper, Figure 1K)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from skimage.feature import canny
from skimage.filters import sato
from skimage.morphology import skeletonize
from skimage.transform import hough_circle, hough_circle_peaks

from lysoquant.benchmark.baselines.method import PaperFigure
from lysoquant.benchmark.baselines.rings import Labels, Radii, RingMethod, View, draw_discs

_SCALE_PX = 2.0
_MOST_RADII = 16
_VOTES = (0.2, 0.3, 0.4, 0.5, 0.6)


@dataclass(frozen=True)
class HoughParameters:
    """What votes, radii looked at, share of pixels without a vote, least share of a circle that voted, and growth."""

    votes_of: Literal["edges", "ridges"]
    radius_low_px: int
    radius_high_px: int
    silent_share: float
    least_votes: float
    growth_px: float


def candidates(radii: Radii) -> Sequence[HoughParameters]:
    """The grid: 2 x 3 x 5 x 4 of voters, votes and growth; radii from the annotated sizes, as in the paper."""
    low, high = max(3, int(0.8 * radii.low_px)), int(np.ceil(radii.high_px))
    grid = itertools.product(("edges", "ridges"), (0.8, 0.88, 0.94), _VOTES, (-2.0, 0.0, 2.0, 4.0))
    return [
        HoughParameters(of, low, max(high, low), silent, votes, growth)  # type: ignore[arg-type]
        for of, silent, votes, growth in grid
    ]


def prepare(view: View) -> Callable[[HoughParameters], Labels]:
    """The method on one cell."""

    @cache
    def circles(of: str, low_px: int, high_px: int, silent: float) -> list[tuple[float, float, float, float]]:
        voters = edges(view, silent_share=silent) if of == "edges" else ridges(view, silent_share=silent)
        radii = np.unique(np.linspace(low_px, high_px, min(_MOST_RADII, high_px - low_px + 1)).round().astype(int))
        votes = hough_circle(voters, radii)  # type: ignore[no-untyped-call]
        peaks = hough_circle_peaks(  # type: ignore[no-untyped-call]
            votes, radii, min_xdistance=low_px, min_ydistance=low_px, threshold=_VOTES[0]
        )
        return [(float(v), float(y), float(x), float(r)) for v, x, y, r in zip(*peaks, strict=True)]

    def segment(chosen: HoughParameters) -> Labels:
        found = circles(chosen.votes_of, chosen.radius_low_px, chosen.radius_high_px, chosen.silent_share)
        discs = [(y, x, r + chosen.growth_px) for votes, y, x, r in found if votes >= chosen.least_votes]
        return draw_discs(view.inside.shape, discs, inside=view.inside)

    return segment


def edges(view: View, *, silent_share: float) -> NDArray[np.bool_]:
    """Canny edges of the membranes, inner and outer; `silent_share` of the pixels are too weak to be one."""
    found = canny(  # type: ignore[no-untyped-call]
        view.lysosome,
        sigma=_SCALE_PX,
        low_threshold=silent_share,
        high_threshold=(1 + silent_share) / 2,
        use_quantiles=True,
        mask=view.inside,
    )
    return np.asarray(found)


def ridges(view: View, *, silent_share: float) -> NDArray[np.bool_]:
    """Centre lines of the membranes; `silent_share` of the cell's pixels are too weak to be on one."""
    strength = sato(view.lysosome, sigmas=[_SCALE_PX], black_ridges=False)  # type: ignore[no-untyped-call]
    if not view.inside.any():
        return np.zeros(view.inside.shape, bool)
    least = np.quantile(strength[view.inside], silent_share)
    return np.asarray(skeletonize((strength > least) & view.inside))  # type: ignore[no-untyped-call]


HOUGH = RingMethod(
    name="hough",
    title="circular Hough transform",
    is_what=(
        "Edges (Canny) or ridges (Sato), whichever tunes better, vote for circles (scikit-image hough_circle); the "
        "circles with most votes are drawn as discs. "
        "MATLAB's imfindcircles of the paper votes along the gradient instead; neither follows a shape that is no "
        "circle."
    ),
    paper=PaperFigure("circular Hough transform, MATLAB", "0.573", "0.728"),
    candidates=candidates,
    prepare=prepare,
)
