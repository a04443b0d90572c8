"""The command line: quick help, one-line errors, exit statuses, and what a run shows."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from lysoquant import __version__
from lysoquant.channels import Channels
from lysoquant.cli import main as cli_main
from lysoquant.cli.main import COMMANDS, cli, invoke
from lysoquant.config import Config, Project
from lysoquant.errors import InputError, StageError
from lysoquant.layout import Layout
from lysoquant.project import command as project_command
from lysoquant.project import follow as project_follow
from lysoquant.project import run as project_run
from lysoquant.project.command import command_prefix, snakemake_command, workflow_folder
from lysoquant.project.follow import follow
from lysoquant.project.follower import Follower
from lysoquant.project.occupancy_table import occupancy_table
from lysoquant.project.run import run_workflow

HEAVY = ("torch", "zarr", "pandas", "numpy", "snakemake", "skimage", "scipy", "dask")

Raises = Callable[[BaseException], None]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Raises:
    """Makes the command line raise an error."""

    def fail_with(error: BaseException) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(cli_main.cli, "main", fail)

    return fail_with


# Help ----------------------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy_and_is_quick() -> None:
    code = (
        "import sys, time; start = time.perf_counter()\n"
        "from lysoquant.cli.main import invoke\n"
        "status = invoke(['--help'])\n"
        "seconds = time.perf_counter() - start\n"
        f"print(status, [name for name in {HEAVY} if name in sys.modules], seconds, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    status, rest = done.stderr.split(" ", 1)
    modules, seconds = rest.rsplit(" ", 1)
    assert (status, modules) == ("0", "[]")
    assert float(seconds) < 0.3 * max(1.0, os.getloadavg()[0])
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_listed_command_is_there_and_has_help(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert command.help


def test_every_option_of_a_stage_is_explained() -> None:
    for name in ("run", "convert", "cells", "segment", "measure", "aggregate", "report"):
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        for option in command.params:
            assert isinstance(option, click.Argument) or getattr(option, "help", None), f"{name} {option.name}"


def test_version() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert result.output == f"lysoquant, version {__version__}\n"


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("well 'B99'"), 2, "error: well 'B99'"),
        (StageError("no record"), 1, "error: no record"),
        (InputError("one\ntwo"), 2, "error: one\nerror: two"),
        (click.Abort(), 130, "error: interrupted; the next run goes on with the wells that are not done"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/data/x"),
            1,
            "error: /data/x: No space left on device; give it space or permission and run it again",
        ),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/data/x"),
            1,
            "error: /data/x: Permission denied; give it space or permission and run it again",
        ),
    ],
)
def test_an_error_is_a_line_and_a_status(
    error: BaseException, status: int, line: str, failing: Raises, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(error)
    assert invoke([]) == status
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize("error", [KeyError("x"), FileNotFoundError(errno.ENOENT, "gone", "x")])
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception, failing: Raises) -> None:
    failing(error)
    with pytest.raises(type(error)):
        invoke([])


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lysoquant.cli.stages.load_project", interrupt)
    assert invoke(["cells", str(tmp_path)]) == 130


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fly"], "No such command 'fly'"),
        (["cells", "/no/such/folder"], "'/no/such/folder' does not exist"),
        (["cells"], "Missing argument 'PROJECT'"),
        (["cells", ".", "--cores", "0"], "0 is not in the range x>=1"),
        (["cells", ".", "--wings"], "No such option"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(arguments) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert expected in message
    assert "--help`" in message


def test_no_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([]) == 2
    assert "no command was given" in capsys.readouterr().err


def test_a_folder_that_is_no_project_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "config.yaml" in message


# What a run is started with ------------------------------------------------------------------------------------------


def command(**options: Any) -> list[str]:
    return snakemake_command(
        Path("/p"), **({"cores": None, "profile": None, "dry_run": False, "unlock": False} | options)
    )


def test_a_run_takes_all_cores_and_the_default_profile() -> None:
    words = command()
    assert words[words.index("--cores") + 1] == "all"
    assert words[words.index("--workflow-profile") + 1] == str(workflow_folder() / "profiles" / "default")
    assert words[words.index("--directory") + 1] == "/p"
    assert words[words.index("--snakefile") + 1] == str(workflow_folder() / "Snakefile")
    assert {"--keep-going", "--rerun-incomplete"} <= set(words)
    assert not {"--dry-run", "--unlock"} & set(words)


def test_a_run_passes_on_what_it_is_told() -> None:
    words = command(cores=3, dry_run=True, unlock=True, more=("--forcerun", "report"))
    assert words[words.index("--cores") + 1] == "3"
    assert words[-4:] == ["--dry-run", "--unlock", "--forcerun", "report"]


def test_a_profile_of_one_s_own_sets_the_cores_itself(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("jobs: 3\n")
    words = command(profile=str(tmp_path))
    assert words[words.index("--workflow-profile") + 1] == str(tmp_path)
    assert "--cores" not in words


def test_an_unknown_profile_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"'moon' is neither default"):
        command(profile="moon")


def test_an_installed_wheel_has_its_workflow_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_command, "_PACKAGE", tmp_path / "site" / "lysoquant")
    with pytest.raises(StageError, match="no workflow beside or in"):
        workflow_folder()
    inside = tmp_path / "site" / "lysoquant" / "_workflow"
    inside.mkdir(parents=True)
    (inside / "Snakefile").touch()
    assert workflow_folder() == inside


@pytest.mark.parametrize("conda", [True, False])
def test_jobs_call_this_very_library(conda: bool, tmp_path: Path) -> None:
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}" if conda else os.defpath}
    done = subprocess.run(
        ["bash", "-c", command_prefix(conda=conda) + 'lysoquant "$@"', "_", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"lysoquant, version {__version__}\n"


# What a run shows ----------------------------------------------------------------------------------------------------

LOG = """\
Job stats:
job              count
-------------  -------
segment              2
total                2

[Sat Nov 22 18:00:00 2025]
rule segment:
    input: a.json
    output: b.json
    log: results/logs/segment/P.B02-B03.log
    jobid: 3
    wildcards: plate=P, batch=B02-B03
    threads: 2
[Sat Nov 22 18:00:00 2025]
rule segment:
    log: results/logs/segment/P.B04-B04.log
    jobid: 4
    wildcards: plate=P, batch=B04-B04
[Sat Nov 22 18:00:09 2025]
Finished jobid: 3 (Rule: segment)
1 of 2 steps (50%) done
[Sat Nov 22 18:00:10 2025]
Error in rule segment:
    message: None
    jobid: 4
    log: results/logs/segment/P.B04-B04.log (check log file(s) for error details)
    shell:
        lysoquant segment .
"""


def test_progress_and_failures_are_read_from_what_snakemake_says() -> None:
    follower = Follower()
    notes = [note for note in map(follower.feed, LOG.splitlines(keepends=True)) if note]
    assert notes == [
        "started segment P B02-B03",
        "started segment P B04-B04",
        "1/2 segment P B02-B03 (0 s)",
        "FAILED segment P B04-B04",
    ]
    assert (follower.done, follower.total, follower.locked) == (1, 2, False)
    assert follower.running == {}
    assert [(failure.rule, failure.log) for failure in follower.failures] == [
        ("segment P B04-B04", "results/logs/segment/P.B04-B04.log")
    ]


def test_a_failure_that_is_said_twice_counts_once() -> None:
    follower = Follower()
    error = LOG[LOG.index("Error in rule") :]
    for line in (LOG + error).splitlines():
        follower.feed(line)
    assert len(follower.failures) == 1


def fake_snakemake(text: str, status: int) -> list[str]:
    return [sys.executable, "-c", f"import sys; print({text!r}, end=''); sys.exit({status})"]


def test_a_failed_job_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "results" / "logs" / "segment" / "P.B04-B04.log"
    log.parent.mkdir(parents=True)
    log.write_text("\n".join(f"line {number}" for number in range(40)))
    with pytest.raises(StageError) as caught:
        follow(fake_snakemake(LOG, 1), log=tmp_path / "all.log", project=tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"segment P B04-B04 failed; the last lines of {log}:"
    assert lines[1:16] == [f"  line {number}" for number in range(25, 40)]
    assert lines[16] == f"1 of 2 jobs were done; all that the run said: {tmp_path / 'all.log'}"
    assert (tmp_path / "all.log").read_text() == LOG


def test_a_failed_job_without_a_log_says_so(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no log was written"):
        follow(fake_snakemake(LOG, 1), log=tmp_path / "all.log", project=tmp_path)


def test_a_workflow_that_stops_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"(?s)MissingInputException.*all that it said: .*all.log"):
        follow(fake_snakemake("MissingInputException\n", 1), log=tmp_path / "all.log", project=tmp_path)


def test_a_lock_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    text = "LockException:\nError: Directory cannot be locked. Please make sure\n"
    with pytest.raises(StageError) as caught:
        follow(fake_snakemake(text, 1), log=tmp_path / "all.log", project=tmp_path / "my p")
    assert str(caught.value).count("\n") == 0
    assert f"lysoquant run '{tmp_path / 'my p'}' --unlock" in str(caught.value)


@pytest.mark.parametrize("background", [False, True])
def test_an_interrupt_ends_the_workflow_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: bool) -> None:
    """In the background of a shell SIGINT is ignored, and what is started there would inherit that."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Follower, "feed", interrupt)
    monkeypatch.setattr(project_follow, "_PATIENCE_S", 0.1)
    child = "import signal, sys, time\nprint('on', flush=True)\ntime.sleep(60)\n"
    start = time.monotonic()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if background else signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            follow([sys.executable, "-c", child], log=tmp_path / "all.log", project=tmp_path)
        assert (signal.getsignal(signal.SIGINT) is signal.SIG_IGN) == background
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - start < 30


@pytest.fixture
def project(layout: Layout) -> Project:
    channels = Channels(lysosome="L", cargo="C", nucleus="N")
    return Project(layout=layout, config=Config(channels=channels), plates={}, plate_map=())


def test_unlocking_says_where_it_failed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_run, "snakemake_command", lambda *_, **__: fake_snakemake("", 3))
    with pytest.raises(StageError, match="status 3"):
        run_workflow(project, unlock=True)


def test_a_run_leaves_all_that_was_said(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_run, "snakemake_command", lambda *_, **__: fake_snakemake("hello\n", 0))
    run_workflow(project)
    assert (project.layout.logs / "snakemake.log").read_text() == "hello\nlysoquant: Snakemake has ended\n"


def test_on_a_terminal_the_progress_is_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    follow(fake_snakemake(LOG, 0), log=tmp_path / "all.log", project=tmp_path)
    shown = capsys.readouterr().err
    assert "1/2 jobs" in shown
    assert "segment P B02-B03, segment P B04-B04" in shown


# The table -----------------------------------------------------------------------------------------------------------

HEADER = "plate,well,condition,n_cells,n_empty,n_loaded,occupancy_mean,occupancy_sd,occupancy_pooled,flags,other"


def test_the_table_is_aligned_and_rounded(tmp_path: Path) -> None:
    path = tmp_path / "wells.csv"
    path.write_text(f"{HEADER}\nP,B02,wild type,12,40,10,0.2512345,,0.2,few_cells,x\nP,B03,k,3,0,0,,,,,x\n")
    assert occupancy_table(path).splitlines() == [
        "plate  well  condition  n_cells  n_empty  n_loaded  occupancy_mean  occupancy_sd  occupancy_pooled  flags",
        "P      B02   wild type       12       40        10           0.251                           0.200  few_cells",
        "P      B03   k                3        0         0",
    ]


def test_a_long_table_is_cut_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "wells.csv"
    path.write_text("\n".join([HEADER, *["P,B02,k,1,1,1,0.5,0.1,0.5,,x"] * 30, ""]))
    lines = occupancy_table(path).splitlines()
    assert len(lines) == 26
    assert lines[-1] == f"... and 6 more wells in {path}"


def test_a_sheet_can_not_send_control_characters_to_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "wells.csv"
    path.write_text(f"{HEADER}\nP,B02,\x1b[31mred,1,1,1,0.5,0.1,0.5,,x\n")
    assert "\x1b" not in occupancy_table(path)


def test_a_missing_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="lysoquant aggregate"):
        occupancy_table(tmp_path / "wells.csv")
