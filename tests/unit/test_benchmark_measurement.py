"""The speed of measure beside other programs: the same columns of the same field."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from lysoquant.benchmark.speed import measurement as speed
from lysoquant.benchmark.speed.parts import Scale


@pytest.fixture(scope="module")
def field() -> speed.CrowdedField:
    return speed.crowded_field(256)


def test_a_crowded_field_has_regions_that_touch_in_cells_that_touch(field: speed.CrowdedField) -> None:
    assert (field.cells[field.labels > 0] > 0).all()
    for label, cell in zip(field.objects.label, field.objects.cell, strict=True):
        assert set(field.cells[field.labels == label]) == {cell}
    assert len(field.objects.label) > 50
    assert np.array_equal(field.labels, speed.crowded_field(256).labels)
    beside = (field.labels[:, 1:] != field.labels[:, :-1]) & (field.labels[:, 1:] > 0) & (field.labels[:, :-1] > 0)
    assert beside.any()


def test_scikit_image_gives_our_values_rim_and_lumen_too(field: speed.CrowdedField) -> None:
    ours, others = speed.all_columns(field), speed.by_scikit_image_with_rims(field)
    rims = {f"{kind}_mean_{channel}" for kind in ("rim", "lumen") for channel in field.images}
    assert rims | {"area_um2", "eccentricity", "centroid_y_um", "intensity_mean_cargo"} <= {*others}
    for name, values in others.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-12, atol=1e-12, err_msg=name)
    np.testing.assert_array_equal(speed.shapes_and_rims(field)["rim_mean_cargo"], ours["rim_mean_cargo"])


@pytest.mark.parametrize("name", ["cp_measure", "nyxus"])
def test_so_do_other_programs_where_they_are_installed(field: speed.CrowdedField, name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed; lysoquant does not need it")
    ours = speed.all_columns(field)
    for column, values in {"cp_measure": speed.by_cp_measure, "nyxus": speed.by_nyxus}[name](field).items():
        np.testing.assert_allclose(ours[column], values, rtol=1e-6, atol=1e-6, err_msg=column)


def test_a_wrong_or_missing_value_is_a_difference(field: speed.CrowdedField) -> None:
    ours = speed.shapes_and_means(field)
    area = ours["area_um2"]
    assert speed._difference(ours, {"area_um2": area}) == 0.0
    assert speed._difference(ours, {"area_um2": area + 0.5}) > 0.1
    assert speed._difference(ours, {"area_um2": np.where(np.arange(len(area)) == 3, np.nan, area)}) == np.inf


def test_a_table_a_field_says_how_many_times_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SIZES_PX", (128, 256))
    small, table = speed.measure(Scale(repeats=1))
    assert small.title.startswith("128² pixels, 1 cells")
    rows = {(str(row["method"]).split()[0], row["columns"]): row for row in table.rows}
    assert len(rows) == len(table.rows) >= 5
    for columns in (speed._SAME, speed._RIMS):
        ours, theirs = rows["lysoquant", columns], rows["scikit-image", columns]
        ratio = float(theirs["CPU seconds"]) / float(ours["CPU seconds"])
        assert ours["times scikit-image"] == pytest.approx(ratio)
        assert theirs["times scikit-image"] == 1.0
        assert float(theirs["difference"]) < 1e-12
