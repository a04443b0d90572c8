"""convert: a raw plate becomes one store, field by field, good or bad."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from lysoquant.convert.checks import field_pixel_size_um, matching_planes
from lysoquant.convert.describe import describe_plate
from lysoquant.convert.params import ConvertParams, ConvertSettings, PlateSource
from lysoquant.convert.quality import focus_score, saturated_fraction
from lysoquant.convert.step import run, write_plate
from lysoquant.errors import FieldError, PlateError, StageError
from lysoquant.illumination.flat_field import shape_of_fields
from lysoquant.io.store import PlateStore
from lysoquant.layout import Layout
from lysoquant.record import digest_file, read_json

PATTERN = r"(?P<well>[A-P]\d\d)_f(?P<field>\d)_(?P<channel>\w+)\.tif"
WELLS = ("A01", "A02", "B01")
CHANNELS = ("dapi", "lamp1", "sec62")


def make_image(shape: tuple[int, int] = (96, 80), seed: int = 0, dtype: Any = np.uint16) -> np.ndarray:
    top = {1: 200, 2: 4000, 4: 4000}[np.dtype(dtype).itemsize]
    return np.random.default_rng(seed).integers(50, top, size=shape).astype(dtype)


def write_tiff(path: Path, image: np.ndarray, *, size: float | None = 0.1, **options: Any) -> None:
    resolution = {} if size is None else {"resolution": (1 / size, 1 / size), "metadata": {"unit": "um"}}
    tifffile.imwrite(path, image, imagej=size is not None, **resolution, **options)


@pytest.fixture
def raw(layout: Layout) -> Path:
    """Three wells of two fields and three channels."""
    folder = layout.project / "raw"
    folder.mkdir()
    for number, name in enumerate(f"{w}_f{f}_{c}.tif" for w in WELLS for f in (0, 1) for c in CHANNELS):
        write_tiff(folder / name, make_image(seed=number))
    return folder


def make_settings(*, on_bad_field: Any = "flag", pixel_size_um: Any = None, **params: Any) -> ConvertSettings:
    source = PlateSource(plate="P", path="raw", format="tiff", pattern=PATTERN, pixel_size_um=pixel_size_um)
    return ConvertSettings(source=source, params=ConvertParams(chunk_px=64, **params), on_bad_field=on_bad_field)


def convert(layout: Layout, settings: ConvertSettings | None = None, **options: Any) -> dict[str, Any]:
    settings = settings or make_settings()
    wells = list(write_plate(layout=layout, plate="P", settings=settings)["wells"])
    options = {"wells": wells, "record": layout.batch_record("P", "convert", "all")} | options
    return run(layout=layout, plate="P", settings=settings, **options)


def reports(record: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(well, field["field"]): field for well, entry in record["wells"].items() for field in entry["fields"]}


def store_of(layout: Layout) -> PlateStore:
    return PlateStore.open(layout.plate_store("P"))


def done(record: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """Wells whose record was written anew; one that was kept is the very same, seconds included."""
    return [well for well, entry in record["wells"].items() if entry != before["wells"].get(well)]


# Quality -------------------------------------------------------------------------------------------------------------


def test_focus_score_of_a_wave_is_its_laplacian_squared() -> None:
    # Under reflection a half-sample cosine is an eigenvector of the smoothing and of the Laplacian alike.
    k = math.pi * 6 / 64
    wave = np.tile(1000 + 500 * np.cos(k * (np.arange(64) + 0.5)), (48, 1)).astype(np.float32)
    assert focus_score(wave) == pytest.approx((2 - 2 * math.cos(k)) ** 2, rel=1e-3)


def test_focus_score_falls_with_blur_and_ignores_exposure() -> None:
    from scipy.ndimage import gaussian_filter

    scene = gaussian_filter(np.random.default_rng(1).random((128, 128)), 2) * 1000
    scores = [focus_score(gaussian_filter(scene, sigma)) for sigma in (0, 1, 2, 4)]
    assert scores == sorted(scores, reverse=True)
    assert focus_score(scene * 3 + 500) == pytest.approx(scores[0], rel=1e-3)


def test_focus_score_of_a_flat_image_is_undefined() -> None:
    assert math.isnan(focus_score(np.full((16, 16), 300, dtype=np.uint16)))


@pytest.mark.parametrize(
    ("dtype", "value", "n_pixels", "expected"),
    [
        (np.uint8, 255, 4, 0.04),
        (np.uint16, 65535, 1, 0.01),
        (np.uint16, 4095, 8, 0.08),
        (np.uint16, 16383, 20, 0.2),
        (np.uint16, 4095, 7, 0.0),
        (np.uint16, 4094, 50, 0.0),
        (np.uint8, 254, 50, 0.0),
    ],
)
def test_saturated_fraction_knows_dtypes_and_cameras(dtype: Any, value: int, n_pixels: int, expected: float) -> None:
    image = np.full(100, 12, dtype=dtype)
    image[:n_pixels] = value
    assert saturated_fraction(image.reshape(10, 10)) == pytest.approx(expected)


# Checks --------------------------------------------------------------------------------------------------------------


def test_planes_come_in_the_machines_byte_order() -> None:
    first, second = make_image(seed=1), make_image(seed=2)
    planes = matching_planes({"a": first.astype(">u2"), "b": second.astype(">u2")})
    assert all(plane.dtype == np.dtype("=u2") and plane.dtype.isnative for plane in planes)
    np.testing.assert_array_equal(planes, [first, second])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make_image((40, 30)), "channels differ in size .*: a 96 x 80, b 40 x 30"),
        (make_image(dtype=np.uint8), "channels differ in dtype: a uint16, b uint8"),
    ],
)
def test_planes_that_do_not_fit_are_named(other: np.ndarray, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        matching_planes({"a": make_image(), "b": other})


def test_processed_pixels_are_refused() -> None:
    with pytest.raises(FieldError, match="pixels are float32, expected uint8 or uint16"):
        matching_planes({"a": make_image().astype(np.float32)})


def test_pixel_size_is_the_configured_then_the_files_then_the_plates() -> None:
    files = {"a.tif": 0.1, "b.tif": None, "c.tif": 0.10001}
    assert field_pixel_size_um(configured=0.07, in_files={"a.tif": 0.1, "b.tif": 0.2}, in_plate=0.3) == 0.07
    assert field_pixel_size_um(configured=None, in_files=files, in_plate=None) == 0.1
    assert field_pixel_size_um(configured=None, in_files={"b.tif": None}, in_plate=0.2) == 0.2


def test_pixel_sizes_that_disagree_or_lack_are_errors_with_the_way_out() -> None:
    with pytest.raises(FieldError, match=r"a\.tif 0\.1 um, b\.tif 0\.2 um; set pixel_size_um in plates\.tsv"):
        field_pixel_size_um(configured=None, in_files={"a.tif": 0.1, "b.tif": 0.2}, in_plate=None)
    with pytest.raises(FieldError, match=r"a\.tif 0\.1 um, plate metadata 0\.2 um"):
        field_pixel_size_um(configured=None, in_files={"a.tif": 0.1}, in_plate=0.2)
    with pytest.raises(FieldError, match=r"no pixel size.*set pixel_size_um in plates\.tsv"):
        field_pixel_size_um(configured=None, in_files={"a.tif": None}, in_plate=None)


@pytest.mark.parametrize(("size", "is_flagged"), [(0.04, False), (0.12, False), (0.2, True), (0.25, True)])
def test_untested_pixel_sizes_have_a_reason(layout: Layout, raw: Path, size: float, is_flagged: bool) -> None:
    report = reports(convert(layout, make_settings(pixel_size_um=size), wells=["A01"]))["A01", 0]
    expected = [f"pixel size {size:g} um is outside the tested range 0.04 to 0.12 um"] if is_flagged else []
    assert (report["status"], report["reasons"]) == ("flagged" if is_flagged else "ok", expected)


# The plate -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_pixel_reaches_the_store(layout: Layout, raw: Path, version: str) -> None:
    record = convert(layout, make_settings(ngff_version=version), cores=2)
    store = store_of(layout)
    assert (store.wells, store.ngff_version) == (WELLS, version)
    assert list(record["wells"]) == list(WELLS)
    for well in WELLS:
        for index in (0, 1):
            field = store.field(well, index)
            assert (field.channels, field.pixel_size_um, field.n_levels) == (CHANNELS, pytest.approx(0.1), 3)
            for channel in CHANNELS:
                original = tifffile.imread(raw / f"{well}_f{index}_{channel}.tif")
                np.testing.assert_array_equal(field.read(channel), original)
    assert {report["status"] for report in reports(record).values()} == {"ok"}
    assert record["wells"]["A02"]["counts"] == {"fields": 2, "planes": 6}
    assert record["wells"]["A02"]["wrote"] == ["P/P.zarr/A/02/0", "P/P.zarr/A/02/1"]


def test_fields_report_median_focus_and_largest_saturation(layout: Layout, raw: Path) -> None:
    planes = [make_image(seed=seed) for seed in range(3)]
    planes[1].flat[:384] = 65535  # 5 % of 7,680 pixels
    planes[2][:] = 9  # focus undefined: the median is of the other two
    for channel, plane in zip(CHANNELS, planes, strict=True):
        write_tiff(raw / f"A01_f0_{channel}.tif", plane)
    report = reports(convert(layout))["A01", 0]
    assert report["saturated_fraction"] == pytest.approx(0.05)
    assert report["focus_score"] == pytest.approx((focus_score(planes[0]) + focus_score(planes[1])) / 2, rel=1e-4)
    assert (report["status"], report["reasons"]) == ("ok", [])


def test_record_names_each_file_with_its_identity(layout: Layout, raw: Path) -> None:
    read = convert(layout)["wells"]["B01"]["read"]
    assert [Path(entry["path"]).name for entry in read] == [f"B01_f{f}_{c}.tif" for f in (0, 1) for c in CHANNELS]
    path = raw / "B01_f0_lamp1.tif"
    status = path.stat()
    assert read[1] == {
        "path": str(path),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "sha256": digest_file(path),
    }


def test_a_file_of_all_channels_is_identified_once(layout: Layout) -> None:
    planes = np.stack([make_image(seed=seed) for seed in range(3)])
    path = layout.project / "raw" / "A01_f0.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, planes, imagej=True, resolution=(10, 10), metadata={"unit": "um", "axes": "CYX"})
    source = PlateSource(
        plate="P", path="raw", format="tiff", pattern=r"(?P<well>A01)_f(?P<field>\d)", channel_names="a;b;c"
    )
    record = convert(layout, ConvertSettings(source=source, params=ConvertParams(chunk_px=64)))
    assert [Path(entry["path"]).name for entry in record["wells"]["A01"]["read"]] == ["A01_f0.tif"]
    for channel, plane in zip("abc", planes, strict=True):
        np.testing.assert_array_equal(store_of(layout).field("A01", 0).read(channel), plane)


def test_plate_record_is_written_only_if_it_changes(layout: Layout, raw: Path) -> None:
    record = write_plate(layout=layout, plate="P", settings=make_settings())
    path = layout.plate_record("P")
    before = path.stat().st_mtime_ns, (layout.plate_store("P") / "zarr.json").stat().st_mtime_ns
    assert read_json(path) == record == write_plate(layout=layout, plate="P", settings=make_settings())
    assert (path.stat().st_mtime_ns, (layout.plate_store("P") / "zarr.json").stat().st_mtime_ns) == before
    assert record["channels"] == list(CHANNELS)
    assert {well: len(fields) for well, fields in record["wells"].items()} == dict.fromkeys(WELLS, 2)
    write_tiff(raw / "B02_f0_dapi.tif", make_image())
    assert "B02" in write_plate(layout=layout, plate="P", settings=make_settings())["wells"]
    assert path.stat().st_mtime_ns != before[0]


def test_only_wells_whose_files_changed_are_done_again(layout: Layout, raw: Path) -> None:
    first = convert(layout)
    for path in raw.iterdir():
        os.utime(path, (1, 1))
    assert done(convert(layout), first) == []
    write_tiff(raw / "A02_f1_sec62.tif", make_image(seed=99))
    second = convert(layout)
    assert done(second, first) == ["A02"]
    assert second["wells"]["A02"]["digest"] != first["wells"]["A02"]["digest"]
    np.testing.assert_array_equal(store_of(layout).field("A02", 1).read("sec62"), make_image(seed=99))


def test_given_identities_are_the_key(layout: Layout, raw: Path) -> None:
    tokens: dict[str, Any] = {well: {"a.tif": "1-1"} for well in WELLS}
    first = convert(layout, raw=tokens)
    assert first["wells"]["A01"]["inputs"]["raw"] == {"a.tif": "1-1"}
    write_tiff(raw / "A02_f1_sec62.tif", make_image(seed=99))
    assert done(convert(layout, raw=tokens), first) == []
    assert done(convert(layout, raw=tokens | {"B01": {"a.tif": "1-2"}}), first) == ["B01"]


def test_the_digest_is_of_content(layout: Layout, raw: Path) -> None:
    first = convert(layout)["wells"]
    same = convert(layout, make_settings(on_bad_field="fail"))["wells"]
    assert {well: entry["digest"] for well, entry in same.items()} == {w: e["digest"] for w, e in first.items()}
    for other in ({"pixel_size_um": 0.09}, {"ngff_version": "0.4"}, {"pyramid_levels": 2}):
        assert (
            convert(layout, make_settings(**other), wells=["A01"])["wells"]["A01"]["digest"] != first["A01"]["digest"]
        )
    assert len({entry["digest"] for entry in first.values()}) == 3


@pytest.mark.parametrize("cores", [1, 3])
def test_cores_change_nothing(layout: Layout, raw: Path, cores: int) -> None:
    wells = convert(layout, cores=cores)["wells"]
    assert [len(entry["fields"]) for entry in wells.values()] == [2, 2, 2]
    written = {well: tifffile.imread(raw / f"{well}_f0_dapi.tif") for well in WELLS}
    for well, image in written.items():
        np.testing.assert_array_equal(store_of(layout).field(well, 0).read("dapi"), image)


# Bad input -----------------------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:4000])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (truncate, "A02_f1_lamp1.tif.*copy it again"),
        (lambda path: path.unlink(), "lamp1"),
        (lambda path: path.write_bytes(b"no tiff at all"), "A02_f1_lamp1.tif"),
        (lambda path: write_tiff(path, make_image(dtype=np.uint8)), "differ in dtype: dapi uint16, lamp1 uint8"),
        (lambda path: write_tiff(path, make_image((50, 50))), "differ in size.*dapi 96 x 80, lamp1 50 x 50"),
        (lambda path: write_tiff(path, make_image(), size=0.2), "pixel sizes disagree.*set pixel_size_um"),
    ],
)
def test_one_bad_file_fails_its_field_only(layout: Layout, raw: Path, harm: Any, message: str) -> None:
    harm(raw / "A02_f1_lamp1.tif")
    record = convert(layout)
    found = reports(record)
    failed = found.pop(("A02", 1))
    assert failed["status"] == "failed"
    assert "focus_score" not in failed
    assert len(failed["reasons"]) == 1
    assert "\n" not in failed["reasons"][0]
    assert re.search(message, failed["reasons"][0])
    assert {report["status"] for report in found.values()} == {"ok"}
    field = store_of(layout).field("A02", 1)
    assert (field.channels, field.shape, field.n_levels) == (CHANNELS, (96, 80), 3)
    assert not any(field.read(channel).any() for channel in CHANNELS)
    assert field.attributes["reasons"] == failed["reasons"]


def test_a_file_that_vanishes_after_it_was_listed_fails_its_field(
    layout: Layout, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = describe_plate(layout=layout, settings=make_settings())
    write_plate(layout=layout, plate="P", settings=make_settings())
    (raw / "B01_f0_sec62.tif").unlink()
    monkeypatch.setattr("lysoquant.convert.describe.raw_io.describe", lambda *_, **__: described)
    record = convert(layout)
    assert reports(record)["B01", 0]["status"] == "failed"
    assert "gone" in reports(record)["B01", 0]["reasons"][0]
    assert len(record["wells"]["B01"]["read"]) == 5


def test_on_bad_field_fail_stops_with_plate_well_field_and_way_out(layout: Layout, raw: Path) -> None:
    truncate(raw / "A02_f1_lamp1.tif")
    with pytest.raises(StageError, match=r"plate P, well A02, field 1: .*set it to 'flag'"):
        convert(layout, make_settings(on_bad_field="fail"))
    assert not layout.batch_record("P", "convert", "all").exists()


def test_a_well_without_a_readable_image_fails_and_the_batch_goes_on(layout: Layout, raw: Path) -> None:
    for path in raw.glob("A02*"):
        path.write_bytes(b"")
    found = reports(convert(layout))
    assert [found["A02", index]["status"] for index in (0, 1)] == ["failed", "failed"]
    assert [found[well, 0]["status"] for well in ("A01", "B01")] == ["ok", "ok"]


def test_a_damaged_header_does_not_decide_how_large_failed_fields_are(
    layout: Layout, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = describe_plate(layout=layout, settings=make_settings())
    # 2^28 pixels a channel, which a header may ask for: 1.6 GB a field.
    wide = dataclasses.replace(described, shape=(64, 2**22))
    monkeypatch.setattr("lysoquant.convert.describe.raw_io.describe", lambda *_, **__: wide)
    truncate(raw / "A02_f1_lamp1.tif")
    convert(layout)
    assert store_of(layout).field("A02", 1).shape == (64, 4096)
    assert store_of(layout).field("A02", 0).shape == (96, 80)
    assert shape_of_fields(store_of(layout), ["A02"]) == (96, 80)
    for path in raw.glob("A01*"):
        truncate(path)
    convert(layout)
    assert shape_of_fields(store_of(layout), ["A01", "A02"]) == (96, 80)
    assert shape_of_fields(store_of(layout), ["A01"]) is None


def test_a_well_without_fields_has_one_that_failed(layout: Layout, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = describe_plate(layout=layout, settings=make_settings())
    declared = dataclasses.replace(described, wells={**described.wells, "A02": ()})
    monkeypatch.setattr("lysoquant.convert.describe.raw_io.describe", lambda *_, **__: declared)
    found = reports(convert(layout))
    assert found["A02", 0]["status"] == "failed"
    assert "the well has no image" in found["A02", 0]["reasons"][0]
    assert store_of(layout).n_fields("A02") == 1


def test_pixel_size_absent_everywhere_fails_until_it_is_given(layout: Layout, raw: Path) -> None:
    for path in raw.iterdir():
        write_tiff(path, tifffile.imread(path), size=None)
    found = reports(convert(layout))
    assert {report["status"] for report in found.values()} == {"failed"}
    assert "set pixel_size_um in plates.tsv" in found["A01", 0]["reasons"][0]
    assert math.isnan(store_of(layout).field("A01", 0).pixel_size_um)
    record = convert(layout, make_settings(pixel_size_um=0.08))
    assert {report["status"] for report in reports(record).values()} == {"ok"}
    assert store_of(layout).field("A01", 0).pixel_size_um == 0.08


def test_fields_of_another_size_keep_it(layout: Layout, raw: Path) -> None:
    for channel in CHANNELS:
        write_tiff(raw / f"B01_f1_{channel}.tif", make_image((41, 120), dtype=np.uint8))
    assert reports(convert(layout))["B01", 1]["status"] == "ok"
    assert store_of(layout).field("B01", 1).shape == (41, 120)
    assert store_of(layout).field("B01", 1).read("dapi").dtype == np.uint8


def test_run_needs_the_plates_metadata_first(layout: Layout, raw: Path) -> None:
    record = layout.batch_record("P", "convert", "all")
    with pytest.raises(StageError, match="write the plate's metadata first"):
        run(layout=layout, plate="P", wells=["A01"], settings=make_settings(), record=record)
    write_plate(layout=layout, plate="P", settings=make_settings())
    with pytest.raises(StageError, match="laid out for other raw files or another version"):
        run(layout=layout, plate="P", wells=["A01"], settings=make_settings(ngff_version="0.4"), record=record)
    with pytest.raises(StageError, match="no well H12; it has A01, A02, B01"):
        run(layout=layout, plate="P", wells=["A01", "H12"], settings=make_settings(), record=record)


def test_a_raw_plate_that_is_not_there_is_an_error(layout: Layout) -> None:
    with pytest.raises(PlateError, match="raw"):
        write_plate(layout=layout, plate="P", settings=make_settings())


# Real acquisitions ---------------------------------------------------------------------------------------------------


def test_a_real_metaxpress_plate_converts_and_is_flagged(layout: Layout, real_data: Path) -> None:
    path = real_data / "imagexpress" / "9987_Plate_3434"
    settings = ConvertSettings(
        source=PlateSource(plate="P", path=str(path), format="imagexpress"), params=ConvertParams()
    )
    record = convert(layout, settings)
    store = store_of(layout)
    assert store.wells == ("B02", "B03")
    field = store.field("B02", 0)
    assert (field.channels, field.pixel_size_um) == (("DAPI", "FITC", "Texas Red"), pytest.approx(1.3672))
    original = tifffile.imread(path / "TimePoint_1" / "ZStep_0" / "9987_B02_s1_w1.TIF")
    np.testing.assert_array_equal(field.read("DAPI"), original)
    for report in reports(record).values():
        assert report["status"] == "flagged"
        assert report["reasons"] == ["pixel size 1.3672 um is outside the tested range 0.04 to 0.12 um"]
    assert "wave 4 'Cy5'" in json.dumps(read_json(layout.plate_record("P")))
