"""segment on a tiny plate, with a network whose answer is known and with a real one of random weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from network_kit import Threshold, all_work_as_on_a_gpu, batches_as_on_a_gpu, threshold_model, write_tiny
from numpy.typing import NDArray

from lysoquant.channels import Channels
from lysoquant.errors import FieldError, InputError, ModelError, StageError
from lysoquant.io.store import PlateStore
from lysoquant.io.tables import read_parquet
from lysoquant.layout import Layout
from lysoquant.model.weights import Model
from lysoquant.record import field_report, read_json, write_json
from lysoquant.segment.crops import MAX_MODEL_PX, CellCrop, require_reasonable
from lysoquant.segment.params import SegmentParams, SegmentSettings
from lysoquant.segment.step import run

CHANNELS = ("DAPI", "LAMP1", "SEC62")
WELLS = {"A01": 2, "B02": 1}
SHAPE = (96, 110)
LARGE, SMALL = (slice(2, 62), slice(2, 62)), (slice(64, 94), slice(70, 100))
DISCS = {1: (20, 20, 6), 2: (20, 31, 6), 3: (50, 50, 5), 4: (80, 85, 4)}
IS_LOADED = {1: True, 2: False, 3: False, 4: True}
CELL = {1: 1, 2: 1, 3: 1, 4: 3}
TILES_A_FIELD = 9 + 1
"""60 px of 0.1 um are 240 model pixels, 3 tiles an edge; 30 px are 120, less than one."""


def disc(number: int) -> NDArray[np.bool_]:
    y, x, radius = DISCS[number]
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def draw() -> tuple[NDArray[np.uint16], NDArray[np.uint32]]:
    """A field: two cells on a faint checkerboard, so that no tile of a cell is empty; a bright speck of one pixel."""
    faint = 100 + 4 * (np.indices(SHAPE).sum(axis=0) % 2)
    planes = np.stack([faint] * 3).astype(np.uint16)
    for number in reversed(DISCS):
        planes[1][disc(number)] = 2000
        planes[2][disc(number)] = 2000 if IS_LOADED[number] else 100
    planes[1][10, 50] = 2000
    planes[1][:, 104:] = 2000  # outside all cells
    cells = np.zeros(SHAPE, np.uint32)
    cells[LARGE], cells[SMALL] = 1, 3
    return planes, cells


def make_project(
    layout: Layout, *, pixel_size_um: float = 0.1, failed: dict[str, int] | None = None, wells: dict[str, int] = WELLS
) -> Layout:
    store = PlateStore.create(
        layout.plate_store("P1"), name="P1", wells=wells, n_rows=2, n_columns=3, ngff_version="0.5"
    )
    planes, cells = draw()
    for well, count in wells.items():
        for index in range(count):
            field = store.field(well, index)
            field.write_image(planes, channels=CHANNELS, pixel_size_um=pixel_size_um, levels=1, chunk_px=64)
            field.write_label("cells", cells)
        for stage in ("convert", "cells"):
            reports = [field_report(index) for index in range(count)]
            if stage == "convert" and well in (failed or {}):
                index = (failed or {})[well]
                reports[index] = field_report(index, status="failed", reasons=["truncated"])
            write_json(layout.well_record("P1", stage, well), {"digest": f"{stage} {well}", "fields": reports})
    return layout


def settings(*, on_bad_field: Any = "flag", other_cargoes: tuple[str, ...] = (), **params: Any) -> SegmentSettings:
    given = {"model": "tiny.safetensors", "tile_px": 128, "overlap_px": 16, "precision": "fp32"} | params
    return SegmentSettings(
        channels=Channels(lysosome="LAMP1", cargo="SEC62", other_cargoes=other_cargoes, nucleus="DAPI"),
        params=SegmentParams(**given),
        on_bad_field=on_bad_field,
    )


def segment(layout: Layout, chosen: SegmentSettings | None = None, **changes: Any) -> dict[str, Any]:
    call: dict[str, Any] = {
        "layout": layout,
        "plate": "P1",
        "wells": list(WELLS),
        "settings": chosen or settings(),
        "record": layout.batch_record("P1", "segment", "b0"),
        "device": "cpu",
    }
    return run(**(call | changes))


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch, layout: Layout) -> Threshold:
    """Stands for the model file; remembers the size of each batch."""
    model = threshold_model()
    write_tiny(layout.project / "tiny.safetensors")
    monkeypatch.setattr("lysoquant.segment.step.load_model", lambda path: model)
    assert isinstance(model.network, Threshold)
    return model.network


def labels(layout: Layout, well: str, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
    field = PlateStore.open(layout.plate_store("P1")).field(well, index)
    return field.read_label("endolysosomes"), field.read_label("endolysosome_classes")


def table(layout: Layout, well: str) -> pd.DataFrame:
    return read_parquet(layout.plate_folder("P1") / "segment" / f"{well}.parquet")


def test_every_field_gets_its_endolysosomes(layout: Layout, network: Threshold) -> None:
    record = segment(make_project(layout))
    for well, count in WELLS.items():
        rows = table(layout, well)
        assert rows["field"].tolist() == [index for index in range(count) for _ in DISCS]
        for index in range(count):
            found, classes = labels(layout, well, index)
            assert (found.dtype, classes.dtype) == (np.uint32, np.uint8)
            assert np.unique(found).tolist() == [0, 1, 2, 3, 4]
            np.testing.assert_array_equal(found == 3, disc(3))
            np.testing.assert_array_equal(found == 4, disc(4))
            np.testing.assert_array_equal((found == 1) | (found == 2), disc(1) | disc(2))
            assert np.count_nonzero((found == 1) != (disc(1) & ~disc(2))) <= 20  # the neck only
            here = rows[rows["field"] == index]
            assert here["label"].tolist() == [1, 2, 3, 4]
            assert dict(zip(here["label"], here["cell"], strict=True)) == CELL
            assert dict(zip(here["label"], here["is_loaded"], strict=True)) == IS_LOADED
            for row in here.itertuples():
                assert (row.p_loaded >= 0.5) == row.is_loaded
                assert set(classes[found == row.label]) == {2 if row.is_loaded else 1}
            np.testing.assert_array_equal(classes > 0, found > 0)
        own = record["wells"][well]
        assert own["counts"]["objects"] == 4 * count
        assert [report["status"] for report in own["fields"]] == ["ok"] * count
        assert all((layout.results / path).exists() for path in own["wrote"])
    assert read_json(layout.batch_record("P1", "segment", "b0")) == record


def test_the_network_is_called_for_full_batches_across_cells_fields_and_wells(
    layout: Layout, network: Threshold, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches_as_on_a_gpu(monkeypatch)
    record = segment(make_project(layout), settings(batch_size=4))
    assert network.batches == [4] * 7 + [2]
    counts = [record["wells"][well]["counts"] for well in WELLS]
    assert sum(count["tiles"] for count in counts) == 3 * TILES_A_FIELD
    assert sum(count["network_calls"] for count in counts) == 8


def test_a_batch_that_was_halved_is_in_the_record_and_the_labels_are_those_of_the_smaller_one(
    layout: Layout,
    network: Threshold,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    batches_as_on_a_gpu(monkeypatch)
    make_project(layout)
    plain = segment(layout, settings(batch_size=2))
    assert [(well["batch_size"], well["batch_halvings"]) for well in plain["wells"].values()] == [(2, 0)] * len(WELLS)
    forward = network.forward

    def small(images: torch.Tensor) -> torch.Tensor:
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(images)

    monkeypatch.setattr(network, "forward", small)
    halved = segment(layout, settings(batch_size=8))
    assert [(well["batch_size"], well["batch_halvings"]) for well in halved["wells"].values()] == [(2, 2)] * len(WELLS)
    for well in WELLS:
        assert halved["wells"][well]["digest"] == plain["wells"][well]["digest"]
    fault = "a batch that the GPU can't hold (simulated): it is halved, and the record says so"
    for name, value in (("fault", fault), ("times", 2), ("lost", "nothing")):
        record_property(name, value)


def add_channels(layout: Layout, *, wells: dict[str, int] = WELLS, **loaded: tuple[int, ...]) -> None:
    """Give every field further channels, each bright in the discs of these numbers."""
    planes, cells = draw()
    more = []
    for numbers in loaded.values():
        more.append(planes[0].copy())
        for number in numbers:
            more[-1][disc(number)] = 2000
    store = PlateStore.open(layout.plate_store("P1"))
    for well, count in wells.items():
        for index in range(count):
            field = store.field(well, index)
            field.write_image(
                np.stack([*planes, *more]), channels=(*CHANNELS, *loaded), pixel_size_um=0.1, levels=1, chunk_px=64
            )
            field.write_label("cells", cells)


def test_other_cargoes_classify_the_same_objects_in_one_pass_each(
    layout: Layout, network: Threshold, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches_as_on_a_gpu(monkeypatch)
    make_project(layout)
    add_channels(layout, LC3=(2, 4), p62=())
    plain = segment(layout)
    before = {
        well: (table(layout, well), [labels(layout, well, index) for index in range(WELLS[well])]) for well in WELLS
    }
    network.batches.clear()
    both = segment(layout, settings(other_cargoes=("LC3", "p62")))
    tiles = 3 * TILES_A_FIELD * 3
    assert network.batches == [4] * (tiles // 4) + [tiles % 4]
    counts = [both["wells"][well]["counts"] for well in WELLS]
    assert sum(count["tiles"] for count in counts) == tiles
    assert sum(count["network_calls"] for count in counts) == len(network.batches)
    for well, (rows, images) in before.items():
        now = table(layout, well)
        assert now.columns.tolist() == [*rows, "p_loaded_LC3", "is_loaded_LC3", "p_loaded_p62", "is_loaded_p62"]
        pd.testing.assert_frame_equal(now[rows.columns], rows)
        assert now["is_loaded_LC3"].tolist() == [False, True, False, True] * WELLS[well]
        np.testing.assert_array_equal(now["is_loaded_LC3"], now["p_loaded_LC3"] >= 0.5)
        assert now.loc[now["label"] == 2, "p_loaded_LC3"].between(0.9, 1).all()
        assert now.loc[now["label"] == 3, "p_loaded_LC3"].max() < 1e-6
        assert not now["is_loaded_p62"].any()
        for index, image in enumerate(images):
            np.testing.assert_array_equal(labels(layout, well, index), image)
        assert both["wells"][well]["digest"] != plain["wells"][well]["digest"]


def test_another_order_of_cargoes_changes_what_finds_the_objects_but_not_their_classes(
    layout: Layout, network: Threshold
) -> None:
    """The network of these tests sees rings by the lysosome channel alone, so either cargo finds the same objects."""
    make_project(layout)
    add_channels(layout, LC3=(2, 4))
    segment(layout, settings(other_cargoes=("LC3",)))
    first = table(layout, "A01")
    swapped = settings().model_copy(
        update={"channels": Channels(lysosome="LAMP1", cargo="LC3", other_cargoes=("SEC62",), nucleus="DAPI")}
    )
    segment(layout, swapped)
    second = table(layout, "A01")
    assert second["is_loaded"].tolist() == first["is_loaded_LC3"].tolist()
    assert second["is_loaded_SEC62"].tolist() == first["is_loaded"].tolist()
    np.testing.assert_allclose(second["p_loaded_SEC62"], first["p_loaded"])


def test_a_field_without_the_channel_of_another_cargo_fails_and_says_so(layout: Layout, network: Threshold) -> None:
    make_project(layout)
    record = segment(layout, settings(other_cargoes=("LC3",)))
    (report,) = record["wells"]["B02"]["fields"]
    assert report["status"] == "failed"
    assert "LC3" in report["reasons"][0]
    assert table(layout, "B02").columns.tolist()[-2:] == ["p_loaded_LC3", "is_loaded_LC3"]


def test_a_second_run_calls_no_network(layout: Layout, network: Threshold) -> None:
    first = segment(make_project(layout))
    network.batches.clear()
    assert segment(layout) == first
    assert network.batches == []


def test_a_changed_cells_digest_redoes_that_well_only(layout: Layout, network: Threshold) -> None:
    first = segment(make_project(layout))
    network.batches.clear()
    path = layout.well_record("P1", "cells", "B02")
    write_json(path, {"digest": "other cells", "fields": [field_report(0)]})
    second = segment(layout)
    assert sum(network.batches) == TILES_A_FIELD
    assert second["wells"]["A01"] == first["wells"]["A01"]
    assert second["wells"]["B02"]["key"] != first["wells"]["B02"]["key"]
    assert second["wells"]["B02"]["digest"] == first["wells"]["B02"]["digest"]


@pytest.mark.parametrize("change", [{"split_depth_um": 0.06}, {"foreground_threshold": 0.6}])
def test_a_changed_setting_redoes_all(layout: Layout, network: Threshold, change: dict[str, float]) -> None:
    segment(make_project(layout))
    network.batches.clear()
    segment(layout, settings(**change))
    assert sum(network.batches) == 3 * TILES_A_FIELD


def test_a_field_that_failed_before_is_left_empty_and_its_reason_is_not_repeated(
    layout: Layout, network: Threshold
) -> None:
    record = segment(make_project(layout, failed={"A01": 0}))
    assert sum(network.batches) == 2 * TILES_A_FIELD
    for image in labels(layout, "A01", 0):
        assert image.shape == SHAPE
        assert not image.any()
    assert labels(layout, "A01", 1)[0].max() == 4
    assert record["wells"]["A01"]["fields"] == [field_report(0), field_report(1)]
    assert set(table(layout, "A01")["field"]) == {1}


def test_a_pixel_size_beyond_twice_the_tested_range_is_refused(layout: Layout, network: Threshold) -> None:
    record = segment(make_project(layout, pixel_size_um=0.25))
    assert network.batches == []
    (report,) = record["wells"]["B02"]["fields"]
    assert report["status"] == "failed"
    (reason,) = report["reasons"]
    assert "pixel size 0.25 um is outside the tested range 0.04 to 0.12 um" in reason
    assert "set pixel_size_um in plates.tsv, or set segment.allow_untested_pixel_size" in reason
    assert not labels(layout, "B02", 0)[0].any()
    assert len(table(layout, "B02")) == 0
    assert table(layout, "B02").columns.tolist() == ["field", "cell", "label", "p_loaded", "is_loaded"]


def test_a_pixel_size_outside_the_tested_range_is_segmented_up_to_twice_and_beyond_on_demand(
    layout: Layout, network: Threshold
) -> None:
    make_project(layout, pixel_size_um=0.2)
    without_speck = settings(min_object_area_um2=0.1)
    assert segment(layout, without_speck)["wells"]["B02"]["counts"]["objects"] == 4
    shutil.rmtree(layout.results)
    make_project(layout, pixel_size_um=0.25)
    record = segment(layout, settings(min_object_area_um2=0.1, allow_untested_pixel_size=True))
    assert record["wells"]["B02"]["fields"] == [field_report(0)]
    assert record["wells"]["B02"]["counts"]["objects"] == 4


def test_a_cell_too_large_at_the_models_pixel_size_fails_its_field_before_the_network(
    layout: Layout, network: Threshold
) -> None:
    make_project(layout, pixel_size_um=1000.0)
    record = segment(layout, settings(allow_untested_pixel_size=True))
    assert network.batches == []
    for index in (0, 1):
        report = record["wells"]["A01"]["fields"][index]
        assert report["status"] == "failed"
        assert "at the model's 0.025 um" in report["reasons"][0]
        assert f"expected at most {MAX_MODEL_PX} in all" in report["reasons"][0]
        assert not labels(layout, "A01", index)[0].any()


@pytest.mark.parametrize(("pixel_size_um", "is_refused"), [(0.24, False), (2.7336, True)])
def test_the_largest_field_that_is_accepted_is_not_refused(pixel_size_um: float, is_refused: bool) -> None:
    """A field of a 2560 x 2160 camera as one cell, and the real plate of 256 x 512 pixels of 2.7 um."""
    shape = (256, 512) if is_refused else (2160, 2560)
    crop = CellCrop(1, (slice(0, shape[0]), slice(0, shape[1])), np.ones(shape, bool))
    with pytest.raises(FieldError, match=r"27992 x 55984 pixels") if is_refused else nullcontext():
        require_reasonable([crop], pixel_size_um=pixel_size_um)


def test_on_bad_field_fail_stops_with_the_field_named(layout: Layout, network: Threshold) -> None:
    make_project(layout, pixel_size_um=0.25)
    with pytest.raises(StageError, match=r"P1 A01 field 0: pixel size 0\.25 um .*on_bad_field is 'fail'"):
        segment(layout, settings(on_bad_field="fail"))
    assert read_json(layout.well_record("P1", "segment", "A01")) is None


def test_an_unreadable_field_is_recorded_and_the_others_go_on(layout: Layout, network: Threshold) -> None:
    make_project(layout)
    shutil.rmtree(layout.plate_store("P1") / "A" / "01" / "0" / "labels" / "cells")
    record = segment(layout)
    bad, good = record["wells"]["A01"]["fields"]
    assert (bad["status"], good["status"]) == ("failed", "ok")
    assert "A01/0" in bad["reasons"][0]
    assert not labels(layout, "A01", 0)[0].any()
    assert labels(layout, "A01", 1)[0].max() == 4
    with pytest.raises(StageError, match="P1 A01 field 0"):
        segment(layout, settings(on_bad_field="fail"))


def test_wells_without_cells_are_finished_too(layout: Layout, network: Threshold) -> None:
    make_project(layout)
    store = PlateStore.open(layout.plate_store("P1"))
    for index in range(2):
        store.field("A01", index).write_label("cells", np.zeros(SHAPE, np.uint32))
    record = segment(layout)
    assert list(record["wells"]) == ["A01", "B02"]
    assert record["wells"]["A01"]["counts"]["objects"] == 0
    assert sum(network.batches) == TILES_A_FIELD
    assert not labels(layout, "A01", 1)[0].any()
    assert record["wells"]["B02"]["counts"]["objects"] == 4


def test_a_field_of_one_value_costs_no_call_of_the_network(layout: Layout, network: Threshold) -> None:
    make_project(layout)
    field = PlateStore.open(layout.plate_store("P1")).field("B02", 0)
    field.write_image(np.zeros((3, *SHAPE), np.uint16), channels=CHANNELS, pixel_size_um=0.1, levels=1, chunk_px=64)
    record = segment(layout)
    assert record["wells"]["B02"]["counts"] == {"objects": 0, "tiles": 0, "network_calls": 0}
    assert record["wells"]["A01"]["counts"]["tiles"] == 2 * TILES_A_FIELD
    found, classes = labels(layout, "B02", 0)
    assert found.shape == classes.shape == SHAPE
    assert not found.any()


@pytest.mark.parametrize("cargoes", [(), ("LC3",)])
def test_a_real_network_gives_the_same_digests_in_any_order_of_wells_batches_and_threads(
    tmp_path: Path, cargoes: tuple[str, ...]
) -> None:
    digests = []
    for name, wells, batch_size, cores in (("a", ["A01", "B02"], 4, 1), ("b", ["B02", "A01"], 3, 2)):
        layout = Layout(project=tmp_path / name, results=tmp_path / name / "results")
        make_project(layout, wells={"A01": 1, "B02": 1})
        add_channels(layout, wells={"A01": 1, "B02": 1}, LC3=(2, 4))
        write_tiny(layout.project / "tiny.safetensors", seed=5)
        chosen = settings(batch_size=batch_size, other_cargoes=cargoes)
        record = segment(layout, chosen, wells=wells, cores=cores)
        assert record["wells"]["A01"]["model_sha256"] is not None
        digests.append({well: record["wells"][well]["digest"] for well in sorted(wells)})
    assert digests[0] == digests[1]


def test_another_model_file_redoes_the_wells(layout: Layout) -> None:
    make_project(layout, wells={"B02": 1})
    keys = set()
    for seed in (0, 1):
        write_tiny(layout.project / "tiny.safetensors", seed=seed)
        record = segment(layout, wells=["B02"])["wells"]["B02"]
        keys.add((record["key"], record["model_sha256"]))
        assert record["model"]["name"] == "tiny"
    assert len(keys) == 2


def test_the_models_normalization_holds_unless_the_settings_say_otherwise(
    layout: Layout, network: Threshold, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    model = threshold_model()
    card = model.card.model_copy(update={"normalization": "joint"})
    joint = Model(network=model.network, card=card, sha256="1")
    monkeypatch.setattr("lysoquant.segment.step.load_model", lambda path: joint)

    def spy(*planes: Any, **options: Any) -> torch.Tensor:
        seen.append(options["normalization"])
        return torch.zeros(3, 8, 8)

    monkeypatch.setattr("lysoquant.segment.step.CellPixels", spy)
    make_project(layout, wells={"B02": 1})
    for choice in ("model", "cell", "joint"):
        segment(layout, settings(normalization=choice), wells=["B02"])
    assert seen == ["joint"] * 2 + ["cell"] * 2 + ["joint"] * 2


def test_a_missing_upstream_record_model_or_gpu_is_said_before_any_work(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(layout)
    with pytest.raises(ModelError, match=r"segment\.model is 'tiny\.safetensors'"):
        segment(layout)
    write_tiny(layout.project / "tiny.safetensors")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch finds no GPU"):
        segment(layout, device="cuda")
    layout.well_record("P1", "cells", "B02").unlink()
    with pytest.raises(StageError, match="no cells record of well B02"):
        segment(layout)


@pytest.mark.parametrize("cargoes", [(), ("LC3",)])
@pytest.mark.parametrize("batch_size", ["auto", 3])
def test_the_fast_path_of_a_gpu_gives_the_labels_of_the_processor_and_says_how(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, cargoes: tuple[str, ...], batch_size: Any
) -> None:
    make_project(layout)
    add_channels(layout, LC3=(2, 4))
    write_tiny(layout.project / "tiny.safetensors", seed=5)
    before = segment(layout, settings(other_cargoes=cargoes, batch_size=1), cores=2)
    images = {well: [labels(layout, well, index) for index in range(count)] for well, count in WELLS.items()}
    tables = {well: table(layout, well) for well in WELLS}
    assert before["wells"]["A01"]["network"] == {"path": "processor"}
    all_work_as_on_a_gpu(monkeypatch)
    after = segment(layout, settings(other_cargoes=cargoes, batch_size=batch_size), cores=2)
    for well, count in WELLS.items():
        assert after["wells"][well]["network"]["path"] == "fast"
        assert after["wells"][well]["counts"]["objects"] == before["wells"][well]["counts"]["objects"] > 0
        pd.testing.assert_frame_equal(table(layout, well), tables[well], rtol=0, atol=1e-5)
        for index in range(count):
            for found, expected in zip(labels(layout, well, index), images[well][index], strict=True):
                np.testing.assert_array_equal(found, expected)
    counts = [sum(record["wells"][well]["counts"]["tiles"] for well in WELLS) for record in (before, after)]
    assert counts == [3 * TILES_A_FIELD * (1 + len(cargoes))] * 2


def test_the_plain_path_of_a_gpu_is_one_setting_away(layout: Layout, network: Threshold, monkeypatch: Any) -> None:
    batches_as_on_a_gpu(monkeypatch)
    all_work_as_on_a_gpu(monkeypatch)
    record = segment(make_project(layout), settings(gpu_path="plain", batch_size=4))
    assert record["wells"]["A01"]["network"] == {"path": "plain"}
    assert network.batches == [4] * 7 + [2]
