"""Batches of wells: the jobs of the workflow, and which job waits for which.

A job is a stage and a batch of neighbouring wells, cut in reading order; its name is the batch's first and last well.
Stages may have batches of different sizes: a batch waits for every upstream batch that shares a well with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from lysoquant.cells.cellpose_file import cellpose_file
from lysoquant.cells.params import METHODS_OF_PIXELS
from lysoquant.cells.template import fill_template
from lysoquant.config import Project
from lysoquant.errors import ConfigError, InputError
from lysoquant.model.card import DEFAULT_MODEL
from lysoquant.project.resources import CELLPOSE, CELLPOSE_ON_GPU, THREADS, local_threads
from lysoquant.record import digest_file, digest_json
from lysoquant.vocabulary import well_order

UPSTREAM: Final[Mapping[str, tuple[str, ...]]] = {
    "convert": (),
    "cells": ("convert",),
    "segment": ("convert", "cells"),
    "measure": ("convert", "cells", "segment"),
}
"""Stages whose output a batch stage reads."""


@dataclass(frozen=True)
class Batch:
    """Neighbouring wells that one job does.

    Attributes
    ----------
    wells : tuple of str
        Canonical well names in reading order; never empty.
    """

    wells: tuple[str, ...]

    @property
    def name(self) -> str:
        """First and last well: ``B02-B09``, or ``B02-B02`` for a single well."""
        return f"{self.wells[0]}-{self.wells[-1]}"


def cut_batches(wells: Iterable[str], *, wells_per_job: int) -> tuple[Batch, ...]:
    """Wells in reading order, cut into batches; the last may be smaller.

    Raises
    ------
    ValueError
        If ``wells_per_job`` is below 1 or a well name is not canonical.
    """
    if wells_per_job < 1:
        raise ValueError(f"wells_per_job is {wells_per_job}; it must be at least 1")
    ordered = sorted(set(wells), key=well_order)
    return tuple(
        Batch(tuple(ordered[start : start + wells_per_job])) for start in range(0, len(ordered), wells_per_job)
    )


def overlapping(batch: Batch, batches: Iterable[Batch]) -> tuple[Batch, ...]:
    """Those of ``batches`` that share a well with ``batch``, in their order."""
    wells = set(batch.wells)
    return tuple(other for other in batches if not wells.isdisjoint(other.wells))


def choose_wells(text: str, *, plate: str, wells: Sequence[str]) -> tuple[str, ...]:
    """Wells that a user named (``B02,B03``), in reading order.

    Raises
    ------
    InputError
        If the plate has no such well; the message lists those that it has.
    """
    named = {name.strip() for name in text.split(",") if name.strip()}
    unknown = sorted(named - set(wells))
    if unknown or not named:
        raise InputError(
            f"--wells {text!r}: plate {plate} has no well {', '.join(unknown) or '(none was named)'};"
            f" its wells are {', '.join(wells)}"
        )
    return tuple(sorted(named, key=well_order))


def model_file(project: Project) -> Path:
    """The model that the configuration asks for.

    Raises
    ------
    ConfigError
        If there is no such file.
    """
    model = project.config.segment.model
    path = DEFAULT_MODEL if model == "default" else project.layout.project / model
    if not path.is_file():
        raise ConfigError(
            f"segment.model is {model!r} and {path} is not a file;"
            ' give the path of a .safetensors file relative to the project, or "default"'
        )
    return path


def plate_rows(project: Project) -> list[dict[str, str]]:
    """Rows of ``wells.tsv`` as aggregate takes them, the user's own columns too."""
    return [
        row.extra
        | {
            "plate": row.plate,
            "well": row.well,
            "condition": row.condition,
            "replicate": row.replicate,
            "control": row.control,
        }
        for row in project.plate_map
    ]


@dataclass(frozen=True)
class Plan:
    """Every job of a project and the records between them.

    Parameters
    ----------
    project : Project
        The loaded project.
    n_fields : mapping of str to mapping of str to int
        For each plate and well the number of fields. It is asked only for the plates that are asked for.
    only : mapping of str to collection of str, optional
        By plate the wells that have jobs; all by default.
    shared : mapping of str to mapping of str to str
        For each plate the identities of the raw files that several wells lie in; asked for likewise.
    """

    project: Project
    n_fields: Mapping[str, Mapping[str, int]]
    only: Mapping[str, Collection[str]] | None = None
    shared: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def plates(self) -> tuple[str, ...]:
        return tuple(self.project.plates)

    def wells(self, plate: str) -> tuple[str, ...]:
        """Wells of a plate that have raw images, in reading order."""
        named = self.n_fields[plate]
        return tuple(sorted(named if self.only is None else named.keys() & self.only[plate], key=well_order))

    @cached_property
    def _batches(self) -> dict[tuple[str, str], dict[str, Batch]]:
        return {}

    def _named(self, stage: str, plate: str) -> dict[str, Batch]:
        """Batches by name; a plate is cut when it is first asked for, so that a job cuts its own plate only."""
        if (stage, plate) not in self._batches:
            size = getattr(self.project.config.execution.wells_per_job, stage)
            cut = cut_batches(self.wells(plate), wells_per_job=size)
            self._batches[stage, plate] = {batch.name: batch for batch in cut}
        return self._batches[stage, plate]

    def batches(self, stage: str, plate: str) -> tuple[Batch, ...]:
        """Batches of a stage for one plate, in reading order."""
        return tuple(self._named(stage, plate).values())

    def batch_names(self, stage: str) -> tuple[str, ...]:
        """Names of a stage's batches over all plates, sorted, each once."""
        return tuple(sorted({batch.name for plate in self.plates for batch in self.batches(stage, plate)}))

    def batch(self, stage: str, plate: str, name: str) -> Batch:
        """A batch by its name.

        Raises
        ------
        InputError
            If the plate has no such batch.
        """
        batches = self._named(stage, plate)
        if name not in batches:
            raise InputError(f"plate {plate} has no {stage} batch {name!r}; it has {', '.join(batches)}")
        return batches[name]

    def path(self, path: Path) -> str:
        """A path as the workflow names it: relative to the project where it lies inside, so a project can be moved."""
        project = self.project.layout.project
        return path.relative_to(project).as_posix() if path.is_relative_to(project) else path.as_posix()

    def upstream_records(self, stage: str, plate: str, name: str) -> list[Path]:
        """Records that a job waits for: those of upstream batches that share a well with it."""
        batch = self.batch(stage, plate, name)
        layout = self.project.layout
        return [
            layout.batch_record(plate, upstream, other.name)
            for upstream in UPSTREAM[stage]
            for other in overlapping(batch, self.batches(upstream, plate))
        ]

    def outline_files(self, plate: str, name: str) -> list[Path]:
        """Files with cell outlines made elsewhere that a cells batch reads, those that are there."""
        params = self.project.config.cells
        if params.method not in ("rois", "labels"):
            return []
        paths = (
            self.project.layout.project / fill_template(params.path, plate=plate, well=well, field=field)
            for well in self.batch("cells", plate, name).wells
            for field in range(self.n_fields[plate][well])
        )
        return [path for path in dict.fromkeys(paths) if path.is_file()]

    def flat_field_files(self, stage: str, plate: str) -> list[Path]:
        """Flat-field images by which a stage corrects what it reads of a plate, those that are there."""
        config, project = self.project.config, self.project.layout.project
        params = config.illumination
        if not params.flat_field or (stage == "cells" and config.cells.method not in METHODS_OF_PIXELS):
            return []
        pattern = params.pattern(plate=plate)
        root = Path(pattern).anchor
        found = Path(root).glob(pattern.removeprefix(root)) if root else project.glob(pattern)
        return sorted(path for path in found if path.is_file())

    def measure_records(self) -> list[Path]:
        """Every record that aggregate waits for."""
        layout = self.project.layout
        return [
            layout.batch_record(plate, "measure", batch.name)
            for plate in self.plates
            for batch in self.batches("measure", plate)
        ]

    def plate_digest(self, plate: str) -> str:
        """Digest of what the plate's metadata hold: its wells, their numbers of fields, the files that they share."""
        return digest_json([dict(self.n_fields[plate]), dict(self.shared.get(plate, {}))])

    @property
    def networks(self) -> tuple[str, ...]:
        """Stages that run a network, on a GPU where there is one."""
        return ("cells", "segment") if self.project.config.cells.method == "cellpose" else ("segment",)

    def threads(self, stage: str, *, cores: int | None) -> int:
        """Threads of a stage's jobs on this host with so many cores; on a cluster (None) a job has all of its own."""
        if cores is None or stage in self.networks:
            return THREADS[stage]
        n_jobs = sum(len(self.batches(stage, plate)) for plate in self.plates)
        return local_threads(stage, cores=cores, n_jobs=n_jobs)

    def needs(self, stage: str) -> str:
        """Under which name :data:`lysoquant.project.resources.NEEDS` has the needs of a stage's jobs."""
        if stage != "cells" or stage not in self.networks:
            return stage
        return CELLPOSE_ON_GPU if self.project.config.execution.device == "cuda" else CELLPOSE

    @cached_property
    def model_sha256(self) -> Mapping[str, str]:
        """SHA-256 of the model file of each stage that runs a network.

        Raises
        ------
        ConfigError, ModelError
            If there is no such file.
        """
        files = {"segment": model_file(self.project)}
        cells = self.project.config.cells
        if cells.method == "cellpose":
            files["cells"] = cellpose_file(cells.cellpose_model, project=self.project.layout.project)
        return {stage: digest_file(file) for stage, file in files.items()}
