"""What defines a network besides its weights, and what follows from it: sizes and operations. No torch here."""

from __future__ import annotations

import itertools
from typing import Literal

from pydantic import Field

from lysoquant.errors import InputError
from lysoquant.params import Params

Padding = Literal["zeros", "reflect", "valid"]


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
