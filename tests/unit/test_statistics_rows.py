"""statistics.csv: which rows, columns, counts, flags and notes; that wells and never cells are the replicates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from lysoquant.aggregate.params import StatisticsParams
from lysoquant.aggregate.statistics import statistics_rows
from lysoquant.aggregate.trial import STATISTICS_COLUMNS
from lysoquant.aggregate.wells import Row
from lysoquant.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("error")

OLD_COLUMNS = [
    *("condition", "reference", "test", "n_condition", "n_reference", "difference", "ci_low", "ci_high"),
    *("statistic", "df", "p_value", "p_adjusted"),
]
ALL = ("welch", "t", "anova_tukey", "two_way_sidak", "mixed", "beta_binomial")


def well(
    condition: str,
    mean: float,
    *,
    control: str = "",
    plate: str = "P1",
    name: str = "",
    replicate: str = "",
    n_cells: int = 10,
    sd: float = 0.1,
    **own: str,
) -> Row:
    """A well of 10 endolysosomes a cell."""
    known = math.isfinite(mean)
    n_cells = n_cells if known else 0
    return {
        "plate": plate,
        "well": name or f"{condition}{mean}{plate}",
        "condition": condition,
        "replicate": replicate,
        "control": control,
        "n_endolysosomes": 10 * n_cells,
        "n_loaded": round(10 * n_cells * mean) if known else 0,
        "occupancy_mean": mean,
        "occupancy_sd": sd,
        "area_um2_mean": 2 * mean,
        "n_cells_with_occupancy": n_cells,
        "occupancy_logit_mean": math.log(mean / (1 - mean)) if known else math.nan,
        "occupancy_logit_sd": 4 * sd,
        **own,
    }


PLATE = [
    well("WT", 0.5),
    well("mutant", 0.1, control="negative"),
    well("WT", 0.7),
    well("WT", math.nan),
    well("mutant", 0.2, control="negative"),
    well("mutant", 0.15, control="negative"),
    well("KO", 0.3),
    well("", 0.9),
]


def screen(*, plates: Sequence[str] = ("P1", "P2"), seed: int = 0) -> list[Row]:
    """Four wells of three conditions on each plate, donors a and b."""
    rng = np.random.default_rng(seed)
    occupancy = {"WT": 0.3, "drug": 0.33, "KO": 0.6}
    return [
        well(
            condition,
            round(mean + rng.normal(0, 0.04), 3),
            control="negative" if condition == "WT" else "",
            plate=plate,
            name=f"{condition}{i}",
            replicate=str(i % 2 + 1),
            donor="ab"[i % 2],
        )
        for plate in plates
        for condition, mean in occupancy.items()
        for i in range(4)
    ]


def rows_of(wells: Sequence[Row], *, confidence: float = 0.95, **params: object) -> list[Row]:
    rows = statistics_rows(wells=wells, params=StatisticsParams.model_validate(params), confidence=confidence)
    assert all(list(row) == list(STATISTICS_COLUMNS) for row in rows)
    assert all(isinstance(row[name], kind) for row in rows for name, kind in STATISTICS_COLUMNS.items())
    return rows


def of(rows: Sequence[Row], test: str) -> list[Row]:
    found = [row for row in rows if str(row["test"]).startswith(test)]
    assert found
    return found


def test_default_is_welch_against_the_negative_control() -> None:
    rows = rows_of(PLATE)

    assert list(rows[0])[: len(OLD_COLUMNS)] == OLD_COLUMNS
    assert [(row["condition"], row["reference"]) for row in rows] == [("KO", "mutant"), ("WT", "mutant")]
    single, found = rows
    assert (single["n_condition"], single["n_reference"]) == (1, 3)
    assert single["difference"] == pytest.approx(0.15)
    assert all(math.isnan(float(single[name])) for name in ("ci_low", "statistic", "df", "p_value", "p_adjusted"))
    assert str(single["note"]).startswith("fewer than two values on one side")
    expected = stats.ttest_ind([0.5, 0.7], [0.1, 0.2, 0.15], equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found["test"] == "Welch t on well means"
    assert found["statistic"] == pytest.approx(expected.statistic)
    assert found["df"] == pytest.approx(expected.df)
    assert found["p_value"] == pytest.approx(expected.pvalue)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert found["p_adjusted"] == found["p_value"]
    assert (found["adjustment"], found["n_family"]) == ("Benjamini-Hochberg", 1)
    assert (found["n_cells_condition"], found["n_cells_reference"]) == (20, 30)
    assert found["flags"] == "few_replicates"


def test_no_negative_control_no_comparisons_but_pairs_of_all() -> None:
    wells = [row for row in PLATE if row["control"] != "negative"]

    assert rows_of(wells) == []
    assert [row["test"] for row in rows_of(wells, tests=("anova_tukey",))] == [
        "one-way ANOVA on well means",
        "Tukey HSD on well means",
    ]


def test_no_tests_no_rows() -> None:
    assert rows_of(PLATE, tests=()) == []


def test_every_negative_control_is_a_reference_of_its_own() -> None:
    more = [well("mock", 0.3, control="negative"), well("mock", 0.4, control="negative")]

    pairs = [(row["condition"], row["reference"]) for row in rows_of(PLATE + more)]

    assert pairs == [("KO", "mock"), ("KO", "mutant"), ("WT", "mock"), ("WT", "mutant")]


def test_every_test_counts_wells_and_says_so() -> None:
    rows = rows_of(screen(), tests=ALL)

    compared = [row for row in rows if row["reference"] and not row["level"]]
    assert {(row["n_condition"], row["n_reference"]) for row in compared} == {(8, 8)}
    assert {(row["n_cells_condition"], row["n_cells_reference"]) for row in compared} == {(80, 80)}
    within = [row for row in rows if row["level"]]
    assert {(row["n_condition"], row["n_cells_condition"]) for row in within} == {(4, 40)}
    assert [row["test"] for row in rows] == [
        *["Welch t on well means"] * 2,
        *["Student t on well means"] * 2,
        "one-way ANOVA on well means",
        *["Tukey HSD on well means"] * 3,
        *["two-way ANOVA on well means"] * 3,
        *["Sidak after two-way ANOVA on well means"] * 4,
        *["linear mixed model of cells in wells"] * 2,
        *["beta-binomial model of well counts"] * 2,
    ]
    assert all(0 <= float(row["p_value"]) <= float(row["p_adjusted"]) <= 1 for row in rows)
    assert all(
        float(row["ci_low"]) < float(row["difference"]) < float(row["ci_high"]) for row in rows if row["reference"]
    )


def test_a_test_does_not_change_the_others_adjusted_p() -> None:
    alone, among = rows_of(screen()), of(rows_of(screen(), tests=ALL), "Welch")

    assert alone == among


def test_ten_times_the_cells_leave_the_tests_of_wells_as_they_are() -> None:
    few, many = screen(), [row | {"n_cells_with_occupancy": 100} for row in screen()]
    tests = ("welch", "t", "anova_tukey", "two_way_sidak")
    numbers = ("statistic", "df", "p_value", "p_adjusted", "n_condition")

    assert [[row[name] for name in numbers] for row in rows_of(few, tests=tests)] == [
        [row[name] for name in numbers] for row in rows_of(many, tests=tests)
    ]
    # The mixed model's errors are those of wells too: more cells take away only the cells' share.
    before, after = (of(rows_of(wells, tests=("mixed",)), "linear")[0] for wells in (few, many))
    assert float(after["df"]) == pytest.approx(float(before["df"]), rel=0.01)
    assert float(after["statistic"]) == pytest.approx(float(before["statistic"]), rel=0.05)


def test_omnibus_rows_have_no_reference_and_both_degrees_of_freedom() -> None:
    rows = rows_of(screen(), tests=("anova_tukey", "two_way_sidak"), second_factor="donor")
    one_way, two_way = of(rows, "one-way"), of(rows, "two-way")

    assert [(row["condition"], row["reference"], row["factor"]) for row in [*one_way, *two_way]] == [
        ("", "", "condition"),
        ("", "", "condition"),
        ("", "", "donor"),
        ("", "", "condition x donor"),
    ]
    assert [(row["df"], row["df_denominator"]) for row in [*one_way, *two_way]] == [(2, 21), (2, 18), (1, 18), (2, 18)]
    assert {row["n_condition"] for row in [*one_way, *two_way]} == {24}
    values = [[row["occupancy_mean"] for row in screen() if row["condition"] == name] for name in ("KO", "WT", "drug")]
    assert one_way[0]["p_value"] == pytest.approx(stats.f_oneway(*values).pvalue)


def test_sidak_compares_within_each_level_with_the_error_of_all() -> None:
    rows = of(rows_of(screen(), tests=("two_way_sidak",)), "Sidak")

    assert [(row["condition"], row["factor"], row["level"]) for row in rows] == [
        ("KO", "plate", "P1"),
        ("KO", "plate", "P2"),
        ("drug", "plate", "P1"),
        ("drug", "plate", "P2"),
    ]
    cells = {
        (name, plate): np.array(
            [float(row["occupancy_mean"]) for row in screen() if (row["condition"], row["plate"]) == (name, plate)]
        )
        for name in ("KO", "WT", "drug")
        for plate in ("P1", "P2")
    }
    mean_square = sum(((v - v.mean()) ** 2).sum() for v in cells.values()) / 18
    for row in rows:
        level = str(row["level"])
        t = (cells[str(row["condition"]), level].mean() - cells["WT", level].mean()) / math.sqrt(mean_square / 2)
        p = 2 * stats.t.sf(abs(t), 18)
        assert row["p_value"] == pytest.approx(p)
        assert row["p_adjusted"] == pytest.approx(1 - (1 - p) ** 4)
        # The interval leaves out 0 where the adjusted p is below 0.05, and only there.
        assert (float(row["ci_low"]) > 0 or float(row["ci_high"]) < 0) == (float(row["p_adjusted"]) < 0.05)


def test_wells_without_the_second_factor_are_left_out_and_told() -> None:
    wells = [*screen(), well("KO", 0.61, name="H1", donor=""), well("KO", 0.62, name="H2")]

    two_way = of(rows_of(wells, tests=("two_way_sidak",), second_factor="donor"), "two-way")

    assert {(row["n_condition"], row["note"]) for row in two_way} == {(24, "2 without donor left out")}


def test_a_replicate_is_the_mean_of_its_wells_on_a_plate() -> None:
    rows = rows_of(screen(), tests=ALL, unit="replicate")
    found = of(rows, "Welch")[0]
    means = {
        name: [
            np.mean(
                [
                    float(row["occupancy_mean"])
                    for row in screen()
                    if (row["condition"], row["plate"], row["replicate"]) == key
                ]
            )
            for key in [(name, plate, replicate) for plate in ("P1", "P2") for replicate in "12"]
        ]
        for name in ("KO", "WT")
    }

    expected = stats.ttest_ind(means["KO"], means["WT"], equal_var=False)
    assert (found["n_condition"], found["n_reference"], found["unit"]) == (4, 4, "replicate")
    assert found["p_value"] == pytest.approx(expected.pvalue)
    assert found["test"] == "Welch t on replicate means"
    assert of(rows, "beta-binomial")[0]["n_condition"] == 4
    assert of(rows, "linear")[0]["df"] == pytest.approx(9, rel=0.02)


def test_a_well_without_a_replicate_number_is_a_replicate() -> None:
    wells = [row | {"replicate": ""} for row in screen()]

    assert of(rows_of(wells, unit="replicate"), "Welch")[0]["n_condition"] == 8


def test_over_plates_each_has_its_own_control_and_family() -> None:
    wells = screen()
    rows = rows_of(wells, over="plate", tests=("welch", "t"))

    assert [(row["plate"], row["test"], row["condition"]) for row in rows] == [
        (plate, f"{test} t on well means", condition)
        for plate in ("P1", "P2")
        for test in ("Welch", "Student")
        for condition in ("KO", "drug")
    ]
    assert {(row["n_condition"], row["n_reference"], row["n_family"]) for row in rows} == {(4, 4, 2)}
    alone = rows_of([row for row in wells if row["plate"] == "P2"], tests=("welch", "t"))
    assert [row["p_adjusted"] for row in rows[4:]] == [row["p_adjusted"] for row in alone]


def test_a_plate_without_control_is_told() -> None:
    wells = [*screen(plates=["P1"]), *(row for row in screen(plates=["P2"]) if row["condition"] != "WT")]

    rows = [row for row in rows_of(wells, over="plate") if row["plate"] == "P2"]

    assert [(row["condition"], row["n_condition"], row["note"]) for row in rows] == [
        ("", 0, "nothing to compare: no negative control on this plate")
    ]


@pytest.mark.parametrize(("method", "name"), [("holm", "Holm"), ("sidak", "Sidak"), ("none", "none")])
def test_adjustment_is_settable_and_named(method: str, name: str) -> None:
    rows = rows_of(screen(), adjust=method)

    assert {row["adjustment"] for row in rows} == {name}
    smallest = min(rows, key=lambda row: float(row["p_value"]))
    times = {"holm": 2, "sidak": 2, "none": 1}[method]
    assert smallest["p_adjusted"] == pytest.approx(times * float(smallest["p_value"]), rel=1e-3)


def test_another_measurement_and_log_odds() -> None:
    area = rows_of(screen(), measurement="area_um2_mean")[0]
    logit = rows_of(screen(), scale="logit")[0]

    assert area["difference"] == pytest.approx(2 * float(rows_of(screen())[0]["difference"]))
    assert (area["measurement"], logit["scale"], logit["test"]) == (
        "area_um2_mean",
        "logit",
        "Welch t on logits of well means",
    )
    values = {
        name: np.array([float(row["occupancy_mean"]) for row in screen() if row["condition"] == name])
        for name in ("KO", "WT")
    }
    odds = {name: np.log((100 * v + 0.5) / (100 * (1 - v) + 0.5)).mean() for name, v in values.items()}
    assert logit["difference"] == pytest.approx(odds["KO"] - odds["WT"])


def test_models_of_cells_and_counts_are_of_occupancy_whatever_the_measurement() -> None:
    rows = rows_of(screen(), measurement="area_um2_mean", tests=("mixed", "beta_binomial"))

    assert {row["measurement"] for row in rows} == {"occupancy"}
    assert rows == rows_of(screen(), tests=("mixed", "beta_binomial"))


def test_broken_assumptions_are_flagged_where_the_test_makes_them() -> None:
    wide = [well("KO", x) for x in (0.1, 0.3, 0.5, 0.7, 0.9, 0.12, 0.88, 0.51)]
    narrow = [well("WT", 0.3 + x / 1000, control="negative") for x in range(8)]
    skewed = [well("KO", x) for x in (0.501, 0.502, 0.503, 0.504, 0.505, 0.506, 0.507, 0.95)]
    welch, student = rows_of([*wide, *narrow], tests=("welch", "t"))

    assert float(student["equal_variance_p"]) < 0.01
    assert ("unequal" in str(welch["flags"]), "unequal" in str(student["flags"])) == (False, True)
    assert (welch["n_checked"], welch["equal_variance_p"]) == (16, student["equal_variance_p"])
    assert "not_normal" in str(rows_of([*skewed, *narrow])[0]["flags"])


def test_singular_and_binomial_fits_are_told() -> None:
    same = [well("KO", 0.5, name=f"A{i}", sd=0.3) for i in range(3)]
    control = [well("WT", 0.4 + i / 1000, control="negative", name=f"B{i}", sd=0.3) for i in range(3)]
    mixed, counts = rows_of([*same, *control], tests=("mixed", "beta_binomial"))

    assert "singular fit" in str(mixed["note"])
    assert math.isnan(float(mixed["p_value"]))
    assert float(mixed["difference"]) == pytest.approx(0.099)
    assert "no overdispersion" in str(counts["note"])


def test_more_conditions_than_pairs_can_be_told() -> None:
    wells = [
        well(f"c{i:02}", 0.3 + j / 100, name=f"{i}{j}", control="negative" if i == 0 else "")
        for i in range(22)
        for j in range(2)
    ]

    rows = rows_of(wells, tests=("anova_tukey",))

    assert len(of(rows, "Tukey")) == 21
    assert {row["n_family"] for row in of(rows, "Tukey")} == {231}
    assert "only those with a control" in str(of(rows, "one-way")[0]["note"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"measurement": "donor"}, "measurement is 'donor', no number of the well table; expected one of n_endo"),
        ({"measurement": "area"}, "measurement is 'area', no number of the well table"),
        (
            {"measurement": "n_cells_with_occupancy", "scale": "logit"},
            "is 10, no fraction; expected values from 0 to 1",
        ),
        (
            {"tests": ("two_way_sidak",), "second_factor": "dose"},
            "second_factor is 'dose', no column of wells.tsv that can be one; expected one of plate, replicate, donor",
        ),
    ],
)
def test_impossible_settings_are_one_line(params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rows_of(screen(), **params)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"tests": ("welch", "welch")}, "names one twice"),
        ({"tests": ("two_way_sidak",), "over": "plate"}, "can't have the plate as its second factor"),
        ({"tests": ("wilcoxon",)}, "tests"),
    ],
)
def test_settings_that_do_not_fit_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StatisticsParams.model_validate(params)
