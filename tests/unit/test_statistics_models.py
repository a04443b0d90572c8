"""Mixed and beta-binomial models against lme4's and MixedModels.jl's printed fits, statsmodels, and exact cases."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from reference_data import BOYS_OF_TWELVE, DYESTUFF, PASTES, WELLS_ON_PLATES, numbers
from scipy.special import gammaln
from scipy.stats import betabinom, ttest_ind

from lysoquant.statistics import beta_binomial, mixed

pytestmark = pytest.mark.filterwarnings("error")


def wells(values: Sequence[np.ndarray], *, condition: Sequence[int] = (), plate: Sequence[int] = ()) -> mixed.Wells:
    n = len(values)
    return mixed.Wells(np.array(condition or [0] * n), np.array(plate or [0] * n), *mixed.sums(values))


class TestMixed:
    def test_dyestuff_is_that_of_lme4(self) -> None:
        # lmer(Yield ~ 1 + (1 | Batch), Dyestuff): criterion 319.6543, variances 1764 and 2451, mean 1527.5 (19.38)
        found = mixed.fit(wells(DYESTUFF))

        assert found.criterion == pytest.approx(319.6543, abs=5e-5)
        assert found.variance_well == pytest.approx(1764.05, abs=5e-3)
        assert found.variance_cell == pytest.approx(2451.25, abs=5e-3)
        assert found.means[0] == pytest.approx(1527.5)
        assert math.sqrt(found._covariance[0, 0]) == pytest.approx(19.38, abs=5e-3)

    def test_pastes_is_that_of_mixedmodels_and_lme4(self) -> None:
        # MixedModels.jl's tests: objective 246.9907459, std 2.90405, 1.28747, 0.82341, stderr 0.67689;
        # lmer(strength ~ 1 + (1 | batch / cask), Pastes) prints 247.0, 2.9041, 1.2874, 0.8234, 0.6769.
        casks = [numbers(text).reshape(3, 2)[i] for text in PASTES.values() for i in range(3)]
        found = mixed.fit(wells(casks, plate=[i // 3 for i in range(30)]))

        assert found.criterion == pytest.approx(246.9907459, abs=1e-6)
        assert found.means[0] == pytest.approx(60.0533333)
        deviations = [math.sqrt(v) for v in (found.variance_well, found.variance_plate, found.variance_cell)]
        assert deviations == pytest.approx([2.90405, 1.28747, 0.82341], rel=2e-4)
        assert math.sqrt(found._covariance[0, 0]) == pytest.approx(0.67689, rel=1e-4)

    def test_unequal_wells_and_conditions_are_those_of_statsmodels(self) -> None:
        import pandas as pd
        from statsmodels.regression.mixed_linear_model import MixedLM

        rng = np.random.default_rng(5)
        condition = [0] * 5 + [1] * 4
        values = [rng.normal(0.3 + 0.2 * k + rng.normal(0, 0.15), 0.2, rng.integers(2, 30)) for k in condition]
        group = np.repeat(np.arange(9), [v.size for v in values])
        design = pd.DataFrame({"a": np.array(condition)[group] == 0, "b": np.array(condition)[group] == 1}).astype(
            float
        )
        expected = MixedLM(np.concatenate(values), design, groups=group).fit(reml=True, method="bfgs", gtol=1e-9)

        found = mixed.fit(wells(values, condition=condition))

        assert list(found.means) == pytest.approx(list(expected.fe_params), rel=1e-5)
        assert found.variance_cell == pytest.approx(expected.scale, rel=1e-4)
        assert found.variance_well == pytest.approx(float(expected.cov_re.iloc[0, 0]), rel=1e-3)
        assert np.sqrt(np.diag(found._covariance)) == pytest.approx(np.array(expected.bse_fe), rel=3e-3)
        assert found.criterion == pytest.approx(-2 * expected.llf, abs=1e-4)

    def test_unequal_wells_on_plates_are_those_of_lmertest(self) -> None:
        # R 4.2.2, lmerTest 3.1.3: summary(lmer(occ ~ condition + (1 | plate / well))) of these cells.
        drawn = [(place, numbers(cells)) for place, cells in WELLS_ON_PLATES]
        found = mixed.fit(
            wells(
                [cells for _, cells in drawn],
                condition=[int(place[0] == "d") for place, _ in drawn],
                plate=[int(place[1]) for place, _ in drawn],
            )
        )

        assert found.criterion == pytest.approx(-76.50632013, abs=1e-7)
        variances = [found.variance_well, found.variance_plate, found.variance_cell]
        assert variances == pytest.approx([0.0001585225, 0.0009819871, 0.0113072269], rel=1e-3)
        compared = found.compare(1, 0, confidence=0.95)
        assert compared.difference == pytest.approx(0.1354638780, rel=1e-5)
        assert compared.statistic == pytest.approx(4.526783238, rel=1e-5)
        assert compared.df == pytest.approx(6.613766145, rel=1e-3)
        assert compared.p_value == pytest.approx(0.0031264842683, rel=1e-3)

    def test_equal_wells_give_students_test_of_well_means(self) -> None:
        values = [batch / 100 for batch in DYESTUFF]
        found = mixed.fit(wells(values, condition=[0, 0, 0, 1, 1, 1])).compare(0, 1, confidence=0.95)
        means = [v.mean() for v in values]
        expected = ttest_ind(means[:3], means[3:])

        assert found.df == pytest.approx(4, abs=1e-3)
        assert found.statistic == pytest.approx(expected.statistic, rel=1e-5)
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-3)

    def test_plates_that_hold_every_condition_cost_their_degrees_of_freedom(self) -> None:
        # 4 plates x 2 conditions x 1 well of equal cells: blocks, so 8 - 2 - 3 degrees of freedom and a paired t test.
        rng = np.random.default_rng(3)
        plates = rng.normal(0, 3, 4)
        shape = [(k, p) for p in range(4) for k in range(2)]
        values = [plates[p] + k + rng.normal(0, 0.5) + rng.normal(0, 0.3, 6) for k, p in shape]
        found = mixed.fit(wells(values, condition=[k for k, _ in shape], plate=[p for _, p in shape]))
        paired = np.array([v.mean() for v in values]).reshape(4, 2)
        difference = paired[:, 1] - paired[:, 0]

        compared = found.compare(1, 0, confidence=0.95)
        assert compared.df == pytest.approx(3, abs=1e-3)
        assert compared.statistic == pytest.approx(difference.mean() / (difference.std(ddof=1) / 2), rel=1e-4)

    def test_conditions_on_plates_of_their_own_are_compared_only_where_plates_can_be_told(self) -> None:
        rng = np.random.default_rng(7)
        shape = [(0, 0), (1, 0), (2, 1), (3, 1)]
        values = [k + rng.normal(0, 0.5) + rng.normal(0, 0.3, 6) for k, _ in shape for _ in range(3)]
        condition, plate = ([one[at] for one in shape for _ in range(3)] for at in (0, 1))
        apart = mixed.fit(wells(values, condition=condition, plate=plate))
        # One well of condition 0 on the other plate links both.
        linked = mixed.fit(wells(values, condition=condition, plate=[1, *plate[1:]]))

        assert math.isnan(apart.variance_plate)
        assert apart.compare(2, 0, confidence=0.95).reason == "the conditions can't be told from their plates"
        assert math.isfinite(apart.compare(1, 0, confidence=0.95).p_value)
        assert math.isfinite(linked.compare(2, 0, confidence=0.95).p_value)

    @pytest.mark.parametrize(
        ("values", "condition", "reason"),
        [
            (
                [[1.0, 2.0], [1.1, 1.9], [1.0, 2.1]],
                [0, 0, 1],
                "singular fit: the variance between wells is estimated as 0",
            ),
            ([[1.0, 2.0], [3.0, 4.0]], [0, 1], "no condition has two wells"),
            ([[1.0], [2.0], [4.0]], [0, 0, 1], "no spread of cells within wells"),
            ([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]], [0, 0, 1], "no spread of cells within wells"),
        ],
    )
    def test_a_model_that_cannot_be_used_says_why(
        self, values: list[list[float]], condition: list[int], reason: str
    ) -> None:
        found = mixed.fit(wells([np.array(v) for v in values], condition=condition)).compare(1, 0, confidence=0.95)

        assert found.reason == reason
        assert math.isnan(found.p_value)
        assert math.isfinite(found.difference)


class TestBetaBinomial:
    def test_boys_of_saxony(self) -> None:
        # Most likely alpha 34.09558, beta 31.5715, log likelihood -12492.9 (Wikipedia, Beta-binomial distribution).
        boys = np.repeat(np.arange(13), BOYS_OF_TWELVE)
        found = beta_binomial.fit(loaded=boys, total=np.full(boys.size, 12), condition=np.zeros(boys.size, dtype=int))
        coefficients = (gammaln(13) - gammaln(boys + 1) - gammaln(13 - boys)).sum()
        scale = (1 - found.overdispersion) / found.overdispersion

        assert found.log_likelihood + coefficients == pytest.approx(-12492.9, abs=0.05)
        # Cox and Reid's adjustment moves the overdispersion of 6115 families by 1 in 1000.
        assert found.occupancy[0] * scale == pytest.approx(34.09558, rel=2e-3)
        assert (1 - found.occupancy[0]) * scale == pytest.approx(31.5715, rel=2e-3)

    def test_likelihood_is_scipys_and_its_top_is_found(self) -> None:
        loaded, total = np.array([3, 9, 1, 7]), np.array([10, 12, 8, 9])
        found = beta_binomial.fit(loaded=loaded, total=total, condition=np.zeros(4, dtype=int))
        scale = (1 - found.overdispersion) / found.overdispersion

        def likelihood(mean: float) -> float:
            return float(betabinom.logpmf(loaded, total, mean * scale, (1 - mean) * scale).sum())

        coefficients = (gammaln(total + 1) - gammaln(loaded + 1) - gammaln(total - loaded + 1)).sum()
        assert found.log_likelihood + coefficients == pytest.approx(likelihood(found.occupancy[0]))
        assert all(likelihood(found.occupancy[0]) >= likelihood(found.occupancy[0] + step) for step in (-1e-4, 1e-4))
        # The interval ends where the likelihood has fallen by t^2 / 2 of three degrees of freedom.
        for (bound,) in found.intervals(confidence=0.95):
            assert likelihood(found.occupancy[0]) - likelihood(bound) == pytest.approx(3.1824463**2 / 2, rel=1e-6)

    def test_more_wells_of_the_same_spread_narrow_the_interval_and_more_endolysosomes_do_not(self) -> None:
        def width(loaded: list[int], total: int) -> float:
            low, high = beta_binomial.fit(
                loaded=np.array(loaded), total=np.full(len(loaded), total), condition=np.zeros(len(loaded), dtype=int)
            ).intervals(confidence=0.95)
            return float(high[0] - low[0])

        few, many, deeper = width([30, 50, 70], 100), width([30, 50, 70] * 4, 100), width([300, 500, 700], 1000)
        assert many < few / 3
        assert deeper == pytest.approx(few, rel=0.1)

    def test_all_of_one_class_has_an_interval_and_no_log_odds(self) -> None:
        found = beta_binomial.fit(
            loaded=np.array([0, 0, 0, 40, 55, 70]), total=np.full(6, 100), condition=np.array([0, 0, 0, 1, 1, 1])
        )
        low, high = (float(bounds[0]) for bounds in found.intervals(confidence=0.95))
        fractions = found.compare([(1, 0)], confidence=0.95)[0]
        odds = found.compare([(1, 0)], confidence=0.95, on_logit=True)[0]

        assert low == 0
        assert 0 < high < 0.2
        assert fractions.ci_low > 0
        assert fractions.p_value < 0.01
        assert odds.reason == "all endolysosomes of one side are of one class"

    def test_counts_that_vary_less_than_chance_are_binomial(self) -> None:
        found = beta_binomial.fit(
            loaded=np.array([50, 50, 50, 60, 60, 60]), total=np.full(6, 100), condition=np.array([0, 0, 0, 1, 1, 1])
        )
        ratio = 2 * sum(
            count * math.log(count / expected) for count, expected in ((150, 165), (150, 135), (180, 165), (120, 135))
        )

        assert found.is_binomial
        assert found.compare([(1, 0)], confidence=0.95)[0].statistic == pytest.approx(math.sqrt(ratio), rel=1e-3)

    def test_one_replicate_each_says_why(self) -> None:
        found = beta_binomial.fit(loaded=np.array([1, 5]), total=np.array([10, 10]), condition=np.array([0, 1]))

        assert found.compare([(1, 0)], confidence=0.95)[0].reason == "no condition has two replicates"
        assert found.compare([(1, 0)], confidence=0.95)[0].difference == pytest.approx(0.4)
        assert np.isnan(found.intervals(confidence=0.95)).all()
