"""``lysoquant annotate``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lysoquant.cli.numbers import FiniteRange
from lysoquant.cli.options import device_option

if TYPE_CHECKING:
    from lysoquant.io.store import PlateStore
    from lysoquant.segment.params import SegmentParams

_existing = click.Path(path_type=Path, exists=True)
_new_folder = click.Path(path_type=Path, file_okay=False)


@click.group()
def annotate() -> None:
    """Let people outline: consensus of operators, cells worth correcting, corrections taken back."""


@annotate.command()
@click.argument("operators", type=_existing, nargs=-1, required=True)
@click.option("--image", type=_existing, required=True, help="The outlined TIFF, or the folder of them.")
@click.option(
    "--minimum", type=click.IntRange(1), default=2, show_default=True, help="Operators that must have drawn a pixel."
)
@click.option("--output", type=_new_folder, required=True, help="Folder for the consensus and the tables.")
@click.option("--pixel-size-um", type=FiniteRange(0, min_open=True), help="Pixel size in place of the image's own.")
def consensus(
    operators: tuple[Path, ...], image: Path, minimum: int, output: Path, pixel_size_um: float | None
) -> None:
    """Pixels drawn by enough OPERATORS, and how far each operator is from them.

    An operator is an ImageJ ROI zip (names begin with empty or loaded), a class map (TIFF: 0, 1 empty, 2 loaded), or a
    folder of such files, NAME.zip for each NAME.tif of --image. Writes classes/NAME.tif, rois/NAME.zip, consensus.csv
    and consensus.json.
    """
    from lysoquant.annotate.operators import build_consensus, table_text

    scores = build_consensus(operators, image, output, minimum=minimum, pixel_size_um=pixel_size_um)
    click.echo(table_text(scores, operators))
    click.echo(f"consensus: {output}")


@annotate.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=_new_folder)
@click.option("--cells", type=click.IntRange(1), default=10, show_default=True, help="Cells to write.")
@click.option(
    "--candidates", type=click.IntRange(1), default=500, show_default=True, help="Random cells to choose from."
)
@click.option("--model", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Default: the project's.")
@click.option("--lysosome", help="Channel of the limiting membrane; a project knows it.")
@click.option("--cargo", help="Channel of the cargo; a project knows it.")
@click.option("--wells", metavar="B02,B03", help="Only these wells of the one plate.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the choice of fields.")
@device_option(verb="runs")
def export(
    source: Path,
    out: Path,
    cells: int,
    candidates: int,
    model: Path | None,
    lysosome: str | None,
    cargo: str | None,
    wells: str | None,
    seed: int,
    device: str,
) -> None:
    """Write the cells of which the model is least sure, to be corrected in Fiji.

    SOURCE is a project or an OME-Zarr plate with cells. OUT gets NAME.tif and NAME.zip (ImageJ ROIs) of each cell, a
    README.txt that says how to correct them, and manifest.json, which `lysoquant annotate import` needs.
    """
    from lysoquant.annotate.export import export_cells
    from lysoquant.errors import InputError
    from lysoquant.project.batches import choose_wells

    stores, channels, params, model_file = _source(source, lysosome=lysosome, cargo=cargo)
    if wells and len(stores) > 1:
        raise InputError(
            f"--wells needs one plate, and {source} has {', '.join(stores)}; give one plate's .zarr folder"
        )
    manifest, notes = export_cells(
        stores,
        out,
        wells={
            name: choose_wells(wells, plate=name, wells=store.wells) if wells else store.wells
            for name, store in stores.items()
        },
        lysosome=channels[0],
        cargo=channels[1],
        model=model or model_file,
        params=params,
        n_cells=cells,
        candidates=candidates,
        seed=seed,
        device=device,
    )
    for note in notes:
        click.echo(f"not looked at: {note}", err=True)
    for cell in manifest.cells:
        click.echo(f"{cell.uncertainty:.3f}  {cell.name}  ({len(cell.outlines) - 1} outlines)")
    click.echo(f"{len(manifest.cells)} of {manifest.candidates} cells: {out}, see {out / 'README.txt'}")


def _source(
    source: Path, *, lysosome: str | None, cargo: str | None
) -> tuple[dict[str, PlateStore], tuple[str, str], SegmentParams, Path]:
    """Plates, channels of lysosome and cargo, settings and model of a project or a plate."""
    from lysoquant.config import load_project
    from lysoquant.examples.crops import choose_channels
    from lysoquant.io.store import PlateStore
    from lysoquant.model.card import model_path
    from lysoquant.segment.params import SegmentParams

    if (source / "config" / "config.yaml").is_file():
        project = load_project(source.absolute())
        stores = {plate: PlateStore.open(project.layout.plate_store(plate)) for plate in project.plates}
        roles = project.config.channels
        params = project.config.segment
        channels = lysosome or roles.lysosome, cargo or roles.cargo
        return stores, channels, params, model_path(params.model, project=project.layout.project)
    store = PlateStore.open(source)
    first = store.field(store.wells[0], 0)
    channels = choose_channels(first.channels, lysosome=lysosome, cargo=cargo, where=str(source))
    params = SegmentParams()
    return {store.name or source.stem: store}, channels, params, model_path(params.model, project=source)


@annotate.command(name="import")
@click.argument("corrected", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("destination", type=_new_folder)
def import_(corrected: Path, destination: Path) -> None:
    """Check a CORRECTED folder of `annotate export` and write it as a training set to DESTINATION."""
    from lysoquant.annotate.corrected import import_corrected

    found = import_corrected(corrected, destination)
    changes = found.changes
    click.echo(
        f"outlines: {changes.reshaped} reshaped, {changes.reclassified} of another class, {changes.added} added, "
        f"{changes.removed} removed, {changes.unchanged} left as they were"
    )
    for title, names in (
        ("left as exported (take them out if nobody looked at them)", found.untouched),
        ("did not come back", found.missing),
        ("not exported, taken as they are", found.own),
    ):
        if names:
            click.echo(f"{title}: {', '.join(names)}")
    click.echo(f"{found.cells} cells with {found.regions} endolysosomes: {destination}")
    click.echo(f"train from them: lysoquant train MODEL_FOLDER --data {shlex.quote(str(destination))}")
