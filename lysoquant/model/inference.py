"""A trained network as it is run: in the device's best arithmetic, activations taken along by the convolutions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn

from lysoquant.model.network import SLOPE, UNet
from lysoquant.model.precision import Precision, autocast, resolve_precision


def inference_network(network: nn.Module, device: torch.device, precision: Precision) -> Callable[[Tensor], Tensor]:
    """Scores (N, classes, Y, X), float32, of images (N, C, Y, X) on the device.

    On a processor with oneDNN the U-Net's weights are brought to the precision once, each convolution applies its
    leaky ReLU before it writes its result, and poolings note no positions. Elsewhere, and for any other network,
    torch's autocast chooses.

    The given network is left as it is, except that its weights go to the device, channels last.
    """
    placed = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cpu" and isinstance(network, UNet) and fuses(network):
        return _as_float32(_fused(network, _dtype(precision, device)))

    def run(images: Tensor) -> Tensor:
        with autocast(device, precision):
            scores: Tensor = placed(images.contiguous(memory_format=torch.channels_last)).float()
        return scores

    return run


def resident_network(network: nn.Module, device: torch.device, precision: Precision) -> Callable[[Tensor], Tensor]:
    """The same for a GPU that keeps all its work: weights in the precision once, no choice made at a call.

    So a call can be recorded and replayed, which autocast's own copies of the weights forbid.
    """
    if device.type == "cpu" or not isinstance(network, UNet):
        return inference_network(network, device, precision)
    placed = copy.deepcopy(network).eval()
    return _as_float32(placed.to(device=device, dtype=_dtype(precision, device), memory_format=torch.channels_last))  # type: ignore[call-overload]


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    return torch.bfloat16 if resolve_precision(precision, device) == "bf16" else torch.float32


def _as_float32(network: UNet) -> Callable[[Tensor], Tensor]:
    def run(images: Tensor) -> Tensor:
        scores: Tensor = network(images.contiguous(memory_format=torch.channels_last)).float()
        return scores

    return run


def fuses(network: UNet) -> bool:
    """Whether torch here can run this network's convolutions together with their activations."""
    available = torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
    return available and network.architecture.padding != "reflect"


def _fused(network: UNet, dtype: torch.dtype) -> UNet:
    found = copy.deepcopy(network).eval()
    for blocks in (found.down, found.up):
        for number, block in enumerate(blocks):
            blocks[number] = _FusedConvolutions(block)
    found.pool = LargestOfFour()
    return found.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


class _FusedConvolutions(nn.Module):
    """The same two convolutions; oneDNN applies the leaky ReLU while a result is still in registers."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self._convolutions = nn.ModuleList(layer for layer in block.children() if isinstance(layer, nn.Conv2d))

    def forward(self, features: Tensor) -> Tensor:
        for layer in cast(Iterable[nn.Conv2d], self._convolutions):
            features = torch.ops.mkldnn._convolution_pointwise(
                features,
                layer.weight,
                layer.bias,
                layer.padding,
                layer.stride,
                layer.dilation,
                layer.groups,
                "leaky_relu",
                [SLOPE],
                "",
            )
        return features


class LargestOfFour(nn.Module):
    """2 x 2 maximum pooling, to the last bit; torch's own also notes which of the four it was, eight bytes each."""

    def forward(self, features: Tensor) -> Tensor:
        rows = torch.maximum(features[:, :, ::2], features[:, :, 1::2])
        return torch.maximum(rows[..., ::2], rows[..., 1::2])
