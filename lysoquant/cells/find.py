"""The cells of one field, by the method of the settings; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from lysoquant.cells.labels import median_diameter_um
from lysoquant.cells.nuclei import find_nuclei
from lysoquant.cells.params import METHODS_OF_PIXELS, CellsParams, CellsSettings
from lysoquant.cells.watershed import boundary_signal, find_cells
from lysoquant.errors import FieldError, InputError
from lysoquant.illumination.flat_field import FieldImage
from lysoquant.io.rois import read_cell_rois, read_label_image

if TYPE_CHECKING:
    from lysoquant.cells.by_cellpose import Cellpose

Labels = npt.NDArray[np.uint32]

_NO_CELLS: Final = {
    "watershed": "no nucleus with a cell around it stands out; look at the nucleus channel and at "
    "`cells.nucleus_diameter_um`, `cells.min_nucleus_area_um2` and `cells.min_cell_area_um2`",
    "cellpose": "the model sees none; look at the channels, at `cells.cellpose_diameter_um`, "
    "`cells.cellpose_cellprob_threshold` and `cells.min_cell_area_um2`, or try another model",
    "rois": "no ROI encloses a pixel of the image; draw the ROIs on this field at full size",
    "labels": "the label image is all background; check the file",
    "field": "the field has no pixels; convert it again",
}


@dataclass(frozen=True)
class Found:
    """What was found in a field.

    Attributes
    ----------
    cells : (Y, X) array of uint32
        0 background, else the cell's number.
    nuclei : (Y, X) array of uint32 or None
        Label image of the nuclei that the cells were grown from; None where the method knows no nuclei.
    doubts : list of str
        Why a person should look at the field.
    """

    cells: Labels
    nuclei: Labels | None
    doubts: list[str]

    @property
    def n_cells(self) -> int:
        return len(np.unique(self.cells[self.cells > 0]))


def require_nucleus(settings: CellsSettings) -> None:
    """Refuse a method that needs nuclei where no channel shows them.

    Raises
    ------
    InputError
        With the other methods.
    """
    if settings.params.method == "watershed" and settings.channels.nucleus is None:
        raise InputError(
            "cells.method 'watershed' needs a nucleus channel and channels.nucleus is empty; name the channel, or set "
            "cells.method to 'cellpose' (if installed), 'rois' (ImageJ ROIs), 'labels' (label images) or 'field' (the "
            "field is one cell)"
        )


def boundary_roles(params: CellsParams) -> tuple[str, ...]:
    """Roles of the channels whose signal bounds the cells."""
    return ("lysosome", "cargo") if params.boundary == "both" else (params.boundary,)


def channels_read(settings: CellsSettings) -> list[str]:
    """Labels of the channels that the method reads."""
    params, labels = settings.params, settings.channels.by_role()
    if params.method not in METHODS_OF_PIXELS:
        return []
    with_nucleus = params.method == "watershed" or params.cellpose_nucleus
    roles = ("nucleus", *boundary_roles(params)) if with_nucleus else boundary_roles(params)
    return [labels[role] for role in roles if role in labels]


def find_in_field(field: FieldImage, settings: CellsSettings, path: Path | None, cellpose: Cellpose | None) -> Found:
    """Find the cells of a field.

    Parameters
    ----------
    field : FieldImage
        The field.
    settings : CellsSettings
        Method, its parameters and channel roles.
    path : pathlib.Path or None
        The field's outline file, for the methods ``rois`` and ``labels``.
    cellpose : Cellpose or None
        The model, for the method ``cellpose``.

    Raises
    ------
    FieldError
        If the outline file, a channel or the pixel size is not there, or can't be used.
    """
    nuclei: Labels | None = None
    if settings.params.method in METHODS_OF_PIXELS and not field.pixel_size_um > 0:
        raise FieldError(f"field {field.name} has no pixel size; give `pixel_size_um` in plates.tsv and convert again")
    if path is not None:
        if not path.is_file():
            raise FieldError(
                f"no cell outlines at {path}; put the file there, correct cells.path or choose another cells.method"
            )
        read = read_cell_rois if settings.params.method == "rois" else read_label_image
        cells, doubts = read(path, shape=field.shape)
    elif settings.params.method == "field":
        cells, doubts = np.ones(field.shape, np.uint32), []
    elif cellpose is not None:
        cells, doubts = _by_cellpose(cellpose, field, settings), []
    else:
        nuclei, cells, doubts = _watershed(field, settings)
    found = Found(cells, nuclei, list(doubts))
    if not found.n_cells:
        found.doubts.append(f"no cells found: {_NO_CELLS[settings.params.method]}")
    return found


def _watershed(field: FieldImage, settings: CellsSettings) -> tuple[Labels, Labels, list[str]]:
    params, channels = settings.params, settings.channels.by_role()
    pixel_size_um = field.pixel_size_um
    nuclei = find_nuclei(
        field.read(channels["nucleus"]),
        pixel_size_um=pixel_size_um,
        diameter_um=params.nucleus_diameter_um,
        min_area_um2=params.min_nucleus_area_um2,
    )
    cells = find_cells(
        nuclei,
        _boundary(field, settings),
        pixel_size_um=pixel_size_um,
        min_cell_area_um2=params.min_cell_area_um2,
        max_radius_um=params.max_radius_um,
        nucleus_diameter_um=params.nucleus_diameter_um,
        beyond_border=params.beyond_border,
        without_nucleus=params.without_nucleus,
        one_cells_nuclei_um=params.one_cells_nuclei_um,
    )
    return nuclei, cells, [*_doubts(nuclei, params, pixel_size_um), *_doubts_of_cells(cells, nuclei)]


def _by_cellpose(cellpose: Cellpose, field: FieldImage, settings: CellsSettings) -> Labels:
    params, nucleus = settings.params, settings.channels.nucleus
    return cellpose.find_cells(
        _boundary(field, settings),
        field.read(nucleus) if params.cellpose_nucleus and nucleus is not None else None,
        pixel_size_um=field.pixel_size_um,
        diameter_um=params.cellpose_diameter_um,
        min_cell_area_um2=params.min_cell_area_um2,
        cellprob_threshold=params.cellpose_cellprob_threshold,
        flow_threshold=params.cellpose_flow_threshold,
    )


def _boundary(field: FieldImage, settings: CellsSettings) -> npt.NDArray[np.float32]:
    channels = settings.channels.by_role()
    return boundary_signal(channels=[field.read(channels[role]) for role in boundary_roles(settings.params)])


def _doubts(nuclei: Labels, params: CellsParams, pixel_size_um: float) -> list[str]:
    """Nuclei of an unlikely size are the one sign within an image that its pixel size is wrong."""
    diameter_um = median_diameter_um(nuclei, pixel_size_um=pixel_size_um)
    ratio = diameter_um / params.nucleus_diameter_um
    if not (ratio > params.nucleus_diameter_factor or ratio < 1 / params.nucleus_diameter_factor):
        return []
    return [
        f"nuclei have a median diameter of {diameter_um:.1f} um, cells.nucleus_diameter_um says "
        f"{params.nucleus_diameter_um:g}: the pixel size of {pixel_size_um:.4g} um may be wrong; if so set "
        "pixel_size_um in plates.tsv, else correct cells.nucleus_diameter_um"
    ]


def _doubts_of_cells(cells: Labels, nuclei: Labels) -> list[str]:
    """Where more cells inside the image have no nucleus than have one, nuclei are missed or these are no cells."""
    with_nucleus = np.unique(cells[(nuclei > 0) & (cells > 0)])
    edges = (cells[0], cells[-1], cells[:, 0], cells[:, -1])
    without = np.setdiff1d(cells[cells > 0], np.concatenate([with_nucleus, *edges]))
    if without.size <= with_nucleus.size:
        return []
    return [
        f"{without.size} cells that lie inside the image have no nucleus, {with_nucleus.size} have one: look at the "
        "nucleus channel and at a preview; if they are no cells set cells.without_nucleus: false"
    ]
