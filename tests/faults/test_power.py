"""What a power failure leaves: empty and cut records and tables, files that were never named. It is done again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import results
from tiny_project import jobs_in, snakemake

from lysoquant.cli.main import invoke
from lysoquant.vocabulary import STAGES

Tell = Callable[..., None]

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "zeroed": lambda content: bytes(len(content)),
}


def small_files(project: Path) -> list[Path]:
    """Every record and table, and the report."""
    found = project / "results"
    records = [*found.glob("records/**/*.json"), *found.glob("P/records/**/*.json")]
    tables = [
        *found.glob("tables/*"),
        *found.glob("P/measure/*/*"),
        *found.glob("P/segment/*"),
        found / "report/index.html",
    ]
    return sorted(path for path in (*records, *tables) if path.is_file())


@pytest.mark.parametrize("damage", DAMAGE)
def test_all_records_and_tables_lost_at_once_are_made_again(
    damage: str, copy: Path, undisturbed: Path, tell: Tell
) -> None:
    files = small_files(copy)
    for path in files:
        path.write_bytes(DAMAGE[damage](path.read_bytes()))
    for stage in STAGES:
        assert invoke([stage, str(copy)]) == 0, stage
    assert results.differences(copy, undisturbed) == []
    assert len(files) > 40
    tell(f"all records, tables and the report {damage}", times=len(files))


def test_one_lost_file_is_made_again(copy: Path, undisturbed: Path, tell: Tell) -> None:
    """The first of each kind of file, with all the others whole."""
    kinds = {
        tuple(part for part in path.parts if not part.startswith("B0")): path for path in reversed(small_files(copy))
    }
    for number, path in enumerate(kinds.values()):
        path.write_bytes(list(DAMAGE.values())[number % 2](path.read_bytes()))
        for stage in STAGES:
            assert invoke([stage, str(copy)]) == 0, (path, stage)
        assert results.differences(copy, undisturbed) == [], path
    tell("one record or table of each kind emptied or cut", times=len(kinds))


def test_a_cut_table_does_not_get_past_the_stage_that_reads_it(
    copy: Path, tell: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = {
        "P/segment/B02.parquet": "measure",
        "P/measure/B02/cells.parquet": "aggregate",
        "tables/cells.parquet/00000-P.parquet": "report",
    }
    for name, stage in tables.items():
        path = copy / "results" / name
        content = path.read_bytes()
        path.write_bytes(DAMAGE["cut"](content))
        for records in ("P/records", "records"):
            shutil.rmtree(copy / "results" / records / stage, ignore_errors=True)
        capsys.readouterr()
        assert invoke([stage, str(copy)]) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert str(path) in line
        assert "delete it and run" in line
        path.write_bytes(content)
        assert invoke([stage, str(copy)]) == 0
    tell("a table cut just before the stage that reads it: an error that names it and the stage", times=len(tables))


def test_the_workflow_does_not_take_a_cut_record_for_a_job_done(copy: Path, undisturbed: Path, tell: Tell) -> None:
    lost = ("records/aggregate.json", "P/records/measure/B02-B03.json", "P/records/segment/B02-B03.json")
    for name, damage in zip(lost, DAMAGE.values(), strict=True):
        path = copy / "results" / name
        path.write_bytes(damage(path.read_bytes()))
    for well in ("B02", "B03"):
        (copy / f"results/P/records/measure/wells/{well}.json").unlink()
    again = {"segment B02-B03", "measure B02-B03", "aggregate", "report"}
    assert jobs_in(snakemake(copy)) == again
    assert results.differences(copy, undisturbed) == []
    tell("records that the workflow tracks emptied, cut or zeroed before a run", times=len(lost))


def test_files_that_killed_writers_left_are_removed_or_in_nobodys_way(
    copy: Path, undisturbed: Path, tell: Tell
) -> None:
    # The highest number that a process can have is never one that runs.
    dead = Path("/proc/sys/kernel/pid_max").read_text().strip() if Path("/proc").is_dir() else "99999999"
    named = [*small_files(copy), *(copy / "results/P/P.zarr").rglob("zarr.json")]
    leftovers = [path.with_name(f".{path.name}.{dead}.part") for path in named]
    for path in leftovers:
        path.write_bytes(b"half")
    mine = copy / "results/tables" / f".wells.csv.{os.getppid()}.part"
    mine.write_bytes(b"of one that lives")
    for stage in STAGES:
        assert invoke([stage, str(copy)]) == 0
    shutil.rmtree(copy / "results/P/records/convert")
    for path in (copy / "config/config.yaml",):
        path.write_text(path.read_text().replace("overlap_px: 16", "overlap_px: 16, foreground_threshold: 0.9"))
        for stage in STAGES:
            assert invoke([stage, str(copy)]) == 0
        path.write_text(path.read_text().replace(", foreground_threshold: 0.9", ""))
    for stage in STAGES:
        assert invoke([stage, str(copy)]) == 0
    assert mine.read_bytes() == b"of one that lives"
    mine.unlink()
    left = [path for path in leftovers if path.exists()]
    for path in left:
        path.unlink()
    assert results.differences(copy, undisturbed) == []
    assert len(left) < len(leftovers) / 2
    tell("unfinished files of killed writers beside every record, table and group", times=len(leftovers))
