"""The command line of Snakemake that a run amounts to."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import lysoquant
from lysoquant.errors import InputError, StageError
from lysoquant.project.profile import profile_settings
from lysoquant.project.slurm import uses_slurm

_PACKAGE: Final = Path(lysoquant.__file__).parent
_CORES_OF_A_CLUSTER: Final = "100000"


def workflow_folder() -> Path:
    """The folder of the Snakefile: beside the package in a checkout, inside it in an installed wheel.

    Raises
    ------
    StageError
        If it is in neither place.
    """
    for folder in (_PACKAGE.parent / "workflow", _PACKAGE / "_workflow"):
        if (folder / "Snakefile").is_file():
            return folder
    raise StageError(f"no workflow beside or in {_PACKAGE}; install lysoquant again")


def command_prefix(*, conda: bool, pilot: str | None = None) -> str:
    """Shell text before every job, so that ``lysoquant`` is the one that planned the workflow.

    Parameters
    ----------
    conda : bool
        Jobs run in a conda environment: its Python, with this library; otherwise this very Python.
    pilot : str, optional
        Wells of a pilot; every job is told of them.
    """
    more = f" --pilot {shlex.quote(pilot)}" if pilot else ""
    python = f"PYTHONPATH={shlex.quote(str(_PACKAGE.parent))} python" if conda else shlex.quote(sys.executable)
    return f'lysoquant() {{ {python} -P -m lysoquant.cli.main "$@"{more}; }}; '


def snakemake_command(
    project: Path,
    *,
    cores: int | None,
    profile: str | None,
    dry_run: bool,
    unlock: bool,
    more: Sequence[str] = (),
    pilot: str | None = None,
) -> list[str]:
    """The command line that a run amounts to.

    Parameters
    ----------
    cores : int, optional
        Processor cores; all of them by default, or as the profile says.
    profile : str, optional
        A profile of the workflow by name (``slurm``), or a profile's folder.
    more : sequence of str
        Further arguments for Snakemake.
    pilot : str, optional
        Wells of a pilot (``PLATE/WELL,...``).

    Raises
    ------
    InputError
        If there is no such profile.
    """
    workflow = workflow_folder()
    command = [sys.executable, "-P", "-m", "snakemake", "--snakefile", str(workflow / "Snakefile")]
    folder = profile_folder(profile)
    command += ["--directory", str(project), "--workflow-profile", str(folder)]
    if cores is not None or profile is None:
        command += ["--cores", str(cores or "all")]
    elif dry_run and uses_slurm(folder, more):
        # Else a dry run cuts every job down to one core, and what it shows of memory and time is not what is asked for.
        command += ["--cores", _CORES_OF_A_CLUSTER]
    command += ["--keep-going", "--rerun-incomplete"]
    command += ["--dry-run"] * dry_run + ["--unlock"] * unlock
    if pilot:
        # What is given here takes the place of all that the profile gives, so the profile's values come along.
        kept = (profile_settings(folder).get("config") or {}).items()
        command += ["--config", f"pilot={pilot}", *(f"{name}={json.dumps(value)}" for name, value in kept)]
    return [*command, *more]


def profile_folder(name: str | None) -> Path:
    """Folder of a profile of the workflow.

    Parameters
    ----------
    name : str, optional
        One of the workflow's own (``slurm``), or a folder; the workflow's own ``default`` by default.

    Raises
    ------
    InputError
        If there is no such profile.
    """
    workflow, name = workflow_folder(), name or "default"
    for folder in (workflow / "profiles" / name, Path(name)):
        if any(folder.glob("config*.yaml")):
            return folder.absolute()
    known = sorted(path.parent.name for path in (workflow / "profiles").glob("*/config*.yaml"))
    raise InputError(f"--profile {name!r} is neither {' nor '.join(known)} nor a folder with a profile's config.yaml")
