"""Settings of measure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lysoquant.channels import Channels
from lysoquant.illumination.params import IlluminationParams
from lysoquant.params import Params
from lysoquant.units import MIN_AREA_UM2


class MeasureParams(Params):
    """Measurements of endolysosomes and cells."""

    min_area_um2: Annotated[float, Field(ge=0)] = MIN_AREA_UM2
    """Smaller endolysosomes are not counted (the paper's smallest annotated one)."""
    rim_width_um: Annotated[float, Field(gt=0)] = 0.2
    """Width of the band inside a region's outline that counts as rim; the rest is lumen."""
    store_tables: bool = True
    """Copies of the measurements in the store, beside each field's image, for ngio, Fractal and napari."""


class MeasureSettings(Params):
    """All that measure's result depends on besides images and label images."""

    channels: Channels
    params: MeasureParams
    illumination: IlluminationParams = IlluminationParams()
    on_bad_field: Literal["flag", "fail"] = "flag"
