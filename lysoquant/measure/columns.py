"""Columns of the part tables: names, order and types, as the public contract says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

SHAPES: Final = (
    "area_um2",
    "perimeter_um",
    "circularity",
    "solidity",
    "eccentricity",
    "feret_um",
    "min_feret_um",
    "centroid_y_um",
    "centroid_x_um",
)
DISTANCES: Final = ("distance_to_nucleus_um", "distance_to_cell_border_um")
INTENSITIES: Final = ("intensity_mean", "rim_mean", "lumen_mean")
QUALITIES: Final = ("focus_score", "signal_to_background", "detail_fraction")
CARGO_AREA: Final = "cargo_area_fraction"
FURTHER: Final = ("aspect_ratio", "roundness", "nearest_neighbour_um", "perinuclear_index")
"""Measurements beyond the contract's; they follow its columns."""

_STRING, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_FIELD_KEY: Final = [("plate", _STRING), ("well", _STRING), ("field", _INT)]


def channel_qualities(channels: Sequence[str]) -> list[str]:
    """Columns of `fields.parquet` that convert's report of a field has, by channel."""
    return [f"{kind}_{channel}" for channel in channels for kind in QUALITIES]


def region_measurements(channels: Sequence[str], other_cargoes: Sequence[str] = ()) -> list[str]:
    """Columns of `endolysosomes.parquet` that hold a measurement; each has its mean in `cells.parquet`."""
    intensities = [f"{kind}_{channel}" for channel in channels for kind in INTENSITIES]
    others = [f"{name}_{cargo}" for cargo in other_cargoes for name in ("p_loaded", CARGO_AREA)]
    return ["p_loaded", *SHAPES, *DISTANCES, *intensities, CARGO_AREA, *FURTHER, *others]


def endolysosomes_schema(channels: Sequence[str], other_cargoes: Sequence[str] = ()) -> pa.Schema:
    """Schema of `endolysosomes.parquet` for a plate with these channel labels; what other cargoes say comes last."""
    keys = [*_FIELD_KEY, ("cell", _INT), ("label", _INT), ("is_loaded", _BOOL)]
    own = [(name, _FLOAT) for name in region_measurements(channels)]
    others = [
        (f"{name}_{cargo}", kind)
        for cargo in other_cargoes
        for name, kind in (("is_loaded", _BOOL), ("p_loaded", _FLOAT), (CARGO_AREA, _FLOAT))
    ]
    return pa.schema([*keys, *own, *others])


def cells_schema(channels: Sequence[str], other_cargoes: Sequence[str] = ()) -> pa.Schema:
    """Schema of a well's `cells.parquet`: the contract's columns without `is_expressing`, which aggregate adds.

    What other cargoes say comes last.
    """
    own = [("area_um2", _FLOAT), ("centroid_y_um", _FLOAT), ("centroid_x_um", _FLOAT), ("touches_border", _BOOL)]
    intensities = [(f"intensity_mean_{channel}", _FLOAT) for channel in channels]
    counts = [("n_endolysosomes", _INT), ("n_empty", _INT), ("n_loaded", _INT), ("occupancy", _FLOAT)]
    means = [(f"mean_{name}", _FLOAT) for name in region_measurements(channels)]
    others: list[tuple[str, pa.DataType]] = []
    for cargo in other_cargoes:
        others += [(f"n_loaded_{cargo}", _INT), (f"occupancy_{cargo}", _FLOAT)]
        others += [(f"mean_{name}_{cargo}", _FLOAT) for name in ("p_loaded", CARGO_AREA)]
    return pa.schema([*_FIELD_KEY, ("cell", _INT), *own, *intensities, *counts, *means, *others])


def fields_schema(channels: Sequence[str]) -> pa.Schema:
    """Schema of `fields.parquet`: the contract's columns, then what convert says of each channel."""
    quality = [("status", _STRING), ("reason", _STRING), ("focus_score", _FLOAT), ("saturated_fraction", _FLOAT)]
    own = [(name, _FLOAT) for name in channel_qualities(channels)]
    return pa.schema([*_FIELD_KEY, *quality, ("n_cells", _INT), ("n_endolysosomes", _INT), *own])


def segment_schema(other_cargoes: Sequence[str] = ()) -> pa.Schema:
    """Schema of the table of objects that segment leaves for each well."""
    own = [("p_loaded", _FLOAT), ("is_loaded", _BOOL)]
    others = [(f"{name}_{cargo}", kind) for cargo in other_cargoes for name, kind in own]
    return pa.schema([("field", _INT), ("cell", _INT), ("label", _INT), *own, *others])
