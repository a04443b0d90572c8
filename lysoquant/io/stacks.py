"""TIFF files of a few channels, as people outline them in Fiji: C, Y, X, ImageJ's or OME's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from lysoquant.errors import FieldError
from lysoquant.io.raw.description import Plane
from lysoquant.io.raw.names import unique_labels
from lysoquant.io.raw.pixels import Pixels, inspect_image, read_plane, shown


@dataclass(frozen=True)
class Stack:
    """A file of channels.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    channels : tuple of str
        Names in the file, or channel_1, channel_2, ... where it gives none.
    shape : (Y, X)
        Shape of each.
    pixel_size_um : float or None
        None where the file gives none.
    """

    path: Path
    channels: tuple[str, ...]
    shape: tuple[int, int]
    pixel_size_um: float | None

    def read(self, channel: str) -> Pixels:
        """Grey values (Y, X) of a channel, as stored.

        Raises
        ------
        FieldError
            If the pixels can't be read.
        """
        index = (self.channels.index(channel),) if len(self.channels) > 1 else None
        return read_plane(Plane(self.path, index))


def open_stack(path: Path) -> Stack:
    """Look at a TIFF of channels; reads no pixel.

    Raises
    ------
    FieldError
        If it can't be read, is no stack of grey uint8 or uint16 planes, or has Z planes or time points.
    """
    image = inspect_image(path)
    if len(image.lengths) > 1 or image.axes in ("Z", "T"):
        held = ", ".join(f"{count} {axis}" for axis, count in zip(image.axes, image.lengths, strict=True))
        raise FieldError(
            f"{shown(path)}: holds {held}; expected channels only: take one Z plane and time point "
            "(Fiji: Image > Duplicate, and Image > Properties to call planes channels)"
        )
    count = image.lengths[0] if image.lengths else 1
    named = tuple(unique_labels(image.channel_names, [])) if image.channel_names else ()
    channels = named or tuple(f"channel_{number}" for number in range(1, count + 1))
    return Stack(path, channels, image.shape, image.pixel_size_um)


def write_stack(
    path: Path,
    planes: NDArray[np.generic],
    *,
    channels: Sequence[str],
    pixel_size_um: float,
    colours: Sequence[tuple[int, int, int]] | None = None,
) -> None:
    """Write channels as an ImageJ hyperstack with their names and pixel size, whole or not at all.

    Parameters
    ----------
    planes : uint8 or uint16 array (C, Y, X)
        Grey values.
    channels : sequence of str
        Their names.
    pixel_size_um : float
        Pixel size.
    colours : sequence of (R, G, B), optional
        In which ImageJ shows the channels; without them the first in red, the second in green, the third in blue.

    Raises
    ------
    ValueError
        If the dtype is another or the names are not as many as the planes.
    """
    if planes.dtype not in (np.uint8, np.uint16) or planes.ndim != 3 or len(planes) != len(channels):
        raise ValueError(
            f"planes are {planes.dtype} {planes.shape}, expected uint8 or uint16 of {len(channels)} planes"
        )
    ranges = [float(value) for plane in planes for value in np.percentile(plane, (0.5, 99.8))]
    metadata: dict[str, object] = {
        "axes": "CYX",
        "unit": "um",
        "Labels": list(channels),
        "mode": "composite",
        "Ranges": tuple(ranges),
    }
    if colours is not None:
        steps = np.arange(256) / 255
        metadata["LUTs"] = [np.outer(colour, steps).round().astype(np.uint8) for colour in colours]
    partial = path.with_name(f".{path.name}.part")
    tifffile.imwrite(partial, planes, imagej=True, resolution=(1 / pixel_size_um,) * 2, metadata=metadata)
    partial.replace(path)


def write_map(path: Path, values: NDArray[np.uint8], *, pixel_size_um: float) -> None:
    """Write one plane of small whole numbers (Y, X), such as a class map, as a TIFF with its pixel size."""
    partial = path.with_name(f".{path.name}.part")
    resolution = (1 / pixel_size_um,) * 2
    tifffile.imwrite(partial, values, imagej=True, resolution=resolution, metadata={"axes": "YX", "unit": "um"})
    partial.replace(path)
