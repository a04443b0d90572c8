"""Simulated plates: readable by the readers, true to their tables, the same on any number of processes."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lysoquant.errors import InputError
from lysoquant.io.raw import describe, read_plane
from lysoquant.simulate.compare import compare_wells
from lysoquant.simulate.plate import (
    CONDITIONS,
    PlateSettings,
    field_settings,
    plate_wells,
    screen_wells,
    simulate_field,
    simulate_plate,
)
from lysoquant.simulate.writers import OME_TIFF_PATTERN

TINY = PlateSettings(n_wells=2, n_fields=2, size_px=100, pixel_size_um=0.12, seed=3, name="tiny")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_plate(tmp_path_factory.mktemp("plates") / "tiny", TINY)


def test_a_metaxpress_export_is_read_as_what_it_is(plate: Path) -> None:
    found = describe(plate)
    assert (found.format, found.name) == ("imagexpress", "tiny")
    assert list(found.channels) == ["nucleus", "lysosome", "cargo"]
    assert {well: len(fields) for well, fields in found.wells.items()} == {"B02": 2, "B03": 2}
    assert (found.n_rows, found.n_columns) == (8, 12)
    assert found.pixel_size_um == pytest.approx(0.12)
    assert found.shape == (100, 100)
    assert not [problem for fields in found.wells.values() for field in fields for problem in field.problems]
    well = plate_wells(2)[0][1]
    scene = simulate_field(TINY, well, 1)
    for channel, plane in enumerate(scene.image):
        stored = found.wells["B03"][1].planes[found.channels[channel]][1]
        np.testing.assert_array_equal(read_plane(stored), plane)


def test_ome_tiff_is_read_by_its_pattern(tmp_path: Path) -> None:
    settings = PlateSettings(n_wells=1, n_fields=2, size_px=64, pixel_size_um=0.08, format="ome-tiff", name="o")
    out = simulate_plate(tmp_path / "o", settings)
    (out / "plate_map.csv").rename(tmp_path / "map.csv")
    found = describe(out, pattern=OME_TIFF_PATTERN)
    assert found.format == "tiff"
    assert list(found.channels) == ["nucleus", "lysosome", "cargo"]
    assert {well: len(fields) for well, fields in found.wells.items()} == {"B02": 2}
    assert found.pixel_size_um == pytest.approx(0.08)
    scene = simulate_field(settings, plate_wells(1)[0][0], 1)
    np.testing.assert_array_equal(read_plane(found.wells["B02"][1].planes["cargo"][1]), scene.image[2])


def test_the_tables_of_truth_agree_with_the_label_images(plate: Path) -> None:
    truth = plate / "truth"
    regions = rows(truth / "endolysosomes.csv")
    assert len(regions) > 20
    for well in ("B02", "B03"):
        for field in (0, 1):
            images = {
                name: tifffile.imread(truth / f"{well}_{field}_{name}.tif")
                for name in ("regions", "classes", "cells", "nuclei")
            }
            listed = [row for row in regions if (row["well"], row["field"]) == (well, str(field))]
            numbers, counts = np.unique(images["regions"], return_counts=True)
            large = {int(n): c * 0.0144 for n, c in zip(numbers, counts, strict=True) if n and c * 0.0144 >= 0.13}
            assert {int(row["label"]) for row in listed} == set(large)
            for row in listed:
                mask = images["regions"] == int(row["label"])
                assert float(row["area_um2"]) == pytest.approx(large[int(row["label"])], abs=1e-5)
                assert set(images["classes"][mask]) == {2 if row["is_loaded"] == "True" else 1}
                assert Counter(images["cells"][mask].tolist()).most_common(1)[0][0] == int(row["cell"])
                y, x = np.nonzero(mask)
                assert float(row["centroid_y_um"]) == pytest.approx(y.mean() * 0.12, abs=1e-3)
                assert float(row["centroid_x_um"]) == pytest.approx(x.mean() * 0.12, abs=1e-3)
                assert not (row["is_loaded"] == "True" and row["is_docked"] == "True")
            np.testing.assert_array_equal(images["classes"] > 0, images["regions"] > 0)


def test_cells_and_wells_are_the_sums_of_their_regions(plate: Path) -> None:
    truth = plate / "truth"
    regions, cells = rows(truth / "endolysosomes.csv"), rows(truth / "cells.csv")
    own = Counter((row["well"], row["field"], row["cell"]) for row in regions)
    loaded = Counter((row["well"], row["field"], row["cell"]) for row in regions if row["is_loaded"] == "True")
    for row in cells:
        key = row["well"], row["field"], row["cell"]
        assert (int(row["n_endolysosomes"]), int(row["n_loaded"])) == (own[key], loaded[key])
        assert int(row["n_empty"]) == own[key] - loaded[key]
        expected = pytest.approx(loaded[key] / own[key], abs=1e-6) if own[key] else None
        assert (float(row["occupancy"]) if row["occupancy"] else None) == expected
    assert set(own) <= {(row["well"], row["field"], row["cell"]) for row in cells}
    for well in rows(truth / "wells.csv"):
        mine = [row for row in regions if row["well"] == well["well"]]
        n_loaded = sum(row["is_loaded"] == "True" for row in mine)
        assert (int(well["n_endolysosomes"]), int(well["n_loaded"])) == (len(mine), n_loaded)
        assert float(well["occupancy_pooled"]) == pytest.approx(n_loaded / len(mine), abs=1e-6)
        each = [float(row["occupancy"]) for row in cells if row["well"] == well["well"] and row["occupancy"]]
        assert float(well["occupancy_mean"]) == pytest.approx(np.mean(each), abs=1e-6)


def test_a_second_cargo_is_a_fourth_channel_with_its_truth(plate: Path, tmp_path: Path) -> None:
    more = simulate_plate(tmp_path / "tiny", replace(TINY, second_cargo=True))
    assert describe(more).channels == ("nucleus", "lysosome", "cargo", "LC3")
    for name, own in (("endolysosomes", "is_loaded_LC3"), ("cells", "n_loaded_LC3")):
        before, after = rows(plate / "truth" / f"{name}.csv"), rows(more / "truth" / f"{name}.csv")
        assert [{key: row[key] for key in before[0]} for row in after] == before
        assert set(after[0]) == {*before[0], own}
    regions, cells = rows(more / "truth/endolysosomes.csv"), rows(more / "truth/cells.csv")
    for well in rows(more / "truth/wells.csv"):
        held = [row["is_loaded_LC3"] == "True" for row in regions if row["well"] == well["well"]]
        assert int(well["n_loaded_LC3"]) == sum(held)
        assert sum(held) == sum(int(row["n_loaded_LC3"]) for row in cells if row["well"] == well["well"])
        assert float(well["occupancy_pooled_LC3"]) == pytest.approx(np.mean(held), abs=1e-6)


def test_two_processes_write_the_same_files_as_one(tmp_path: Path) -> None:
    settings = PlateSettings(n_wells=2, n_fields=1, size_px=64, pixel_size_um=0.12, name="same")
    one, two = simulate_plate(tmp_path / "one", settings), simulate_plate(tmp_path / "two", settings, processes=2)
    names = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    assert len(names) == 2 + 2 * (3 + 4) + 5
    for name in names:
        if name.suffix.lower() == ".tif":
            np.testing.assert_array_equal(tifffile.imread(one / name), tifffile.imread(two / name))
        else:
            assert (one / name).read_bytes() == (two / name).read_bytes()


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("do not touch")
    with pytest.raises(InputError, match="is not empty; give a new folder"):
        simulate_plate(tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("count", "size", "first", "last"),
    [
        (1, (8, 12), "B02", "B02"),
        (8, (8, 12), "B02", "C05"),
        (60, (8, 12), "B02", "G11"),
        (96, (8, 12), "A01", "H12"),
        (384, (16, 24), "A01", "P24"),
        (1536, (32, 48), "A01", "AF48"),
    ],
)
def test_layouts_of_plates(count: int, size: tuple[int, int], first: str, last: str) -> None:
    wells, n_rows, n_columns = plate_wells(count)
    assert (n_rows, n_columns) == size
    assert (wells[0].well, wells[-1].well) == (first, last)
    assert len({well.well for well in wells}) == count
    tally = Counter(well.condition.name for well in wells)
    assert max(tally.values()) - min(tally.values() if count >= 4 else [0]) <= 1
    pairs = Counter((well.condition.name, well.replicate) for well in wells)
    assert set(pairs.values()) == {1}


@pytest.mark.parametrize(("count", "n_rows", "n_columns"), [(96, 8, 12), (384, 16, 24)])
def test_a_screen_has_controls_on_both_sides_and_planted_hits(count: int, n_rows: int, n_columns: int) -> None:
    wells, rows_of_plate, columns_of_plate = screen_wells(count)
    assert (rows_of_plate, columns_of_plate, len({well.well for well in wells})) == (n_rows, n_columns, count)
    by_control = {
        kind: [well for well in wells if well.condition.control == kind] for kind in ("negative", "positive", "")
    }
    assert {int(well.well[1:]) for well in by_control["negative"]} == {1, 2}
    assert {int(well.well[1:]) for well in by_control["positive"]} == {n_columns - 1, n_columns}
    tally = Counter(well.condition.name for well in by_control[""])
    assert set(tally.values()) == {2}
    tested = {well.condition.name: well.condition for well in by_control[""]}
    untreated = by_control["negative"][0].condition.occupancy
    low = [name for name, each in tested.items() if each.occupancy < untreated]
    high = [name for name, each in tested.items() if each.occupancy > untreated]
    assert abs(len(low) + len(high) - len(tested) / 10) <= 1
    assert 0 <= len(low) - len(high) <= 1
    rows_of = {name: [ord(well.well[0]) for well in by_control[""] if well.condition.name == name] for name in low}
    assert all(abs(first - second) == n_rows // 2 for first, second in rows_of.values())
    # Scattered: hits that fill a column are a column effect to a B score.
    columns = Counter(int(well.well[1:]) for well in by_control[""] if well.condition.name in {*low, *high})
    assert max(columns.values()) <= n_rows // 2


def test_a_screen_fills_its_plate() -> None:
    with pytest.raises(InputError, match="--wells is 100; a screen fills a plate of 96 or 384 wells"):
        screen_wells(100)


@pytest.mark.parametrize("count", [8, 96, 384])
def test_a_column_is_a_condition(count: int) -> None:
    columns: dict[str, set[str]] = {}
    for well in plate_wells(count)[0]:
        columns.setdefault(well.well[-2:], set()).add(well.condition.name)
    assert all(len(names) == 1 for names in columns.values())


@pytest.mark.parametrize("count", [0, -1, 1537])
def test_no_plate_has_so_many_wells(count: int) -> None:
    with pytest.raises(InputError, match=f"--wells is {count}; a plate has 1 to 1536"):
        plate_wells(count)


def test_conditions_are_the_papers_and_the_map_says_so(plate: Path) -> None:
    assert [condition.name for condition in CONDITIONS] == ["SEC62", "SEC62-LIR", "ATZ WT", "ATZ STX17-KO"]
    assert rows(plate / "plate_map.csv") == [
        {"well": "B02", "condition": "SEC62", "replicate": "1", "control": "positive"},
        {"well": "B03", "condition": "SEC62-LIR", "replicate": "1", "control": "negative"},
    ]
    wells = plate_wells(4)[0]
    settings = [field_settings(PlateSettings(), well) for well in wells]
    assert len({found.optics for found in settings}) == len({found.camera for found in settings}) == 1
    active, mutant, _, knock_out = (found.biology for found in settings)
    assert active.occupancy > 0.6
    assert mutant.occupancy < 0.3
    assert knock_out.docked > 0.5 > knock_out.occupancy


def write_wells(path: Path, wells: dict[str, tuple[int, str]], *, condition: str = "c") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["well,condition,n_endolysosomes,occupancy_pooled"]
    lines += [f"{well},{condition},{count},{occupancy}" for well, (count, occupancy) in wells.items()]
    path.write_text("\n".join([*lines, ""]))
    return path


def test_wells_are_compared_with_their_truth(tmp_path: Path) -> None:
    write_wells(tmp_path / "raw" / "truth" / "wells.csv", {"B02": (100, "0.75"), "B03": (0, "")})
    found = write_wells(tmp_path / "wells.csv", {"B03": (3, "0.5"), "B02": (90, "0.7"), "B09": (1, "1")})
    first, second = compare_wells(raw=tmp_path / "raw", wells_csv=found)
    assert (first.well, first.condition, first.n_true, first.n_found) == ("B02", "c", 100, 90)
    assert first.error == pytest.approx(-0.05)
    assert np.isnan(second.occupancy_true)
    assert np.isnan(second.error)


def test_another_cargo_has_errors_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    head = "well,condition,n_endolysosomes,occupancy_pooled"
    (tmp_path / "truth/wells.csv").write_text(f"{head},occupancy_pooled_LC3\nB02,SEC62,100,0.7,0.2\n")
    found = tmp_path / "wells.csv"
    found.write_text(f"{head},occupancy_pooled_LC3\nB02,SEC62,98,0.65,0.3\n")
    (well,) = compare_wells(raw=tmp_path, wells_csv=found, cargo="LC3")
    assert (well.n_found, well.error) == (98, pytest.approx(0.1))
    with pytest.raises(InputError, match=r"truth/wells\.csv: has no column 'occupancy_pooled_p62'; give --cargo one"):
        compare_wells(raw=tmp_path, wells_csv=found, cargo="p62")


def test_a_missing_well_or_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"truth/wells\.csv does not exist; give a simulated plate"):
        compare_wells(raw=tmp_path, wells_csv=tmp_path / "wells.csv")
    write_wells(tmp_path / "truth" / "wells.csv", {"B02": (1, "1"), "B03": (1, "1")})
    found = write_wells(tmp_path / "wells.csv", {"B02": (1, "1")})
    with pytest.raises(InputError, match="has no well B03, which the simulated plate"):
        compare_wells(raw=tmp_path, wells_csv=found)
