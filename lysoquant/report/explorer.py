"""What the interactive parts of the page know: tables in, values for its data blocks out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from lysoquant.report import blocks, heatmap, measures
from lysoquant.report.content import NO_CONDITION, Tables, condition_order, well_status
from lysoquant.report.picture import GAMMA
from lysoquant.report.screen import hit_words, is_hit
from lysoquant.report.wording import flag_words
from lysoquant.vocabulary import OK

Json = dict[str, Any]

REQUIRED: Final = 5
"""Columns that a list of cells has at least: occupancy, endolysosomes, loaded, empty, area."""

_SHARE_OF_CELLS: Final = 0.2
"""Largest part of the page that the cells' numbers get."""


@dataclass(frozen=True)
class Pictured:
    """What the page says of the pictures of its fields.

    Attributes
    ----------
    contrasts : mapping of str to tuple
        Grey values that are black and white in the pictures of a plate: of lysosome, of cargo.
    note : str
        Why they are smaller or fewer than they could be; empty where nothing is left out.
    """

    contrasts: Mapping[str, tuple[tuple[float, float], tuple[float, float]]]
    note: str = ""


def page_data(
    tables: Tables,
    *,
    sizes: Mapping[str, tuple[int, int]],
    means: pd.DataFrame,
    cell_columns: Sequence[str],
    pictured: Pictured,
    cargo: str,
    lysosome: str,
) -> Json:
    """The block that is read when the page opens: every well with every number, and what there is besides.

    Parameters
    ----------
    tables : Tables
        The project's tables.
    sizes : mapping of str to tuple of int
        Rows and columns of each plate.
    means : pandas.DataFrame
        Means over the cells of each well.
    cell_columns : sequence of str
        Measurements of cells that the page holds; may be none.
    pictured : Pictured
        What is said of the pictures.
    cargo, lysosome : str
        Channels in the pictures.
    """
    wells = tables.wells
    plates = sorted(str(plate) for plate in wells["plate"].unique())
    found = measures.well_measures(wells, means)
    rows = wells.to_dict("records")
    return {
        "plates": [{"name": name, "rows": sizes[name][0], "columns": sizes[name][1]} for name in plates],
        "wells": {
            "plate": [plates.index(str(row["plate"])) for row in rows],
            "well": [str(row["well"]) for row in rows],
            "condition": [str(row["condition"]) for row in rows],
            "control": [str(row["control"]) for row in rows],
            "replicate": [str(row["replicate"]) for row in rows],
            "status": [well_status(row) for row in rows],
            "flags": [flag_words(str(row["flags"])) for row in rows],
            "reason": [str(row.get("reason", "")) for row in rows],
            "excluded": [str(row.get("excluded") or "") for row in rows],
        },
        "hits": _hits(tables),
        "measures": [vars(measure) for measure, _ in found],
        "values": [values for _, values in found],
        "fields": _fields(tables),
        "conditions": [name or NO_CONDITION for name in condition_order(wells)],
        "cells": [_cell_measure(name) for name in cell_columns],
        "cargo": cargo,
        "lysosome": lysosome,
        "contrasts": [pictured.contrasts.get(name) for name in plates],
        "gamma": GAMMA,
        "note": pictured.note,
        "palettes": {"viridis": heatmap.VIRIDIS, "cividis": heatmap.CIVIDIS, "diverging": heatmap.DIVERGING},
    }


def _hits(tables: Tables) -> list[Json]:
    """Rows of the hit list that have wells: what is said of each, and the numbers of its wells in the well table."""
    wells = tables.wells
    number = {key: index for index, key in enumerate(wells["plate"].astype(str) + ":" + wells["well"].astype(str))}
    return [
        {
            "said": hit_words(row),
            "reason": str(row.get("reason") or ""),
            "direction": str(row.get("direction")) if is_hit(row) else "",
            "wells": [number[key] for key in str(row["wells"] or "").split() if key in number],
        }
        for row in (tables.hits.to_dict("records") if "wells" in tables.hits else [])
    ]


def _cell_measure(name: str) -> Json:
    return {"key": name, "title": measures.title(name), "kind": measures.kind(name, ())}


def _fields(tables: Tables) -> Json:
    """Fields that did not pass, by well: ``plate:well`` to triples of number, status and reason."""
    found: Json = {}
    bad = tables.fields[tables.fields["status"] != OK]
    for row in bad.to_dict("records"):
        found.setdefault(f"{row['plate']}:{row['well']}", []).append(
            [int(row["field"]), str(row["status"]), str(row["reason"])]
        )
    return found


def columns_of_cells(columns: Sequence[str], *, n_cells: int, max_mb: float) -> list[str]:
    """Measurements of cells for which the page has room; see :func:`lysoquant.report.blocks.fitting_columns`."""
    room = max_mb * 1e6 * _SHARE_OF_CELLS
    return blocks.fitting_columns(columns, required=REQUIRED, n_rows=n_cells, room=room)


def cell_data(cells: pd.DataFrame, columns: Sequence[str]) -> Json:
    """The block of a plate's cells.

    Parameters
    ----------
    cells : pandas.DataFrame
        The plate's cells, well after well.
    columns : sequence of str
        Measurements to hold.

    Returns
    -------
    dict
        ``wells``: first row and row after the last of each well; ``field``, ``cell`` and each of ``columns`` as
        :func:`lysoquant.report.blocks.coded` gives them.
    """
    names = cells["well"].astype(str).to_numpy()
    starts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)] if len(names) else [0]
    wells = {str(names[start]): [start, stop] for start, stop in pairwise(starts)}
    numbers = {name: cells[name].to_numpy(dtype=np.float64) for name in ("field", "cell", *columns)}
    return {
        "wells": wells,
        "field": blocks.coded(numbers["field"]),
        "cell": blocks.coded(numbers["cell"]),
        "columns": [blocks.coded(numbers[name]) for name in columns],
    }
