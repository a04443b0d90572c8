"""Tasks on whatever workers the settings name. Results don't depend on which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lysoquant.errors import StageError
from lysoquant.workers.params import DaskSettings
from lysoquant.workers.processes import Processes

Task = TypeVar("Task")
Result = TypeVar("Result")

_CONNECT_S = 30
_TASKS_PER_WORKER = 4


@dataclass(frozen=True)
class Workers:
    """Workers that are ready.

    Attributes
    ----------
    n_workers : int
        How many tasks run at a time.
    """

    n_workers: int
    _map: Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
    _lost: tuple[type[Exception], ...] = ()

    @property
    def n_ahead(self) -> int:
        """Tasks to give out at a time: enough to keep all workers busy, few enough for steady progress and memory."""
        return 1 if self.n_workers == 1 else self.n_workers * _TASKS_PER_WORKER

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """The function's results in the order of the tasks; the function must be importable by name.

        Raises
        ------
        StageError
            If workers die of a task, and what the function raises.
        """
        try:
            return list(self._map(function, tasks))
        except self._lost as error:
            raise StageError(
                f"a worker ended in the middle of its work ({_one_line(error)}); if it ran out of memory, give it more "
                "(execution.dask.slurm.memory_mb) or use fewer cores"
            ) from error

    def stream(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """The function's results in the order of the tasks, with no more than :attr:`n_ahead` in memory."""
        for start in range(0, len(tasks), self.n_ahead):
            yield from self.map(function, tasks[start : start + self.n_ahead])


@contextmanager
def workers(
    settings: DaskSettings, *, cores: int, logs: Path, preload: Sequence[str] = (), n_tasks: int | None = None
) -> Iterator[Workers]:
    """Workers for one job; those that were started for it end with the block.

    Dask itself is imported for a cluster only: here it would cost every job the import of its scheduler.

    Parameters
    ----------
    settings : DaskSettings
        Which workers. With one core, processes means this process.
    cores : int
        Processes or threads; a cluster has its own.
    logs : pathlib.Path
        Folder for what jobs on SLURM say.
    preload : sequence of str
        Modules of the functions that will be mapped: processes then import them once, not each.
    n_tasks : int, optional
        Tasks that will come in all. With it, processes are started once that pays and not before.

    Raises
    ------
    StageError
        If the cluster's scheduler does not answer, or SLURM gives no job in time.
    """
    if settings.scheduler == "slurm":
        from lysoquant.workers.slurm import slurm_client

        with slurm_client(settings.slurm, logs=logs) as client:
            yield _of_client(client, n_workers=settings.slurm.jobs * settings.slurm.cores)
    elif settings.scheduler not in ("processes", "threads"):
        with _cluster(settings.scheduler) as client:
            yield _of_client(client, n_workers=max(1, sum(client.nthreads().values())))
    elif cores == 1:
        yield Workers(1, map)
    elif settings.scheduler == "threads":
        with ThreadPoolExecutor(cores) as threads:
            yield Workers(cores, threads.map)
    else:
        with Processes(cores, preload=preload, n_tasks=n_tasks) as pool:
            yield Workers(cores, pool.map, (BrokenProcessPool,))


def _of_client(client: Any, *, n_workers: int) -> Workers:
    import dask
    from distributed import KilledWorker

    def on_client(function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterable[Any]:
        task_of = dask.delayed(function, pure=False)  # type: ignore[attr-defined]
        results: Iterable[Any] = dask.compute(*map(task_of, tasks), scheduler=client)  # type: ignore[attr-defined, no-untyped-call]
        return results

    return Workers(n_workers, on_client, (KilledWorker,))


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise StageError(
            f"no Dask scheduler answers at {address} ({error}); start one, or set execution.dask.scheduler to processes"
        ) from error
    with client:
        yield client


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
