"""Identity of raw files, kept up to date when the workflow is planned, without reading a pixel twice.

A file gets a *token* when it is first seen, ``<size>-<mtime_ns>``. While size and time of change stay, so does the
token. When they differ, the file is hashed only if convert left its SHA-256: equal content keeps the token, so
touching or copying a plate again redoes nothing. The tracked records hold tokens and are written only if they change.
A file of a well in which convert could not open one gets a new token, since it comes back as it was: see AGAIN.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from lysoquant.config import Project
from lysoquant.convert.params import ConvertSettings
from lysoquant.errors import ConfigError, StageError
from lysoquant.files import size_and_time
from lysoquant.layout import Layout
from lysoquant.project.batches import Plan, cut_batches
from lysoquant.project.changes import settings_changed, settings_now
from lysoquant.record import (
    UNREACHED,
    Json,
    digest_image_file,
    digest_json,
    is_whole,
    is_whole_json,
    lost_outputs,
    read_json,
    write_json,
)
from lysoquant.vocabulary import BATCH_STAGES

if TYPE_CHECKING:
    from lysoquant.io.raw.description import RawPlate

MISSING: Final = "missing"
"""Token of a file that the plate names and that is not there."""

_BY_HAND: Final = "by_hand"
"""Key of a tracked record that a person's own command left."""

T = TypeVar("T")

AGAIN: Final = "+"
"""Ends the token of a file that is to be read again though neither size nor time of change differ."""


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
        cluster do, whose main process has just done it, and read those of a plate only when it is asked for.

    Raises
    ------
    PlateError
        If a raw plate can't be described.
    StageError
        If the records are to be trusted and there are none; raised when the plate is asked for.
    """
    if not refresh:
        recorded: dict[str, PlateInventory] = {}

        def look(plate: str) -> PlateInventory:
            if plate not in recorded:
                recorded[plate] = recorded_plate(project, plate)
            return recorded[plate]

        return Plan(
            project=project,
            n_fields=_Recorded(project, lambda plate: look(plate).n_fields),
            shared=_Recorded(project, lambda plate: look(plate).shared),
        )
    _remove_cut_records(project)
    return plan_of(project, {plate: refresh_plate(project, plate) for plate in project.plates})


class _Recorded(Mapping[str, T]):
    """What the records of a plate say, read when the plate is asked for."""

    def __init__(self, project: Project, look: Callable[[str], T]) -> None:
        self._project, self._look = project, look

    def __getitem__(self, plate: str) -> T:
        return self._look(plate)

    def __iter__(self) -> Iterator[str]:
        return iter(self._project.plates)

    def __len__(self) -> int:
        return len(self._project.plates)


def plan_of(project: Project, inventories: Mapping[str, PlateInventory]) -> Plan:
    """The jobs of a project whose plates have been looked at."""
    return Plan(
        project=project,
        n_fields={plate: inventory.n_fields for plate, inventory in inventories.items()},
        shared={plate: inventory.shared for plate, inventory in inventories.items()},
    )


def _remove_cut_records(project: Project) -> None:
    """Remove records that a power failure emptied or cut: the workflow takes any file of that name for a job done."""
    layout = project.layout
    folders = [layout.batch_record(plate, stage, "").parent for plate in project.plates for stage in BATCH_STAGES]
    for folder in (*folders, layout.project_record("aggregate").parent):
        for path in folder.glob("*.json"):
            if not is_whole_json(path):
                path.unlink()


def _require_channels(project: Project, plate: str, description: RawPlate) -> None:
    """A role whose channel the whole plate lacks is a wrong setting; one field without it is a failed field."""
    channels = project.config.channels
    named = [*channels.by_role().items(), *(("other_cargoes", label) for label in channels.other_cargoes)]
    for role, label in named:
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
    layout, names = project.layout, _Names(raw_base(project, plate))
    description = _describe(project, plate)
    _require_channels(project, plate, description)
    memory = _Memory(layout, plate, names)
    files = {well: description.files(well) for well in description.wells}
    wells_of: dict[Path, list[str]] = {}
    for well, paths in files.items():
        for path in paths:
            wells_of.setdefault(path, []).append(well)
    token_of = {path: memory.identify(wells, path) for path, wells in wells_of.items()}
    tokens = {well: {names[path]: token_of[path] for path in paths} for well, paths in files.items()}
    records: dict[Path, Json] = {}
    for batch in cut_batches(description.wells, wells_per_job=project.config.execution.wells_per_job.convert):
        plan = _plan(project, plate, description, batch.wells)
        records[layout.raw_plan(plate, batch.name)] = plan
        records[layout.raw_record(plate, batch.name)] = _raw_record(description, plan, batch.wells, tokens)
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
        for batch in plan.batches("convert", plate):
            wanted |= {layout.raw_record(plate, batch.name), layout.raw_plan(plate, batch.name)}
            folders.add(layout.raw_plan(plate, batch.name).parent)
        for stale in sorted(path for folder in folders for path in folder.glob("*.json") if path not in wanted):
            stale.unlink()
            removed.append(stale)
    return removed


def drop_unfinished(plan: Plan) -> list[Path]:
    """Remove records that tell the workflow of work that is not there, so that it does that work.

    A batch record counts while it is the sum of its wells' records and all that these say was written is there;
    likewise the records of aggregate, of report and of the plate's metadata. A record that a person's own command left
    counts only while it was made by the present settings, model and code: Snakemake, which knows these of its own jobs
    alone, would take it for up to date whatever changed. With a record go those of all that was
    made from it: Snakemake makes a missing record only where one behind it is missing too. The wells' own records
    stay, so only what is missing is done again.

    Returns
    -------
    list of pathlib.Path
        What was removed.
    """
    layout = plan.project.layout
    bad: list[Path] = []
    for plate in plan.plates:
        if _metadata_gone(layout, plate, plan.wells(plate)):
            bad.append(layout.plate_record(plate))
        for stage in BATCH_STAGES:
            made_from = set(bad)
            for batch in plan.batches(stage, plate):
                path = layout.batch_record(plate, stage, batch.name)
                upstream = plan.upstream_records(stage, plate, batch.name) or [layout.plate_record(plate)]
                counts = _is_sum(layout, path, plate, stage, batch.wells) and _is_present(plan, path, stage, plate)
                if not made_from.isdisjoint(upstream) or not counts:
                    bad.append(path)
    for stage in ("aggregate", "report"):
        done = read_json(layout.project_work_record(stage))
        path = layout.project_record(stage)
        if bad or done is None or not is_whole(layout, done) or not _is_present(plan, path, stage):
            bad.append(path)
    dropped = [path for path in bad if path.is_file()]
    for path in dropped:
        path.unlink()
    return dropped


def leave_by_hand(record: Path) -> None:
    """Note in a tracked record that no job of the workflow made it, but a person's own command."""
    write_json(record, (read_json(record) or {}) | {_BY_HAND: True})


def _is_present(plan: Plan, path: Path, stage: str, plate: str | None = None) -> bool:
    """Whether a tracked record was made by the present settings, as far as Snakemake can't tell by itself."""
    found = read_json(path) or {}
    if not found.get(_BY_HAND):
        return True
    records = found["wells"].values() if plate is not None else [found]
    now = settings_now(plan, stage, plate)
    return not any(change for record in records for change in settings_changed(stage, record, now))


def _is_sum(layout: Layout, path: Path, plate: str, stage: str, wells: Sequence[str]) -> bool:
    """Whether the wells of a batch are whole and its record says what theirs say, or there is none yet (a new cut)."""
    records = [read_json(layout.well_record(plate, stage, well)) for well in wells]
    if any(record is None or not is_whole(layout, record) for record in records):
        return False
    summed = (read_json(path) or {}).get("wells", {})
    said = [[record and record.get(name) for name in ("key", "digest")] for record in records]
    return not path.is_file() or said == [
        [summed.get(well, {}).get(name) for name in ("key", "digest")] for well in wells
    ]


def _metadata_gone(layout: Layout, plate: str, wells: Sequence[str]) -> bool:
    """Whether the store or a converted well's folder was removed, and with it the metadata that are written once."""
    if not layout.plate_store(plate).is_dir():
        return True
    gone = {
        (layout.results / path).parent
        for well in wells
        for path in lost_outputs(layout, read_json(layout.well_record(plate, "convert", well)) or {})
    }
    return any(not folder.is_dir() or not any(map(Path.is_file, folder.iterdir())) for folder in gone)


def _describe(project: Project, plate: str) -> RawPlate:
    # Imported here: jobs on a cluster trust the records and need no image reader to plan.
    from lysoquant.convert.describe import describe_plate

    settings = ConvertSettings.model_validate(project.settings("convert", plate))
    return describe_plate(layout=project.layout, settings=settings)


def raw_base(project: Project, plate: str) -> Path:
    """The folder to which the names of raw files are relative."""
    path = project.raw_path(plate)
    return path.parent if path.is_file() else path


class _Names(dict[Path, str]):
    """Names of raw files, relative to the plate's folder where they lie in it; each is made once."""

    def __init__(self, base: Path) -> None:
        super().__init__()
        self._inside = os.path.join(os.path.abspath(base), "")  # noqa: PTH100, PTH118 - links must not be resolved

    def __missing__(self, path: Path) -> str:
        # Strings, not paths: ten plates have a hundred thousand files, and all are named whenever a run is planned.
        whole = os.path.abspath(path)  # noqa: PTH100
        name = self[path] = whole.removeprefix(self._inside)
        return name


class _Memory:
    """What earlier looks and convert know of a plate's files, and what this look adds.

    Without the cache (it may be deleted at any time) tokens come from the raw records, and how a file looked from
    convert's records.
    """

    def __init__(self, layout: Layout, plate: str, names: _Names) -> None:
        self._layout, self._plate, self._names = layout, plate, names
        self._cache: Json = (read_json(_cache_file(layout, plate)) or {}).get("files", {})
        self._tokens = {
            name: token
            for record in _raw_records(layout, plate)
            for files in record["wells"].values()
            for name, token in files.items()
        }
        self._converted: dict[str, Json] = {}
        self.seen: dict[str, list[int | str]] = {}
        self.n_hashed = 0

    def identify(self, wells: Sequence[str], path: Path) -> str:
        """Token of a file that these wells lie in."""
        name = self._names[path]
        try:
            stat = list(size_and_time(path))
        except OSError:
            return MISSING
        token = self._token(wells, name, path, stat)
        if any(token == self._convert_record(well).get(UNREACHED, {}).get(name) for well in wells):
            token += AGAIN
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
            return token if digest_image_file(path) == converted["sha256"] else new
        except OSError:  # convert will say what is wrong with it
            return new

    def _convert_record(self, well: str) -> Json:
        """What convert noted of a well: files that it read, and tokens under which one could not be opened."""
        if well not in self._converted:
            record = read_json(self._layout.well_record(self._plate, "convert", well)) or {}
            unreached = any(report.get(UNREACHED) for report in record.get("fields", ()))
            tokens = record["inputs"]["raw"] if unreached else {}
            self._converted[well] = {"read": record.get("read", []), UNREACHED: tokens}
        return self._converted[well]

    def _converted_file(self, well: str, name: str, path: Path) -> Json | None:
        """What convert noted of a file: found by its path, or by its name where the project was moved since."""
        whole = Path(os.path.abspath(path)).as_posix()  # noqa: PTH100 - links must not be resolved
        entries = self._convert_record(well).get("read", ())
        same = [entry for entry in entries if entry["path"] == whole]
        found = same or [entry for entry in entries if entry["path"].endswith(f"/{name}")]
        return found[0] if len(found) == 1 else None


def _plan(project: Project, plate: str, description: RawPlate, wells: Sequence[str]) -> Json:
    from lysoquant.convert.planned import planned_json

    settings = ConvertSettings.model_validate(project.settings("convert", plate))
    return planned_json(description, wells, settings, base=raw_base(project, plate))


def _raw_record(
    description: RawPlate, plan: Json, wells: Sequence[str], tokens: Mapping[str, Mapping[str, str]]
) -> Json:
    """The tracked record: files with tokens, and which file is which channel of which field."""
    return {
        "channels": list(description.channels),
        "pixel_size_um": description.pixel_size_um,
        "wells": {well: dict(tokens[well]) for well in wells},
        "n_fields": {well: len(description.wells[well]) for well in wells},
        "fields_digest": {well: digest_json(plan["wells"][well]) for well in wells},
    }


def _raw_records(layout: Layout, plate: str) -> list[Json]:
    cache = _cache_file(layout, plate)
    paths = sorted(path for path in cache.parent.glob("*.json") if path != cache)
    return [record for record in map(read_json, paths) if record is not None]


def _cache_file(layout: Layout, plate: str) -> Path:
    return layout.raw_record(plate, "cache")


def _write_if_changed(path: Path, value: Json) -> None:
    if read_json(path) != value:
        write_json(path, value)
