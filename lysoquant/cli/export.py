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
    for name in chosen_plates(list(loaded.plates), plate, one_for="--wells" if wells is not None else None):
        known = PlateStore.open(loaded.layout.plate_store(name)).wells
        chosen[name] = choose_wells(wells, plate=name, wells=known) if wells is not None else known
    done = export_imagej(loaded.layout, output, wells=chosen, channels=loaded.config.channels, images=images)
    for note in done.notes:
        click.echo(f"without outlines: {note}", err=True)
    click.echo(f"{done.n_fields} fields, {done.n_cells} cells, {done.n_endolysosomes} endolysosomes: {output}")


@export.command()
@_project
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A new file, such as cells.h5ad."
)
@click.option(
    "--level",
    type=click.Choice(["cells", "wells", "endolysosomes"]),
    default="cells",
    show_default=True,
    help="What an observation is.",
)
def anndata(project: Path, output: Path, level: str) -> None:
    """A table as AnnData, for scanpy and its kin.

    X holds the measurements of PROJECT's table, obs its keys, classes, counts and the plate map, var units and
    channels, obsm the positions in um, uns versions, models and settings. Needs pip install 'lysoquant[anndata]'.
    """
    from lysoquant.config import load_project
    from lysoquant.export.h5ad import export_anndata

    loaded = load_project(project.absolute())
    config = loaded.config.model_dump(mode="json", exclude={"execution"})
    n_rows, n_columns = export_anndata(loaded.layout, output, level=level, config=config)
    click.echo(f"{n_rows} {level} x {n_columns} measurements: {output}")


@export.command()
@_project
@_output_folder
def profiles(project: Path, output: Path) -> None:
    """Profiles under pycytominer's names, as Parquet.

    Writes cells.parquet and endolysosomes.parquet (one row an object) and wells.parquet (medians over cells) with
    columns such as Metadata_Plate, Metadata_Well, Cells_AreaShape_Area. docs/export.md has the table of names.
    """
    from lysoquant.config import load_project
    from lysoquant.export.profiles import export_profiles

    counts = export_profiles(load_project(project.absolute()).layout, output)
    click.echo(", ".join(f"{count} {level}" for level, count in counts.items()) + f": {output}")


@export.command()
@_project
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="A new or empty folder for a crate of its own.  [default: PROJECT itself becomes the crate]",
)
@click.option(
    "--license",
    "license_url",
    metavar="URL",
    help="Licence of the data, such as https://creativecommons.org/licenses/by/4.0/.",
)
def rocrate(project: Path, output: Path | None, license_url: str | None) -> None:
    """Provenance as RO-Crate (Workflow Run Crate).

    ro-crate-metadata.json says what went into PROJECT (raw plates, configuration, model), which software ran, and what
    came out, with checksums and sizes. With --output a folder gets copies of everything but pixels.
    """
    import lysoquant
    from lysoquant.config import load_project
    from lysoquant.export.crate import Sources, export_crate
    from lysoquant.project.command import workflow_folder

    loaded = load_project(project.absolute())
    root = loaded.layout.project
    package = Path(lysoquant.__file__).parent
    citations = [path for path in (package.parent / "CITATION.cff", package / "CITATION.cff") if path.is_file()]
    sources = Sources(
        workflow=workflow_folder(),
        citation=citations[0] if citations else None,
        raw={plate: loaded.raw_path(plate) for plate in loaded.plates},
        config=[root / "config" / "config.yaml", root / loaded.config.plates, root / loaded.config.wells],
        title=loaded.config.report.title,
    )
    n_files = export_crate(loaded.layout, output, sources=sources, license_url=license_url)
    click.echo(f"{n_files} files with checksums: {output or root}")
