"""``lysoquant simulate``."""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path
from typing import Literal

import click


@click.group()
def simulate() -> None:
    """Make plates with a known truth."""


@simulate.command()
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["imagexpress", "operetta", "ome-tiff"]),
    default="imagexpress",
    show_default=True,
    help="How the plate is written: MetaXpress export, Harmony export, or OME-TIFF.",
)
@click.option("--wells", type=click.IntRange(1, 1536), default=8, show_default=True, help="Number of wells.")
@click.option("--fields", type=click.IntRange(1, 100), default=2, show_default=True, help="Fields of each well.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed gives the same plate."
)
@click.option(
    "--size-px", type=click.IntRange(64, 4096), default=512, show_default=True, help="Edge of a field in pixels."
)
@click.option("--pixel-size-um", type=click.FloatRange(0.04, 0.12), default=0.1, show_default=True, help="Pixel size.")
@click.option(
    "--layout",
    type=click.Choice(["conditions", "screen"]),
    default="conditions",
    show_default=True,
    help="conditions: the four take turns; screen: a full plate of 96 or 384 wells with controls on both sides, siRNAs"
    " of two wells each between them, and one in ten of these a planted hit.",
)
@click.option("--second-cargo", is_flag=True, help="A fourth channel, LC3: a second cargo of the same cells.")
@click.option("--cores", type=click.IntRange(1), default=None, help="Processes; default: all cores.")
def plate(
    out: Path,
    format_name: Literal["imagexpress", "operetta", "ome-tiff"],
    wells: int,
    fields: int,
    seed: int,
    size_px: int,
    pixel_size_um: float,
    layout: Literal["conditions", "screen"],
    second_cargo: bool,
    cores: int | None,
) -> None:
    """Simulate a plate into OUT, with its plate map and its truth.

    The four conditions follow the paper: SEC62 (positive control), its LIR mutant (negative control), ATZ in wild type,
    and ATZ in an STX17 knock-out, whose cargo docks outside endolysosomes that therefore stay empty.
    """
    from lysoquant.simulate.plate import SECOND_CARGO, PlateSettings, simulate_plate
    from lysoquant.simulate.writers import OME_TIFF_PATTERN

    settings = PlateSettings(
        n_wells=wells,
        n_fields=fields,
        size_px=size_px,
        pixel_size_um=pixel_size_um,
        seed=seed,
        format=format_name,
        name=out.resolve().name,
        layout=layout,
        second_cargo=second_cargo,
    )
    simulate_plate(out, settings, processes=cores or os.cpu_count() or 1)
    click.echo(f"{wells} wells of {fields} fields in {out}; truth in {out / 'truth'}")
    words = ["lysoquant", "init", str(out), "--output", "PROJECT", "--plate-map", str(out / "plate_map.csv")]
    words += ["--pattern", OME_TIFF_PATTERN] if format_name == "ome-tiff" else []
    words += ["--cargo", "cargo", "--cargo", SECOND_CARGO] if second_cargo else []
    click.echo(f"next: {shlex.join(words)}")


@simulate.command()
@click.argument("raw", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.argument("project", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--cargo", metavar="CH", help="Another cargo than the project's first, such as LC3.")
def compare(raw: Path, project: Path, cargo: str | None) -> None:
    """Compare the occupancy that PROJECT found with the truth of the simulated plate RAW."""
    from lysoquant.config import load_project
    from lysoquant.simulate.compare import compare_wells

    wells = compare_wells(raw=raw, wells_csv=load_project(project).layout.tables / "wells.csv", cargo=cargo)
    click.echo(f"{'well':<6}{'condition':<16}{'true n':>8}{'found n':>8}{'true':>8}{'found':>8}{'error':>8}")
    for well in wells:
        occupancies = f"{well.occupancy_true:>8.3f}{well.occupancy_found:>8.3f}{well.error:>+8.3f}"
        click.echo(f"{well.well:<6}{well.condition:<16}{well.n_true:>8}{well.n_found:>8}{occupancies}")
    errors = [abs(well.error) for well in wells if not math.isnan(well.error)]
    undefined = (
        f" ({len(wells) - len(errors)} wells without endolysosomes left out)" if len(errors) < len(wells) else ""
    )
    click.echo(f"largest error of occupancy: {max(errors, default=math.nan):.3f}{undefined}")
