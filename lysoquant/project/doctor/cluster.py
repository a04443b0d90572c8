"""Checks of a SLURM: commands, controller, account, partitions, and whether the largest jobs fit their nodes."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from lysoquant.errors import InputError, StageError
from lysoquant.project.doctor.finding import Finding, attempt, ok, problem, warning
from lysoquant.project.doctor.requests import Request, largest
from lysoquant.project.forecast.jobs import Forecast
from lysoquant.project.slurm import Wanted, ask, check_folder, entities, find_partition, status_arguments

_UNUSABLE: Final = frozenset(
    {"DOWN", "DRAIN", "DRAINED", "FAIL", "FAILED", "ERROR", "NOT_RESPONDING", "UNKNOWN", "INVAL"}
)
"""Words of a node's state with which it takes no job; one that sleeps (POWERED_DOWN) is woken up."""

_GPU: Final = re.compile(r"(?:^|,)gpu(?::[^:,()]+)??(?::(\d+))?(?=[,(]|$)")
_TIME: Final = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_NO_LIMIT: Final = frozenset({"UNLIMITED", "INFINITE", "NONE", "N/A", ""})

Facts = Mapping[str, str]


def controller(profile: Path) -> Finding:
    """Commands, executor and controller, and how the states of jobs can be asked for."""

    def look() -> str:
        arguments = status_arguments(profile, ())
        ask("squeue", "--noheader", "--states=RUNNING", "--format=%A", "--user", getpass.getuser())
        return f"answers; states of jobs by {arguments[-1] if arguments else 'what the profile says'}"

    return attempt("SLURM", look)


def quotable(project: Path) -> Finding:
    """Whether the executor can hand the project's folder to SLURM."""

    def look() -> str:
        check_folder(project)
        return "its name can be handed to SLURM"

    return attempt("folder", look)


def account(wanted: Wanted, user: str | None = None) -> Finding:
    """Whether the user may charge the profile's account, where there is accounting."""
    try:
        config = ask("scontrol", "show", "config")
        if re.search(r"^AccountingStorageType\s*=\s*\S*none$", config, re.MULTILINE):
            return ok("account", "no accounting on this SLURM, any will do")
        who = user or getpass.getuser()
        said = ask("sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={who}", "format=Account")
    except StageError as error:
        return warning("account", str(error), "ask the administrator which account is yours")
    mine = sorted({line.strip() for line in said.splitlines() if line.strip()})
    if wanted.account in mine:
        return ok("account", f"{wanted.account} of user {who}")
    if wanted.account is None and mine:
        return ok("account", f"none in the profile; the cluster's default for {who}, who has {', '.join(mine)}")
    if wanted.account is None:
        return warning("account", f"{who} has no account on this SLURM", "ask its administrator for one")
    return problem(
        "account",
        f"slurm_account is {wanted.account}; the accounts of {who} are {', '.join(mine) or '(none)'}",
        "correct slurm_account in the profile's config.yaml",
    )


def partitions(wanted: Wanted, requests: Sequence[Request] | None, *, gpu: bool) -> Iterator[Finding]:
    """Whether each partition is up and has a node, and the time, for the largest job that goes there.

    Parameters
    ----------
    requests : sequence of Request or None
        What the project's jobs ask for; None without a project.
    gpu : bool
        Its jobs ask for GPUs.
    """
    try:
        known, nodes = entities("partition"), entities("node")
    except StageError as error:
        yield problem("partitions", str(error))
        return
    names = wanted.partitions(gpu=gpu) | {request.partition: request.gpus > 0 for request in requests or ()}
    for name, wants_gpu in names.items():
        check = f"partition {name or '(default)'}"
        try:
            found = find_partition(name, known)
        except InputError as error:
            yield problem(check, str(error))
            continue
        members = [node for node in nodes.values() if found["PartitionName"] in node.get("Partitions", "").split(",")]
        mine = [request for request in requests or () if request.partition == name]
        yield _partition(check, found, members, mine, wants_gpu=wants_gpu)


def _partition(
    check: str, found: Facts, nodes: Sequence[Facts], requests: Sequence[Request], *, wants_gpu: bool
) -> Finding:
    usable = [node for node in nodes if _is_usable(node)]
    if not usable:
        states = ", ".join(f"{node['NodeName']} {node.get('State', '?')}" for node in nodes[:3])
        return problem(
            check, f"none of its {len(nodes)} nodes is up ({states})", "ask the administrator, or name another"
        )
    if wants_gpu and not any(gpus(node) for node in usable):
        return problem(
            check,
            "execution.device is cuda and no node that is up has a GPU (Gres)",
            "name a partition with GPUs as slurm_gpu_partition in the profile, or set execution.device to cpu",
        )
    for request in requests:
        reason = _too_large(request, found, usable)
        if reason:
            return problem(
                check,
                f"jobs of {request.stage} ask for {_words(request)}, {reason}",
                f"fewer execution.wells_per_job.{request.stage}, or set-threads and set-resources in the profile",
            )
    seen = f"up, {len(usable)} of {len(nodes)} nodes, MaxTime {found.get('MaxTime', '?')}"
    return ok(check, f"{seen}; largest jobs: {_words(largest(requests))}" if requests else seen)


def _words(request: Request) -> str:
    gpu = f", {request.gpus} GPU" if request.gpus else ""
    cores = f"{request.threads} core{'s' * (request.threads != 1)}"
    return f"{cores}, {request.mem_mb} MB, {request.runtime_min} min{gpu}"


def _too_large(request: Request, partition: Facts, nodes: Sequence[Facts]) -> str:
    """Why a job can never start there; empty if it can."""
    limit = minutes(partition.get("MaxTime", ""))
    if limit is not None and request.runtime_min > limit:
        return f"and MaxTime of the partition is {partition['MaxTime']}"
    for name, asked in (("MaxMemPerNode", request.mem_mb), ("MaxCPUsPerNode", request.threads)):
        most = number(partition.get(name, ""))
        if most is not None and asked > most:
            return f"and {name} of the partition is {most}"
    fitting = [
        node
        for node in nodes
        if (number(node.get("CPUTot", "")) or 0) >= request.threads
        and (number(node.get("RealMemory", "")) or 0) >= request.mem_mb
        and gpus(node) >= request.gpus
    ]
    if not fitting:
        most_cores = max(number(node.get("CPUTot", "")) or 0 for node in nodes)
        most_mb = max(number(node.get("RealMemory", "")) or 0 for node in nodes)
        return f"and no node that is up has as much (at most {most_cores} cores, {most_mb} MB)"
    return ""


def run_times(requests: Sequence[Request], forecast: Forecast | None) -> Iterator[Finding]:
    """Whether jobs end within the time that they ask for, by what wells took so far."""
    if forecast is None or forecast.is_rough:
        return
    longest = {stage.stage: stage.longest_min for stage in forecast.stages}
    for request in requests:
        if longest.get(request.stage, 0.0) > request.runtime_min:
            yield warning(
                "run time",
                f"the longest job of {request.stage} takes about {longest[request.stage]:.0f} min by the wells done so"
                f" far, and asks for {request.runtime_min} min",
                f"set-resources: {request.stage}: runtime in the profile, or fewer"
                f" execution.wells_per_job.{request.stage}",
            )


def _is_usable(node: Facts) -> bool:
    words = node.get("State", "UNKNOWN").split("+")
    return not any(word.endswith("*") for word in words) and _UNUSABLE.isdisjoint(words)


def gpus(node: Facts) -> int:
    """GPUs of a node."""
    return sum(int(count or 1) for count in _GPU.findall(node.get("Gres", "")))


def number(text: str) -> int | None:
    """A limit; None where there is none."""
    return int(text) if text.isdecimal() else None


def minutes(text: str) -> float | None:
    """Minutes of a time of SLURM (``days-hours:minutes:seconds`` and its shorter forms); None without a limit."""
    match = _TIME.fullmatch(text)
    if text in _NO_LIMIT or match is None:
        return None
    days, first, second, third = (None if part is None else int(part) for part in match.groups())
    if days is not None:
        return days * 1440 + first * 60 + (second or 0) + (third or 0) / 60 if first is not None else None
    if third is not None:
        return (first or 0) * 60 + (second or 0) + third / 60
    return (first or 0) + (second or 0) / 60
