"""A pilot: a few wells through all stages to a report of their own, before the whole is begun.

A pilot is the project cut down to its wells. What stages make of a well lies where the whole run looks for it, so the
wells aren't done again; batch records, tables and the report lie in a folder of the pilot (:class:`Layout`), so nothing
of the whole plate's name holds a part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lysoquant.config import Project
from lysoquant.errors import InputError
from lysoquant.layout import Layout
from lysoquant.project.batches import Plan, overlapping
from lysoquant.project.inventory import plan_project
from lysoquant.record import Json, read_json, write_json
from lysoquant.vocabulary import WELL_NAME, well_order

_PER_WELL: Final = ("wells", "n_fields", "fields_digest")
"""What a raw record holds by well."""

_SHOWN: Final = 6
"""Wells that the title of a pilot's report names."""


@dataclass(frozen=True)
class PilotWell:
    """A well of a pilot and why it was chosen."""

    plate: str
    well: str
    reason: str = ""

    @property
    def name(self) -> str:
        """``PLATE/WELL``."""
        return f"{self.plate}/{self.well}"


def choose_pilot(text: str, plan: Plan) -> tuple[PilotWell, ...]:
    """Wells of a pilot from what the user asked for.

    Parameters
    ----------
    text : str
        A number, or wells by name (``B02,C05``; ``PLATE/B02`` where there are several plates). Of a number the first
        plate that has images gives a negative and a positive control where the plate map has them, and for the rest the
        middle of the other wells, or so many spread evenly from the first to the last.

    Raises
    ------
    InputError
        If it is neither, or a well is not there.
    """
    text = text.strip()
    if text.isdecimal():
        return _chosen_by_number(int(text), plan)
    return _chosen_by_name(text, plan)


def _chosen_by_number(number: int, plan: Plan) -> tuple[PilotWell, ...]:
    if number < 1:
        raise InputError(f"--pilot {number}: expected at least one well, or wells by name such as B02,C05,D07")
    plates = {plate: [well for well in plan.wells(plate) if plan.n_fields[plate][well]] for plate in plan.plates}
    plate, wells = next(((plate, wells) for plate, wells in plates.items() if wells), ("", []))
    if not wells:
        raise InputError("--pilot: no plate has a well with images")
    control = {row.well: row.control for row in plan.project.plate_map if row.plate == plate}
    found: list[PilotWell] = []
    for kind in ("negative", "positive"):
        first = next((well for well in wells if control.get(well) == kind), None)
        if first is not None and len(found) < number:
            found.append(PilotWell(plate, first, f"{kind} control"))
    taken = {each.well for each in found}
    rest = [well for well in wells if well not in taken]
    samples = [well for well in rest if not control.get(well)] or rest
    pool = samples if len(samples) >= number - len(found) else rest
    more = number - len(found)
    reason = "spread over the others" if more > 1 else "in the middle of the others"
    found += [PilotWell(plate, well, reason) for well in _spread(pool, more)]
    return tuple(sorted(found, key=lambda each: well_order(each.well)))


def _spread(wells: Sequence[str], number: int) -> list[str]:
    """So many of the wells, from the first to the last; the middle one if it is one."""
    if number >= len(wells):
        return list(wells)
    if number <= 1:
        return [wells[len(wells) // 2]] * number
    return [wells[round(index * (len(wells) - 1) / (number - 1))] for index in range(number)]


def _chosen_by_name(text: str, plan: Plan) -> tuple[PilotWell, ...]:
    found: dict[str, PilotWell] = {}
    for name in filter(None, (part.strip() for part in text.split(","))):
        plate, _, well = name.rpartition("/")
        if not plate and len(plan.plates) > 1:
            raise InputError(
                f"--pilot {name!r}: the project has several plates ({', '.join(plan.plates)});"
                f" say which one: {plan.plates[0]}/{well}"
            )
        plate = plate or plan.plates[0]
        if plate not in plan.plates:
            raise InputError(f"--pilot {name!r}: the project's plates are {', '.join(plan.plates)}")
        if well not in plan.wells(plate):
            raise InputError(
                f"--pilot {name!r}: plate {plate} has no well {well}; give a number of wells, or wells of"
                f" {', '.join(plan.wells(plate))}"
            )
        found.setdefault(f"{plate}/{well}", PilotWell(plate, well, "as asked for"))
    if not found:
        raise InputError(f"--pilot {text!r}: expected a number of wells, or wells by name such as B02,C05,D07")
    return tuple(sorted(found.values(), key=lambda each: (each.plate, well_order(each.well))))


def pilot_text(wells: Sequence[PilotWell]) -> str:
    """The wells for a command line, as :func:`plan_pilot` takes them."""
    return ",".join(each.name for each in wells)


def plan_pilot(project: Project, text: str, *, refresh: bool) -> Plan:
    """The jobs of a pilot, over a project that is cut down to its wells.

    Parameters
    ----------
    text : str
        ``PLATE/WELL``, separated by commas.
    refresh : bool
        As in :func:`lysoquant.project.inventory.plan_project`.

    Raises
    ------
    InputError
        If the project has no such well.
    """
    wells = _parse(text)
    whole = plan_project(project, refresh=refresh)
    for plate, names in wells.items():
        missing = sorted(set(names) - set(whole.wells(plate))) if plate in whole.plates else names
        if missing:
            raise InputError(f"--pilot {text!r}: the project has no well {plate}/{missing[0]}")
    pilot = Plan(project=_cut_down(project, wells), n_fields=whole.n_fields, only=wells)
    if refresh:
        for path, record in _raw_records(whole, pilot).items():
            if read_json(path) != record:
                write_json(path, record)
    return pilot


def _parse(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in text.split(","):
        plate, _, well = name.strip().rpartition("/")
        if not plate or WELL_NAME.fullmatch(well) is None:
            raise InputError(f"--pilot {text!r}: expected wells as PLATE/WELL, separated by commas")
        found.setdefault(plate, []).append(well)
    return found


def _cut_down(project: Project, wells: Mapping[str, Sequence[str]]) -> Project:
    """The project as if it had no other wells; its report says that it is a pilot's."""
    names = [f"{plate} {well}" for plate in wells for well in wells[plate]]
    report = project.config.report
    shown = [*names[:_SHOWN], *["..."] * (len(names) > _SHOWN)]
    title = f"Pilot of {len(names)} of {len(project.plate_map)} wells ({', '.join(shown)}): {report.title}"
    return replace(
        project,
        layout=replace(project.layout, pilot=True),
        config=project.config.model_copy(update={"report": report.model_copy(update={"title": title})}),
        plates={plate: source for plate, source in project.plates.items() if plate in wells},
        plate_map=tuple(row for row in project.plate_map if row.well in wells.get(row.plate, ())),
    )


def _raw_records(whole: Plan, pilot: Plan) -> dict[Path, Json]:
    """Raw records of the pilot's batches, out of those that the look at the whole plate has just left."""
    found: dict[Path, Json] = {}
    for plate in pilot.plates:
        for batch in pilot.batches("convert", plate):
            sources = [
                _raw_record(whole.project.layout, plate, other.name)
                for other in overlapping(batch, whole.batches("convert", plate))
            ]
            record = {name: value for name, value in sources[0].items() if name not in _PER_WELL}
            for name in _PER_WELL:
                joined = {well: value for source in sources for well, value in source[name].items()}
                record[name] = {well: joined[well] for well in batch.wells}
            found[pilot.project.layout.raw_record(plate, batch.name)] = record
    return found


def _raw_record(layout: Layout, plate: str, batch: str) -> Json:
    record = read_json(layout.raw_record(plate, batch))
    if record is None:
        raise InputError(f"{layout.raw_record(plate, batch)} has just been written and can't be read; run again")
    return record
