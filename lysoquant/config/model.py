"""The whole of ``config.yaml`` as one model. Defaults are said here and in the stages' ``params.py``, nowhere else."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lysoquant.aggregate.combinations import problems as combination_problems
from lysoquant.aggregate.params import AggregateParams
from lysoquant.cells.params import CellsParams
from lysoquant.channels import Channels
from lysoquant.convert.params import ConvertParams
from lysoquant.illumination.params import IlluminationParams
from lysoquant.measure.params import MeasureParams
from lysoquant.params import Params
from lysoquant.report.params import ReportParams
from lysoquant.segment.params import SegmentParams
from lysoquant.workers.params import DaskSettings

ProjectPath = Annotated[str, Field(min_length=1, max_length=4096)]


class WellsPerJob(Params):
    """Wells that one job of a stage takes, by stage."""

    convert: Annotated[int, Field(ge=1)] = 16
    """Wells in one job of convert."""
    cells: Annotated[int, Field(ge=1)] = 16
    """Wells in one job of cells."""
    segment: Annotated[int, Field(ge=1)] = 24
    """Wells in one job of segment."""
    measure: Annotated[int, Field(ge=1)] = 24
    """Wells in one job of measure."""


class Execution(Params):
    """How the work is cut and where it runs. Nothing here changes a result."""

    wells_per_job: WellsPerJob = WellsPerJob()
    """Wells that one job of a stage takes: more for fewer cold starts, fewer for more jobs side by side. A profile of
    the workflow may say otherwise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs; auto: the GPU where there is one."""
    dask: DaskSettings = DaskSettings()
    """Where measure and aggregate run."""


class Config(Params):
    """Settings of a project."""

    results: ProjectPath = "results"
    """Folder of all results, relative to the project or absolute."""
    plates: ProjectPath = "config/plates.tsv"
    """Sheet of raw plates, relative to the project or absolute."""
    wells: ProjectPath = "config/wells.tsv"
    """Sheet of wells (the plate map), relative to the project or absolute."""
    on_bad_field: Literal["flag", "fail"] = "flag"
    """flag: a bad field is recorded as failed, with its reason, and the plate goes on; fail: the run stops."""
    channels: Channels
    """Which channel plays which role; labels as the plate's own metadata name them."""
    convert: ConvertParams = ConvertParams()
    """From raw images to one OME-Zarr store a plate."""
    illumination: IlluminationParams = IlluminationParams()
    """Correction of uneven light before cells are found and intensities measured; raw pixels stay raw in the store."""
    cells: CellsParams = CellsParams()
    """Finding the cells of a field."""
    segment: SegmentParams = SegmentParams()
    """From cells to classified endolysosomes."""
    measure: MeasureParams = MeasureParams()
    """Measurements of endolysosomes and cells."""
    aggregate: AggregateParams = AggregateParams()
    """From cells to wells, conditions and statistics."""
    report: ReportParams = ReportParams()
    """The HTML report."""
    execution: Execution = Execution()
    """How the work is cut and where it runs. Nothing here changes a result."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        problems = [
            *_channel_problems(self.channels),
            *_nucleus_problems(self),
            *_tile_problems(self.segment),
            *combination_problems(self.aggregate.combinations, cargoes=self.channels.cargoes),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self


def _channel_problems(channels: Channels) -> list[str]:
    named = [(f"channels.{role}", label) for role, label in channels.by_role().items()]
    named += [("channels.other_cargoes", label) for label in channels.other_cargoes]
    roles: dict[str, list[str]] = {}
    for key, label in named:
        roles.setdefault(label, []).append(key)
    shared = [
        f"{' and '.join(keys)} are both {label!r}; expected a channel of its own for each role and each cargo"
        for label, keys in roles.items()
        if len(keys) > 1
    ]
    empty = [f"{key} is empty; expected the label of a channel" for key, label in named if not label.strip()]
    return empty or shared


def _nucleus_problems(config: Config) -> list[str]:
    if config.cells.method == "watershed" and config.channels.nucleus is None:
        return [
            "cells.method is 'watershed' and channels.nucleus is null; "
            "name the channel of the nuclei, or set cells.method to 'cellpose', 'rois', 'labels' or 'field'"
        ]
    return []


def _tile_problems(segment: SegmentParams) -> list[str]:
    if 2 * segment.overlap_px < segment.tile_px:
        return []
    return [
        f"segment.overlap_px is {segment.overlap_px} and segment.tile_px is {segment.tile_px}; "
        "expected an overlap of less than half a tile"
    ]
