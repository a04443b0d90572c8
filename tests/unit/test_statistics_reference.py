"""Tests of means against what R printed, certified values of NIST, and numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from reference_data import ATM_WT_AG, PLANT_GROWTH, SI_RSTV, SLEEP, TOOTH_GROWTH

from lysoquant.statistics.anova import PooledError, one_way, tukey, two_way
from lysoquant.statistics.assumptions import check
from lysoquant.statistics.means import hedges_g, student, welch
from lysoquant.statistics.multiplicity import adjust

pytestmark = pytest.mark.filterwarnings("error")


def test_welch_is_that_of_r_on_sleep() -> None:
    # t.test(extra ~ group, data = sleep), the example of R's help page
    found = welch(*SLEEP, confidence=0.95)

    assert found.statistic == pytest.approx(-1.8608, abs=5e-5)
    assert found.df == pytest.approx(17.776, abs=5e-4)
    assert found.p_value == pytest.approx(0.07939, abs=5e-6)
    assert (found.ci_low, found.ci_high) == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)


def test_student_is_that_of_r_on_sleep() -> None:
    # t.test(extra ~ group, data = sleep, var.equal = TRUE)
    found = student(*SLEEP, confidence=0.95)

    assert (found.statistic, found.df) == (pytest.approx(-1.8608, abs=5e-5), 18)
    assert found.p_value == pytest.approx(0.07919, abs=5e-6)
    assert (found.ci_low, found.ci_high) == pytest.approx((-3.363874, 0.203874), abs=5e-7)


def test_welch_by_hand() -> None:
    # Means 3 and 7, variances 1 and 4 over three: error sqrt(5/3), df (5/3)^2 / (1/18 + 16/18).
    found = welch(np.array([2.0, 3.0, 4.0]), np.array([5.0, 7.0, 9.0]), confidence=0.95)

    assert found.difference == -4.0
    assert found.statistic == pytest.approx(-4 / math.sqrt(5 / 3))
    assert found.df == pytest.approx((25 / 9) / (17 / 18))


def test_hedges_g_by_hand() -> None:
    # Cohen's d of sleep is 1.8608135 sqrt(2/10); the factor for 18 degrees of freedom, Gamma(9) / (3 Gamma(8.5)).
    factor = math.gamma(9) / (3 * math.gamma(8.5))

    assert factor == pytest.approx(1 - 3 / (4 * 18 - 1), abs=2e-4)  # Hedges' own approximation
    assert hedges_g(*SLEEP) == pytest.approx(-1.8608135 * math.sqrt(0.2) * factor, rel=1e-7)


@pytest.mark.parametrize("test", [welch, student])
def test_t_tests_say_why_they_are_undefined(test: object) -> None:
    assert callable(test)
    flat = test(np.array([0.5, 0.5]), np.array([0.2, 0.2]), confidence=0.95)
    nothing = test(np.array([]), np.array([0.2, 0.2]), confidence=0.95)
    pair = test(np.array([0.1]), np.array([0.2]), confidence=0.95)

    assert (flat.difference, flat.reason) == (pytest.approx(0.3), "no spread on either side")
    assert (math.isnan(nothing.difference), nothing.reason) == (True, "no value on one side")
    assert (pair.difference, pair.reason) == (pytest.approx(-0.1), "fewer than two values on one side")
    assert all(math.isnan(found.p_value) and math.isnan(found.ci_low) for found in (flat, nothing, pair))
    assert math.isnan(hedges_g(np.array([0.1]), np.array([0.2])))


def test_student_tests_a_single_value_and_welch_does_not() -> None:
    one, many = np.array([9.0]), np.array([1.0, 2.0, 3.0])

    assert student(one, many, confidence=0.95).statistic == pytest.approx(7 / math.sqrt(1 + 1 / 3))
    assert welch(one, many, confidence=0.95).reason == "fewer than two values on one side"


@pytest.mark.parametrize(
    ("groups", "statistic", "df", "digits"),
    [(SI_RSTV, 1.18046237440255, (4, 20), 9), (ATM_WT_AG, 15.9467335677930, (1, 46), 6)],
)
def test_one_way_has_the_certified_f_of_nist(
    groups: tuple[np.ndarray, ...], statistic: float, df: tuple[int, int], digits: int
) -> None:
    found = one_way(groups)

    assert found.statistic == pytest.approx(statistic, rel=10**-digits)
    assert (found.df, found.df_denominator) == df


def test_one_way_and_tukey_are_those_of_r_on_plant_growth() -> None:
    # summary(fit <- aov(weight ~ group, data = PlantGrowth)); TukeyHSD(fit)
    groups = list(PLANT_GROWTH.values())
    found = one_way(groups)
    pairs = tukey(groups, pairs=[(1, 0), (2, 0), (2, 1)], confidence=0.95)

    assert (found.statistic, found.p_value) == (pytest.approx(4.846, abs=5e-4), pytest.approx(0.0159, abs=5e-5))
    expected = [
        (-0.371, -1.0622161, 0.3202161, 0.3908711),
        (0.494, -0.1972161, 1.1852161, 0.1979960),
        (0.865, 0.1737839, 1.5562161, 0.0120064),
    ]
    for (pair, p_adjusted), (difference, low, high, p) in zip(pairs, expected, strict=True):
        assert pair.difference == pytest.approx(difference)
        assert (pair.ci_low, pair.ci_high) == pytest.approx((low, high), abs=2e-7)
        assert p_adjusted == pytest.approx(p, abs=2e-7)


def test_tukey_of_two_groups_is_the_t_test() -> None:
    # The range of two means is sqrt(2) |t|.
    ((pair, p_adjusted),) = tukey(SLEEP, pairs=[(0, 1)], confidence=0.95)
    alone = student(*SLEEP, confidence=0.95)

    assert p_adjusted == pytest.approx(alone.p_value, rel=1e-6)
    assert (pair.ci_low, pair.ci_high) == pytest.approx((alone.ci_low, alone.ci_high), rel=1e-6)


def test_two_way_is_that_of_r_on_tooth_growth() -> None:
    # summary(aov(len ~ supp * factor(dose), data = ToothGrowth))
    found = _tooth_growth()

    assert found["first"].statistic == pytest.approx(15.572, abs=5e-4)
    assert found["first"].p_value == pytest.approx(0.000231, abs=5e-7)
    assert found["second"].statistic == pytest.approx(92.000, abs=5e-4)
    assert found["interaction"].statistic == pytest.approx(4.107, abs=5e-4)
    assert found["interaction"].p_value == pytest.approx(0.021860, abs=5e-7)
    assert [(one.df, one.df_denominator) for one in found.values()] == [(1, 54), (2, 54), (2, 54)]


def test_comparisons_within_levels_follow_from_rs_table() -> None:
    # R prints a residual sum of squares of 712.1 on 54 degrees of freedom and means 13.23 and 7.98 at dose 0.5.
    error = PooledError.of(list(TOOTH_GROWTH.values()))
    found = error.compare(TOOTH_GROWTH["OJ", "0.5"], TOOTH_GROWTH["VC", "0.5"], confidence=0.95)

    assert (error.mean_square * 54, error.df) == (pytest.approx(712.106, abs=5e-4), 54)
    assert found.difference == pytest.approx(5.25)
    assert found.statistic == pytest.approx(5.25 / math.sqrt(712.106 / 54 * 2 / 10), rel=1e-6)


def test_two_way_of_unequal_numbers_is_type_three_of_statsmodels() -> None:
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    cut = {key: values[: 10 - 2 * number] for number, (key, values) in enumerate(TOOTH_GROWTH.items()) if number < 4}
    cut |= {key: values[:3] for key, values in list(TOOTH_GROWTH.items())[4:]}
    frame = pd.DataFrame(
        {
            "value": np.concatenate(list(cut.values())),
            "a": [a for (a, _), values in cut.items() for _ in values],
            "b": [b for (_, b), values in cut.items() for _ in values],
        }
    )
    table = anova_lm(ols("value ~ C(a, Sum) * C(b, Sum)", frame).fit(), typ=3)

    found = two_way(frame["value"].to_numpy(), first=list(frame["a"]), second=list(frame["b"]))

    assert [found[name].statistic for name in ("first", "second", "interaction")] == pytest.approx(
        list(table["F"].iloc[1:4])
    )
    assert found["first"].df_denominator == table["df"].iloc[4]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({("a", "x"): [1.0, 2.0], ("b", "x"): [2.0, 3.0]}, "a factor has fewer than two levels"),
        (
            {("a", "x"): [1.0, 2.0], ("b", "x"): [2.0, 3.0], ("a", "y"): [1.0, 5.0]},
            "a combination of levels has no value",
        ),
        (
            {("a", "x"): [1.0], ("b", "x"): [2.0], ("a", "y"): [1.0], ("b", "y"): [7.0]},
            "no combination of levels has two values",
        ),
        (
            {("a", "x"): [1.0] * 2, ("b", "x"): [2.0] * 2, ("a", "y"): [1.0] * 2, ("b", "y"): [7.0] * 2},
            "no spread within any combination of levels",
        ),
    ],
)
def test_two_way_says_why_it_is_undefined(cells: dict[tuple[str, str], list[float]], reason: str) -> None:
    found = two_way(
        np.concatenate(list(map(np.array, cells.values()))),
        first=[a for (a, _), values in cells.items() for _ in values],
        second=[b for (_, b), values in cells.items() for _ in values],
    )

    assert [(one.reason, math.isnan(one.p_value)) for one in found.values()] == [(reason, True)] * 3


def test_checks_are_those_of_r_on_plant_growth() -> None:
    # shapiro.test(residuals(fit)): p-value = 0.4379; car::leveneTest(weight ~ group): Pr(>F) 0.3412
    found = check(list(PLANT_GROWTH.values()))

    assert found.n == 30
    assert found.normality_p == pytest.approx(0.4379, abs=5e-5)
    assert found.equal_variance_p == pytest.approx(0.3412, abs=5e-5)
    assert found.reasons == ()


@pytest.mark.parametrize(
    ("groups", "normality", "variances"),
    [
        ([[1.0], [2.0]], "too few values for a check of normality", "too few values for a check of equal variances"),
        (
            [[1.0, 1.0], [2.0, 2.0]],
            "no spread for a check of normality",
            "too few values for a check of equal variances",
        ),
        ([[1.0] * 3, [2.0] * 3], "no spread for a check of normality", "no spread for a check of equal variances"),
    ],
)
def test_checks_say_why_they_are_undefined(groups: list[list[float]], normality: str, variances: str) -> None:
    found = check([np.array(values) for values in groups])

    assert found.reasons == (normality, variances)
    assert math.isnan(found.normality_p)
    assert math.isnan(found.equal_variance_p)


def test_adjusting_by_hand_and_around_nan() -> None:
    # Sorted 0.01, 0.02, 0.04. bh: times 3/rank; holm: times 3, 2, 1, never falling; sidak: 1 - (1 - p)^3.
    p = np.array([0.04, np.nan, 0.01, 0.02])

    np.testing.assert_allclose(adjust(p, method="bh"), [0.04, np.nan, 0.03, 0.03])
    np.testing.assert_allclose(adjust(p, method="holm"), [0.04, np.nan, 0.03, 0.04])
    np.testing.assert_allclose(adjust(p, method="sidak"), [0.115264, np.nan, 0.029701, 0.058808])
    np.testing.assert_allclose(adjust(p, method="none"), p)
    np.testing.assert_allclose(adjust(np.array([0.8, 0.7, 1.0]), method="holm"), [1, 1, 1])
    assert np.isnan(adjust(np.array([np.nan]))).all()


def test_adjusting_is_that_of_statsmodels_and_keeps_tiny_values() -> None:
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(0).random(40) ** 3

    for method, name in (("bh", "fdr_bh"), ("holm", "holm"), ("sidak", "sidak")):
        np.testing.assert_allclose(adjust(p, method=method), multipletests(p, method=name)[1])
    assert adjust(np.array([1e-20, 1.0]), method="sidak")[0] == pytest.approx(2e-20)


def _tooth_growth() -> dict:
    return dict(
        two_way(
            np.concatenate(list(TOOTH_GROWTH.values())),
            first=[supp for (supp, _), values in TOOTH_GROWTH.items() for _ in values],
            second=[dose for (_, dose), values in TOOTH_GROWTH.items() for _ in values],
        )
    )
