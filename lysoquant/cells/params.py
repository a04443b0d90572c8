"""Settings of cells."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lysoquant.cells.template import check_template
from lysoquant.channels import Channels
from lysoquant.illumination.params import IlluminationParams
from lysoquant.params import Params


class CellsParams(Params):
    """Finding the cells of a field."""

    method: Literal["watershed", "rois", "labels", "field"] = "watershed"
    """watershed: from nuclei; rois: ImageJ ROI zips; labels: label images made elsewhere; field: one cell a field."""
    boundary: Literal["cargo", "lysosome", "both"] = "both"
    """watershed: channel role whose signal bounds the cells (both: their sum)."""
    nucleus_diameter_um: Annotated[float, Field(gt=0)] = 12.0
    """watershed: typical diameter of a nucleus."""
    nucleus_diameter_factor: Annotated[float, Field(gt=1)] = 1.6
    """watershed: a field whose median nucleus is so many times larger or smaller is flagged (wrong pixel size?)."""
    min_nucleus_area_um2: Annotated[float, Field(ge=0)] = 15.0
    """watershed: smaller nuclei are debris (a quarter of it where the image cuts them)."""
    min_cell_area_um2: Annotated[float, Field(ge=0)] = 60.0
    """watershed: smaller cells are dropped."""
    max_radius_um: Annotated[float, Field(gt=0)] = 30.0
    """watershed: a cell reaches at most this far from its nucleus."""
    beyond_border: bool = True
    """watershed: true: what the border cuts from a cell beyond it is a cell; false: it goes to its neighbours."""
    path: str = ""
    """rois and labels: each field's file in the project; {plate}, {well}, {row}, {column}, {field} (from 0) given."""

    @model_validator(mode="after")
    def _path_fits_method(self) -> Self:
        check_template(self.path)
        if self.method in ("rois", "labels") and not self.path:
            raise ValueError(
                f"method '{self.method}' needs `path`, the file of each field, such as outlines/{{well}}_{{field}}.zip"
            )
        return self


class CellsSettings(Params):
    """All that cells' result depends on besides the images."""

    channels: Channels
    params: CellsParams
    illumination: IlluminationParams = IlluminationParams()
    on_bad_field: Literal["flag", "fail"] = "flag"
