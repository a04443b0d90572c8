"""Nikon ND2 files, read with nd2."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np

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
from lysoquant.io.raw.names import normal_well
from lysoquant.io.raw.pixels import Pixels, shown

_MAGIC: Final = (b"\xda\xce\xbe\x0a", b"\x00\x00\x00\x0cjP  ")
"""Of today's files, and of those before 2013, which are JPEG 2000."""
_IN_FRAME: Final = "CYXS"


def inspect_nd2(path: Path) -> list[Image]:
    """What an ND2 file holds; every position of its multipoint loop is an image.

    Raises
    ------
    FieldError
        If the file can't be read.
    """
    with closing(Nd2Image(path)) as file:
        return file.images()


class Nd2Image:
    """An ND2 file held open: a :class:`lysoquant.io.raw.planes.OpenImage`."""

    def __init__(self, path: Path) -> None:
        import nd2

        self._path = path
        with opened(path, "ND2"):
            self._file = nd2.ND2File(path)

    def images(self) -> list[Image]:
        """As :func:`inspect_nd2`."""
        with opened(self._path, "ND2"):
            return _images(self._file)

    def plane(self, plane: Plane) -> Pixels:
        """Pixels of a plane."""
        position, time, channel, z = plane.index or ()
        place = {"P": position, "T": time, "Z": z}
        with opened(self._path, "ND2"):
            file = self._file
            loops = {axis: length for axis, length in file.sizes.items() if axis not in _IN_FRAME}
            at = [place.get(axis, 0) for axis in loops]
            if any(number >= length for number, length in zip(at, loops.values(), strict=True)):
                raise FieldError(f"{shown(self._path)}: has no plane {plane.index}; it changed: run the plate again")
            frame = file.read_frame(int(np.ravel_multi_index(at, tuple(loops.values()))) if at else 0)
            # A copy: what nd2 gives is the file's own memory, gone when it is closed.
            pixels = np.array(frame[channel] if frame.ndim == 3 and frame.shape[0] > channel else frame)
        return checked(pixels, plane)

    def pixel_size_um(self) -> float | None:
        """Pixel size of the file's images."""
        return common_size_um(self.images())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _images(file: Any) -> list[Image]:
    sizes = dict(file.sizes)
    n_channels, n_z, n_times = (sizes.get(axis, 1) for axis in "CZT")
    shape = (sizes.get("Y", 0), sizes.get("X", 0))
    axes = ["S"] * file.is_rgb + [axis for axis, length in sizes.items() if axis not in "PTCZYXS" and length > 1]
    n_planes = math.prod(length for axis, length in sizes.items() if axis not in "YX")
    problem = problem_of(dtype=file.dtype, axes=axes, shape=shape, n_planes=n_planes)
    names = _position_names(file, sizes.get("P", 1))
    channels = [channel.channel.name or "" for channel in file.metadata.channels or ()]
    voxel = file.voxel_size()
    return [
        Image(
            key=(number,),
            name=name or (f"position {number + 1}" if len(names) > 1 else ""),
            channels=channels if len(channels) == n_channels else [""] * n_channels,
            n_z=n_z,
            n_times=n_times,
            shape=shape,
            # An uncalibrated file says 1 um.
            pixel_size_um=square_size_um(voxel.x, voxel.y) if voxel.x != 1 else None,
            well=normal_well(name.partition("_")[0]),
            problem=problem,
        )
        for number, name in enumerate(names)
    ]


def _position_names(file: Any, n_positions: int) -> list[str]:
    points = [loop.parameters.points for loop in file.experiment if loop.type == "XYPosLoop"]
    names = [point.name or "" for point in points[0]] if points else []
    return names if len(names) == n_positions else [""] * n_positions


NIKON: Final = container_reader(
    name="nikon",
    title="Nikon ND2",
    needs="an .nd2 file, or the folder that holds them",
    suffix=".nd2",
    magic=_MAGIC,
    inspect=inspect_nd2,
)
