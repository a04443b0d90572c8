"""What the report says: tables in, the contents of its sections out."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from lysoquant.report import heatmap, strip
from lysoquant.report.screen import hit_conditions, hit_words, rows_of_wells, sign
from lysoquant.report.wording import count, flag_words, fraction
from lysoquant.vocabulary import FAILED, FLAGGED, OK

NO_CONDITION: Final = "no condition"
_MAX_TOOLTIPS: Final = 4000
_MAX_DOTS: Final = 100_000
"""Cells drawn in the strip plots of a page; of more, every well shows an even choice."""

_TEXT: Final = ("plate", "well", "row", "condition", "replicate", "control", "flags", "reason", "status")
_RANK: Final = {"negative": 0, "positive": 1}


@dataclass(frozen=True)
class Tables:
    """The project's tables, as the contract names their columns; text is never null (see :func:`tidy`)."""

    wells: pd.DataFrame
    cells: pd.DataFrame
    fields: pd.DataFrame
    conditions: pd.DataFrame
    statistics: pd.DataFrame
    plates: pd.DataFrame = field(default_factory=pd.DataFrame)
    hits: pd.DataFrame = field(default_factory=pd.DataFrame)
    dose_response: pd.DataFrame = field(default_factory=pd.DataFrame)


@dataclass(frozen=True)
class PlateMaps:
    """The maps of one plate by metric."""

    plate: str
    is_wide: bool
    occupancy: Markup
    endolysosomes: Markup
    quality: Markup
    note: str


MANY_CONDITIONS: Final = 24
"""Conditions that a page shows at once; the others are folded away or left out, and the page says so."""


@dataclass(frozen=True)
class ConditionStrip:
    """One condition's plot and its numbers in words."""

    name: str
    control: str
    plot: Markup
    value: str
    detail: str


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose text columns hold text only: what is missing becomes empty."""
    present = [name for name in _TEXT if name in frame]
    text = {name: frame[name].astype(object).where(frame[name].notna(), "").astype(str) for name in present}
    return frame.assign(**text).reset_index(drop=True)


def verdict(tables: Tables) -> str:
    """The report in one sentence."""
    wells, fields = tables.wells, tables.fields
    n_plates = int(wells["plate"].nunique())
    where = f"{count(len(wells), 'well')} on {count(n_plates, 'plate')}"
    n_failed, n_flagged = (int((fields["status"] == status).sum()) for status in (FAILED, FLAGGED))
    if len(fields) and n_failed == len(fields):
        return f"Nothing could be measured in {where}: all {count(len(fields), 'field')} failed."
    n, n_loaded = int(wells["n_endolysosomes"].sum()), int(wells["n_loaded"].sum())
    cells = count(int(wells["n_cells"].sum()), "cell")
    found = f"{where}: {cells} with {count(n, 'endolysosome')}, {n_loaded:,} of them loaded"
    of_fields = count(len(fields), "field")
    bad = f"{f'{n_failed:,}' if n_failed else 'none'} of {of_fields} failed"
    return f"{found}; {bad}, {n_flagged:,} flagged." if n_flagged else f"{found}; {bad}."


def condition_order(wells: pd.DataFrame) -> list[str]:
    """Conditions as they are shown: negative controls, positive controls, samples from high to low occupancy."""
    known = wells[wells["condition"] != ""]
    keys: dict[str, tuple[int, float, str]] = {}
    for name, group in known.groupby("condition", sort=True):
        mean, _ = strip.mean_and_sd(group["occupancy_mean"].to_numpy(dtype=np.float64))
        rank = min(_RANK.get(control, 2) for control in group["control"])
        keys[str(name)] = (rank, math.inf if math.isnan(mean) else -mean, str(name))
    return sorted(keys, key=keys.__getitem__) + ([""] if (wells["condition"] == "").any() else [])


def condition_means(wells: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Conditions in their order: name, control, and mean and SD of occupancy over wells in words."""
    return [
        (name, max(own["control"]), _mean_and_sd(own))
        for name in (condition_order(wells) if (wells["condition"] != "").any() else [])
        if name
        for own in [wells[wells["condition"] == name]]
    ]


def _mean_and_sd(wells: pd.DataFrame) -> str:
    mean, sd = strip.mean_and_sd(wells["occupancy_mean"].to_numpy(dtype=np.float64))
    return fraction(mean) if math.isnan(sd) else f"{fraction(mean)} ± {fraction(sd)}"


def well_status(row: Mapping[Hashable, Any]) -> str:
    """Quality of a well: failed without any usable field, flagged if anything was flagged, else ok."""
    if row["n_fields_failed"] >= row["n_fields"]:
        return FAILED
    return FLAGGED if row["flags"] or row["n_fields_failed"] else OK


def plate_maps(wells: pd.DataFrame, *, hits: pd.DataFrame, sizes: Mapping[str, tuple[int, int]]) -> list[PlateMaps]:
    """Heat maps of every plate; the scale of the counts is the same for all plates.

    Parameters
    ----------
    wells : pandas.DataFrame
        The well table.
    hits : pandas.DataFrame
        The hit list, which may be empty.
    sizes : mapping of str to tuple of int
        Rows and columns of each plate.
    """
    highest, of_wells = _highest(wells), rows_of_wells(hits)
    return [
        _maps_of(str(plate), group.to_dict("records"), of_wells, size=sizes[str(plate)], highest=highest)
        for plate, group in wells.groupby("plate", sort=True)
    ]


def scales(wells: pd.DataFrame) -> dict[str, Markup]:
    """Legends of the maps by metric."""
    return {
        "occupancy": heatmap.scale_svg(low="0", high="1", palette=heatmap.VIRIDIS, label="occupancy from 0 to 1"),
        "endolysosomes": heatmap.scale_svg(
            low="0",
            high=f"{_highest(wells):,.0f}",
            palette=heatmap.CIVIDIS,
            label=f"endolysosomes from 0 to {_highest(wells):,.0f}",
        ),
    }


def strips(tables: Tables) -> list[ConditionStrip]:
    """A strip plot of every condition: controls, hits by rank, then the others, all as in :func:`condition_order`."""
    several = tables.wells["plate"].nunique() > 1
    cells: dict[Hashable, pd.DataFrame] = {**dict(iter(tables.cells.groupby(["plate", "well"], sort=True)))}
    with_titles = len(tables.cells) <= _MAX_TOOLTIPS
    every = max(1, -(-len(tables.cells) // _MAX_DOTS))
    return [
        _strip_of(name, group, cells=cells, several=several, with_titles=with_titles, every=every)
        for name in _with_hits(condition_order(tables.wells), tables)
        for group in [tables.wells[tables.wells["condition"] == name]]
    ]


def _with_hits(conditions: Sequence[str], tables: Tables) -> list[str]:
    """Conditions with the hits right after the controls."""
    controls = set(tables.wells.loc[tables.wells["control"] != "", "condition"])
    hits = [name for name in hit_conditions(tables.hits, tables.wells) if name not in controls]
    first = [name for name in conditions if name in controls]
    return [*first, *hits, *(name for name in conditions if name not in controls and name not in hits)]


def _highest(wells: pd.DataFrame) -> float:
    return float(wells["n_endolysosomes"].max()) if len(wells) else 0.0


def _describe(row: Mapping[Hashable, Any], hit: Mapping[Hashable, Any]) -> str:
    parts = [str(row["condition"] or NO_CONDITION)]
    parts += [f"{row['control']} control"] if row["control"] else []
    parts += [f"replicate {row['replicate']}"] if row["replicate"] else []
    parts += [f"occupancy {fraction(row['occupancy_mean'])} (SD {fraction(row['occupancy_sd'])})"]
    parts += [f"{count(int(row['n_endolysosomes']), 'endolysosome')}, {int(row['n_loaded']):,} loaded"]
    parts += [count(int(row["n_cells"]), "cell")]
    failed = f", {int(row['n_fields_failed']):,} failed" if row["n_fields_failed"] else ""
    parts += [f"{count(int(row['n_fields']), 'field')}{failed}"]
    parts += [hit_words(hit)] if hit else []
    parts += [f"flags: {flag_words(str(row['flags']))}"] if row["flags"] else []
    return f"{row['well']} · " + " · ".join(parts)


def _maps_of(
    plate: str,
    rows: Sequence[Mapping[Hashable, Any]],
    hits: Mapping[str, Mapping[Hashable, Any]],
    *,
    size: tuple[int, int],
    highest: float,
) -> PlateMaps:
    occupancy, endolysosomes, statuses = [], [], []
    for row in rows:
        hit = hits.get(f"{plate}:{row['well']}", {})
        name, label, status = str(row["well"]), _describe(row, hit), well_status(row)
        mean, n = float(row["occupancy_mean"]), int(row["n_endolysosomes"])
        draw = partial(heatmap.value_well, name, label=label, failed=status == FAILED, low=0)
        mark = fraction(mean).removeprefix("0")
        occupancy.append(draw(value=mean, mark=mark, high=1, palette=heatmap.VIRIDIS, sign=sign(row, hit)))
        endolysosomes.append(draw(value=n, mark=_short(n), high=highest, palette=heatmap.CIVIDIS))
        statuses.append(heatmap.status_well(name, status=status, label=f"{status}: {label}"))
    plot = partial(heatmap.plate_svg, n_rows=size[0], n_columns=size[1])
    return PlateMaps(
        plate=plate,
        is_wide=size[1] > 12,
        occupancy=plot(occupancy, title=f"Occupancy of the wells of plate {plate}"),
        endolysosomes=plot(endolysosomes, title=f"Endolysosomes in the wells of plate {plate}"),
        quality=plot(statuses, title=f"Quality of the wells of plate {plate}"),
        note=_plate_note(rows),
    )


def _plate_note(rows: Sequence[Mapping[Hashable, Any]]) -> str:
    statuses = [well_status(row) for row in rows]
    said = [count(len(rows), "well")]
    said += [f"{statuses.count(status):,} {status}" for status in (FLAGGED, FAILED) if status in statuses]
    return ", ".join(said)


def _short(n: int) -> str:
    return str(n) if n < 1000 else f"{n / 1000:.1f}k" if n < 9950 else f"{n / 1000:.0f}k"


def _strip_of(
    name: str,
    wells: pd.DataFrame,
    *,
    cells: Mapping[Hashable, pd.DataFrame],
    several: bool,
    with_titles: bool,
    every: int,
) -> ConditionStrip:
    rows = wells.to_dict("records")
    lanes = [
        _lane(row, cells.get((row["plate"], row["well"])), several=several, with_titles=with_titles) for row in rows
    ]
    mean, sd = strip.mean_and_sd(wells["occupancy_mean"].to_numpy(dtype=np.float64))
    control = next((str(row["control"]) for row in rows if row["control"]), "")
    value = _mean_and_sd(wells)
    detail = _strip_detail(lanes, sum(well_status(row) == FAILED for row in rows))
    detail += f", every {every}th drawn" if every > 1 else ""
    shown = name or NO_CONDITION
    plot = strip.condition_svg(
        lanes, mean=mean, sd=sd, tone=control or "sample", title=f"{shown}: occupancy {value}; {detail}", every=every
    )
    return ConditionStrip(name=shown, control=control, plot=plot, value=value, detail=detail)


def _lane(row: Mapping[Hashable, Any], cells: pd.DataFrame | None, *, several: bool, with_titles: bool) -> strip.Lane:
    well, key = str(row["well"]), f"{row['plate']}:{row['well']}"
    if cells is None:
        return strip.Lane(well, np.empty(0), np.empty(0, dtype=np.bool_), float(row["occupancy_mean"]), key=key)
    place = f"{row['plate']} {well}" if several else well
    titles = [
        f"{place} field {field}, cell {cell}: {loaded} of {n} loaded, occupancy {fraction(occupancy)}"
        for field, cell, loaded, n, occupancy in zip(
            cells["field"], cells["cell"], cells["n_loaded"], cells["n_endolysosomes"], cells["occupancy"], strict=True
        )
        if with_titles
    ]
    occupancy = cells["occupancy"].to_numpy(dtype=np.float64)
    return strip.Lane(well, occupancy, counted(cells), float(row["occupancy_mean"]), titles, key=key)


def counted(cells: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether each cell enters its well's occupancy: it expresses the cargo, or nobody asked."""
    return np.asarray(cells["is_expressing"].fillna(True).to_numpy(dtype=np.bool_))


def _strip_detail(lanes: Sequence[strip.Lane], n_failed: int) -> str:
    occupancy = np.concatenate([lane.occupancy for lane in lanes])
    aside = np.concatenate([~lane.counted for lane in lanes])
    said = [count(len(lanes), "well"), *([f"{n_failed:,} failed"] if n_failed else []), count(len(occupancy), "cell")]
    n_undefined = int(np.isnan(occupancy).sum())
    said += [f"{n_undefined:,} without endolysosomes, not drawn"] if n_undefined else []
    said += [f"{int(aside.sum()):,} not expressing, drawn hollow"] if aside.any() else []
    return ", ".join(said)
