"""Tables on disk: Parquet with a fixed schema.

Written whole or not at all, and equal content gives equal bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from lysoquant.errors import StageError
from lysoquant.record import whole_or_not_at_all

if TYPE_CHECKING:  # aggregate makes no frame, and pandas would be a fifth of its start
    import pandas as pd

_ROW_GROUP_ROWS = 262_144
_COMPRESSION = "zstd"


def to_arrow(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """A frame as an Arrow table of exactly that schema, without an index or pandas' own metadata.

    An undefined float stays NaN (it does not become null); None in a text column becomes null.

    Parameters
    ----------
    frame : pandas.DataFrame
        Has the schema's columns, in any order.
    schema : pyarrow.Schema
        Names, order and types of the columns.

    Raises
    ------
    ValueError
        If a column is missing or too many, or a value does not fit its column's type.
    """
    if set(frame.columns) != set(schema.names) or frame.columns.has_duplicates:
        missing = [name for name in schema.names if name not in frame.columns]
        extra = [name for name in frame.columns if name not in schema.names]
        raise ValueError(f"columns do not fit the table's schema: missing {missing}, not expected {extra}")
    columns = []
    for field in schema:
        values = frame[field.name]
        is_float = pa.types.is_floating(field.type)
        try:
            columns.append(
                pa.array(values.to_numpy(dtype=float), type=field.type, from_pandas=False)
                if is_float
                else pa.array(values, type=field.type, from_pandas=True)
            )
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
            raise ValueError(f"column {field.name} does not hold {field.type} values: {error}") from error
    flat = [column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column for column in columns]
    return pa.Table.from_arrays(flat, schema=schema.remove_metadata())


def write_parquet(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> None:
    """Write a frame as Parquet (zstd), whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        The file; its folder is made where it is absent.
    frame : pandas.DataFrame
        Has the schema's columns, in any order; its index is not written.
    schema : pyarrow.Schema
        Names, order and types of the columns, also of an empty table.

    Raises
    ------
    ValueError
        If the frame does not fit the schema.
    """
    table = to_arrow(frame, schema)
    with parquet_writer(path, schema) as writer:
        writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)


@contextmanager
def parquet_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """A Parquet file to which tables are added one after another; it appears when the block ends without an error.

    Examples
    --------
    >>> with parquet_writer(path, schema) as writer:  # doctest: +SKIP
    ...     for frame in frames:
    ...         writer.write_table(to_arrow(frame, schema))
    """
    with (
        whole_or_not_at_all(path) as partial,
        pq.ParquetWriter(partial, schema.remove_metadata(), compression=_COMPRESSION) as writer,
    ):
        yield writer


def write_data_set(folder: Path, files: Mapping[str, Path]) -> None:
    """A folder of Parquet files that pandas, Arrow and others read as one table; whole or not at all.

    The folder is made beside the one that is there and takes its place. A kill in between leaves the old one, the new
    one, or for a moment none: never files of both.

    Parameters
    ----------
    folder : pathlib.Path
        Such as ``tables/cells.parquet``; a file of that name is replaced too.
    files : mapping of str to pathlib.Path
        Files on the same file system by their names in the folder. They share one schema; rows come in the order of
        the names. They are linked, not copied, where the file system can.
    """
    fresh, old = (folder.with_name(f".{folder.name}.{word}") for word in ("part", "old"))
    for left_over in (fresh, old):
        _remove(left_over)
    if _holds(folder, files):
        return
    fresh.mkdir(parents=True)
    for name, path in files.items():
        try:
            (fresh / name).hardlink_to(path)
        except OSError:
            shutil.copyfile(path, fresh / name)
    if folder.exists():
        folder.replace(old)
    fresh.replace(folder)
    _remove(old)


def _holds(folder: Path, files: Mapping[str, Path]) -> bool:
    """Whether a folder's files are these very files and no others."""
    if not folder.is_dir() or {path.name for path in folder.iterdir()} != set(files):
        return False
    return all((folder / name).samefile(path) for name, path in files.items())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A Parquet file, or a folder of them, as a frame.

    Parameters
    ----------
    columns : sequence of str, optional
        Only these columns, in this order.

    Raises
    ------
    StageError
        If the file is absent, damaged, or lacks one of the columns.
    """
    try:
        # Without `partitioning` a folder such as "a=b" above the file would become a column.
        table = pq.ParquetDataset(path, partitioning=None)
        missing = [name for name in columns or () if name not in table.schema.names]
        if missing:
            raise StageError(
                f"table {path} has no column {', '.join(missing)}; delete the file and run its stage again"
            )
        frame: pd.DataFrame = table.read(columns=None if columns is None else list(columns)).to_pandas()
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error
    return frame


def read_schema(path: Path) -> pa.Schema:
    """Names and types of a Parquet file's columns, from its footer alone.

    Raises
    ------
    StageError
        If the file is absent or damaged.
    """
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> StageError:
    reason = " ".join(str(error).split())
    return StageError(f"table {path} can't be read ({reason}); delete it and run its stage again")
