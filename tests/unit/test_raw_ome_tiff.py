"""OME-TIFF plates: which image lies in which well is in the XML alone, never in a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.raw import RawPlate, describe, read_plane

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
CHANNELS = ("LAMP1", "SEC62")


def image_xml(
    number: int, tiff_data: str, *, sizes: str = 'SizeZ="1" SizeC="2" SizeT="1"', order: str = "XYCZT"
) -> str:
    names = "".join(f'<Channel ID="Channel:{number}:{c}" Name="{name}"/>' for c, name in enumerate(CHANNELS))
    return (
        f'<Image ID="Image:{number}" Name="pos {number}"><Pixels ID="Pixels:{number}" DimensionOrder="{order}"'
        f' Type="uint16" SizeX="8" SizeY="6" {sizes} PhysicalSizeX="0.1" PhysicalSizeXUnit="\u00b5m"'
        f' PhysicalSizeY="0.1">{names}{tiff_data}</Pixels></Image>'
    )


def plate_xml(wells: Iterable[tuple[int, int, Sequence[int]]], images: Iterable[str], *, top: str = "") -> str:
    placed = "".join(
        f'<Well ID="Well:{row}:{column}" Row="{row}" Column="{column}">'
        + "".join(
            f'<WellSample ID="WellSample:{row}:{column}:{index}" Index="{index}"><ImageRef ID="Image:{number}"/>'
            "</WellSample>"
            for index, number in enumerate(numbers)
        )
        + "</Well>"
        for row, column, numbers in wells
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{top}<OME xmlns="{NAMESPACE}">'
        f'<Plate ID="Plate:0" Name="Screen 7" Rows="8" Columns="12">{placed}</Plate>{"".join(images)}</OME>'
    )


def data(file: str, *, ifd: int = 0, first: str = "", count: int | None = None) -> str:
    planes = "" if count is None else f' PlaneCount="{count}"'
    return f'<TiffData IFD="{ifd}"{planes} {first}><UUID FileName="{file}">urn:uuid:1</UUID></TiffData>'


def write_pages(path: Path, values: Sequence[int], description: str = "") -> None:
    """A TIFF with a page for each value, filled with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as writer:
        for number, value in enumerate(values):
            writer.write(
                np.full((6, 8), value, np.uint16),
                metadata=None,
                description=description.encode() if number == 0 and description else None,
                contiguous=False,
            )


def values(plate: RawPlate) -> dict[tuple[str, str, str], list[int]]:
    """Grey value of each plane by well, field and channel."""
    return {
        (well, field.name, label): [int(read_plane(plane)[0, 0]) for plane in planes.values()]
        for well, fields in plate.wells.items()
        for field in fields
        for label, planes in field.planes.items()
    }


def companion_plate(folder: Path) -> Path:
    """Three images in two wells, by a companion file; names of the files tell nothing and two files hold an image."""
    write_pages(folder / "q.tif", [1, 2])
    write_pages(folder / "sub" / "a.tif", [3])
    write_pages(folder / "z.tif", [9, 4])
    write_pages(folder / "m.tif", [5, 6])
    images = [
        image_xml(0, data("q.tif", count=2)),
        image_xml(1, data("sub/a.tif") + data("z.tif", ifd=1, first='FirstC="1"')),
        image_xml(2, data("m.tif", ifd=1) + data("m.tif", ifd=0, first='FirstC="1"')),
    ]
    text = plate_xml([(1, 2, [0, 1]), (0, 4, [2])], images)
    (folder / "x.companion.ome").write_text(text, encoding="utf-8")
    return folder


def test_a_companion_file_places_images_in_wells_and_planes_in_pages_of_files(tmp_path: Path) -> None:
    folder = companion_plate(tmp_path / "plate")
    for where in (folder, folder / "x.companion.ome"):
        plate = describe(where)
        assert (plate.format, plate.name, plate.channels) == ("ome-tiff", "Screen 7", CHANNELS)
        assert plate.seen == "OME-XML in x.companion.ome that places images in wells"
        assert (plate.n_rows, plate.n_columns, plate.shape, plate.pixel_size_um) == (8, 12, (6, 8), 0.1)
        assert values(plate) == {
            ("A05", "pos 2", "LAMP1"): [6],
            ("A05", "pos 2", "SEC62"): [5],
            ("B03", "pos 0", "LAMP1"): [1],
            ("B03", "pos 0", "SEC62"): [2],
            ("B03", "pos 1", "LAMP1"): [3],
            ("B03", "pos 1", "SEC62"): [4],
        }
        assert list(plate.wells) == ["A05", "B03"]
        assert plate.notes == ()


def test_the_xml_in_the_first_file_tells_of_all_and_the_others_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [image_xml(n, data(f"{name}.tif", count=2)) for n, name in enumerate("ab")]
    text = plate_xml([(0, 0, [0]), (7, 11, [1])], images)
    for number, name in enumerate("ab"):
        write_pages(tmp_path / f"{name}.tif", [10 * number + 1, 10 * number + 2], text)
    opened: list[str] = []
    tiff_file = tifffile.TiffFile
    monkeypatch.setattr(
        tifffile, "TiffFile", lambda path, **more: (opened.append(Path(path).name), tiff_file(path, **more))[1]
    )
    plate = describe(tmp_path)
    assert opened == ["a.tif", "a.tif"]
    assert values(plate)["H12", "pos 1", "SEC62"] == [12]


def test_files_that_tell_of_themselves_alone_make_one_plate(tmp_path: Path) -> None:
    for number, name in enumerate(("one.ome.tif", "two.ome.tif")):
        text = plate_xml([(2, number, [0])], [image_xml(0, "<TiffData/>")])
        write_pages(tmp_path / name, [number + 1, number + 5], text)
    write_pages(tmp_path / "overview.tif", [0])
    plate = describe(tmp_path)
    assert values(plate) == {
        ("C01", "pos 0", "LAMP1"): [1],
        ("C01", "pos 0", "SEC62"): [5],
        ("C02", "pos 0", "LAMP1"): [2],
        ("C02", "pos 0", "SEC62"): [6],
    }
    assert plate.notes == ("1 file passed over that no plate's OME-XML refers to: overview.tif",)


def test_planes_are_counted_in_the_order_of_dimensions(tmp_path: Path) -> None:
    sizes = 'SizeZ="3" SizeC="2" SizeT="2"'
    text = plate_xml([(0, 0, [0])], [image_xml(0, "<TiffData/>", sizes=sizes, order="XYZTC")])
    write_pages(tmp_path / "a.tif", range(12), text)
    stack = describe(tmp_path, z="max", timepoint=2)
    assert values(stack) == {("A01", "pos 0", "LAMP1"): [3, 4, 5], ("A01", "pos 0", "SEC62"): [9, 10, 11]}
    each = describe(tmp_path, z="each", timepoint="each")
    assert [field.name for field in each.wells["A01"]] == [f"pos 0 t{t} z{z}" for t in (1, 2) for z in (1, 2, 3)]
    assert values(each)["A01", "pos 0 t2 z3", "LAMP1"] == [5]


def test_images_of_different_depth_are_each_whole(tmp_path: Path) -> None:
    deep, flat = 'SizeZ="3" SizeC="2" SizeT="1"', 'SizeZ="1" SizeC="2" SizeT="1"'
    images = [image_xml(0, data("a.tif", count=6), sizes=deep), image_xml(1, data("b.tif", count=2), sizes=flat)]
    write_pages(tmp_path / "a.tif", range(6), plate_xml([(0, 0, [0]), (0, 1, [1])], images))
    write_pages(tmp_path / "b.tif", [7, 8])
    plate = describe(tmp_path, z="max")
    assert values(plate)["A01", "pos 0", "LAMP1"] == [0, 2, 4]
    assert values(plate)["A02", "pos 1", "LAMP1"] == [7]
    assert not [problem for fields in plate.wells.values() for field in fields for problem in field.problems]


def test_a_renamed_file_is_found_by_its_own_uuid(tmp_path: Path) -> None:
    text = plate_xml([(0, 0, [0])], [image_xml(0, data("old name.tif", count=2))])
    write_pages(tmp_path / "new.tif", [1, 2], text.replace("<OME ", '<OME UUID="urn:uuid:1" '))
    assert values(describe(tmp_path))["A01", "pos 0", "SEC62"] == [2]


def test_a_file_that_is_gone_fails_its_plane_only(tmp_path: Path) -> None:
    folder = companion_plate(tmp_path / "plate")
    (folder / "z.tif").unlink()
    plate = describe(folder)
    field = plate.wells["B03"][1]
    assert int(read_plane(field.planes["LAMP1"][1])[0, 0]) == 3
    with pytest.raises(FieldError, match=r"z\.tif: the file is gone"):
        read_plane(field.planes["SEC62"][1])


@pytest.mark.parametrize("name", ["../secret.tif", "/etc/secret.tif", "C:\\secret.tif", "link/secret.tif", "passwd"])
def test_files_outside_the_plate_are_refused(tmp_path: Path, name: str) -> None:
    write_pages(tmp_path / "secret.tif", [1, 2])
    folder = tmp_path / "plate"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "x.companion.ome").write_text(plate_xml([(0, 0, [0])], [image_xml(0, data(name, count=2))]))
    with pytest.raises(PlateError, match=r"x\.companion\.ome: refers to .*secret\.tif.|refers to 'passwd'"):
        describe(folder)


def test_entities_are_refused(tmp_path: Path) -> None:
    top = '<!DOCTYPE OME [<!ENTITY a "aaaa">]>'
    (tmp_path / "x.companion.ome").write_text(plate_xml([(0, 0, [0])], [image_xml(0, data("a.tif"))], top=top))
    with pytest.raises(PlateError, match="a document type or entities, which are refused"):
        describe(tmp_path, format="ome-tiff")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('Row="0"', 'Row="99"', "Well Row is '99'; expected a whole number from 0 to 31"),
        ('Column="0"', 'Column="-1"', "Well Column is '-1'"),
        ('SizeZ="1"', 'SizeZ="9999999"', "Pixels SizeZ is '9999999'"),
        ('SizeZ="1" SizeC="2"', 'SizeZ="9999" SizeC="999"', "of 9989001 planes; expected at most 1000000"),
        ('DimensionOrder="XYCZT"', 'DimensionOrder="CXYZT"', "DimensionOrder 'CXYZT'; expected one of"),
        ('<ImageRef ID="Image:0"/>', '<ImageRef ID="Image:5"/>', "well A01 refers to the image 'Image:5'"),
        ("</Image>", "</Imag>", "not readable XML"),
        ("</Plate>", '</Plate><Plate ID="P:1"><Well><WellSample><ImageRef ID="Image:0"/></WellSample></Well></Plate>',
         r"describes 2 plates \(Screen 7, P:1\)"),
        (' FileName="a.tif"', "", "a TiffData without a FileName"),
    ],
)  # fmt: skip
def test_damaged_xml_is_named_with_what_was_expected(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = plate_xml([(0, 0, [0])], [image_xml(0, data("a.tif", count=2))])
    assert old in text
    (tmp_path / "x.companion.ome").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(PlateError, match=message) as caught:
        describe(tmp_path, format="ome-tiff")
    assert "\n" not in str(caught.value)


def test_an_rgb_image_and_a_page_that_is_not_there_fail_their_field(tmp_path: Path) -> None:
    colour = image_xml(0, data("a.tif", count=2)).replace('Name="LAMP1"', 'Name="LAMP1" SamplesPerPixel="3"')
    short = image_xml(1, data("a.tif", count=2, ifd=1))
    write_pages(tmp_path / "a.tif", [1, 2], plate_xml([(0, 0, [0]), (0, 1, [1])], [colour, short]))
    plate = describe(tmp_path)
    assert plate.wells["A01"][0].problems == (
        "well A01 field pos 0: an RGB image; expected grey channels: export the raw channels",
    )
    with pytest.raises(FieldError, match=r"a\.tif: has no page 2, only 2; copy it again"):
        read_plane(plate.wells["A02"][0].planes["SEC62"][1])


def test_tiff_files_without_a_plate_are_left_to_the_pattern(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "A01.ome.tif", np.zeros((6, 8), np.uint16), ome=True)
    tifffile.imwrite(tmp_path / "A02.ome.tif", np.zeros((6, 8), np.uint16), ome=True)
    plate = describe(tmp_path, pattern=r"(?P<well>A\d\d)")
    assert (plate.format, list(plate.wells)) == ("tiff", ["A01", "A02"])
    with pytest.raises(PlateError, match=r"no OME-XML that places an image in a well; set format in plates\.tsv"):
        describe(tmp_path, format="ome-tiff")


def test_a_companion_beside_an_htd_file_is_an_error_that_lists_both(tmp_path: Path) -> None:
    folder = companion_plate(tmp_path / "plate")
    (folder / "P1.HTD").write_text("")
    with pytest.raises(
        PlateError,
        match=r"several formats fit .*P1\.HTD.*x\.companion\.ome.*format in plates.tsv: imagexpress or ome",
    ):
        describe(folder)
    assert describe(folder, format="ome-tiff").format == "ome-tiff"
