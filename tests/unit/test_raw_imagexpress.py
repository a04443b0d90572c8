"""MetaXpress exports: real plates with their traps, and generated ones with one fault each."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.raw import Plane, RawPlate, describe, read_plane

CALIBRATED = (
    '<MetaData><PlaneInfo><prop id="spatial-calibration-state" type="bool" value="on"/>'
    '<prop id="spatial-calibration-x" type="float" value="0.088"/>'
    '<prop id="spatial-calibration-units" type="string" value="um"/></PlaneInfo></MetaData>'
)


def htd_text(
    *,
    rows: int = 8,
    columns: int = 12,
    wells: Sequence[tuple[int, int]] = ((1, 1), (1, 2)),
    sites: Sequence[Sequence[bool]] = ((True, True),),
    waves: Sequence[str] = ("DAPI", "FITC"),
    z_steps: int = 0,
) -> str:
    def booleans(values: Iterable[bool]) -> str:
        return ", ".join(str(value).upper() for value in values)

    lines = [
        '"HTSInfoFile", Version 1.0',
        '"Description", "made for a test\x82\x81\x85, with a comma"',
        '"TimePoints", 1',
        f'"ZSeries", {booleans([z_steps > 0])}',
        f'"ZSteps", {z_steps}',
        f'"XWells", {columns}',
        f'"YWells", {rows}',
        *(
            f'"WellsSelection{row + 1}", {booleans((row, column) in wells for column in range(columns))}'
            for row in range(rows)
        ),
        '"Sites", TRUE',
        f'"XSites", {len(sites[0])}',
        f'"YSites", {len(sites)}',
        *(f'"SiteSelection{number}", {booleans(row)}' for number, row in enumerate(sites, start=1)),
        f'"NWavelengths", {len(waves)}',
        *(f'"WaveName{number}", "{name}"' for number, name in enumerate(waves, start=1)),
        '"EndFile"',
    ]
    return "\r\n".join(lines) + "\r\n"


def make_plate(folder: Path, htd: str, names: Iterable[str]) -> Path:
    """A plate folder whose images hold their own number in the order of `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "P1.HTD").write_bytes(htd.encode("latin-1"))
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((6, 8), number, np.uint16)
        tifffile.imwrite(path, pixels, description=CALIBRATED, software="MetaSeries", metadata=None)
    return folder


def names_of(
    wells: Sequence[str] = ("B02", "B03"), sites: Sequence[int] = (1, 2), waves: Sequence[int] = (1, 2)
) -> list[str]:
    return [f"TimePoint_1/P1_{well}_s{site}_w{wave}.TIF" for well in wells for site in sites for wave in waves]


def used(plate: RawPlate, well: str = "B02", site: int = 0) -> dict[str, str]:
    """File by channel of one field, with its folder."""
    return {label: "/".join(only(planes).path.parts[-2:]) for label, planes in plate.wells[well][site].planes.items()}


def only(planes: Mapping[int, Plane]) -> Plane:
    """The one plane of a channel."""
    (plane,) = planes.values()
    return plane


def noted(plate: RawPlate, words: str) -> str:
    """The one note with these words."""
    notes = [note for note in plate.notes if words in note]
    assert len(notes) == 1, plate.notes
    return notes[0]


def problems(plate: RawPlate) -> list[str]:
    return [problem for fields in plate.wells.values() for field in fields for problem in field.problems]


# ------------------------------------------------------------------------------------------------ real plates


def test_real_plate_without_sites_and_waves_in_its_names(real_data: Path) -> None:
    plate = describe(real_data / "imagexpress" / "9987_Plate_3420")
    assert (plate.name, plate.format, plate.channels) == ("9987", "imagexpress", ("DAPI",))
    assert (plate.n_rows, plate.n_columns, plate.shape) == (8, 12, (256, 256))
    assert plate.pixel_size_um == pytest.approx(1.3672)
    assert used(plate) == {"DAPI": "TimePoint_1/9987_B02.TIF"}
    assert [field.name for field in plate.wells["B02"]] == ["s1"]
    assert (problems(plate), list(plate.notes)) == ([], [])


def test_real_plate_with_stacks_single_planes_and_a_wave_that_does_not_exist(real_data: Path) -> None:
    folder = real_data / "imagexpress" / "9987_Plate_3434"
    assert b"\x82" in (folder / "9987.HTD").read_bytes()
    assert len(list(folder.rglob("*.HTD"))) == 5
    plate = describe(folder)
    assert plate.channels == ("DAPI", "FITC", "Texas Red")
    assert noted(plate, "'Cy5'").startswith("wave 4")
    assert noted(plate, "3 Z steps, 2 are on disk")
    assert noted(plate, "Z planes 1, 2 and the instrument's projection: the instrument's projection is read")
    assert noted(plate, "wave 2 'FITC': the same image lies in every ZStep folder")
    assert noted(plate, "wave 3 'Texas Red': the same image lies in every ZStep folder")
    assert (plate.z_planes, plate.timepoints) == ((0, 1, 2), (1,))
    assert plate.seen == "9987.HTD, which MetaXpress writes with a plate"
    assert {well: [field.name for field in fields] for well, fields in plate.wells.items()} == {
        "B02": ["s1", "s2"],
        "B03": ["s1", "s2"],
    }
    assert problems(plate) == []
    assert used(plate, "B03", 1) == {
        "DAPI": "ZStep_0/9987_B03_s2_w1.TIF",
        "FITC": "ZStep_0/9987_B03_s2_w2.TIF",
        "Texas Red": "ZStep_0/9987_B03_s2_w3.TIF",
    }
    assert len(plate.files("B02")) == 6
    assert all(only(planes).index is None for field in plate.wells["B02"] for planes in field.planes.values())


def test_the_real_projection_is_the_maximum_of_its_planes_as_far_as_they_are_there(real_data: Path) -> None:
    folder = real_data / "imagexpress" / "9987_Plate_3434"
    planes: list[RawPlate] = [describe(folder), describe(folder, z=1), describe(folder, z=2)]
    assert used(planes[2])["DAPI"] == "ZStep_2/9987_B02_s1_w1.TIF"
    projection, first, second = (read_plane(only(plate.wells["B02"][0].planes["DAPI"])) for plate in planes)
    assert (projection >= np.maximum(first, second)).all()
    assert not np.array_equal(first, second)


def test_copies_of_a_single_plane_in_every_zstep_folder_are_no_stack(real_data: Path) -> None:
    folder = real_data / "imagexpress" / "9987_Plate_3434"
    for z, numbers in (("max", (1, 2)), ("projection", (0,)), (2, (2,))):
        field = describe(folder, z=z).wells["B03"][0]  # type: ignore[arg-type]
        assert {label: tuple(planes) for label, planes in field.planes.items()} == {
            "DAPI": numbers,
            "FITC": (0,),
            "Texas Red": (0,),
        }
    each = describe(folder, z="each").wells["B03"]
    assert [field.name for field in each] == ["s1 z1", "s1 z2", "s2 z1", "s2 z2"]
    assert [list(field.planes["FITC"]) for field in each] == [[0]] * 4
    with pytest.raises(
        PlateError, match=r"Z plane 3: the plate has Z planes 1, 2 and the instrument's projection; set"
    ):
        describe(folder, z=3)


@pytest.mark.parametrize("inside", ["TimePoint_1", "TimePoint_1/ZStep_0", "9987.HTD"])
def test_the_real_plate_by_one_of_its_folders_or_its_htd_file(real_data: Path, inside: str) -> None:
    folder = real_data / "imagexpress" / "9987_Plate_3434"
    assert used(describe(folder / inside)) == used(describe(folder))


# ------------------------------------------------------------------------------------------------ layout


def test_images_without_a_timepoint_folder_and_in_any_case_of_letters(tmp_path: Path) -> None:
    names = ["p1_b02_S1_W1.tif", "P1_B02_s1_w2.TIFF", "P1_B02_s2_w1.tiff", "P1_B02_s2_w2.TIF"]
    plate = describe(make_plate(tmp_path / "x", htd_text(wells=[(1, 1)]), names))
    assert used(plate) == {"DAPI": "x/p1_b02_S1_W1.tif", "FITC": "x/P1_B02_s1_w2.TIFF"}
    assert problems(plate) == []
    assert plate.pixel_size_um == pytest.approx(0.088)


def test_names_without_plate_and_guids_after_the_wave(tmp_path: Path) -> None:
    guid = "1A2B3C4D-0000-4111-8222-0123456789AB"
    names = ["B02_w1.tif", f"P1_B02_w2{guid}.tif"]
    plate = describe(make_plate(tmp_path, htd_text(wells=[(1, 1)], sites=[[True]]), names))
    assert [path.name for path in plate.files("B02")] == names
    assert plate.channels == ("DAPI", "FITC")


def test_a_wave_is_no_well_of_a_1536_well_plate_and_such_a_well_is_one(tmp_path: Path) -> None:
    names = [f"P1_{well}_s1_w1.tif" for well in ("W01", "AF48", "A01")]
    text = htd_text(rows=32, columns=48, wells=[(0, 0), (22, 0), (31, 47)], sites=[[True]], waves=["DAPI"])
    plate = describe(make_plate(tmp_path, text, names))
    assert list(plate.wells) == ["A01", "W01", "AF48"]
    assert (plate.n_rows, plate.n_columns, problems(plate)) == (32, 48, [])


def test_thumbnails_and_strangers_are_counted(tmp_path: Path) -> None:
    thumbs = ["TimePoint_1/P1_B02_s1_w1_thumb1A2B.tif", "TimePoint_1/P1_B02_s1_w2_Thumb.TIF"]
    strangers = ["TimePoint_1/overview.tif", "TimePoint_1/P1_Z99_s1_w1.tif"]
    plate = describe(make_plate(tmp_path, htd_text(), [*names_of(), *thumbs, *strangers]))
    assert noted(plate, "2 thumbnails")
    assert "overview.tif" in noted(plate, "2 images passed over")
    assert problems(plate) == []


def test_a_name_that_merely_ends_like_a_well_makes_no_well(tmp_path: Path) -> None:
    helpers = ["control_A1.tif", "P1_B02.tif", "flat_H12_s1_w1.tif"]
    folder = make_plate(tmp_path / "htd", htd_text(), [*names_of(), *(f"TimePoint_1/{name}" for name in helpers)])
    plate = describe(folder)
    assert (list(plate.wells), problems(plate)) == (["B02", "B03"], [])
    told = noted(plate, "3 images passed over, not named like the others (TimePoint_1/P1_B02_s1_w1.TIF)")
    assert all(name in told for name in helpers)
    plate = describe(database(tmp_path / "db", [*(f"P1_{well}_w1" for well in ("B02", "B03")), "control_A1_w1"]))
    assert list(plate.wells) == ["B02", "B03"]
    assert "control_A1_w1" in noted(plate, "1 image passed over, not named like the others")


def test_a_plate_whose_names_all_begin_otherwise_keeps_its_wells(tmp_path: Path) -> None:
    names = [f"TimePoint_1/{prefix}_{well}_s1_w1.tif" for prefix, well in (("P1", "B02"), ("again", "B03"))]
    plate = describe(make_plate(tmp_path, htd_text(waves=["DAPI"], sites=[[True]]), names))
    assert used(plate, "B03") == {"DAPI": "TimePoint_1/again_B03_s1_w1.tif"}
    assert noted(plate, "file names begin with 'again'")


def test_hidden_files_of_other_systems_are_no_images(tmp_path: Path) -> None:
    folder = make_plate(tmp_path, htd_text(), names_of())
    (folder / "TimePoint_1" / "._P1_B02_s1_w1.TIF").write_bytes(b"\0")
    (folder / "._P1.HTD").write_bytes(b"\0")
    assert problems(describe(folder)) == []


def test_the_time_point_asked_for_is_read(tmp_path: Path) -> None:
    names = [name.replace("TimePoint_1", f"TimePoint_{time}") for time in (1, 2) for name in names_of()]
    folder = make_plate(tmp_path, htd_text(), names)
    plate = describe(folder, timepoint=2)
    assert used(plate)["DAPI"] == "TimePoint_2/P1_B02_s1_w1.TIF"
    assert noted(plate, "only time point 2")
    assert noted(plate, "declares 1 time point, 2 are")
    with pytest.raises(
        PlateError, match=r"time point 3: the plate has 1, 2; set `convert\.timepoint` to one of these or to"
    ):
        describe(folder, timepoint=3)
    with pytest.raises(PlateError, match=r"convert\.timepoint"):
        describe(make_plate(tmp_path / "flat", htd_text(), ["P1_B02_s1_w1.tif"]), timepoint=2)


def in_step(step: int, names: Iterable[str]) -> list[str]:
    return [name.replace("TimePoint_1", f"TimePoint_1/ZStep_{step}") for name in names]


def test_planes_without_a_projection_need_a_number(tmp_path: Path) -> None:
    names = [name for step in (1, 2) for name in in_step(step, names_of())]
    folder = make_plate(tmp_path, htd_text(z_steps=2), names)
    with pytest.raises(
        PlateError, match=r"'DAPI' has Z planes 1, 2 and no projection.*`convert\.z`.* max .*, sharpest .* each"
    ):
        describe(folder)
    plate = describe(folder, z=2)
    assert used(plate) == {"DAPI": "ZStep_2/P1_B02_s1_w1.TIF", "FITC": "ZStep_2/P1_B02_s1_w2.TIF"}
    assert noted(plate, "Z planes 1, 2: Z plane 2 is read")


def test_one_plane_is_taken_without_a_projection(tmp_path: Path) -> None:
    plate = describe(make_plate(tmp_path, htd_text(z_steps=1), in_step(1, names_of())))
    assert used(plate)["FITC"] == "ZStep_1/P1_B02_s1_w2.TIF"


def test_a_wave_of_a_single_plane_gives_it_beside_a_stack(tmp_path: Path) -> None:
    stack = [name for step in (0, 1, 2) for name in in_step(step, names_of(waves=[1]))]
    folder = make_plate(tmp_path, htd_text(z_steps=2), [*stack, *in_step(1, names_of(waves=[2]))])
    for z, dapi in (("projection", "ZStep_0"), (2, "ZStep_2")):
        plate = describe(folder, z=z)  # type: ignore[arg-type]
        assert used(plate) == {"DAPI": f"{dapi}/P1_B02_s1_w1.TIF", "FITC": "ZStep_1/P1_B02_s1_w2.TIF"}
        assert "1 channel with a single plane beside stacks, which is read: 'FITC'" in noted(plate, "single")
        assert problems(plate) == []


def test_a_wave_that_lacks_the_plane_asked_for_is_named(tmp_path: Path) -> None:
    names = [name for step in (1, 2, 3) for name in in_step(step, names_of(waves=[1]))]
    names += [name for step in (1, 2) for name in in_step(step, names_of(waves=[2]))]
    with pytest.raises(PlateError, match=r"'FITC' has Z planes 1, 2 and no plane 3; set `convert\.z`"):
        describe(make_plate(tmp_path, htd_text(z_steps=3), names), z=3)


@pytest.mark.parametrize("settings", [{"z": 0}, {"z": -1}, {"timepoint": 0}])
def test_planes_and_time_points_are_counted_from_one(tmp_path: Path, settings: dict[str, int]) -> None:
    with pytest.raises(PlateError, match="counted from 1"):
        describe(make_plate(tmp_path, htd_text(), names_of()), **settings)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ database folders

GUIDS = (f"{number:08X}-3E85-4358-AE51-A465AF87386F" for number in itertools.count(0xD5F8F51A))


def database(folder: Path, names: Iterable[str]) -> Path:
    """A folder of the MetaXpress database: a GUID behind each name, a thumbnail beside each image, no .HTD file."""
    for number, name in enumerate(names):
        path = folder / f"{name}{next(GUIDS)}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = CALIBRATED.replace(
            "</PlaneInfo>", f'<prop id="_IllumSetting_" type="string" value="{WAVES[name[-1]]}"/></PlaneInfo>'
        )
        pixels = np.arange(number, number + 48, dtype=np.uint16).reshape(6, 8)
        tifffile.imwrite(path, pixels, description=wave, software="MetaSeries", metadata=None)
        path.with_name(f"{Path(name).name}_thumb{next(GUIDS)}.tif").write_bytes(b"thumb")
    return folder


WAVES = {"1": "DAPI", "2": "FITC", "3": "Cy5", "4": "Texas Red"}


def test_a_database_folder_of_mixed_stacks(tmp_path: Path) -> None:
    """The layout of a mixed acquisition: two stacks with projections beside them, a projection alone, a plane alone."""
    fields = [f"Projection-Mix_{well}_s{site}" for well in ("E07", "E08") for site in (1, 2)]
    names = [f"{field}_w{wave}" for field in fields for wave in (1, 2, 3)]
    names += [f"ZStep_{step}/{field}_w{wave}" for step in (1, 2, 10) for field in fields for wave in (1, 2)]
    names += [f"ZStep_1/{field}_w4" for field in fields]
    folder = database(tmp_path / "2023-02-21" / "1334", names)
    plate = describe(folder)
    assert plate.seen.endswith("a name of the MetaXpress database")
    assert (plate.name, plate.channels) == ("Projection-Mix", ("DAPI", "FITC", "Cy5", "Texas Red"))
    assert {well: [field.name for field in found] for well, found in plate.wells.items()} == {
        "E07": ["s1", "s2"],
        "E08": ["s1", "s2"],
    }
    assert (plate.z_planes, plate.timepoints, problems(plate)) == ((0, 1, 2, 10), (1,), [])
    assert noted(plate, "40 thumbnails passed over")
    assert noted(plate, "beside the ZStep folders are taken as the instrument's projection: wave 1, 2")
    assert noted(plate, "no .HTD file")
    numbers = {label: tuple(planes) for label, planes in plate.wells["E07"][0].planes.items()}
    assert numbers == {"DAPI": (0,), "FITC": (0,), "Cy5": (1,), "Texas Red": (1,)}
    stack = describe(folder, z="sharpest").wells["E08"][1]
    assert {label: tuple(planes) for label, planes in stack.planes.items()} == {
        "DAPI": (1, 2, 10),
        "FITC": (1, 2, 10),
        "Cy5": (1,),
        "Texas Red": (1,),
    }
    assert {plane.path.parent.name for plane in stack.planes["DAPI"].values()} == {"ZStep_1", "ZStep_2", "ZStep_10"}


def test_a_database_folder_of_time_points(tmp_path: Path) -> None:
    names = [f"TimePoint_{time}/1well-3C_C07_s1_w{wave}" for time in (1, 2) for wave in (1, 2)]
    folder = database(tmp_path / "1697", names)
    each = describe(folder, timepoint="each")
    assert [(field.name, field.timepoint) for field in each.wells["C07"]] == [("s1 t1", 1), ("s1 t2", 2)]
    assert used(each, "C07", 1)["FITC"].startswith("TimePoint_2/1well-3C_C07_s1_w2")
    with pytest.raises(PlateError, match=r"its subfolder is: 1697 \(MetaXpress plate"):
        describe(tmp_path)


@pytest.mark.parametrize(
    ("name", "well", "site"),
    [
        ("240124d3_B05_s22A31C13E-3314-476F-B62C-5CDC65915F2B.tif", "B05", "s2"),
        ("240124d3_B05_s151E1E486E-D339-44E8-9990-9A8894C2D5CA.tif", "B05", "s15"),
        ("240124d3_D05_s2866465035-BBD2-4C57-BF9C-185859741902.tif", "D05", "s28"),
        ("ABCD_A01_w5b71ae91c-75e6-426c-8b41-71a5693784e3.tif", "A01", "s1"),
    ],
)
def test_a_guid_follows_a_number_without_a_sign_between(tmp_path: Path, name: str, well: str, site: str) -> None:
    tifffile.imwrite(tmp_path / name, np.zeros((6, 8), np.uint16), metadata=None)
    assert {w: [field.name for field in fields] for w, fields in describe(tmp_path).wells.items()} == {well: [site]}


# ------------------------------------------------------------------------------------------------ what is missing


def test_a_missing_channel_is_a_problem_of_its_field_only(tmp_path: Path) -> None:
    names = [name for name in names_of() if name != "TimePoint_1/P1_B03_s2_w2.TIF"]
    plate = describe(make_plate(tmp_path, htd_text(), names))
    assert plate.channels == ("DAPI", "FITC")
    assert plate.wells["B03"][1].problems == ("well B03 field s2: no image of channel 'FITC'; copy or export it again",)
    assert list(plate.wells["B03"][1].planes) == ["DAPI"]
    assert problems(plate) == list(plate.wells["B03"][1].problems)


def test_declared_wells_without_images_stay_with_a_problem_a_field(tmp_path: Path) -> None:
    plate = describe(make_plate(tmp_path, htd_text(), names_of(["B03"])))
    assert list(plate.wells) == ["B02", "B03"]
    assert [field.name for field in plate.wells["B02"]] == ["s1", "s2"]
    assert all("no image of any channel" in field.problems[0] for field in plate.wells["B02"])
    assert noted(plate, "selected wells without any image: B02")
    assert plate.files("B02") == []


def test_undeclared_wells_stay_with_a_note_and_make_the_plate_large_enough(tmp_path: Path) -> None:
    plate = describe(make_plate(tmp_path, htd_text(), names_of(["B02", "B03", "P24"])))
    assert list(plate.wells) == ["B02", "B03", "P24"]
    assert noted(plate, "not selected in P1.HTD are kept: P24")
    assert (plate.n_rows, plate.n_columns) == (16, 24)


def test_two_images_of_one_plane_are_a_problem_that_names_both(tmp_path: Path) -> None:
    plate = describe(make_plate(tmp_path, htd_text(), [*names_of(), "TimePoint_1/P1_B02_s1_w1.tiff"]))
    (problem,) = problems(plate)
    assert "TimePoint_1/P1_B02_s1_w1.TIF and TimePoint_1/P1_B02_s1_w1.tiff" in problem
    assert plate.wells["B02"][0].problems == (problem,)


def test_only_selected_sites_of_the_grid_are_expected(tmp_path: Path) -> None:
    snake = [[True, False, True], [False, True, False]]
    plate = describe(make_plate(tmp_path, htd_text(sites=snake), names_of(sites=[1, 2, 3])))
    assert [field.name for field in plate.wells["B02"]] == ["s1", "s2", "s3"]
    assert problems(plate) == []


def test_sites_numbered_by_their_place_in_the_grid_are_recognised(tmp_path: Path) -> None:
    snake = [[True, False, True], [False, True, False]]
    names = [name for name in names_of(sites=[1, 3, 5]) if name != "TimePoint_1/P1_B03_s3_w1.TIF"]
    plate = describe(make_plate(tmp_path, htd_text(sites=snake), names))
    assert [field.name for field in plate.wells["B02"]] == ["s1", "s3", "s5"]
    assert noted(plate, "place in the grid: 1, 3, 5")
    assert len(problems(plate)) == 1


def test_other_site_numbers_are_kept_and_said(tmp_path: Path) -> None:
    as_many = describe(make_plate(tmp_path / "a", htd_text(), names_of(sites=[7, 9])))
    assert [field.name for field in as_many.wells["B02"]] == ["s7", "s9"]
    assert (noted(as_many, "numbered 7, 9") != "", problems(as_many)) == (True, [])
    more = describe(make_plate(tmp_path / "b", htd_text(), names_of(sites=[1, 2, 10])))
    assert [field.name for field in more.wells["B02"]] == ["s1", "s2", "s10"]
    assert noted(more, "selects 2 fields; fields beyond are kept: 10")


def test_fields_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    plate = describe(make_plate(tmp_path, htd_text(sites=[[True] * 11]), names_of(sites=range(1, 12), waves=[1])))
    assert [field.name for field in plate.wells["B02"]] == [f"s{number}" for number in range(1, 12)]


def test_waves_without_a_name_twice_the_same_name_and_undeclared(tmp_path: Path) -> None:
    names = names_of(waves=[1, 2, 3, 4])
    plate = describe(make_plate(tmp_path, htd_text(waves=["DAPI", "DAPI", ""]), names))
    assert plate.channels == ("DAPI", "DAPI (2)", "w3", "w4")
    assert noted(plate, "'DAPI (2)'")
    assert noted(plate, "wave 4 has images but is not declared")


def test_settings_of_the_other_format_are_said_to_have_no_effect(tmp_path: Path) -> None:
    plate = describe(make_plate(tmp_path, htd_text(), names_of()), pattern="(?P<well>x)", channel_names=["a"])
    assert noted(plate, "pattern and channel_names not used")


def test_names_of_another_plate_are_said(tmp_path: Path) -> None:
    plate = describe(make_plate(tmp_path, htd_text(), [name.replace("P1_", "Q7_") for name in names_of()]))
    assert noted(plate, "file names begin with 'Q7', the .HTD file's with 'P1'")


# ------------------------------------------------------------------------------------------------ cost


def test_listing_reads_each_folder_once_and_two_images_of_each_stacked_wave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for step in (0, 1, 2) for name in in_step(step, names_of())]
    folder = make_plate(tmp_path, htd_text(z_steps=2), names)
    opened, scanned = [], []
    tiff_file, scandir = tifffile.TiffFile, os.scandir

    def count_open(path: Path, **settings: object) -> tifffile.TiffFile:
        opened.append(Path(path).name)
        return tiff_file(path, **settings)

    def count_scan(path: Path) -> object:
        scanned.append(Path(path).name)
        return scandir(path)

    monkeypatch.setattr(tifffile, "TiffFile", count_open)
    monkeypatch.setattr(os, "scandir", count_scan)
    describe(folder)
    assert opened == ["P1_B02_s1_w1.TIF"] * 2 + ["P1_B02_s1_w2.TIF"] * 2 + ["P1_B02_s1_w1.TIF"]
    assert sorted(scanned) == sorted([folder.name, "TimePoint_1", "ZStep_0", "ZStep_1", "ZStep_2"])


def test_a_damaged_first_image_does_not_hide_the_plate(tmp_path: Path) -> None:
    folder = make_plate(tmp_path, htd_text(), names_of())
    first = folder / "TimePoint_1" / "P1_B02_s1_w1.TIF"
    first.write_bytes(first.read_bytes()[:60])
    plate = describe(folder)
    assert plate.shape == (6, 8)
    with pytest.raises(FieldError, match=r"TimePoint_1/P1_B02_s1_w1\.TIF"):
        read_plane(only(plate.wells["B02"][0].planes["DAPI"]))
    for path in (folder / "TimePoint_1").iterdir():
        path.write_bytes(b"")
    with pytest.raises(PlateError, match="none of the plate's images can be read; the first: TimePoint_1/P1_B02_s1_w1"):
        describe(folder)


def test_the_same_plate_is_described_the_same_from_files_made_in_another_order(tmp_path: Path) -> None:
    one = describe(make_plate(tmp_path / "a", htd_text(), names_of()))
    other = describe(make_plate(tmp_path / "b", htd_text(), reversed(names_of())))
    assert (one.channels, list(one.wells), used(one)) == (other.channels, list(other.wells), used(other))
    assert [*map(str, one.files("B03"))] == [str(p).replace("/b/", "/a/") for p in other.files("B03")]


# ------------------------------------------------------------------------------------------------ bad .HTD files


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"XWells", 12', '"XWells", 99999999999', r"P1\.HTD, line 6: XWells '99999999999'; expected .* from 1 to 48"),
        ('"XWells", 12', '"XWells", twelve', r"line 6: XWells 'twelve'"),
        ('"XWells", 12', '"XWells", -3', r"line 6: XWells '-3'"),
        ('"XWells", 12', '"XWells", 1e2', r"line 6"),
        ('"XWells", 12', '"XWells", \xb2', r"line 6"),
        ('"XWells", 12', '"XWells", 12, 13', r"line 6: XWells has 2 values; expected one value"),
        ('"XWells", 12', '"XWells"', r"line 6: XWells ''"),
        ('"XWells", 12', '"XWells", 11', r"line 8: WellsSelection1 has 12 values; expected 11"),
        ('"XWells", 12\r\n', "", 'P1.HTD: has no line "XWells"'),
        ('"YWells", 8', '"YWells", 9', 'no line "WellsSelection9"'),
        ('"XSites", 2', '"XSites", 1000000', r"XSites '1000000'; expected a whole number from 1 to 100"),
        ("TRUE, TRUE\r\n", "MAYBE, TRUE\r\n", r"SiteSelection1 'MAYBE'; expected TRUE or FALSE"),
        ('"SiteSelection1", TRUE, TRUE', '"SiteSelection1", FALSE, FALSE', "has no TRUE"),
        ('"Sites", TRUE', '"Sites", 1', "Sites '1'"),
        ('"NWavelengths", 2', '"NWavelengths", 3', 'no line "WaveName3"'),
        ('"NWavelengths", 2', '"NWavelengths", 4000', "NWavelengths '4000'"),
        ('"ZSeries", FALSE\r\n', "", 'no line "ZSeries"'),
        ('"ZSteps", 0', '"XWells", 24', "line 6: XWells differs from line 5"),
        ('"HTSInfoFile", Version 1.0', "PK\x03\x04", 'has no line "HTSInfoFile"'),
        ('"EndFile"', '"' + "x" * 200_000, "line 23: field larger"),
        ('"EndFile"', "x" * (1 << 20), "larger than 1 MB"),
    ],
)
def test_a_bad_htd_file_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = htd_text()
    assert old in text
    folder = make_plate(tmp_path, text.replace(old, new, 1), names_of(["B02"], [1], [1]))
    with pytest.raises(PlateError, match=message) as raised:
        describe(folder)
    assert "\n" not in str(raised.value)
    assert "P1.HTD" in str(raised.value)


def test_no_htd_two_htd_and_no_images(tmp_path: Path) -> None:
    folder = make_plate(tmp_path / "plate", htd_text(), [])
    with pytest.raises(PlateError, match=r"no image named like P1_B02_s1_w1\.TIF"):
        describe(folder)
    (folder / "P2.htd").write_text("")
    with pytest.raises(PlateError, match=r"2 \.HTD files \(P1.HTD, P2.htd\)"):
        describe(folder)
    with pytest.raises(PlateError, match=r"no image named like P1_B02_s1_w1\.TIF; give the folder that holds"):
        describe(tmp_path, format="imagexpress")
    with pytest.raises(PlateError, match=r"not a raw plate itself, but its subfolder is: plate \(MetaXpress plate"):
        describe(tmp_path)


def test_an_htd_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "P1.HTD").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PlateError, match=r"P1\.HTD: can't be read"):
        describe(tmp_path)
