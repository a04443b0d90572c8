"""Settings of a training run: ours, and the paper's."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lysoquant.model.architecture import Architecture
from lysoquant.train.augment import PAPER
from lysoquant.train.loss import LossWeights
from lysoquant.train.tiles import TileSettings

Schedule = Literal["cosine", "late-drop"]

_LEAST_RATE = 0.02
_LATE_DROP = 0.5


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
    schedule : {"cosine", "late-drop"}
        Over the last `decay_share` of the iterations the learning rate falls along a half cosine to 2 %, or it is
        halved at their beginning (the paper: 1e-4, then 5e-5 for the last 50,000 of 300,000).
    average : float
        Decay of the running average of the weights, which is what is saved; 0 saves the last weights.
    class_share : float
        Weight of the term that only tells empty from loaded; 0 is the paper's loss.
    start_from : pathlib.Path or None
        Model file whose weights the run starts from (transfer learning).
    """

    iterations: int = 20_000
    batch_size: int = 2
    learning_rate: float = 4e-4
    warm_up: int = 200
    schedule: Schedule = "cosine"
    decay_share: float = 0.5
    average: float = 0.999
    class_share: float = 0.5
    start_from: Path | None = None
    seed: int = 0
    workers: int = 1
    checkpoint_every: int = 500
    architecture: Architecture = field(default_factory=lambda: Architecture(max_features=128))
    tiles: TileSettings = field(default_factory=lambda: TileSettings(weights=LossWeights(border_factor=15.0)))


def paper_settings() -> TrainSettings:
    """The published training: uncapped network, valid convolutions, joint normalisation, batches of one tile.

    300,000 iterations take about half an hour on a current data-centre GPU and weeks on a laptop's processor.
    """
    architecture = Architecture(padding="valid")
    return TrainSettings(
        iterations=300_000,
        batch_size=1,
        learning_rate=1e-4,
        warm_up=0,
        schedule="late-drop",
        decay_share=1 / 6,
        average=0.0,
        class_share=0.0,
        architecture=architecture,
        tiles=TileSettings(tile_px=196, normalization="joint", augmentation=PAPER),
    )


def learning_rate(settings: TrainSettings, iteration: int) -> float:
    """Learning rate at an iteration, counted from 0: linear warm-up, constant, then the schedule's fall."""
    rise = min(1.0, (iteration + 1) / max(1, settings.warm_up))
    start = settings.iterations * (1 - settings.decay_share)
    share = (iteration - start) / max(1.0, settings.iterations - start)
    if share < 0:
        fall = 1.0
    elif settings.schedule == "late-drop":
        fall = _LATE_DROP
    else:
        fall = _LEAST_RATE + (1 - _LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return settings.learning_rate * rise * fall
