"""On what a run of a project would work."""

from __future__ import annotations

from lysoquant.config import Project
from lysoquant.project import limits
from lysoquant.project.command import profile_folder
from lysoquant.project.forecast.jobs import LOCAL_START_S, SLURM_START_S, Machine
from lysoquant.project.slurm import uses_slurm, wanted


def machine_of(project: Project, *, profile: str | None, cores: int | None) -> Machine:
    """This machine, or the cluster that the profile names; nothing is asked of a cluster.

    Parameters
    ----------
    profile : str or None
        As of a run.
    cores : int or None
        As of a run; all by default.

    Raises
    ------
    InputError
        If there is no such profile.
    """
    folder = profile_folder(profile)
    device = project.config.execution.device
    if uses_slurm(folder, ()):
        jobs = wanted(folder).jobs
        return Machine(cores=None, gpus=(jobs or 1) if device == "cuda" else 0, jobs=jobs, start_s=SLURM_START_S)
    return Machine(cores=cores or limits.cores(), gpus=int(_gpu_here(device)), start_s=LOCAL_START_S)


def _gpu_here(device: str) -> bool:
    if device != "auto":
        return device == "cuda"
    # Imported here: it needs torch.
    from lysoquant.model.precision import choose_device

    return choose_device(device).type == "cuda"
