"""Raw files that go, before a run, during it, one or all: said so, and made good by the next run when they are back."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import results
from tiny_project import ROOT

from lysoquant.cli.main import invoke
from lysoquant.config import load_project
from lysoquant.convert import planned as plans
from lysoquant.convert import step as convert
from lysoquant.io.raw import RawPlate
from lysoquant.project.inventory import plan_project
from lysoquant.project.why import pending
from lysoquant.vocabulary import STAGES

Tell = Callable[..., None]


def one_file(project: Path) -> Path:
    (path,) = (project / "raw").rglob("P_B03_*_w2.TIF")
    return path


@contextmanager
def away(path: Path) -> Iterator[None]:
    """A file or folder is not there for a while; it comes back as it was, with its time of change."""
    there = path.parent.parent / f"{path.name}.away"
    path.rename(there)
    try:
        yield
    finally:
        there.rename(path)


@contextmanager
def gone_once_described(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file or folder goes after convert has its list of raw files and before it reads."""
    look = plans.planned_plate
    with ExitStack() as stack, monkeypatch.context() as patch:

        def look_then_lose(**given: Any) -> RawPlate | None:
            found = look(**given)
            assert found is not None
            stack.enter_context(away(path))
            return found

        patch.setattr(plans, "planned_plate", look_then_lose)
        yield


def stages(project: Path, *names: str) -> None:
    for stage in names or STAGES:
        assert invoke([stage, str(project)]) == 0, stage


def convert_batch(project: Path) -> int:
    """What a job of the workflow does: it trusts the raw records that were written when the run was planned."""
    record = load_project(project).layout.batch_record("P", "convert", "B02-B03")
    return invoke(["convert", str(project), "--plate", "P", "--wells", "B02,B03", "--record", str(record)])


def raw_record(project: Path) -> bytes:
    """What the workflow compares to decide whether convert runs again."""
    return load_project(project).layout.raw_record("P", "B02-B03").read_bytes()


def statuses(project: Path) -> list[str]:
    tables = [pd.read_parquet(project / f"results/P/measure/{well}/fields.parquet") for well in ("B02", "B03", "B04")]
    return pd.concat(tables)["status"].tolist()


def plan(project: Path) -> None:
    plan_project(load_project(project), refresh=True)


def why(project: Path) -> str:
    return "; ".join(reason for each in pending(load_project(project)) for reason in each.reasons)


def test_a_file_gone_before_the_run_fails_its_field_until_it_is_back(
    fresh: Path, undisturbed: Path, tell: Tell
) -> None:
    with away(one_file(fresh)):
        stages(fresh)
        assert statuses(fresh) == ["ok", "failed", "ok"]
    stages(fresh)
    assert results.differences(fresh, undisturbed) == []
    tell("a raw file gone before the run, back before the next", times=1, lost="its field, named as failed, until then")


@pytest.mark.parametrize("moment", ["between planning and convert", "while convert reads"])
def test_a_file_gone_during_the_run_is_read_again_when_it_is_back_as_it_was(
    moment: str, fresh: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    project = load_project(fresh)
    plan(fresh)
    convert.write_plate(layout=project.layout, plate="P", settings=project.settings("convert", "P"))
    planned = raw_record(fresh)
    if moment == "between planning and convert":
        with away(one_file(fresh)):
            assert convert_batch(fresh) == 0
    else:
        with gone_once_described(one_file(fresh), monkeypatch):
            assert convert_batch(fresh) == 0
    assert '"unreached": true' in (fresh / "results/P/records/convert/wells/B03.json").read_text()
    assert raw_record(fresh) == planned
    assert "P_B03_s1_w2.TIF" in why(fresh)
    assert "is read again, as its well had a file that could not be opened" in why(fresh)
    plan(fresh)
    again = raw_record(fresh)
    assert again != planned
    plan(fresh)
    assert raw_record(fresh) == again
    assert convert_batch(fresh) == 0
    stages(fresh)
    assert raw_record(fresh) == again
    assert why(fresh) == ""
    assert results.differences(fresh, undisturbed) == []
    tell(f"a raw file gone {moment}, back before the next run", times=1, lost="its field, named as failed, until then")


def test_a_whole_raw_plate_gone_before_a_run_changes_nothing(
    copy: Path, undisturbed: Path, tell: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results.bytes_of(copy / "results")
    with away(copy / "raw"):
        # As where nothing is mounted: no folder, or an empty one.
        for folder_is_there in (False, True):
            if folder_is_there:
                (copy / "raw").mkdir()
            for command in ("run", "convert"):
                capsys.readouterr()
                assert invoke([command, str(copy)]) == 2
                (line,) = capsys.readouterr().err.splitlines()
                assert str(copy / "raw") in line
        (copy / "raw").rmdir()
    assert results.bytes_of(copy / "results") == before
    stages(copy)
    assert results.differences(copy, undisturbed) == []
    tell("the whole raw plate gone (its share not mounted) before a run", times=4)


def test_stages_after_convert_need_no_raw_plate(copy: Path, undisturbed: Path, tell: Tell) -> None:
    later = ("cells", "segment", "measure", "aggregate", "report")
    shutil.rmtree(copy / "results" / "tables")
    shutil.rmtree(copy / "results" / "P" / "measure")
    with away(copy / "raw"):
        stages(copy, *later)
    assert results.differences(copy, undisturbed) == []
    tell("the stages after convert, the raw plate archived", times=len(later))


def test_a_whole_raw_plate_gone_while_convert_reads_is_not_recorded_as_failed_wells(
    fresh: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell, capsys: pytest.CaptureFixture[str]
) -> None:
    stages(fresh, "convert")
    shutil.rmtree(fresh / "results" / "P" / "records" / "convert" / "wells")
    capsys.readouterr()
    with gone_once_described(fresh / "raw", monkeypatch):
        assert convert_batch(fresh) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert f"its raw files are all gone since the run began, from {fresh / 'raw'}; see that the folder is there" in line
    assert not list((fresh / "results/P/records/convert/wells").glob("*.json"))
    stages(fresh)
    assert results.differences(fresh, undisturbed) == []
    tell("the whole raw plate gone while convert reads it", times=1)


def test_a_whole_raw_plate_gone_during_a_run(fresh: Path, undisturbed: Path, tell: Tell) -> None:
    command = [sys.executable, "-m", "lysoquant.cli.main", "run", str(fresh), "--cores", "1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        next(line for line in run.stderr if "started convert P" in line)
        with away(fresh / "raw"):
            said = run.stderr.read()
            assert run.wait() == 1
    assert "Traceback" not in said
    assert f"{fresh / 'raw'}" in said
    assert not list((fresh / "results/P/records/convert/wells").glob("*.json"))
    stages(fresh)
    assert results.differences(fresh, undisturbed) == []
    tell("the whole raw plate gone during `lysoquant run`", times=1)
