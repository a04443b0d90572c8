"""`lysoquant init` and `lysoquant run` on acquisitions that others made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

LYSOQUANT = str(Path(sys.executable).parent / "lysoquant")


def lysoquant(*arguments: str | Path) -> str:
    done = subprocess.run([LYSOQUANT, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def plate_3434(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    project = tmp_path_factory.mktemp("real") / "3434"
    raw = real_data / "imagexpress" / "9987_Plate_3434"
    roles = ("--lysosome", "FITC", "--cargo", "Texas Red", "--nucleus", "DAPI")
    said = lysoquant("init", raw, "--output", project, *roles)
    lysoquant("run", project, "--cores", "2")
    return project / "results", said


def test_imagexpress_3434_is_described_with_all_its_oddities(plate_3434: tuple[Path, str]) -> None:
    _, said = plate_3434
    assert "1.3672" in said
    assert "outside the tested range" in said
    assert "Cy5" in said
    assert "ZStep_0" in said


def test_imagexpress_3434_ends_with_tables_and_an_honest_refusal(plate_3434: tuple[Path, str]) -> None:
    results, _ = plate_3434
    fields = pd.read_parquet(results / "tables/fields.parquet")
    assert list(zip(fields.well, fields.field, strict=True)) == [("B02", 0), ("B02", 1), ("B03", 0), ("B03", 1)]
    assert (fields.status == "failed").all()
    assert (fields.reason.str.count("pixel size 1.3672 um is outside") == 1).all()
    assert fields.reason.str.contains("pixel_size_um in plates.tsv").all()
    wells = pd.read_csv(results / "tables/wells.csv")
    assert wells.well.tolist() == ["B02", "B03"]
    assert wells.n_fields_failed.tolist() == [2, 2]
    assert wells["flags"].str.contains("pixel_size").all()
    report = (results / "report/index.html").read_text()
    assert "1.3672 um is outside" in report


def test_the_light_of_a_plate_of_four_positions_is_not_guessed(plate_3434: tuple[Path, str]) -> None:
    results, _ = plate_3434
    done = subprocess.run([LYSOQUANT, "illumination", results.parent], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "channel 'DAPI': 4 of 4 positions are brighter than illumination.dark, expected at least 16" in done.stderr
    assert not (results.parent / "flat").exists()


def test_hela_lysosomes_become_a_one_well_plate_with_its_pixel_size_in_doubt(real_data: Path, tmp_path: Path) -> None:
    project = tmp_path / "hela"
    image = real_data / "hela_lysosomes" / "xyc_16bit__hela-cells.tif"
    names = ("--channel-names", "lysosomes;mitochondria;nuclei")
    lysoquant("init", image, "--output", project, *names, "--cargo", "mitochondria")
    lysoquant("run", project, "--cores", "2")
    tables = project / "results" / "tables"
    (field,) = pd.read_parquet(tables / "fields.parquet").itertuples()
    assert field.status == "flagged"
    assert "the pixel size of 0.05149 um may be wrong" in field.reason
    assert field.n_cells == 4
    (well,) = pd.read_csv(tables / "wells.csv").itertuples()
    assert well.well == "A01"
    assert "pixel_size" in well.flags
    assert well.n_endolysosomes > 0
    assert len(pd.read_parquet(tables / "endolysosomes.parquet")) == well.n_endolysosomes
    assert (project / "results/report/index.html").stat().st_size > 50_000


PHENIX_ROLES = ("--lysosome", "Alexa 488", "--cargo", "Alexa 568", "--nucleus", "HOECHST 33342")


def test_a_phenix_plate_ends_with_tables_and_an_honest_refusal(real_data: Path, tmp_path: Path) -> None:
    project = tmp_path / "phenix"
    said = lysoquant("init", real_data / "phenix" / "Version1", "--output", project, *PHENIX_ROLES)
    assert "BR00121482 (harmony, 16 x 24 wells)" in said
    assert "images/Index.idx.xml, the index of a Harmony export" in said
    assert "flat-field profiles, which are not applied" in said
    lysoquant("run", project, "--cores", "2")
    (field,) = pd.read_parquet(project / "results/tables/fields.parquet").itertuples()
    assert (field.well, field.field, field.status) == ("A01", 0, "failed")
    assert "pixel size 0.597976 um is outside the tested range" in field.reason
    (well,) = pd.read_csv(project / "results/tables/wells.csv").itertuples()
    assert (well.n_fields, well.n_fields_failed) == (1, 1)
    assert "pixel_size" in well.flags


def test_an_operetta_plate_of_one_channel_is_refused(real_data: Path, tmp_path: Path) -> None:
    raw = real_data / "operetta" / "operetta_plate"
    done = subprocess.run(
        [LYSOQUANT, "init", raw, "--output", tmp_path / "p"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "the plate has one channel, 'Fluorescein (FITC)'; expected at least two" in done.stderr
    assert not (tmp_path / "p").exists()


def test_a_cellvoyager_plate_of_stacks_ends_with_tables_and_an_honest_refusal(real_data: Path, tmp_path: Path) -> None:
    (raw,) = (path for path in (real_data / "yokogawa_cv8000").iterdir() if path.is_dir())
    project = tmp_path / "cv8000"
    said = lysoquant(
        "init", raw, "--output", project, "--lysosome", "488", "--cargo", "405", "--no-nucleus", "--z", "max"
    )
    assert "(cellvoyager, 8 x 12 wells)" in said
    assert "Z planes 1 to 4: the maximum projection of all planes is taken" in said
    lysoquant("run", project, "--cores", "2")
    fields = pd.read_parquet(project / "results/tables/fields.parquet")
    assert fields.groupby("well").size().to_dict() == {"D08": 4, "E03": 4, "F08": 4}
    assert fields.reason.str.contains("pixel size 0.325 um is outside the tested range").all()
    wells = pd.read_csv(project / "results/tables/wells.csv")
    assert (wells.n_fields_failed == 4).all()
    assert (wells.n_endolysosomes == 0).all()


def test_an_ome_zarr_plate_is_used_in_place_and_ends_with_an_honest_refusal(real_data: Path, tmp_path: Path) -> None:
    raw = real_data / "hcs_ome_zarr_v04" / "single-plane-hcs.zarr"
    before = {path: path.stat().st_mtime_ns for path in raw.rglob("*")}
    project = tmp_path / "p"
    roles = ("--lysosome", "Best-Focus-Projection_FITC_05", "--cargo", "Maximum-Projection_FITC_05", "--no-nucleus")
    said = lysoquant("init", raw, "--output", project, *roles)
    assert "(OME-Zarr 0.4)" in said
    assert "2.7336 um is outside the tested range" in said
    assert 'with convert.ngff_version "0.4" its images are used in place' in said
    assert '  ngff_version: "0.4"\n' in (project / "config/config.yaml").read_text()
    lysoquant("run", project, "--cores", "2")
    results = project / "results"
    fields = pd.read_parquet(results / "tables/fields.parquet")
    assert list(zip(fields.well, fields.status, strict=True)) == [("E07", "failed"), ("E08", "failed")]
    assert (fields.reason.str.count("pixel size 2.7336 um is outside") == 1).all()
    level = results / "md-single-plane/md-single-plane.zarr/E/07/0/0"
    assert level.is_symlink()
    assert {path: path.stat().st_mtime_ns for path in raw.rglob("*")} == before
