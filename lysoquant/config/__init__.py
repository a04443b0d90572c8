"""The configuration of a project: its models, its two sheets, and what each stage may see of them."""

from __future__ import annotations

from lysoquant.config.load import Project, load_config, load_project, parse_settings
from lysoquant.config.model import Config, Execution, WellsPerJob
from lysoquant.config.sheets import WellRow, normalise_well, read_plates, read_wells
from lysoquant.convert.params import PlateSource

__all__ = [
    "Config",
    "Execution",
    "PlateSource",
    "Project",
    "WellRow",
    "WellsPerJob",
    "load_config",
    "load_project",
    "normalise_well",
    "parse_settings",
    "read_plates",
    "read_wells",
]
