"""Charts of a screen as SVG: control charts, hits, dose-response curves; tables in, markup out."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup, escape

from lysoquant.report.axes import Frame, frame_svg, line, padded, rectangle, words
from lysoquant.report.screen import hit_name, hit_words, is_hit, is_number
from lysoquant.report.strip import jitter
from lysoquant.report.wording import UNDEFINED, count, fraction, number

_MAD_TO_SD: Final = 1.4826
_LIMIT_SD: Final = 3.0
_LABELLED: Final = 12
"""Hits whose names stand in the chart."""

_LETTER, _LINE = 6.0, 11.0
"""About the width of a letter and the height of a line of these names."""

_TONES: Final = (("", "samples"), ("negative", "negative controls"), ("positive", "positive controls"))
_DRAWN_TICKS: Final = 24


@dataclass(frozen=True)
class Chart:
    """A chart with its heading and what it shows in words."""

    title: str
    svg: Markup
    note: str = ""


def control_charts(wells: pd.DataFrame) -> list[Chart]:
    """Occupancy of samples and of either control by plate, with each plate's median and limits.

    Parameters
    ----------
    wells : pandas.DataFrame
        The well table.

    Returns
    -------
    list of Chart
        None of fewer than two plates. The line in the middle is the median of the plates' medians; the limits lie three
        robust standard deviations (1.4826 x median absolute deviation of the plates' medians) to each side.
    """
    plates = sorted(str(plate) for plate in wells["plate"].unique())
    if len(plates) < 2:
        return []
    known = wells[wells["occupancy_mean"].notna()]
    charts = []
    for control, name in _TONES:
        own = known[known["control"] == control]
        if len(own):
            charts.append(_control_chart(own, plates, tone=control or "sample", name=name))
    return charts


def limits(medians: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Middle, lower and upper limit of the plates' medians; the limits of fewer than three plates are NaN."""
    middle = float(np.median(medians))
    if len(medians) < 3:
        return middle, math.nan, math.nan
    spread = _LIMIT_SD * _MAD_TO_SD * float(np.median(np.abs(medians - middle)))
    return middle, middle - spread, middle + spread


def _control_chart(wells: pd.DataFrame, plates: Sequence[str], *, tone: str, name: str) -> Chart:
    by_plate = {str(plate): group for plate, group in wells.groupby("plate", sort=True)}
    medians = {plate: float(group["occupancy_mean"].median()) for plate, group in by_plate.items()}
    middle, low, high = limits(np.array(list(medians.values())))
    outside = [plate for plate in by_plate if medians[plate] < low or medians[plate] > high]
    frame = Frame((-0.5, len(plates) - 0.5), (0.0, 1.0), 52, 8, 900, 150)
    named = range(0, len(plates), -(-len(plates) // _DRAWN_TICKS))
    parts = [frame_svg(frame, x_title="plate", y_title="occupancy", x_ticks=[(i, plates[i]) for i in named])]
    left, right = frame.left, frame.left + frame.width
    if not math.isnan(low):
        band = frame.at_y(min(high, 1.0)), frame.at_y(max(low, 0.0))
        parts.append(rectangle("limits", (left, band[0]), (right, band[1])))
    parts.append(line("mean", (left, frame.at_y(middle)), (right, frame.at_y(middle))))
    for place, plate in enumerate(plates):
        if plate in by_plate:
            parts += _wells_of_plate(frame, place, by_plate[plate], medians[plate], is_out=plate in outside)
    said = f"Middle {fraction(middle)}; "
    if math.isnan(low):
        said += "no limits of fewer than three plates."
    else:
        said += f"limits {fraction(max(low, 0.0))} to {fraction(min(high, 1.0))}."
    said += f" Outside: {', '.join(outside)}." if outside else ""
    return Chart(name[0].upper() + name[1:], _svg(parts, (968, 208), tone, f"Occupancy of {name} by plate"), said)


def _wells_of_plate(frame: Frame, place: int, wells: pd.DataFrame, median: float, *, is_out: bool) -> list[str]:
    offsets = jitter(wells["occupancy_mean"].to_numpy(dtype=np.float64)) * 0.5
    dots = []
    for offset, row in zip(offsets.tolist(), wells.to_dict("records"), strict=True):
        value = float(row["occupancy_mean"])
        text = f"{row['plate']} {row['well']} {row['condition']}: occupancy {fraction(value)}"
        dots.append(_dot(frame, (place + offset, value), "well-dot", 2.6, text, key=f"{row['plate']}:{row['well']}"))
    ends = (frame.at_x(place - 0.32), frame.at_y(median)), (frame.at_x(place + 0.32), frame.at_y(median))
    return [*dots, line("median out" if is_out else "median", *ends)]


def hit_chart(hits: pd.DataFrame, *, rule: tuple[float, float] | None = None) -> Chart | None:
    """Effects and p values of the tested conditions, or their scores by rank where there are no p values.

    Parameters
    ----------
    hits : pandas.DataFrame
        The hit list.
    rule : (float, float) or None
        Largest adjusted p and least effect of a hit, drawn as lines where both are axes.

    Returns
    -------
    Chart or None
        None of no condition that can be drawn. A dot knows its condition and its wells.
    """
    rows = hits.to_dict("records")
    volcano = [row for row in rows if is_number(row.get("effect")) and is_number(row.get("p_adjusted"))]
    if volcano:
        least = min((float(row["p_adjusted"]) for row in volcano if float(row["p_adjusted"]) > 0), default=1e-300)
        points = [(float(row["effect"]), -math.log10(max(float(row["p_adjusted"]), least)), row) for row in volcano]
        limit = [-math.log10(rule[0])] if rule else []
        y = (0.0, padded([0.0, *limit, *(point[1] for point in points)])[1])
        titles = ("difference of occupancy to the reference", "−log₁₀ of the adjusted p")
        name, left = "Effect and adjusted p", len(rows) - len(points)
    else:
        ranked = sorted((row for row in rows if is_number(row.get("score"))), key=lambda row: float(row["score"]))
        points = [(float(place), float(row["score"]), row) for place, row in enumerate(ranked, start=1)]
        if not points:
            return None
        y = padded([0.0, *(point[1] for point in points)])
        titles = ("rank", "score (robust z)")
        name, left = "Score by rank", len(rows) - len(points)
    frame = Frame(padded([0.0, *(point[0] for point in points)], share=0.1), y, 52, 10, 560, 320)
    parts = [frame_svg(frame, x_title=titles[0], y_title=titles[1])]
    if frame.x[0] < 0 < frame.x[1]:
        parts.append(line("zero", (frame.at_x(0), frame.top), (frame.at_x(0), frame.top + frame.height)))
    parts += _rule_lines(frame, rule) if rule and volcano else []
    # Hits come last, so that they lie on top.
    for px, py, row in sorted(points, key=lambda point: is_hit(point[2])):
        kind, radius = (f"hit {_direction(row)}".strip(), 4.4) if is_hit(row) else ("tested", 3.2)
        links = {"wells": str(row.get("wells", "")), "condition": hit_name(row)}
        parts.append(_dot(frame, (px, py), kind, radius, hit_words(row), **links))
    named = sorted((point for point in points if is_hit(point[2])), key=lambda point: _rank(point[2]))[:_LABELLED]
    parts += _labels(frame, [(px, py, hit_name(row)[:28]) for px, py, row in named])
    note = f"Not drawn: {count(left, 'row')} of the list without these numbers, such as controls." if left else ""
    return Chart(name, _svg(parts, (700, 380), "hits", f"{name} of {len(points)} tested conditions"), note)


def _rule_lines(frame: Frame, rule: tuple[float, float]) -> list[str]:
    """Lines that a hit lies above and outside of."""
    largest_p, least = rule
    y, right = frame.at_y(-math.log10(largest_p)), frame.left + frame.width
    parts = [line("rule", (frame.left, y), (right, y)), words("", (right - 4, y - 4), f"p {largest_p:g}", anchor="end")]
    for effect in (-least, least):
        if least > 0 and frame.x[0] < effect < frame.x[1]:
            x = frame.at_x(effect)
            parts.append(line("rule", (x, frame.top), (x, frame.top + frame.height)))
    return parts


def _labels(frame: Frame, points: Sequence[tuple[float, float, str]]) -> list[str]:
    """Names beside dots; one that would lie on a name before it is left out."""
    drawn: list[tuple[float, float, float]] = []
    texts = []
    for px, py, name in points:
        x, y, width = frame.at_x(px), frame.at_y(py) + 3.5, len(name) * _LETTER
        is_right = x > frame.left + 0.7 * frame.width
        left = x - 7 - width if is_right else x + 7
        if all(abs(y - other) > _LINE or left > end or left + width < start for start, end, other in drawn):
            drawn.append((left, left + width, y))
            texts.append(words("name", (x - 7 if is_right else x + 7, y), name, anchor="end" if is_right else "start"))
    return texts


def dose_charts(curves: pd.DataFrame, wells: pd.DataFrame, *, column: str = "dose") -> list[Chart]:
    """Dose-response curves over the wells that they were fitted to.

    Parameters
    ----------
    curves : pandas.DataFrame
        The dose-response table.
    wells : pandas.DataFrame
        The well table.
    column : str
        Its column with the doses.
    """
    doses = pd.to_numeric(wells[column], errors="coerce") if column in wells else pd.Series(np.nan, index=wells.index)
    charts = []
    for row in curves.to_dict("records"):
        usable = (wells["condition"] == row["condition"]) & (doses > 0) & wells["occupancy_pooled"].notna()
        charts.append(_dose_chart(row, wells.assign(dose=doses)[usable]))
    return charts


def _dose_chart(row: Mapping[Hashable, Any], wells: pd.DataFrame) -> Chart:
    ec50 = float(row["ec50"]) if is_number(row.get("ec50")) and float(row["ec50"]) > 0 else math.nan
    logs = np.log10(wells["dose"].to_numpy(dtype=np.float64)).tolist()
    ends = padded(logs or ([math.log10(ec50) - 2, math.log10(ec50) + 2] if not math.isnan(ec50) else []))
    frame = Frame(ends, (0.0, 1.0), 52, 8, 240, 150)
    powers = [(power, f"{10.0**power:g}") for power in range(math.ceil(ends[0]), math.floor(ends[1]) + 1)]
    parts = [frame_svg(frame, x_title="dose", y_title="pooled occupancy", x_ticks=powers)]
    ci = [float(row.get(name, math.nan)) for name in ("ec50_ci_low", "ec50_ci_high")]
    if all(math.isfinite(value) and value > 0 for value in ci):
        low, high = (frame.at_x(min(max(math.log10(value), ends[0]), ends[1])) for value in ci)
        parts.append(rectangle("limits", (low, frame.top), (high, frame.top + frame.height)))
    numbers = [float(row.get(name, math.nan)) for name in ("bottom", "top", "hill")]
    if not math.isnan(ec50) and all(math.isfinite(value) for value in numbers):
        parts.append(_curve(frame, ec50, *numbers))
    for x, well in zip(logs, wells.to_dict("records"), strict=True):
        value, key = float(well["occupancy_pooled"]), f"{well['plate']}:{well['well']}"
        text = f"{well['plate']} {well['well']}: dose {float(well['dose']):g}, occupancy {fraction(value)}"
        parts.append(_dot(frame, (x, value), "well-dot", 3.2, text, key=key))
    interval = f" ({number(ci[0])} to {number(ci[1])})" if all(map(math.isfinite, ci)) else ""
    note = f"EC50 {UNDEFINED if math.isnan(ec50) else number(ec50)}{interval}. {row.get('reason') or ''}".strip()
    name = str(row["condition"])
    return Chart(name, _svg(parts, (304, 208), "dose", f"Dose and occupancy of {name}"), note)


def _curve(frame: Frame, ec50: float, bottom: float, top: float, hill: float) -> str:
    xs = np.linspace(*frame.x, 60)
    ys = bottom + (top - bottom) / (1 + 10.0 ** np.clip(hill * (math.log10(ec50) - xs), -300, 300))
    points = zip(xs.tolist(), np.clip(ys, *frame.y).tolist(), strict=True)
    path = "L".join(f"{frame.at_x(x):.1f} {frame.at_y(y):.1f}" for x, y in points)
    return f'<path class="curve" d="M{path}"/>'


def _dot(frame: Frame, at: tuple[float, float], kind: str, radius: float, text: str, **links: str) -> str:
    """A dot at a place of the axes, within the frame; `links` become attributes by which the page finds wells."""
    said = "".join(f' data-{name}="{escape(value)}"' for name, value in links.items() if value)
    x, y = frame.at_x(at[0]), frame.at_y(min(max(at[1], frame.y[0]), frame.y[1]))
    return f'<circle class="{kind}"{said} cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{escape(text)}</title></circle>'


def _svg(parts: Sequence[str], size: tuple[int, int], tone: str, title: str) -> Markup:
    width, height = size
    head = (
        f'<svg class="chart {tone}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="group" '
        f'aria-label="{escape(title)}">'
    )
    return Markup(head + "".join(parts) + "</svg>")


def _direction(row: Mapping[Hashable, Any]) -> str:
    direction = str(row.get("direction", ""))
    return direction if direction in ("up", "down") else ""


def _rank(row: Mapping[Hashable, Any]) -> float:
    return float(row["rank"]) if is_number(row.get("rank")) else math.inf
