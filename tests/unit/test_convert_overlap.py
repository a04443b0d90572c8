"""convert by fields and planes side by side: equal bytes whatever the cores, few planes held, a file a plane."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy import ndimage

from lysoquant.convert.curvature import smooth_variances
from lysoquant.convert.describe import describe_plate
from lysoquant.convert.overlap import overlapped
from lysoquant.convert.params import ConvertParams, ConvertSettings, PlateSource
from lysoquant.convert.quality import detail_fraction, focus_score, signal_to_background
from lysoquant.convert.raw_files import FieldFiles
from lysoquant.convert.step import run, write_plate
from lysoquant.layout import Layout
from lysoquant.record import Json, digest_array, digest_planes

CHANNELS = ("a", "b", "c")
N_FIELDS = 5


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(50, 4000, size=shape or (150, 130)).astype(np.uint16)


@pytest.fixture
def settings(layout: Layout) -> ConvertSettings:
    """Two wells of five fields of three channels; one field lacks a channel and one is damaged."""
    raw = layout.project / "raw"
    raw.mkdir()
    for seed, (well, field, channel) in enumerate(
        (well, field, channel) for well in ("A01", "A02") for field in range(N_FIELDS) for channel in CHANNELS
    ):
        tifffile.imwrite(
            raw / f"{well}_f{field}_{channel}.tif",
            noise(seed),
            imagej=True,
            resolution=(10, 10),
            metadata={"unit": "um"},
        )
    (raw / "A01_f3_b.tif").unlink()
    damaged = raw / "A02_f1_c.tif"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    pattern = r"(?P<well>A\d\d)_f(?P<field>\d)_(?P<channel>\w)\.tif"
    source = PlateSource(plate="P", path="raw", format="tiff", pattern=pattern)
    return ConvertSettings(source=source, params=ConvertParams(chunk_px=64, pyramid_levels=2), lysosome="b")


def convert(
    layout: Layout, settings: ConvertSettings, *, cores: int = 1, wells: tuple[str, ...] = ("A01", "A02")
) -> Json:
    write_plate(layout=layout, plate="P", settings=settings)
    record = layout.batch_record("P", "convert", "all")
    described = describe_plate(layout=layout, settings=settings)
    raw = {well: {path.name: "token" for path in described.files(well)} for well in wells}
    return run(layout=layout, plate="P", settings=settings, wells=wells, record=record, raw=raw, cores=cores)


def store_bytes(layout: Layout) -> dict[str, bytes]:
    store = layout.plate_store("P")
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in store.rglob("*") if path.is_file()}


@pytest.mark.parametrize("cores", [2, 4])
def test_the_store_and_records_are_the_same_bytes_whatever_the_cores(
    layout: Layout, settings: ConvertSettings, tmp_path: Path, cores: int
) -> None:
    one = convert(layout, settings, cores=1)["wells"]
    other = Layout(project=layout.project, results=tmp_path / "other")
    several = convert(other, settings, cores=cores)["wells"]
    assert store_bytes(layout) == store_bytes(other)
    for well, record in one.items():
        kept = ("digest", "read", "wrote", "counts", "fields", "origins")
        assert {key: record[key] for key in kept} == {key: several[well][key] for key in kept}
    statuses = [report["status"] for record in one.values() for report in record["fields"]]
    assert statuses == ["ok"] * 3 + ["failed"] + ["ok"] * 2 + ["failed"] + ["ok"] * 3


def test_a_field_has_a_file_a_plane_and_level_and_one_of_metadata_for_each(
    layout: Layout, settings: ConvertSettings
) -> None:
    convert(layout, settings)
    written = [name for name in store_bytes(layout) if name.startswith("A/01/0/")]
    levels, planes = 2, len(CHANNELS)
    assert len(written) == levels * planes + levels + 1
    failed = [name for name in store_bytes(layout) if name.startswith("A/01/3/")]
    assert len(failed) == levels + 1  # zeros have no file


@pytest.mark.parametrize("cores", [1, 3])
def test_at_most_one_field_more_than_cores_is_held(
    layout: Layout, settings: ConvertSettings, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    """Planes are held once: what is read is what is digested, judged and written."""
    lock, alive, most = threading.Lock(), [0], [0]

    def count(change: int) -> None:
        with lock:
            alive[0] += change
            most[0] = max(most[0], alive[0])

    read_plane: Callable[..., Any] = FieldFiles.plane

    def read(files: FieldFiles, plane: Any) -> np.ndarray:
        image: np.ndarray = read_plane(files, plane)
        count(1)
        weakref.finalize(image, partial(count, -1))
        return image

    monkeypatch.setattr(FieldFiles, "plane", read)
    convert(layout, settings, cores=cores)
    assert len(CHANNELS) <= most[0] <= (cores + 1) * len(CHANNELS)


def test_the_next_place_is_read_while_jobs_of_the_last_are_done() -> None:
    """One core: the jobs of a place wait until the next one is read, which so must not wait for them."""
    read: dict[int, threading.Event] = {place: threading.Event() for place in range(4)}

    def do(place: int) -> int:
        assert place == 3 or read[place + 1].wait(10)
        return place * 10

    def begin(place: int) -> int:
        read[place].set()
        return -place

    found = list(overlapped(range(4), read=begin, jobs=lambda place, _: [partial(do, place)] * 2, cores=1))
    assert found == [(0, 0, [0, 0]), (1, -1, [10, 10]), (2, -2, [20, 20]), (3, -3, [30, 30])]


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_jobs_of_one_place_run_side_by_side_and_no_more_than_cores(cores: int) -> None:
    """Each job waits for as many others as there are cores."""
    lock, running, most = threading.Lock(), [0], [0]
    together = threading.Barrier(cores)

    def job() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.wait(10)
        with lock:
            running[0] -= 1

    list(overlapped([0], read=str, jobs=lambda _place, _read: [job] * 10, cores=cores))
    assert most[0] == cores


def test_an_error_of_a_read_or_a_job_is_raised_in_its_place() -> None:
    def read(place: int) -> int:
        if place == 2:
            raise ValueError("read 2")
        return place

    done = overlapped(range(5), read=read, jobs=lambda place, _: [lambda: place], cores=2)
    assert [next(done)[0], next(done)[0]] == [0, 1]
    with pytest.raises(ValueError, match="read 2"):
        next(done)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_digest_of_planes_is_that_of_their_array(dtype: Any) -> None:
    planes = np.stack([noise(seed) for seed in range(3)]).astype(dtype)
    assert digest_planes(list(planes)) == digest_array(planes)


def by_scipy(image: np.ndarray) -> tuple[float, float]:
    smooth = ndimage.gaussian_filter(image.astype(np.float64), 1.0)
    return smooth[1:-1, 1:-1].var(), ndimage.laplace(smooth)[1:-1, 1:-1].var()


@pytest.mark.parametrize("shape", [(4, 4), (3, 300), (9, 5), (10, 128), (77, 129), (300, 257)])
def test_smoothing_by_matrices_is_that_of_scipy(shape: tuple[int, int]) -> None:
    image = noise(3, *shape) + np.uint16(20_000)
    assert smooth_variances(image, sigma_px=1.0) == pytest.approx(by_scipy(image), rel=2e-5)


def test_every_nth_row_is_taken_with_its_neighbours() -> None:
    image = noise(4, 200, 150)
    smooth = ndimage.gaussian_filter(image.astype(np.float64), 1.0)
    expected = smooth[1:-1:3, 1:-1].var(), ndimage.laplace(smooth)[1:-1:3, 1:-1].var()
    assert smooth_variances(image, sigma_px=1.0, every=3) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("shape", [(120, 90), (301, 233)])
def test_quality_is_that_of_its_definition(shape: tuple[int, int]) -> None:
    image = noise(5, *shape)
    variance, bent = by_scipy(image)
    assert focus_score(image) == pytest.approx(bent / variance, rel=1e-5)
    grey = image.astype(np.float64)
    across = np.abs(grey[:-1, :-1] - grey[1:, :-1] - grey[:-1, 1:] + grey[1:, 1:]) / 2
    height, width = shape[0] // 4 * 4, shape[1] // 4 * 4
    means = grey[:height, :width].reshape(height // 4, 4, width // 4, 4).mean(axis=(1, 3))
    low, high = np.percentile(means, [10.0, 99.9])
    assert signal_to_background(image) == pytest.approx((high - low) * 0.6745 / np.median(across), rel=1e-6)
    fine = grey
    coarse = (
        fine[: shape[0] // 2 * 2, : shape[1] // 2 * 2].reshape(shape[0] // 2, 2, shape[1] // 2, 2).mean(axis=(1, 3))
    )
    assert detail_fraction(image, pixel_size_um=1.2) == pytest.approx(1 - coarse.var() / fine.var(), rel=1e-5)


def test_a_large_field_is_judged_by_rows_that_lie_close() -> None:
    """Rings of a few pixels over 1,536 squared pixels, of which every fourth row is looked at: within 3 %."""
    rng = np.random.default_rng(0)
    scene = np.zeros((1536, 1536))
    scene[tuple(rng.integers(0, 1536, (2, 4000)))] = rng.uniform(1e3, 1e5, 4000)
    image = rng.poisson(100 + ndimage.gaussian_filter(scene, 1.5)).astype(np.uint16)
    variance, bent = by_scipy(image)
    assert focus_score(image) == pytest.approx(bent / variance, rel=0.03)
