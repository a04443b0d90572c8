"""From a raw plate to a project: roles, pixel size, plate map, and nothing written unless all is right."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

import lysoquant.io.raw
from lysoquant.cli.init import init
from lysoquant.config import load_project
from lysoquant.errors import ConfigError
from lysoquant.io.raw.description import Field, Plane, RawPlate
from lysoquant.project.flags import FLAGS
from lysoquant.project.init import Initialised, initialise, settle_roles

LABELS = ("DAPI", "LAMP1-GFP", "SEC62 HA")


def raw_plate(**changes: Any) -> RawPlate:
    planes: Mapping[str, Mapping[int, Plane]] = {label: {1: Plane(path=Path("x.tif"))} for label in LABELS}
    wells = {well: [Field(name="s1", planes=planes), Field(name="s2", planes=planes)] for well in ("B02", "B03", "C10")}
    values: dict[str, Any] = {
        "name": "Plate_7",
        "format": "imagexpress",
        "channels": LABELS,
        "wells": wells,
        "n_rows": 8,
        "n_columns": 12,
        "pixel_size_um": 0.08,
        "shape": (512, 640),
        "declares_size": True,
    }
    return RawPlate(**(values | changes))


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Initialised]:
    """`initialise` on a plate that a reader has described in a known way."""
    (tmp_path / "raw").mkdir()

    def call(plate: RawPlate | None = None, **flags: Any) -> Initialised:
        described = plate or raw_plate()
        monkeypatch.setattr(lysoquant.io.raw, "describe", lambda *args, **kwargs: described, raising=False)
        return initialise(**({"raw": tmp_path / "raw", "project": tmp_path / "project"} | flags))

    return call


@pytest.mark.parametrize(
    ("labels", "roles"),
    [
        (["lysosome", "cargo", "nucleus"], ("lysosome", "cargo", "nucleus")),
        (["Hoechst 33342", "w2 Rab7-mCherry", "ATZ-HaloTag"], ("w2 Rab7-mCherry", "ATZ-HaloTag", "Hoechst 33342")),
        (["anti-HA 561", "LAMP-1 (647)", "Nuclei", "phase"], ("LAMP-1 (647)", "anti-HA 561", "Nuclei")),
        (["FAM134B", "LysoTracker", "DAPI"], ("LysoTracker", "FAM134B", "DAPI")),
    ],
)
def test_clear_names_settle_the_roles(labels: list[str], roles: tuple[str, str, str]) -> None:
    channels = settle_roles(labels)
    assert (channels.lysosome, channels.cargo, channels.nucleus) == roles


@pytest.mark.parametrize(
    ("labels", "flags", "message"),
    [
        (
            ["FITC", "Cy5", "DAPI"],
            {},
            "the channel names 'FITC', 'Cy5', 'DAPI'; give --lysosome CH and --cargo CH with one of these",
        ),
        (["LAMP1", "alpha", "DAPI"], {}, "can't tell the cargo channel"),
        (["LAMP1", "LAMP2", "SEC62", "DAPI"], {}, "give --lysosome CH with"),
        (["LAMP1-SEC62", "DAPI"], {}, "can't tell the lysosome and cargo channel"),
        (["LAMP1"], {}, "the plate has one channel, 'LAMP1'; expected at least two"),
        (["LAMP1", "SEC62"], {}, "give --nucleus CH (or --no-nucleus)"),
        (
            ["LAMP1", "SEC62", "DAPI"],
            {"lysosome": "lamp1"},
            "--lysosome 'lamp1': no such channel; expected one of 'LAMP1',",
        ),
        (["LAMP1", "SEC62", "DAPI"], {"cargo": "SEC61"}, "--cargo 'SEC61': no such channel"),
        (
            ["LAMP1", "SEC62", "DAPI"],
            {"cargo": "LAMP1", "lysosome": "LAMP1"},
            "--lysosome and --cargo are both 'LAMP1'",
        ),
        (["LAMP1", "SEC62", "DAPI"], {"nucleus": "DAPI", "no_nucleus": True}, "--nucleus 'DAPI' with --no-nucleus"),
        (
            ["LAMP1", "SEC62", "DAPI"],
            {"cargo": "SEC62", "other_cargoes": ["LC3"]},
            "--cargo 'LC3': no such channel; expected one of 'LAMP1', 'SEC62', 'DAPI'",
        ),
        (
            ["LAMP1", "SEC62", "DAPI"],
            {"cargo": "SEC62", "other_cargoes": ["SEC62"]},
            "--cargo and --cargo are both 'SEC62'; expected a channel of its own for each role and each cargo",
        ),
        (["LAMP1", "SEC62", "LC3"], {"cargo": "SEC62", "other_cargoes": ["LAMP1"]}, "can't tell the lysosome"),
    ],
)
def test_a_role_in_doubt_is_an_error_that_lists_the_channels(
    labels: list[str], flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settle_roles(labels, **flags)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_further_cargoes_are_given_and_leave_the_other_roles_to_the_names() -> None:
    channels = settle_roles(["LAMP1", "SEC62", "DAPI", "FAM134B"], cargo="FAM134B", other_cargoes=["SEC62"])
    assert channels.by_role() == {"lysosome": "LAMP1", "cargo": "FAM134B", "nucleus": "DAPI"}
    assert channels.cargoes == ("FAM134B", "SEC62")


def test_flags_win_over_names() -> None:
    channels = settle_roles(["LAMP1", "SEC62", "DAPI", "RAB7"], lysosome="RAB7", nucleus="LAMP1")
    assert channels.by_role() == {"lysosome": "RAB7", "cargo": "SEC62", "nucleus": "LAMP1"}


def test_the_project_loads_as_described(begin: Callable[..., Initialised], tmp_path: Path) -> None:
    made = begin(z=2, timepoint=3)
    project = load_project(tmp_path / "project")
    assert project.config == made.config
    assert project.config.channels.by_role() == {"lysosome": "LAMP1-GFP", "cargo": "SEC62 HA", "nucleus": "DAPI"}
    assert (project.config.convert.z, project.config.convert.timepoint) == (2, 3)
    assert project.plates == {"Plate_7": made.source}
    assert project.raw_path("Plate_7") == (tmp_path / "raw").resolve()
    assert [(row.well, row.condition) for row in project.plate_map] == [("B02", ""), ("B03", ""), ("C10", "")]
    names = sorted(path.name for path in (tmp_path / "project").rglob("*"))
    assert names == ["config", "config.yaml", "plates.tsv", "wells.tsv"]


def test_raw_data_inside_the_project_keep_a_relative_path(begin: Callable[..., Initialised], tmp_path: Path) -> None:
    (tmp_path / "project/raw/p").mkdir(parents=True)
    assert begin(raw=tmp_path / "project/raw/p").source.path == "raw/p"


def test_the_plate_map_fills_the_wells(begin: Callable[..., Initialised], tmp_path: Path) -> None:
    sheet = tmp_path / "map.csv"
    sheet.write_text("Well,Condition,Replicate,Control,dose\nb2,wild type,1,,0\nB3,LIR,1,negative,5\nD4,ko,1,,5\n")
    made = begin(plate_map=sheet)
    assert [(row.well, row.condition, row.control, row.extra["dose"]) for row in made.wells] == [
        ("B02", "wild type", "", "0"),
        ("B03", "LIR", "negative", "5"),
        ("C10", "", "", ""),
        ("D04", "ko", "", "5"),
    ]
    assert f"{sheet}: 1 well without images, as the tables will say: D04" in made.notes
    assert f"{sheet}: 1 well with images not in it, condition empty: C10" in made.notes
    assert load_project(tmp_path / "project").plate_map == made.wells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("well,condition\nP24,a\n", "well 'P24' is not on a plate of 8 x 12 wells"),
        ("well,condition\nA01,a\n", r"none of its wells \(A01\) has images; the plate has B02, B03, C10"),
        ("well,condition\nB2,a\nB02,b\n", "map.csv:3: plate Plate_7 well B02 is already on line 2"),
        ("plate,well\nother,B02\n", "map.csv:2: plate 'other': expected 'Plate_7'"),
    ],
)
def test_an_impossible_plate_map_leaves_nothing(
    begin: Callable[..., Initialised], tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "map.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        begin(plate_map=tmp_path / "map.csv")
    assert not (tmp_path / "project").exists()


def test_the_map_of_a_whole_plate_fits_a_plate_that_does_not_say_how_large_it_is(
    begin: Callable[..., Initialised], tmp_path: Path
) -> None:
    wells = [f"{row}{column:02d}" for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)]
    (tmp_path / "map.csv").write_text("\n".join(["well,condition", *(f"{well},a" for well in wells), ""]))
    made = begin(raw_plate(declares_size=False), plate_map=tmp_path / "map.csv")
    assert [row.well for row in made.wells] == wells
    assert any("381 wells without images" in note for note in made.notes)


@pytest.mark.parametrize(
    ("own", "given", "used", "note"),
    [
        (0.08, None, 0.08, ""),
        (0.08, 0.1, 0.1, "pixel size 0.1 um as given; the plate's own metadata say 0.08 um"),
        (None, 0.1, 0.1, ""),
        (0.2, None, 0.2, "pixel size 0.2 um is outside the tested range 0.04 to 0.12 um: every field will be flagged"),
        (1.3672, None, 1.3672, "no field will be segmented; correct a wrong value with --pixel-size-um"),
    ],
)
def test_the_pixel_size_is_settled_and_judged(
    begin: Callable[..., Initialised], own: float | None, given: float | None, used: float, note: str
) -> None:
    made = begin(raw_plate(pixel_size_um=own), pixel_size_um=given)
    told = [text for text in made.notes if "pixel size" in text]
    assert (made.pixel_size_um, made.source.pixel_size_um, len(told)) == (used, given, bool(note))
    assert note in "".join(told)


def test_a_missing_pixel_size_names_the_flag(begin: Callable[..., Initialised], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--pixel-size-um UM"):
        begin(raw_plate(pixel_size_um=None))
    assert not (tmp_path / "project").exists()


def test_without_nuclei_the_whole_field_is_one_cell(begin: Callable[..., Initialised], tmp_path: Path) -> None:
    made = begin(no_nucleus=True)
    assert load_project(tmp_path / "project").config.cells.method == "field"
    assert any("each field counts as one cell" in note for note in made.notes)


@pytest.mark.parametrize(
    ("own", "given", "name"),
    [
        ("Plate_7", None, "Plate_7"),
        ("../../etc/passwd", None, "etc_passwd"),
        ("a $(reboot) b", None, "a_reboot_b"),
        ("x", "run-2.a", "run-2.a"),
    ],
)
def test_the_plate_gets_a_safe_name(begin: Callable[..., Initialised], own: str, given: str | None, name: str) -> None:
    made = begin(raw_plate(name=own), plate_name=given)
    assert made.source.plate == name
    assert any("calls itself" in note for note in made.notes) is (given is None and own != name)


@pytest.mark.parametrize(
    ("own", "given", "message"),
    [
        ("日本", None, "no folder name can be made of it; give --plate-name NAME"),
        ("report", None, "--plate-name NAME"),
        ("x", "../y", "--plate-name: plate '../y'"),
    ],
)
def test_an_unsafe_plate_name_is_refused(
    begin: Callable[..., Initialised], own: str, given: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        begin(raw_plate(name=own), plate_name=given)


@pytest.mark.parametrize("name", ["config.yaml", "plates.tsv", "wells.tsv"])
def test_an_existing_project_is_left_alone(begin: Callable[..., Initialised], tmp_path: Path, name: str) -> None:
    (tmp_path / "project/config").mkdir(parents=True)
    (tmp_path / "project/config" / name).write_text("mine")
    with pytest.raises(ConfigError, match=rf"{name} is there already; choose another folder"):
        begin()
    assert [path.name for path in (tmp_path / "project/config").iterdir()] == [name]
    assert (tmp_path / "project/config" / name).read_text() == "mine"


def test_other_files_of_an_existing_folder_stay(begin: Callable[..., Initialised], tmp_path: Path) -> None:
    (tmp_path / "project/config").mkdir(parents=True)
    (tmp_path / "project/config/notes.txt").write_text("mine")
    begin()
    names = sorted(path.name for path in (tmp_path / "project").rglob("*"))
    assert names == ["config", "config.yaml", "notes.txt", "plates.tsv", "wells.tsv"]


def test_a_project_inside_the_raw_plate_is_refused(begin: Callable[..., Initialised], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lies inside the raw plate"):
        begin(project=tmp_path / "raw" / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; expected a folder"):
        begin(project=tmp_path / "file")


@pytest.mark.parametrize("name", ["tab\there", "ends in a blank ", "line\nbreak"])
def test_a_path_that_the_sheet_cannot_keep_is_refused(
    begin: Callable[..., Initialised], tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir()
    if "\t" in name:
        assert begin(raw=tmp_path / name).source.path.endswith(name)
        return
    with pytest.raises(ConfigError, match=r"plates.tsv"):
        begin(raw=tmp_path / name)
    assert not (tmp_path / "project").exists()


@pytest.mark.parametrize("size", [-1.0, float("nan"), float("inf")])
def test_an_impossible_pixel_size_is_refused(begin: Callable[..., Initialised], tmp_path: Path, size: float) -> None:
    with pytest.raises(ConfigError, match="--pixel-size-um"):
        begin(pixel_size_um=size)
    assert not (tmp_path / "project").exists()


def test_a_path_that_is_not_utf8_is_refused(begin: Callable[..., Initialised], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="its path is not UTF-8; rename the folder"):
        begin(raw=tmp_path / "ab\udcff")


def test_a_blank_channel_name_is_refused(begin: Callable[..., Initialised]) -> None:
    with pytest.raises(ConfigError, match=r"channel names: channels.lysosome is empty"):
        begin(raw_plate(channels=(" ", "SEC62", "DAPI")), lysosome=" ")


def test_a_write_that_fails_leaves_nothing(
    begin: Callable[..., Initialised], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lysoquant.project.init.render_wells", full)
    with pytest.raises(OSError, match="No space"):
        begin(project=tmp_path / "new/project")
    assert not (tmp_path / "new").exists()


def test_reader_flags_of_another_format_are_refused(begin: Callable[..., Initialised]) -> None:
    with pytest.raises(ConfigError, match="--channel-names 'a;b': serves the formats tiff, leica, zeiss, nikon only"):
        begin(channel_names="a;b")


def test_every_flag_that_a_message_names_is_one_of_the_command() -> None:
    """Readers name settings, since they serve the workflow too; init says its own flags in their place."""
    own = {option for parameter in init.params for option in parameter.opts}
    package = Path(lysoquant.io.__file__).parents[1]
    flags = re.compile(r"--[a-z][a-z-]*")
    said = {
        flag for name in ("init.py", "flags.py") for flag in flags.findall((package / "project" / name).read_text())
    }
    assert {"--z", "--plate-name", "--no-nucleus"} <= said <= own
    assert set(FLAGS.values()) <= own
    readers = "".join(path.read_text() for path in (package / "io" / "raw").glob("*.py"))
    assert set(flags.findall(readers.replace("``--format``", ""))) == set()
    for setting in re.findall(
        r"`convert\.[a-z_]+`|[a-z_]+ in plates\.tsv", readers.replace('"\n                "', "")
    ):
        assert setting in FLAGS, setting


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "set --z to one of the numbers, to max"),
        (["--z", "7"], "set --z to one of these"),
        (["--timepoint", "2"], "set --timepoint to 1"),
    ],
)
def test_what_a_reader_lacks_is_told_as_a_flag(tmp_path: Path, arguments: list[str], told: str) -> None:
    planes = np.arange(3 * 64, dtype=np.uint16).reshape(3, 8, 8)
    tifffile.imwrite(tmp_path / "stack.tif", planes, imagej=True, metadata={"axes": "ZYX", "unit": "um"})
    result = CliRunner().invoke(init, [str(tmp_path / "stack.tif"), "--output", str(tmp_path / "p"), *arguments])
    assert told in str(result.exception)
    assert "convert." not in str(result.exception)


def test_notes_name_flags_too(begin: Callable[..., Initialised]) -> None:
    notes = ("2 time points: only time point 1 is read (`convert.timepoint`)", "set pixel_size_um in plates.tsv")
    said = begin(raw_plate(notes=notes)).notes
    assert said[:2] == ("2 time points: only time point 1 is read (--timepoint)", "set --pixel-size-um")


@pytest.mark.parametrize("format", ["tiff", "leica", "zeiss", "nikon"])
def test_a_pattern_is_kept_for_every_format_that_takes_one(
    begin: Callable[..., Initialised], tmp_path: Path, format: str
) -> None:
    begin(raw_plate(format=format), pattern="(?P<well>[A-P][0-9]+)", channel_names="a; b;c")
    source = load_project(tmp_path / "project").plates["Plate_7"]
    assert (source.format, source.pattern, source.channel_names) == (format, "(?P<well>[A-P][0-9]+)", "a;b;c")


def test_fields_with_problems_are_said(begin: Callable[..., Initialised]) -> None:
    wells = {"B02": [Field(name="s1", planes={}, problems=["no image of channel 'DAPI'; export it again"])]}
    said = "WARNING: 1 of 1 fields can't be used as they are, first B02 s1: no image of channel 'DAPI'; export it again"
    assert said in begin(raw_plate(wells=wells)).notes


def test_the_command_describes_the_plate_and_the_next_step(
    begin: Callable[..., Initialised], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"notes": ("odd \x1b[2J",), "seen": "a name", "z_planes": (0, 1, 2, 3), "timepoints": (1, 2)}
    monkeypatch.setattr(lysoquant.io.raw, "describe", lambda *args, **kwargs: raw_plate(**more), raising=False)
    result = CliRunner().invoke(init, [str(tmp_path / "raw"), "--output", str(tmp_path / "my project")])
    assert result.exit_code == 0
    for words in (
        "plate       Plate_7 (imagexpress, 8 x 12 wells)",
        "wells       3 with images, 6 fields (2 a well)",
        "seen        a name",
        "pixels      in 1 file, such as x.tif",
        "image       512 x 640 pixels (y, x)",
        "z           Z planes 1 to 3 and the instrument's projection",
        "time points 1, 2",
        "channels    DAPI (nucleus), LAMP1-GFP (lysosome), SEC62 HA (cargo)",
        "pixel size  0.08 um (inside the tested range)",
        "note        odd ?[2J",
        f"lysoquant run '{tmp_path}/my project'",
    ):
        assert words in result.output


def test_the_plate_is_described_also_where_its_channels_do_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raw").mkdir()
    plate = raw_plate(channels=("DAPI",), notes=("odd",))
    monkeypatch.setattr(lysoquant.io.raw, "describe", lambda *args, **kwargs: plate)
    result = CliRunner().invoke(init, [str(tmp_path / "raw"), "--output", str(tmp_path / "p")])
    assert "the plate has one channel, 'DAPI'" in str(result.exception)
    assert [line.split()[0] for line in result.output.splitlines()] == [
        *("plate", "raw", "pixels", "wells", "image", "channels", "z", "time", "pixel", "note"),
    ]
    assert "channels    DAPI\n" in result.output
    assert "pixel size  0.08 um\n" in result.output
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((), "channel 'channel_1' has Z planes 1, 2 and no projection of the instrument; set --z to"),
        (("--z", "3"), "Z plane 3: the plate has Z planes 1, 2; set --z"),
        (("--z", "max", "--timepoint", "2"), "time point 2: the plate has 1; set --timepoint to 1"),
    ],
)
def test_the_plate_is_described_also_where_it_lacks_the_planes_asked_for(
    tmp_path: Path, asked: tuple[str, ...], message: str
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for z in (1, 2):
        tifffile.imwrite(raw / f"B02_z{z}.tif", np.zeros((6, 8), np.uint16))
    flags = ["--pattern", r"(?P<well>B02)_z(?P<z>\d)", "--output", str(tmp_path / "p"), *asked]
    result = CliRunner().invoke(init, [str(raw), *flags])
    assert message in str(result.exception)
    for line in ("pixels      in 2 files, such as B02_z1.tif", "wells       1 with images, 1 field (1 a well)"):
        assert line in result.output
    assert "z           Z planes 1, 2\ntime points 1\n" in result.output
    assert "projection" not in result.output
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(("declares_size", "told"), [(True, "8 x 12 wells"), (False, "at least 8 x 12 wells")])
def test_a_size_that_was_guessed_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declares_size: bool, told: str
) -> None:
    (tmp_path / "raw").mkdir()
    plate = raw_plate(declares_size=declares_size)
    monkeypatch.setattr(lysoquant.io.raw, "describe", lambda *args, **kwargs: plate)
    result = CliRunner().invoke(init, [str(tmp_path / "raw"), "--output", str(tmp_path / "p")])
    assert f"plate       Plate_7 (imagexpress, {told})\n" in result.output


def test_the_sharpest_plane_needs_a_stack_of_the_lysosome_channel(
    begin: Callable[..., Initialised], tmp_path: Path
) -> None:
    def stacks(**planes: int) -> RawPlate:
        held = {
            label: {z: Plane(path=Path(f"{z}.tif")) for z in range(1, planes.get(label[:4], 1) + 1)} for label in LABELS
        }
        wells = {"B02": [Field(name="s1", planes=held, reduction="sharpest"), Field(name="s2", planes={})]}
        return raw_plate(wells=wells)

    told = "--z sharpest: the lysosome channel 'LAMP1-GFP' has a single Z plane, .* of 'DAPI'; give --z max, each or"
    with pytest.raises(ConfigError, match=told):
        begin(stacks(DAPI=3), z="sharpest")
    assert not (tmp_path / "project").exists()
    assert begin(stacks(), z="sharpest").config.convert.z == "sharpest"
    begin(stacks(DAPI=3, LAMP=3), z="sharpest", project=tmp_path / "other")


def test_a_plate_that_is_one_file_is_called_by_its_name(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "B02.tif", np.zeros((6, 8), np.uint16))
    result = CliRunner().invoke(init, [str(tmp_path / "B02.tif"), "--output", str(tmp_path / "p")])
    assert "pixels      in 1 file, such as B02.tif\n" in result.output


@pytest.mark.parametrize(
    ("arguments", "z", "timepoint"),
    [
        ([], "projection", 1),
        (["--z", "sharpest", "--timepoint", "each"], "sharpest", "each"),
        (["--z", "max", "--timepoint", "2"], "max", 2),
        (["--z", "7"], 7, 1),
    ],
)
def test_planes_and_time_points_reach_the_reader_and_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], z: Any, timepoint: Any
) -> None:
    (tmp_path / "raw").mkdir()
    told: list[tuple[Any, Any]] = []

    def describe(path: Path, *, z: Any, timepoint: Any, **more: Any) -> RawPlate:
        told.append((z, timepoint))
        return raw_plate()

    monkeypatch.setattr(lysoquant.io.raw, "describe", describe)
    result = CliRunner().invoke(init, [str(tmp_path / "raw"), "--output", str(tmp_path / "p"), *arguments])
    assert result.exit_code == 0, result.output
    settings = load_project(tmp_path / "p").settings("convert", "Plate_7").model_dump()
    assert (told, settings["params"]["z"], settings["params"]["timepoint"]) == ([(z, timepoint)], z, timepoint)
    assert settings["lysosome"] == ("LAMP1-GFP" if z == "sharpest" else None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--z", "0"],
        ["--z", "all"],
        ["--timepoint", "0"],
        ["--pixel-size-um", "0"],
        ["--pixel-size-um", "nan"],
        ["--format", "xyz"],
    ],
)
def test_the_command_refuses_bad_values_with_status_2(tmp_path: Path, arguments: list[str]) -> None:
    result = CliRunner().invoke(init, [str(tmp_path), "--output", str(tmp_path / "p"), *arguments])
    assert result.exit_code == 2
    assert arguments[0] in result.output
    assert not (tmp_path / "p").exists()


PLATE_3434 = "imagexpress/9987_Plate_3434"


def test_a_real_plate_asks_for_its_roles(real_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'DAPI', 'FITC', 'Texas Red'; give --lysosome CH and --cargo CH"):
        initialise(raw=real_data / PLATE_3434, project=tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_a_real_plate_becomes_a_project(real_data: Path, tmp_path: Path) -> None:
    made = initialise(raw=real_data / PLATE_3434, project=tmp_path / "p", lysosome="FITC", cargo="Texas Red")
    project = load_project(tmp_path / "p")
    assert project.config.channels.by_role() == {"lysosome": "FITC", "cargo": "Texas Red", "nucleus": "DAPI"}
    assert made.pixel_size_um == pytest.approx(1.3672, abs=1e-4)
    assert any("no field will be segmented" in note for note in made.notes)
    assert project.raw_path(made.source.plate) == (real_data / PLATE_3434).resolve()
    assert [row.well for row in project.plate_map] == list(made.raw.wells)


def test_a_real_image_becomes_a_one_well_plate(real_data: Path, tmp_path: Path) -> None:
    image = real_data / "hela_lysosomes/xyc_16bit__hela-cells.tif"
    result = CliRunner().invoke(
        init,
        [
            *(str(image), "--output", str(tmp_path / "p"), "--channel-names", "lysosomes; mitochondria; nuclei"),
            *("--cargo", "mitochondria", "--plate-name", "hela", "--pixel-size-um", "0.1"),
        ],
    )
    assert result.exit_code == 0, result.exception
    project = load_project(tmp_path / "p")
    assert project.config.channels.by_role() == {"lysosome": "lysosomes", "cargo": "mitochondria", "nucleus": "nuclei"}
    assert (project.plates["hela"].format, project.plates["hela"].pixel_size_um) == ("tiff", 0.1)
    assert len(project.plate_map) == 1
