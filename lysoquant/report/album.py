"""Pictures of the fields of every well, made once and kept beside the plate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from lysoquant.channels import Channels
from lysoquant.errors import LysoquantError
from lysoquant.files import open_file
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.io.tables import read_parquet
from lysoquant.layout import Layout
from lysoquant.record import Json, digest_json, read_json, write_json, write_text_atomic
from lysoquant.report import picture
from lysoquant.report.blocks import json_text
from lysoquant.report.inputs import Records
from lysoquant.report.preview import Regions, absent, field_view
from lysoquant.source import source_digest
from lysoquant.vocabulary import CELLS, ENDOLYSOSOMES, FAILED

_REGION_COLUMNS: Final = ("field", "label", "is_loaded", "centroid_y_um", "centroid_x_um")
_ENOUGH_PX: Final = 128
"""Longer edge of the level from which a field's contrast is read."""

Contrasts = Mapping[str, tuple[tuple[float, float], tuple[float, float]]]
"""By plate: contrast of lysosome and cargo."""

Statuses = Mapping[tuple[str, str], Mapping[int, str]]
"""By plate and well: status of each field."""


@dataclass(frozen=True)
class Album:
    """What pictures of wells are made of.

    Attributes
    ----------
    layout : Layout
        Paths of the project.
    channels : Channels
        Which channels are shown.
    records : Records
        Records of the wells: pictures are made again when one of them changed.
    contrasts : mapping of str to tuple
        Contrast of lysosome and cargo, common to all fields of a plate.
    statuses : mapping of (plate, well) to mapping of int to str
        Status of each field of each well.
    shown : mapping of (plate, well) to int
        Fields to picture of each well.
    allowed : int
        Bytes for a field.
    """

    layout: Layout
    channels: Channels
    records: Records
    contrasts: Contrasts
    statuses: Statuses
    shown: Mapping[tuple[str, str], int]
    allowed: int

    def pages(self, wells: Sequence[tuple[str, str]], *, cores: int) -> Iterator[tuple[str, str, str, int]]:
        """Each well's plate, name, its pictures as JSON text, and how many of its fields were pictured anew.

        Wells are done side by side and come in the order in which they are given; only a few are in memory at a time.
        """
        with ThreadPoolExecutor(max_workers=cores) as pool:
            for start in range(0, len(wells), 4 * cores):
                some = wells[start : start + 4 * cores]
                for (plate, well), (text, made) in zip(some, pool.map(self._page, some), strict=True):
                    yield plate, well, text, made

    def _page(self, well: tuple[str, str]) -> tuple[str, int]:
        path = self.layout.well_pictures(*well)
        key = self._key(*well)
        try:
            with open_file(path) as handle:
                said, _, text = handle.read().decode().partition("\n")
        except (OSError, ValueError):
            said, text = "", ""
        if said == key and text.endswith("\n"):
            return text.rstrip("\n"), 0
        views = self._views(*well)
        text = json_text({"fields": views})
        write_text_atomic(path, f"{key}\n{text}\n")
        return text, sum("image" in view for view in views)

    def _key(self, plate: str, well: str) -> str:
        return digest_json(
            {
                "code": source_digest("report"),
                "records": _digests(self.records, plate, well),
                "channels": [self.channels.lysosome, self.channels.cargo],
                "contrast": self.contrasts[plate],
                "fields": self.shown[plate, well],
                "allowed": self.allowed,
            }
        )

    def _views(self, plate: str, well: str) -> list[Json]:
        n_shown = self.shown[plate, well]
        try:
            store = PlateStore.open(self.layout.plate_store(plate))
            regions = _regions(self.layout, plate, well)
        except LysoquantError as error:
            return [absent(0, f"no picture: {error}")]
        views = []
        for index, status in sorted(self.statuses[plate, well].items()):
            if status == FAILED:
                views.append(absent(index, "failed, so there is no picture"))
            elif len(views) >= n_shown:
                views.append(absent(index, "left out to keep the page small"))
            else:
                try:
                    views.append(self._view(store.field(well, index), index, plate, regions))
                except (LysoquantError, OSError) as error:
                    views.append(absent(index, f"no picture: {error}"))
        return views

    def _view(self, field: FieldStore, index: int, plate: str, regions: pd.DataFrame) -> Json:
        own = regions[regions["field"] == index]
        level = picture.level_for(field.shape, field.n_levels, picture.picture_edge(self.allowed))
        pixel_size_um = field.pixel_size_um
        centres = own[["centroid_y_um", "centroid_x_um"]].to_numpy(dtype=np.float64) / pixel_size_um
        return field_view(
            index,
            planes=[field.read_level(name, level) for name in (self.channels.lysosome, self.channels.cargo)],
            contrasts=self.contrasts[plate],
            shape=field.shape,
            cells=field.read_label(CELLS),
            endolysosomes=field.read_label(ENDOLYSOSOMES),
            regions=Regions(
                label=own["label"].to_numpy(dtype=np.int64),
                is_loaded=own["is_loaded"].to_numpy(dtype=np.bool_),
                centre_px=np.nan_to_num(centres),
            ),
            allowed=self.allowed,
        )


def plate_contrasts(
    layout: Layout,
    wells: Mapping[str, Sequence[str]],
    *,
    channels: Channels,
    records: Records,
    statuses: Statuses,
    cores: int,
) -> dict[str, tuple[tuple[float, float], tuple[float, float]]]:
    """Contrast of lysosome and cargo of each plate, from the smallest levels of its fields.

    What was read of a well is kept beside the plate until convert does the well again.
    """
    return {
        plate: _contrast(layout, plate, names, channels, records, statuses, cores)
        for plate, names in sorted(wells.items())
    }


def _contrast(
    layout: Layout,
    plate: str,
    wells: Sequence[str],
    channels: Channels,
    records: Records,
    statuses: Statuses,
    cores: int,
) -> tuple[tuple[float, float], tuple[float, float]]:
    path = layout.plate_contrast(plate)
    kept = read_json(path) or {}
    names = [channels.lysosome, channels.cargo]
    keys = {
        well: digest_json(
            [names, picture.PERCENTILES, records.get(plate, {}).get("convert", {}).get(well, {}).get("digest")]
        )
        for well in wells
    }
    todo = [well for well in wells if kept.get(well, {}).get("key") != keys[well]]
    if todo:
        try:
            store = PlateStore.open(layout.plate_store(plate))
        except LysoquantError:
            return (0.0, 1.0), (0.0, 1.0)

        def read(well: str) -> list[list[tuple[float, float]]]:
            usable = [index for index, status in sorted(statuses[plate, well].items()) if status != FAILED]
            return _levels(store, well, names, usable)

        with ThreadPoolExecutor(max_workers=cores) as pool:
            found = dict(zip(todo, pool.map(read, todo), strict=True))
        kept = {well: kept[well] for well in wells if well not in found} | {
            well: {"key": keys[well], "levels": levels} for well, levels in found.items()
        }
        write_json(path, kept)
    levels = [pair for well in wells for pair in kept[well]["levels"]]
    lysosome, cargo = ([tuple(pair[channel]) for pair in levels] for channel in (0, 1))
    return picture.common_contrast(lysosome), picture.common_contrast(cargo)


def _levels(
    store: PlateStore, well: str, channels: Sequence[str], fields: Sequence[int]
) -> list[list[tuple[float, float]]]:
    found = []
    for index in fields:
        try:
            field = store.field(well, index)
            level = picture.level_for(field.shape, field.n_levels, _ENOUGH_PX)
            found.append([picture.levels(field.read_level(name, level)) for name in channels])
        except (LysoquantError, OSError):
            continue
    return found


def _regions(layout: Layout, plate: str, well: str) -> pd.DataFrame:
    """Counted endolysosomes of a well, from measure's part table."""
    return read_parquet(layout.well_tables(plate, well) / "endolysosomes.parquet", columns=_REGION_COLUMNS)


def _digests(records: Records, plate: str, well: str) -> dict[str, Any]:
    return {stage: by_well.get(well, {}).get("digest") for stage, by_well in records.get(plate, {}).items()}
