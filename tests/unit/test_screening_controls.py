"""Statistics of control wells, against figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lysoquant.screening.controls import (
    robust_ssmd,
    robust_z_prime,
    signal_window,
    ssmd,
    unbiased_ssmd,
    z_prime,
)

pytestmark = pytest.mark.filterwarnings("error")

POSITIVE = np.array([9.0, 10.0, 11.0])
"""Mean and median 10, SD 1, MAD 1."""
NEGATIVE = np.array([-2.0, 0.0, 2.0])
"""Mean and median 0, SD 2, MAD 2."""


def test_z_prime_by_hand_and_either_way_round() -> None:
    # 1 - 3 (1 + 2) / 10
    assert z_prime(positive=POSITIVE, negative=NEGATIVE) == pytest.approx(0.1)
    assert z_prime(positive=NEGATIVE, negative=POSITIVE) == pytest.approx(0.1)


def test_robust_z_prime_by_hand_is_not_moved_by_one_bad_well() -> None:
    # 1 - 3 * 1.4826 (1 + 2) / 10
    expected = 1 - 9 * 1.4826 / 10
    assert robust_z_prime(positive=POSITIVE, negative=NEGATIVE) == pytest.approx(expected)
    five = np.array([8.0, 9.0, 10.0, 11.0, 12.0])
    assert robust_z_prime(positive=np.array([8.0, 9, 10, 11, 1000]), negative=NEGATIVE) == pytest.approx(
        robust_z_prime(positive=five, negative=NEGATIVE)
    )
    assert z_prime(positive=np.array([8.0, 9, 10, 11, 1000]), negative=NEGATIVE) < z_prime(
        positive=five, negative=NEGATIVE
    )


def test_ssmd_by_hand_has_a_sign() -> None:
    assert ssmd(positive=POSITIVE, negative=NEGATIVE) == pytest.approx(10 / math.sqrt(5))
    assert ssmd(positive=NEGATIVE, negative=POSITIVE) == pytest.approx(-10 / math.sqrt(5))
    assert robust_ssmd(positive=POSITIVE, negative=NEGATIVE) == pytest.approx(10 / (1.4826 * math.sqrt(5)))


def test_unbiased_ssmd_by_hand() -> None:
    # Five and five: v = 8, K = 2 (gamma(4) / gamma(3.5))^2 = 2 (6 / 3.3233509704)^2; sums of squares 10 and 10.
    sample, negative = np.arange(5.0) + 3, np.arange(5.0)
    k = 2 * (6 / 3.3233509704478426) ** 2
    assert k == pytest.approx(5 + 5 - 3.48, abs=0.02)
    assert unbiased_ssmd(sample=sample, negative=negative) == pytest.approx(3 / math.sqrt(2 / k * 20))
    # One well: as published for screens without replicates, over s_n sqrt(2 (n_n - 1) / K) with K about n_n - 2.48.
    single = unbiased_ssmd(sample=np.array([7.0]), negative=np.arange(20.0) - 9.5)
    spread = math.sqrt(35.0)
    assert single == pytest.approx(7.0 / (spread * math.sqrt(2 * 19 / (20 - 2.48))), rel=1e-3)


def test_unbiased_ssmd_is_unbiased() -> None:
    random = np.random.default_rng(0)
    found = [unbiased_ssmd(sample=random.normal(2, 1, 3), negative=random.normal(0, 1, 4)) for _ in range(4000)]
    # The truth is 2 / sqrt(1 + 1); the plug-in estimate would be 1.19 times that on average.
    assert np.mean(found) == pytest.approx(math.sqrt(2), abs=4 * np.std(found) / math.sqrt(4000))


def test_signal_window_by_hand_is_over_the_spread_of_the_higher_control() -> None:
    # (10 - 0 - 3 (1 + 2)) / 1; the other way round the higher control is again the one around 10.
    assert signal_window(positive=POSITIVE, negative=NEGATIVE) == pytest.approx(1.0)
    assert signal_window(positive=NEGATIVE, negative=POSITIVE) == pytest.approx(1.0)
    assert signal_window(positive=-POSITIVE, negative=NEGATIVE) == pytest.approx(0.5)


@pytest.mark.parametrize("statistic", [z_prime, robust_z_prime, ssmd, robust_ssmd, signal_window])
def test_undefined_without_two_wells_of_each_or_without_difference_and_spread(statistic) -> None:
    few, equal = np.array([1.0]), np.array([1.0, 1.0, 1.0])
    assert math.isnan(statistic(positive=few, negative=NEGATIVE))
    assert math.isnan(statistic(positive=POSITIVE, negative=few[:0]))
    assert math.isnan(statistic(positive=equal, negative=equal))
    assert math.isnan(unbiased_ssmd(sample=few, negative=few))
    assert math.isnan(unbiased_ssmd(sample=equal, negative=equal))
