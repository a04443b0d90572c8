"""Where Dask runs a job's tasks: one process pool, threads, or a running cluster. Results don't depend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, TypeVar

import dask

from lysoquant.errors import StageError
from lysoquant.measure.params import DaskSettings

Task = TypeVar("Task")
Result = TypeVar("Result")

_CONNECT_S = 30


@dataclass(frozen=True)
class Workers:
    """Workers that are ready.

    Attributes
    ----------
    n_workers : int
        How many tasks run at a time.
    """

    n_workers: int
    _options: dict[str, Any]

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """The function's results in the order of the tasks; the function must be importable by name."""
        task_of = dask.delayed(function, pure=False)  # type: ignore[attr-defined]
        results: Sequence[Result] = dask.compute(  # type: ignore[attr-defined, no-untyped-call]
            *(task_of(task) for task in tasks), **self._options
        )
        return list(results)


@contextmanager
def workers(settings: DaskSettings, *, cores: int) -> Iterator[Workers]:
    """Workers for one job; the process pool lives as long as the block.

    Parameters
    ----------
    settings : DaskSettings
        Which scheduler. With one core, processes means this process.
    cores : int
        Processes or threads; a cluster has its own.

    Raises
    ------
    StageError
        If the cluster's scheduler does not answer.
    """
    if settings.scheduler == "threads":
        yield Workers(cores, {"scheduler": "threads", "num_workers": cores})
    elif settings.scheduler != "processes":
        with _cluster(settings.scheduler) as client:
            yield Workers(max(1, sum(client.nthreads().values())), {"scheduler": client})
    elif cores == 1:
        yield Workers(1, {"scheduler": "synchronous"})
    else:
        # Spawned, not forked: a fork would copy the locks of the caller's threads.
        with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
            yield Workers(cores, {"scheduler": "processes", "pool": pool, "chunksize": 1})


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
