"""A small measured project with shapes that are hard to outline: what exports are made of, quick to make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.config import load_project
from lysoquant.io.store import PlateStore
from lysoquant.io.tables import write_parquet
from lysoquant.layout import Layout
from lysoquant.measure.columns import segment_schema
from lysoquant.project.batches import plate_rows
from lysoquant.record import field_report, write_json
from lysoquant.vocabulary import CLASS_COLOURS, EMPTY, LOADED

CHANNELS = ("DAPI", "LAMP1", "SEC62", "LC3 488")
OTHER = "LC3 488"
PIXEL_SIZE_UM = 0.0813
SHAPE = (150, 190)
PLATES = {"P1": {"B02": 2, "B03": 1, "C03": 1}, "P2": {"B02": 1}}
"""Fields by plate and well. The second field of B02 failed; C03 has a cell without endolysosomes and no more."""

CONFIG = """\
channels: {lysosome: LAMP1, cargo: SEC62, other_cargoes: [LC3 488], nucleus: DAPI}
measure: {min_area_um2: 0.05}
aggregate: {bootstrap: 100, combinations: {both: "SEC62 and 'LC3 488'"}}
execution: {dask: {scheduler: threads}}
"""
PLATE_MAP = """\
plate\twell\tcondition\treplicate\tcontrol\tsirna
P1\tB02\twild type\t1\tpositive\t
P1\tB03\tLIR mutant\t1\tnegative\tSEC62
P1\tC03\twild type\t2\tpositive\t
P2\tB02\twild type\t1\tpositive\t
"""


def draw(seed: int) -> tuple[NDArray[np.uint16], NDArray[np.uint32], NDArray[np.uint32]]:
    """Planes (C, Y, X), cells and regions of a field.

    Every third region is loaded with the cargo, every second one with the other. Regions are ragged, touch each other
    and the border, meet at corners, have holes or several parts.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    cells = np.zeros(SHAPE, np.uint32)
    waves = 4 * np.sin(y / 7) + 3 * np.sin(y / 2.3)
    cells[x < 80 + waves] = 2
    cells[(x > 90 + waves) & (x < 170)] = 5
    cells[10:40, 175:187] = 9
    blobs = ndimage.gaussian_filter(rng.random(SHAPE), 1.7) > 0.52
    parts, _ = ndimage.label(blobs & (cells > 0) & (cells < 9), structure=np.ones((3, 3)))
    # Stripes cut blobs into touching regions, some of them of two parts.
    regions = np.where(parts > 0, 2 * parts + (x // 9) % 2, 0)
    regions = np.where(cells == 5, regions + 10_000, regions) * (parts > 0)
    _, numbers = np.unique(regions, return_inverse=True)
    planes = rng.poisson(200, (len(CHANNELS), *SHAPE)) + 1000 * (cells > 0) * (np.hypot(y - 70, x - 40) < 15)
    planes[1] += 700 * (regions > 0)
    planes[2] += 400 * (regions % 3 == 0)
    planes[3] += 300 * (regions % 2 == 0)
    return planes.astype(np.uint16), cells, numbers.reshape(SHAPE).astype(np.uint32)


def _cell_of(regions: NDArray[np.uint32], cells: NDArray[np.uint32]) -> dict[int, int]:
    return {int(label): int(cells[regions == label][0]) for label in np.unique(regions[regions > 0])}


def make_measured(project: Path) -> Layout:
    """What init, convert, cells and segment leave, then really measured and aggregated; returns its paths."""
    from lysoquant.aggregate import step as aggregate
    from lysoquant.measure import step as measure

    (project / "config").mkdir(parents=True)
    (project / "config" / "config.yaml").write_text(CONFIG)
    rows = [f"{plate}\traw/{plate}\timagexpress" for plate in PLATES]
    (project / "config" / "plates.tsv").write_text("\n".join(["plate\tpath\tformat", *rows, ""]))
    (project / "config" / "wells.tsv").write_text(PLATE_MAP)
    for plate in PLATES:
        (project / "raw" / plate).mkdir(parents=True)
    loaded = load_project(project)
    layout = loaded.layout
    for number, (plate, wells) in enumerate(PLATES.items()):
        store = PlateStore.create(layout.plate_store(plate), name=plate, wells=wells, n_rows=8, n_columns=12)
        write_json(layout.plate_record(plate), {"stage": "convert", "plate": plate, "channels": list(CHANNELS)})
        for seed, well in enumerate(wells, start=10 * number):
            _write_well(layout, store, plate, well, seed)
        record = layout.batch_record(plate, "measure", "all")
        settings = loaded.settings("measure", plate)
        measure.run(layout=layout, plate=plate, wells=list(wells), settings=settings, record=record)
    aggregate.run(
        layout=layout,
        plates={plate: list(wells) for plate, wells in PLATES.items()},
        plate_map=plate_rows(loaded),
        settings=loaded.settings("aggregate"),
        record=layout.project_record("aggregate"),
    )
    return layout


def _write_well(layout: Layout, store: PlateStore, plate: str, well: str, seed: int) -> None:
    objects = []
    for index in range(PLATES[plate][well]):
        planes, cells, regions = draw(seed)
        failed = index == 1
        if failed:
            planes, cells, regions = (np.zeros_like(array) for array in (planes, cells, regions))
        if well == "C03":
            cells[cells != 9], regions[:] = 0, 0
        field = store.field(well, index)
        field.write_image(planes, channels=CHANNELS, pixel_size_um=PIXEL_SIZE_UM, levels=2, chunk_px=128)
        loaded = {label: label % 3 == 0 for label in _cell_of(regions, cells)}
        classes = np.zeros(int(regions.max()) + 1, np.uint8)
        classes[list(loaded)] = [LOADED if is_loaded else EMPTY for is_loaded in loaded.values()]
        field.write_label("cells", cells)
        field.write_label("endolysosomes", regions)
        field.write_label("endolysosome_classes", classes[regions], colours=CLASS_COLOURS)
        objects += [
            (index, cell, label, 0.9 if loaded[label] else 0.2, loaded[label], 0.6 - 0.2 * (label % 2), label % 2 == 0)
            for label, cell in _cell_of(regions, cells).items()
        ]
    frame = pd.DataFrame(objects, columns=segment_schema([OTHER]).names)
    write_parquet(layout.plate_folder(plate) / "segment" / f"{well}.parquet", frame, segment_schema([OTHER]))
    for stage in ("convert", "cells", "segment"):
        reports = [
            field_report(1, status="failed", reasons=["channel SEC62 is truncated"])
            if index == 1 and stage == "convert"
            else field_report(index)
            for index in range(PLATES[plate][well])
        ]
        record: dict[str, object] = {"digest": f"{stage} {plate} {well}", "fields": reports, "seconds": 1.0}
        if stage == "convert":
            file = layout.project / "raw" / plate / f"{well}.tif"
            record |= {"read": [{"path": str(file), "sha256": f"{ord(well[0]):064x}", "size": 4096, "mtime_ns": 17}]}
        if stage == "segment":
            record |= {"model_sha256": "ab" * 32, "model": {"name": "rings-1"}, "versions": {"torch": "2.13.0"}}
        write_json(layout.well_record(plate, stage, well), record)
