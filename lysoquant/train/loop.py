"""The training loop: scenes made on the fly, checkpoints, resume."""

from __future__ import annotations

import csv
import math
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lysoquant.errors import InputError
from lysoquant.model.network import Architecture, UNet
from lysoquant.model.precision import autocast
from lysoquant.model.weights import ModelCard, load_model, save_model
from lysoquant.progress import Progress
from lysoquant.train.loss import class_cross_entropy, weighted_cross_entropy
from lysoquant.train.tiles import SceneTiles, TileSettings


@dataclass(frozen=True)
class TrainSettings:
    """One training run.

    Attributes
    ----------
    iterations : int
        Steps of the optimiser.
    batch_size : int
        Tiles a step.
    learning_rate : float
        Of Adam until the decay begins.
    decay_share : float
        Last share of the iterations, over which the learning rate falls along a half cosine to 2 %.
    average : float
        Decay of the running average of the weights, which is what is saved.
    class_share : float
        Weight of the term that only tells empty from loaded; 0 is the paper's loss.
    start_from : pathlib.Path or None
        Model file whose weights the run starts from (transfer learning).
    """

    iterations: int = 10_000
    batch_size: int = 2
    learning_rate: float = 4e-4
    warm_up: int = 200
    decay_share: float = 0.35
    average: float = 0.999
    class_share: float = 0.5
    start_from: Path | None = None
    seed: int = 0
    workers: int = 1
    checkpoint_every: int = 500
    architecture: Architecture = field(default_factory=lambda: Architecture(max_features=128))
    tiles: TileSettings = field(default_factory=TileSettings)


def learning_rate(settings: TrainSettings, iteration: int) -> float:
    """Learning rate at an iteration (counted from 0): linear warm-up, constant, then a half cosine down to 2 %."""
    rise = min(1.0, (iteration + 1) / max(1, settings.warm_up))
    start = settings.iterations * (1 - settings.decay_share)
    share = (iteration - start) / max(1.0, settings.iterations - start)
    fall = 1.0 if share < 0 else 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return settings.learning_rate * rise * fall


def train(*, folder: Path, settings: TrainSettings, device: str = "cpu") -> Path:
    """Train a network, or go on with the run that `folder` holds.

    Returns
    -------
    pathlib.Path
        The model file, ``folder/model.safetensors``.

    Raises
    ------
    InputError
        If the folder holds a run of another network, or a damaged checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    network = UNet(settings.architecture).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.start_from is not None:
        network.load_state_dict(load_model(settings.start_from).network.state_dict())
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.999))
    done = _resume(folder, network, optimiser, average)
    scenes = math.ceil(done * settings.batch_size / settings.tiles.tiles_per_scene)
    stream = SceneTiles(settings.tiles, seed=settings.seed, first_scene=scenes)
    loader = DataLoader(stream, batch_size=settings.batch_size, num_workers=settings.workers)
    started = time.perf_counter()
    with Progress("train", total=settings.iterations, done=done) as progress:
        losses: list[float] = []
        for iteration, batch in zip(range(done, settings.iterations), loader, strict=False):
            losses.append(_step(network, optimiser, average, batch, settings, iteration, device))
            if (iteration + 1) % 50 == 0:
                progress.advance(50, note=f"loss {sum(losses[-50:]) / 50:.4f}")
            if (iteration + 1) % settings.checkpoint_every == 0 or iteration + 1 == settings.iterations:
                _checkpoint(folder, network, optimiser, average, iteration + 1)
                seconds = time.perf_counter() - started
                _log(folder, iteration + 1, sum(losses) / len(losses), learning_rate(settings, iteration), seconds)
                save(folder / "model.safetensors", average, settings, iteration + 1)
                losses.clear()
    return folder / "model.safetensors"


def _step(
    network: UNet,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor],
    batch: list[Tensor],
    settings: TrainSettings,
    iteration: int,
    device: str,
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(settings, iteration)
    images, classes, weights = (tensor.to(device) for tensor in batch)
    with autocast(device):
        scores = network(images.contiguous(memory_format=torch.channels_last))
    loss = weighted_cross_entropy(scores, classes, weights)
    loss = loss + settings.class_share * class_cross_entropy(scores, classes, weights)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    decay = min(settings.average, (iteration + 1) / (iteration + 10))
    with torch.no_grad():
        for name, value in network.state_dict().items():
            average[name].lerp_(value, 1 - decay)
    return float(loss.detach())


def save(path: Path, weights: dict[str, Tensor], settings: TrainSettings, iterations: int) -> None:
    """Write averaged weights as a model file with what is known of it now."""
    network = UNet(settings.architecture)
    network.load_state_dict({name: value.cpu() for name, value in weights.items()})
    training: dict[str, str | int | float] = {
        "data": "simulated scenes made on the fly (lysoquant.simulate.randomise)",
        "iterations": iterations,
        "batch_size": settings.batch_size,
        "tile_px": settings.tiles.tile_px,
        "seed": settings.seed,
        "learning_rate": settings.learning_rate,
        "class_share": settings.class_share,
        "start_from": str(load_model(settings.start_from).sha256) if settings.start_from else "",
    }
    card = ModelCard(
        name=f"lysoquant-{settings.architecture.levels}x{settings.architecture.base_features}",
        architecture=settings.architecture,
        normalization=settings.tiles.normalization,
        training=training,
    )
    save_model(path, network, card)


def _checkpoint(
    folder: Path, network: UNet, optimiser: torch.optim.Optimizer, average: dict[str, Tensor], done: int
) -> None:
    partial = folder / ".checkpoint.part"
    torch.save(
        {
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "average": average,
            "done": done,
            "architecture": network.architecture.model_dump(),
        },
        partial,
    )
    partial.replace(folder / "checkpoint.pt")


def _resume(folder: Path, network: UNet, optimiser: torch.optim.Optimizer, average: dict[str, Tensor]) -> int:
    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(
            f"{path}: damaged, or no checkpoint of lysoquant; remove it, or give another --output"
        ) from error
    if state["architecture"] != network.architecture.model_dump():
        raise InputError(
            f"{path}: is a run of the network {state['architecture']}, not {network.architecture.model_dump()}; "
            "give another --output"
        )
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    for name, value in state["average"].items():
        average[name].copy_(value)
    return int(state["done"])


def _log(folder: Path, iteration: int, loss: float, rate: float, seconds: float) -> None:
    path = folder / "log.csv"
    row = {"iteration": iteration, "loss": f"{loss:.5f}", "learning_rate": f"{rate:.3g}", "seconds": f"{seconds:.0f}"}
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, row, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
