"""The benchmark of the hit list: its simulator, its scores, and what it shows in small."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from lysoquant.benchmark.screening import NEGATIVE, Design, judge, markdown, outcomes, simulate, write_outcomes
from lysoquant.cli.main import invoke
from lysoquant.statistics.log_odds import empirical_logit

pytestmark = pytest.mark.filterwarnings("error")


def test_a_screen_is_what_was_planted() -> None:
    design = Design(replicates=4, effect=1.5, plate_offset=0.0, edge=-1.0, poor=0.0)
    rows, truth = simulate(design, seed=1)

    assert len(rows) == 4 * 384
    assert len({(row["plate"], row["well"]) for row in rows}) == len(rows)
    assert sorted(truth.values()) == [-1.5] * 9 + [0.0] * 334 + [1.5] * 9
    assert [sum(row["control"] == kind for row in rows) for kind in ("negative", "positive")] == [64, 64]
    logit = empirical_logit(
        n_empty=np.array([row["n_empty"] for row in rows]), n_loaded=np.array([row["n_loaded"] for row in rows])
    )
    up = np.array([truth.get(str(row["condition"]), 0) > 0 for row in rows])
    down = np.array([truth.get(str(row["condition"]), 0) < 0 for row in rows])
    negative = np.array([row["condition"] == NEGATIVE for row in rows])
    sample = np.array([not row["control"] for row in rows])
    edge = np.array([row["row"] in "AP" or row["column"] in (1, 24) for row in rows])
    inactive = logit[sample & ~up & ~down & ~edge]
    assert inactive.mean() == pytest.approx(-0.6, abs=0.03)
    # Spread between wells, and the binomial one of 600 endolysosomes at 0.35.
    assert inactive.std() == pytest.approx(np.hypot(0.25, 1 / np.sqrt(600 * 0.35 * 0.65)), rel=0.1)
    assert logit[up & ~edge].mean() - inactive.mean() == pytest.approx(1.5, abs=0.15)
    assert logit[down & ~edge].mean() - inactive.mean() == pytest.approx(-1.5, abs=0.15)
    assert logit[negative].mean() - inactive.mean() == pytest.approx(-1.0, abs=0.12)
    assert simulate(design, seed=1) == (rows, truth)
    assert simulate(design, seed=2)[0] != rows


def test_poor_wells_are_flagged_and_plates_are_offset() -> None:
    rows, _ = simulate(Design(replicates=3, poor=0.3, plate_offset=3.0), seed=0)
    poor = [row["n_empty"] + row["n_loaded"] < 20 for row in rows]
    assert 0.2 < np.mean(poor) < 0.4
    assert [row["flags"] == "few_endolysosomes" for row in rows] == poor
    share = [np.median([r["n_loaded"] / 600 for r in rows if r["plate"] == f"plate{i}"]) for i in (1, 2, 3)]
    assert np.ptp(share) > 0.1


def test_a_hit_list_is_judged_by_hand() -> None:
    truth = {"a": 1.0, "b": -1.0, "c": 0.0, "d": 0.0, "e": 1.0}
    rows = [
        {"condition": "a", "is_hit": True, "effect": 0.2},
        {"condition": "b", "is_hit": True, "effect": 0.2},
        {"condition": "c", "is_hit": True, "effect": -0.1},
        {"condition": "d", "is_hit": False, "effect": 0.0},
        {"condition": "e", "is_hit": False, "effect": 0.1},
    ]
    # One of three active ones is right; of three hits one has the wrong sign and one is inactive.
    assert judge(rows, truth) == (pytest.approx(1 / 3), pytest.approx(2 / 3), 3.0)
    assert judge(rows[3:], truth) == (0.0, 0.0, 0.0)


def test_power_and_false_discoveries_of_small_screens() -> None:
    """Bounds are four standard errors and more from the figures of docs/screening.md; false discoveries aim at 0.05."""
    found = list(outcomes(replicates=[3], effects=[1.0], screens=6, seed=100))

    def of(effects: str, normalise: str, null: str = "bulk") -> tuple[float, float]:
        (one,) = [
            outcome
            for outcome in found
            if (outcome.plate_effects, outcome.normalise, outcome.null_distribution) == (effects, normalise, null)
        ]
        return one.power, one.false_discoveries

    for normalise in ("negative_controls", "robust_z", "b_score"):
        for effects in ("none", "offsets"):
            power, false = of(effects, normalise)
            assert power > 0.85, (normalise, effects)
            assert false < 0.12, (normalise, effects)
    every = "offsets, gradients, edge"
    power, false = of(every, "b_score")
    assert power > 0.85
    assert false < 0.12
    # What is told of the other ways: the same wells on every plate deceive them.
    assert of(every, "negative_controls", "theory")[1] > 0.5
    assert of(every, "robust_z", "theory")[1] > 0.4
    assert of(every, "robust_z")[0] < 0.6


def test_active_conditions_do_not_hide_each_other() -> None:
    """A fifth active: 0.98 of them are found by the bulk; by its 80 % quantile hardly any were."""
    found = outcomes(replicates=[2], effects=[1.0], screens=4, seed=7, share_active=0.2)
    ((power, false),) = [
        (outcome.power, outcome.false_discoveries)
        for outcome in found
        if (outcome.plate_effects, outcome.normalise, outcome.null_distribution) == ("none", "robust_z", "bulk")
    ]
    assert power > 0.85
    assert false < 0.12


def test_the_command_writes_its_tables(tmp_path: Path) -> None:
    arguments = ["--screens", "2", "--replicates", "1", "--effects", "2", "--seed", "4"]
    assert invoke(["benchmark", "screen", "--output", str(tmp_path), *arguments]) == 0
    with (tmp_path / "screen.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 3 * 8
    assert {row["screens"] for row in rows} == {"2"}
    page = (tmp_path / "screen.md").read_text().splitlines()
    assert page[0].startswith("| plate effects | replicates | effect | none, theory | none, bulk |")
    assert len(page) == 2 + 3
    again = list(outcomes(replicates=[1], effects=[2.0], screens=2, seed=4))
    assert markdown(again) == (tmp_path / "screen.md").read_text()
    assert [path.name for path in write_outcomes(again, tmp_path / "again")] == ["screen.csv", "screen.md"]
    assert (tmp_path / "again/screen.csv").read_bytes() == (tmp_path / "screen.csv").read_bytes()
    assert invoke(["benchmark", "screen", "--output", str(tmp_path), "--screens", "1"]) == 2
