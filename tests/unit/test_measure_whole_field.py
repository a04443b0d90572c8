"""Whole-field passes give what a loop over the objects gives, and make no call more for more objects."""

from __future__ import annotations

import sys
from types import FrameType

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.measure import label as connected_parts

from lysoquant.channels import Channels
from lysoquant.measure.distance import MIN_NUCLEUS_AREA_UM2, MIN_SEPARABILITY, SMOOTHING_UM, find_nuclei
from lysoquant.measure.field import Objects, measure_field
from lysoquant.measure.intensity import rim_pixels
from lysoquant.measure.params import MeasureParams
from lysoquant.measure.regions import bounding_boxes, largest_parts, runs_of
from lysoquant.measure.shape import filled
from lysoquant.measure.thresholds import otsu_thresholds

PX = 0.1


@pytest.fixture(scope="module")
def crowd() -> NDArray[np.int64]:
    """Objects of 17 numbers that touch, in parts, with holes and others inside, cut by the border."""
    rng = np.random.default_rng(5)
    noise = ndimage.gaussian_filter(rng.normal(size=(90, 120)), 2.0)
    numbers = np.digitize(noise, np.quantile(noise, np.linspace(0, 1, 18)[1:-1])) * 3 + 2
    numbers[np.abs(ndimage.gaussian_filter(rng.normal(size=(90, 120)), 1.5)) < 0.03] = 0
    return numbers.astype(np.int64)


def test_runs_are_the_pixels_of_the_image(crowd: NDArray[np.int64]) -> None:
    regions = runs_of(crowd)
    numbers, sizes = np.unique(crowd[crowd > 0], return_counts=True)
    assert regions.labels.tolist() == numbers.tolist()
    assert regions.sizes.tolist() == sizes.tolist()
    assert (np.append(0, regions.labels)[regions.numbered] == crowd).all()
    assert regions.pixels.tolist() == np.flatnonzero(crowd).tolist()
    assert (regions.labels[regions.index] == crowd[crowd > 0]).all()
    values = np.random.default_rng(0).integers(0, 65535, crowd.shape).astype(np.uint16)
    assert regions.sums(values).tolist() == [values[crowd == number].sum() for number in numbers]
    boxes = [[y.start, x.start, y.stop, x.stop] for y, x in filter(None, ndimage.find_objects(crowd))]
    assert bounding_boxes(crowd).tolist() == boxes


def test_the_largest_part_is_that_of_each_object_alone_and_filled_has_no_holes(crowd: NDArray[np.int64]) -> None:
    parts = largest_parts(runs_of(crowd))
    found = np.append(0, parts.labels)[parts.numbered]
    solid = filled(parts)
    n_several = 0
    for place, number in enumerate(parts.labels.tolist()):
        alone = connected_parts(crowd == number, connectivity=2)
        n_several += alone.max() > 1
        largest = alone == np.argmax(np.bincount(alone.ravel())[1:]) + 1
        assert ((found == number) == largest).all(), number
        without_holes = np.zeros(crowd.size, dtype=bool)
        without_holes[solid.pixels[solid.index == place]] = True
        assert (without_holes.reshape(crowd.shape) == ndimage.binary_fill_holes(largest)).all(), number
    assert n_several > 5


def test_of_equal_parts_the_first_in_raster_order_is_the_largest() -> None:
    labels = np.zeros((6, 9), dtype=np.uint32)
    labels[3:5, 0:2] = labels[2:4, 6:8] = labels[0, 4] = 7
    parts = largest_parts(runs_of(labels))
    assert parts.pixels.tolist() == [24, 25, 33, 34]


@pytest.mark.parametrize("rim_um", [0.04, 0.1, 0.2, 0.25, 0.55, 50.0])
def test_the_rim_is_that_of_the_distance_transform_of_each_region(crowd: NDArray[np.int64], rim_um: float) -> None:
    regions = runs_of(crowd)
    expected = np.zeros(crowd.shape, dtype=bool)
    for number in regions.labels:
        depth = ndimage.distance_transform_edt(np.pad(crowd == number, 1))[1:-1, 1:-1]
        expected |= (crowd == number) & ((depth - 0.5) * PX < rim_um)
    found = rim_pixels(regions, pixel_size_um=PX, rim_width_um=rim_um)
    assert (found == expected[crowd > 0]).all()
    assert found.any() == (rim_um > 0.5 * PX)


@pytest.mark.parametrize("kind", ["uint16", "uint8", "wide", "float32", "float64", "flat"])
def test_thresholds_are_to_the_bit_those_of_scikit_image(crowd: NDArray[np.int64], kind: str) -> None:
    regions = runs_of(crowd)
    rng = np.random.default_rng(3)
    bright = rng.gamma(2.0, 60.0, crowd.shape) + crowd * (rng.random(crowd.shape) < 0.4)
    image = {
        "uint16": bright.astype(np.uint16),
        "uint8": np.minimum(bright, 255).astype(np.uint8),
        "wide": (bright**2).astype(np.uint32),
        "float32": bright.astype(np.float32),
        "float64": bright,
        "flat": np.where(crowd == 8, bright, crowd / 3.0),
    }[kind]
    found = otsu_thresholds(regions, image.ravel()[regions.pixels])
    assert found.tolist() == [float(threshold_otsu(image[crowd == number])) for number in regions.labels]


def nuclei_one_by_one(cells: NDArray[np.int64], image: NDArray[np.uint16], pixel_size_um: float) -> NDArray[np.int64]:
    smooth = ndimage.gaussian_filter(image.astype(np.float64), SMOOTHING_UM / pixel_size_um, mode="nearest")
    nuclei = np.zeros_like(cells)
    for cell in np.unique(cells[cells > 0]):
        mask = cells == cell
        above = mask & (smooth > threshold_otsu(smooth[mask]))
        dark, light = smooth[mask & ~above], smooth[above]
        share = above.sum() / mask.sum()
        if share * (1 - share) * (light.mean() - dark.mean()) ** 2 / smooth[mask].var() < MIN_SEPARABILITY:
            continue
        bodies = connected_parts(above, connectivity=2)
        body = ndimage.binary_fill_holes(bodies == np.argmax(np.bincount(bodies.ravel())[1:]) + 1) & mask
        if body.sum() * pixel_size_um**2 >= MIN_NUCLEUS_AREA_UM2:
            nuclei[body] = cell
    return nuclei


def test_nuclei_are_those_of_each_cell_alone() -> None:
    y, x = np.mgrid[:200, :300]
    cells = (y // 50 * 6 + x // 50 + 1).astype(np.int64)
    cells[(y % 50 < 2) & (x > 100)] = 0
    # A cell inside the ring of another's nucleus keeps its pixels, though the ring's hole is filled around it.
    cells[70:80, 70:80] = 99
    off = np.hypot(y % 50 - 25, x % 50 - 25)
    rng = np.random.default_rng(2)
    stain = np.where((off > 10) & (off < 10 + x // 50 * 3), 900, 100)
    stain[:, 250:] = 100
    stain[100:150, 40:60] = 900
    image = rng.poisson(stain).astype(np.uint16)
    found = find_nuclei(cells=cells, image=image, pixel_size_um=0.4)
    expected = nuclei_one_by_one(cells, image, 0.4)
    assert (found == expected).all()
    n_nuclei = len(np.unique(found)) - 1
    assert 10 < n_nuclei < len(np.unique(cells)) - 1


def n_calls(tiles: int) -> int:
    """Calls of functions, numpy's and scipy's own included, while a field of `tiles` x `tiles` cells is measured."""
    cell, region = np.zeros((30, 30), dtype=np.int64), np.zeros((30, 30), dtype=np.int64)
    cell[2:28, 2:28] = 1
    region[4:9, 4:9] = region[4:10, 15:25] = 1
    region[6, 18:21] = 0
    region[15:24, 5:12] = 2
    number = np.arange(tiles**2).reshape(tiles, tiles).repeat(30, axis=0).repeat(30, axis=1)
    cells = np.where(np.tile(cell, (tiles, tiles)), number + 1, 0)
    pattern = np.tile(region, (tiles, tiles))
    labels = np.where(pattern > 0, 2 * number + pattern, 0)
    image = np.tile(100 + 50 * region + np.arange(30), (tiles, tiles)).astype(np.uint16)
    image[np.tile(np.pad(np.ones((12, 12), dtype=bool), 9), (tiles, tiles))] = 900
    known = np.unique(labels[labels > 0])
    objects = Objects(
        label=known,
        cell=(known - 1) // 2 + 1,
        p_loaded=np.full(len(known), 0.5),
        is_loaded=known % 2 == 0,
    )
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        tables = measure_field(
            images={"L": image, "C": image, "N": image},
            cells=cells,
            labels=labels,
            objects=objects,
            pixel_size_um=0.5,
            channels=Channels(lysosome="L", cargo="C", nucleus="N"),
            params=MeasureParams(min_area_um2=0.0),
        )
    finally:
        sys.setprofile(None)
    assert len(tables.cells["cell"]) == tiles**2
    assert np.isfinite(tables.regions["distance_to_nucleus_um"]).all()
    return calls


def test_a_hundred_cells_take_as_many_calls_as_four(monkeypatch: pytest.MonkeyPatch) -> None:
    # Pixels are taken block by block: that grows with pixels.
    monkeypatch.setattr("lysoquant.measure.thresholds._BLOCK", 1 << 20)
    n_calls(2)
    assert n_calls(10) == n_calls(2)
