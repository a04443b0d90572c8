"""Batches of wells: how they are cut, named and chained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lysoquant.cells.params import CellsParams
from lysoquant.channels import Channels
from lysoquant.config import Config, Execution, PlateSource, Project, WellsPerJob
from lysoquant.errors import ConfigError, InputError, ModelError
from lysoquant.layout import Layout
from lysoquant.project.batches import Batch, Plan, choose_wells, cut_batches, model_file, overlapping
from lysoquant.project.resources import job_memory_mb, job_runtime_min
from lysoquant.segment.params import SegmentParams
from lysoquant.vocabulary import well_name, well_order

wells = st.builds(well_name, st.sampled_from("ABCDEFGH"), st.integers(1, 12))


def make_plan(layout: Layout, n_fields: dict[str, int], *, finding: CellsParams | None = None, **sizes: int) -> Plan:
    config = Config(
        channels=Channels(lysosome="L", cargo="C", nucleus="N"),
        cells=finding or CellsParams(),
        execution=Execution(wells_per_job=WellsPerJob(**sizes)),
    )
    source = PlateSource(plate="P", path="raw", format="imagexpress")
    return Plan(
        project=Project(layout=layout, config=config, plates={"P": source}, plate_map=()), n_fields={"P": n_fields}
    )


def names(batches: tuple[Batch, ...]) -> list[str]:
    return [batch.name for batch in batches]


def test_wells_are_cut_in_reading_order() -> None:
    batches = cut_batches(["C01", "B12", "B02", "B03", "AA01"], wells_per_job=2)
    assert [batch.wells for batch in batches] == [("B02", "B03"), ("B12", "C01"), ("AA01",)]
    assert names(batches) == ["B02-B03", "B12-C01", "AA01-AA01"]


def test_a_well_named_twice_is_done_once() -> None:
    assert names(cut_batches(["B02", "B02"], wells_per_job=1)) == ["B02-B02"]


def test_no_wells_are_no_batches() -> None:
    assert cut_batches([], wells_per_job=3) == ()


def test_a_batch_of_no_wells_is_refused() -> None:
    with pytest.raises(ValueError, match="wells_per_job is 0"):
        cut_batches(["B02"], wells_per_job=0)


@given(st.sets(wells), st.integers(1, 20))
def test_every_well_is_in_exactly_one_batch_and_names_differ(chosen: set[str], size: int) -> None:
    batches = cut_batches(chosen, wells_per_job=size)
    assert [well for batch in batches for well in batch.wells] == sorted(chosen, key=well_order)
    assert all(len(batch.wells) == size for batch in batches[:-1])
    assert len(set(names(batches))) == len(batches)


def test_batches_of_other_sizes_overlap_by_wells() -> None:
    convert = cut_batches(["B01", "B02", "B03", "B04", "B05"], wells_per_job=2)
    measure = cut_batches(["B01", "B02", "B03", "B04", "B05"], wells_per_job=3)
    assert names(overlapping(measure[0], convert)) == ["B01-B02", "B03-B04"]
    assert names(overlapping(measure[1], convert)) == ["B03-B04", "B05-B05"]


def test_a_job_waits_for_every_record_that_shares_a_well(layout: Layout) -> None:
    plan = make_plan(layout, dict.fromkeys(("B01", "B02", "B03"), 1), convert=1, cells=2, segment=3, measure=3)
    waits = [plan.path(path) for path in plan.upstream_records("segment", "P", "B01-B03")]
    assert waits == [
        "results/P/records/convert/B01-B01.json",
        "results/P/records/convert/B02-B02.json",
        "results/P/records/convert/B03-B03.json",
        "results/P/records/cells/B01-B02.json",
        "results/P/records/cells/B03-B03.json",
    ]
    assert plan.upstream_records("convert", "P", "B01-B01") == []
    assert [plan.path(path) for path in plan.measure_records()] == ["results/P/records/measure/B01-B03.json"]


def test_an_unknown_batch_is_an_error_that_lists_the_batches(layout: Layout) -> None:
    plan = make_plan(layout, {"B01": 1, "B02": 1}, measure=1)
    with pytest.raises(InputError, match=r"no measure batch 'B01-B02'; it has B01-B01, B02-B02"):
        plan.batch("measure", "P", "B01-B02")


def test_batch_names_cover_all_plates_once(layout: Layout) -> None:
    plan = make_plan(layout, {"B01": 1, "A01": 1}, cells=1)
    sources = {name: plan.project.plates["P"].model_copy(update={"plate": name}) for name in ("P", "Q")}
    project = Project(layout=layout, config=plan.project.config, plates=sources, plate_map=())
    plan = Plan(project=project, n_fields={"P": {"B01": 1, "A01": 1}, "Q": {"B01": 1, "C01": 1}})
    assert plan.plates == ("P", "Q")
    assert plan.batch_names("cells") == ("A01-A01", "B01-B01", "C01-C01")


def test_the_plate_digest_follows_wells_and_fields_and_not_their_order(layout: Layout) -> None:
    digest = make_plan(layout, {"B01": 1, "B02": 2}).plate_digest("P")
    assert make_plan(layout, {"B02": 2, "B01": 1}).plate_digest("P") == digest
    assert make_plan(layout, {"B01": 1, "B02": 3}).plate_digest("P") != digest


def test_results_outside_the_project_have_absolute_paths(tmp_path: Path) -> None:
    plan = make_plan(Layout(project=tmp_path / "p", results=tmp_path / "out"), {"B01": 1})
    assert plan.path(tmp_path / "out" / "a") == (tmp_path / "out" / "a").as_posix()
    assert plan.path(tmp_path / "p" / "b") == "b"


def test_outlines_made_elsewhere_are_inputs_where_they_are_there(layout: Layout) -> None:
    outlines = CellsParams(method="rois", path="rois/{well}_{field}.zip")
    plan = make_plan(layout, {"B01": 2, "B02": 1}, finding=outlines)
    (layout.project / "rois").mkdir()
    for name in ("B01_1.zip", "B02_0.zip", "B09_0.zip"):
        (layout.project / "rois" / name).touch()
    found = [plan.path(path) for path in plan.outline_files("P", "B01-B02")]
    assert found == ["rois/B01_1.zip", "rois/B02_0.zip"]
    assert make_plan(layout, {"B01": 2}).outline_files("P", "B01-B01") == []


def test_chosen_wells_come_in_reading_order() -> None:
    assert choose_wells("B10, B02", plate="P", wells=["B02", "B03", "B10"]) == ("B02", "B10")


@pytest.mark.parametrize(("text", "named"), [("B02,B99", "B99"), (" , ", "none was named")])
def test_a_well_that_the_plate_lacks_is_an_error_that_lists_its_wells(text: str, named: str) -> None:
    with pytest.raises(InputError, match=rf"{named}.*its wells are B02, B03"):
        choose_wells(text, plate="P", wells=["B02", "B03"])


def test_the_model_is_the_configured_file(layout: Layout) -> None:
    project = make_plan(layout, {"B01": 1}).project
    config = project.config.model_copy(update={"segment": SegmentParams(model="m.safetensors")})
    project = Project(layout=layout, config=config, plates=project.plates, plate_map=())
    with pytest.raises(ConfigError, match=r"segment.model is 'm.safetensors' and .* is not a file"):
        model_file(project)
    (layout.project / "m.safetensors").write_bytes(b"abc")
    assert model_file(project) == layout.project / "m.safetensors"
    # SHA-256 of "abc", from the standard (FIPS 180-2).
    assert Plan(project=project, n_fields={}).model_sha256["segment"].startswith("ba7816bf8f01cfea414140de5dae2223")


def test_cells_by_cellpose_run_a_network_with_a_model_of_their_own(layout: Layout) -> None:
    plan = make_plan(layout, {"B01": 1}, finding=CellsParams(method="cellpose", cellpose_model="own.pt"))
    with pytest.raises(ModelError, match=r"cells.cellpose_model is 'own.pt' and neither"):
        plan.model_sha256  # noqa: B018
    (layout.project / "own.pt").write_bytes(b"abc")
    plan = make_plan(layout, {"B01": 1}, finding=CellsParams(method="cellpose", cellpose_model="own.pt"))
    assert plan.model_sha256["cells"].startswith("ba7816bf8f01cfea414140de5dae2223")
    assert plan.networks == ("cells", "segment")
    assert make_plan(layout, {"B01": 1}).networks == ("segment",)


@pytest.mark.parametrize(
    ("method", "device", "memory_mb", "minutes"),
    [("watershed", "cuda", 5000, 13), ("cellpose", "cpu", 10000, 60), ("cellpose", "cuda", 9000, 18)],
)
def test_cells_ask_for_what_their_method_needs(
    layout: Layout, method: str, device: str, memory_mb: int, minutes: int
) -> None:
    plan = make_plan(layout, {"B01": 1}, finding=CellsParams.model_validate({"method": method}))
    execution = plan.project.config.execution.model_copy(update={"device": device})
    config = plan.project.config.model_copy(update={"execution": execution})
    plan = replace(plan, project=replace(plan.project, config=config))
    # 4 wells with 12 fields in 4 threads: a base and 4 fields' memory; a start and 3 fields' time.
    assert job_memory_mb(plan.needs("cells"), n_wells=4, threads=4, attempt=1) == memory_mb
    assert job_runtime_min(plan.needs("cells"), n_wells=4, n_fields=12, threads=4, attempt=1) == minutes
    assert plan.needs("segment") == "segment"
