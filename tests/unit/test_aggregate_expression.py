"""The expression gate: a limit that is given, found between two populations, or above untransfected wells."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from lysoquant.aggregate.expression import EVERY_CELL, Gate, find_gate, is_expressing
from lysoquant.aggregate.params import ExpressionParams


def gate(method: str, *wells: NDArray[np.float64], controls: tuple[int, ...] = (), **settings: object) -> Gate:
    """Gate of a plate whose wells are A01, A02, ..."""
    params = ExpressionParams.model_validate({"method": method, **settings})
    return find_gate(
        cargo_mean={f"A{number:02d}": cells for number, cells in enumerate(wells, start=1)},
        control_wells=frozenset(f"A{number:02d}" for number in controls),
        params=params,
    )


def log_normal(n: int, median: float, spread: float, seed: int) -> NDArray[np.float64]:
    return median * np.exp(np.random.default_rng(seed).normal(0, spread, n))


def test_limits_that_are_given() -> None:
    mean = np.array([99.9, 100.0, np.nan, 500.0])

    everyone = gate("none", mean, min_mean_cargo=100.0)
    limited = gate("threshold", mean, min_mean_cargo=100.0)

    assert (everyone, limited) == (EVERY_CELL, Gate(100.0))
    assert is_expressing(cargo_mean=mean, gate=everyone).tolist() == [True] * 4
    assert is_expressing(cargo_mean=mean, gate=limited).tolist() == [False, True, False, True]


@pytest.mark.parametrize("share", [0.1, 0.375, 0.9])
def test_two_populations_are_parted_whatever_their_shares(share: float) -> None:
    # The paper: 3 of 8 cells express.
    n = 400
    dark = log_normal(round(n * (1 - share)), 230.0, 0.08, seed=1)
    bright = log_normal(round(n * share), 900.0, 0.5, seed=2)

    found = gate("mixture", dark[::2], np.append(dark[1::2], np.nan), bright)

    assert found.doubt == ""
    assert found.n_cells == len(dark) + len(bright)
    wrong = is_expressing(cargo_mean=dark, gate=found).sum() + (~is_expressing(cargo_mean=bright, gate=found)).sum()
    assert wrong <= 0.02 * n


def test_the_limit_lies_where_both_populations_are_as_likely() -> None:
    cells = np.concatenate([log_normal(20_000, 100.0, 0.2, seed=3), log_normal(20_000, 400.0, 0.2, seed=4)])

    found = gate("mixture", cells)

    assert found.min_mean_cargo == pytest.approx(200.0, rel=0.02)


def test_the_limit_does_not_depend_on_the_order_of_cells_by_more_than_rounding() -> None:
    cells = np.concatenate([log_normal(300, 100.0, 0.2, seed=5), log_normal(200, 500.0, 0.4, seed=6)])

    assert gate("mixture", cells) == gate("mixture", cells)
    assert gate("mixture", cells[::-1]).min_mean_cargo == pytest.approx(gate("mixture", cells).min_mean_cargo, rel=1e-3)


@pytest.mark.parametrize("cells", [log_normal(500, 300.0, 0.5, seed=7), np.full(50, 300.0)])
def test_one_population_is_not_cut(cells: NDArray[np.float64]) -> None:
    found = gate("mixture", cells)

    assert found.min_mean_cargo == -math.inf
    assert "every cell counts" in found.doubt
    assert is_expressing(cargo_mean=cells, gate=found).all()


@pytest.mark.parametrize("method", ["mixture", "controls"])
def test_too_few_cells_are_not_cut(method: str) -> None:
    cells = np.concatenate([np.full(14, 100.0), np.full(15, 900.0), [np.nan]])

    found = gate(method, cells, controls=(1,), control_condition="mock")

    assert (found.min_mean_cargo, found.n_cells) == (-math.inf, 29)
    assert "29 cells" in found.doubt


def test_controls_take_a_quantile_of_the_untransfected_cells_alone() -> None:
    mock = np.arange(1.0, 101.0)
    treated = np.full(500, 1000.0)

    found = gate("controls", mock[:50], treated, mock[50:], controls=(1, 3), control_condition="mock")

    assert found == Gate(100.0, 100)
    of_less = gate("controls", mock, treated, controls=(1,), control_condition="mock", control_quantile=0.9)
    assert of_less.min_mean_cargo == 91.0


def test_controls_need_their_condition() -> None:
    with pytest.raises(ValidationError, match="needs `control_condition`"):
        ExpressionParams(method="controls")
