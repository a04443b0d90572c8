"""The exact set of jobs after every kind of change, on a project that was really run once."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from tiny_project import (
    ALL_JOBS,
    BATCHES,
    CHANNELS,
    PIXELS,
    ROOT,
    WELLS,
    edit_config,
    jobs_in,
    snakemake,
    well_digests,
    write_field,
)

from lysoquant.cli.main import invoke
from lysoquant.vocabulary import BATCH_STAGES


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """The finished project at another place, times of change kept."""
    yield Path(shutil.copytree(finished, tmp_path / "moved"))
    shutil.rmtree(tmp_path / "moved")


def touch_all(folder: Path, pattern: str) -> int:
    """Move the times of change of all such files one hour on; returns how many there are."""
    paths = list(folder.rglob(pattern))
    for path in paths:
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 3_600_000_000_000))
    return len(paths)


def well_records(project: Path) -> dict[str, tuple[int, bytes]]:
    """Time of change and bytes of every well record."""
    return {
        f"{path.parents[1].name} {path.stem}": (path.stat().st_mtime_ns, path.read_bytes())
        for path in (project / "results" / "P" / "records").glob("*/wells/*.json")
    }


def test_a_run_leaves_the_tables_and_the_report(finished: Path) -> None:
    results = finished / "results"
    assert (results / "tables" / "wells.csv").read_text().count("\n") == 1 + len(WELLS)
    assert (results / "report" / "index.html").stat().st_size > 1000
    assert {path.parent.name for path in (results / "logs").rglob("*.log")} == {
        *BATCH_STAGES,
        "aggregate",
        "report",
    }


def test_run_again_does_nothing_even_at_another_place(copy: Path, planned: Callable[[Path], set[str]]) -> None:
    assert planned(copy) == set()
    assert "Nothing to be done" in snakemake(copy)


def test_both_snakefiles_make_the_same_plan(copy: Path) -> None:
    assert jobs_in(snakemake(copy, "--dry-run", snakefile=ROOT / "workflow" / "Snakefile")) == set()
    shutil.rmtree(copy / "results")
    assert jobs_in(snakemake(copy, "--dry-run", snakefile=ROOT / "workflow" / "Snakefile")) == ALL_JOBS


def test_touching_every_raw_file_does_nothing(copy: Path, planned: Callable[[Path], set[str]]) -> None:
    assert touch_all(copy / "raw", "*") >= 9
    assert planned(copy) == set()


def test_touching_every_record_does_nothing(copy: Path, planned: Callable[[Path], set[str]]) -> None:
    assert touch_all(copy / "results", "*.json") > 12
    touch_all(copy / "config", "*")
    assert planned(copy) == set()


def test_a_setting_of_measure_runs_no_network(copy: Path, planned: Callable[[Path], set[str]]) -> None:
    edit_config(copy, "min_area_um2: 0.13", "min_area_um2: 0.5")
    assert planned(copy) == {"measure B02-B03", "measure B04-B04", "aggregate", "report"}


def test_a_limit_of_field_quality_costs_no_pixel(copy: Path, planned: Callable[[Path], set[str]]) -> None:
    edit_config(
        copy, "bootstrap: 100", "bootstrap: 100, field_quality: {min_relative_focus: 0.5, max_saturated_fraction: 0.2}"
    )
    assert planned(copy) == {"aggregate", "report"}


@pytest.mark.parametrize(
    "gate",
    [
        "{method: threshold, min_mean_cargo: 450}",
        "{method: mixture}",
        "{method: controls, control_condition: control, control_quantile: 0.6}",
    ],
)
def test_the_expression_gate_redoes_no_cell_and_no_measurement(
    copy: Path, planned: Callable[[Path], set[str]], gate: str
) -> None:
    edit_config(copy, "bootstrap: 100", f"bootstrap: 100, expression: {gate}")
    assert planned(copy) == {"aggregate", "report"}


def test_the_expression_gate_changes_the_tables_alone(copy: Path) -> None:
    cells = copy / "results" / "tables" / "cells.parquet"
    means = pd.read_parquet(cells).intensity_mean_cargo
    assert pd.read_parquet(cells).is_expressing.all()
    # A setting of the aggregate section must leave what was measured as it was, to the byte.
    before, limit = well_records(copy), float(means.median())
    edit_config(copy, "bootstrap: 100", f"bootstrap: 100, expression: {{method: threshold, min_mean_cargo: {limit}}}")
    assert jobs_in(snakemake(copy)) == {"aggregate", "report"}
    assert well_records(copy) == before
    assert (pd.read_parquet(cells).is_expressing == (means >= limit)).all()
    assert 0 < (means >= limit).sum() < len(means)


def test_a_flat_field_redoes_what_it_corrects_and_converts_nothing(
    copy: Path, planned: Callable[[Path], set[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    edit_config(copy, "report: {", "illumination: {flat_field: 'flat/{channel}.tif'}\nreport: {")
    light = np.linspace(0.8, 1.2, PIXELS, dtype=np.float32)
    (copy / "flat").mkdir()
    for channel in CHANNELS:
        tifffile.imwrite(copy / "flat" / f"{channel}.tif", np.tile(light, (PIXELS, 1)))
    measured = {"measure B02-B03", "measure B04-B04", "aggregate", "report"}
    assert planned(copy) == measured
    before = well_records(copy)
    snakemake(copy)
    after = well_records(copy)
    assert {name.split()[0] for name in after if after[name] != before[name]} == {"measure"}
    assert planned(copy) == set()
    tifffile.imwrite(copy / "flat" / "cargo.tif", np.tile(light[::-1], (PIXELS, 1)))
    assert planned(copy) == measured
    capsys.readouterr()
    assert invoke(["why", str(copy), "--stage", "measure"]) == 0
    assert "input changed: flat-field image flat/cargo.tif changed" in capsys.readouterr().out


def test_a_setting_of_report_runs_report(copy: Path, planned: Callable[[Path], set[str]]) -> None:
    edit_config(copy, "title: First", "title: Second")
    assert planned(copy) == {"report"}


def test_the_plate_map_runs_aggregate_and_report(copy: Path, planned: Callable[[Path], set[str]]) -> None:
    sheet = copy / "config" / "wells.tsv"
    sheet.write_text(sheet.read_text().replace("treated", "starved"))
    assert planned(copy) == {"aggregate", "report"}


def test_execution_settings_that_change_no_result_run_nothing(copy: Path, planned: Callable[[Path], set[str]]) -> None:
    edit_config(copy, "scheduler: threads", "scheduler: processes")
    assert planned(copy) == set()


def test_another_model_runs_the_network_and_what_follows(copy: Path, planned: Callable[[Path], set[str]]) -> None:
    model = copy / "models" / "tiny.safetensors"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    assert planned(copy) == {
        *(f"{stage} {batch}" for stage in ("segment", "measure") for batch in BATCHES),
        "aggregate",
        "report",
    }


def test_cells_by_cellpose_follow_their_model(copy: Path, planned: Callable[[Path], set[str]]) -> None:
    edit_config(copy, "cells: {method: field}", "cells: {method: cellpose, cellpose_model: models/own.pt}")
    with pytest.raises(RuntimeError, match=r"cells.cellpose_model is 'models/own.pt' and neither"):
        planned(copy)
    (copy / "models" / "own.pt").write_text("weights")
    assert planned(copy) == {job for job in ALL_JOBS if not job.startswith("convert")}


def test_a_new_cut_makes_new_jobs(copy: Path, planned: Callable[[Path], set[str]]) -> None:
    edit_config(copy, "measure: 2}", "measure: 3}")
    assert planned(copy) == {"measure B02-B04", "aggregate", "report"}


def test_a_new_well_is_done_and_its_neighbours_are_planned_with_it(
    copy: Path, planned: Callable[[Path], set[str]]
) -> None:
    write_field(copy / "raw", "B05", seed=5)
    jobs = planned(copy)
    assert {"convert_plate", "convert B04-B05", "measure B04-B05", "aggregate", "report"} <= jobs
    assert not any("B04-B04" in job for job in jobs)


def test_a_changed_raw_file_redoes_its_well_and_no_other(copy: Path) -> None:
    before = well_records(copy)
    write_field(copy / "raw", "B03", seed=77)
    touch_all(copy / "raw", "P_B03_*.TIF")
    assert jobs_in(snakemake(copy)) == {*(f"{stage} B02-B03" for stage in BATCH_STAGES), "aggregate", "report"}
    after = well_records(copy)
    assert set(after) == set(before)
    assert {name for name in after if after[name] != before[name]} == {f"{stage} B03" for stage in BATCH_STAGES}
    assert jobs_in(snakemake(copy, "--dry-run")) == set()


def test_a_new_cut_redoes_no_well_and_removes_old_records(copy: Path) -> None:
    before = well_records(copy)
    edit_config(copy, "convert: 2, cells: 2", "convert: 3, cells: 3")
    snakemake(copy, "--until", "cells")
    assert well_records(copy) == before
    records = copy / "results" / "P" / "records"
    assert {path.name for path in (records / "convert").glob("*.json")} == {"B02-B04.json", "plate.json"}
    assert {path.name for path in (records / "raw").glob("*.json")} == {"B02-B04.json", "cache.json"}


def test_what_was_deleted_is_done_again_and_nothing_else(copy: Path) -> None:
    before, digests = well_records(copy), well_digests(copy)
    results = copy / "results"
    shutil.rmtree(results / "P/P.zarr/B/02/0/labels/endolysosomes")
    (results / "P/measure/B04/cells.parquet").unlink()
    (results / "report/index.html").unlink()
    stages = {f"{stage} {batch}" for stage, batch in (("segment", "B02-B03"), ("measure", "B02-B03"))}
    assert jobs_in(snakemake(copy)) == {*stages, "measure B04-B04", "aggregate", "report"}
    after = well_records(copy)
    assert {name for name in after if after[name] != before[name]} == {"segment B02", "measure B04"}
    assert well_digests(copy) == digests
    assert (results / "P/P.zarr/B/02/0/labels/endolysosomes").is_dir()
    assert (results / "report/index.html").is_file()
    assert jobs_in(snakemake(copy, "--dry-run")) == set()


def test_a_profile_cuts_the_jobs_and_redoes_no_well(copy: Path) -> None:
    before = well_records(copy)
    profile = copy.parent / "profile"
    profile.mkdir()
    text = (ROOT / "workflow" / "profiles" / "default" / "config.yaml").read_text()
    (profile / "config.yaml").write_text(f"{text}\nconfig:\n  wells_per_job: {{segment: 3, measure: 1}}\n")
    arguments = ("--workflow-profile", str(profile))
    measured = {f"measure {well}-{well}" for well in WELLS}
    assert jobs_in(snakemake(copy, *arguments)) == {"segment B02-B04", *measured, "aggregate", "report"}
    assert well_records(copy) == before
    assert jobs_in(snakemake(copy, "--dry-run", *arguments)) == set()
    assert jobs_in(snakemake(copy, "--dry-run", "--config", "wells_per_job={segment: 3, measure: 1}")) == set()
    with pytest.raises(RuntimeError, match=r"wells_per_job: segment: found '0', expected a whole number, at least 1"):
        snakemake(copy, "--dry-run", "--config", "wells_per_job={segment: 0}")


def test_a_killed_job_is_done_again_with_all_that_follows(copy: Path) -> None:
    # What Snakemake leaves when it is killed in the middle of a job: a mark with the name of the output.
    mark = base64.b64encode(b"results/P/records/convert/plate.json").decode()
    (copy / ".snakemake" / "incomplete").mkdir(exist_ok=True)
    (copy / ".snakemake" / "incomplete" / mark).touch()
    (copy / "results" / "P" / "records" / "segment" / "B04-B04.json").unlink()
    assert jobs_in(snakemake(copy, "--dry-run", "--rerun-incomplete")) == ALL_JOBS


def test_a_wrong_configuration_is_one_line_in_snakemake_too(copy: Path) -> None:
    edit_config(copy, "title: First", "titel: First")
    with pytest.raises(RuntimeError, match=r"titel") as caught:
        snakemake(copy, "--dry-run")
    assert "Traceback" not in str(caught.value)


def test_config_on_the_command_line_is_refused(copy: Path) -> None:
    with pytest.raises(RuntimeError, match=r"--config measure has no effect here"):
        snakemake(copy, "--dry-run", "--config", "measure=1")


def test_a_batch_record_sums_its_wells(finished: Path) -> None:
    records = finished / "results" / "P" / "records"
    batch = json.loads((records / "segment" / "B02-B03.json").read_text())
    assert list(batch["wells"]) == ["B02", "B03"]
    assert batch["wells"]["B03"] == json.loads((records / "segment" / "wells" / "B03.json").read_text())
