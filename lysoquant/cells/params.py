"""Settings of cells."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from lysoquant.cells.template import check_template
from lysoquant.channels import Channels
from lysoquant.illumination.params import IlluminationParams
from lysoquant.params import Params

METHODS_OF_PIXELS: Final = ("watershed", "cellpose")
"""Methods that find cells in the image; the others are told of them, or take the whole field."""


class CellsParams(Params):
    """Finding the cells of a field."""

    method: Literal["watershed", "cellpose", "rois", "labels", "field"] = "watershed"
    """watershed: from nuclei; cellpose: by its model; rois: ImageJ ROIs; labels: label images; field: one cell each."""
    boundary: Literal["cargo", "lysosome", "both"] = "both"
    """watershed and cellpose: channel role whose signal fills the cells (both: their sum)."""
    nucleus_diameter_um: Annotated[float, Field(gt=0)] = 12.0
    """watershed: typical diameter of a nucleus."""
    nucleus_diameter_factor: Annotated[float, Field(gt=1)] = 1.6
    """watershed: a field whose median nucleus is so many times larger or smaller is flagged (wrong pixel size?)."""
    min_nucleus_area_um2: Annotated[float, Field(ge=0)] = 15.0
    """watershed: smaller nuclei are debris (a quarter of it where the image cuts them)."""
    min_cell_area_um2: Annotated[float, Field(ge=0)] = 60.0
    """watershed and cellpose: smaller cells are dropped."""
    max_radius_um: Annotated[float, Field(gt=0)] = 30.0
    """watershed: a cell reaches at most this far from its nucleus."""
    beyond_border: bool = True
    """watershed: true: what the border cuts from a cell beyond it is a cell; false: it goes to its neighbours."""
    without_nucleus: bool = True
    """watershed: true: where the signal shows a cell whose nucleus was not found, it is one; false: its neighbours'."""
    one_cells_nuclei_um: Annotated[float, Field(ge=0, le=20)] = 0.0
    """watershed: nuclei no farther apart are one cell's, where no valley of the signal parts them; 0: each its own."""
    cellpose_model: str = "cpsam_v2"
    """cellpose: a model's file, relative to the project, or a name in cellpose's own folder; none is fetched."""
    cellpose_diameter_um: Annotated[float, Field(ge=0)] = 0.0
    """cellpose: typical diameter of a cell; 0: the model sees the field at 0.6 um a pixel and decides."""
    cellpose_nucleus: bool = True
    """cellpose: whether it sees the nucleus channel, where there is one, beside the boundary signal."""
    cellpose_cellprob_threshold: float = 0.0
    """cellpose: lower finds more and larger cells."""
    cellpose_flow_threshold: Annotated[float, Field(ge=0)] = 0.4
    """cellpose: higher keeps more oddly shaped cells; 0 keeps all."""
    path: str = ""
    """rois and labels: each field's file in the project; {plate}, {well}, {row}, {column}, {field} (from 0) given."""

    def of_method(self) -> dict[str, str | float | bool]:
        """The settings that the method looks at, by their names."""
        shared, own = ("boundary", "min_cell_area_um2"), "cellpose_"
        values: dict[str, str | float | bool] = self.model_dump(mode="json")
        if self.method == "watershed":
            return {name: value for name, value in values.items() if name != "path" and not name.startswith(own)}
        if self.method == "cellpose":
            return {name: values[name] for name in values if name in ("method", *shared) or name.startswith(own)}
        return {name: values[name] for name in ("method", "path")}

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
