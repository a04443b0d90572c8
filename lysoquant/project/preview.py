"""Cells of single fields as a picture, by the project's settings, before or after convert; no result is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from lysoquant.cells.cellpose_file import cellpose_file, require_cellpose
from lysoquant.cells.find import Found, boundary_roles, channels_read, find_in_field, require_nucleus
from lysoquant.cells.labels import median_diameter_um
from lysoquant.cells.params import METHODS_OF_PIXELS, CellsSettings
from lysoquant.cells.template import fill_template
from lysoquant.cells.watershed import boundary_signal
from lysoquant.config import Project, normalise_well
from lysoquant.convert.assemble import read_field
from lysoquant.convert.params import ConvertSettings
from lysoquant.errors import FieldError, InputError, PlateError, StageError
from lysoquant.illumination.flat_field import EvenField, FieldImage, FlatFields
from lysoquant.io.store import PlateStore
from lysoquant.record import read_json
from lysoquant.vocabulary import FAILED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lysoquant.cells.by_cellpose import Cellpose

_PANEL_PX: Final = 1000
"""A panel's longer edge: small fields are enlarged, large ones brought down."""
_DPI: Final = 100
_CAPTION_CHARACTERS: Final = 240
_TITLE_IN: Final = 0.4
_LINE_IN: Final = 0.18
_MARGIN_IN: Final = 0.1
_MOST: Final = 12
"""Fields in one picture."""
_CELL_COLOUR: Final = (255, 214, 0)
_NUCLEUS_COLOUR: Final = (0, 220, 255)


@dataclass(frozen=True)
class Preview:
    """The cells of one field.

    Attributes
    ----------
    where : str
        Plate, well and field, such as ``P/B03/0``.
    origin : str
        ``store`` or ``raw plate``.
    pixel_size_um : float
        Pixel size; NaN where the field has none.
    found : Found
        Cells, nuclei and doubts.
    picture : (Y, X, 3) array of uint8
        Boundary signal grey, nuclei blue.
    """

    where: str
    origin: str
    pixel_size_um: float
    found: Found
    picture: NDArray[np.uint8]

    @property
    def line(self) -> str:
        """Counts and sizes, for a person."""
        nuclei = self.found.nuclei
        parts = [] if nuclei is None else [_counted(int(nuclei.max()), "nucleus", "nuclei") + self._median(nuclei)]
        parts.append(_counted(self.found.n_cells, "cell", "cells") + self._median(self.found.cells))
        n_doubts = len(self.found.doubts)
        parts.append(_counted(n_doubts, "doubt", "doubts") if n_doubts else "no doubts")
        return f"{self.where} (from the {self.origin}): {', '.join(parts)}"

    def _median(self, labels: NDArray[Any]) -> str:
        diameter_um = median_diameter_um(labels, pixel_size_um=self.pixel_size_um)
        return f" (median diameter {diameter_um:.1f} um)" if diameter_um > 0 else ""


def wells_to_show(project: Project, text: str, *, plate: str | None) -> list[tuple[str, str]]:
    """Plates and wells that a user named (``B03``, ``P/B03``, several with commas between).

    Raises
    ------
    InputError
        If a plate or well is unknown, a well without plate could be of several, or there are too many.
    """
    listed = {name: [row.well for row in project.plate_map if row.plate == name] for name in project.plates}
    named = [name.strip() for name in text.split(",") if name.strip()]
    if not 0 < len(named) <= _MOST:
        raise InputError(f"--preview {text!r} names {len(named)} wells; expected 1 to {_MOST}, such as B03 or P/B03")
    chosen = []
    for name in named:
        given, slash, well_text = name.rpartition("/")
        of_plate = given if slash else plate
        if of_plate is not None and of_plate not in listed:
            raise InputError(f"--preview {name!r}: no plate {of_plate!r}; the project's plates are {', '.join(listed)}")
        well = normalise_well(well_text)
        if well is None:
            raise InputError(f"--preview {name!r}: {well_text!r} is no well; expected a name such as B03 or P/B03")
        plates = [key for key, wells in listed.items() if well in wells and of_plate in (None, key)]
        if not plates:
            wells = dict.fromkeys(known for key in listed if of_plate in (None, key) for known in listed[key])
            raise InputError(f"--preview {name!r}: no such well in wells.tsv; it has {', '.join(wells)}")
        if len(plates) > 1:
            raise InputError(f"--preview {name!r}: plates {', '.join(plates)} have it; write {plates[0]}/{well}")
        chosen.append((plates[0], well))
    return chosen


def preview_cells(
    project: Project, wells: Sequence[tuple[str, str]], *, field: int, given: Sequence[str], output: Path | None
) -> tuple[list[Preview], Path]:
    """Find the cells of a field of each well and draw them; writes the picture and nothing else.

    Parameters
    ----------
    project : Project
        With the settings to try.
    wells : sequence of (str, str)
        Plate and well.
    field : int
        Index of the field from 0.
    given : sequence of str
        Settings that differ from the configuration, for the caption.
    output : pathlib.Path or None
        The PNG; by default below ``preview/`` in the results.

    Returns
    -------
    list of Preview, pathlib.Path
        What was found, and the picture.

    Raises
    ------
    InputError, PlateError
        If there is no such field, the method lacks a channel, or the raw plate can't be described.
    StageError
        If the field can't be read or its cells can't be found.
    """
    settings = cast("CellsSettings", project.settings("cells"))
    require_nucleus(settings)
    cellpose = _cellpose(project, settings) if settings.params.method == "cellpose" else None
    previews = [_preview(project, plate, well, field, settings, cellpose) for plate, well in wells]
    name = "_".join(preview.where.replace("/", "_") for preview in previews)
    path = output or project.layout.results / "preview" / f"cells_{name[:150]}.png"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError) as error:
        raise InputError(f"--output {path}: {error.strerror}; give a file in a folder that can be made") from None
    _draw(path, previews, _caption(settings, given, previews))
    return previews, path


def _cellpose(project: Project, settings: CellsSettings) -> Cellpose:
    require_cellpose()
    file = cellpose_file(settings.params.cellpose_model, project=project.layout.project)
    # Imported here: they need torch, and no other method does.
    from lysoquant.cells.by_cellpose import Cellpose, one_thread
    from lysoquant.model.precision import choose_device

    one_thread()
    return Cellpose(file, choose_device(project.config.execution.device))


def _preview(
    project: Project, plate: str, well: str, index: int, settings: CellsSettings, cellpose: Cellpose | None
) -> Preview:
    where = f"{plate}/{well}/{index}"
    try:
        field, origin = _open(project, plate, well, index)
        outlines = None
        if settings.params.method in ("rois", "labels"):
            name = fill_template(settings.params.path, plate=plate, well=well, field=index)
            outlines = project.layout.project / name
        if settings.params.method in METHODS_OF_PIXELS:
            lights = FlatFields.of(
                project=project.layout.project,
                plate=plate,
                shape=field.shape,
                channels=channels_read(settings),
                params=settings.illumination,
            )
            field = EvenField(field, lights)
        found = find_in_field(field, settings, outlines, cellpose)
        picture = _picture(field, settings)
    except FieldError as error:
        raise StageError(f"field {where}: {error}") from error
    return Preview(where, origin, field.pixel_size_um, found, picture)


def _open(project: Project, plate: str, well: str, index: int) -> tuple[FieldImage, str]:
    """The field in the store if convert did it with the present settings, else in the raw plate."""
    layout = project.layout
    settings = cast("ConvertSettings", project.settings("convert", plate))
    record = read_json(layout.well_record(plate, "convert", well))
    if record is None or record.get("parameters") != settings.model_dump(mode="json"):
        return read_field(layout=layout, settings=settings, well=well, index=index), "raw plate"
    reports = record["fields"]
    if index >= len(reports):
        raise InputError(f"plate {plate}, well {well}: no field {index}; its fields are 0 to {len(reports) - 1}")
    if reports[index]["status"] == FAILED:
        raise FieldError("; ".join(reports[index]["reasons"]))
    try:
        return PlateStore.open(layout.plate_store(plate)).field(well, index), "store"
    except PlateError as error:
        raise StageError(f"plate {plate}: {error}") from error


def _picture(field: FieldImage, settings: CellsSettings) -> NDArray[np.uint8]:
    """Boundary signal in grey with the nuclei's channel, where there is one, in blue on top."""
    channels = settings.channels.by_role()
    signal = boundary_signal(channels=[field.read(channels[role]) for role in boundary_roles(settings.params)])
    grey = _stretched(signal)
    blue = _stretched(field.read(channels["nucleus"])) if "nucleus" in channels else np.zeros_like(grey)
    planes = [grey, np.maximum(grey, 0.4 * blue), np.maximum(grey, blue)]
    return np.round(255 * np.stack(planes, axis=-1)).astype(np.uint8)


def _stretched(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Between the 1st and the 99.7th percentile, square root: dim cells are seen beside bright ones."""
    low, high = np.percentile(plane, (1.0, 99.7))
    scaled: NDArray[np.float32] = np.sqrt(np.clip((plane.astype(np.float32) - low) / max(high - low, 1e-6), 0, 1))
    return scaled


def _caption(settings: CellsSettings, given: Sequence[str], previews: Sequence[Preview]) -> str:
    """The doubts, and the settings that made the picture; those that are tried here are marked."""
    tried = {text.partition("=")[0].strip() for text in given}
    used = {f"cells.{key}": value for key, value in settings.params.of_method().items() if value != ""}
    roles = {f"channels.{role}": label for role, label in settings.channels.by_role().items()}
    words = [f"{key}={value}{' (tried)' * (key in tried)}" for key, value in (used | roles).items()]
    told = [f"{preview.where}: {doubt}" for preview in previews for doubt in preview.found.doubts]
    lines = [line for text in [*told, ", ".join(words)] for line in wrap(text, _CAPTION_CHARACTERS)]
    return "\n".join(lines)


def _draw(path: Path, previews: Sequence[Preview], caption: str) -> None:
    """A row a field: the image, and the image with outlines and numbers."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [_scaled(preview) for preview in previews]
    panel_in = _PANEL_PX / _DPI
    width = 2 * panel_in + 3 * _MARGIN_IN
    text_in = _LINE_IN * (caption.count("\n") + 1) + 2 * _MARGIN_IN
    height = text_in + sum(picture.shape[0] / _DPI + _TITLE_IN for picture, _, _ in rows)
    figure = Figure(figsize=(width, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    figure.text(_MARGIN_IN / width, _MARGIN_IN / height, caption, fontsize=9, va="bottom", family="monospace")
    top = height
    for preview, (picture, cells, nuclei) in zip(previews, rows, strict=True):
        rows_in, columns_in = (n / _DPI for n in picture.shape[:2])
        top -= rows_in + _TITLE_IN
        for number, drawn in enumerate((picture, _outlined(picture, cells, nuclei))):
            left = _MARGIN_IN + number * (panel_in + _MARGIN_IN)
            axes = figure.add_axes((left / width, top / height, columns_in / width, rows_in / height))
            axes.set_axis_off()
            axes.imshow(drawn, interpolation="none")
            if number:
                _number(axes, cells)
            else:
                axes.set_title(preview.line, fontsize=10, loc="left")
    figure.savefig(path, format="png", metadata={"Software": None})


def _scaled(preview: Preview) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any] | None]:
    """Picture and label images at the panel's size."""
    longest = max(preview.picture.shape[:2])
    size = [max(1, round(n * _PANEL_PX / longest)) for n in preview.picture.shape[:2]]
    rows, columns = (
        np.minimum((np.arange(new) + 0.5) * old / new, old - 1).astype(int)
        for new, old in zip(size, preview.picture.shape[:2], strict=True)
    )
    take = np.ix_(rows, columns)
    nuclei = preview.found.nuclei
    return preview.picture[take], preview.found.cells[take], None if nuclei is None else nuclei[take]


def _outlined(picture: NDArray[np.uint8], cells: NDArray[Any], nuclei: NDArray[Any] | None) -> NDArray[np.uint8]:
    from skimage.segmentation import find_boundaries

    drawn = picture.copy()
    for labels, colour in ((nuclei, _NUCLEUS_COLOUR), (cells, _CELL_COLOUR)):
        if labels is not None:
            drawn[find_boundaries(labels, mode="inner")] = colour  # type: ignore[no-untyped-call]
    return drawn


def _number(axes: Axes, cells: NDArray[Any]) -> None:
    """Each cell's number, as in the tables, at its centroid."""
    from matplotlib.patheffects import withStroke
    from scipy import ndimage

    numbers = np.unique(cells[cells > 0])
    centroids = np.reshape(ndimage.center_of_mass(cells > 0, cells, numbers), (-1, 2))
    effects = [withStroke(linewidth=2, foreground="black")]
    for number, (y, x) in zip(numbers, centroids.tolist(), strict=True):
        axes.text(x, y, str(number), color="white", fontsize=9, ha="center", va="center", path_effects=effects)


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
