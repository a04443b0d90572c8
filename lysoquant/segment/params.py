"""Settings of segment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lysoquant.channels import Channels
from lysoquant.params import Params


class SegmentParams(Params):
    """From cells to classified endolysosomes."""

    model: str = "default"
    """"default" for the shipped model, or the path of a .safetensors file, relative to the project."""
    normalization: Literal["model", "cell", "joint"] = "model"
    """model: as the model was trained; cell: each cell and channel, robust; joint: one minimum and maximum (plugin)."""
    tile_px: Annotated[int, Field(ge=128, le=4096, multiple_of=64)] = 1024
    """Edge of a network tile in model pixels (0.025 um); of what it answers for, if its convolutions are valid."""
    overlap_px: Annotated[int, Field(ge=0, le=1024)] = 64
    """Margin of a tile on each side whose prediction is thrown away."""
    batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """Tiles in one call of a GPU's network, from many cells, fields and wells; auto: as many as its memory holds."""
    gpu_path: Literal["fast", "plain"] = "fast"
    """fast: on a GPU, cells are prepared and cut there and calls replayed; plain: only the network is (for trouble)."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Arithmetic of the network; auto: bf16 where the device has it."""
    foreground_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """A pixel belongs to an endolysosome where empty and loaded together are more probable than this."""
    split_depth_um: Annotated[float, Field(gt=0)] = 0.05
    """Touching endolysosomes are split where the neck between them is this much narrower than both."""
    min_object_area_um2: Annotated[float, Field(ge=0)] = 0.03
    """Smaller specks are not objects at all; the reported minimum is `measure.min_area_um2`."""
    allow_untested_pixel_size: bool = False
    """Segment also fields whose pixel size lies outside twice the tested range."""


class SegmentSettings(Params):
    """All that segment's result depends on besides images, cells and the model."""

    channels: Channels
    params: SegmentParams
    on_bad_field: Literal["flag", "fail"] = "flag"
