"""SLURM around a run: what Snakemake needs there, jobs that a killed run left, how a failed job ended."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from lysoquant.errors import InputError, StageError
from lysoquant.project.profile import profile_settings

_COMMANDS: Final = ("sbatch", "squeue", "scancel", "scontrol")
_ENDED: Final = "lysoquant: Snakemake has ended"
_PLUGIN: Final = "snakemake_executor_plugin_slurm"
_STATUS: Final = "slurm-status-command"
_ATTRIBUTE: Final = re.compile(r"(\w+)=(\S*)")
_RUN_ID: Final = re.compile(r"SLURM run ID: (\S+)")
_COMPLETE: Final = "Complete log(s): "
_ANSWER_S: Final = 60.0
_GONE_S: Final = 120.0
_POLL_S: Final = 0.5
_LEAST_JOB_AGE_S: Final = 200
"""Without accounting: the executor asks every 180 s at the longest, and a job that SLURM forgot would never end."""

_END: Final = re.compile(r"SLURM-job '(\d+)' failed.*?SLURM status is: '([\w ]+)'")
_OVER_MEMORY: Final = re.compile(r"exceeded (?:job )?memory limit|oom.kill", re.IGNORECASE)
_REASONS: Final[Mapping[str, tuple[str, str | None]]] = {
    "TIMEOUT": ("over its run time", "runtime"),
    "OUT_OF_MEMORY": ("over its memory", "mem_mb"),
    "NODE_FAIL": ("its node went down", None),
    "CANCELLED": ("a person or SLURM cancelled it", None),
    "FAILED": ("its command failed", None),
}
"""What a state of SLURM means, and which resource to raise."""


def uses_slurm(profile: Path, more: Sequence[str]) -> bool:
    """Whether a run goes to SLURM, by its profile's folder or by the arguments given to Snakemake."""
    return profile_settings(profile).get("executor") == "slurm" or not {"slurm", "--executor=slurm"}.isdisjoint(more)


def status_arguments(profile: Path, more: Sequence[str]) -> list[str]:
    """Arguments for Snakemake that tell how the states of jobs are asked for on this cluster.

    ``sacct`` hangs for ever on a cluster without accounting, and the executor prefers it wherever it is installed.

    Raises
    ------
    InputError
        If SLURM's commands or the executor are not installed, or SLURM forgets jobs before they can be asked for.
    StageError
        If SLURM does not answer.
    """
    missing = [command for command in _COMMANDS if shutil.which(command) is None]
    if missing:
        raise InputError(
            f"this profile sends jobs to SLURM, and {', '.join(missing)} is not on the PATH;"
            " start the run on a node from which jobs are submitted, or leave out --profile"
        )
    if find_spec(_PLUGIN) is None:
        raise InputError(
            f"Snakemake's executor for SLURM is not installed in {sys.prefix}; pip install 'lysoquant[slurm]'"
        )
    if _STATUS in profile_settings(profile) or any(argument.startswith(f"--{_STATUS}") for argument in more):
        return []
    cluster = dict(re.findall(r"^(\w+)\s*=\s*(\S+)", ask("scontrol", "show", "config"), flags=re.MULTILINE))
    if not cluster.get("AccountingStorageType", "none").endswith("none"):
        return [f"--{_STATUS}", "sacct"]
    if int(cluster.get("MinJobAge", "0")) < _LEAST_JOB_AGE_S:
        raise InputError(
            f"this SLURM has no accounting and forgets a job {cluster.get('MinJobAge', '0')} s after its end, expected"
            f" at least {_LEAST_JOB_AGE_S} s; its administrator sets MinJobAge in slurm.conf, or better, accounting"
        )
    return [f"--{_STATUS}", "squeue"]


@dataclass(frozen=True)
class Wanted:
    """What a profile asks of a cluster.

    Attributes
    ----------
    partition, gpu_partition : str or None
        Where jobs without and with a GPU run; None for the cluster's default.
    account : str or None
    jobs : int or None
        Most jobs at a time.
    """

    partition: str | None
    gpu_partition: str | None
    account: str | None
    jobs: int | None

    def partitions(self, *, gpu: bool) -> dict[str | None, bool]:
        """Partitions that a project's jobs go to, each with whether GPUs are asked for there."""
        return {self.partition: False} | ({self.gpu_partition or self.partition: True} if gpu else {})


def wanted(profile: Path) -> Wanted:
    """What a profile's folder asks of a cluster."""
    settings = profile_settings(profile)
    defaults = settings.get("default-resources") or {}
    if isinstance(defaults, list):
        defaults = dict(str(pair).partition("=")[::2] for pair in defaults)
    names = {
        key: str(defaults[key]).strip("'\"") if defaults.get(key) else None
        for key in ("slurm_partition", "slurm_gpu_partition", "slurm_account")
    }
    jobs = settings.get("jobs")
    return Wanted(
        partition=names["slurm_partition"],
        gpu_partition=names["slurm_gpu_partition"],
        account=names["slurm_account"],
        jobs=jobs if isinstance(jobs, int) else None,
    )


def entities(kind: str) -> dict[str, dict[str, str]]:
    """All partitions or nodes of the cluster by name, each with what ``scontrol show`` says of it.

    Raises
    ------
    StageError
        If SLURM does not answer.
    """
    name = f"{kind.capitalize()}Name"
    found = (dict(_ATTRIBUTE.findall(line)) for line in ask("scontrol", "show", kind, "--oneliner").splitlines())
    return {each[name]: each for each in found if name in each}


def find_partition(name: str | None, partitions: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """What is said of a partition; of the default one where there is no name.

    Raises
    ------
    InputError
        If there is none of that name, or it takes no jobs.
    """
    found = partitions.get(name) if name else next((p for p in partitions.values() if p.get("Default") == "YES"), None)
    if found is None:
        what = f"has no partition {name!r}" if name else "has no default partition and the profile names none"
        raise InputError(
            f"this SLURM {what}; its partitions are {', '.join(sorted(partitions)) or '(none)'}:"
            " correct slurm_partition and slurm_gpu_partition in the profile's config.yaml"
        )
    if found.get("State") != "UP":
        raise InputError(
            f"partition {found['PartitionName']} is {found.get('State', 'in no known state')};"
            " wait until it is up, or name another one in the profile's config.yaml"
        )
    return found


def check_partitions(profile: Path, more: Sequence[str], *, gpu: bool) -> None:
    """Refuse a profile whose partitions are not there, before anything is submitted.

    Parameters
    ----------
    gpu : bool
        The project's jobs ask for GPUs.

    Raises
    ------
    InputError
        Naming the partitions that there are.
    StageError
        If SLURM does not answer.
    """
    if any(argument.startswith(("--default-resources", "--set-resources")) for argument in more):
        return
    partitions = entities("partition")
    for name in wanted(profile).partitions(gpu=gpu):
        find_partition(name, partitions)


def check_folder(project: Path) -> None:
    """Refuse a folder whose name the executor can't hand to SLURM.

    Raises
    ------
    InputError
        If there is an apostrophe in it: the executor puts the folder between apostrophes as it is.
    """
    if "'" in str(project.absolute()):
        raise InputError(f"{project.absolute()}: jobs on SLURM can't work in a folder with an apostrophe; rename it")


def killed_run(log: Path) -> str | None:
    """Name of the jobs of the last run, if that went to SLURM and was killed.

    Parameters
    ----------
    log : pathlib.Path
        All that Snakemake said in that run.
    """
    found = _RUN_ID.search(log.read_text(encoding="utf-8", errors="replace")) if was_killed(log) else None
    return found[1] if found else None


def was_killed(log: Path) -> bool:
    """Whether the last run left a log and not its end."""
    return log.is_file() and _ENDED not in log.read_text(encoding="utf-8", errors="replace")


def mark_ended(log: Path) -> None:
    """Say at the end of the log of a run that it ended, well or not, and was not killed."""
    if was_killed(log):
        with log.open("a", encoding="utf-8") as text:
            text.write(f"{_ENDED}\n")


def lost_runs(project: Path) -> list[str]:
    """Names of the jobs of runs on SLURM that did not come to their end, plain Snakemake's too."""
    names = []
    for log in _snakemake_logs(project):
        text = log.read_text(encoding="utf-8", errors="replace")
        if (found := _RUN_ID.search(text)) and _COMPLETE not in text:
            names.append(found[1])
    return names


def _snakemake_logs(project: Path) -> list[Path]:
    """Snakemake's own logs, the oldest first: their names begin with the time."""
    return sorted((project / ".snakemake" / "log").glob("*.snakemake.log"))


def plain_states(folder: Path) -> dict[str, str]:
    """Environment in which ``sacct`` gives states of one word.

    Of a cancelled job it says ``CANCELLED by 1000``; version 2.8.0 of the executor does not know that state and waits
    for the job for ever.

    Parameters
    ----------
    folder : pathlib.Path
        Of the ``sacct`` that goes before SLURM's.
    """
    environment = dict(os.environ)
    path = os.pathsep.join(entry for entry in os.get_exec_path() if Path(entry) != folder)
    command = shutil.which("sacct", path=path)
    if command is not None:
        environment |= {"LYSOQUANT_SACCT": command, "PATH": f"{folder}{os.pathsep}{path}"}
    return environment


def explain(message: str, *, rule: str, asked: Mapping[str, str], logs: Sequence[str]) -> list[str] | None:
    """How a job ended on SLURM and what it had asked for, for a person; None if the message is not of a job there.

    Parameters
    ----------
    message : str
        What Snakemake's executor says of the job.
    rule : str
        Of the job.
    asked : mapping of str to str
        Resources by name, as Snakemake announced the job.
    logs : sequence of str
        Paths of SLURM's logs of the job.
    """
    found = _END.search(message)
    if found is None:
        return None
    job, state = found[1], found[2].split()[0]
    # Without cgroups SLURM kills a job that is over its memory and calls that FAILED or CANCELLED.
    over_memory = any(_OVER_MEMORY.search(_text(Path(log))) for log in logs)
    reason, resource = _REASONS["OUT_OF_MEMORY"] if over_memory else _REASONS.get(state, ("", None))
    parts = [
        f"{value}{unit}"
        for name, unit in (("runtime", " min"), ("mem_mb", " MB"), ("threads", " threads"), ("gpu", " GPU"))
        if (value := asked.get(name))
    ]
    parts += [f"partition {asked['slurm_partition']}"] if "slurm_partition" in asked else []
    wanted = f"it had asked for {', '.join(parts)}"
    if resource is not None:
        wanted += f"; to give it more, set {resource} of {rule} under set-resources in the profile"
    return [f"SLURM job {job} ended as {state}" + (f", {reason}" if reason else ""), wanted]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def cancel_jobs(name: str) -> int:
    """Cancel all jobs of a name and wait until none of them runs; returns how many there were.

    Raises
    ------
    StageError
        If SLURM does not answer, or jobs are still there after two minutes.
    """
    left = _jobs(name)
    if left:
        ask("scancel", "--name", name)
    until = time.monotonic() + _GONE_S
    while staying := _jobs(name):
        if time.monotonic() > until:
            raise StageError(
                f"SLURM jobs {', '.join(staying)} of a killed run don't end;"
                f" `scancel --name {name}`, wait until `squeue --name {name}` is empty, and run again"
            )
        time.sleep(_POLL_S)
    return len(left)


def _jobs(name: str) -> list[str]:
    return ask("squeue", "--noheader", "--name", name, "--format", "%A").split()


def ask(*command: str) -> str:
    """What a command of SLURM answers.

    Raises
    ------
    StageError
        If it is not there, fails, or does not answer within a minute.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ANSWER_S).stdout
    except subprocess.TimeoutExpired:
        reason = f"no answer in {_ANSWER_S:.0f} s"
    except subprocess.CalledProcessError as error:
        reason = " ".join(str(error.stderr).split()) or f"status {error.returncode}"
    except FileNotFoundError:
        reason = "no such command on the PATH"
    raise StageError(f"`{' '.join(command)}`: {reason}; nothing was started, run again where SLURM answers")
