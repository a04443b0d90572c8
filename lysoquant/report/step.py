"""report: tables, pixels and records in, one HTML file out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from lysoquant.errors import FieldError, LysoquantError, StageError
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.io.tables import read_parquet
from lysoquant.layout import Layout
from lysoquant.record import Json, digest_file, read_json, run_project, write_text_atomic
from lysoquant.report import montage
from lysoquant.report.content import NO_CONDITION, Tables, condition_order, counted, tidy
from lysoquant.report.heatmap import plate_format
from lysoquant.report.inputs import Records, report_inputs, well_records
from lysoquant.report.page import Montage, Picture, PictureGroup, Provenance, render
from lysoquant.report.params import ReportSettings
from lysoquant.report.wording import fraction
from lysoquant.vocabulary import BATCH_STAGES, CELLS, ENDOLYSOSOMES, well_order

_STAGE: Final = "report"

_MAX_PICTURES: Final = 96
"""Cells in one montage: a page of them has about 40 MB."""

_CELL_COLUMNS: Final = (
    "plate",
    "well",
    "field",
    "cell",
    "touches_border",
    "is_expressing",
    "n_endolysosomes",
    "n_loaded",
    "occupancy",
)
"""What the report shows of a cell: of the table's many columns only these are brought to memory."""


def run(*, layout: Layout, plates: Mapping[str, Sequence[str]], settings: ReportSettings, record: Path) -> Json:
    """Write the report of a project to ``layout.report``.

    Returns at once when neither the tables, the pixels, the settings nor the code changed.

    Parameters
    ----------
    layout : Layout
        Paths of the project; aggregate has left its tables and its record.
    plates : mapping of str to sequence of str
        Measured wells by plate, in any order.
    settings : ReportSettings
        Everything else that the report depends on.
    record : pathlib.Path
        Where to leave the record.

    Returns
    -------
    dict
        The record.

    Raises
    ------
    StageError
        If aggregate has not been run or one of its tables can't be read.
    """
    wells = {plate: sorted(set(plates[plate]), key=well_order) for plate in sorted(plates)}
    records = well_records(layout, wells)
    aggregated = _aggregate_record(layout)

    def work() -> Json:
        tables = _read_tables(layout)
        pictures = _montage(layout, tables, settings)
        html = render(
            tables=tables,
            plate_sizes=_plate_sizes(layout, tables.wells),
            pictures=pictures,
            provenance=_provenance(records, aggregated),
            settings=settings,
        )
        write_text_atomic(layout.report, html)
        return {
            "digest": digest_file(layout.report),
            "read": [layout.relative(layout.tables), *(layout.relative(layout.plate_store(plate)) for plate in wells)],
            "wrote": [layout.relative(layout.report)],
            "counts": {"wells": len(tables.wells), "pictures": sum(len(group.pictures) for group in pictures.groups)},
        }

    return run_project(
        stage=_STAGE,
        layout=layout,
        parameters=settings.model_dump(mode="json"),
        inputs=report_inputs(records, aggregated),
        work=work,
        record=record,
    )


def _aggregate_record(layout: Layout) -> Json:
    found = read_json(layout.project_work_record("aggregate"))
    if found is None:
        raise StageError("report: there is no record of aggregate; run `lysoquant aggregate PROJECT` first")
    return found


def _provenance(records: Records, aggregated: Json) -> Provenance:
    flat = [
        (stage, record)
        for by_stage in records.values()
        for stage, by_well in by_stage.items()
        for record in by_well.values()
    ]
    seconds = []
    for stage in BATCH_STAGES:
        spent = [float(record.get("seconds", 0.0)) for name, record in flat if name == stage]
        seconds += [(stage, len(spent), math.fsum(spent))] if spent else []
    seconds += [("aggregate", int(aggregated.get("counts", {}).get("wells", 0)), float(aggregated.get("seconds", 0.0)))]
    return Provenance(
        versions=_versions([*(record for _, record in flat), aggregated]),
        seconds=seconds,
        models=_models([record for stage, record in flat if stage == "segment"]),
    )


def _versions(records: Sequence[Json]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in record.get("versions", {}).items():
            found.setdefault(str(name), set()).add(str(version))
    first = [name for name in ("lysoquant", "python") if name in found]
    return {name: sorted(found[name]) for name in [*first, *sorted(found.keys() - set(first))]}


def _models(records: Sequence[Json]) -> list[dict[str, Any]]:
    """Every model that segment used, by its digest, with what its records say of it."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        sha256 = record.get("model_sha256")
        if sha256:
            said = record.get("model")
            model = dict(said) if isinstance(said, Mapping) else {}
            card = model.pop("card", {})
            name = model.pop("name", card.get("name") if isinstance(card, Mapping) else None)
            details = {**model, **(card if isinstance(card, Mapping) else {})}
            found[str(sha256)] = (
                {"name": name}
                | {"sha256": str(sha256)}
                | {key: value for key, value in details.items() if key not in ("name", "sha256")}
            )
    return [found[sha256] for sha256 in sorted(found)]


def _read_tables(layout: Layout) -> Tables:
    wells, cells, fields = (
        tidy(read_parquet(layout.tables / f"{name}.parquet", columns=columns))
        for name, columns in (("wells", None), ("cells", _CELL_COLUMNS), ("fields", None))
    )
    return Tables(
        wells=wells.iloc[_reading_order(wells)].reset_index(drop=True),
        cells=cells,
        fields=fields,
        conditions=_read_csv(layout.tables / "conditions.csv"),
        statistics=_read_csv(layout.tables / "statistics.csv"),
    )


def _reading_order(wells: pd.DataFrame) -> list[int]:
    keys = [(plate, well_order(well)) for plate, well in zip(wells["plate"], wells["well"], strict=True)]
    return sorted(range(len(keys)), key=keys.__getitem__)


def _read_csv(path: Path) -> pd.DataFrame:
    """A table of conditions, empty where there is none."""
    text = dict.fromkeys(("condition", "control", "reference", "test"), str)
    try:
        # A condition may be called "NA" or "nan": text stays as it was written.
        frame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values={}, encoding="utf-8")
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        raise StageError(f"table {path} can't be read ({error}); delete it and run aggregate again") from error
    for name in frame.columns.difference(list(text)):
        numbers = pd.to_numeric(frame[name].replace({"": "NaN"}), errors="coerce")
        if numbers.isna().sum() == frame[name].isin(["", "NaN"]).sum():
            frame[name] = numbers
    return frame


def _plate_sizes(layout: Layout, wells: pd.DataFrame) -> dict[str, tuple[int, int]]:
    return {
        str(plate): _plate_size(layout, str(plate), list(group["well"]))
        for plate, group in wells.groupby("plate", sort=True)
    }


def _plate_size(layout: Layout, plate: str, wells: list[str]) -> tuple[int, int]:
    """Size of a plate by its store; without a store, and for wells outside it, by the wells' names."""
    try:
        rows, columns = PlateStore.open(layout.plate_store(plate)).size
    except LysoquantError:
        return plate_format(wells)
    places = [well_order(well) for well in wells]
    fits = all(row < rows and column <= columns for row, column in places)
    return (rows, columns) if fits else plate_format(wells)


@dataclass(frozen=True)
class _Chosen:
    """Typical cells of one condition."""

    name: str
    median: float
    cells: pd.DataFrame


def _montage(layout: Layout, tables: Tables, settings: ReportSettings) -> Montage:
    """Pictures of typical cells of every condition, as many as a page can carry."""
    wanted = settings.params.montage_cells
    if not wanted:
        return Montage((), absence="report.montage_cells is 0")
    conditions = condition_order(tables.wells)
    each = max(1, min(wanted, _MAX_PICTURES // max(len(conditions), 1)))
    shown = conditions[:_MAX_PICTURES]
    chosen = [found for name in shown if len((found := _choose(tables, name, each)).cells)]
    if not chosen:
        return Montage((), absence="no cell has an endolysosome")
    regions = _regions(layout, pd.concat([found.cells for found in chosen]))
    stores: dict[str, PlateStore] = {}
    groups = [
        PictureGroup(
            name=found.name or NO_CONDITION,
            median=fraction(found.median),
            pictures=[_picture(layout, row, regions, stores, settings) for row in found.cells.to_dict("records")],
        )
        for found in chosen
    ]
    return Montage(groups, note=_montage_note(conditions, shown, chosen, each=each, wanted=wanted))


def _montage_note(
    conditions: Sequence[str], shown: Sequence[str], chosen: Sequence[_Chosen], *, each: int, wanted: int
) -> str:
    names = {found.name for found in chosen}
    without = [name or NO_CONDITION for name in shown if name not in names]
    said = [f"No endolysosome, so no picture: {', '.join(without)}."] if without else []
    if each < wanted:
        said.append(f"{each} instead of {wanted} cells a condition, to keep the page small.")
    if len(conditions) > len(shown):
        said.append(f"Of {len(conditions)} conditions the first {len(shown)} are pictured.")
    return " ".join(said)


def _choose(tables: Tables, condition: str, n: int) -> _Chosen:
    wells = tables.wells.loc[tables.wells["condition"] == condition, ["plate", "well"]]
    cells = tables.cells.merge(wells, on=["plate", "well"])
    cells = cells[counted(cells) & cells["occupancy"].notna().to_numpy()]
    cells = cells.sort_values(["plate", "well", "field", "cell"], kind="stable").reset_index(drop=True)
    indices = montage.choose_cells(
        occupancy=cells["occupancy"].to_numpy(dtype=np.float64),
        n_endolysosomes=cells["n_endolysosomes"].to_numpy(dtype=np.int64),
        touches_border=cells["touches_border"].fillna(False).to_numpy(dtype=np.bool_),
        count=n,
    )
    return _Chosen(condition, float(cells["occupancy"].median()), cells.iloc[indices])


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
    note = "touches the border of its field" if row["touches_border"] else ""
    try:
        store = stores.setdefault(plate, PlateStore.open(layout.plate_store(plate)))
        plain, outlined = _panels(store.field(well, field), cell=cell, classes=classes, settings=settings)
    except (LysoquantError, OSError) as error:
        return Picture(caption, numbers, b"", b"", note=f"no picture: {error}")
    return Picture(caption, numbers, montage.png_bytes(plain), montage.png_bytes(outlined), note)


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
