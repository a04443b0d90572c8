"""Scores against the plate, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lysoquant.screening.scores import b_score, inner_sd, outer_sd, robust_z
from lysoquant.statistics.log_odds import empirical_logit

pytestmark = pytest.mark.filterwarnings("error")

ROWS, COLUMNS = (axis.ravel().astype(np.int64) for axis in np.mgrid[0:3, 0:3])
RESIDUALS = np.array([[-1.0, 0.0, 2.0], [2.0, -1.0, 0.0], [0.0, 2.0, -1.0]])
"""Every row and every column has median 0; the median absolute deviation is 1."""


def test_logit_is_finite_at_none_and_all_loaded() -> None:
    found = empirical_logit(n_empty=np.array([10, 0, 3, 0]), n_loaded=np.array([0, 10, 3, 0]))

    np.testing.assert_allclose(found, [-np.log(21), np.log(21), 0.0, np.nan])


def test_robust_z_by_hand() -> None:
    found = robust_z(np.array([0.0, 1.0, np.nan, 2.0, 3.0, 10.0]))

    np.testing.assert_allclose(found, np.array([-2, -1, np.nan, 0, 1, 8]) / 1.4826)


@pytest.mark.parametrize("values", [[], [np.nan] * 4, [1.0, 2.0, np.nan], [1.0, 1.0, 1.0, 5.0]])
def test_robust_z_is_undefined_without_values_or_spread(values: list[float]) -> None:
    assert np.isnan(robust_z(np.array(values, dtype=float))).all()


def test_b_score_takes_rows_and_columns_out() -> None:
    effects = np.array([[0.0], [5.0], [10.0]]) + np.array([0.0, 1.0, -2.0])

    found = b_score(values=(RESIDUALS + effects).ravel(), rows=ROWS, columns=COLUMNS)

    np.testing.assert_allclose(found, RESIDUALS.ravel() / 1.4826, atol=1e-12)


def test_b_score_needs_no_order_and_tolerates_missing_wells() -> None:
    values = RESIDUALS.ravel().copy()
    values[4] = np.nan
    shifted = values + np.repeat([0.0, 7.0, -3.0], 3)
    order = np.random.default_rng(0).permutation(9)

    plain = b_score(values=values, rows=ROWS, columns=COLUMNS)
    found = b_score(values=shifted[order], rows=ROWS[order] + 4, columns=COLUMNS[order] * 2)

    assert np.isnan(plain).tolist() == [False] * 4 + [True] + [False] * 4
    np.testing.assert_allclose(found, plain[order], atol=1e-12)


@pytest.mark.parametrize(
    ("values", "rows", "columns", "why"),
    [
        ([1, 2, 3, 4, 5, 9], [0] * 6, range(6), "one row"),
        ([1, 2, 3, 4, 5, 9], range(6), [0] * 6, "one column"),
        ([1, 2, 3, 4, 9], [0, 0, 0, 1, 1], [0, 1, 2, 0, 1], "five wells"),
        ([1, 2, 3, 4, 9, np.nan], [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], "five values"),
        ([0.1, 0.2, 0.3, 1.1, 1.2, 1.3], [0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], "only rounding left"),
        ([], [], [], "no well"),
    ],
)
def test_b_score_is_undefined(values: list[float], rows: list[int], columns: list[int], why: str) -> None:
    found = b_score(
        values=np.array(values, dtype=float),
        rows=np.array(list(rows), dtype=np.int64),
        columns=np.array(list(columns), dtype=np.int64),
    )

    assert np.isnan(found).all(), why


def test_active_ones_do_not_widen_the_inner_spread() -> None:
    random = np.random.default_rng(0)
    values = random.normal(3.0, 2.0, 100_000)
    assert inner_sd(values) == pytest.approx(2.0, rel=0.01)
    values[:10_000] += 20.0 * random.choice([-1, 1], 10_000)
    assert inner_sd(values) == pytest.approx(2.0, rel=0.01)
    assert outer_sd(values) == pytest.approx(2.0 * 1.2435, rel=0.01)
    assert inner_sd(values * 10) == pytest.approx(10 * inner_sd(values))


def test_inner_spread_of_values_of_which_most_are_equal() -> None:
    values = np.append(np.zeros(60), np.linspace(-3, 3, 40))
    assert inner_sd(values) == outer_sd(values) > 1


@pytest.mark.parametrize("values", [[1.0] * 5, [0.0]])
def test_inner_spread_is_undefined_without_spread(values: list[float]) -> None:
    assert np.isnan(inner_sd(np.array(values)))
