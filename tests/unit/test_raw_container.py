"""Files of many images: Leica LIF, Zeiss CZI and Nikon ND2, as plates."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from container_files import write_czi, write_lif

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.raw import RawPlate, describe, file_pixel_size_um, read_plane
from lysoquant.io.raw.nikon import _position_names

RNG = np.random.default_rng(0)


def stack(*shape: int) -> np.ndarray:
    return RNG.integers(0, 4096, shape, dtype=np.uint16)


def fields(plate: RawPlate) -> dict[str, list[str]]:
    return {well: [field.name for field in found] for well, found in plate.wells.items()}


# --- Leica -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [["plate/A/1/R1", "plate/A/1/R2", "plate/B/12/R1"], ["Well A01 R1", "Well_A1 R2", "B12"]],
    ids=["folders", "names"],
)
def test_images_of_a_lif_lie_in_the_wells_of_their_names(tmp_path: Path, names: list[str]) -> None:
    pixels = [stack(2, 3, 20, 24) for _ in names]
    write_lif(tmp_path / "p.lif", {n: ("CZYX", p) for n, p in zip(names, pixels, strict=True)}, channels=["A", "B"])

    plate = describe(tmp_path / "p.lif", z=2)

    assert plate.format == "leica"
    assert {well: len(found) for well, found in plate.wells.items()} == {"A01": 2, "B12": 1}
    assert (list(plate.channels), plate.shape, plate.pixel_size_um) == (["A", "B"], (20, 24), 0.1)
    in_order = [field for found in plate.wells.values() for field in found]
    for field, expected in zip(in_order, pixels, strict=True):
        for channel, label in enumerate("AB"):
            assert np.array_equal(read_plane(field.planes[label][2]), expected[channel, 1])
    assert f"wells are taken from the images' names: p.lif/{names[0]} is in A01" in plate.notes


def test_time_points_and_projections_of_a_lif(tmp_path: Path) -> None:
    pixels = stack(3, 2, 4, 16, 16)
    write_lif(tmp_path / "p.lif", {"B02 R1": ("TCZYX", pixels)}, channels=["A", "B"])

    plate = describe(tmp_path, z="each", timepoint="each")

    (well,) = plate.wells.values()
    assert len(well) == 12
    last = well[-1]
    assert (last.name, last.timepoint) == ("B02 R1 t3 z4", 3)
    assert np.array_equal(read_plane(last.planes["B"][4]), pixels[2, 1, 3])


def test_tiles_of_a_lif_are_fields(tmp_path: Path) -> None:
    pixels = stack(3, 2, 16, 16)
    write_lif(tmp_path / "p.lif", {"C/3/scan": ("MCYX", pixels)}, channels=["A", "B"])

    plate = describe(tmp_path)

    assert fields(plate) == {"C03": ["C/3/scan m1", "C/3/scan m2", "C/3/scan m3"]}
    assert np.array_equal(read_plane(plate.wells["C03"][2].planes["A"][1]), pixels[2, 0])


def test_other_images_of_a_lif_are_said_to_be_passed_over(tmp_path: Path) -> None:
    write_lif(
        tmp_path / "p.lif",
        {"A/1/R1": ("CYX", stack(2, 16, 16)), "overview": ("CYX", stack(2, 16, 16))},
        channels=["A", "B"],
    )

    plate = describe(tmp_path)

    assert fields(plate) == {"A01": ["A/1/R1"]}
    assert any("1 image without a well passed over: p.lif/overview" in note for note in plate.notes)


def test_a_pattern_finds_wells_and_fields(tmp_path: Path) -> None:
    names = ["r2 c3 p1", "r2 c3 p2"]
    write_lif(tmp_path / "p.lif", {name: ("CYX", stack(2, 16, 16)) for name in names}, channels=["A", "B"])
    pattern = r"r(?P<row>\d+) c(?P<column>\d+) p(?P<field>\d+)"

    assert fields(describe(tmp_path, pattern=pattern)) == {"B03": ["1", "2"]}
    assert fields(describe(tmp_path)) == {"A01": names}
    with pytest.raises(PlateError, match="finds a well in none of the images"):
        describe(tmp_path, pattern=r"(?P<well>[A-P]\d{2})")
    with pytest.raises(PlateError, match="group z has no use"):
        describe(tmp_path, pattern=r"(?P<z>\d)")


def test_images_of_other_channels_or_pixels_are_problems(tmp_path: Path) -> None:
    write_lif(
        tmp_path / "1.lif", {"A/1/a": ("CYX", stack(2, 16, 16)), "A/2/a": ("CYX", stack(2, 16, 16))}, channels="AB"
    )
    write_lif(tmp_path / "2.lif", {"A/3/a": ("YX", stack(16, 16))}, channels="A")
    write_lif(tmp_path / "3.lif", {"A/4/a": ("CYX", stack(2, 16, 16))}, channels="AB", pixel_size_um=0.2)

    plate = describe(tmp_path)

    problems = {well: [problem for field in found for problem in field.problems] for well, found in plate.wells.items()}
    assert problems["A01"] == problems["A02"] == []
    assert "has 1 channel, other images 2" in problems["A03"][0]
    assert "its pixels are 0.2 um, of the first image 0.1 um" in problems["A04"][0]
    assert file_pixel_size_um(tmp_path / "3.lif") == 0.2


@pytest.mark.parametrize("size", [3, 60, 2000])
def test_a_truncated_lif_is_one_line(tmp_path: Path, size: int) -> None:
    path = tmp_path / "p.lif"
    write_lif(path, {"A/1/R1": ("CYX", stack(2, 64, 64))}, channels=["A", "B"])
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises((PlateError, FieldError)) as error:
        read_plane(describe(tmp_path, format="leica").wells["A01"][0].planes["B"][1])

    assert "\n" not in str(error.value)
    assert "p.lif" in str(error.value)


def test_real_lif_files_are_refused_with_their_reason(real_data: Path) -> None:
    with pytest.raises(PlateError, match="has the axes λ"):
        describe(real_data / "lif" / "LeicaLASX_wavelength-sweep_example.lif")
    with pytest.raises(PlateError, match=r"3 images passed over \('xzt', 'xzy', 'xz'\): each is no image with Y and X"):
        describe(real_data / "lif" / "testdata_2channel_xz.lif")


# --- Zeiss -------------------------------------------------------------------------------------------------------


def test_scenes_of_a_czi_are_fields(tmp_path: Path) -> None:
    scenes = [stack(2, 2, 3, 20, 24), stack(2, 2, 3, 20, 24)]
    write_czi(tmp_path / "B02.czi", scenes, channels=["LAMP1", "SEC62"], pixel_size_um=0.08)

    plate = describe(tmp_path / "B02.czi", z=3, timepoint=2)

    assert (plate.format, list(plate.channels), plate.shape, plate.pixel_size_um) == (
        *("zeiss", ["LAMP1", "SEC62"], (20, 24), 0.08),
    )
    assert [len(found) for found in plate.wells.values()] == [2]
    (well,) = plate.wells.values()
    for field, scene in zip(well, scenes, strict=True):
        assert np.array_equal(read_plane(field.planes["SEC62"][3]), scene[1, 1, 2])


def test_real_czi_wells(real_data: Path) -> None:
    plate = describe(real_data / "czi")

    assert {well: len(found) for well, found in plate.wells.items()} == {"D06": 2, "D07": 1}
    assert (list(plate.channels), plate.shape) == (["AF488"], (440, 544))
    planes = [read_plane(field.planes["AF488"][1]) for found in plate.wells.values() for field in found]
    assert {(plane.shape, plane.dtype.name) for plane in planes} == {((440, 544), "uint16")}


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_a_truncated_czi_is_one_line(tmp_path: Path, share: float) -> None:
    path = tmp_path / "A01.czi"
    write_czi(path, [stack(1, 2, 1, 64, 64)], channels=["A", "B"], pixel_size_um=0.1)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])

    with pytest.raises((PlateError, FieldError)) as error:
        read_plane(describe(path, format="zeiss").wells["A01"][0].planes["B"][1])

    assert "\n" not in str(error.value)


# --- Nikon -------------------------------------------------------------------------------------------------------


def test_real_nd2(real_data: Path) -> None:
    plate = describe(real_data / "nd2" / "example-multichannel.nd2")

    assert (plate.format, plate.shape) == ("nikon", (256, 256))
    assert list(plate.channels) == ["Mono", "DAPI", "FITC BP", "TRITC BP"]
    assert plate.pixel_size_um == pytest.approx(0.32339, rel=1e-4)
    (field,) = plate.wells["A01"]
    import nd2

    expected = nd2.imread(real_data / "nd2" / "example-multichannel.nd2")
    for channel, label in enumerate(plate.channels):
        assert np.array_equal(read_plane(field.planes[label][1]), expected[channel])


def test_nd2_files_in_wells_by_their_names(real_data: Path, tmp_path: Path) -> None:
    for well in ("A01", "B11"):
        shutil.copy(real_data / "nd2" / "example-cerevisiae.nd2", tmp_path / f"Well{well}_Seq0000.nd2")

    assert {well: len(found) for well, found in describe(tmp_path).wells.items()} == {"A01": 1, "B11": 1}
    with pytest.raises(PlateError, match="no well in the names of the images"):
        describe(real_data / "nd2")


def test_names_of_nd2_positions() -> None:
    points = [SimpleNamespace(name="B02_0000"), SimpleNamespace(name=None)]
    loop = SimpleNamespace(type="XYPosLoop", parameters=SimpleNamespace(points=points))
    file = SimpleNamespace(experiment=[SimpleNamespace(type="TimeLoop"), loop])

    assert _position_names(file, 2) == ["B02_0000", ""]
    assert _position_names(file, 3) == ["", "", ""]


def test_a_truncated_nd2_is_one_line(real_data: Path, tmp_path: Path) -> None:
    data = (real_data / "nd2" / "example-cerevisiae.nd2").read_bytes()
    for size in (10, len(data) // 2, len(data) - 100):
        (tmp_path / "A01.nd2").write_bytes(data[:size])
        with pytest.raises((PlateError, FieldError)) as error:
            read_plane(describe(tmp_path).wells["A01"][0].planes["DIC"][1])
        assert "\n" not in str(error.value)
