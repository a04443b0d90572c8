"""From a project's files to checked settings, and from those to what each stage is told."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from lysoquant.aggregate.params import AggregateSettings
from lysoquant.cells.params import METHODS_OF_PIXELS, CellsSettings
from lysoquant.config.faults import fault_lines
from lysoquant.config.model import Config, WellsPerJob
from lysoquant.config.old_names import with_new_names
from lysoquant.config.sheets import WellRow, read_plates, read_wells
from lysoquant.config.text import one_of, shown
from lysoquant.config.yaml_text import MAX_BYTES, Key, parse_yaml
from lysoquant.convert.params import ConvertSettings, PlateSource
from lysoquant.errors import ConfigError
from lysoquant.files import open_file
from lysoquant.illumination.params import IlluminationParams
from lysoquant.layout import Layout
from lysoquant.measure.params import MeasureSettings
from lysoquant.record import canonical_json
from lysoquant.report.params import ReportSettings
from lysoquant.segment.params import SegmentSettings

CONFIG_PATH: Final = Path("config") / "config.yaml"

Settings = ConvertSettings | CellsSettings | SegmentSettings | MeasureSettings | AggregateSettings | ReportSettings

SETTINGS: Final[Mapping[str, type[Settings]]] = {
    "convert": ConvertSettings,
    "cells": CellsSettings,
    "segment": SegmentSettings,
    "measure": MeasureSettings,
    "aggregate": AggregateSettings,
    "report": ReportSettings,
}
"""What each stage is told, by stage."""


@dataclass(frozen=True)
class Project:
    """A project's configuration, checked.

    Attributes
    ----------
    layout : Layout
        Where everything lies.
    config : Config
        ``config.yaml``.
    plates : dict of str to PlateSource
        ``plates.tsv`` in the order of plate names.
    plate_map : tuple of WellRow
        ``wells.tsv``.
    """

    layout: Layout
    config: Config
    plates: dict[str, PlateSource]
    plate_map: tuple[WellRow, ...]

    def __post_init__(self) -> None:
        own_columns = {name for row in self.plate_map for name in row.extra}
        self.config.aggregate.statistics.require_factor(own_columns)

    def raw_path(self, plate: str) -> Path:
        """Where a plate's raw data lie."""
        return self.layout.project / self._source(plate).path

    def settings(self, stage: str, plate: str | None = None) -> Settings:
        """All that a stage's result depends on besides its input files and the model.

        Parameters
        ----------
        stage : str
            One of :data:`lysoquant.vocabulary.STAGES`.
        plate : str, optional
            Needed for convert; the other stages are told the same for every plate.

        Raises
        ------
        ConfigError
            If there is no such stage or plate.
        """
        config = self.config
        match stage:
            case "convert":
                source = self._source(plate)
                # The lysosome channel only where the planes follow from it: otherwise convert does not depend on roles.
                lysosome = config.channels.lysosome if config.convert.z == "sharpest" else None
                return ConvertSettings(
                    source=source, params=config.convert, on_bad_field=config.on_bad_field, lysosome=lysosome
                )
            case "cells":
                # Cells made elsewhere do not depend on the light.
                light = config.illumination if config.cells.method in METHODS_OF_PIXELS else IlluminationParams()
                return CellsSettings(
                    channels=config.channels.with_one_cargo(),
                    params=config.cells,
                    illumination=light,
                    on_bad_field=config.on_bad_field,
                )
            case "segment":
                return SegmentSettings(
                    channels=config.channels, params=config.segment, on_bad_field=config.on_bad_field
                )
            case "measure":
                return MeasureSettings(
                    channels=config.channels,
                    params=config.measure,
                    illumination=config.illumination,
                    on_bad_field=config.on_bad_field,
                )
            case "aggregate":
                others = config.channels.other_cargoes
                return AggregateSettings(params=config.aggregate, **config.channels.by_role(), other_cargoes=others)
            case "report":
                # Without `execution`: it changes no result, so it must not make the report anew.
                shown_config = config.model_dump(mode="json", exclude={"execution"})
                return ReportSettings(channels=config.channels, params=config.report, config=shown_config)
        raise _no_stage(stage)

    def settings_json(self, stage: str, plate: str | None = None) -> str:
        """The stage's settings as canonical JSON: equal settings give equal text."""
        return canonical_json(self.settings(stage, plate).model_dump(mode="json"))

    def with_wells_per_job(self, sizes: object, *, name: str) -> Project:
        """The same project cut into other jobs, as a profile of the workflow asks.

        Parameters
        ----------
        sizes : object
            Wells in one job by stage; stages left out keep ``execution.wells_per_job``.
        name : str
            Where it stands, for messages.

        Raises
        ------
        ConfigError
            One line each problem.
        """
        execution = self.config.execution
        value = sizes
        if isinstance(sizes, Mapping):
            # As text, and so not strictly: Snakemake hands on the numbers of a profile as text.
            value = execution.wells_per_job.model_dump() | {stage: str(size) for stage, size in sizes.items()}
        try:
            wells_per_job = WellsPerJob.model_validate(value, strict=False)
        except ValidationError as error:
            raise ConfigError("\n".join(fault_lines(error, model=WellsPerJob, value=value, name=name))) from None
        cut = execution.model_copy(update={"wells_per_job": wells_per_job})
        return replace(self, config=self.config.model_copy(update={"execution": cut}))

    def with_settings(self, given: Sequence[str], *, sections: Collection[str]) -> Project:
        """The same project with some settings changed, as a person tries them on the command line.

        Parameters
        ----------
        given : sequence of str
            ``KEY=VALUE`` each, such as ``cells.max_radius_um=25``; values as in ``config.yaml``.
        sections : collection of str
            Sections that may be changed.

        Raises
        ------
        ConfigError
            If one is not of this form, of another section, unknown or wrong; one line each problem.
        """
        if not given:
            return self
        value = self.config.model_dump(mode="json")
        for text in given:
            dotted, sign, entry = text.partition("=")
            section, *keys = dotted.strip().split(".")
            if not (sign and keys and all(keys)):
                raise ConfigError(f"--set {shown(text)}: expected KEY=VALUE such as cells.max_radius_um=25")
            if section not in sections:
                raise ConfigError(
                    f"--set {shown(text)}: {shown(section)} has no part in it; expected a setting of {one_of(sections)}"
                )
            place = value[section]
            for key in keys[:-1]:
                if not isinstance(place.get(key), dict):
                    place[key] = {}
                place = place[key]
            # No setting of a section that may be changed is a mapping: what begins with a brace is a template of file
            # names.
            is_template = entry.lstrip().startswith("{")
            place[keys[-1]] = entry.strip() if is_template else parse_yaml(entry, name=f"--set {shown(text)}").value
        return replace(self, config=_validated(value, name="--set", lines={}))

    def _source(self, plate: str | None) -> PlateSource:
        if plate is None or plate not in self.plates:
            raise ConfigError(f"plate {shown(plate)}: expected {one_of(self.plates)}, as in {self.config.plates}")
        return self.plates[plate]


def parse_settings(stage: str, text: str) -> Settings:
    """Settings of a stage from JSON, the inverse of :meth:`Project.settings_json`.

    Raises
    ------
    ConfigError
        One line each problem, naming the key.
    """
    if stage not in SETTINGS:
        raise _no_stage(stage)
    model = SETTINGS[stage]
    name = f"settings of {stage}"
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as fault:
            raise ConfigError(f"{name}: not JSON ({fault}); expected what `settings_json` gives") from None
        raise ConfigError("\n".join(fault_lines(error, model=model, value=value, name=name))) from None


def load_config(path: Path) -> Config:
    """Read and check a ``config.yaml``.

    Raises
    ------
    ConfigError
        One line each problem: file, line, dotted key, found value, expected value.
    """
    document = parse_yaml(_read(path), name=str(path))
    return _validated(document.value, name=str(path), lines=document.lines)


def load_project(project: Path) -> Project:
    """Read and check a project's ``config/config.yaml``, ``plates.tsv`` and ``wells.tsv``.

    Raises
    ------
    ConfigError
        If one of them is absent or wrong.
    """
    config = load_config(project / CONFIG_PATH)
    plates = read_plates(project / config.plates, project=project)
    plate_map = read_wells(project / config.wells, plates=plates)
    layout = Layout(project=project, results=project / config.results)
    return Project(layout=layout, config=config, plates=plates, plate_map=plate_map)


def _validated(value: object, *, name: str, lines: Mapping[Key, int]) -> Config:
    if not isinstance(value, dict):
        found = "nothing" if value is None else shown(value)
        raise ConfigError(f"{name}: found {found}, expected a mapping of settings, as `lysoquant init` writes it")
    try:
        return Config.model_validate_json(json.dumps(with_new_names(value, name=name)))
    except ValidationError as error:
        raise ConfigError("\n".join(fault_lines(error, model=Config, value=value, name=name, lines=lines))) from None


def _read(path: Path) -> str:
    try:
        with open_file(path) as handle:
            raw = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; expected a project's configuration: "
            "`lysoquant init RAW_PLATE --output PROJECT` writes one"
        ) from None
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes; expected a configuration")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save it as UTF-8 text") from None


def _no_stage(stage: str) -> ConfigError:
    return ConfigError(f"stage {shown(stage)}: expected {one_of(SETTINGS)}")
