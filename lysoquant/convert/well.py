"""A well of a raw plate on its way into the store, field by field, good or bad."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lysoquant.convert.assemble import assemble
from lysoquant.convert.describe import positions, relative
from lysoquant.convert.in_place import in_place_of, link_to
from lysoquant.convert.judge import judge
from lysoquant.convert.params import ConvertSettings
from lysoquant.convert.raw_files import RawFiles, WellFiles
from lysoquant.errors import FieldError, PlateError, StageError, UnreachedFileError
from lysoquant.io.raw.description import Field, RawPlate
from lysoquant.io.raw.zarr_in_place import InPlace
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.layout import Layout
from lysoquant.record import Json, WellOutcome, digest_array, digest_json, failed_field

_MOST_EMPTY_PX: Final = 4096
"""Longest edge of the zeros that stand in for a field that failed: the header of the plate's first image, which says
how large its images are, may be the damaged one."""


@dataclass(frozen=True)
class _Image:
    """What was read of a field."""

    planes: npt.NDArray[Any]
    pixel_size_um: float
    report: Json
    z: Mapping[str, list[int]]


@dataclass(frozen=True)
class WellConverter:
    """What the wells of a batch have in common."""

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

    def convert(self, well: str) -> WellOutcome:
        """Write a well's images; raises StageError as :func:`lysoquant.convert.step.run`."""
        files = WellFiles(self.raw_files)
        outcome = WellOutcome(digest="", counts={"fields": 0, "planes": 0})
        contents, origins = [], []
        for index, position in enumerate(positions(self.described, well)):
            image = self._read(well, index, position, files)
            target = self.store.field(well, index)
            linked = self._write(target, position, image)
            contents.append([digest_array(image.planes), None if _is_nan(image) else image.pixel_size_um, *linked])
            outcome.wrote.append(self.layout.relative(target.path))
            outcome.fields.append(image.report)
            origins.append(_origin(position, image))
            outcome.counts["fields"] += 1
            outcome.counts["planes"] += len(image.planes)
        outcome.digest = self._digest(contents)
        outcome.read = files.read
        outcome.extra = {"origins": origins}
        return outcome

    def _read(self, well: str, index: int, position: Field, files: WellFiles) -> _Image:
        try:
            return self._read_good(well, index, position, files)
        except FieldError as error:
            self._require_raw_plate(error)
            where = f"plate {self.plate}, well {well}, field {index}"
            report = failed_field(index, error, on_bad_field=self.settings.on_bad_field, where=where)
        shape = (min(edge, _MOST_EMPTY_PX) for edge in self.described.shape)
        empty = np.zeros((len(self.described.channels), *shape), dtype=np.uint16)
        size = self.settings.source.pixel_size_um or self.described.pixel_size_um or math.nan
        return _Image(planes=empty, pixel_size_um=size, report=report, z={})

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

    def _read_good(self, well: str, index: int, position: Field, files: WellFiles) -> _Image:
        if position.problems:
            kind = UnreachedFileError if self._has_lost_files(well) else FieldError
            raise kind("; ".join(position.problems))
        planes, size, stacks = assemble(
            position,
            self.described,
            self.settings,
            source=self.layout.project / self.settings.source.path,
            read_plane=files.plane,
            file_pixel_size_um=files.pixel_size_um,
        )
        return _Image(
            planes=planes,
            pixel_size_um=size,
            report=judge(index, planes, self.described.channels, size),
            z={channel: list(stack) for channel, stack in stacks.items()},
        )

    def _write(self, target: FieldStore, position: Field, image: _Image) -> list[list[int]]:
        """Write the image; returns the layout that its label images follow where that is another plate's."""
        params = self.settings.params
        attributes = {
            **_origin(position, image),
            "status": image.report["status"],
            "reasons": image.report["reasons"],
        }
        found = in_place_of(position, self.described, params) if image.z else None
        if isinstance(found, InPlace):
            is_relative = not Path(self.settings.source.path).is_absolute()
            target.link_image(
                [link_to(array, target.path) if is_relative else array for array in found.arrays],
                axes=found.axes,
                planes=image.planes,
                channels=self.described.channels,
                pixel_size_um=image.pixel_size_um,
                attributes=attributes,
            )
            return [[len(found.arrays), *found.chunk]]
        target.write_image(
            image.planes,
            channels=self.described.channels,
            pixel_size_um=image.pixel_size_um,
            levels=params.pyramid_levels,
            chunk_px=params.chunk_px,
            attributes=attributes,
        )
        return []

    def _digest(self, contents: list[list[Any]]) -> str:
        # The layout is content too: label images follow the image's pyramid, chunks and format.
        params = self.settings.params
        return digest_json(
            {
                "fields": contents,
                "channels": list(self.described.channels),
                "ngff_version": params.ngff_version,
                "pyramid_levels": params.pyramid_levels,
                "chunk_px": params.chunk_px,
            }
        )


def _has_files(described: RawPlate) -> bool:
    return any(path.exists() for well in described.wells for path in described.files(well))


def _origin(position: Field, image: _Image) -> Json:
    """What a field is in the raw plate: position, time point, and the Z planes by channel (0: the instrument's)."""
    return {
        "name": position.name,
        "position": position.position,
        "timepoint": position.timepoint,
        "z": dict(image.z),
        "reduction": position.reduction,
    }


def _is_nan(image: _Image) -> bool:
    return math.isnan(image.pixel_size_um)
