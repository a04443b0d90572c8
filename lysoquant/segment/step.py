"""segment: cells to labelled, classified endolysosomes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from numpy.typing import NDArray

from lysoquant.errors import DamagedFieldError, FieldError
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.io.tables import write_parquet
from lysoquant.layout import Layout
from lysoquant.model.card import check_fit, model_path
from lysoquant.model.flow import FOREGROUND
from lysoquant.model.precision import choose_device, resolve_precision
from lysoquant.model.preprocess import CellPixels
from lysoquant.model.weights import Model, load_model
from lysoquant.record import (
    Json,
    WellOutcome,
    digest_array,
    digest_json,
    failed_field,
    field_report,
    require_wells,
    run_batch,
)
from lysoquant.segment.crops import CellCrop, cell_crops, require_reasonable
from lysoquant.segment.instances import Instances, classify_too, split_objects, to_field
from lysoquant.segment.network import make_predictor, normalization_of
from lysoquant.segment.params import SegmentSettings
from lysoquant.segment.side_by_side import in_order
from lysoquant.units import ACCEPTED_PIXEL_SIZE_UM, pixel_size_accepted, pixel_size_verdict
from lysoquant.vocabulary import (
    CELLS,
    CLASS_COLOURS,
    EMPTY,
    ENDOLYSOSOME_CLASSES,
    ENDOLYSOSOMES,
    FAILED,
    LOADED,
)


def objects_schema(other_cargoes: Sequence[str] = ()) -> pa.Schema:
    """Columns of a well's table of objects, before any measurement."""
    keys = [("field", pa.int64()), ("cell", pa.int64()), ("label", pa.int64())]
    own = [("p_loaded", pa.float64()), ("is_loaded", pa.bool_())]
    others = [(f"{name}_{cargo}", kind) for cargo in other_cargoes for name, kind in own]
    return pa.schema([*keys, *own, *others])


def run(
    *,
    layout: Layout,
    plate: str,
    wells: Sequence[str],
    settings: SegmentSettings,
    record: Path,
    cores: int = 1,
    device: str = "auto",
) -> Json:
    """Segment the wells of one batch; the network is loaded once and its batches run across cells, fields and wells.

    Parameters
    ----------
    wells : sequence of str
        Wells of the batch; only those whose cells, pixels, model or settings changed are done.
    cores : int
        Processor threads of the network.
    device : {"auto", "cpu", "cuda"}
        Where the network runs.

    Returns
    -------
    dict
        The batch record.
    """
    upstream = {stage: require_wells(layout, plate, stage, wells) for stage in ("convert", "cells")}
    model_file = model_path(settings.params.model, project=layout.project)
    model = load_model(model_file)
    check_fit(model.card, roles=set(settings.channels.by_role()))
    target = choose_device(device)
    torch.set_num_threads(cores)

    def work(todo: list[str]) -> Iterator[tuple[str, WellOutcome]]:
        segmenter = _Segmenter(layout, plate, settings, model, target, _object_threads(target, cores))
        yield from segmenter.wells(todo, {well: [upstream[stage][well] for stage in upstream] for well in todo})

    return run_batch(
        stage="segment",
        layout=layout,
        plate=plate,
        wells=wells,
        parameters=settings.model_dump(mode="json")
        | {"precision": resolve_precision(settings.params.precision, target)},
        inputs={well: {stage: records[well]["digest"] for stage, records in upstream.items()} for well in wells},
        work=work,
        record=record,
        model_sha256=model.sha256,
    )


@dataclass
class _Field:
    """A field on its way through the network; without a store where that can't be read, so without label images."""

    well: str
    index: int
    store: FieldStore | None
    report: Json
    pixel_size_um: float
    labels: NDArray[np.uint32]
    classes: NDArray[np.uint8]
    rows: list[tuple[int, int, int, float, bool, *tuple[float | bool, ...]]] = field(default_factory=list)


@dataclass(frozen=True)
class _Read:
    """What a field's objects are found from."""

    cargoes: Sequence[NDArray[np.generic]]
    lysosome: NDArray[np.generic]
    crops: Sequence[CellCrop]


_NETWORK_CORES: Final = 8
"""Cores on which the network takes longer than one thread for the objects of the same cells."""

Crop = tuple[str, int, CellCrop]
"""Well and field of a cell's crop, and the crop."""


@dataclass
class _Segmenter:
    layout: Layout
    plate: str
    settings: SegmentSettings
    model: Model
    device: torch.device
    object_threads: int

    def __post_init__(self) -> None:
        self._store = PlateStore.open(self.layout.plate_store(self.plate))
        self._predictor = make_predictor(self.model, self.device, self.settings.params, planes=FOREGROUND)
        self._current: dict[tuple[str, int], _Field] = {}

    def wells(self, wells: list[str], upstream: Mapping[str, list[Json]]) -> Iterator[tuple[str, WellOutcome]]:
        """Outcome of each well, as soon as the last of its cells has been through the network."""
        open_wells: dict[str, list[_Field]] = {}
        calls = tiles = 0
        order = list(wells)
        for (well, index, crop), objects in self._objects(self._crops(wells, upstream, open_wells)):
            self._collect(self._current[well, index], crop, objects)
            while order[0] != well:
                yield self._finish(order.pop(0), open_wells, calls, tiles)
                calls, tiles = self._predictor.calls, self._predictor.tiles
        for well in order:
            yield self._finish(well, open_wells, calls, tiles)
            calls, tiles = self._predictor.calls, self._predictor.tiles

    def _crops(
        self, wells: list[str], upstream: Mapping[str, list[Json]], open_wells: dict[str, list[_Field]]
    ) -> Iterator[tuple[Crop, CellPixels]]:
        """Crops of all fields; the next field is read while those of one are on their way."""
        positions = self._positions(wells, upstream, open_wells)
        for position, read in in_order(self._read, positions, threads=1):
            if isinstance(read, FieldError):
                position.report = self._failed(position.well, position.index, read)
            elif read is not None:
                yield from self._field_crops(position, read)

    def _positions(
        self, wells: list[str], upstream: Mapping[str, list[Json]], open_wells: dict[str, list[_Field]]
    ) -> Iterator[_Field]:
        for well in wells:
            open_wells[well] = []
            for index in range(self._store.n_fields(well)):
                position = self._open_field(well, index, upstream[well])
                open_wells[well].append(position)
                self._current[well, index] = position
                if position.report["status"] != FAILED and not _failed_before(index, upstream[well]):
                    yield position

    def _open_field(self, well: str, index: int, upstream: list[Json]) -> _Field:
        store = self._store.field(well, index)
        try:
            return _Field(
                well=well,
                index=index,
                store=store,
                report=self._admit(well, index, store, upstream),
                pixel_size_um=store.pixel_size_um,
                labels=np.zeros(store.shape, np.uint32),
                classes=np.zeros(store.shape, np.uint8),
            )
        except DamagedFieldError as error:
            report = field_report(index) if _failed_before(index, upstream) else self._failed(well, index, error)
            nothing = np.zeros((0, 0), np.uint32)
            return _Field(well, index, None, report, math.nan, nothing, nothing.astype(np.uint8))

    def _failed(self, well: str, index: int, error: FieldError) -> Json:
        where = f"{self.plate} {well} field {index}"
        return failed_field(index, error, on_bad_field=self.settings.on_bad_field, where=where)

    def _admit(self, well: str, index: int, store: FieldStore, upstream: list[Json]) -> Json:
        """Whether the field may be segmented at all: its pixel size decides."""
        size = store.pixel_size_um
        allowed = pixel_size_accepted(size) or self.settings.params.allow_untested_pixel_size
        if allowed or _failed_before(index, upstream):
            return field_report(index)
        low, high = ACCEPTED_PIXEL_SIZE_UM
        error = FieldError(
            f"{pixel_size_verdict(size)}, and beyond twice that range ({low:g} to {high:g} um) endolysosomes can't be "
            "told apart: not segmented; if the size is wrong set pixel_size_um in plates.tsv, or set "
            "segment.allow_untested_pixel_size"
        )
        return self._failed(well, index, error)

    def _read(self, position: _Field) -> tuple[_Field, _Read | FieldError | None]:
        """Pixels and cells of a field, or why not; nothing where there is nothing to find."""
        channels, store = self.settings.channels, position.store
        if store is None:
            return position, None
        try:
            cargoes = [store.read(label) for label in channels.cargoes]
            lysosome = store.read(channels.lysosome)
            cells = store.read_label(CELLS)
            shapes = {plane.shape for plane in (*cargoes, lysosome, cells)}
            if shapes != {position.labels.shape}:
                raise DamagedFieldError(
                    f"field {store.name}: its planes and cells are of sizes {sorted(shapes)}; {store.remedy}"
                )
            crops = list(cell_crops(cells))
            require_reasonable(crops, pixel_size_um=position.pixel_size_um)
        except FieldError as error:
            return position, error
        # An image of one value, such as the zeros of a dead camera, holds nothing to find.
        flat = all(plane.min() == plane.max() for plane in (cargoes[0], lysosome))
        return position, None if flat else _Read(cargoes, lysosome, crops)

    def _field_crops(self, position: _Field, read: _Read) -> Iterator[tuple[Crop, CellPixels]]:
        for crop in read.crops:
            for cargo in read.cargoes:
                pixels = CellPixels(
                    cargo[crop.box],
                    read.lysosome[crop.box],
                    crop.inside,
                    pixel_size_um=position.pixel_size_um,
                    normalization=normalization_of(self.settings.params, self.model),
                    in_channels=self.model.card.architecture.in_channels,
                )
                yield (position.well, position.index, crop), pixels

    def _objects(self, crops: Iterator[tuple[Crop, CellPixels]]) -> Iterator[tuple[Crop, Instances]]:
        """Objects of each cell at the field's pixel size, found in threads of their own, in the order of the cells."""
        return in_order(self._find, self._predicted(crops), threads=self.object_threads)

    def _predicted(self, crops: Iterator[tuple[Crop, CellPixels]]) -> Iterator[tuple[Crop, list[NDArray[np.float32]]]]:
        """A cell's probabilities by each cargo, the first one first."""
        predicted = self._predictor.predict(crops)
        for crop, probabilities in predicted:
            others = [next(predicted)[1] for _ in self.settings.channels.other_cargoes]
            yield crop, [probabilities, *others]

    def _find(self, item: tuple[Crop, list[NDArray[np.float32]]]) -> tuple[Crop, Instances]:
        """The first cargo's probabilities find the objects, all classify them."""
        (well, index, crop), (first, *others) = item
        params = self.settings.params
        fine = split_objects(
            first, foreground_threshold=params.foreground_threshold, split_depth_um=params.split_depth_um
        )
        for probabilities in others:
            fine = classify_too(fine, probabilities)
        pixel_size_um, least = self._current[well, index].pixel_size_um, params.min_object_area_um2
        found = to_field(fine, crop.inside, pixel_size_um=pixel_size_um, min_area_um2=least)
        return (well, index, crop), found

    def _collect(self, position: _Field, crop: CellCrop, found: Instances) -> None:
        """Draw the objects of one cell into the label images of its field."""
        offset = len(position.rows)
        drawn = found.labels > 0
        position.labels[crop.box][drawn] = found.labels[drawn] + offset
        shares = np.stack([found.p_loaded, *found.other_p_loaded], axis=1)
        for number, (p_loaded, *others) in enumerate(shares.tolist(), start=1):
            told = [value for share in others for value in (share, share >= 0.5)]
            position.rows.append((position.index, crop.cell, offset + number, p_loaded, p_loaded >= 0.5, *told))
        table = np.array([0, *(LOADED if p >= 0.5 else EMPTY for p in found.p_loaded)], np.uint8)
        position.classes[crop.box][drawn] = table[found.labels[drawn]]

    def _finish(
        self, well: str, open_wells: dict[str, list[_Field]], calls: int, tiles: int
    ) -> tuple[str, WellOutcome]:
        """Write a well's label images and table."""
        positions = open_wells.pop(well)
        colours = {int(value): colour for value, colour in CLASS_COLOURS.items()}
        stores = []
        for position in positions:
            if position.store is not None:
                own = {row[2]: CLASS_COLOURS[LOADED if row[4] else EMPTY] for row in position.rows}
                position.store.write_label(ENDOLYSOSOMES, position.labels, colours=own)
                position.store.write_label(ENDOLYSOSOME_CLASSES, position.classes, colours=colours)
                stores.append(position.store)
            del self._current[well, position.index]
        rows = [row for position in positions for row in position.rows]
        table = self.layout.plate_folder(self.plate) / "segment" / f"{well}.parquet"
        schema = objects_schema(self.settings.channels.other_cargoes)
        write_parquet(table, pd.DataFrame(rows, columns=schema.names), schema)
        content = [[digest_array(position.labels), digest_array(position.classes)] for position in positions]
        folders = [store.path / "labels" / name for store in stores for name in (ENDOLYSOSOMES, ENDOLYSOSOME_CLASSES)]
        return well, WellOutcome(
            digest=digest_json([content, rows]),
            wrote=[self.layout.relative(path) for path in (*folders, table)],
            read=[self.layout.relative(store.path) for store in stores],
            counts={
                "objects": len(rows),
                "tiles": self._predictor.tiles - tiles,
                "network_calls": self._predictor.calls - calls,
            },
            fields=[position.report for position in positions],
            extra={
                "model": self.model.card.model_dump(mode="json"),
                "batch_size": self._predictor.batch_size,
                "batch_halvings": self._predictor.halvings,
                "network": self._predictor.way,
                **self._predictor.network_time(),
            },
        )


def _object_threads(device: torch.device, cores: int) -> int:
    """Threads that find objects: all cores where the network runs elsewhere, else one for what it leaves over."""
    return cores if device.type != "cpu" else max(1, cores // _NETWORK_CORES)


def _failed_before(index: int, upstream: list[Json]) -> bool:
    return any(
        report["field"] == index and report["status"] == FAILED for record in upstream for report in record["fields"]
    )
