"""Settings of cells."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lysoquant.channels import Channels
from lysoquant.params import Params


class CellsParams(Params):
    """Finding the cells of a field."""

    method: Literal["watershed", "rois", "labels", "field"] = "watershed"
    """watershed: from nuclei; rois: ImageJ ROI zips; labels: label images made elsewhere; field: the whole field is one cell."""
    boundary: Literal["cargo", "lysosome", "both"] = "both"
    """watershed: channel role whose signal bounds the cells (both: their sum)."""
    nucleus_diameter_um: Annotated[float, Field(gt=0)] = 12.0
    """watershed: typical diameter of a nucleus."""
    min_nucleus_area_um2: Annotated[float, Field(ge=0)] = 30.0
    """watershed: smaller nuclei are debris."""
    min_cell_area_um2: Annotated[float, Field(ge=0)] = 60.0
    """watershed: smaller cells are dropped."""
    max_radius_um: Annotated[float, Field(gt=0)] = 30.0
    """watershed: a cell reaches at most this far from its nucleus."""
    path: str = ""
    """rois and labels: file for each field, with {plate}, {well}, {row}, {column} and {field} filled in; relative to the project."""


class CellsSettings(Params):
    """All that cells' result depends on besides the images."""

    channels: Channels
    params: CellsParams
    on_bad_field: Literal["flag", "fail"] = "flag"
