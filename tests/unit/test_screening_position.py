"""Effects of position and time: small plates by hand, and planted effects."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lysoquant.screening.position import (
    acquisition_rank,
    drift,
    edge_effect,
    line_p_value,
    on_edge,
    plate_shape,
)

pytestmark = pytest.mark.filterwarnings("error")

ROWS, COLUMNS = (axis.ravel().astype(np.int64) for axis in np.mgrid[0:3, 1:5])


@pytest.mark.parametrize(
    ("row", "column", "plate_format", "expected"),
    [
        (7, 12, "auto", (8, 12)),
        (8, 12, "auto", (16, 24)),
        (0, 13, "auto", (16, 24)),
        (31, 48, "auto", (32, 48)),
        (1, 2, "24", (4, 6)),
        (4, 2, "24", None),
        (1, 7, "24", None),
    ],
)
def test_shape_is_the_smallest_format_that_holds_all_wells(
    row: int, column: int, plate_format: str, expected: tuple[int, int] | None
) -> None:
    found = plate_shape(rows=np.array([0, row]), columns=np.array([1, column]), plate_format=plate_format)
    assert found == expected


def test_edge_is_the_outermost_ring() -> None:
    edge = on_edge(rows=ROWS, columns=COLUMNS, shape=(3, 4))
    assert (~edge).nonzero()[0].tolist() == [5, 6]
    assert on_edge(rows=ROWS, columns=COLUMNS, shape=(8, 12)).sum() == 6


def test_edge_effect_by_hand() -> None:
    # All of three outer values below all of three inner ones: U = 0, exact two-sided p = 2 / C(6, 3).
    values = np.array([1.0, 2, 3, 11, 12, 13])
    effect, p_value = edge_effect(values, np.array([True] * 3 + [False] * 3))
    assert (effect, p_value) == (-10, pytest.approx(0.1))


def test_line_p_value_by_hand() -> None:
    # Ranks 1 2 3 | 4 5 6 | 7 8 9: H = 12 / (9 10) (6^2 / 3 + 15^2 / 3 + 24^2 / 3) - 3 10 = 7.2; p = exp(-H / 2).
    values, lines = np.arange(9.0), np.repeat([0, 1, 2], 3)
    assert line_p_value(values, lines) == pytest.approx(math.exp(-3.6))
    # A line of one well does not enter.
    assert line_p_value(np.append(values, 100.0), np.append(lines, 3)) == pytest.approx(math.exp(-3.6))


def test_order_of_imaging() -> None:
    def rank(order: str) -> list[int]:
        return acquisition_rank(rows=ROWS, columns=COLUMNS, order=order).tolist()

    assert rank("rows") == list(range(12))
    assert rank("rows_snake") == [0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11]
    assert rank("columns") == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    assert rank("columns_snake") == [0, 5, 6, 11, 1, 4, 7, 10, 2, 3, 8, 9]


def test_drift_is_the_median_slope_and_not_moved_by_one_well() -> None:
    # Slopes of all pairs but those with the last value are 0.5: median 0.5. Concordant pairs 21 of 21 make tau 1.
    values = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 90.0])
    slope, p_value = drift(values, np.arange(7))
    assert slope == 0.5
    assert p_value == pytest.approx(2 / math.factorial(7))
    assert drift(values[::-1].copy(), np.arange(7))[0] == -0.5


@pytest.mark.parametrize("n", [0, 2, 5])
def test_undefined_with_too_few_wells(n: int) -> None:
    values, numbers = np.arange(float(n)), np.arange(n)
    assert all(map(math.isnan, edge_effect(values, numbers < 2)))
    assert all(map(math.isnan, drift(values, numbers)))
    assert math.isnan(line_p_value(values, numbers))
    assert math.isnan(line_p_value(np.zeros(6), np.repeat([0, 1], 3)))
    assert math.isnan(drift(np.zeros(9), np.arange(9))[0])
