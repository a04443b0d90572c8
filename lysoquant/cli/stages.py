"""The six stages as commands: what the rules call and what a person can paste."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from lysoquant.cli.preview import preview_options, show_preview
from lysoquant.cli.storage import storage_named
from lysoquant.config import Project, load_project, parse_settings
from lysoquant.convert.params import ConvertSettings
from lysoquant.errors import InputError
from lysoquant.project.batches import Plan, choose_wells, plate_rows
from lysoquant.project.inventory import leave_by_hand, plan_project, raw_base, raw_files
from lysoquant.project.pilot import plan_pilot
from lysoquant.record import Json, running_on
from lysoquant.vocabulary import BATCH_STAGES

_SUMMARIES: Final = {
    "convert": "Raw images to one OME-Zarr store a plate.",
    "cells": "Find the cells of every field.",
    "segment": "Find and classify the endolysosomes of every cell.",
    "measure": "Measure endolysosomes and cells.",
    "aggregate": "From cells to wells, conditions and statistics.",
    "report": "Write the HTML report.",
}

_BATCH_HELP: Final = """

    Without --plate and --wells: every plate and well, in the batches of the workflow, with the same records.
    Wells whose inputs, settings and code did not change are not done again.
    """

_PROJECT_HELP: Final = """

    Takes what the stage before left; returns at once where nothing changed.
    """

project_argument = click.argument(
    "project", type=click.Path(exists=True, file_okay=False, resolve_path=False, path_type=Path)
)
settings_option = click.option(
    "--settings", metavar="JSON", help="All settings of the stage as JSON; default: as the configuration says."
)
record_option = click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to leave the record; default: as the workflow has it.",
)
pilot_option = click.option(
    "--pilot",
    metavar="PLATE/WELL,...",
    help="Only these wells of the project; their batch records, tables and report lie apart.",
)

cores_option = click.option(
    "--cores", type=click.IntRange(min=1), default=1, show_default=True, help="Processor cores."
)


@dataclass(frozen=True)
class _Job:
    """One call of a stage's door."""

    plate: str
    batch: str
    wells: tuple[str, ...]
    record: Path | None
    """None: the wells are a part of a batch, whose record only the whole batch may write."""


def run_stage(
    stage: str,
    *,
    project: Project,
    plate: str,
    batch: str,
    wells: tuple[str, ...],
    record: Path,
    settings: str | None = None,
    cores: int = 1,
) -> Json:
    """Call the door of a batch stage for one plate and some of its wells.

    Parameters
    ----------
    batch : str
        Name of the convert batch that holds the wells; only convert looks at it, for the raw files' identity.
    settings : str, optional
        The stage's settings as JSON; as the project says by default.

    Returns
    -------
    dict
        The batch record.
    """
    more: Mapping[str, Any] = {}
    chosen = parse_settings(stage, settings) if settings else project.settings(stage, plate)
    device = "cpu"
    execution = project.config.execution
    if isinstance(chosen, ConvertSettings):
        from lysoquant.convert.planned import planned_plate
        from lysoquant.model.memory import keep_freed_memory

        keep_freed_memory()  # before there are threads
        more = {
            "raw": raw_files(project.layout, plate, batch, wells),
            "described": planned_plate(
                layout=project.layout,
                plate=plate,
                batch=batch,
                wells=wells,
                settings=chosen,
                base=raw_base(project, plate),
            ),
        }
    elif stage == "segment" or (stage == "cells" and project.config.cells.method == "cellpose"):
        # Imported here: it needs torch, and only a stage that runs a network does.
        from lysoquant.model.memory import keep_freed_memory

        if stage == "segment":
            keep_freed_memory()  # before torch and its threads
        from lysoquant.model.precision import choose_device

        device = choose_device(execution.device).type
        more = {"device": device}
    elif stage == "measure":
        more = {"dask": execution.dask}
    with running_on(cores=cores, device=device):
        record_json: Json = _step(stage).run(
            layout=project.layout,
            plate=plate,
            wells=wells,
            settings=chosen,
            record=record,
            cores=cores,
            **more,
        )
    return record_json


def run_project_stage(
    stage: str,
    *,
    project: Project,
    plan: Plan,
    record: Path | None = None,
    settings: str | None = None,
    cores: int = 1,
) -> Json:
    """Call the door of aggregate or report for the whole project; returns its record."""
    more: Mapping[str, Any] = {}
    if stage == "aggregate":
        more = {"plate_map": plate_rows(project), "dask": project.config.execution.dask}
    record_json: Json = _step(stage).run(
        layout=project.layout,
        plates={plate: plan.wells(plate) for plate in plan.plates},
        settings=parse_settings(stage, settings) if settings else project.settings(stage),
        record=record or project.layout.project_record(stage),
        cores=cores,
        **more,
    )
    return record_json


def _step(stage: str) -> Any:
    return importlib.import_module(f"lysoquant.{stage}.step")


def open_project(path: Path) -> Project:
    """Load a project under its absolute path, so that records do not depend on where a command was typed."""
    return load_project(path.absolute())


def open_plan(project: Project, stage: str, *, pilot: str | None, record: Path | None) -> Plan:
    """The jobs of a project, or of a pilot on some of its wells (``PLATE/WELL,...``).

    Once all raw plates were looked at only convert looks again, and only where the workflow has not just done so: the
    other stages work after a plate was archived.
    """
    looked = all(any(project.layout.raw_record(plate, "").parent.glob("*.json")) for plate in project.plates)
    refresh = record is None and (stage == "convert" or not looked)
    return plan_pilot(project, pilot, refresh=refresh) if pilot else plan_project(project, refresh=refresh)


def _jobs(plan: Plan, stage: str, *, plate: str | None, wells: str | None, record: Path | None) -> Iterator[_Job]:
    if plate is not None and plate not in plan.plates:
        raise InputError(f"--plate {plate!r}: the project's plates are {', '.join(plan.plates)}")
    if plate is None and (wells or record):
        raise InputError("--wells and --record need --plate")
    if record is not None and not wells:
        raise InputError("--record needs --wells: it is the record of one batch of wells")
    for name in [plate] if plate else plan.plates:
        chosen = choose_wells(wells, plate=name, wells=plan.wells(name)) if wells else plan.wells(name)
        if record is not None:
            yield _Job(name, record.stem, chosen, record)
            continue
        for batch in plan.batches(stage, name):
            part = tuple(well for well in batch.wells if well in chosen)
            whole = part == batch.wells
            if part:
                target = plan.project.layout.batch_record(name, stage, batch.name) if whole else None
                yield _Job(name, batch.name, part, target)


def _run_jobs(
    stage: str,
    project: Project,
    *,
    plate: str | None,
    wells: str | None,
    settings: str | None,
    record: Path | None,
    pilot: str | None,
    cores: int,
) -> None:
    plan = open_plan(project, stage, pilot=pilot, record=record)
    project = plan.project
    jobs = list(_jobs(plan, stage, plate=plate, wells=wells, record=record))
    if stage == "convert" and record is None:
        for name in dict.fromkeys(job.plate for job in jobs):
            write_plate_metadata(project, plate=name, settings=settings)
    with tempfile.TemporaryDirectory() as scratch:
        for job in jobs:
            run_stage(
                stage,
                project=project,
                plate=job.plate,
                batch=job.batch,
                wells=job.wells,
                record=job.record or Path(scratch, "part.json"),
                settings=settings,
                cores=cores,
            )
            if record is None and job.record is not None:
                leave_by_hand(job.record)


def write_plate_metadata(project: Project, *, plate: str, settings: str | None = None) -> None:
    """Write the plate's and its wells' metadata, which must be there before the first pixel."""
    _step("convert").write_plate(
        layout=project.layout,
        plate=plate,
        settings=parse_settings("convert", settings) if settings else project.settings("convert", plate),
    )


def _batch_command(stage: str) -> click.Command:
    def command(
        *,
        project: Path,
        plate: str | None,
        wells: str | None,
        settings: str | None,
        record: Path | None,
        pilot: str | None,
        cores: int,
        plate_metadata: bool = False,
        preview: str | None = None,
        **of_preview: Any,
    ) -> None:
        loaded = open_project(project)
        with storage_named(loaded.layout):
            if stage == "cells" and show_preview(
                loaded,
                preview,
                others={"--wells": wells, "--settings": settings, "--record": record, "--pilot": pilot},
                plate=plate,
                **of_preview,
            ):
                return
            if plate_metadata:
                if plate is None:
                    raise InputError("--plate-metadata needs --plate")
                write_plate_metadata(loaded, plate=plate, settings=settings)
                return
            _run_jobs(
                stage, loaded, plate=plate, wells=wells, settings=settings, record=record, pilot=pilot, cores=cores
            )

    options: list[Callable[[Any], Any]] = [
        project_argument,
        click.option("--plate", help="Only this plate."),
        click.option("--wells", metavar="B02,B03", help="Only these wells of --plate."),
        settings_option,
        record_option,
        pilot_option,
        cores_option,
    ]
    if stage == "convert":
        help_text = "Write only the metadata of --plate and its wells, which must be there before the first pixel."
        options.append(click.option("--plate-metadata", is_flag=True, help=help_text))
    if stage == "cells":
        options += preview_options
    return _command(stage, command, options, _BATCH_HELP)


def _project_command(stage: str) -> click.Command:
    def command(*, project: Path, settings: str | None, record: Path | None, pilot: str | None, cores: int) -> None:
        loaded = open_project(project)
        with storage_named(loaded.layout):
            plan = open_plan(loaded, stage, pilot=pilot, record=record)
            run_project_stage(stage, project=plan.project, plan=plan, record=record, settings=settings, cores=cores)
            if record is None:
                leave_by_hand(plan.project.layout.project_record(stage))

    options: list[Callable[[Any], Any]] = [project_argument, settings_option, record_option, pilot_option, cores_option]
    return _command(stage, command, options, _PROJECT_HELP)


def _command(
    stage: str, function: Callable[..., None], options: list[Callable[[Any], Any]], more_help: str
) -> click.Command:
    for option in reversed(options):
        function = option(function)
    return click.command(name=stage, help=_SUMMARIES[stage] + more_help)(function)


convert, cells, segment, measure = (_batch_command(stage) for stage in BATCH_STAGES)
aggregate, report = (_project_command(stage) for stage in ("aggregate", "report"))
