"""measure on a small plate: wells, failed fields, skipped wells, and equal bytes wherever it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lysoquant.channels import Channels
from lysoquant.errors import StageError
from lysoquant.io.store import PlateStore
from lysoquant.io.tables import read_parquet, read_schema, write_parquet
from lysoquant.layout import Layout
from lysoquant.measure.columns import cells_schema, endolysosomes_schema, fields_schema, segment_schema
from lysoquant.measure.params import MeasureParams, MeasureSettings
from lysoquant.measure.step import run
from lysoquant.record import field_report, read_json, write_json
from lysoquant.workers.params import DaskSettings

CHANNELS = ("DAPI", "LAMP1", "SEC62")
SETTINGS = MeasureSettings(
    channels=Channels(lysosome="LAMP1", cargo="SEC62", nucleus="DAPI"),
    params=MeasureParams(),
)
WELLS = {"A01": 3, "B02": 1}
PX = 0.1
SHAPE = (120, 140)


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Planes, cells and regions of a field: cell 1 has a nucleus and regions 1 to 4, cell 2 has nothing."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    cells = np.zeros(SHAPE, dtype=np.uint32)
    cells[2:118, 2:100], cells[2:118, 110:138] = 1, 2
    planes = rng.poisson(100, (3, *SHAPE))
    planes[0][(y - 60) ** 2 + (x - 40) ** 2 < 30**2] += 1000
    labels = np.zeros(SHAPE, dtype=np.uint32)
    for number, radius in enumerate((4, 5, 6, 1), start=1):
        ring = np.hypot(y - 25 * number, x - 85)
        labels[ring <= radius] = number
        planes[1][np.abs(ring - radius + 1) < 1] += 500
    return planes.astype(np.uint16), cells, labels


def write_well(layout: Layout, store: PlateStore, well: str, failed: dict[int, str]) -> None:
    """What convert, cells and segment leave; `failed` names the stage that failed a field."""
    objects = []
    for index in range(WELLS[well]):
        planes, cells, labels = draw(index)
        field = store.field(well, index)
        if failed.get(index) == "convert":
            planes = np.zeros_like(planes)
        if index in failed:
            cells, labels = np.zeros_like(cells), np.zeros_like(labels)
        field.write_image(planes, channels=CHANNELS, pixel_size_um=PX, levels=1, chunk_px=64)
        field.write_label("cells", cells)
        field.write_label("endolysosomes", labels)
        objects += [(index, 1, int(n), 1 / n, n < 3) for n in np.unique(labels[labels > 0])[::-1]]
    frame = pd.DataFrame(objects, columns=segment_schema().names)
    write_parquet(layout.plate_folder("P1") / "segment" / f"{well}.parquet", frame, segment_schema())
    for stage in ("convert", "cells", "segment"):
        reports = []
        for index in range(WELLS[well]):
            values = {"focus_score": 2.5 + index, "saturated_fraction": 0.0} if stage == "convert" else {}
            bad = failed.get(index) == stage
            reports.append(
                field_report(index, status="failed", reasons=[f"{stage} says no"])
                if bad
                else field_report(index, **values)
            )
        write_json(layout.well_record("P1", stage, well), {"digest": f"{stage} {well}", "fields": reports})


@pytest.fixture
def project(layout: Layout) -> Layout:
    store = PlateStore.create(
        layout.plate_store("P1"), name="P1", wells=WELLS, n_rows=2, n_columns=3, ngff_version="0.5"
    )
    write_well(layout, store, "A01", failed={1: "segment", 2: "convert"})
    write_well(layout, store, "B02", failed={})
    return layout


def measure(layout: Layout, **changes: Any) -> dict[str, Any]:
    return run(
        **(
            {
                "layout": layout,
                "plate": "P1",
                "wells": list(WELLS),
                "settings": SETTINGS,
                "record": layout.batch_record("P1", "measure", "b0"),
            }
            | changes
        )
    )


def tables(layout: Layout, well: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(layout.well_tables("P1", well).iterdir())}


def test_a_plates_tables(project: Layout) -> None:
    record = measure(project)
    folder = project.well_tables("P1", "A01")
    regions = read_parquet(folder / "endolysosomes.parquet")
    assert regions[["plate", "well"]].drop_duplicates().to_numpy().tolist() == [["P1", "A01"]]
    assert regions["field"].tolist() == [0, 0, 0]
    assert regions["label"].tolist() == [1, 2, 3]
    assert regions["is_loaded"].tolist() == [True, True, False]
    assert regions["p_loaded"].tolist() == pytest.approx([1, 0.5, 1 / 3])
    # Of the field's own pixels: the discs' centres and the nucleus' edge 29 pixels around (60, 40).
    assert regions["centroid_y_um"].tolist() == pytest.approx([2.5, 5.0, 7.5])
    expected = [(np.hypot(25 * number - 60, 45) - 29) * PX for number in (1, 2, 3)]
    assert regions["distance_to_nucleus_um"].tolist() == pytest.approx(expected, abs=1.5 * PX)
    assert regions["distance_to_cell_border_um"].tolist() == pytest.approx([1.5] * 3)
    cells = read_parquet(folder / "cells.parquet")
    assert cells["cell"].tolist() == [1, 2]
    assert cells["n_endolysosomes"].tolist() == [3, 0]
    assert cells["occupancy"].tolist()[0] == pytest.approx(2 / 3)
    assert np.isnan(cells["occupancy"].tolist()[1])
    counts = record["wells"]["A01"]["counts"]
    assert counts == {"cells": 2, "endolysosomes": 3, "n_below_min_area": 1}


def test_other_cargoes_go_from_segments_table_into_every_table(project: Layout) -> None:
    """LC3 has DAPI's pixels here, so that its columns can be told from SEC62's."""
    settings = SETTINGS.model_copy(
        update={"channels": Channels(lysosome="LAMP1", cargo="SEC62", other_cargoes=("DAPI",))}
    )
    measure(project)
    before = {well: tables(project, well) for well in WELLS}
    for well in WELLS:
        path = project.plate_folder("P1") / "segment" / f"{well}.parquet"
        objects = read_parquet(path)
        objects["p_loaded_DAPI"] = 1 - objects["p_loaded"]
        objects["is_loaded_DAPI"] = objects["p_loaded_DAPI"] >= 0.5
        write_parquet(path, objects, segment_schema(["DAPI"]))
    measure(project, settings=settings)
    folder = project.well_tables("P1", "A01")
    regions = read_parquet(folder / "endolysosomes.parquet")
    assert read_schema(folder / "endolysosomes.parquet").equals(endolysosomes_schema(CHANNELS, ["DAPI"]))
    assert regions["is_loaded_DAPI"].tolist() == [False, True, True]
    assert regions["p_loaded_DAPI"].tolist() == pytest.approx([0, 0.5, 2 / 3])
    cells = read_parquet(folder / "cells.parquet")
    assert read_schema(folder / "cells.parquet").equals(cells_schema(CHANNELS, ["DAPI"]))
    assert cells["n_loaded_DAPI"].tolist() == [2, 0]
    copy = read_parquet(project.plate_store("P1") / "A/01/0/tables/endolysosomes/table.parquet")
    assert copy["is_loaded_DAPI"].tolist() == [False, True, True]
    for well, files in before.items():
        assert tables(project, well)["fields.parquet"] == files["fields.parquet"]


def test_a_failed_field_keeps_its_row_and_gives_no_cell_and_no_region(project: Layout) -> None:
    record = measure(project)
    fields = read_parquet(project.well_tables("P1", "A01") / "fields.parquet")
    assert fields["field"].tolist() == [0, 1, 2]
    assert fields["status"].tolist() == ["ok", "failed", "failed"]
    assert fields["reason"].tolist() == ["", "segment says no", "convert says no"]
    assert fields["n_cells"].tolist() == [2, 0, 0]
    assert fields["n_endolysosomes"].tolist() == [3, 0, 0]
    np.testing.assert_array_equal(fields["focus_score"], [2.5, 3.5, np.nan])
    own = record["wells"]["A01"]["fields"]
    assert [(report["status"], report["reasons"]) for report in own] == [("ok", []), ("failed", []), ("failed", [])]


def test_a_well_of_failed_fields_has_typed_empty_tables(project: Layout) -> None:
    store = PlateStore.open(project.plate_store("P1"))
    write_well(project, store, "B02", failed={0: "convert"})
    measure(project, wells=["B02"])
    folder = project.well_tables("P1", "B02")
    assert read_schema(folder / "endolysosomes.parquet").equals(endolysosomes_schema(CHANNELS))
    assert read_schema(folder / "cells.parquet").equals(cells_schema(CHANNELS))
    assert read_schema(folder / "fields.parquet").equals(fields_schema(CHANNELS))
    assert len(read_parquet(folder / "endolysosomes.parquet")) == 0
    assert len(read_parquet(folder / "cells.parquet")) == 0


def test_a_field_that_cannot_be_measured_is_flagged_or_stops_the_run(project: Layout) -> None:
    store = PlateStore.open(project.plate_store("P1"))
    store.field("B02", 0).write_label("endolysosomes", np.ones(SHAPE, dtype=np.uint32))
    with pytest.raises(StageError, match="plate P1, well B02, field 0: label image endolysosomes and segment's table"):
        measure(project, wells=["B02"], settings=SETTINGS.model_copy(update={"on_bad_field": "fail"}))
    record = measure(project, wells=["B02"])
    assert record["wells"]["B02"]["counts"] == {"cells": 0, "endolysosomes": 0, "n_below_min_area": 0}
    fields = read_parquet(project.well_tables("P1", "B02") / "fields.parquet")
    assert fields["status"].tolist() == ["failed"]
    assert "run `lysoquant segment` again" in fields["reason"].tolist()[0]


def test_only_wells_whose_input_or_settings_changed_are_measured_again(
    project: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    first = measure(project)
    assert measure(project) == first
    record = project.well_record("P1", "segment", "B02")
    write_json(record, json.loads(record.read_text()) | {"digest": "another"})
    capsys.readouterr()
    again = measure(project)
    assert "1 of 2 unchanged" in capsys.readouterr().err
    assert again["wells"]["A01"] == first["wells"]["A01"]
    assert again["wells"]["B02"]["key"] != first["wells"]["B02"]["key"]
    assert again["wells"]["B02"]["digest"] == first["wells"]["B02"]["digest"]
    stricter = measure(project, settings=SETTINGS.model_copy(update={"params": MeasureParams(min_area_um2=0.6)}))
    assert stricter["wells"]["A01"]["counts"] == {"cells": 2, "endolysosomes": 2, "n_below_min_area": 2}


def test_processes_threads_and_this_process_write_equal_bytes(project: Layout, tmp_path: Path) -> None:
    results = []
    for dask, cores in (("processes", 1), ("threads", 2), ("processes", 2)):
        measure(project, dask=DaskSettings(scheduler=dask), cores=cores)
        results.append([tables(project, well) for well in WELLS])
        for well in WELLS:
            project.well_record("P1", "measure", well).unlink()
    assert results[0] == results[1] == results[2]
    assert set(results[0][0]) == {"cells.parquet", "endolysosomes.parquet", "fields.parquet"}


@pytest.fixture
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as running:
        yield running


def test_a_running_cluster_writes_equal_bytes(project: Layout, cluster: Any) -> None:
    measure(project)
    before = [tables(project, well) for well in WELLS]
    for well in WELLS:
        project.well_record("P1", "measure", well).unlink()
    measure(project, dask=DaskSettings(scheduler=cluster.scheduler_address))
    assert [tables(project, well) for well in WELLS] == before
    assert read_json(project.batch_record("P1", "measure", "b0")) is not None


def test_a_missing_upstream_record_or_table_is_named(project: Layout) -> None:
    (project.plate_folder("P1") / "segment" / "B02.parquet").unlink()
    with pytest.raises(StageError, match=r"B02\.parquet can't be read"):
        measure(project)
    assert read_json(project.well_record("P1", "measure", "A01")) is not None
    project.well_record("P1", "cells", "B02").unlink()
    with pytest.raises(StageError, match="no cells record of well B02"):
        measure(project)


def copies(layout: Layout) -> dict[str, tuple[int, bytes]]:
    """Time of change and content of every file of tables in the store."""
    files = sorted(layout.plate_store("P1").glob("*/*/*/tables/**/*"))
    return {
        path.relative_to(layout.plate_store("P1")).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in files
        if path.is_file()
    }


def test_the_store_holds_copies_of_good_fields_and_only_changed_wells_write_theirs(project: Layout) -> None:
    record = measure(project)
    first = copies(project)
    names = [name for name in first if name.endswith("/table.parquet")]
    # Fields 1 and 2 of A01 failed.
    assert sorted({name.partition("/tables/")[0] for name in names}) == ["A/01/0", "B/02/0"]
    assert sorted({name.split("/")[-2] for name in names}) == [
        "FOV_ROI_table",
        "cells",
        "cells_ROI_table",
        "endolysosomes",
    ]
    wrote = record["wells"]["A01"]["wrote"]
    assert sum(path.endswith("/table.parquet") for path in wrote) == 4
    field = project.plate_store("P1") / "A/01/0/tables"
    regions = read_parquet(project.well_tables("P1", "A01") / "endolysosomes.parquet")
    copy = read_parquet(field / "endolysosomes/table.parquet")
    assert copy.equals(regions[copy.columns])
    assert set(regions.columns) - set(copy.columns) == {"plate", "well", "field"}
    boxes = read_parquet(field / "cells_ROI_table/table.parquet")
    cells = read_parquet(field / "cells/table.parquet")
    assert boxes["label"].tolist() == cells["label"].tolist() == [1, 2]
    image = PlateStore.open(project.plate_store("P1")).field("A01", 0).read_label("cells")
    for row in boxes.itertuples():
        y, x = np.nonzero(image == row.label)
        assert round(row.y_micrometer / PX) == y.min()
        assert round(row.len_x_micrometer / PX) == x.max() + 1 - x.min()
    # A lost file is written again, and nothing of the other well.
    (field / "cells/table.parquet").unlink()
    measure(project)
    second = copies(project)
    assert {name: content for name, (_, content) in second.items()} == {
        name: content for name, (_, content) in first.items()
    }
    changed = {name for name in second if second[name][0] != first[name][0]}
    assert {name.partition("/tables/")[0] for name in changed} == {"A/01/0"}
    # Without the copies the other tables are the same.
    whole = tables(project, "A01")
    params = SETTINGS.params.model_copy(update={"store_tables": False})
    measure(project, settings=SETTINGS.model_copy(update={"params": params}))
    assert copies(project) == {}
    assert tables(project, "A01") == whole
