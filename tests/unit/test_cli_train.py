"""`lysoquant train`: options reach the loop, and a tiny run ends with a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lysoquant.cli.main import invoke
from lysoquant.model.network import Architecture
from lysoquant.train.loop import TrainSettings
from lysoquant.train.tiles import TileSettings


def test_options_are_the_loops_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def fake(**given: Any) -> Path:
        seen.update(given)
        return tmp_path / "model.safetensors"

    monkeypatch.setattr("lysoquant.train.loop.train", fake)
    arguments = ["train", str(tmp_path / "out"), "--device", "cpu"]
    assert invoke(arguments) == 0
    assert capsys.readouterr().out == f"model: {tmp_path / 'model.safetensors'}\n"
    assert seen == {"folder": tmp_path / "out", "settings": TrainSettings(), "device": "cpu"}
    options = {"iterations": 7, "batch-size": 1, "tile-px": 64, "levels": 5, "base-features": 6, "max-features": 0,
               "seed": 9, "workers": 2}  # fmt: skip
    assert invoke(arguments + [word for name, value in options.items() for word in (f"--{name}", str(value))]) == 0
    assert seen["settings"] == TrainSettings(
        iterations=7,
        batch_size=1,
        seed=9,
        workers=2,
        architecture=Architecture(levels=5, base_features=6),
        tiles=TileSettings(tile_px=64),
    )


def test_a_tile_that_does_not_fit_the_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["train", str(tmp_path / "out"), "--tile-px", "96"]) == 2
    assert capsys.readouterr().err == "error: --tile-px is 96; with 7 levels it must be a multiple of 64\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("option", "value"), [("--levels", "1"), ("--iterations", "0"), ("--base-features", "9999")])
def test_a_value_out_of_range(tmp_path: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["train", str(tmp_path / "out"), option, value]) == 2
    assert option in capsys.readouterr().err
