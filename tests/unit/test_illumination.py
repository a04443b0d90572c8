"""Flat fields: what is refused, what is corrected, and what is redone when one changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray
from pydantic import ValidationError

from lysoquant.cells import step as cells_step
from lysoquant.cells.params import CellsParams, CellsSettings
from lysoquant.channels import Channels
from lysoquant.errors import InputError
from lysoquant.illumination.flat_field import FlatFields, as_gain, corrected, shape_of_fields
from lysoquant.illumination.params import IlluminationParams
from lysoquant.io.store import PlateStore
from lysoquant.io.tables import read_parquet, write_parquet
from lysoquant.layout import Layout
from lysoquant.measure import step as measure_step
from lysoquant.measure.columns import segment_schema
from lysoquant.measure.params import MeasureParams, MeasureSettings
from lysoquant.record import field_report, read_json, write_json

LABELS = ("nucleus", "LAMP 1", "cargo")
CHANNELS = Channels(lysosome="LAMP 1", cargo="cargo", nucleus="nucleus")
SHAPE = (200, 240)
PX = 0.2
DARK = 100
GIVEN = IlluminationParams(flat_field="flat/{plate}/{channel}.tif", dark=DARK)


def vignette(strength: float = 0.9) -> NDArray[np.float64]:
    y, x = (np.linspace(-1, 1, length) for length in SHAPE)
    light = 1 - strength / 2 * (y[:, None] ** 2 + x[None] ** 2)
    return light / light.mean()


def even_planes() -> NDArray[np.float64]:
    """Two equal cells: a nucleus each, in the middle and in a corner; light of 400 over the camera's 100."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    planes = np.full((3, *SHAPE), 20.0)
    for centre in ((100, 120), (40, 40)):
        distance = np.hypot(y - centre[0], x - centre[1]) * PX
        planes[0] += 400 * (distance < 5)
        planes[1:] += 400 * (distance < 8)
    return planes


def write_flats(layout: Layout, light: NDArray[Any], *, plate: str = "P1") -> None:
    folder = layout.project / "flat" / plate
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("nucleus", "LAMP_1", "cargo"):
        tifffile.imwrite(folder / f"{name}.tif", light)


@pytest.fixture
def project(layout: Layout) -> Layout:
    """A plate of one field under a vignette; two regions of equal brightness, one in each cell."""
    raw = (even_planes() * vignette() + DARK).round().astype(np.uint16)
    store = PlateStore.create(
        layout.plate_store("P1"), name="P1", wells={"A01": 1}, n_rows=1, n_columns=1, ngff_version="0.5"
    )
    field = store.field("A01", 0)
    field.write_image(raw, channels=LABELS, pixel_size_um=PX, levels=1, chunk_px=64)
    regions = np.zeros(SHAPE, np.uint32)
    regions[125:132, 120:127], regions[65:72, 40:47] = 1, 2
    field.write_label("endolysosomes", regions)
    objects = {"field": [0, 0], "cell": [1, 2], "label": [1, 2], "p_loaded": [1.0, 1.0], "is_loaded": [True, True]}
    write_parquet(layout.plate_folder("P1") / "segment" / "A01.parquet", pd.DataFrame(objects), segment_schema())
    for stage in ("convert", "segment"):
        write_json(layout.well_record("P1", stage, "A01"), {"digest": stage, "fields": [field_report(0)]})
    return layout


def run_cells(layout: Layout, light: IlluminationParams, **params: Any) -> dict[str, Any]:
    settings = CellsSettings(channels=CHANNELS, params=CellsParams(**params), illumination=light)
    record = layout.batch_record("P1", "cells", "b")
    return cells_step.run(layout=layout, plate="P1", wells=["A01"], settings=settings, record=record)["wells"]["A01"]


def run_measure(layout: Layout, light: IlluminationParams) -> dict[str, Any]:
    settings = MeasureSettings(channels=CHANNELS, params=MeasureParams(), illumination=light)
    record = layout.batch_record("P1", "measure", "b")
    return measure_step.run(layout=layout, plate="P1", wells=["A01"], settings=settings, record=record)["wells"]["A01"]


def intensities(layout: Layout) -> list[float]:
    table = read_parquet(layout.well_tables("P1", "A01") / "endolysosomes.parquet")
    return [float(value) for value in table["intensity_mean_LAMP 1"]]


def test_correction_undoes_the_vignette_and_keeps_the_cameras_dark_level() -> None:
    light = vignette()
    raw = 300 * light + DARK
    even = corrected(raw, as_gain((1000 * light + DARK).round().astype(np.uint16), dark=DARK, name="f"), dark=DARK)
    assert even.dtype == np.float32
    assert float(even.mean()) == pytest.approx(300 + DARK, rel=1e-3)
    assert float(np.ptp(even)) < 3 < float(np.ptp(raw)) / 50
    # Shares of the light have no dark level.
    np.testing.assert_allclose(as_gain(light.astype(np.float32) * 7, dark=DARK, name="f"), light, rtol=1e-5)


def test_intensities_of_equal_objects_are_equal_after_correction_and_raw_pixels_stay(project: Layout) -> None:
    write_flats(project, (1000 * vignette() + DARK).round().astype(np.uint16))
    before = PlateStore.open(project.plate_store("P1")).field("A01", 0).read("LAMP 1")
    run_cells(project, IlluminationParams())
    run_measure(project, IlluminationParams())
    centre, corner = intensities(project)
    assert corner - DARK < 0.85 * (centre - DARK)
    assert run_cells(project, GIVEN)["counts"] == {"cells": 2}
    record = run_measure(project, GIVEN)
    assert intensities(project) == pytest.approx([DARK + 420] * 2, rel=0.005)
    assert record["parameters"]["illumination"]["flat_field"] == GIVEN.flat_field
    assert sorted(record["inputs"]["flat_fields"]) == [f"flat/P1/{name}.tif" for name in ("LAMP_1", "cargo", "nucleus")]
    after = PlateStore.open(project.plate_store("P1")).field("A01", 0).read("LAMP 1")
    np.testing.assert_array_equal(before, after)


def test_another_flat_field_redoes_cells_and_measure_and_an_equal_one_nothing(project: Layout) -> None:
    light = (1000 * vignette() + DARK).round().astype(np.uint16)
    write_flats(project, light)
    for run in (run_cells, run_measure):
        first = run(project, GIVEN)
        write_flats(project, light)
        assert run(project, GIVEN) == first
        write_flats(project, (1000 * vignette(0.5) + DARK).round().astype(np.uint16))
        assert run(project, GIVEN)["key"] != first["key"]
        write_flats(project, light)


def test_cells_made_elsewhere_need_no_flat_field(project: Layout) -> None:
    record = run_cells(project, GIVEN, method="field")
    assert "flat_fields" not in record["inputs"]
    assert read_json(project.well_record("P1", "cells", "A01")) == record


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (None, "flat/P1/LAMP_1.tif (channel 'LAMP 1'), flat/P1/cargo.tif (channel 'cargo')"),
        (np.full((50, 60), 900, np.uint16), "has 50 x 60 pixels and the fields of plate P1 200 x 240"),
        (np.full(SHAPE, 90, np.uint16), "has a mean of -10 above illumination.dark (100)"),
        (np.pad(np.full((199, 240), 900, np.uint16), ((1, 0), (0, 0)), constant_values=100), "falls to 0 of its mean"),
        (np.full(SHAPE, np.nan, np.float32), "values that are no numbers"),
        (np.ones((2, *SHAPE), np.uint16), "expected one plane of numbers"),
        (b"no image", "can't be read as a TIFF image"),
    ],
)
@pytest.mark.parametrize("run", [run_cells, run_measure])
def test_what_can_be_no_flat_field_is_refused(project: Layout, run: Any, image: Any, told: str) -> None:
    if run is run_measure:
        run_cells(project, IlluminationParams())
    folder = project.project / "flat" / "P1"
    folder.mkdir(parents=True)
    for name in ("nucleus", "LAMP_1", "cargo"):
        if isinstance(image, bytes):
            (folder / f"{name}.tif").write_bytes(image)
        elif image is not None:
            tifffile.imwrite(folder / f"{name}.tif", image, photometric="minisblack")
    with pytest.raises(InputError) as caught:
        run(project, GIVEN)
    assert told in str(caught.value)
    assert "illumination.flat_field" in str(caught.value)


@pytest.mark.parametrize("template", ["{well}.tif", "{plate.name}.tif", "{channel!r}.tif", "{channel:3}.tif", "a{.tif"])
def test_a_template_has_plate_and_channel_only(template: str) -> None:
    with pytest.raises(ValidationError, match="flat_field"):
        IlluminationParams(flat_field=template)


def test_a_channels_label_can_reach_no_other_folder(tmp_path: Path) -> None:
    params = IlluminationParams(flat_field="flat/{channel}/f.tif")
    assert params.file(plate="P", channel="../x y") == "flat/__x_y/f.tif"
    assert params.file(plate="P", channel="..") == "flat/_/f.tif"
    (tmp_path / "flat" / "a").mkdir(parents=True)
    (tmp_path / "flat" / "a" / "f.tif").touch()
    assert [*tmp_path.glob(params.pattern(plate="P"))] == [tmp_path / "flat" / "a" / "f.tif"]


def test_no_flat_field_reads_nothing(project: Layout) -> None:
    store = PlateStore.open(project.plate_store("P1"))
    found = FlatFields.of(
        project=project.project,
        plate="P1",
        shape=shape_of_fields(store, ["A01"]),
        channels=LABELS,
        params=IlluminationParams(),
    )
    assert found.inputs() == {}
    assert found.read(store.field("A01", 0), "cargo").dtype == np.uint16
