"""The training loop: it learns, stops, and goes on as if it had never stopped."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from network_kit import TINY, tiny_network
from test_train_tiles import a_cell

from lysoquant.errors import InputError
from lysoquant.model.architecture import Architecture
from lysoquant.model.weights import load_model
from lysoquant.train import loop
from lysoquant.train.curves import COLUMNS, draw
from lysoquant.train.loop import seconds_per_step, train
from lysoquant.train.settings import TrainSettings, learning_rate, paper_settings
from lysoquant.train.sources import AnnotatedSource, SimulatedSource
from lysoquant.train.tiles import TileSettings
from lysoquant.train.validate import validate, validation_tiles

SMALL = TileSettings(tile_px=64, tiles_per_scene=3)
QUICK = TrainSettings(
    iterations=4, batch_size=2, warm_up=1, workers=0, checkpoint_every=2, architecture=TINY, tiles=SMALL
)
SOURCE = AnnotatedSource([a_cell(seed=number) for number in range(3)], seed=0)


def run(folder: Path, settings: TrainSettings = QUICK) -> Path:
    return train(folder=folder, settings=settings, source=SOURCE, validation=SOURCE)


def log(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_the_learning_rate_rises_stays_and_falls() -> None:
    settings = TrainSettings(iterations=1000, learning_rate=1e-3, warm_up=100, decay_share=0.4)
    assert learning_rate(settings, 0) == pytest.approx(1e-5)
    assert learning_rate(settings, 49) == pytest.approx(5e-4)
    assert learning_rate(settings, 99) == learning_rate(settings, 599) == pytest.approx(1e-3)
    assert learning_rate(settings, 800) == pytest.approx(1e-3 * (0.02 + 0.98 / 2))
    assert learning_rate(settings, 1000) == pytest.approx(2e-5)
    rates = [learning_rate(settings, n) for n in range(600, 1000)]
    assert all(after < before for before, after in itertools.pairwise(rates))


def test_the_papers_settings_drop_late() -> None:
    paper = paper_settings()
    assert [learning_rate(paper, n) for n in (0, 249_999, 250_000, 299_999)] == [1e-4, 1e-4, 5e-5, 5e-5]
    assert (paper.batch_size, paper.class_share, paper.average, paper.tiles.normalization) == (1, 0, 0, "joint")
    assert (paper.architecture.levels, paper.architecture.features()[-1], paper.architecture.padding) == (
        7, 1024, "valid",
    )  # fmt: skip
    assert paper.architecture.answer_px(paper.tiles.tile_px) == paper.tiles.tile_px
    weights = paper.tiles.weights
    assert (weights.border_factor, weights.border_sigma_px, weights.balance, weights.balance_sigma_px) == (
        50, 6, 0.1, 10,
    )  # fmt: skip


def test_a_run_leaves_a_model_its_log_and_its_curves(tmp_path: Path) -> None:
    model = load_model(run(tmp_path))
    assert model.card.architecture == TINY
    assert model.card.normalization == "cell"
    assert model.card.training["iterations"] == 4
    assert "3 annotated cells" in str(model.card.training["data"])
    assert [row["iteration"] for row in log(tmp_path)] == ["2", "4"]
    assert tuple(log(tmp_path)[0]) == COLUMNS
    assert float(log(tmp_path)[1]["loss"]) > 0
    assert (tmp_path / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    whole = run(tmp_path / "whole")

    class StopError(Exception):
        pass

    calls: list[int] = []
    step = loop._step

    def stopping(state: Any, network: Any, batch: Any, settings: Any, iteration: int, device: str) -> Any:
        if len(calls) == stop_after:
            calls.append(-1)
            raise StopError
        calls.append(iteration)
        return step(state, network, batch, settings, iteration, device)

    monkeypatch.setattr(loop, "_step", stopping)
    with pytest.raises(StopError):
        run(tmp_path / "cut")
    path = run(tmp_path / "cut")
    assert calls[-1] == 3
    assert path.read_bytes() == whole.read_bytes()
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in log(tmp_path / name)]
                for name in ("whole", "cut")]  # fmt: skip
    assert timeless[0] == timeless[1]


def test_lines_of_the_log_beyond_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    run(tmp_path, replace(QUICK, iterations=2))
    with (tmp_path / "log.csv").open("a") as handle:
        handle.write("3,9,9,9,9,9,9,9\n1,9,9")
    run(tmp_path)
    assert [row["iteration"] for row in log(tmp_path)] == ["2", "4"]


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    settings = replace(QUICK, iterations=1)
    before = run(tmp_path, settings).read_bytes()
    assert run(tmp_path, settings).read_bytes() == before
    assert [row["iteration"] for row in log(tmp_path)] == ["1"]
    (tmp_path / "model.safetensors").unlink()
    assert run(tmp_path, settings).read_bytes() == before
    run(tmp_path, replace(QUICK, iterations=2))
    with pytest.raises(InputError, match=r"holds a run of 2 iterations, more than 1; give --iterations 2 or more"):
        run(tmp_path, settings)


def test_progress_counts_from_where_the_run_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, replace(QUICK, iterations=2))
    assert "train: 2/2 loss" in capsys.readouterr().err
    run(tmp_path)
    assert "train: 4/4 loss" in capsys.readouterr().err


def test_another_run_or_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    run(tmp_path, replace(QUICK, iterations=1))
    other = Architecture(levels=3, base_features=5)
    with pytest.raises(InputError, match=r"is a run with architecture base_features 4, not 5; give another folder"):
        run(tmp_path, replace(QUICK, architecture=other))
    with pytest.raises(InputError, match=r"is a run with seed 0, not 5"):
        run(tmp_path, replace(QUICK, seed=5))
    with pytest.raises(InputError, match=r"is a run with source "):
        train(folder=tmp_path, settings=QUICK, source=SimulatedSource(seed=0))
    checkpoint = tmp_path / "checkpoint.pt"
    torch.save([1], tmp_path / "list.pt")
    whole, foreign = checkpoint.read_bytes(), (tmp_path / "list.pt").read_bytes()
    for damage in (whole[:300], whole[:5000], b"", b"no checkpoint", foreign):
        checkpoint.write_bytes(damage)
        with pytest.raises(InputError, match=r"checkpoint\.pt: damaged, or no checkpoint of lysoquant"):
            run(tmp_path)


def test_a_run_from_an_earlier_model_begins_with_its_weights(tmp_path: Path) -> None:
    start = run(tmp_path / "first")
    still = replace(QUICK, iterations=1, learning_rate=1e-12, start_from=start, average=0.0)
    before, after = (load_model(path) for path in (start, run(tmp_path / "second", still)))
    for name, value in after.network.state_dict().items():
        torch.testing.assert_close(value, before.network.state_dict()[name], atol=1e-6, rtol=0)
    assert after.card.training["start_from"] == before.sha256
    with pytest.raises(InputError, match=r"is a run with start_from [0-9a-f]{64}, not None; give another folder"):
        run(tmp_path / "second", replace(still, start_from=None))
    with pytest.raises(InputError, match=r"has features \[4, 8, 16\], the run"):
        run(tmp_path / "third", replace(still, architecture=Architecture(levels=3, base_features=5)))


def test_the_average_of_the_weights_is_what_is_saved(tmp_path: Path) -> None:
    last = load_model(run(tmp_path / "last", replace(QUICK, average=0.0, learning_rate=1e-2)))
    kept = torch.load(tmp_path / "last" / "checkpoint.pt", weights_only=True)
    for name, value in last.network.state_dict().items():
        torch.testing.assert_close(value, kept["network"][name].half().float())
    run(tmp_path / "mean", replace(QUICK, learning_rate=1e-2))
    kept = torch.load(tmp_path / "mean" / "checkpoint.pt", weights_only=True)
    assert any(not torch.equal(kept["network"][name], kept["average"][name]) for name in kept["average"])


def test_a_tiny_network_learns_to_tell_squares_from_nothing(tmp_path: Path) -> None:
    def bright(seed: int) -> Any:
        cell = a_cell(seed=seed)
        coarse = cell.regions[::2, ::2]
        lysosome = np.where(coarse > 0, 200, 100).astype(np.uint16)
        cargo = np.where(coarse == 1, 200, 100).astype(np.uint16)
        return replace(cell, lysosome=lysosome, cargo=cargo)

    source = AnnotatedSource([bright(seed) for seed in range(3)], seed=0)
    settings = replace(QUICK, iterations=120, checkpoint_every=60, learning_rate=1e-2, average=0.9)
    train(folder=tmp_path, settings=settings, source=source, validation=source)
    first, last = log(tmp_path)
    assert float(last["validation_loss"]) < float(first["validation_loss"]) * 0.9
    assert float(last["iou_loaded"]) > 0.5


def test_tiles_get_the_margin_and_the_jitter_of_the_network() -> None:
    same = loop._fitting(SMALL, Architecture())
    assert (same.margin_px, same.jitter_px) == (0, 32)
    valid = loop._fitting(SMALL, Architecture(levels=5, padding="valid"))
    assert (valid.margin_px, valid.jitter_px) == (92, 8)


def test_a_network_with_valid_convolutions_trains(tmp_path: Path) -> None:
    architecture = Architecture(levels=2, base_features=4, padding="valid")
    tiles = replace(SMALL, tile_px=architecture.answer_px(64))
    model = load_model(run(tmp_path, replace(QUICK, iterations=2, architecture=architecture, tiles=tiles)))
    assert model.card.architecture.padding == "valid"


def test_validation_by_hand() -> None:
    tiles = validation_tiles(SOURCE, SMALL, seed=3, count=2)
    assert len(tiles) == 2

    class Perfect(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.answers = itertools.cycle(tiles)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            image, classes, _ = next(self.answers)
            assert torch.equal(images, image)
            return 20 * torch.nn.functional.one_hot(classes, 3).permute(2, 0, 1)[None].float()

    found = validate(Perfect(), tiles, device="cpu")  # type: ignore[arg-type]
    assert (found.iou_empty, found.iou_loaded, found.f1_segmentation) == (1, 1, 1)
    assert found.loss < 1e-6
    network = tiny_network()
    torch.nn.init.zeros_(network.score.weight)
    with torch.no_grad():
        network.score.bias.copy_(torch.tensor([0.0, 9.0, 0.0]))
    found = validate(network, tiles, device="cpu")
    counted = [(classes[weights > 0] == 1).float().mean() for _, classes, weights in tiles]
    assert found.iou_empty == pytest.approx(float(np.mean(counted)), rel=0.05)
    assert found.iou_loaded == 0


def test_curves_are_drawn_with_gaps_for_what_is_undefined(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(",".join(COLUMNS) + "\n1,0.5,1e-4,3,0.6,,0.4,\n2,0.4,1e-4,6,0.5,0.1,0.5,0.2\n")
    draw(tmp_path / "log.csv", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_the_time_of_a_step_is_measured() -> None:
    assert 0 < seconds_per_step(QUICK, device="cpu", steps=1) < 10


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
