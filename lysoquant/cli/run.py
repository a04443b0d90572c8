"""``lysoquant run``: the whole workflow with a progress display and the occupancy table at its end."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from lysoquant.cli.stages import open_project, project_argument
from lysoquant.cli.storage import nearly_full, storage_named
from lysoquant.config import Project
from lysoquant.errors import InputError, StageError
from lysoquant.project.batches import Plan
from lysoquant.project.command import profile_folder
from lysoquant.project.doctor.before import check_before_run
from lysoquant.project.inventory import plan_project
from lysoquant.project.lock import only_run
from lysoquant.project.occupancy_table import occupancy_table
from lysoquant.project.pilot import PilotWell, choose_pilot, pilot_text, plan_pilot
from lysoquant.project.profile import cut_by_profile
from lysoquant.project.run import check_model, run_workflow
from lysoquant.project.slurm import uses_slurm


@contextmanager
def _ends_when_terminated() -> Iterator[None]:
    """Make SIGTERM, which a batch system sends, end the workflow and its jobs too."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.command()
@project_argument
@click.option("--cores", type=click.IntRange(min=1), help="Processor cores; default: all.")
@click.option("--profile", help="Profile of the workflow by name (slurm), or the folder of one.")
@click.option(
    "--pilot",
    metavar="N|B02,C05",
    help="Only so many wells, or these, to a report of their own and a forecast of the whole; their work is kept.",
)
@click.option("--dry-run", "-n", is_flag=True, help="Show the jobs that a run would do.")
@click.option("--unlock", is_flag=True, help="Remove the lock that a killed run left.")
@click.argument("snakemake_arguments", nargs=-1, type=click.UNPROCESSED)
def run(
    *,
    project: Path,
    cores: int | None,
    profile: str | None,
    pilot: str | None,
    dry_run: bool,
    unlock: bool,
    snakemake_arguments: tuple[str, ...],
) -> None:
    """Run the whole workflow of a project.

    Does only what is not done or has changed. `snakemake` itself works the same; arguments after `--` go to it.
    While it works, a second run on the same project is refused and changes nothing.

    With --pilot 3 it does three wells (a negative control, a positive one and one in the middle of the others, where
    the plate map has controls; else the first, the middle and the last), and stops for a look at their report.
    """
    if pilot is not None and unlock:
        raise InputError("--pilot and --unlock exclude each other; unlock first: lysoquant run PROJECT --unlock")
    loaded = cut_by_profile(open_project(project), profile_folder(profile))
    wells: Sequence[PilotWell] = ()
    # The lock comes first: even a dry run brings the raw records up to date.
    with _ends_when_terminated(), storage_named(loaded.layout), only_run(loaded.layout) as lock:
        if not unlock:
            check_model(loaded)
            # The workflow looks again when it plans; here a wrong raw plate is one line and not a workflow's message.
            plan = plan_project(loaded, refresh=True)
            if pilot is not None:
                wells = choose_pilot(pilot, plan)
                click.echo(f"pilot: {', '.join(f'{each.name} ({each.reason})' for each in wells)}", err=True)
                plan = plan_pilot(loaded, pilot_text(wells), refresh=False)
            if not dry_run:
                _check(plan, profile, snakemake_arguments)
        try:
            run_workflow(
                loaded,
                cores=cores,
                profile=profile,
                dry_run=dry_run,
                unlock=unlock,
                more=snakemake_arguments,
                held=[lock],
                pilot=pilot_text(wells) or None,
            )
        except StageError as error:
            # Jobs on a full disk can't even write their logs.
            raise StageError("\n".join(filter(None, [str(error), nearly_full(loaded.layout)]))) from error
    if dry_run or unlock:
        return
    layout = plan.project.layout
    table = layout.tables / "wells.csv"
    click.echo(occupancy_table(table))
    click.echo(f"\noccupancy table: {table}\nreport: {layout.report}")
    if wells:
        _after_pilot(loaded, wells, profile=profile, cores=cores)


def _check(plan: Plan, profile: str | None, snakemake_arguments: Sequence[str]) -> None:
    check_before_run(plan, on_slurm=uses_slurm(profile_folder(profile), snakemake_arguments))


def _after_pilot(project: Project, wells: Sequence[PilotWell], *, profile: str | None, cores: int | None) -> None:
    """What to look at, what the whole will cost, and how to go on."""
    from lysoquant.project.forecast.jobs import forecast, pending_wells
    from lysoquant.project.forecast.machine import machine_of
    from lysoquant.project.forecast.text import lines
    from lysoquant.project.why import pending

    plan = plan_project(project, refresh=False)
    machine = machine_of(project, profile=profile, cores=cores)
    n_wells = f"{len(wells)} well{'s' * (len(wells) != 1)}"
    click.echo(f"\nThis was a pilot of {n_wells}; tables and report of the whole were not touched.\n")
    for line in lines(forecast(plan, pending_wells(pending(project)), machine=machine)):
        click.echo(line)
    command = ["lysoquant", "run", str(project.layout.project)]
    command += ["--profile", profile] if profile else []
    command += ["--cores", str(cores)] if cores else []
    click.echo(f"\nLook at the pilot's report; if it is right, this goes on with the rest:\n  {shlex.join(command)}")
