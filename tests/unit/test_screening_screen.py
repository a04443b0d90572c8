"""Plates, normalisation and hits from rows of the well table: by hand, and with planted effects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm, t

from lysoquant.benchmark.screening import NEGATIVE, POSITIVE, Design, simulate
from lysoquant.screening.hits import HIT_COLUMNS
from lysoquant.screening.moderated import fit_prior
from lysoquant.screening.params import ScreenParams
from lysoquant.screening.plates import PLATE_COLUMNS
from lysoquant.screening.scores import inner_sd, outer_sd
from lysoquant.screening.screen import Screen, screen
from lysoquant.screening.wells import Row

pytestmark = pytest.mark.filterwarnings("error")


def well(name: str, logit: float, condition: str = "", control: str = "", plate: str = "P1", **more: Any) -> Row:
    """A well of 20,000 endolysosomes, so that its empirical logit is nearly `logit`."""
    n_loaded = round(20_000 * float(expit(logit)))
    return {
        "plate": plate,
        "well": name,
        "row": name[0],
        "column": int(name[1:]),
        "condition": condition,
        "control": control,
        "n_cells_expressing": 100,
        "n_empty": 20_000 - n_loaded,
        "n_loaded": n_loaded,
        "flags": "",
    } | more


def found(rows: Sequence[Row], **settings: Any) -> Screen:
    return screen(rows, ScreenParams(**settings), confidence=0.95)


def by(table: Sequence[Mapping[str, Any]], column: str) -> dict[str, Mapping[str, Any]]:
    return {str(row[column]): row for row in table}


CONTROLS = [
    *(well(f"A{i + 1:02}", -1 + d, "DMSO", "negative") for i, d in enumerate([-0.2, -0.1, 0.0, 0.1, 0.2])),
    *(well(f"B{i + 1:02}", 3 + d, "drug", "positive") for i, d in enumerate([-0.4, 0.0, 0.4])),
]


def test_every_plate_statistic_of_a_small_plate() -> None:
    (row,) = found([*CONTROLS, well("C01", 0.0, "x"), well("C02", 0.0, flags="all_fields_failed")]).plates

    assert list(row) == list(PLATE_COLUMNS)
    counts = ("n_wells", "n_wells_failed", "n_negative", "n_positive", "n_wells_excluded", "n_cells")
    assert [row[name] for name in counts] == [10, 1, 5, 3, 1, 1000]
    sd_n, sd_p = math.sqrt(0.025), 0.4
    assert row["z_prime"] == pytest.approx(1 - 3 * (sd_n + sd_p) / 4, abs=2e-3)
    assert row["ssmd"] == pytest.approx(4 / math.hypot(sd_n, sd_p), rel=2e-3)
    assert row["signal_window"] == pytest.approx((4 - 3 * (sd_n + sd_p)) / sd_p, rel=5e-3)
    assert row["robust_z_prime"] == pytest.approx(1 - 3 * 1.4826 * 0.5 / 4, abs=2e-3)
    assert row["flags"] == ""
    assert found(CONTROLS, min_z_prime=0.8).plates[0]["flags"] == "low_z_prime"
    assert found(CONTROLS, min_z_prime=0.8).plates[0]["reason"].endswith(", at least 0.8 expected")


def test_plates_without_controls_or_with_many_failed_wells_say_so() -> None:
    row = found([well(f"A{i:02}", 0.0, f"x{i}", flags="no_images" if i < 3 else "") for i in range(1, 9)]).plates[0]
    assert row["flags"] == "no_negative_control;no_positive_control;many_failed_wells;not_normalised"
    assert row["reason"] == (
        "no negative control well; no positive control well; 2 of 8 wells failed;"
        " 0 negative control wells to compare with, 3 needed"
    )
    assert all(math.isnan(row[name]) for name in ("z_prime", "ssmd", "signal_window"))
    assert found(CONTROLS, min_controls=4).plates[0]["flags"] == "few_controls"


@pytest.mark.parametrize(
    ("planted", "flags"),
    [({}, set()), ({"edge": -0.4}, {"edge_effect"}), ({"gradient": 0.8}, {"row_effect", "column_effect"})],
)
def test_planted_effects_of_position_are_flagged_and_nothing_else(planted: dict[str, float], flags: set[str]) -> None:
    rows, _ = simulate(Design(replicates=3, **planted), seed=3)
    known = {"edge_effect", "row_effect", "column_effect"}
    for row in found(rows).plates:
        seen = known & set(row["flags"].split(";"))
        assert seen >= flags
        assert flags or not seen
        if "edge" in planted:
            assert row["edge_effect"] == pytest.approx(-0.4, abs=0.12)


def test_drift_is_told_by_the_order_of_imaging() -> None:
    random = np.random.default_rng(0)
    rows = [
        well(f"{'ABCDEFGH'[r]}{c:02}", 0.01 * (c * 8 + r) + random.normal(0, 0.1), f"x{r} {c}")
        for r in range(8)
        for c in range(1, 13)
    ]
    (row,) = found(rows, acquisition_order="columns").plates
    assert row["drift_per_well"] == pytest.approx(0.01, rel=0.05)
    assert "drift" in row["flags"].split(";")


def test_the_layout_of_conditions_does_not_pass_for_an_effect_of_position() -> None:
    """Conditions that fill rows differ; wells are held against their own condition."""
    random = np.random.default_rng(1)
    rows = [
        well(f"{'ABCD'[r]}{c:02}", 1.5 * r + random.normal(0, 0.2), f"c{r}", "negative" if r == 0 else "")
        for r in range(4)
        for c in range(1, 13)
    ]
    assert not {"row_effect", "edge_effect", "drift"} & set(found(rows).plates[0]["flags"].split(";"))


def test_normalised_values_by_hand() -> None:
    other = [
        dict(row) | {"plate": "P2"} for row in (well(f"A{i:02}", 1 + i / 10, "DMSO", "negative") for i in range(1, 4))
    ]
    rows = [*CONTROLS, well("C01", 0.0, "x"), *other, well("C01", 2.0, "x", plate="P2")]

    values = {
        name: [row["normalised"] for row in found(rows, normalise=name).wells] for name in ("none", "negative_controls")
    }
    # Spread: squares 0.1 of four and 0.02 of two degrees of freedom.
    spread = math.sqrt(0.12 / 6)
    assert values["negative_controls"][8] == pytest.approx((0 - -1) / spread, rel=2e-3)
    assert values["negative_controls"][-1] == pytest.approx((2 - 1.2) / spread, rel=2e-3)
    controls = np.array([-1.2, -1.1, -1.0, -0.9, -0.8, 1.1, 1.2, 1.3])
    assert values["none"][-1] == pytest.approx((2 - np.median(controls)) / controls.std(ddof=1), rel=2e-3)


@pytest.mark.parametrize("normalise", ["robust_z", "b_score"])
def test_bulk_normalisation_takes_the_plate_out(normalise: str) -> None:
    rows, _ = simulate(Design(replicates=2, plate_offset=1.0, gradient=1.0, edge=-1.0), seed=0)
    values = [row["normalised"] for row in found(rows, normalise=normalise).wells]
    place = [(row["plate"], row["row"], row["column"]) for row in rows]
    samples = [i for i, row in enumerate(rows) if not row["control"] and math.isfinite(values[i])]
    for plate in ("plate1", "plate2"):
        assert np.median([values[i] for i in samples if place[i][0] == plate]) == pytest.approx(0, abs=0.15)
    inactive, _ = simulate(Design(replicates=2, share_active=0.0), seed=1)
    flat = found(inactive, normalise=normalise).wells
    kept = [
        own["normalised"] for row, own in zip(inactive, flat, strict=True) if not (row["control"] or own["excluded"])
    ]
    # By the MAD of what the polish leaves it would be 1.1 and more.
    assert np.std(kept) == pytest.approx(1, abs=0.06)
    top, middle = (np.median([values[i] for i in samples if place[i][1] in lines]) for lines in ("A", "GHIJ"))
    assert (abs(top - middle) < 0.3) == (normalise == "b_score")


def test_too_few_wells_make_no_bulk() -> None:
    result = found([*CONTROLS, well("C01", 0.0, "x")], normalise="robust_z")
    assert result.wells[-1]["excluded"] == "6 wells make no bulk to compare with, 20 needed"
    assert by(result.hits, "condition")["x"]["flags"] == "not_tested;excluded_wells"


def test_a_hit_list_by_hand() -> None:
    rows = [
        *CONTROLS,
        well("C01", 0.5, "up"),
        well("C02", 0.6, "up"),
        well("C03", 0.4, "up"),
        well("D01", -1.02, "same"),
        well("D02", -0.95, "same"),
        well("E01", -2.4),
        well("E02", -2.4, flags="few_cells;few_endolysosomes"),
        well("F01", 0.5, "lost", flags="no_images", n_empty=0, n_loaded=0),
    ]
    result = found(rows)
    hits = by(result.hits, "wells")

    assert all(list(row) == list(HIT_COLUMNS) for row in result.hits)
    assert [row["condition"] for row in result.hits] == ["", "", "DMSO", "drug", "lost", "same", "up"]
    up = hits["P1:C01 P1:C02 P1:C03"]
    assert (up["is_hit"], up["direction"], up["rank"], up["flags"]) == (True, "up", 1, "")
    assert (up["n_wells"], up["n_plates"], up["n_cells"], up["n_endolysosomes"]) == (3, 1, 300, 60_000)
    # Spread of the five negative controls: sqrt(0.1 / 4); their median is -1.
    assert up["score"] == pytest.approx(1.5 / math.sqrt(0.025), rel=2e-3)
    assert up["effect"] == pytest.approx(expit(0.5) - expit(-1), abs=1e-3)
    assert up["effect_ci_low"] < up["effect"] < up["effect_ci_high"]
    assert up["reason"].startswith("moderated t of 3 wells: adjusted p ")
    assert (hits["P1:E01"]["direction"], hits["P1:E01"]["flags"]) == ("down", "single_well")
    same = hits["P1:D01 P1:D02"]
    assert (same["is_hit"], same["effect_ci_low"] < 0 < same["effect_ci_high"]) == (False, True)
    negative, positive = by(result.hits, "condition")["DMSO"], by(result.hits, "condition")["drug"]
    assert math.isnan(negative["p_value"])
    assert positive["p_value"] < 1e-6
    for row in (negative, positive):
        assert (row["is_hit"], math.isnan(row["p_adjusted"]), math.isnan(row["rank"])) == (False, True, True)
    lost = by(result.hits, "condition")["lost"]
    assert (lost["n_wells"], lost["flags"]) == (0, "not_tested;excluded_wells")
    assert lost["reason"] == "no well to test; P1:F01 left out: no_images"
    untested = next(row for row in result.hits if "P1:E02" in row["reason"])
    assert untested["reason"] == "no well to test; P1:E02 left out: few_cells;few_endolysosomes"
    assert [row["excluded"] for row in result.wells[-3:]] == ["", "few_cells;few_endolysosomes", "no_images"]


def test_the_p_value_is_that_of_the_formula() -> None:
    """Three conditions with one pooled variance: t over the wells' mean and the median of the controls."""
    rows = [*CONTROLS, well("C01", -0.5, "x"), well("C02", -0.7, "x")]
    row = by(found(rows).hits, "condition")["x"]
    z = np.array([0.5, 0.3]) / math.sqrt(0.025)
    # Variances of the negative controls (4 degrees of freedom, 1 by definition) and of x (1), pooled.
    pooled = (4 * 1 + z.var(ddof=1)) / 5
    own, centre = pooled / 2, math.pi / 2 / 5
    df = (own + centre) ** 2 / (own**2 / 5 + centre**2 / 4)
    assert row["p_value"] == pytest.approx(2 * t.sf(z.mean() / math.sqrt(own + centre), df), rel=0.02)


def test_plates_share_the_error_of_their_reference_only_with_themselves() -> None:
    """A condition on two plates: each plate's median of five controls counts half."""
    second = [dict(row) | {"plate": "P2"} for row in CONTROLS]
    rows = [*CONTROLS, *second, *(well("C01", x, "x", plate=plate) for plate, x in (("P1", -0.5), ("P2", -0.7)))]
    row = by(found(rows).hits, "condition")["x"]
    z = np.array([0.5, 0.3]) / math.sqrt(0.025)
    # Negative controls: ten wells around their common mean; x: one degree of freedom.
    pooled = (9 * (8 / 9) + z.var(ddof=1)) / 10
    own, centre = pooled / 2, 2 * 0.5**2 * math.pi / 2 / 5
    df = (own + centre) ** 2 / (own**2 / 10 + centre**2 / 8)
    assert row["p_value"] == pytest.approx(2 * t.sf(z.mean() / math.sqrt(own + centre), df), rel=0.02)


def test_without_plates_of_their_own_the_negative_controls_of_all_are_the_reference() -> None:
    rows = [*CONTROLS, *(dict(row) | {"plate": "P2"} for row in CONTROLS), well("C01", 0.5, "x")]
    hits = by(found(rows, normalise="none").hits, "condition")
    assert hits["x"]["is_hit"]
    assert all(math.isnan(hits["DMSO"][name]) for name in ("p_value", "effect_ci_low", "effect_ci_high"))
    bulk = found([*rows, *(well(f"D{i:02}", -1 + i / 50) for i in range(1, 17))], normalise="robust_z")
    assert 0 <= by(bulk.hits, "condition")["DMSO"]["p_value"] <= 1


def spread_out_screen(wells_each: int) -> list[Row]:
    """64 inactive conditions whose wells scatter differently, on one plate, beside six controls that scatter widely."""
    random = np.random.default_rng(8)
    names = [f"c{number}" for number in range(64) for _ in range(wells_each)]
    spreads = np.repeat(np.exp(random.normal(0, 0.7, 64)), wells_each) * 0.2
    rows = [
        well(f"{'ABCDEFGHIJKLMNOP'[i // 24]}{i % 24 + 1:02}", random.normal(0, spreads[i]), name)
        for i, name in enumerate(names)
    ]
    return [*rows, *(well(f"P{i:02}", d, "DMSO", "negative") for i, d in enumerate([-3, -2, -1, 1, 2, 3], start=1))]


@pytest.mark.parametrize(("max_position_p", "spread_of"), [(0.0, inner_sd), (1.0, outer_sd)])
def test_p_values_by_the_bulk_are_those_of_the_formula(max_position_p: float, spread_of: Any) -> None:
    """Where the plate is flagged for position, the bulk's spread is told by its wings."""
    result = found(spread_out_screen(3), normalise="robust_z", max_position_p=max_position_p)
    assert ("drift" in str(result.plates[0]["flags"])) == bool(max_position_p)
    z = np.array([row["normalised"] for row in result.wells])[:-6].reshape(64, 3)
    controls = np.array([row["normalised"] for row in result.wells])[-6:]
    variances = np.append(z.var(axis=1, ddof=1), controls.var(ddof=1))
    prior = fit_prior(variances=variances, dfs=np.append(np.full(64, 2.0), 5.0))
    assert prior.df < 20
    moderate = (prior.df * prior.variance + 2 * variances[:-1]) / (prior.df + 2)
    statistic = z.mean(axis=1) / np.sqrt(moderate / 3)
    scores = np.sign(statistic) * norm.isf(t.sf(np.abs(statistic), prior.df + 2))
    spread = spread_of(scores)
    expected = 2 * norm.sf(np.abs(scores - np.median(scores)) / spread)
    hits = by(result.hits, "condition")
    assert [hits[f"c{number}"]["p_value"] for number in range(64)] == pytest.approx(expected, rel=1e-6)
    assert hits["c0"]["reason"].startswith("moderated t of 3 wells against the bulk: ")


def test_a_single_well_is_held_against_the_spread_of_its_plate() -> None:
    rows = [*spread_out_screen(3), well("O01", 0.4, "single")]
    row = by(found(rows, normalise="robust_z", null_distribution="theory").hits, "condition")["single"]
    n = 64 * 3 + 6 + 1
    assert row["reason"].startswith("t of 1 well: ")
    error = math.sqrt(1 + math.pi / 2 / n)
    assert row["p_value"] == pytest.approx(2 * t.sf(row["score"] / error, n - 1), rel=1e-3)


def test_an_interval_is_never_narrower_for_a_tight_bulk() -> None:
    rows = spread_out_screen(1)
    theory, bulk = (by(found(rows, null_distribution=null).hits, "condition") for null in ("theory", "bulk"))
    # The controls scatter ten times as widely as the conditions: by theory nothing is known of a single well.
    assert bulk["c0"]["p_value"] != theory["c0"]["p_value"]
    for name in ("effect_ci_low", "effect_ci_high"):
        assert bulk["c0"][name] == pytest.approx(theory["c0"][name], rel=1e-9)


def test_the_rule_of_a_hit_is_set() -> None:
    rows = [*CONTROLS, *(well(f"C{i:02}", -0.6, "x") for i in range(1, 4))]
    row = by(found(rows).hits, "condition")["x"]
    assert row["is_hit"]
    assert 0.05 < row["effect"] < 0.1
    small = by(found(rows, min_effect=0.1).hits, "condition")["x"]
    assert (small["is_hit"], small["p_adjusted"]) == (False, row["p_adjusted"])
    assert "but |effect| 0.08" in small["reason"]
    assert not by(found(rows, max_p_adjusted=row["p_adjusted"] * 0.9).hits, "condition")["x"]["is_hit"]


def test_doses_of_a_condition_are_tested_apart() -> None:
    rows = [
        *CONTROLS,
        *(well(f"{'CDEF'[i]}{j}1", 0.5 * i - 1, "x", dose=f"{10**i}") for i in range(4) for j in range(2)),
    ]
    hits = [row for row in found(rows).hits if row["condition"] == "x"]
    assert [(row["dose"], row["n_wells"]) for row in hits] == [(1, 2), (10, 2), (100, 2), (1000, 2)]
    assert [row["is_hit"] for row in hits] == [False, True, True, True]
    (merged,) = [row for row in found(rows, dose_column="").hits if row["condition"] == "x"]
    assert merged["n_wells"] == 8


def test_hits_on_plates_with_effects_of_position_say_so_unless_they_are_taken_out() -> None:
    rows, truth = simulate(Design(replicates=2, effect=2.0, edge=-0.5), seed=5)
    hits = [row for row in found(rows, normalise="robust_z").hits if row["is_hit"]]
    assert hits
    assert all("position_effects" in row["flags"] for row in hits)
    assert "plate1 has edge_effect" in hits[0]["reason"]
    assert not any("position_effects" in row["flags"] for row in found(rows, normalise="b_score").hits)
    assert {NEGATIVE, POSITIVE}.isdisjoint(truth)


def test_p_values_of_inactive_conditions_are_uniform() -> None:
    """Four screens of 352 inactive conditions: as many p values below 0.1 and 0.01 as there should be."""
    for null in ("theory", "bulk"):
        p_values = []
        for seed in range(4):
            rows, _ = simulate(Design(replicates=3, share_active=0.0, poor=0.0), seed=seed)
            hits = found(rows, normalise="robust_z", null_distribution=null).hits
            p_values += [row["p_value"] for row in hits if not row["flags"].endswith("control")]
        below = [np.mean(np.array(p_values) < level) for level in (0.1, 0.01)]
        assert len(p_values) == 4 * 352
        # Standard errors of 1408 independent ones: 0.008 and 0.0027.
        assert below[0] == pytest.approx(0.1, abs=0.03)
        assert below[1] == pytest.approx(0.01, abs=0.009)


def inactive_plates(
    random: np.random.Generator, *, conditions: int, wells: int, negatives: int, plates: int
) -> list[Row]:
    """Plates, apart by 0.4 logits, of conditions that do nothing beside a few negative controls."""
    rows = []
    for plate in range(plates):
        names = ["DMSO"] * negatives + [f"c{number}" for number in range(conditions) for _ in range(wells)]
        logits = random.normal(0, 0.4) + random.normal(0, 0.25, len(names))
        rows += [
            well(
                f"{'ABCD'[i // 12]}{i % 12 + 1:02}", logits[i], name, "negative" if name == "DMSO" else "", f"P{plate}"
            )
            for i, name in enumerate(names)
        ]
    return rows


@pytest.mark.parametrize(
    "design",
    [
        {"conditions": 4, "wells": 3, "negatives": 3, "plates": 1},
        {"conditions": 20, "wells": 1, "negatives": 6, "plates": 3},
        {"conditions": 6, "wells": 3, "negatives": 4, "plates": 2},
    ],
    ids=str,
)
def test_few_conditions_beside_few_controls_are_rarely_taken_for_hits(design: dict[str, int]) -> None:
    """Plates of a usual experiment, with the default settings, 200 times."""
    random = np.random.default_rng(0)
    p_values: list[float] = []
    with_a_hit = 0
    for _ in range(200):
        hits = found(inactive_plates(random, **design), min_effect=0.0).hits
        p_values += [row["p_value"] for row in hits if "negative_control" not in row["flags"]]
        with_a_hit += any(row["is_hit"] for row in hits)
    assert len(p_values) == 200 * design["conditions"]
    # Wells of a plate share its controls: 200 draws of 0.05 have a standard error of 0.015.
    assert np.mean(np.array(p_values) < 0.05) < 0.08
    assert with_a_hit < 200 * 0.05 + 4 * math.sqrt(200 * 0.05 * 0.95)


def test_intervals_of_effects_cover_the_truth_as_often_as_they_say() -> None:
    covered = []
    for seed in range(4):
        rows, truth = simulate(Design(replicates=3, effect=1.0), seed=seed)
        params = ScreenParams(normalise="robust_z", null_distribution="theory")
        for row in screen(rows, params, confidence=0.9).hits:
            if row["condition"] in truth:
                effect = expit(-0.6 + truth[row["condition"]]) - expit(-0.6)
                covered.append(row["effect_ci_low"] <= effect <= row["effect_ci_high"])
    # 1408 intervals, not quite independent: a standard error of 0.008 and more.
    assert np.mean(covered) == pytest.approx(0.9, abs=0.03)


def test_the_order_of_plates_changes_nothing() -> None:
    rows, _ = simulate(Design(replicates=3, plate_offset=0.5), seed=2)
    turned = sorted(rows, key=lambda row: str(row["plate"]), reverse=True)
    one, other = (found(each).hits for each in (rows, turned))
    assert [row["condition"] for row in one] == [row["condition"] for row in other]
    assert [row["p_value"] for row in one] == pytest.approx([row["p_value"] for row in other], rel=1e-4, nan_ok=True)


def odd_screen(seed: int) -> list[Row]:
    """Plates of few or no wells, conditions that are controls, missing, poor, equal or extreme, doses at random."""
    random = np.random.default_rng(seed)
    n_rows, n_columns, kinds = random.integers(1, 9), random.integers(1, 13), random.integers(1, 8)
    fixed = random.random() < 0.3
    rows = []
    for plate in range(random.integers(1, 4)):
        for r in range(n_rows):
            for c in range(1, n_columns + 1):
                condition = ("", "a", "b", "negative", "positive", "c", "d")[random.integers(kinds)]
                total = 0 if random.random() < 0.1 else int(random.integers(1, 400))
                n_loaded = 0 if fixed else int(random.binomial(total, random.random()))
                more = {
                    "n_empty": total - n_loaded,
                    "n_loaded": n_loaded,
                    "flags": ("", "few_cells", "no_images")[random.choice(3, p=[0.8, 0.1, 0.1])],
                    "dose": ("", "0", "1", "10", "100", "1000")[random.integers(6)],
                }
                control = condition if condition in ("negative", "positive") else ""
                if random.random() < 0.8:
                    rows.append(well(f"{'ABCDEFGH'[r]}{c:02}", 0.0, condition, control, f"P{plate}", **more))
    return rows


@pytest.mark.parametrize("normalise", ["none", "negative_controls", "robust_z", "b_score"])
def test_odd_screens_keep_their_rows_and_never_say_what_they_can_not_know(normalise: str) -> None:
    for seed in range(15):
        rows = odd_screen(seed)
        result = found(rows, normalise=normalise)
        assert len(result.wells) == len(rows)
        assert [row["plate"] for row in result.plates] == list(dict.fromkeys(row["plate"] for row in rows))
        wells = [name for row in result.hits for name in row["wells"].split()]
        left_out = [
            f"{row['plate']}:{row['well']}" for row, own in zip(rows, result.wells, strict=True) if own["excluded"]
        ]
        assert sorted([*wells, *left_out]) == sorted(f"{row['plate']}:{row['well']}" for row in rows)
        for row in result.hits:
            assert row["reason"]
            assert math.isnan(row["p_value"]) or 0 <= row["p_value"] <= 1
            assert ("not_tested" in row["flags"]) == (math.isnan(row["p_adjusted"]) and "control" not in row["flags"])
            low, high = row["effect_ci_low"], row["effect_ci_high"]
            assert math.isnan(low) or -1 <= low <= row["effect"] <= high <= 1
            assert not row["is_hit"] or (row["p_adjusted"] <= 0.05 and abs(row["effect"]) >= 0.05)
        assert all(row["flags"] or math.isfinite(row["ec50"]) for row in result.dose_response)
