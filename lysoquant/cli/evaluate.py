"""``lysoquant evaluate``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lysoquant.cli.numbers import FiniteRange
from lysoquant.cli.options import device_option

if TYPE_CHECKING:
    from lysoquant.examples.example import Example

SIMULATED = ("simulated", "wide", "outside", "rescaled")
"""Words of --data; anything else is a folder."""
SIMULATED_IMAGES = 1
OTHER_IMAGES = 24
SHOWN = 4
"""Examples in the figure."""


@click.command()
@click.option("--model", default="default", show_default=True, help="Model file, or 'default' for the shipped one.")
@click.option(
    "--data",
    default="simulated",
    show_default=True,
    metavar="simulated|wide|outside|rescaled|PATH",
    help="Held-out cells of known conditions; of all that training draws from; of a second simulator; at two "
    "pixel sizes; or a folder of annotated cells.",
)
@click.option(
    "--images",
    type=click.IntRange(1),
    help=f"Cells of each condition (simulated; default {SIMULATED_IMAGES}), or in all (wide, outside and rescaled: "
    f"{OTHER_IMAGES}; a folder: every one).",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the simulated cells.")
@click.option("--lysosome", help="Name of the lysosome channel of a folder's images; default: lysosome.")
@click.option("--cargo", help="Name of their cargo channel; default: cargo.")
@click.option("--pixel-size-um", type=FiniteRange(0, min_open=True), help="In place of the one in their metadata.")
@device_option(verb="runs")
@click.option("--figure/--no-figure", default=True, show_default=True, help="Draw figure.png.")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for what is written."
)
def evaluate(
    model: str,
    data: str,
    images: int | None,
    seed: int,
    lysosome: str | None,
    cargo: str | None,
    pixel_size_um: float | None,
    device: str,
    figure: bool,
    output: Path,
) -> None:
    """Score a model on cells whose endolysosomes are known, with the paper's metrics.

    Writes scores.csv (a row a cell), metrics.json and figure.png into OUTPUT and prints mean ± SD (n) beside the
    paper's figures.
    """
    from lysoquant.evaluate.figure import write_figure
    from lysoquant.evaluate.report import summary_text, write_report
    from lysoquant.evaluate.run import evaluate as run
    from lysoquant.model.card import model_path
    from lysoquant.model.precision import choose_device
    from lysoquant.progress import Progress

    file, target = model_path(model), choose_device(device)
    if data in SIMULATED:
        examples, total = _simulated(data, images=images, seed=seed)
    else:
        examples, total = _annotated(
            Path(data), images=images, lysosome=lysosome, cargo=cargo, pixel_size_um=pixel_size_um
        )
    output.mkdir(parents=True, exist_ok=True)
    with Progress("evaluate", total=total) as progress:
        evaluation = run(
            file,
            examples,
            device=target.type,
            show=_spread(total, SHOWN if figure else 0),
            on_example=lambda name: progress.advance(note=name),
        )
    written = write_report(
        output,
        evaluation,
        data=data if data in SIMULATED else Path(data).resolve().name,
        seed=seed if data in SIMULATED else None,
        device=target.type,
    )
    if figure:
        written.append(output / "figure.png")
        write_figure(written[-1], evaluation)
    click.echo(f"model {evaluation.model.card.name} ({evaluation.model.sha256[:12]}) on {total} cells ({data})")
    click.echo(summary_text(evaluation))
    for path in written:
        click.echo(f"wrote {path}")


def _simulated(data: str, *, images: int | None, seed: int) -> tuple[Iterator[tuple[str, Example]], int]:
    """Simulated cells with their conditions, and how many there are."""
    from lysoquant.examples import heldout

    if data == "simulated":
        each = images or SIMULATED_IMAGES
        conditions = len(heldout.PIXEL_SIZES_UM) * len(heldout.PHOTONS) * len(heldout.CASES)
        return heldout.held_out(seed=seed, per_condition=each), conditions * each
    count = images or OTHER_IMAGES
    if data == "rescaled":
        return heldout.rescaled(seed=seed, count=count), 2 * count
    return (heldout.wide if data == "wide" else heldout.outside)(seed=seed, count=count), count


def _annotated(
    folder: Path, *, images: int | None, lysosome: str | None, cargo: str | None, pixel_size_um: float | None
) -> tuple[Iterator[tuple[str, Example]], int]:
    """Annotated cells of a folder. They are read twice: once to find every fault before the long work begins."""
    from functools import partial
    from itertools import islice

    from lysoquant.errors import InputError
    from lysoquant.examples.annotated import read_examples

    if not folder.exists():
        raise InputError(
            f"--data is {str(folder)!r}, and there is no such folder; expected {', '.join(SIMULATED)} or a folder of "
            "annotated cells"
        )
    read = partial(read_examples, folder, lysosome=lysosome, cargo=cargo, pixel_size_um=pixel_size_um)
    total = sum(1 for _ in islice(read(), images))
    return (("annotated", example) for example in islice(read(), images)), total


def _spread(total: int, count: int) -> frozenset[int]:
    """Up to `count` numbers spread evenly over 0 to `total` - 1, the first and last among them."""
    count = min(count, total)
    return frozenset(round(place * (total - 1) / max(1, count - 1)) for place in range(count))
