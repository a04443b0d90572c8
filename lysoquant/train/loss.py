"""The pixel-weighted loss of the U-Net plugin (Falk et al. 2019, Supplement; Ronneberger et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from lysoquant.vocabulary import BACKGROUND, EMPTY, LOADED

_REACH_SIGMAS: Final = 5.0
"""Beyond them the border term is below 50 exp(-12.5) = 2e-4."""


@dataclass(frozen=True)
class LossWeights:
    """Constants of the pixel weights; the defaults are the original's.

    Attributes
    ----------
    border_factor, border_sigma_px : float
        Height and width of the extra weight between neighbours of one class.
    balance, balance_sigma_px : float
        Weight of background far from any foreground (v), and how fast it rises to 1 beside it.
    """

    border_factor: float = 50.0
    border_sigma_px: float = 6.0
    balance: float = 0.1
    balance_sigma_px: float = 10.0


def separate_touching(regions: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels of regions that border on another region: they become background, so that the network keeps them apart."""
    touching = np.zeros(regions.shape, bool)
    for axis in (0, 1):
        before = regions[:-1] if axis == 0 else regions[:, :-1]
        after = regions[1:] if axis == 0 else regions[:, 1:]
        meet = (before != after) & (before > 0) & (after > 0)
        index = (slice(-1), slice(1, None))
        for side in index:
            view = touching[side] if axis == 0 else touching[:, side]
            view |= meet
    return touching


def pixel_weights(
    regions: NDArray[np.integer], classes: NDArray[np.integer], constants: LossWeights | None = None
) -> NDArray[np.float32]:
    """Weight of every pixel in the loss.

    Parameters
    ----------
    regions : int array (Y, X)
        Instances.
    classes : int array (Y, X)
        Target class of each pixel; background between touching instances.

    Returns
    -------
    float32 array (Y, X)
        1 on foreground; on background v + sum over classes c of
        50 exp(-(d1 + d2)^2 / (2 * 6^2)) + (1 - v) exp(-d1^2 / (2 * 10^2)), v = 0.1, with d1 and d2 the distances in
        pixels to the nearest and second nearest instance of class c.
    """
    constants = constants or LossWeights()
    weights = np.full(regions.shape, constants.balance)
    for target in (EMPTY, LOADED):
        instances = np.where(classes == target, regions, 0)
        if not instances.any():
            continue
        nearest = ndimage.distance_transform_edt(instances == 0)
        weights += (1 - constants.balance) * np.exp(-(nearest**2) / (2 * constants.balance_sigma_px**2))
        both = _two_nearest(instances, reach_px=int(_REACH_SIGMAS * constants.border_sigma_px))
        weights += constants.border_factor * np.exp(-(both**2) / (2 * constants.border_sigma_px**2))
    weights[classes != BACKGROUND] = 1
    return weights.astype(np.float32)


def _two_nearest(instances: NDArray[np.integer], *, reach_px: int) -> NDArray[np.float64]:
    """d1 + d2 where two instances are within reach, infinite elsewhere."""
    first = np.full(instances.shape, np.inf)
    second = np.full(instances.shape, np.inf)
    for number, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        wide = tuple(slice(max(0, side.start - reach_px), side.stop + reach_px) for side in box)
        distance = ndimage.distance_transform_edt(instances[wide] != number)
        second[wide] = np.minimum(second[wide], np.maximum(first[wide], distance))
        first[wide] = np.minimum(first[wide], distance)
    return np.asarray(first + second)


def weighted_cross_entropy(scores: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Sum of weight times cross entropy over the sum of weights.

    Parameters
    ----------
    scores : tensor (N, 3, Y, X)
    classes : int64 tensor (N, Y, X)
    weights : float tensor (N, Y, X)
    """
    entropy = torch.nn.functional.cross_entropy(scores.float(), classes, reduction="none")
    return (weights * entropy).sum() / weights.sum().clamp(min=1e-6)


def class_cross_entropy(scores: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy of empty against loaded on the foreground alone.

    The recipe's weights are largest on the background between endolysosomes, so a short training learns shapes long
    before contents; this term gives the contents a voice of their own.

    Parameters
    ----------
    scores : tensor (N, 3, Y, X)
    classes : int64 tensor (N, Y, X)
    weights : float tensor (N, Y, X)
        Pixels of weight 0 do not count.
    """
    counted = (classes != BACKGROUND) & (weights > 0)
    pair = scores.float()[:, EMPTY : LOADED + 1]
    target = (classes - EMPTY).clamp(min=0)
    entropy = torch.nn.functional.cross_entropy(pair, target, reduction="none")
    return (entropy * counted).sum() / counted.sum().clamp(min=1)
