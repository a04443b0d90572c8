"""Conditions by hand."""

from __future__ import annotations

import math

import pytest

from lysoquant.aggregate.conditions import CONDITION_COLUMNS, condition_rows
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
