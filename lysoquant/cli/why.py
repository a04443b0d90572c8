"""``lysoquant why``: what would run, and for what reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from lysoquant.cli.stages import open_project, project_argument
from lysoquant.errors import InputError
from lysoquant.project.why import Pending, pending
from lysoquant.vocabulary import STAGES

_WELLS_SHOWN = 3


@click.command()
@project_argument
@click.option("--stage", type=click.Choice(STAGES), help="Only this stage.")
@click.option("--well", metavar="B02", help="Only this well of the batch stages.")
def why(*, project: Path, stage: str | None, well: str | None) -> None:
    """Say for every stage and well that would run the reason, one line each; wells with equal reasons share a line.

    Changes nothing. Times of files play no part.
    """
    loaded = open_project(project)
    found = pending(loaded)
    known = {row.well for row in loaded.plate_map} | {each.well for each in found}
    if well is not None and well not in known:
        raise InputError(f"--well {well!r}: no such well in wells.tsv or on a plate; write it as in B02")
    chosen = [each for each in found if stage in (None, each.stage) and well in (None, each.well)]
    for line in lines(chosen):
        click.echo(line)
    if not chosen:
        of = "".join([f" of {stage}" if stage else "", f" for well {well}" if well else ""])
        click.echo(f"nothing{of} would run")


def lines(found: Sequence[Pending]) -> Iterator[str]:
    """A table: stage, wells, reason."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for each in found:
        groups.setdefault((each.stage, each.plate, "; ".join(each.reasons)), []).append(each.well)
    rows = [(stage, _wells(plate, wells), reason) for (stage, plate, reason), wells in groups.items()]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for stage, wells, reason in rows:
        yield f"{stage:<{widths[0]}}  {wells:<{widths[1]}}  {reason}"


def _wells(plate: str, wells: Sequence[str]) -> str:
    if not plate:
        return "the project"
    if len(wells) <= _WELLS_SHOWN:
        return f"{plate}: {', '.join(wells)}"
    return f"{plate}: {wells[0]}, {wells[1]} ... {wells[-1]} ({len(wells)} wells)"
