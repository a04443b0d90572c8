"""Networks whose answer is known, and files of tiny real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lysoquant.model.architecture import Architecture
from lysoquant.model.card import ModelCard
from lysoquant.model.network import UNet
from lysoquant.model.weights import Model, save_model

torch.set_num_threads(1)  # tests run side by side, and tiny networks gain nothing from threads

TINY = Architecture(levels=3, base_features=4)


class Threshold(nn.Module):
    """Foreground where the lysosome plane is over a half, loaded where the cargo plane is too; sees one pixel.

    `batches` holds the tiles with any signal of each call: the last batch is filled up with empty ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(int(images.flatten(1).any(1).sum()))
        foreground = (images[:, 1] > 0.5).float()
        loaded = foreground * (images[:, 0] > 0.5)
        return 20 * torch.stack([1 - foreground, foreground - loaded, loaded], dim=1)


def batches_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictors made from here on send whole batches through their network, though there is no GPU."""
    monkeypatch.setattr("lysoquant.model.predict.tiles_go_one_by_one", lambda device: False)


def all_work_as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictors made from here on take the fast path of a GPU, with the processor standing in for it."""
    monkeypatch.setattr("lysoquant.model.predict.stays_on_device", lambda device: True)


def threshold_model() -> Model:
    return Model(network=Threshold(), card=ModelCard(name="threshold", architecture=TINY), sha256="0" * 64)  # type: ignore[arg-type]


def tiny_network(*, seed: int = 0, architecture: Architecture = TINY) -> UNet:
    torch.manual_seed(seed)
    return UNet(architecture)


def write_tiny(path: Path, *, seed: int = 0, architecture: Architecture = TINY) -> Path:
    network = tiny_network(seed=seed, architecture=architecture)
    save_model(path, network, ModelCard(name="tiny", architecture=architecture))
    return path
