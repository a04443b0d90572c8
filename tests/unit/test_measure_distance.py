"""Nuclei within cells, and distances to them and to the cell's border."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lysoquant.measure.distance import (
    distances_to_cell_border_um,
    distances_to_nucleus_um,
    find_nuclei,
    nearest_neighbours_um,
    perinuclear_index,
)

PX = 0.5


def two_cells() -> NDArray[np.uint32]:
    cells = np.zeros((60, 100), dtype=np.uint32)
    cells[2:58, 2:50] = 5
    cells[2:58, 50:98] = 2
    return cells


def stained(*centres: tuple[int, int], radius: int = 10) -> NDArray[np.uint16]:
    y, x = np.mgrid[:60, :100]
    image = np.random.default_rng(1).poisson(100, (60, 100))
    for cy, cx in centres:
        image[(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] += 900
    return image.astype(np.uint16)


def test_each_cell_has_the_nucleus_of_its_own_and_an_unstained_one_has_none() -> None:
    nuclei = find_nuclei(cells=two_cells(), image=stained((30, 25)), pixel_size_um=PX)
    y, x = np.mgrid[:60, :100]
    truth = (y - 30) ** 2 + (x - 25) ** 2 <= 100
    assert set(np.unique(nuclei)) == {0, 5}
    assert np.count_nonzero((nuclei == 5) ^ truth) < 0.12 * truth.sum()


def test_the_nucleus_is_the_largest_body_with_its_holes_filled() -> None:
    image = stained((30, 25))
    image[28:32, 23:27] = 100
    image[5:8, 60:63] = 1000
    nuclei = find_nuclei(cells=two_cells(), image=image, pixel_size_um=PX)
    assert nuclei[30, 25] == 5
    # 9 pixels are 2 um2: debris in the other cell, not a nucleus.
    assert not (nuclei == 2).any()
    both = find_nuclei(cells=two_cells(), image=stained((30, 15), (30, 75), (50, 90)), pixel_size_um=PX)
    assert both[30, 75] == 2
    assert both[50, 90] in (0, 2)


@pytest.mark.parametrize("flat", [True, False])
def test_without_contrast_there_is_no_nucleus(flat: bool) -> None:
    image = np.full((60, 100), 7, dtype=np.uint16) if flat else stained()
    assert not find_nuclei(cells=two_cells(), image=image, pixel_size_um=PX).any()


def test_distance_to_the_nucleus_of_the_own_cell() -> None:
    nuclei = np.zeros((60, 100), dtype=np.int64)
    nuclei[20:31, 10:21] = 5
    found = distances_to_nucleus_um(
        y_um=np.array([25, 25, 34, 15.25, 25]) * PX,
        x_um=np.array([30.5, 15, 24, 16, 60]) * PX,
        cell_of_region=np.array([5, 5, 5, 5, 2]),
        nuclei=nuclei,
        pixel_size_um=PX,
    )
    # To column 20; over the nucleus; 4 down and 4 right of its corner (30, 20); to row 20; no nucleus in cell 2.
    assert found[:4] == pytest.approx([10.5 * PX, 0, np.sqrt(32) * PX, 4.75 * PX])
    assert np.isnan(found[4])


def test_distance_to_the_cells_border_ignores_the_images_border_but_not_the_neighbour() -> None:
    cells = np.zeros((40, 60), dtype=np.uint32)
    cells[:20, :30] = 1
    cells[:20, 30:] = 2
    found = distances_to_cell_border_um(
        y_um=np.array([2, 10, 10, 30]) * PX,
        x_um=np.array([3, 26.5, 58, 3]) * PX,
        cell_of_region=np.array([1, 1, 2, 1]),
        cells=cells,
        pixel_size_um=PX,
    )
    # Down to row 20, though row 0 is nearer; right to the neighbour's column 30; down to row 20; outside its cell.
    assert found == pytest.approx([18 * PX, 3.5 * PX, 10 * PX, 0])


def test_the_nearest_pixel_outside_is_found_by_trying_all() -> None:
    y, x = np.mgrid[:40, :40]
    cells = (((y - 18) ** 2 / 200 + (x - 20) ** 2 / 90) <= 1).astype(np.uint32) * 3
    points = np.array([[18.3, 20.1], [10.0, 17.5], [25.7, 21.2]])
    outside = np.argwhere(cells == 0)
    brute = [np.hypot(*(outside - point).T).min() * PX for point in points]
    found = distances_to_cell_border_um(
        y_um=points[:, 0] * PX,
        x_um=points[:, 1] * PX,
        cell_of_region=np.array([3, 3, 3]),
        cells=cells,
        pixel_size_um=PX,
    )
    assert found == pytest.approx(brute)


def test_a_cell_that_fills_the_image_has_no_border() -> None:
    found = distances_to_cell_border_um(
        y_um=np.array([1.0]),
        x_um=np.array([1.0]),
        cell_of_region=np.array([1]),
        cells=np.ones((9, 9), dtype=np.uint32),
        pixel_size_um=PX,
    )
    assert np.isnan(found).all()


def test_perinuclear_index_is_the_share_of_the_way_from_the_border_to_the_nucleus() -> None:
    found = perinuclear_index(
        to_nucleus_um=np.array([0.0, 6.0, 3.0, 0.0, np.nan, 2.0]),
        to_border_um=np.array([5.0, 2.0, 0.0, 0.0, 1.0, np.nan]),
    )
    assert found[:3].tolist() == [1.0, 0.25, 0.0]
    assert np.isnan(found[3:]).all()


def test_the_nearest_neighbour_is_of_the_own_cell() -> None:
    rng = np.random.default_rng(3)
    y, x, cell = rng.uniform(0, 50, 60), rng.uniform(0, 50, 60), rng.choice([2, 5, 9], 60)
    y, x, cell = np.append(y, 1.0), np.append(x, 1.0), np.append(cell, 7)
    found = nearest_neighbours_um(y_um=y, x_um=x, cell_of_region=cell)
    apart = np.hypot(y - y[:, np.newaxis], x - x[:, np.newaxis])
    apart[(cell != cell[:, np.newaxis]) | np.eye(61, dtype=bool)] = np.inf
    assert found[:-1] == pytest.approx(apart.min(axis=0)[:-1])
    assert np.isnan(found[-1]), "the only region of its cell"
    assert len(nearest_neighbours_um(y_um=y[:0], x_um=x[:0], cell_of_region=cell[:0])) == 0


def test_regions_on_one_spot_are_neighbours_at_no_distance() -> None:
    spot = np.array([4.0, 4.0])
    assert nearest_neighbours_um(y_um=spot, x_um=spot, cell_of_region=np.array([1, 1])).tolist() == [0.0, 0.0]
    assert np.isnan(nearest_neighbours_um(y_um=spot, x_um=spot, cell_of_region=np.array([1, 2]))).all()
