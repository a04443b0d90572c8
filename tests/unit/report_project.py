"""A small project as the stages before report leave it: a store with rings, tables and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lysoquant.channels import Channels
from lysoquant.io.store import PlateStore
from lysoquant.layout import Layout
from lysoquant.record import write_json
from lysoquant.report.params import ReportParams, ReportSettings

EDGE_PX, PIXEL_SIZE_UM = 320, 0.1
TRUNCATED = "channel SEC62 is truncated; export the field again"
CELL_CENTRES = ((80, 80), (80, 240), (240, 80), (240, 240))


@dataclass
class FakeWell:
    """What a well of the fake project is."""

    condition: str = ""
    control: str = ""
    replicate: str = ""
    occupancy: float = 0.5
    n_fields: int = 1
    failed: Sequence[int] = ()
    flagged: Mapping[int, str] = field(default_factory=dict)
    flags: str = ""
    n_regions: int = 12
    dose: str = ""


def settings(**params: object) -> ReportSettings:
    """Settings with the channels of the fake project."""
    config: dict[str, object] = {
        "channels": {"lysosome": "RAB7", "cargo": "SEC62", "nucleus": "DAPI"},
        "cells": {"method": "watershed", "nucleus_diameter_um": 12.0},
        "segment": {"model": "default"},
        "measure": {"min_area_um2": 0.13},
        "aggregate": {"confidence": 0.95, "bootstrap": 2000, "expression": {"method": "none"}},
    }
    channels = Channels(lysosome="RAB7", cargo="SEC62", nucleus="DAPI")
    return ReportSettings(channels=channels, params=ReportParams.model_validate(params), config=config)


def write_project(
    layout: Layout, plates: Mapping[str, Mapping[str, FakeWell]], *, seed: int = 0, with_store: bool = True
) -> dict[str, list[str]]:
    """Write store, tables and records; returns the wells by plate."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[dict[str, object]]] = {"wells": [], "cells": [], "fields": [], "endolysosomes": []}
    for plate, wells in plates.items():
        n_fields = {well: spec.n_fields for well, spec in wells.items()}
        store = PlateStore.create(layout.plate_store(plate), name=plate, wells=n_fields, n_rows=8, n_columns=12)
        for well, spec in wells.items():
            _write_well(rows, store if with_store else None, plate, well, spec, rng)
            _write_records(layout, plate, well)
            own = [row for row in rows["endolysosomes"] if (row["plate"], row["well"]) == (plate, well)]
            part = layout.well_tables(plate, well) / "endolysosomes.parquet"
            part.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(own, columns=COLUMNS["endolysosomes"]).to_parquet(part)
    _write_tables(layout, rows)
    return {plate: list(wells) for plate, wells in plates.items()}


def _write_tables(layout: Layout, rows: Mapping[str, list[dict[str, object]]]) -> None:
    layout.tables.mkdir(parents=True, exist_ok=True)
    for name, columns in COLUMNS.items():
        pd.DataFrame(rows[name], columns=columns).to_parquet(layout.tables / f"{name}.parquet")
    wells = pd.DataFrame(rows["wells"], columns=COLUMNS["wells"])
    known = wells[wells["condition"] != ""]
    grouped = known.groupby("condition")["occupancy_mean"].agg(["size", "mean", "std"]).reset_index()
    grouped.columns = pd.Index(["condition", "n_wells", "occupancy_mean", "occupancy_sd"])
    grouped.to_csv(layout.tables / "conditions.csv", index=False)
    statistics = grouped[["condition"]].assign(test="Welch t on well means", difference=0.25, p_adjusted=0.0004)
    statistics.to_csv(layout.tables / "statistics.csv", index=False)
    record = {"stage": "aggregate", "digest": "aggregate-1", "seconds": 1.5, "counts": {"wells": len(wells)}}
    write_json(layout.project_work_record("aggregate"), {**record, "versions": {"pandas": "3.1.1"}})


COLUMNS = {
    "wells": [
        *("plate", "well", "row", "column", "condition", "replicate", "control", "n_fields", "n_fields_failed"),
        *("n_cells", "n_endolysosomes", "n_empty", "n_loaded", "occupancy_mean", "occupancy_sd", "occupancy_pooled"),
        *("occupancy_ci_low", "occupancy_ci_high", "area_um2_mean", "robust_z", "b_score", "flags"),
        *("n_cells_expressing", "reason", "dose"),
    ],
    "cells": [
        *("plate", "well", "field", "cell", "area_um2", "centroid_y_um", "centroid_x_um", "touches_border"),
        *("is_expressing", "n_endolysosomes", "n_empty", "n_loaded", "occupancy", "mean_area_um2"),
    ],
    "fields": [
        *("plate", "well", "field", "status", "reason", "focus_score", "saturated_fraction", "n_cells"),
        "n_endolysosomes",
    ],
    "endolysosomes": [
        *("plate", "well", "field", "cell", "label", "is_loaded", "area_um2", "centroid_y_um", "centroid_x_um")
    ],
}


def write_screen(layout: Layout, *, hits: Sequence[str] = ("wild type",)) -> None:
    """Add the tables of a screen to a project: plates, hits and one dose-response curve."""
    wells = pd.read_parquet(layout.tables / "wells.parquet")
    tested = wells[(wells["condition"] != "") & (wells["control"] == "")]
    rows = []
    for rank, (name, group) in enumerate(tested.groupby("condition", sort=True), start=1):
        is_hit = name in hits
        keys = " ".join(f"{plate}:{well}" for plate, well in zip(group["plate"], group["well"], strict=True))
        effect = float(group["occupancy_mean"].mean()) - 0.12
        rows.append(
            {"condition": name, "n_plates": group["plate"].nunique(), "n_wells": len(group), "wells": keys}
            | {"n_cells": group["n_cells"].sum(), "n_endolysosomes": group["n_endolysosomes"].sum()}
            | {"occupancy_pooled": group["occupancy_pooled"].mean(), "effect": effect}
            | {"effect_ci_low": effect - 0.1, "effect_ci_high": effect + 0.1, "score": 4.2 if is_hit else 0.4}
            | {"ssmd": 2.0, "p_value": 0.0001 if is_hit else 0.4, "p_adjusted": 0.0003 if is_hit else 0.6}
            | {"is_hit": is_hit, "direction": "up" if is_hit else "", "rank": rank, "flags": "", "reason": "score"}
        )
    pd.DataFrame(rows).to_csv(layout.tables / "hits.csv", index=False)
    plates = [
        {"plate": plate, "n_wells": len(group), "n_wells_failed": 0, "n_negative": 3, "n_positive": 3}
        | {"occupancy_median": group["occupancy_mean"].median(), "z_prime": 0.43, "ssmd": 5.1, "edge_p_value": 0.01}
        | {"flags": "edge_effect" if number == 0 else "", "reason": "edge wells differ" if number == 0 else ""}
        for number, (plate, group) in enumerate(wells.groupby("plate", sort=True))
    ]
    pd.DataFrame(plates).to_csv(layout.tables / "plates.csv", index=False)
    curve = {"condition": "wild type", "n_wells": 3, "n_doses": 3, "bottom": 0.1, "top": 0.8, "ec50": 0.3}
    curve |= {"ec50_ci_low": 0.1, "ec50_ci_high": 0.9, "hill": 1.2, "r_squared": 0.97, "flags": "", "reason": "fitted"}
    pd.DataFrame([curve]).to_csv(layout.tables / "dose_response.csv", index=False)


def _write_records(layout: Layout, plate: str, well: str) -> None:
    for stage, seconds in (("convert", 2.0), ("cells", 1.0), ("segment", 30.0), ("measure", 4.0)):
        record = {"stage": stage, "digest": f"{stage}-1", "seconds": seconds, "versions": {"numpy": "2.3.0"}}
        if stage == "segment":
            card = {"name": "rings-1", "training": {"iterations": 12000}, "metrics": {"F1": 0.914, "IoU": 0.836}}
            card["limits"] = ["simulated plates only"]
            record |= {"model_sha256": "ab" * 32, "model": {"name": "rings-1", "card": card}}
        write_json(layout.well_record(plate, stage, well), record)


def _write_well(
    rows: dict[str, list[dict[str, object]]],
    store: PlateStore | None,
    plate: str,
    well: str,
    spec: FakeWell,
    rng: np.random.Generator,
) -> None:
    own: list[dict[str, object]] = []
    for index in range(spec.n_fields):
        scene = Scene(rng, spec) if index not in spec.failed else None
        if scene is not None and store is not None:
            scene.write(store, well, index)
        place = {"plate": plate, "well": well, "field": index}
        cells = scene.cells if scene else []
        own += [place | cell for cell in cells]
        rows["endolysosomes"] += [place | region for region in (scene.regions if scene else [])]
        status = "failed" if index in spec.failed else "flagged" if index in spec.flagged else "ok"
        reason = TRUNCATED if status == "failed" else spec.flagged.get(index, "")
        n = sum(int(str(cell["n_endolysosomes"])) for cell in cells)
        rows["fields"].append(
            {**place, "status": status, "reason": reason, "focus_score": 0.8, "saturated_fraction": 0.0}
            | {"n_cells": len(cells), "n_endolysosomes": n}
        )
    rows["cells"] += own
    rows["wells"].append(_well_row(plate, well, spec, pd.DataFrame(own, columns=COLUMNS["cells"])))


def _well_row(plate: str, well: str, spec: FakeWell, cells: pd.DataFrame) -> dict[str, object]:
    n, loaded = int(cells["n_endolysosomes"].sum()), int(cells["n_loaded"].sum())
    occupancy = cells["occupancy"].astype(float)
    pooled = loaded / n if n else np.nan
    return {
        **{"plate": plate, "well": well, "row": well[0], "column": int(well[1:]), "condition": spec.condition},
        **{"replicate": spec.replicate, "control": spec.control, "n_fields": spec.n_fields},
        **{"n_fields_failed": len(spec.failed), "n_cells": len(cells), "n_endolysosomes": n, "n_empty": n - loaded},
        **{"n_loaded": loaded, "occupancy_mean": occupancy.mean(), "occupancy_sd": occupancy.std()},
        **{"occupancy_pooled": pooled, "occupancy_ci_low": pooled - 0.05, "occupancy_ci_high": pooled + 0.05},
        **{"area_um2_mean": 0.61, "robust_z": np.nan, "b_score": np.nan, "flags": spec.flags},
        **{"n_cells_expressing": len(cells), "reason": "", "dose": spec.dose},
    }


class Scene:
    """Four round cells with rings, some of them filled."""

    def __init__(self, rng: np.random.Generator, spec: FakeWell) -> None:
        y, x = np.mgrid[:EDGE_PX, :EDGE_PX]
        self.planes = np.zeros((3, EDGE_PX, EDGE_PX))
        self.labels = {name: np.zeros((EDGE_PX, EDGE_PX), np.uint32) for name in ("cells", "endolysosomes")}
        self.classes = np.zeros((EDGE_PX, EDGE_PX), np.uint8)
        self.cells: list[dict[str, object]] = []
        self.regions: list[dict[str, object]] = []
        for cell, (cy, cx) in enumerate(CELL_CENTRES, start=1):
            body = np.hypot(y - cy, x - cx)
            self.labels["cells"][body < 74] = cell
            self.planes[2] += 900 * (body < 24)
            self.planes[1] += np.where(body < 74, 260 + 140 * np.sin(x / 3.1) * np.sin(y / 2.7), 0)
            self._rings(rng, spec, cell, cy, cx)

    def _rings(self, rng: np.random.Generator, spec: FakeWell, cell: int, cy: int, cx: int) -> None:
        n = int(rng.integers(spec.n_regions // 2, spec.n_regions + 1)) if spec.n_regions else 0
        share = float(np.clip(rng.normal(spec.occupancy, 0.12), 0, 1))
        n_loaded = 0
        for angle in np.arange(n) * 2 * np.pi / max(n, 1):
            distance = rng.uniform(34, 60)
            is_loaded = bool(rng.random() < share)
            n_loaded += is_loaded
            label = len(self.regions) + 1
            self._ring(rng, cy + distance * np.sin(angle), cx + distance * np.cos(angle), label, is_loaded)
            self.regions.append(
                {"cell": cell, "label": label, "is_loaded": is_loaded, "area_um2": 0.6}
                | {"centroid_y_um": (cy + distance * np.sin(angle)) * PIXEL_SIZE_UM}
                | {"centroid_x_um": (cx + distance * np.cos(angle)) * PIXEL_SIZE_UM}
            )
        self.cells.append(
            {"cell": cell, "area_um2": 172.0, "centroid_y_um": cy * PIXEL_SIZE_UM, "centroid_x_um": cx * PIXEL_SIZE_UM}
            | {"touches_border": cell == 4, "is_expressing": True, "n_endolysosomes": n, "n_empty": n - n_loaded}
            | {"n_loaded": n_loaded, "occupancy": n_loaded / n if n else np.nan}
            | {"mean_area_um2": float(rng.normal(0.6, 0.05)) if n else np.nan}
        )

    def _ring(self, rng: np.random.Generator, cy: float, cx: float, label: int, is_loaded: bool) -> None:
        top, left = int(cy) - 14, int(cx) - 14
        here = (slice(top, top + 28), slice(left, left + 28))
        y, x = np.mgrid[here]
        radius, from_centre = rng.uniform(4, 7.5), np.hypot(y - cy, x - cx)
        free = (from_centre < radius) & (self.labels["endolysosomes"][here] == 0)
        self.labels["endolysosomes"][here][free] = label
        self.classes[here][free] = 2 if is_loaded else 1
        self.planes[0][here] += rng.uniform(500, 1400) * np.exp(-(((from_centre - radius + 1.2) / 1.3) ** 2))
        self.planes[1][here][from_centre < radius - 2] = 1300 if is_loaded else 60

    def write(self, store: PlateStore, well: str, index: int) -> None:
        noise = np.random.default_rng(index).normal(100, 25, self.planes.shape)
        field = store.field(well, index)
        planes = np.clip(self.planes + noise, 0, 65535).astype(np.uint16)
        field.write_image(
            planes, channels=["RAB7", "SEC62", "DAPI"], pixel_size_um=PIXEL_SIZE_UM, levels=1, chunk_px=320
        )
        for name, labels in self.labels.items():
            field.write_label(name, labels)
        field.write_label("endolysosome_classes", self.classes)


def demo_plates() -> dict[str, dict[str, FakeWell]]:
    """A plate with controls, samples, a failed well, a flagged one and one without endolysosomes."""
    kinds = (("active receptor", "positive", 0.82), ("LIR mutant", "negative", 0.12))
    kinds += (("wild type", "", 0.55), ("knock-out", "", 0.3))
    wells = {
        f"{row}{column:02d}": FakeWell(name, control, str(replicate), occupancy, n_fields=2)
        for row, (name, control, occupancy) in zip("BCDE", kinds, strict=True)
        for replicate, column in enumerate((3, 4, 5), start=1)
    }
    for well, dose in (("D03", "0.1"), ("D04", "1"), ("D05", "10")):
        wells[well].dose = dose
    wells["D05"].failed, wells["D05"].flags = (0, 1), "all_fields_failed"
    wells["E04"].flagged, wells["E04"].flags = {1: "1.4 % of the pixels of SEC62 are saturated"}, "flagged_fields"
    wells["C05"].failed, wells["C05"].flags = (1,), "failed_fields"
    wells["F03"] = FakeWell("untransfected", n_fields=1, n_regions=0, flags="few_endolysosomes")
    return {"screen-1": wells}
