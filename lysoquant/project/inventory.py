"""Identity of raw files, kept up to date when the workflow is planned, without reading a pixel twice.

A file gets a *token* when it is first seen, ``<size>-<mtime_ns>``. While size and time of change stay, so does the
token. When they differ, the file is hashed only if convert left its SHA-256: equal content keeps the token, so
touching or copying a plate again redoes nothing. The tracked records hold tokens and are written only if they change.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from lysoquant.config import Project
from lysoquant.convert.params import ConvertSettings
from lysoquant.errors import ConfigError, StageError
from lysoquant.layout import Layout
from lysoquant.project.batches import Plan, cut_batches
from lysoquant.record import Json, digest_file, digest_json, read_json, write_json
from lysoquant.vocabulary import BATCH_STAGES

if TYPE_CHECKING:
    from lysoquant.io.raw.description import RawPlate

MISSING: Final = "missing"
"""Token of a file that the plate names and that is not there."""


@dataclass(frozen=True)
class PlateInventory:
    """What one look at a raw plate found.

    Attributes
    ----------
    n_fields : mapping of str to int
        Number of fields by well.
    n_files : int
        Raw files looked at.
    n_hashed : int
        Files that had to be read because their size or time of change differed from the last look.
    shared : mapping of str to str
        Tokens of the files that several wells lie in.
    """

    n_fields: Mapping[str, int]
    n_files: int
    n_hashed: int
    shared: Mapping[str, str] = field(default_factory=dict)


def plan_project(project: Project, *, refresh: bool) -> Plan:
    """The jobs of a project.

    Parameters
    ----------
    refresh : bool
        Look at the raw plates and bring their records up to date; otherwise trust the records, as the jobs on a
        cluster do, whose main process has just done it.

    Raises
    ------
    PlateError
        If a raw plate can't be described.
    StageError
        If the records are to be trusted and there are none.
    """
    look = refresh_plate if refresh else recorded_plate
    return plan_of(project, {plate: look(project, plate) for plate in project.plates})


def plan_of(project: Project, inventories: Mapping[str, PlateInventory]) -> Plan:
    """The jobs of a project whose plates have been looked at."""
    return Plan(
        project=project,
        n_fields={plate: inventory.n_fields for plate, inventory in inventories.items()},
        shared={plate: inventory.shared for plate, inventory in inventories.items()},
    )


def _require_channels(project: Project, plate: str, description: RawPlate) -> None:
    """A role whose channel the whole plate lacks is a wrong setting; one field without it is a failed field."""
    for role, label in project.config.channels.by_role().items():
        if label not in description.channels:
            raise ConfigError(
                f"channels.{role} is {label!r}, which plate {plate} does not have; its channels are "
                f"{', '.join(description.channels)}: correct channels.{role} in config/config.yaml"
            )


@dataclass(frozen=True)
class PlateLook:
    """A raw plate as it is now, and what its records should be.

    Attributes
    ----------
    description : RawPlate
        Wells, fields, channels and files.
    inventory : PlateInventory
        Numbers.
    tokens : mapping of str to mapping of str to str
        Identity of each raw file by well and name.
    records : mapping of pathlib.Path to dict
        The raw records and the cache.
    """

    description: RawPlate
    inventory: PlateInventory
    tokens: Mapping[str, Mapping[str, str]]
    records: Mapping[Path, Json]


def refresh_plate(project: Project, plate: str) -> PlateInventory:
    """Look at a raw plate as :func:`look_at_plate` does and bring its raw records up to date."""
    look = look_at_plate(project, plate)
    for path, value in look.records.items():
        _write_if_changed(path, value)
    return look.inventory


def look_at_plate(project: Project, plate: str) -> PlateLook:
    """Look at a raw plate (names, sizes, times); writes nothing.

    Raises
    ------
    PlateError
        If the raw plate can't be described.
    ConfigError
        If it lacks a channel that the configuration gives a role.
    """
    layout, base = project.layout, _base(project, plate)
    description = _describe(project, plate)
    _require_channels(project, plate, description)
    memory = _Memory(layout, plate, base)
    files = {well: description.files(well) for well in description.wells}
    wells_of: dict[Path, list[str]] = {}
    for well, paths in files.items():
        for path in paths:
            wells_of.setdefault(path, []).append(well)
    token_of = {path: memory.identify(wells, path) for path, wells in wells_of.items()}
    tokens = {well: {_name(path, base): token_of[path] for path in paths} for well, paths in files.items()}
    size = project.config.execution.wells_per_job.convert
    records = {
        layout.raw_record(plate, batch.name): _raw_record(description, base, batch.wells, tokens)
        for batch in cut_batches(description.wells, wells_per_job=size)
    }
    inventory = PlateInventory(
        n_fields={well: len(fields) for well, fields in description.wells.items()},
        n_files=len(memory.seen),
        n_hashed=memory.n_hashed,
        shared=_shared(tokens),
    )
    records[_cache_file(layout, plate)] = {"files": memory.seen}
    return PlateLook(description=description, inventory=inventory, tokens=tokens, records=records)


def recorded_plate(project: Project, plate: str) -> PlateInventory:
    """What the last look at a plate found, from its records.

    Raises
    ------
    StageError
        If there was none.
    """
    records = _raw_records(project.layout, plate)
    if not records:
        raise StageError(
            f"plate {plate}: no raw records in {_cache_file(project.layout, plate).parent};"
            " run `lysoquant run PROJECT`, which looks at the raw plate first"
        )
    return PlateInventory(
        n_fields={well: count for record in records for well, count in record["n_fields"].items()},
        n_files=len({name for record in records for files in record["wells"].values() for name in files}),
        n_hashed=0,
        shared=_shared({well: files for record in records for well, files in record["wells"].items()}),
    )


def _shared(tokens: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Tokens of the files that several wells lie in."""
    seen: set[str] = set()
    shared: dict[str, str] = {}
    for files in tokens.values():
        shared |= {name: token for name, token in files.items() if name in seen}
        seen |= files.keys()
    return shared


def raw_files(layout: Layout, plate: str, batch: str, wells: Sequence[str]) -> dict[str, Json]:
    """For each well of a batch its raw files and their tokens, from the batch's raw record.

    Raises
    ------
    StageError
        If a well is not in that record.
    """
    record = read_json(layout.raw_record(plate, batch)) or {"wells": {}}
    found: dict[str, Json] = record["wells"]
    missing = [well for well in wells if well not in found]
    if missing:
        raise StageError(
            f"plate {plate}: no raw record of well {', '.join(missing)}; run `lysoquant run PROJECT`,"
            " which looks at the raw plate first"
        )
    return {well: found[well] for well in wells}


def prune(plan: Plan) -> list[Path]:
    """Remove records of batches that are no longer cut that way (``wells_per_job`` or the plate changed).

    The wells' own records stay, so nothing is done again for a new cut.

    Returns
    -------
    list of pathlib.Path
        What was removed.
    """
    layout = plan.project.layout
    removed: list[Path] = []
    for plate in plan.plates:
        wanted = {_cache_file(layout, plate), layout.plate_record(plate)}
        folders = {_cache_file(layout, plate).parent}
        for stage in BATCH_STAGES:
            for batch in plan.batches(stage, plate):
                wanted.add(layout.batch_record(plate, stage, batch.name))
                folders.add(layout.batch_record(plate, stage, batch.name).parent)
        wanted |= {layout.raw_record(plate, batch.name) for batch in plan.batches("convert", plate)}
        for stale in sorted(path for folder in folders for path in folder.glob("*.json") if path not in wanted):
            stale.unlink()
            removed.append(stale)
    return removed


def _describe(project: Project, plate: str) -> RawPlate:
    # Imported here: jobs on a cluster trust the records and need no image reader to plan.
    from lysoquant.convert.describe import describe_plate

    settings = ConvertSettings.model_validate(project.settings("convert", plate))
    return describe_plate(layout=project.layout, settings=settings)


def _base(project: Project, plate: str) -> Path:
    """The folder to which the names of raw files are relative."""
    path = project.raw_path(plate)
    return path.parent if path.is_file() else path


def _name(path: Path, base: Path) -> str:
    path, base = Path(os.path.abspath(path)), Path(os.path.abspath(base))  # noqa: PTH100 - links must not be resolved
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()


class _Memory:
    """What earlier looks and convert know of a plate's files, and what this look adds.

    Without the cache (it may be deleted at any time) tokens come from the raw records, and how a file looked from
    convert's records.
    """

    def __init__(self, layout: Layout, plate: str, base: Path) -> None:
        self._layout, self._plate, self._base = layout, plate, base
        self._cache: Json = (read_json(_cache_file(layout, plate)) or {}).get("files", {})
        self._tokens = {
            name: token
            for record in _raw_records(layout, plate)
            for files in record["wells"].values()
            for name, token in files.items()
        }
        self._converted: dict[str, list[Json]] = {}
        self.seen: dict[str, list[int | str]] = {}
        self.n_hashed = 0

    def identify(self, wells: Sequence[str], path: Path) -> str:
        """Token of a file that these wells lie in."""
        name = _name(path, self._base)
        try:
            status = path.stat()
        except OSError:
            return MISSING
        stat = [status.st_size, status.st_mtime_ns]
        token = self._token(wells, name, path, stat)
        self.seen[name] = [*stat, token]
        return token

    def _token(self, wells: Sequence[str], name: str, path: Path, stat: list[int]) -> str:
        new = f"{stat[0]}-{stat[1]}"
        *cached_stat, known = self._cache.get(name, (self._tokens.get(name, MISSING),))
        token = str(known)
        if token == MISSING:
            return new
        if stat == cached_stat:
            return token
        found = (self._converted_file(well, name, path) for well in wells)
        converted = next((entry for entry in found if entry is not None), None)
        if converted is None:
            return new
        if not cached_stat and stat == [converted["size"], converted["mtime_ns"]]:
            return token
        self.n_hashed += 1
        try:
            return token if digest_file(path) == converted["sha256"] else new
        except OSError:  # convert will say what is wrong with it
            return new

    def _converted_file(self, well: str, name: str, path: Path) -> Json | None:
        """What convert noted of a file: found by its path, or by its name where the project was moved since."""
        if well not in self._converted:
            record = read_json(self._layout.well_record(self._plate, "convert", well)) or {"read": []}
            self._converted[well] = record["read"]
        whole = Path(os.path.abspath(path)).as_posix()  # noqa: PTH100 - links must not be resolved
        entries = self._converted[well]
        same = [entry for entry in entries if entry["path"] == whole]
        found = same or [entry for entry in entries if entry["path"].endswith(f"/{name}")]
        return found[0] if len(found) == 1 else None


def _raw_record(
    description: RawPlate, base: Path, wells: Sequence[str], tokens: Mapping[str, Mapping[str, str]]
) -> Json:
    """The tracked record: files with tokens, and which file is which channel of which field."""
    return {
        "channels": list(description.channels),
        "pixel_size_um": description.pixel_size_um,
        "wells": {well: dict(tokens[well]) for well in wells},
        "n_fields": {well: len(description.wells[well]) for well in wells},
        "fields_digest": {well: _fields_digest(description, base, well) for well in wells},
    }


def _fields_digest(description: RawPlate, base: Path, well: str) -> str:
    from lysoquant.convert.describe import fields_json

    return digest_json(fields_json(description.wells[well], name_of=lambda path: _name(path, base)))


def _raw_records(layout: Layout, plate: str) -> list[Json]:
    cache = _cache_file(layout, plate)
    paths = sorted(path for path in cache.parent.glob("*.json") if path != cache)
    return [record for record in map(read_json, paths) if record is not None]


def _cache_file(layout: Layout, plate: str) -> Path:
    return layout.raw_record(plate, "cache")


def _write_if_changed(path: Path, value: Json) -> None:
    if read_json(path) != value:
        write_json(path, value)
