"""Harmony indices: real ones against an independent reading, and generated ones with one fault each."""

from __future__ import annotations

import csv
import os
import re
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import pytest
import tifffile
from defusedxml.ElementTree import parse
from index_files import HARMONY_7, Shot, changed, index_xml, make_harmony, shots, write_image

from lysoquant.errors import PlateError
from lysoquant.io.raw import Acquisition, RawPlate, describe, read_plane
from lysoquant.io.raw.harmony import describe_harmony
from lysoquant.io.raw.index_xml import read_records
from lysoquant.io.raw.listed import inside
from lysoquant.io.raw.reader import Options, look_at
from lysoquant.simulate.plate import PlateSettings, plate_wells, simulate_field, simulate_plate


def acquire(folder: Path) -> Acquisition:
    return describe_harmony(look_at(folder), Options())


def problems(plate: RawPlate) -> list[str]:
    return [problem for fields in plate.wells.values() for field in fields for problem in field.problems]


def noted(plate: RawPlate | Acquisition, words: str) -> str:
    """The one note with these words."""
    notes = [note for note in plate.notes if words in note]
    assert len(notes) == 1, plate.notes
    return notes[0]


def value_of(plate: RawPlate, well: str, field: int, channel: str) -> int:
    """Grey value of a field's one plane: the image's place in the index."""
    (plane,) = plate.wells[well][field].planes[channel].values()
    return int(read_plane(plane).max())


# ------------------------------------------------------------------------------------------------ real measurements


def test_the_phenix_plate_is_what_another_program_read_cell_by_cell(real_data: Path) -> None:
    folder = real_data / "phenix" / "Version1"
    with (folder / "load_data_version1.csv").open(newline="") as handle:
        (row,) = csv.DictReader(handle)
    plate = acquire(folder)
    assert (plate.name, plate.format, plate.n_rows, plate.n_columns) == (row["Metadata_Plate"], "harmony", 16, 24)
    assert list(plate.wells) == [row["Metadata_Well"]]
    (position,) = plate.wells[row["Metadata_Well"]]
    assert position.name == f"f{int(row['Metadata_Site']):02d}" == f"f{int(row['Metadata_FieldID']):02d}"
    assert (position.problems, dict(position.faults)) == ((), {})
    roles = [name.removeprefix("FileName_") for name in row if name.startswith("FileName_")]
    assert len(roles) == 6
    by_id = sorted(roles, key=lambda role: int(row[f"Metadata_ChannelID_{role}"]))
    assert list(plate.channels) == [row[f"Metadata_ChannelName_{role}"] for role in by_id]
    for role in roles:
        stack = position.planes[row[f"Metadata_ChannelName_{role}"]]
        assert list(stack) == [(1, int(row["Metadata_PlaneID"]))]
        assert stack[1, 1].path == folder / "images" / row[f"FileName_{role}"]
        assert read_plane(stack[1, 1]).max() <= int(row["Metadata_MaxIntensity"])
    for axis in "XY":
        assert plate.pixel_size_um == pytest.approx(float(row[f"Metadata_ImageResolution{axis}"]) * 1e6, rel=1e-11)
    assert plate.shape == (int(row["Metadata_ImageSizeY"]), int(row["Metadata_ImageSizeX"]))
    assert noted(plate, "flat-field").endswith("Alexa 647, Alexa 568, 488 long, Alexa 488, HOECHST 33342")
    assert "Phenix, HarmonyV5" in plate.notes[0]
    # The columns that are compared above, and those that say how an image was taken, which nothing here uses.
    unused = "AbsPositionZ AbsTime Binning ExposureTime MainEmission MainExcitation Objective Position Row Col PathName"
    compared = "FileName Plate Well Site ChannelID ChannelName FieldID ImageResolution ImageSize MaxIntensity PlaneID"
    for name in row:
        known = [word for word in (unused + " " + compared).split() if name.removeprefix("Metadata_").startswith(word)]
        assert known, name
    assert (row["Metadata_Row"], row["Metadata_Col"], row["Metadata_Well"]) == ("1", "1", "A01")


def test_the_operetta_plate_with_byte_order_mark_and_two_fields(real_data: Path) -> None:
    folder = real_data / "operetta" / "operetta_plate"
    assert (folder / "Images" / "Index.idx.xml").read_bytes().startswith(b"\xef\xbb\xbf")
    plate = describe(folder)
    assert (plate.name, plate.format, plate.channels) == ("Test_Sample_BALL", "harmony", ("Fluorescein (FITC)",))
    assert plate.seen == "Images/Index.idx.xml, the index of a Harmony export"
    assert {well: [field.name for field in fields] for well, fields in plate.wells.items()} == {"C03": ["f01", "f02"]}
    assert plate.pixel_size_um == pytest.approx(1.1959521619135)
    for field in plate.wells["C03"]:
        pixels = read_plane(field.planes["Fluorescein (FITC)"][1])
        assert (pixels.shape, pixels.dtype) == ((1080, 1080), np.uint16)
        assert pixels.std() > 0
    assert problems(plate) == []
    assert describe(folder / "Images").wells == plate.wells == describe(folder / "Images" / "Index.idx.xml").wells


# ------------------------------------------------------------------------------------------------ what is read


def test_every_plane_of_every_time_point_by_channel(tmp_path: Path) -> None:
    images = shots(fields=2, planes=3, times=2, channels=2)
    plate = acquire(make_harmony(tmp_path, images))
    assert (plate.name, plate.channels, plate.n_rows, plate.n_columns) == ("Plate & 1", ("ch 1", "ch 2"), 16, 24)
    assert plate.pixel_size_um == 0.1
    for number, shot in enumerate(images, start=1):
        position = plate.wells[f"B{shot.column:02d}"][shot.field - 1]
        plane = position.planes[f"ch {shot.channel}"][shot.time + 1, shot.plane]
        assert int(read_plane(plane).max()) == number
    assert (
        sum(len(planes) for ps in plate.wells.values() for p in ps for planes in p.planes.values()) == len(images) == 48
    )
    assert noted(plate, "Z planes") == "3 Z planes 0.5 um apart: ch 1, ch 2"


def test_fields_come_in_the_order_of_their_numbers_and_channels_in_that_of_their_ids(tmp_path: Path) -> None:
    images = [
        Shot(field=field, channel=channel, name=name)
        for field in (10, 2, 9)
        for channel, name in ((7, "DAPI"), (3, "GFP"), (5, "DAPI"))
    ]
    plate = describe(make_harmony(tmp_path, images))
    assert [field.name for field in plate.wells["B03"]] == ["f02", "f09", "f10"]
    assert plate.channels == ("GFP", "DAPI", "DAPI (2)")
    assert [value_of(plate, "B03", 0, label) for label in plate.channels] == [5, 6, 4]
    assert noted(plate, "two channels")


def test_the_newer_schema_describes_channels_in_a_map_and_counts_time_from_one(tmp_path: Path) -> None:
    images = shots(times=2, wells=1)
    old = describe(make_harmony(tmp_path / "old", images), timepoint=2)
    new = describe(
        make_harmony(tmp_path / "new", images, index=index_xml(images, schema=HARMONY_7), name="Index.xml"), timepoint=2
    )
    assert "HarmonyV7" in new.notes[0]
    assert (new.channels, new.pixel_size_um, new.timepoints) == (old.channels, old.pixel_size_um, (1, 2))
    assert [value_of(new, "B03", f, c) for f in (0, 1) for c in new.channels] == [3, 4, 7, 8]
    assert [value_of(old, "B03", f, c) for f in (0, 1) for c in old.channels] == [3, 4, 7, 8]


def test_names_with_blanks_or_none_and_a_plate_without_size(tmp_path: Path) -> None:
    images = [Shot(channel=1, name="  DAPI \t x "), Shot(channel=2, name="")]
    index = index_xml(images, plate="<PlateID> P 9 </PlateID>")
    plate = describe(make_harmony(tmp_path, images, index=index))
    assert (plate.name, plate.channels) == ("P 9", ("DAPI x", "ch2"))
    assert (plate.n_rows, plate.n_columns) == (2, 3)


def test_images_in_folders_below_the_index_with_either_slash(tmp_path: Path) -> None:
    images = [Shot(channel=1, url="Images/a.tiff"), Shot(channel=2, url="Images\\sub\\b.tiff")]
    folder = make_harmony(tmp_path, images[:1], index=index_xml(images))
    write_image(tmp_path / "Images" / "sub" / "b.tiff", 2)
    plate = describe(folder)
    assert [value_of(plate, "B03", 0, label) for label in plate.channels] == [1, 2]
    assert problems(plate) == []


def test_wells_that_were_selected_and_have_no_image_are_there(tmp_path: Path) -> None:
    images = shots(wells=1)
    plate = describe(make_harmony(tmp_path, images, index=index_xml(images, selected=["0203", "1601", "9999"])))
    assert {well: len(fields) for well, fields in plate.wells.items()} == {"B03": 2, "P01": 0}
    assert noted(plate, "wells without any image").endswith("P01")


# ------------------------------------------------------------------------------------------------ faults


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("a.tiff", "a.tiff"),
        ("./x/a.tiff", "x/a.tiff"),
        ("x\\a.tiff", "x/a.tiff"),
        ("../a.tiff", None),
        ("x/../../a.tiff", None),
        ("..\\a.tiff", None),
        ("/etc/passwd", None),
        ("\\\\host\\share\\a.tiff", None),
        ("C:\\data\\a.tiff", None),
        ("http://example.org/a.tiff", None),
        ("file:///a.tiff", None),
        ("x//a.tiff", None),
        ("a\nb.tiff", None),
        ("", None),
        (".", None),
    ],
)
def test_only_paths_inside_the_folder_are_followed(url: str, place: str | None) -> None:
    assert inside(url) == place


@pytest.mark.parametrize(
    ("changes", "without", "said"),
    [
        (
            {"url": "../out.tiff"},
            (),
            "1 image that Index.idx.xml places outside the plate's folder (../out.tiff), which is refused",
        ),
        ({"state": "Failed"}, (), "1 image marked as faulty in Index.idx.xml (r02c03f01p01-ch2sk1fk1fl1.tiff: Failed)"),
        ({"url": "", "state": "Missing"}, (), "1 image without a file in Index.idx.xml (0203K1F1P1R2, state Missing)"),
        (
            {},
            ("r02c03f01p01-ch2sk1fk1fl1.tiff",),
            "1 image in Index.idx.xml but not on disk (r02c03f01p01-ch2sk1fk1fl1.tiff)",
        ),
        (
            {"channel": 1, "url": "copy.tiff"},
            (),
            "1 image more than once in Index.idx.xml (r02c03f01p01-ch1sk1fk1fl1.tiff and copy.tiff); keep one",
        ),
        (
            {"url": "r02c03f01p01-ch1sk1fk1fl1.tiff"},
            (),
            "1 image more than once in Index.idx.xml (r02c03f01p01-ch1sk1fk1fl1.tiff)",
        ),
        (
            {"size_m": (2e-7, 2e-7)},
            (),
            "1 image whose pixel size in Index.idx.xml is not the plate's (0.2 x 0.2 um, not 0.1 um)",
        ),
        (
            {"size_m": (1e-7, 2e-7)},
            (),
            "1 image whose pixel size in Index.idx.xml is not the plate's (0.1 x 0.2 um, not 0.1 um)",
        ),
    ],
    ids=["outside", "state", "unrecorded", "absent", "twice", "one-file-for-two", "pixel-size", "not-square"],
)
def test_a_bad_image_is_a_problem_of_its_field_alone(
    tmp_path: Path, changes: dict[str, object], without: Sequence[str], said: str
) -> None:
    write_image(tmp_path / "out.tiff")
    images = changed(shots(), 1, **changes)
    plate = describe(make_harmony(tmp_path / "plate", images, without=without))
    assert {well: len(fields) for well, fields in plate.wells.items()} == {"B03": 2, "B04": 2}
    assert all(problem.startswith("well B03 field f01: ") for problem in problems(plate))
    assert sum(said in problem for problem in problems(plate)) == 1, problems(plate)
    assert not any(
        ".." in plane.path.parts for f in plate.wells["B03"] for s in f.planes.values() for plane in s.values()
    )


def test_a_missing_plane_matters_where_it_is_chosen(tmp_path: Path) -> None:
    images = shots(planes=3, channels=2)
    folder = make_harmony(tmp_path, images, without=["r02c03f01p02-ch1sk1fk1fl1.tiff"])
    assert problems(describe(folder, z=1)) == []
    for z in (2, "max"):
        first, second = problems(describe(folder, z=z))
        assert "not on disk (r02c03f01p02-ch1sk1fk1fl1.tiff); copy or export again" in first
        assert second == "well B03 field f01: no image of channel 'ch 1' in Z plane 2; copy or export it again"


def test_a_channel_that_one_field_lacks_is_a_problem_there(tmp_path: Path) -> None:
    images = [shot for shot in shots() if (shot.column, shot.field, shot.channel) != (4, 2, 2)]
    plate = describe(make_harmony(tmp_path, images))
    assert problems(plate) == ["well B04 field f02: no image of channel 'ch 2'; copy or export it again"]


def test_a_channel_without_any_file_was_left_away_on_purpose(tmp_path: Path) -> None:
    images = shots()
    plate = describe(make_harmony(tmp_path, images, without=[shot.file for shot in images if shot.channel == 2]))
    assert (plate.channels, problems(plate)) == (("ch 1",), [])
    assert noted(plate, "left out") == "channel 2 'ch 2' has no image that can be used: left out of the channels"


def test_images_that_a_well_names_and_nothing_describes(tmp_path: Path) -> None:
    images = shots(wells=1)
    named = [*(shot.identity for shot in images), "0203K1F7P1R1", "0203K1F7P1R2", "odd"]
    plate = describe(make_harmony(tmp_path, images, index=index_xml(images, named=named)))
    assert [field.name for field in plate.wells["B03"]] == ["f01", "f02", "f07"]
    said = problems(plate)
    assert said[0].startswith(
        "well B03 field f07: 2 images named in Index.idx.xml but not described (0203K1F7P1R1, 0203K1F7P1R2)"
    )
    assert said[1:] == ["well B03 field f07: no image of any channel; copy or export it again"]
    assert noted(plate, "but not described").startswith("1 image named in a well of Index.idx.xml")


def test_images_that_the_index_does_not_list_are_a_note(tmp_path: Path) -> None:
    folder = make_harmony(tmp_path, shots())
    write_image(folder / "r09c09f01p01-ch1sk1fk1fl1.tiff")
    write_image(folder / "other.tif")
    note = noted(describe(folder), "not in Index.idx.xml")
    assert note == "2 images on disk not in Index.idx.xml, passed over: such as other.tif"


def test_images_in_a_linked_folder_are_not_followed(tmp_path: Path) -> None:
    write_image(tmp_path / "elsewhere" / "a.tiff")
    folder = make_harmony(
        tmp_path / "plate",
        [Shot(), Shot(channel=2, url="link/a.tiff")][:1],
        index=index_xml([Shot(), Shot(field=2, url="link/a.tiff")]),
    )
    (folder / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert sum("not on disk (link/a.tiff)" in problem for problem in problems(describe(folder))) == 1


def test_pixels_that_are_nowhere_square_are_refused(tmp_path: Path) -> None:
    images = [replace(shot, size_m=(1e-7, 2e-7)) for shot in shots()]
    with pytest.raises(PlateError, match=r"pixels are 0\.1 x 0\.2 um \(X x Y\); expected square ones"):
        describe(make_harmony(tmp_path, images))


def test_an_index_without_pixel_sizes_says_none(tmp_path: Path) -> None:
    images = [replace(shot, size_m=None) for shot in shots()]
    assert describe(make_harmony(tmp_path, images)).pixel_size_um is None


def test_of_two_files_for_one_plane_the_first_is_kept_in_sight(tmp_path: Path) -> None:
    images = changed(shots(), 1, channel=1, url="copy.tiff")
    position = acquire(make_harmony(tmp_path, [*images, Shot(channel=2)])).wells["B03"][0]
    assert position.planes["ch 1"][1, 1].path.name == "r02c03f01p01-ch1sk1fk1fl1.tiff"
    assert list(position.faults) == [("ch 1", 1, 1)]
    assert not [note for note in describe(tmp_path).notes if "not in Index" in note]


def test_names_of_elements_may_have_prefixes(tmp_path: Path) -> None:
    images = shots()
    plain = index_xml(images, selected=["1601"])
    prefixed = re.sub(r"<(/?)(?=\w)", r"<\1h:", plain).replace(" xmlns=", " xmlns:h=")
    assert "<h:Image " in prefixed
    plate = describe(make_harmony(tmp_path / "h", images, index=prefixed))
    assert (plate.channels, list(plate.wells), problems(plate)) == (("ch 1", "ch 2"), ["B03", "B04", "P01"], [])


def test_text_without_end_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(f"<r><a k='v'>own<b>{'x' * 500_000}</b><c>{'y' * 20}<d>{'z' * 9}</d></c></a></r>")
    root, record = read_records(path, root="r", wanted={("r", "a"): {"b", "c"}})
    assert (root.name, record.text, record.attributes) == ("r", "own", {"k": "v"})
    assert 10_000 <= len(record.values["b"]) < 30_000
    assert set(record.values) == {"b", "c"}


def test_a_pipe_in_the_place_of_an_index_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "Index.idx.xml")
    with pytest.raises(PlateError, match="not recognised as a raw plate"):
        describe(tmp_path)


BOMB = '<!DOCTYPE x [<!ENTITY a "b">]>'


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            lambda text: text.replace("\r\n<Eval", f"\r\n{BOMB}\r\n<Eval"),
            "a document type or entities, which are refused",
        ),
        (lambda text: text.replace("\r\n<Eval", "\r\n<!DOCTYPE EvaluationInputData>\r\n<Eval"), "are refused"),
        (
            lambda text: text.replace("\r\n<Eval", '\r\n<!DOCTYPE x SYSTEM "file:///etc/passwd">\r\n<Eval'),
            "are refused",
        ),
        (lambda text: text[: len(text) // 2], "no whole XML .* it is truncated or damaged: copy it again"),
        (lambda text: text.replace("</Images>", "</Image>"), r"no whole XML \(.*mismatched tag\)"),
        (lambda text: re.sub("<Image Version.*</Image>", "", text), "lists no image; give the index of a measurement"),
        (
            lambda text: text.replace("<Row>2<", "<Row>33<", 2),
            r"line 5: Row of <\w+> is '33'; expected a whole number from 1 to 32",
        ),
        (lambda text: text.replace("<FieldID>1<", "<FieldID>one<"), r"line 6: FieldID of <Image> is 'one'"),
        (lambda text: text.replace("<ChannelID>1</ChannelID>", "", 1), r"ChannelID of <Image> is missing"),
        (lambda text: text.replace("<PlaneID>1<", "<PlaneID>0<"), r"PlaneID of <Image> is '0'; expected"),
        (
            lambda text: text.replace("<Plates>", "<Plates><Plate><Name>a</Name></Plate>"),
            "a second <Plate>; expected one",
        ),
        (lambda text: text.replace("<PlateRows>16<", "<PlateRows>99<"), "PlateRows of <Plate> is '99'"),
    ],
    ids=[
        "entity",
        "doctype",
        "external",
        "truncated",
        "mismatched",
        "empty",
        "row",
        "field",
        "channel",
        "plane",
        "plates",
        "rows",
    ],
)
def test_a_damaged_or_hostile_index_is_one_line(tmp_path: Path, edit: object, said: str) -> None:
    images = shots()
    folder = make_harmony(tmp_path, images, index=edit(index_xml(images)))  # type: ignore[operator]
    with pytest.raises(PlateError, match=said) as caught:
        describe(folder)
    assert "\n" not in str(caught.value)
    assert "Index.idx.xml" in str(caught.value)


def test_an_index_without_a_single_file_is_refused(tmp_path: Path) -> None:
    images = shots()
    with pytest.raises(
        PlateError, match=r"none of the images that Index\.idx\.xml lists is there; copy them beside it"
    ):
        describe(make_harmony(tmp_path, images, without=[shot.file for shot in images]))


def test_two_measurements_in_one_folder_are_not_one_plate(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_harmony(tmp_path / name, shots())
    with pytest.raises(PlateError, match=r"subfolders are: one, two \(Harmony export"):
        describe(tmp_path)
    with pytest.raises(PlateError, match=r"no Index\.idx\.xml or Index\.xml or Index\.ref\.xml of one Harmony export"):
        describe(tmp_path, format="harmony")


def test_another_xml_of_that_name_is_not_taken_for_an_index(tmp_path: Path) -> None:
    (tmp_path / "Index.xml").write_text("<html/>")
    with pytest.raises(PlateError, match="not recognised as a raw plate"):
        describe(tmp_path)


# ------------------------------------------------------------------------------------------------ size, simulator


def test_a_long_index_is_read_in_pieces(tmp_path: Path) -> None:
    """Memory follows the description, not the file: elements are 20 times as long here, and nothing more is held."""
    images = shots(fields=9, planes=4, channels=3, wells=4)
    peaks = {}
    for name, padding in (("short", ""), ("long", f"<Comment>{'x' * 20_000}</Comment>")):
        index = index_xml(images).replace("</Image>", f"{padding}</Image>")
        folder = make_harmony(tmp_path / name, images, index=index)
        tracemalloc.start()
        assert sum(len(fields) for fields in describe(folder, z=1).wells.values()) == 36
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (tmp_path / "long" / "Index.idx.xml").stat().st_size > 8_600_000
    assert peaks["long"] < peaks["short"] + 4_000_000


def paths_of(root: Element) -> dict[str, tuple[str, ...]]:
    """Path of every kind of element, with the names of its attributes."""
    found: dict[str, tuple[str, ...]] = {}

    def walk(element: Element, above: str) -> None:
        path = f"{above}/{element.tag.rpartition('}')[2]}"
        found.setdefault(path, tuple(sorted(element.attrib)))
        for child in element:
            walk(child, path)

    walk(root, "")
    return found


def test_the_simulated_export_is_built_like_a_real_one(real_data: Path, tmp_path: Path) -> None:
    out = simulate_plate(
        tmp_path / "op", PlateSettings(n_wells=1, n_fields=2, size_px=64, format="operetta", name="op")
    )
    ours = parse(out / "Images" / "Index.idx.xml").getroot()
    real = parse(real_data / "operetta" / "operetta_plate" / "Images" / "Index.idx.xml").getroot()
    assert paths_of(ours) == paths_of(real)
    assert (ours.tag, ours.attrib) == (real.tag, real.attrib)
    space = ours.tag.removesuffix("EvaluationInputData")
    mine, theirs = (next(root.iter(f"{space}Images"))[0] for root in (ours, real))
    assert [child.tag for child in mine] == [child.tag for child in theirs]
    assert [child.attrib for child in mine] == [child.attrib for child in theirs]
    name = re.compile(r"r[0-9]{2}c[0-9]{2}f[0-9]{2}p01-ch[0-9]sk1fk1fl1\.tiff")
    for child in (mine, theirs):
        assert name.fullmatch(child.findtext(f"{space}URL") or "")
    begins = [
        (folder / "Images" / "Index.idx.xml").read_bytes()[:150]
        for folder in (out, real_data / "operetta/operetta_plate")
    ]
    assert begins[0] == begins[1]


def test_a_simulated_export_comes_back_as_it_was_made(tmp_path: Path) -> None:
    settings = PlateSettings(
        n_wells=3, n_fields=2, size_px=80, pixel_size_um=0.07, seed=5, format="operetta", name="a & <b>"
    )
    plate = describe(simulate_plate(tmp_path / "op", settings))
    assert (plate.name, plate.format, plate.pixel_size_um, plate.shape) == ("a & <b>", "harmony", 0.07, (80, 80))
    assert plate.channels == ("nucleus", "lysosome", "cargo")
    assert (plate.n_rows, plate.n_columns, problems(plate)) == (8, 12, [])
    wells = plate_wells(3)[0]
    assert Counter({well: len(fields) for well, fields in plate.wells.items()}) == {well.well: 2 for well in wells}
    for well in wells:
        for index in range(2):
            for label, expected in zip(plate.channels, simulate_field(settings, well, index).image, strict=True):
                (plane,) = plate.wells[well.well][index].planes[label].values()
                np.testing.assert_array_equal(read_plane(plane), expected)
                with tifffile.TiffFile(plane.path) as tif:
                    assert tif.pages.first.compression.name == "LZW"
