"""What a run asks of SLURM, with commands that answer as told; the real one is in tests/integration/test_slurm.py."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lysoquant.errors import InputError, StageError
from lysoquant.project import slurm
from lysoquant.project.command import workflow_folder
from lysoquant.project.follow import follow
from lysoquant.project.follower import Follower
from lysoquant.project.resources import NEEDS, job_memory_mb, job_runtime_min
from lysoquant.project.slurm import (
    cancel_jobs,
    check_folder,
    explain,
    killed_run,
    lost_runs,
    mark_ended,
    plain_states,
    status_arguments,
    uses_slurm,
    was_killed,
)
from lysoquant.vocabulary import BATCH_STAGES

Answers = Callable[..., Path]
PROFILE = workflow_folder() / "profiles" / "slurm"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Put commands on the PATH: each a shell script; what they were called with is in ``calls``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.defpath}")
    monkeypatch.setattr(slurm, "find_spec", lambda name: name)

    def write(**scripts: str) -> Path:
        for name, script in {"sbatch": "", "squeue": "", "scancel": "", "scontrol": "", **scripts}.items():
            path = folder / name
            path.write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/calls\n{script}\n')
            path.chmod(0o755)
        return folder

    return write


def config(accounting: str, age: str = "300 sec") -> str:
    return f"echo 'AccountingStorageType   = {accounting}'\necho 'MinJobAge               = {age}'"


def test_the_profile_or_the_arguments_say_whether_a_run_goes_to_slurm(tmp_path: Path) -> None:
    (tmp_path / "config.v9+.yaml").write_text("executor: slurm\n")
    assert uses_slurm(PROFILE, ())
    assert uses_slurm(tmp_path, ())
    default = workflow_folder() / "profiles" / "default"
    assert not uses_slurm(default, ("--until", "cells"))
    assert uses_slurm(default, ("--executor", "slurm"))
    assert uses_slurm(default, ("--executor=slurm",))


def test_a_profile_that_is_not_yaml_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("executor: [slurm\n")
    with pytest.raises(InputError, match=r"config\.yaml is not YAML"):
        uses_slurm(tmp_path, ())


@pytest.mark.parametrize(
    ("accounting", "command"), [("accounting_storage/none", "squeue"), ("accounting_storage/slurmdbd", "sacct")]
)
def test_sacct_is_asked_only_where_there_is_accounting(commands: Answers, accounting: str, command: str) -> None:
    commands(scontrol=config(accounting), sacct="")
    assert status_arguments(PROFILE, ()) == ["--slurm-status-command", command]


def test_the_users_own_choice_stays(commands: Answers) -> None:
    folder = commands()
    assert status_arguments(PROFILE, ("--slurm-status-command", "squeue")) == []
    assert not (folder / "calls").exists()


def test_a_cluster_that_forgets_jobs_is_refused_before_anything_hangs(commands: Answers) -> None:
    commands(scontrol=config("accounting_storage/none", "10 sec"))
    with pytest.raises(InputError, match="forgets a job 10 s after its end, expected at least 200 s"):
        status_arguments(PROFILE, ())


def test_without_slurm_or_its_executor_the_remedy_is_said(
    commands: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands()
    monkeypatch.setattr(slurm, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"lysoquant\[slurm\]"):
        status_arguments(PROFILE, ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"sbatch, squeue, scancel, scontrol is not on the PATH"):
        status_arguments(PROFILE, ())


def test_a_slurm_that_does_not_answer_is_an_error_with_its_words(commands: Answers) -> None:
    commands(scontrol="echo Unable to contact slurm controller >&2; exit 1")
    with pytest.raises(StageError, match=r"`scontrol show config`: Unable to contact slurm controller"):
        status_arguments(PROFILE, ())


def test_a_folder_that_the_executor_cannot_quote_is_refused(tmp_path: Path) -> None:
    check_folder(tmp_path / 'a "plate" $HOME')
    with pytest.raises(InputError, match="with an apostrophe; rename it"):
        check_folder(tmp_path / "Ada's plate")


def test_only_the_log_of_a_killed_run_on_slurm_names_jobs(tmp_path: Path) -> None:
    log = tmp_path / "snakemake.log"
    assert killed_run(log) is None
    assert not was_killed(log)
    log.write_text("Building DAG of jobs...\n")
    assert was_killed(log)
    assert killed_run(log) is None
    mark_ended(log)
    assert not was_killed(log)
    mark_ended(log)
    assert log.read_text().count("has ended") == 1
    log.write_text("Building DAG of jobs...\nSLURM run ID: 1f-2e\nUsing shell: /usr/bin/bash\n")
    assert killed_run(log) == "1f-2e"
    mark_ended(log)
    assert killed_run(log) is None


def test_jobs_are_cancelled_by_name_and_waited_for(commands: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "_POLL_S", 0.01)
    # Three looks: two jobs, one that is still ending, none.
    script = 'n=$(grep -c squeue "$(dirname "$0")/calls"); [ $n = 1 ] && echo 7 8; [ $n = 2 ] && echo 8; true'
    folder = commands(squeue=script)
    assert cancel_jobs("1f-2e") == 2
    calls = (folder / "calls").read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["squeue", "scancel", "squeue", "squeue"]
    assert calls[1] == "scancel --name 1f-2e"


def test_jobs_that_do_not_end_stop_the_run(commands: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "_GONE_S", 0.0)
    commands(squeue="echo 7")
    with pytest.raises(StageError, match=r"SLURM jobs 7 of a killed run don't end; `scancel --name 1f-2e`"):
        cancel_jobs("1f-2e")


def test_memory_grows_with_the_wells_held_at_a_time_and_with_the_attempt() -> None:
    needs = NEEDS["convert"]
    assert job_memory_mb("convert", n_wells=1, threads=4, attempt=1) == needs.base_mb + needs.thread_mb
    assert job_memory_mb("convert", n_wells=12, threads=4, attempt=1) == needs.base_mb + 4 * needs.thread_mb
    assert job_memory_mb("convert", n_wells=12, threads=4, attempt=3) == 3 * (needs.base_mb + 4 * needs.thread_mb)


def test_tiles_of_one_well_take_memory_in_every_thread() -> None:
    needs = NEEDS["segment"]
    assert job_memory_mb("segment", n_wells=2, threads=8, attempt=1) == needs.base_mb + 8 * needs.thread_mb


def test_run_time_grows_with_the_fields_and_with_the_attempt() -> None:
    assert {name.split(" by ")[0] for name in NEEDS} == set(BATCH_STAGES)
    # 12 wells of 9 fields, 8 threads, 2 minutes a field, 10 minutes to start.
    assert job_runtime_min("measure", n_wells=12, n_fields=108, threads=8, attempt=1) == 10 + 27
    assert job_runtime_min("measure", n_wells=12, n_fields=108, threads=8, attempt=2) == 2 * (10 + 27)
    assert job_runtime_min("measure", n_wells=1, n_fields=9, threads=8, attempt=1) == 10 + 18
    assert job_runtime_min("measure", n_wells=1, n_fields=9, threads=8, attempt=1, n_cargoes=3) == 10 + 18
    assert job_runtime_min("segment", n_wells=8, n_fields=16, threads=8, attempt=1) == 15 + 8
    assert job_runtime_min("segment", n_wells=8, n_fields=16, threads=8, attempt=1, n_cargoes=3) == 15 + 24


ERROR = """\
rule segment:
    jobid: 4
    wildcards: plate=P, batch=B02-B03
Error in rule segment:
    message: SLURM-job '{number}' failed, SLURM status is: 'TIMEOUT'.
    jobid: 4
    log: results/logs/segment/P.B02-B03.log, /p/.snakemake/{number}.log (check log file(s) for error details)
"""


def test_a_job_that_failed_twice_is_one_failure_and_one_that_then_succeeded_none() -> None:
    follower = Follower()
    for line in (ERROR.format(number=11) + ERROR.format(number=12)).splitlines():
        follower.feed(line)
    (failure,) = follower.failures
    assert failure.rule == "segment P B02-B03"
    assert failure.log == "results/logs/segment/P.B02-B03.log"
    assert failure.message == "SLURM-job '12' failed, SLURM status is: 'TIMEOUT'"
    assert list(failure.cluster_logs) == ["/p/.snakemake/12.log"]
    for line in [*ERROR.splitlines()[:3], "Finished jobid: 4 (Rule: segment)"]:
        follower.feed(line)
    assert follower.failures == []


def test_of_a_cancelled_job_sacct_says_cancelled_and_nothing_else(commands: Answers) -> None:
    commands(sacct="echo '7|CANCELLED by 1000'; echo '8|RUNNING'; exit 3")
    shim = workflow_folder() / "slurm"
    environment = plain_states(shim)
    done = subprocess.run(["sacct", "-X"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "7|CANCELLED\n8|RUNNING\n")
    # A job that starts a run finds SLURM's own again, and not this one twice.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", environment["PATH"])
        assert plain_states(shim)["LYSOQUANT_SACCT"] == environment["LYSOQUANT_SACCT"]


def test_without_sacct_nothing_stands_for_it(
    commands: Answers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert plain_states(workflow_folder() / "slurm")["PATH"] == str(tmp_path)


ASKED = {"runtime": "12", "mem_mb": "300", "threads": "8", "slurm_partition": "cpu"}


@pytest.mark.parametrize(
    ("state", "log", "ended"),
    [
        ("TIMEOUT", "", "TIMEOUT, over its run time"),
        ("OUT_OF_MEMORY", "", "OUT_OF_MEMORY, over its memory"),
        ("FAILED", "slurmstepd-n2: error: Exceeded job memory limit\n", "FAILED, over its memory"),
        ("FAILED", "slurmstepd: error: Detected 1 oom_kill event in StepId=4.0\n", "FAILED, over its memory"),
        ("FAILED", "srun: error: n2: task 0: Exited with exit code 1\n", "FAILED, its command failed"),
        ("NODE_FAIL", "", "NODE_FAIL, its node went down"),
        ("CANCELLED by 1000", "", "CANCELLED, a person or SLURM cancelled it"),
        ("BOOT_FAIL", "", "BOOT_FAIL"),
    ],
)
def test_the_end_of_a_job_is_said_in_words(state: str, log: str, ended: str, tmp_path: Path) -> None:
    path = tmp_path / "7.log"
    path.write_text(log)
    message = f"SLURM-job '7' failed, SLURM status is: '{state}'. Reason: Unknown"
    said = explain(message, rule="measure", asked=ASKED, logs=[str(path), str(tmp_path / "gone.log")])
    assert said is not None
    assert said[0] == f"SLURM job 7 ended as {ended}"
    assert said[1].startswith("it had asked for 12 min, 300 MB, 8 threads, partition cpu")
    assert ("mem_mb of measure" in said[1]) == ("memory" in ended)
    assert ("runtime of measure" in said[1]) == (state == "TIMEOUT")


def test_what_is_no_job_on_slurm_is_not_explained() -> None:
    assert explain("SLURM sbatch failed. The error message was 'x'", rule="measure", asked={}, logs=[]) is None


RETRIED = """\
rule segment:
    jobid: 4
    wildcards: plate=P, batch=B02-B03
    threads: 8
    resources: tmpdir=<TBD>, mem_mb=6000, mem=6 GB, slurm_partition=gpu, runtime=19, gpu=1
Error in rule segment:
    message: SLURM-job '11' failed, SLURM status is: 'TIMEOUT'. Reason: Unknown.
    jobid: 4
    log: results/logs/segment/P.B02-B03.log, /p/11.log (check log file(s) for error details)
Trying to restart job 4.
rule segment:
    jobid: 4
    wildcards: plate=P, batch=B02-B03
    threads: 8
    resources: tmpdir=<TBD>, mem_mb=12000, mem=12 GB, slurm_partition=gpu, runtime=38, gpu=1
Error in rule segment:
    message: SLURM-job '12' failed, SLURM status is: 'TIMEOUT'. Reason: Unknown.
    jobid: 4
    log: results/logs/segment/P.B02-B03.log, /p/12.log (check log file(s) for error details)
"""


def test_an_attempt_leaves_its_log_and_the_last_one_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = tmp_path / "said"
    said.write_text(RETRIED)
    log = tmp_path / "results" / "logs" / "segment" / "P.B02-B03.log"
    log.parent.mkdir(parents=True)
    log.write_text("killed in field 3\n")
    with pytest.raises(StageError) as raised:
        follow(["sh", "-c", f"cat '{said}'; exit 1"], log=tmp_path / "snakemake.log", project=tmp_path)
    assert [path.name for path in log.parent.iterdir() if path != log] == ["P.B02-B03.attempt-1.log"]
    assert log.with_suffix(".attempt-1.log").read_text() == "killed in field 3\n"
    assert "run: attempt 2 of segment P B02-B03 with 12000 MB, 38 min\n" in capsys.readouterr().err
    assert str(raised.value).splitlines() == [
        "segment P B02-B03 failed at attempt 2: SLURM job 12 ended as TIMEOUT, over its run time",
        "it had asked for 38 min, 12000 MB, 8 threads, 1 GPU, partition gpu; to give it more, set runtime of segment"
        " under set-resources in the profile",
        f"the last lines of {log}:",
        "  killed in field 3",
        "the cluster's log of that job: /p/12.log",
        f"0 of 0 jobs were done; all that the run said: {tmp_path / 'snakemake.log'}",
    ]


def test_jobs_may_be_left_of_runs_on_slurm_that_did_not_end(tmp_path: Path) -> None:
    assert lost_runs(tmp_path) == []
    logs = tmp_path / ".snakemake" / "log"
    logs.mkdir(parents=True)
    texts = ("SLURM run ID: a\nComplete log(s): x\n", "SLURM run ID: b\n", "Building DAG of jobs...\n")
    for number, text in enumerate(texts):
        (logs / f"{number}.snakemake.log").write_text(text)
    assert lost_runs(tmp_path) == ["b"]
