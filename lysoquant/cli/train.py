"""``lysoquant train``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("output", type=click.Path(path_type=Path, file_okay=False))
@click.option("--iterations", type=click.IntRange(1), default=10_000, show_default=True, help="Steps of the optimiser.")
@click.option("--batch-size", type=click.IntRange(1), default=2, show_default=True, help="Tiles a step.")
@click.option("--tile-px", type=click.IntRange(64), default=384, show_default=True, help="Edge of a tile at 0.025 um.")
@click.option("--levels", type=click.IntRange(2, 9), default=7, show_default=True, help="Resolution levels.")
@click.option(
    "--base-features", type=click.IntRange(1, 1024), default=16, show_default=True, help="Features of level 1."
)
@click.option(
    "--max-features", type=click.IntRange(0), default=128, show_default=True, help="Cap of a level's features; 0: none."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of weights and scenes.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes that make scenes.")
@click.option("--start-from", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Model to start from.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the network trains.",
)
def train(
    output: Path,
    iterations: int,
    batch_size: int,
    tile_px: int,
    levels: int,
    base_features: int,
    max_features: int,
    seed: int,
    workers: int,
    start_from: Path | None,
    device: str,
) -> None:
    """Train a network on scenes simulated on the fly; OUTPUT keeps checkpoints, the log and model.safetensors.

    Called again with the same OUTPUT it goes on from the last checkpoint.
    """
    from lysoquant.errors import InputError
    from lysoquant.model.network import Architecture
    from lysoquant.model.precision import choose_device
    from lysoquant.train.loop import TrainSettings
    from lysoquant.train.loop import train as run
    from lysoquant.train.tiles import TileSettings

    architecture = Architecture(levels=levels, base_features=base_features, max_features=max_features or None)
    if tile_px % architecture.multiple:
        raise InputError(
            f"--tile-px is {tile_px}; with {levels} levels it must be a multiple of {architecture.multiple}"
        )
    settings = TrainSettings(
        iterations=iterations,
        batch_size=batch_size,
        seed=seed,
        workers=workers,
        start_from=start_from,
        architecture=architecture,
        tiles=TileSettings(tile_px=tile_px),
    )
    click.echo(f"model: {run(folder=output, settings=settings, device=choose_device(device).type)}")
