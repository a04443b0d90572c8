"""Moderated variances: the formula by hand, and priors found again."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lysoquant.screening.moderated import Prior, fit_prior, moderated

pytestmark = pytest.mark.filterwarnings("error")


def test_variances_are_drawn_towards_the_prior_by_its_weight() -> None:
    variances, dfs = np.array([1.0, 9.0, 5.0]), np.array([2.0, 6.0, 0.0])
    found, df = moderated(variances=variances, dfs=dfs, prior=Prior(3.0, 4.0, 100.0))
    np.testing.assert_allclose(found, [(4 * 3 + 2 * 1) / 6, (4 * 3 + 6 * 9) / 10, 3.0])
    np.testing.assert_allclose(df, [6, 10, 4])


def test_an_infinite_weight_gives_all_one_variance_with_all_degrees_of_freedom() -> None:
    found, df = moderated(variances=np.array([1.0, 9.0]), dfs=np.array([2.0, 0.0]), prior=Prior(3.0, math.inf, 7.0))
    assert found.tolist() == [3.0, 3.0]
    assert df.tolist() == [7.0, 7.0]


@pytest.mark.parametrize(("scale", "weight"), [(1.0, 4.0), (0.04, 10.0)])
@pytest.mark.parametrize("df", [1, 2, 5])
def test_a_planted_prior_is_found(scale: float, weight: float, df: int) -> None:
    """Variances whose truth is scaled inverse chi-square are F-distributed around its scale."""
    random = np.random.default_rng(1)
    variances = scale * random.f(df, weight, size=20_000)
    prior = fit_prior(variances=variances, dfs=np.full(20_000, float(df)))
    assert prior.variance == pytest.approx(scale, rel=0.1)
    assert prior.df == pytest.approx(weight, rel=0.2)
    assert prior.max_df == 20_000 * df


def test_variances_of_exactly_nothing_do_not_decide() -> None:
    """A median polish leaves a few; by moments of logarithms they would make the prior worth nothing."""
    random = np.random.default_rng(2)
    variances = 2.0 * random.f(2, 10, size=5000)
    variances[:25] = 0.0
    prior = fit_prior(variances=variances, dfs=np.full(5000, 2.0))
    assert prior.variance == pytest.approx(2.0, rel=0.1)
    assert prior.df == pytest.approx(10, rel=0.25)


def test_equal_truths_are_pooled() -> None:
    variances = np.random.default_rng(4).chisquare(3, size=300) / 3
    prior = fit_prior(variances=variances, dfs=np.full(300, 3.0))
    assert prior.df > 50
    assert prior.variance == pytest.approx(variances.mean(), rel=0.05)


def test_two_variances_are_pooled_and_none_is_undefined() -> None:
    prior = fit_prior(variances=np.array([1.0, 4.0]), dfs=np.array([1.0, 5.0]))
    assert prior == Prior(pytest.approx(21 / 6), math.inf, 6.0)
    assert math.isnan(fit_prior(variances=np.zeros(0), dfs=np.zeros(0)).variance)
