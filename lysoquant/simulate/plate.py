"""A simulated plate: conditions as in the paper, written as an instrument writes it, with its truth beside."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Literal

import numpy as np
import tifffile
from scipy import ndimage

from lysoquant.errors import InputError
from lysoquant.progress import Progress
from lysoquant.record import write_json
from lysoquant.simulate.optics import Camera, Optics
from lysoquant.simulate.scene import Scene, simulate_scene
from lysoquant.simulate.settings import CHANNELS, Appearance, Biology, SceneSettings, SecondCargo
from lysoquant.simulate.vesicles import classes as vesicle_classes
from lysoquant.simulate.writers import FORMATS, Writer
from lysoquant.units import MIN_AREA_UM2
from lysoquant.vocabulary import row_letters, well_name

FormatName = Literal["imagexpress", "operetta", "ome-tiff"]
LayoutName = Literal["conditions", "screen"]


@dataclass(frozen=True)
class Condition:
    """A condition of the plate map and its biology."""

    name: str
    control: Literal["", "negative", "positive"]
    occupancy: float
    docked: float


CONDITIONS: Final = (
    Condition("SEC62", "positive", occupancy=0.75, docked=0.05),
    Condition("SEC62-LIR", "negative", occupancy=0.15, docked=0.1),
    Condition("ATZ WT", "", occupancy=0.6, docked=0.1),
    Condition("ATZ STX17-KO", "", occupancy=0.08, docked=0.6),
)
"""The paper's: an active ER-phagy receptor, its LIR mutant, wild type, and a knock-out that leaves cargo docked."""

SECOND_CARGO: Final = "LC3"
"""Channel of a second cargo."""

_SECOND_OCCUPANCY: Final[Mapping[str, float]] = {
    "SEC62": 0.2,
    "SEC62-LIR": 0.5,
    "ATZ WT": 0.3,
    "ATZ STX17-KO": 0.4,
}
"""Chance of an endolysosome to hold the second cargo, by condition, whatever it holds of the first."""

_UNTREATED: Final = Condition("siNT", "negative", occupancy=0.6, docked=0.1)
_BLOCKED: Final = Condition("siSTX17", "positive", occupancy=0.08, docked=0.6)
_CONTROL_COLUMNS: Final = 2
"""Columns of a screen's plate on its left with negative controls, and on its right with positive ones."""
_REPLICATES: Final = 2
_HIT_EVERY: Final = 10
"""One of so many siRNAs of a screen does something: every other one of these lowers occupancy, the others raise it."""
_HIT_OCCUPANCY: Final = (0.25, 0.87)

_IS_SECOND: Final = f"is_loaded_{SECOND_CARGO}"
_N_SECOND: Final = f"n_loaded_{SECOND_CARGO}"


@dataclass(frozen=True)
class PlateSettings:
    """What is simulated.

    Attributes
    ----------
    n_wells, n_fields : int
        Wells, and fields of each.
    size_px : int
        Edge of a field.
    pixel_size_um : float
        From 0.04 to 0.12 um.
    seed : int
        The same seed gives the same plate, whatever the number of processes.
    """

    n_wells: int = 8
    n_fields: int = 2
    size_px: int = 512
    pixel_size_um: float = 0.1
    seed: int = 0
    format: FormatName = "imagexpress"
    name: str = "simulated"
    layout: LayoutName = "conditions"
    """conditions: the paper's four take turns; screen: siRNAs, most of which do nothing, between controls."""
    second_cargo: bool = False
    """Whether there is a fourth channel, of a second cargo."""

    @property
    def channels(self) -> tuple[str, ...]:
        return (*CHANNELS, SECOND_CARGO) if self.second_cargo else CHANNELS


@dataclass(frozen=True)
class SimulatedWell:
    """A well of the plate map."""

    well: str
    condition: Condition
    replicate: int
    number: int


def plate_wells(n_wells: int) -> tuple[list[SimulatedWell], int, int]:
    """Wells in reading order, and the rows and columns of the plate; conditions take turns from well to well.

    Up to 60 wells leave the plate's edge free. Up to 48 wells, and on full plates, a column is a condition.

    Raises
    ------
    InputError
        If no standard plate has so many wells.
    """
    sizes = {60: (8, 12, 1), 96: (8, 12, 0), 384: (16, 24, 0), 1536: (32, 48, 0)}
    room = next((size for size in sizes if n_wells <= size), None)
    if room is None or n_wells < 1:
        raise InputError(f"--wells is {n_wells}; a plate has 1 to {max(sizes)}")
    rows, columns, edge = sizes[room]
    width = min(columns - 2 * edge, len(CONDITIONS) * max(1, -(-n_wells // (len(CONDITIONS) * (rows - 2 * edge)))))
    wells = []
    for number in range(n_wells):
        row, column = divmod(number, width)
        name = well_name(row_letters(row + edge), column + edge + 1)
        condition = CONDITIONS[number % len(CONDITIONS)]
        wells.append(SimulatedWell(name, condition, 1 + number // len(CONDITIONS), number))
    return wells, rows, columns


def screen_wells(n_wells: int) -> tuple[list[SimulatedWell], int, int]:
    """Wells of a screen in reading order, and the rows and columns of the plate.

    Negative controls fill the two columns on the left, positive ones the two on the right; each siRNA between them has
    two wells, the second in the other half of the plate's rows. One siRNA in ten is a planted hit.

    Raises
    ------
    InputError
        If the plate is not a full one of 96 or 384 wells.
    """
    sizes = {96: (8, 12), 384: (16, 24)}
    if n_wells not in sizes:
        raise InputError(f"--wells is {n_wells}; a screen fills a plate of {' or '.join(map(str, sizes))} wells")
    rows, columns = sizes[n_wells]
    inner, half = columns - 2 * _CONTROL_COLUMNS, rows // _REPLICATES
    tested = _small_interfering(half * inner)
    replicates: dict[str, int] = {}
    wells = []
    for number in range(n_wells):
        row, column = divmod(number, columns)
        if column < _CONTROL_COLUMNS:
            condition = _UNTREATED
        elif column >= columns - _CONTROL_COLUMNS:
            condition = _BLOCKED
        else:
            condition = tested[row % half * inner + column - _CONTROL_COLUMNS]
        replicates[condition.name] = replicates.get(condition.name, 0) + 1
        name = well_name(row_letters(row), column + 1)
        wells.append(SimulatedWell(name, condition, replicates[condition.name], number))
    return wells, rows, columns


def _small_interfering(count: int) -> list[Condition]:
    """siRNAs in the order of their wells; the planted hits lie scattered, or row and column effects would hide them."""
    found = [replace(_UNTREATED, name=f"si{number:03}", control="") for number in range(1, count + 1)]
    scattered = np.random.default_rng(count).permutation(count)
    for hit, number in enumerate(scattered[: count // _HIT_EVERY].tolist()):
        found[number] = replace(found[number], occupancy=_HIT_OCCUPANCY[hit % len(_HIT_OCCUPANCY)])
    return found


def field_settings(plate: PlateSettings, well: SimulatedWell) -> SceneSettings:
    """Settings of a well's fields: one microscope for the plate, cells that vary from well to well."""
    microscope = np.random.default_rng((plate.seed, 1_000_003))
    rng = np.random.default_rng((plate.seed, 7, well.number))
    logit = np.log(well.condition.occupancy / (1 - well.condition.occupancy)) + rng.normal(0, 0.15)
    biology = Biology(
        occupancy=float(1 / (1 + np.exp(-logit))),
        docked=well.condition.docked,
        transfected=0.85,
        cell_radius_um=12.5,
        cell_spacing_um=16.0,
    )
    optics = Optics(
        pixel_size_um=plate.pixel_size_um,
        sigma_um=microscope.uniform(0.09, 0.12),
        sigma_z_um=microscope.uniform(0.3, 0.4),
    )
    camera = Camera(photons=microscope.uniform(60, 160), offset=microscope.uniform(90, 130))
    look = replace(Appearance(), cargo=rng.uniform(0.7, 1.5), haze=rng.uniform(0.1, 0.25))
    second = (
        SecondCargo(_SECOND_OCCUPANCY.get(well.condition.name, _SECOND_OCCUPANCY["ATZ WT"]))
        if plate.second_cargo
        else None
    )
    return SceneSettings((plate.size_px, plate.size_px), biology, look, optics, camera, second)


def simulate_field(plate: PlateSettings, well: SimulatedWell, index: int) -> Scene:
    """One field of a well; depends on nothing but the plate's settings and the well's number."""
    return simulate_scene(field_settings(plate, well), np.random.default_rng((plate.seed, 11, well.number, index)))


def simulate_plate(out: Path, settings: PlateSettings, *, processes: int = 1) -> Path:
    """Write a plate into `out` as the instrument does, its plate map and its truth.

    ``out/truth`` holds label images of regions, cells and nuclei and tables ``endolysosomes.csv``, ``cells.csv`` and
    ``wells.csv``; ``out/plate_map.csv`` the conditions. Regions under 0.13 um2 are drawn but not counted.

    Raises
    ------
    InputError
        If `out` exists and is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise InputError(f"{out} is not empty; give a new folder")
    find_wells = screen_wells if settings.layout == "screen" else plate_wells
    wells, rows, columns = find_wells(settings.n_wells)
    writer = FORMATS[settings.format](out, settings.name)
    writer.begin(
        wells=[well.well for well in wells],
        n_fields=settings.n_fields,
        n_rows=rows,
        n_columns=columns,
        channels=settings.channels,
        size_px=settings.size_px,
        pixel_size_um=settings.pixel_size_um,
    )
    (out / "truth").mkdir(parents=True, exist_ok=True)
    jobs = [(settings, well, index, writer) for well in wells for index in range(settings.n_fields)]
    regions: list[dict[str, object]] = []
    cells: list[dict[str, object]] = []
    with Progress("simulate", total=len(jobs)) as progress:
        for found_regions, found_cells in _each(jobs, processes):
            regions += found_regions
            cells += found_cells
            progress.advance()
    _write_csv(out / "truth" / "endolysosomes.csv", regions)
    _write_csv(out / "truth" / "cells.csv", cells)
    _write_csv(out / "truth" / "wells.csv", [_well_truth(well, cells) for well in wells])
    _write_csv(out / "plate_map.csv", [_map_row(well) for well in wells])
    conditions = {well.condition.name: asdict(well.condition) for well in wells}
    described = asdict(settings) | {"conditions": list(conditions.values())}
    write_json(out / "truth" / "settings.json", described)
    return out


Job = tuple[PlateSettings, SimulatedWell, int, Writer]
Rows = list[dict[str, object]]


def _each(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Rows, Rows]]:
    if processes == 1:
        yield from map(_do_field, jobs)
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            yield from pool.map(_do_field, jobs)


def _do_field(job: Job) -> tuple[Rows, Rows]:
    """Simulate, write and count one field."""
    settings, well, index, writer = job
    scene = simulate_field(settings, well, index)
    writer.write_field(
        scene.image, well=well.well, index=index, channels=settings.channels, pixel_size_um=settings.pixel_size_um
    )
    truth = writer.out / "truth"
    stem = f"{well.well}_{index}"
    table = np.concatenate([[0], vesicle_classes(scene.loaded)]).astype(np.uint8)
    for name, labels in (
        ("regions", scene.regions.astype(np.uint32)),
        ("classes", table[scene.regions]),
        ("cells", scene.cells.astype(np.uint16)),
        ("nuclei", scene.nuclei.astype(np.uint16)),
    ):
        tifffile.imwrite(truth / f"{stem}_{name}.tif", labels, compression="zlib")
    return _count(settings, well, index, scene)


def _count(settings: PlateSettings, well: SimulatedWell, index: int, scene: Scene) -> tuple[Rows, Rows]:
    """Truth of one field as table rows."""
    where = {"plate": settings.name, "well": well.well, "field": index}
    area = np.bincount(scene.regions.ravel(), minlength=len(scene.vesicles) + 1) * settings.pixel_size_um**2
    numbers = [number for number in np.unique(scene.regions) if number and area[number] >= MIN_AREA_UM2]
    centres = np.array(ndimage.center_of_mass(scene.regions > 0, scene.regions, numbers)).reshape(-1, 2)
    boxes = ndimage.find_objects(scene.regions)
    cell_of = [
        np.bincount(scene.cells[boxes[number - 1]][scene.regions[boxes[number - 1]] == number]).argmax()
        for number in numbers
    ]
    regions: Rows = [
        where
        | {
            "cell": int(cell),
            "label": int(number),
            "is_loaded": bool(scene.loaded[number - 1]),
            "is_docked": bool(scene.docked[number - 1]),
            "area_um2": round(float(area[number]), 5),
            "centroid_y_um": round(float(y) * settings.pixel_size_um, 4),
            "centroid_x_um": round(float(x) * settings.pixel_size_um, 4),
        }
        | ({_IS_SECOND: bool(scene.second.loaded[number - 1])} if scene.second else {})
        for number, cell, (y, x) in zip(numbers, cell_of, centres, strict=True)
    ]
    cells: Rows = []
    for cell in range(1, int(scene.cells.max(initial=0)) + 1):
        mine = [row for row in regions if row["cell"] == cell]
        own = [row["is_loaded"] for row in mine]
        cells.append(
            where
            | {
                "cell": cell,
                "is_transfected": bool(scene.transfected[cell - 1]),
                "n_endolysosomes": len(own),
                "n_empty": own.count(False),
                "n_loaded": own.count(True),
                "occupancy": round(own.count(True) / len(own), 6) if own else "",
            }
            | ({_N_SECOND: sum(bool(row[_IS_SECOND]) for row in mine)} if scene.second else {})
        )
    return regions, cells


def _well_truth(well: SimulatedWell, cells: Rows) -> dict[str, object]:
    mine = [row for row in cells if row["well"] == well.well]
    empty, loaded = (sum(int(str(row[name])) for row in mine) for name in ("n_empty", "n_loaded"))
    each = [float(str(row["occupancy"])) for row in mine if row["occupancy"] != ""]
    truth: dict[str, object] = {
        "plate": mine[0]["plate"] if mine else "",
        "well": well.well,
        "condition": well.condition.name,
        "n_cells": len(mine),
        "n_endolysosomes": empty + loaded,
        "n_empty": empty,
        "n_loaded": loaded,
        "occupancy_mean": round(float(np.mean(each)), 6) if each else "",
        "occupancy_pooled": round(loaded / (empty + loaded), 6) if empty + loaded else "",
    }
    if any(_N_SECOND in row for row in mine):
        second = sum(int(str(row[_N_SECOND])) for row in mine)
        share = round(second / (empty + loaded), 6) if empty + loaded else ""
        truth |= {_N_SECOND: second, f"occupancy_pooled_{SECOND_CARGO}": share}
    return truth


def _map_row(well: SimulatedWell) -> dict[str, object]:
    condition = well.condition
    return {"well": well.well, "condition": condition.name, "replicate": well.replicate, "control": condition.control}


def _write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
