"""`lysoquant model info`: what the card says, and one line for a wrong file."""

from __future__ import annotations

from pathlib import Path

import pytest
from network_kit import tiny_network, write_tiny

from lysoquant.cli.main import invoke
from lysoquant.model.architecture import Architecture
from lysoquant.model.card import ModelCard
from lysoquant.model.weights import save_model


def test_the_card_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    architecture = Architecture(levels=3, base_features=4, max_features=8)
    card = ModelCard(
        name="mine",
        architecture=architecture,
        training={"data": "simulated", "iterations": 12},
        metrics={"iou_empty": 0.81234567},
        metrics_note="40 scenes",
        limits=("not for mitochondria", "not below 0.04 um"),
    )
    path = tmp_path / "mine.safetensors"
    digest = save_model(path, tiny_network(architecture=architecture), card)
    assert invoke(["model", "info", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"model        mine ({path})"
    assert lines[1] == f"sha256       {digest}"
    count = sum(parameter.numel() for parameter in tiny_network(architecture=architecture).parameters())
    assert lines[2] == f"network      U-Net, 3 levels, 4 base features, at most 8, {count:,} parameters"
    assert lines[3] == "inputs       cargo, lysosome, zeros at 0.025 um"
    assert lines[4] == "classes      background, empty, loaded; normalization cell"
    assert lines[5:] == [
        "training     data: simulated",
        "             iterations: 12",
        "metrics      iou_empty: 0.812346",
        "measured on  40 scenes",
        "limits       not for mitochondria",
        "             not below 0.04 um",
    ]


def test_the_shipped_model_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lysoquant.model.card.DEFAULT_MODEL", write_tiny(tmp_path / "shipped.safetensors"))
    assert invoke(["model", "info"]) == 0
    out = capsys.readouterr().out
    assert "shipped.safetensors" in out
    assert "at most" not in out


def test_a_wrong_file_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"nonsense")
    for path in (bad, tmp_path / "gone.safetensors"):
        assert invoke(["model", "info", str(path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert path.name in error
