"""``lysoquant model``."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def model() -> None:
    """Look at model files."""


@model.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), required=False)
def info(path: Path | None) -> None:
    """Print the card of the model file PATH, or of the shipped model."""
    from lysoquant.model.weights import load_model, model_path

    file = model_path("default" if path is None else str(path), project=Path())
    loaded = load_model(file)
    card, architecture = loaded.card, loaded.card.architecture
    cap = f", at most {architecture.max_features}" if architecture.max_features else ""
    parameters = sum(parameter.numel() for parameter in loaded.network.parameters())
    click.echo(f"model        {card.name} ({file})")
    click.echo(f"sha256       {loaded.sha256}")
    network = f"{architecture.levels} levels, {architecture.base_features} base features{cap}"
    click.echo(f"network      U-Net, {network}, {parameters:,} parameters")
    click.echo(f"inputs       {', '.join(role or 'zeros' for role in card.inputs)} at {card.pixel_size_um:g} um")
    click.echo(f"classes      {', '.join(card.classes)}; normalization {card.normalization}")
    for title, lines in (
        ("training", [f"{name}: {value}" for name, value in card.training.items()]),
        ("metrics", [f"{name}: {value:g}" for name, value in card.metrics.items()]),
        ("measured on", [card.metrics_note] if card.metrics_note else []),
        ("limits", list(card.limits)),
    ):
        for number, line in enumerate(lines):
            click.echo(f"{title if number == 0 else '':<12} {line}")
