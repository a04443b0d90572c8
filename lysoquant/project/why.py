"""Why a stage would run: what a well's record was made of, held against what is there now. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lysoquant.aggregate.plate_map import read_plate_map
from lysoquant.cells.template import fill_template, outline_digests
from lysoquant.config import Project
from lysoquant.layout import Layout
from lysoquant.project.batches import UPSTREAM, Plan, plate_rows
from lysoquant.project.changes import settings_changed, settings_now
from lysoquant.project.inventory import AGAIN, PlateLook, look_at_plate, plan_of
from lysoquant.record import Json, damaged_fields, lost_outputs, read_json
from lysoquant.report.inputs import report_inputs, well_records
from lysoquant.vocabulary import BATCH_STAGES

NEVER: Final = "never run"
_SHOWN: Final = 3
"""Names that a reason lists before it counts the rest."""


@dataclass(frozen=True)
class Pending:
    """A stage that would run for a well, or for the whole project.

    Attributes
    ----------
    plate, well : str
        Empty for aggregate and report.
    reasons : tuple of str
        Each says what differs.
    """

    stage: str
    plate: str
    well: str
    reasons: tuple[str, ...]


def pending(project: Project) -> list[Pending]:
    """All that would run, stage by stage, and why.

    The times of raw files play no part where the content that convert read is the same. Of segment it is not asked
    whether the processor's own precision changed (``segment.precision: auto`` on another machine).

    Raises
    ------
    PlateError, ConfigError
        As :func:`lysoquant.project.inventory.plan_project`.
    """
    looks = {plate: look_at_plate(project, plate) for plate in project.plates}
    plan = plan_of(project, {plate: look.inventory for plate, look in looks.items()})
    found: list[Pending] = []
    for plate, look in looks.items():
        found += _Plate(plan, plate, look).pending()
    wells = {plate: plan.wells(plate) for plate in sorted(plan.plates)}
    found += _of_project("aggregate", plan, _aggregate_inputs(project, wells), before=found, upstream="measure")
    aggregated = read_json(project.layout.project_work_record("aggregate")) or {}
    inputs = report_inputs(well_records(project.layout, wells), aggregated)
    found += _of_project("report", plan, inputs, before=found, upstream="aggregate")
    stages = [*BATCH_STAGES, "aggregate", "report"]
    return sorted(found, key=lambda each: stages.index(each.stage))


class _Plate:
    """The batch stages of one plate."""

    def __init__(self, plan: Plan, plate: str, look: PlateLook) -> None:
        self._plan, self._plate, self._look = plan, plate, look
        self._project, self._layout = plan.project, plan.project.layout
        self._records: dict[tuple[str, str], Json | None] = {}

    def pending(self) -> list[Pending]:
        found: dict[tuple[str, str], Pending] = {}
        for stage in BATCH_STAGES:
            settings = settings_now(self._plan, stage, self._plate)
            for well in self._plan.wells(self._plate):
                reasons = self._of_well(stage, well, settings, found)
                if reasons:
                    found[stage, well] = Pending(stage, self._plate, well, reasons)
        return list(found.values())

    def _of_well(
        self, stage: str, well: str, settings: Json, before: Mapping[tuple[str, str], Pending]
    ) -> tuple[str, ...]:
        old = read_json(self._layout.well_record(self._plate, stage, well))
        self._records[stage, well] = old
        if old is None:
            return (NEVER,)
        follows = [upstream for upstream in UPSTREAM[stage] if (upstream, well) in before]
        changed = [*self._inputs(stage, well, old, follows), *settings_changed(stage, old, settings)]
        told = [f"follows {' and '.join(follows)}"] if follows else []
        return (*changed, *_outputs_gone(self._layout, old), *told)

    def _inputs(self, stage: str, well: str, old: Json, follows: Sequence[str]) -> Iterator[str]:
        inputs = old.get("inputs", {})
        if stage == "convert":
            yield from self._raw_changed(well, inputs)
            return
        for upstream in UPSTREAM[stage]:
            record = self._records[upstream, well]
            if upstream not in follows and record is not None and record.get("digest") != inputs.get(upstream):
                yield f"input changed: the record of {upstream}"
        lights = inputs.get("flat_fields", {})
        yield from _files_changed("flat-field image", lights, outline_digests(self._layout.project, lights))
        params = self._project.config.cells
        if stage == "cells" and params.method in ("rois", "labels"):
            fields = range(self._plan.n_fields[self._plate][well])
            names = [fill_template(params.path, plate=self._plate, well=well, field=index) for index in fields]
            now = outline_digests(self._layout.project, names)
            yield from _files_changed("outline file", inputs.get("files", {}), now)

    def _raw_changed(self, well: str, inputs: Json) -> Iterator[str]:
        # Imported here: it needs numpy, as the look at the raw plate does.
        from lysoquant.convert.describe import description_digest

        yield from _files_changed("raw file", inputs.get("raw", {}), self._look.tokens[well])
        source = self._project.raw_path(self._plate)
        if inputs.get("description") != description_digest(self._look.description, well, source):
            yield "input changed: what file names and the plate's metadata say of it"


def _of_project(stage: str, plan: Plan, inputs: Json, *, before: Sequence[Pending], upstream: str) -> list[Pending]:
    """The same for a stage that runs once a project."""
    layout = plan.project.layout
    old = read_json(layout.project_work_record(stage))
    if old is None:
        return [Pending(stage, "", "", (NEVER,))]
    earlier = any(each.stage == upstream for each in before)
    changed = [*settings_changed(stage, old, settings_now(plan, stage))]
    for name, now in inputs.items():
        if old.get("inputs", {}).get(name) != now and not (earlier and name != "plate_map"):
            changed.append(f"input changed: {_INPUT_NAMES[name]}")
    told = [f"follows {upstream}"] if earlier else []
    reasons = (*changed, *_outputs_gone(layout, old), *told)
    return [Pending(stage, "", "", reasons)] if reasons else []


_INPUT_NAMES: Final = {
    "measure": "wells' measurements",
    "plate_map": "the plate map (wells.tsv)",
    "aggregate": "the tables",
    "wells": "images and label images",
}


def _aggregate_inputs(project: Project, wells: Mapping[str, Sequence[str]]) -> Json:
    measured = {
        plate: {
            well: (read_json(project.layout.well_record(plate, "measure", well)) or {}).get("digest") for well in names
        }
        for plate, names in wells.items()
    }
    return {
        "measure": measured,
        "plate_map": read_plate_map(rows=plate_rows(project), plates=wells, reserved=()).digest,
    }


def _files_changed(kind: str, old: Json, now: Mapping[str, str]) -> Iterator[str]:
    again = [name for name in now if name in old and now[name] == f"{old[name]}{AGAIN}"]
    for verb, names in (
        ("is read again, as its well had a file that could not be opened", again),
        ("changed", [name for name in now if name in old and old[name] != now[name] and name not in again]),
        ("is new", [name for name in now if name not in old]),
        ("is gone", [name for name in old if name not in now]),
    ):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            yield f"input changed: {kind} {', '.join(map(_name, names[:_SHOWN]))}{more} {verb}"


def _name(name: str) -> str:
    """A file's name for a terminal."""
    return name if name.isprintable() else ascii(name)


def _outputs_gone(layout: Layout, old: Json) -> Iterator[str]:
    gone = lost_outputs(layout, old)
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        yield f"output {'of another size' if (layout.results / gone[0]).exists() else 'missing'}: {gone[0]}{more}"
    damaged = [str(field) for field in damaged_fields(old)]
    if damaged:
        yield f"field {', '.join(damaged)} could not be read from the store"
