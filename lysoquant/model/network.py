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
from torch import Tensor, nn

from lysoquant.model.architecture import Architecture, Padding, valid_loss_px

SLOPE = 0.1
INPUT_OFFSET = 0.5


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
    # Tensors without memory wait for weights; drawing numbers for them would cost the import of torch's compiler.
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight, a=SLOPE, nonlinearity="leaky_relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
