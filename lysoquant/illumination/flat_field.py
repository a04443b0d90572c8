"""Flat fields: read, checked, and applied to the images of a plate."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from lysoquant.errors import FieldError, InputError
from lysoquant.illumination.params import IlluminationParams
from lysoquant.io.flat_fields import read_flat_field
from lysoquant.io.store import PlateStore
from lysoquant.record import Json, digest_file
from lysoquant.vocabulary import FAILED

Gain = npt.NDArray[np.float32]

_LEAST_GAIN: Final = 0.05
"""Where less light than this share of the mean falls, there is nothing left to correct."""

_REMEDY: Final = "correct illumination.flat_field, or leave it empty for no correction"


class FieldImage(Protocol):
    """What is needed of a field: a :class:`lysoquant.io.store.FieldStore`, or a field that is not converted yet."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, int]: ...

    @property
    def pixel_size_um(self) -> float: ...

    def read(self, channel: str) -> npt.NDArray[Any]: ...


@dataclass(frozen=True)
class FlatFields:
    """The flat fields of a plate's channels; small, so that tasks can carry it.

    Attributes
    ----------
    files : mapping of str to (str, str)
        Path in the project and digest of each channel's file; empty where nothing is corrected.
    """

    project: Path
    files: Mapping[str, tuple[str, str]]
    dark: float

    @classmethod
    def of(
        cls,
        *,
        project: Path,
        plate: str,
        shape: tuple[int, int] | None,
        channels: Iterable[str],
        params: IlluminationParams,
    ) -> FlatFields:
        """Flat fields of the channels that a stage reads, each looked at once.

        `shape` is that of the plate's fields (:func:`shape_of_fields`), None where none can be read.

        Raises
        ------
        InputError
            If a file is missing, can't be read, or is not an image that could be the light of this plate.
        """
        if not params.flat_field:
            return cls(project, {}, params.dark)
        names = {channel: params.file(plate=plate, channel=channel) for channel in channels}
        missing = [f"{name} (channel {channel!r})" for channel, name in names.items() if not (project / name).is_file()]
        if missing:
            raise InputError(
                f"plate {plate}: no flat-field image at {', '.join(missing)}; put it there (an even image for a "
                f"channel that needs none), {_REMEDY}"
            )
        files = {channel: (name, digest_file(project / name)) for channel, name in names.items()}
        found = cls(project, files, params.dark)
        for channel, (name, _) in files.items():
            size = found.gain(channel).shape
            if shape is not None and size != shape:
                raise InputError(
                    f"{name} has {size[0]} x {size[1]} pixels and the fields of plate {plate} {shape[0]} x {shape[1]}; "
                    f"expected the light of this plate's camera and binning, {_REMEDY}"
                )
        return found

    def inputs(self) -> Json:
        """What a well's key has of it."""
        return {"flat_fields": dict(self.files.values())} if self.files else {}

    def gain(self, channel: str) -> Gain:
        """Light on each pixel of a channel, (Y, X), of mean 1."""
        name, digest = self.files[channel]
        return _read_gain(self.project / name, self.dark, digest)

    def read(self, field: FieldImage, channel: str) -> npt.NDArray[Any]:
        """Grey values of a field's channel under even light; as they are in the store where nothing is corrected.

        Raises
        ------
        FieldError
            If the field can't be read, or is of another size than the flat field.
        """
        image = field.read(channel)
        if channel not in self.files:
            return image
        gain = self.gain(channel)
        if image.shape != gain.shape:
            raise FieldError(
                f"field {field.name} has {image.shape[0]} x {image.shape[1]} pixels and the flat field "
                f"{self.files[channel][0]} {gain.shape[0]} x {gain.shape[1]}; {_REMEDY}"
            )
        return corrected(image, gain, dark=self.dark)


@dataclass(frozen=True)
class EvenField:
    """A field whose channels are read under even light."""

    field: FieldImage
    lights: FlatFields

    @property
    def name(self) -> str:
        return self.field.name

    @property
    def shape(self) -> tuple[int, int]:
        return self.field.shape

    @property
    def pixel_size_um(self) -> float:
        return self.field.pixel_size_um

    def read(self, channel: str) -> npt.NDArray[Any]:
        return self.lights.read(self.field, channel)


def corrected(image: npt.NDArray[Any], gain: Gain, *, dark: float) -> npt.NDArray[np.float32]:
    """An image as even light would have made it.

    Parameters
    ----------
    image : (Y, X) array
        Raw grey values.
    gain : (Y, X) array of float32
        Light on each pixel, of mean 1.
    dark : float
        Grey value without light; it stays in the image, so that grey values with and without correction compare.

    Returns
    -------
    (Y, X) array of float32
        Never below 0.
    """
    even: npt.NDArray[np.float32] = (image.astype(np.float32) - np.float32(dark)) / gain + np.float32(dark)
    return np.maximum(even, 0, out=even)


def as_gain(image: npt.NDArray[Any], *, dark: float, name: str) -> Gain:
    """Light on each pixel from a flat-field image, scaled to a mean of 1.

    Parameters
    ----------
    image : (Y, X) array
        Whole numbers are grey values of a camera, from which `dark` is taken; other numbers are shares of the light.
    name : str
        For messages.

    Raises
    ------
    InputError
        If a value is not finite or there are pixels without light.
    """
    light = image.astype(np.float64) - (dark if image.dtype.kind in "iu" else 0)
    mean = float(light.mean())
    if not np.isfinite(light).all() or not mean > 0:
        raise InputError(
            f"{name} has a mean of {mean:g} above illumination.dark ({dark:g}) or values that are no numbers; expected "
            f"an image of even light, {_REMEDY}"
        )
    least = float(light.min()) / mean
    if least < _LEAST_GAIN:
        raise InputError(
            f"{name} falls to {least:.2g} of its mean above illumination.dark ({dark:g}), expected at least "
            f"{_LEAST_GAIN:g} everywhere: an image of even light, without dead pixels; {_REMEDY}"
        )
    return (light / mean).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _read_gain(path: Path, dark: float, digest: str) -> Gain:
    """By digest: a process that works on must not take an old image for a new one."""
    try:
        image = read_flat_field(path)
    except FieldError as error:
        raise InputError(f"{error}; {_REMEDY}") from error
    gain = as_gain(image, dark=dark, name=str(path))
    gain.setflags(write=False)
    return gain


def shape_of_fields(store: PlateStore, wells: Sequence[str]) -> tuple[int, int] | None:
    """Size of the plate's fields by the first that can be read; what stands in for one that failed says nothing."""
    for well in wells:
        for index in range(store.n_fields(well)):
            field = store.field(well, index)
            try:
                if field.attributes.get("status") != FAILED:
                    return field.shape
            except FieldError:
                continue
    return None
