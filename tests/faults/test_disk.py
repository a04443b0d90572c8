"""A full disk and a read-only one: one line that names the file system and the way out; afterwards nothing is lost."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import results
from small_disk import small_disk
from tiny_project import ROOT

from lysoquant.cli.main import invoke
from lysoquant.vocabulary import STAGES

Tell = Callable[..., None]

LEAVE_KB = {
    "convert": (0, 4, 8, 40, 80, 160),
    "cells": (0, 4, 8, 16, 24, 32),
    "segment": (0, 4, 8, 16, 32, 64),
    "measure": (0, 4, 8, 16, 32, 64),
    "aggregate": (0, 4, 16, 24, 32, 40),
    "report": (0, 4, 16, 32, 64),
}
"""Space that is left when a stage begins. Some of the stages' writes fit, the later ones do not."""


def run(project: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lysoquant.cli.main", "run", str(project), "--cores", "2"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_full_disk_stops_every_stage_in_one_line_and_costs_nothing(
    raw_only: Path, undisturbed: Path, tmp_path: Path, tell: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    met = dict.fromkeys(STAGES, 0)
    with small_disk(tmp_path / "disk", options="size=6m") as disk:
        project = Path(shutil.copytree(raw_only, disk.path / "p"))
        expected = rf"error: the disk is full: \d\.\d of 6 MB are left on the file system {disk.path}; free space there"
        for stage in STAGES:
            for leave_kb in LEAVE_KB[stage]:
                disk.fill(leave_kb=leave_kb)
                capsys.readouterr()
                status = invoke([stage, str(project)])
                errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
                if status == 0:
                    break
                met[stage] += 1
                assert status == 1, (stage, leave_kb)
                (line,) = errors
                assert re.match(expected, line), line
                assert results.half_written(project, undisturbed) == []
            disk.free()
            assert invoke([stage, str(project)]) == 0
        assert results.differences(project, undisturbed) == []
    assert min(met.values()) >= 3, met
    told = ", ".join(f"{stage} {count}" for stage, count in met.items())
    tell(f"the disk full while a stage writes, then space again ({told})", times=sum(met.values()))


def test_no_more_files_is_told_from_no_more_space(
    raw_only: Path, undisturbed: Path, tmp_path: Path, tell: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", options="size=6m,nr_inodes=400") as disk:
        project = Path(shutil.copytree(raw_only, disk.path / "p"))
        assert invoke(["convert", str(project)]) == 0
        disk.take_all_files()
        assert invoke(["cells", str(project)]) == 1
        assert f"the disk is full: the file system {disk.path} can hold no more files" in capsys.readouterr().err
        disk.free()
        for stage in STAGES[1:]:
            assert invoke([stage, str(project)]) == 0
        assert results.differences(project, undisturbed) == []
    tell("no more files allowed on the disk, then room again", times=1)


def test_a_run_on_a_full_disk_says_so(raw_only: Path, undisturbed: Path, tmp_path: Path, tell: Tell) -> None:
    with small_disk(tmp_path / "disk", options="size=6m") as disk:
        project = Path(shutil.copytree(raw_only, disk.path / "p"))
        # With nothing left not even the lock can be written; with more, the run sees beforehand that it is too little.
        for leave_kb, told in (
            (0, f"MB are left on the file system {disk.path}; free space there, then run again"),
            (300, f"KB free at {project / 'results'}, roughly"),
        ):
            disk.fill(leave_kb=leave_kb)
            done = run(project)
            assert done.returncode == 1
            assert "Traceback" not in done.stderr
            assert told in done.stderr
            assert results.half_written(project, undisturbed) == []
        disk.free()
        for stage in STAGES:
            assert invoke([stage, str(project)]) == 0
        assert results.differences(project, undisturbed) == []
    tell("the disk full under `lysoquant run`, then space again", times=2)


def test_read_only_results_are_one_line_and_stay_as_they_are(
    undisturbed: Path, tmp_path: Path, tell: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk", options="size=6m") as disk:
        project = Path(shutil.copytree(undisturbed, disk.path / "p"))
        before = results.bytes_of(project)
        # Every stage has work to do.
        (project / "config/config.yaml").write_text(
            (project / "config/config.yaml")
            .read_text()
            .replace("chunk_px: 64", "chunk_px: 96")
            .replace("min_area_um2: 0.13", "min_area_um2: 0.14")
            .replace("bootstrap: 100", "bootstrap: 101")
            .replace("title: First", "title: Second")
            .replace("overlap_px: 16", "overlap_px: 20")
        )
        disk.remount("ro")
        assert invoke(["why", str(project)]) == 0
        for stage in (*STAGES, "run"):
            capsys.readouterr()
            assert invoke([stage, str(project)]) == 1, stage
            (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
            assert f": the file system {disk.path} is read-only; have it mounted for writing" in line, line
        after = results.bytes_of(project)
        assert {name for name in after if after[name] != before.get(name)} == {"config/config.yaml"}
        disk.remount("rw")
        (project / "config/config.yaml").write_bytes(before["config/config.yaml"])
        for stage in STAGES:
            assert invoke([stage, str(project)]) == 0
        assert results.differences(project, undisturbed) == []
    tell("results on a read-only file system: each stage and `lysoquant run`", times=len(STAGES) + 1)


def test_a_read_only_raw_plate_is_enough(fresh: Path, undisturbed: Path, tell: Tell) -> None:
    raw = Path(shutil.move(fresh / "raw", fresh / "there"))
    with small_disk(fresh / "raw", options="size=2m") as disk:
        shutil.copytree(raw, disk.path, dirs_exist_ok=True)
        disk.remount("ro")
        for stage in STAGES:
            assert invoke([stage, str(fresh)]) == 0, stage
        assert results.differences(fresh, undisturbed) == []
    tell("every stage on a raw plate that can't be written to", times=1)
