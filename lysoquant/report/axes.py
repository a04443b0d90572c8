"""Axes of the charts: ranges, ticks and the frame, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import escape


@dataclass(frozen=True)
class Frame:
    """A rectangle of an SVG onto which numbers are drawn.

    Attributes
    ----------
    x, y : tuple of float
        Ends of the axes in their own units; the second is at the right and at the top.
    left, top, width, height : float
        The rectangle in SVG units.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    left: float
    top: float
    width: float
    height: float

    def at_x(self, value: float) -> float:
        """Place of a number on the horizontal axis."""
        return self.left + (value - self.x[0]) / (self.x[1] - self.x[0]) * self.width

    def at_y(self, value: float) -> float:
        """Place of a number on the vertical axis."""
        return self.top + self.height - (value - self.y[0]) / (self.y[1] - self.y[0]) * self.height


def padded(values: Sequence[float], *, share: float = 0.06) -> tuple[float, float]:
    """Ends of an axis that holds all numbers with some space; NaN and infinities are passed over.

    Examples
    --------
    >>> padded([0.0, 10.0], share=0.1)
    (-1.0, 11.0)
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    margin = (high - low) * share or max(abs(high), 1.0) * share
    return low - margin, high + margin


def ticks(low: float, high: float, *, about: int = 5) -> list[float]:
    """Round numbers between the ends of an axis.

    Examples
    --------
    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    power = 10.0 ** math.floor(math.log10((high - low) / about))
    step = next(factor * power for factor in (1, 2, 5, 10) if (high - low) / (factor * power) <= about + 1)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def frame_svg(frame: Frame, *, x_title: str, y_title: str, x_ticks: Sequence[tuple[float, str]] | None = None) -> str:
    """Grid, ticks and titles; `x_ticks` are places and texts of the horizontal axis, round numbers by default."""
    places = [(value, _text(value)) for value in ticks(*frame.x)] if x_ticks is None else list(x_ticks)
    bottom, right = frame.top + frame.height, frame.left + frame.width
    middle = frame.top + frame.height / 2
    parts = [
        line("grid", (frame.left, frame.at_y(value)), (right, frame.at_y(value)))
        + words("tick", (frame.left - 6, frame.at_y(value) + 3.5), _text(value), anchor="end")
        for value in ticks(*frame.y)
    ]
    parts += [words("tick", (frame.at_x(value), bottom + 15), text, anchor="middle") for value, text in places]
    parts.append(words("axis", (frame.left + frame.width / 2, bottom + 32), x_title, anchor="middle"))
    parts.append(words("axis", (12, middle), y_title, anchor="middle", turned=True))
    parts.append(rectangle("frame", (frame.left, frame.top), (right, bottom)))
    return "".join(parts)


def line(kind: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    """A line between two points (x, y) of the SVG, of a CSS class."""
    return f'<line class="{kind}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'


def rectangle(kind: str, corner: tuple[float, float], opposite: tuple[float, float]) -> str:
    """A rectangle between two corners (x, y) of the SVG, at least half a unit wide and high."""
    width, height = (max(b - a, 0.5) for a, b in zip(corner, opposite, strict=True))
    return f'<rect class="{kind}" x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def words(kind: str, at: tuple[float, float], text: str, *, anchor: str = "start", turned: bool = False) -> str:
    """Text at a point (x, y) of the SVG."""
    turn = f' transform="rotate(-90 {at[0]:g} {at[1]:g})"' if turned else ""
    return f'<text class="{kind}" x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}"{turn}>{escape(text)}</text>'


def _text(value: float) -> str:
    return f"{value:g}".replace("-", "−")
