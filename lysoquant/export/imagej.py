"""Outlines, images and the two result tables of the LysoQuant plugin, to lay old and new side by side in Fiji."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as connected_parts

from lysoquant.channels import Channels
from lysoquant.errors import FieldError, StageError
from lysoquant.export.colours import RGB, channel_colours
from lysoquant.export.plugin_tables import (
    RESULTS_COLUMNS,
    SUMMARY_COLUMNS,
    FieldImage,
    cargoes_of,
    cell_name,
    needed_columns,
    results_table,
    summary_table,
)
from lysoquant.export.source import new_folder
from lysoquant.io.outlines import NewOutline, write_outlines
from lysoquant.io.stacks import write_stack
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.io.tables import read_parquet
from lysoquant.layout import Layout
from lysoquant.measure.shape import traced_outlines
from lysoquant.progress import Progress
from lysoquant.record import require_wells, whole_or_not_at_all
from lysoquant.vocabulary import CELLS, CLASS_COLOURS, ENDOLYSOSOMES, FAILED

RESULTS: Final = "Results.csv"
SUMMARY: Final = "LysoQuant.csv"
"""The plugin's two windows: single endolysosomes, and counts a cell."""

_CELL_COLOUR: Final = (255, 255, 0)
_ONE_RUN: Final = "run `lysoquant run PROJECT` first, so that all are of one run"

README: Final = """Outlines and tables for ImageJ and Fiji
=======================================

PLATE/WELL_fFIELD_endolysosomes.zip   outlines, named CELL-LABEL-CLASS; empty cyan, loaded magenta
PLATE/WELL_fFIELD_endolysosomes_cN.zip  the same by the classes of another cargo, channel N
PLATE/WELL_fFIELD_cells.zip           outlines of the cells, named cell-CELL
PLATE/WELL_fFIELD.tif                 the field's channels (with --images)
PLATE/Results.csv                     one row an endolysosome and channel, as LysoQuant's window "Results"
PLATE/LysoQuant.csv                   one row a cell, as LysoQuant's window "LysoQuant"

In Fiji: open the image, drag a zip onto Fiji's window (a field without objects has none), tick "Show All"
in the ROI Manager; "Measure" gives the numbers of Results.csv. File > Import > Results... opens the tables. Lengths
are in um.
"""


@dataclass(frozen=True)
class ImageJExport:
    """What was written.

    Attributes
    ----------
    n_fields, n_cells, n_endolysosomes : int
        Fields with outlines, and what they hold.
    notes : tuple of str
        Fields without outlines and why, one line each.
    """

    n_fields: int
    n_cells: int
    n_endolysosomes: int
    notes: tuple[str, ...]


def region_outlines(labels: NDArray[np.integer]) -> dict[int, list[NDArray[np.int64]]]:
    """Outlines of all regions of a label image along pixel edges, such that ImageJ measures what measure did.

    Parameters
    ----------
    labels : ndarray (Y, X), integer
        0 is background; regions may touch.

    Returns
    -------
    dict of int to list of ndarray (n, 2), int64
        Rings of corners (x, y) by label. One ring for an 8-connected region without holes; else one a part,
        clockwise, and one a hole, the other way round.
    """
    parts = connected_parts(labels, background=0, connectivity=2)  # type: ignore[no-untyped-call]
    boxes = ndimage.find_objects(parts)
    rings: dict[int, list[NDArray[np.int64]]] = {}
    for number, (ring, box) in enumerate(zip(traced_outlines(parts), boxes, strict=True), start=1):
        mask = parts[box] == number
        y, x = np.argwhere(mask)[0]
        found = rings.setdefault(int(labels[box][y, x]), [])
        found.append(ring)
        if _enclosed_area(ring) > mask.sum():
            corner = np.array([box[1].start, box[0].start])
            found += [hole[::-1] + corner for hole in traced_outlines(_holes(mask))]
    return rings


def _enclosed_area(ring: NDArray[np.int64]) -> float:
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _holes(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    filled = ndimage.binary_fill_holes(mask)
    # Holes that touch at corners only are two: what lies between them belongs to an 8-connected region.
    return np.asarray(ndimage.label(filled & ~mask)[0], np.int32)


def export_imagej(
    layout: Layout,
    output: Path,
    *,
    wells: Mapping[str, Sequence[str]],
    channels: Channels,
    images: bool = False,
) -> ImageJExport:
    """Write outlines and the plugin's tables of measured wells.

    Parameters
    ----------
    layout : Layout
        Paths of the project.
    output : pathlib.Path
        A folder that is not there yet or is empty; gets a folder a plate.
    wells : mapping of str to sequence of str
        Wells by plate.
    channels : Channels
        Which channels are lysosome and cargo.
    images : bool
        Whether to write the fields' pixels too.

    Raises
    ------
    InputError
        If the folder is not empty.
    StageError
        If a well was not measured, or its tables or label images can't be read.
    """
    for plate, names in wells.items():
        require_wells(layout, plate, "measure", names)
    new_folder(output)
    writers = [
        _PlateExport(layout=layout, plate=plate, folder=output / plate, channels=channels, images=images)
        for plate in wells
    ]
    with Progress("export imagej", total=sum(len(names) for names in wells.values())) as progress:
        for writer in writers:
            writer.write(wells[writer.plate], progress)
    (output / "README.txt").write_text(README, encoding="utf-8")
    return ImageJExport(
        n_fields=sum(writer.n_fields for writer in writers),
        n_cells=sum(writer.n_cells for writer in writers),
        n_endolysosomes=sum(writer.n_endolysosomes for writer in writers),
        notes=tuple(note for writer in writers for note in writer.notes),
    )


class _PlateExport:
    """One plate on its way out; the tables grow well by well."""

    def __init__(self, *, layout: Layout, plate: str, folder: Path, channels: Channels, images: bool) -> None:
        self.plate = plate
        self._layout, self._folder, self._channels, self._images = layout, folder, channels, images
        self._store = PlateStore.open(layout.plate_store(plate))
        self.n_fields = self.n_cells = self.n_endolysosomes = 0
        self.notes: list[str] = []

    def write(self, wells: Sequence[str], progress: Progress) -> None:
        """Write the plate's folder: tables whole or not at all."""
        self._folder.mkdir()
        with ExitStack() as stack:
            handles = []
            for name, columns in ((RESULTS, RESULTS_COLUMNS), (SUMMARY, SUMMARY_COLUMNS)):
                partial = stack.enter_context(whole_or_not_at_all(self._folder / name))
                handle = stack.enter_context(partial.open("w", encoding="utf-8", newline=""))
                pd.DataFrame(columns=list(columns)).to_csv(handle, index=False, lineterminator="\n")
                handles.append(handle)
            for well in wells:
                for frames in self._well(well):
                    for handle, frame in zip(handles, frames, strict=True):
                        frame.to_csv(handle, index=False, header=False, lineterminator="\n", float_format="%.10g")
                progress.advance(note=f"{self.plate} {well}")

    def _well(self, well: str) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
        tables = self._layout.well_tables(self.plate, well)
        fields, cells, regions = (
            read_parquet(tables / f"{name}.parquet") for name in ("fields", "cells", "endolysosomes")
        )
        frames: list[tuple[pd.DataFrame, pd.DataFrame]] = []
        for index, status, reason in zip(fields["field"], fields["status"], fields["reason"], strict=True):
            if status == FAILED:
                self.notes.append(f"{self.plate} {well}/{index}: {reason}")
                continue
            field = self._store.field(well, int(index))
            own_cells, own_regions = cells[cells["field"] == index], regions[regions["field"] == index]
            try:
                self._check(field, own_regions)
                self._field(field, f"{well}_f{index}", own_cells, own_regions)
            except FieldError as error:
                raise StageError(f"plate {self.plate}: {error}") from error
            frames += self._frames(f"{well}_f{index}", field, own_cells, own_regions)
            self.n_fields += 1
            self.n_cells += len(own_cells)
            self.n_endolysosomes += len(own_regions)
        return frames

    def _check(self, field: FieldStore, regions: pd.DataFrame) -> None:
        wanted = needed_columns(self._channels, field.channels)
        absent = [column for column in wanted if column not in regions]
        absent += [label for label in (self._channels.lysosome, *self._channels.cargoes) if label not in field.channels]
        if absent:
            raise FieldError(
                f"field {field.name}: its tables or its image have no {', '.join(dict.fromkeys(absent))}; {_ONE_RUN}"
            )

    def _field(self, field: FieldStore, name: str, cells: pd.DataFrame, regions: pd.DataFrame) -> None:
        rings = {what: region_outlines(field.read_label(what)) for what in (CELLS, ENDOLYSOSOMES)}
        missing = set(regions["label"]) - set(rings[ENDOLYSOSOMES]) | set(cells["cell"]) - set(rings[CELLS])
        if missing:
            raise FieldError(
                f"field {field.name}: its label images lack {len(missing)} objects of its tables; {_ONE_RUN}"
            )
        outlines = {CELLS: [_outline(cell_name(cell), rings[CELLS][cell], _CELL_COLOUR) for cell in cells["cell"]]}
        for cargo in cargoes_of(self._channels):
            more = f"_c{field.channels.index(cargo.channel) + 1}" if cargo.suffix else ""
            keys = zip(cargo.names(regions), regions["label"], cargo.classes(regions), strict=True)
            outlines[f"{ENDOLYSOSOMES}{more}"] = [
                _outline(own, rings[ENDOLYSOSOMES][label], CLASS_COLOURS[kind]) for own, label, kind in keys
            ]
        for what, found in outlines.items():
            # ImageJ calls a zip without outlines damaged.
            if found:
                write_outlines(self._folder / f"{name}_{what}.zip", found)
        if self._images:
            planes = np.stack([field.read(channel) for channel in field.channels])
            write_stack(
                self._folder / f"{name}.tif",
                planes,
                channels=field.channels,
                pixel_size_um=field.pixel_size_um,
                colours=[RGB[colour] for colour in channel_colours(field.channels, self._channels)],
            )

    def _frames(
        self, name: str, field: FieldStore, cells: pd.DataFrame, regions: pd.DataFrame
    ) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        image = FieldImage(f"{name}.tif", field.channels, self._channels.lysosome, field.pixel_size_um)
        for cargo in cargoes_of(self._channels):
            yield results_table(regions, cargo, image), summary_table(cells, regions, cargo, image)


def _outline(name: str, rings: Sequence[NDArray[np.int64]], colour: tuple[int, int, int]) -> NewOutline:
    return NewOutline(name=name, rings=rings, colour=colour, is_traced=True)
