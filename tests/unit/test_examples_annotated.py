"""People's outlines as examples: drawn, read and refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
import tifffile
from numpy.typing import NDArray

from lysoquant.errors import InputError
from lysoquant.examples.annotated import read_examples
from lysoquant.examples.example import Example
from lysoquant.examples.from_ome_zarr import class_of_each
from lysoquant.examples.written import write_example
from lysoquant.io.rois import read_outlines
from lysoquant.io.store import PlateStore

SHAPE = (60, 80)
PIXEL = 0.1


def write_image(folder: Path, name: str = "a.tif", *, labels: list[str] | None = None, size: float = PIXEL) -> Path:
    planes = np.arange(2 * SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(2, *SHAPE)
    metadata = {"axes": "CYX", "unit": "um", "Labels": labels or ["lysosome", "cargo"]}
    tifffile.imwrite(folder / name, planes, imagej=True, resolution=(1 / size, 1 / size), metadata=metadata)
    return folder / name


def oval(left: int, top: int, width: int, height: int) -> bytes:
    kind = roifile.ROI_TYPE.OVAL
    return roifile.ImagejRoi(roitype=kind, left=left, top=top, right=left + width, bottom=top + height).tobytes()


def rectangle(left: int, top: int, width: int, height: int) -> bytes:
    kind = roifile.ROI_TYPE.RECT
    return roifile.ImagejRoi(roitype=kind, left=left, top=top, right=left + width, bottom=top + height).tobytes()


def write_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def one(folder: Path, entries: dict[str, bytes], **options: Any) -> Example:
    write_zip(folder / "a.zip", entries)
    [example] = list(read_examples(folder, **options))
    return example


# --- images with ImageJ ROIs --------------------------------------------------------------------------------------


def test_outlines_are_drawn_at_the_models_pixel_size(tmp_path: Path) -> None:
    write_image(tmp_path)
    example = one(tmp_path, {"Loaded-1.roi": oval(10, 20, 16, 12), "EMPTY.roi": rectangle(40, 5, 6, 4)})
    assert example.name == "a"
    assert example.regions.shape == (240, 320)
    assert example.classes.tolist() == [0, 2, 1]
    rows, columns = np.mgrid[:240, :320]
    # Model pixel i lies at i / 4 of the image, whose pixel k has its centre at k + 0.5 of ImageJ's coordinates.
    y, x = rows / 4 + 0.5, columns / 4 + 0.5
    disc = ((x - 18) / 8) ** 2 + ((y - 26) / 6) ** 2 <= 1
    box = (x > 40) & (x < 46) & (y > 5) & (y < 9)
    np.testing.assert_array_equal(example.regions == 1, disc)
    np.testing.assert_array_equal(example.regions == 2, box)
    assert not example.ignored.any()
    assert example.pixel_size_um == PIXEL
    np.testing.assert_array_equal(example.lysosome, np.arange(60 * 80).reshape(SHAPE))
    np.testing.assert_array_equal(example.cargo, np.arange(60 * 80, 2 * 60 * 80).reshape(SHAPE))
    assert example.inside.all()


def test_cells_are_cut_out_and_outlines_move_with_them(tmp_path: Path) -> None:
    write_image(tmp_path)
    outlines = {
        "cell left.roi": rectangle(4, 6, 30, 40),
        "cell right.roi": rectangle(38, 0, 42, 60),
        "empty-1.roi": rectangle(10, 16, 8, 6),
        "loaded-1.roi": rectangle(30, 20, 20, 8),
        "ignore me.roi": rectangle(5, 40, 3, 3),
    }
    write_zip(tmp_path / "a.zip", outlines)
    left, right = read_examples(tmp_path)
    assert [left.name, right.name] == ["a cell left", "a cell right"]
    assert left.inside.shape == (40, 30)
    np.testing.assert_array_equal(left.lysosome, np.arange(4800).reshape(SHAPE)[6:46, 4:34])
    # x from 10 to 18 of the image is 6 to 14 of the crop, and 24 - 2 to 56 - 2 of the model's pixels, borders excluded.
    rows, columns = np.nonzero(left.regions == 1)
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (23, 54, 39, 62)
    assert left.classes.tolist() == [0, 1, 2]
    columns = np.nonzero(left.regions == 2)[1]
    assert columns.min() == 26 * 4 - 2 + 1
    assert columns.max() == 119  # cut at the cell's border
    assert right.classes.tolist() == [0, 2]
    assert np.nonzero(right.regions == 1)[1].max() + 1 == 12 * 4 - 2
    assert np.count_nonzero(left.ignored) == 11 * 11
    assert not right.ignored.any()


def test_a_round_cell_hides_what_is_outside_it(tmp_path: Path) -> None:
    write_image(tmp_path)
    example = one(tmp_path, {"cell.roi": oval(10, 10, 40, 40), "empty.roi": rectangle(8, 8, 20, 20)})
    assert example.inside.shape == (40, 40)
    assert not example.inside[0, 0]
    nearest = np.minimum(np.rint(np.arange(160) / 4), 39).astype(int)
    assert not (example.regions > 0)[~example.inside[np.ix_(nearest, nearest)]].any()
    assert (example.regions > 0).any()


def test_of_overlapping_outlines_the_earlier_keeps_the_pixels(tmp_path: Path) -> None:
    write_image(tmp_path)
    first, second = rectangle(10, 10, 10, 10), rectangle(16, 10, 10, 10)
    example = one(tmp_path, {"empty-1.roi": first, "loaded-1.roi": second})
    assert [np.count_nonzero(example.regions == n) for n in (1, 2)] == [39 * 39, 24 * 39]
    with pytest.raises(InputError, match=r"more than half of outline 'loaded-2' lies under 'empty-1'; delete one"):
        one(tmp_path, {"empty-1.roi": first, "loaded-2.roi": rectangle(11, 10, 10, 10)})


def test_small_outlines_do_not_count(tmp_path: Path) -> None:
    write_image(tmp_path)
    example = one(tmp_path, {"empty-1.roi": rectangle(10, 10, 3, 4), "empty-2.roi": rectangle(30, 10, 4, 4)})
    assert example.regions.max() == 2  # 0.12 um2 and 0.16 um2
    np.testing.assert_array_equal(example.ignored, example.regions == 1)


def test_channels_and_pixel_size_can_be_given(tmp_path: Path) -> None:
    write_image(tmp_path, labels=["SEC62", "LAMP1"], size=0.05)
    entries = {"empty.roi": rectangle(10, 10, 10, 10)}
    with pytest.raises(InputError, match=r"no channel is called lysosome; its channels are SEC62, LAMP1: .*--lysosome"):
        one(tmp_path, entries)
    with pytest.raises(InputError, match="there is no channel 'GFP'"):
        one(tmp_path, entries, lysosome="LAMP1", cargo="GFP")
    with pytest.raises(InputError, match="can't be both"):
        one(tmp_path, entries, lysosome="LAMP1", cargo="LAMP1")
    example = one(tmp_path, entries, lysosome="LAMP1", cargo="SEC62")
    assert (example.pixel_size_um, example.cargo[0, 1], example.lysosome[0, 1]) == (0.05, 1, 4801)
    assert one(tmp_path, entries, lysosome="LAMP1", cargo="SEC62", pixel_size_um=0.12).pixel_size_um == 0.12
    with pytest.raises(InputError, match=r"pixel size of 1 um, expected 0.02 to 0.24 um"):
        one(tmp_path, entries, lysosome="LAMP1", cargo="SEC62", pixel_size_um=1.0)


def test_a_file_without_metadata_needs_names_and_size(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, *SHAPE), np.uint16), metadata=None, photometric="minisblack")
    entries = {"empty.roi": rectangle(10, 10, 10, 10)}
    with pytest.raises(InputError, match="channel_1, channel_2"):
        one(tmp_path, entries)
    with pytest.raises(InputError, match="no pixel size; give it with --pixel-size-um"):
        one(tmp_path, entries, lysosome="channel_2", cargo="channel_1")
    assert one(tmp_path, entries, lysosome="channel_2", cargo="channel_1", pixel_size_um=0.1).regions.max() == 1


def test_an_ome_tiff_is_read_with_its_own_names(tmp_path: Path) -> None:
    metadata = {
        "axes": "CYX",
        "Channel": {"Name": ["Cargo", "Lysosome"]},
        "PhysicalSizeX": 0.08,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.08,
        "PhysicalSizeYUnit": "µm",
    }
    planes = np.stack([np.full(SHAPE, 3, np.uint16), np.full(SHAPE, 7, np.uint16)])
    tifffile.imwrite(tmp_path / "a.ome.tif", planes, metadata=metadata)
    example = one(tmp_path, {"empty.roi": rectangle(10, 10, 10, 10)})
    assert (example.name, example.pixel_size_um, example.cargo[0, 0], example.lysosome[0, 0]) == ("a", 0.08, 3, 7)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"0012-0034.roi": rectangle(1, 1, 9, 9)},
            r"'0012-0034': a name must begin with empty, loaded, cell or ignore",
        ),
        ({"../../empty.roi": rectangle(1, 1, 9, 9)}, r"'\.\./\.\./empty': a name must begin"),
        ({"empty.roi": b"not a ROI"}, r"outline 'empty.roi' is damaged"),
        ({"empty.roi": b"Iout"}, r"outline 'empty.roi' is damaged"),
        ({"empty.roi": rectangle(1, 1, 9, 9), "notes.txt": b"x"}, r"entry 'notes.txt' is not a .roi entry"),
        ({"empty.roi": rectangle(100, 1, 9, 9)}, r"'empty' lies outside the image"),
        (
            {"cell.roi": rectangle(1, 1, 9, 9), "empty-7.roi": rectangle(30, 30, 9, 9)},
            r"'empty-7' lies outside every cell",
        ),
        ({"cell-2.roi": rectangle(90, 1, 9, 9)}, r"cell 'cell-2' lies outside the image"),
        ({"empty.roi": rectangle(1, 1, 9, 9), "empty.ROI": rectangle(30, 1, 9, 9)}, r"two outlines named 'empty'"),
    ],
)
def test_wrong_outlines_are_one_line(tmp_path: Path, entries: dict[str, bytes], message: str) -> None:
    write_image(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        one(tmp_path, entries)
    assert "\n" not in str(caught.value)
    assert "a.zip" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tif", "a.zip"]


def test_lines_and_splines_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path)
    line = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, x1=1, y1=1, x2=9, y2=9).tobytes()
    with pytest.raises(InputError, match=r"'empty.roi' is a line"):
        one(tmp_path, {"empty.roi": line})
    spline = roifile.ImagejRoi.frompoints(np.array([[1.0, 1], [30, 1], [30, 30]]))
    spline.options |= roifile.ROI_OPTIONS.SPLINE_FIT
    with pytest.raises(InputError, match="is a spline"):
        one(tmp_path, {"empty.roi": spline.tobytes()})


def test_huge_entries_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path)
    monkeypatch.setattr("lysoquant.io.rois.MAX_ROI_BYTES", 1000)
    with pytest.raises(InputError, match=r"entry 'empty.roi' is larger than"):
        one(tmp_path, {"empty.roi": b"Iout" + bytes(2000)})


def test_a_whole_image_too_large_for_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path)
    monkeypatch.setattr("lysoquant.examples.crops.MAX_MODEL_PX", 240 * 320 - 1)
    with pytest.raises(InputError, match=r"240 x 320 pixels at 0.025 um.*outline its cells"):
        one(tmp_path, {"empty.roi": rectangle(1, 1, 9, 9)})
    assert one(tmp_path, {"cell.roi": rectangle(0, 0, 80, 59), "empty.roi": rectangle(1, 1, 9, 9)}).regions.max() == 1


def test_images_and_zips_come_in_pairs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no .tif image"):
        list(read_examples(tmp_path))
    write_image(tmp_path)
    with pytest.raises(InputError, match=r"a.tif has no a.zip"):
        list(read_examples(tmp_path))
    write_zip(tmp_path / "a.zip", {"cell.roi": rectangle(0, 0, 20, 20)})
    write_zip(tmp_path / "b.zip", {"cell.roi": rectangle(0, 0, 20, 20)})
    with pytest.raises(InputError, match=r"b.zip has no b.tif"):
        list(read_examples(tmp_path))
    (tmp_path / "b.zip").unlink()
    (tmp_path / "README.txt").write_text("passed over")
    (tmp_path / "._a.tif").write_bytes(b"of macOS")
    [example] = read_examples(tmp_path)
    assert example.classes.tolist() == [0]
    with pytest.raises(InputError, match="is a file"):
        list(read_examples(tmp_path / "a.tif"))
    with pytest.raises(InputError, match="is not there"):
        list(read_examples(tmp_path / "absent"))


def test_stacks_of_planes_are_refused(tmp_path: Path) -> None:
    planes = np.zeros((3, 2, *SHAPE), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", planes, imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(InputError, match="3 Z, 2 C; expected channels only"):
        one(tmp_path, {"empty.roi": rectangle(1, 1, 9, 9)})


@pytest.mark.parametrize("name", ["oval", "polygon", "freehand", "ellipse", "rectangle", "composite-brush-donut"])
def test_real_rois_are_drawn_where_imagej_drew_them(real_data: Path, tmp_path: Path, name: str) -> None:
    path = real_data / "imagej_rois" / "data" / f"{name}.roi"
    if not path.is_file():
        pytest.skip(f"no {path}")
    [outline] = read_outlines(path)
    coarse: NDArray[np.bool_] = np.zeros((300, 300), bool)
    box, mask = outline.mask((300, 300))
    coarse[box] = mask
    origin = (box[0].start // 2 + 1, box[1].start // 2 + 1)
    here = coarse[origin[0] :, origin[1] :]
    whole = np.zeros((4 * here.shape[0], 4 * here.shape[1]), bool)
    (rows, columns), fine = outline.mask(whole.shape, scale=4.0, origin=origin)
    whole[rows, columns] = fine
    # Every fourth pixel of the fine grid lies on a pixel of the image.
    np.testing.assert_array_equal(whole[::4, ::4], here)
    edge = np.count_nonzero(here[1:] != here[:-1]) + np.count_nonzero(here[:, 1:] != here[:, :-1])
    assert here.any()
    assert np.count_nonzero(whole) / 16 == pytest.approx(np.count_nonzero(here), abs=0.3 * edge + 1)


# --- written and read again ---------------------------------------------------------------------------------------


def drawn_example(pixel_size_um: float = 0.065) -> Example:
    shape = (70, 90)
    model = tuple(max(1, round(length * pixel_size_um / 0.025)) for length in shape)
    rows, columns = np.mgrid[: model[0], : model[1]]
    regions = np.zeros(model, np.int32)
    regions[(rows - 50) ** 2 + (columns - 60) ** 2 <= 400] = 1
    regions[(rows - 50) ** 2 + (columns - 95) ** 2 <= 256] = 2  # touches 1
    regions[(rows - 85) ** 2 + (columns - 110) ** 2 <= 300] = 3
    regions[(rows - 85) ** 2 + (columns - 110) ** 2 <= 60] = 0  # with a hole
    regions[90:96, 40:46] = 4  # small
    ignored = regions == 4
    ignored[84:88, 10:30] = True
    return Example(
        name="P1 B03/0 c7",
        cargo=np.arange(6300, dtype=np.uint16).reshape(shape),
        lysosome=np.arange(6300, dtype=np.uint16)[::-1].reshape(shape),
        inside=np.ones(shape, bool),
        pixel_size_um=pixel_size_um,
        regions=regions,
        classes=np.array([0, 1, 2, 2, 1], np.uint8),
        ignored=ignored,
        docked=np.zeros(5, bool),
    )


@pytest.mark.parametrize("pixel_size_um", [0.04, 0.065, 0.1, 0.12])
def test_a_written_example_is_read_as_it_was(tmp_path: Path, pixel_size_um: float) -> None:
    example = drawn_example(pixel_size_um)
    image = write_example(tmp_path, example)
    assert image.name == "P1_B03_0_c7.tif"
    [found] = read_examples(tmp_path)
    for name in ("cargo", "lysosome", "inside", "regions", "classes", "ignored"):
        np.testing.assert_array_equal(getattr(found, name), getattr(example, name), err_msg=name)
    assert found.pixel_size_um == pixel_size_um
    names = [outline.name for outline in read_outlines(image.with_suffix(".zip"))]
    assert names == ["cell", "empty-0001", "loaded-0002", "loaded-0003", "empty-0004", "ignore-0001"]
    with pytest.raises(InputError, match="is there already"):
        write_example(tmp_path, example)


def test_a_written_image_opens_in_fiji_with_its_names(tmp_path: Path) -> None:
    with tifffile.TiffFile(write_example(tmp_path, drawn_example())) as tiff:
        assert tiff.series[0].axes == "CYX"
        found = tiff.imagej_metadata
        assert found["Labels"] == ["cargo", "lysosome"]
        assert (found["mode"], found["unit"]) == ("composite", "um")
        assert len(found["Ranges"]) == 4


# --- OME-Zarr -----------------------------------------------------------------------------------------------------


def corrected_plate(
    path: Path, version: Any, *, channels: tuple[str, ...] = ("DAPI", "Lysosome", "cargo")
) -> PlateStore:
    store = PlateStore.create(path, name="P1", wells={"B03": 2}, n_rows=8, n_columns=12, ngff_version=version)
    planes = np.arange(3 * 60 * 80, dtype=np.uint16).reshape(3, 60, 80)
    for index in range(2):
        field = store.field("B03", index)
        field.write_image(planes, channels=channels, pixel_size_um=PIXEL, levels=2, chunk_px=64)
        cells, regions, classes = (np.zeros(SHAPE, np.uint32) for _ in range(3))
        if index == 0:
            cells[4:54, 6:40], cells[2:50, 50:78] = 12, 3
            regions[10:20, 12:20], regions[30:42, 30:38], regions[5:15, 55:65] = 900, 4, 5
            classes[regions > 0] = 1
            classes[regions == 4] = 2
        field.write_label("cells", cells)
        field.write_label("endolysosomes", regions)
        field.write_label("endolysosome_classes", classes.astype(np.uint8))
    return store


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_corrected_plate_is_read_cell_by_cell(tmp_path: Path, version: Any) -> None:
    corrected_plate(tmp_path / "p.zarr", version)
    right, left = read_examples(tmp_path / "p.zarr")
    assert [right.name, left.name] == ["B03/0 cell 3", "B03/0 cell 12"]
    assert left.inside.shape == (50, 34)
    assert left.classes.tolist() == [0, 2, 1]  # numbered in the order of their labels: 4, then 900
    nearest = [np.minimum(np.rint(np.arange(4 * length) / 4), length - 1).astype(int) for length in (50, 34)]
    coarse = np.zeros((50, 34), int)
    coarse[6:16, 6:14], coarse[26:38, 24:32] = 2, 1
    np.testing.assert_array_equal(left.regions, coarse[np.ix_(*nearest)])
    np.testing.assert_array_equal(left.lysosome, np.arange(4800, 9600).reshape(SHAPE)[4:54, 6:40])
    np.testing.assert_array_equal(left.cargo, np.arange(9600, 14400).reshape(SHAPE)[4:54, 6:40])
    assert right.classes.tolist() == [0, 1]
    one_field = list(read_examples(tmp_path / "p.zarr" / "B" / "03" / "0"))
    assert [example.name for example in one_field] == ["0 cell 3", "0 cell 12"]


def test_channels_of_a_plate_can_be_named(tmp_path: Path) -> None:
    corrected_plate(tmp_path / "p.zarr", "0.5", channels=("DAPI", "LAMP1", "SEC62"))
    with pytest.raises(InputError, match="its channels are DAPI, LAMP1, SEC62"):
        list(read_examples(tmp_path / "p.zarr"))
    found = list(read_examples(tmp_path / "p.zarr", lysosome="LAMP1", cargo="DAPI"))
    assert found[0].cargo[0, 0] == 2 * 80 + 50


def relabel(store: PlateStore, name: str, change: Callable[[NDArray[Any]], None]) -> None:
    field = store.field("B03", 0)
    label = field.read_label(name).copy()
    change(label)
    field.write_label(name, label)


def put(rows: slice, columns: slice, value: int) -> Callable[[NDArray[Any]], None]:
    def change(label: NDArray[Any]) -> None:
        label[rows, columns] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "endolysosome_classes",
            put(slice(10, 20), slice(12, 20), 0),
            r"endolysosome 900 has no class \(80 pixels of class 0, 0 empty, 0 loaded\); paint it 1",
        ),
        (
            "endolysosome_classes",
            put(slice(10, 12), slice(12, 20), 2),
            r"endolysosome 900 has not one class throughout \(0 pixels of class 0, 64 empty, 16 loaded\)",
        ),
        ("endolysosomes", put(slice(22, 28), slice(12, 20), 77), r"endolysosome 77 has no class \(48"),
        (
            "endolysosomes",
            put(slice(10, 20), slice(12, 20), 0),
            r"class without an endolysosome at \(y, x\) = \(10, 12\)",
        ),
        ("endolysosome_classes", put(slice(10, 20), slice(12, 20), 3), r"class 3 in labels/endolysosome_classes"),
        ("cells", put(slice(2, 50), slice(50, 78), 0), r"endolysosome 5 lies outside every cell"),
    ],
)
def test_wrong_labels_are_one_line(tmp_path: Path, name: str, change: Any, message: str) -> None:
    store = corrected_plate(tmp_path / "p.zarr", "0.5")
    relabel(store, name, change)
    with pytest.raises(InputError, match=message) as caught:
        list(read_examples(tmp_path / "p.zarr"))
    assert "\n" not in str(caught.value)


def test_classes_by_hand() -> None:
    regions, classes = np.array([[0, 7, 7, 3]]), np.array([[0, 2, 2, 1]])
    numbers, table = class_of_each(regions, classes, where="x")
    assert (numbers.tolist(), table.tolist()) == ([3, 7], [0, 1, 2])


def test_folders_that_are_no_plate_are_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "zarr.json").write_text("{")
    with pytest.raises(InputError, match="metadata are damaged"):
        list(read_examples(folder))
    (folder / "zarr.json").write_text(json.dumps({"attributes": {"ome": {"well": {}}}}))
    with pytest.raises(InputError, match="neither an OME-Zarr plate nor an image"):
        list(read_examples(folder))
    (folder / "zarr.json").write_text(json.dumps({"attributes": {"ome": {"multiscales": [{}]}}}))
    with pytest.raises(InputError, match="no labels/endolysosomes"):
        list(read_examples(folder))
    store = corrected_plate(tmp_path / "p.zarr", "0.5")
    relabel(store, "cells", put(slice(None), slice(None), 0))
    relabel(store, "endolysosomes", put(slice(None), slice(None), 0))
    relabel(store, "endolysosome_classes", put(slice(None), slice(None), 0))
    with pytest.raises(InputError, match="no cell in any field"):
        list(read_examples(tmp_path / "p.zarr"))


def test_an_image_without_labels_is_one_line(tmp_path: Path) -> None:
    store = PlateStore.create(tmp_path / "p", name="P", wells={"A01": 1}, n_rows=1, n_columns=1)
    field = store.field("A01", 0)
    field.write_image(
        np.zeros((2, 40, 40), np.uint8), channels=("cargo", "lysosome"), pixel_size_um=0.1, levels=1, chunk_px=64
    )
    with pytest.raises(InputError, match="no labels/endolysosomes"):
        list(read_examples(tmp_path / "p"))
    regions = np.zeros((40, 40), np.uint32)
    regions[5:15, 5:15] = 1
    field.write_label("endolysosomes", regions)
    field.write_label("endolysosome_classes", regions.astype(np.uint8))
    [example] = read_examples(tmp_path / "p")  # without cells the whole image is one
    assert example.inside.shape == (40, 40)
    assert example.inside.all()
