"""The network as segment's settings ask for it."""

from __future__ import annotations

import torch

from lysoquant.model.cuts import TilePlan
from lysoquant.model.precision import Precision
from lysoquant.model.predict import Predictor
from lysoquant.model.preprocess import Normalization
from lysoquant.model.weights import Model
from lysoquant.segment.params import SegmentParams


def make_predictor(
    model: Model,
    device: torch.device,
    params: SegmentParams,
    *,
    planes: slice = slice(None),
    precision: Precision | None = None,
) -> Predictor:
    """A model on a device, run by segment's settings; another precision on demand."""
    return Predictor(
        model,
        device,
        TilePlan(params.tile_px, params.overlap_px),
        params.batch_size,
        precision or params.precision,
        planes=planes,
        gpu_path=params.gpu_path,
    )


def normalization_of(params: SegmentParams, model: Model) -> Normalization:
    """As the settings say, or else as the model was trained."""
    choice = model.card.normalization if params.normalization == "model" else params.normalization
    return "joint" if choice == "joint" else "cell"
