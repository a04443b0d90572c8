"""``lysoquant model``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click


@click.group()
def model() -> None:
    """Look at model files, bring published ones in and take them out."""


@model.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), required=False)
def info(path: Path | None) -> None:
    """Print the card of the model file PATH, or of the shipped model."""
    from lysoquant.model.card import model_path
    from lysoquant.model.weights import load_model

    file = model_path("default" if path is None else str(path))
    loaded = load_model(file)
    card, architecture = loaded.card, loaded.card.architecture
    cap = f", at most {architecture.max_features}" if architecture.max_features else ""
    parameters = sum(parameter.numel() for parameter in loaded.network.parameters())
    click.echo(f"model        {card.name} ({file})")
    click.echo(f"sha256       {loaded.sha256}")
    valid = ", valid convolutions" if architecture.padding == "valid" else ""
    network = f"{architecture.levels} levels, {architecture.base_features} base features{cap}{valid}"
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


@model.command("import-caffe")
@click.argument("modeldef", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("weights", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
def import_caffe(modeldef: Path, weights: Path, out: Path) -> None:
    """Make the model file OUT of a published model: MODELDEF (.modeldef.h5) and WEIGHTS (.caffemodel.h5).

    The new file is used by `segment.model: OUT` in a project's config.yaml.
    """
    from lysoquant.model import caffe

    card = caffe.import_caffe(modeldef, weights, out)
    architecture = card.architecture
    click.echo(
        f"{out}: {card.name}, {architecture.levels} levels, {architecture.base_features} base features, "
        f"valid convolutions, normalization {card.normalization}"
    )


@model.command()
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--format",
    "form",
    type=click.Choice(["bioimageio", "onnx"]),
    required=True,
    help="bioimageio: zipped package of the BioImage Model Zoo; onnx: the network alone.",
)
@click.option("--model", "path", type=click.Path(path_type=Path, dir_okay=False), help="Model file; else the shipped.")
def export(out: Path, form: Literal["bioimageio", "onnx"], path: Path | None) -> None:
    """Write a model to OUT for other programs, and run it there on the shipped test tile."""
    from lysoquant.model.card import model_path
    from lysoquant.model.export import export as run
    from lysoquant.model.weights import load_model

    exported = run(load_model(model_path("default" if path is None else str(path))), out, form=form)
    size = " x ".join(map(str, exported.shape))
    tested = "passed the test of bioimageio.core; " if form == "bioimageio" else ""
    click.echo(
        f"{out}: {tested}on the test tile ({size}) probabilities of onnxruntime differ from torch's by at most "
        f"{exported.difference:.1e}"
    )
