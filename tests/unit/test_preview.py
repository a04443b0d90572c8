"""`lysoquant cells --preview`: counts and picture without a result, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from skimage.io import imread

from lysoquant.cli.main import invoke
from lysoquant.io.store import PlateStore

YELLOW = (255, 214, 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two wells of one small field, just initialised; not to be written to."""
    folder = tmp_path_factory.mktemp("preview")
    raw = str(folder / "raw")
    assert invoke(["simulate", "plate", raw, "--wells", "2", "--fields", "1", "--size-px", "400",
                   "--pixel-size-um", "0.12", "--cores", "1"]) == 0  # fmt: skip
    assert invoke(["init", raw, "--output", str(folder / "project"), "--plate-name", "P"]) == 0
    return folder / "project"


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    """A copy of the project; its raw plate stays where it is."""
    # As deep as the original, so that the relative path of the raw plate holds.
    shutil.copytree(made.parent, tmp_path / "copy")
    return tmp_path / "copy" / "project"


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _yellow(path: Path) -> NDArray[np.bool_]:
    picture: NDArray[np.uint8] = imread(path)[..., :3]
    return np.all(picture == YELLOW, axis=-1)


def test_a_preview_agrees_with_the_run_and_writes_a_picture_only(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(project)
    assert invoke(["cells", str(project), "--preview", "B02,P/B03"]) == 0
    told = capsys.readouterr().out.splitlines()
    picture = project / "results" / "preview" / "cells_P_B02_0_P_B03_0.png"
    assert told[-1] == f"picture: {picture.absolute()}"
    assert {path: text for path, text in _files(project).items() if path != picture} == before

    assert invoke(["convert", str(project)]) == 0
    assert invoke(["cells", str(project)]) == 0
    store = PlateStore.open(project / "results" / "P" / "P.zarr")
    lines = [line for line in told if line.startswith("P/")]
    for well, line in zip(("B02", "B03"), lines, strict=True):
        n_cells = len(np.unique(store.field(well, 0).read_label("cells"))) - 1
        assert n_cells > 2
        assert line.startswith(f"P/{well}/0 (from the raw plate): ")
        assert f", {n_cells} cells (median diameter " in line

    from_raw = picture.read_bytes()
    before = {path: text for path, text in _files(project).items() if path != picture}
    capsys.readouterr()
    assert invoke(["cells", str(project), "--preview", "b2,B03"]) == 0
    again = [line for line in capsys.readouterr().out.splitlines() if line.startswith("P/")]
    assert again == [line.replace("raw plate", "store") for line in lines]
    assert {path: text for path, text in _files(project).items() if path != picture} == before
    # The words differ (raw plate, store), the outlines do not.
    (project / "raw.png").write_bytes(from_raw)
    assert np.array_equal(_yellow(project / "raw.png"), _yellow(picture))

    # Read in another way than the store was: the raw plate again.
    assert invoke(["cells", str(project), "--preview", "B02", "--set", "convert.z=max"]) == 0
    assert "(from the raw plate)" in capsys.readouterr().out


def test_a_preview_sees_the_even_light_that_the_run_sees(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.linspace(0.2, 1.8, 400, dtype=np.float32)
    for channel in ("nucleus", "lysosome", "cargo"):
        (project / "flat").mkdir(exist_ok=True)
        tifffile.imwrite(project / "flat" / f"{channel}.tif", np.tile(x, (400, 1)))
    plain = ["cells", str(project), "--preview", "B02"]
    lit = [*plain, "--set", "illumination.flat_field=flat/{channel}.tif"]
    pictures = []
    for arguments in (plain, lit):
        assert invoke([*arguments, "--output", str(project / "shown.png")]) == 0
        pictures.append(_yellow(project / "shown.png"))
    assert not np.array_equal(*pictures)
    assert invoke([*lit[:-1], "illumination.flat_field=flat/none.tif"]) == 2
    assert "no flat-field image at flat/none.tif" in capsys.readouterr().err


def test_settings_are_tried_and_the_configuration_stays(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = []
    for radius in ("3", "30"):
        pictures.append(tmp_path / f"{radius}.png")
        arguments = ["cells", str(project), "--preview", "B02", "--output", str(pictures[-1]), "--set"]
        assert invoke([*arguments, f"cells.max_radius_um={radius}"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("P/")]
    medians = [float(line.split(" cells (median diameter ")[1].split(" um")[0]) for line in lines]
    assert medians[0] < 0.9 * medians[1]
    assert not np.array_equal(_yellow(pictures[0]), _yellow(pictures[1]))
    assert "max_radius_um: 30" in (project / "config" / "config.yaml").read_text()
    assert not (project / "results").exists()


def test_doubts_are_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["cells", str(project), "--preview", "B02"]
    assert invoke([*arguments, "--set", "cells.min_nucleus_area_um2=100000"]) == 0
    told = capsys.readouterr().out
    assert "0 nuclei, 0 cells, 1 doubt\n" in told
    assert "look: no cells found: no nucleus with a cell around it stands out" in told


def test_other_methods(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.zeros((400, 400), np.uint16)
    labels[50:150, 60:160], labels[200:300, 60:160] = 4, 9
    tifffile.imwrite(project / "B02_0.tif", labels)
    arguments = ["cells", str(project), "--preview", "B02", "--set"]
    assert invoke([*arguments, "cells.method=labels", "--set", "cells.path={well}_{field}.tif"]) == 0
    # 100 x 100 pixels of 0.12 um: the circle of equal area is 13.5 um wide.
    assert "P/B02/0 (from the raw plate): 2 cells (median diameter 13.5 um), no doubts\n" in capsys.readouterr().out
    # The panel is 1000 pixels for 400: two outlines, each of 4 sides of some 250 pixels.
    outline = _yellow(project / "results" / "preview" / "cells_P_B02_0.png")
    assert np.count_nonzero(outline) == pytest.approx(2 * 4 * 250, rel=0.05)
    assert invoke([*arguments, "cells.method=field"]) == 0
    assert "P/B02/0 (from the raw plate): 1 cell, no doubts\n" in capsys.readouterr().out
    assert invoke([*arguments, "cells.method=rois", "--set", "cells.path={well}.zip"]) == 1
    assert "error: field P/B02/0: no cell outlines at " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preview", "Z99"], "--preview 'Z99': 'Z99' is no well; expected a name such as B03 or P/B03"),
        (["--preview", "C05"], "--preview 'C05': no such well in wells.tsv; it has B02, B03"),
        (["--preview", "Q/B02"], "--preview 'Q/B02': no plate 'Q'; the project's plates are P"),
        (["--preview", ","], "names 0 wells; expected 1 to 12"),
        (["--preview", "B02", "--field", "1"], "plate P, well B02: no field 1; its fields are 0 to 0"),
        (["--preview", "B02", "--wells", "B02"], "--preview does not go with --wells"),
        (["--field", "0"], "--field: only with --preview WELL"),
        (["--set", "cells.max_radius_um=3"], "--set: only with --preview WELL"),
        (["--preview", "B02", "--set", "cells.max_radius=3"],
         "unknown key 'cells.max_radius' (did you mean 'max_radius_um'?)"),
        (["--preview", "B02", "--set", "cells.max_radius_um=wide"], "max_radius_um: found 'wide', expected a number"),
        (["--preview", "B02", "--set", "cells"], "--set 'cells': expected KEY=VALUE"),
        (["--preview", "B02", "--set", "segment.tile_px=8"], "'segment' has no part in it"),
        (["--preview", "B02", "--set", "channels.nucleus=null"], "channels.nucleus is null"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(
    made: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _files(made)
    assert invoke(["cells", str(made), *arguments]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert message in told[0]
    assert _files(made) == before
