"""`lysoquant init` and `lysoquant run` on acquisitions that others made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from lysoquant.cli.init import init

LYSOQUANT = str(Path(sys.executable).parent / "lysoquant")


def lysoquant(*arguments: str | Path) -> str:
    done = subprocess.run([LYSOQUANT, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


CV8000 = "yokogawa_cv8000/CV8000-Minimal-DataSet-2C-3W-4S-FP2-stack_20230918_135839"

DESCRIBED = {
    # Folder: plate and format, wells, image, channels, Z planes, pixel size; then how init ends without a flag.
    "imagexpress/9987_Plate_3420": (
        ("9987 (imagexpress, 8 x 12 wells)", "1 with images, 1 field (1 a well)", "256 x 256 pixels (y, x)"),
        ("DAPI", "Z plane 1", "1.3672 um"),
        "the plate has one channel, 'DAPI'",
    ),
    "imagexpress/9987_Plate_3434": (
        ("9987 (imagexpress, 8 x 12 wells)", "2 with images, 4 fields (2 a well)", "256 x 256 pixels (y, x)"),
        ("DAPI, FITC, Texas Red", "Z planes 1, 2 and the instrument's projection", "1.3672 um"),
        "give --lysosome CH and --cargo CH",
    ),
    "phenix/Version1": (
        ("BR00121482 (harmony, 16 x 24 wells)", "1 with images, 1 field (1 a well)", "1080 x 1080 pixels (y, x)"),
        ("Alexa 647, Alexa 568, 488 long, Alexa 488, HOECHST 33342, Brightfield", "Z plane 1", "0.597976 um"),
        "give --lysosome CH and --cargo CH",
    ),
    "operetta/operetta_plate": (
        (
            "Test_Sample_BALL (harmony, 16 x 24 wells)",
            "1 with images, 2 fields (2 a well)",
            "1080 x 1080 pixels (y, x)",
        ),
        ("Fluorescein (FITC)", "Z plane 1", "1.19595 um"),
        "the plate has one channel, 'Fluorescein (FITC)'",
    ),
    CV8000: (
        (
            "CV8000-Minimal-DataSet-2C-3W-4S-FP2-stack (cellvoyager, 8 x 12 wells)",
            "3 with images, 12 fields (4 a well)",
            "2000 x 2000 pixels (y, x)",
        ),
        ("405, 488", "Z planes 1 to 4", "0.325 um"),
        "set --z to one of the numbers, to max (maximum projection), sharpest (one plane a field) or each",
    ),
    "hcs_ome_zarr_v04/single-plane-hcs.zarr": (
        ("md-single-plane (ome-zarr, 16 x 24 wells)", "2 with images, 2 fields (1 a well)", "256 x 512 pixels (y, x)"),
        (
            "Maximum-Projection_FITC_05, Best-Focus-Projection_FITC_05, Maximum-Projection_FITC_05 (2)",
            "Z plane 1",
            "2.7336 um",
        ),
        "give --lysosome CH and --cargo CH and --nucleus CH (or --no-nucleus)",
    ),
    "nd2/example-multichannel.nd2": (
        ("example-multichannel (nikon, at least 2 x 3 wells)", "1 with images, 1 field (1 a well)", "256 x 256 pixels"),
        ("Mono, DAPI, FITC BP, TRITC BP", "Z plane 1", "0.32339 um"),
        "give --lysosome CH and --cargo CH",
    ),
    "nd2/example-cerevisiae.nd2": (
        ("example-cerevisiae (nikon, at least 2 x 3 wells)", "1 with images, 1 field (1 a well)", "256 x 256 pixels"),
        ("DIC, FITC BP", "Z plane 1", "0.108333 um"),
        "give --lysosome CH and --cargo CH and --nucleus CH (or --no-nucleus)",
    ),
    "czi": (
        ("czi (zeiss, at least 6 x 8 wells)", "2 with images, 3 fields (1 to 2 a well)", "440 x 544 pixels (y, x)"),
        ("AF488", "Z plane 1", "0.1 um"),
        "the plate has one channel, 'AF488'",
    ),
    "hela_lysosomes/xyc_16bit__hela-cells.tif": (
        ("xyc_16bit__hela-cells (tiff, at least 2 x 3 wells)", "1 with images, 1 field (1 a well)", "512 x 672 pixels"),
        ("channel_1, channel_2, channel_3", "Z plane 1", "0.0514931 um"),
        "give --lysosome CH and --cargo CH and --nucleus CH (or --no-nucleus)",
    ),
}


@pytest.mark.parametrize("folder", DESCRIBED)
def test_every_plate_is_described_before_anything_else_is_asked(real_data: Path, tmp_path: Path, folder: str) -> None:
    (plate, wells, image), (channels, z, size), message = DESCRIBED[folder]
    result = CliRunner().invoke(init, [str(real_data / folder), "--output", str(tmp_path / "p")])
    lines = result.output.splitlines()
    for name, expected in (("plate", plate), ("wells", wells), ("image", image)):
        assert any(line.startswith(f"{name:<12}{expected}") for line in lines), result.output
    for name, expected in (("channels", channels), ("z", z), ("time points", "1"), ("pixel size", size)):
        assert f"{name:<12}{expected}" in lines
    assert message in str(result.exception)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("imagexpress", "subfolders are: 9987_Plate_3420, 9987_Plate_3434 (MetaXpress plate"),
        ("phenix", "its subfolder is: Version1 (Harmony export"),
        ("hcs_ome_zarr_v04", "its subfolder is: single-plane-hcs.zarr (OME-Zarr plate); give that"),
        ("lif", "no usable image (LeicaLASX_wavelength-sweep_example.lif: 2 images passed over"),
        ("nd2", "no well in the names of the images, such as example-cerevisiae.nd2; set --pattern"),
        ("hela_lysosomes", "2 TIFF files (such as xy_8bit_binary__many_vesicles.tif) without the metadata of a plate"),
        ("rings_guv", "2 TIFF files (such as 290818-p1_t1_c1.tif) without the metadata of a plate; set --pattern"),
    ],
)
def test_what_is_no_plate_is_refused_with_the_way_out(
    real_data: Path, tmp_path: Path, folder: str, message: str
) -> None:
    result = CliRunner().invoke(init, [str(real_data / folder), "--output", str(tmp_path / "p")])
    assert message in str(result.exception)


def test_rings_by_a_pattern_end_with_tables(real_data: Path, tmp_path: Path) -> None:
    project, raw = tmp_path / "rings", tmp_path / "raw"
    raw.mkdir()
    image, *_ = sorted((real_data / "rings_guv").glob("*p1_t1_c*.tif"))  # the network takes half a minute for each
    shutil.copy(image, raw)
    flags = ("--pattern", r"p1_t1_c(?P<field>\d)", "--pixel-size-um", "0.06", "--no-nucleus")
    lysoquant("init", raw, "--output", project, "--lysosome", "channel_2", "--cargo", "channel_1", *flags)
    lysoquant("run", project, "--cores", "2")
    fields = pd.read_parquet(project / "results/tables/fields.parquet")
    assert list(zip(fields.well, fields.field, fields.status, strict=True)) == [("A01", 0, "ok")]
    assert (fields.n_endolysosomes > 10).all()


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
