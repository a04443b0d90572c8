"""Normalisation where the network is: the same values as :mod:`lysoquant.model.preprocess`, without a look back.

Nothing here waits for the device, so that the processor can go on while it works: what depends on the number of a
cell's pixels is worked out from the mask beforehand. Values agree with the processor's to rounding
(tests/unit/test_preprocess.py holds each against the other).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lysoquant.model.preprocess import (
    GAMMA,
    HIGH_PERCENTILE,
    LOW_PERCENTILE,
    MIN_RANGE,
    NOISE_FLOOR,
    CellPixels,
    Normalization,
    as_input,
)


def packed(cell: CellPixels) -> Tensor:
    """Cargo, lysosome and mask of a cell (3, Y, X), of the type in which they travel: int16 for 16-bit images.

    A GPU's kernels know signed 16-bit numbers, so the bits of unsigned ones travel under that name.
    """
    kinds = {cell.cargo.dtype, cell.lysosome.dtype}
    dtype = np.dtype(np.uint16) if kinds == {np.dtype(np.uint16)} else np.dtype(np.float32)
    planes = np.stack([plane.astype(dtype, copy=False) for plane in (cell.cargo, cell.lysosome, cell.inside)])
    return torch.from_numpy(planes.view(np.int16) if dtype == np.uint16 else planes)


def network_input_from(planes: Tensor, cell: CellPixels) -> Tensor:
    """The crop as the network sees it, float32 (in_channels, Y, X), where `planes` lie.

    Parameters
    ----------
    planes : tensor (3, Y, X)
        Of :func:`packed`, on any device.
    cell : CellPixels
        What they were packed from; only its mask's count and its settings are used.
    """
    if planes.dtype == torch.int16:
        planes = planes.to(torch.int32).bitwise_and(0xFFFF)
    images, inside = planes[:2].to(torch.float32), planes[2] != 0
    normal = normalise_there(images, inside, count=int(cell.inside.sum()), normalization=cell.normalization)
    return as_input(normal, pixel_size_um=cell.pixel_size_um, in_channels=cell.in_channels)


def normalise_there(images: Tensor, inside: Tensor, *, count: int, normalization: Normalization) -> Tensor:
    """:func:`lysoquant.model.preprocess.normalise` of float32 tensors (C, Y, X), on their device.

    Parameters
    ----------
    count : int
        Pixels inside.
    """
    if count == 0:
        return torch.zeros_like(images)
    if normalization == "joint":
        images = torch.where(inside, images, 0)
        low, high = images.min().clamp(max=0), images.max()
        return torch.where(high > low, (images - low) / (high - low), 0)
    ordered = torch.where(inside, images, torch.inf).flatten(1).sort(dim=1).values
    low, high = (_percentile(ordered, count, share) for share in (LOW_PERCENTILE, HIGH_PERCENTILE))
    span = torch.maximum(high - low, NOISE_FLOOR * _noise(images)).clamp(min=MIN_RANGE)
    low, span = (value.to(torch.float32)[:, None, None] for value in (low, span))
    return torch.where(inside, ((images - low) / span).clamp(0, 1).pow(GAMMA), 0)


def _percentile(ordered: Tensor, count: int, percent: float) -> Tensor:
    """Of the first `count` values of each ordered row, linearly between neighbours: float64 (rows,)."""
    position = percent / 100 * (count - 1)
    below = int(position)
    lower, upper = (ordered[:, index].to(torch.float64) for index in (below, min(below + 1, count - 1)))
    return torch.lerp(lower, upper, position - below)


def _noise(images: Tensor) -> Tensor:
    """:func:`lysoquant.model.preprocess.estimate_noise` of each image: float64 (C,)."""
    if min(images.shape[1:]) < 3:
        return images.new_zeros(len(images), dtype=torch.float64)
    rows = images[:, :-2] - 2 * images[:, 1:-1] + images[:, 2:]
    response = rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]
    ordered = response.abs().flatten(1).sort(dim=1).values
    count = ordered.shape[1]
    below, above = (ordered[:, index].to(torch.float64) for index in ((count - 1) // 2, count // 2))
    return 1.4826 / 6 * (below + above) / 2
