"""``lysoquant run``: the whole workflow with a progress display and the occupancy table at its end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lysoquant.cli.stages import open_project, project_argument
from lysoquant.project.inventory import plan_project
from lysoquant.project.lock import only_run
from lysoquant.project.profile import cut_by_profile
from lysoquant.project.run import check_model, check_unlocked, occupancy_table, profile_folder, run_workflow


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
@click.option("--dry-run", "-n", is_flag=True, help="Show the jobs that a run would do.")
@click.option("--unlock", is_flag=True, help="Remove the lock that a killed run left.")
@click.argument("snakemake_arguments", nargs=-1, type=click.UNPROCESSED)
def run(
    *,
    project: Path,
    cores: int | None,
    profile: str | None,
    dry_run: bool,
    unlock: bool,
    snakemake_arguments: tuple[str, ...],
) -> None:
    """Run the whole workflow of a project.

    Does only what is not done or has changed. `snakemake` itself works the same; arguments after `--` go to it.
    While it works, a second run on the same project is refused and changes nothing.
    """
    loaded = cut_by_profile(open_project(project), profile_folder(profile))
    # The lock comes first: even a dry run brings the raw records up to date.
    with _ends_when_terminated(), only_run(loaded.layout) as lock:
        if not (dry_run or unlock):
            check_unlocked(loaded.layout.project, log=loaded.layout.logs / "snakemake.log")
        if not unlock:
            check_model(loaded)
            # The workflow looks again when it plans; here a wrong raw plate is one line and not a workflow's message.
            plan_project(loaded, refresh=True)
        run_workflow(
            loaded,
            cores=cores,
            profile=profile,
            dry_run=dry_run,
            unlock=unlock,
            more=snakemake_arguments,
            held=[lock],
        )
    if dry_run or unlock:
        return
    table = loaded.layout.tables / "wells.csv"
    click.echo(occupancy_table(table))
    click.echo(f"\noccupancy table: {table}\nreport: {loaded.layout.report}")
