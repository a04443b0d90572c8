"""Settings of convert."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lysoquant.params import Params
from lysoquant.vocabulary import NgffVersion, RawFormat


class ConvertParams(Params):
    """From raw images to one OME-Zarr store a plate."""

    ngff_version: NgffVersion = "0.5"
    """OME-Zarr version: "0.5" (Zarr v3, one shard a plane) or "0.4" (Zarr v2, for OMERO)."""
    pyramid_levels: Annotated[int, Field(ge=1, le=8)] = 3
    """Resolution levels of every image and label image, each half the one before."""
    chunk_px: Annotated[int, Field(ge=64, le=4096)] = 512
    """Edge of a chunk in pixels; a shard always holds one whole plane."""
    in_place: bool = True
    """OME-Zarr plates: the store refers to images that fit where they lie (links), and copies only the others."""
    z: Literal["projection", "max", "sharpest", "each"] | Annotated[int, Field(ge=1)] = "projection"
    """Z planes: projection (the instrument's own), a plane number counted from 1, max (maximum projection), sharpest
    (the plane of a field that is sharpest in the lysosome channel, for all channels), each (every plane a field).
    A channel with one plane gives that; a stack without the plane asked for is an error that lists the choices."""
    timepoint: Literal["each"] | Annotated[int, Field(ge=1)] = 1
    """Time point, counted from 1, or each (every time point a field)."""


class PlateSource(Params):
    """Where a raw plate lies and how it is read: one row of `plates.tsv`."""

    plate: str
    """Plate name: letters, digits, dot, dash and underscore."""
    path: str
    """The raw plate's folder (or one image file), absolute or relative to the project."""
    format: RawFormat
    """imagexpress: MetaXpress export or database folder; harmony: Opera Phenix, Operetta; cellvoyager: Yokogawa CV7000,
    CV8000; leica, zeiss, nikon: LIF, CZI, ND2 files; ome-zarr: an OME-Zarr plate; ome-tiff: OME-TIFF whose XML has
    wells; tiff: by `pattern`."""
    pattern: str | None = None
    """tiff, leica, zeiss, nikon: regular expression on file names with groups well (or row and
    column), field, channel, z, time."""
    pixel_size_um: Annotated[float, Field(gt=0)] | None = None
    """Pixel size; empty: as the images' own metadata say."""
    channel_names: str | None = None
    """tiff, leica, zeiss, nikon: channel labels separated by ";" in the order of the files' channel axis;
    empty: as the files say."""


class ConvertSettings(Params):
    """All that convert's result depends on besides the raw files."""

    source: PlateSource
    params: ConvertParams
    on_bad_field: Literal["flag", "fail"] = "flag"
    lysosome: str | None = None
    """Channel by which the sharpest plane is chosen; None where none is."""

    @model_validator(mode="after")
    def _sharpest_needs_a_channel(self) -> ConvertSettings:
        if self.params.z == "sharpest" and self.lysosome is None:
            raise ValueError("convert.z 'sharpest' needs the lysosome channel")
        return self
