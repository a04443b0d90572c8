"""A forecast for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from lysoquant.project.forecast.jobs import Forecast

_HEAD = ("stage", "jobs", "wells", "fields", "core-hours", "GPU-hours", "on disk", "files")
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


def lines(forecast: Forecast) -> Iterator[str]:
    """The forecast as a table with its basis above and the wall time below."""
    if not forecast.jobs:
        yield "forecast: nothing is left to do"
        return
    yield f"forecast of what is left to do ({forecast.basis})"
    rows = [
        (
            stage.stage,
            str(stage.jobs),
            str(stage.wells),
            str(stage.fields),
            hours(stage.core_h),
            hours(stage.gpu_h),
            size(stage.disk_bytes),
            str(stage.files),
        )
        for stage in forecast.stages
    ]
    whole = (hours(forecast.core_h), hours(forecast.gpu_h), size(forecast.disk_bytes), str(forecast.files))
    rows.append(("all", str(forecast.jobs), "", "", *whole))
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    for row in (_HEAD, *rows):
        first, *others = [
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  " + "  ".join([first, *others])
    yield f"  wall time on {forecast.where}: about {duration(forecast.wall_h)}"
    if forecast.gpu_h is None:
        yield "  GPU-hours are not known, as no well was segmented on a GPU yet; segment is given as without one"


def hours(value: float | None) -> str:
    """Hours with two significant digits; a dash for none, a question mark where they are not known."""
    if value is None:
        return "?"
    return "-" if value == 0 else f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def size(value: float) -> str:
    """Bytes with a unit of thousands."""
    power = min(len(_UNITS) - 1, max(0, len(str(int(value))) - 1) // 3)
    scaled = value / 1000**power
    return f"{scaled:.0f} {_UNITS[power]}" if scaled >= 99.5 or not power else f"{scaled:.2g} {_UNITS[power]}"


def duration(value: float) -> str:
    """Hours as minutes, hours or days."""
    minutes = value * 60
    if minutes < 1:
        return "a minute"
    if minutes < 120:
        return f"{minutes:.0f} min"
    return f"{value:.0f} h" if value < 72 else f"{value / 24:.0f} days"
