"""The generic reader: names by pattern, channels and planes by the files' metadata."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.raw import RawPlate, describe, read_plane
from lysoquant.io.raw.names import natural_key, normal_row, normal_well, plate_format, unique_labels

PATTERN = r"(?P<well>[A-Za-z]+-?\d+)_f(?P<field>\d+)_(?P<channel>\w+)\.tif"


def make_files(folder: Path, names: Sequence[str]) -> Path:
    """One-plane files, each filled with its number in `names`."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / name, np.full((6, 8), number, np.uint16), metadata=None)
    return folder


def make_stack(path: Path, axes: str, lengths: Mapping[str, int], **metadata: object) -> np.ndarray:
    """An OME-TIFF whose planes each hold their own number."""
    shape = tuple(lengths[axis] for axis in axes[:-2])
    stack = np.broadcast_to(np.arange(np.prod(shape), dtype=np.uint16).reshape(*shape, 1, 1), (*shape, 6, 8))
    tifffile.imwrite(path, np.ascontiguousarray(stack), metadata={"axes": axes, **metadata}, photometric="minisblack")
    return stack


def value(plate: RawPlate, well: str, field: int, channel: str) -> int:
    """The number that a plane is filled with."""
    (plane,) = plate.wells[well][field].planes[channel].values()
    pixels = read_plane(plane)
    assert (pixels == pixels[0, 0]).all()
    return int(pixels[0, 0])


def noted(plate: RawPlate, words: str) -> str:
    notes = [note for note in plate.notes if words in note]
    assert len(notes) == 1, plate.notes
    return notes[0]


def problems(plate: RawPlate) -> list[str]:
    return [problem for fields in plate.wells.values() for field in fields for problem in field.problems]


# ------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B03", "B03"),
        ("b3", "B03"),
        ("B3", "B03"),
        ("B-03", "B03"),
        ("B_3", "B03"),
        ("b003", "B03"),
        ("af48", "AF48"),
        ("AG1", None),
        ("A0", None),
        ("A49", None),
        ("A123", None),
        ("3B", None),
        ("", None),
        ("B\N{ARABIC-INDIC DIGIT THREE}", None),
    ],
)
def test_wells_are_normalised_or_refused(text: str, expected: str | None) -> None:
    assert normal_well(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", "A"), ("02", "B"), ("27", "AA"), ("32", "AF"), ("33", None), ("0", None), ("b", "B"), ("", None)],
)
def test_rows_are_letters_or_numbers(text: str, expected: str | None) -> None:
    assert normal_row(text) == expected


@pytest.mark.parametrize(
    ("well", "size"),
    [
        ("A01", (2, 3)),
        ("C04", (3, 4)),
        ("D06", (4, 6)),
        ("F08", (6, 8)),
        ("A09", (8, 12)),
        ("I01", (16, 24)),
        ("AF48", (32, 48)),
    ],
)
def test_the_smallest_standard_plate_that_holds_the_wells(well: str, size: tuple[int, int]) -> None:
    assert plate_format([well]) == size


def test_natural_order_and_unique_labels() -> None:
    assert sorted(["f10", "f2", "F1", "f02"], key=natural_key) == ["F1", "f02", "f2", "f10"]
    notes: list[str] = []
    assert unique_labels(["a", "a", "a", "a (2)"], notes) == ["a", "a (3)", "a (4)", "a (2)"]
    assert len(notes) == 2


# ------------------------------------------------------------------------------------------------ files by pattern


def test_wells_fields_and_channels_by_pattern_in_natural_order(tmp_path: Path) -> None:
    names = [f"{w}_f{f}_{c}.tif" for w in ("c10", "B2") for f in (10, 2) for c in ("GFP", "DAPI")]
    plate = describe(make_files(tmp_path / "my plate", names), pattern=PATTERN)
    assert (plate.name, plate.format) == ("my plate", "tiff")
    assert (list(plate.wells), plate.channels) == (["B02", "C10"], ("DAPI", "GFP"))
    assert [field.name for field in plate.wells["B02"]] == ["2", "10"]
    assert (plate.n_rows, plate.n_columns, plate.shape, plate.pixel_size_um) == (8, 12, (6, 8), None)
    assert value(plate, "B02", 1, "GFP") == names.index("B2_f10_GFP.tif")
    assert value(plate, "C10", 0, "DAPI") == names.index("c10_f2_DAPI.tif")
    assert (problems(plate), plate.notes) == ([], ())


def test_rows_and_columns_by_number_and_the_folder_as_part_of_the_name(tmp_path: Path) -> None:
    names = ["r02c03/f01.tiff", "r02c03/f02.tiff", "r16c24/f01.tiff", "r16c24/f02.tiff"]
    plate = describe(make_files(tmp_path, names), pattern=r"r(?P<row>\d+)c(?P<column>\d+)/f(?P<field>\d+)")
    assert (list(plate.wells), plate.n_rows, plate.n_columns) == (["B03", "P24"], 16, 24)
    assert plate.channels == ("channel_1",)
    assert noted(plate, "1 channel without a name")
    assert value(plate, "P24", 1, "channel_1") == 3


def test_what_the_pattern_does_not_place_is_counted_with_an_example(tmp_path: Path) -> None:
    names = ["B2_f1_GFP.tif", "overview.tif", "thumbs/small.tif", "B77_f1_GFP.tif"]
    plate = describe(make_files(tmp_path, names), pattern=PATTERN)
    assert noted(plate, "not matched").startswith("2 images")
    assert "overview.tif" in noted(plate, "not matched")
    assert "B77_f1_GFP.tif" in noted(plate, "none from A01 to AF48")
    assert list(plate.wells) == ["B02"]


def test_without_a_group_for_the_well_all_is_one_well(tmp_path: Path) -> None:
    plate = describe(make_files(tmp_path, ["f1.tif", "f2.tif"]), pattern=r"f(?P<field>\d)")
    assert [field.name for field in plate.wells["A01"]] == ["1", "2"]
    assert noted(plate, "taken as well A01")


def test_fewer_fields_are_a_note_and_a_missing_channel_a_problem(tmp_path: Path) -> None:
    names = ["B2_f1_GFP.tif", "B2_f1_DAPI.tif", "B2_f2_GFP.tif", "C2_f1_GFP.tif", "C2_f1_DAPI.tif"]
    plate = describe(make_files(tmp_path, names), pattern=PATTERN)
    assert noted(plate, "fewer than 2 fields: C02 (1)")
    assert problems(plate) == ["well B02 field 2: no image of channel 'DAPI'; copy or export it again"]
    assert list(plate.wells["B02"][1].planes) == ["GFP"]


def test_two_files_for_one_plane_are_a_problem_that_names_both(tmp_path: Path) -> None:
    plate = describe(make_files(tmp_path, ["B2_f1_GFP.tif", "copy/B02_f1_GFP.tif", "C2_f1_GFP.tif"]), pattern=PATTERN)
    (problem,) = problems(plate)
    assert problem.startswith("well B02 field 1: 2 images of one channel: B2_f1_GFP.tif and copy/B02_f1_GFP.tif; keep")


def test_planes_and_time_points_by_name_are_counted_from_one_in_order(tmp_path: Path) -> None:
    names = [f"B2_t{t}_z{z:02d}.tif" for t in (5, 9) for z in (0, 4, 10)]
    folder = make_files(tmp_path, names)
    pattern = r"(?P<well>[A-Z]\d+)_t(?P<time>\d)_z(?P<z>\d+)"
    with pytest.raises(PlateError, match=r"has Z planes 1 to 3 and no projection.*`convert\.z`.* sharpest"):
        describe(folder, pattern=pattern)
    plate = describe(folder, pattern=pattern, z=2, timepoint=2)
    assert value(plate, "B02", 0, "channel_1") == names.index("B2_t9_z04.tif")
    assert noted(plate, "Z planes are counted from 1 in the order of their names: 00, 04, 10")
    assert noted(plate, "time points are counted from 1 in the order of their names: 5, 9")
    assert noted(plate, "Z planes 1 to 3: Z plane 2 is read")
    assert noted(plate, "2 time points: only time point 2")
    with pytest.raises(PlateError, match=r"Z plane 4: the plate has Z planes 1 to 3"):
        describe(folder, pattern=pattern, z=4)
    with pytest.raises(PlateError, match=r"time point 3: the plate has 1, 2; set `convert\.timepoint`"):
        describe(folder, pattern=pattern, z=1, timepoint=3)


def test_a_single_plane_needs_no_setting_and_has_no_second(tmp_path: Path) -> None:
    folder = make_files(tmp_path, ["B2_f1_GFP.tif"])
    assert value(describe(folder, pattern=PATTERN, z=1), "B02", 0, "GFP") == 0
    with pytest.raises(PlateError, match=r"Z plane 2: the plate has Z plane 1; set `convert\.z`"):
        describe(folder, pattern=PATTERN, z=2)
    with pytest.raises(PlateError, match=r"time point 2: the plate has 1; set `convert\.timepoint`"):
        describe(folder, pattern=PATTERN, timepoint=2)


def test_channels_by_name_can_be_renamed_in_order(tmp_path: Path) -> None:
    folder = make_files(tmp_path, ["B2_f1_w10.tif", "B2_f1_w9.tif"])
    plate = describe(folder, pattern=PATTERN, channel_names=["LAMP1", "SEC62"])
    assert plate.channels == ("LAMP1", "SEC62")
    assert value(plate, "B02", 0, "LAMP1") == 1
    assert noted(plate, "'w9' is 'LAMP1', 'w10' is 'SEC62'")
    for wrong in (["a"], ["a", "a"], ["a", " "]):
        with pytest.raises(PlateError, match="expected 2 names"):
            describe(folder, pattern=PATTERN, channel_names=wrong)


def test_the_same_description_whatever_the_order_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_files(tmp_path, [f"d{d}/{w}_f{f}_GFP.tif" for d in (1, 2) for w in ("B2", "B10") for f in (1, 2)])
    first = describe(folder, pattern=PATTERN)
    scandir = os.scandir

    class Backwards:
        def __init__(self, path: Path) -> None:
            with scandir(path) as entries:
                self._entries = list(entries)[::-1]

        def __enter__(self) -> list[os.DirEntry[str]]:
            return self._entries

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Backwards)
    again = describe(folder, pattern=PATTERN)
    assert again == first
    assert list(again.wells) == list(first.wells)


def test_linked_folders_are_not_followed_and_that_is_said(tmp_path: Path) -> None:
    folder = make_files(tmp_path / "plate", ["B2_f1_GFP.tif"])
    (folder / "loop").symlink_to(folder)
    plate = describe(folder, pattern=PATTERN)
    assert noted(plate, "1 linked folder not followed: loop")
    assert problems(plate) == []


def test_where_only_linked_folders_lie_the_refusal_says_that_they_are_not_followed(tmp_path: Path) -> None:
    folder = make_files(tmp_path / "plate", ["B2_f1_GFP.tif"])
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "day 1").symlink_to(folder)
    with pytest.raises(
        PlateError, match=r"\(no files, 0 folders; linked folders, which are not followed: day 1\); give"
    ):
        describe(tmp_path / "links", pattern=PATTERN)


def test_names_that_are_no_text_reach_messages_as_text(tmp_path: Path) -> None:
    folder = make_files(tmp_path, ["B2_f1_GFP.tif"])
    os.link(os.fsencode(folder / "B2_f1_GFP.tif"), os.fsencode(folder) + b"/odd\xff\nname.tif")
    note = noted(describe(folder, pattern=PATTERN), "not named in UTF-8")
    assert "odd??name.tif" in note
    assert note.encode()


def test_listing_opens_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_files(tmp_path, [f"{w}_f{f}_GFP.tif" for w in ("B2", "B3") for f in range(4)])
    opened = []
    tiff_file = tifffile.TiffFile

    def count_open(path: Path, **settings: object) -> tifffile.TiffFile:
        opened.append(Path(path).name)
        return tiff_file(path, **settings)

    monkeypatch.setattr(tifffile, "TiffFile", count_open)
    describe(folder, pattern=PATTERN, format="tiff")
    assert opened == ["B2_f0_GFP.tif"]
    describe(folder, pattern=PATTERN)  # one more, to see whether it tells of a plate
    assert opened == ["B2_f0_GFP.tif"] * 3


def test_damaged_files_do_not_hide_the_others(tmp_path: Path) -> None:
    folder = make_files(tmp_path, ["B2_f1_GFP.tif", "B2_f2_GFP.tif"])
    (folder / "B2_f1_GFP.tif").write_bytes(b"II*\0")
    plate = describe(folder, pattern=PATTERN)
    with pytest.raises(FieldError, match=r"B2_f1_GFP\.tif"):
        value(plate, "B02", 0, "GFP")
    assert value(plate, "B02", 1, "GFP") == 1
    (folder / "B2_f2_GFP.tif").write_bytes(b"")
    with pytest.raises(PlateError, match=r"none of the images can be read; the first: .*B2_f1_GFP\.tif"):
        describe(folder, pattern=PATTERN)


# ------------------------------------------------------------------------------------------------ patterns


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?P<well>[A-Z", "is not a regular expression .*; give one such as"),
        ("(?P<well>a{99999999999})", "is not a regular expression"),
        (r"[A-Z]\d+", "has no named group; expected"),
        (r"(?P<wel>[A-Z]\d+)", "has the unknown group 'wel'"),
        (r"(?P<row>[A-Z])", "both row and column"),
        (r"(?P<well>..)(?P<row>.)(?P<column>.)", "either the group well, or both"),
        (r"(?P<well>(\w+)+)_x", "write .* instead"),
        (r"(?P<well>(?:a*){2,})", "write .* instead"),
        (r"(?P<well>nowhere\d)", "places no image .*1 image not matched by the pattern passed over: B2_f1_GFP.tif"),
        (r"f(?P<well>\d)", "places no image .*1 image passed over whose well is none"),
        ("(?P<well>x)" + "y" * 600, "expected at most 500"),
    ],
)
def test_a_useless_pattern_is_refused_with_the_way_out(tmp_path: Path, pattern: str, message: str) -> None:
    with pytest.raises(PlateError, match=message) as raised:
        describe(make_files(tmp_path, ["B2_f1_GFP.tif"]), pattern=pattern)
    assert "\n" not in str(raised.value)


def test_a_pattern_that_backtracks_is_stopped_by_the_length_of_names(tmp_path: Path) -> None:
    deep = "/".join(["x" * 200] * 3) + "/B2_f1_GFP.tif"
    folder = make_files(tmp_path, ["B2_f1_GFP.tif", deep])
    started = time.perf_counter()
    plate = describe(folder, pattern=r"^(?P<well>[A-Z]\d+)_f(?P<field>\d+)|x*x*x*x*y")
    assert time.perf_counter() - started < 5
    assert noted(plate, "1 image not matched")


def test_pictures_without_a_pattern_ask_for_one(tmp_path: Path) -> None:
    folder = make_files(tmp_path / "plate", ["B2_f1_GFP.tif", "B2_f2_GFP.tif"])
    with pytest.raises(
        PlateError, match=r"2 TIFF files \(such as B2_f1_GFP\.tif\) without .* plate; set pattern in plates\.tsv"
    ):
        describe(folder)
    with pytest.raises(PlateError, match=r"set pattern in plates\.tsv"):
        describe(folder, format="tiff")


def test_a_folder_that_is_no_plate_says_what_was_seen(tmp_path: Path) -> None:
    for name in ("Index.idx.xml", "a.nd2", "b.nd2", "LICENSE"):
        (tmp_path / name).touch()
    (tmp_path / "inside").mkdir()
    with pytest.raises(
        PlateError, match=r"as a raw plate \(2 \.nd2, 1 \.xml, 1 no ending, 1 folder\); give .* MetaXpress"
    ):
        describe(tmp_path)
    with pytest.raises(PlateError, match=r"no files"):
        describe(tmp_path / "inside", pattern=PATTERN)
    with pytest.raises(PlateError, match="no such file or folder"):
        describe(tmp_path / "nowhere")
    with pytest.raises(PlateError, match=r"a\.nd2: not recognised as a raw plate; give one of: MetaXpress"):
        describe(tmp_path / "a.nd2")
    with pytest.raises(PlateError, match="format 'xyz' is not known; expected one of imagexpress, "):
        describe(tmp_path, format="xyz")


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PlateError, match=r"can't be read \(Permission denied\)"):
        describe(tmp_path)


# ------------------------------------------------------------------------------------------------ files with axes


def test_channels_of_a_file_carry_its_own_names(tmp_path: Path) -> None:
    names = {"Channel": {"Name": ["Hoechst", "LAMP1", "SEC62"]}, "PhysicalSizeX": 0.088, "PhysicalSizeY": 0.088}
    make_stack(tmp_path / "my.ome.tif", "CYX", {"C": 3}, **names)
    plate = describe(tmp_path / "my.ome.tif")
    assert (plate.name, plate.channels) == ("my", ("Hoechst", "LAMP1", "SEC62"))
    assert plate.pixel_size_um == pytest.approx(0.088)
    assert (plate.n_rows, plate.n_columns) == (2, 3)
    assert [value(plate, "A01", 0, channel) for channel in plate.channels] == [0, 1, 2]
    assert plate.notes == ("nothing names a well: all images are taken as well A01",)
    given = describe(tmp_path, channel_names=["a", "b", "c"])
    assert given.channels == ("a", "b", "c")
    with pytest.raises(PlateError, match="expected 3 names"):
        describe(tmp_path, channel_names=["a", "b"])


@pytest.mark.parametrize("names", [{}, {"Channel": {"Name": ["LAMP1", ""]}}])
def test_channels_without_names_are_numbered_and_that_is_said(tmp_path: Path, names: dict[str, object]) -> None:
    make_stack(tmp_path / "B3.ome.tif", "CYX", {"C": 2}, **names)
    plate = describe(tmp_path, pattern=r"(?P<well>B3)")
    assert plate.channels == ("channel_1", "channel_2")
    assert noted(plate, "2 channels without a name")


def test_channel_names_that_repeat_are_told_apart(tmp_path: Path) -> None:
    make_stack(tmp_path / "a.ome.tif", "CYX", {"C": 2}, Channel={"Name": ["GFP", "GFP"]})
    assert describe(tmp_path / "a.ome.tif").channels == ("GFP", "GFP (2)")


def test_imagej_labels_name_channels_only_where_channels_are_all_there_is(tmp_path: Path) -> None:
    flat, deep = tmp_path / "flat.tif", tmp_path / "deep.tif"
    labels = {"axes": "CYX", "Labels": ["LAMP1", "SEC62"]}
    tifffile.imwrite(flat, np.zeros((2, 6, 8), np.uint16), imagej=True, metadata=labels)
    assert describe(flat).channels == ("LAMP1", "SEC62")
    labels = {"axes": "ZCYX", "Labels": [f"plane {number}" for number in range(4)]}
    tifffile.imwrite(deep, np.zeros((2, 2, 6, 8), np.uint16), imagej=True, metadata=labels)
    assert describe(deep, z=1).channels == ("channel_1", "channel_2")


@pytest.mark.parametrize("axes", ["TZCYX", "ZCYX", "CYX", "CZYX", "TCYX", "ZYX", "TYX"])
def test_the_plane_asked_for_is_read_whatever_the_axes(tmp_path: Path, axes: str) -> None:
    lengths = {"T": 2, "Z": 3, "C": 4}
    stack = make_stack(tmp_path / "a.ome.tif", axes, lengths)
    plate = describe(tmp_path / "a.ome.tif", z=2 if "Z" in axes else "projection", timepoint=2 if "T" in axes else 1)
    for channel, label in enumerate(plate.channels):
        index = tuple({"T": 1, "Z": 1, "C": channel}[axis] for axis in axes[:-2])
        assert value(plate, "A01", 0, label) == stack[index][0, 0]
    assert len(plate.channels) == (4 if "C" in axes else 1)


def test_a_stack_in_a_file_has_no_projection(tmp_path: Path) -> None:
    make_stack(tmp_path / "a.ome.tif", "ZCYX", {"Z": 3, "C": 2})
    with pytest.raises(
        PlateError, match=r"has Z planes 1 to 3 and no projection.*set `convert\.z` to one of the numbers"
    ):
        describe(tmp_path / "a.ome.tif")
    with pytest.raises(PlateError, match="Z plane 4: the plate has Z planes 1 to 3"):
        describe(tmp_path / "a.ome.tif", z=4)
    make_stack(tmp_path / "b.ome.tif", "TYX", {"T": 3})
    with pytest.raises(PlateError, match=r"time point 4: the plate has 1 to 3; set `convert"):
        describe(tmp_path / "b.ome.tif", timepoint=4)
    assert noted(describe(tmp_path / "b.ome.tif"), "3 time points: only time point 1")


@pytest.mark.parametrize(("group", "axes"), [("channel", "CYX"), ("z", "ZYX"), ("time", "TYX")])
def test_a_group_and_an_axis_for_the_same_thing_are_refused(tmp_path: Path, group: str, axes: str) -> None:
    make_stack(tmp_path / "B3_1.ome.tif", axes, {"C": 2, "Z": 2, "T": 2})
    with pytest.raises(PlateError, match=f"has a group {group}, but each file holds 2 planes"):
        describe(tmp_path, pattern=rf"(?P<well>B3)_(?P<{group}>\d)", z=1)


def test_pages_without_a_meaning_are_channels_only_if_named(tmp_path: Path) -> None:
    stack = np.arange(2, dtype=np.uint16).repeat(48).reshape(2, 6, 8)
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata=None, photometric="minisblack")
    with pytest.raises(PlateError, match=r"2 planes along an axis that their metadata do not name.* 2 channel names"):
        describe(tmp_path / "a.tif")
    plate = describe(tmp_path / "a.tif", channel_names=["LAMP1", "SEC62"])
    assert (value(plate, "A01", 0, "LAMP1"), value(plate, "A01", 0, "SEC62")) == (0, 1)


def test_a_file_unlike_the_first_is_a_bad_field(tmp_path: Path) -> None:
    make_stack(tmp_path / "B2.ome.tif", "CYX", {"C": 3})
    make_stack(tmp_path / "B3.ome.tif", "CYX", {"C": 2})
    plate = describe(tmp_path, pattern=r"(?P<well>B\d)")
    assert value(plate, "B02", 0, "channel_3") == 2
    with pytest.raises(FieldError, match=r"B3\.ome\.tif: has no plane \(2,\): it holds 2 C"):
        value(plate, "B03", 0, "channel_3")


def test_further_images_in_a_file_are_said(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(np.zeros((6, 8), np.uint16), metadata=None)
        tif.write(np.zeros((4, 4), np.uint8), metadata=None)
    assert noted(describe(tmp_path / "a.tif"), "1 further image")


def test_one_file_by_the_wrong_format_or_rgb(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(PlateError, match="expected the folder of a MetaXpress plate"):
        describe(tmp_path / "a.tif", format="imagexpress")
    with pytest.raises(PlateError, match="RGB"):
        describe(tmp_path / "a.tif")


def test_hela_lysosomes_as_a_plate_of_one_well(real_data: Path) -> None:
    path = real_data / "hela_lysosomes" / "xyc_16bit__hela-cells.tif"
    plate = describe(path)
    assert plate.channels == ("channel_1", "channel_2", "channel_3")
    assert (plate.shape, list(plate.wells), len(plate.wells["A01"])) == ((512, 672), ["A01"], 1)
    assert plate.pixel_size_um == pytest.approx(1e6 / 19420064)
    named = describe(path, channel_names=["lysosomes", "mitochondria", "nuclei"])
    samples = tifffile.imread(path)
    assert samples.shape == (512, 672, 3)
    for number, channel in enumerate(named.channels):
        np.testing.assert_array_equal(read_plane(named.wells["A01"][0].planes[channel][1]), samples[..., number])


def test_real_operetta_files_by_pattern(real_data: Path) -> None:
    pattern = r"r(?P<row>\d+)c(?P<column>\d+)f(?P<field>\d+)p(?P<z>\d+)-ch(?P<channel>\d+)"
    plate = describe(real_data / "operetta", pattern=pattern)
    assert (list(plate.wells), plate.channels) == (["C03"], ("1",))
    assert [field.name for field in plate.wells["C03"]] == ["01", "02"]
