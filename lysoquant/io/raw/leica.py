"""Leica LIF files, read with liffile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element

from lysoquant.errors import FieldError
from lysoquant.io.raw.container import (
    Image,
    checked,
    common_size_um,
    container_reader,
    opened,
    problem_of,
    square_size_um,
)
from lysoquant.io.raw.description import Plane
from lysoquant.io.raw.pixels import Pixels, shown


def inspect_lif(path: Path) -> list[Image]:
    """What a LIF file holds; every tile of a mosaic is an image of its own.

    Raises
    ------
    FieldError
        If the file can't be read.
    """
    with closing(LifImage(path)) as lif:
        return lif.images()


class LifImage:
    """A LIF file held open: a :class:`lysoquant.io.raw.planes.OpenImage`."""

    def __init__(self, path: Path) -> None:
        import liffile

        self._path = path
        with opened(path, "LIF"):
            self._lif = liffile.LifFile(path)

    def images(self) -> list[Image]:
        """As :func:`inspect_lif`."""
        with opened(self._path, "LIF"):
            return [
                image
                for number, series in enumerate(self._lif.images)
                for image in _images(number, series, _channel_names(series.xml_element))
            ]

    def plane(self, plane: Plane) -> Pixels:
        """Pixels of a plane."""
        number, tile, time, channel, z = plane.index or ()
        with opened(self._path, "LIF"):
            if number >= len(self._lif.images):
                raise FieldError(f"{shown(self._path)}: has no image {number + 1}; it changed: run the plate again")
            series: Any = self._lif.images[number]
            wanted = {"M": tile, "T": time, "C": channel, "Z": z}
            place = {axis: at for axis, at in wanted.items() if axis in series.dims}
            return checked(series.frame(**place), plane)

    def pixel_size_um(self) -> float | None:
        """Pixel size of the file's images; None where they differ."""
        return common_size_um(self.images())

    def close(self) -> None:
        """Close the file."""
        self._lif.close()


def _images(number: int, series: Any, channels: list[str]) -> list[Image]:
    sizes: Mapping[str, int] = dict(series.sizes)
    n_channels = sizes.get("C", 1)
    shape = (sizes.get("Y", 0), sizes.get("X", 0))
    problem = problem_of(
        dtype=series.dtype,
        axes=[axis for axis, length in sizes.items() if axis not in "MTCZYX" and length > 1],
        # Frames are of the two last axes: with Z or another axis there, they are no images of the plane.
        shape=shape if tuple(series.dims[-2:]) == ("Y", "X") or "S" in series.dims else (0, 0),
        n_planes=math.prod(length for axis, length in sizes.items() if axis not in "YX"),
    )
    tiles = sizes.get("M", 1)
    return [
        Image(
            key=(number, tile),
            name=f"{_path_in_file(series)} m{tile + 1}" if tiles > 1 else _path_in_file(series),
            channels=channels if len(channels) == n_channels else [""] * n_channels,
            n_z=sizes.get("Z", 1),
            n_times=sizes.get("T", 1),
            shape=shape,
            pixel_size_um=None if problem else _pixel_size_um(series),
            problem=problem,
        )
        for tile in range(1 if problem else tiles)
    ]


def _path_in_file(series: Any) -> str:
    """Name with the folders of the file; the first part is the file's own name."""
    path: str = series.attrs["path"]
    return path.partition("/")[2]


def _pixel_size_um(series: Any) -> float | None:
    sizes = []
    for axis in "YX":
        coordinates, length = series.coords.get(axis), series.sizes[axis]
        if coordinates is None or length < 2:
            return None
        sizes.append(abs(float(coordinates[-1] - coordinates[0])) / (length - 1) * 1e6)
    height, width = sizes
    return square_size_um(width, height)


def _channel_names(element: Element) -> list[str]:
    """Dye of each channel, or the name of its colour."""
    names = []
    for channel in element.iter("ChannelDescription"):
        properties = {item.findtext("Key", ""): item.findtext("Value", "") for item in channel.iter("ChannelProperty")}
        names.append(properties.get("DyeName", "") or channel.get("LUTName", ""))
    return names


LEICA: Final = container_reader(
    name="leica",
    title="Leica LIF",
    needs="a .lif file, or the folder that holds them",
    suffix=".lif",
    magic=(b"\x70\x00\x00\x00",),
    inspect=inspect_lif,
)
