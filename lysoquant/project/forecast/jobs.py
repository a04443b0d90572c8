"""From what a field costs to what the rest of a project costs: jobs, hours, wall time, bytes and files."""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lysoquant.project.batches import UPSTREAM, Batch, Plan
from lysoquant.project.forecast.costs import (
    ROUGH_PICTURE_BYTES,
    ROUGH_PROJECT_S,
    ROUGH_REPORT_BYTES,
    FieldCost,
    done_wells,
    field_costs,
)
from lysoquant.project.resources import THREADS
from lysoquant.project.why import Pending
from lysoquant.record import read_json
from lysoquant.vocabulary import BATCH_STAGES, STAGES

Wells = Mapping[tuple[str, str], Collection[str]]
"""Wells by stage and plate."""

LOCAL_START_S: Final = 3.0
SLURM_START_S: Final = 20.0
"""From when a job could start to when its work begins: a cold Python; on SLURM also waiting for the next poll."""

_FILES_OF_JOB: Final = 3
"""Its record, its log and what Snakemake notes of it."""

_FILES_OF_WELL: Final = 2
"""Its metadata in the store, written with the plate's."""

_FILES_OF_PROJECT: Final[Mapping[str, int]] = {"aggregate": 10, "report": 4}


@dataclass(frozen=True)
class StageForecast:
    """What is to be done in one stage.

    Attributes
    ----------
    core_h : float
        Core-hours; where the stage runs on a GPU, of the cores that its jobs hold meanwhile.
    gpu_h : float or None
        GPU-hours; 0 of a stage that needs none, None where they are not known.
    longest_min : float
        Minutes of the longest job.
    """

    stage: str
    jobs: int
    wells: int
    fields: int
    core_h: float
    gpu_h: float | None
    disk_bytes: int
    files: int
    longest_min: float


@dataclass(frozen=True)
class Forecast:
    """What is to be done in a project.

    Attributes
    ----------
    stages : tuple of StageForecast
        In the order of the stages.
    basis : str
        What the figures are from, in words.
    is_rough : bool
        No well was done in at least one stage.
    wall_h : float
        Hours from start to end.
    where : str
        On what, in words.
    """

    stages: tuple[StageForecast, ...]
    basis: str
    is_rough: bool
    wall_h: float
    where: str

    @property
    def jobs(self) -> int:
        return sum(stage.jobs for stage in self.stages)

    @property
    def disk_bytes(self) -> int:
        return sum(stage.disk_bytes for stage in self.stages)

    @property
    def files(self) -> int:
        return sum(stage.files for stage in self.stages)

    @property
    def core_h(self) -> float:
        return math.fsum(stage.core_h for stage in self.stages)

    @property
    def gpu_h(self) -> float | None:
        hours = [stage.gpu_h for stage in self.stages]
        return None if None in hours else math.fsum(hour for hour in hours if hour is not None)


@dataclass(frozen=True)
class Machine:
    """On what the jobs run.

    Attributes
    ----------
    cores : int or None
        Processor cores of this machine; None on a cluster, where every job gets what it asks for.
    gpus : int
        Graphics cards that the jobs of segment, and of cells by Cellpose, use; 0 without.
    jobs : int or None
        Most jobs at a time.
    start_s : float
        Seconds that a job takes before its work begins.
    """

    cores: int | None
    gpus: int = 0
    jobs: int | None = None
    start_s: float = LOCAL_START_S

    @property
    def words(self) -> str:
        if self.cores is None:
            most = f"at most {self.jobs} at a time" if self.jobs else "all at a time"
            return f"SLURM, if no job has to wait ({most})"
        gpus = f" and {self.gpus} GPU{'s' * (self.gpus > 1)}" if self.gpus else ""
        return f"{self.cores} core{'s' * (self.cores > 1)}{gpus}"


def all_wells(plan: Plan) -> Wells:
    """Every well in every stage."""
    return {(stage, plate): plan.wells(plate) for stage in BATCH_STAGES for plate in plan.plates}


def new_wells(plan: Plan) -> Wells:
    """Wells without a record, by stage: those that will take more room on the disk."""
    layout = plan.project.layout
    return {key: set(wells) - done_wells(layout, key[1], key[0]) for key, wells in all_wells(plan).items()}


def pending_wells(found: Iterable[Pending]) -> Wells:
    """Wells that would be done, from :func:`lysoquant.project.why.pending`."""
    wells: dict[tuple[str, str], set[str]] = {}
    for each in found:
        if each.well:
            wells.setdefault((each.stage, each.plate), set()).add(each.well)
    return wells


@dataclass(frozen=True)
class _Job:
    stage: str
    plate: str
    batch: Batch
    n_wells: int
    n_fields: int


def forecast(plan: Plan, todo: Wells, *, machine: Machine) -> Forecast:
    """What remains of a project.

    Parameters
    ----------
    todo : mapping of (stage, plate) to collection of str
        Wells that will be done.
    machine : Machine
        On what.

    Raises
    ------
    PlateError
        If no well is done and no image can be read.
    """
    costs = field_costs(plan)
    stages, seconds = _stages(plan, todo, new_wells(plan), costs, machine)
    wall_s = _wall_s(plan, seconds, machine) + 3600 * math.fsum(stage.core_h for stage in stages[-2:])
    return Forecast(
        stages=stages,
        basis=basis(costs),
        is_rough=any(cost.is_rough for cost in costs.values()),
        wall_h=wall_s / 3600,
        where=machine.words,
    )


def room_needed(plan: Plan) -> tuple[int, int, bool]:
    """Bytes and files that what is still to be written takes, and whether that is rough; quick on any plate."""
    costs, new, machine = field_costs(plan), new_wells(plan), Machine(cores=1)
    stages, _ = _stages(plan, new, new, costs, machine)
    return (
        sum(stage.disk_bytes for stage in stages),
        sum(stage.files for stage in stages),
        any(cost.is_rough for cost in costs.values()),
    )


def _stages(
    plan: Plan, todo: Wells, new: Wells, costs: Mapping[str, FieldCost], machine: Machine
) -> tuple[tuple[StageForecast, ...], dict[_Job, float]]:
    """Every stage, and the seconds of each job of a batch."""
    jobs = list(_jobs(plan, todo))
    seconds = {job: _seconds(plan, job, costs[job.stage], machine) for job in jobs}
    stages = [_stage(plan, stage, jobs, new, costs[stage], machine, seconds) for stage in BATCH_STAGES]
    stages += _project_stages(plan, costs["measure"], bool(jobs))
    return tuple(stages), seconds


def basis(costs: Mapping[str, FieldCost]) -> str:
    """What the figures are from, in words."""
    roughly = [stage for stage in costs if costs[stage].is_rough]
    if len(roughly) == len(costs):
        return "no well was done yet: rough, from a simulated plate; a pilot measures (lysoquant run PROJECT --pilot 3)"
    cost = next(cost for cost in costs.values() if not cost.is_rough)
    told = f"from {_counted(cost.n_wells, 'well')}, {_counted(cost.n_fields, 'field')} done here"
    return f"{told}; rough for {', '.join(roughly)}, in which no well was done yet" if roughly else told


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _jobs(plan: Plan, todo: Wells) -> Iterator[_Job]:
    """Jobs that the workflow would start: of batches with a well to do, or without a record."""
    layout = plan.project.layout
    for stage in BATCH_STAGES:
        for plate in plan.plates:
            wells = set(todo.get((stage, plate), ()))
            for batch in plan.batches(stage, plate):
                mine = wells.intersection(batch.wells)
                if mine or not layout.batch_record(plate, stage, batch.name).is_file():
                    n_fields = sum(plan.n_fields[plate][well] for well in mine)
                    yield _Job(stage, plate, batch, len(mine), n_fields)


def _threads(stage: str, machine: Machine) -> int:
    return THREADS[stage] if machine.cores is None else min(THREADS[stage], machine.cores)


def _gpus(plan: Plan, stage: str, machine: Machine) -> int:
    """How many GPUs a job of a stage holds."""
    return int(stage in plan.networks and machine.gpus > 0)


def _seconds(plan: Plan, job: _Job, cost: FieldCost, machine: Machine) -> float:
    if _gpus(plan, job.stage, machine) and cost.gpu_s is not None:
        return machine.start_s + job.n_fields * cost.gpu_s
    return machine.start_s + job.n_fields * cost.core_s / _threads(job.stage, machine)


def _stage(
    plan: Plan,
    stage: str,
    jobs: Sequence[_Job],
    new: Wells,
    cost: FieldCost,
    machine: Machine,
    seconds: Mapping[_Job, float],
) -> StageForecast:
    mine = [job for job in jobs if job.stage == stage]
    n_fields = sum(job.n_fields for job in mine)
    n_new = sum(plan.n_fields[plate][well] for plate in plan.plates for well in new[stage, plate])
    gpu_h = 0.0 if not _gpus(plan, stage, machine) else None if cost.gpu_s is None else n_fields * cost.gpu_s / 3600
    bare = [plate for plate in plan.plates if not plan.project.layout.plate_record(plate).is_file()]
    bare = bare if stage == "convert" else []
    n_jobs = len(mine) + len(bare)
    return StageForecast(
        stage=stage,
        jobs=n_jobs,
        wells=sum(job.n_wells for job in mine),
        fields=n_fields,
        core_h=math.fsum(seconds[job] * _threads(stage, machine) for job in mine) / 3600,
        gpu_h=gpu_h,
        disk_bytes=round(n_new * cost.disk_bytes),
        files=math.ceil(n_new * cost.files)
        + n_jobs * _FILES_OF_JOB
        + _FILES_OF_WELL * sum(len(plan.n_fields[plate]) for plate in bare),
        longest_min=max((seconds[job] for job in mine), default=0.0) / 60,
    )


def _project_stages(plan: Plan, measure: FieldCost, is_first: bool) -> list[StageForecast]:
    """aggregate and report: tables hold the wells' tables once more, the report's pictures are kept beside the page."""
    n_wells = sum(len(plan.wells(plate)) for plate in plan.plates)
    n_fields = sum(plan.n_fields[plate][well] for plate in plan.plates for well in plan.wells(plate))
    largest = plan.project.config.report.max_mb * 1e6
    page = min(largest, ROUGH_REPORT_BYTES + n_fields * ROUGH_PICTURE_BYTES)
    sizes = {"aggregate": n_fields * measure.disk_bytes, "report": 2 * page}
    more_files = {"aggregate": 0, "report": n_wells + len(plan.plates)}
    found = []
    for stage in STAGES[len(BATCH_STAGES) :]:
        is_due = is_first or not plan.project.layout.project_record(stage).is_file()
        seconds = (LOCAL_START_S + n_wells * _seconds_of_well(plan, stage)) * is_due
        found.append(
            StageForecast(
                stage=stage,
                jobs=int(is_due),
                wells=n_wells * is_due,
                fields=n_fields * is_due,
                core_h=seconds / 3600,
                gpu_h=0.0,
                disk_bytes=round(sizes[stage]) * is_due,
                files=(_FILES_OF_PROJECT[stage] + more_files[stage]) * is_due,
                longest_min=seconds / 60,
            )
        )
    return found


def _seconds_of_well(plan: Plan, stage: str) -> float:
    """By what the stage took the last time."""
    record = read_json(plan.project.layout.project_work_record(stage))
    n_wells = (record or {}).get("counts", {}).get("wells", 0)
    return float(record["seconds"]) / n_wells if record and n_wells else ROUGH_PROJECT_S[stage]


def _wall_s(plan: Plan, seconds: Mapping[_Job, float], machine: Machine) -> float:
    """Seconds until the last job ends, each started as soon as those before it have ended and there is room."""
    room = math.inf if machine.cores is None else machine.cores
    slots = math.inf if machine.jobs is None else machine.jobs
    gpus = machine.gpus
    waits = _upstream(plan, seconds)
    followers: dict[_Job, list[_Job]] = {}
    for job, before in waits.items():
        for other in before:
            followers.setdefault(other, []).append(job)
    number = {job: index for index, job in enumerate(seconds)}
    ready = [job for job in seconds if not waits[job]]
    now, running = 0.0, list[tuple[float, int, _Job]]()
    while ready or running:
        waiting = []
        for job in sorted(ready, key=number.__getitem__):
            cores, gpu = _threads(job.stage, machine), _gpus(plan, job.stage, machine)
            if cores <= room and slots >= 1 and gpu <= gpus:
                room, slots, gpus = room - cores, slots - 1, gpus - gpu
                heapq.heappush(running, (now + seconds[job], number[job], job))
            else:
                waiting.append(job)
        ready = waiting
        now, _, job = heapq.heappop(running)
        room, slots = room + _threads(job.stage, machine), slots + 1
        gpus += _gpus(plan, job.stage, machine)
        for other in followers.get(job, ()):
            waits[other].discard(job)
            if not waits[other]:
                ready.append(other)
    return now


def _upstream(plan: Plan, jobs: Iterable[_Job]) -> dict[_Job, set[_Job]]:
    """For each job those that it waits for."""
    found = list(jobs)
    by_well = {(job.stage, job.plate, well): job for job in found for well in job.batch.wells}
    return {
        job: {
            by_well[stage, job.plate, well]
            for stage in UPSTREAM[job.stage]
            for well in job.batch.wells
            if (stage, job.plate, well) in by_well
        }
        for job in found
    }
