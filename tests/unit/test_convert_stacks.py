"""convert of stacks: projections, the sharpest plane, planes and time points as fields, files of many wells."""

from __future__ import annotations

import dataclasses
import weakref
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from lysoquant.convert import raw_files
from lysoquant.convert.describe import describe_plate
from lysoquant.convert.params import ConvertParams, ConvertSettings, PlateSource
from lysoquant.convert.quality import focus_score
from lysoquant.convert.raw_files import FieldFiles
from lysoquant.convert.stack import lumen_score, max_projection
from lysoquant.convert.step import run, write_plate
from lysoquant.errors import FieldError
from lysoquant.io.store import PlateStore
from lysoquant.layout import Layout
from lysoquant.record import read_json
from lysoquant.simulate.optics import Camera, Optics, Points, image_points
from lysoquant.simulate.scene import simulate_scene
from lysoquant.simulate.settings import Appearance, SceneSettings
from lysoquant.simulate.vesicles import Vesicles, membrane_points, random_directions

PATTERN = r"(?P<well>[A-P]\d\d)_z(?P<z>\d)_(?P<channel>\w+)\.tif"
CHANNELS = ("cargo", "dapi", "lyso")
PLANES = (1, 2, 3)


def settings_for(z: Any, *, pattern: str | None = PATTERN, **more: Any) -> ConvertSettings:
    lysosome = more.pop("lysosome", "lyso" if z == "sharpest" else None)
    source = PlateSource(plate="P", path="raw", format="tiff", pattern=pattern, pixel_size_um=0.1)
    return ConvertSettings(source=source, params=ConvertParams(chunk_px=64, z=z, **more), lysosome=lysosome)


def convert(layout: Layout, settings: ConvertSettings) -> dict[str, Any]:
    wells = list(write_plate(layout=layout, plate="P", settings=settings)["wells"])
    record = layout.batch_record("P", "convert", "all")
    return run(layout=layout, plate="P", wells=wells, settings=settings, record=record)


def in_all(planes: list[int]) -> dict[str, list[int]]:
    return dict.fromkeys(CHANNELS, planes)


def noise(seed: int, shape: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.random.default_rng(seed).integers(50, 4000, size=shape).astype(np.uint16)


@pytest.fixture
def stacks(layout: Layout) -> dict[tuple[str, str, int], np.ndarray]:
    """Two wells of three planes; the third channel has its detail in plane 2 of A01 and in plane 3 of A02."""
    (layout.project / "raw").mkdir()
    planes = {}
    for well, sharp in (("A01", 2), ("A02", 3)):
        for number, channel in enumerate(CHANNELS):
            for z in PLANES:
                image = noise(10 * z + number)
                if channel == "lyso" and z != sharp:
                    image = (image // 64 + 2000).astype(np.uint16)
                planes[well, channel, z] = image
                tifffile.imwrite(layout.project / "raw" / f"{well}_z{z}_{channel}.tif", image)
    return planes


def stored(layout: Layout, well: str, index: int = 0) -> dict[str, np.ndarray]:
    field = PlateStore.open(layout.plate_store("P")).field(well, index)
    return {channel: field.read(channel) for channel in CHANNELS}


def test_the_maximum_projection_is_the_largest_value_of_each_pixel(layout: Layout, stacks: Any) -> None:
    record = convert(layout, settings_for("max"))
    for channel, image in stored(layout, "A01").items():
        np.testing.assert_array_equal(image, np.max([stacks["A01", channel, z] for z in PLANES], axis=0))
    assert len(record["wells"]["A01"]["read"]) == 9
    assert record["wells"]["A01"]["origins"] == [
        {"name": "1", "position": "1", "timepoint": 1, "z": in_all([1, 2, 3]), "reduction": "max"}
    ]


def test_the_sharpest_plane_is_that_of_the_lysosome_channel_for_all_channels(layout: Layout, stacks: Any) -> None:
    record = convert(layout, settings_for("sharpest"))
    for well, sharp in (("A01", 2), ("A02", 3)):
        for channel, image in stored(layout, well).items():
            np.testing.assert_array_equal(image, stacks[well, channel, sharp])
        assert record["wells"][well]["origins"][0]["z"] == in_all([sharp])
        attributes = PlateStore.open(layout.plate_store("P")).field(well, 0).attributes
        assert (attributes["z"], attributes["reduction"], attributes["timepoint"]) == (
            in_all([sharp]),
            "sharpest",
            1,
        )


def test_each_plane_is_a_field_with_its_name(layout: Layout, stacks: Any) -> None:
    record = convert(layout, settings_for("each"))
    assert read_json(layout.plate_record("P"))["wells"] == {w: ["1 z1", "1 z2", "1 z3"] for w in ("A01", "A02")}  # type: ignore[index]
    for index, z in enumerate(PLANES):
        for channel, image in stored(layout, "A02", index).items():
            np.testing.assert_array_equal(image, stacks["A02", channel, z])
    assert record["wells"]["A01"]["counts"] == {"fields": 3, "planes": 9}


@pytest.mark.parametrize(("z", "n_read", "n_held"), [("max", 2 * 27, 2), ("sharpest", 2 * (9 + 3), len(CHANNELS))])
def test_a_stack_is_never_whole_in_memory(
    layout: Layout, stacks: Any, monkeypatch: pytest.MonkeyPatch, z: str, n_read: int, n_held: int
) -> None:
    """Of a field two planes to compare, or those that it is made of: they are what is written, without a copy."""
    for number in range(4, 10):
        for name in (f"{well}_z{number}_{channel}.tif" for well in ("A01", "A02") for channel in CHANNELS):
            tifffile.imwrite(layout.project / "raw" / name, noise(number))
    alive: dict[FieldFiles, list[int]] = defaultdict(list)
    most: list[int] = []
    read_plane = FieldFiles.plane

    def read(files: FieldFiles, plane: Any) -> np.ndarray:
        image = read_plane(files, plane)
        alive[files].append(1)
        most.append(len(alive[files]))
        weakref.finalize(image, alive[files].pop)
        return image

    monkeypatch.setattr(FieldFiles, "plane", read)
    convert(layout, settings_for(z))
    assert (len(most), max(most)) == (n_read, n_held)


def test_a_plane_of_another_kind_fails_its_field_only(layout: Layout, stacks: Any) -> None:
    tifffile.imwrite(layout.project / "raw" / "A01_z3_dapi.tif", noise(1, (32, 32)))
    record = convert(layout, settings_for("max"))
    (report,) = record["wells"]["A01"]["fields"]
    assert report["status"] == "failed"
    assert report["reasons"] == [
        "the planes of a stack differ: the first is 64 x 64 uint16, number 3 is 32 x 32 uint16; export the field again"
    ]
    assert record["wells"]["A02"]["fields"][0]["status"] == "ok"


def test_the_sharpest_plane_needs_a_stack_of_the_lysosome_channel(layout: Layout, stacks: Any) -> None:
    with pytest.raises(ValidationError, match="needs the lysosome channel"):
        settings_for("sharpest", lysosome=None)
    (failed,) = convert(layout, settings_for("sharpest", lysosome="rab7"))["wells"]["A01"]["fields"]
    assert failed["reasons"] == ["no channel 'rab7' to choose the sharpest plane by; correct channels.lysosome"]
    for well in ("A01", "A02"):
        for z in (2, 3):
            (layout.project / "raw" / f"{well}_z{z}_lyso.tif").unlink()
    (failed,) = convert(layout, settings_for("sharpest"))["wells"]["A01"]["fields"]
    assert failed["reasons"] == [
        "channel 'lyso' has a single Z plane, which can't tell the sharpest of 'cargo'; set convert.z to max or to a"
        " plane number"
    ]


def test_the_choice_of_planes_is_part_of_the_key(layout: Layout, stacks: Any) -> None:
    digests = {z: convert(layout, settings_for(z))["wells"]["A01"]["digest"] for z in (1, 2, "max", "sharpest")}
    assert len(set(digests.values())) == 3
    assert digests["sharpest"] == digests[2]


# Files of many wells ------------------------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are hashed."""
    found: list[str] = []
    digest = raw_files.digest_image_file
    monkeypatch.setattr(raw_files, "digest_image_file", lambda path: (found.append(path.name), digest(path))[1])
    return found


def shared_plate(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> ConvertSettings:
    """One file with a page for each of three wells, as a reader of container files describes it."""
    raw = layout.project / "raw"
    raw.mkdir()
    tifffile.imwrite(raw / "all.tif", np.stack([noise(n) for n in range(3)]), metadata=None, photometric="minisblack")
    settings = settings_for(1, pattern=None)
    described = describe_plate(
        layout=layout,
        settings=settings.model_copy(update={"source": settings.source.model_copy(update={"channel_names": "a;b;c"})}),
    )
    (field,) = described.wells["A01"]
    wells = {f"A0{n + 1}": (dataclasses.replace(field, planes={"lyso": field.planes["abc"[n]]}),) for n in range(3)}
    plate = dataclasses.replace(described, channels=("lyso",), wells=wells)
    monkeypatch.setattr("lysoquant.convert.step.describe_plate", lambda **_: plate)
    return settings


def test_a_file_of_many_wells_is_hashed_once_a_plate(
    layout: Layout, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = shared_plate(layout, monkeypatch)
    record = write_plate(layout=layout, plate="P", settings=settings)
    assert hashed == ["all.tif"]
    assert [Path(entry["path"]).name for entry in record["files"]] == ["all.tif"]
    for well in ("A01", "A02", "A03"):
        path = layout.batch_record("P", "convert", well)
        done = run(layout=layout, plate="P", wells=[well], settings=settings, record=path)
        assert done["wells"][well]["read"] == record["files"]
    assert hashed == ["all.tif"]


def test_a_file_of_many_wells_that_changed_is_hashed_anew(
    layout: Layout, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = shared_plate(layout, monkeypatch)
    first = write_plate(layout=layout, plate="P", settings=settings)
    tifffile.imwrite(
        layout.project / "raw" / "all.tif", np.stack([noise(n) for n in (7, 8, 9)]), metadata=None,
        photometric="minisblack",
    )  # fmt: skip
    path = layout.batch_record("P", "convert", "all")
    done = run(layout=layout, plate="P", wells=["A01", "A02"], settings=settings, record=path)
    assert hashed == ["all.tif", "all.tif"]
    assert done["wells"]["A02"]["read"][0]["sha256"] != first["files"][0]["sha256"]


def test_the_plate_record_tells_versions_and_seconds_and_is_kept_while_nothing_else_changes(
    layout: Layout, stacks: Any
) -> None:
    record = write_plate(layout=layout, plate="P", settings=settings_for(1))
    assert record["versions"].keys() >= {"lysoquant", "python", "numpy", "zarr"}
    assert record["seconds"] > 0
    before = layout.plate_record("P").read_bytes()
    assert write_plate(layout=layout, plate="P", settings=settings_for(1)) == record
    assert layout.plate_record("P").read_bytes() == before
    assert record["files"] == []


# The score ----------------------------------------------------------------------------------------------------------


def simulated_stack(seed: int, *, photons: float) -> tuple[list[np.ndarray], list[int]]:
    """Images of hollow membranes at heights about 0, plane by plane, and how many are cut through the lumen in each."""
    rng = np.random.default_rng(seed)
    optics, look, count = Optics(pixel_size_um=0.1), Appearance(), 120
    centre = np.column_stack([rng.uniform(1, 18, (count, 2)), rng.normal(0, 0.5, count)]).astype(np.float32)
    found = Vesicles(
        centre_um=centre,
        radius_um=rng.uniform(0.25, 0.6, count).astype(np.float32),
        wave=random_directions(3 * count, rng).reshape(count, 3, 3) * 2,
        phase=rng.uniform(0, 6, (count, 3)).astype(np.float32),
        bulge=np.full(count, 0.03, np.float32),
        patch=np.full(count, 0.2, np.float32),
        stretch=np.zeros(count, np.float32),
        axis=np.tile(np.array([1, 0, 0], np.float32), (count, 1)),
        brightness=np.exp(rng.normal(0, look.brightness_spread, count)).astype(np.float32),
        cell=np.zeros(count, np.int64),
    )
    points = membrane_points(found, density_um2=200, rng=rng)
    images, cut = [], []
    for height in np.arange(-2.0, 2.1, 0.5):
        moved = Points(points.position_um - np.array([0, 0, height], np.float32), points.weight)
        signal = image_points(moved, shape=(190, 190), optics=optics)
        images.append(Camera(photons=photons).expose(signal, rng))
        at = dataclasses.replace(found, centre_um=centre - np.array([0, 0, height], np.float32))
        cut.append(int(at.is_cut().sum()))
    return images, cut


@pytest.mark.parametrize("photons", [10, 120])
def test_the_score_is_highest_where_most_endolysosomes_are_cut_through_the_lumen(photons: float) -> None:
    for seed in range(3):
        images, cut = simulated_stack(seed, photons=photons)
        best = int(np.argmax([lumen_score(image) for image in images]))
        assert cut[best] >= 0.9 * max(cut), (seed, cut, best)


def stack_of_cells(
    seed: int, *, tilt_um: float, bright: bool, size_px: int = 360
) -> tuple[list[np.ndarray], list[int]]:
    """Images of a simulated field of cells, plane by plane, with haze, and how many lumens are cut in each.

    The field may be tilted; an eighth of the endolysosomes may lie 1.5 um above the others, four times as bright.
    """
    rng = np.random.default_rng(seed)
    optics = Optics(pixel_size_um=0.1)
    scene = simulate_scene(SceneSettings((size_px, size_px), optics=optics), rng)
    centre = scene.vesicles.centre_um.copy()
    brightness = scene.vesicles.brightness.copy()
    centre[:, 2] = rng.normal(0, 0.7, len(centre)) + tilt_um * (centre[:, 1] / (size_px * 0.1) - 0.5)
    above = rng.random(len(centre)) < (0.125 if bright else 0)
    centre[above, 2] += 1.5
    brightness[above] *= 4
    found = dataclasses.replace(scene.vesicles, centre_um=centre, brightness=brightness)
    points = membrane_points(found, density_um2=200, rng=rng)
    haze = 0.3 * gaussian_filter((scene.cells > 0).astype(np.float32), 10)
    images, cut = [], []
    for height in np.arange(-3.0, 3.1, 0.5):
        down = np.array([0, 0, height], np.float32)
        signal = image_points(Points(points.position_um - down, points.weight), shape=haze.shape, optics=optics)
        images.append(Camera(photons=60).expose(signal + haze, rng))
        cut.append(int(dataclasses.replace(found, centre_um=centre - down).is_cut().sum()))
    return images, cut


@pytest.mark.parametrize(("tilt_um", "bright"), [(0.0, False), (1.5, False), (0.0, True)])
def test_tilt_haze_and_bright_things_elsewhere_do_not_move_the_score_far(tilt_um: float, bright: bool) -> None:
    for seed in (500, 501):
        images, cut = stack_of_cells(seed, tilt_um=tilt_um, bright=bright)
        best = int(np.argmax([lumen_score(image) for image in images]))
        assert cut[best] >= 0.9 * max(cut), (seed, cut, best)


def test_many_dim_rings_outvote_a_few_bright_ones() -> None:
    images, cut = stack_of_cells(502, tilt_um=0.0, bright=True, size_px=250)
    best = int(np.argmax([lumen_score(image) for image in images]))
    assert cut[best] >= 0.9 * max(cut), (cut, best)
    contrast = int(np.argmax([image.astype(float).var() / image.mean() for image in images]))
    assert cut[contrast] < 0.8 * max(cut)  # the bright ones lie elsewhere


def test_the_focus_score_of_fields_is_highest_far_out_of_focus() -> None:
    """Why stacks have a score of their own."""
    images, cut = simulated_stack(0, photons=10)
    best = int(np.argmax([focus_score(image) for image in images]))
    assert cut[best] < 0.2 * max(cut)


def test_a_projection_of_planes_that_differ_in_dtype_is_refused() -> None:
    with pytest.raises(FieldError, match="the first is 64 x 64 uint16, number 2 is 64 x 64 uint8"):
        max_projection([noise(1), np.zeros((64, 64), np.uint8)])
