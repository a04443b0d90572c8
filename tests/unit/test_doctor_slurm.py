"""The doctor's checks of a SLURM, with commands that answer as told. A real one: tests/integration.."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lysoquant.errors import InputError, StageError
from lysoquant.project import slurm
from lysoquant.project.command import workflow_folder
from lysoquant.project.doctor import cluster, probe
from lysoquant.project.doctor.requests import Request, read_requests
from lysoquant.project.forecast.jobs import Forecast, StageForecast
from lysoquant.project.slurm import Wanted, check_partitions, wanted

Answers = Callable[..., Path]
PROFILE = workflow_folder() / "profiles" / "slurm"
WANTED = Wanted(partition="cpu", gpu_partition="gpu", account=None, jobs=100)

PARTITIONS = """\
PartitionName=cpu Default=YES MaxTime=1-00:00:00 Nodes=n1,n2 MaxCPUsPerNode=UNLIMITED MaxMemPerNode=UNLIMITED State=UP
PartitionName=gpu Default=NO MaxTime=04:00:00 Nodes=g1 MaxCPUsPerNode=16 MaxMemPerNode=60000 State=UP
PartitionName=old Default=NO MaxTime=UNLIMITED Nodes=n1 State=DRAIN
"""
NODES = """\
NodeName=n1 Arch=x86_64 CPUTot=8 Gres=(null) OS=Linux 6.1 #1 RealMemory=32000 State=IDLE Partitions=cpu,old
NodeName=n2 Arch=x86_64 CPUTot=64 Gres=(null) RealMemory=128000 State=DOWN*+DRAIN Partitions=cpu
NodeName=g1 Arch=x86_64 CPUTot=32 Gres=gpu:a100:4(S:0-1) RealMemory=256000 State=MIXED+CLOUD Partitions=gpu
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Put commands on the PATH: each a shell script; what they were called with is in ``calls``."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.defpath}")
    monkeypatch.setattr(slurm, "find_spec", lambda name: name)

    def write(**scripts: str) -> Path:
        known = {
            "sbatch": "",
            "squeue": "",
            "scancel": "",
            "srun": "",
            "scontrol": f"case $2 in partition) cat <<'E'\n{PARTITIONS}E\n;; node) cat <<'E'\n{NODES}E\n;; esac",
        }
        for name, script in (known | scripts).items():
            path = folder / name
            path.write_text(f'#!/bin/sh\necho {name} "$@" >> {folder}/calls\n{script}\n')
            path.chmod(0o755)
        return folder

    return write


def request(**values: int | str) -> Request:
    base: dict[str, int | str] = {"stage": "segment", "partition": "cpu", "jobs": 1, "threads": 8, "mem_mb": 12000}
    return Request(**(base | {"runtime_min": 60, "gpus": 0} | values))  # type: ignore[arg-type]


def states(found: list[cluster.Finding]) -> dict[str, str]:
    return {each.check: each.state for each in found}


def test_what_a_profile_asks_for(tmp_path: Path) -> None:
    assert wanted(PROFILE) == Wanted("cpu", "gpu", None, 100)
    (tmp_path / "config.yaml").write_text(
        "executor: slurm\njobs: 7\ndefault-resources:\n  - slurm_account=lab\n  - slurm_partition=\"'all'\"\n"
    )
    asked = wanted(tmp_path)
    assert asked == Wanted("all", None, "lab", 7)
    assert asked.partitions(gpu=False) == {"all": False}
    assert asked.partitions(gpu=True) == {"all": True}
    assert WANTED.partitions(gpu=True) == {"cpu": False, "gpu": True}


def test_partitions_with_room_for_the_largest_jobs_are_fine(commands: Answers) -> None:
    commands()
    asked = [request(), request(stage="measure", runtime_min=100), request(partition="gpu", gpus=1)]
    found = list(cluster.partitions(WANTED, asked, gpu=True))
    assert states(found) == {"partition cpu": "ok", "partition gpu": "ok"}
    assert found[0].seen == "up, 1 of 2 nodes, MaxTime 1-00:00:00; largest jobs: 8 cores, 12000 MB, 100 min"
    assert found[1].seen == "up, 1 of 1 nodes, MaxTime 04:00:00; largest jobs: 8 cores, 12000 MB, 60 min, 1 GPU"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (request(runtime_min=1441), "1441 min, and MaxTime of the partition is 1-00:00:00"),
        (request(threads=9), "and no node that is up has as much (at most 8 cores, 32000 MB)"),
        (request(mem_mb=33000), "and no node that is up has as much (at most 8 cores, 32000 MB)"),
        (request(gpus=1), "execution.device is cuda and no node that is up has a GPU"),
        (request(partition="gpu", gpus=5), "5 GPU, and no node that is up has as much"),
        (request(partition="gpu", gpus=1, threads=17), "and MaxCPUsPerNode of the partition is 16"),
        (request(partition="gpu", gpus=1, mem_mb=60001), "and MaxMemPerNode of the partition is 60000"),
        (request(partition="old"), "partition old is DRAIN"),
        (request(partition="nowhere"), "has no partition 'nowhere'; its partitions are cpu, gpu, old"),
    ],
)
def test_a_job_that_could_never_start_is_a_problem(asked: Request, reason: str, commands: Answers) -> None:
    commands()
    found = {each.check: each for each in cluster.partitions(WANTED, [asked], gpu=False)}
    each = found[f"partition {asked.partition}"]
    assert each.state == "problem"
    assert reason in each.seen


def test_a_partition_without_a_node_that_is_up_is_a_problem(commands: Answers) -> None:
    folder = commands()
    script = (folder / "scontrol").read_text()
    (folder / "scontrol").write_text(script.replace("State=IDLE", "State=IDLE*"))
    (found,) = cluster.partitions(WANTED, None, gpu=False)
    assert (found.state, found.seen[:27]) == ("problem", "none of its 2 nodes is up (")


def test_a_run_is_refused_before_anything_is_submitted(commands: Answers, tmp_path: Path) -> None:
    folder = commands()
    check_partitions(PROFILE, (), gpu=True)
    (tmp_path / "config.yaml").write_text("executor: slurm\ndefault-resources: {slurm_partition: night}\n")
    with pytest.raises(InputError, match="has no partition 'night'; its partitions are cpu, gpu, old"):
        check_partitions(tmp_path, (), gpu=False)
    check_partitions(tmp_path, ("--default-resources", "slurm_partition=cpu"), gpu=False)
    assert {call.split()[0] for call in (folder / "calls").read_text().splitlines()} == {"scontrol"}


def accounting(accounts: str, kind: str = "accounting_storage/slurmdbd") -> dict[str, str]:
    return {"scontrol": f"echo 'AccountingStorageType   = {kind}'", "sacctmgr": f"printf '{accounts}'"}


@pytest.mark.parametrize(
    ("account", "accounts", "state"),
    [("lab", r"other\nlab\n", "ok"), ("lab", r"other\n", "problem"), (None, r"other\n", "ok"), (None, "", "warning")],
)
def test_the_account_is_asked_for_where_there_is_accounting(
    account: str | None, accounts: str, state: str, commands: Answers
) -> None:
    asked = Wanted("cpu", None, account, None)
    commands(**accounting(accounts))
    assert cluster.account(asked, user="ada").state == state
    folder = commands(**accounting("", "accounting_storage/none"))
    calls = (folder / "calls").read_text().count("sacctmgr")
    assert cluster.account(asked, user="ada").state == "ok"
    assert (folder / "calls").read_text().count("sacctmgr") == calls == 1


def test_a_controller_that_does_not_answer_is_a_problem(commands: Answers) -> None:
    commands(scontrol="echo slurm_load_ctl_conf error: Unable to contact slurm controller >&2; exit 1")
    found = cluster.controller(PROFILE)
    assert found.state == "problem"
    assert "Unable to contact slurm controller" in found.seen
    (found,) = cluster.partitions(WANTED, None, gpu=False)
    assert found.state == "problem"
    commands(scontrol="echo 'AccountingStorageType = accounting_storage/none'; echo 'MinJobAge = 300 sec'")
    assert cluster.controller(PROFILE).seen == "answers; states of jobs by squeue"


def test_an_apostrophe_in_the_folder_is_a_problem(tmp_path: Path) -> None:
    assert cluster.quotable(tmp_path).state == "ok"
    assert cluster.quotable(tmp_path / "Ada's").state == "problem"


def test_jobs_that_take_longer_than_they_ask_for_are_a_warning() -> None:
    stage = StageForecast("segment", 1, 12, 108, 1.0, 0.0, 0, 0, longest_min=90.0)
    found = Forecast(stages=(stage,), basis="", is_rough=False, wall_h=1.0, where="")
    (late,) = cluster.run_times([request(runtime_min=60), request(stage="measure")], found)
    assert late.state == "warning"
    assert "the longest job of segment takes about 90 min" in late.seen
    assert list(cluster.run_times([request(runtime_min=91)], found)) == []
    assert list(cluster.run_times([request()], None)) == []


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("1-00:00:00", 1440), ("2-12", 3600), ("04:30:30", 270.5), ("30:30", 30.5), ("45", 45), ("UNLIMITED", None)],
)
def test_times_of_slurm(text: str, minutes: float | None) -> None:
    assert cluster.minutes(text) == minutes


@pytest.mark.parametrize(
    ("gres", "count"),
    [("gpu:1", 1), ("gpu:a100:4(S:0-1)", 4), ("gpu:a100:2,gpu:v100:3", 5), ("gpu", 1), ("(null)", 0), ("shard:8", 0)],
)
def test_gpus_of_a_node(gres: str, count: int) -> None:
    assert cluster.gpus({"Gres": gres}) == count


DRY_RUN = """\
rule convert_plate:
    wildcards: plate=P
    resources: mem_mb=2000, slurm_partition=cpu, runtime=30
Shell command: lysoquant convert

rule segment:
    wildcards: plate=P, batch=B02-B09
    threads: 8
    resources: tmpdir=/tmp, mem_mb=12000, disk_mb=<TBD>, slurm_partition=gpu, runtime=51, gpu=1
Shell command: lysoquant segment

rule segment:
    wildcards: plate=P, batch=B10-B11
    threads: 4
    resources: tmpdir=/tmp, mem_mb=13000, slurm_partition=gpu, runtime=20, gpu=1

rule report:
    resources: mem_mb=8000, runtime=60
"""


def test_requests_are_read_from_a_dry_run() -> None:
    assert read_requests(DRY_RUN) == [
        Request("segment", "gpu", jobs=2, threads=8, mem_mb=13000, runtime_min=51, gpus=1),
        Request("report", None, jobs=1, threads=1, mem_mb=8000, runtime_min=60, gpus=0),
    ]


def asked(tmp_path: Path, *, partition: str = "cpu", gpu: bool = False, seconds: float = 20.0) -> cluster.Finding:
    raw = tmp_path / "raw file.tif"
    raw.touch()
    (found,) = probe.probe({partition: gpu}, project=tmp_path, raw=[raw], account="lab", seconds=seconds)
    assert not list(tmp_path.glob(".lysoquant-doctor-*"))
    return found


HERE = """
while [ "$1" != sh ]; do shift; done
exec "$@"
"""


def test_the_probe_asks_a_node_for_the_files_and_for_this_python(commands: Answers, tmp_path: Path) -> None:
    folder = commands(srun=HERE)
    found = asked(tmp_path)
    assert found.state == "ok", found
    call = next(line for line in (folder / "calls").read_text().splitlines() if line.startswith("srun"))
    assert "--partition=cpu --account=lab --chdir=/" in call
    assert "--gpus" not in call


def test_what_the_node_does_not_see_is_named(
    commands: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_TOKEN_S", 0)
    commands(srun=HERE.replace("exec", f"rm -f '{tmp_path / 'raw file.tif'}'; exec"))
    assert asked(tmp_path).seen.endswith(f" does not see {tmp_path / 'raw file.tif'}")
    commands(srun=HERE.replace("exec", f"rm -f {tmp_path}/.lysoquant-doctor-*; exec"))
    assert f"does not see a file just written in {tmp_path}" in asked(tmp_path).seen
    commands(srun=HERE)
    monkeypatch.setattr(probe.sys, "executable", "/nowhere/python")
    assert asked(tmp_path).seen.endswith(" does not see /nowhere/python")


def test_a_python_that_cannot_import_is_a_problem_with_its_words(
    commands: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands(srun=HERE)
    monkeypatch.setattr(probe, "_IMPORT", "import lysoquant.not_there")
    found = asked(tmp_path)
    assert found.state == "problem"
    assert "No module named 'lysoquant.not_there'" in found.seen


@pytest.mark.parametrize(("answer", "state"), [("True", "ok"), ("False", "problem")])
def test_a_gpu_is_asked_for_and_must_be_found(
    answer: str, state: str, commands: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = commands(srun=HERE)
    monkeypatch.setattr(probe, "_IMPORT_GPU", f"{probe._IMPORT}; print('gpu', {answer})")
    assert asked(tmp_path, gpu=True).state == state
    assert "--gpus=1" in (folder / "calls").read_text()


def test_a_full_cluster_is_a_warning_in_time_and_the_probe_is_cancelled(commands: Answers, tmp_path: Path) -> None:
    folder = commands(srun="exec sleep 60")
    began = time.monotonic()
    found = asked(tmp_path, seconds=0.5)
    assert time.monotonic() - began < 30
    assert (found.state, found.seen[:29]) == ("warning", "could not be probed in 0 s: n")
    calls = (folder / "calls").read_text().splitlines()
    name = next(word for word in calls[0].split() if word.startswith("--job-name=")).removeprefix("--job-name=")
    assert calls[-1] == f"scancel --name {name}"


def test_without_srun_no_node_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert asked(tmp_path).state == "warning"


def test_a_probe_that_began_and_hangs_is_a_problem(commands: Answers, tmp_path: Path) -> None:
    commands(srun="echo node n7; exec sleep 60")
    found = asked(tmp_path, seconds=0.5)
    assert found.state == "problem"
    assert "the probe began (node n7) and did not end" in found.seen


def test_a_probe_that_is_refused_is_a_problem_with_slurms_words(commands: Answers, tmp_path: Path) -> None:
    commands(srun="echo 'srun: error: Invalid account or account/partition combination specified' >&2; exit 1")
    found = asked(tmp_path)
    assert found.state == "problem"
    assert "Invalid account" in found.seen


def test_the_probe_makes_a_job_of_its_own_within_a_job(
    commands: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setenv("SLURM_CONF", "/etc/elsewhere/slurm.conf")
    folder = commands(srun=f'env | grep ^SLURM > "$(dirname "$0")/seen"\n{HERE}')
    assert asked(tmp_path).state == "ok"
    assert (folder / "seen").read_text() == "SLURM_CONF=/etc/elsewhere/slurm.conf\n"


def test_nodes_and_partitions_are_not_asked_for_where_slurm_is_silent(commands: Answers) -> None:
    commands(scontrol="exit 1")
    with pytest.raises(StageError, match="scontrol show partition"):
        check_partitions(PROFILE, (), gpu=False)
