"""The training loop: batches made off the critical path, checkpoints, exact resume."""

from __future__ import annotations

import dataclasses
import errno
import json
import pickle
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.utils.data import DataLoader

from lysoquant.errors import InputError
from lysoquant.model.architecture import Architecture
from lysoquant.model.card import ModelCard
from lysoquant.model.network import UNet
from lysoquant.model.precision import autocast, resolve_precision
from lysoquant.model.weights import load_model, save_model
from lysoquant.progress import Progress
from lysoquant.record import digest_file
from lysoquant.train import curves
from lysoquant.train.loss import class_cross_entropy, weighted_cross_entropy
from lysoquant.train.settings import TrainSettings, learning_rate
from lysoquant.train.sources import SimulatedSource, Source
from lysoquant.train.tiles import TileSettings, TileStream
from lysoquant.train.validate import validate, validation_tiles

_VALIDATION_SEED = 7_000_003
_VALIDATION_TILES = 24


@dataclass
class _State:
    """All that a run carries from one step to the next."""

    network: UNet
    optimiser: torch.optim.Optimizer
    average: dict[str, Tensor]
    done: int = 0


def train(
    *,
    folder: Path,
    settings: TrainSettings,
    device: str = "cpu",
    source: Source | None = None,
    validation: Source | None = None,
) -> Path:
    """Train a network, or go on with the run that `folder` holds.

    An interrupted run that is called again ends with the weights of a run that was not interrupted: each batch depends
    on the seed and its number alone.

    Parameters
    ----------
    source, validation : Source, optional
        Where the cells come from; by default simulated scenes, another stream of them for validation.

    Returns
    -------
    pathlib.Path
        The model file, ``folder/model.safetensors``. Beside it: ``checkpoint.pt``, ``log.csv``, ``curves.png``.

    Raises
    ------
    InputError
        If the folder holds a run with other settings, or a damaged checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = source or SimulatedSource(seed=settings.seed)
    validation = validation or SimulatedSource(seed=_VALIDATION_SEED)
    settings = replace(settings, tiles=_fitting(settings.tiles, settings.architecture))
    state = _begin(settings, device)
    _resume(folder, state, settings, source)
    if state.done > settings.iterations:
        raise InputError(
            f"{folder}: holds a run of {state.done} iterations, more than {settings.iterations}; give --iterations "
            f"{state.done} or more, or another folder"
        )
    if state.done == settings.iterations:
        if not (folder / "model.safetensors").exists():
            save(folder / "model.safetensors", _averaged(state, settings), settings, state.done, source)
        return folder / "model.safetensors"
    stream = TileStream(
        source, settings.tiles, seed=settings.seed, batch_size=settings.batch_size, first_batch=state.done
    )
    loader = DataLoader(
        stream,
        batch_size=None,
        num_workers=settings.workers,
        pin_memory=device == "cuda",
        worker_init_fn=_one_thread if settings.workers else None,
    )
    tiles = validation_tiles(validation, settings.tiles, seed=_VALIDATION_SEED, count=_VALIDATION_TILES)
    step = _compiled(state.network, device)
    before = curves.cut_after(folder / "log.csv", state.done)
    told = state.done
    started = time.perf_counter()
    with Progress("train", total=settings.iterations, done=state.done) as progress:
        losses: list[Tensor] = []
        for iteration, batch in zip(range(state.done, settings.iterations), loader, strict=False):
            losses.append(_step(state, step, batch, settings, iteration, device))
            if (iteration + 1) % 50 == 0 or iteration + 1 == settings.iterations:
                progress.advance(iteration + 1 - told, note=f"loss {float(torch.stack(losses[-50:]).mean()):.4f}")
                told = iteration + 1
            if (iteration + 1) % settings.checkpoint_every == 0 or iteration + 1 == settings.iterations:
                state.done = iteration + 1
                averaged = _averaged(state, settings)
                curves.append(
                    folder / "log.csv",
                    iteration=state.done,
                    loss=float(torch.stack(losses).mean()),
                    rate=learning_rate(settings, iteration),
                    seconds=before + time.perf_counter() - started,
                    validation=validate(averaged.to(device).eval(), tiles, device=device),
                )
                curves.draw(folder / "log.csv", folder / "curves.png")
                save(folder / "model.safetensors", averaged, settings, state.done, source)
                _checkpoint(folder, state, settings, source)
                losses.clear()
    return folder / "model.safetensors"


def seconds_per_step(settings: TrainSettings, *, device: str, steps: int = 3) -> float:
    """Time of one step on this machine, measured with a blank batch; making batches goes on beside it."""
    state = _begin(replace(settings, start_from=None), device)
    size, answer = settings.tiles.tile_px + settings.architecture.loss_px, settings.tiles.tile_px
    batch = (
        torch.rand(settings.batch_size, settings.tiles.in_channels, size, size),
        torch.zeros(settings.batch_size, answer, answer, dtype=torch.int64),
        torch.ones(settings.batch_size, answer, answer),
    )
    _step(state, state.network, batch, settings, 0, device)
    started = time.perf_counter()
    for _ in range(steps):
        float(_step(state, state.network, batch, settings, 0, device))
    return (time.perf_counter() - started) / steps


def arithmetic(device: str) -> str:
    """What a run computes in, for people."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return f"{name}, {resolve_precision('auto', torch.device(device))}"


def save(path: Path, network: UNet, settings: TrainSettings, iterations: int, source: Source) -> None:
    """Write a network as a model file with what is known of it now."""
    tiles = settings.tiles
    training: dict[str, str | int | float] = {
        "data": source.description,
        "iterations": iterations,
        "batch_size": settings.batch_size,
        "tile_px": tiles.tile_px,
        "seed": settings.seed,
        "learning_rate": settings.learning_rate,
        "schedule": settings.schedule,
        "class_share": settings.class_share,
        "border_factor": tiles.weights.border_factor,
        "average": settings.average,
        "start_from": digest_file(settings.start_from) if settings.start_from else "",
    }
    card = ModelCard(
        name=f"lysoquant-{settings.architecture.levels}x{settings.architecture.base_features}",
        architecture=settings.architecture,
        normalization=tiles.normalization,
        training=training,
    )
    save_model(path, network.cpu(), card)


def _begin(settings: TrainSettings, device: str) -> _State:
    torch.manual_seed(settings.seed)
    network = UNet(settings.architecture).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.start_from is not None:
        start = load_model(settings.start_from)
        if start.card.architecture.features() != settings.architecture.features():
            raise InputError(
                f"{settings.start_from}: has features {start.card.architecture.features()}, the run "
                f"{settings.architecture.features()}; give --levels, --base-features and --max-features of that model"
            )
        network.load_state_dict(start.network.state_dict())
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.999))
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    return _State(network, optimiser, average)


def _one_thread(_worker: int) -> None:
    """Small matrices on many threads would take the processor from the network."""
    threadpool_limits(1)


def _fitting(tiles: TileSettings, architecture: Architecture) -> TileSettings:
    """Tiles for a network: the margin of valid convolutions, the recipe's jitter of half of 2**poolings."""
    return replace(tiles, margin_px=architecture.loss_px // 2, jitter_px=architecture.multiple / 2)


def _compiled(network: UNet, device: str) -> Any:
    """The network, compiled on a GPU."""
    return torch.compile(network) if device == "cuda" else network


def _step(
    state: _State,
    network: Any,
    batch: tuple[Tensor, Tensor, Tensor],
    settings: TrainSettings,
    iteration: int,
    device: str,
) -> Tensor:
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(settings, iteration)
    images, classes, weights = (tensor.to(device, non_blocking=True) for tensor in batch)
    with autocast(device):
        scores = network(images.contiguous(memory_format=torch.channels_last))
    loss = weighted_cross_entropy(scores, classes, weights)
    if settings.class_share:
        loss = loss + settings.class_share * class_cross_entropy(scores, classes, weights)
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
    state.optimiser.step()
    decay = min(settings.average, (iteration + 1) / (iteration + 10))
    with torch.no_grad():
        for name, value in state.network.state_dict().items():
            state.average[name].lerp_(value, 1 - decay)
    return loss.detach()


def _averaged(state: _State, settings: TrainSettings) -> UNet:
    network = UNet(settings.architecture)
    network.load_state_dict({name: value.cpu() for name, value in state.average.items()})
    return network


def _identity(settings: TrainSettings, source: Source) -> str:
    """What makes two runs one: all settings but how long, and how the batches are made."""
    fields = dataclasses.asdict(replace(settings, iterations=0, workers=0, checkpoint_every=0, start_from=None))
    fields["architecture"] = settings.architecture.model_dump()
    fields["source"] = source.description
    fields["start_from"] = digest_file(settings.start_from) if settings.start_from else None
    return json.dumps(fields, sort_keys=True, default=str)


def _checkpoint(folder: Path, state: _State, settings: TrainSettings, source: Source) -> None:
    partial = folder / ".checkpoint.part"
    torch.save(
        {
            "network": state.network.state_dict(),
            "optimiser": state.optimiser.state_dict(),
            "average": state.average,
            "done": state.done,
            "settings": _identity(settings, source),
        },
        partial,
    )
    partial.replace(folder / "checkpoint.pt")


def _resume(folder: Path, state: _State, settings: TrainSettings, source: Source) -> None:
    path = folder / "checkpoint.pt"
    if not path.exists():
        return
    wanted = json.loads(_identity(settings, source))
    try:
        kept: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        before = json.loads(kept["settings"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # torch says EINVAL of a file cut short
            raise
        raise InputError(
            f"{path}: damaged, or no checkpoint of lysoquant; remove it, or give another folder to write to"
        ) from error
    changed = [name for name in wanted if before.get(name) != wanted[name]]
    if changed:
        name, old, new = changed[0], before.get(changed[0]), wanted[changed[0]]
        while isinstance(old, dict) and isinstance(new, dict):
            key = next(key for key in {**old, **new} if old.get(key) != new.get(key))
            name, old, new = f"{name} {key}", old.get(key), new.get(key)
        raise InputError(f"{path}: is a run with {name} {old}, not {new}; give another folder to write to")
    state.network.load_state_dict(kept["network"])
    state.optimiser.load_state_dict(kept["optimiser"])
    for name, value in kept["average"].items():
        state.average[name].copy_(value)
    state.done = int(kept["done"])
