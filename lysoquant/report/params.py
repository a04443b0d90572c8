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
    """Cells shown for each condition in the montage."""
    crop_um: Annotated[float, Field(gt=1, le=100)] = 20.0
    """Edge of a montage crop."""


class ReportSettings(Params):
    """All that the report depends on besides tables and pixels."""

    channels: Channels
    params: ReportParams
    config: dict[str, object]
    """The whole configuration, shown in the report."""
