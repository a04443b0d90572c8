"""``lysoquant illumination``: the light of converted plates, as files."""

from __future__ import annotations

from pathlib import Path

import click

from lysoquant.cli.stages import open_project, project_argument
from lysoquant.errors import InputError


@click.command()
@project_argument
@click.option("--plate", help="Only this plate.")
@click.option("--replace", is_flag=True, help="Estimate anew where the files are there already.")
def illumination(project: Path, *, plate: str | None, replace: bool) -> None:
    """Estimate the uneven light of converted plates.

    Writes a flat-field image of every plate and channel to where illumination.flat_field says, or to
    flat/{plate}/{channel}.tif in the project. Nothing changes until the setting names them.
    """
    # Imported here: they need numpy.
    from lysoquant.illumination.plate import DEFAULT_FILES, estimate_plate

    loaded = open_project(project)
    if plate is not None and plate not in loaded.plates:
        raise InputError(f"--plate {plate!r}: the project has no such plate; it has {', '.join(loaded.plates)}")
    params = loaded.config.illumination
    if not params.flat_field:
        params = params.model_copy(update={"flat_field": DEFAULT_FILES})
    for name in [plate] if plate is not None else loaded.plates:
        found = estimate_plate(layout=loaded.layout, plate=name, params=params, replace=replace)
        for channel, (path, estimate) in found.items():
            least, most = float(estimate.gain.min()), float(estimate.gain.max())
            click.echo(
                f"{name} {channel}: light from {least:.2f} to {most:.2f} of its mean, by {estimate.n_fields} fields "
                f"whose halves differ by {estimate.difference:.1%}, dark {params.dark:g}: {path}"
            )
    if loaded.config.illumination.flat_field != params.flat_field:
        click.echo(f'next: in config/config.yaml set illumination.flat_field to "{params.flat_field}"')
