"""plates.tsv and wells.tsv: what is read, what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from lysoquant.aggregate.wells import COLUMNS
from lysoquant.config import PlateSource, WellRow, normalise_well, read_plates, read_wells
from lysoquant.errors import ConfigError
from lysoquant.vocabulary import WELL_NAME

PLATES_HEADER = "plate\tpath\tformat\tpattern\tpixel_size_um\tchannel_names\n"


def plates(folder: Path, text: str | bytes) -> dict[str, PlateSource]:
    path = folder / "plates.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_plates(path, project=folder)


def wells(folder: Path, text: str | bytes, names: tuple[str, ...] = ("p1", "p2")) -> tuple[WellRow, ...]:
    path = folder / "wells.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_wells(path, plates=names)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("b3", "B03"),
        ("B3", "B03"),
        ("B03", "B03"),
        ("B003", "B03"),
        (" h12 ", "H12"),
        ("P24", "P24"),
        ("aF48", "AF48"),
        ("B0", None),
        ("B49", None),
        ("AG1", None),
        ("BA1", None),
        ("3B", None),
        ("B", None),
        ("", None),
        ("B-3", None),
        ("B٣", None),
        ("B3\n4", None),
        ("B03.", None),
    ],
)
def test_wells_are_named_as_people_write_them(text: str, name: str | None) -> None:
    assert normalise_well(text) == name
    assert name is None or WELL_NAME.fullmatch(name)


def test_plates_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    rows = "p2\traw/b\ttiff\t(?P<well>.*)\t0.08\ta;b\n# p0\tx\ttiff\np1\t/data/$(touch HACKED)\timagexpress\n"
    found = plates(tmp_path, PLATES_HEADER + rows)
    assert list(found) == ["p1", "p2"]
    assert found["p1"] == PlateSource(plate="p1", path="/data/$(touch HACKED)", format="imagexpress")
    assert (found["p2"].pattern, found["p2"].pixel_size_um, found["p2"].channel_names) == ("(?P<well>.*)", 0.08, "a;b")
    assert not (tmp_path / "HACKED").exists()


def test_bom_crlf_blank_lines_and_comments_do_no_harm(tmp_path: Path) -> None:
    text = "\ufeff# a note\r\nplate\tpath\tformat\t\r\n\r\n\t\t\r\np1\tx\timagexpress\r\n"
    assert list(plates(tmp_path, text)) == ["p1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plate\tpath\tformt\np1\tx\ttiff\n", "plates.tsv:1: no column 'format'; found plate, path, formt"),
        (
            "plate\tpath\tformat\tpixel_size\np1\tx\ttiff\t1\n",
            "1: unknown column 'pixel_size' (did you mean 'pixel_size_um'?)",
        ),
        ("plate\tpath\tformat\tpath\np1\tx\ttiff\tx\n", "plates.tsv:1: column 'path' occurs twice"),
        ("plate\t\tpath\tformat\np1\t\tx\ttiff\n", "plates.tsv:1: column 2 has no name"),
        ("", "plates.tsv: the sheet is empty"),
        (PLATES_HEADER, "plates.tsv: no plates"),
        (PLATES_HEADER + "p1\tx\txyz\n", "plates.tsv:2: format 'xyz': input should be 'imagexpress', "),
        (PLATES_HEADER + "p1\t\ttiff\n", "plates.tsv:2: path is empty"),
        (PLATES_HEADER + "p1\tx\ttiff\t(\n", "plates.tsv:2: pattern '(': expected a regular expression"),
        (PLATES_HEADER + "p1\tx\timagexpress\tx\n", "2: pattern 'x': expected an empty cell for format 'imagexpress'"),
        (PLATES_HEADER + "p1\tx\ttiff\t\t0,1\n", "2: pixel_size_um '0,1': expected a number above 0 with a decimal"),
        (PLATES_HEADER + "p1\tx\ttiff\t\tinf\n", "pixel_size_um 'inf'"),
        (PLATES_HEADER + "p1\tx\ttiff\t\t-1\n", "pixel_size_um '-1'"),
        (PLATES_HEADER + "p1\tx\ttiff\t\t1\ta\tb\n", "plates.tsv:2: 7 cells under 6 columns"),
        (PLATES_HEADER + "p1\tx\ttiff\nP1\ty\ttiff\n", "plates.tsv:3: plate 'P1' is already on line 2"),
        (PLATES_HEADER + "p1\tx\ttiff\np2\t./x/../x\ttiff\n", "3: path './x/../x' is already that of plate 'p1'"),
        (
            PLATES_HEADER + 'p1\t"x\ttiff\np2\ty\ttiff\n',
            "2: unexpected end of data; expected cells whose quotes are closed",
        ),
        (PLATES_HEADER + "p1\tx\x07\ttiff\n", "plates.tsv:2: a control character"),
        (b"plate\tpath\xff", "plates.tsv: byte 10 is not UTF-8"),
    ],
)
def test_a_wrong_plates_sheet_is_refused_in_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plates(tmp_path, text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../p",
        "a..b",
        "a/b",
        "$(reboot)",
        "a b",
        "-rf",
        ".hidden",
        "a" * 101,
        "ä",
        "a;b",
        "<b>x</b>",
        "tables",
        "Report",
        "records",
        "a\u202eb",
    ],
)
def test_a_plate_name_is_a_safe_folder_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"plates.tsv:2: plate .*rename the plate"):
        plates(tmp_path, PLATES_HEADER + f"{name}\tx\ttiff\n")


def test_an_absent_sheet_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^plates.tsv: No such file"):
        read_plates(tmp_path / "plates.tsv", project=tmp_path)


def test_wells_are_read_with_whatever_else_the_sheet_holds(tmp_path: Path) -> None:
    text = (
        "plate\twell\tcondition\treplicate\tcontrol\tDose\n"
        "p1\tb3\t wild type \t01\tnegative\t5 nM\np2\tA01\t\t\t\t\np1\tA1\tko\t2.0\n"
    )
    assert wells(tmp_path, text) == (
        WellRow(
            plate="p1", well="B03", condition="wild type", replicate="1", control="negative", extra={"Dose": "5 nM"}
        ),
        WellRow(plate="p2", well="A01", extra={"Dose": ""}),
        WellRow(plate="p1", well="A01", condition="ko", replicate="2", extra={"Dose": ""}),
    )


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_plate_map_may_have_commas_and_no_plate(tmp_path: Path, separator: str) -> None:
    text = "\ufeffWell,Condition,control\r\nB3,wt,negative\r\n,,\r\n".replace(",", separator)
    assert wells(tmp_path, text, ("only",)) == (WellRow(plate="only", well="B03", condition="wt", control="negative"),)


def test_text_of_a_condition_is_only_text(tmp_path: Path) -> None:
    hostile = [
        "<script>alert(1)</script>",
        "$(reboot)",
        "'; DROP TABLE wells; --",
        "=cmd|' /C calc'!A0",
        "../../etc",
        "{plate}",
    ]
    text = "well\tcondition\n" + "".join(f"A{i}\t{words}\n" for i, words in enumerate(hostile, start=1))
    assert [row.condition for row in wells(tmp_path, text, ("p",))] == hostile


def test_one_condition_in_two_unicode_forms_is_one(tmp_path: Path) -> None:
    rows = wells(tmp_path, "well\tcondition\nA1\tcaf\u00e9\nA2\tcafe\u0301\n", ("p",))
    assert rows[0].condition == rows[1].condition == "caf\u00e9"


def test_an_equal_row_twice_is_one_row(tmp_path: Path) -> None:
    assert len(wells(tmp_path, "plate\twell\tcondition\np1\tB3\twt\np1\tB03\twt\n")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plate\tcondition\np1\twt\n", "wells.tsv:1: no column 'well'; found plate, condition"),
        ("well\nB3\n", "wells.tsv:1: no column 'plate'"),
        ("plate\twell\np3\tB3\n", "wells.tsv:2: plate 'p3': expected one of 'p1', 'p2'"),
        ("plate\twell\np1\tQ99\n", "wells.tsv:2: well 'Q99': expected a well such as B03 (rows A to AF"),
        ("plate\twell\np1\t\n", "wells.tsv:2: well ''"),
        (
            "plate\twell\tcontrol\np1\tB3\tNegative\n",
            "wells.tsv:2: control 'Negative': expected 'negative', 'positive' or",
        ),
        ("plate\twell\treplicate\np1\tB3\ttwo\n", "wells.tsv:2: replicate 'two': expected a whole number from 1"),
        ("plate\twell\treplicate\np1\tB3\t0\n", "replicate '0'"),
        ("plate\twell\tcondition\np1\tB3\ta\n# x\np1\tb03\tb\n", "wells.tsv:4: plate p1 well B03 is already on line 2"),
        (
            "plate\twell\tcondition\tcontrol\np1\tB3\ta\tnegative\np2\tB4\ta\tpositive\n",
            "wells.tsv:3: condition 'a' is the positive control here and the negative control on line 2",
        ),
        ("plate\twell\trow\np1\tB3\tB\n", "wells.tsv:1: column 'row' is one of the result tables' own"),
        ("plate\twell\toccupancy_pooled\np1\tB3\t1\n", "column 'occupancy_pooled'"),
        ("plate\twell\tlumen_mean_x\np1\tB3\t1\n", "column 'lumen_mean_x'"),
        ("plate\twell\tnote\np1\tB3\t" + "x" * 5000 + "\n", "wells.tsv:2: a cell of more than 4096 characters"),
    ],
)
def test_a_wrong_wells_sheet_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        wells(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/wells.tsv:")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - {"plate", "well", "condition", "replicate", "control"}))
def test_no_column_of_the_well_table_can_be_a_column_of_the_sheet(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"column '{name}' is one of the result tables' own"):
        wells(tmp_path, f"plate\twell\t{name}\np1\tB3\t1\n")
