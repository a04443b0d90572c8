"""``lysoquant why`` gives the reason for all that would run and changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_project import ROOT, WELLS, edit_config, make_project, write_field

from lysoquant.cli.main import invoke
from lysoquant.vocabulary import STAGES


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages were all run, three wells in two batches."""
    project = make_project(tmp_path_factory.mktemp("why") / "p")
    for stage in STAGES:
        assert invoke([stage, str(project)]) == 0, stage
    return project


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "copy"))


def everything(project: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in project.rglob("*") if path.is_file()}


Ask = Callable[..., list[tuple[str, ...]]]


@pytest.fixture
def why(capsys: pytest.CaptureFixture[str]) -> Ask:
    """The rows (stage, wells, reason) that the command prints; nothing on disk may change."""

    def ask(project: Path, *options: str) -> list[tuple[str, ...]]:
        before = everything(project)
        capsys.readouterr()
        assert invoke(["why", str(project), *options]) == 0
        assert everything(project) == before
        return [
            tuple(part.strip() for part in line.split("  ") if part) for line in capsys.readouterr().out.splitlines()
        ]

    return ask


AFTER_MEASURE = (("aggregate", "the project", "follows measure"), ("report", "the project", "follows aggregate"))
AFTER_SEGMENT = (("measure", "P: B02, B03, B04", "follows segment"), *AFTER_MEASURE)


def test_nothing_would_run_and_times_play_no_part(copy: Path, why: Ask) -> None:
    assert why(copy) == [("nothing would run",)]
    for path in copy.rglob("*"):
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 3_600_000_000_000))
    assert why(copy) == [("nothing would run",)]
    assert why(copy, "--stage", "cells", "--well", "B03") == [("nothing of cells for well B03 would run",)]


def test_before_the_first_run_everything_was_never_run(tmp_path: Path, why: Ask) -> None:
    found = why(make_project(tmp_path / "p"))
    wells = [(stage, "P: B02, B03, B04", "never run") for stage in STAGES[:4]]
    assert found == [*wells, *((stage, "the project", "never run") for stage in STAGES[4:])]


def test_a_setting_is_told_with_its_old_and_new_value(copy: Path, why: Ask) -> None:
    edit_config(copy, "min_area_um2: 0.13", "min_area_um2: 0.5")
    edit_config(copy, "title: First", "title: Second")
    reason = "setting measure.min_area_um2: 0.13 -> 0.5"
    first, aggregate, report = why(copy)
    assert (first, aggregate) == (("measure", "P: B02, B03, B04", reason), AFTER_MEASURE[0])
    assert 'setting report.title: "First" -> "Second"; ' in report[2]
    assert report[2].endswith("; follows aggregate")
    assert why(copy, "--well", "B03") == [("measure", "P: B03", reason)]
    assert why(copy, "--stage", "aggregate") == [AFTER_MEASURE[0]]


def test_a_changed_raw_file_is_named_and_only_its_well_runs(copy: Path, why: Ask) -> None:
    write_field(copy / "raw", "B03", seed=77)
    for path in copy.glob("raw/TimePoint_1/P_B03_*"):
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 3_600_000_000_000))
    found = why(copy)
    assert [row[:2] for row in found[:4]] == [(stage, "P: B03") for stage in STAGES[:4]]
    names = ", ".join(f"TimePoint_1/P_B03_s1_w{wave}.TIF" for wave in (1, 2, 3))
    assert found[0][2] == f"input changed: raw file {names} changed"
    assert [row[2] for row in found[1:4]] == [
        "follows convert",
        "follows convert and cells",
        "follows convert and cells and segment",
    ]


def test_another_model_is_told_by_its_digests(copy: Path, why: Ask) -> None:
    model = copy / "models" / "tiny.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    (stage, wells, reason), *after = why(copy)
    assert (stage, wells) == ("segment", "P: B02, B03, B04")
    assert reason.startswith("model: ")
    old, new = reason.removeprefix("model: ").split(" -> ")
    assert len(old) == len(new) == 12
    assert old != new
    assert after == [*AFTER_SEGMENT]


def test_other_code_is_told(copy: Path, why: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    import lysoquant.project.changes as module

    real = module.source_digest
    monkeypatch.setattr(module, "source_digest", lambda stage: "f" * 16 if stage == "report" else real(stage))
    ((stage, _, reason),) = why(copy)
    assert stage == "report"
    assert reason.startswith("code of report: ")
    assert reason.endswith(" -> ffffffffffff")


def test_the_plate_map_is_an_input_of_aggregate(copy: Path, why: Ask) -> None:
    sheet = copy / "config" / "wells.tsv"
    sheet.write_text(sheet.read_text().replace("treated", "starved"))
    assert why(copy) == [
        ("aggregate", "the project", "input changed: the plate map (wells.tsv)"),
        AFTER_MEASURE[1],
    ]


def test_a_deleted_output_is_told(copy: Path, why: Ask) -> None:
    shutil.rmtree(copy / "results/P/P.zarr/B/04/0/labels/endolysosomes")
    (copy / "results/tables/wells.csv").unlink()
    assert why(copy) == [
        ("segment", "P: B04", "output missing: P/P.zarr/B/04/0/labels/endolysosomes"),
        ("measure", "P: B04", "follows segment"),
        ("aggregate", "the project", "output missing: tables/wells.csv; follows measure"),
        AFTER_MEASURE[1],
    ]


def test_a_renewed_upstream_record_is_an_input_that_changed(copy: Path, why: Ask) -> None:
    edit_config(copy, "cells: {method: field}", "cells: {method: labels, path: 'outlines/{well}_{field}.tif'}")
    assert invoke(["cells", str(copy)]) == 0
    reason = "input changed: the record of cells"
    assert why(copy, "--stage", "segment") == [("segment", f"P: {', '.join(WELLS)}", reason)]
    (copy / "outlines").mkdir()
    (copy / "outlines" / "B03_0.tif").write_bytes(b"")
    assert why(copy, "--stage", "cells") == [
        ("cells", "P: B03", "input changed: outline file outlines/B03_0.tif changed")
    ]


def test_an_unknown_well_is_refused(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["why", str(done), "--well", "H12"]) == 2
    assert "--well 'H12': no such well" in capsys.readouterr().err


def test_an_estimate_of_the_light_needs_enough_fields(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["illumination", str(done)]) == 2
    told = capsys.readouterr().err
    assert (
        "plate P, channel 'nucleus': 3 of 3 positions are brighter than illumination.dark, expected at least 16" in told
    )
    assert not (done / "flat").exists()


def test_why_imports_nothing_heavy(done: Path) -> None:
    heavy = ["torch", "pandas", "scipy", "skimage", "dask", "pyarrow", "snakemake", "distributed"]
    code = (
        "import sys\nfrom lysoquant.cli.main import invoke\n"
        f"assert invoke(['why', {str(done)!r}]) == 0\nprint([name for name in {heavy} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.splitlines() == ["nothing would run", "[]"]
