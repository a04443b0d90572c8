"""Grey values of regions, on images whose means are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lysoquant.measure.intensity import cargo_area_fractions, region_intensities


def intensities(labels: NDArray[np.integer], image: NDArray[np.number], rim_px: float) -> dict[str, list[float]]:
    found = region_intensities(labels=labels, images={"L": image}, pixel_size_um=0.1, rim_width_um=rim_px * 0.1)
    return {name: values.tolist() for name, values in found.items()}


def test_rim_and_lumen_of_a_square() -> None:
    labels = np.zeros((9, 9), dtype=np.uint32)
    labels[1:8, 1:8] = 4
    image = np.full((9, 9), 1000, dtype=np.uint16)
    image[1:8, 1:8] = 30
    image[2:7, 2:7] = 20
    image[3:6, 3:6] = 10
    one = intensities(labels, image, rim_px=1.0)
    assert one["rim_mean_L"] == [30]
    assert one["lumen_mean_L"] == pytest.approx([(16 * 20 + 9 * 10) / 25])
    assert one["intensity_mean_L"] == pytest.approx([(24 * 30 + 16 * 20 + 9 * 10) / 49])
    two = intensities(labels, image, rim_px=2.0)
    assert two["rim_mean_L"] == pytest.approx([(24 * 30 + 16 * 20) / 40])
    assert two["lumen_mean_L"] == [10]


def test_a_region_without_lumen_has_none() -> None:
    labels = np.zeros((5, 5), dtype=np.uint32)
    labels[1:3, 1:4] = 1
    found = intensities(labels, np.full((5, 5), 7, dtype=np.uint8), rim_px=1.0)
    assert found["rim_mean_L"] == [7]
    assert np.isnan(found["lumen_mean_L"]).all()


def test_a_neighbour_and_the_images_border_bound_a_region() -> None:
    labels = np.ones((5, 10), dtype=np.uint32)
    labels[:, 5:] = 2
    image = np.zeros((5, 10), dtype=np.uint16)
    image[1:4, 1:4] = 50
    image[1:4, 6:9] = 90
    found = intensities(labels, image, rim_px=1.0)
    assert found["lumen_mean_L"] == [50, 90]
    assert found["rim_mean_L"] == [0, 0]


def test_channels_come_in_the_order_of_the_image() -> None:
    labels = np.array([[1, 0, 5]], dtype=np.uint32)
    images = {"SEC62 568": np.array([[1, 2, 3]]), "a": np.array([[4, 5, 6]])}
    found = region_intensities(labels=labels, images=images, pixel_size_um=0.1, rim_width_um=0.2)
    kinds = ("intensity_mean", "rim_mean", "lumen_mean")
    assert list(found) == [f"{kind}_{channel}" for channel in images for kind in kinds]
    assert found["intensity_mean_SEC62 568"].tolist() == [1, 3]
    assert found["intensity_mean_a"].tolist() == [4, 6]


def test_cargo_area_follows_the_threshold_of_each_cell() -> None:
    cells = np.repeat(np.array([[1] * 10 + [2] * 10], dtype=np.uint32), 6, axis=0)
    labels = np.zeros_like(cells)
    labels[1:3, 1:5] = 7
    labels[1:3, 11:15] = 3
    cargo = np.where(cells == 1, 100, 1000).astype(np.uint16)
    cargo[1, 1:3] = 400
    cargo[1:3, 11:14] = 4000
    found = cargo_area_fractions(labels=labels, cell_of_region=np.array([2, 1]), cells=cells, cargo=cargo)
    # 6 of 8 pixels are above the bright cell's threshold; 2 of 8 above the dim cell's, though below the other's.
    assert found.tolist() == [0.75, 0.25]


def test_cargo_area_without_contrast_is_zero_and_without_a_cell_undefined() -> None:
    labels = np.array([[1, 1, 2, 2]], dtype=np.uint32)
    cells = np.array([[1, 1, 0, 0]], dtype=np.uint32)
    found = cargo_area_fractions(
        labels=labels, cell_of_region=np.array([1, 9]), cells=cells, cargo=np.full((1, 4), 5, dtype=np.uint16)
    )
    assert found[0] == 0
    assert np.isnan(found[1])


def test_nothing_in_nothing_out() -> None:
    nothing = np.zeros((4, 4), dtype=np.uint32)
    assert intensities(nothing, nothing, rim_px=1.0) == {"intensity_mean_L": [], "rim_mean_L": [], "lumen_mean_L": []}
    found = cargo_area_fractions(
        labels=nothing, cell_of_region=np.empty(0, dtype=np.int64), cells=nothing, cargo=nothing
    )
    assert len(found) == 0
