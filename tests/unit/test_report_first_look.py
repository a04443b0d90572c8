"""What the page says first: hits, flagged plates, wells left out, signs on the plate, the model's card, headings."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import pandas as pd
import pytest

from lysoquant.report import measures, screen
from lysoquant.report.content import Tables
from lysoquant.report.glance import glance
from lysoquant.report.model_card import model_card
from lysoquant.report.tabular import heading, plain_table, plate_table, statistics_table

HITS = pd.DataFrame(
    {"condition": ["a", "b", "c"], "is_hit": ["True", "True", "False"], "direction": ["up", "down", "up"]}
    | {"rank": [2, 1, 3], "wells": ["p:A01 p:A02", "p:B01", "p:C01"]}
)


class TestGlance:
    def test_hits_by_name_flagged_plates_and_wells_left_out(self) -> None:
        plates = pd.DataFrame(
            {"plate": ["p", "q"], "flags": ["", "low_z_prime;drift"], "z_prime": [0.6, -0.2], "ssmd": [math.nan] * 2}
        )
        wells = pd.DataFrame({"excluded": ["few cells", "", "few cells", "no images", None]}).assign(
            condition="", control=""
        )
        tables = Tables(
            wells=wells, cells=wells, fields=wells, conditions=wells, statistics=wells, plates=plates, hits=HITS
        )
        found = {line.title: (line.section, line.text) for line in glance(tables)}
        assert found["Hits"] == ("hits", "2 hits among 3 tested conditions: 1 up, 1 down. Up: a. Down: b.")
        assert found["Plates"] == (
            "control",
            "1 of 2 plates flagged: q (low Z′, drift); controls apart by Z′ −0.200 to 0.600.",
        )
        assert found["Left out"] == (
            "quality",
            "3 of 5 wells not searched for hits: few cells (2 wells); no images (1 well).",
        )

    def test_few_conditions_are_told_with_the_first_test_and_why_none_could_be_a_hit(self) -> None:
        wells = pd.DataFrame(
            {"condition": ["WT", "KO", "WT", "KO", ""], "control": ["negative", "", "negative", "", ""]}
            | {"occupancy_mean": [0.1, 0.5, 0.2, 0.7, 0.9], "excluded": "2 negative control wells, 3 needed"}
        )
        tests = pd.DataFrame(
            {"test": ["Welch t", "Welch t", "t"], "condition": ["KO", "", "KO"], "reference": ["WT", "WT", "WT"]}
            | {"p_adjusted": [0.03, math.nan, 0.01]}
        )
        left_out = HITS.assign(rank=math.nan, is_hit=False)
        tables = Tables(wells, wells, wells, wells, tests, hits=left_out)
        assert [(line.title, line.text) for line in glance(tables)] == [
            (
                "Conditions",
                "WT (negative control) 0.15 ± 0.07, KO 0.60 ± 0.14; adjusted p against WT (Welch t): KO 0.030.",
            ),
            ("Hits", "No condition could be tested: 2 negative control wells, 3 needed (5 wells)."),
        ]

    def test_many_hits_are_counted(self) -> None:
        names = [f"s{number:02d}" for number in range(1, 9)]
        table = pd.DataFrame(
            {"condition": names, "is_hit": True, "direction": "up", "rank": range(1, 9), "wells": "p:A01"}
        )
        nothing = pd.DataFrame(columns=["condition"])
        tables = Tables(nothing, nothing, nothing, nothing, nothing, hits=table)
        assert [line.text for line in glance(tables)] == [
            "8 hits among 8 tested conditions: 8 up. Up: s01, s02, s03, s04, s05, s06 and 2 more."
        ]


class TestSigns:
    @pytest.mark.parametrize(
        ("control", "hit", "found"),
        [
            ("negative", {}, "−"),
            ("positive", {"is_hit": True, "direction": "up"}, "+"),
            ("", {"is_hit": True, "direction": "up"}, "▲"),
            ("", {"is_hit": True, "direction": "down"}, "▼"),
            ("", {"is_hit": False, "direction": "down"}, ""),
            ("", {}, ""),
            ("<b>", {}, ""),
        ],
    )
    def test_of_controls_and_hits(self, control: str, hit: dict[Hashable, Any], found: str) -> None:
        assert screen.sign({"control": control}, hit) == found


class TestModelCard:
    def test_scores_stand_by_data_set_and_limits_apart(self) -> None:
        card = model_card(
            {"name": "m", "architecture": {"depth": 7}, "limits": ["a", "b"], "training": {"seed": 1, "start_from": ""}}
            | {"metrics": {"wide_iou_empty": 0.8, "outside_iou_empty": 0.85, "wide_f1": 0.9}, "metrics_note": "n = 24"}
        )
        assert (card.facts, card.training, card.limits) == ([("name", "m")], [("seed", "1")], ["a", "b"])
        assert (card.data_sets, card.note) == (["wide", "outside"], "n = 24")
        assert card.scores == [("iou empty", ["0.8", "0.85"]), ("f1", ["0.9", ""])]

    def test_scores_without_data_set_and_no_card(self) -> None:
        assert model_card({"metrics": {"F1": 0.914, "iou_empty": 0.8}}).scores == [
            ("F1", ["0.914"]),
            ("iou empty", ["0.8"]),
        ]
        assert model_card({"sha256": "ab"}).scores == []


class TestTables:
    def test_names_of_cargoes_stay_as_they_are_typed(self) -> None:
        assert heading("n_loaded_LC3") == "Loaded LC3"
        assert heading("occupancy_mean_LC3_only") == "Occupancy mean LC3 only"
        assert measures.title("n_loaded_LC3") == "number of loaded LC3"

    def test_what_a_plate_is_flagged_for_comes_first(self) -> None:
        plates = pd.DataFrame({"plate": ["p", "q"], "n_wells": 8, "flags": ["", "low_ssmd"], "reason": ["", "ssmd 1"]})
        assert [column.key for column in plate_table(plates).columns] == ["plate", "flags", "n_wells"]
        assert screen.plate_reasons(plates) == [("q", "ssmd 1")]

    def test_what_decides_comes_first_and_the_rest_is_not_printed(self) -> None:
        table = statistics_table(
            pd.DataFrame([{"df": 3.5, "condition": "a", "p_adjusted": 0.1, "note": "n", "plate": "p"}])
        )
        assert [(column.key, column.style) for column in table.columns] == [
            *[("condition", ""), ("p_adjusted", "num"), ("note", "wrap")],
            ("df", "num minor"),
        ]

    def test_a_fraction_below_zero_has_a_minus(self) -> None:
        table = plain_table(pd.DataFrame({"occupancy_ci_low": [-0.134]}))
        assert table.rows[0][0].text == "−0.13"
