"""Tables on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lysoquant.errors import StageError
from lysoquant.io.tables import parquet_writer, read_parquet, read_schema, to_arrow, write_parquet

SCHEMA = pa.schema([("well", pa.string()), ("n", pa.int64()), ("share", pa.float64()), ("good", pa.bool_())])


def frame() -> pd.DataFrame:
    return pd.DataFrame({"share": [0.5, np.nan], "n": [1, 2], "good": [True, False], "well": ["A01", "B02"]})


def test_a_table_comes_back_with_the_schemas_columns_and_nan_stays_nan(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.parquet"
    write_parquet(path, frame(), SCHEMA)
    back = read_parquet(path)
    assert list(back.columns) == ["well", "n", "share", "good"]
    assert back["well"].tolist() == ["A01", "B02"]
    assert back["n"].dtype == np.int64
    assert back["good"].dtype == np.bool_
    raw = pq.read_table(path)
    assert raw.schema.equals(SCHEMA, check_metadata=True)
    assert raw["share"].null_count == 0
    assert np.isnan(raw["share"].to_pylist()[1])
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_an_empty_table_keeps_its_types(tmp_path: Path) -> None:
    write_parquet(tmp_path / "t.parquet", pd.DataFrame({name: [] for name in SCHEMA.names}), SCHEMA)
    assert read_schema(tmp_path / "t.parquet").equals(SCHEMA)
    assert len(read_parquet(tmp_path / "t.parquet")) == 0


def test_equal_content_gives_equal_bytes_whatever_the_frames_index_and_dtypes(tmp_path: Path) -> None:
    other = frame().astype({"well": object, "n": np.int32}).set_index(pd.Index([7, 9], name="key"))
    write_parquet(tmp_path / "a.parquet", frame(), SCHEMA)
    write_parquet(tmp_path / "b.parquet", other, SCHEMA.with_metadata({"made": "elsewhere"}))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_frame_that_does_not_fit_is_refused_by_name_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_parquet(path, frame(), SCHEMA)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"missing \['n'\], not expected \['m'\]"):
        write_parquet(path, frame().rename(columns={"n": "m"}), SCHEMA)
    with pytest.raises(ValueError, match="column n does not hold int64"):
        write_parquet(path, frame().assign(n=["x", "y"]), SCHEMA)
    with pytest.raises(ValueError, match="column share does not hold double"):
        write_parquet(path, frame().assign(share=["x", "y"]), SCHEMA)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]


def test_a_streamed_table_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    with parquet_writer(path, SCHEMA) as writer:
        writer.write_table(to_arrow(frame(), SCHEMA))
        assert not path.exists()
        writer.write_table(to_arrow(frame(), SCHEMA))
    assert read_parquet(path, columns=["n"])["n"].tolist() == [1, 2, 1, 2]

    def broken() -> None:
        with parquet_writer(path, SCHEMA) as writer:
            writer.write_table(to_arrow(frame(), SCHEMA))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert len(read_parquet(path)) == 4
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]


def test_a_table_that_cannot_be_read_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    for read in (read_parquet, read_schema):
        with pytest.raises(StageError, match="run its stage again"):
            read(path)
    path.write_bytes(b"PAR1 not really")
    for read in (read_parquet, read_schema):
        with pytest.raises(StageError, match=r"t\.parquet can't be read"):
            read(path)
    write_parquet(path, frame(), SCHEMA)
    with pytest.raises(StageError, match="no column m, o;"):
        read_parquet(path, columns=["n", "m", "o"])
