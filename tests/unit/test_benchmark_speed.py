"""The speed benchmark in small: its tables are whole, its counts exact, its page is filled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lysoquant.benchmark.page import fill_page
from lysoquant.benchmark.speed.arithmetic import arithmetic
from lysoquant.benchmark.speed.density import by_density, thinned
from lysoquant.benchmark.speed.inference import image_by_image
from lysoquant.benchmark.speed.parts import PARTS, choose_parts
from lysoquant.benchmark.speed.table import Table, markdown, write_tables
from lysoquant.cli.main import invoke
from lysoquant.errors import InputError

CPU = torch.device("cpu")


def test_parts_are_modules_with_the_door() -> None:
    assert list(choose_parts(())) == list(PARTS)
    assert all(callable(part.measure) for part in choose_parts(PARTS).values())
    with pytest.raises(InputError, match="--part is 'sorting'; expected inference"):
        choose_parts(("sorting",))


def test_an_unknown_part_ends_with_status_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert invoke(["benchmark", "speed", "--output", str(tmp_path), "--part", "sorting"]) == 2
    assert "--part is 'sorting'" in capsys.readouterr().err


def test_the_network_stays_below_the_peak_of_its_own_convolutions() -> None:
    (row,) = arithmetic(CPU, ["fp32"], repeats=1, tiles_px=(128,))
    assert (row["precision"], row["tile"]) == ("fp32", "128²")
    assert 0 < float(row["ours GFLOP/s"]) < float(row["peak GFLOP/s"])
    assert row["ours of peak"] == float(row["ours GFLOP/s"]) / float(row["peak GFLOP/s"])


def test_threads_work_side_by_side_and_their_speeds_add_up() -> None:
    rows = list(arithmetic(CPU, ["fp32"], repeats=1, threads=(1, 2), tiles_px=(128,)))
    assert [row["threads"] for row in rows] == [1, 2]
    before, together = (float(row["ours GFLOP/s"]) for row in rows)
    assert together > before / 2  # two halves of one core are as fast as one, and noise


def test_pixels_and_tiles_of_a_small_field_are_counted_exactly() -> None:
    """Cells of 30 x 40 and 20 x 20 px of 0.1 um are 120 x 160 and 80 x 80 px for the network: 128 x 192, 128 x 128."""
    image = np.random.default_rng(0).integers(100, 2000, (3, 64, 64)).astype(np.uint16)
    cells = np.zeros((64, 64), np.int32)
    cells[2:32, 3:43], cells[40:60, 40:60] = 1, 2
    table, agreement = image_by_image([(image, cells, 0.1)], CPU, ["fp32"], repeats=1)
    whole, network, objects = table.rows
    assert "2 cells of 1 simulated fields of 64 × 64 pixels of 0.1 µm" in table.title
    assert (whole["tiles"], whole["megapixels run"]) == (1, 256 * 256 / 1e6)
    for row in (network, objects):
        assert (row["tiles"], row["megapixels run"]) == (2, (128 * 192 + 128 * 128) / 1e6)
    assert agreement.rows[0]["least of a cell"] == "1.00000"
    assert float(agreement.rows[0]["largest difference of a probability"]) < 1e-4


def test_cells_are_taken_out_until_they_cover_no_more_than_a_share() -> None:
    """Four cells of 16 of 256 pixels each; one stays in any case."""
    cells = np.zeros((16, 16), np.int32)
    cells[[1, 5, 9, 13]] = np.array([[1], [2], [3], [5]])
    for share, most in ((0.07, 1), (0.13, 2), (0.25, 4), (0.001, 1)):
        left = np.unique(thinned(cells, share))
        assert len(left) - 1 == most
    np.testing.assert_array_equal(thinned(cells, 1.0), cells)


def test_fewer_cells_take_fewer_pixels_and_whole_fields_as_many_as_ever() -> None:
    image = np.random.default_rng(0).integers(100, 2000, (3, 64, 64)).astype(np.uint16)
    cells = np.zeros((64, 64), np.int32)
    cells[2:32, 3:43], cells[40:60, 40:60] = 1, 2
    rows = by_density([(image, cells, 0.1)], CPU, "fp32", repeats=1, shares=(0.1, 1.0)).rows
    whole, valid, few, few_objects, all_, all_objects = rows
    assert whole["megapixels run"] == 256 * 256 / 1e6
    assert valid["megapixels run"] == 1020**2 / 1e6  # 256 + 760, up to 60 more than a multiple of 64
    assert [(row["cells"], row["of the field"]) for row in (few, all_)] == [(1, 0.293), (2, 0.391)]
    assert few["megapixels run"] == few_objects["megapixels run"] == 128 * 192 / 1e6
    assert all_["megapixels run"] == all_objects["megapixels run"] == (128 * 192 + 128 * 128) / 1e6
    for row in rows:
        assert float(row["faster than one at a time"]) == float(whole["CPU s an image"]) / float(row["CPU s an image"])


def test_tables_are_written_and_put_into_a_page(tmp_path: Path) -> None:
    tables = [Table("Speeds", ({"way": "a", "s": 0.12345, "n": 1234}, {"way": "b", "s": 1234.5, "n": 2}))]
    assert markdown(tables).splitlines()[2:] == [
        "| way | s | n |",
        "| --- | --- | --- |",
        "| a | 0.123 | 1,234 |",
        "| b | 1,234 | 2 |",
    ]
    paths = write_tables({"inference": tables}, tmp_path, about={"torch": "2"})
    assert [path.name for path in paths] == ["speed.json", "speed_inference.md"]
    assert json.loads(paths[0].read_text())["parts"]["inference"][0]["rows"][1]["s"] == 1234.5
    page = tmp_path / "page.md"
    page.write_text("<!-- speed_inference -->\n<!-- end -->\n")
    fill_page(page, {"speed_inference": paths[1].read_text()})
    assert "Made with torch 2." in page.read_text()
