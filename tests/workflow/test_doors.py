"""Three doors, one function: Python, command line and rule leave equal results; and the door of the whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tiny_project import ROOT, WELLS, edit_config, make_project, well_digests, write_field

from lysoquant.cli.main import invoke
from lysoquant.config import load_project
from lysoquant.project.lock import only_run
from lysoquant.vocabulary import BATCH_STAGES, STAGES


@pytest.fixture(scope="module")
def by_command(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages were run one by one on the command line."""
    project = make_project(tmp_path_factory.mktemp("command") / "p")
    for stage in STAGES:
        assert invoke([stage, str(project)]) == 0, stage
    return project


@pytest.fixture
def copy(by_command: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(by_command, tmp_path / "copy"))


def test_the_command_line_and_the_rules_leave_equal_results(by_command: Path, finished: Path) -> None:
    assert well_digests(by_command) == well_digests(finished)
    records = [f"P/records/{stage}/{batch}.json" for stage in BATCH_STAGES for batch in ("B02-B03", "B04-B04")]
    for name in [*records, "records/aggregate.json", "records/report.json"]:
        assert (by_command / "results" / name).is_file()


def test_python_and_the_command_line_leave_equal_results(by_command: Path, tmp_path: Path) -> None:
    project = load_project(make_project(tmp_path / "q"))
    layout = project.layout
    convert = import_module("lysoquant.convert.step")
    convert.write_plate(layout=layout, plate="P", settings=project.settings("convert", "P"))
    for stage in BATCH_STAGES:
        more: dict[str, Any] = {"device": "cpu"} if stage == "segment" else {}
        import_module(f"lysoquant.{stage}.step").run(
            layout=layout,
            plate="P",
            wells=WELLS,
            settings=project.settings(stage, "P"),
            record=layout.batch_record("P", stage, "B02-B04"),
            cores=2,
            **more,
        )
    rows = [
        {"plate": row.plate, "well": row.well, "condition": row.condition, "replicate": "", "control": ""}
        for row in project.plate_map
    ]
    for stage, extra in (("aggregate", {"plate_map": rows}), ("report", {})):
        import_module(f"lysoquant.{stage}.step").run(
            layout=layout,
            plates={"P": WELLS},
            settings=project.settings(stage),
            record=layout.project_record(stage),
            **extra,
        )
    assert well_digests(tmp_path / "q") == well_digests(by_command)


def test_a_stage_run_again_changes_nothing(copy: Path) -> None:
    before = {path: path.read_bytes() for path in copy.rglob("*.json")}
    for stage in STAGES:
        assert invoke([stage, str(copy)]) == 0
    assert {path: path.read_bytes() for path in copy.rglob("*.json")} == before


def test_some_wells_are_done_alone_and_leave_the_batch_record_alone(copy: Path) -> None:
    records = copy / "results" / "P" / "records" / "measure"
    batch = (records / "B02-B03.json").read_bytes()
    (records / "wells" / "B03.json").unlink()
    (records / "wells" / "B02.json").unlink()
    assert invoke(["measure", str(copy), "--plate", "P", "--wells", "B03", "--cores", "2"]) == 0
    assert (records / "wells" / "B03.json").is_file()
    assert not (records / "wells" / "B02.json").exists()
    assert (records / "B02-B03.json").read_bytes() == batch


def test_settings_and_record_can_be_given(copy: Path, tmp_path: Path) -> None:
    settings = json.loads(load_project(copy).settings_json("measure", "P"))
    settings["params"]["min_area_um2"] = 50.0
    record = tmp_path / "mine.json"
    arguments = ["measure", str(copy), "--plate", "P", "--wells", "B02,B03", "--record", str(record)]
    assert invoke([*arguments, "--settings", json.dumps(settings)]) == 0
    written = json.loads(record.read_text())
    assert {well: entry["parameters"]["params"]["min_area_um2"] for well, entry in written["wells"].items()} == {
        "B02": 50.0,
        "B03": 50.0,
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--plate", "Q"], "--plate 'Q': the project's plates are P"),
        (["--plate", "P", "--wells", "B02,H12"], "plate P has no well H12; its wells are B02, B03, B04"),
        (["--wells", "B02"], "--wells and --record need --plate"),
        (["--plate", "P", "--record", "x.json"], "--record needs --wells"),
        (["--settings", "{}"], "settings of cells"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(
    arguments: list[str], expected: str, by_command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["cells", str(by_command), *arguments]) == 2
    assert expected in capsys.readouterr().err


def test_plate_metadata_alone_need_a_plate(by_command: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["convert", str(by_command), "--plate-metadata"]) == 2
    assert "--plate-metadata needs --plate" in capsys.readouterr().err


def test_a_stage_before_its_upstream_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["cells", str(make_project(tmp_path / "p"))]) == 1
    message = capsys.readouterr().err
    assert "no convert record of well B02" in message
    assert "lysoquant convert" in message


# lysoquant run -------------------------------------------------------------------------------------------------------


def lysoquant(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lysoquant.cli.main", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_run_shows_the_table_and_the_report(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", str(copy), "--cores", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["plate", "well", "condition"]
    assert [line.split()[1] for line in lines[1:4]] == list(WELLS)
    assert lines[-1] == f"report: {copy / 'results' / 'report' / 'index.html'}"


def test_a_setting_changed_after_stages_by_hand_is_seen_by_a_run(copy: Path) -> None:
    # Snakemake knows nothing of what it did not run itself, and would call such records up to date.
    layout = load_project(copy).layout
    segmented = layout.batch_record("P", "segment", "B02-B03").read_bytes()
    edit_config(copy, "min_area_um2: 0.13", "min_area_um2: 0.14")
    assert invoke(["run", str(copy), "--cores", "2"]) == 0
    measured = json.loads(layout.well_record("P", "measure", "B02").read_text())
    assert measured["parameters"]["params"]["min_area_um2"] == 0.14
    aggregated = json.loads(layout.project_record("aggregate").read_text())
    assert aggregated["inputs"]["measure"]["P"]["B02"] == measured["digest"]
    assert layout.batch_record("P", "segment", "B02-B03").read_bytes() == segmented


def test_a_terminated_run_leaves_no_lock_and_the_next_one_ends(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    command = [sys.executable, "-m", "lysoquant.cli.main", "run", str(project), "--cores", "2"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        # Terminated in the middle of a job, not before the first.
        next(line for line in process.stderr or () if "started convert P" in line)
        process.terminate()
        assert process.wait(timeout=60) == 143
    assert not list((project / ".snakemake" / "locks").glob("*.lock"))
    done = lysoquant("run", str(project), "--cores", "2", "--", "--until", "cells")
    assert (project / "results" / "P" / "records" / "cells" / "B02-B03.json").is_file(), done.stderr


def everything(project: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and bytes of every file."""
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in project.rglob("*") if path.is_file()}


@pytest.mark.parametrize("option", [[], ["--dry-run"], ["--unlock"]])
def test_a_second_run_is_told_so_and_changes_nothing(
    copy: Path,
    option: list[str],
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    # Work for every door: a new raw file, a log to be written anew, a lock to be removed.
    write_field(copy / "raw", "B05", seed=5)
    for folder in ("results/logs", ".snakemake/locks"):
        (copy / folder).mkdir(parents=True)
    (copy / "results" / "logs" / "snakemake.log").write_text("what the first run says\n")
    (copy / ".snakemake" / "locks" / "0.output.lock").write_text("results/records/report.json\n")
    with only_run(load_project(copy).layout):
        before = everything(copy)
        assert invoke(["run", str(copy), *option]) == 2
        assert everything(copy) == before
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {copy}: another run works on this project (process {os.getpid()} on ")
    for name, value in (("fault", "a second run on the same project"), ("times", 1), ("lost", "nothing")):
        record_property(name, value)


def test_snakemake_holds_the_project_for_its_run(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    command = [sys.executable, "-m", "lysoquant.cli.main", "run", str(project), "--cores", "2"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        next(line for line in process.stderr or () if "started convert P" in line)
        done = lysoquant("run", str(project), "--dry-run")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"(process {process.pid} on " in done.stderr
        process.terminate()
        process.wait(timeout=60)
    assert lysoquant("run", str(project), "--dry-run").returncode == 0


def test_run_names_the_job_that_failed_and_its_log(copy: Path) -> None:
    edit_config(copy, "measure: {min_area_um2: 0.13}", "on_bad_field: fail")
    for path in (copy / "raw").rglob("P_B03_*_w2.TIF"):
        path.write_bytes(path.read_bytes()[:200])
    done = lysoquant("run", str(copy), "--cores", "2")
    assert done.returncode == 1
    assert "error: convert P B02-B03 failed; the last lines of" in done.stderr
    assert str(copy / "results" / "logs" / "convert" / "P.B02-B03.log") in done.stderr
    assert "P_B03_s1_w2.TIF" in done.stderr
    assert done.stdout == ""


def test_a_dry_run_shows_jobs_and_does_none(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    done = lysoquant("run", str(project), "--dry-run", "--", "--quiet", "rules")
    assert done.returncode == 0, done.stderr
    assert "segment" in done.stdout + done.stderr
    assert not (project / "results" / "P" / "P.zarr").exists()


def test_the_lock_of_a_killed_snakemake_is_removed_by_the_next_run(copy: Path) -> None:
    locks = copy / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("results/records/report.json\n")
    (locks / "0.input.lock").write_text("")
    shutil.rmtree(copy / "results" / "records")
    done = lysoquant("run", str(copy), "--cores", "2")
    assert done.returncode == 0, done.stderr
    assert "run: the last run was killed; its lock is removed" in done.stderr
    assert not list(locks.glob("*.lock"))


def test_plain_snakemake_holds_the_project_too(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    plain = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(project)]
    with subprocess.Popen([*plain, "--cores", "2"], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        next(line for line in process.stderr or () if "rule convert:" in line)
        done = lysoquant("run", str(project), "--cores", "2")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"(process {process.pid} on " in done.stderr
        assert not (project / "results" / "logs" / "snakemake.log").exists()
        second = subprocess.run([*plain, "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert f"(process {process.pid} on " in second.stdout + second.stderr
        process.kill()
    assert lysoquant("run", str(project), "--cores", "2").returncode == 0


def test_a_model_that_does_not_fit_is_refused_before_any_job(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "models" / "tiny.safetensors").write_bytes(b"no model")
    assert invoke(["run", str(copy)]) == 2
    assert "not a safetensors file" in capsys.readouterr().err
