"""Work beside a stream: in order, so many at a time, and faults come out where their turn is."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from lysoquant.segment.side_by_side import in_order


def test_results_come_in_the_order_of_the_items_whatever_ends_first() -> None:
    second_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_done.wait(60)
        if item == 1:
            second_done.set()
        return 10 * item

    assert list(in_order(work, range(6), threads=2)) == [0, 10, 20, 30, 40, 50]


@pytest.mark.parametrize("threads", [1, 3])
def test_so_many_items_are_asked_for_as_can_be_worked_on(threads: int) -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for item in range(6):
            asked.append(item)
            yield item

    results = in_order(lambda item: item, items(), threads=threads)
    assert next(results) == 0
    assert asked == list(range(threads + 1))
    assert list(results) == [1, 2, 3, 4, 5]


def test_a_fault_comes_out_in_its_turn() -> None:
    results = in_order(lambda item: 1 // item, [1, 0, 1], threads=2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_nothing_gives_nothing() -> None:
    assert list(in_order(str, [], threads=2)) == []
