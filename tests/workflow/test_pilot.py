"""A pilot: its wells, what it leaves and where, the jobs of the whole after it, and a forecast that comes true."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_project import ROOT, edit_config, jobs_in, make_project, snakemake, write_raw

from lysoquant.cli.main import invoke
from lysoquant.config import load_project
from lysoquant.errors import InputError
from lysoquant.io.store import PlateStore
from lysoquant.project.batches import Plan
from lysoquant.project.forecast.costs import done_wells, field_costs, files_of_field
from lysoquant.project.forecast.jobs import LOCAL_START_S, Machine, all_wells, forecast, new_wells, pending_wells
from lysoquant.project.forecast.text import duration, hours, lines, size
from lysoquant.project.inventory import plan_project
from lysoquant.project.pilot import choose_pilot, plan_pilot
from lysoquant.project.resources import THREADS
from lysoquant.project.why import pending
from lysoquant.vocabulary import BATCH_STAGES, STAGES, NgffVersion

WELLS = ("B02", "B03", "B04", "C05")
PILOT = ("B03", "C05")


@pytest.fixture(scope="module")
def piloted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project after a pilot of two wells by the command, and what that said; its name needs quoting."""
    project = make_project(tmp_path_factory.mktemp("pilot") / 'it\'s a "plate" $HOME', wells=WELLS)
    command = [sys.executable, "-m", "lysoquant.cli.main", "run", str(project), "--pilot", ",".join(PILOT)]
    done = subprocess.run([*command, "--cores", "2"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return project, done.stdout + done.stderr


@pytest.fixture
def copy(piloted: tuple[Path, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(piloted[0], tmp_path / "copy"))


def well_records(project: Path) -> dict[str, bytes]:
    return {
        f"{path.parents[1].name} {path.stem}": path.read_bytes()
        for path in (project / "results" / "P" / "records").glob("*/wells/*.json")
    }


def test_a_pilot_leaves_its_tables_and_report_apart(piloted: tuple[Path, str]) -> None:
    project, said = piloted
    results, apart = project / "results", project / "results" / "_pilot"
    assert sorted(path.name for path in results.iterdir()) == ["P", "_pilot", "logs"]
    table = (apart / "tables" / "wells.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in table[1:]] == [["P", well] for well in PILOT]
    page = (apart / "report" / "index.html").read_text()
    assert "Pilot of 2 of 4 wells (P B03, P C05): First" in page
    assert set(well_records(project)) == {f"{stage} {well}" for stage in BATCH_STAGES for well in PILOT}
    assert not list(results.glob("P/records/[!r]*/[A-Z]*-*.json"))
    assert f"report: {apart / 'report' / 'index.html'}" in said
    assert "forecast of what is left to do (from 2 wells, 2 fields done here)" in said
    # B02-B03 and B04-C05 in every stage, aggregate and report; the plate's metadata are written already.
    assert [line.split()[1] for line in said.splitlines() if line.startswith("  all ")] == ["10"]
    assert "this goes on with the rest:\n  lysoquant run " in said


def test_the_whole_run_plans_all_batches_and_does_the_other_wells_only(copy: Path) -> None:
    before = well_records(copy)
    batches = ("B02-B03", "B04-C05")
    jobs = {f"{stage} {batch}" for stage in BATCH_STAGES for batch in batches} | {"aggregate", "report"}
    assert jobs_in(snakemake(copy, "--dry-run")) == jobs
    for stage in STAGES:
        assert invoke([stage, str(copy)]) == 0
    after = well_records(copy)
    assert set(after) - set(before) == {f"{stage} {well}" for stage in BATCH_STAGES for well in ("B02", "B04")}
    assert {name: after[name] for name in before} == before
    assert (copy / "results" / "tables" / "wells.csv").read_text().count("\n") == 1 + len(WELLS)
    assert "Pilot" not in (copy / "results" / "report" / "index.html").read_text()


def test_a_pilot_that_is_run_again_has_nothing_to_do(copy: Path) -> None:
    same = ("--config", "pilot=P/B03,P/C05")
    assert jobs_in(snakemake(copy, "--dry-run", *same)) == set()
    write_raw(copy / "raw", ("B02",))
    assert jobs_in(snakemake(copy, "--dry-run", *same)) == set()


def test_another_pilot_takes_over_the_wells_of_the_first(copy: Path) -> None:
    before = well_records(copy)
    plan = plan_pilot(load_project(copy), "P/B02,P/B03", refresh=True)
    assert [batch.name for batch in plan.batches("segment", "P")] == ["B02-B03"]
    for stage in STAGES:
        assert invoke([stage, str(copy), "--pilot", "P/B02,P/B03"]) == 0
    after = well_records(copy)
    assert set(after) - set(before) == {f"{stage} B02" for stage in BATCH_STAGES}
    assert {name: after[name] for name in before} == before
    assert not (copy / "results" / "tables").exists()


def test_the_identity_of_raw_files_is_that_of_the_whole(copy: Path) -> None:
    layout = load_project(copy).layout
    whole = json.loads(layout.raw_record("P", "B02-B03").read_text())
    pilot = json.loads(replace(layout, pilot=True).raw_record("P", "B03-C05").read_text())
    assert list(pilot["wells"]) == list(PILOT)
    assert pilot["wells"]["B03"] == whole["wells"]["B03"]
    assert pilot["fields_digest"]["B03"] == whole["fields_digest"]["B03"]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    wells = ("B02", "B03", "B04", "B05", "C02", "C03", "C04", "C05")
    return plan_project(load_project(make_project(tmp_path / "p", wells=wells)), refresh=True)


def chosen(plan: Plan, text: str, controls: dict[str, str] | None = None) -> list[str]:
    rows = [replace(row, control=(controls or {}).get(row.well, "")) for row in plan.project.plate_map]
    project = replace(plan.project, plate_map=tuple(rows))
    return [f"{each.well}: {each.reason}" for each in choose_pilot(text, replace(plan, project=project))]


def test_the_wells_of_a_pilot(plan: Plan) -> None:
    spread = "spread over the others"
    controls = {"B03": "negative", "C03": "negative", "B02": "positive", "C02": "positive"}
    # Without controls the first, the middle (of eight, the fifth) and the last.
    assert chosen(plan, "3") == [f"B02: {spread}", f"C02: {spread}", f"C05: {spread}"]
    assert chosen(plan, "3", controls) == [
        "B02: positive control",
        "B03: negative control",
        "C04: in the middle of the others",
    ]
    assert chosen(plan, "1", controls) == ["B03: negative control"]
    assert chosen(plan, "4", controls)[2:] == [f"B04: {spread}", f"C05: {spread}"]
    assert len(chosen(plan, "99", controls)) == 8
    assert chosen(plan, "C05,B03,P/B03") == ["B03: as asked for", "C05: as asked for"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", "--pilot 0: expected at least one well"),
        ("", "expected a number of wells, or wells by name"),
        ("three", "plate P has no well three"),
        ("H12", "plate P has no well H12; give a number of wells, or wells of B02"),
        ("Q/B02", "the project's plates are P"),
    ],
)
def test_a_wrong_pilot_is_one_line(text: str, message: str, plan: Plan) -> None:
    with pytest.raises(InputError, match=message) as caught:
        choose_pilot(text, plan)
    assert "\n" not in str(caught.value)


def test_with_several_plates_a_well_needs_its_plate(plan: Plan) -> None:
    two = {"P": plan.project.plates["P"], "Q": plan.project.plates["P"]}
    several = Plan(replace(plan.project, plates=two), {"P": plan.n_fields["P"], "Q": plan.n_fields["P"]})
    with pytest.raises(InputError, match="several plates"):
        choose_pilot("B02", several)
    assert [each.name for each in choose_pilot("Q/C02,P/B02", several)] == ["P/B02", "Q/C02"]
    assert {each.plate for each in choose_pilot("3", several)} == {"P"}


def test_a_config_of_the_workflow_that_is_no_pilot_is_refused(copy: Path) -> None:
    with pytest.raises(RuntimeError, match="the project has no well P/H12"):
        snakemake(copy, "--dry-run", "--config", "pilot=P/H12")


def files_under(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))


def test_the_rough_number_of_files_is_that_of_the_store(piloted: tuple[Path, str], tmp_path: Path) -> None:
    project = load_project(piloted[0])
    measured = field_costs(plan_project(project, refresh=False))
    bare = load_project(make_project(tmp_path / "bare", wells=WELLS))
    rough = field_costs(plan_project(bare, refresh=True))
    for stage in BATCH_STAGES:
        assert measured[stage].n_wells == 2
        assert rough[stage].is_rough
        assert rough[stage].files == measured[stage].files, stage
        assert 1 / 8 < rough[stage].disk_bytes / measured[stage].disk_bytes < 8, stage


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_files_of_a_field_follow_from_the_layout(version: NgffVersion, tmp_path: Path, plan: Plan) -> None:
    convert = plan.project.config.convert.model_copy(update={"ngff_version": version})
    config = plan.project.config.model_copy(update={"convert": convert})
    store = PlateStore.create(tmp_path / "z", name="z", wells={"B02": 1}, n_rows=8, n_columns=12, ngff_version=version)
    planes = np.random.default_rng(1).integers(1, 9, (3, 200, 130), np.uint16)
    field = store.field("B02", 0)
    field.write_image(planes, channels=("a", "b", "c"), pixel_size_um=0.1, levels=2, chunk_px=64)
    image = files_under(field.path)
    field.write_label("cells", planes[0].astype(np.uint32))
    label = files_under(field.path / "labels" / "cells")
    of_labels = files_under(field.path) - image - label
    assert files_of_field(config, "convert", 3, 200, 130) == image + of_labels
    assert files_of_field(config, "cells", 3, 200, 130) == label
    assert files_of_field(config, "segment", 3, 200, 130) == 2 * label
    assert files_of_field(config, "measure", 3, 200, 130) == {"0.4": 14, "0.5": 9}[version]


def test_every_file_of_a_well_is_counted_once(piloted: tuple[Path, str]) -> None:
    project, _ = piloted
    costs = field_costs(plan_project(load_project(project), refresh=False))
    results = project / "results" / "P"
    fields = sum(files_under(results / "P.zarr" / well[0] / well[1:] / "0") for well in PILOT)
    tables = files_under(results / "measure") + files_under(results / "segment")
    records = len(well_records(project))
    assert sum(2 * cost.files for cost in costs.values()) == fields + tables + records


def test_what_a_forecast_says_is_what_the_records_say(copy: Path) -> None:
    project = load_project(copy)
    for path in (copy / "results" / "P" / "records").glob("*/wells/*.json"):
        record = json.loads(path.read_text())
        record |= {"seconds": 5.0, "ran_on": {"cores": 4, "device": "cuda" if record["stage"] == "segment" else "cpu"}}
        path.write_text(json.dumps(record))
    plan = plan_project(project, refresh=False)
    costs = field_costs(plan)
    assert {(cost.core_s, cost.n_wells) for cost in costs.values()} == {(20.0, 2)}
    assert [cost.gpu_s for cost in costs.values()] == [None, None, 5.0, None]
    todo = pending_wells(pending(project))
    assert todo == {(stage, "P"): {"B02", "B04"} for stage in BATCH_STAGES}
    found = forecast(plan, todo, machine=Machine(cores=8, gpus=1))
    stages = {stage.stage: stage for stage in found.stages}
    assert [(stage.jobs, stage.wells, stage.fields) for stage in found.stages[:4]] == [(2, 2, 2)] * 4
    assert found.jobs == 10
    assert found.gpu_h == stages["segment"].gpu_h == 2 * 5 / 3600
    # Two jobs of one field each: 20 core-seconds, and the start on as many cores.
    for stage in ("convert", "measure"):
        assert stages[stage].core_h * 3600 == pytest.approx(2 * (20 + LOCAL_START_S * THREADS[stage]))
    assert stages["convert"].disk_bytes == round(2 * costs["convert"].disk_bytes)


def test_the_wall_time_follows_the_order_of_jobs(copy: Path) -> None:
    for path in (copy / "results" / "P" / "records").glob("*/wells/*.json"):
        record = json.loads(path.read_text()) | {"seconds": 96.0, "ran_on": {"cores": 1, "device": "cpu"}}
        path.write_text(json.dumps(record))
    plan = plan_project(load_project(copy), refresh=False)

    def wall_s(machine: Machine) -> float:
        found = forecast(plan, all_wells(plan), machine=machine)
        return found.wall_h * 3600 - 3600 * sum(stage.core_h for stage in found.stages[4:])

    one = Machine(cores=1, start_s=0)
    # Two batches of two wells in four stages, all one after another.
    assert wall_s(one) == pytest.approx(4 * 4 * 96)
    # On 8 cores two jobs of convert or cells side by side on 4 cores each, of segment and measure one after another.
    assert wall_s(Machine(cores=8, start_s=0)) == pytest.approx(2 * (2 * 96 / 4) + 2 * 2 * (2 * 96 / 8))
    # On a cluster both batches go through all stages at once.
    assert wall_s(Machine(cores=None, jobs=100, start_s=0)) == pytest.approx(2 * (2 * 96 / 4) + 2 * (2 * 96 / 8))
    assert wall_s(Machine(cores=None, jobs=1, start_s=0)) == pytest.approx(2 * wall_s(Machine(None, jobs=2, start_s=0)))


def test_only_new_wells_take_room(copy: Path) -> None:
    plan = plan_project(load_project(copy), refresh=False)
    assert new_wells(plan) == {(stage, "P"): {"B02", "B04"} for stage in BATCH_STAGES}
    edit_config(copy, "overlap_px: 16", "overlap_px: 20")
    project = load_project(copy)
    todo = pending_wells(pending(project))
    assert todo["segment", "P"] == set(WELLS)
    found = forecast(plan_project(project, refresh=False), todo, machine=Machine(cores=2))
    segment = found.stages[2]
    assert segment.wells == 4
    costs = field_costs(plan)
    assert segment.disk_bytes == round(2 * costs["segment"].disk_bytes)
    assert done_wells(project.layout, "P", "segment") == set(PILOT)


def test_a_forecast_in_words(plan: Plan) -> None:
    text = "\n".join(lines(forecast(plan, all_wells(plan), machine=Machine(cores=2, gpus=1))))
    assert "no well was done yet: rough" in text
    assert "lysoquant run PROJECT --pilot 3" in text
    assert "GPU-hours are not known" in text
    assert "wall time on 2 cores and 1 GPU: about" in text
    assert [size(value) for value in (0, 999, 1500, 99_999, 123_456, 10**9, 54 * 10**11)] == (
        ["0 B", "999 B", "1.5 KB", "100 KB", "123 KB", "1 GB", "5.4 TB"]
    )
    assert [hours(value) for value in (None, 0, 0.0123, 12.3, 123.4)] == ["?", "-", "0.012", "12", "123"]
    assert [duration(value) for value in (0.001, 0.5, 12, 100)] == ["a minute", "30 min", "12 h", "4 days"]
