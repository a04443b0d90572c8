"""Physical constants of the method, in the units of their names."""

from __future__ import annotations

from typing import Final

MODEL_PIXEL_SIZE_UM: Final = 0.025
"""Pixel size at which the network sees every cell (paper, Results)."""

TESTED_PIXEL_SIZE_UM: Final = (0.04, 0.12)
"""Pixel sizes for which the shipped model was trained and evaluated."""

ACCEPTED_PIXEL_SIZE_UM: Final = (TESTED_PIXEL_SIZE_UM[0] / 2, TESTED_PIXEL_SIZE_UM[1] * 2)
"""Twice the tested range: outside it a field is not segmented (see the contract)."""

MIN_AREA_UM2: Final = 0.13
"""Smallest annotated endolysosome of the paper, a diameter of about 0.4 um."""

MEMBRANE_MARGIN_UM: Final = 0.04
"""A region reaches this far beyond the ridge of the ring."""


def pixel_size_verdict(pixel_size_um: float) -> str | None:
    """Reason to flag a field for its pixel size, or None inside the tested range."""
    low, high = TESTED_PIXEL_SIZE_UM
    if low <= pixel_size_um <= high:
        return None
    return f"pixel size {pixel_size_um:g} um is outside the tested range {low:g} to {high:g} um"


def pixel_size_accepted(pixel_size_um: float) -> bool:
    """Whether a pixel size lies within twice the tested range."""
    low, high = ACCEPTED_PIXEL_SIZE_UM
    return low <= pixel_size_um <= high
