"""What is said of a readable field when it is converted: numbers, for aggregate to judge, and doubts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lysoquant.convert.quality import detail_fraction, focus_score, saturated_fraction, signal_to_background
from lysoquant.record import Json, field_report
from lysoquant.units import pixel_size_verdict
from lysoquant.vocabulary import FLAGGED, OK


def plane_numbers(plane: npt.NDArray[Any], *, pixel_size_um: float) -> dict[str, float]:
    """What can be said of one channel's plane, (Y, X)."""
    return {
        "saturated_fraction": saturated_fraction(plane),
        "focus_score": focus_score(plane),
        "signal_to_background": signal_to_background(plane),
        "detail_fraction": detail_fraction(plane, pixel_size_um=pixel_size_um),
    }


def judge(index: int, planes: Sequence[Mapping[str, float]], channels: Sequence[str], pixel_size_um: float) -> Json:
    """Report of a readable field: median focus and largest saturation of its channels, and each channel's numbers.

    Here only the pixel size is judged, which has no limit to set; aggregate judges the numbers.

    Parameters
    ----------
    planes : sequence of mapping
        :func:`plane_numbers` of each channel.
    """
    saturated = max(numbers["saturated_fraction"] for numbers in planes)
    found = {
        f"{kind}_{channel}": value
        for channel, numbers in zip(channels, planes, strict=True)
        for kind, value in numbers.items()
        if kind != "saturated_fraction"
    }
    values = {name: _rounded(value) for name, value in found.items() if not math.isnan(value)}
    values["saturated_fraction"] = _rounded(saturated)
    scores = [values[name] for name in (f"focus_score_{channel}" for channel in channels) if name in values]
    if scores:
        values["focus_score"] = _rounded(float(np.median(scores)))
    reasons = [reason for reason in (pixel_size_verdict(pixel_size_um),) if reason is not None]
    return field_report(index, status=FLAGGED if reasons else OK, reasons=reasons, **values)


def _rounded(value: float) -> float:
    """Six digits: floating-point sums may differ between machines further on, and reports enter digests."""
    return float(f"{value:.6g}")
