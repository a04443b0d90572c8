"""How a network does on tiles that its training never sees."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lysoquant.metrics.matching import components, match_iou
from lysoquant.metrics.overlap import overlap, share
from lysoquant.model.network import UNet
from lysoquant.model.precision import autocast
from lysoquant.train.augment import Augmentation
from lysoquant.train.loss import weighted_cross_entropy
from lysoquant.train.sources import Source
from lysoquant.train.tiles import TileSettings, TileStream
from lysoquant.vocabulary import EMPTY, LOADED

STILL = Augmentation(
    rotation=False, elastic_px=0, black=0, white=0, slopes=(1, 1), flip=False, gamma=0, blur_px=0, noise=0
)


@dataclass(frozen=True)
class Validation:
    """Pooled over all validation tiles; IoU and F1 of the argmax, NaN where undefined."""

    loss: float
    iou_empty: float
    iou_loaded: float
    f1_segmentation: float


def validation_tiles(
    source: Source, settings: TileSettings, *, seed: int, count: int
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Tiles for validation, one a set of cells, not augmented."""
    stream = TileStream(source, replace(settings, augmentation=STILL), seed=seed, batch_size=count)
    images, classes, weights = stream.batch(0)
    return [(images[n : n + 1], classes[n], weights[n]) for n in range(count)]


def validate(network: UNet, tiles: list[tuple[Tensor, Tensor, Tensor]], *, device: str) -> Validation:
    """Loss and metrics of a network on tiles."""
    losses: list[float] = []
    pixels = {target: np.zeros(2, np.int64) for target in (EMPTY, LOADED)}
    objects = np.zeros(3, np.int64)
    for image, classes, weights in tiles:
        with torch.inference_mode(), autocast(device):
            scores = network(image.to(device)).float().cpu()
        losses.append(float(weighted_cross_entropy(scores, classes[None], weights[None])))
        truth, found, counted = classes.numpy(), scores[0].argmax(0).numpy(), weights.numpy() > 0
        for target in (EMPTY, LOADED):
            pixels[target] += overlap(truth, found, target=target, counted=counted)
            matching = match_iou(components(truth * counted, target=target), components(found * counted, target=target))
            objects += (matching.n_matched, matching.n_truth, matching.n_found)
    return Validation(
        loss=float(np.mean(losses)),
        iou_empty=share(*pixels[EMPTY].tolist()),
        iou_loaded=share(*pixels[LOADED].tolist()),
        f1_segmentation=share(2 * int(objects[0]), int(objects[1] + objects[2])),
    )
