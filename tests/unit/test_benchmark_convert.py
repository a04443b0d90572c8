"""The speed benchmark's part on convert in small: every way does its work, files and bytes are counted exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from lysoquant.benchmark.speed.codecs import CHOICES, Choice, codecs
from lysoquant.benchmark.speed.convert import cost_of, memory, speeds
from lysoquant.benchmark.speed.plate_ways import CHANNELS, Job, ways, write_raw
from lysoquant.io.raw import read_plane

SIZE_PX = 96
WELLS, FIELDS = 2, 2
LEVELS = 3


def make_fields() -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(90, 900, (3, SIZE_PX, SIZE_PX)).astype(np.uint16) for seed in (0, 1)]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    write_raw(tmp_path, make_fields(), wells=WELLS, fields_a_well=FIELDS)
    return Job(tmp_path, threads=2)


def test_no_two_fields_of_the_plate_are_equal(job: Job) -> None:
    fields = [field for fields in job.described().wells.values() for field in fields]
    planes = [read_plane(next(iter(field.planes["LAMP1"].values()))) for field in fields]
    assert len({plane.tobytes() for plane in planes}) == WELLS * FIELDS


@pytest.mark.parametrize(
    ("way", "groups"),
    [
        ("reading alone", None),
        ("reading, levels, compressing", None),
        ("the same, digests and quality", None),
        # plate, row, wells; ome-zarr-py writes none for a row
        ("lysoquant convert", 1 + 1 + WELLS),
        ("ome-zarr-py", 1 + WELLS),
    ],
)
def test_each_way_writes_a_file_a_plane_and_level_or_none(job: Job, way: str, groups: int | None) -> None:
    name = next(name for name in ways() if name.startswith(way))
    cost = cost_of(name, [job])
    a_field = LEVELS * len(CHANNELS) + LEVELS + 1
    assert cost.files == (0 if groups is None else WELLS * FIELDS * a_field + groups)
    assert (cost.stored_bytes > 0) == (groups is not None)
    assert cost.peak_mib >= cost.start_mib > 0


def test_both_writers_store_the_same_pixels_in_the_same_chunks(job: Job) -> None:
    names = list(ways())
    found = []
    for name in (names[3], names[4]):
        cost_of(name, [job])
        arrays = [zarr.open_array(job.store / "B" / "01" / "1" / level, mode="r") for level in _levels(job)]
        found.append([(array.chunks, array.shards, array.metadata.codecs, array[0]) for array in arrays])
    for ours, theirs in zip(*found, strict=True):
        assert ours[:3] == theirs[:3]
        # Means are rounded half up by us; ome-zarr-py cuts them off, at each of two levels.
        np.testing.assert_allclose(ours[3].astype(int), theirs[3].astype(int), atol=2)
    np.testing.assert_array_equal(found[0][0][3], found[1][0][3])


def _levels(job: Job) -> list[str]:
    return sorted(path.name for path in (job.store / "B" / "01" / "1").iterdir() if path.is_dir())


def test_tables_of_a_small_plate(tmp_path: Path) -> None:
    table = speeds(make_fields(), tmp_path / "speed", wells=1, threads=1, repeats=1)
    assert table.title == "1 wells × 4 fields × 3 channels of 96², 0 MB, threads 1"
    rows = {str(row["way"]): row for row in table.rows}
    assert rows["reading, levels, compressing"]["of reading, levels, compressing"] == 1.0
    assert 0 < float(rows["lysoquant convert"]["of reading, levels, compressing"]) < 1
    assert sum(row["times ome-zarr-py"] == 1.0 for row in table.rows) == 1
    (held,) = memory(make_fields(), tmp_path / "memory", wells=(1,), threads=(2,)).rows
    assert (held["wells"], held["fields"], held["threads"]) == (1, 4, 2)
    assert float(held["peak MiB"]) > float(held["above the start"]) >= 0


def test_compressors_are_held_against_each_other_on_equal_chunks() -> None:
    plane = np.random.default_rng(0).integers(256, 512, (640, 700)).astype(np.uint16)
    chosen, zstd = codecs([plane], repeats=1, choices=(Choice(), Choice(level=3, shuffle="", block_kib=0))).rows
    assert (chosen["shuffled"], chosen["block"], chosen["chunk"]) == ("bits", "512 KiB", "512²")
    assert zstd["compressor"] == "zstd, no Blosc"
    # Eight bits of sixteen are noise.
    assert 1.9 < float(chosen["raw bytes a stored byte"]) < 2.1
    assert float(zstd["raw bytes a stored byte"]) < float(chosen["raw bytes a stored byte"])
    assert all(float(row[name]) > 0 for row in (chosen, zstd) for name in ("written MB/s", "read MB/s"))
    assert Choice() in CHOICES
