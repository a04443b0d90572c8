"""A field whose store was cut or garbled costs that field and no other, and comes back when it is mended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from tiny_project import CHANNELS, PIXEL_SIZE_UM, PIXELS, make_project, ring_image, well_digests

from lysoquant.cli.main import invoke
from lysoquant.simulate.writers import ImageXpress
from lysoquant.vocabulary import BATCH_STAGES

WELLS = ("B02", "B03")
FIELD = Path("results/P/P.zarr/B/02/0")


def run(project: Path, *stages: str) -> None:
    for stage in stages:
        assert invoke([stage, str(project)]) == 0, stage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_channels(path: Path) -> None:
    value = json.loads(path.read_text())
    del value["attributes"]["ome"]["omero"]["channels"][0]["label"]
    path.write_text(json.dumps(value))


def of_two_axes(path: Path) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps(value | {"node_type": ["array"], "shape": [3, 96]}))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wells of two fields in one batch, converted."""
    project = make_project(tmp_path_factory.mktemp("damaged") / "p", wells=WELLS)
    writer = ImageXpress(project / "raw", "P")
    writer.begin(
        wells=WELLS, n_fields=2, n_rows=8, n_columns=12, channels=CHANNELS, size_px=PIXELS, pixel_size_um=PIXEL_SIZE_UM
    )
    for seed, (well, index) in enumerate((well, index) for well in WELLS for index in (0, 1)):
        writer.write_field(ring_image(seed), well=well, index=index, channels=CHANNELS, pixel_size_um=PIXEL_SIZE_UM)
    run(project, "convert")
    return project


@pytest.fixture(scope="module")
def whole(converted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Path(shutil.copytree(converted, tmp_path_factory.mktemp("whole") / "p"))
    run(project, "cells", "segment", "measure")
    return project


def check_one_is_lost(project: Path) -> None:
    """B02 field 0 failed with its reason and remedy; the other three are as they should be."""
    found = pd.concat(pd.read_parquet(project / f"results/P/measure/{well}/fields.parquet") for well in WELLS)
    assert found["status"].tolist() == ["failed", "ok", "ok", "ok"], found["reason"].tolist()
    assert found["n_cells"].tolist() == [0, 1, 1, 1]
    reason = found["reason"].iloc[0]
    folder = str(project / FIELD)
    assert reason.startswith("field B02/0")
    assert reason.endswith(f"; delete {folder}, then run `lysoquant convert PROJECT` and `lysoquant run PROJECT`")
    assert reason.count("delete") == 1
    assert "\n" not in reason


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("zarr.json", cut),
        ("zarr.json", Path.unlink),
        ("zarr.json", without_channels),
        ("0/zarr.json", cut),
        ("0/zarr.json", of_two_axes),
        ("0/c/2/0/0", cut),
    ],
)
def test_a_damaged_image_costs_its_field(
    converted: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    project = Path(shutil.copytree(converted, tmp_path / "p"))
    damage(project / FIELD / name)
    run(project, "cells", "segment", "measure")
    check_one_is_lost(project)


@pytest.mark.parametrize(
    "name",
    ["zarr.json", "0/c/1/0/0", "labels/cells/0/c/0/0", "labels/endolysosomes/0/zarr.json"],
)
def test_damage_before_measure_costs_its_field(whole: Path, tmp_path: Path, name: str) -> None:
    project = Path(shutil.copytree(whole, tmp_path / "p"))
    cut(project / FIELD / name)
    shutil.rmtree(project / "results/P/records/measure")
    run(project, "measure")
    check_one_is_lost(project)


def test_a_mended_field_comes_back_through_every_stage(whole: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(whole, tmp_path / "p"))
    records = {stage: project / f"results/P/records/{stage}/B02-B03.json" for stage in BATCH_STAGES}
    cut(project / FIELD / "zarr.json")
    for stage in ("cells", "segment", "measure"):
        shutil.rmtree(records[stage].parent)
    run(project, "cells", "segment", "measure")
    check_one_is_lost(project)
    shutil.rmtree(project / FIELD)
    for stage in BATCH_STAGES:
        before = records[stage].read_bytes()
        run(project, stage)
        # The workflow compares the records' content: it runs the next stage only if this one's differs.
        assert records[stage].read_bytes() != before, stage
    assert well_digests(project) == well_digests(whole)


def test_under_fail_the_stage_stops_and_names_the_field(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Path(shutil.copytree(converted, tmp_path / "p"))
    config = project / "config" / "config.yaml"
    config.write_text(f"on_bad_field: fail\n{config.read_text()}")
    cut(project / FIELD / "zarr.json")
    assert invoke(["cells", str(project)]) == 1
    assert "plate P, field B02/0: field B02/0 has no readable image at" in capsys.readouterr().err
