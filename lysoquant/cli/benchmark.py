"""``lysoquant benchmark``."""

from __future__ import annotations

import os
from pathlib import Path

import click

from lysoquant.cli.options import device_option


@click.group()
def benchmark() -> None:
    """Compare lysoquant with other methods, and measure what planning costs and what statistical tests are worth."""


@benchmark.command()
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the table.")
@click.option(
    "--train-images", type=click.IntRange(1), default=8, show_default=True, help="Cells that methods are tuned on."
)
@click.option(
    "--test-images", type=click.IntRange(1), default=36, show_default=True, help="Held-out cells that are scored."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the cells.")
@click.option("--methods", help="Comma-separated names, e.g. isodata,lysoquant; default: all.")
@click.option("--model", default="default", show_default=True, help="Model file of lysoquant, or 'default'.")
@click.option(
    "--unet5", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Model file of the five-level U-Net."
)
def accuracy(
    output: Path, train_images: int, test_images: int, seed: int, methods: str | None, model: str, unet5: Path | None
) -> None:
    """Tune the methods of the paper's Figure 1 on simulated cells, score them on held-out ones, and write the table.

    A method that can't run here keeps its row, with the reason.
    """
    from importlib.metadata import version

    from lysoquant import __version__
    from lysoquant.benchmark.accuracy import run
    from lysoquant.benchmark.baselines import choose
    from lysoquant.benchmark.fields import held_out_cells, tuning_cells
    from lysoquant.benchmark.table import write_table
    from lysoquant.model.card import model_path
    from lysoquant.model.precision import choose_device
    from lysoquant.progress import Progress

    chosen = choose(methods, model=model_path(model), unet5=unet5)
    with Progress("benchmark", total=len(chosen) + test_images) as progress:
        rows = run(
            tuning_cells(seed=seed, count=train_images),
            held_out_cells(seed=seed, count=test_images),
            chosen,
            on_step=lambda done: progress.advance(note=done),
        )
    about: dict[str, str | int] = {
        "lysoquant": __version__,
        "seed": seed,
        "tuning cells": train_images,
        "test cells": test_images,
        "device": choose_device("auto").type,
        **{package: version(package) for package in ("scikit-image", "scikit-learn", "scipy", "torch")},
    }
    for path in write_table(rows, output, about=about):
        click.echo(f"{path.suffix[1:]}: {path}")


@benchmark.command()
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the table.")
@click.option("--model", default="default", show_default=True, help="Model file to start from, or 'default'.")
@click.option("--cells", type=click.IntRange(1), default=10, show_default=True, help="Cells that are corrected.")
@click.option("--iterations", type=click.IntRange(1), default=600, show_default=True, help="Of the training with them.")
@click.option("--test-cells", type=click.IntRange(1), default=16, show_default=True, help="Cells of each kind scored.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the cells.")
@device_option(verb="trains")
def adaptation(output: Path, model: str, cells: int, iterations: int, test_cells: int, seed: int, device: str) -> None:
    """Correct a few cells of an unseen appearance, train on with them, and say how much of the lost F1 comes back."""
    from lysoquant.benchmark.adaptation import adapt
    from lysoquant.model.card import model_path
    from lysoquant.model.precision import choose_device
    from lysoquant.progress import Progress

    with Progress("adaptation", total=6) as progress:
        table, won_back = adapt(
            model_path(model),
            output,
            cells=cells,
            iterations=iterations,
            test_cells=test_cells,
            seed=seed,
            device=choose_device(device).type,
            on_step=lambda done: progress.advance(note=done),
        )
    click.echo(table.round(3).to_string(na_rep=""))
    click.echo(f"won back: {won_back:.0%} of the lost F1, with {cells} cells")


@benchmark.command()
@click.option("--plates", default="1,4,16", show_default=True, help="Numbers of plates, comma-separated.")
@click.option("--wells", type=click.IntRange(1, 384), default=96, show_default=True, help="Wells of a plate.")
@click.option("--cells", type=click.IntRange(1), default=20, show_default=True, help="Cells of each of nine fields.")
def aggregate(plates: str, wells: int, cells: int) -> None:
    """Measure what memory and time aggregate takes by the number of plates, on made-up tables.

    First of all plates, then again after one of them has changed.
    """
    import tempfile

    from lysoquant.benchmark.aggregating import Size, costs

    counts = _counts("--plates", plates)
    click.echo(f"{'plates':>7}{'regions':>12}{'MB':>8}{'s':>8}{'again MB':>10}{'again s':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for cost in costs(Path(folder), counts, Size(wells=wells, cells=cells)):
            first = f"{cost.plates:>7}{cost.n_regions:>12,}{cost.peak_mb:>8.0f}{cost.seconds:>8.1f}"
            click.echo(f"{first}{cost.again_mb:>10.0f}{cost.again_seconds:>9.1f}")


@benchmark.command()
@click.option("--runs", type=click.IntRange(10), default=1000, show_default=True, help="Experiments of each design.")
@click.option("--wells", default="3,6", show_default=True, help="Numbers of wells of a condition, comma-separated.")
@click.option("--cells", type=click.IntRange(2), default=30, show_default=True, help="Cells of a well.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the experiments.")
def statistics(runs: int, wells: str, cells: int, seed: int) -> None:
    """Measure how often each test calls a difference where there is none, and finds one where there is.

    Two conditions are simulated whose wells differ by nothing, a little and more. Then how often intervals of occupancy
    hold the truth.
    """
    from dataclasses import replace

    from lysoquant.benchmark.statistics import EFFECT, TESTS, WELL_SDS, Design, coverage, rates

    designs = [
        Design(wells=count, cells=cells, well_sd=spread) for count in _counts("--wells", wells) for spread in WELL_SDS
    ]
    for title, effect in (("no difference", 0.0), (f"log odds differ by {EFFECT:g}", EFFECT)):
        click.echo(f"share of experiments with p < 0.05 where there is {title} (in brackets: without a p)")
        click.echo(f"{'wells':>5}{'SD':>6}" + "".join(f"{name:>20}" for name in TESTS))
        for design in designs:
            found = rates(replace(design, effect=effect), runs=runs, seed=seed)
            cells_of = "".join(f"{f'{rate.significant:.3f} ({rate.undefined:.3f})':>20}" for rate in found.values())
            click.echo(f"{design.wells:>5}{design.well_sd:>6.2f}{cells_of}")
    click.echo("share of 95 % intervals that hold the true occupancy")
    for number, design in enumerate(designs):
        held = coverage(design, runs=runs, seed=seed)
        if not number:
            click.echo(f"{'wells':>5}{'SD':>6}" + "".join(f"{name:>28}" for name in held))
        shares = "".join(f"{share:>28.3f}" for share in held.values())
        click.echo(f"{design.wells:>5}{design.well_sd:>6.2f}{shares}")


@benchmark.command()
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the table.")
@click.option(
    "--screens", type=click.IntRange(2), default=50, show_default=True, help="Simulated screens of each kind."
)
@click.option("--replicates", type=click.IntRange(1, 16), multiple=True, default=(1, 2, 3), show_default=True)
@click.option(
    "--effects",
    type=click.FloatRange(0, min_open=True),
    multiple=True,
    default=(0.5, 1.0),
    show_default=True,
    help="Log odds by which active conditions differ.",
)
@click.option(
    "--active",
    type=click.FloatRange(0, 0.5),
    default=0.05,
    show_default=True,
    help="Share of active conditions.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the screens.")
def screen(
    output: Path, screens: int, replicates: tuple[int, ...], effects: tuple[float, ...], active: float, seed: int
) -> None:
    """Power and false discoveries of the hit list on simulated screens with planted hits and plate effects."""
    from lysoquant.benchmark.screening import PLATE_EFFECTS, outcomes, write_outcomes
    from lysoquant.progress import Progress

    with Progress("screens", total=len(PLATE_EFFECTS) * len(replicates) * len(effects)) as progress:
        found = list(
            outcomes(
                replicates=replicates,
                effects=effects,
                share_active=active,
                screens=screens,
                seed=seed,
                on_kind=lambda done: progress.advance(note=done),
            )
        )
    for path in write_outcomes(found, output):
        click.echo(f"{path.suffix[1:]}: {path}")


@benchmark.command()
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the table.")
@click.option("--plates", type=click.IntRange(1), default=10, show_default=True, help="Of the second dry run.")
@click.option("--wells", type=click.IntRange(1, 384), default=384, show_default=True, help="Of a plate.")
@click.option("--fields", type=click.IntRange(1), default=9, show_default=True, help="Of a well.")
def workflow(output: Path, plates: int, wells: int, fields: int) -> None:
    """Time, memory and jobs of planning: a dry run of one plate and of many, and a run with nothing to do.

    The plates are made of tiny black images. One of them is run as a whole first: minutes of start-ups.
    """
    import platform
    from importlib.metadata import version

    from lysoquant import __version__
    from lysoquant.benchmark.workflow import run, write_figures

    costs = run(output, plates=plates, wells=wells, fields=fields)
    about = {
        "lysoquant": __version__,
        "Snakemake": version("snakemake"),
        "Python": platform.python_version(),
        "processor cores": str(os.cpu_count()),
    }
    for path in write_figures(costs, output, about=about):
        click.echo(f"{path.suffix[1:]}: {path}")


@benchmark.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("speed"),
    show_default=True,
    help="Folder of the tables.",
)
@click.option(
    "--part", "parts", multiple=True, help="What is measured, e.g. inference; may be given again. Default: all."
)
@click.option("--images", type=click.IntRange(1), default=2, show_default=True, help="Simulated fields.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Of which the best counts.")
@click.option("--wells", default="6,24,96", show_default=True, help="Of the whole plates, comma-separated.")
@device_option(verb="runs")
def speed(output: Path, parts: tuple[str, ...], images: int, repeats: int, wells: str, device: str) -> None:
    """How much of the machine is used, beside other ways of doing the same: tables and JSON of one run."""
    from lysoquant.model.memory import keep_freed_memory

    keep_freed_memory()  # before torch and its threads
    import platform
    from importlib.metadata import version

    from lysoquant import __version__
    from lysoquant.benchmark.speed.parts import Scale, choose_parts
    from lysoquant.benchmark.speed.table import markdown, write_tables
    from lysoquant.model.precision import choose_device
    from lysoquant.progress import Progress

    chosen = choose_parts(parts)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    scale = Scale(
        images=images,
        repeats=repeats,
        threads=threads,
        device=choose_device(device).type,
        wells=tuple(_counts("--wells", wells)),
    )
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    found = {}
    with Progress("speed", total=len(chosen)) as progress:
        for name, part in chosen.items():
            found[name] = part.measure(scale)
            progress.advance(note=name)
    about: dict[str, str | int] = {
        "lysoquant": __version__,
        "torch": version("torch"),
        "Python": platform.python_version(),
        "device": scale.device,
        "processor threads": threads,
        "load before the run": load,
    }
    for tables in found.values():
        click.echo(markdown(tables))
    for path in write_tables(found, output, about=about):
        click.echo(f"{path.suffix[1:]}: {path}")


def _counts(option: str, text: str) -> list[int]:
    """Whole numbers from 1 on out of a comma-separated option."""
    from lysoquant.errors import InputError

    counts = [int(word) for word in text.split(",") if word.strip().isdigit()]
    if not counts or len(counts) != len(text.split(",")) or min(counts) < 1:
        raise InputError(f"{option} is {text!r}; expected whole numbers from 1 on, such as 1,4,16")
    return counts
