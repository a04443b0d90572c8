"""What a newcomer types first: `make demo`, to the letter, and the truth beside it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    if not (ROOT / ".venv" / "ready").exists() or Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("the tests do not run in the .venv that `make setup` makes")
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(["make", "demo", f"DEMO={folder}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_it_prints_the_table_and_the_report(demo: tuple[Path, str]) -> None:
    folder, said = demo
    report = folder / "project/results/report/index.html"
    assert str(report) in said
    assert report.stat().st_size > 100_000
    assert "SEC62-LIR" in said


def test_occupancy_is_near_the_truth_in_every_well(demo: tuple[Path, str]) -> None:
    folder, said = demo
    largest = float(re.search(r"largest error of occupancy: ([\d.]+)", said)[1])  # type: ignore[index]
    truth = pd.read_csv(folder / "sim_plate/truth/wells.csv").set_index("well")
    found = pd.read_csv(folder / "project/results/tables/wells.csv").set_index("well")
    errors = (found.occupancy_pooled - truth.occupancy_pooled).abs()
    assert len(errors) == 8
    assert errors.max() == pytest.approx(largest, abs=0.001)
    assert errors.max() <= 0.10
    assert (found.n_endolysosomes / truth.n_endolysosomes).between(0.75, 1.25).all()


def test_the_knock_out_with_docked_cargo_is_told_from_the_wild_type(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    conditions = pd.read_csv(folder / "project/results/tables/conditions.csv").set_index("condition")
    assert conditions.occupancy_mean["ATZ STX17-KO"] < 0.2
    assert conditions.occupancy_mean["ATZ WT"] > conditions.occupancy_mean["ATZ STX17-KO"] + 0.2
    assert conditions.occupancy_mean["SEC62"] > conditions.occupancy_mean["SEC62-LIR"] + 0.2


def test_demo_again_does_nothing_new(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    wells = folder / "project/results/tables/wells.csv"
    before = wells.stat().st_mtime_ns, wells.read_bytes()
    done = subprocess.run(["make", "demo", f"DEMO={folder}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert (wells.stat().st_mtime_ns, wells.read_bytes()) == before
