"""Tiles: augmentation by hand, sampling where endolysosomes are, a stream that is the same for everyone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.interpolate import BSpline

from lysoquant.examples.example import Example
from lysoquant.model.preprocess import model_length
from lysoquant.train.augment import (
    PAPER,
    Augmentation,
    displacement,
    intensity_curve,
    sample,
    sampling_points,
    spline_basis,
    vary_intensities,
)
from lysoquant.train.loss import LossWeights
from lysoquant.train.sources import AnnotatedSource, MixedSource, SimulatedSource
from lysoquant.train.tiles import TileSettings, TileStream, draw_tile, prepare
from lysoquant.train.validate import STILL

Array = NDArray[Any]
SMALL = TileSettings(tile_px=64, tiles_per_scene=3)


def a_cell(size: int = 50, *, seed: int = 0, pixel_size_um: float = 0.05) -> Example:
    """A cell of 100 model pixels with a loaded square of 20 pixels and an empty one that touches it."""
    rng = np.random.default_rng(seed)
    length = model_length(size, pixel_size_um)
    regions = np.zeros((length, length), np.int32)
    regions[20:40, 30:50], regions[20:40, 50:70], regions[80:85, 80:85] = 1, 2, 3
    return Example(
        name=f"cell {seed}",
        cargo=rng.integers(100, 200, (size, size)).astype(np.uint16),
        lysosome=rng.integers(100, 200, (size, size)).astype(np.uint16),
        inside=np.ones((size, size), bool),
        pixel_size_um=pixel_size_um,
        regions=regions,
        classes=np.array([0, 2, 1, 1], np.uint8),
        ignored=regions == 3,
        docked=np.zeros(4, bool),
    )


def test_an_unmoved_tile_is_the_cells_own_pixels() -> None:
    cell = a_cell()
    prepared = prepare(cell, SMALL)
    points = sampling_points(np.array([45.5, 50.5]), 64, STILL, np.random.default_rng(0))
    np.testing.assert_allclose(points[:, 0, 0], [14, 19])
    np.testing.assert_allclose(points[:, -1, -1], [77, 82])
    image = sample(prepared.planes, points)
    np.testing.assert_allclose(image.numpy(), cell.network_input()[:2, 14:78, 19:83].numpy(), atol=2e-3)
    classes = sample(prepared.classes[None].float(), points, mode="nearest")[0]
    expected = cell.class_map[14:78, 19:83].copy()
    expected[6:26, 30:32] = 0  # where the two touch
    np.testing.assert_array_equal(classes.numpy(), expected)


def test_a_quarter_turn_and_a_mirror_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed(np.random.Generator):
        def __init__(self) -> None:
            super().__init__(np.random.PCG64(0))

        def random(self, *_a: Any, **_k: Any) -> Any:
            return 0.0

        def uniform(self, *_a: Any, **_k: Any) -> Any:
            return np.pi / 2

    image = torch.arange(25.0).reshape(1, 5, 5)
    turned = sampling_points(np.array([2.0, 2.0]), 5, replace(STILL, rotation=True), Fixed())
    np.testing.assert_allclose(sample(image, turned)[0].numpy(), np.rot90(image[0].numpy(), -1, (1, 0)), atol=1e-4)
    mirrored = sampling_points(np.array([2.0, 2.0]), 5, replace(STILL, flip=True), Fixed())
    np.testing.assert_allclose(sample(image, mirrored)[0].numpy(), image[0].numpy()[:, ::-1], atol=1e-4)


def test_beyond_the_edge_is_zero_or_the_mirror_image() -> None:
    image = torch.arange(1.0, 6.0).reshape(1, 1, 5).repeat(1, 5, 1)
    points = np.stack(np.meshgrid(np.full(1, 2.0), np.arange(-2.0, 7.0), indexing="ij"))
    assert sample(image, points)[0, 0].tolist() == pytest.approx([0, 0, 1, 2, 3, 4, 5, 0, 0])
    mirrored = np.pad(np.arange(1.0, 6.0), 2, mode="reflect")
    assert sample(image, points, mirror=True)[0, 0].tolist() == pytest.approx(mirrored.tolist(), abs=1e-4)


def test_the_elastic_grid_is_a_cubic_b_spline_with_the_recipes_deviation() -> None:
    basis = spline_basis(301, 5, 150.0)
    np.testing.assert_allclose(basis.sum(axis=1), 1)
    # At a knot the three nearest coefficients weigh 1/6, 4/6, 1/6; half way 1/48, 23/48, 23/48, 1/48.
    np.testing.assert_allclose(basis[150], [0, 1 / 6, 4 / 6, 1 / 6, 0], atol=1e-12)
    np.testing.assert_allclose(basis[75], [1 / 48, 23 / 48, 23 / 48, 1 / 48, 0], atol=1e-12)
    assert basis[0, 1] == pytest.approx(BSpline.basis_element([-2, -1, 0, 1, 2])(0))
    rng = np.random.default_rng(1)
    fields = np.stack([displacement(384, 10.0, 150.0, rng) for _ in range(200)])
    assert fields.shape == (200, 2, 384, 384)
    # Variance at a knot: 100 ((1 + 16 + 1) / 36) squared for two axes.
    assert fields[:, :, 150, 150].var() == pytest.approx(100 * (18 / 36) ** 2, rel=0.15)
    assert np.abs(np.diff(fields, axis=-1)).max() < 1


def test_intensity_curves_rise_from_black_to_white_within_their_slopes() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        curve = intensity_curve(PAPER, rng)
        black, white = float(curve(0)), float(curve(1))
        assert abs(black) <= 0.05
        assert abs(white - 1) <= 0.05
        slopes = np.diff(curve([0, 0.25, 0.5, 0.75, 1])) / 0.25 / (white - black)
        assert slopes.max() / slopes.min() <= 1.2 / 0.8 + 1e-9
        assert slopes.mean() == pytest.approx(1)
        assert (np.diff(curve(np.linspace(0, 1, 101))) > 0).all()
    still = intensity_curve(STILL, rng)
    np.testing.assert_allclose(still([0, 0.3, 1]), [0, 0.3, 1], atol=1e-12)


def test_varied_intensities_stay_in_range_and_leave_the_outside_alone() -> None:
    rng = np.random.default_rng(3)
    image = rng.random((2, 32, 32)).astype(np.float32)
    image[:, :, :8] = 0
    varied = vary_intensities(image, Augmentation(), rng)
    assert varied.dtype == np.float32
    assert 0 <= varied.min() <= varied.max() <= 1
    assert not varied[:, :, :8].any()
    assert np.abs(varied - image).max() > 0.01
    np.testing.assert_allclose(vary_intensities(image, STILL, rng), image, atol=1e-3)


def test_tiles_are_drawn_one_to_a_tenth_on_foreground_and_background() -> None:
    cell = a_cell()
    prepared = prepare(cell, SMALL)
    density = np.diff(prepared.chance, prepend=0).reshape(prepared.classes.shape)
    np.testing.assert_allclose(density[prepared.classes.numpy() > 0], 1)
    np.testing.assert_allclose(density[5:15, 5:15], 0.1)
    rng = np.random.default_rng(4)
    settings = replace(SMALL, jitter_px=0, augmentation=STILL, tile_px=65)
    centres = [draw_tile(prepared, settings, rng)[1][32, 32].item() for _ in range(400)]
    foreground = int((prepared.classes > 0).sum())
    expected = foreground / (foreground + 0.1 * (prepared.classes.numel() - foreground))
    assert np.mean(np.array(centres) > 0) == pytest.approx(expected, abs=0.08)


def test_ignored_regions_weigh_nothing_and_loss_constants_reach_the_weights() -> None:
    prepared = prepare(a_cell(), SMALL)
    assert (prepared.weights[80:85, 80:85] == 0).all()
    assert (prepared.weights[25:35, 35:45] == 1).all()
    alike = replace(a_cell(), classes=np.array([0, 1, 1, 1], np.uint8))
    without = prepare(alike, replace(SMALL, weights=LossWeights(border_factor=0))).weights[30, 50]
    # One pixel from the left square, two from the right: 50 exp(-9 / 72).
    extra = float(prepare(alike, SMALL).weights[30, 50]) - float(without)
    assert extra == pytest.approx(50 * np.exp(-(3**2) / 72), rel=0.01)


def test_a_valid_network_sees_a_wider_tile_than_it_answers_for() -> None:
    prepared = prepare(a_cell(), SMALL)
    settings = replace(SMALL, margin_px=20, augmentation=STILL, jitter_px=0)
    image, classes, weights = draw_tile(prepared, settings, np.random.default_rng(5))
    assert image.shape == (3, 104, 104)
    assert classes.shape == weights.shape == (64, 64)
    assert bool((image[:2].sum(0) > 0).float().mean() > 0.95)  # mirrored, not zero, beyond the cell's crop


def source() -> AnnotatedSource:
    return AnnotatedSource([a_cell(seed=number) for number in range(5)], seed=9)


def test_a_batch_depends_on_its_number_alone() -> None:
    stream = TileStream(source(), SMALL, seed=1, batch_size=2)
    batches = [stream.batch(number) for number in range(12)]
    later = TileStream(source(), SMALL, seed=1, batch_size=2, first_batch=10)
    for mine, other in zip(iter(later), batches[10:], strict=False):
        for a, b in zip(mine, other, strict=True):
            assert torch.equal(a, b)
        break
    assert not torch.equal(batches[0][0], batches[1][0])
    assert not torch.equal(batches[0][0], TileStream(source(), SMALL, seed=2, batch_size=2).batch(0)[0])
    images, classes, weights = batches[0]
    assert images.shape == (2, 3, 64, 64)
    assert (images.dtype, classes.dtype, weights.dtype) == (torch.float32, torch.int64, torch.float32)


def test_worker_processes_change_nothing() -> None:
    settings = replace(SMALL, tile_px=32)
    taken = {}
    for workers in (0, 1, 2):
        stream = TileStream(source(), settings, seed=1, batch_size=1)
        loader = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=workers)
        taken[workers] = [batch[0] for batch, _ in zip(loader, range(6), strict=False)]
    for workers in (1, 2):
        assert all(torch.equal(a, b) for a, b in zip(taken[0], taken[workers], strict=True))


def test_a_set_of_cells_is_prepared_once_for_its_tiles() -> None:
    asked = []

    class Counting:
        description = "counting"

        def cells(self, number: int) -> list[Example]:
            asked.append(number)
            return [a_cell(seed=number)]

    stream = TileStream(Counting(), SMALL, seed=1, batch_size=2)
    for number in range(8 * SMALL.tiles_per_scene):
        stream.batch(number)
    assert sorted(asked) == list(range(16))
    stream.batch(8 * SMALL.tiles_per_scene)
    assert sorted(asked) == list(range(18))


def test_annotated_cells_come_once_a_round_and_mixed_ones_in_their_share() -> None:
    names = [source().cells(number)[0].name for number in range(10)]
    assert sorted(names[:5]) == sorted(names[5:]) == [f"cell {n}" for n in range(5)]
    assert "5 annotated cells with 15 outlines" in source().description
    assert source().description != replace(source(), examples=source().examples[:4]).description
    mixed = MixedSource(source(), SimulatedSource(seed=0, extent_um=9), simulated_share=0.5)
    kinds = ["cell" in mixed.cells(number)[0].name for number in range(24)]
    assert 6 <= sum(kinds) <= 18
    assert mixed.description.startswith(source().description)
