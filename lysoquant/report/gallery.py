"""The montage: chosen cells, their pixels, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from lysoquant.errors import FieldError, LysoquantError, StageError
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.layout import Layout
from lysoquant.report import choice, montage
from lysoquant.report.content import MANY_CONDITIONS, NO_CONDITION, Tables, condition_order, counted
from lysoquant.report.measures import title
from lysoquant.report.page import Montage, Picture, PictureGroup
from lysoquant.report.params import ReportSettings
from lysoquant.report.picture import jpeg_bytes
from lysoquant.report.screen import hit_conditions
from lysoquant.report.sources import compared_cells
from lysoquant.report.wording import fraction
from lysoquant.vocabulary import CELLS, ENDOLYSOSOMES

_PAIR_BYTES: Final = 100_000
"""About what the two panels of a cell take in the page."""

_MOST: Final = 96
"""Cells in one montage: nobody looks at more."""


@dataclass(frozen=True)
class _Chosen:
    """Cells of one condition and what is said of each."""

    name: str
    median: float
    is_hit: bool
    rows: Sequence[int]
    kinds: Sequence[str]
    notes: Sequence[str]


def make(layout: Layout, tables: Tables, settings: ReportSettings) -> Montage:
    """Pictures of typical and strange cells of every condition, hits first, as many as a page can carry."""
    params = settings.params
    wanted = params.montage_cells + params.strange_cells
    if not wanted:
        return Montage((), absence="report.montage_cells and report.strange_cells are 0")
    hits = hit_conditions(tables.hits, tables.wells)
    all_conditions = condition_order(tables.wells)
    conditions = _order(all_conditions, hits)
    room = choice.room_for_montage(params.max_mb * 1e6, n_fields=len(tables.fields))
    n_shown, typical, strange = choice.shares(
        min(_MOST, int(room / _PAIR_BYTES)), len(conditions), typical=params.montage_cells, strange=params.strange_cells
    )
    shown = conditions[:n_shown]
    chosen = _choose(layout, tables, shown, typical, strange, hits)
    if not any(found.rows for found in chosen):
        return Montage((), absence="no cell has an endolysosome")
    cells = tables.cells.iloc[sorted({row for found in chosen for row in found.rows})]
    regions = _regions(layout, cells)
    stores: dict[str, PlateStore] = {}
    groups = [
        PictureGroup(
            name=found.name or NO_CONDITION,
            median=fraction(found.median),
            is_hit=found.is_hit,
            pictures=[
                _picture(layout, tables.cells.iloc[row].to_dict(), regions, stores, settings, kind=kind, note=note)
                for row, kind, note in zip(found.rows, found.kinds, found.notes, strict=True)
            ],
        )
        for found in chosen
        if found.rows
    ]
    return Montage(groups, note=_note(all_conditions, shown, chosen, asked=wanted, given=typical + strange))


def _order(conditions: Sequence[str], hits: Sequence[str]) -> list[str]:
    """Hits by rank, then the others as they were; of many conditions the first :data:`MANY_CONDITIONS`, or all hits."""
    first = [name for name in hits if name in conditions]
    return (first + [name for name in conditions if name not in first])[: max(MANY_CONDITIONS, len(first))]


def _note(conditions: Sequence[str], shown: Sequence[str], chosen: Sequence[_Chosen], *, asked: int, given: int) -> str:
    without = [found.name or NO_CONDITION for found in chosen if not found.rows]
    said = [f"No endolysosome, so no picture: {', '.join(without)}."] if without else []
    if given < asked:
        said.append(f"{given} instead of {asked} cells a condition, to keep the page small.")
    if len(conditions) > len(shown):
        said.append(
            f"Of {len(conditions)} conditions {len(shown)} are pictured: hits, controls, then those of high occupancy."
        )
    return " ".join(said)


def _choose(
    layout: Layout, tables: Tables, conditions: Sequence[str], typical: int, strange: int, hits: Sequence[str]
) -> list[_Chosen]:
    """Rows of the cell table by condition: the typical cells, then the strange ones."""
    cells = tables.cells
    keys = tables.wells[["plate", "well", "condition"]]
    of = cells[["plate", "well"]].merge(keys, on=["plate", "well"], how="left")["condition"].to_numpy()
    usable = counted(cells) & cells["occupancy"].notna().to_numpy()
    columns, values = compared_cells(layout) if strange else ([], np.empty((len(cells), 0), dtype=np.float32))
    place = [(str(row.plate), str(row.well), row.field, row.cell) for row in cells.itertuples()]
    found = []
    for name in conditions:
        rows = sorted(np.flatnonzero(usable & (of == name)).tolist(), key=place.__getitem__)
        own = cells.iloc[rows]
        border = own["touches_border"].fillna(False).to_numpy(dtype=np.bool_)
        first = montage.choose_cells(
            occupancy=own["occupancy"].to_numpy(dtype=np.float64),
            n_endolysosomes=own["n_endolysosomes"].to_numpy(dtype=np.int64),
            touches_border=border,
            count=typical,
        )
        others = choice.choose_strange(
            values[rows].astype(np.float64), touches_border=border, count=strange, taken=first
        )
        found.append(
            _Chosen(
                name=name,
                median=float(own["occupancy"].median()),
                is_hit=name in hits,
                rows=[rows[index] for index in [*first, *(each.index for each in others)]],
                kinds=["typical"] * len(first) + ["strange"] * len(others),
                notes=[""] * len(first) + [_strangeness(each, columns) for each in others],
            )
        )
    return found


def _strangeness(cell: choice.Strange, columns: Sequence[str]) -> str:
    sign = "above" if cell.deviation > 0 else "below"
    return (
        f"{cell.distance:.1f} robust SD from its condition; most in {title(columns[cell.column])}, "
        f"{abs(cell.deviation):.1f} {sign} the median"
    )


def _regions(layout: Layout, cells: pd.DataFrame) -> pd.DataFrame:
    """Endolysosomes of the chosen cells; the rest of what may be a very long table is not brought to memory."""
    keys = ["plate", "well", "field", "cell"]
    filters = [(key, "in", sorted(cells[key].unique().tolist())) for key in keys]
    path = layout.tables / "endolysosomes.parquet"
    try:
        table = pq.read_table(path, columns=[*keys, "label", "is_loaded"], filters=filters, partitioning=None)
    except (OSError, ValueError) as error:
        raise StageError(f"table {path} can't be read ({error}); delete it and run aggregate again") from error
    found: pd.DataFrame = table.to_pandas()
    return found


def _picture(
    layout: Layout,
    row: dict[Any, Any],
    regions: pd.DataFrame,
    stores: dict[str, PlateStore],
    settings: ReportSettings,
    *,
    kind: str,
    note: str,
) -> Picture:
    plate, well, field, cell = str(row["plate"]), str(row["well"]), int(row["field"]), int(row["cell"])
    own = regions.merge(pd.DataFrame({"plate": [plate], "well": [well], "field": [field], "cell": [cell]}))
    classes = {
        int(label): montage.class_of(is_loaded=bool(loaded))
        for label, loaded in zip(own["label"], own["is_loaded"], strict=True)
    }
    caption = f"{plate} {well}, field {field}, cell {cell}"
    shares = f"{int(row['n_loaded'])} of {int(row['n_endolysosomes'])} loaded"
    numbers = f"occupancy {fraction(float(row['occupancy']))} ({shares})"
    notes = [note] * bool(note) + ["touches the border of its field"] * bool(row["touches_border"])
    plain = outlined = b""
    try:
        store = stores.setdefault(plate, PlateStore.open(layout.plate_store(plate)))
        panels = _panels(store.field(well, field), cell=cell, classes=classes, settings=settings)
        plain, outlined = (jpeg_bytes(panel) for panel in panels)
    except (LysoquantError, OSError) as error:
        notes.append(f"no picture: {error}")
    return Picture(caption, numbers, plain, outlined, note="; ".join(notes), kind=kind, key=f"{plate}:{well}")


def _panels(
    field: FieldStore, *, cell: int, classes: Mapping[int, int], settings: ReportSettings
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    pixel_size_um, crop_um = field.pixel_size_um, settings.params.crop_um
    if math.isnan(pixel_size_um):
        raise FieldError(f"field {field.name} has no pixel size; give pixel_size_um in plates.tsv")
    labels = field.read_label(ENDOLYSOSOMES)
    crop_px = max(2, round(crop_um / pixel_size_um))
    origin = montage.crop_origin(np.isin(labels, list(classes)), crop_px=crop_px)

    def crop(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return montage.crop(image, origin=origin, crop_px=crop_px)

    return montage.panels(
        cargo=crop(field.read(settings.channels.cargo)),
        lysosome=crop(field.read(settings.channels.lysosome)),
        cell=crop(field.read_label(CELLS) == cell),
        labels=crop(labels),
        classes=classes,
        scale_bar_px=montage.scale_bar_um(crop_um) / pixel_size_um,
    )
