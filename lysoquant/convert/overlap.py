"""Reading, working and finishing side by side: the next fields are read while the last are worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

_Place = TypeVar("_Place")
_Read = TypeVar("_Read")
_Found = TypeVar("_Found")
_Job = Callable[[], _Found]


def overlapped(
    places: Sequence[_Place],
    *,
    read: Callable[[_Place], _Read],
    jobs: Callable[[_Place, _Read], Sequence[_Job[_Found]]],
    cores: int,
) -> Iterator[tuple[_Place, _Read, list[_Found]]]:
    """Read places and do the jobs that each of them gives, in order.

    Parameters
    ----------
    places : sequence
        What there is to do.
    read : callable
        Reads a place; called in as many threads as there are cores, which mostly wait for files.
    jobs : callable
        The independent parts of a place's work, of what was read; called and done in as many other threads.
    cores : int
        At least 1. At most one place more is held at a time.

    Yields
    ------
    tuple
        A place, what was read of it, and what its jobs returned.
    """
    with ThreadPoolExecutor(cores) as readers, ThreadPoolExecutor(cores) as workers:
        waiting: deque[tuple[_Place, Future[tuple[_Read, list[Future[_Found]]]]]] = deque()

        def oldest() -> tuple[_Place, _Read, list[_Found]]:
            place, begun = waiting.popleft()
            found, parts = begun.result()
            return place, found, [part.result() for part in parts]

        for place in places:
            waiting.append((place, readers.submit(_begin, workers, place, read, jobs)))
            if len(waiting) > cores:
                yield oldest()
        while waiting:
            yield oldest()


def _begin(
    workers: Executor,
    place: _Place,
    read: Callable[[_Place], _Read],
    jobs: Callable[[_Place, _Read], Sequence[_Job[_Found]]],
) -> tuple[_Read, list[Future[_Found]]]:
    found = read(place)
    return found, [workers.submit(job) for job in jobs(place, found)]
