"""Tables for other programs: AnnData, profiles under pycytominer's names, Parquet that R reads."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from export_project import CHANNELS, PLATES

from lysoquant.cli.main import invoke
from lysoquant.export.names import KINDS, measurement, metadata_names
from lysoquant.io.tables import read_parquet
from lysoquant.layout import Layout
from lysoquant.measure.columns import cells_schema, endolysosomes_schema
from lysoquant.record import digest_json
from lysoquant.vocabulary import CELLS, ENDOLYSOSOMES

R_TYPES = {pa.string(), pa.int64(), pa.float64(), pa.bool_()}
"""What R's arrow makes a character, integer, double and logical vector of."""


def read(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path)


@pytest.mark.parametrize(
    ("column", "cell_feature", "unit"),
    [
        ("area_um2", "Cells_AreaShape_Area", "um2"),
        ("intensity_mean_LAMP1", "Cells_Intensity_MeanIntensity_LAMP1", "grey value"),
        ("mean_rim_mean_ATZ_HA", "Cells_Mean_Endolysosomes_Intensity_MeanIntensityEdge_ATZ_HA", "grey value"),
        ("mean_circularity", "Cells_Mean_Endolysosomes_AreaShape_FormFactor", ""),
        ("n_loaded", "Cells_Children_LoadedEndolysosomes_Count", ""),
        ("occupancy", "Cells_Cargo_Occupancy", ""),
        ("occupancy_ATZ", "Cells_Cargo_Occupancy_ATZ", ""),
        ("some_new_number", "Cells_Other_SomeNewNumber", ""),
    ],
)
def test_names_of_features(column: str, cell_feature: str, unit: str) -> None:
    assert measurement(column).feature(CELLS) == cell_feature
    assert measurement(column).unit == unit


def test_every_column_of_our_tables_has_a_name_and_no_two_share_one() -> None:
    for level, schema in ((CELLS, cells_schema(CHANNELS)), (ENDOLYSOSOMES, endolysosomes_schema(CHANNELS))):
        measured = [name for name, kind in zip(schema.names, schema.types, strict=True) if kind == pa.float64()]
        features = [measurement(name).feature(level) for name in measured]
        assert len(set(features)) == len(features) > 20
        assert not [name for name in features if "_Other_" in name]
    assert len({kind.feature for kind in KINDS.values()}) == len(KINDS)
    columns = ["plate", "well", "field", "cell", "dose", "Dose"]
    assert metadata_names(columns) == [
        *("Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber_Cells", "Metadata_Dose"),
        "Metadata_Dose_",
    ]


def test_the_page_has_every_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")
    ]
    told = {row[0]: row[2] for row in rows if len(row) == 3}
    assert {name: kind.feature for name, kind in KINDS.items()}.items() <= told.items()


@pytest.fixture(scope="module")
def profiles(measured: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profiles") / "out"
    assert invoke(["export", "profiles", str(measured.project), "--output", str(folder)]) == 0
    return folder


def test_profiles_of_single_objects_hold_the_tables_values(measured: Layout, profiles: Path) -> None:
    for level, keys in ((CELLS, ["plate", "well", "field", "cell"]), (ENDOLYSOSOMES, ["plate", "well", "label"])):
        own, theirs = read_parquet(measured.tables / f"{level}.parquet"), read(profiles / f"{level}.parquet")
        assert len(own) == len(theirs) > 0
        for column, name in zip(keys, metadata_names(keys), strict=True):
            assert own[column].tolist() == theirs[name].tolist()
        for column in own.select_dtypes("float64"):
            np.testing.assert_array_equal(own[column], theirs[measurement(column).feature(level)])
    regions = read(profiles / "endolysosomes.parquet")
    assert {"Endolysosomes_Intensity_MeanIntensity_LAMP1", "Endolysosomes_AreaShape_Area"} <= set(regions.columns)
    assert regions["Metadata_IsLoaded"].dtype == bool
    mapped = regions[["Metadata_Plate", "Metadata_Well", "Metadata_Condition", "Metadata_Sirna"]].drop_duplicates()
    assert mapped.to_numpy().tolist() == [
        ["P1", "B02", "wild type", ""],
        ["P1", "B03", "LIR mutant", "SEC62"],
        ["P2", "B02", "wild type", ""],
    ]


def test_profiles_of_wells_are_medians_of_their_expressing_cells(measured: Layout, tmp_path: Path) -> None:
    project = tmp_path / "p"
    shutil.copytree(measured.project, project)
    layout = Layout(project=project, results=project / "results")
    path = layout.tables / "cells.parquet" / "00000-P1.parquet"
    table = pq.read_table(path)
    is_expressing = pa.array([cell != 5 for cell in table["cell"].to_pylist()])
    path.unlink()
    position = table.schema.get_field_index("is_expressing")
    pq.write_table(table.set_column(position, "is_expressing", is_expressing), path)
    assert invoke(["export", "profiles", str(project), "--output", str(tmp_path / "o")]) == 0
    wells = read(tmp_path / "o" / "wells.parquet")
    assert wells[["Metadata_Plate", "Metadata_Well", "Metadata_Object_Count"]].to_numpy().tolist() == [
        ["P1", "B02", 2],
        ["P1", "B03", 2],
        ["P1", "C03", 1],
        ["P2", "B02", 3],
    ]
    cells = read(tmp_path / "o" / "cells.parquet")
    chosen = cells[(cells["Metadata_Plate"] == "P1") & (cells["Metadata_Well"] == "B02")]
    chosen = chosen[chosen["Metadata_ObjectNumber_Cells"] != 5]
    features = [name for name in wells.columns if name.startswith("Cells_")]
    assert len(features) > 30
    expected = [np.nanmedian(chosen[name]) if chosen[name].notna().any() else np.nan for name in features]
    np.testing.assert_array_equal(wells.loc[0, features].to_numpy(float), expected)
    # The only cell of C03 has no endolysosome: its own area is known, that of its endolysosomes is not.
    assert wells["Cells_AreaShape_Area"].notna().all()
    assert wells["Cells_Mean_Endolysosomes_AreaShape_Area"].isna().tolist() == [False, False, True, False]


def test_a_well_without_cells_keeps_its_row(measured: Layout, tmp_path: Path) -> None:
    project = tmp_path / "p"
    shutil.copytree(measured.project, project)
    path = project / "results" / "tables" / "cells.parquet" / "00001-P2.parquet"
    table = pq.read_table(path)
    path.unlink()
    pq.write_table(table.slice(0, 0), path)
    assert invoke(["export", "profiles", str(project), "--output", str(tmp_path / "o")]) == 0
    last = read(tmp_path / "o" / "wells.parquet").iloc[-1]
    assert (last["Metadata_Plate"], last["Metadata_Object_Count"]) == ("P2", 0)
    assert np.isnan(last["Cells_AreaShape_Area"])


def test_parquet_has_only_types_that_r_reads_as_vectors(measured: Layout, profiles: Path) -> None:
    files = [*sorted(measured.tables.rglob("*.parquet")), *sorted(profiles.glob("*.parquet"))]
    files = [path for path in files if path.is_file()]
    assert len(files) == 3 * len(PLATES) + 1 + 3
    for path in files:
        assert set(pq.read_schema(path).types) <= R_TYPES, path
        group = pq.ParquetFile(path).metadata.row_group(0)
        assert {group.column(index).compression for index in range(group.num_columns)} == {"ZSTD"}


@pytest.mark.parametrize("level", ["cells", "wells", "endolysosomes"])
def test_anndata_holds_the_table(measured: Layout, tmp_path: Path, level: str) -> None:
    anndata = pytest.importorskip("anndata", reason="an extra; pip install 'lysoquant[anndata]'")
    path = tmp_path / f"{level}.h5ad"
    arguments = ["export", "anndata", str(measured.project), "--output", str(path), "--level", level]
    assert invoke(arguments) == 0
    data, own = anndata.read_h5ad(path), read_parquet(measured.tables / f"{level}.parquet")
    floats = [name for name in own.columns if own[name].dtype == np.float64]
    assert list(data.var_names) == floats
    np.testing.assert_array_equal(data.X, own[floats].to_numpy())
    others = [name for name in own.columns if name not in floats]
    for name in others:
        assert data.obs[name].tolist() == own[name].tolist(), name
    keys = {"wells": 2, "cells": 4, "endolysosomes": 5}[level]
    assert data.obs_names[0] == "_".join(str(value) for value in own.iloc[0, :keys])
    assert data.obs_names.is_unique
    assert set(data.obs["condition"]) == {"wild type", "LIR mutant"}
    assert set(data.obs["sirna"]) == {"", "SEC62"}
    record = json.loads(measured.project_work_record("aggregate").read_text())
    assert data.uns["tables_digest"] == record["digest"]
    assert data.uns["versions"] == record["versions"]
    assert data.uns["models"] == {"ab" * 32: "rings-1"}
    assert data.uns["settings_digest"] == digest_json(json.loads(data.uns["settings"]))
    if level == "wells":
        assert data.var.loc["area_um2_mean"].tolist() == ["um2", ""]
        assert "spatial" not in data.obsm
    else:
        assert data.var.loc["intensity_mean_SEC62"].tolist() == ["grey value", "SEC62"]
        np.testing.assert_array_equal(data.obsm["spatial"], own[["centroid_x_um", "centroid_y_um"]])
    written = path.read_bytes()
    assert invoke(arguments) == 2
    assert path.read_bytes() == written


def test_a_missing_anndata_is_one_line(
    measured: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "anndata" else found(name))
    assert invoke(["export", "anndata", str(measured.project), "--output", str(tmp_path / "x.h5ad")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("which is not installed; pip install 'lysoquant[anndata]'")


def test_a_column_of_the_plate_map_may_be_called_anything(measured: Layout, tmp_path: Path) -> None:
    project = tmp_path / "p"
    shutil.copytree(measured.project, project)
    path = project / "results" / "tables" / "wells.parquet"
    table = pq.read_table(path)
    names = {"condition": "label", "sirna": "_a/b", "replicate": "Control"}
    path.unlink()
    pq.write_table(table.rename_columns([names.get(name, name) for name in table.column_names]), path)
    assert invoke(["export", "profiles", str(project), "--output", str(tmp_path / "o")]) == 0
    regions = read(tmp_path / "o" / "endolysosomes.parquet")
    assert {"Metadata_WellLabel", "Metadata_ObjectNumber", "Metadata_Control", "Metadata_Control_"} <= set(regions)
    anndata = pytest.importorskip("anndata", reason="an extra; pip install 'lysoquant[anndata]'")
    arguments = ["--output", str(tmp_path / "x.h5ad"), "--level", "endolysosomes"]
    assert invoke(["export", "anndata", str(project), *arguments]) == 0
    obs = anndata.read_h5ad(tmp_path / "x.h5ad").obs
    assert set(obs["well_label"]) == {"wild type", "LIR mutant"}
    assert set(obs["a|b"]) == {"", "SEC62"}


@pytest.mark.parametrize("what", ["anndata", "profiles", "rocrate"])
def test_a_project_without_tables_names_the_command(
    measured: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    project = tmp_path / "p"
    shutil.copytree(measured.project, project, ignore=shutil.ignore_patterns("results"))
    assert invoke(["export", what, str(project), "--output", str(tmp_path / "o")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("has no tables yet; run `lysoquant run PROJECT` first")
    assert not (tmp_path / "o").exists()
