"""`lysoquant simulate`: a plate with the next command to type, and a comparison with its truth."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from lysoquant.cli.main import invoke
from lysoquant.config import load_config
from lysoquant.io.raw import describe
from lysoquant.layout import Layout

PLATE = ["--wells", "1", "--fields", "1", "--size-px", "64", "--pixel-size-um", "0.12", "--cores", "1"]


def test_a_plate_and_the_command_that_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "my plate"
    assert invoke(["simulate", "plate", str(out), *PLATE]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"1 wells of 1 fields in {out}; truth in {out / 'truth'}"
    words = shlex.split(second.removeprefix("next: "))
    assert words == ["lysoquant", "init", str(out), "--output", "PROJECT", "--plate-map", str(out / "plate_map.csv")]
    assert describe(out).name == "my plate"


def test_ome_tiff_says_its_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o"
    assert invoke(["simulate", "plate", str(out), "--format", "ome-tiff", *PLATE]) == 0
    words = shlex.split(capsys.readouterr().out.splitlines()[-1])
    pattern = words[words.index("--pattern") + 1]
    (out / "truth").rename(tmp_path / "truth")
    assert list(describe(out, pattern=pattern).wells) == ["B02"]


def test_a_second_cargo_is_named_in_the_command_that_comes_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "two"
    assert invoke(["simulate", "plate", str(out), "--second-cargo", *PLATE]) == 0
    words = shlex.split(capsys.readouterr().out.splitlines()[-1].removeprefix("next: lysoquant "))
    assert invoke([str(tmp_path / "project") if word == "PROJECT" else word for word in words]) == 0
    assert "cargo (cargo), LC3 (cargo 2)" in capsys.readouterr().out
    assert load_config(tmp_path / "project/config/config.yaml").channels.cargoes == ("cargo", "LC3")


def test_an_operetta_plate_needs_no_pattern(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "op"
    assert invoke(["simulate", "plate", str(out), "--format", "operetta", *PLATE]) == 0
    assert "--pattern" not in capsys.readouterr().out
    plate = describe(out)
    assert (plate.format, plate.name, list(plate.wells)) == ("harmony", "op", ["B02"])


def test_a_folder_in_use_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").touch()
    assert invoke(["simulate", "plate", str(tmp_path), *PLATE]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path} is not empty; give a new folder\n"


def test_what_was_found_beside_what_is_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout(project=tmp_path, results=tmp_path / "results")
    monkeypatch.setattr("lysoquant.config.load_project", lambda project: SimpleNamespace(layout=layout))
    head = "well,condition,n_endolysosomes,occupancy_pooled\n"
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "wells.csv").write_text(head + "B02,SEC62,100,0.7\nB03,LIR,90,0.2\nB04,none,0,\n")
    layout.tables.mkdir(parents=True)
    (layout.tables / "wells.csv").write_text(head + "B02,SEC62,98,0.65\nB03,LIR,80,0.3\nB04,none,0,\n")
    assert invoke(["simulate", "compare", str(tmp_path), str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["well", "condition", "true", "n", "found", "n", "true", "found", "error"]
    assert lines[1].split() == ["B02", "SEC62", "100", "98", "0.700", "0.650", "-0.050"]
    assert lines[2].split() == ["B03", "LIR", "90", "80", "0.200", "0.300", "+0.100"]
    assert lines[3].split()[4:] == ["nan", "nan", "+nan"]
    assert lines[4] == "largest error of occupancy: 0.100 (1 wells without endolysosomes left out)"
