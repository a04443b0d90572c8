"""The U-Net of LysoQuant as one torch module.

Facts of the architecture: Falk et al. 2019 (Nature Methods 16, 67) as used by Morone et al. 2020: level l has
two 3x3 convolutions of ``base * 2**l`` features, leaky ReLU of slope 0.1, 2x2 maximum pooling between levels, 2x2
transposed convolutions on the way up, concatenation [up, skip], and a 1x1 convolution to the class scores.

The original convolutions are valid: each takes a pixel off every edge, the skipped features are cropped to the centre,
and N poolings lose 12 * 2**N - 8 pixels an edge (184 for four, 760 for six). Zeros or the mirrored image beyond the
edge keep the size instead.
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from lysoquant.errors import InputError
from lysoquant.params import Params

Padding = Literal["zeros", "reflect", "valid"]
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
    """What a convolution sees beyond the edge of a tile; valid: nothing, the scores are smaller than the image."""

    def features(self) -> list[int]:
        """Number of features at each level, from the finest."""
        cap = self.max_features or self.base_features * 2**self.levels
        return [min(self.base_features * 2**level, cap) for level in range(self.levels)]

    @property
    def multiple(self) -> int:
        """Tile edges must be a multiple of this many pixels."""
        return int(2 ** (self.levels - 1))

    @property
    def loss_px(self) -> int:
        """Pixels by which an edge of the scores is shorter than that of the image, half of them on each side."""
        return valid_loss_px(self.levels - 1) if self.padding == "valid" else 0

    def answer_px(self, wanted_px: int) -> int:
        """Shortest edge of scores, at least `wanted_px` (from 1 on), that this network can give."""
        return wanted_px + (self._image_remainder - self.loss_px - wanted_px) % self.multiple

    def scores_px(self, image_px: int) -> int:
        """Edge of the scores for an edge of the image.

        Raises
        ------
        InputError
            If the edges of the levels do not come out whole, naming the nearest image edges that do.
        """
        answer = image_px - self.loss_px
        if answer < 1 or (image_px - self._image_remainder) % self.multiple:
            above = self.answer_px(max(answer, 1)) + self.loss_px
            below = above - self.multiple
            allowed = f"{below} or {above}" if below > self.loss_px else f"at least {above}"
            kind = "valid convolutions" if self.padding == "valid" else f"padding {self.padding!r}"
            raise InputError(
                f"an image edge is {image_px} px; {self.levels} levels with {kind} need a multiple of {self.multiple}"
                + (f" plus {self._image_remainder}" if self._image_remainder else "")
                + f": give {allowed}"
            )
        return answer

    @property
    def _image_remainder(self) -> int:
        """Rest of an image edge by the multiple: before each pooling, valid convolutions take 4 pixels."""
        return 4 * (self.multiple - 1) % self.multiple if self.padding == "valid" else 0


def valid_loss_px(poolings: int) -> int:
    """Pixels an edge that valid convolutions lose with this many poolings.

    With N poolings and k >= 0 the edges are 2**N k + padIn and 2**N k + padOut, where padIn is the N-fold of
    x -> 2 x + 4 from 0 and padOut the N-fold of x -> 2 x - 4 from -4 (Falk et al. 2019): 4 * 2**N - 4 and
    4 - 8 * 2**N.
    """
    return 12 * int(2**poolings) - 8


def flops(architecture: Architecture, height: int, width: int) -> int:
    """Floating-point operations for one image of `height` by `width` pixels.

    A multiplication and an addition are two; biases, activations and pooling are not counted. The seven-level network
    takes 136 kFLOP a pixel.

    Raises
    ------
    InputError
        If the network does not take an image of this size.
    """
    for edge in (height, width):
        architecture.scores_px(edge)
    taken = 2 if architecture.padding == "valid" else 0
    widths = architecture.features()
    inputs = [architecture.in_channels, *widths[:-1]]
    total = 0

    def double_convolution(before: int, after: int) -> None:
        nonlocal total, height, width
        for features in (before, after):
            height, width = height - taken, width - taken
            total += 9 * features * after * height * width

    for level, (before, after) in enumerate(zip(inputs, widths, strict=True)):
        if level:
            height, width = height // 2, width // 2
        double_convolution(before, after)
    for shallow, deep in list(itertools.pairwise(widths))[::-1]:
        height, width = 2 * height, 2 * width
        total += deep * shallow * height * width
        double_convolution(2 * shallow, shallow)
    return 2 * (total + widths[0] * architecture.classes * height * width)


class DoubleConvolution(nn.Sequential):
    """Two 3x3 convolutions, each followed by a leaky ReLU."""

    def __init__(self, features_in: int, features_out: int, padding: Padding) -> None:
        beyond = 0 if padding == "valid" else 1
        mode: Literal["zeros", "reflect"] = "zeros" if padding == "valid" else padding
        super().__init__(
            nn.Conv2d(features_in, features_out, 3, padding=beyond, padding_mode=mode),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(features_out, features_out, 3, padding=beyond, padding_mode=mode),
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
    ``forward`` takes a float32 tensor (N, in_channels, Y, X) normalised to [0, 1], with Y and X multiples of
    ``architecture.multiple``, and returns scores (N, classes, Y, X) before softmax. With valid convolutions Y and X are
    those that :meth:`Architecture.scores_px` takes, and the scores are smaller by ``architecture.loss_px``.
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
        self.pool: nn.Module = nn.MaxPool2d(2)
        self.score = nn.Conv2d(widths[0], architecture.classes, 1)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        valid = self.architecture.padding == "valid"
        if valid and not torch.compiler.is_exporting():
            for edge in images.shape[-2:]:
                self.architecture.scores_px(edge)
        features = (images - INPUT_OFFSET).to(self.score.weight.dtype)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            if level:
                features = self.pool(features)
            features = block(features)
            skips.append(features)
        skips.pop()
        for poolings_below, (lift, block) in enumerate(zip(self.lift, self.up, strict=True)):
            lifted = nn.functional.leaky_relu(lift(features), SLOPE, inplace=True)
            skip = skips.pop()
            if valid:
                # What the coarser level lost in its own pixels is twice as much here, half of it on each side.
                side = valid_loss_px(poolings_below)
                skip = skip[..., side:-side, side:-side]
            features = block(torch.cat([lifted, skip], dim=1))
        scores: Tensor = self.score(features)
        return scores


def _initialise(module: nn.Module) -> None:
    """MSRA initialisation (He et al. 2015) for a leaky ReLU of slope 0.1."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE, nonlinearity="leaky_relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
