"""``lysoquant train``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from lysoquant.cli.numbers import FiniteRange
from lysoquant.cli.options import device_option

_NUMBER = click.IntRange(1)


def _apply(options: Sequence[Callable[..., Any]], command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(options):
        command = option(command)
    return command


def _network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = (
        click.option("--levels", type=click.IntRange(2, 9), help="Resolution levels  [default: the recipe's, 7]"),
        click.option("--base-features", type=click.IntRange(1, 1024), help="Features of level 1  [default: 16]"),
        click.option(
            "--max-features", type=click.IntRange(0), help="Cap of a level's features; 0: none  [default: the recipe's]"
        ),
        click.option(
            "--padding",
            type=click.Choice(["zeros", "reflect", "valid"]),
            help="What convolutions see beyond a tile's edge; valid: the original's  [default: the recipe's]",
        ),
    )
    return _apply(options, command)


def _data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    folder = click.Path(path_type=Path, exists=True)
    options = (
        click.option(
            "--data", type=folder, help="Annotated OME-Zarr, or images with ImageJ ROI zips; default: simulated scenes."
        ),
        click.option("--lysosome", help="Channel of the limiting membrane in --data, if its role is not its name."),
        click.option("--cargo", help="Channel of the cargo in --data."),
        click.option(
            "--pixel-size-um", type=FiniteRange(0, min_open=True),
            help="Pixel size of --data, where the files do not say it.",
        ),
        click.option(
            "--simulated-share", type=FiniteRange(0, 1), default=0.5, show_default=True,
            help="Share of simulated cells among those of --data.",
        ),
        click.option(
            "--validation-share", type=FiniteRange(0, 0.9), default=0.2, show_default=True,
            help="Share of the cells of --data that only validate; one at least trains.",
        ),
    )  # fmt: skip
    return _apply(options, command)


@click.command()
@click.argument("output", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--recipe",
    type=click.Choice(["lysoquant", "paper"]),
    default="lysoquant",
    show_default=True,
    help="Settings to start from: those of the shipped model, or the published ones (for a GPU).",
)
@click.option("--iterations", type=_NUMBER, help="Steps of the optimiser  [default: the recipe's, 20000 or 300000]")
@click.option("--batch-size", type=_NUMBER, help="Tiles a step  [default: the recipe's, 2 or 1]")
@click.option("--learning-rate", type=FiniteRange(0, min_open=True), help="Of Adam  [default: the recipe's]")
@click.option("--tile-px", type=click.IntRange(64), help="Edge of a tile at 0.025 um  [default: the recipe's, 384]")
@_network_options
@_data_options
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of weights and scenes.")
@click.option("--workers", type=_NUMBER, default=1, show_default=True, help="Processes that make tiles.")
@click.option("--checkpoint-every", type=_NUMBER, default=500, show_default=True, help="Iterations.")
@click.option("--start-from", metavar="default|FILE", help="Model to start from; default: the shipped one.")
@device_option(verb="trains")
def train(output: Path, recipe: str, device: str, **given: Any) -> None:
    """Train a network on simulated scenes, or on cells outlined by people.

    OUTPUT keeps checkpoint.pt, log.csv, curves.png and model.safetensors. Called again with the same OUTPUT and
    settings it goes on from the last checkpoint, and ends as if it had never stopped.
    """
    from lysoquant.model.precision import choose_device
    from lysoquant.train import loop

    settings = _settings(recipe, given)
    source, validation = _sources(given)
    where = choose_device(device).type
    if not (output / "checkpoint.pt").exists():
        step = loop.seconds_per_step(settings, device=where)
        hours = step * settings.iterations / 3600
        length = f"{hours:.1f} h" if hours >= 1 else f"{max(1, round(hours * 60))} min"
        click.echo(
            f"expected: about {length} for {settings.iterations} iterations of {step:.2f} s "
            f"({loop.arithmetic(where)}), if tiles are made as fast",
            err=True,
        )
    path = loop.train(folder=output, settings=settings, device=where, source=source, validation=validation)
    click.echo(f"model: {path}")


def _settings(recipe: str, given: dict[str, Any]) -> Any:
    from dataclasses import replace

    from lysoquant.errors import InputError
    from lysoquant.model.card import model_path, read_card
    from lysoquant.train.settings import TrainSettings, paper_settings

    settings = paper_settings() if recipe == "paper" else TrainSettings()
    if given["start_from"] is not None:
        start = model_path(given["start_from"])
        card = read_card(start)
        tiles = replace(settings.tiles, normalization=card.normalization)  # type: ignore[arg-type]
        settings = replace(settings, start_from=start, architecture=card.architecture, tiles=tiles)
    architecture = settings.architecture
    chosen = {
        name: given[name] for name in ("levels", "base_features", "max_features", "padding") if given[name] is not None
    }
    if "max_features" in chosen:
        chosen["max_features"] = chosen["max_features"] or None
    architecture = architecture.model_copy(update=chosen)
    tile_px = given["tile_px"] or architecture.answer_px(settings.tiles.tile_px)
    if architecture.answer_px(tile_px) != tile_px:
        raise InputError(
            f"--tile-px is {tile_px}; a network of {architecture.levels} levels with padding {architecture.padding} "
            f"can give {architecture.answer_px(tile_px)} px"
        )
    plain = ("iterations", "batch_size", "learning_rate", "seed", "workers", "checkpoint_every")
    return replace(
        settings,
        architecture=architecture,
        tiles=replace(settings.tiles, tile_px=tile_px),
        **{name: given[name] for name in plain if given[name] is not None},
    )


def _sources(given: dict[str, Any]) -> tuple[Any, Any]:
    """Training and validation cells, None where the loop's own simulated ones serve."""
    if given["data"] is None:
        return None, None
    from lysoquant.errors import InputError
    from lysoquant.examples.annotated import read_examples
    from lysoquant.train.sources import AnnotatedSource, MixedSource, SimulatedSource

    examples = list(
        read_examples(
            given["data"],
            lysosome=given["lysosome"],
            cargo=given["cargo"],
            pixel_size_um=given["pixel_size_um"],
        )
    )
    if not examples:
        raise InputError(f"{given['data']}: holds no annotated cell; see docs/annotate.md for what is read")
    kept = min(round(len(examples) * given["validation_share"]), len(examples) - 1)
    seed = given["seed"]
    learnt = AnnotatedSource(examples[kept:], seed=seed)
    validation = AnnotatedSource(examples[:kept], seed=seed) if kept else None
    if not given["simulated_share"]:
        return learnt, validation
    return MixedSource(learnt, SimulatedSource(seed=seed), given["simulated_share"]), validation
