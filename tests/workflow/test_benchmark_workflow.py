"""Exact numbers of jobs of whole plates, and what of a plate a job looks at."""

from __future__ import annotations

from pathlib import Path

import pytest
from on_slurm import SLOW

from lysoquant.benchmark.page import fill_page
from lysoquant.benchmark.workflow import Cost, make_project, measure, write_figures
from lysoquant.cli.main import invoke
from lysoquant.config import load_project
from lysoquant.errors import InputError, StageError
from lysoquant.project.command import profile_folder
from lysoquant.project.inventory import plan_project
from lysoquant.project.profile import cut_by_profile
from lysoquant.vocabulary import BATCH_STAGES


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("plates") / "one"
    make_project(project, plates=1, wells=384, fields=9)
    return project


def test_a_dry_run_of_384_wells_has_84_jobs(plate: Path) -> None:
    assert sum(path.stat().st_nlink > 1 for path in plate.glob("raw/P01/TimePoint_1/*.TIF")) == 384 * 9 * 3
    cost = measure(plate, "--dry-run", name="dry run", limit_s=10)
    # The plate's metadata, 384 / 16 batches of convert and of cells, 384 / 24 of segment and of measure, aggregate,
    # report and the target.
    assert cost.jobs == 1 + 24 + 24 + 16 + 16 + 3
    # Not its memory: a process starts with that of the one that starts it, and pytest's is large.
    assert cost.seconds > 0
    assert cost.cpu_seconds > 0


@pytest.mark.parametrize(("profile", "jobs"), [("default", (24, 24, 16, 16)), ("slurm", (16, 16, 32, 16))])
def test_a_profile_says_how_many_jobs_a_plate_is(plate: Path, profile: str, jobs: tuple[int, ...]) -> None:
    project = cut_by_profile(load_project(plate), profile_folder(profile))
    plan = plan_project(project, refresh=True)
    assert tuple(len(plan.batches(stage, "P01")) for stage in BATCH_STAGES) == jobs


def test_planning_opens_one_image_and_asks_for_each_file_once(plate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lysoquant.io.raw.imagexpress as reader
    from lysoquant.project import inventory

    opened: list[Path] = []
    looked: list[Path] = []
    inspect, stat = reader.inspect_image, Path.stat
    monkeypatch.setattr(reader, "inspect_image", lambda path: [opened.append(path), inspect(path)][1])
    monkeypatch.setattr(Path, "stat", lambda path, **how: [looked.append(path), stat(path, **how)][1])
    found = inventory.refresh_plate(load_project(plate), "P01")
    assert (found.n_files, found.n_hashed) == (384 * 9 * 3, 0)
    assert len(opened) == 1
    assert sum(path.suffix == ".TIF" for path in looked) <= 384 * 9 * 3 + len(opened)


def test_the_table_is_put_into_the_page(tmp_path: Path) -> None:
    cost = Cost(name="dry run", limit_s=10, seconds=4.5, cpu_seconds=4.2, peak_mb=250, jobs=164)
    figures, table = write_figures([cost], tmp_path, about={"Snakemake": "9"})
    assert '"jobs": 164' in figures.read_text()
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- workflow -->\nold\n<!-- end -->\nafter\n")
    fill_page(page, {"workflow": table.read_text()})
    lines = page.read_text().splitlines()
    assert "| dry run | 164 | 4.5 | 10 | 4.2 | 250 |" in lines
    assert (lines[0], lines[-1], "old" in lines, "Snakemake 9." in lines) == ("before", "after", False, True)


def test_a_command_that_fails_is_told_by_what_it_said(tmp_path: Path) -> None:
    make_project(tmp_path / "p", plates=1, wells=1, fields=1)
    (tmp_path / "p" / "config" / "config.yaml").write_text("channels: 3\n")
    with pytest.raises(StageError, match=r"dry run: lysoquant run ended with status 2: .*channels"):
        measure(tmp_path / "p", "--dry-run", name="dry run", limit_s=1)
    with pytest.raises(InputError, match="385 wells a plate: expected 1 to 384"):
        make_project(tmp_path / "q", plates=1, wells=385, fields=1)


@SLOW
def test_the_command_goes_through_all_its_steps(tmp_path: Path) -> None:
    assert (
        invoke(["benchmark", "workflow", "--output", str(tmp_path), "--plates", "2", "--wells", "2", "--fields", "1"])
        == 0
    )
    lines = (tmp_path / "workflow.md").read_text().splitlines()
    jobs = [int(line.split("|")[2]) for line in lines[2:5]]
    # Two plates share only aggregate, report and the target.
    assert jobs == [1 + 4 + 3, 2 * (1 + 4) + 3, 0]
    assert (tmp_path / "done" / "results" / "tables" / "wells.csv").read_text().count("\n") == 1 + 2
