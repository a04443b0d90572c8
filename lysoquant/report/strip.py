"""Strip plots as SVG: every cell a dot, every well a lane, every condition a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

WIDTH: Final = 620
_LEFT, _RIGHT = 46, 12
_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_PAD: Final = 5


@dataclass(frozen=True)
class Lane:
    """The cells of one well.

    Attributes
    ----------
    name : str
        Well name, written at the left.
    occupancy : ndarray, shape (n,), float64
        Occupancy of each cell in [0, 1]; NaN where the cell has no endolysosome.
    counted : ndarray, shape (n,), bool
        Whether the cell enters the well's occupancy (expresses the cargo).
    mean : float
        The well's mean occupancy; NaN where undefined.
    titles : sequence of str
        One text a cell for its tooltip; empty for no tooltips, then the cells are one path and not a circle each.
    key : str
        ``plate:well``, by which the page finds the well.
    """

    name: str
    occupancy: npt.NDArray[np.float64]
    counted: npt.NDArray[np.bool_]
    mean: float
    titles: Sequence[str] = field(default=())
    key: str = ""


def mean_and_sd(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Mean and sample standard deviation of the numbers that are not NaN.

    Returns
    -------
    tuple of float
        NaN for the mean of none and for the deviation of fewer than two.
    """
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if known.size else math.nan
    return mean, float(known.std(ddof=1)) if known.size > 1 else math.nan


def jitter(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Offsets in [-0.5, 0.5) that keep equal and neighbouring values apart, the same in every run.

    Parameters
    ----------
    values : ndarray, shape (n,)
        The values that are drawn.

    Returns
    -------
    ndarray, shape (n,), float64
        The golden-ratio sequence in the order of the values: of low discrepancy, so no clumps as random jitter has.
    """
    rank = np.empty(len(values), dtype=np.int64)
    rank[np.argsort(values, kind="stable")] = np.arange(len(values))
    return np.asarray((rank * _GOLDEN) % 1.0 - 0.5, dtype=np.float64)


def lane_height(n_lanes: int) -> int:
    """Height of a lane in SVG units: the more wells a condition has, the thinner their lanes."""
    return 20 if n_lanes <= 8 else 13 if n_lanes <= 24 else 8


def axis_svg() -> Markup:
    """The axis of occupancy from 0 to 1, for the top of a column of strip plots."""
    ticks = "".join(
        f'<text class="tick" x="{_x(value):.1f}" y="12" text-anchor="middle">{value:g}</text>'
        for value in (0, 0.25, 0.5, 0.75, 1)
    )
    return Markup(f'<svg class="strip" viewBox="0 0 {WIDTH} 16" aria-hidden="true">{ticks}</svg>')


def condition_svg(lanes: Sequence[Lane], *, mean: float, sd: float, tone: str, title: str, every: int = 1) -> Markup:
    """One condition: lanes of dots, the wells' means, and the condition's mean and standard deviation.

    Parameters
    ----------
    lanes : sequence of Lane
        The condition's wells from top to bottom.
    mean, sd : float
        Mean and standard deviation of the wells' means; NaN where undefined.
    tone : str
        CSS class that colours the dots: ``sample``, ``negative`` or ``positive``.
    title : str
        The plot in words, for readers that hear the page.
    every : int
        Of the cells of a well, by occupancy, every so many is drawn.

    Returns
    -------
    markupsafe.Markup
        An ``<svg>``. Each cell with an occupancy is a ``<circle class="cell">``, or a dot of a ``<path>`` where the
        cells have no titles; a cell without one can't be placed.
    """
    step = lane_height(len(lanes))
    height = max(len(lanes), 1) * step + 2 * _PAD
    parts = [_grid(height), _spread(mean, sd, height)]
    parts += [_dots(lane, top=_PAD + i * step, step=step, every=every) for i, lane in enumerate(lanes)]
    parts += [_well_mean(lane, middle=_PAD + (i + 0.5) * step, step=step) for i, lane in enumerate(lanes)]
    head = f'<svg class="strip {escape(tone)}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return Markup(head + "".join(parts) + "</svg>")


def _x(occupancy: float) -> float:
    return _LEFT + occupancy * (WIDTH - _LEFT - _RIGHT)


def _grid(height: float) -> str:
    return "".join(
        f'<line class="grid" x1="{_x(value):.1f}" x2="{_x(value):.1f}" y1="0" y2="{height:g}"/>'
        for value in (0, 0.25, 0.5, 0.75, 1)
    )


def _spread(mean: float, sd: float, height: float) -> str:
    if math.isnan(mean):
        return ""
    line = f'<line class="mean" x1="{_x(mean):.1f}" x2="{_x(mean):.1f}" y1="1" y2="{height - 1:g}"/>'
    if math.isnan(sd):
        return line
    low, high = _x(max(mean - sd, 0.0)), _x(min(mean + sd, 1.0))
    return f'<rect class="sd" x="{low:.1f}" y="1" width="{high - low:.1f}" height="{height - 2:g}"/>{line}'


def _dots(lane: Lane, *, top: float, step: float, every: int) -> str:
    name = f'<text class="lane" x="0" y="{top + step / 2 + 3.5:g}">{escape(lane.name)}</text>' if step > 8 else ""
    known = np.flatnonzero(~np.isnan(lane.occupancy))
    known = known[np.sort(np.argsort(lane.occupancy[known], kind="stable")[every // 2 :: every])]
    values = lane.occupancy[known]
    heights = top + step / 2 + jitter(values) * (step - 5)
    radius = 2.4 if step > 8 else 1.7
    if not lane.titles:
        return name + "".join(
            _path(kind, values[of], heights[of], size)
            for kind, of, size in (
                ("cells", lane.counted[known], 2 * radius),
                ("cells aside", ~lane.counted[known], 2 * radius - 1),
            )
        )
    dots = []
    for cell, value, y in zip(known.tolist(), values, heights, strict=True):
        kind = "cell" if lane.counted[cell] else "cell aside"
        dot = f'<circle class="{kind}" cx="{_x(float(value)):.1f}" cy="{y:.1f}" r="{radius}"'
        dots.append(f"{dot}><title>{escape(lane.titles[cell])}</title></circle>")
    return name + "".join(dots)


def _path(kind: str, values: npt.NDArray[np.float64], heights: npt.NDArray[np.float64], width: float) -> str:
    """Many dots in a few bytes each: strokes of no length with round ends."""
    if not len(values):
        return ""
    strokes = "".join(f"M{_x(value):.1f} {y:.1f}h0" for value, y in zip(values.tolist(), heights.tolist(), strict=True))
    return f'<path class="{kind}" stroke-width="{width:.1f}" d="{strokes}"/>'


def _well_mean(lane: Lane, *, middle: float, step: float) -> str:
    if math.isnan(lane.mean):
        return ""
    text = f"{lane.name}: mean of the well {lane.mean:.2f}"
    return (
        f'<circle class="well-mean" data-key="{escape(lane.key)}" '
        f'cx="{_x(lane.mean):.1f}" cy="{middle:g}" r="{4.6 if step > 8 else 3.2}">'
        f"<title>{escape(text)}</title></circle>"
    )
