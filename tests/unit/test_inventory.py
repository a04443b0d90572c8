"""The raw-file inventory: what is read, what is kept, what is written, counted exactly."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from lysoquant.cells.params import CellsParams
from lysoquant.channels import Channels
from lysoquant.config import Config, Execution, PlateSource, Project, WellsPerJob
from lysoquant.errors import PlateError, StageError
from lysoquant.layout import Layout
from lysoquant.project.inventory import (
    PlateInventory,
    drop_unfinished,
    look_at_plate,
    plan_project,
    prune,
    raw_files,
    recorded_plate,
    refresh_plate,
)
from lysoquant.record import digest_file, read_json, write_json
from lysoquant.vocabulary import BATCH_STAGES

WELLS = ("B02", "B03", "B04")
PATTERN = r"(?P<well>[A-P]\d\d)_(?P<channel>[LC])\.tif"


@pytest.fixture
def raw(layout: Layout) -> Path:
    folder = layout.project / "raw"
    folder.mkdir()
    for number, name in enumerate(f"{well}_{channel}.tif" for well in WELLS for channel in "LC"):
        write_image(folder / name, number)
    return folder


def write_image(path: Path, value: int) -> None:
    tifffile.imwrite(path, np.full((8, 8), value, np.uint16))


def touch(path: Path) -> None:
    """Move a file's time of change by one second, whatever the clock's grain."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))


@pytest.fixture
def project(layout: Layout, raw: Path) -> Callable[..., Project]:
    def make(convert: int = 2) -> Project:
        config = Config(
            channels=Channels(lysosome="L", cargo="C"),
            cells=CellsParams(method="field"),
            execution=Execution(wells_per_job=WellsPerJob(convert=convert)),
        )
        source = PlateSource(plate="P", path="raw", format="tiff", pattern=PATTERN)
        return Project(layout=layout, config=config, plates={"P": source}, plate_map=())

    return make


def tracked(layout: Layout) -> dict[str, Any]:
    """Raw records by batch name, without the cache."""
    folder = layout.raw_record("P", "x").parent
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json") if path.stem != "cache"}


def tokens(layout: Layout) -> dict[str, str]:
    return {
        name: token
        for record in tracked(layout).values()
        for files in record["wells"].values()
        for name, token in files.items()
    }


def convert_records(layout: Layout, raw: Path) -> None:
    """Well records as convert leaves them."""
    for well in WELLS:
        read = [
            {
                "path": path.as_posix(),
                "size": path.stat().st_size,
                "mtime_ns": path.stat().st_mtime_ns,
                "sha256": digest_file(path),
            }
            for path in sorted(raw.glob(f"{well}_*.tif"))
        ]
        write_json(layout.well_record("P", "convert", well), {"read": read})


def times(layout: Layout) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in layout.raw_record("P", "x").parent.glob("*.json")}


def test_first_sight_reads_no_file_and_groups_by_batch(layout: Layout, raw: Path, project: Any) -> None:
    found = refresh_plate(project(), "P")
    assert found == PlateInventory(n_fields={"B02": 1, "B03": 1, "B04": 1}, n_files=6, n_hashed=0)
    assert set(tracked(layout)) == {"B02-B03", "B04-B04"}
    status = (raw / "B04_L.tif").stat()
    assert tracked(layout)["B04-B04"]["wells"]["B04"]["B04_L.tif"] == f"{status.st_size}-{status.st_mtime_ns}"


def test_a_second_look_reads_and_writes_nothing(layout: Layout, raw: Path, project: Any) -> None:
    refresh_plate(project(), "P")
    convert_records(layout, raw)
    before = times(layout)
    assert refresh_plate(project(), "P").n_hashed == 0
    assert times(layout) == before


def test_touched_files_are_hashed_once_and_change_no_record(layout: Layout, raw: Path, project: Any) -> None:
    refresh_plate(project(), "P")
    convert_records(layout, raw)
    before = tracked(layout), times(layout)
    for path in raw.iterdir():
        touch(path)
    assert refresh_plate(project(), "P").n_hashed == 6
    assert tracked(layout) == before[0]
    changed = {name for name, time in times(layout).items() if time != before[1][name]}
    assert changed == {"cache.json"}
    assert refresh_plate(project(), "P").n_hashed == 0


def test_a_project_that_was_moved_keeps_its_tokens(layout: Layout, raw: Path, project: Any) -> None:
    refresh_plate(project(), "P")
    convert_records(layout, raw)
    before = tokens(layout)
    for well in WELLS:
        path = layout.well_record("P", "convert", well)
        path.write_text(path.read_text().replace(str(layout.project), "/old/place"))
    touch(raw / "B03_C.tif")
    assert refresh_plate(project(), "P").n_hashed == 1
    assert tokens(layout) == before


def test_one_touched_file_costs_one_hash(layout: Layout, raw: Path, project: Any) -> None:
    refresh_plate(project(), "P")
    convert_records(layout, raw)
    touch(raw / "B03_C.tif")
    assert refresh_plate(project(), "P").n_hashed == 1


def test_changed_content_changes_its_token_only(layout: Layout, raw: Path, project: Any) -> None:
    refresh_plate(project(), "P")
    convert_records(layout, raw)
    before = tokens(layout)
    write_image(raw / "B03_C.tif", 99)
    touch(raw / "B03_C.tif")
    assert refresh_plate(project(), "P").n_hashed == 1
    after = tokens(layout)
    assert {name for name in after if after[name] != before[name]} == {"B03_C.tif"}
    # Once seen, the new file is known by size and time again.
    assert refresh_plate(project(), "P").n_hashed == 0
    assert tokens(layout) == after


def shared_plate(layout: Layout) -> tuple[Project, Path]:
    """Two wells in the pages of one OME-TIFF, whose XML places them."""
    well = '<Well Row="1" Column="{0}"><WellSample><ImageRef ID="Image:{0}"/></WellSample></Well>'
    image = (
        '<Image ID="Image:{0}"><Pixels SizeX="8" SizeY="8" SizeC="2" DimensionOrder="XYCZT" Type="uint16">'
        '<Channel Name="L"/><Channel Name="C"/><TiffData IFD="{1}" PlaneCount="2"/></Pixels></Image>'
    )
    plate = f"<Plate>{well.format(1)}{well.format(2)}</Plate>"
    text = f"<OME>{plate}{image.format(1, 0)}{image.format(2, 2)}</OME>"
    path = layout.project / "raw" / "all.tif"
    path.parent.mkdir()
    with tifffile.TiffWriter(path) as writer:
        for number in range(4):
            writer.write(
                np.full((8, 8), number, np.uint16), description=text if number == 0 else None, metadata=None,
                contiguous=False,
            )  # fmt: skip
    source = PlateSource(plate="P", path="raw", format="ome-tiff")
    config = Config(
        channels=Channels(lysosome="L", cargo="C"),
        cells=CellsParams(method="field"),
        execution=Execution(wells_per_job=WellsPerJob(convert=1)),
    )
    return Project(layout=layout, config=config, plates={"P": source}, plate_map=()), path


def test_a_file_of_several_wells_is_looked_at_once_and_its_change_is_the_plates(layout: Layout) -> None:
    project, path = shared_plate(layout)
    token = "{0.st_size}-{0.st_mtime_ns}".format(path.stat())
    expected = PlateInventory(n_fields={"B02": 1, "B03": 1}, n_files=1, n_hashed=0, shared={"all.tif": token})
    assert refresh_plate(project, "P") == expected
    assert recorded_plate(project, "P") == expected
    digest = plan_project(project, refresh=False).plate_digest("P")
    entry = {"path": path.as_posix(), "size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
    read = {"read": [entry | {"sha256": digest_file(path)}]}
    write_json(layout.well_record("P", "convert", "B03"), read)
    touch(path)
    assert refresh_plate(project, "P").n_hashed == 1
    assert plan_project(project, refresh=False).plate_digest("P") == digest
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    touch(path)
    assert refresh_plate(project, "P").n_hashed == 1
    assert set(tokens(layout).values()) == {"{0.st_size}-{0.st_mtime_ns}".format(path.stat())}
    assert plan_project(project, refresh=False).plate_digest("P") != digest


def test_a_file_that_was_never_converted_is_not_read(layout: Layout, raw: Path, project: Any) -> None:
    refresh_plate(project(), "P")
    before = tokens(layout)
    touch(raw / "B02_L.tif")
    assert refresh_plate(project(), "P").n_hashed == 0
    assert tokens(layout)["B02_L.tif"] != before["B02_L.tif"]


def test_without_its_cache_the_inventory_trusts_what_convert_saw(layout: Layout, raw: Path, project: Any) -> None:
    refresh_plate(project(), "P")
    before = tokens(layout)
    for path in raw.iterdir():
        touch(path)
    convert_records(layout, raw)
    layout.raw_record("P", "cache").unlink()
    assert refresh_plate(project(), "P").n_hashed == 0
    assert tokens(layout) == before
    layout.raw_record("P", "cache").unlink()
    touch(raw / "B02_L.tif")
    assert refresh_plate(project(), "P").n_hashed == 1
    assert tokens(layout) == before


def test_new_and_removed_files_change_their_well_only(layout: Layout, raw: Path, project: Any) -> None:
    refresh_plate(project(), "P")
    before = tracked(layout)
    (raw / "B04_C.tif").unlink()
    refresh_plate(project(), "P")
    assert tracked(layout)["B02-B03"] == before["B02-B03"]
    assert set(tracked(layout)["B04-B04"]["wells"]["B04"]) == {"B04_L.tif"}
    write_image(raw / "B05_L.tif", 7)
    found = refresh_plate(project(), "P")
    assert set(found.n_fields) == {*WELLS, "B05"}
    assert tracked(layout)["B02-B03"] == before["B02-B03"]


def test_a_file_that_can_not_be_read_gets_a_new_token(
    layout: Layout, raw: Path, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(path)

    refresh_plate(project(), "P")
    convert_records(layout, raw)
    before = tokens(layout)
    touch(raw / "B02_L.tif")
    monkeypatch.setattr("lysoquant.project.inventory.digest_image_file", refuse)
    assert refresh_plate(project(), "P").n_hashed == 1
    assert tokens(layout)["B02_L.tif"] != before["B02_L.tif"]


def test_another_cut_keeps_tokens_and_stale_records_are_removed(layout: Layout, raw: Path, project: Any) -> None:
    plan = plan_project(project(convert=2), refresh=True)
    for stage, batch in (("convert", "B02-B03"), ("cells", "B02-B04"), ("measure", "B02-B03")):
        write_json(layout.batch_record("P", stage, batch), {"wells": {}})
    write_json(layout.plate_record("P"), {"plate": "P"})
    convert_records(layout, raw)
    before = tokens(layout)
    assert prune(plan) == [layout.batch_record("P", "measure", "B02-B03")]
    plan = plan_project(project(convert=3), refresh=True)
    assert {layout.relative(path) for path in prune(plan)} == {
        "P/records/convert/B02-B03.json",
        "P/records/raw/B02-B03.json",
        "P/records/raw/B04-B04.json",
        "P/records/raw/plans/B02-B03.json",
        "P/records/raw/plans/B04-B04.json",
    }
    assert set(tracked(layout)) == {"B02-B04"}
    assert tokens(layout) == before
    assert layout.plate_record("P").exists()
    assert layout.raw_record("P", "cache").exists()
    assert all(layout.well_record("P", "convert", well).exists() for well in WELLS)


def test_the_records_give_the_same_plan_as_a_look(layout: Layout, project: Any) -> None:
    looked = plan_project(project(), refresh=True)
    trusted = plan_project(project(), refresh=False)
    assert trusted.n_fields == looked.n_fields
    assert trusted.plate_digest("P") == looked.plate_digest("P")
    assert recorded_plate(project(), "P").n_files == 6


def test_without_records_there_is_nothing_to_trust(project: Any) -> None:
    plan = plan_project(project(), refresh=False)
    with pytest.raises(StageError, match="no raw records"):
        plan.wells("P")


def test_a_job_reads_the_records_of_its_own_plate_only(layout: Layout, project: Any) -> None:
    refresh_plate(project(), "P")
    two = replace(project(), plates={name: PlateSource(plate=name, path="raw", format="tiff") for name in ("P", "Q")})
    plan = plan_project(two, refresh=False)
    assert [batch.name for batch in plan.batches("convert", "P")] == ["B02-B03", "B04-B04"]
    assert plan.upstream_records("cells", "P", "B02-B04")
    with pytest.raises(StageError, match="plate Q: no raw records"):
        plan.batches("convert", "Q")


def finish(layout: Layout, plan: Any) -> dict[str, Path]:
    """Records and outputs as the stages leave them; returns the tracked records by name."""
    found = {}
    for stage in BATCH_STAGES:
        for batch in plan.batches(stage, "P"):
            for well in batch.wells:
                wrote = f"P/P.zarr/{well[0]}/{well[1:]}/0" + ("" if stage == "convert" else f"/labels/{stage}")
                (layout.results / wrote).mkdir(parents=True)
                ((layout.results / wrote).parent / "zarr.json").touch()
                record = {
                    "key": f"{stage} {well}",
                    "digest": well,
                    "wrote": [wrote],
                    "fields": [{"field": 0}],
                    "read": [],
                }
                write_json(layout.well_record("P", stage, well), record)
            sums = {well: read_json(layout.well_record("P", stage, well)) for well in batch.wells}
            found[f"{stage} {batch.name}"] = layout.batch_record("P", stage, batch.name)
            write_json(found[f"{stage} {batch.name}"], {"wells": sums})
    found["plate"] = layout.plate_record("P")
    write_json(found["plate"], {"plate": "P"})
    for stage, output in (("aggregate", "tables/wells.csv"), ("report", "report/index.html")):
        (layout.results / output).parent.mkdir(parents=True, exist_ok=True)
        (layout.results / output).touch()
        found[stage] = layout.project_record(stage)
        for path in (found[stage], layout.project_work_record(stage)):
            write_json(path, {"key": stage, "wrote": [output]})
    return found


def without_labels(layout: Layout) -> None:
    (layout.results / "P/P.zarr/B/03/0/labels/segment").rmdir()


def without_a_well_record(layout: Layout) -> None:
    layout.well_record("P", "cells", "B04").unlink()


def without_the_store(layout: Layout) -> None:
    shutil.rmtree(layout.plate_store("P"))


def without_a_well(layout: Layout) -> None:
    shutil.rmtree(layout.plate_store("P") / "B" / "04")


def without_a_table(layout: Layout) -> None:
    (layout.tables / "wells.csv").unlink()


def without_the_work_record_of_the_report(layout: Layout) -> None:
    layout.project_work_record("report").unlink()


def with_a_damaged_field(layout: Layout) -> None:
    path = layout.well_record("P", "measure", "B02")
    write_json(path, (read_json(path) or {}) | {"fields": [{"field": 0, "damaged": True}]})


def with_a_well_done_by_hand(layout: Layout) -> None:
    path = layout.well_record("P", "cells", "B02")
    write_json(path, (read_json(path) or {}) | {"key": "another setting"})


def with_a_batch_record_cut_short(layout: Layout) -> None:
    layout.batch_record("P", "convert", "B04-B04").write_text('{"wells": ')


AFTER_SEGMENT = ["measure B02-B04", "aggregate", "report"]
EVERYTHING = ["plate", "convert B02-B03", "convert B04-B04", "cells B02-B04", "segment B02-B04", *AFTER_SEGMENT]


@pytest.mark.parametrize(
    ("change", "dropped"),
    [
        (lambda layout: None, []),
        (without_labels, ["segment B02-B04", *AFTER_SEGMENT]),
        (without_a_well_record, ["cells B02-B04", "segment B02-B04", *AFTER_SEGMENT]),
        (without_a_well, EVERYTHING),
        (without_the_store, EVERYTHING),
        (without_a_table, ["aggregate", "report"]),
        (without_the_work_record_of_the_report, ["report"]),
        (with_a_damaged_field, AFTER_SEGMENT),
        (with_a_well_done_by_hand, ["cells B02-B04", "segment B02-B04", *AFTER_SEGMENT]),
        (with_a_batch_record_cut_short, [name for name in EVERYTHING if name not in ("plate", "convert B02-B03")]),
    ],
)
def test_a_record_of_work_that_is_not_there_is_dropped(
    layout: Layout, raw: Path, project: Any, change: Callable[[Layout], None], dropped: list[str]
) -> None:
    records = finish(layout, plan_project(project(), refresh=True))
    wells = sorted(layout.results.glob("P/records/*/wells/*.json"))
    change(layout)
    there = [path for path in wells if path.exists()]
    assert set(drop_unfinished(plan_project(project(), refresh=False))) == {records[name] for name in dropped}
    assert {name for name, path in records.items() if not path.exists()} == set(dropped)
    assert sorted(layout.results.glob("P/records/*/wells/*.json")) == there
    assert drop_unfinished(plan_project(project(), refresh=False)) == []


def test_raw_files_of_a_batch(layout: Layout, project: Any) -> None:
    refresh_plate(project(), "P")
    assert set(raw_files(layout, "P", "B02-B03", ["B03"])["B03"]) == {"B03_C.tif", "B03_L.tif"}
    with pytest.raises(StageError, match="no raw record of well B04"):
        raw_files(layout, "P", "B02-B03", ["B03", "B04"])


def test_a_raw_plate_that_is_not_there_is_named(layout: Layout, raw: Path, project: Any) -> None:
    raw.rename(layout.project / "moved")
    with pytest.raises(PlateError, match=re.escape(str(raw))):
        refresh_plate(project(), "P")


def test_a_link_has_its_own_name_and_not_that_of_its_target(layout: Layout, raw: Path, project: Any) -> None:
    outside = layout.project / "elsewhere.tif"
    (raw / "B02_L.tif").rename(outside)
    (raw / "B02_L.tif").symlink_to(outside)
    refresh_plate(project(), "P")
    assert "B02_L.tif" in tokens(layout)


def test_a_file_name_that_is_not_utf8_costs_its_field(project: Callable[..., Project], raw: Path) -> None:
    (raw / "B02_L.tif").rename(raw / os.fsdecode(b"\xff_B02_L.tif"))
    plan_project(project(), refresh=True)
    description = look_at_plate(project(), "P").description
    assert [bool(description.wells[well][0].problems) for well in ("B02", "B03")] == [True, False]
    (note,) = (note for note in description.notes if "UTF-8" in note)
    assert "?_B02_L.tif" in note
    assert note.isprintable()
