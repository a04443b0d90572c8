"""A field of a raw plate on its way into the store, good or bad."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lysoquant.convert.assemble import assemble
from lysoquant.convert.describe import relative
from lysoquant.convert.in_place import in_place_of, link_to
from lysoquant.convert.judge import judge, plane_numbers
from lysoquant.convert.params import ConvertSettings
from lysoquant.convert.raw_files import FieldFiles, RawFiles
from lysoquant.errors import FieldError, PlateError, StageError, UnreachedFileError
from lysoquant.io.image_writer import ImageWriter
from lysoquant.io.raw.description import Field, RawPlate
from lysoquant.io.raw.zarr_in_place import InPlace
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.layout import Layout
from lysoquant.record import Json, digest_planes, failed_field

_MOST_EMPTY_PX: Final = 4096
"""Longest edge of the zeros that stand in for a field that failed: the header of the plate's first image, which says
how large its images are, may be the damaged one."""


@dataclass(frozen=True)
class Place:
    """A field of the plate: its well, its index there, what the raw plate says of it."""

    well: str
    index: int
    position: Field


@dataclass(frozen=True)
class RawImage:
    """What was read of a field, and what it is written to.

    Attributes
    ----------
    planes : tuple of (Y, X) arrays
        One a channel; zeros of a field that failed.
    failure : dict or None
        The report of a field that failed.
    z : mapping of str to list of int
        Z planes by channel; empty of a field that failed.
    read : list of dict
        Identity of the files that were read.
    linked : InPlace or None
        Where the image lies that is used in place.
    writer : ImageWriter or None
        What writes any other.
    """

    planes: tuple[npt.NDArray[Any], ...]
    pixel_size_um: float
    failure: Json | None
    z: Mapping[str, list[int]]
    read: list[Json]
    linked: InPlace | None
    writer: ImageWriter | None


@dataclass(frozen=True)
class FieldOutcome:
    """What became of a field: where it lies, its part of the well's digest, its report, its origin, what was read."""

    path: Path
    content: list[Any]
    report: Json
    origin: Json
    n_planes: int
    read: list[Json]


@dataclass(frozen=True)
class FieldConverter:
    """What the fields of a batch have in common. A field is read, its jobs are done in any order, it is finished."""

    layout: Layout
    plate: str
    described: RawPlate
    look: Callable[[], RawPlate]
    """Describes the whole plate now; `described` may be what it was when the run was planned, and the batch only."""
    store: PlateStore
    settings: ConvertSettings
    raw_files: RawFiles
    planned: Mapping[str, frozenset[str]]
    """Names of the raw files by well, as they were when the run began; empty where nobody looked."""

    def read(self, place: Place) -> RawImage:
        """Read a field and begin its image; raises StageError as :func:`lysoquant.convert.step.run`."""
        files = FieldFiles(self.raw_files)
        planes, size, z, failure = self._planes(place, files)
        found = in_place_of(place.position, self.described, self.settings.params) if z else None
        linked = found if isinstance(found, InPlace) else None
        writer = None if linked else self._begin(self._target(place), planes)
        return RawImage(planes, size, failure, z, files.read, linked, writer)

    def jobs(self, place: Place, image: RawImage) -> list[Callable[[], Any]]:
        """The digest of a field's pixels, then the numbers of each plane, which is written on the way."""
        del place
        planes = [functools.partial(self._do_plane, image, index) for index in range(len(image.planes))]
        return [functools.partial(digest_planes, image.planes), *planes]

    def finish(self, place: Place, image: RawImage, digest: str, numbers: list[dict[str, float]]) -> FieldOutcome:
        """Write the image's metadata, by which it is there."""
        report = image.failure or judge(place.index, numbers, self.described.channels, image.pixel_size_um)
        target, origin = self._target(place), _origin(place.position, image)
        attributes = {**origin, "status": report["status"], "reasons": report["reasons"]}
        self._write(target, image, attributes)
        size = None if math.isnan(image.pixel_size_um) else image.pixel_size_um
        # The layout is content too: label images follow that of another plate's image.
        layout = [] if image.linked is None else [[len(image.linked.arrays), *image.linked.chunk]]
        return FieldOutcome(target.path, [digest, size, *layout], report, origin, len(image.planes), image.read)

    def _target(self, place: Place) -> FieldStore:
        return self.store.field(place.well, place.index)

    def _planes(
        self, place: Place, files: FieldFiles
    ) -> tuple[tuple[npt.NDArray[Any], ...], float, dict[str, list[int]], Json | None]:
        """Planes, pixel size, Z planes, and the report of a field that failed."""
        try:
            return *self._good_planes(place, files), None
        except FieldError as error:
            self._require_raw_plate(error)
            where = f"plate {self.plate}, well {place.well}, field {place.index}"
            failure = failed_field(place.index, error, on_bad_field=self.settings.on_bad_field, where=where)
        shape = tuple(min(edge, _MOST_EMPTY_PX) for edge in self.described.shape)
        empty = np.zeros(shape, dtype=np.uint16)
        size = self.settings.source.pixel_size_um or self.described.pixel_size_um or math.nan
        return (empty,) * len(self.described.channels), size, {}, failure

    def _good_planes(
        self, place: Place, files: FieldFiles
    ) -> tuple[tuple[npt.NDArray[Any], ...], float, dict[str, list[int]]]:
        position = place.position
        if position.problems:
            kind = UnreachedFileError if self._has_lost_files(place.well) else FieldError
            raise kind("; ".join(position.problems))
        planes, size, stacks = assemble(
            position,
            self.described,
            self.settings,
            source=self.layout.project / self.settings.source.path,
            read_plane=files.plane,
            file_pixel_size_um=files.pixel_size_um,
        )
        return planes, size, {channel: list(stack) for channel, stack in stacks.items()}

    def _require_raw_plate(self, error: FieldError) -> None:
        """Raises StageError where not one file but all are gone: that is no well's fault and must not be recorded."""
        if isinstance(error, UnreachedFileError) and not (_has_files(self.described) or self._is_there()):
            raise StageError(
                f"plate {self.plate}: its raw files are all gone since the run began, from "
                f"{self.layout.project / self.settings.source.path}; see that the folder is there and its share "
                "mounted, then run again: nothing was recorded of the wells that were not done"
            ) from error

    def _is_there(self) -> bool:
        try:
            return _has_files(self.look())
        except PlateError:
            return False

    def _has_lost_files(self, well: str) -> bool:
        """Whether a file was there when the run began and is not now."""
        source = self.layout.project / self.settings.source.path
        return not self.planned.get(well, frozenset()) <= {
            relative(path, source) for path in self.described.files(well)
        }

    def _begin(self, target: FieldStore, planes: tuple[npt.NDArray[Any], ...]) -> ImageWriter:
        params = self.settings.params
        shape = (len(planes), *planes[0].shape)
        return target.begin_image(shape, planes[0].dtype, levels=params.pyramid_levels, chunk_px=params.chunk_px)

    def _do_plane(self, image: RawImage, index: int) -> dict[str, float]:
        plane = image.planes[index]
        if image.writer is not None:
            image.writer.write_plane(index, plane)
        return {} if image.failure else plane_numbers(plane, pixel_size_um=image.pixel_size_um)

    def _write(self, target: FieldStore, image: RawImage, attributes: Json) -> None:
        channels, size = self.described.channels, image.pixel_size_um
        if image.writer is not None:
            target.finish_image(image.writer, channels=channels, pixel_size_um=size, attributes=attributes)
        elif image.linked is not None:
            is_relative = not Path(self.settings.source.path).is_absolute()
            target.link_image(
                [link_to(array, target.path) if is_relative else array for array in image.linked.arrays],
                axes=image.linked.axes,
                planes=image.planes,
                channels=channels,
                pixel_size_um=size,
                attributes=attributes,
            )


def _has_files(described: RawPlate) -> bool:
    return any(path.exists() for well in described.wells for path in described.files(well))


def _origin(position: Field, image: RawImage) -> Json:
    """What a field is in the raw plate: position, time point, and the Z planes by channel (0: the instrument's)."""
    return {
        "name": position.name,
        "position": position.position,
        "timepoint": position.timepoint,
        "z": dict(image.z),
        "reduction": position.reduction,
    }
