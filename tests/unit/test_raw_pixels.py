"""Reading one image file: planes, structure, pixel size, and all that can be wrong with it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lysoquant.errors import FieldError
from lysoquant.io.raw import Plane, file_pixel_size_um, read_plane
from lysoquant.io.raw.pixels import inspect_image
from lysoquant.io.rois import read_label_image

RAMP = np.arange(6 * 8, dtype=np.uint16).reshape(6, 8) + 300


def metaseries(size: str = "0.088", *, state: str = "on", units: str = "um", extra: str = "") -> str:
    return (
        f'<MetaData>{extra}<PlaneInfo><prop id="spatial-calibration-state" type="bool" value="{state}"/>'
        f'<prop id="spatial-calibration-x" type="float" value="{size}"/>'
        f'<prop id="spatial-calibration-y" type="float" value="{size}"/>'
        f'<prop id="spatial-calibration-units" type="string" value="{units}"/></PlaneInfo></MetaData>'
    )


def write_metaseries(path: Path, description: str, pixels: np.ndarray = RAMP) -> Path:
    tifffile.imwrite(path, pixels, description=description, software="MetaSeries", metadata=None)
    return path


def fault(path: Path, index: tuple[int, ...] | None = None) -> str:
    with pytest.raises(FieldError) as raised:
        read_plane(Plane(path, index))
    message = str(raised.value)
    assert path.name in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_a_plane_comes_back_as_it_was_written(
    tmp_path: Path, dtype: str, byteorder: str, compression: str | None
) -> None:
    pixels = RAMP.astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, byteorder=byteorder, compression=compression, photometric="minisblack")
    read = read_plane(Plane(tmp_path / "a.tif"))
    assert read.dtype == np.dtype(dtype)
    assert read.dtype.isnative
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, pixels)


@pytest.mark.parametrize(
    ("kind", "axes"), [("ome", "TZCYX"), ("imagej", "TZCYX"), ("ome", "CYX"), ("ome", "ZCYX"), ("imagej", "CYX")]
)
def test_every_plane_of_a_hyperstack_is_found_by_its_index(tmp_path: Path, kind: str, axes: str) -> None:
    lengths = {"T": 2, "Z": 3, "C": 4}
    shape = tuple(lengths[axis] for axis in axes[:-2])
    stack = np.arange(np.prod(shape) * 48, dtype=np.uint16).reshape(*shape, 6, 8)
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    tifffile.imwrite(path, stack, imagej=kind == "imagej", metadata={"axes": axes}, photometric="minisblack")
    image = inspect_image(path)
    assert (image.axes, image.lengths, image.shape) == (axes[:-2], shape, (6, 8))
    for index in np.ndindex(shape):
        np.testing.assert_array_equal(read_plane(Plane(path, index)), stack[index])


def test_a_stack_after_one_header_as_large_imagej_files_have_is_read(tmp_path: Path) -> None:
    stack = np.arange(3 * 48, dtype=np.uint16).reshape(3, 6, 8)
    path = tmp_path / "virtual.tif"
    tifffile.imwrite(
        path, stack[0], description="ImageJ=1.54f\nimages=3\nchannels=3\nmode=composite\n", metadata=None, byteorder=">"
    )
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages.first.dataoffsets[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:offset] + stack.astype(">u2").tobytes() + whole[offset + 96 :])
    assert inspect_image(path).lengths == (3,)
    np.testing.assert_array_equal(read_plane(Plane(path, (2,))), stack[2])


def test_imagej_composites_with_samples_for_channels_are_channels_and_not_rgb(tmp_path: Path) -> None:
    samples = np.arange(6 * 8 * 3, dtype=np.uint16).reshape(6, 8, 3)
    description = "ImageJ=1.54f\nchannels=3\nmode=composite\n"
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, samples, photometric="rgb", description=description, metadata=None, byteorder=">")
    assert inspect_image(path).axes == "C"
    np.testing.assert_array_equal(read_plane(Plane(path, (1,))), samples[..., 1])


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_rgb_is_refused(tmp_path: Path, planarconfig: str) -> None:
    shape = (6, 8, 3) if planarconfig == "contig" else (3, 6, 8)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint8), photometric="rgb", planarconfig=planarconfig)
    assert "RGB" in fault(tmp_path / "a.tif", (0,))


@pytest.mark.parametrize("dtype", ["float32", "int32", "int16", "uint32", "bool", "complex64"])
def test_other_pixel_types_are_refused_by_name(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((6, 8), dtype), metadata=None)
    message = fault(tmp_path / "a.tif")
    assert f"pixels are {dtype}" in message
    assert "expected uint8 or uint16" in message


def test_images_that_are_no_planes_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RAMP, metadata={"axes": "ZT"})
    assert "expected a plane with Y and X" in fault(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", RAMP, metadata=None)
    with tifffile.TiffFile(tmp_path / "b.tif", mode="r+") as tif:
        tif.pages.first.tags["ImageLength"].overwrite(0)
    assert "the image is empty" in fault(tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.tif", RAMP, description="Aperio Image Library", metadata=None)
    assert "slide scanner" in fault(tmp_path / "c.tif")


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    assert "gone" in fault(tmp_path / "a.tif")


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    assert "can't be read" in fault(tmp_path / "a.tif")


@pytest.mark.parametrize("content", [b"", b"II", b"II*\0", b"II*\0\x08\0\0\0", b"not an image at all", b"\x89PNG\r\n"])
def test_what_is_no_tiff_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    assert "TIFF" in fault(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_a_file_cut_anywhere_never_gives_pixels_that_were_not_written(tmp_path: Path, compression: str | None) -> None:
    whole = tmp_path / "whole.tif"
    pixels = np.random.default_rng(3).integers(1, 4000, (32, 40)).astype(np.uint16)
    tifffile.imwrite(whole, pixels, compression=compression, rowsperstrip=8, metadata=None)
    content = whole.read_bytes()
    with tifffile.TiffFile(whole) as tif:
        data_end = max(a + b for a, b in zip(tif.pages.first.dataoffsets, tif.pages.first.databytecounts, strict=True))
    for keep in (10, 100, data_end // 2, data_end - 1):
        (tmp_path / "cut.tif").write_bytes(content[:keep])
        fault(tmp_path / "cut.tif")


def test_a_strip_without_data_is_no_black_image(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RAMP, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["StripByteCounts"].overwrite([0])
    assert "missing" in fault(path)


def test_damaged_compressed_data_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.random.default_rng(1).integers(0, 999, (32, 32)).astype(np.uint16), compression="zlib")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        offset, count = tif.pages.first.dataoffsets[0], tif.pages.first.databytecounts[0]
    content[offset : offset + count] = bytes(count)
    path.write_bytes(content)
    fault(path)


def test_a_header_that_asks_for_all_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RAMP, metadata=None, compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tif:
        for tag in ("ImageWidth", "ImageLength"):
            tif.pages.first.tags[tag].overwrite(200_000, dtype="I")
    assert "40000000000 pixels" in fault(path)


@pytest.mark.parametrize("index", [None, (3,), (-1,), (0, 0)])
def test_a_plane_that_a_file_does_not_have_is_named(tmp_path: Path, index: tuple[int, ...] | None) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, np.zeros((3, 6, 8), np.uint16), metadata={"axes": "CYX"}, photometric="minisblack")
    assert "has no plane" in fault(path, index)
    assert "3 C" in fault(path, index)


def test_only_the_further_images_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(RAMP, metadata=None)
        tif.write(np.zeros((4, 4), np.uint8), metadata=None)
    assert inspect_image(path).further_images == 1
    np.testing.assert_array_equal(read_plane(Plane(path)), RAMP)


ENTITY = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    "description",
    [
        f"{ENTITY}<MetaData>&b;</MetaData>",
        f'<?xml version="1.0"?>{ENTITY}<OME>&b;</OME>',
        f"\ufeff  {ENTITY}<OME>&b;</OME>",
        '<!DOCTYPE x SYSTEM "file:///etc/passwd"><OME></OME>',
    ],
)
def test_xml_entities_are_refused_before_anything_expands_them(tmp_path: Path, description: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RAMP, description=description.encode(), software="MetaSeries", metadata=None)
    assert "entities" in fault(path)
    with pytest.raises(FieldError, match="entities"):
        file_pixel_size_um(path)


@pytest.mark.parametrize(
    ("sizes", "inside"),
    [
        ('SizeX="8" SizeY="6" SizeC="1" SizeZ="1"', '<TiffData IFD="0" PlaneCount="999999999"/>'),
        ('SizeX="8" SizeY="6" SizeC="1" SizeZ="1"', '<TiffData IFD="999999999"/>'),
        ('SizeX="2147483648" SizeY="2147483648" SizeC="1" SizeZ="1"', "<TiffData/>"),
        ('SizeX="8" SizeY="6" SizeC="100000" SizeZ="100000"', "<TiffData/>"),
    ],
)
def test_xml_that_speaks_of_millions_of_planes_is_refused(tmp_path: Path, sizes: str, inside: str) -> None:
    """tifffile makes room for all of them: gigabytes for a small file."""
    path = tmp_path / "a.tif"
    pixels = f'<Pixels DimensionOrder="XYCZT" Type="uint16" {sizes} SizeT="1">{inside}</Pixels>'
    text = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">{pixels}</Image></OME>'
    tifffile.imwrite(path, RAMP, description=text.encode(), metadata=None)
    assert "planes; expected at most 100000" in fault(path)
    with pytest.raises(FieldError, match="expected at most 100000"):
        read_label_image(path, shape=RAMP.shape)


def test_grey_pixels_in_a_code_for_black_and_white_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RAMP, metadata=None)
    data = bytearray(path.read_bytes())
    (place,) = [tag.offset for tag in tifffile.TiffFile(path).pages.first.tags.values() if tag.name == "Compression"]
    data[place + 8] = 3
    path.write_bytes(data)
    assert "code for black and white" in fault(path)


def test_an_ome_tiff_is_not_followed_into_other_files(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere.tif"
    tifffile.imwrite(secret, np.full((6, 8), 777, np.uint16), metadata=None)
    (tmp_path / "plate").mkdir()
    path = tmp_path / "plate" / "a.ome.tif"
    description = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="8" SizeY="6" SizeC="1"'
        ' SizeZ="1" SizeT="1" PhysicalSizeX="0.1"><Channel ID="Channel:0"/><TiffData IFD="0" PlaneCount="1">'
        '<UUID FileName="../elsewhere.tif">urn:uuid:2</UUID></TiffData></Pixels></Image></OME>'
    )
    tifffile.imwrite(path, RAMP, description=description, metadata=None)
    np.testing.assert_array_equal(read_plane(Plane(path)), RAMP)
    assert file_pixel_size_um(path) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (metaseries(), 0.088),
        (metaseries("88", units="nm"), 0.088),
        (metaseries(units="\N{MICRO SIGN}m"), 0.088),
        (metaseries(state="off"), None),
        (metaseries("1", units="pixel"), None),
        (metaseries("-0.088"), None),
        (metaseries("nan"), None),
        (metaseries("inf"), None),
        (metaseries("wide"), None),
        (metaseries().replace("calibration-y", "calibration-z"), 0.088),
        (
            metaseries().replace('calibration-y" type="float" value="0.088', 'calibration-y" type="float" value="0.1'),
            None,
        ),
        ("<MetaData><broken></MetaData>", None),
    ],
)
def test_pixel_size_of_metaseries(tmp_path: Path, description: str, expected: float | None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RAMP, description=description.encode(), software="MetaSeries", metadata=None)
    assert file_pixel_size_um(path) == (None if expected is None else pytest.approx(expected))
    np.testing.assert_array_equal(read_plane(Plane(path)), RAMP)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"PhysicalSizeX": 0.065, "PhysicalSizeY": 0.065}, 0.065),
        ({"PhysicalSizeX": 65, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.065}, 0.065),
        ({"PhysicalSizeX": 6.5e-5, "PhysicalSizeXUnit": "mm"}, 0.065),
        ({"PhysicalSizeX": 0.065, "PhysicalSizeY": 0.13}, None),
        ({"PhysicalSizeX": 1, "PhysicalSizeXUnit": "pixel"}, None),
        ({}, None),
    ],
)
def test_pixel_size_of_ome_xml(tmp_path: Path, metadata: dict[str, object], expected: float | None) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, RAMP, metadata={"axes": "YX", **metadata})
    assert file_pixel_size_um(path) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("unit", "resolution", "expected"),
    [
        ("micron", (10, 10), 0.1),
        ("um", (10, 10), 0.1),
        ("\\u00B5m", (12.5, 12.5), 0.08),
        ("nm", (0.01, 0.01), 0.1),
        ("micron", (10, 20), None),
        ("pixel", (1, 1), None),
        ("inch", (72, 72), None),
        ("micron", (0, 0), None),
    ],
)
def test_pixel_size_of_imagej(
    tmp_path: Path, unit: str, resolution: tuple[float, float], expected: float | None
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, RAMP, imagej=True, resolution=resolution, metadata={"unit": unit})
    assert file_pixel_size_um(path) == (None if expected is None else pytest.approx(expected))


def test_dots_per_inch_of_a_plain_tiff_are_no_pixel_size(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RAMP, resolution=(300, 300), resolutionunit="INCH", metadata=None)
    assert file_pixel_size_um(tmp_path / "a.tif") is None


def test_pixel_size_of_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"nothing")
    with pytest.raises(FieldError, match=r"a\.tif"):
        file_pixel_size_um(tmp_path / "a.tif")


def test_messages_do_not_depend_on_where_the_plate_lies(tmp_path: Path) -> None:
    messages = []
    for place in ("here", "there"):
        folder = tmp_path / place / "TimePoint_1"
        folder.mkdir(parents=True)
        tifffile.imwrite(folder / "a.tif", np.ones((6, 8), np.float32))
        messages.append(fault(folder / "a.tif"))
    assert messages[0] == messages[1]


def test_files_are_closed_after_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tifffile.TiffFile] = []
    original = tifffile.TiffFile.__init__

    def remember(self: tifffile.TiffFile, *args: object, **kwargs: object) -> None:
        opened.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(tifffile.TiffFile, "__init__", remember)
    tifffile.imwrite(tmp_path / "a.tif", RAMP)
    tifffile.imwrite(tmp_path / "b.tif", RAMP.astype(np.float32))
    read_plane(Plane(tmp_path / "a.tif"))
    fault(tmp_path / "b.tif")
    assert [tif.filehandle.closed for tif in opened] == [True, True]
    shutil.rmtree(tmp_path)


def test_real_lzw_and_imagexpress_files(real_data: Path) -> None:
    imagexpress = real_data / "imagexpress" / "9987_Plate_3420" / "TimePoint_1" / "9987_B02.TIF"
    assert file_pixel_size_um(imagexpress) == pytest.approx(1.3672)
    operetta = sorted((real_data / "operetta").rglob("*.tiff"))[0]
    with tifffile.TiffFile(operetta) as tif:
        assert tif.pages.first.compression == tifffile.COMPRESSION.LZW
    assert read_plane(Plane(operetta)).shape == (1080, 1080)


def test_a_real_imagej_file_with_a_broken_second_page_gives_both_planes(real_data: Path) -> None:
    path = real_data / "rings_guv" / "290818-p1_t1_c1.tif"
    assert inspect_image(path).lengths == (2,)
    for number in range(2):
        plane = np.fromfile(path, np.uint8, count=1024 * 1024, offset=3450 + number * 1024 * 1024).reshape(1024, 1024)
        np.testing.assert_array_equal(read_plane(Plane(path, (number,))), plane)
    assert file_pixel_size_um(path) == pytest.approx(0.2405, abs=1e-4)


def broken_imagej(path: Path, *, dtype: str, byteorder: str) -> np.ndarray:
    """An ImageJ stack whose later pages say nothing: their entries are all of an unknown tag."""
    pixels = np.stack([RAMP + 7 * number for number in range(3)]).astype(dtype)
    tifffile.imwrite(path, pixels, imagej=True, byteorder=byteorder, metadata={"axes": "CYX", "mode": "composite"})
    with tifffile.TiffFile(path) as tif:
        offsets = [page.offset for page in tif.pages][1:]
    content = bytearray(path.read_bytes())
    for offset in offsets:
        for entry in range(int.from_bytes(content[offset : offset + 2], "little" if byteorder == "<" else "big")):
            start = offset + 2 + 12 * entry
            content[start : start + 2] = b"\xff\xfe"
    path.write_bytes(bytes(content))
    return pixels


@pytest.mark.parametrize(("dtype", "byteorder"), [("uint8", "<"), ("uint16", ">"), ("uint16", "<")])
def test_an_imagej_stack_is_read_as_imagej_does_where_later_pages_are_broken(
    tmp_path: Path, dtype: str, byteorder: str
) -> None:
    path = tmp_path / "a.tif"
    pixels = broken_imagej(path, dtype=dtype, byteorder=byteorder)
    for number in range(3):
        read = read_plane(Plane(path, (number,)))
        assert (read.dtype, read.dtype.isnative) == (np.dtype(dtype), True)
        np.testing.assert_array_equal(read, pixels[number])


def test_a_cut_imagej_stack_is_not_read_beyond_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    broken_imagej(path, dtype="uint16", byteorder="<")
    with tifffile.TiffFile(path) as tif:
        start = tif.pages.first.dataoffsets[0]
    path.write_bytes(path.read_bytes()[: start + 2 * RAMP.nbytes])
    assert "has no plane (2,)" in fault(path, (2,))
