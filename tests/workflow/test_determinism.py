"""The same plates give the same bytes of every table, however the work is cut, ordered and spread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_project import CHANNELS, PIXEL_SIZE_UM, PIXELS, edit_config, make_project, write_field

from lysoquant.cli.main import invoke
from lysoquant.simulate.writers import ImageXpress
from lysoquant.vocabulary import STAGES

PLATES = {"P": ("B02", "B03", "B04"), "Q": ("C02", "C05")}
TABLES = 3 * len(PLATES) + 7


@dataclass(frozen=True)
class Way:
    """One way to come to the tables."""

    cores: int = 1
    scheduler: str = "processes"
    wells_per_job: int = 2
    batch_size: int = 4
    backwards: bool = False
    """Raw files are made, and the sheets written, in the opposite order."""


def project_of(folder: Path, way: Way) -> Path:
    project = make_project(folder, wells=())
    step = -1 if way.backwards else 1
    for plate, wells in list(PLATES.items())[::step]:
        write_raw(project / f"raw-{plate}", wells[::step], wells)
    plates = [f"{plate}\traw-{plate}\timagexpress" for plate in PLATES][::step]
    (project / "config" / "plates.tsv").write_text("\n".join(["plate\tpath\tformat", *plates, ""]))
    rows = [
        f"{plate}\t{well}\t{'treated' if well.endswith('3') else 'control'}\t{'' if well.endswith('3') else 'negative'}"
        for plate, wells in PLATES.items()
        for well in wells
    ][::step]
    (project / "config" / "wells.tsv").write_text("\n".join(["plate\twell\tcondition\tcontrol", *rows, ""]))
    jobs = ", ".join(f"{stage}: {way.wells_per_job}" for stage in ("convert", "cells", "segment", "measure"))
    edit_config(project, "{convert: 2, cells: 2, segment: 2, measure: 2}", f"{{{jobs}}}")
    edit_config(project, "dask: {scheduler: threads}", f"dask: {{scheduler: '{way.scheduler}'}}")
    # In full precision sums depend on their order; in bfloat16 they hardly do.
    edit_config(project, "overlap_px: 16", f"overlap_px: 16, precision: fp32, batch_size: {way.batch_size}")
    return project


def write_raw(folder: Path, order: Sequence[str], wells: Sequence[str]) -> None:
    ImageXpress(folder, "P").begin(
        wells=wells, n_fields=1, n_rows=8, n_columns=12, channels=CHANNELS, size_px=PIXELS, pixel_size_um=PIXEL_SIZE_UM
    )
    for well in order:
        write_field(folder, well, seed=int(well[1:]))


def tables(project: Path, way: Way) -> dict[str, bytes]:
    """Every file of the tables, by its path."""
    for stage in STAGES[:-1]:
        assert invoke([stage, str(project), "--cores", str(way.cores)]) == 0, stage
    folder = project / "results" / "tables"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One core, one process, two wells a job."""
    found = tables(project_of(tmp_path_factory.mktemp("plain") / "p", Way()), Way())
    assert len(found) == TABLES
    rows = found["wells.csv"].decode().splitlines()
    header = rows[0].split(",")
    assert len(rows) == 1 + sum(map(len, PLATES.values()))
    assert all(int(row.split(",")[header.index("n_endolysosomes")]) for row in rows[1:]), rows
    return found


@pytest.mark.parametrize(
    "way",
    [
        Way(cores=2, wells_per_job=3, batch_size=1),
        Way(cores=2, scheduler="threads", wells_per_job=1, batch_size=3, backwards=True),
        Way(wells_per_job=2, backwards=True),
    ],
    ids=["two processes", "two threads, backwards", "one core, backwards"],
)
def test_cores_batches_and_order_change_no_byte(way: Way, plain: dict[str, bytes], tmp_path: Path) -> None:
    assert tables(project_of(tmp_path / "p", way), way) == plain


def test_a_running_scheduler_changes_no_byte(plain: dict[str, bytes], tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as running:
        way = Way(scheduler=str(running.scheduler_address), backwards=True)
        assert tables(project_of(tmp_path / "p", way), way) == plain
