"""ImageJ ROIs and label images against areas known by hand, by ImageJ itself, and by another reader."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import roifile
import tifffile
from PIL import Image

from lysoquant.errors import FieldError
from lysoquant.io import rois
from lysoquant.io.rois import read_cell_rois, read_label_image

SHAPE = (120, 150)


def _roi(kind: str, points: list[tuple[float, float]], **values: object) -> bytes:
    roi = roifile.ImagejRoi.frompoints(np.array(points))
    roi.roitype = roifile.ROI_TYPE[kind]
    for name, value in values.items():
        setattr(roi, name, value)
    return roi.tobytes()


def _box(kind: str, left: int, top: int, width: int, height: int, **values: object) -> bytes:
    roi = roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE[kind], left=left, top=top, right=left + width, bottom=top + height, **values
    )
    return roi.tobytes()


def _zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def _read(tmp_path: Path, content: bytes, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    path = tmp_path / "a.roi"
    path.write_bytes(content)
    labels, reasons = read_cell_rois(path, shape=shape)
    assert reasons == []
    assert labels.dtype == np.uint32
    return labels


def test_rectangle_is_exact(tmp_path: Path) -> None:
    labels = _read(tmp_path, _box("RECT", 10, 20, 7, 5))
    assert np.array_equal(np.argwhere(labels), np.argwhere(np.pad(np.ones((5, 7)), ((20, 95), (10, 133)))))


def test_rounded_rectangle_loses_four_quarter_corners(tmp_path: Path) -> None:
    labels = _read(tmp_path, _box("RECT", 10, 20, 60, 50, rounded_rect_arc_size=20))
    assert np.count_nonzero(labels) == pytest.approx(60 * 50 - (4 - np.pi) * 10**2, abs=6)
    assert not labels[20, 10]
    assert labels[20, 20]


@pytest.mark.parametrize(("width", "height", "area"), [(1, 1, 1), (2, 2, 4), (4, 4, 12), (6, 4, 20), (21, 16, 264)])
def test_oval_has_the_pixels_whose_centres_are_inside(tmp_path: Path, width: int, height: int, area: int) -> None:
    assert np.count_nonzero(_read(tmp_path, _box("OVAL", 3, 4, width, height))) == area


def test_polygon_follows_the_centre_rule(tmp_path: Path) -> None:
    # Right triangle: row y has the pixels with x + 0.5 < 10 - (y + 0.5), the ones on the edge not counted.
    labels = _read(tmp_path, _roi("POLYGON", [(0, 0), (10, 0), (0, 10)]))
    assert [int(np.count_nonzero(row)) for row in labels[:11]] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]


@pytest.mark.parametrize("kind", ["POLYGON", "FREEHAND", "TRACED"])
def test_touching_outlines_share_no_pixel_and_leave_none(tmp_path: Path, kind: str) -> None:
    left = _roi(kind, [(0, 0), (13, 0), (40, 30), (0, 30)])
    right = _roi(kind, [(13, 0), (60, 0), (60, 30), (40, 30)])
    labels, reasons = read_cell_rois(_zip(tmp_path / "a.zip", {"1.roi": left, "2.roi": right}), shape=(30, 60))
    assert reasons == []
    assert set(np.unique(labels)) == {1, 2}


def test_subpixel_outline_keeps_its_fractions(tmp_path: Path) -> None:
    content = _roi("FREEHAND", [(5.4, 5.6), (9.6, 5.6), (9.6, 8.4), (5.4, 8.4)])
    rows, columns = np.nonzero(_read(tmp_path, content))
    # Centres 5.5 ... 9.5 lie between 5.4 and 9.6; of rows only 6.5 and 7.5 lie between 5.6 and 8.4.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 7, 5, 9)


def test_ellipse_has_its_analytic_area(tmp_path: Path) -> None:
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    points = [(60 + 40 * np.cos(t), 50 + 20 * np.sin(t)) for t in turn]
    content = _roi("FREEHAND", points, subtype=roifile.ROI_SUBTYPE.ELLIPSE)
    assert np.count_nonzero(_read(tmp_path, content)) == pytest.approx(np.pi * 40 * 20, rel=0.01)


def test_composite_keeps_its_hole(tmp_path: Path) -> None:
    outer, inner = [(10, 10), (50, 10), (50, 40), (10, 40)], [(20, 20), (30, 20), (30, 30), (20, 30)]
    path = [value for ring in (outer, inner) for i, p in enumerate(ring) for value in (float(i > 0), *p)]
    content = _box("RECT", 10, 10, 40, 30, shape_roi_size=len(path), multi_coordinates=np.array(path, np.float32))
    labels = _read(tmp_path, content)
    assert np.count_nonzero(labels) == 40 * 30 - 10 * 10
    assert not labels[25, 25]


def test_rois_are_cut_at_the_image_and_refused_beyond(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"cut.roi": _box("RECT", -5, -3, 10, 10), "off.roi": _box("OVAL", 150, 10, 9, 9)})
    labels, reasons = read_cell_rois(path, shape=SHAPE)
    assert np.count_nonzero(labels == 1) == 5 * 7
    assert labels.max() == 1
    assert reasons == ["a.zip: 1 ROI 'off.roi': no pixel inside the image, skipped"]


def test_earlier_roi_keeps_shared_pixels(tmp_path: Path) -> None:
    boxes = {"a.roi": (0, 0, 10, 10), "b.roi": (5, 0, 10, 10), "c.roi": (1, 1, 3, 3), "d.roi": (30, 30, 4, 4)}
    path = _zip(tmp_path / "a.zip", {name: _box("RECT", *box) for name, box in boxes.items()})
    labels, reasons = read_cell_rois(path, shape=SHAPE)
    assert np.bincount(labels.ravel())[1:].tolist() == [100, 50, 0, 16]
    assert reasons == [
        "a.zip: 1 ROI 'b.roi': overlaps an earlier ROI, which keeps the shared pixels",
        "a.zip: 1 ROI 'c.roi': wholly under earlier ROIs, skipped",
    ]


def test_what_is_not_an_area_or_not_a_roi_is_named(tmp_path: Path) -> None:
    good = _box("RECT", 0, 0, 4, 4)
    entries = {
        "line.roi": roifile.ImagejRoi(roitype=roifile.ROI_TYPE.LINE, x2=9, y2=9).tobytes(),
        "point.roi": _roi("POINT", [(3, 3)]),
        "notes.txt": b"hello",
        "__MACOSX/._good.roi": b"\x00\x05\x16\x07",
        "cut.roi": _roi("POLYGON", [(0, 0), (9, 0), (0, 9)])[:70],
        "nonsense.roi": b"not an ROI",
        "good.roi": good,
    }
    labels, reasons = read_cell_rois(_zip(tmp_path / "a.zip", entries), shape=SHAPE)
    assert np.count_nonzero(labels) == 16
    assert [reason.split(": ", 2)[1] for reason in reasons] == [
        "1 ROI 'notes.txt'",
        "2 ROIs 'line.roi', 'point.roi'",
        "2 ROIs 'cut.roi', 'nonsense.roi'",
    ]


def test_every_truncation_of_a_roi_is_survived(tmp_path: Path) -> None:
    content = _roi("FREEHAND", [(5.5, 5.5), (30.2, 8), (20, 30)])
    for size in range(4, len(content)):
        path = tmp_path / "a.roi"
        path.write_bytes(content[:size])
        labels, _ = read_cell_rois(path, shape=SHAPE)
        assert labels.shape == SHAPE


def test_coordinates_that_are_not_numbers_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.roi"
    path.write_bytes(_roi("FREEHAND", [(5.5, 5.5), (30.2, 8), (20, 30)]).replace(struct.pack(">f", 30.2),
                                                                               struct.pack(">f", np.nan)))  # fmt: skip
    labels, reasons = read_cell_rois(path, shape=SHAPE)
    assert not labels.any()
    assert "damaged" in reasons[0]


def test_entry_names_reach_no_disk(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = _zip(folder / "a.zip", {"../../evil.roi": _box("RECT", 0, 0, 4, 4), "/abs.roi": _box("RECT", 9, 9, 4, 4)})
    labels, reasons = read_cell_rois(path, shape=SHAPE)
    assert (np.count_nonzero(labels), reasons) == (32, [])
    assert sorted(file.name for file in tmp_path.rglob("*")) == ["a.zip", "in"]


def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _zip(tmp_path / "a.zip", {"a.roi": bytes(200_000), "b.roi": _box("RECT", 0, 0, 4, 4)})
    monkeypatch.setattr(rois, "MAX_ROI_BYTES", 100_000)
    labels, reasons = read_cell_rois(path, shape=SHAPE)
    assert np.count_nonzero(labels) == 16
    assert "larger than" in reasons[0]
    monkeypatch.setattr(rois, "MAX_ZIP_BYTES", 150_000)
    with pytest.raises(FieldError, match="unpacked, which no field's ROIs do"):
        read_cell_rois(path, shape=SHAPE)
    monkeypatch.setattr(rois, "MAX_ZIP_ENTRIES", 1)
    with pytest.raises(FieldError, match="2 entries"):
        read_cell_rois(path, shape=SHAPE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither an ImageJ ROI nor a zip"),
        (b"II*\0 a TIFF", "neither an ImageJ ROI nor a zip"),
        (b"PK\x03\x04 cut", "damaged or encrypted zip"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(FieldError, match=message):
        read_cell_rois(path, shape=SHAPE)


def test_zip_without_rois_and_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FieldError, match="holds no ImageJ ROI"):
        read_cell_rois(_zip(tmp_path / "a.zip", {"a.txt": b"x"}), shape=SHAPE)
    with pytest.raises(FieldError, match="can't be read"):
        read_cell_rois(tmp_path / "absent.zip", shape=SHAPE)


def test_zip_with_a_damaged_stream_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"a.roi": _roi("POLYGON", [(0, 0), (90, 0), (0, 90)])})
    content = bytearray(path.read_bytes())
    content[45:75] = b"\xff" * 30
    path.write_bytes(content)
    with pytest.raises(FieldError, match="damaged or encrypted zip"):
        read_cell_rois(path, shape=SHAPE)


# --- real ROIs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["polygon", "freehand", "ellipse", "composite-rect-in-rect", "composite-brush-donut"])
def test_real_outlines_have_the_area_of_their_corners(real_data: Path, name: str) -> None:
    path = real_data / "imagej_rois" / "data" / f"{name}.roi"
    labels, reasons = read_cell_rois(path, shape=(300, 300))
    rings = [np.asarray(ring, float) for ring in roifile.roiread(path).coordinates(multi=True)]
    # The shoelace sum over rings; the ring of a hole runs the other way round.
    area = abs(sum(float(np.sum(p[:, 0] * np.roll(p[:, 1], -1) - np.roll(p[:, 0], -1) * p[:, 1])) / 2 for p in rings))
    outline = sum(float(np.hypot(*np.diff(p, axis=0).T).sum()) for p in rings)
    assert reasons == []
    assert np.count_nonzero(labels) == pytest.approx(area, abs=0.05 * outline)


@pytest.mark.parametrize("name", ["line1", "polyline", "freeline", "point", "multipoint"])
def test_real_lines_and_points_are_named(real_data: Path, name: str) -> None:
    labels, reasons = read_cell_rois(real_data / "imagej_rois" / "data" / f"{name}.roi", shape=(300, 300))
    assert not labels.any()
    assert "encloses no area" in reasons[0]


def test_a_real_rectangle_is_exact(real_data: Path) -> None:
    folder = real_data / "imagej_rois" / "data"
    known = json.loads((folder / "rectangle.json").read_text())["rectangle"]
    labels, _ = read_cell_rois(folder / "rectangle.roi", shape=(300, 300))
    rows, columns = np.nonzero(labels)
    assert (rows.min(), columns.min()) == (known["top"], known["left"])
    assert rows.size == known["width"] * known["height"]


def test_ovals_that_imagej_outlined_itself_are_equal_pixel_by_pixel(real_data: Path) -> None:
    # A composite of ovals holds, as staircase, the very pixels that ImageJ took for each oval.
    roi = roifile.roiread(real_data / "imagej_rois" / "data" / "composite-two-ovals.roi")
    for ring in roi.coordinates(multi=True):
        (left, top), (right, bottom) = ring.min(0).astype(int), ring.max(0).astype(int)
        oval = roifile.ImagejRoi.frombytes(_box("OVAL", left, top, right - left, bottom - top))
        _, expected = rois._mask(roifile.ImagejRoi.frompoints(ring), SHAPE)
        _, found = rois._mask(oval, SHAPE)
        assert np.array_equal(found, expected[: found.shape[0], : found.shape[1]])


def test_a_real_zip_of_1747_rois(real_data: Path) -> None:
    # The ROIs lie on many slices of a stack, so most share pixels in one plane.
    labels, reasons = read_cell_rois(real_data / "imagej_rois" / "BactUnet_RoiSet.zip", shape=(2304, 2306))
    hidden = next(int(reason.split()[1]) for reason in reasons if "wholly under" in reason)
    assert len(np.unique(labels)) - 1 + hidden == 1747
    assert labels.max() == 1747


# --- label images ------------------------------------------------------------------------------------------------


def _labels() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint16)
    labels[5:20, 5:20], labels[30:50, 60:90] = 3, 700
    return labels


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64, np.uint32])
def test_label_tiff_keeps_its_numbers(tmp_path: Path, dtype: type) -> None:
    tifffile.imwrite(tmp_path / "a.tif", _labels().astype(dtype)[None], photometric="minisblack")
    labels, reasons = read_label_image(tmp_path / "a.tif", shape=SHAPE)
    assert labels.dtype == np.uint32
    assert np.array_equal(labels, _labels())
    assert reasons == []


def test_label_png_keeps_its_numbers(tmp_path: Path) -> None:
    Image.fromarray(_labels()).save(tmp_path / "a.dat", format="PNG")
    labels, reasons = read_label_image(tmp_path / "a.dat", shape=SHAPE)
    assert np.array_equal(labels, _labels())
    assert reasons == []


def test_mask_is_told_from_labels(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", (_labels() > 0).astype(np.uint8) * 255)
    labels, reasons = read_label_image(tmp_path / "a.tif", shape=SHAPE)
    assert np.unique(labels).tolist() == [0, 255]
    assert "mask" in reasons[0]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (_labels()[:-1], r"shape \(119, 150\), expected the field's \(120, 150\)"),
        (_labels().T.copy(), r"shape \(150, 120\)"),
        (np.stack([_labels(), _labels()]), r"shape \(2, 120, 150\)"),
        (_labels().astype(np.float32), "dtype float32, expected whole numbers"),
        (_labels().astype(np.int32) - 1, "labels from -1 to 699"),
        (_labels().astype(np.int64) * 2**32, "expected 0 to 4294967295"),
    ],
)
def test_wrong_label_images_are_refused(tmp_path: Path, image: np.ndarray, message: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="minisblack")
    with pytest.raises(FieldError, match=message):
        read_label_image(tmp_path / "a.tif", shape=SHAPE)


def test_colour_png_pickle_and_truncated_files_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(FieldError, match="colour image"):
        read_label_image(tmp_path / "rgb.png", shape=SHAPE)
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "a.npy").write_bytes(buffer.getvalue())
    tifffile.imwrite(tmp_path / "a.tif", _labels())
    (tmp_path / "cut.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:500])
    for name in ("a.npy", "cut.tif", "absent.tif"):
        with pytest.raises(FieldError, match="can't be read as a TIFF or PNG"):
            read_label_image(tmp_path / name, shape=SHAPE)
