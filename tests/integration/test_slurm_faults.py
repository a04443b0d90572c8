"""Faults on a real SLURM with accounting: jobs cancelled, over time or memory, a dying node, no controller."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from on_slurm import SLOW, SlurmJob, assert_equal_tables, jobs_of, slurm_command, stage_processes, unmeasured
from slurm_cluster import Cluster, ask
from tiny_project import ROOT

pytestmark = SLOW

Record = Callable[[str, object], None]
LONGEST_S = 420.0
AWAY_S = 30.0
LOG = Path("results", "logs", "measure", "P.B02-B03.log")


def cancel(cluster: Cluster, job: SlurmJob) -> None:
    ask("scancel", job.number)


def stop(cluster: Cluster, job: SlurmJob) -> None:
    for process in stage_processes(job.project, "measure"):
        os.kill(process, signal.SIGSTOP)


def crash(cluster: Cluster, job: SlurmJob) -> None:
    cluster.crash(job.node)


@dataclass
class Trial:
    """A run whose first measure job meets with a fault."""

    project: Path
    arguments: list[str]
    fault: Callable[[Cluster, SlurmJob], None] | None
    process: subprocess.Popen[str] = field(init=False)
    output: str = ""

    def start(self) -> None:
        self.process = subprocess.Popen(
            slurm_command(self.project, "--until", "aggregate", *self.arguments),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def meet(self, cluster: Cluster) -> None:
        """Do the fault, once, as soon as the stage itself runs."""
        if self.fault is not None and stage_processes(self.project, "measure"):
            (job,) = (job for job in jobs_of(self.project, "measure") if job.state == "RUNNING")
            self.fault(cluster, job)
            self.fault = None

    def states(self) -> list[str]:
        return [job.state for job in jobs_of(self.project, "measure")]


def asking(**resources: str) -> list[str]:
    return ["--set-resources", *(f"measure:{name}={value}" for name, value in resources.items())]


def follow(trials: dict[str, Trial], cluster: Cluster) -> None:
    """Run all at a time, as most of it is waiting, and let each meet its fault."""
    try:
        for trial in trials.values():
            trial.start()
        until = time.monotonic() + LONGEST_S
        while any(trial.process.poll() is None for trial in trials.values()) and time.monotonic() < until:
            for trial in trials.values():
                trial.meet(cluster)
            time.sleep(0.2)
    finally:
        for trial in trials.values():
            trial.process.kill()
            trial.output = trial.process.communicate()[0]


@pytest.fixture(scope="module")
def trials(accounting_cluster: Cluster, local: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trial]:
    faults: dict[str, tuple[list[str], Callable[[Cluster, SlurmJob], None] | None]] = {
        "cancelled": (asking(slurm_account="root"), cancel),
        "time": (asking(runtime="attempt"), stop),
        "memory": (asking(mem_mb="300 * attempt ** 2"), None),
        "node": (asking(slurm_partition="frail"), crash),
        "time for good": (["--retries", "0", *asking(runtime="1")], stop),
        "memory for good": (["--retries", "0", *asking(mem_mb="300")], None),
        "no account": (["--retries", "0", *asking(slurm_account="nobody")], None),
    }
    folder = tmp_path_factory.mktemp("faults")
    found = {
        name: Trial(unmeasured(local, folder / name), arguments, fault) for name, (arguments, fault) in faults.items()
    }
    follow(found, accounting_cluster)
    return found


@pytest.mark.parametrize(
    ("name", "states", "fault"),
    [
        ("cancelled", ["CANCELLED", "COMPLETED"], "scancel of a job while it runs"),
        ("time", ["TIMEOUT", "COMPLETED"], "a stopped job over its run-time limit"),
        ("memory", ["FAILED", "COMPLETED"], "a job over its memory, killed by SLURM"),
        ("node", ["NODE_FAIL", "COMPLETED"], "a node that dies with the job on it"),
    ],
)
def test_a_job_that_met_a_fault_is_done_again_and_the_tables_are_those_of_a_local_run(
    name: str, states: list[str], fault: str, trials: dict[str, Trial], local: Path, record_property: Record
) -> None:
    trial = trials[name]
    assert trial.process.returncode == 0, trial.output
    assert [job.state for job in jobs_of(trial.project, "measure")] == states
    assert "run: FAILED measure P B02-B03\n" in trial.output
    assert (trial.project / LOG.with_suffix(".attempt-1.log")).is_file()
    assert_equal_tables(trial.project, local)
    record_property("fault", fault)
    record_property("times", "1")
    record_property("lost", "nothing")


def test_the_next_attempt_has_more_time_and_memory_or_another_node(trials: dict[str, Trial]) -> None:
    first, second = jobs_of(trials["time"].project, "measure")
    assert (first.limit, second.limit) == ("1:00", "2:00")
    first, second = jobs_of(trials["memory"].project, "measure")
    assert (first.memory, second.memory) == ("300M", "1200M")
    assert "run: attempt 2 of measure P B02-B03 with 1200 MB, 24 min\n" in trials["memory"].output
    first, second = jobs_of(trials["node"].project, "measure")
    assert {first.node, second.node} == {"n3", "n4"}


def test_the_account_is_that_of_the_profile_or_the_users_own(trials: dict[str, Trial]) -> None:
    assert {job.account for job in jobs_of(trials["cancelled"].project, "measure")} == {"root"}
    assert {job.account for job in jobs_of(trials["time"].project, "measure")} == {"lab"}
    refused = trials["no account"]
    assert refused.process.returncode == 1
    assert "The given account nobody appears to be invalid" in refused.output
    assert jobs_of(refused.project) == []


@pytest.mark.parametrize(
    ("name", "state", "asked", "resource"),
    [
        ("time for good", "TIMEOUT, over its run time", "1 min, 4000 MB", "runtime"),
        ("memory for good", "FAILED, over its memory", "12 min, 300 MB", "mem_mb"),
    ],
)
def test_a_job_that_failed_for_good_is_explained(
    name: str, state: str, asked: str, resource: str, trials: dict[str, Trial]
) -> None:
    trial = trials[name]
    (job,) = jobs_of(trial.project)
    slurm_log = trial.project / ".snakemake" / "slurm_logs" / "rule_measure" / "P_B02-B03" / f"{job.number}.log"
    assert slurm_log.is_file()
    assert trial.process.returncode == 1
    errors = [line for line in trial.output.splitlines() if line.startswith("error: ")]
    more = f"set {resource} of measure under set-resources in the profile"
    assert errors[:3] == [
        f"error: measure P B02-B03 failed: SLURM job {job.number} ended as {state}",
        f"error: it had asked for {asked}, 8 threads, partition cpu; to give it more, {more}",
        f"error: the last lines of {trial.project / LOG}:",
    ]
    assert f"error: the cluster's log of that job: {slurm_log}" in errors


def test_a_controller_that_is_away_while_a_job_ends_costs_nothing(
    trials: dict[str, Trial], accounting_cluster: Cluster, local: Path, tmp_path: Path, record_property: Record
) -> None:
    def away(cluster: Cluster, _job: SlurmJob) -> None:
        cluster.kill("slurmctld")
        time.sleep(AWAY_S)
        cluster.start("slurmctld")

    trial = Trial(unmeasured(local, tmp_path / "p"), [], away)
    follow({"away": trial}, accounting_cluster)
    assert trial.process.returncode == 0, trial.output
    assert trial.fault is None
    # A job whose end nobody could be told of may be done again.
    assert [job.state for job in jobs_of(trial.project, "aggregate")][-1] == "COMPLETED"
    assert_equal_tables(trial.project, local)
    record_property("fault", f"SLURM's controller away for {AWAY_S:.0f} s while a job runs and ends")
    record_property("times", "1")
    record_property("lost", "nothing")
