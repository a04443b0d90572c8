"""Cells by Cellpose: a stand-in with cellpose 4.2.1.1's signatures, and the package itself where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.cells.by_cellpose import Cellpose, fields_at_a_time, one_thread
from lysoquant.cells.cellpose_file import cellpose_file, require_cellpose
from lysoquant.cells.find import channels_read
from lysoquant.cells.params import CellsParams, CellsSettings
from lysoquant.cells.step import run
from lysoquant.channels import Channels
from lysoquant.errors import InputError, ModelError, StageError
from lysoquant.io.store import PlateStore
from lysoquant.layout import Layout
from lysoquant.record import digest_file, write_json

PIXEL_SIZE_UM = 0.2
CHANNELS = ("DAPI", "LAMP1", "SEC62")
BOXES = {"A01": ((100, 220, 60, 60), (20, 30, 60, 50), (200, 10, 15, 15)), "B02": ((31, 33, 77, 91),)}
"""Top, left, height and width of each well's cells in pixels; the smallest has 9 um2, below `min_cell_area_um2`."""


class Calls(list[dict[str, Any]]):
    """What the stand-in was told, call by call."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """A stand-in of cellpose whose cells are the connected parts of the first plane; numbers in reverse order."""
    calls = Calls()

    class CellposeModel:
        def __init__(
            self, gpu: bool = False, pretrained_model: str = "cpsam_v2", model_type: None = None,
            diam_mean: None = None, device: torch.device | None = None, nchan: None = None, use_bfloat16: bool = True,
        ) -> None:  # fmt: skip
            content = Path(pretrained_model).read_text()
            calls.append({"gpu": gpu, "file": pretrained_model, "device": device})
            if content == "broken":
                raise RuntimeError("Invalid magic number;\ncorrupt file?")

        def eval(
            self, x: NDArray[np.float32], batch_size: int = 8, resample: bool = True, channels: None = None,
            channel_axis: int | None = None, z_axis: None = None, normalize: bool = True, rescale: None = None,
            diameter: float | None = None, flow_threshold: float = 0.4, cellprob_threshold: float = 0.0,
            do_3D: bool = False, anisotropy: None = None, flow3D_smooth: int = 0,  # noqa: N803
            stitch_threshold: float = 0.0, min_size: int = 15, max_size_fraction: float = 0.4,
            niter: None = None, augment: bool = False, tile_overlap: float = 0.1, bsize: None = None,
            compute_masks: bool = True, progress: None = None,
        ) -> tuple[NDArray[np.uint16], list[Any], NDArray[np.float32]]:  # fmt: skip
            told = {"image": x, "axis": channel_axis, "diameter": diameter, "min_size": min_size}
            thresholds = {"flow": flow_threshold, "cellprob": cellprob_threshold, "largest": max_size_fraction}
            calls.append(told | thresholds | {"threads": torch.get_num_threads(), "batch": batch_size})
            if diameter is not None and diameter < 10:
                raise torch.OutOfMemoryError("CUDA out of memory")
            labels, n = ndimage.label(x[..., 0] > x[..., 0].mean())
            return np.where(labels > 0, n + 1 - labels, 0).astype(np.uint16).squeeze(), [], np.zeros(256, np.float32)

    package, models = ModuleType("cellpose"), ModuleType("cellpose.models")
    package.__spec__ = ModuleSpec("cellpose", None)
    models.CellposeModel = CellposeModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cellpose", package)
    monkeypatch.setitem(sys.modules, "cellpose.models", models)
    return calls


@pytest.fixture
def plate(layout: Layout) -> Layout:
    """Plate P with a field in A01 and in B02, and a model in the project."""
    store = PlateStore.create(layout.plate_store("P"), name="P", wells=dict.fromkeys(BOXES, 1), n_rows=8, n_columns=12)
    for well, boxes in BOXES.items():
        planes = np.full((3, 260, 301), 100, np.uint16)
        for top, left, height, width in boxes:
            planes[1:, top : top + height, left : left + width] = 1000
            planes[0, top + 5 : top + 10, left + 5 : left + 10] = 700
        field = store.field(well, 0)
        field.write_image(planes, channels=CHANNELS, pixel_size_um=PIXEL_SIZE_UM, levels=2, chunk_px=64)
        report = {"field": 0, "status": "ok", "reasons": []}
        write_json(layout.well_record("P", "convert", well), {"digest": f"of {well}", "fields": [report]})
    (layout.project / "own.pt").write_text("weights")
    return layout


def _settings(*, nucleus: str | None = "DAPI", **params: Any) -> CellsSettings:
    chosen = {"method": "cellpose", "cellpose_model": "own.pt"} | params
    channels = Channels(lysosome="LAMP1", cargo="SEC62", nucleus=nucleus)
    return CellsSettings(channels=channels, params=CellsParams.model_validate(chosen))


def _run(plate: Layout, settings: CellsSettings, *, wells: Sequence[str] = tuple(BOXES), **more: Any) -> dict[str, Any]:
    record = plate.batch_record("P", "cells", "0")
    return run(layout=plate, plate="P", wells=wells, settings=settings, record=record, device="cpu", **more)


def _read(plate: Layout, well: str) -> NDArray[Any]:
    return PlateStore.open(plate.plate_store("P")).field(well, 0).read_label("cells")


def test_cells_are_brought_back_to_the_fields_own_pixels(plate: Layout, calls: Calls) -> None:
    wells = _run(plate, _settings())["wells"]
    labels = _read(plate, "A01")
    assert (labels.shape, labels.dtype, int(labels.max())) == ((260, 301), np.uint32, 2)
    # In reading order, whatever the model's numbers are; the third is too small.
    for number, (top, left, height, width) in enumerate(sorted(BOXES["A01"][:2]), start=1):
        truth = np.zeros(labels.shape, bool)
        truth[top : top + height, left : left + width] = True
        assert np.count_nonzero(truth & (labels == number)) / np.count_nonzero(truth | (labels == number)) > 0.9
    assert wells["A01"]["fields"] == [{"field": 0, "status": "ok", "reasons": [], "n_cells": 2, "n_border_cells": 0}]
    assert wells["A01"]["model_sha256"] == digest_file(plate.project / "own.pt")
    loaded, first, second = calls
    assert (loaded["gpu"], loaded["file"]) == (False, str(plate.project / "own.pt"))
    # 0.2 um a pixel are seen at 0.6: ceil(260 / 3), ceil(301 / 3); boundary signal, nucleus, nothing.
    assert first["image"].shape == second["image"].shape == (87, 101, 3)
    assert (first["axis"], first["diameter"], first["batch"]) == (-1, None, 1)
    assert first["image"][..., 1].max() == 700
    assert not first["image"][..., 2].any()


def test_small_cells_are_those_of_the_setting(plate: Layout, calls: Calls) -> None:
    wells = _run(plate, _settings(min_cell_area_um2=5.0), wells=["A01"])["wells"]
    assert wells["A01"]["counts"] == {"cells": 3}
    # Cellpose's own limits would drop cells without a word, and the largest, too.
    assert (calls[1]["min_size"], calls[1]["largest"]) == (0, 1.0)


@pytest.mark.parametrize(
    ("diameter_um", "told", "factor"), [(30.0, 50.0, 3), (12.0, 30.0, 2), (6.0, 30.0, 1), (3.0, 15.0, 1)]
)
def test_the_diameter_is_told_in_pixels_of_what_the_model_sees(
    plate: Layout, calls: Calls, diameter_um: float, told: float, factor: int
) -> None:
    _run(plate, _settings(cellpose_diameter_um=diameter_um), wells=["A01"])
    assert calls[1]["diameter"] == pytest.approx(told)
    assert calls[1]["image"].shape == (-(-260 // factor), -(-301 // factor), 3)
    assert _read(plate, "A01").max() == 2


def test_thresholds_are_cellposes_own(plate: Layout, calls: Calls) -> None:
    _run(plate, _settings(cellpose_cellprob_threshold=-1.5, cellpose_flow_threshold=0.0), wells=["A01"])
    assert (calls[1]["cellprob"], calls[1]["flow"]) == (-1.5, 0.0)


@pytest.mark.parametrize("settings", [{"nucleus": None}, {"cellpose_nucleus": False}])
def test_the_nucleus_is_shown_where_it_is_and_wanted(plate: Layout, calls: Calls, settings: dict[str, Any]) -> None:
    wanted = _settings(**settings)
    assert channels_read(_settings()) == ["DAPI", "LAMP1", "SEC62"]
    assert channels_read(wanted) == ["LAMP1", "SEC62"]
    assert _run(plate, wanted, wells=["A01"])["wells"]["A01"]["counts"] == {"cells": 2}
    assert not calls[1]["image"][..., 1].any()


def test_each_field_goes_through_the_model_in_one_thread_whatever_the_cores(plate: Layout, calls: Calls) -> None:
    one = _run(plate, _settings(), cores=1)["wells"]
    for well in BOXES:
        plate.well_record("P", "cells", well).unlink()
    three = _run(plate, _settings(), cores=3)["wells"]
    assert {well: record["digest"] for well, record in one.items()} == {
        well: record["digest"] for well, record in three.items()
    }
    assert [call["threads"] for call in calls if "threads" in call] == [1] * 4
    assert fields_at_a_time(torch.device("cpu"), cores=3) == 3
    assert fields_at_a_time(torch.device("cuda"), cores=3) == 1


def test_another_model_file_does_the_wells_again_and_the_same_does_not_load_it(plate: Layout, calls: Calls) -> None:
    first = _run(plate, _settings())
    n_calls = len(calls)
    assert _run(plate, _settings()) == first
    assert len(calls) == n_calls
    (plate.project / "own.pt").write_text("other weights")
    again = _run(plate, _settings())["wells"]
    assert len(calls) == 2 * n_calls
    assert again["A01"]["key"] != first["wells"]["A01"]["key"]
    assert again["A01"]["digest"] == first["wells"]["A01"]["digest"]


def test_a_model_that_is_not_there_is_told_before_any_well(plate: Layout, calls: Calls, tmp_path: Path,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    own = tmp_path / "models of cellpose"
    own.mkdir()
    monkeypatch.setenv("CELLPOSE_LOCAL_MODELS_PATH", str(own))
    with pytest.raises(
        ModelError, match=r"cellpose_model is 'cpsam_v2' .* a job downloads none: give the path"
    ) as told:
        _run(plate, _settings(cellpose_model="cpsam_v2"))
    assert "\n" not in str(told.value)
    assert calls == []
    assert not plate.well_record("P", "cells", "A01").exists()
    (own / "cpsam_v2").write_text("weights")
    assert cellpose_file("cpsam_v2", project=plate.project) == own / "cpsam_v2"
    (plate.project / "cpsam_v2").write_text("the project's")
    assert cellpose_file("cpsam_v2", project=plate.project) == plate.project / "cpsam_v2"


@pytest.mark.usefixtures("calls")
def test_a_file_that_is_no_model_is_told_in_one_line(plate: Layout) -> None:
    (plate.project / "own.pt").write_text("broken")
    with pytest.raises(ModelError, match=r"own\.pt: cellpose can't load it \(Invalid magic number; corrupt file\?\)"):
        _run(plate, _settings())


@pytest.mark.usefixtures("calls")
def test_a_gpu_without_memory_is_told(plate: Layout) -> None:
    with pytest.raises(StageError, match="out of memory in cellpose"):
        _run(plate, _settings(cellpose_diameter_um=1.4))


def test_without_the_package_one_line_says_what_to_install(plate: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'lysoquant\[cellpose\]'"):
        require_cellpose()
    with pytest.raises(InputError, match="not installed here"):
        _run(plate, _settings())
    assert not plate.well_record("P", "cells", "A01").exists()


@pytest.mark.usefixtures("calls")
def test_a_field_without_pixel_size_fails_and_one_without_cells_is_flagged(plate: Layout) -> None:
    field = PlateStore.open(plate.plate_store("P")).field("A01", 0)
    blank = np.zeros((3, 64, 64), np.uint16)
    field.write_image(blank, channels=CHANNELS, pixel_size_um=float("nan"), levels=1, chunk_px=64)
    report = _run(plate, _settings(), wells=["A01"])["wells"]["A01"]["fields"][0]
    assert (report["status"], "has no pixel size" in report["reasons"][0]) == ("failed", True)
    report = _run(plate, _settings(min_cell_area_um2=1e4), wells=["B02"])["wells"]["B02"]["fields"][0]
    assert report["status"] == "flagged"
    assert "cells.cellpose_diameter_um" in report["reasons"][0]


def test_each_method_names_its_own_settings() -> None:
    by_cellpose = CellsParams(method="cellpose").of_method()
    assert {name for name in by_cellpose if not name.startswith("cellpose_")} == {
        "method", "boundary", "min_cell_area_um2"
    }  # fmt: skip
    by_watershed = CellsParams().of_method()
    assert by_watershed.keys() | by_cellpose.keys() | {"path"} == set(CellsParams.model_fields)
    assert not {name for name in by_watershed if name.startswith("cellpose_")}
    assert CellsParams(method="rois", path="a.zip").of_method() == {"method": "rois", "path": "a.zip"}


def test_the_package_itself_takes_the_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of Cellpose's kind, two layers deep and with random weights, saved and loaded by the package."""
    pytest.importorskip("cellpose", reason="the extra cellpose is not installed")
    import segment_anything
    from cellpose.vit import CPSAM
    from segment_anything.build_sam import _build_sam

    def small(_: None) -> Any:
        return _build_sam(encoder_embed_dim=32, encoder_depth=2, encoder_num_heads=2, encoder_global_attn_indexes=[1])

    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_l", small)
    torch.manual_seed(0)
    CPSAM(dtype=torch.float32).save_model(str(tmp_path / "random.pt"))
    monkeypatch.setattr("lysoquant.cells.by_cellpose.resolve_precision", lambda *_: "fp32")
    threads = torch.get_num_threads()
    model = Cellpose(tmp_path / "random.pt", torch.device("cpu"))
    image = np.random.default_rng(0).random((2, 301, 260)).astype(np.float32)
    settings = {"pixel_size_um": 0.3, "min_cell_area_um2": 1.0, "cellprob_threshold": -5.0, "flow_threshold": 0.0}

    def find(diameter_um: float) -> NDArray[np.uint32]:
        return model.find_cells(image[0], image[1], diameter_um=diameter_um, **settings)

    with ThreadPoolExecutor(2, initializer=one_thread) as pool:
        diameters = (0.0, 12.0, 0.0, 12.0)
        found = list(pool.map(find, diameters))
    assert torch.get_num_threads() == threads
    assert [(cells.shape, cells.dtype) for cells in found] == [((301, 260), np.uint32)] * 4
    assert min(cells.max() for cells in found) > 0
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[1], found[3])
    (tmp_path / "no.pt").write_bytes(b"no model")
    with pytest.raises(ModelError, match="cellpose can't load it"):
        Cellpose(tmp_path / "no.pt", torch.device("cpu"))
