"""What a plan keeps of a raw plate is the plate as its reader described it, and jobs read no index for their wells."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from container_files import write_lif
from index_files import make_harmony, shots
from test_convert_reads import noise, opens

from lysoquant.cli.stages import run_stage
from lysoquant.config import Project, load_project
from lysoquant.convert.describe import describe_plate, description_digest, positions
from lysoquant.convert.params import ConvertSettings
from lysoquant.convert.planned import planned_plate
from lysoquant.convert.step import write_plate
from lysoquant.errors import StageError
from lysoquant.io.raw.description import RawPlate
from lysoquant.project.init import initialise
from lysoquant.project.inventory import plan_project, raw_base

ROLES = {"lysosome": "ch 1", "cargo": "ch 2", "no_nucleus": True}


def harmony(folder: Path, **choice: Any) -> Project:
    """A plate of two wells with stacks, a missing and a second image."""
    images = shots(planes=3)
    make_harmony(folder / "raw" / "Images", [*images, images[0]], without=[images[-1].file])
    made = initialise(raw=folder / "raw", project=folder / "p", **ROLES, **{"z": "max", **choice})  # type: ignore[arg-type]
    config = made.written[0]
    text, found = re.subn(r"(?m)^    convert: \d+$", "    convert: 1", config.read_text())
    assert found == 1
    config.write_text(text)
    return load_project(folder / "p")


def lif(folder: Path) -> Project:
    (folder / "raw").mkdir()
    images = {f"{well}/R1": ("CYX", noise(seed, 3, 48, 40)) for seed, well in enumerate(("A/1", "A/2"))}
    write_lif(folder / "raw/p.lif", images, channels=("lamp1", "sec62", "dapi"))
    initialise(raw=folder / "raw/p.lif", project=folder / "p")
    return load_project(folder / "p")


def settings_of(project: Project) -> ConvertSettings:
    (plate,) = project.plates
    settings = project.settings("convert", plate)
    assert isinstance(settings, ConvertSettings)
    return settings


def batches(project: Project) -> list[tuple[str, tuple[str, ...]]]:
    (plate,) = project.plates
    return [(batch.name, batch.wells) for batch in plan_project(project, refresh=True).batches("convert", plate)]


def planned(project: Project, batch: str, wells: tuple[str, ...], **changes: Any) -> RawPlate | None:
    (plate,) = project.plates
    settings = settings_of(project)
    settings = settings.model_copy(update={"params": settings.params.model_copy(update=changes)})
    base = raw_base(project, plate)
    return planned_plate(layout=project.layout, plate=plate, batch=batch, wells=wells, settings=settings, base=base)


@pytest.mark.parametrize("make", [harmony, lif])
def test_a_plan_gives_the_plate_as_it_was_described(tmp_path: Path, make: Callable[[Path], Project]) -> None:
    project = make(tmp_path)
    described = describe_plate(layout=project.layout, settings=settings_of(project))
    source = project.layout.project / settings_of(project).source.path
    seen = []
    for batch, wells in batches(project):
        found = planned(project, batch, wells)
        assert found is not None
        same = ("name", "format", "channels", "n_rows", "n_columns", "pixel_size_um", "shape")
        assert [tuple(v) if isinstance(v := getattr(found, name), list) else v for name in same] == [
            getattr(described, name) for name in same
        ]
        for well in wells:
            assert [dataclasses.asdict(field) for field in positions(found, well)] == [
                dataclasses.asdict(field) for field in positions(described, well)
            ]
            assert description_digest(found, well, source) == description_digest(described, well, source)
        seen += found.wells
    assert seen == list(described.wells)


def test_a_plan_of_other_settings_or_another_record_is_not_taken(tmp_path: Path) -> None:
    project = harmony(tmp_path)
    (batch, wells), *_ = batches(project)
    (plate,) = project.plates
    plan, record = project.layout.raw_plan(plate, batch), project.layout.raw_record(plate, batch)
    kept = plan.read_text()
    assert planned(project, batch, wells) is not None
    assert planned(project, batch, wells, z=2) is None
    assert planned(project, batch, wells, timepoint="each") is None
    assert planned(project, batch, (*wells, "C07")) is None
    assert planned(project, "C07-C07", ("C07",)) is None
    content = json.loads(kept)
    content["wells"][wells[0]][0]["planes"]["ch 1"]["1"][0] = "Images/another.tif"
    for text in (
        json.dumps(content),
        "{",
        "[]",
        json.dumps({**content, "wells": 7}),
        json.dumps({**content, "plate": []}),
    ):
        plan.write_text(text)
        assert planned(project, batch, wells) is None
    plan.write_text(kept)
    record.unlink()
    assert planned(project, batch, wells) is None


def test_jobs_of_the_workflow_read_no_index(tmp_path: Path) -> None:
    project = harmony(tmp_path)
    cut = batches(project)
    assert len(cut) == 2
    (plate,) = project.plates
    write_plate(layout=project.layout, plate=plate, settings=settings_of(project))

    def convert() -> tuple[int, list[str]]:
        with opens() as found:
            records = [
                run_stage("convert", project=project, plate=plate, batch=name, wells=wells,
                          record=project.layout.batch_record(plate, "convert", name))
                for name, wells in cut
            ]  # fmt: skip
        return found["Index.idx.xml"], [entry["key"] for done in records for entry in done["wells"].values()]

    n_read, keys = convert()
    assert n_read == 0
    for name, _ in cut:
        project.layout.raw_plan(plate, name).unlink()
    # Without its plan a job describes the plate, and finds its wells done: nothing in their keys differs.
    n_described, again = convert()
    assert n_described == 2 * len(cut)  # looked into, to recognise it, and read
    assert again == keys


def test_a_job_whose_files_are_all_gone_fails_its_fields_while_the_plate_is_there(tmp_path: Path) -> None:
    project = harmony(tmp_path)
    (name, wells), *_ = batches(project)
    (plate,) = project.plates
    write_plate(layout=project.layout, plate=plate, settings=settings_of(project))
    found = planned(project, name, wells)
    assert found is not None
    for path in found.files(wells[0]):
        path.unlink()
    record = project.layout.batch_record(plate, "convert", name)
    done = run_stage("convert", project=project, plate=plate, batch=name, wells=wells, record=record)
    # The first field has an image that is listed twice, whether it is there or not.
    assert [(field["status"], field.get("unreached")) for field in done["wells"][wells[0]]["fields"]] == [
        ("failed", None),
        ("failed", True),
    ]
    shutil.rmtree(tmp_path / "raw")
    record.unlink()
    project.layout.well_record(plate, "convert", wells[0]).unlink()
    with pytest.raises(StageError, match="its raw files are all gone"):
        run_stage("convert", project=project, plate=plate, batch=name, wells=wells, record=record)


def test_plans_of_batches_that_are_no_more_are_removed(tmp_path: Path) -> None:
    from lysoquant.project.inventory import prune

    project = harmony(tmp_path)
    (plate,) = project.plates
    (first, _), *_ = batches(project)
    stale = project.layout.raw_plan(plate, "C07-C07")
    stale.write_text("{}")
    assert prune(plan_project(project, refresh=False)) == [stale]
    assert project.layout.raw_plan(plate, first).is_file()
