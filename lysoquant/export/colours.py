"""Colours of channels by their roles, as in the paper's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lysoquant.channels import Channels

RGB: Final[Mapping[str, tuple[int, int, int]]] = {
    "green": (0, 255, 0),
    "red": (255, 0, 0),
    "yellow": (255, 255, 0),
    "blue": (0, 0, 255),
    "gray": (255, 255, 255),
}
"""By the names that napari knows."""


def channel_colours(labels: Sequence[str], channels: Channels) -> list[str]:
    """Name of each channel's colour: lysosome green, cargo red, other cargoes yellow, nucleus blue, the rest gray."""
    of_role = {"lysosome": "green", "cargo": "red", "nucleus": "blue"}
    own = dict.fromkeys(channels.other_cargoes, "yellow")
    own |= {label: of_role[role] for role, label in channels.by_role().items()}
    return [own.get(label, "gray") for label in labels]
