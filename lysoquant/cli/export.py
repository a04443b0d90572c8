"""``lysoquant export``."""

from __future__ import annotations

from pathlib import Path

import click

_project = click.argument("project", type=click.Path(exists=True, file_okay=False, path_type=Path))
_output_folder = click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="A new or empty folder."
)
_plate = click.option("--plate", help="Only this plate.")


@click.group()
def export() -> None:
    """Results in the forms in which other programs take them.

    Nothing is computed anew, and nothing that is there is overwritten. docs/export.md says what each form holds.
    """


@export.command()
@_project
@_output_folder
@_plate
@click.option("--wells", metavar="B02,C03", help="Only these wells of the one plate.")
@click.option("--images", is_flag=True, help="Write the fields' channels too, as TIFF with pixel size.")
def imagej(project: Path, output: Path, plate: str | None, wells: str | None, images: bool) -> None:
    """Outlines for Fiji's ROI Manager, and the two tables of the LysoQuant plugin.

    For each plate of PROJECT a folder with WELL_fFIELD_endolysosomes.zip and WELL_fFIELD_cells.zip (ImageJ ROIs),
    Results.csv (one row an endolysosome and channel) and LysoQuant.csv (one row a cell). ImageJ measures on the
    outlines what the tables say.
    """
    from lysoquant.config import load_project
    from lysoquant.export.imagej import export_imagej
    from lysoquant.export.source import chosen_plates
    from lysoquant.io.store import PlateStore
    from lysoquant.project.batches import choose_wells

    loaded = load_project(project.absolute())
    chosen = {}
    for name in chosen_plates(list(loaded.plates), plate, wells=wells):
        known = PlateStore.open(loaded.layout.plate_store(name)).wells
        chosen[name] = choose_wells(wells, plate=name, wells=known) if wells is not None else known
    done = export_imagej(loaded.layout, output, wells=chosen, channels=loaded.config.channels, images=images)
    for note in done.notes:
        click.echo(f"without outlines: {note}", err=True)
    click.echo(f"{done.n_fields} fields, {done.n_cells} cells, {done.n_endolysosomes} endolysosomes: {output}")
