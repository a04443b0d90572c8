"""Checks of a project: its configuration, raw plates, model, results, and whether another run holds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lysoquant.config import Project
from lysoquant.errors import LysoquantError
from lysoquant.io.raw import read_plane
from lysoquant.io.raw.description import RawPlate
from lysoquant.project.batches import Plan
from lysoquant.project.doctor.finding import Finding, attempt, ok, problem, warning
from lysoquant.project.doctor.folders import locks, writable
from lysoquant.project.inventory import look_at_plate
from lysoquant.project.lock import holder
from lysoquant.project.run import check_model

_NAMED = 3


@dataclass
class ProjectLook:
    """What the checks of a project found out besides.

    Attributes
    ----------
    plan : Plan or None
        The jobs, where all raw plates could be described.
    first_files : list of pathlib.Path
        The first raw image of each plate.
    """

    plan: Plan | None = None
    first_files: list[Path] = field(default_factory=list)


def project_checks(project: Project, look: ProjectLook) -> Iterator[Finding]:
    """All checks of a project whose configuration is valid."""
    layout = project.layout
    n_plates = len(project.plates)
    plates = f"{n_plates} plate{'s' * (n_plates != 1)}"
    yield ok("configuration", f"{plates}, {len(project.plate_map)} wells in the plate map")
    yield attempt("model fits", lambda: _fits(project))
    fields: dict[str, dict[str, int]] = {}
    for plate in project.plates:
        try:
            found = look_at_plate(project, plate)
        except LysoquantError as error:
            yield problem(f"plate {plate}", "; ".join(str(error).splitlines()))
            continue
        fields[plate] = dict(found.inventory.n_fields)
        yield from _plate(project, plate, found.description, look)
    if len(fields) == len(project.plates):
        look.plan = Plan(project=project, n_fields=fields)
    yield writable("results", layout.results)
    yield writable("project", layout.project)
    yield locks(layout.project)
    running = holder(layout)
    yield problem("other runs", running) if running else ok("other runs", "none works on this project")


def _fits(project: Project) -> str:
    check_model(project)
    cells = project.config.cells
    more = f"; cells by cellpose with {cells.cellpose_model}" if cells.method == "cellpose" else ""
    return f"{project.config.segment.model} takes {', '.join(project.config.channels.by_role())}{more}"


def _plate(project: Project, plate: str, described: RawPlate, look: ProjectLook) -> Iterator[Finding]:
    """The first image of a plate is opened; fields that are not whole and wells without images are counted."""
    check = f"plate {plate}"
    fields = [(well, position) for well, positions in described.wells.items() for position in positions]
    whole = [(well, position) for well, position in fields if not position.problems]
    if not whole:
        yield problem(check, f"none of its {len(fields)} fields is whole", "check that the export is complete")
        return
    first = next(iter(next(iter(whole[0][1].planes.values())).values()))
    look.first_files.append(first.path)
    height, width = described.shape
    opened = attempt(
        check,
        lambda: (
            f"{first.path.name} opens, {read_plane(first).dtype}; {len(described.wells)} wells, {len(fields)}"
            f" fields of {height} x {width}"
        ),
    )
    yield opened
    bad = [f"{well} {position.name}" for well, position in fields if position.problems]
    if bad:
        yield warning(
            f"{check}: fields",
            f"{len(bad)} of {len(fields)} fields are not whole ({_some(bad)}) and will be recorded as failed",
            "export them again if they matter",
        )
    missing = [row.well for row in project.plate_map if row.plate == plate and row.well not in described.wells]
    if missing:
        yield warning(
            f"{check}: wells",
            f"{len(missing)} wells of the plate map have no image ({_some(missing)}); their rows will be empty",
            "correct wells.tsv, or export them again",
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
