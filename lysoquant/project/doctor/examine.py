"""All checks in their order, and the forecast beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lysoquant.config import Project, load_project
from lysoquant.errors import LysoquantError
from lysoquant.model.card import DEFAULT_MODEL
from lysoquant.project.batches import model_file
from lysoquant.project.command import profile_folder
from lysoquant.project.doctor import cluster
from lysoquant.project.doctor.environment import environment
from lysoquant.project.doctor.finding import Finding, problem, warning
from lysoquant.project.doctor.folders import locks, room, writable
from lysoquant.project.doctor.probe import probe
from lysoquant.project.doctor.project import ProjectLook, project_checks
from lysoquant.project.doctor.requests import Request, planned_requests
from lysoquant.project.forecast.jobs import Forecast, forecast, pending_wells
from lysoquant.project.forecast.machine import machine_of
from lysoquant.project.lock import holder, only_run
from lysoquant.project.profile import cut_by_profile
from lysoquant.project.slurm import uses_slurm, wanted
from lysoquant.project.why import pending


@dataclass
class Examination:
    """The doctor's checks.

    Parameters
    ----------
    project : pathlib.Path or None
        The project's folder; without one only the environment is looked at.
    profile : str or None
        As of a run.
    cores : int or None
        As of a run, for the forecast of the wall time.
    wait_s : float
        How long to wait for a probe on the cluster; 0 for no probe.

    Attributes
    ----------
    forecast : Forecast or None
        Known after :meth:`findings` has ended, where there is a project that could be planned.
    """

    project: Path | None = None
    profile: str | None = None
    cores: int | None = None
    wait_s: float = 60.0
    forecast: Forecast | None = field(default=None, init=False)

    def findings(self) -> Iterator[Finding]:
        """Each check as it is done.

        Raises
        ------
        InputError
            If there is no such profile.
        """
        folder = profile_folder(self.profile)
        on_slurm = uses_slurm(folder, ())
        loaded, fault = self._load()
        device = loaded.config.execution.device if loaded else "auto"
        yield from environment(
            device=device,
            model=_model(loaded),
            extras=_extras(loaded, on_slurm=on_slurm),
            segments_here=not on_slurm,
        )
        look = ProjectLook()
        if fault is not None:
            yield fault
        elif loaded is None:
            yield writable("folder", Path.cwd())
            yield locks(Path.cwd())
        else:
            yield from project_checks(loaded, look)
            yield from self._budget(loaded, look)
        if on_slurm:
            yield from self._cluster(folder, loaded, look)

    def _load(self) -> tuple[Project | None, Finding | None]:
        if self.project is None:
            return None, None
        try:
            return cut_by_profile(load_project(self.project.absolute()), profile_folder(self.profile)), None
        except LysoquantError as error:
            return None, problem("configuration", "; ".join(str(error).splitlines()))

    def _budget(self, project: Project, look: ProjectLook) -> Iterator[Finding]:
        if look.plan is None:
            return
        try:
            machine = machine_of(project, profile=self.profile, cores=self.cores)
            self.forecast = forecast(look.plan, pending_wells(pending(project)), machine=machine)
        except LysoquantError as error:
            yield warning("forecast", "; ".join(str(error).splitlines()), "no forecast was made")
            return
        yield from room(
            project.layout.results,
            need_bytes=self.forecast.disk_bytes,
            need_files=self.forecast.files,
            is_rough=self.forecast.is_rough,
        )

    def _cluster(self, folder: Path, project: Project | None, look: ProjectLook) -> Iterator[Finding]:
        ready = cluster.controller(folder)
        yield ready
        if project is not None:
            yield cluster.quotable(project.layout.project)
        if ready.state == "problem":
            return
        asked, gpu = wanted(folder), project is not None and project.config.execution.device == "cuda"
        yield cluster.account(asked)
        requests: Sequence[Request] | None = None
        if project is not None and look.plan is not None and holder(project.layout) is None:
            try:
                with only_run(project.layout) as lock:
                    requests = planned_requests(project.layout.project, profile=self.profile, held=[lock])
            except (LysoquantError, OSError) as error:
                yield problem("plan", "; ".join(str(error).splitlines()), "see `lysoquant run PROJECT --dry-run`")
        found = list(cluster.partitions(asked, requests, gpu=gpu))
        yield from found
        yield from cluster.run_times(requests or (), self.forecast)
        if any(each.state == "problem" for each in found) or self.wait_s <= 0:
            return
        names = asked.partitions(gpu=gpu) | {each.partition: each.gpus > 0 for each in requests or ()}
        yield from probe(
            names,
            project=project.layout.project if project else Path.cwd(),
            raw=[Path(os.path.abspath(path)) for path in look.first_files],  # noqa: PTH100 - links must not be resolved
            account=asked.account,
            seconds=self.wait_s,
        )


def _extras(project: Project | None, *, on_slurm: bool) -> tuple[str, ...]:
    """Optional parts of the package that a run needs."""
    by_cellpose = project is not None and project.config.cells.method == "cellpose"
    return (*(("slurm",) if on_slurm else ()), *(("cellpose",) if by_cellpose else ()))


def _model(project: Project | None) -> Path:
    """The model that the project asks for; the shipped one without a project, or where that file is missing."""
    if project is None:
        return DEFAULT_MODEL
    try:
        return model_file(project)
    except LysoquantError:
        return DEFAULT_MODEL
