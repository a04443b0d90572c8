"""Consensus of operators by hand; cells given out, corrected and taken back."""

from __future__ import annotations

import csv
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import tifffile
from network_kit import threshold_model, write_tiny
from numpy.typing import NDArray

from lysoquant.annotate.consensus import agree, agreement, relative_standard_error
from lysoquant.annotate.corrected import import_corrected
from lysoquant.annotate.export import SEEN, export_cells, uncertainty
from lysoquant.annotate.manifest import Changes, compare, read_manifest
from lysoquant.annotate.operators import build_consensus
from lysoquant.cli.main import invoke
from lysoquant.errors import InputError
from lysoquant.examples.annotated import read_examples
from lysoquant.io.rois import read_outlines
from lysoquant.io.store import PlateStore
from lysoquant.segment.params import SegmentParams

# --- consensus ----------------------------------------------------------------------------------------------------


def rectangle(left: int, top: int, width: int, height: int) -> bytes:
    kind = roifile.ROI_TYPE.RECT
    return roifile.ImagejRoi(roitype=kind, left=left, top=top, right=left + width, bottom=top + height).tobytes()


def write_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.roi", content)
    return path


def test_pixels_of_at_least_two_of_three_by_hand() -> None:
    drawings = [
        np.array([row], np.uint8) for row in ([1, 1, 1, 0, 2, 1, 0], [1, 2, 0, 0, 2, 1, 2], [1, 2, 0, 1, 1, 2, 1])
    ]
    found = agree(drawings, minimum=2)
    assert found.classes.tolist() == [[1, 2, 0, 0, 2, 1, 0]]
    assert found.drawn.tolist() == [[True, True, False, False, True, True, True]]
    assert found.disputed.tolist() == [[False] * 6 + [True]]
    first = agreement(drawings[0], found, target="empty")
    assert (first.iou, first.area, first.difference) == (2 / 4, 4, 2)  # common 0, 5; either 0, 1, 2, 5
    whole = agreement(drawings[0], found, target="endolysosome")
    assert (whole.iou, whole.area, whole.difference) == (4 / 6, 5, 2)
    assert math.isnan(
        agreement(np.zeros((1, 2), np.uint8), agree([np.zeros((1, 2), np.uint8)] * 2, minimum=2), target="empty").iou
    )


def test_a_tie_of_classes_is_nobodys() -> None:
    drawings = [np.array([[1, 1]], np.uint8)] * 2 + [np.array([[2, 0]], np.uint8)] * 2
    found = agree(drawings, minimum=2)
    assert found.classes.tolist() == [[0, 1]]
    assert found.disputed.tolist() == [[True, False]]


def test_relative_standard_error_by_hand() -> None:
    # (9 + 16 + 0) / 2 = 12.5; / 3 = 4.1667; root 2.0412; of 100.
    assert relative_standard_error([3, 4, 0], 100) == pytest.approx(0.0204124)
    assert math.isnan(relative_standard_error([3], 100))
    assert math.isnan(relative_standard_error([3, 4], 0))


def test_the_papers_two_figures_fit_each_other() -> None:
    """IoU 0.85 of outlines as large as the consensus: a relative standard error of about 12 %, as reported."""
    union = 2 / 1.85
    assert relative_standard_error([union - union * 0.85] * 3, 1) == pytest.approx(0.129, abs=0.02)


def operator_folders(folder: Path) -> tuple[list[Path], Path]:
    """Two images; three operators who draw squares one pixel further right each, of pixel size 0.1 um."""
    images = folder / "images"
    images.mkdir()
    operators = [folder / name for name in ("ada", "ben", "cy")]
    for number, operator in enumerate(operators):
        operator.mkdir()
        for name in ("x", "y"):
            tifffile.imwrite(
                images / f"{name}.tif",
                np.zeros((40, 60), np.uint8),
                imagej=True,
                resolution=(10, 10),
                metadata={"unit": "um"},
            )
            second = "loaded-2" if (name, number) != ("y", 2) else "empty-2"
            outlines = {
                "empty-1": rectangle(5 + number, 5, 10, 10),
                second: rectangle(30, 20, 8, 5),
                "Cell": rectangle(0, 0, 60, 40),
            }
            write_zip(operator / f"{name}.zip", outlines)
    return operators, images


def test_consensus_of_folders_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    operators, images = operator_folders(tmp_path)
    out = tmp_path / "out"
    arguments = ["annotate", "consensus", *map(str, operators), "--image", str(images), "--output", str(out)]
    assert invoke(arguments) == 0
    classes = tifffile.imread(out / "classes" / "x.tif")
    expected = np.zeros((40, 60), np.uint8)
    expected[5:15, 6:16], expected[20:25, 30:38] = 1, 2  # columns 6 to 16: in two of 5-15, 6-16, 7-17
    np.testing.assert_array_equal(classes, expected)
    outlines = read_outlines(out / "rois" / "x.zip")
    assert [outline.name for outline in outlines] == ["empty-0001", "loaded-0002"]
    box, mask = outlines[0].mask((40, 60))
    assert (box[0].start, box[1].start, int(mask.sum())) == (5, 6, 100)
    rows = list(csv.DictReader((out / "consensus.csv").open()))
    assert len(rows) == 2 * 3 * 3
    ada = next(
        row for row in rows if (row["image"], row["target"], row["operator"]) == ("x", "empty", str(operators[0]))
    )
    assert float(ada["iou"]) == pytest.approx(90 / 110, rel=1e-5)
    assert float(ada["area_um2"]) == pytest.approx(1.0)
    assert float(ada["difference_area_um2"]) == pytest.approx(0.2)
    # Differences of 20, 0 and 20 pixels: (400 + 0 + 400) / 2 / 3 = 133.3, root 11.547, of 100.
    assert float(ada["relative_standard_error"]) == pytest.approx(0.115470)
    found = json.loads((out / "consensus.json").read_text())["targets"]
    assert found["loaded"]["iou_of_operators"][2] == {"mean": 0.5, "sd": pytest.approx(math.sqrt(0.5)), "n": 2}
    whole = [(130 / 150), 1.0, (130 / 150)]
    assert found["endolysosome"]["iou"]["mean"] == pytest.approx(np.mean(whole))
    assert found["endolysosome"]["iou"]["n"] == 6
    printed = capsys.readouterr().out.splitlines()
    assert "endolysosome" in printed[0]
    assert printed[1].split()[:4] == [str(operators[0]), "0.867", "±", "0.000"]
    assert printed[4].startswith("all operators")
    assert printed[5].startswith("relative SE")


def test_disputed_pixels_are_ignored_and_class_maps_are_read(tmp_path: Path) -> None:
    image = tmp_path / "i.tif"
    tifffile.imwrite(image, np.zeros((40, 60), np.uint8), imagej=True, resolution=(10, 10), metadata={"unit": "um"})
    first = write_zip(tmp_path / "a.zip", {"empty-1": rectangle(5, 5, 10, 10)})
    drawn = np.zeros((40, 60), np.uint8)
    drawn[5:15, 5:15] = 2
    tifffile.imwrite(tmp_path / "b.tif", drawn)
    [scores] = build_consensus([first, tmp_path / "b.tif"], image, tmp_path / "out", minimum=2)
    assert [outline.name for outline in read_outlines(tmp_path / "out" / "rois" / "i.zip")] == ["ignore-0001"]
    assert scores.agreements["endolysosome"][0].iou == 1
    assert scores.agreements["empty"][0].iou == 0
    assert math.isnan(scores.errors["empty"])
    tifffile.imwrite(tmp_path / "b.tif", drawn * 2)
    with pytest.raises(InputError, match="values up to 4; expected a class map"):
        build_consensus([first, tmp_path / "b.tif"], image, tmp_path / "out", minimum=2)
    with pytest.raises(InputError, match="2 operators and a minimum of 3"):
        build_consensus([first, tmp_path / "b.tif"], image, tmp_path / "out", minimum=3)
    with pytest.raises(InputError, match="named twice"):
        build_consensus([first, first], image, tmp_path / "out")


def test_an_operator_without_an_image_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    operators, images = operator_folders(tmp_path)
    (operators[1] / "y.zip").unlink()
    arguments = ["annotate", "consensus", *map(str, operators), "--image", str(images), "--output", str(tmp_path / "o")]
    assert invoke(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "ben: no y.zip" in error
    assert invoke([*arguments[:2], str(operators[0]), str(operators[2] / "x.zip"), *arguments[5:]]) == 2
    assert "either for all" in capsys.readouterr().err


# --- how unsure ---------------------------------------------------------------------------------------------------


def test_uncertainty_by_hand() -> None:
    third = 1 / 3
    pixels = np.array([[1, 0.5, third], [0, 0.5, third], [0, 0, third]], np.float32)[:, :, None]
    # The first pixel is background and does not count; one bit of log 3, and all of it.
    assert uncertainty(pixels) == pytest.approx((math.log(2) / math.log(3) + 1) / 2, rel=1e-5)
    assert uncertainty(np.array([1 - SEEN, SEEN / 2, SEEN / 2], np.float32)[:, None, None] * np.float32(0.99)) == 0
    assert uncertainty(np.array([0, 0, 1], np.float32)[:, None, None]) == 0


def test_changes_by_hand() -> None:
    before = {"cell": "a", "empty-0001": "b", "empty-0002": "c", "loaded-0003": "d", "loaded-0004": "e"}
    after = {"cell": "a", "loaded-0001": "b", "empty-0002": "x", "loaded-0003": "d", "empty-new": "y"}
    assert compare(before, after) == Changes(unchanged=2, reclassified=1, reshaped=1, added=1, removed=1)
    assert not compare(before, before).any
    assert compare({"empty-1": "a"}, {"Empty 7": "a"}) == Changes(unchanged=1)


# --- given out, corrected, taken back -----------------------------------------------------------------------------

SHAPE = (70, 90)


def disc(y: int, x: int, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def make_plate(path: Path) -> PlateStore:
    """Two wells; cell 4 has an empty and a loaded disc, cell 9 has a loaded one only."""
    store = PlateStore.create(path, name="P1", wells={"A01": 1, "A02": 1}, n_rows=1, n_columns=2)
    planes = np.full((2, *SHAPE), 100, np.uint16)
    planes += (4 * (np.indices(SHAPE).sum(axis=0) % 2)).astype(np.uint16)
    for y, x, loaded in ((20, 15, False), (40, 25, True), (30, 70, True)):
        planes[0][disc(y, x, 6)] = 2000
        planes[1][disc(y, x, 6)] = 2000 if loaded else 100
    cells = np.zeros(SHAPE, np.uint32)
    cells[disc(32, 22, 21)], cells[5:60, 50:88] = 4, 9
    for well in ("A01", "A02"):
        field = store.field(well, 0)
        field.write_image(planes, channels=("LAMP1", "SEC62"), pixel_size_um=0.1, levels=1, chunk_px=64)
        field.write_label("cells", cells if well == "A01" else np.zeros_like(cells))
    return store


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("lysoquant.annotate.export.load_model", lambda path: threshold_model())
    store = make_plate(tmp_path / "p.zarr")
    manifest, notes = export(store, tmp_path / "out")
    assert notes == []
    assert manifest.candidates == 2
    return tmp_path / "out"


def export(store: PlateStore, out: Path, **changes: Any) -> Any:
    call: dict[str, Any] = {
        "wells": {"P1": store.wells},
        "lysosome": "LAMP1",
        "cargo": "SEC62",
        "model": Path("unused"),
        "params": SegmentParams(tile_px=256, overlap_px=16, precision="fp32"),
        "n_cells": 10,
        "candidates": 10,
        "device": "cpu",
    }
    return export_cells({"P1": store}, out, **(call | changes))


def test_exported_cells_are_read_as_the_model_saw_them(exported: Path) -> None:
    names = sorted(path.name for path in exported.iterdir())
    cells = ["P1_A01_f0_c4", "P1_A01_f0_c9"]
    assert names == [f"{cell}.{end}" for cell in cells for end in ("tif", "zip")] + ["README.txt", "manifest.json"]
    manifest = {cell.name: cell for cell in read_manifest(exported).cells}
    four = manifest[cells[0]]
    assert (four.well, four.field, four.cell, four.box) == ("A01", 0, 4, (11, 54, 1, 44))
    assert set(four.outlines) == {"cell", "empty-0001", "loaded-0002"}
    first, second = read_examples(exported)
    assert (first.classes.tolist(), second.classes.tolist()) == ([0, 1, 2], [0, 2])
    np.testing.assert_array_equal(first.inside, disc(32, 22, 21)[11:54, 1:44])
    # The network sees one pixel: regions are the discs, linearly resampled; within one pixel of the image.
    for number, (y, x) in enumerate(((20 - 11, 15 - 1), (40 - 11, 25 - 1)), start=1):
        rows, columns = np.nonzero(first.regions == number)
        assert np.hypot(rows / 4 - y, columns / 4 - x).max() == pytest.approx(6, abs=1)
        assert len(rows) / 16 == pytest.approx(math.pi * 36, rel=0.25)
    assert "loaded..." in (exported / "README.txt").read_text()


def test_the_least_sure_cell_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = threshold_model()
    monkeypatch.setattr("lysoquant.annotate.export.load_model", lambda path: model)
    # Cell 9 is made the one in doubt.
    monkeypatch.setattr("lysoquant.annotate.export.uncertainty", lambda found: float(found.shape[1] > 43 * 4))
    manifest, _ = export(make_plate(tmp_path / "p.zarr"), tmp_path / "out", n_cells=1)
    assert [(cell.cell, cell.uncertainty) for cell in manifest.cells] == [(9, 1.0)]
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".tif", ".txt", ".zip"]


def test_a_plate_without_cells_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lysoquant.annotate.export.load_model", lambda path: threshold_model())
    store = make_plate(tmp_path / "p.zarr")
    with pytest.raises(InputError, match="there is no cell to look at"):
        export(store, tmp_path / "out", wells={"P1": ["A02"]})
    with pytest.raises(InputError, match=r"has no channel 'GFP'"):
        export(store, tmp_path / "out", cargo="GFP")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("")
    with pytest.raises(InputError, match="not empty"):
        export(store, tmp_path / "full")


def rewrite(path: Path, change: Any) -> None:
    """Correct a zip: `change` gets its ROIs by name and leaves what is to be there."""
    with zipfile.ZipFile(path) as archive:
        entries = {name.removesuffix(".roi"): archive.read(name) for name in archive.namelist()}
    change(entries)
    write_zip(path, entries)


def correct(entries: dict[str, bytes]) -> None:
    entries["loaded-0001"] = entries.pop("empty-0001")
    entries["loaded-0002"] = rectangle(18, 24, 12, 10)
    entries["empty-new"] = rectangle(30, 12, 6, 6)


def test_corrections_are_counted_and_become_a_training_set(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(exported / "P1_A01_f0_c4.zip", correct)
    assert invoke(["annotate", "import", str(exported), str(tmp_path / "set")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "outlines: 1 reshaped, 1 of another class, 1 added, 0 removed, 3 left as they were"
    assert printed[1] == "left as exported (take them out if nobody looked at them): P1_A01_f0_c9"
    assert printed[2].startswith("2 cells with 4 endolysosomes")
    corrected, whole = list(read_examples(exported)), list(read_examples(tmp_path / "set"))
    for before, after in zip(corrected, whole, strict=True):
        np.testing.assert_array_equal(after.regions > 0, before.regions > 0)
        np.testing.assert_array_equal(after.class_map, before.class_map)
        np.testing.assert_array_equal(after.cargo, before.cargo)
    assert sorted(corrected[0].classes[1:]) == [1, 2, 2]
    record = json.loads((tmp_path / "set" / "import.json").read_text())
    assert record["outlines"] == {"unchanged": 3, "reclassified": 1, "reshaped": 1, "added": 1, "removed": 0}
    assert len(record["files"]) == 4
    with pytest.raises(InputError, match="not empty"):
        import_corrected(exported, tmp_path / "set")


def test_outlines_saved_anew_by_another_program_count_as_unchanged(exported: Path, tmp_path: Path) -> None:
    def save_again(entries: dict[str, bytes]) -> None:
        for name, content in entries.items():
            roi = roifile.ImagejRoi.frombytes(content)
            roi.version, roi.stroke_width, roi.name = 228, 2, "other"
            entries[name] = roi.tobytes()

    rewrite(exported / "P1_A01_f0_c4.zip", save_again)
    found = import_corrected(exported, tmp_path / "set")
    assert found.changes == Changes(unchanged=5)
    assert len(found.untouched) == 2


def test_cells_taken_out_and_own_images_are_told(exported: Path, tmp_path: Path) -> None:
    for end in ("tif", "zip"):
        (exported / f"P1_A01_f0_c9.{end}").rename(exported / f"mine.{end}")
    found = import_corrected(exported, tmp_path / "set")
    assert (found.missing, found.own, found.cells) == (["P1_A01_f0_c9"], ["mine"], 2)


def test_every_fault_is_one_line_and_nothing_is_written(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(exported / "P1_A01_f0_c4.zip", lambda entries: entries.update({"0001-0002": rectangle(1, 1, 5, 5)}))
    rewrite(exported / "P1_A01_f0_c9.zip", lambda entries: entries.pop("cell"))
    assert invoke(["annotate", "import", str(exported), str(tmp_path / "set")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "'0001-0002': a name must begin with" in lines[0]
    assert "c9.zip: its `cell` outline is gone" in lines[1]
    assert not (tmp_path / "set").exists()


def test_an_exported_image_saved_without_names_and_scale_is_still_the_same(exported: Path, tmp_path: Path) -> None:
    image = exported / "P1_A01_f0_c4.tif"
    tifffile.imwrite(image, tifffile.imread(image), imagej=True, metadata={"axes": "CYX"})
    found = import_corrected(exported, tmp_path / "set")
    assert len(found.untouched) == found.cells
    again = {example.name: example for example in read_examples(tmp_path / "set")}
    assert again["P1_A01_f0_c4"].pixel_size_um == pytest.approx(0.1)


def test_changed_pixels_and_damaged_manifests_are_refused(exported: Path, tmp_path: Path) -> None:
    image = exported / "P1_A01_f0_c4.tif"
    planes = tifffile.imread(image)
    planes[0, 0, 0] += 1
    tifffile.imwrite(
        image,
        planes,
        imagej=True,
        resolution=(10, 10),
        metadata={"axes": "CYX", "unit": "um", "Labels": ["cargo", "lysosome"]},
    )
    with pytest.raises(InputError, match=r"c4.tif: its pixels are not those that were exported"):
        import_corrected(exported, tmp_path / "set")
    (exported / "manifest.json").write_text('{"version": 2}')
    with pytest.raises(InputError, match=r"manifest.json: damaged at"):
        import_corrected(exported, tmp_path / "set")
    (exported / "manifest.json").unlink()
    with pytest.raises(InputError, match="give a folder that `lysoquant annotate export` wrote"):
        import_corrected(exported, tmp_path / "set")


def test_a_plate_is_exported_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_plate(tmp_path / "p.zarr")
    model = write_tiny(tmp_path / "tiny.safetensors")
    arguments = [
        "annotate",
        "export",
        str(tmp_path / "p.zarr"),
        str(tmp_path / "out"),
        "--model",
        str(model),
        "--device",
        "cpu",
    ]
    assert invoke([*arguments, "--lysosome", "LAMP1"]) == 2
    assert "no channel is called cargo; its channels are LAMP1, SEC62" in capsys.readouterr().err
    assert invoke([*arguments, "--lysosome", "LAMP1", "--cargo", "SEC62", "--wells", "A07"]) == 2
    assert "has no well A07" in capsys.readouterr().err
    assert invoke([*arguments, "--lysosome", "LAMP1", "--cargo", "SEC62", "--cells", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].startswith("1 of 2 cells")
    assert len(list(read_examples(tmp_path / "out"))) == 1


def test_a_project_knows_its_channels_model_and_plates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = (
        "channels: {lysosome: LAMP1, cargo: SEC62, nucleus: DAPI}\nsegment: {model: tiny.safetensors, tile_px: 256}\n"
    )
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").write_text(config)
    (tmp_path / "config" / "plates.tsv").write_text(
        "plate\tpath\tformat\np2\traw/b\timagexpress\np1\traw\timagexpress\n"
    )
    (tmp_path / "config" / "wells.tsv").write_text("plate\twell\tcondition\np1\tA01\twt\n")
    write_tiny(tmp_path / "tiny.safetensors")
    for plate in ("p1", "p2"):
        (tmp_path / "results" / plate).mkdir(parents=True)
        make_plate(tmp_path / "results" / plate / f"{plate}.zarr")
    monkeypatch.setattr("lysoquant.annotate.export.load_model", lambda path: threshold_model())
    arguments = ["annotate", "export", str(tmp_path), str(tmp_path / "out"), "--device", "cpu", "--candidates", "3"]
    assert invoke(arguments) == 0
    cells = read_manifest(tmp_path / "out").cells
    assert len(cells) == 3
    assert {cell.plate for cell in cells} == {"p1", "p2"}
    assert invoke([*arguments, "--wells", "A01"]) == 2
    assert "--wells needs one plate" in capsys.readouterr().err
