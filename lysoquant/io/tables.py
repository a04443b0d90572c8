"""Tables on disk: Parquet with a fixed schema.

Written whole or not at all, and equal content gives equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lysoquant.errors import StageError
from lysoquant.record import whole_or_not_at_all

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


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A Parquet file as a frame.

    Parameters
    ----------
    columns : sequence of str, optional
        Only these columns, in this order.

    Raises
    ------
    StageError
        If the file is absent, damaged, or lacks one of the columns.
    """
    table = _read(path)
    if columns is not None:
        missing = [name for name in columns if name not in table.column_names]
        if missing:
            raise StageError(
                f"table {path} has no column {', '.join(missing)}; delete the file and run its stage again"
            )
        table = table.select(list(columns))
    frame: pd.DataFrame = table.to_pandas()
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


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowInvalid) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> StageError:
    reason = " ".join(str(error).split())
    return StageError(f"table {path} can't be read ({reason}); delete it and run its stage again")
