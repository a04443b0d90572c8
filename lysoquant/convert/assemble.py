"""One field of a raw plate: from files and stacks to an image with its pixel size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from lysoquant.convert.checks import field_pixel_size_um, matching_planes
from lysoquant.convert.describe import describe_plate, positions, relative
from lysoquant.convert.params import ConvertSettings
from lysoquant.convert.stack import lumen_score, max_projection
from lysoquant.errors import FieldError, InputError
from lysoquant.io import raw as raw_io
from lysoquant.io.raw.description import Field, Plane, RawPlate
from lysoquant.layout import Layout

Stacks = Mapping[str, Mapping[int, Plane]]
ReadPlane = Callable[[Plane], npt.NDArray[Any]]


@dataclass(frozen=True)
class RawField:
    """A field as convert would write it, without the store.

    Attributes
    ----------
    name : str
        Well and field, such as ``B03/0``.
    channels : tuple of str
        Labels in the order of `planes`.
    planes : tuple of (Y, X) arrays of uint8 or uint16
        Grey values.
    pixel_size_um : float
        Pixel size.
    """

    name: str
    channels: tuple[str, ...]
    planes: tuple[npt.NDArray[Any], ...]
    pixel_size_um: float

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) of the image."""
        height, width = self.planes[0].shape
        return height, width

    def read(self, channel: str) -> npt.NDArray[Any]:
        """Grey values of a channel: (Y, X).

        Raises
        ------
        FieldError
            If the field has no such channel.
        """
        if channel not in self.channels:
            raise FieldError(f"field {self.name} has no channel {channel!r}; it has {', '.join(self.channels)}")
        return self.planes[self.channels.index(channel)]


def read_field(*, layout: Layout, settings: ConvertSettings, well: str, index: int) -> RawField:
    """Read one field from the raw plate; writes nothing.

    Parameters
    ----------
    layout : Layout
        Where the project lies.
    settings : ConvertSettings
        Where the raw plate lies and how it is read.
    well : str
        Canonical well name.
    index : int
        Index of the field from 0, as in the store.

    Raises
    ------
    PlateError
        If the raw plate can't be described.
    InputError
        If it has no such well or field.
    FieldError
        If the field can't be read.
    """
    described = describe_plate(layout=layout, settings=settings)
    plate = settings.source.plate
    if well not in described.wells:
        raise InputError(f"raw plate {plate} has no well {well}; it has {', '.join(described.wells)}")
    fields = positions(described, well)
    if index >= len(fields):
        raise InputError(f"plate {plate}, well {well}: no field {index}; its fields are 0 to {len(fields) - 1}")
    if fields[index].problems:
        raise FieldError("; ".join(fields[index].problems))
    planes, pixel_size_um, _ = assemble(
        fields[index],
        described,
        settings,
        source=layout.project / settings.source.path,
        read_plane=raw_io.read_plane,
        file_pixel_size_um=raw_io.file_pixel_size_um,
    )
    return RawField(f"{well}/{index}", tuple(described.channels), planes, pixel_size_um)


def assemble(
    position: Field,
    described: RawPlate,
    settings: ConvertSettings,
    *,
    source: Path,
    read_plane: ReadPlane,
    file_pixel_size_um: Callable[[Path], float | None],
) -> tuple[tuple[npt.NDArray[Any], ...], float, Stacks]:
    """The image of a position that has no problems.

    Parameters
    ----------
    source : pathlib.Path
        The raw plate, by which files are named in messages.
    read_plane, file_pixel_size_um : callable
        How pixels and a file's own pixel size are read.

    Returns
    -------
    planes : tuple of (Y, X) arrays of uint8 or uint16
        One plane a channel, in the order of the plate's channels.
    pixel_size_um : float
        Pixel size.
    stacks : mapping of str to mapping of int to Plane
        The Z planes that each channel was made from.

    Raises
    ------
    FieldError
        If a plane can't be read, planes do not fit together, or nothing says the pixel size.
    """
    stacks: Stacks = {channel: position.planes[channel] for channel in described.channels}
    if position.reduction == "sharpest":
        stacks = _sharpest(stacks, lysosome=settings.lysosome or "", read_plane=read_plane)
    planes = matching_planes(
        {channel: max_projection(map(read_plane, stack.values())) for channel, stack in stacks.items()}
    )
    # By path: files of different channels may have the same name in different folders.
    pixel_size_um = field_pixel_size_um(
        configured=settings.source.pixel_size_um,
        in_files={
            relative(plane.path, source): file_pixel_size_um(plane.path)
            for stack in stacks.values()
            for plane in stack.values()
        },
        in_plate=described.pixel_size_um,
    )
    return planes, pixel_size_um, stacks


def _sharpest(stacks: Stacks, *, lysosome: str, read_plane: ReadPlane) -> Stacks:
    """The same plane of every channel that has several: the sharpest of the lysosome channel."""
    if lysosome not in stacks:
        raise FieldError(f"no channel {lysosome!r} to choose the sharpest plane by; correct channels.lysosome")
    deep = {channel: stack for channel, stack in stacks.items() if len(stack) > 1}
    if not deep:
        return stacks
    if lysosome not in deep:
        raise FieldError(
            f"channel {lysosome!r} has a single Z plane, which can't tell the sharpest of {next(iter(deep))!r};"
            " set convert.z to max or to a plane number"
        )
    common = [number for number in stacks[lysosome] if all(number in stack for stack in deep.values())]
    if not common:
        raise FieldError("no Z plane was acquired in every channel; set convert.z to max")
    best = max(common, key=lambda number: lumen_score(read_plane(stacks[lysosome][number])))
    return {channel: {best: stack[best]} if channel in deep else stack for channel, stack in stacks.items()}
