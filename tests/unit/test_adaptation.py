"""Correcting a few cells: what is written, trained on and compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from network_kit import write_tiny
from test_train_tiles import a_cell

from lysoquant.benchmark import adaptation
from lysoquant.benchmark.adaptation import METRICS, adapt
from lysoquant.cli.main import invoke
from lysoquant.examples.annotated import read_examples
from lysoquant.train.sources import MixedSource


def cells(*, seed: int, count: int) -> Iterator[tuple[str, Any]]:
    for number in range(count):
        yield "kind", replace(a_cell(seed=seed + number), name=f"cell {number}")


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """F1 of 0.9 and 0.5 before, 0.8 and 0.8 after; what was asked for on the way."""
    seen: dict[str, Any] = {"scored": []}
    start = write_tiny(tmp_path / "start.safetensors")

    def train(**given: Any) -> Path:
        seen.update(given)
        return write_tiny(tmp_path / "after.safetensors", seed=1)

    def evaluate(file: Path, stream: Any, device: str) -> Any:
        names = [example.name for _, example in stream]
        kind = "shifted" if len(seen["scored"]) % 2 else "usual"
        value = {"start": {"usual": 0.9, "shifted": 0.5}, "after": {"usual": 0.8, "shifted": 0.8}}[file.stem][kind]
        seen["scored"].append((file.stem, kind, names))
        return type("Evaluation", (), {"table": pd.DataFrame([{"value": value}])})

    monkeypatch.setattr(adaptation, "train", train)
    monkeypatch.setattr(adaptation, "evaluate", evaluate)
    monkeypatch.setattr(
        adaptation, "summarise", lambda table: {m: type("M", (), {"mean": table["value"][0]}) for m in METRICS}
    )
    monkeypatch.setattr(adaptation, "usual", cells)
    monkeypatch.setattr(adaptation, "shifted", cells)
    seen["start"] = start
    return seen


def test_the_share_won_back_is_of_what_was_lost(tmp_path: Path, tried: dict[str, Any]) -> None:
    table, won_back = adapt(tried["start"], tmp_path / "out", cells=2, iterations=5, test_cells=3)
    assert won_back == table.loc["shifted cells, after", "won_back"] == pytest.approx(0.75)  # (0.8 - 0.5) / (0.9 - 0.5)
    assert table["won_back"].notna().sum() == 1
    assert list(table.index) == [
        "usual cells, before", "shifted cells, before", "usual cells, after", "shifted cells, after",
    ]  # fmt: skip
    kept = pd.read_csv(tmp_path / "out" / "adaptation.csv")
    assert kept["f1_objects"].tolist() == [0.9, 0.5, 0.8, 0.8]


def test_corrected_cells_are_read_back_from_files_and_never_scored(tmp_path: Path, tried: dict[str, Any]) -> None:
    adapt(tried["start"], tmp_path / "out", cells=2, iterations=5, test_cells=3)
    corrected = list(read_examples(tmp_path / "out" / "corrected"))
    assert len(corrected) == 2
    assert sorted(path.suffix for path in (tmp_path / "out" / "corrected").iterdir()) == [
        ".tif",
        ".tif",
        ".zip",
        ".zip",
    ]
    assert isinstance(tried["source"], MixedSource)
    assert len(tried["source"].annotated.examples) == 2
    assert tried["settings"].start_from == tried["start"]
    assert tried["settings"].iterations == 5
    assert all(names == ["cell 2", "cell 3", "cell 4"] for _, _, names in tried["scored"])


def test_the_command_says_what_was_won(
    tmp_path: Path, tried: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--output", str(tmp_path / "out"), "--model", str(tried["start"]), "--cells", "2", "--test-cells", "3"]
    assert invoke(["benchmark", "adaptation", *options, "--device", "cpu"]) == 0
    assert "won back: 75% of the lost F1, with 2 cells" in capsys.readouterr().out
