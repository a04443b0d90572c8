"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def device_option(*, verb: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--device``: where the network does what the command is for."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help=f"Where the network {verb}.",
    )
