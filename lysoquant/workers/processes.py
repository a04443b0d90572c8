"""Processes of this host, started where they pay."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any, Final, Self

START_S: Final = 2.0
"""What the start of processes costs, import of the tasks' module and all; what they save must be more."""


class Processes:
    """Does tasks in this process until more processes would be done sooner, and from then on in those.

    Parameters
    ----------
    cores : int
        Processes.
    preload : sequence of str
        Modules of the functions that will be mapped.
    n_tasks : int, optional
        Tasks that will come in all; without it processes are started at once.
    """

    def __init__(self, cores: int, *, preload: Sequence[str], n_tasks: int | None) -> None:
        self._cores, self._preload, self._n_tasks = cores, preload, n_tasks
        self._done, self._seconds = 0, 0.0
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.__exit__(kind, error, trace)

    @property
    def started(self) -> bool:
        """Whether there are other processes."""
        return self._pool is not None

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        """Results in the order of the tasks."""
        for number, task in enumerate(tasks):
            if self._pool is None and self._pays():
                self._pool = ProcessPoolExecutor(self._cores, mp_context=_context(self._preload))
            if self._pool is not None:
                yield from self._pool.map(function, tasks[number:])
                return
            began = time.thread_time()  # by the clock a busy machine's tasks would seem long, and its starts short
            result = function(task)
            self._seconds += time.thread_time() - began
            self._done += 1
            yield result

    def _pays(self) -> bool:
        """Whether the tasks that are left, if they take as long as those that are done, are worth more processes."""
        if self._n_tasks is None:
            return True
        if not self._done:
            return False
        left_s = (self._n_tasks - self._done) * self._seconds / self._done
        return left_s * (1 - 1 / self._cores) > START_S


def _context(preload: Sequence[str]) -> BaseContext:
    """How processes are started: never as a copy of this one, which would copy the locks of its threads too.

    Where the system can, they are copies of a helper that has imported the tasks' modules and done nothing else: these
    are imported once and not by every process.
    """
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([*preload])
    return context
