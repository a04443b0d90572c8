"""Conditions and their statistics: by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lysoquant.aggregate.conditions import (
    CONDITION_COLUMNS,
    STATISTICS_COLUMNS,
    adjust,
    condition_rows,
    statistics_rows,
    welch,
)
from lysoquant.aggregate.wells import Row

pytestmark = pytest.mark.filterwarnings("error")


def well(condition: str, mean: float, *, control: str = "", flags: str = "", loaded: int = 0, area: float = 1.0) -> Row:
    return {
        "condition": condition,
        "control": control,
        "flags": flags,
        "n_cells": 4,
        "n_endolysosomes": 10,
        "n_loaded": loaded,
        "occupancy_mean": mean,
        "area_um2_mean": area,
    }


PLATE = [
    well("WT", 0.5, loaded=5, area=0.4),
    well("mutant", 0.1, control="negative", loaded=1),
    well("WT", 0.7, loaded=8, area=0.6),
    well("WT", math.nan, flags="all_fields_failed;few_cells", area=math.nan),
    well("mutant", 0.2, control="negative", loaded=2),
    well("mutant", 0.15, control="negative", loaded=2),
    well("KO", 0.3, loaded=3),
    well("", 0.9),
]


def test_condition_by_hand() -> None:
    rows = condition_rows(wells=PLATE, confidence=0.95)

    assert [row["condition"] for row in rows] == ["KO", "WT", "mutant"]
    assert all(list(row) == list(CONDITION_COLUMNS) for row in rows)
    found = rows[1]
    half = 12.7062047362 * math.sqrt(0.02) / math.sqrt(2)
    assert found == {
        "condition": "WT",
        "control": "",
        "n_wells": 3,
        "n_wells_failed": 1,
        "n_cells": 12,
        "n_endolysosomes": 30,
        "occupancy_mean": pytest.approx(0.6),
        "occupancy_sd": pytest.approx(math.sqrt(0.02)),
        "occupancy_ci_low": pytest.approx(0.6 - half),
        "occupancy_ci_high": pytest.approx(0.6 + half),
        "occupancy_pooled": pytest.approx(13 / 30),
        "area_um2_mean": pytest.approx(0.5),
        "n_wells_with_occupancy": 2,
    }
    assert rows[2]["control"] == "negative"


def test_condition_of_one_well_has_no_spread_and_of_none_no_mean() -> None:
    one = condition_rows(wells=[well("KO", 0.3)], confidence=0.95)[0]
    none = condition_rows(wells=[{**well("KO", math.nan, area=math.nan), "n_endolysosomes": 0}], confidence=0.95)[0]

    assert one["occupancy_mean"] == 0.3
    assert all(math.isnan(float(one[name])) for name in ("occupancy_sd", "occupancy_ci_low", "occupancy_ci_high"))
    assert all(math.isnan(float(none[name])) for name in ("occupancy_mean", "occupancy_pooled", "area_um2_mean"))


def test_statistics_against_the_negative_control() -> None:
    rows = statistics_rows(wells=PLATE, confidence=0.95)

    assert [(row["condition"], row["reference"]) for row in rows] == [("KO", "mutant"), ("WT", "mutant")]
    assert all(list(row) == list(STATISTICS_COLUMNS) for row in rows)
    single, found = rows
    assert (single["n_condition"], single["n_reference"]) == (1, 3)
    assert single["difference"] == pytest.approx(0.15)
    assert all(math.isnan(float(single[name])) for name in ("ci_low", "statistic", "df", "p_value", "p_adjusted"))
    expected = stats.ttest_ind([0.5, 0.7], [0.1, 0.2, 0.15], equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found["test"] == "Welch t on well means"
    assert found["statistic"] == pytest.approx(expected.statistic)
    assert found["df"] == pytest.approx(expected.df)
    assert found["p_value"] == pytest.approx(expected.pvalue)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert found["p_adjusted"] == found["p_value"]


def test_welch_by_hand() -> None:
    # Means 3 and 7, variances 1 and 4 over three: error sqrt(5/3), df (5/3)^2 / (1/18 + 16/18).
    found = welch(np.array([2.0, 3.0, 4.0]), np.array([5.0, 7.0, 9.0]), confidence=0.95)

    assert found.difference == -4.0
    assert found.statistic == pytest.approx(-4 / math.sqrt(5 / 3))
    assert found.df == pytest.approx((25 / 9) / (17 / 18))


def test_welch_without_spread_or_values() -> None:
    flat = welch(np.array([0.5, 0.5]), np.array([0.2, 0.2]), confidence=0.95)
    nothing = welch(np.array([]), np.array([0.2, 0.2]), confidence=0.95)

    assert flat.difference == pytest.approx(0.3)
    assert math.isnan(flat.p_value)
    assert math.isnan(nothing.difference)


def test_no_negative_control_no_statistics() -> None:
    wells = [row for row in PLATE if row["control"] != "negative"]

    assert statistics_rows(wells=wells, confidence=0.95) == []


def test_every_negative_control_is_a_reference_of_its_own() -> None:
    more = [well("mock", 0.3, control="negative"), well("mock", 0.4, control="negative")]

    pairs = [(row["condition"], row["reference"]) for row in statistics_rows(wells=PLATE + more, confidence=0.95)]

    assert pairs == [("KO", "mock"), ("KO", "mutant"), ("WT", "mock"), ("WT", "mutant")]


def test_benjamini_hochberg_by_hand_and_around_nan() -> None:
    # Sorted 0.01, 0.02, 0.04: times 3/rank is 0.03, 0.03, 0.04.
    found = adjust(np.array([0.04, np.nan, 0.01, 0.02]))

    np.testing.assert_allclose(found, [0.04, np.nan, 0.03, 0.03])
    assert np.isnan(adjust(np.array([np.nan]))).all()
