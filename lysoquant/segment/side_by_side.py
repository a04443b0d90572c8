"""Work on a stream, in threads beside whoever makes the stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Iterable[Item], *, threads: int) -> Iterator[Result]:
    """Results of a function, in the order of the items.

    The next item is asked for while `threads` of them are worked on; when a result is given out depends on the number
    of items before it alone, so that runs are alike.
    """
    with ThreadPoolExecutor(threads) as pool:
        working: deque[Future[Result]] = deque()
        for item in items:
            working.append(pool.submit(function, item))
            while len(working) > threads:
                yield working.popleft().result()
        while working:
            yield working.popleft().result()
