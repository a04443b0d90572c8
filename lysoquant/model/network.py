"""The U-Net of LysoQuant as one torch module.

Facts of the architecture: Falk et al. 2019 (Nature Methods 16, 67) as used by Morone et al. 2020: level l has
two 3x3 convolutions of ``base * 2**l`` features, leaky ReLU of slope 0.1, 2x2 maximum pooling between levels, 2x2
transposed convolutions on the way up, concatenation [up, skip], and a 1x1 convolution to the class scores.
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lysoquant.params import Params

Padding = Literal["zeros", "reflect"]
SLOPE = 0.1
INPUT_OFFSET = 0.5


class Architecture(Params):
    """What defines a network besides its weights."""

    levels: int = Field(default=7, ge=2, le=9)
    """Resolution levels; one more than poolings."""
    base_features: int = Field(default=16, ge=1, le=1024)
    """Features of the first level; each level doubles them."""
    max_features: int | None = Field(default=None, ge=1)
    """Largest number of features of a level; null for the paper's uncapped network."""
    in_channels: int = Field(default=3, ge=1, le=64)
    """Input planes: cargo, lysosome and the plugin's empty third."""
    classes: int = Field(default=3, ge=2, le=256)
    """Scores a pixel: background, empty, loaded."""
    padding: Padding = "zeros"
    """What a convolution sees beyond the edge of a tile."""

    def features(self) -> list[int]:
        """Number of features at each level, from the finest."""
        cap = self.max_features or self.base_features * 2**self.levels
        return [min(self.base_features * 2**level, cap) for level in range(self.levels)]

    @property
    def multiple(self) -> int:
        """Tile edges must be a multiple of this many pixels."""
        return int(2 ** (self.levels - 1))


class DoubleConvolution(nn.Sequential):
    """Two 3x3 convolutions, each followed by a leaky ReLU."""

    def __init__(self, features_in: int, features_out: int, padding: Padding) -> None:
        super().__init__(
            nn.Conv2d(features_in, features_out, 3, padding=1, padding_mode=padding),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(features_out, features_out, 3, padding=1, padding_mode=padding),
            nn.LeakyReLU(SLOPE, inplace=True),
        )


class UNet(nn.Module):
    """Seven-level U-Net.

    Parameters
    ----------
    architecture : Architecture
        Depth and width.

    Notes
    -----
    ``forward`` takes a float tensor (N, in_channels, Y, X) normalised to [0, 1], with Y and X multiples of
    ``architecture.multiple``, and returns scores (N, classes, Y, X) before softmax.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        widths = architecture.features()
        inputs = [architecture.in_channels, *widths[:-1]]
        self.down = nn.ModuleList(
            DoubleConvolution(before, width, architecture.padding) for before, width in zip(inputs, widths, strict=True)
        )
        pairs = list(itertools.pairwise(widths))[::-1]
        self.lift = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, stride=2) for shallow, deep in pairs)
        self.up = nn.ModuleList(DoubleConvolution(2 * shallow, shallow, architecture.padding) for shallow, _ in pairs)
        self.score = nn.Conv2d(widths[0], architecture.classes, 1)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        features = images - INPUT_OFFSET
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level:
                features = nn.functional.max_pool2d(features, 2)
            features = block(features)
            skips.append(features)
        skips.pop()
        for lift, block in zip(self.lift, self.up, strict=True):
            lifted = nn.functional.leaky_relu(lift(features), SLOPE, inplace=True)
            features = block(torch.cat([lifted, skips.pop()], dim=1))
        scores: Tensor = self.score(features)
        return scores


def _initialise(module: nn.Module) -> None:
    """MSRA initialisation (He et al. 2015) for a leaky ReLU of slope 0.1."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE, nonlinearity="leaky_relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
