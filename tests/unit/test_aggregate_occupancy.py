"""Cells to a well's occupancy: by hand, and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from lysoquant.aggregate import occupancy as module
from lysoquant.aggregate.occupancy import Occupancy, bootstrap_seed, well_occupancy, wilson_interval

pytestmark = pytest.mark.filterwarnings("error")


def occupancy(
    empty: list[int], loaded: list[int], *, confidence: float = 0.95, n_resamples: int = 2000, seed: int = 1
) -> Occupancy:
    return well_occupancy(
        n_empty=np.array(empty, dtype=np.int64),
        n_loaded=np.array(loaded, dtype=np.int64),
        confidence=confidence,
        n_resamples=n_resamples,
        seed=seed,
    )


def test_mean_weighs_cells_and_pooled_weighs_endolysosomes() -> None:
    found = occupancy([1, 2, 0, 0], [3, 2, 8, 0])

    assert (found.n_empty, found.n_loaded) == (3, 13)
    assert found.mean == pytest.approx((0.75 + 0.5 + 1.0) / 3)
    assert found.sd == pytest.approx(0.25)
    assert found.pooled == pytest.approx(13 / 16)


def test_interval_resamples_cells_not_endolysosomes() -> None:
    # Of all pairs of the two cells a quarter is 9/9 twice, a half both, a quarter 0/1 twice: ratios 1, 0.9 and 0.
    wide = occupancy([0, 1], [9, 0], confidence=0.95)
    narrow = occupancy([0, 1], [9, 0], confidence=0.4)

    assert (wide.ci_low, wide.ci_high) == (0.0, 1.0)
    assert (narrow.ci_low, narrow.ci_high) == (0.9, 0.9)


def test_interval_is_that_of_the_normal_approximation_for_many_cells() -> None:
    rng = np.random.default_rng(0)
    loaded = rng.binomial(20, 0.3, size=400)
    found = occupancy((20 - loaded).tolist(), loaded.tolist())

    half = 1.959964 * loaded.std(ddof=1) / 20 / math.sqrt(400)
    assert found.ci_low == pytest.approx(found.pooled - half, abs=half / 8)
    assert found.ci_high == pytest.approx(found.pooled + half, abs=half / 8)


@pytest.mark.parametrize(
    ("empty", "loaded", "reason"),
    [([2], [8], "one cell"), ([1, 1, 0], [4, 4, 0], "equal cells"), ([0, 0], [5, 5], "all loaded")],
)
def test_interval_falls_back_to_wilson(empty: list[int], loaded: list[int], reason: str) -> None:
    found = occupancy(empty, loaded)

    expected = binomtest(sum(loaded), sum(empty) + sum(loaded)).proportion_ci(method="wilson")
    assert (found.ci_low, found.ci_high) == pytest.approx((expected.low, expected.high)), reason
    assert found.ci_high <= 1.0


def test_wilson_of_eight_in_ten_and_its_ends() -> None:
    assert wilson_interval(successes=8, trials=10, confidence=0.95) == pytest.approx((0.4901625, 0.9433178), abs=1e-7)
    assert wilson_interval(successes=0, trials=10, confidence=0.95)[0] == 0.0
    assert wilson_interval(successes=10, trials=10, confidence=0.95)[1] == 1.0
    assert all(math.isnan(bound) for bound in wilson_interval(successes=0, trials=0, confidence=0.95))


@pytest.mark.parametrize("cells", [[], [0, 0]])
def test_nothing_counted_is_undefined(cells: list[int]) -> None:
    found = occupancy(cells, cells)

    assert (found.n_empty, found.n_loaded) == (0, 0)
    assert all(math.isnan(value) for value in (found.mean, found.sd, found.pooled, found.ci_low, found.ci_high))


def test_one_cell_has_a_mean_and_no_sd() -> None:
    found = occupancy([1, 0], [3, 0])

    assert found.mean == found.pooled == 0.75
    assert math.isnan(found.sd)


def test_many_resamples_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DRAWS_AT_ONCE", 7)
    loaded = np.array([1, 0, 1], dtype=np.int64)
    drawn = module._resampled(loaded=loaded, total=np.ones(3, dtype=np.int64), n_resamples=101, seed=3)

    assert drawn.shape == (101,)
    assert set(np.round(drawn * 3).astype(int)) == {0, 1, 2, 3}


def test_seed_depends_on_plate_and_well_alone() -> None:
    seeds = {bootstrap_seed(plate=plate, well=well) for plate in ("P1", "P2") for well in ("A01", "A02")}

    assert len(seeds) == 4
    assert bootstrap_seed(plate="P1", well="A01") in seeds
    assert occupancy([1, 2, 3], [3, 2, 1], seed=5) == occupancy([1, 2, 3], [3, 2, 1], seed=5)


def test_log_odds_of_cells_by_hand() -> None:
    found = occupancy([1, 2, 0, 0], [3, 2, 8, 0])
    logits = [math.log(3.5 / 1.5), 0.0, math.log(8.5 / 0.5)]

    assert found.n_cells == 3
    assert found.logit_mean == pytest.approx(np.mean(logits))
    assert found.logit_sd == pytest.approx(np.std(logits, ddof=1))
    assert math.isnan(occupancy([1], [3]).logit_sd)
    assert (occupancy([0], [0]).n_cells, math.isnan(occupancy([0], [0]).logit_mean)) == (0, True)


def test_beta_binomial_interval_of_a_well_takes_cells_for_clusters() -> None:
    rng = np.random.default_rng(1)
    chance = rng.beta(3, 7, 60)
    loaded = rng.binomial(20, chance)
    counts = {"n_empty": 20 - loaded, "n_loaded": loaded, "confidence": 0.95, "n_resamples": 2000, "seed": 1}
    resampled = well_occupancy(**counts)
    fitted = well_occupancy(**counts, interval="beta_binomial")
    wilson = wilson_interval(successes=int(loaded.sum()), trials=1200, confidence=0.95)

    assert (fitted.mean, fitted.pooled, fitted.sd) == (resampled.mean, resampled.pooled, resampled.sd)
    assert fitted.ci_low == pytest.approx(resampled.ci_low, abs=0.01)
    assert fitted.ci_high == pytest.approx(resampled.ci_high, abs=0.01)
    assert fitted.ci_high - fitted.ci_low > 1.5 * (wilson[1] - wilson[0])


def test_beta_binomial_interval_stays_within_0_and_1_and_of_one_cell_is_wilsons() -> None:
    empty = {"n_empty": np.array([9, 12]), "n_loaded": np.array([0, 0]), "confidence": 0.95}
    two = well_occupancy(**empty, n_resamples=100, seed=1, interval="beta_binomial")
    one = well_occupancy(
        n_empty=np.array([2]),
        n_loaded=np.array([8]),
        confidence=0.95,
        n_resamples=100,
        seed=1,
        interval="beta_binomial",
    )

    assert two.ci_low == 0
    assert 0 < two.ci_high <= 1
    assert (one.ci_low, one.ci_high) == wilson_interval(successes=8, trials=10, confidence=0.95)
