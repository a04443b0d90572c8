"""A profile of the workflow: what its file says to Snakemake, and how many wells it puts into a job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from lysoquant.config import Project
from lysoquant.errors import ConfigError, InputError

WELLS_PER_JOB: Final = "wells_per_job"
"""The one value that a profile's ``config`` may hold: wells in one job by stage."""


def profile_settings(profile: Path) -> Mapping[str, Any]:
    """What a profile's folder says; Snakemake prefers a file for its version (``config.v9+.yaml``).

    Raises
    ------
    InputError
        If the file is not YAML.
    """
    for path in sorted(profile.glob("config*.yaml"), reverse=True):
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
        return loaded if isinstance(loaded, dict) else {}
    return {}


def cut_by_profile(project: Project, profile: Path) -> Project:
    """The project with the jobs that a profile's folder asks for.

    Raises
    ------
    InputError
        If the profile is not YAML.
    ConfigError
        If it says anything but wells in one job by stage.
    """
    return cut_by_config(project, profile_settings(profile).get("config") or {}, name=f"profile {profile}: config")


def cut_by_config(project: Project, config: object, *, name: str = "--config") -> Project:
    """The same by what Snakemake makes of a profile's ``config`` or of ``--config``.

    Raises
    ------
    ConfigError
        If it says anything but wells in one job by stage.
    """
    if not isinstance(config, Mapping):
        raise ConfigError(f"{name} is {config!r}; expected {WELLS_PER_JOB} with wells in one job by stage")
    others = [str(key) for key in config if key != WELLS_PER_JOB]
    if others:
        raise ConfigError(f"{name} {', '.join(others)} has no effect here; edit config/config.yaml")
    if not config:
        return project
    return project.with_wells_per_job(config[WELLS_PER_JOB], name=f"{name}: {WELLS_PER_JOB}")
