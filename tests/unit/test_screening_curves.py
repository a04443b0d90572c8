"""Dose-response curves: R's published reference, known curves, and what a curve can't say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lysoquant.errors import ConfigError
from lysoquant.screening.curves import fit_curve
from lysoquant.screening.params import ScreenParams
from lysoquant.screening.screen import screen

pytestmark = pytest.mark.filterwarnings("error")

RYEGRASS_MM = np.repeat([0, 0.94, 1.88, 3.75, 7.5, 15, 30], [6, 3, 3, 3, 3, 3, 3])
RYEGRASS_CM = np.array(
    [7.58, 8.0, 8.328571429, 7.25, 7.375, 7.9625, 8.355555556, 6.914285714, 7.75, 6.871428571, 6.45, 5.922222222,
     1.925, 2.885714286, 4.233333333, 1.1875, 0.857142857, 1.057142857, 0.6875, 0.525, 0.825, 0.25, 0.22, 0.44]
)  # fmt: skip
"""Root length of ryegrass under ferulic acid (Inderjit et al. 2002), the data set `ryegrass` of R's package drc."""


def dosed(well: int, dose: str, occupancy: float, condition: str = "drug", **more: Any) -> dict[str, Any]:
    n_loaded = round(1000 * occupancy)
    return {
        "plate": "P1",
        "well": f"A{well:02}",
        "row": "A",
        "column": well,
        "condition": condition,
        "control": "",
        "n_cells_expressing": 50,
        "n_empty": 1000 - n_loaded,
        "n_loaded": n_loaded,
        "flags": "",
        "dose": dose,
    } | more


def curves(rows: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    return screen(rows, ScreenParams(**settings), confidence=0.95).dose_response


def test_ryegrass_as_drc_has_it() -> None:
    """``summary`` and ``ED`` of ``drm(rootl ~ conc, data = ryegrass, fct = LL.4())``, as drc's own pages print them."""
    curve = fit_curve(RYEGRASS_MM, RYEGRASS_CM, limits=(-np.inf, np.inf), confidence=0.95)

    assert curve is not None
    assert curve.hill == pytest.approx(-2.98222, abs=5e-5)
    assert curve.bottom == pytest.approx(0.48141, abs=5e-5)
    assert curve.top == pytest.approx(7.79296, abs=5e-5)
    assert curve.ec50 == pytest.approx(3.05795, abs=5e-5)
    # drc's standard error is of the EC50 itself, 0.18573: by the delta method that over the EC50 is the logarithm's.
    # It takes the second derivatives in, least squares does not: that is a difference of 0.0005 of it.
    assert curve.log10_ec50_error * math.log(10) * curve.ec50 == pytest.approx(0.18573, rel=1e-3)
    # Student's quantile of 20 degrees of freedom is 2.085963.
    factor = math.exp(2.085963 * 0.18573 / 3.05795)
    assert curve.ec50_ci_low == pytest.approx(3.05795 / factor, rel=1e-4)
    assert curve.ec50_ci_high == pytest.approx(3.05795 * factor, rel=1e-4)
    # Residual standard error 0.5196256 on 20 degrees of freedom.
    total = ((RYEGRASS_CM - RYEGRASS_CM.mean()) ** 2).sum()
    assert (1 - curve.r_squared) * total == pytest.approx(0.5196256**2 * 20, rel=1e-5)


@pytest.mark.parametrize(("bottom", "top", "ec50", "hill"), [(0.1, 0.8, 3e-8, 1.2), (0.2, 0.9, 40.0, -2.0)])
def test_a_curve_without_noise_is_found_exactly(bottom: float, top: float, ec50: float, hill: float) -> None:
    doses = np.append(0.0, ec50 * np.logspace(-2, 2, 9))
    with np.errstate(divide="ignore"):
        responses = bottom + (top - bottom) / (1 + (ec50 / doses) ** hill)

    curve = fit_curve(doses, responses, confidence=0.95)

    assert curve is not None
    found = (curve.bottom, curve.top, curve.ec50, curve.hill, curve.r_squared)
    assert found == pytest.approx((bottom, top, ec50, hill, 1.0), rel=1e-4)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    doses = np.repeat(np.logspace(-2, 2, 9), 3)
    truth = 0.1 + 0.7 / (1 + (1.0 / doses) ** 1.3)
    covered = 0
    for _ in range(200):
        curve = fit_curve(doses, truth + random.normal(0, 0.04, doses.size), confidence=0.9)
        assert curve is not None
        covered += curve.ec50_ci_low <= 1.0 <= curve.ec50_ci_high
    # Binomial with 200 and 0.9: mean 180, SD 4.2.
    assert 167 <= covered <= 193


def test_a_curve_of_wells_is_a_row() -> None:
    doses = ["0", "0.01", "0.1", "1", "10", "100"]
    rows = [
        dosed(well, dose, 0.2 + 0.6 / (1 + (1 / max(float(dose), 1e-9)) ** 1.5) + 0.01 * (well % 2))
        for well, dose in enumerate(2 * doses, start=1)
    ]
    rows.append(dosed(20, "1", 0.9, n_empty=0, n_loaded=1, flags="few_endolysosomes"))
    rows.append(dosed(21, "", 0.9))
    rows += [dosed(22, "0", 0.2, "vehicle", control="negative"), dosed(23, "", 0.9, "other")]
    rows.append(dosed(1, "0", 0.9, "vehicle", control="negative", plate="P2"))

    (row,) = curves(rows)

    assert (row["condition"], row["n_wells"], row["n_doses"]) == ("drug", 13, 5)
    assert (row["flags"], row["reason"]) == ("", "")
    assert row["bottom"] == pytest.approx(0.205, abs=0.01)
    assert row["top"] == pytest.approx(0.805, abs=0.01)
    assert row["ec50_ci_low"] < 1 < row["ec50_ci_high"]


def test_what_a_curve_cannot_say_has_a_flag_and_a_reason() -> None:
    def flags(occupancies: list[float], doses: list[float], **settings: Any) -> tuple[str, str, float]:
        pairs = zip([*doses, *doses], [*occupancies, *(value + 0.004 for value in occupancies)], strict=True)
        rows = [dosed(well, f"{dose:g}", value) for well, (dose, value) in enumerate(pairs, start=1)]
        (row,) = curves(rows, **settings)
        return row["flags"], row["reason"], row["ec50"]

    doses = [0.01, 0.1, 1, 10, 100]
    rising = [0.1, 0.12, 0.15, 0.25, 0.45]
    found = flags(rising, doses)
    assert found[0].split(";")[-1] == "no_plateau"
    assert "no plateau at the highest dose" in found[1]
    found = flags([0.3, 0.31, 0.29, 0.3, 0.31], doses)
    assert (found[0], math.isnan(found[2])) == ("no_response", True)
    assert "no better than a horizontal line (F test: p " in found[1]
    assert flags([0.3] * 5, doses)[0] == "no_response"
    assert flags([0.1, 0.5, 0.9], [1, 10, 100])[:2] == ("too_few_doses", "3 doses in 6 wells; 4 in 5 needed")
    assert flags([0.1, 0.11, 0.3, 0.8, 0.9], [1, 1.2, 1.4, 1.7, 2])[0] == "hill_at_limit"
    assert flags([0.1, 0.16, 0.4, 0.88, 0.8], doses, min_r_squared=0.999)[0] == "poor_fit"


@pytest.mark.parametrize("dose", ["10 uM", "-1", "nan", "inf", "1,5"])
def test_a_dose_that_is_no_number_is_one_line(dose: str) -> None:
    with pytest.raises(ConfigError, match=r"well A01 of plate P1 has dose .*expected a number from 0 on") as error:
        curves([dosed(1, dose, 0.5)])
    assert "\n" not in str(error.value)


def test_without_a_dose_column_there_is_no_curve() -> None:
    rows = [dosed(well, "x", 0.5) for well in range(1, 4)]
    assert curves(rows, dose_column="") == []
    assert curves(rows, dose_column="concentration") == []
