"""Outlines for ImageJ and the tables of its plugin; test_imagej_export.py has a real ImageJ measure them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import roifile
import tifffile
from export_project import CHANNELS, OTHER, PIXEL_SIZE_UM, SHAPE, draw

from lysoquant.cli.main import invoke
from lysoquant.export.imagej import region_outlines
from lysoquant.export.plugin_tables import RESULTS_COLUMNS, SUMMARY_COLUMNS
from lysoquant.io.rois import read_cell_rois, read_outlines
from lysoquant.io.stacks import open_stack
from lysoquant.io.store import PlateStore
from lysoquant.io.tables import read_parquet, read_schema, write_parquet
from lysoquant.layout import Layout
from lysoquant.measure.shape import region_shapes

CORNER_PX = 2 - 2**0.5


def imagej_perimeter_px(ring: np.ndarray) -> float:
    """ImageJ's rule for traced outlines, vertex by vertex in the order of the file."""
    sides = np.abs(ring - np.roll(ring, 1, axis=0)).sum(axis=1)
    corners, at_corner = 0, False
    for side in sides:
        at_corner = side > 1 or not at_corner
        corners += at_corner
    return float(sides.sum() - corners * CORNER_PX)


def test_outlines_have_the_measured_perimeter_where_imagej_begins() -> None:
    labels = np.concatenate([draw(seed)[2] + np.uint32(1000 * seed) * (draw(seed)[2] > 0) for seed in range(3)])
    rings = region_outlines(labels)
    shapes = region_shapes(labels=labels, pixel_size_um=1.0)
    assert sorted(rings) == shapes["label"].tolist()
    singles = [index for index, label in enumerate(shapes["label"].tolist()) if len(rings[label]) == 1]
    assert 300 < len(singles) < len(rings)
    for index in singles:
        (ring,) = rings[int(shapes["label"][index])]
        assert imagej_perimeter_px(ring) == pytest.approx(shapes["perimeter_um"][index], abs=1e-9)


def test_rings_of_a_region_with_a_hole_and_of_one_in_two_parts() -> None:
    labels = np.zeros((9, 12), np.uint32)
    labels[1:6, 1:6] = 4
    labels[2:4, 2] = labels[4, 3] = 0
    labels[1, 8] = labels[3, 9] = 7
    labels[7, 0:2] = labels[8, 2:4] = 2
    rings = region_outlines(labels)
    assert {label: len(own) for label, own in rings.items()} == {2: 1, 4: 3, 7: 2}
    areas = {
        label: [
            round(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2), 9) for x, y in (ring.T for ring in own)
        ]
        for label, own in rings.items()
    }
    # Holes run the other way round; pixels that meet at a corner are one outline.
    assert {label: sorted(own) for label, own in areas.items()} == {2: [4.0], 4: [-2.0, -1.0, 25.0], 7: [1.0, 1.0]}
    assert region_outlines(np.zeros((3, 3), np.uint32)) == {}


@pytest.fixture(scope="module")
def exported(measured: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagej") / "out"
    assert invoke(["export", "imagej", str(measured.project), "--output", str(folder), "--images"]) == 0
    return folder


def test_zips_hold_the_regions_of_the_table_pixel_by_pixel(measured: Layout, exported: Path) -> None:
    for plate, well in (("P1", "B02"), ("P1", "B03"), ("P2", "B02")):
        table = read_parquet(measured.well_tables(plate, well) / "endolysosomes.parquet")
        field = PlateStore.open(measured.plate_store(plate)).field(well, 0)
        for more, column in (("", "is_loaded"), ("_c4", f"is_loaded_{OTHER}")):
            outlines = read_outlines(exported / plate / f"{well}_f0_endolysosomes{more}.zip")
            names = [
                f"{cell}-{label}-{'loaded' if is_loaded else 'empty'}"
                for cell, label, is_loaded in zip(table["cell"], table["label"], table[column], strict=True)
            ]
            assert [outline.name for outline in outlines] == names
        kinds = {outline.roi.roitype for outline in outlines if not outline.roi.composite}
        assert kinds == {roifile.ROI_TYPE.TRACED}
        drawn = np.zeros(SHAPE, np.uint32)
        for outline, label in zip(outlines, table["label"], strict=True):
            box, mask = outline.mask(SHAPE)
            assert not drawn[box][mask].any()
            drawn[box][mask] = label
        labels = field.read_label("endolysosomes")
        np.testing.assert_array_equal(drawn, np.where(np.isin(labels, table["label"]), labels, 0))
        colours = {outline.name.rsplit("-", 1)[1]: outline.roi.stroke_color for outline in outlines}
        assert colours == {"empty": b"\xff\x00\xff\xff", "loaded": b"\xff\xff\x00\xff"}
        cells, reasons = read_cell_rois(exported / plate / f"{well}_f0_cells.zip", shape=SHAPE)
        assert not reasons
        np.testing.assert_array_equal(cells > 0, field.read_label("cells") > 0)


def test_images_have_all_channels_and_their_pixel_size(measured: Layout, exported: Path) -> None:
    stack = open_stack(exported / "P1" / "B03_f0.tif")
    assert (stack.channels, stack.shape) == (CHANNELS, SHAPE)
    assert stack.pixel_size_um == pytest.approx(PIXEL_SIZE_UM, rel=1e-7)
    field = PlateStore.open(measured.plate_store("P1")).field("B03", 0)
    with tifffile.TiffFile(stack.path) as tiff:
        tables = tiff.imagej_metadata["LUTs"]
    # Nucleus blue, lysosome green, cargo red, the other cargo yellow, as napari shows them.
    assert [table[:, 255].tolist() for table in tables] == [[0, 0, 255], [0, 255, 0], [255, 0, 0], [255, 255, 0]]
    assert {int(table[:, 0].max()) for table in tables} == {0}
    for channel in CHANNELS:
        np.testing.assert_array_equal(stack.read(channel), field.read(channel))


def test_the_plugins_tables(measured: Layout, exported: Path) -> None:
    results, summary = (pd.read_csv(exported / "P1" / name) for name in ("Results.csv", "LysoQuant.csv"))
    assert tuple(results.columns) == RESULTS_COLUMNS
    assert tuple(summary.columns) == SUMMARY_COLUMNS
    cells = pd.concat(
        read_parquet(measured.well_tables("P1", well) / "cells.parquet") for well in ("B02", "B03", "C03")
    ).reset_index(drop=True)
    assert summary["Label"].tolist()[:3] == ["B02_f0.tif-cell-2", "B02_f0.tif-cell-5", "B02_f0.tif-cell-9"]
    assert set(summary["Lysosome Ch"]) == {2}
    # One call of the plugin for each cargo: the same endolysosomes by another class.
    for number, suffix in ((3, ""), (4, f"_{OTHER}")):
        own = summary[summary["Protein Ch"] == number]
        assert own["Total #"].tolist() == cells["n_endolysosomes"].tolist()
        assert own["Loaded"].tolist() == cells[f"n_loaded{suffix}"].tolist()
        assert (own["Empty"] + own["Loaded"]).tolist() == own["Total #"].tolist()
        np.testing.assert_allclose(own["Loaded Ratio"], cells[f"occupancy{suffix}"], rtol=1e-9)
        np.testing.assert_allclose(own["Empty Ratio"], 1 - cells[f"occupancy{suffix}"], rtol=1e-9)
        first = read_parquet(measured.well_tables("P1", "B02") / "endolysosomes.parquet").iloc[0]
        of_cargo = results[results["Protein Channel"] == number]
        # All channels of an endolysosome before the next, as the plugin does.
        head = of_cargo.head(4)
        assert head["Measurement Channel"].tolist() == [1, 2, 3, 4]
        assert set(head["Lysosome Type"]) == {"Loaded" if first[f"is_loaded{suffix}"] else "Empty"}
        np.testing.assert_allclose(head["Mean"], [first[f"intensity_mean_{channel}"] for channel in CHANNELS])
        np.testing.assert_allclose(head["X"] - first["centroid_x_um"], PIXEL_SIZE_UM / 2)
        assert head["%Cargo Area"].notna().tolist() == [channel == number for channel in (1, 2, 3, 4)]
        assert head["%Cargo Area"].max() == pytest.approx(100 * first[f"cargo_area_fraction{suffix}"])
        of_cell = of_cargo[(of_cargo["Image"] == "B02_f0.tif") & (of_cargo["Cell ID"] == "cell-2")]
        assert own["%Cargo Area Median"].iloc[0] == pytest.approx(of_cell["%Cargo Area"].median())
    assert results["Lysosome Type"].value_counts().to_dict() == {
        kind: len(CHANNELS) * int(summary[kind].sum()) for kind in ("Empty", "Loaded")
    }
    # A cell without endolysosomes has its row, a failed field has none, a field without objects no zip.
    assert summary["Total #"].tolist()[-1] == 0
    assert np.isnan(summary["Loaded Ratio"].iloc[-1])
    assert not set(summary["Label"].str.startswith("B02_f1")) - {False}
    assert {path.name for path in (exported / "P1").glob("*_f1*")} == set()
    assert not (exported / "P1" / "C03_f0_endolysosomes.zip").exists()


def test_only_some_wells_and_what_was_left_out(
    measured: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = str(measured.project)
    arguments = ["export", "imagej", project, "--output", str(tmp_path / "o"), "--plate", "P1", "--wells", "B02,C03"]
    assert invoke(arguments) == 0
    said = capsys.readouterr()
    assert "without outlines: P1 B02/1: channel SEC62 is truncated" in said.err
    assert said.out.startswith("2 fields, 4 cells, 115 endolysosomes: ")
    assert sorted(path.name for path in (tmp_path / "o" / "P1").iterdir()) == [
        *("B02_f0_cells.zip", "B02_f0_endolysosomes.zip", "B02_f0_endolysosomes_c4.zip", "C03_f0_cells.zip"),
        *("LysoQuant.csv", "Results.csv"),
    ]
    assert invoke([*arguments[:-1], "B02"]) == 2
    assert "is there and not empty; give a new folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--wells", "B02"], "--wells needs --plate: the project's plates are P1, P2"),
        (["--plate", "P3"], "--plate 'P3': the project's plates are P1, P2"),
        (["--plate", "P1", "--wells", "B02,H12"], "plate P1 has no well H12; its wells are B02, B03, C03"),
        (["--plate", "P1", "--wells", ""], "plate P1 has no well (none was named)"),
    ],
)
def test_wrong_values_are_one_line(
    measured: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert invoke(["export", "imagej", str(measured.project), "--output", str(tmp_path / "o"), *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "o").exists()


def _without(path: Path, column: str) -> pa.Schema:
    schema = read_schema(path)
    return schema.remove(schema.get_field_index(column))


def test_wells_that_were_not_measured_name_the_command(
    measured: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "p"
    shutil.copytree(measured.project, project)
    layout = Layout(project=project, results=project / "results")
    arguments = ["export", "imagej", str(project), "--output", str(tmp_path / "o")]
    table = layout.well_tables("P1", "B02") / "endolysosomes.parquet"
    shutil.copy(layout.well_tables("P2", "B02") / "endolysosomes.parquet", table)
    assert invoke(arguments) == 1
    assert "so that all are of one run" in capsys.readouterr().err
    # Tables appear whole or not at all.
    assert not (tmp_path / "o" / "P1" / "Results.csv").exists()
    shutil.rmtree(tmp_path / "o")
    write_parquet(table, read_parquet(table).drop(columns=f"is_loaded_{OTHER}"), _without(table, f"is_loaded_{OTHER}"))
    assert invoke(arguments) == 1
    said = capsys.readouterr().err
    assert f"field B02/0: its tables or its image have no is_loaded_{OTHER}; run `lysoquant run PROJECT` first" in said
    layout.well_record("P1", "measure", "B03").unlink()
    shutil.rmtree(tmp_path / "o")
    assert invoke(arguments) == 1
    assert "run `lysoquant measure PROJECT --plate P1` first" in capsys.readouterr().err
    shutil.rmtree(layout.results)
    assert invoke(arguments) == 2
    assert "run `lysoquant convert` first" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
