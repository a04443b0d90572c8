"""Tables of a field beside its image, in the form that ngio and Fractal read (table specification V1, Parquet).

They are copies for viewers and for work on the store alone: no stage reads them. The plate, well and field of a row are
the field's place in the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from lysoquant.io.store import FieldStore
from lysoquant.io.tables import write_parquet
from lysoquant.vocabulary import CELLS, ENDOLYSOSOMES

FIELD_ROIS: Final = "FOV_ROI_table"
CELL_ROIS: Final = "cells_ROI_table"
FIELD_TABLES: Final = (FIELD_ROIS, CELL_ROIS, CELLS, ENDOLYSOSOMES)
"""Names of a field's tables: its own extent, the cells' bounding boxes, measurements of cells and of endolysosomes."""

_FILE: Final = "table.parquet"

_BOX: Final = [(f"{length}{axis}_micrometer", pa.float64()) for length in ("", "len_") for axis in "xyz"]
"""Columns of a region of interest: x, y, z, then its lengths."""


def write_field_tables(
    field: FieldStore,
    *,
    size_px: tuple[int, int],
    pixel_size_um: float,
    cell_boxes_px: NDArray[np.int64],
    cells: Mapping[str, Any],
    endolysosomes: Mapping[str, Any],
    schemas: Mapping[str, pa.Schema],
) -> list[Path]:
    """Write the four tables of a field.

    Parameters
    ----------
    field : FieldStore
        An image with its label images.
    size_px : tuple of int
        (Y, X) of the image.
    pixel_size_um : float
        Edge of a pixel.
    cell_boxes_px : ndarray (N, 4), int64
        Top, left, bottom, right of each of the N cells, the last two exclusive.
    cells, endolysosomes : mapping of str to array
        Columns by name: those of the contract from `cell` on.
    schemas : mapping of str to pyarrow.Schema
        Of both, by name of the table; columns that are not given are left out.

    Returns
    -------
    list of pathlib.Path
        The files.
    """
    extent = np.array([[0, 0, *size_px]])
    numbers = {"label": np.asarray(cells["cell"])}
    frames = {
        FIELD_ROIS: (_boxes({"FieldIndex": ["FOV_1"]}, extent, pixel_size_um), [("FieldIndex", pa.string()), *_BOX]),
        CELL_ROIS: (_boxes(numbers, cell_boxes_px, pixel_size_um), [("label", pa.int64()), *_BOX]),
        CELLS: _features(numbers | {key: values for key, values in cells.items() if key != "cell"}, schemas[CELLS]),
        ENDOLYSOSOMES: _features(endolysosomes, schemas[ENDOLYSOSOMES]),
    }
    attributes = {
        FIELD_ROIS: _attributes("roi_table", "FieldIndex", "str"),
        CELL_ROIS: _attributes("masking_roi_table", "label", "int", of=CELLS),
        CELLS: _attributes("feature_table", "label", "int", of=CELLS),
        ENDOLYSOSOMES: _attributes("feature_table", "label", "int", of=ENDOLYSOSOMES),
    }
    paths = []
    for name, (columns, types) in frames.items():
        folder = field.write_table_group(name, attributes[name])
        write_parquet(folder / _FILE, pd.DataFrame(dict(columns)), pa.schema(types))
        paths.append(folder / _FILE)
    field.list_tables(FIELD_TABLES)
    return paths


def _boxes(index: Mapping[str, Any], boxes_px: NDArray[np.int64], pixel_size_um: float) -> dict[str, Any]:
    """ngio's coordinates: a box begins at its first pixel's number times the pixel size. Z is one plane of 1 um."""
    top, left, bottom, right = boxes_px.T.astype(np.float64) * pixel_size_um
    flat = np.zeros(len(boxes_px))
    values = (left, top, flat, right - left, bottom - top, flat + 1)
    return {**index, **dict(zip((name for name, _ in _BOX), values, strict=True))}


def _features(columns: Mapping[str, Any], schema: pa.Schema) -> tuple[dict[str, Any], Sequence[tuple[str, Any]]]:
    """Columns that the table has, with their types; the label comes first."""
    types = {column.name: column.type for column in schema}
    names = ["label", *(name for name in schema.names if name in columns and name != "label")]
    ordered = [(name, types.get(name, pa.int64())) for name in names]
    return {name: columns[name] for name in names}, ordered


def _attributes(kind: str, index: str, index_type: str, *, of: str | None = None) -> dict[str, Any]:
    region = {} if of is None else {"region": {"path": f"../labels/{of}"}, "instance_key": index}
    table = {"type": kind, "table_version": "1", "fractal_table_version": "1"}
    return {**table, "backend": "parquet", "index_key": index, "index_type": index_type, **region}
