"""What an export reads and where it may write: the rules that all exports share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa

from lysoquant.errors import InputError, StageError
from lysoquant.io.tables import read_parquet, read_schema
from lysoquant.layout import Layout
from lysoquant.record import Json, read_json
from lysoquant.vocabulary import CELLS, ENDOLYSOSOMES

WELLS: Final = "wells"
FIELD_KEY: Final = ("plate", "well", "field")
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    WELLS: ("plate", "well"),
    CELLS: (*FIELD_KEY, "cell"),
    ENDOLYSOSOMES: (*FIELD_KEY, "cell", "label"),
}
"""Columns that tell the rows of a table apart."""

_OF_A_WELL: Final = ("row", "column", "condition", "replicate", "control", "flags", "reason")
"""What `wells` says of a well beside the user's own columns and the numbers."""


def new_folder(folder: Path) -> None:
    """Make the folder of an export.

    Raises
    ------
    InputError
        If there is something in it, or it is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there and not empty; give a new folder")
    folder.mkdir(parents=True, exist_ok=True)


def new_file(path: Path) -> None:
    """Check that a file of an export is not there yet.

    Raises
    ------
    InputError
        If it is.
    """
    if path.exists():
        raise InputError(f"{path} is there; give a new name, or move it away")


def aggregate_record(layout: Layout) -> Json:
    """The record of the tables that are there.

    Raises
    ------
    StageError
        If aggregate has not come to its end.
    """
    record = read_json(layout.project_work_record("aggregate"))
    if record is None:
        raise StageError(f"{layout.project} has no tables yet; run `lysoquant run PROJECT` first")
    return record


def table_files(layout: Layout, level: str) -> list[Path]:
    """Files of a joined table in the order of plates; a table that is one file is a list of one."""
    path = layout.tables / f"{level}.parquet"
    return sorted(path.glob("*.parquet")) if path.is_dir() else [path]


def table_parts(layout: Layout, level: str) -> Iterator[pd.DataFrame]:
    """A joined table plate by plate, so that one plate at a time is in memory.

    Raises
    ------
    StageError
        If a file is damaged.
    """
    for file in table_files(layout, level):
        yield read_parquet(file)


def table_schema(layout: Layout, level: str) -> pa.Schema:
    """Names and types of a joined table's columns.

    Raises
    ------
    StageError
        If it is absent or damaged.
    """
    files = table_files(layout, level)
    if not files:
        raise StageError(f"{layout.tables / level}.parquet is empty; run `lysoquant aggregate {layout.project}` again")
    return read_schema(files[0])


def plate_map(layout: Layout, *, beside: Collection[str]) -> pd.DataFrame:
    """What is known of each well beside its numbers: keys, plate map with the user's own columns, flags, reason.

    Parameters
    ----------
    beside : collection of str
        Columns of the table that it goes with; a column of the plate map that is called like one of them but is no key
        gets ``well_`` in front of its name.
    """
    wells = read_parquet(layout.tables / "wells.parquet")
    texts = [name for name in wells.columns if name not in KEYS[WELLS] and _is_of_the_map(wells, name)]
    frame: pd.DataFrame = wells[[*KEYS[WELLS], *texts]]
    return frame.rename(columns={name: f"well_{name}" for name in texts if name in beside})


def _is_of_the_map(wells: pd.DataFrame, name: str) -> bool:
    return name in _OF_A_WELL or pd.api.types.is_string_dtype(wells[name])


def chosen_plates(known: Sequence[str], plate: str | None, *, one_for: str | None = None) -> list[str]:
    """Plates that a user named; all where none is named.

    Parameters
    ----------
    one_for : str, optional
        What needs one plate, in the words of the command line.

    Raises
    ------
    InputError
        If there is no such plate, or one is needed and it is open which.
    """
    if plate is not None and plate not in known:
        raise InputError(f"--plate {plate!r}: the project's plates are {', '.join(known)}")
    if plate is None and one_for is not None and len(known) > 1:
        raise InputError(f"{one_for} needs --plate: the project's plates are {', '.join(known)}")
    return [plate] if plate is not None else list(known)


def models_of(layout: Layout) -> dict[str, str]:
    """Names of the models that segmented the project's wells, by SHA-256."""
    found: dict[str, str] = {}
    for path in sorted(layout.results.glob("*/records/segment/wells/*.json")):
        record = read_json(path) or {}
        if record.get("model_sha256"):
            found[record["model_sha256"]] = str(record.get("model", {}).get("name", ""))
    return found


def channels_of(layout: Layout) -> set[str]:
    """Labels of the channels of the project's plates."""
    records = [read_json(path) or {} for path in sorted(layout.results.glob("*/records/convert/plate.json"))]
    return {label for record in records for label in record.get("channels", ())}
