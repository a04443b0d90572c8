"""``lysoquant doctor``: what could spoil a run, and what it will cost, before it begins."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lysoquant import __version__
from lysoquant.record import write_text_atomic

if TYPE_CHECKING:
    from lysoquant.project.doctor.finding import Finding
    from lysoquant.project.forecast.jobs import Forecast

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command()
@click.argument(
    "project",
    required=False,
    type=click.Path(exists=True, file_okay=False, resolve_path=False, path_type=Path),
)
@click.option("--profile", help="Profile of the workflow by name (slurm), or the folder of one.")
@click.option(
    "--cores", type=click.IntRange(min=1), help="Processor cores of the run, for its wall time; default: all."
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="On SLURM: how long to wait for a node that says what it sees; 0: ask none.",
)
@click.option(
    "--json",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write all that was found.",
)
def doctor(*, project: Path | None, profile: str | None, cores: int | None, wait: float, target: Path | None) -> int:
    """Look at all that a run needs, one line a check, and say what the run will cost.

    Without PROJECT: the environment only. With a SLURM profile also the cluster, and a tiny job on each partition that
    says what a node sees. Changes no result. Exit status: 0 without problems (warnings are none), 1 with problems.
    """
    # Imported here: it needs torch and the image readers, and help must be quick.
    from lysoquant.project.doctor.examine import Examination
    from lysoquant.project.forecast.text import lines

    examination = Examination(project=project, profile=profile, cores=cores, wait_s=wait)
    found = []
    for finding in examination.findings():
        found.append(finding)
        _show(finding)
    if examination.forecast is not None:
        click.echo()
        for line in lines(examination.forecast):
            click.echo(line)
    if target is not None:
        write_text_atomic(
            target, json.dumps(_as_json(found, examination.forecast), indent=1, ensure_ascii=False) + "\n"
        )
    n_problems = sum(finding.state == "problem" for finding in found)
    n_warnings = sum(finding.state == "warning" for finding in found)
    click.echo(f"\n{len(found)} checks: {_counted(n_problems, 'problem')}, {_counted(n_warnings, 'warning')}")
    return int(n_problems > 0)


def _show(finding: Finding) -> None:
    state = (
        click.style(f"{finding.state:<7}", fg=_COLOURS[finding.state]) if sys.stdout.isatty() else f"{finding.state:<7}"
    )
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in finding.line)
    click.echo(f"{state}  {finding.check:<16}  {text}")


def _counted(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'s' * (number != 1)}"


def _as_json(found: list[Finding], forecast: Forecast | None) -> dict[str, Any]:
    """Checks and forecast; ``null`` where a figure is not known."""
    told = None
    if forecast is not None:
        told = asdict(forecast) | {
            "jobs": forecast.jobs,
            "core_h": forecast.core_h,
            "gpu_h": forecast.gpu_h,
            "disk_bytes": forecast.disk_bytes,
            "files": forecast.files,
        }
    return {"lysoquant": __version__, "checks": [asdict(finding) for finding in found], "forecast": told}
