"""`lysoquant train`: options reach the loop, and wrong ones are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from network_kit import TINY, write_tiny
from test_train_tiles import a_cell

from lysoquant.cli.main import invoke
from lysoquant.model.architecture import Architecture
from lysoquant.model.card import DEFAULT_MODEL
from lysoquant.train.settings import TrainSettings, paper_settings
from lysoquant.train.sources import AnnotatedSource, MixedSource


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    given: dict[str, Any] = {}

    def fake(**options: Any) -> Path:
        given.update(options)
        return tmp_path / "model.safetensors"

    monkeypatch.setattr("lysoquant.train.loop.train", fake)
    monkeypatch.setattr("lysoquant.train.loop.seconds_per_step", lambda _settings, device: 0.5)
    return given


def train(tmp_path: Path, *options: str) -> int:
    return invoke(["train", str(tmp_path / "out"), "--device", "cpu", *options])


def test_the_defaults_are_the_settings_of_the_shipped_model_and_the_time_is_told_first(
    tmp_path: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path) == 0
    out, err = capsys.readouterr()
    assert out == f"model: {tmp_path / 'model.safetensors'}\n"
    assert err.startswith("expected: about 2.8 h for 20000 iterations of 0.50 s (")
    assert seen == {
        "folder": tmp_path / "out", "settings": TrainSettings(), "device": "cpu", "source": None, "validation": None,
    }  # fmt: skip
    assert train(tmp_path, "--iterations", "600") == 0
    assert "about 5 min for 600 iterations" in capsys.readouterr().err


def test_options_are_the_loops_settings(tmp_path: Path, seen: dict[str, Any]) -> None:
    options = {"iterations": 7, "batch-size": 1, "tile-px": 64, "levels": 5, "base-features": 6, "max-features": 0,
               "seed": 9, "workers": 2, "learning-rate": 0.5, "padding": "reflect", "checkpoint-every": 3}  # fmt: skip
    assert train(tmp_path, *(word for name, value in options.items() for word in (f"--{name}", str(value)))) == 0
    found = seen["settings"]
    assert found.architecture == Architecture(levels=5, base_features=6, padding="reflect")
    assert (found.iterations, found.batch_size, found.tiles.tile_px, found.seed, found.workers) == (7, 1, 64, 9, 2)
    assert (found.learning_rate, found.checkpoint_every) == (0.5, 3)


def test_the_papers_recipe(tmp_path: Path, seen: dict[str, Any]) -> None:
    assert train(tmp_path, "--recipe", "paper") == 0
    assert seen["settings"] == paper_settings()


def test_a_run_from_another_model_takes_its_network(tmp_path: Path, seen: dict[str, Any]) -> None:
    model = write_tiny(tmp_path / "tiny.safetensors")
    assert train(tmp_path, "--start-from", str(model)) == 0
    assert seen["settings"].architecture == TINY
    assert seen["settings"].start_from == model
    assert train(tmp_path, "--start-from", "default") == 0
    assert seen["settings"].start_from == DEFAULT_MODEL


def test_annotated_cells_are_split_and_mixed(
    tmp_path: Path, seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def fake(path: Path, **options: Any) -> list[Any]:
        asked.update(options, path=path)
        return [a_cell(seed=number) for number in range(5)]

    monkeypatch.setattr("lysoquant.examples.annotated.read_examples", fake)
    data = ["--data", str(tmp_path), "--lysosome", "LAMP1", "--cargo", "SEC62", "--pixel-size-um", "0.1"]
    assert train(tmp_path, *data) == 0
    assert asked == {"path": tmp_path, "lysosome": "LAMP1", "cargo": "SEC62", "pixel_size_um": 0.1}
    assert isinstance(seen["source"], MixedSource)
    assert seen["source"].simulated_share == 0.5
    assert len(seen["source"].annotated.examples) == 4
    assert len(seen["validation"].examples) == 1
    assert train(tmp_path, *data, "--simulated-share", "0", "--validation-share", "0") == 0
    assert isinstance(seen["source"], AnnotatedSource)
    assert len(seen["source"].examples) == 5
    assert seen["validation"] is None
    assert train(tmp_path, *data, "--simulated-share", "0", "--validation-share", "0.9") == 0
    assert len(seen["source"].examples) == 1
    assert len(seen["validation"].examples) == 4


def test_no_annotated_cell_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lysoquant.examples.annotated.read_examples", lambda *_a, **_k: iter(()))
    assert train(tmp_path, "--data", str(tmp_path)) == 2
    assert "holds no annotated cell" in capsys.readouterr().err


def test_a_tile_that_does_not_fit_the_depth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "--tile-px", "96") == 2
    assert "error: --tile-px is 96; a network of 7 levels with padding zeros can give 128 px" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--levels", "1"), ("--iterations", "0"), ("--base-features", "9999"), ("--learning-rate", "nan"),
     ("--learning-rate", "inf"), ("--simulated-share", "nan"), ("--validation-share", "nan"),
     ("--pixel-size-um", "nan")],
)  # fmt: skip
def test_a_value_out_of_range(tmp_path: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, option, value) == 2
    assert option in capsys.readouterr().err


def test_a_missing_start_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "--start-from", str(tmp_path / "nothing.safetensors")) == 2
    error = capsys.readouterr().err
    assert "nothing.safetensors" in error
    assert error.count("\n") == 1
