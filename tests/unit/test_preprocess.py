"""From a cell's pixels to the network's input, against numbers worked out by hand and a loop in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lysoquant.model.preprocess import (
    CellPixels,
    estimate_noise,
    model_coordinates,
    model_length,
    network_input,
    normalise,
    resample_linear,
)
from lysoquant.model.preprocess_device import network_input_from, packed

Array = NDArray[Any]


def loop_resample(image: Array, pixel_size_um: float) -> Array:
    """The plugin's rule, one pixel at a time."""
    scale = pixel_size_um / 0.025
    out = np.zeros([round(length * scale) for length in image.shape])
    for index in np.ndindex(*out.shape):
        total = 0.0
        at = [i / scale for i in index]
        low = [min(int(a), length - 1) for a, length in zip(at, image.shape, strict=True)]
        for corner in np.ndindex(2, 2):
            share, place = 1.0, []
            for a, first, step, length in zip(at, low, corner, image.shape, strict=True):
                part = min(a - first, 1.0)
                share *= part if step else 1 - part
                position = first + step
                place.append(position if position < length else max(0, 2 * (length - 1) - position))
            total += share * image[tuple(place)]
        out[index] = total
    return out


def test_resampling_by_hand() -> None:
    image = torch.tensor([[[0.0, 8.0, 4.0]]])
    # 0.1 um is 4 model pixels a pixel: 8/4 a step up, 4/4 a step down, and beyond the last pixel back towards the 8.
    along = resample_linear(image, pixel_size_um=0.1)[0]
    assert along.shape == (4, 12)
    assert along[0].tolist() == [0, 2, 4, 6, 8, 7, 6, 5, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("length", "pixel_size_um", "expected"), [(10, 0.1, 40), (7, 0.06, 17), (3, 0.025, 3), (1, 0.01, 1)]
)
def test_the_model_length_is_rounded(length: int, pixel_size_um: float, expected: int) -> None:
    assert model_length(length, pixel_size_um) == expected


@settings(max_examples=25, deadline=None)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)), pixel_size_um=st.floats(0.02, 0.13), seed=st.integers(0, 99)
)
def test_resampling_agrees_with_a_loop(size: tuple[int, int], pixel_size_um: float, seed: int) -> None:
    image = np.random.default_rng(seed).random(size)
    expected = loop_resample(image, pixel_size_um) if min(round(n * pixel_size_um / 0.025) for n in size) else None
    found = resample_linear(torch.from_numpy(image)[None], pixel_size_um=pixel_size_um)[0].numpy()
    if expected is not None:
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_image_at_the_models_pixel_size_is_left_alone() -> None:
    image = torch.rand(2, 5, 9)
    assert torch.equal(resample_linear(image, pixel_size_um=0.025), image)


def test_results_go_back_to_the_nearest_model_pixel() -> None:
    assert model_coordinates(4, pixel_size_um=0.06, model_size=10).tolist() == [0, 2, 5, 7]
    assert model_coordinates(3, pixel_size_um=0.1, model_size=7).tolist() == [0, 4, 6]


def test_noise_is_that_of_white_noise_and_not_of_a_plane() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:200, :200]
    plane = (3.0 * y + 5.0 * x).astype(np.float32)
    assert estimate_noise(plane) == pytest.approx(0, abs=1e-3)
    assert estimate_noise((plane + rng.normal(0, 7, plane.shape)).astype(np.float32)) == pytest.approx(7, rel=0.03)
    assert estimate_noise(np.ones((2, 9), np.float32)) == 0


def test_each_channel_lies_between_its_own_percentiles() -> None:
    ramp = np.arange(10_000, dtype=np.float64).reshape(100, 100)
    inside = np.ones(ramp.shape, bool)
    found = normalise(np.stack([ramp, 100 + 2 * ramp]), inside)
    low, high = 0.01 * 9999, 0.998 * 9999
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0] ** 2, np.clip((ramp - low) / (high - low), 0, 1), atol=1e-5)
    np.testing.assert_allclose(found[1] ** 2, found[0] ** 2, atol=1e-4)


def test_the_percentiles_are_the_cells_and_the_outside_is_cleared() -> None:
    image = np.full((40, 40), 60_000, np.uint16)
    inside = np.zeros(image.shape, bool)
    inside[10:30, 10:30] = True
    image[inside] = np.arange(400)
    found = normalise(image[None], inside)[0]
    assert not found[~inside].any()
    values = found[inside] ** 2
    np.testing.assert_allclose(values, np.clip((np.arange(400) - 3.99) / (398.202 - 3.99), 0, 1), atol=1e-5)


def test_a_channel_of_pure_noise_stays_dim() -> None:
    rng = np.random.default_rng(1)
    inside = np.ones((120, 120), bool)
    noise = rng.normal(100, 10, inside.shape)
    rings = noise.copy()
    rings[::20] += 2000
    dim, bright = normalise(np.stack([noise, rings]), inside)
    # The floor is twelve deviations, so noise of one deviation has one twelfth.
    assert float((dim**2).std()) == pytest.approx(1 / 12, rel=0.06)
    assert float((dim**2).max()) < 0.6
    assert float(bright.max()) == 1


def test_joint_has_one_range_for_all_channels() -> None:
    cargo = np.array([[10, 200], [90, 50]], np.uint16)
    lysosome = np.array([[30, 20], [1000, 60]], np.uint16)
    inside = np.array([[True, True], [False, True]])
    found = normalise(np.stack([cargo, lysosome]), inside, normalization="joint")
    expected = np.array([[[10, 200], [0, 50]], [[30, 20], [0, 60]]]) / 200
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_joint_begins_at_zero_even_where_the_cell_fills_its_crop() -> None:
    planes = np.array([[[100, 400]], [[200, 300]]], np.uint16)
    found = normalise(planes, np.ones((1, 2), bool), normalization="joint")
    np.testing.assert_allclose(found, planes / 400)


@pytest.mark.parametrize("normalization", ["cell", "joint"])
def test_no_contrast_and_no_cell_give_zeros(normalization: Any) -> None:
    constant = np.full((2, 6, 6), 0 if normalization == "joint" else 500, np.uint16)
    whole = np.ones((6, 6), bool)
    assert not normalise(constant, whole, normalization=normalization).any()
    rng = np.random.default_rng(0)
    assert not normalise(rng.integers(0, 99, (2, 6, 6)), ~whole, normalization=normalization).any()


def test_raw_pixels_are_not_changed() -> None:
    planes = np.random.default_rng(0).normal(50, 9, (2, 8, 8)).astype(np.float32)
    before = planes.copy()
    normalise(planes, np.eye(8, dtype=bool))
    np.testing.assert_array_equal(planes, before)


def test_the_input_is_cargo_then_lysosome_then_zeros() -> None:
    rng = np.random.default_rng(2)
    cargo, lysosome = rng.integers(0, 4000, (2, 20, 30)).astype(np.uint16)
    inside = np.zeros((20, 30), bool)
    inside[3:17, 2:28] = True
    found = network_input(cargo, lysosome, inside, pixel_size_um=0.08)
    assert found.shape == (3, 64, 96)
    assert found.dtype == torch.float32
    assert not found[2].any()
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    normal = normalise(np.stack([cargo, lysosome]), inside)
    np.testing.assert_allclose(found[0].numpy(), loop_resample(normal[0], 0.08), atol=1e-5)
    np.testing.assert_allclose(found[1].numpy(), loop_resample(normal[1], 0.08), atol=1e-5)
    assert network_input(cargo, lysosome, inside, pixel_size_um=0.08, in_channels=2).shape == (2, 64, 96)


@pytest.mark.parametrize("normalization", ["cell", "joint"])
@pytest.mark.parametrize("shape", [(60, 47), (2, 9), (1, 1), (33, 64)])
@pytest.mark.parametrize("kind", ["rings", "flat", "outside", "dim"])
def test_where_the_network_is_the_same_values_are_made(normalization: Any, shape: tuple[int, int], kind: str) -> None:
    """Percentiles between pixels, noise of an even and an odd number of pixels, no contrast, no cell."""
    rng = np.random.default_rng(len(kind))
    planes = rng.integers(0, 200 if kind == "dim" else 2**16, (2, *shape)).astype(np.uint16)
    if kind == "flat":
        planes[:] = 700
    inside = np.zeros(shape, bool) if kind == "outside" else rng.random(shape) > 0.3
    cell = CellPixels(planes[0], planes[1], inside, 0.06, normalization)
    found = network_input_from(packed(cell), cell)
    assert found.shape == (3, *cell.model_shape)
    np.testing.assert_allclose(found.numpy(), cell.network_input().numpy(), atol=2e-6)


@settings(max_examples=50, deadline=None)
@given(
    length=st.integers(1, 30), pixel_size_um=st.floats(0.02, 0.13), place=st.integers(0, 29), start=st.integers(0, 150)
)
def test_a_cell_reaches_where_its_mask_has_a_share(length: int, pixel_size_um: float, place: int, start: int) -> None:
    inside = np.zeros((1, length), bool)
    inside[0, place % length] = True
    cell = CellPixels(inside.astype(np.float32), inside.astype(np.float32), inside, pixel_size_um)
    mask = torch.from_numpy(inside.astype(np.float64))[None]
    share = resample_linear(mask, pixel_size_um=pixel_size_um)[0, 0]
    columns = torch.arange(min(start, len(share) - 1), len(share))
    assert cell.reaches(torch.zeros(1, dtype=torch.int64), columns) >= bool(share[columns].any())
    if cell.reaches(torch.zeros(1, dtype=torch.int64), columns):
        beside = resample_linear(mask, pixel_size_um=pixel_size_um)[0, 0, max(int(columns[0]) - 7, 0) :]
        assert beside.any()
