"""What a field costs in each stage: by the records of wells that are done, else by rough figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from lysoquant.channels import Channels
from lysoquant.config import Config
from lysoquant.layout import Layout
from lysoquant.project.batches import Plan
from lysoquant.record import Json, read_json
from lysoquant.vocabulary import BATCH_STAGES

_SAMPLE: Final = 24
"""Wells whose records and files are looked at, spread evenly over those that are done: enough, and quick."""

ROUGH_CORE_S_PER_MPX: Final[Mapping[str, float]] = {"convert": 0.25, "cells": 0.7, "segment": 19.0, "measure": 0.7}
"""Processor seconds for a million pixels of a field with three channels: the demo's plate, one core with bf16.

Of segment at the pixel size below; without bf16 it is twice as much.
"""

ROUGH_CELLPOSE_CORE_S_PER_MPX: Final = 36.0
"""The same of cells by Cellpose: a network of Cellpose-SAM's size in single precision, on one core without bf16."""

_ROUGH_PIXEL_SIZE_UM: Final = 0.1

ROUGH_BYTES_PER_PX: Final[Mapping[str, float]] = {"convert": 0.9, "cells": 0.035, "segment": 0.15, "measure": 0.32}
"""Of images and label images by pixel, over all channels and levels; of tables by pixel of the field."""

ROUGH_PROJECT_S: Final[Mapping[str, float]] = {"aggregate": 0.08, "report": 0.65}
"""Seconds a well, on two wells; large plates take less."""

ROUGH_REPORT_BYTES: Final = 5_000_000
"""Of the report without pictures of fields."""

ROUGH_PICTURE_BYTES: Final = 60_000
"""Of a field's picture and outlines in the report; the demo's fields of 512 pixels have 40 kB."""

_BLOCK: Final = 4096
"""Bytes that a small file takes on a disk."""


@dataclass(frozen=True)
class FieldCost:
    """What one field costs in a stage.

    Attributes
    ----------
    core_s : float
        Core-seconds: cores that the job was given times seconds of wall time, without the job's start.
    gpu_s : float or None
        Seconds on a GPU; None where no well was done on one.
    disk_bytes, files : float
        What stays on disk, per-well files and records shared out to the fields.
    n_wells, n_fields : int
        What it was measured on; 0 for rough figures.
    """

    core_s: float
    gpu_s: float | None
    disk_bytes: float
    files: float
    n_wells: int = 0
    n_fields: int = 0

    @property
    def is_rough(self) -> bool:
        return self.n_fields == 0


def field_costs(plan: Plan) -> dict[str, FieldCost]:
    """Cost of a field in each batch stage; reads at most a few wells' records and what those wells wrote.

    Raises
    ------
    PlateError
        If a stage has done no well and no image can be read.
    """
    done = {stage: list(_done(plan, stage)) for stage in BATCH_STAGES}
    found = {stage: measured(plan.project.layout, stage, done[stage]) for stage in BATCH_STAGES}
    segment = found["segment"]
    if segment is not None:
        found["segment"] = of_cargoes(segment, done["segment"], plan.project.config.channels)
    image = _first_image(plan) if None in found.values() else None
    return {stage: cost or rough(plan, cast("_Image", image), stage) for stage, cost in found.items()}


def done_wells(layout: Layout, plate: str, stage: str) -> frozenset[str]:
    """Wells that have a record of a stage, up to date or not."""
    return frozenset(path.stem for path in layout.well_record(plate, stage, "x").parent.glob("*.json"))


def _done(plan: Plan, stage: str) -> Iterator[Json]:
    layout = plan.project.layout
    names = [(plate, well) for plate in plan.plates for well in sorted(done_wells(layout, plate, stage))]
    for plate, well in _spread(names):
        record = read_json(layout.well_record(plate, stage, well))
        # Records of versions before this one don't say on how many cores.
        if record is not None and record.get("ran_on") and record.get("fields"):
            yield record


def _spread(names: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    step = max(1, len(names) / _SAMPLE)
    return [names[int(index * step)] for index in range(min(_SAMPLE, len(names)))]


def measured(layout: Layout, stage: str, records: Sequence[Json]) -> FieldCost | None:
    """Cost by the records of wells that a stage did; None without any."""
    n_fields = sum(len(record["fields"]) for record in records)
    if not n_fields:
        return None
    core_s = math.fsum(record["seconds"] * int(record["ran_on"].get("cores", 1)) for record in records)
    on_gpu = [record for record in records if record["ran_on"].get("device") == "cuda"]
    gpu_fields = sum(len(record["fields"]) for record in on_gpu)
    sizes = [size for record in records for size in _written(layout, stage, record)]
    return FieldCost(
        core_s=core_s / n_fields,
        gpu_s=math.fsum(record["seconds"] for record in on_gpu) / gpu_fields if gpu_fields else None,
        disk_bytes=sum(sizes) / n_fields,
        files=len(sizes) / n_fields,
        n_wells=len(records),
        n_fields=n_fields,
    )


def of_cargoes(cost: FieldCost, records: Sequence[Json], channels: Channels) -> FieldCost:
    """Cost of segment for as many cargoes as there are now: each goes through the network as often as the first."""
    told = [len(record["parameters"]["channels"].get("other_cargoes", ())) + 1 for record in records]
    factor = len(channels.cargoes) * len(told) / sum(told)
    return replace(cost, core_s=cost.core_s * factor, gpu_s=None if cost.gpu_s is None else cost.gpu_s * factor)


def _written(layout: Layout, stage: str, record: Json) -> Iterator[int]:
    """Bytes on disk of every file of a well that the stage wrote, its record too."""
    yield from _sizes([layout.well_record(record["plate"], stage, record["well"])])
    for name in record.get("wrote", ()):
        path = layout.results / name
        if stage == "convert":
            # Label images and tables, which later stages wrote and count, lie in the folder of the field.
            yield from _sizes(each for each in path.glob("*") if each.name not in ("labels", "tables"))
            yield from _sizes(each for each in (path / "labels").glob("*") if each.is_file())
        elif path.parent.name != "tables" and path.parent.parent.name != "tables":
            yield from _sizes([path])
    yield from _sizes(dict.fromkeys(_tables_of(layout, record)))


def _tables_of(layout: Layout, record: Json) -> Iterator[Path]:
    """Folders of tables in the store that hold what a record names: their metadata count too."""
    for name in record.get("wrote", ()):
        field, found, _ = name.partition("/tables/")
        if found:
            yield layout.results / field / "tables"


def _sizes(paths: Iterable[Path]) -> Iterator[int]:
    for path in paths:
        for file in path.rglob("*") if path.is_dir() else [path]:
            try:
                status = file.stat()
            except OSError:
                continue
            if file.is_file():
                yield max(status.st_size, status.st_blocks * 512)


@dataclass(frozen=True)
class _Image:
    """What a field's image is."""

    n_channels: int
    height: int
    width: int
    pixel_size_um: float


def rough(plan: Plan, image: _Image, stage: str) -> FieldCost:
    """Cost by the size of images alone: from a simulated plate, and so only the order of magnitude."""
    pixels = image.height * image.width
    n_fields = sum(sum(plan.n_fields[plate].values()) for plate in plan.plates)
    n_wells = sum(len(plan.n_fields[plate]) for plate in plan.plates)
    files = files_of_field(plan.project.config, stage, image.n_channels, image.height, image.width)
    files += _FILES_OF_WELL[stage] * n_wells / max(1, n_fields)
    by_cellpose = stage == "cells" and stage in plan.networks
    core_s = (ROUGH_CELLPOSE_CORE_S_PER_MPX if by_cellpose else ROUGH_CORE_S_PER_MPX[stage]) * pixels / 1e6
    if stage in plan.networks:
        # The network sees every field at one pixel size, so what counts is the area.
        core_s *= (image.pixel_size_um / _ROUGH_PIXEL_SIZE_UM) ** 2
    if stage == "segment":
        core_s *= len(plan.project.config.channels.cargoes)  # each goes through the network
    content = _bytes_of_field(plan.project.config, stage, pixels, image.n_channels)
    return FieldCost(core_s=core_s, gpu_s=None, disk_bytes=content + files * _BLOCK / 2, files=files)


_TABLES: Final = 4
"""Tables of a field in the store (`lysoquant.io.field_tables`)."""

_FILES_OF_WELL: Final[Mapping[str, int]] = {"convert": 1, "cells": 1, "segment": 2, "measure": 4}
"""The well's record and its tables."""


def _first_image(plan: Plan) -> _Image:
    """The images of the first plate."""
    plate = plan.plates[0]
    record = read_json(plan.project.layout.plate_record(plate))
    if record is not None:
        n_channels, shape, size_um = len(record["channels"]), record["shape"], record["pixel_size_um"]
    else:
        # Imported here: it needs an image reader, and only a project without any well done comes here.
        from lysoquant.convert.describe import describe_plate
        from lysoquant.convert.params import ConvertSettings

        settings = ConvertSettings.model_validate(plan.project.settings("convert", plate))
        found = describe_plate(layout=plan.project.layout, settings=settings)
        n_channels, shape, size_um = len(found.channels), found.shape, found.pixel_size_um
    size_um = plan.project.plates[plate].pixel_size_um or size_um or _ROUGH_PIXEL_SIZE_UM
    return _Image(n_channels, int(shape[0]), int(shape[1]), float(size_um))


def _bytes_of_field(config: Config, stage: str, pixels: float, n_channels: int) -> float:
    levels = sum(0.25**level for level in range(config.convert.pyramid_levels))
    planes = {"convert": n_channels * levels, "cells": levels, "segment": levels, "measure": 1.0}[stage]
    return ROUGH_BYTES_PER_PX[stage] * planes * pixels


def files_of_field(config: Config, stage: str, n_channels: int, height: int, width: int) -> float:
    """Files of a field's image, label images or tables, by the layout of the store."""
    params = config.convert
    sharded = params.ngff_version == "0.5"
    metadata = 1 if sharded else 2
    if stage == "measure":
        return metadata + _TABLES * (metadata + 1) if config.measure.store_tables else 0
    planes = {"convert": n_channels, "cells": 1, "segment": 1}[stage]
    chunks = [
        1 if sharded else math.ceil((height >> level) / params.chunk_px) * math.ceil((width >> level) / params.chunk_px)
        for level in range(params.pyramid_levels)
    ]
    image = metadata + sum(metadata + planes * n for n in chunks)
    return {"convert": image + metadata, "cells": image, "segment": 2 * image}[stage]
