"""A joined table as AnnData (``.h5ad``), for scanpy, squidpy and their kin."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from lysoquant.errors import InputError
from lysoquant.export.names import measurement
from lysoquant.export.source import (
    KEYS,
    WELLS,
    aggregate_record,
    channels_of,
    models_of,
    new_file,
    plate_map,
    table_parts,
)
from lysoquant.layout import Layout
from lysoquant.progress import Progress
from lysoquant.record import Json, canonical_json, digest_json, whole_or_not_at_all

_POSITION: Final = ("centroid_x_um", "centroid_y_um")


def require_anndata() -> None:
    """Say so before any work where anndata is missing.

    Raises
    ------
    InputError
        If it is.
    """
    if importlib.util.find_spec("anndata") is None:
        raise InputError("AnnData needs the package anndata, which is not installed; pip install 'lysoquant[anndata]'")


def export_anndata(layout: Layout, output: Path, *, level: str, config: Json) -> tuple[int, int]:
    """Write a joined table as AnnData.

    Parameters
    ----------
    layout : Layout
        Paths of the project.
    output : pathlib.Path
        The file; it must not be there yet.
    level : {"cells", "wells", "endolysosomes"}
        What an observation is.
    config : dict
        The project's settings.

    Returns
    -------
    tuple of int
        Observations and variables.

    Raises
    ------
    InputError
        If anndata is not installed or the file is there.
    StageError
        If the tables are not there or damaged.
    """
    require_anndata()
    from anndata import AnnData

    record = aggregate_record(layout)
    new_file(output)
    table = pd.concat(list(table_parts(layout, level)), ignore_index=True)
    names = [name for name in table.columns if pd.api.types.is_float_dtype(table[name])]
    known = table.drop(columns=names)
    if level != WELLS:
        known = known.merge(plate_map(layout, beside=known.columns), on=list(KEYS[WELLS]), how="left", validate="m:1")
    found = [measurement(name) for name in names]
    channels = channels_of(layout)
    uns = {
        "level": level,
        "lysoquant": record["versions"]["lysoquant"],
        "versions": record["versions"],
        "models": models_of(layout),
        "settings": canonical_json(config),
        "settings_digest": digest_json(config),
        "tables_digest": record["digest"],
    }
    data = AnnData(
        X=table[names].to_numpy(np.float64),
        obs=_old_strings(known, _index(known, level)),
        var=_old_strings(
            pd.DataFrame(
                {
                    "unit": [part.unit for part in found],
                    "channel": [part.of if part.of in channels else "" for part in found],
                }
            ),
            names,
        ),
        uns=uns,
    )
    if all(name in table for name in _POSITION):
        data.obsm["spatial"] = table[list(_POSITION)].to_numpy(np.float64)
    with Progress("export anndata", total=1) as progress, whole_or_not_at_all(output) as partial:
        data.write_h5ad(partial, compression="gzip")
        progress.advance(note=f"{len(table)} {level}")
    return len(table), len(names)


def _index(known: pd.DataFrame, level: str) -> list[str]:
    keys = [known[key].astype(str) for key in KEYS[level]]
    return ["_".join(parts) for parts in zip(*keys, strict=True)]


def _old_strings(frame: pd.DataFrame, index: list[str]) -> pd.DataFrame:
    """The frame with texts as objects and categories: anndata below 0.13 can't write those of pandas 3."""
    columns: dict[str, Any] = {}
    for column, values in frame.items():
        # A slash would make a group in the file, and anndata keeps _index for itself.
        name = str(column).replace("/", "|").lstrip("_") or "unnamed"
        if pd.api.types.is_string_dtype(values):
            codes, categories = pd.factorize(values.fillna("").to_numpy(object), sort=True)
            columns[name] = pd.Categorical.from_codes(codes, pd.Index(categories, dtype=object))
        else:
            columns[name] = values.to_numpy()
    return pd.DataFrame(columns, index=pd.Index(np.array(index, object), dtype=object))
