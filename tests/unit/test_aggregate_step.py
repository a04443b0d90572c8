"""aggregate from hand-made part tables to every output, column by column."""

from __future__ import annotations

import csv
import gc
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lysoquant.aggregate import plate as plate_module
from lysoquant.aggregate import step
from lysoquant.aggregate.params import AggregateParams, AggregateSettings, ExpressionParams, StatisticsParams
from lysoquant.aggregate.wells import COLUMNS
from lysoquant.errors import ConfigError, InputError, StageError
from lysoquant.layout import Layout
from lysoquant.record import digest_file, read_json, write_json
from lysoquant.screening.params import ScreenParams
from lysoquant.workers.params import DaskSettings

pytestmark = pytest.mark.filterwarnings("error")

CONTRACT_COLUMNS = [
    "plate",
    "well",
    "row",
    "column",
    "condition",
    "replicate",
    "control",
    "n_fields",
    "n_fields_failed",
    "n_cells",
    "n_endolysosomes",
    "n_empty",
    "n_loaded",
    "occupancy_mean",
    "occupancy_sd",
    "occupancy_pooled",
    "occupancy_ci_low",
    "occupancy_ci_high",
    "area_um2_mean",
    "robust_z",
    "b_score",
    "flags",
]

LATER_COLUMNS = [
    "n_cells_expressing",
    "reason",
    "n_cells_with_occupancy",
    "occupancy_logit_mean",
    "occupancy_logit_sd",
    "normalised",
    "excluded",
]

JOINED = ("endolysosomes", "cells", "fields")
OUTPUTS = {
    *(f"{name}.parquet" for name in JOINED),
    *("wells.parquet", "wells.csv", "conditions.csv", "statistics.csv", "plates.csv", "hits.csv", "dose_response.csv"),
}

Cell = tuple[int, int, float, int, int]
"""field, cell, mean cargo, n_empty, n_loaded"""
Field = tuple[str, str]
"""status, reason"""


def settings(
    *,
    min_mean_cargo: float | None = None,
    cargo: str = "ATZ",
    min_endolysosomes: int = 5,
    expression: Mapping[str, str] | None = None,
) -> AggregateSettings:
    gate = ExpressionParams.model_validate(expression or {})
    if min_mean_cargo is not None:
        gate = ExpressionParams(method="threshold", min_mean_cargo=min_mean_cargo)
    params = AggregateParams(expression=gate, bootstrap=500, min_cells=2, min_endolysosomes=min_endolysosomes)
    return AggregateSettings(params=params, cargo=cargo)


def write_part(path: Path, columns: Mapping[str, Sequence[object]], types: Mapping[str, pa.DataType]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: pa.array(columns[name], type=types[name]) for name in types}), path)


def write_well(
    layout: Layout,
    plate: str,
    well: str,
    *,
    cells: Sequence[Cell] = (),
    fields: Sequence[Field] = (("ok", ""),),
    cargo: str = "ATZ",
    area_um2: float = 1.0,
    digest: str = "d",
) -> None:
    """Part tables as measure writes them (fewer columns), and the well's measure record.

    The i-th region of a well, from 0, has an area of ``area_um2 + i``.
    """
    folder = layout.well_tables(plate, well)
    regions = [
        (field, cell, label, label > empty)
        for field, cell, _, empty, loaded in cells
        for label in range(1, empty + loaded + 1)
    ]
    write_part(
        folder / "endolysosomes.parquet",
        {
            "plate": [plate] * len(regions),
            "well": [well] * len(regions),
            "field": [region[0] for region in regions],
            "cell": [region[1] for region in regions],
            "label": [region[2] for region in regions],
            "is_loaded": [region[3] for region in regions],
            "area_um2": [area_um2 + i for i in range(len(regions))],
            "intensity_mean_LAMP1": [1.0] * len(regions),
            f"intensity_mean_{cargo}": [2.0] * len(regions),
            "cargo_area_fraction": [0.5] * len(regions),
        },
        {
            "plate": pa.string(),
            "well": pa.string(),
            "field": pa.int64(),
            "cell": pa.int64(),
            "label": pa.int64(),
            "is_loaded": pa.bool_(),
            "area_um2": pa.float64(),
            "intensity_mean_LAMP1": pa.float64(),
            f"intensity_mean_{cargo}": pa.float64(),
            "cargo_area_fraction": pa.float64(),
        },
    )
    write_part(
        folder / "cells.parquet",
        {
            "plate": [plate] * len(cells),
            "well": [well] * len(cells),
            "field": [cell[0] for cell in cells],
            "cell": [cell[1] for cell in cells],
            f"intensity_mean_{cargo}": [cell[2] for cell in cells],
            "n_endolysosomes": [cell[3] + cell[4] for cell in cells],
            "n_empty": [cell[3] for cell in cells],
            "n_loaded": [cell[4] for cell in cells],
            "occupancy": [cell[4] / (cell[3] + cell[4]) if cell[3] + cell[4] else math.nan for cell in cells],
        },
        {
            "plate": pa.string(),
            "well": pa.string(),
            "field": pa.int64(),
            "cell": pa.int64(),
            f"intensity_mean_{cargo}": pa.float64(),
            "n_endolysosomes": pa.int64(),
            "n_empty": pa.int64(),
            "n_loaded": pa.int64(),
            "occupancy": pa.float64(),
        },
    )
    write_part(
        folder / "fields.parquet",
        {
            "plate": [plate] * len(fields),
            "well": [well] * len(fields),
            "field": list(range(len(fields))),
            "status": [status for status, _ in fields],
            "reason": [reason for _, reason in fields],
        },
        {
            "plate": pa.string(),
            "well": pa.string(),
            "field": pa.int64(),
            "status": pa.string(),
            "reason": pa.string(),
        },
    )
    write_json(layout.well_record(plate, "measure", well), {"digest": digest})


def mapped(well: str, condition: str, control: str = "", **more: str) -> dict[str, str]:
    return {"plate": "P1", "well": well, "condition": condition, "replicate": "1", "control": control, **more}


MAP = [
    mapped("A01", "WT", siRNA="none"),
    mapped("A02", "KO", siRNA='a "b", c'),
    mapped("B01", "mutant", "negative", siRNA=""),
    mapped("B02", "WT", siRNA=""),
    mapped("B03", "KO", siRNA=""),
]
WELLS = ["A01", "A02", "B01", "B02", "C10"]


def small_plate(layout: Layout) -> None:
    """Every kind of well: good, gated, partly failed, wholly failed, not in the map; B03 is in the map alone."""
    pixel_size = "pixel size 0.2 um is outside the tested range 0.04 to 0.12 um"
    write_well(
        layout,
        "P1",
        "A01",
        cells=[(0, 1, 500.0, 1, 3), (0, 2, 500.0, 2, 2), (1, 1, 500.0, 0, 0), (1, 2, 10.0, 0, 5)],
        fields=[("ok", ""), ("ok", "")],
    )
    write_well(
        layout,
        "P1",
        "A02",
        cells=[(0, 1, 500.0, 6, 2)],
        fields=[("flagged", f"out of focus; {pixel_size}"), ("failed", "file is cut off"), ("flagged", pixel_size)],
    )
    write_well(layout, "P1", "B01", cells=[(0, 1, 500.0, 4, 0), (0, 2, 500.0, 4, 0)])
    write_well(layout, "P1", "B02", fields=[("failed", "file is cut off"), ("failed", "no channel ATZ")])
    write_well(layout, "P1", "C10", cells=[(0, 1, 500.0, 3, 1), (0, 2, 500.0, 1, 3)])


def run(
    layout: Layout,
    plates: Mapping[str, Sequence[str]],
    plate_map: Sequence[Mapping[str, str]] = (),
    chosen: AggregateSettings | None = None,
    **more: Any,
) -> dict[str, object]:
    return step.run(
        layout=layout,
        plates=plates,
        plate_map=plate_map,
        settings=chosen or settings(min_mean_cargo=100.0),
        record=layout.project_record("aggregate"),
        **more,
    )


def digests(layout: Layout) -> dict[str, str]:
    """Digest of each file of the tables by its path."""
    files = [path for path in layout.tables.rglob("*") if path.is_file()]
    return {path.relative_to(layout.results).as_posix(): digest_file(path) for path in sorted(files)}


def read_csv(layout: Layout, name: str) -> list[dict[str, str]]:
    with (layout.tables / name).open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_every_column_of_the_well_table(layout: Layout) -> None:
    small_plate(layout)
    run(layout, {"P1": WELLS}, MAP)

    rows = read_csv(layout, "wells.csv")
    assert list(rows[0]) == [*CONTRACT_COLUMNS, *LATER_COLUMNS, "siRNA"]
    assert list(COLUMNS)[: len(CONTRACT_COLUMNS)] == CONTRACT_COLUMNS
    assert [row["well"] for row in rows] == ["A01", "A02", "B01", "B02", "B03", "C10"]
    # Logits: log(5.5/3.5), log(2.5/6.5), log(0.5/8.5), log(4.5/4.5): median -0.4777558, MAD 0.7037483.
    assert rows[0] == {
        "plate": "P1",
        "well": "A01",
        "row": "A",
        "column": "1",
        "condition": "WT",
        "replicate": "1",
        "control": "",
        "n_fields": "2",
        "n_fields_failed": "0",
        "n_cells": "4",
        "n_endolysosomes": "8",
        "n_empty": "3",
        "n_loaded": "5",
        "occupancy_mean": "0.625",
        "occupancy_sd": "0.1767766953",
        "occupancy_pooled": "0.625",
        "occupancy_ci_low": "0.5",
        "occupancy_ci_high": "0.75",
        # Regions 0 to 7 of areas 1 to 8; the five of the cell below the threshold are left out.
        "area_um2_mean": "4.5",
        "robust_z": rows[0]["robust_z"],
        "b_score": "",
        "flags": "",
        "n_cells_expressing": "3",
        "reason": "",
        # Cells of 2 of 4 and 3 of 4, with a half more of each class: log 1 and log(3.5 / 1.5).
        "n_cells_with_occupancy": "2",
        "occupancy_logit_mean": f"{math.log(3.5 / 1.5) / 2:.10g}",
        "occupancy_logit_sd": f"{math.log(3.5 / 1.5) / math.sqrt(2):.10g}",
        "normalised": "",
        "excluded": "1 negative control wells to compare with, 3 needed",
        "siRNA": "none",
    }
    logits = sorted(math.log(ratio) for ratio in (5.5 / 3.5, 2.5 / 6.5, 0.5 / 8.5, 1.0))
    median = (logits[1] + logits[2]) / 2
    distances = sorted(abs(logit - median) for logit in logits)
    mad = (distances[1] + distances[2]) / 2
    assert float(rows[0]["robust_z"]) == pytest.approx((math.log(5.5 / 3.5) - median) / (1.4826 * mad))


def add_cargo(layout: Layout, plate: str, well: str, cargo: str, *, every: int) -> None:
    """Give a well's part tables another cargo, which every n-th region of each cell holds."""
    folder = layout.well_tables(plate, well)
    regions = pd.read_parquet(folder / "endolysosomes.parquet")
    held = regions["label"] % every == 0
    regions[f"is_loaded_{cargo}"] = held.astype(bool)
    cells = pd.read_parquet(folder / "cells.parquet")
    count = regions[held].groupby(["field", "cell"]).size()
    keys = pd.MultiIndex.from_frame(cells[["field", "cell"]])
    cells[f"n_loaded_{cargo}"] = count.reindex(keys).fillna(0).astype("int64").to_numpy()
    cells[f"occupancy_{cargo}"] = cells[f"n_loaded_{cargo}"] / cells["n_endolysosomes"]
    regions.to_parquet(folder / "endolysosomes.parquet")
    cells.to_parquet(folder / "cells.parquet")


def with_cargoes(*cargoes: str, **combinations: str) -> AggregateSettings:
    plain = settings(min_mean_cargo=100.0)
    params = plain.params.model_copy(update={"combinations": combinations})
    return plain.model_copy(update={"params": params, "other_cargoes": cargoes})


def test_other_cargoes_and_combinations_reach_every_table(layout: Layout) -> None:
    small_plate(layout)
    run(layout, {"P1": WELLS}, MAP)
    plain = read_csv(layout, "wells.csv")
    for well in WELLS:
        add_cargo(layout, "P1", well, "LC3", every=2)
    chosen = with_cargoes("LC3", both="ATZ and LC3", LC3_only="LC3 and not ATZ")
    run(layout, {"P1": WELLS}, MAP, chosen)

    rows = read_csv(layout, "wells.csv")
    added = [
        *("n_loaded_LC3", "occupancy_mean_LC3", "occupancy_pooled_LC3"),
        *("n_LC3_only", "occupancy_mean_LC3_only", "occupancy_pooled_LC3_only"),
        *("n_both", "occupancy_mean_both", "occupancy_pooled_both"),
    ]
    assert list(rows[0]) == [*CONTRACT_COLUMNS, *LATER_COLUMNS, *added, "siRNA"]
    assert [{name: row[name] for name in plain[0]} for row in rows] == plain
    # A01: cells of 1 + 3 and 2 + 2 (empty first), one without any, and one below the gate. LC3 in regions 2 and 4.
    assert [rows[0][name] for name in added] == ["4", "0.5", "0.5", "1", "0.125", "0.125", "3", "0.375", "0.375"]
    # B02 failed and B03 has no image: counts of 0, no occupancy.
    assert [[row[name] for name in added] for row in rows if row["well"] in ("B02", "B03")] == [["0", "", ""] * 3] * 2
    conditions = read_csv(layout, "conditions.csv")
    assert list(conditions[0])[-10:] == ["n_wells_with_occupancy", *added]
    # WT: A01 and the failed B02. KO: A02, of 6 + 2 regions, of which 2, 4, 6, 8 have LC3, and B03.
    told = {row["condition"]: [row[name] for name in added] for row in conditions}
    assert told["WT"] == ["4", "0.5", "0.5", "1", "0.125", "0.125", "3", "0.375", "0.375"]
    assert told["KO"] == ["4", "0.5", "0.5", "3", "0.375", "0.375", "1", "0.125", "0.125"]
    regions = pd.read_parquet(layout.tables / "endolysosomes.parquet")
    assert list(regions.columns[-3:]) == ["is_loaded_LC3", "is_LC3_only", "is_both"]
    assert (regions["is_both"] == (regions["is_loaded"] & regions["is_loaded_LC3"])).all()
    assert (regions["is_LC3_only"] == (regions["is_loaded_LC3"] & ~regions["is_loaded"])).all()
    assert regions["is_both"].sum() == 9
    cells = pd.read_parquet(layout.tables / "cells.parquet")
    assert list(cells.columns[-4:]) == ["n_LC3_only", "occupancy_LC3_only", "n_both", "occupancy_both"]
    assert cells[cells["well"] == "A01"]["n_both"].tolist() == [2, 1, 0, 2]
    assert (cells["n_both"] + cells["n_LC3_only"] == cells["n_loaded_LC3"]).all()


def test_another_combination_reads_the_parts_again_and_the_same_does_not(layout: Layout) -> None:
    write_well(layout, "P1", "A01", cells=[(0, 1, 500.0, 2, 2)])
    add_cargo(layout, "P1", "A01", "LC3", every=2)
    first = run(layout, {"P1": ["A01"]}, MAP[:1], with_cargoes("LC3", x="ATZ and LC3"))
    assert run(layout, {"P1": ["A01"]}, MAP[:1], with_cargoes("LC3", x="ATZ and LC3")) == first
    assert read_csv(layout, "wells.csv")[0]["n_x"] == "1"
    run(layout, {"P1": ["A01"]}, MAP[:1], with_cargoes("LC3", x="ATZ or LC3"))
    assert read_csv(layout, "wells.csv")[0]["n_x"] == "3"


def test_parts_without_another_cargo_say_what_to_run(layout: Layout) -> None:
    write_well(layout, "P1", "A01", cells=[(0, 1, 500.0, 2, 2)])
    with pytest.raises(StageError, match=r"not classified by cargo 'LC3'; run `lysoquant segment PROJECT --plate P1`"):
        run(layout, {"P1": ["A01"]}, MAP[:1], with_cargoes("LC3"))


def test_a_column_of_the_plate_map_may_not_have_the_name_of_a_combinations(layout: Layout) -> None:
    write_well(layout, "P1", "A01", cells=[(0, 1, 500.0, 2, 2)])
    with pytest.raises(ConfigError, match="plate map: column 'n_x' has the name of a result of the well table"):
        run(layout, {"P1": ["A01"]}, [mapped("A01", "WT", n_x="1")], with_cargoes(x="not ATZ"))


def test_bad_wells_are_there_with_counts_flags_and_reasons(layout: Layout) -> None:
    small_plate(layout)
    run(layout, {"P1": WELLS}, MAP)

    rows = {row["well"]: row for row in read_csv(layout, "wells.csv")}
    assert rows["A02"]["flags"] == "failed_fields;flagged_fields;few_cells;pixel_size"
    assert rows["A02"]["reason"] == (
        "out of focus; pixel size 0.2 um is outside the tested range 0.04 to 0.12 um; file is cut off"
    )
    assert (rows["A02"]["n_fields"], rows["A02"]["n_fields_failed"]) == ("3", "1")
    assert (rows["A02"]["occupancy_mean"], rows["A02"]["occupancy_sd"]) == ("0.25", "")
    assert rows["A02"]["siRNA"] == 'a "b", c'
    assert rows["B01"]["flags"] == ""
    assert (rows["B01"]["occupancy_pooled"], rows["B01"]["occupancy_ci_low"]) == ("0", "0")
    assert rows["B02"]["flags"] == "all_fields_failed;few_cells;few_endolysosomes"
    assert rows["B02"]["reason"] == "file is cut off; no channel ATZ"
    assert rows["B03"]["flags"] == "no_images;few_cells;few_endolysosomes"
    assert rows["B03"]["reason"] == "no image of this well was found"
    assert rows["C10"]["flags"] == "not_in_plate_map"
    assert (rows["C10"]["condition"], rows["C10"]["siRNA"], rows["C10"]["column"]) == ("", "", "10")
    for well in ("B02", "B03"):
        assert {rows[well][name] for name in COLUMNS if name.startswith("n_") and "fields" not in name} == {"0"}
        undefined = ("occupancy_mean", "occupancy_pooled", "occupancy_ci_low", "area_um2_mean", "robust_z", "b_score")
        assert {rows[well][name] for name in undefined} == {""}


def test_conditions_and_statistics_tables(layout: Layout) -> None:
    small_plate(layout)
    run(layout, {"P1": WELLS}, MAP)

    conditions = {row["condition"]: row for row in read_csv(layout, "conditions.csv")}
    assert list(conditions) == ["KO", "WT", "mutant"]
    assert (conditions["KO"]["n_wells"], conditions["KO"]["n_wells_failed"]) == ("2", "1")
    assert (conditions["KO"]["occupancy_mean"], conditions["KO"]["occupancy_sd"]) == ("0.25", "")
    assert conditions["mutant"]["control"] == "negative"
    statistics = read_csv(layout, "statistics.csv")
    assert [(row["condition"], row["n_condition"], row["difference"], row["p_value"]) for row in statistics] == [
        ("KO", "1", "0.25", ""),
        ("WT", "1", "0.625", ""),
    ]


def test_every_test_of_the_settings_is_in_the_statistics_table_byte_by_byte_the_same(layout: Layout) -> None:
    wells = [f"{row}{column:02}" for row in "ABC" for column in (1, 2, 3)]
    for number, well in enumerate(wells):
        cells = [(0, cell, 9.0, 3 + number % 3 + cell % 2, 1 + 2 * (number // 3) + cell % 3) for cell in range(1, 6)]
        write_well(layout, "P1", well, cells=cells)
    names = {"A": ("WT", "negative"), "B": ("KO", ""), "C": ("drug", "")}
    plate_map = [
        {"plate": "P1", "well": well, "condition": names[well[0]][0], "control": names[well[0]][1], "donor": well[2]}
        for well in wells
    ]
    tests = ("welch", "t", "anova_tukey", "two_way_sidak", "mixed", "beta_binomial")
    statistics = StatisticsParams(tests=tests, second_factor="donor")
    params = AggregateParams(statistics=statistics, interval="beta_binomial")
    settings_ = AggregateSettings(params=params, cargo="ATZ")

    texts = []
    for _ in range(2):
        step.run(
            layout=layout,
            plates={"P1": wells},
            plate_map=plate_map,
            settings=settings_,
            record=layout.project_record("aggregate"),
        )
        texts.append((layout.tables / "statistics.csv").read_bytes())
        (layout.tables / "statistics.csv").unlink()

    assert texts[0] == texts[1]
    rows = list(csv.DictReader(texts[0].decode().splitlines()))
    assert [row["test"].split(" on ")[0] for row in rows] == [
        *["Welch t"] * 2,
        *["Student t"] * 2,
        "one-way ANOVA",
        *["Tukey HSD"] * 3,
        *["two-way ANOVA"] * 3,
        *["Sidak after two-way ANOVA"] * 6,
        *["linear mixed model of cells in wells"] * 2,
        *["beta-binomial model of well counts"] * 2,
    ]
    assert {row["n_condition"] for row in rows if row["reference"] and not row["level"]} == {"3"}
    # One well at each donor: no spread to test with, and the table says so.
    assert {(row["p_value"], row["note"].split(";")[0]) for row in rows if row["test"].startswith("two-way")} == {
        ("", "no combination of levels has two values")
    }
    (condition,) = (row for row in read_csv(layout, "conditions.csv") if row["condition"] == "KO")
    low, high = float(condition["occupancy_ci_low"]), float(condition["occupancy_ci_high"])
    assert 0 < low < float(condition["occupancy_pooled"]) < high < 1


def test_statistics_without_a_control_is_a_header(layout: Layout) -> None:
    write_well(layout, "P1", "A01", cells=[(0, 1, 1.0, 1, 1)])
    run(layout, {"P1": ["A01"]})

    text = (layout.tables / "statistics.csv").read_text()
    assert text.startswith("condition,reference,test,")
    assert text.count("\n") == 1


def screened(layout: Layout) -> tuple[dict[str, list[str]], list[dict[str, str]]]:
    """Two plates of a row each: four negative controls, a positive one, and a drug in five doses."""
    rows = []
    for plate, shift in (("P1", 0), ("P2", 2)):
        for number in range(1, 11):
            n_loaded = (3, 5, 4, 6)[number - 1] if number < 5 else 30 if number == 5 else (4, 5, 17, 33, 36)[number - 6]
            write_well(
                layout,
                plate,
                f"A{number:02}",
                cells=[(0, cell, 1.0, 40 - n_loaded, n_loaded + shift) for cell in (1, 2)],
            )
            control, dose = (
                ("negative", "0") if number < 5 else ("positive", "") if number == 5 else ("", f"{10**number}")
            )
            condition = {"negative": "DMSO", "positive": "torin", "": "drug"}[control]
            rows.append(mapped(f"A{number:02}", condition, control, dose=dose) | {"plate": plate})
    return {"P1": [row["well"] for row in rows[:10]], "P2": [row["well"] for row in rows[10:]]}, rows


def test_plates_hits_and_curves_of_a_screen(layout: Layout) -> None:
    plates, rows = screened(layout)
    found = run(layout, plates, rows, settings())

    first, second = read_csv(layout, "plates.csv")
    assert (first["plate"], second["plate"], first["n_wells"], first["n_negative"]) == ("P1", "P2", "10", "4")
    hits = {(row["condition"], row["dose"]): row for row in read_csv(layout, "hits.csv")}
    assert list(hits) == [
        ("DMSO", "0"),
        *(("drug", f"{dose}") for dose in ("1000000", "10000000", "100000000", "1000000000", "1e+10")),
        ("torin", ""),
    ]
    assert hits["drug", "1e+10"]["wells"] == "P1:A10 P2:A10"
    assert [row["is_hit"] for row in hits.values()] == ["False"] * 3 + ["True"] * 3 + ["False"]
    assert float(hits["drug", "1e+10"]["p_adjusted"]) < 1e-4
    (curve,) = read_csv(layout, "dose_response.csv")
    assert (curve["condition"], curve["n_wells"], curve["n_doses"], curve["flags"]) == ("drug", "18", "5", "")
    assert 3e7 < float(curve["ec50"]) < 3e8
    wells = read_csv(layout, "wells.csv")
    assert list(wells[0])[-3:] == ["normalised", "excluded", "dose"]
    assert {row["excluded"] for row in wells} == {""}
    assert [float(row["normalised"]) for row in wells[:4]] == pytest.approx([-1.3, 0.4, -0.4, 1.2], abs=0.3)
    assert found["outputs"]["tables/hits.csv"] == digest_file(layout.tables / "hits.csv")


def test_what_screen_and_tests_are_told_reads_no_well_again(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    plates, rows = screened(layout)
    run(layout, plates, rows, settings())
    before = digests(layout)
    read = watch_wells(monkeypatch)
    chosen = settings()
    stricter = chosen.params.model_copy(
        update={"screen": ScreenParams(min_effect=0.99), "statistics": StatisticsParams(tests=())}
    )
    run(layout, plates, rows, chosen.model_copy(update={"params": stricter}))

    assert read == []
    changed = {path for path, digest in digests(layout).items() if before[path] != digest}
    assert changed == {"tables/hits.csv", "tables/statistics.csv"}
    assert {row["is_hit"] for row in read_csv(layout, "hits.csv")} == {"False"}


def test_a_dose_that_is_no_number_is_told_before_any_well_is_read(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    plates, rows = screened(layout)
    read = watch_wells(monkeypatch)
    with pytest.raises(ConfigError, match="plate map: well A10 of plate P2 has dose '10 uM'; expected a number from 0"):
        run(layout, plates, [*rows[:-1], rows[-1] | {"dose": "10 uM"}], settings())
    assert read == []


@pytest.mark.parametrize("column", ["concentration", "n_cells", "plate"])
def test_a_dose_column_that_is_not_of_the_plate_map_is_told(layout: Layout, column: str) -> None:
    plates, rows = screened(layout)
    chosen = settings()
    params = chosen.params.model_copy(update={"screen": ScreenParams(dose_column=column)})
    expected = f"aggregate.screen.dose_column is '{column}'; expected one of your own columns of wells.tsv \\(dose\\)"
    with pytest.raises(ConfigError, match=expected):
        run(layout, plates, rows, chosen.model_copy(update={"params": params}))


def test_parquet_and_csv_of_wells_are_one_table(layout: Layout) -> None:
    small_plate(layout)
    run(layout, {"P1": WELLS}, MAP)

    table = pq.read_table(layout.tables / "wells.parquet")
    text = read_csv(layout, "wells.csv")
    assert table.column_names == list(text[0])
    assert table.schema.field("column").type == pa.int64()
    assert table.schema.field("occupancy_mean").type == pa.float64()
    assert table.column("n_cells").to_pylist() == [int(row["n_cells"]) for row in text]
    assert table.column("flags").to_pylist() == [row["flags"] for row in text]
    assert [math.isnan(value) for value in table.column("occupancy_mean").to_pylist()] == [
        row["occupancy_mean"] == "" for row in text
    ]


def test_joined_tables_equal_their_parts_in_order(layout: Layout) -> None:
    small_plate(layout)
    write_well(layout, "P0", "AA02", cells=[(0, 1, 500.0, 1, 1)])
    write_well(layout, "P0", "B10", cells=[(1, 1, 500.0, 1, 0), (0, 2, 500.0, 0, 1), (0, 1, 500.0, 1, 1)])
    run(layout, {"P1": WELLS[::-1], "P0": ["AA02", "B10"]}, MAP)

    order = [("P0", "B10"), ("P0", "AA02"), *(("P1", well) for well in WELLS)]
    for name in ("endolysosomes", "cells", "fields"):
        keys = ["field", "cell", "label"][: {"endolysosomes": 3, "cells": 2, "fields": 1}[name]]
        expected = [
            row
            for plate, well in order
            for row in sorted(
                pq.read_table(layout.well_tables(plate, well) / f"{name}.parquet").to_pylist(),
                key=lambda row: [row[key] for key in keys],
            )
        ]
        found = pq.read_table(layout.tables / f"{name}.parquet").to_pylist()
        for row in found:
            if name == "cells":
                assert row.pop("is_expressing") == (row["intensity_mean_ATZ"] >= 100.0)
        assert repr(found) == repr(expected)
    columns = pq.read_table(layout.tables / "cells.parquet").column_names
    assert columns.index("is_expressing") == columns.index("intensity_mean_ATZ") + 1
    assert columns.index("is_expressing") == columns.index("n_endolysosomes") - 1


def test_plates_of_different_channels_share_the_tables(layout: Layout) -> None:
    write_well(layout, "P1", "A01", cells=[(0, 1, 7.0, 1, 1)], cargo="ATZ")
    write_well(layout, "P2", "A01", cells=[(0, 1, 8.0, 1, 1)], cargo="SEC62")
    run(layout, {"P1": ["A01"], "P2": ["A01"]}, chosen=settings())

    regions = pq.read_table(layout.tables / "endolysosomes.parquet")
    assert regions.column_names[-4:] == [
        "intensity_mean_LAMP1",
        "intensity_mean_ATZ",
        "intensity_mean_SEC62",
        "cargo_area_fraction",
    ]
    assert regions.column("intensity_mean_SEC62").to_pylist() == [None, None, 2.0, 2.0]
    cells = pq.read_table(layout.tables / "cells.parquet")
    assert cells.column("intensity_mean_ATZ").to_pylist() == [7.0, None]
    assert cells.column("is_expressing").to_pylist() == [True, True]


def test_threshold_needs_the_cargo_channel(layout: Layout) -> None:
    write_well(layout, "P1", "A01", cells=[(0, 1, 7.0, 1, 1)], cargo="SEC62")

    with pytest.raises(InputError, match="plate P1: its cells have no cargo channel 'ATZ'; correct"):
        run(layout, {"P1": ["A01"]})
    assert not list(layout.tables.iterdir())
    assert not list(layout.plate_tables("P1").iterdir())


def two_populations(layout: Layout) -> None:
    """Wells of 40 cells: untransfected ones in A01, in A02 the same number of bright ones with all lysosomes loaded."""
    dark = [(0, cell, 200.0 + cell, 2, 0) for cell in range(1, 41)]
    write_well(layout, "P1", "A01", cells=dark)
    write_well(layout, "P1", "A02", cells=[*dark[:20], *((1, cell, 900.0 + 5 * cell, 0, 2) for cell in range(1, 21))])


@pytest.mark.parametrize("expression", [{"method": "mixture"}, {"method": "controls", "control_condition": "mock"}])
def test_cells_that_do_not_express_do_not_count(layout: Layout, expression: dict[str, str]) -> None:
    two_populations(layout)
    chosen = settings(expression=expression)
    record = run(layout, {"P1": ["A01", "A02"]}, [mapped("A01", "mock"), mapped("A02", "ATZ")], chosen)

    rows = read_csv(layout, "wells.csv")
    n_expressing = [int(row["n_cells_expressing"]) for row in rows]
    assert n_expressing[1] == 20
    assert n_expressing[0] <= 1  # one of 40 lies at the 99th percentile
    assert float(rows[1]["occupancy_pooled"]) == 1.0
    assert [int(row["n_cells"]) for row in rows] == [40, 40]
    gate = record["expression"]["P1"]
    assert 240 <= gate["min_mean_cargo"] < 905
    assert gate["n_cells"] == (80 if expression["method"] == "mixture" else 40)
    assert gate["doubt"] == ""


def test_a_gate_that_can_not_be_found_is_flagged_and_every_cell_counts(layout: Layout) -> None:
    write_well(layout, "P1", "A01", cells=[(0, cell, 200.0 + cell, 1, 1) for cell in range(1, 11)])
    run(layout, {"P1": ["A01"]}, [mapped("A01", "ATZ")], settings(expression={"method": "mixture"}))

    (row,) = read_csv(layout, "wells.csv")
    assert row["n_cells_expressing"] == row["n_cells"] == "10"
    assert "no_expression_gate" in row["flags"].split(";")
    assert "the plate has 10 cells with a cargo intensity, expected at least 30" in row["reason"]


def test_controls_that_a_plate_lacks_are_an_error(layout: Layout) -> None:
    two_populations(layout)
    chosen = settings(expression={"method": "controls", "control_condition": "mock"})

    with pytest.raises(InputError, match="plate P1 has no measured well of condition 'mock'"):
        run(layout, {"P1": ["A01", "A02"]}, [mapped("A01", "other")], chosen)


def test_empty_wells_of_untyped_columns_join(layout: Layout) -> None:
    write_well(layout, "P1", "A01")
    write_well(layout, "P1", "A02", cells=[(0, 1, 500.0, 1, 1)])
    path = layout.well_tables("P1", "A01") / "cells.parquet"
    names = pq.read_schema(path).names
    pq.write_table(pa.table({name: pa.nulls(0) for name in names}), path)
    run(layout, {"P1": ["A01", "A02"]})

    assert pq.read_table(layout.tables / "cells.parquet").column("n_loaded").to_pylist() == [1]


def test_all_wells_empty(layout: Layout) -> None:
    write_well(layout, "P1", "A01", fields=[])
    run(layout, {"P1": ["A01"]})

    assert pq.read_table(layout.tables / "cells.parquet").num_rows == 0
    assert "is_expressing" in pq.read_table(layout.tables / "cells.parquet").column_names
    assert read_csv(layout, "wells.csv")[0]["flags"] == "no_images;few_cells;few_endolysosomes;not_in_plate_map"


def test_same_bytes_whatever_the_order(tmp_path: Path) -> None:
    found_digests = []
    for name, wells, rows in (("a", WELLS, MAP), ("b", WELLS[::-1], MAP[::-1])):
        layout = Layout(project=tmp_path / name, results=tmp_path / name / "results")
        small_plate(layout)
        found = run(layout, {"P1": wells}, rows)
        found_digests.append(digests(layout))
        assert found["digest"] == read_json(layout.project_record("aggregate"))["digest"]
        assert {path.name for path in layout.tables.iterdir()} == OUTPUTS
    assert found_digests[0] == found_digests[1]


def test_a_well_is_the_same_beside_other_wells(tmp_path: Path) -> None:
    cells = [(0, i, 500.0, i, 3 * i % 17) for i in range(1, 14)]
    rows = []
    for name, wells in (("a", ["A01"]), ("b", ["A01", "A02"])):
        layout = Layout(project=tmp_path / name, results=tmp_path / name / "results")
        for well in wells:
            write_well(layout, "P1", well, cells=cells)
        run(layout, {"P1": wells})
        rows.append(read_csv(layout, "wells.csv"))
    assert rows[0][0] == rows[1][0]
    assert rows[1][0]["occupancy_ci_low"] != rows[1][1]["occupancy_ci_low"]


def test_record_and_return_at_once(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    small_plate(layout)
    first = run(layout, {"P1": WELLS}, MAP)

    assert first["stage"] == "aggregate"
    assert first["counts"] == {"wells": 6, "endolysosomes": 37, "cells": 9, "fields": 9, "conditions": 3}
    assert first["outputs"] == digests(layout)
    assert first["read"] == [f"P1/measure/{well}" for well in WELLS]
    single = {f"tables/{name}" for name in OUTPUTS if name.removesuffix(".parquet") not in JOINED}
    assert set(first["wrote"]) == single | {f"tables/{name}.parquet/00000-P1.parquet" for name in JOINED}
    assert {"versions", "seconds", "parameters", "inputs", "key", "code"} <= set(first)

    # The workflow removes a job's record before it runs the job again.
    layout.project_record("aggregate").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(step, "_write_tables", None)
        assert run(layout, {"P1": WELLS}, MAP) == first
    assert read_json(layout.project_record("aggregate")) == first


@pytest.mark.parametrize("change", ["content", "map", "settings", "well", "output", "code"])
def test_any_change_is_noticed(layout: Layout, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small_plate(layout)
    run(layout, {"P1": WELLS}, MAP)
    wells, rows, chosen = WELLS, MAP, settings(min_mean_cargo=100.0)
    if change == "content":
        write_json(layout.well_record("P1", "measure", "A01"), {"digest": "other"})
    elif change == "map":
        rows = [*MAP[:-1], mapped("B03", "KO", siRNA="new")]
    elif change == "settings":
        chosen = settings(min_mean_cargo=0.0)
    elif change == "well":
        wells = WELLS[:-1]
    elif change == "output":
        (layout.tables / "statistics.csv").unlink()
    else:
        for module in ("lysoquant.record", "lysoquant.aggregate.step"):
            monkeypatch.setattr(f"{module}.source_digest", lambda stage: "other")
    calls = []
    write_tables = step._write_tables
    monkeypatch.setattr(step, "_write_tables", lambda **given: calls.append(1) or write_tables(**given))

    run(layout, {"P1": wells}, rows, chosen)

    assert calls == [1]
    assert {path.name for path in layout.tables.iterdir()} == OUTPUTS


def three_plates(layout: Layout) -> dict[str, list[str]]:
    """Of names whose files would come in another order: "A-1.parquet" is before "A.parquet"."""
    plates = {"A": ["A01", "A02", "B01"], "A-1": ["A01", "A02"], "B": ["C03", "A01"]}
    for plate, wells in plates.items():
        for number, well in enumerate(wells):
            write_well(layout, plate, well, cells=[(0, 2, 500.0, number, 1), (0, 1, 500.0, 2, number)])
    return plates


def test_other_readers_take_the_files_of_the_plates_as_one_sorted_table(tmp_path: Path) -> None:
    """In a folder whose name would make a column, with pandas and nothing else; types are those of one file."""
    layout = Layout(project=tmp_path, results=tmp_path / "year=2026" / "results")
    plates = three_plates(layout)
    run(layout, plates)
    keys = [(plate, well) for plate in sorted(plates) for well in sorted(plates[plate])]
    for name in JOINED:
        found = pd.read_parquet(layout.tables / f"{name}.parquet")
        files = [pq.read_table(path) for path in sorted((layout.tables / f"{name}.parquet").iterdir())]
        assert len(files) == 3
        one = tmp_path / "one.parquet"
        pq.write_table(pa.concat_tables(files), one)
        pd.testing.assert_frame_equal(found, pd.read_parquet(one))
        assert list(dict.fromkeys(zip(found["plate"], found["well"], strict=True))) == keys
        assert all(file.schema == files[0].schema for file in files)


def watch_wells(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Wells whose part tables are read from here on."""
    read: list[tuple[str, str]] = []
    read_parts = plate_module.read_parts

    def watched(layout: Layout, plate: str, well: str, **more: Any) -> Any:
        read.append((plate, well))
        return read_parts(layout, plate, well, **more)

    monkeypatch.setattr(plate_module, "read_parts", watched)
    return read


def test_only_a_changed_plate_is_read_again_and_only_its_file_is_new(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    plates = three_plates(layout)
    run(layout, plates)
    files = {path: path.stat().st_ino for path in layout.tables.glob("*.parquet/*")}
    read = watch_wells(monkeypatch)
    write_well(layout, "B", "C03", cells=[(0, 1, 500.0, 7, 7)], digest="other")
    run(layout, plates)
    assert read == [("B", "A01"), ("B", "C03")]
    changed = {path.name for path, inode in files.items() if path.stat().st_ino != inode}
    assert changed == {"00002-B.parquet"}

    # As from scratch, to the last byte.
    incremental = digests(layout)
    for path in (layout.project_work_record("aggregate"), *(layout.plate_stage_record(p, "aggregate") for p in plates)):
        path.unlink()
    read.clear()
    run(layout, plates)
    assert len(read) == 7
    assert digests(layout) == incremental

    # A plate before the others and a plate less: the rest is renamed, not read.
    read.clear()
    write_well(layout, "0", "A01", cells=[(0, 1, 500.0, 1, 1)])
    run(layout, {"0": ["A01"], "A": plates["A"], "B": plates["B"]})
    assert read == [("0", "A01")]
    names = {path.name for path in (layout.tables / "cells.parquet").iterdir()}
    assert names == {"00000-0.parquet", "00001-A.parquet", "00002-B.parquet"}


def test_what_else_a_plates_file_depends_on(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    plates = three_plates(layout)
    run(layout, plates)
    read = watch_wells(monkeypatch)
    rows = [{"plate": "A-1", "well": "A01", "condition": "WT", "replicate": "", "control": ""}]
    run(layout, plates, rows)
    assert {plate for plate, _ in read} == {"A-1"}
    read.clear()
    # A new channel on one plate is a new column of all.
    write_well(layout, "B", "A01", cells=[(0, 1, 500.0, 1, 1)], cargo="SEC62", digest="other")
    run(layout, plates, rows, settings())
    assert {plate for plate, _ in read} == set(plates)
    assert "intensity_mean_SEC62" in pq.read_schema(layout.tables / "cells.parquet" / "00000-A.parquet").names
    read.clear()
    # A plate's file that somebody wrote into is not taken for whole.
    damaged = layout.tables / "cells.parquet" / "00001-A-1.parquet"
    good = damaged.read_bytes()
    with damaged.open("r+b") as handle:
        handle.write(b"XXXX")
    layout.project_work_record("aggregate").unlink()
    run(layout, plates, rows, settings())
    assert {plate for plate, _ in read} == {"A-1"}
    assert damaged.read_bytes() == good


@pytest.mark.parametrize(("cores", "at_a_time"), [(1, 1), (2, 8)])
def test_wells_in_memory_do_not_grow_with_plates(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, cores: int, at_a_time: int
) -> None:
    """Tables of a well count from its reading until they are let go."""
    alive, most = 0, 0
    read_parts = plate_module.read_parts

    class Held(dict[str, pa.Table]):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def watched(*given: Any, **more: Any) -> Held:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return Held(read_parts(*given, **more))

    monkeypatch.setattr(plate_module, "read_parts", watched)
    # The tables that a task gives back are kept alive as long as those that it read.
    monkeypatch.setattr(plate_module, "all_aligned", lambda tables, schemas: tables)
    wells = [f"A{column:02}" for column in range(1, 13)]
    peaks = []
    for count in (1, 4):
        plates = {f"P{number}": wells for number in range(count)}
        for plate in plates:
            for well in wells:
                write_well(layout, plate, well, cells=[(0, 1, 500.0, 1, 1)], digest=f"of {count}")
        most = 0
        run(layout, plates, cores=cores, dask=DaskSettings(scheduler="threads"))
        gc.collect()
        peaks.append(most)
    assert alive == 0
    assert peaks[0] == peaks[1]
    assert peaks[0] <= at_a_time + 1


@pytest.mark.parametrize("scheduler", ["processes", "threads"])
def test_workers_write_the_bytes_of_this_process(tmp_path: Path, scheduler: str) -> None:
    found = []
    for name, cores in (("a", 1), ("b", 2)):
        layout = Layout(project=tmp_path / name, results=tmp_path / name / "results")
        small_plate(layout)
        run(layout, {"P1": WELLS, **three_plates(layout)}, MAP, cores=cores, dask=DaskSettings(scheduler=scheduler))
        found.append(digests(layout))
    assert found[0] == found[1]


def test_a_killed_run_leaves_whole_folders_and_goes_on(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after each rename of the first run, and of one that changes a plate."""
    plates = three_plates(layout)
    clean = Layout(project=layout.project / "clean", results=layout.project / "clean" / "results")
    three_plates(clean)
    replace = Path.replace
    for digest in ("d", "other"):
        for where in (layout, clean):
            write_well(where, "A", "A01", cells=[(0, 1, 500.0, 1, len(digest))], digest=digest)
        run(clean, plates)
        kills = 0
        while True:
            left = kills

            def killed(path: Path, target: Path) -> Path:
                nonlocal left
                if left == 0:
                    raise KeyboardInterrupt
                left -= 1
                return replace(path, target)

            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", killed)
                try:
                    run(layout, plates)
                    break
                except KeyboardInterrupt:
                    kills += 1
            assert not layout.project_record("aggregate").exists()
            for name in JOINED:
                folder = layout.tables / f"{name}.parquet"
                assert not folder.exists() or len(list(folder.iterdir())) == 3
        assert kills >= 3
        assert digests(layout) == digests(clean)
        assert {path.name for path in layout.tables.iterdir()} == OUTPUTS


def test_the_single_files_of_an_earlier_version_are_replaced(layout: Layout) -> None:
    small_plate(layout)
    layout.tables.mkdir(parents=True)
    for name in JOINED:
        (layout.tables / f"{name}.parquet").write_text("one file")
    run(layout, {"P1": WELLS}, MAP)
    assert all((layout.tables / f"{name}.parquet").is_dir() for name in JOINED)
    assert {path.name for path in layout.tables.iterdir()} == OUTPUTS


def test_a_failed_run_leaves_no_record_and_no_partial_file(layout: Layout) -> None:
    small_plate(layout)
    run(layout, {"P1": WELLS}, MAP)
    before = digests(layout)
    part = layout.well_tables("P1", "B01") / "cells.parquet"
    body = part.read_bytes()
    part.write_bytes(body[:4] + b"\xff" * 60 + body[64:])
    write_json(layout.well_record("P1", "measure", "B01"), {"digest": "other"})

    with pytest.raises(StageError, match=r"cells\.parquet: the part table can't be read .* run `lysoquant measure"):
        run(layout, {"P1": WELLS}, MAP)

    assert not layout.project_record("aggregate").exists()
    assert not layout.project_work_record("aggregate").exists()
    assert {path.name for path in layout.tables.iterdir()} == OUTPUTS
    assert digests(layout) == before
    assert {path.name for path in layout.plate_tables("P1").iterdir()} == {f"{name}.parquet" for name in JOINED}


def test_missing_measurements_are_named(layout: Layout) -> None:
    with pytest.raises(StageError, match="no measure record of well A01"):
        run(layout, {"P1": ["A01"]})
    with pytest.raises(StageError, match="no plate has a measured well"):
        run(layout, {"P1": []})
    write_well(layout, "P1", "A01")
    (layout.well_tables("P1", "A01") / "fields.parquet").unlink()
    with pytest.raises(StageError, match=r"fields\.parquet can't be read"):
        run(layout, {"P1": ["A01"]})


def test_csv_numbers_and_quotes() -> None:
    rows = [{"a": -0.0, "b": 1 / 3, "c": 'x,"y"', "d": 7}, {"a": math.nan, "b": 1e-12, "c": "", "d": 0}]

    assert step.csv_text(rows, columns="abcd") == 'a,b,c,d\n0,0.3333333333,"x,""y""",7\n,1e-12,,0\n'
