"""CellVoyager measurements: a real one, and generated ones with one fault each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import pytest
from index_files import DYES, image_name, make_cellvoyager, mes, mrf, record, write_image

from lysoquant.errors import PlateError
from lysoquant.io.raw import Acquisition, RawPlate, describe, read_plane
from lysoquant.io.raw.cellvoyager import describe_cellvoyager
from lysoquant.io.raw.reader import Options, look_at

B03, B04, C01 = (2, 3), (2, 4), (3, 1)


def acquire(folder: Path) -> Acquisition:
    return describe_cellvoyager(look_at(folder), Options())


def images(
    wells: Sequence[tuple[int, int]] = (B03, B04),
    *,
    fields: int = 2,
    planes: int = 1,
    times: Sequence[int] = (1,),
    line: int = 1,
) -> list[str]:
    every = product(wells, times, range(1, fields + 1), (1, 2), range(1, planes + 1))
    return [record(well, field=f, channel=c, z=z, time=t, line=line) for well, t, f, c, z in every]


def problems(plate: RawPlate) -> list[str]:
    return [problem for fields in plate.wells.values() for field in fields for problem in field.problems]


def noted(plate: RawPlate | Acquisition, words: str) -> str:
    """The one note with these words."""
    notes = [note for note in plate.notes if words in note]
    assert len(notes) == 1, plate.notes
    return notes[0]


# ------------------------------------------------------------------------------------------------ the real one


def test_the_real_measurement_record_by_record(real_data: Path) -> None:
    (outer,) = (path for path in (real_data / "yokogawa_cv8000").iterdir() if path.is_dir())
    (folder,) = (path for path in outer.iterdir() if path.is_dir())
    plate = acquire(outer)
    assert (plate.name, plate.format) == (folder.name, "cellvoyager")
    assert (plate.channels, plate.n_rows, plate.n_columns) == (("405", "488"), 8, 12)
    assert (plate.pixel_size_um, plate.shape, plate.stacks_vary) == (0.325, (2000, 2000), False)
    listed = re.findall(
        r'Column="(\d+)" bts:Row="(\d+)" bts:TimePoint="(\d+)" bts:FieldIndex="(\d+)" bts:ZIndex="(\d+)"'
        r'.*? bts:Ch="(\d+)">([^<]+)<',
        (folder / "MeasurementData.mlf").read_text(),
    )
    assert len(listed) == 96
    found = 0
    for *numbers, file in listed:
        column, row, time, field, z, channel = map(int, numbers)
        position = plate.wells[f"{'ABCDEFGH'[row - 1]}{column:02d}"][field - 1]
        assert position.name == f"F{field:03d}"
        assert position.planes[plate.channels[channel - 1]][time, z].path == folder / file
        found += 1
    positions = [position for well in plate.wells.values() for position in well]
    assert sum(len(planes) for position in positions for planes in position.planes.values()) == found
    assert list(plate.wells) == ["D08", "E03", "F08"]
    assert [(position.problems, dict(position.faults)) for position in positions] == [((), {})] * 12
    assert noted(plate, "shading").startswith("6 images for shading correction")
    assert noted(plate, "Target") == "channels are called by their Target in Minimal-3C3W2S-FP2-stack.mes"
    assert not [note for note in plate.notes if "not in Measurement" in note]
    assert read_plane(positions[0].planes["405"][1, 1]).max() == 0


def test_the_real_measurement_asks_for_a_plane_of_its_stacks(real_data: Path) -> None:
    (outer,) = (path for path in (real_data / "yokogawa_cv8000").iterdir() if path.is_dir())
    with pytest.raises(PlateError, match="channel '405' has Z planes 1 to 4 and no projection of the instrument"):
        describe(outer)
    plate = describe(outer, z="max")
    assert plate.seen == f"{Path(plate.name)}/MeasurementData.mlf, a CellVoyager's list of images"
    assert plate.z_planes == (1, 2, 3, 4)
    assert list(plate.wells["D08"][0].planes["488"]) == [1, 2, 3, 4]
    assert problems(plate) == []


# ------------------------------------------------------------------------------------------------ what is read


def test_every_plane_of_every_time_point_by_channel(tmp_path: Path) -> None:
    records = images(planes=2, times=(1, 2))
    plate = acquire(make_cellvoyager(tmp_path, records))
    assert (plate.name, plate.channels, plate.n_rows, plate.n_columns) == ("plate 7", ("405", "488"), 16, 24)
    assert plate.pixel_size_um == 0.1
    every = product(("B03", "B04"), (1, 2), (1, 2), ("405", "488"), (1, 2))
    for number, (well, time, field, label, z) in enumerate(every, start=1):
        assert int(read_plane(plate.wells[well][field - 1].planes[label][time, z]).max()) == number
    assert number == len(records) == 32
    assert noted(plate, "measured by") == "measured by CV7000 R1"


@pytest.mark.parametrize(
    ("said", "labels"),
    [
        (
            {1: {"Target": "405", "Fluorophore": "Hoechst"}, 2: {"Target": "488", "Fluorophore": "GFP"}},
            ("Hoechst", "GFP"),
        ),
        ({1: {"Target": " DNA "}, 2: {"Target": "ER", "Fluorophore": "GFP"}}, ("DNA", "ER")),
        (
            {1: {"Target": "4", "Acquisition": "BP445/45"}, 2: {"Target": "4", "Acquisition": "BP525/50"}},
            ("BP445/45", "BP525/50"),
        ),
        ({1: {"Target": "4"}, 2: {"Target": "4"}}, ("4", "4 (2)")),
        ({2: {"Target": "ER"}}, ("C01", "ER")),
        ({}, ("C01", "C02")),
    ],
    ids=["dyes", "targets", "filters", "equal", "one", "none"],
)
def test_channels_are_called_by_what_tells_them_apart(
    tmp_path: Path, said: Mapping[int, Mapping[str, str]], labels: tuple[str, ...]
) -> None:
    assert describe(make_cellvoyager(tmp_path, images(), mes_text=mes(said))).channels == labels


def test_a_setting_that_is_not_there_or_outside_is_a_note(tmp_path: Path) -> None:
    for name in ("gone.mes", "../S.mes"):
        folder = make_cellvoyager(tmp_path / "plate", images(), mrf_text=mrf({1: (0.1, 0.1)}, mes=name))
        (tmp_path / "S.mes").write_text(mes({1: {"Target": "out"}, 2: {"Target": "side"}}))
        plate = describe(folder)
        assert plate.channels == ("C01", "C02")
        assert noted(plate, "not in the folder").startswith(f"{name!r} is named in MeasurementDetail.mrf")


def test_a_list_without_its_detail_says_no_pixel_size(tmp_path: Path) -> None:
    folder = make_cellvoyager(tmp_path, images())
    (folder / "MeasurementDetail.mrf").unlink()
    plate = describe(folder)
    assert (plate.pixel_size_um, plate.channels, plate.n_rows) == (None, ("C01", "C02"), 3)
    assert noted(plate, "MeasurementDetail.mrf").startswith("no MeasurementDetail.mrf: pixel size")


def test_a_channel_that_was_not_imaged_is_not_there(tmp_path: Path) -> None:
    plate = describe(make_cellvoyager(tmp_path, images(), mes_text=mes({**DYES, 3: {"Target": "561"}})))
    assert plate.channels == ("405", "488")


def test_projections_are_kept_beside_the_planes(tmp_path: Path) -> None:
    records = images((B03,), fields=1, planes=2)
    records += [record(B03, channel=1, processing=kind) for kind in ("Sum", "Maximum")]
    plate = acquire(make_cellvoyager(tmp_path, records))
    (position,) = plate.wells["B03"]
    assert sorted(position.planes["405"]) == [(1, 0), (1, 1), (1, 2)]
    assert position.planes["405"][1, 0].path.name == image_name(B03, 1, 1, 1, processing="Maximum")
    assert sorted(position.planes["488"]) == [(1, 1), (1, 2)]
    assert noted(plate, "by the instrument") == "channel 1: maximum projections by the instrument"
    assert noted(plate, "passed over") == "channel 1: sum projections passed over"


def test_a_measurement_of_projections_alone(tmp_path: Path) -> None:
    records = [record(B03, channel=channel, processing="Maximum") for channel in (1, 2)]
    plate = describe(make_cellvoyager(tmp_path, records))
    assert plate.z_planes == (0,)
    assert problems(plate) == []


def test_time_is_counted_within_the_wells_of_a_time_line(tmp_path: Path) -> None:
    """The instrument numbers time points across its time lines: the second line's first is number 3."""
    records = (
        images((B03,), times=(1, 2), line=1) + images((B04,), times=(3, 4), line=2) + images((C01,), times=(4,), line=2)
    )
    plate = acquire(make_cellvoyager(tmp_path, records))
    times = {well: sorted({t for p in ps for s in p.planes.values() for t, _ in s}) for well, ps in plate.wells.items()}
    assert times == {"B03": [1, 2], "B04": [1, 2], "C01": [2]}
    assert plate.stacks_vary
    said = [problem for position in plate.wells["C01"] for problem in position.problems]
    assert not said, "fewer than half of that line's positions are like B04's"


def test_a_plane_that_its_like_have_is_missed_where_time_lines_differ(tmp_path: Path) -> None:
    second = images((B04, C01), planes=3, times=(2,), line=2)
    lost = record(C01, field=2, channel=2, z=3, time=2, line=2)
    plate = describe(make_cellvoyager(tmp_path, [*images((B03,)), *(r for r in second if r != lost)]), z="max")
    (said,) = problems(plate)
    assert said.startswith("well C01 field F002: channel '488' has no plane 3 at time 1, as most fields have;")
    assert [len(plate.wells[well][0].planes["488"]) for well in ("B03", "B04")] == [1, 3]


def test_wells_that_were_selected_and_not_imaged_are_there(tmp_path: Path) -> None:
    plate = describe(make_cellvoyager(tmp_path, images(), mes_text=mes(DYES, wells=[B03, (16, 24)])))
    assert {well: len(fields) for well, fields in plate.wells.items()} == {"B03": 2, "B04": 2, "P24": 0}
    assert noted(plate, "selected wells without any image").endswith("P24")


# ------------------------------------------------------------------------------------------------ faults

AF = "AF Error at B03 No. 0 (SAMPLE_PLATE)"


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (record(B03, kind="ERR", field=2, channel=None, z=None, text=AF), ["B03 field F002"]),
        (record(B03, kind="ERR", field=None, channel=None, z=None, text=AF, at=(200.4, -50.0)), ["B03 field F002"]),
        (record((5, 5), kind="ERR", field=None, channel=None, z=None, text=AF, at=(100.0, -50.0)), ["E05 field F001"]),
        (record((5, 5), kind="ERR", field=None, channel=None, z=None, text=AF, at=(7.0, 7.0)), ["E05 field F001"]),
        (record(B03, kind="ERR", field=3, text="", ErrorCode="E12"), ["B03 field F003"]),
    ],
    ids=["by number", "by place", "other well by place", "well without images", "code"],
)
def test_an_error_record_is_a_problem_of_the_field_that_it_is_about(
    tmp_path: Path, error: str, where: list[str]
) -> None:
    plate = describe(make_cellvoyager(tmp_path, [*images(), error]))
    said = [problem for problem in problems(plate) if "error record" in problem]
    assert [problem.partition(":")[0] for problem in said] == [f"well {name}" for name in where]
    assert ("ErrorCode E12" if "ErrorCode" in error else AF) in said[0]
    assert "(2024-05-06T07:08:09.000+01:00, MeasurementData.mlf, line 11)" in said[0]
    whole = [field for fields in plate.wells.values() for field in fields if not field.problems]
    assert len(whole) >= 3


def test_an_error_of_no_known_field_belongs_to_the_fields_that_lack_images(tmp_path: Path) -> None:
    error = record(B03, kind="ERR", field=None, text=AF, at=(7.0, 7.0))
    gone = image_name(B03, 2, 1, 1)
    plate = describe(make_cellvoyager(tmp_path / "a", [*images(), error], without=[gone]))
    assert any("error record of the well" in problem for problem in plate.wells["B03"][1].problems)
    assert plate.wells["B03"][0].problems == ()
    whole = describe(make_cellvoyager(tmp_path / "b", [*images(), error]))
    assert problems(whole) == []
    assert AF in noted(whole, "1 error record of wells whose images are there: B03")


def test_an_error_at_one_time_spares_the_others(tmp_path: Path) -> None:
    error = record(B03, kind="ERR", field=1, time=2, text=AF)
    folder = make_cellvoyager(tmp_path, [*images(times=(1, 2)), error])
    assert problems(describe(folder, timepoint=1)) == []
    (said,) = problems(describe(folder, timepoint=2))
    assert AF in said


@pytest.mark.parametrize(
    ("records", "without", "said"),
    [
        (
            [record(B03, field=3, text="../x.tif"), record(B03, field=3, channel=2)],
            (),
            "outside the plate's folder (../x.tif)",
        ),
        ([record(B03, field=1, text="again.tif")], (), "more than once in MeasurementData.mlf"),
        ([], (image_name(B03, 1, 1, 1),), "in MeasurementData.mlf but not on disk"),
        ([record(B03, field=3)], (), "no image of channel '488'"),
    ],
    ids=["outside", "twice", "absent", "channel"],
)
def test_a_bad_image_is_a_problem_of_its_field_alone(
    tmp_path: Path, records: list[str], without: Sequence[str], said: str
) -> None:
    write_image(tmp_path / "x.tif")
    plate = describe(make_cellvoyager(tmp_path / "plate", [*images(), *records], without=without))
    assert sum(said in problem for problem in problems(plate)) == 1, problems(plate)
    bad = {problem.partition(":")[0] for problem in problems(plate)}
    assert bad == {f"well B03 field {'F003' if 'F003' in str(bad) else 'F001'}"}


def test_files_saved_as_png_are_named(tmp_path: Path) -> None:
    name = image_name(B03, 1, 1, 1)
    folder = make_cellvoyager(tmp_path, images(), without=[name])
    (folder / name.replace(".tif", ".png")).touch()
    assert sum("on disk as PNG" in problem for problem in problems(describe(folder))) == 1


def test_images_that_are_not_listed_are_a_note_and_shading_images_another(tmp_path: Path) -> None:
    folder = make_cellvoyager(tmp_path, images())
    for name in ("SC_1.tif", "DC_CAM1.tif", "P_B03_T0001F009L01A01Z01C01.tif"):
        write_image(folder / name)
    plate = describe(folder)
    assert noted(plate, "shading").startswith("2 images for shading correction")
    assert noted(plate, "not in MeasurementData.mlf").endswith("P_B03_T0001F009L01A01Z01C01.tif")


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({1: (0.1, 0.2), 2: (0.1, 0.2)}, r"channel '405': pixels are 0\.1 x 0\.2 um \(X x Y\); expected square ones"),
        ({1: (0.1, 0.1), 2: (0.2, 0.2)}, r"pixel sizes differ: '405' 0\.1 um, '488' 0\.2 um; expected one"),
    ],
)
def test_pixel_sizes_that_do_not_fit_are_refused(
    tmp_path: Path, sizes: Mapping[int, tuple[float, float]], said: str
) -> None:
    with pytest.raises(PlateError, match=said):
        describe(make_cellvoyager(tmp_path, images(), mrf_text=mrf(sizes)))
    unused = {1: (0.1, 0.1), 2: (0.1, 0.1), 3: (0.3, 0.3)}
    assert describe(make_cellvoyager(tmp_path, images(), mrf_text=mrf(unused))).pixel_size_um == 0.1


@pytest.mark.parametrize("name", ["MeasurementData.mlf", "MeasurementDetail.mrf", "S.mes"])
def test_a_damaged_or_hostile_file_is_one_line(tmp_path: Path, name: str) -> None:
    path = make_cellvoyager(tmp_path, images()) / name
    text = path.read_text(encoding="utf-8-sig")
    path.write_text(text[: len(text) - 15])
    with pytest.raises(PlateError, match=f"{name}: no whole XML .* copy it again"):
        describe(tmp_path)
    path.write_text(text.replace("<bts:Meas", '<!DOCTYPE x [<!ENTITY a "b">]><bts:Meas', 1))
    with pytest.raises(PlateError, match=f"{name}: holds a document type or entities, which are refused"):
        describe(tmp_path)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], r"MeasurementData\.mlf: lists no image; give a measurement with images"),
        ([record(B03, kind="ERR", text=AF)], r"lists no image, but 1 error \(the first: AF Error at B03"),
        ([record((33, 1))], r"line 3: Row of <MeasurementRecord> is '33'; expected a whole number from 1 to 32"),
        ([record(B03, field=None)], r"line 3: FieldIndex of <MeasurementRecord> is missing"),
        ([record(B03, z=0)], r"ZIndex of <MeasurementRecord> is '0'"),
    ],
)
def test_a_list_that_is_no_plate_is_refused(tmp_path: Path, records: Sequence[str], said: str) -> None:
    with pytest.raises(PlateError, match=said):
        describe(make_cellvoyager(tmp_path, records))


def test_records_of_another_kind_are_counted(tmp_path: Path) -> None:
    plate = describe(make_cellvoyager(tmp_path, [*images(), record(B03, kind="LOG", text="x")]))
    assert noted(plate, "neither images nor errors").endswith("1 'LOG'")
