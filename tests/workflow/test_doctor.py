"""The doctor on a project, whole and spoilt in each way; and what a run itself refuses before it begins."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_project import edit_config, make_project

from lysoquant.cli.main import invoke
from lysoquant.config import load_project
from lysoquant.project.lock import holder, only_run
from lysoquant.vocabulary import STAGES

NO_GPU = "device is cuda but torch finds no GPU"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("doctor") / "p")


@pytest.fixture
def project(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "p"))


def told_of(project: Path, *, status: int) -> dict[str, Any]:
    """All that the doctor found, after it ended with that status and left the project as it was."""
    before = sorted(project.rglob("*"))
    told = project.parent / "told.json"
    assert invoke(["doctor", str(project), "--cores", "2", "--json", str(told)]) == status
    assert sorted(project.rglob("*")) == before
    found: dict[str, Any] = json.loads(told.read_text())
    return found


def findings(project: Path, *, status: int) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in told_of(project, status=status)["checks"]}


def problems(project: Path) -> dict[str, str]:
    """What the doctor saw, by check, of all problems."""
    found = findings(project, status=1)
    return {check: finding["seen"] for check, finding in found.items() if finding["state"] == "problem"}


def fill_disk(monkeypatch: pytest.MonkeyPatch, *, n_bytes: int = 10**12, n_files: int = 10**9) -> None:
    there = SimpleNamespace(f_bavail=n_bytes // 4096, f_frsize=4096, f_files=10**9, f_favail=n_files)
    monkeypatch.setattr(os, "statvfs", lambda folder: there)


def test_a_whole_project_has_no_problem_and_a_forecast(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = told_of(project, status=0)
    found = {finding["check"]: finding["seen"] for finding in told["checks"]}
    assert found["configuration"] == "1 plate, 3 wells in the plate map"
    assert found["plate P"].startswith("P_B02_s1_w1.TIF opens, uint16; 3 wells, 3 fields of 96 x 96")
    assert found["other runs"] == "none works on this project"
    assert found["model fits"] == "models/tiny.safetensors takes lysosome, cargo, nucleus"
    assert {"disk", "files", "results", "project", "locks"} <= found.keys()
    forecast = told["forecast"]
    assert [stage["stage"] for stage in forecast["stages"]] == list(STAGES)
    # Two batches in four stages, the plate's metadata, aggregate and report: what a dry run plans.
    assert forecast["jobs"] == 2 * 4 + 3
    assert forecast["is_rough"]
    assert "forecast of what is left to do (no well was done yet: rough" in capsys.readouterr().out


def test_a_wrong_configuration_is_a_problem_and_the_environment_is_looked_at_all_the_same(project: Path) -> None:
    edit_config(project, "title: First", "titel: First")
    found = findings(project, status=1)
    assert "titel" in found["configuration"]["seen"]
    assert found["python"]["state"] == "ok"
    assert "plate P" not in found


def test_a_gpu_that_is_not_there_is_a_problem(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    edit_config(project, "device: cpu", "device: cuda")
    found = problems(project)
    assert list(found) == ["device"]
    assert NO_GPU in found["device"]


def test_a_model_that_is_missing_is_a_problem(project: Path) -> None:
    (project / "models" / "tiny.safetensors").unlink()
    assert "is not a file" in problems(project)["model fits"]


def test_a_raw_plate_that_is_gone_is_a_problem_and_there_is_no_forecast(project: Path) -> None:
    shutil.rmtree(project / "raw")
    told = told_of(project, status=1)
    assert told["forecast"] is None
    assert [each["check"] for each in told["checks"] if each["state"] == "problem"] == ["plate P"]


def test_a_first_image_that_is_cut_off_is_a_problem(project: Path) -> None:
    (image,) = (project / "raw").rglob("P_B02_s1_w1.TIF")
    image.write_bytes(image.read_bytes()[:3000])
    assert "P_B02_s1_w1.TIF" in problems(project)["plate P"]


def test_fields_that_are_not_whole_and_wells_without_images_are_warnings(project: Path) -> None:
    (image,) = (project / "raw").rglob("P_B03_s1_w2.TIF")
    image.unlink()
    with (project / "config" / "wells.tsv").open("a") as sheet:
        sheet.write("P\tH12\ttreated\n")
    found = findings(project, status=0)
    assert found["plate P: fields"]["state"] == "warning"
    assert "1 of 3 fields are not whole (B03 s1)" in found["plate P: fields"]["seen"]
    assert "1 wells of the plate map have no image (H12)" in found["plate P: wells"]["seen"]


def test_another_run_is_a_problem(project: Path) -> None:
    layout = load_project(project).layout
    assert holder(layout) is None
    with only_run(layout):
        found = problems(project)
        assert list(found) == ["other runs"]
        assert f"another run works on this project (process {os.getpid()} on " in found["other runs"]
    assert holder(layout) is None


@pytest.mark.parametrize(
    ("room", "said"),
    [({"n_bytes": 8192}, "8.2 KB free at "), ({"n_files": 9}, "9 more files possible at ")],
)
def test_a_disk_without_room_is_a_problem_and_stops_a_run_before_it_begins(
    room: dict[str, int],
    said: str,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill_disk(monkeypatch, **room)
    (found,) = problems(project).values()
    assert said in found
    assert invoke(["run", str(project), "--cores", "1"]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert not (project / "results" / "logs").exists()


def test_a_run_whose_gpu_is_not_there_is_refused_and_never_falls_back(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    edit_config(project, "device: cpu", "device: cuda")
    assert invoke(["run", str(project), "--cores", "1"]) == 2
    assert NO_GPU in capsys.readouterr().err
    assert not (project / "results" / "logs").exists()


def test_a_pilot_and_unlock_exclude_each_other(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", str(project), "--pilot", "3", "--unlock"]) == 2
    assert "--pilot and --unlock exclude each other" in capsys.readouterr().err
