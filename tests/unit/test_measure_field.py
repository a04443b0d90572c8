"""The rows that a field gives to the tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lysoquant.channels import Channels
from lysoquant.errors import FieldError
from lysoquant.measure.columns import cells_schema, endolysosomes_schema
from lysoquant.measure.field import FieldTables, Objects, measure_field
from lysoquant.measure.params import MeasureParams

PX = 0.1


def field() -> dict[str, Any]:
    """Cell 4 with regions 1 (loaded), 2 (small) and 9 (empty); cell 7 with 3 (loaded); cell 8 with nothing."""
    cells = np.zeros((30, 60), dtype=np.uint32)
    cells[1:29, 0:20], cells[1:29, 20:40], cells[1:29, 41:59] = 7, 4, 8
    labels = np.zeros_like(cells)
    labels[4:8, 22:26], labels[4:6, 30:32], labels[12:18, 24:34], labels[10:15, 5:10] = 1, 2, 9, 3
    lysosome = np.full(cells.shape, 10, dtype=np.uint16)
    lysosome[labels == 1], lysosome[labels == 9] = 100, 400
    objects = Objects(
        label=np.array([1, 2, 3, 9]),
        cell=np.array([4, 4, 7, 4]),
        p_loaded=np.array([0.9, 0.8, 0.7, 0.2]),
        is_loaded=np.array([True, True, True, False]),
    )
    return {
        "images": {"LAMP1": lysosome, "SEC62": lysosome.astype(np.uint16) + 5},
        "cells": cells,
        "labels": labels,
        "objects": objects,
        "pixel_size_um": PX,
        "channels": Channels(lysosome="LAMP1", cargo="SEC62"),
        "params": MeasureParams(),
    }


def measured(**changes: Any) -> FieldTables:
    return measure_field(**(field() | changes))


def test_regions_are_sorted_by_cell_and_label_and_small_ones_are_counted_not_listed() -> None:
    found = measured()
    assert found.n_below_min_area == 1
    assert found.regions["cell"].tolist() == [4, 4, 7]
    assert found.regions["label"].tolist() == [1, 9, 3]
    assert found.regions["is_loaded"].tolist() == [True, False, True]
    assert found.regions["p_loaded"].tolist() == [0.9, 0.2, 0.7]
    assert found.regions["area_um2"] == pytest.approx([0.16, 0.6, 0.25])
    assert found.regions["intensity_mean_LAMP1"].tolist() == [100, 400, 10]
    assert found.regions["centroid_y_um"] == pytest.approx([0.55, 1.45, 1.2])
    # Down from (5.5, 23.5) to the pixel left of the cell; without a nucleus channel there is no distance to one.
    assert found.regions["distance_to_cell_border_um"][0] == pytest.approx(PX * np.hypot(0.5, 4.5))
    assert np.isnan(found.regions["distance_to_nucleus_um"]).all()


def test_a_region_of_exactly_the_smallest_area_stays() -> None:
    assert measured(params=MeasureParams(min_area_um2=0.16)).n_below_min_area == 1
    assert measured(params=MeasureParams(min_area_um2=0.161)).n_below_min_area == 2
    assert measured(params=MeasureParams(min_area_um2=0.0)).n_below_min_area == 0


def test_cells_have_counts_occupancy_and_means_also_without_regions() -> None:
    cells = measured().cells
    assert cells["cell"].tolist() == [4, 7, 8]
    assert cells["touches_border"].tolist() == [False, True, False]
    assert cells["area_um2"] == pytest.approx([5.6, 5.6, 5.04])
    assert cells["n_endolysosomes"].tolist() == [2, 1, 0]
    assert cells["n_loaded"].tolist() == [1, 1, 0]
    assert cells["n_empty"].tolist() == [1, 0, 0]
    np.testing.assert_array_equal(cells["occupancy"], [0.5, 1, np.nan])
    np.testing.assert_allclose(cells["mean_area_um2"], [0.38, 0.25, np.nan])
    np.testing.assert_allclose(cells["mean_p_loaded"], [0.55, 0.7, np.nan])
    np.testing.assert_allclose(cells["mean_intensity_mean_SEC62"], [255, 15, np.nan])
    assert cells["intensity_mean_LAMP1"] == pytest.approx([(16 * 100 + 60 * 400 + 484 * 10) / 560, 10, 10])


def test_a_mean_leaves_out_what_is_undefined() -> None:
    found = measured(params=MeasureParams(rim_width_um=0.2))
    # Region 1 (4 x 4 pixels) is all rim, so the cell's mean is that of region 9 alone.
    assert np.isnan(found.regions["lumen_mean_LAMP1"][0])
    assert found.cells["mean_lumen_mean_LAMP1"][0] == 400


def test_every_column_of_the_contract_is_measured() -> None:
    found = measured()
    channels = ["LAMP1", "SEC62"]
    assert set(found.regions) == set(endolysosomes_schema(channels).names) - {"plate", "well", "field"}
    assert set(found.cells) == set(cells_schema(channels).names) - {"plate", "well", "field"}


def test_column_order_is_the_contracts() -> None:
    assert " ".join(endolysosomes_schema(["L", "C"]).names) == (
        "plate well field cell label is_loaded p_loaded area_um2 perimeter_um circularity solidity eccentricity "
        "feret_um min_feret_um centroid_y_um centroid_x_um distance_to_nucleus_um distance_to_cell_border_um "
        "intensity_mean_L rim_mean_L lumen_mean_L intensity_mean_C rim_mean_C lumen_mean_C cargo_area_fraction "
        "aspect_ratio roundness nearest_neighbour_um perinuclear_index"
    )
    assert " ".join(cells_schema(["L", "C"]).names[:14]) == (
        "plate well field cell area_um2 centroid_y_um centroid_x_um touches_border "
        "intensity_mean_L intensity_mean_C n_endolysosomes n_empty n_loaded occupancy"
    )


def with_others(*cargoes: str) -> dict[str, Any]:
    """The field with further cargoes, all alike: bright in region 9, region 1 in part; region 9 alone is loaded."""
    changes = field()
    labels = changes["labels"]
    plane = np.full(labels.shape, 20, dtype=np.uint16)
    plane[labels == 9] = 500
    plane[4:6, 22:26] = 500
    others: dict[str, Any] = {}
    for cargo in cargoes:
        others[f"p_loaded_{cargo}"] = np.array([0.1, 0.2, 0.3, 0.95])
        others[f"is_loaded_{cargo}"] = np.array([False, False, False, True])
    changes["images"] = changes["images"] | dict.fromkeys(cargoes, plane)
    changes["objects"] = replace(changes["objects"], others=others)
    changes["channels"] = Channels(lysosome="LAMP1", cargo="SEC62", other_cargoes=cargoes)
    return changes


def test_other_cargoes_have_their_class_area_counts_and_occupancy() -> None:
    found = measured(**with_others("LC3"))
    assert found.regions["is_loaded_LC3"].tolist() == [False, True, False]
    assert found.regions["p_loaded_LC3"].tolist() == [0.1, 0.95, 0.3]
    # Otsu's limit lies between 20 and 500, and cell 7 has one value only.
    assert found.regions["cargo_area_fraction_LC3"].tolist() == [0.5, 1, 0]
    assert found.cells["n_loaded_LC3"].tolist() == [1, 0, 0]
    np.testing.assert_array_equal(found.cells["occupancy_LC3"], [0.5, 0, np.nan])
    np.testing.assert_allclose(found.cells["mean_p_loaded_LC3"], [0.525, 0.3, np.nan])
    np.testing.assert_allclose(found.cells["mean_cargo_area_fraction_LC3"], [0.75, 0, np.nan])


def test_what_other_cargoes_say_comes_after_all_else_and_changes_none_of_it() -> None:
    plain, more = measured(), measured(**with_others("LC3", "p62 (647)"))
    for name, schema in (("regions", endolysosomes_schema), ("cells", cells_schema)):
        before, after = getattr(plain, name), getattr(more, name)
        columns = schema(["LAMP1", "SEC62", "LC3", "p62 (647)"], ["LC3", "p62 (647)"]).names
        own = schema(["LAMP1", "SEC62", "LC3", "p62 (647)"]).names
        assert columns[: len(own)] == own
        assert all(column.endswith(("_LC3", "_p62 (647)")) for column in columns[len(own) :])
        assert set(after) == set(columns) - {"plate", "well", "field"}
        for column, values in before.items():
            np.testing.assert_array_equal(after[column], values)


def test_no_objects_give_no_rows() -> None:
    none = Objects(
        label=np.empty(0, dtype=np.int64),
        cell=np.empty(0, dtype=np.int64),
        p_loaded=np.empty(0),
        is_loaded=np.empty(0, dtype=np.bool_),
    )
    empty = measured(labels=np.zeros((30, 60), dtype=np.uint32), objects=none)
    assert len(empty.regions["cell"]) == 0
    assert empty.cells["n_endolysosomes"].tolist() == [0, 0, 0]
    nothing = np.zeros((30, 60), dtype=np.uint32)
    assert len(measured(labels=nothing, cells=nothing, objects=none).cells["cell"]) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixel_size_um": float("nan")}, "pixel size is nan um"),
        ({"channels": Channels(lysosome="LAMP1", cargo="ATZ")}, "no cargo channel 'ATZ', there are LAMP1, SEC62"),
        (
            {"channels": Channels(lysosome="LAMP1", cargo="SEC62", other_cargoes=("LC3",))},
            "no cargo channel 'LC3', there are LAMP1, SEC62; correct channels.other_cargoes",
        ),
        ({"cells": np.ones((30, 61), dtype=np.uint32)}, "differ in size"),
        ({"labels": np.ones((30, 60), dtype=np.uint32)}, "segment's table differ"),
        ({"cells": np.ones((30, 60), dtype=np.uint32)}, "cells that label image cells lacks"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FieldError, match=message):
        measured(**changes)


def test_the_background_is_no_cell_of_an_object() -> None:
    objects = replace(field()["objects"], cell=np.array([4, 4, 0, 4]))
    with pytest.raises(FieldError, match="names cells that label image cells lacks"):
        measured(objects=objects)
