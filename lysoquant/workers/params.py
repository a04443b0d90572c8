"""Settings of the workers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lysoquant.params import Params

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:@+-]{1,200}$")]
"""A name as it goes into a job script: no blanks, quotes or line ends."""


class SlurmWorkers(Params):
    """Dask workers as jobs on SLURM, for `scheduler: slurm`."""

    jobs: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Jobs that are kept running; one that is lost is replaced."""
    cores: Annotated[int, Field(ge=1, le=1024)] = 1
    """Cores of a job; each takes one task at a time, in a process of its own."""
    memory_mb: Annotated[int, Field(ge=100)] = 4000
    """Memory of a job in MB, all its processes together."""
    runtime_min: Annotated[int, Field(ge=1)] = 60
    """Run-time limit of a job in minutes."""
    partition: _Name | None = None
    """Partition of the jobs; null: the cluster's own."""
    account: _Name | None = None
    """Account of the jobs; null: the user's own."""
    interface: _Name | None = None
    """Network interface by which jobs and scheduler find each other, such as ib0; null: as the host has it."""
    host: _Name | None = None
    """Address of this host at which jobs reach the scheduler; null: as `interface` has it."""
    wait_min: Annotated[float, Field(gt=0)] = 15
    """Minutes after which it is an error that no job has begun."""


class DaskSettings(Params):
    """Where measure and aggregate run. Results do not depend on it."""

    scheduler: Annotated[str, Field(pattern=r"^(processes|threads|slurm|[a-z]+://\S+)$")] = "processes"
    """processes: a pool of one process a core; threads; slurm: jobs on SLURM, as `dask.slurm` says; or the address of a
    running scheduler, such as tcp://host:8786."""
    slurm: SlurmWorkers = SlurmWorkers()
    """Dask workers as jobs on SLURM, for `scheduler: slurm`."""
