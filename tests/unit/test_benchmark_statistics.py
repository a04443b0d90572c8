"""The simulation behind docs/statistics.md: cells as replicates call differences that are not there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from lysoquant.benchmark.statistics import TESTS, Design, coverage, experiments, rates


def test_experiments_have_the_spread_that_was_asked_for() -> None:
    design = Design(wells=50, cells=40, well_sd=0.5, cell_sd=0.0, effect=1.0, occupancy=0.3, endolysosomes=30)
    (made,) = experiments(design, runs=1, seed=1)
    reference, other = made.odds[:50], made.odds[50:]

    assert made.total.mean() == pytest.approx(30, rel=0.02)
    assert reference.std() == pytest.approx(0.5, rel=0.2)
    assert other.mean() - reference.mean() == pytest.approx(1.0, abs=0.3)
    wells = np.array([values.mean() for values in made.cell_values()])
    np.testing.assert_allclose(wells, expit(made.odds), atol=0.06)
    assert made.odds.mean() == pytest.approx(logit(0.3) + 0.5, abs=0.2)


def test_cells_as_replicates_raise_false_alarms_and_wells_do_not() -> None:
    found = rates(Design(wells=3, cells=30, well_sd=0.3), runs=60, seed=2)

    assert list(found) == list(TESTS)
    assert found["t of cells"].significant > 0.15
    assert all(found[name].significant < 0.13 for name in ("welch", "t", "mixed", "beta_binomial"))
    assert found["welch"].undefined == 0


def test_a_difference_is_found_by_the_tests_of_wells() -> None:
    found = rates(Design(wells=6, cells=20, well_sd=0.15, effect=1.2), runs=12, seed=3)

    assert all(found[name].significant >= 0.8 for name in ("welch", "t", "beta_binomial"))


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    found = coverage(Design(wells=4, cells=20, well_sd=0.2), runs=40, seed=4)

    assert list(found) == ["well, bootstrap", "well, beta_binomial", "condition, t", "condition, beta_binomial"]
    assert all(0.8 <= share <= 1 for share in found.values())
