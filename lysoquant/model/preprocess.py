"""From a cell's pixels to the network's input: equal in training and inference.

Order of the method (paper, Figure 2A): clear the signal outside the cell, normalise, bring to 0.025 um linearly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lysoquant.units import MODEL_PIXEL_SIZE_UM

Normalization = Literal["cell", "joint"]

LOW_PERCENTILE = 1.0
HIGH_PERCENTILE = 99.8
NOISE_FLOOR = 12.0
"""A channel's range is at least this many standard deviations of its noise, so that the noise of a cell
without cargo is not stretched to look like cargo."""
MIN_RANGE = 1.0
GAMMA = 0.5
"""Square root: neighbours in brightness over more than a decade, and dim lumens beside bright ones, stay visible."""


def estimate_noise(image: NDArray[np.float32]) -> float:
    """Standard deviation of the pixel noise of an image (Y, X), in its grey values.

    Immerkaer 1996 (doi:10.1006/cviu.1996.0060): response to a kernel that is blind to planes, with the median
    absolute deviation in place of the mean, because endolysosomes are structure and not noise.
    """
    if min(image.shape) < 3:
        return 0.0
    rows = image[:-2] - 2 * image[1:-1] + image[2:]
    response = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(1.4826 * np.median(np.abs(response)) / 6)


def normalise(
    planes: NDArray[np.generic], inside: NDArray[np.bool_], *, normalization: Normalization = "cell"
) -> NDArray[np.float32]:
    """Clear the outside of a cell and bring its channels to [0, 1].

    Parameters
    ----------
    planes : array (C, Y, X)
        Raw grey values.
    inside : bool array (Y, X)
        The cell.
    normalization : {"cell", "joint"}
        cell: each channel between its own 1st and 99.8th percentile in the cell, the range at least 12 standard
        deviations of its noise, then the square root. joint: one minimum and maximum over all channels of the
        cleared crop, as the plugin does (its outside and its third channel are 0 before normalisation, so 0 is the
        minimum).

    Returns
    -------
    float32 array (C, Y, X)
        Zero outside the cell; a cell without contrast is zero throughout.
    """
    images = planes.astype(np.float32)
    if not inside.any():
        return np.zeros_like(images)
    if normalization == "joint":
        images = np.where(inside, images, np.float32(0))
        low, high = min(0.0, float(images.min())), float(images.max())
        return (images - low) / (high - low) if high > low else np.zeros_like(images)
    for image in images:
        low, high = np.percentile(image[inside], (LOW_PERCENTILE, HIGH_PERCENTILE))
        span = max(float(high - low), NOISE_FLOOR * estimate_noise(image), MIN_RANGE)
        np.clip((image - np.float32(low)) / np.float32(span), 0, 1, out=image)
        np.power(image, np.float32(GAMMA), out=image)
        image[~inside] = 0
    return images


def model_length(length: int, pixel_size_um: float) -> int:
    """Pixels at 0.025 um of an edge of `length` pixels: round(length * s), s = pixel size / model pixel size."""
    return max(1, round(length * pixel_size_um / MODEL_PIXEL_SIZE_UM))


def resample_linear(images: Tensor, *, pixel_size_um: float) -> Tensor:
    """Bring images linearly to the model's pixel size.

    Parameters
    ----------
    images : tensor (C, Y, X)
        Images at `pixel_size_um`.

    Returns
    -------
    tensor (C, round(Y s), round(X s))
        Model pixel i lies at source coordinate i / s (no half-pixel shift); the upper neighbour is mirrored at the
        border, as the U-Net plugin does.
    """
    for axis in (1, 2):
        images = _resample_axis(images, axis, pixel_size_um)
    return images


def _resample_axis(images: Tensor, axis: int, pixel_size_um: float) -> Tensor:
    length = images.shape[axis]
    model = torch.arange(model_length(length, pixel_size_um), device=images.device)
    lower, upper, weight = _neighbours(model, length, pixel_size_um)
    weight = weight.to(images.dtype)
    weight = weight[:, None] if axis == 1 else weight
    below, above = (images.index_select(axis, index) for index in (lower, upper))
    return torch.lerp(below, above, weight.expand_as(below))


def _neighbours(model: Tensor, length: int, pixel_size_um: float) -> tuple[Tensor, Tensor, Tensor]:
    """Of pixels at the model's size, both neighbours among `length` pixels of the crop, and the share of the upper."""
    source = model.to(torch.float64) * (MODEL_PIXEL_SIZE_UM / pixel_size_um)
    lower = source.floor().long().clamp(max=length - 1)
    upper = lower + 1
    upper = torch.where(upper > length - 1, (2 * (length - 1) - upper).clamp(min=0), upper)
    return lower, upper, (source - lower).clamp(0, 1)


def model_coordinates(length: int, *, pixel_size_um: float, model_size: int) -> NDArray[np.int64]:
    """Model pixel nearest to each of `length` pixels of the field, for taking results back."""
    nearest = np.rint(np.arange(length) * (pixel_size_um / MODEL_PIXEL_SIZE_UM)).astype(np.int64)
    return np.asarray(np.minimum(nearest, model_size - 1))


@dataclass(frozen=True)
class CellPixels:
    """A cell's crop as it was acquired, and how the network wants to see it: parameters of :func:`network_input`."""

    cargo: NDArray[np.generic]
    lysosome: NDArray[np.generic]
    inside: NDArray[np.bool_]
    pixel_size_um: float
    normalization: Normalization = "cell"
    in_channels: int = 3

    @property
    def model_shape(self) -> tuple[int, int]:
        """Rows and columns at the model's pixel size."""
        rows, columns = (model_length(length, self.pixel_size_um) for length in self.inside.shape)
        return rows, columns

    def network_input(self) -> Tensor:
        """The crop as the network sees it, float32 (in_channels, Y, X)."""
        return network_input(
            self.cargo,
            self.lysosome,
            self.inside,
            pixel_size_um=self.pixel_size_um,
            normalization=self.normalization,
            in_channels=self.in_channels,
        )

    def reaches(self, rows: Tensor, columns: Tensor) -> bool:
        """Whether any pixel of the cell has a share in these rows and columns at the model's pixel size."""
        beside = []
        for indices, length in zip((rows, columns), self.inside.shape, strict=True):
            lower, upper, _ = _neighbours(indices, length, self.pixel_size_um)
            beside.append(np.unique(torch.cat([lower, upper]).numpy()))
        return bool(self.inside[np.ix_(*beside)].any())


def network_input(
    cargo: NDArray[np.generic],
    lysosome: NDArray[np.generic],
    inside: NDArray[np.bool_],
    *,
    pixel_size_um: float,
    normalization: Normalization = "cell",
    in_channels: int = 3,
) -> Tensor:
    """A cell's crop as the network sees it.

    Parameters
    ----------
    cargo, lysosome : array (Y, X)
        Raw grey values of the crop.
    inside : bool array (Y, X)
        The cell.
    pixel_size_um : float
        Pixel size of the crop.
    in_channels : int
        Planes of the network's input: cargo, lysosome, then planes of zeros (the plugin's blue).

    Returns
    -------
    float32 tensor (in_channels, round(Y s), round(X s))
        In [0, 1].
    """
    planes = torch.from_numpy(normalise(np.stack([cargo, lysosome]), inside, normalization=normalization))
    return as_input(planes, pixel_size_um=pixel_size_um, in_channels=in_channels)


def as_input(planes: Tensor, *, pixel_size_um: float, in_channels: int) -> Tensor:
    """Normalised cargo and lysosome (2, Y, X) at the model's pixel size, and planes of zeros to `in_channels`."""
    resampled = resample_linear(planes, pixel_size_um=pixel_size_um)
    empty = resampled.new_zeros((in_channels - 2, *resampled.shape[1:]))
    return torch.cat([resampled, empty])
