"""``lysoquant view``."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lysoquant.errors import InputError

if TYPE_CHECKING:
    from lysoquant.export.layers import LayerData

_OUTLINE_PX = 1
_INSTALL = "pip install 'napari[all]'"


@click.command()
@click.argument("project", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("well")
@click.option("--plate", help="The plate; may be left out where the project has one.")
@click.option("--field", type=click.IntRange(min=0), default=0, show_default=True, help="The field, from 0.")
def view(project: Path, well: str, plate: str | None, field: int) -> None:
    """Show a field of WELL in napari.

    Channels in the colours of their roles, cells, endolysosomes in the colour of their class (empty cyan, loaded
    magenta), and the measurements as features of the layers. Shows what the stages have left so far. Needs napari
    (pip install 'napari[all]').
    """
    layers, title = _layers(project, well, plate=plate, field=field)
    _require_napari()
    show(layers, title=title)


def _layers(project: Path, well: str, *, plate: str | None, field: int) -> tuple[list[LayerData], str]:
    from lysoquant.config import load_project, normalise_well
    from lysoquant.export.layers import NUMBERED_BY, field_layers
    from lysoquant.export.source import chosen_plates
    from lysoquant.io.store import PlateStore
    from lysoquant.io.tables import read_parquet

    loaded = load_project(project.absolute())
    (name,) = chosen_plates(list(loaded.plates), plate, one_for=f"well {well}")
    store = PlateStore.open(loaded.layout.plate_store(name))
    chosen = normalise_well(well) or well
    if chosen not in store.wells:
        raise InputError(f"well {well!r}: plate {name} has {', '.join(store.wells)}")
    if field >= store.n_fields(chosen):
        raise InputError(f"--field {field}: well {chosen} of plate {name} has fields 0 to {store.n_fields(chosen) - 1}")
    folder = loaded.layout.well_tables(name, chosen)
    tables = {}
    for level in NUMBERED_BY:
        if (folder / f"{level}.parquet").is_file():
            table = read_parquet(folder / f"{level}.parquet")
            tables[level] = table[table["field"] == field]
    layers = field_layers(store.field(chosen, field), channels=loaded.config.channels, tables=tables)
    return layers, f"{name} {chosen} field {field}"


def _require_napari() -> None:
    if importlib.util.find_spec("napari") is None:
        raise InputError(f"lysoquant view needs napari, which is not installed; {_INSTALL}")
    try:
        importlib.import_module("qtpy")
    except (ImportError, RuntimeError) as error:
        raise InputError(f"napari finds no Qt to draw with; {_INSTALL}") from error
    screens = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    # Qt ends the process where it finds no screen.
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in screens):
        raise InputError("lysoquant view needs a screen, and DISPLAY is not set; run it in a desktop session")


def show(layers: list[LayerData], *, title: str) -> None:
    """Open napari with layers, until its window is closed."""
    import napari

    viewer = napari.Viewer(title=title)
    for layer in layers:
        added = viewer.add_layer(napari.layers.Layer.create(*layer))
        if layer[2] == "labels":
            # Outlines leave the pixels to be seen; napari takes this after a layer is made only.
            added.contour = _OUTLINE_PX
    viewer.scale_bar.visible = True
    napari.run()
