"""Dask workers as jobs on SLURM, by dask-jobqueue."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from lysoquant.errors import StageError
from lysoquant.workers.params import SlurmWorkers

_NAME: Final = "lysoquant-dask"
_ELSEWHERE: Final = "or set execution.dask.scheduler to processes"
_CHECK_S: Final = 2.0


@contextmanager
def slurm_client(settings: SlurmWorkers, *, logs: Path) -> Iterator[Any]:
    """A client of workers on SLURM, as soon as the first has come; the jobs are cancelled with the block.

    A job that is lost is replaced, and what it had in hand is done again by another.

    Parameters
    ----------
    settings : SlurmWorkers
        What to ask SLURM for.
    logs : pathlib.Path
        Folder for what the jobs say; made where it is absent.

    Raises
    ------
    StageError
        If dask-jobqueue is not installed, SLURM takes no job, or none has begun in `wait_min`.
    """
    if find_spec("dask_jobqueue") is None:
        raise StageError(
            "execution.dask.scheduler is slurm and dask-jobqueue is not installed; install lysoquant[slurm], "
            f"{_ELSEWHERE}"
        )
    if shutil.which("sbatch") is None:
        raise StageError(
            f"execution.dask.scheduler is slurm and there is no sbatch here; run on a host of the cluster, {_ELSEWHERE}"
        )
    from distributed import Client

    logs.mkdir(parents=True, exist_ok=True)
    with _cluster(settings, logs) as cluster, Client(cluster, set_as_default=False) as client:  # type: ignore[no-untyped-call]
        _submit(cluster, settings)
        _wait(client, settings, logs)
        yield client


def _cluster(settings: SlurmWorkers, logs: Path) -> Any:
    from dask_jobqueue.slurm import SLURMCluster, SLURMJob
    from distributed.core import Status

    pattern = f"{str(logs.resolve()).replace('%', '%%')}/{_NAME}-%j.log"

    class Job(SLURMJob):
        """A job that knows when it is closed, as the closing cluster checks, one too that SLURM did not take."""

        # Not a directive in the job's script, which takes no path with blanks and quotes.
        submit_command = shlex.join(["sbatch", f"--output={pattern}"])

        async def close(self) -> None:
            await super().close()  # type: ignore[no-untyped-call]
            self.status = Status.closed

    class Cluster(SLURMCluster):
        job_cls = Job

    scheduler: dict[str, Any] = {"dashboard_address": None}
    if settings.host is not None:
        scheduler["host"] = settings.host
    try:
        return Cluster(
            queue=settings.partition,
            account=settings.account,
            cores=settings.cores,
            processes=settings.cores,
            memory=f"{settings.memory_mb}MiB",
            job_mem=f"{settings.memory_mb}M",
            walltime=str(settings.runtime_min),
            interface=settings.interface,
            scheduler_options=scheduler,
            job_name=_NAME,
            python=shlex.quote(sys.executable),
            death_timeout=60 * settings.wait_min,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise StageError(
            f"no Dask scheduler can be started here ({' '.join(str(error).split())}); "
            f"correct execution.dask.slurm.interface and host, {_ELSEWHERE}"
        ) from error


def _submit(cluster: Any, settings: SlurmWorkers) -> None:
    """Submit the jobs, and from then on replace those that are lost."""

    async def first() -> None:
        cluster.scale(jobs=settings.jobs)
        await cluster

    try:
        cluster.sync(first)
    except (OSError, RuntimeError) as error:
        raise StageError(
            f"SLURM takes no job of a Dask worker ({_said(error)}); correct execution.dask.slurm, {_ELSEWHERE}"
        ) from error
    cluster.adapt(minimum_jobs=settings.jobs, maximum_jobs=settings.jobs)


def _said(error: Exception) -> str:
    """What sbatch itself said of a refusal, out of dask-jobqueue's many lines."""
    lines = [line.strip() for line in str(error).splitlines()]
    return "; ".join([line for line in lines if line.startswith("sbatch:")]) or " ".join(filter(None, lines))


def _wait(client: Any, settings: SlurmWorkers, logs: Path) -> None:
    try:
        client.wait_for_workers(1, timeout=60 * settings.wait_min)
    except TimeoutError as error:
        raise StageError(
            f"no Dask worker came from SLURM in {settings.wait_min:g} min ({_queue()}); look into {logs}, "
            f"raise execution.dask.slurm.wait_min, {_ELSEWHERE}"
        ) from error


def _queue() -> str:
    """State and reason of the workers' jobs."""
    asked = ["squeue", "-h", "--me", "--name", _NAME, "-o", "%T %r"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        found = ""
    return "; ".join(sorted(set(found.splitlines()))) or "none of its jobs is in the queue"
