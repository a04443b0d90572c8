"""A plate with every fault that an instrument or a person can put in: the run ends, and the tables tell."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from tiny_project import WELLS, edit_config, make_project, write_field

ALL = (*WELLS, "B05", "B06", "B07", "B08", "B09")
LYSOQUANT = Path(sys.executable).parent / "lysoquant"


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(LYSOQUANT), "run", str(project), "--cores", "2", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def plane(project: Path, well: str, wave: int) -> Path:
    return project / "raw" / "TimePoint_1" / f"P_{well}_s1_w{wave}.TIF"


def spoil(project: Path) -> None:
    """One fault a well; B02 stays whole."""
    truncated = plane(project, "B03", 2)
    truncated.write_bytes(truncated.read_bytes()[:5000])
    plane(project, "B04", 3).unlink()
    shutil.copy(plane(project, "B05", 1), plane(project, "B05", 1).with_suffix(".tiff"))
    tifffile.imwrite(plane(project, "B06", 2), np.ones((96, 96), np.float32))
    for wave in (1, 2, 3):
        plane(project, "B07", wave).unlink()
    tifffile.imwrite(plane(project, "B08", 1), np.zeros((96, 96, 3), np.uint8), photometric="rgb")
    plane(project, "B09", 2).write_bytes(b"\x80\x04\x95\x00\x00\x00\x00not an image but a pickle")


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("bad") / "p", wells=ALL)
    spoil(project)
    done = run(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return project


def test_every_well_is_in_the_table_with_its_reason(spoiled: Path) -> None:
    wells = pd.read_csv(spoiled / "results/tables/wells.csv").set_index("well")
    assert list(wells.index) == list(ALL)
    assert wells.n_fields.tolist() == [1] * 8
    assert wells.n_fields_failed.tolist() == [0, *[1] * 7]
    assert wells.occupancy_mean.drop("B02").isna().all()
    assert (wells.n_cells.drop("B02") == 0).all()
    assert wells.n_cells["B02"] == 1
    assert wells["flags"].drop("B02").str.contains("all_fields_failed").all()


@pytest.mark.parametrize(
    ("well", "word"),
    [
        ("B03", "P_B03_s1_w2.TIF"),
        ("B04", "cargo"),
        ("B05", "P_B05_s1_w1"),
        ("B06", "float32"),
        ("B07", "no "),
        ("B08", "P_B08_s1_w1.TIF"),
        ("B09", "P_B09_s1_w2.TIF"),
    ],
)
def test_a_reason_names_the_fault(spoiled: Path, well: str, word: str) -> None:
    fields = pd.read_parquet(spoiled / "results/tables/fields.parquet").set_index("well")
    assert fields.status[well] == "failed"
    assert word in fields.reason[well]
    assert "\n" not in fields.reason[well]


def test_the_good_well_is_the_same_as_on_a_good_plate(spoiled: Path, tmp_path: Path) -> None:
    good = make_project(tmp_path / "p", wells=("B02",))
    assert run(good).returncode == 0
    tables = [pd.read_parquet(project / "results/tables/endolysosomes.parquet") for project in (good, spoiled)]
    first, second = (table[table.well == "B02"].reset_index(drop=True) for table in tables)
    pd.testing.assert_frame_equal(first, second)


def test_a_mended_file_mends_its_well(spoiled: Path, tmp_path: Path) -> None:
    project = tmp_path / "p"
    shutil.copytree(spoiled, project, ignore=shutil.ignore_patterns(".snakemake"))
    write_field(project / "raw", "B03", seed=3)
    assert run(project).returncode == 0
    wells = pd.read_csv(project / "results/tables/wells.csv").set_index("well")
    assert wells.n_fields_failed["B03"] == 0
    assert wells.n_fields_failed["B04"] == 1


def test_fail_stops_at_a_bad_field_and_names_it(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    edit_config(project, "channels:", "on_bad_field: fail\nchannels:")
    plane(project, "B03", 2).write_bytes(b"")
    done = run(project)
    assert done.returncode == 1
    assert "P_B03_s1_w2.TIF" in done.stdout + done.stderr
    assert "on_bad_field" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("min_area_um2", "min_area", ("measure.min_area", "min_area_um2")),
        ("montage_cells: 1", "montage_cells: many", ("report.montage_cells", "many")),
        ("models/tiny.safetensors", "models/none.safetensors", ("segment.model", "none.safetensors")),
        ("cargo: cargo", "cargo: SEC62", ("SEC62", "lysosome")),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    project = make_project(tmp_path / "p", wells=WELLS[:1])
    edit_config(project, old, new)
    done = run(project)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in words), line


@pytest.mark.parametrize("row", ["P\tZ99\tx", "P\tB02\tother", "Q\tB02\tx"])
def test_an_impossible_plate_map_is_one_line(tmp_path: Path, row: str) -> None:
    project = make_project(tmp_path / "p", wells=WELLS[:1])
    sheet = project / "config" / "wells.tsv"
    sheet.write_text(sheet.read_text() + row + "\n")
    done = run(project)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "wells.tsv:3" in line
