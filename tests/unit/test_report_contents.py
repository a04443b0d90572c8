"""What the page says: chosen cells, measurements, charts and blocks of data."""

from __future__ import annotations

import base64
import json
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from lysoquant.report import blocks, charts, choice, explorer, measures, screen
from lysoquant.report.axes import padded, ticks
from lysoquant.report.tabular import MAX_ROWS, hit_table, plain_table

HOSTILE = "</script><!--<script>alert(1)</script>\u2028\"'&amp;"


class TestStrangest:
    def cells(self, n: int = 40) -> np.ndarray:
        """Three measurements; cell 5 is far off in one, cell 9 in all, cell 11 in all and cut by the border."""
        values = np.random.default_rng(2).normal([10, 100, 1], [1, 10, 0.1], (n, 3))
        values[5, 1] = 180.0
        values[9] = 15, 160, 1.6
        values[11] = 20, 200, 2.0
        return values

    def test_the_farthest_in_all_measurements_together_whole_ones_first(self) -> None:
        border = np.arange(40) == 11
        found = choice.choose_strange(self.cells(), touches_border=border, count=2)
        assert [each.index for each in found] == [9, 5]
        assert found[0].distance > found[1].distance > 3
        assert found[1].column == 1
        assert found[1].deviation == pytest.approx(8, abs=2.5)

    def test_a_constant_measurement_a_missing_number_and_one_gone_wild_do_not_decide(self) -> None:
        values = np.hstack([self.cells(), np.ones((40, 1))])
        values[0, 3] = 7.0
        values[9, :2] = math.nan
        values[7, 0] = 1e9
        scaled = choice.deviations(values)
        assert np.isnan(scaled[:, 3]).all()
        assert np.isnan(scaled[9]).tolist() == [True, True, False, True]
        assert scaled[7, 0] == 20.0
        found = choice.choose_strange(values, touches_border=np.zeros(40, bool), count=40)
        assert 0 not in [each.index for each in found[:3]]

    def test_where_most_cells_are_cut_they_are_not_put_last(self) -> None:
        border = np.arange(40) < 30
        found = choice.choose_strange(self.cells(), touches_border=border, count=1)
        assert [each.index for each in found] == [11]

    def test_by_its_definition(self) -> None:
        values = np.arange(9.0)[:, None]
        # Median 4, median absolute deviation 2.
        assert choice.deviations(values)[:, 0] == pytest.approx((np.arange(9) - 4) / (1.4826 * 2))
        found = choice.choose_strange(values, touches_border=np.zeros(9, bool), count=3, taken=[0])
        assert [(each.index, round(each.distance, 3)) for each in found] == [(8, 1.349), (1, 1.012), (7, 1.012)]

    def test_of_few_cells_none_is_strange(self) -> None:
        few = self.cells()[:7]
        assert choice.choose_strange(few, touches_border=np.zeros(7, bool), count=3) == []


class TestRoomForTheMontage:
    @pytest.mark.parametrize(("n_fields", "share"), [(16, 0.3), (2500, 12.5 / 45), (3456, 0.12)])
    def test_the_more_fields_the_less(self, n_fields: int, share: float) -> None:
        assert choice.room_for_montage(45e6, n_fields=n_fields) == pytest.approx(45e6 * share)

    @pytest.mark.parametrize(
        ("most", "n_conditions", "wanted", "found"),
        [
            (96, 4, (3, 3), (4, 3, 3)),
            (54, 130, (3, 3), (27, 1, 1)),
            (54, 11, (3, 3), (11, 2, 2)),
            (10, 3, (3, 3), (3, 2, 1)),
            (10, 30, (3, 0), (10, 1, 0)),
            (10, 3, (0, 12), (3, 0, 3)),
            (0, 5, (3, 3), (1, 1, 0)),
            (96, 0, (3, 3), (0, 3, 3)),
        ],
    )
    def test_both_kinds_of_as_many_conditions_as_fit(
        self, most: int, n_conditions: int, wanted: tuple[int, int], found: tuple[int, int, int]
    ) -> None:
        assert choice.shares(most, n_conditions, typical=wanted[0], strange=wanted[1]) == found


class TestMeasures:
    @pytest.mark.parametrize(
        ("key", "title"),
        [("area_um2", "area, µm²"), ("mean_feret_um", "endolysosomes’ feret, µm"), ("rim_mean_a_b", "rim mean a b")],
    )
    def test_titles_have_units(self, key: str, title: str) -> None:
        assert measures.title(key) == title

    @pytest.mark.parametrize(
        ("key", "values", "kind"),
        [
            ("n_cells", [1, 2], "count"),
            ("robust_z", [-1, 2], "score"),
            ("b_score", [-1, 2], "score"),
            ("focus_score_cargo", [0.1], "number"),
            ("occupancy_mean", [0.1, math.nan], "fraction"),
            ("mean_circularity", [0.9], "number"),
            ("area_um2_mean", [0.9], "number"),
        ],
    )
    def test_scales(self, key: str, values: list[float], kind: str) -> None:
        assert measures.kind(key, values) == kind

    def test_means_are_over_counted_cells_and_flags_are_shares_of_all(self) -> None:
        cells = pd.DataFrame(
            {"plate": "p", "well": ["A01", "A01", "A01", "B02"], "field": 0, "cell": [1, 2, 3, 1]}
            | {"area_um2": [1.0, 3.0, 100.0, 7.0], "touches_border": [True, False, True, False]}
            | {"is_expressing": [True, True, False, True], "occupancy": [0.2, math.nan, 1.0, 0.4]}
        )
        columns = measures.cell_columns(cells)
        assert columns == ["occupancy", "area_um2", "is_expressing", "touches_border"]
        assert measures.compared_columns(cells) == ["occupancy", "area_um2"]
        means = measures.means_over_cells(cells, columns, cells["is_expressing"].to_numpy())
        assert means.loc[("p", "A01")].tolist() == pytest.approx([0.2, 2.0, 2 / 3, 2 / 3])
        assert means.loc[("p", "B02"), "area_um2"] == 7.0

    def test_numbers_of_the_plate_map_are_offered_and_empty_columns_are_not(self) -> None:
        wells = pd.DataFrame(
            {"plate": "p", "well": ["A01", "A02"], "column": [1, 2], "n_cells": [3, 4], "robust_z": math.nan}
            | {"reason": "", "dose": ["0.5", ""], "operator": ["7", "Ada"], "note": ""}
        )
        found = {measure.key: values for measure, values in measures.well_measures(wells, pd.DataFrame())}
        assert list(found) == ["n_cells", "dose"]
        assert found["dose"][0] == 0.5
        assert math.isnan(found["dose"][1])


class Found(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def decoded(column: dict[str, object]) -> np.ndarray:
    codes = np.frombuffer(base64.b64decode(str(column["data"])), dtype=f"<u{column['bytes']}").astype(float)
    top = 256 ** int(str(column["bytes"])) - 1
    return np.where(codes == top, math.nan, float(str(column["low"])) + float(str(column["step"])) * codes)


class TestBlocks:
    def test_hostile_text_stays_in_its_block_and_comes_back(self) -> None:
        html = blocks.block("data", {HOSTILE: [HOSTILE, math.nan, 0.123456789, 3.0, np.int64(4), True, None]})
        found = Found(html)
        assert found.tags == ["script"]
        assert not re.search("[<>&\u2028]", "".join(found.texts))
        assert json.loads("".join(found.texts)) == {HOSTILE: [HOSTILE, None, 0.12346, 3, 4, True, None]}

    def test_an_id_is_plain(self) -> None:
        with pytest.raises(ValueError, match="can't be the id"):
            blocks.block('a" onload="', {})

    @pytest.mark.parametrize(
        ("values", "n_bytes"), [([3.0, math.nan, 250.0], 1), ([-5.0, 65_000.0, math.nan], 2), ([math.nan], 2), ([], 2)]
    )
    def test_whole_numbers_come_back_exactly(self, values: list[float], n_bytes: int) -> None:
        column = blocks.coded(np.array(values))
        assert column["bytes"] == n_bytes
        np.testing.assert_array_equal(decoded(column), values)

    def test_others_within_half_a_step(self) -> None:
        values = np.random.default_rng(0).lognormal(size=500)
        values[::50] = math.nan
        assert decoded(blocks.coded(values)) == pytest.approx(values, abs=np.nanmax(values) / 131_000, nan_ok=True)

    def test_columns_are_left_out_from_the_end_until_they_fit(self) -> None:
        columns = [f"c{number}" for number in range(10)]
        assert blocks.fitting_columns(columns, required=5, n_rows=3000, room=3000 * 8 / 3 * 9.5) == columns[:7]
        assert blocks.fitting_columns(columns, required=5, n_rows=3000, room=3000 * 8 / 3 * 6.5) == []
        assert blocks.fitting_columns(columns, required=5, n_rows=0, room=0) == columns

    def test_cells_of_a_plate_by_well(self) -> None:
        cells = pd.DataFrame(
            {"well": ["A01", "A01", "B02"], "field": [0, 1, 0], "cell": [1, 1, 4], "occupancy": [0.5, math.nan, 1.0]}
        )
        data = explorer.cell_data(cells, ["occupancy"])
        assert data["wells"] == {"A01": [0, 2], "B02": [2, 3]}
        assert decoded(data["cell"]).tolist() == [1, 1, 4]
        assert decoded(data["columns"][0]) == pytest.approx([0.5, math.nan, 1.0], nan_ok=True)
        assert explorer.cell_data(cells.head(0), ["occupancy"])["wells"] == {}


def wells_of(plates: dict[str, list[float]], *, control: str = "") -> pd.DataFrame:
    rows = [
        {"plate": plate, "well": f"A{column:02d}", "condition": "c", "control": control, "occupancy_mean": value}
        for plate, values in plates.items()
        for column, value in enumerate(values, start=1)
    ]
    return pd.DataFrame(rows).assign(occupancy_pooled=lambda wells: wells["occupancy_mean"])


def circles(chart: charts.Chart) -> list[ElementTree.Element]:
    return ElementTree.fromstring(chart.svg).findall("circle")


class TestControlCharts:
    def test_limits_are_three_robust_deviations_of_the_plates_medians(self) -> None:
        middle, low, high = charts.limits(np.array([0.1, 0.2, 0.3, 0.4, 0.9]))
        assert (middle, low, high) == pytest.approx((0.3, 0.3 - 3 * 1.4826 * 0.1, 0.3 + 3 * 1.4826 * 0.1))
        assert np.isnan(charts.limits(np.array([0.1, 0.2]))[1:]).all()

    def test_a_plate_outside_is_named_and_drawn_so(self) -> None:
        plates = {f"p{number}": [0.5 + number / 100, 0.51, math.nan] for number in range(5)} | {"p5": [0.9, 0.95]}
        wells = pd.concat([wells_of(plates), wells_of({"p0": [0.1], "p1": [0.1]}, control="negative")])
        samples, negative = charts.control_charts(wells)
        assert len(circles(samples)) == 12
        assert len(circles(negative)) == 2
        assert "Outside: p5." in samples.note
        assert samples.svg.count('class="median out"') == 1
        assert negative.note.endswith("no limits of fewer than three plates.")

    def test_one_plate_has_none(self) -> None:
        assert charts.control_charts(wells_of({"p": [0.1, 0.2]})) == []


def hits() -> pd.DataFrame:
    return pd.DataFrame(
        {"condition": ["a", HOSTILE, "c"], "effect": [0.3, -0.2, math.nan], "p_adjusted": [0.001, 0.0, 0.5]}
        | {"is_hit": ["True", "True", "False"], "direction": ["up", "down", ""], "rank": [2, 1, 3]}
        | {"score": [5.0, -6.0, 0.1], "wells": ["p:A01 p:A02", "p:B01", "p:C01"], "reason": ""}
    )


class TestHits:
    def test_volcano_of_what_has_an_effect_and_a_p_value(self) -> None:
        chart = charts.hit_chart(hits())
        assert chart is not None
        dots = circles(chart)
        assert {dot.attrib["data-condition"]: dot.attrib["class"] for dot in dots} == {
            "a": "hit up",
            HOSTILE: "hit down",
        }
        assert dots[0].attrib["data-wells"] == "p:A01 p:A02"
        assert chart.note == "Not drawn: 1 row of the list without these numbers, such as controls."
        # A p of zero lies at the smallest p that is not.
        assert len({dot.attrib["cy"] for dot in dots}) == 1

    def test_what_makes_a_hit_is_drawn(self) -> None:
        chart = charts.hit_chart(hits(), rule=(0.05, 0.1))
        assert chart is not None
        assert len(re.findall('class="rule"', chart.svg)) == 3
        assert "p 0.05" in chart.svg
        weak = charts.hit_chart(hits().assign(p_adjusted=0.9), rule=(0.05, 0.0))
        assert weak is not None
        assert len(re.findall('class="rule"', weak.svg)) == 1, "the limit is within the axes though no dot is near"

    def test_names_do_not_lie_on_each_other(self) -> None:
        close = pd.DataFrame(
            {"condition": ["first", "second", "third"], "effect": [0.1, 0.1001, 0.1], "p_adjusted": [0.001, 0.001, 0.5]}
            | {"is_hit": "True", "rank": [1, 2, 3]}
        )
        chart = charts.hit_chart(close)
        assert chart is not None
        assert re.findall('class="name"[^>]*>([^<]+)', chart.svg) == ["first", "third"]

    def test_rank_plot_without_p_values(self) -> None:
        chart = charts.hit_chart(hits().drop(columns="p_adjusted"))
        assert chart is not None
        assert chart.title == "Score by rank"
        places = sorted((float(dot.attrib["cx"]), -float(dot.attrib["cy"])) for dot in circles(chart))
        assert [y for _, y in places] == sorted(y for _, y in places)

    def test_none_where_nothing_can_be_drawn(self) -> None:
        assert charts.hit_chart(hits()[["condition", "is_hit"]]) is None

    def test_the_list_is_by_rank_with_what_decided_first(self) -> None:
        table = hit_table(hits())
        assert [column.key for column in table.columns][:4] == ["rank", "condition", "is_hit", "direction"]
        assert [row[0].text for row in table.rows] == ["1", "2", "3"]
        assert [row[2].text for row in table.rows] == ["hit", "hit", "no"]

    @pytest.mark.parametrize(
        ("table", "line"),
        [
            (hits(), "2 hits among 3 tested conditions: 1 up, 1 down."),
            (hits().drop(columns="p_adjusted").assign(is_hit="False"), "None of 3 tested conditions is a hit."),
            (hits().assign(rank="", is_hit="False"), "No condition could be tested; the list says why."),
            (pd.DataFrame(), ""),
        ],
    )
    def test_in_words(self, table: pd.DataFrame, line: str) -> None:
        assert screen.hit_line(table) == line

    def test_without_a_hit_the_nearest_is_named(self) -> None:
        table = hits().assign(is_hit=False, p_adjusted=[0.3, math.nan, 0.105])
        line = "None of 3 tested conditions is a hit; the smallest adjusted p is 0.105, of c."
        assert screen.hit_line(table) == line

    def test_a_row_is_named_by_condition_dose_and_else_by_its_wells(self) -> None:
        rows = [
            {"condition": "a", "dose": math.nan},
            {"condition": "a", "dose": 0.5},
            {"condition": "", "wells": "p:A01"},
        ]
        assert [screen.hit_name(row) for row in rows] == ["a", "a, 0.5", "p:A01"]

    def test_rows_without_a_rank_were_not_tested(self) -> None:
        left_out = hits().assign(rank=["", "1", "2"])
        assert screen.hit_line(left_out).startswith("2 hits among 2 tested conditions")

    def test_plates_in_words(self) -> None:
        plates = pd.DataFrame({"plate": ["p", "q"], "flags": ["", "edge_effect;drift"]})
        assert screen.plate_line(plates) == "1 of 2 plates flagged: q."
        assert screen.plate_line(plates.head(1)) == "No flag on 1 plate."


class TestDose:
    def test_curve_passes_through_its_middle_at_the_ec50(self) -> None:
        wells = wells_of({"p": [0.2, 0.5, 0.8]}).assign(dose=["0.1", "1", "10"])
        row = {"condition": "c", "bottom": 0.2, "top": 0.8, "ec50": 1.0, "hill": 1.0, "reason": "fitted"}
        (chart,) = charts.dose_charts(pd.DataFrame([row | {"ec50_ci_low": 0.5, "ec50_ci_high": 2.0}]), wells)
        root = ElementTree.fromstring(chart.svg)
        dots = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in root.findall("circle")]
        curve = root.find("path[@class='curve']")
        assert curve is not None
        points = np.array([[float(v) for v in pair.split()] for pair in curve.attrib["d"][1:].split("L")])
        at = np.interp(dots[1][0], points[:, 0], points[:, 1])
        assert at == pytest.approx(dots[1][1], abs=0.3)
        assert points[:, 1].max() <= dots[0][1]
        assert chart.note == "EC50 1.00 (0.500 to 2.00). fitted"

    def test_without_a_fit_or_doses(self) -> None:
        row = {"condition": "c", "ec50": math.nan, "reason": "too few doses"}
        (chart,) = charts.dose_charts(pd.DataFrame([row]), wells_of({"p": [0.2]}))
        assert chart.note == "EC50 –. too few doses"
        assert not circles(chart)


class TestAxes:
    @pytest.mark.parametrize(
        ("ends", "found"),
        [((0, 1), [0, 0.2, 0.4, 0.6, 0.8, 1]), ((-3.2, 7.9), [-2, 0, 2, 4, 6]), ((0, 130), [0, 50, 100])],
    )
    def test_ticks_are_round_and_within(self, ends: tuple[float, float], found: list[float]) -> None:
        assert ticks(*ends) == found

    def test_no_numbers_and_equal_numbers_have_an_axis(self) -> None:
        assert padded([math.nan, math.inf]) == (0.0, 1.0)
        low, high = padded([0.0, 0.0])
        assert low < 0 < high


def test_long_tables_are_cut_and_say_so() -> None:
    table = plain_table(pd.DataFrame({"a": range(MAX_ROWS + 7)}))
    assert (len(table.rows), table.n_left_out) == (MAX_ROWS, 7)
