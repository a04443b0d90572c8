"""Running the workflow: cleared of what killed runs left, on this host or on a cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lysoquant.cells.cellpose_file import cellpose_file, require_cellpose
from lysoquant.config import Project
from lysoquant.errors import StageError
from lysoquant.model.card import check_fit, read_card
from lysoquant.project.batches import model_file
from lysoquant.project.command import profile_folder, snakemake_command, workflow_folder
from lysoquant.project.follow import follow
from lysoquant.project.lock import is_certain
from lysoquant.project.slurm import (
    cancel_jobs,
    check_folder,
    check_partitions,
    killed_run,
    lost_runs,
    mark_ended,
    plain_states,
    status_arguments,
    uses_slurm,
)


def check_model(project: Project) -> None:
    """Refuse a model that is missing, damaged or does not fit the channels, before any work; likewise Cellpose.

    Raises
    ------
    InputError, ConfigError, ModelError
        With the remedy.
    """
    cells = project.config.cells
    if cells.method == "cellpose":
        require_cellpose()
        cellpose_file(cells.cellpose_model, project=project.layout.project)
    check_fit(read_card(model_file(project)), roles=set(project.config.channels.by_role()))


def run_workflow(
    project: Project,
    *,
    cores: int | None = None,
    profile: str | None = None,
    dry_run: bool = False,
    unlock: bool = False,
    more: Sequence[str] = (),
    held: Sequence[int] = (),
    pilot: str | None = None,
) -> None:
    """Run the whole workflow of a project, or that of a pilot on some of its wells.

    A dry run and an unlocking show Snakemake's own text.

    Parameters
    ----------
    pilot : str, optional
        Wells of a pilot (``PLATE/WELL,...``).
    held : sequence of int
        Open files that Snakemake holds too: the lock of the project (:mod:`lysoquant.project.lock`).

    Raises
    ------
    InputError
        If the profile does not exist.
    StageError
        If a job fails or the project is locked.
    """
    layout = project.layout
    command = snakemake_command(
        layout.project, cores=cores, profile=profile, dry_run=dry_run, unlock=unlock, more=more, pilot=pilot
    )
    if unlock:
        _cancel_lost_jobs(layout.project)
    if dry_run or unlock:
        finished = subprocess.run(command, check=False, env=dict(os.environ), pass_fds=held)
        if finished.returncode:
            raise StageError(f"snakemake ended with status {finished.returncode}; see its message above")
        return
    log = layout.logs / "snakemake.log"
    folder = profile_folder(profile)
    environment = None
    if uses_slurm(folder, more):
        check_folder(layout.project)
        command += status_arguments(folder, more)
        check_partitions(folder, more, gpu=project.config.execution.device == "cuda")
        environment = plain_states(workflow_folder() / "slurm")
    _clear_killed_run(layout.project, log=log, profile=profile, held=held)
    try:
        follow(command, log=log, project=layout.project, held=held, environment=environment)
    finally:
        with suppress(OSError):  # on a full disk; what is wrong has been said
            mark_ended(log)


def _clear_killed_run(project: Path, *, log: Path, profile: str | None, held: Sequence[int]) -> None:
    """Cancel the jobs that killed runs left on SLURM, plain Snakemake's too, and remove the lock of the last one.

    Only a run that holds the project (:mod:`lysoquant.project.lock`) may do this: then the others are known to be dead.
    """
    killed = killed_run(log)
    if killed is not None:
        names = ",".join(dict.fromkeys([killed, *lost_runs(project)]))
        said = f"{cancel_jobs(names)} of its jobs were left on SLURM"
    else:
        _cancel_lost_jobs(project)
        if not (any((project / ".snakemake" / "locks").glob("*.lock")) and all(map(is_certain, held))):
            return
        said = "its lock is removed"
    print(f"run: the last run was killed; {said}", file=sys.stderr, flush=True)
    command = snakemake_command(project, cores=None, profile=profile, dry_run=False, unlock=True)
    finished = subprocess.run(command, capture_output=True, text=True, check=False, pass_fds=held)
    if finished.returncode:
        raise StageError(f"snakemake --unlock ended with status {finished.returncode}: {finished.stderr.strip()}")


def _cancel_lost_jobs(project: Path) -> None:
    """Cancel what a plain Snakemake that was killed left on SLURM; nothing where there is no SLURM."""
    names = lost_runs(project)
    if names and shutil.which("squeue") and (number := cancel_jobs(",".join(names))):
        print(f"run: {number} jobs of a killed run were left on SLURM and are cancelled", file=sys.stderr, flush=True)
