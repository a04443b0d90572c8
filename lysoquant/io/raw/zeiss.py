"""Zeiss CZI files, read with Zeiss' own pylibCZIrw."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np
from defusedxml.ElementTree import fromstring

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
from lysoquant.vocabulary import row_letters, well_name

_DTYPES: Final = {"Gray8": np.uint8, "Gray16": np.uint16}
_WHOLE: Final = -1
"""In place of a scene's number, in files without scenes."""


def inspect_czi(path: Path) -> list[Image]:
    """What a CZI file holds; a scene is an image, its tiles laid side by side.

    Raises
    ------
    FieldError
        If the file can't be read.
    """
    with closing(CziImage(path)) as file:
        return file.images()


class CziImage:
    """A CZI file held open: a :class:`lysoquant.io.raw.planes.OpenImage`."""

    def __init__(self, path: Path) -> None:
        from pylibCZIrw import czi

        self._path = path
        with opened(path, "CZI"):
            self._file = czi.CziReader(str(path))

    def images(self) -> list[Image]:
        """As :func:`inspect_czi`."""
        with opened(self._path, "CZI"):
            root: Element = fromstring(self._file.raw_metadata, forbid_dtd=True)
            extents = dict(self._file.total_bounding_box)
            kinds = dict(self._file.pixel_types)
            scenes = dict(self._file.scenes_bounding_rectangle)
        sizes = {axis: high - low for axis, (low, high) in extents.items()}
        if not scenes:
            shapes = {_WHOLE: (sizes.get("Y", 0), sizes.get("X", 0))}
        else:
            shapes = {number: (rectangle.h, rectangle.w) for number, rectangle in sorted(scenes.items())}
        named = {
            int(scene.get("Index", _WHOLE)): scene for scene in root.iter("Scene") if scene.get("Index", "").isdecimal()
        }
        channels = _channel_names(root, sizes.get("C", 1))
        return [
            _image(number, shape, sizes, kinds, channels, named.get(number), root) for number, shape in shapes.items()
        ]

    def plane(self, plane: Plane) -> Pixels:
        """Pixels of a plane."""
        scene, time, channel, z = plane.index or ()
        with opened(self._path, "CZI"):
            extents = self._file.total_bounding_box
            place = {axis: extents.get(axis, (0, 1))[0] + at for axis, at in (("C", channel), ("Z", z), ("T", time))}
            if any(at >= extents.get(axis, (0, 1))[1] for axis, at in place.items()):
                raise FieldError(f"{shown(self._path)}: has no plane {place}; it changed: run the plate again")
            pixels = self._file.read(plane=place, scene=None if scene == _WHOLE else scene)
        return checked(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels, plane)

    def pixel_size_um(self) -> float | None:
        """Pixel size of the file's images."""
        return common_size_um(self.images())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _image(
    number: int,
    shape: tuple[int, int],
    sizes: dict[str, int],
    kinds: dict[int, str],
    channels: list[str],
    scene: Element | None,
    root: Element,
) -> Image:
    strange = sorted({kind for kind in kinds.values() if kind not in _DTYPES})
    n_z, n_times = sizes.get("Z", 1), sizes.get("T", 1)
    problem = (
        f"has pixels of {', '.join(strange)}; expected Gray8 or Gray16: export the raw channels"
        if strange
        else problem_of(
            dtype=np.uint16,
            axes=[axis for axis, length in sizes.items() if axis not in "SMTCZYXB" and length > 1],
            shape=shape,
            n_planes=sizes.get("C", 1) * n_z * n_times,
        )
    )
    name = scene.get("Name", "") if scene is not None else ""
    return Image(
        key=(number,),
        name=name if number == _WHOLE else f"{name} scene {number + 1}".strip(),
        channels=channels,
        n_z=n_z,
        n_times=n_times,
        shape=shape,
        pixel_size_um=_pixel_size_um(root),
        well=_well(scene),
        problem=problem,
    )


def _well(scene: Element | None) -> str | None:
    """Well of a scene: by the shape of the plate's template that it lies in, or by its own name."""
    if scene is None:
        return None
    shape = scene.find("Shape")
    if shape is None:
        return normal_well(scene.get("Name", ""))
    row, column = (shape.findtext(name, "") for name in ("RowIndex", "ColumnIndex"))
    named = normal_well(shape.get("Name", ""))
    if named is None and row.isdecimal() and column.isdecimal() and 1 <= int(row) <= 32 and 1 <= int(column) <= 48:
        return well_name(row_letters(int(row) - 1), int(column))
    return named


def _channel_names(root: Element, n_channels: int) -> list[str]:
    path = "./Metadata/Information/Image/Dimensions/Channels/Channel"
    names = [channel.get("Name", "") for channel in root.findall(path)]
    return names if len(names) == n_channels else [""] * n_channels


def _pixel_size_um(root: Element) -> float | None:
    sizes: dict[str, float] = {}
    for distance in root.findall("./Metadata/Scaling/Items/Distance"):
        try:
            sizes[distance.get("Id", "")] = float(distance.findtext("Value", "")) * 1e6
        except ValueError:
            continue
    return square_size_um(sizes.get("X", math.nan), sizes.get("Y", math.nan))


ZEISS: Final = container_reader(
    name="zeiss",
    title="Zeiss CZI",
    needs="a .czi file, or the folder that holds them",
    suffix=".czi",
    magic=(b"ZISRAWFILE",),
    inspect=inspect_czi,
)
