"""Two cargoes on the same endolysosomes, from a simulated plate to the well table, with the shipped network."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lysoquant.cli.main import invoke

COMBINATIONS = "  combinations: {both: cargo and LC3, only_LC3: LC3 and not cargo}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plate of two wells, SEC62 and its LIR mutant, that was run to its tables."""
    folder = tmp_path_factory.mktemp("cargoes")
    raw, project = str(folder / "raw"), str(folder / "project")
    size = ["--wells", "2", "--fields", "1", "--size-px", "320", "--seed", "3", "--cores", "1"]
    assert invoke(["simulate", "plate", raw, "--second-cargo", *size]) == 0
    cargoes = ["--cargo", "cargo", "--cargo", "LC3"]
    assert invoke(["init", raw, "--output", project, "--plate-map", str(folder / "raw/plate_map.csv"), *cargoes]) == 0
    config = folder / "project/config/config.yaml"
    text = config.read_text()
    assert "  combinations: {}" in text
    config.write_text(text.replace("  combinations: {}", COMBINATIONS))
    for stage in ("convert", "cells", "segment", "measure", "aggregate"):
        assert invoke([stage, project]) == 0
    return folder


def truth_of(folder: Path) -> pd.DataFrame:
    regions = pd.read_csv(folder / "raw/truth/endolysosomes.csv")
    return (
        pd.DataFrame(
            {
                "well": regions["well"],
                "occupancy_pooled": regions["is_loaded"],
                "occupancy_pooled_LC3": regions["is_loaded_LC3"],
                "occupancy_pooled_both": regions["is_loaded"] & regions["is_loaded_LC3"],
                "occupancy_pooled_only_LC3": regions["is_loaded_LC3"] & ~regions["is_loaded"],
            }
        )
        .groupby("well")
        .mean()
    )


def test_each_cargo_and_each_combination_is_near_its_truth(folder: Path) -> None:
    truth = truth_of(folder)
    found = pd.read_csv(folder / "project/results/tables/wells.csv").set_index("well")
    assert list(found.index) == list(truth.index) == ["B02", "B03"]
    # The two cargoes differ far more than the errors allowed, so neither is taken for the other.
    assert (truth["occupancy_pooled"] - truth["occupancy_pooled_LC3"]).abs().min() > 0.2
    errors = (found[list(truth)] - truth).abs()
    assert errors.max().max() <= 0.10, errors


def test_counts_of_the_tables_agree_with_each_other(folder: Path) -> None:
    tables = folder / "project/results/tables"
    regions, cells = (pd.read_parquet(tables / f"{name}.parquet") for name in ("endolysosomes", "cells"))
    wells = pd.read_csv(tables / "wells.csv").set_index("well")
    assert len(regions) > 200
    assert (regions["is_loaded_LC3"] == (regions["p_loaded_LC3"] >= 0.5)).all()
    of_regions = regions.groupby("well")[["is_loaded", "is_loaded_LC3", "is_both", "is_only_LC3"]].sum()
    names = ["n_loaded", "n_loaded_LC3", "n_both", "n_only_LC3"]
    assert of_regions.to_numpy().tolist() == cells.groupby("well")[names].sum().to_numpy().tolist()
    assert of_regions.to_numpy().tolist() == wells[names].to_numpy().tolist()
    assert (wells["n_both"] + wells["n_only_LC3"] == wells["n_loaded_LC3"]).all()
