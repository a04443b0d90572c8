"""Settings of report."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lysoquant.channels import Channels
from lysoquant.params import Params


class ReportParams(Params):
    """The HTML report."""

    title: str = "Endolysosome occupancy"
    """Heading of the report."""
    montage_cells: Annotated[int, Field(ge=0, le=12)] = 3
    """Typical cells shown for each condition in the montage."""
    strange_cells: Annotated[int, Field(ge=0, le=12)] = 3
    """Cells farthest from their condition's median shown for each condition in the montage."""
    crop_um: Annotated[float, Field(gt=1, le=100)] = 20.0
    """Edge of a montage crop."""
    max_mb: Annotated[float, Field(ge=0.4, le=500)] = 45.0
    """Largest size of the page in MB (10⁶ bytes): pictures of fields are made so small that it holds, or left out."""


class ReportSettings(Params):
    """All that the report depends on besides tables and pixels."""

    channels: Channels
    params: ReportParams
    config: dict[str, object]
    """The whole configuration, shown in the report."""
