"""Training: the loss by hand, tiles against the truth's geometry, and a loop that learns, stops and goes on."""

from __future__ import annotations

import csv
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from network_kit import TINY
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.errors import InputError
from lysoquant.model.network import Architecture
from lysoquant.model.preprocess import network_input
from lysoquant.model.weights import load_model
from lysoquant.simulate.randomise import random_settings
from lysoquant.simulate.scene import Scene, simulate_scene
from lysoquant.train import tiles as tiles_module
from lysoquant.train.loop import TrainSettings, learning_rate, train
from lysoquant.train.loss import class_cross_entropy, pixel_weights, separate_touching, weighted_cross_entropy
from lysoquant.train.tiles import SceneTiles, TileSettings, cut_tiles, scene_tiles

Array = NDArray[Any]
SMALL = TileSettings(tile_px=64, tiles_per_scene=3, extent_um=9)
QUICK = TrainSettings(
    iterations=4, batch_size=2, warm_up=1, workers=0, checkpoint_every=2, architecture=TINY, tiles=SMALL
)


def two_squares() -> tuple[Array, Array]:
    """Empty squares of 10 px, six columns apart (columns 20 to 25 lie between)."""
    regions = np.zeros((40, 60), np.int32)
    regions[15:25, 10:20], regions[15:25, 26:36] = 1, 2
    return regions, (regions > 0).astype(np.uint8)


def test_foreground_weighs_one_and_the_gap_between_two_instances_most() -> None:
    regions, classes = two_squares()
    weights = pixel_weights(regions, classes)
    assert weights.dtype == np.float32
    assert (weights[regions > 0] == 1).all()
    # Column 22 is 3 px from the left square and 4 px from the right one.
    by_hand = 0.1 + 50 * np.exp(-((3 + 4) ** 2) / 72) + 0.9 * np.exp(-(3**2) / 200)
    assert weights[20, 22] == pytest.approx(by_hand, rel=1e-6)
    # Column 5 is 5 px from the left square and 21 px from the right one: the border term is gone.
    assert weights[20, 5] == pytest.approx(0.1 + 0.9 * np.exp(-25 / 200), abs=0.01)
    assert weights[20, 59] < weights[20, 40] < weights[20, 37]


def test_the_two_classes_do_not_push_each_other_apart() -> None:
    regions, classes = two_squares()
    classes[regions == 2] = 2
    weights = pixel_weights(regions, classes)
    # One instance of each class: balance of both, no border.
    by_hand = 0.1 + 0.9 * np.exp(-(3**2) / 200) + 0.9 * np.exp(-(4**2) / 200)
    assert weights[20, 22] == pytest.approx(by_hand, rel=1e-6)


def test_the_border_term_takes_the_two_nearest_of_many() -> None:
    rng = np.random.default_rng(0)
    regions = np.zeros((60, 60), np.int32)
    for number in range(1, 7):
        y, x = rng.integers(5, 50, 2)
        regions[y : y + 5, x : x + 5] = number
    classes = (regions > 0).astype(np.uint8)
    distances = np.sort([ndimage.distance_transform_edt(regions != n) for n in np.unique(regions[regions > 0])], axis=0)
    expected = 0.1 + 50 * np.exp(-((distances[0] + distances[1]) ** 2) / 72) + 0.9 * np.exp(-(distances[0] ** 2) / 200)
    found = pixel_weights(regions, classes)
    # Beyond three sigma the term counts as nothing: 50 exp(-18^2 / 72) is 0.56.
    near = (regions == 0) & (distances[1] <= 18)
    np.testing.assert_allclose(found[near], expected[near], rtol=1e-5)


def test_no_foreground_leaves_the_background_weight() -> None:
    nothing = np.zeros((5, 6), np.int32)
    np.testing.assert_allclose(pixel_weights(nothing, nothing), 0.1)


def test_pixels_where_regions_meet_are_cleared_on_both_sides() -> None:
    regions = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [0, 3, 3, 0], [4, 0, 0, 0]])
    expected = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(separate_touching(regions), expected)


def test_weighted_cross_entropy_by_hand() -> None:
    scores = torch.zeros(1, 3, 1, 2)
    scores[0, 1, 0, 0] = 2.0
    classes = torch.tensor([[[1, 0]]])
    weights = torch.tensor([[[3.0, 1.0]]])
    first, second = -np.log(np.exp(2) / (np.exp(2) + 2)), np.log(3)
    found = weighted_cross_entropy(scores, classes, weights)
    assert float(found) == pytest.approx((3 * first + 1 * second) / 4, rel=1e-6)
    assert float(weighted_cross_entropy(scores, classes, 10 * weights)) == pytest.approx(float(found), rel=1e-6)
    assert float(weighted_cross_entropy(scores, classes, 0 * weights)) == 0


def test_the_learning_rate_rises_stays_and_falls() -> None:
    settings = TrainSettings(iterations=1000, learning_rate=1e-3, warm_up=100, decay_share=0.4)
    assert learning_rate(settings, 0) == pytest.approx(1e-5)
    assert learning_rate(settings, 49) == pytest.approx(5e-4)
    assert learning_rate(settings, 99) == learning_rate(settings, 599) == pytest.approx(1e-3)
    assert learning_rate(settings, 800) == pytest.approx(1e-3 * (0.02 + 0.98 / 2))
    assert learning_rate(settings, 1000) == pytest.approx(2e-5)
    rates = [learning_rate(settings, n) for n in range(600, 1000)]
    assert all(after < before for before, after in itertools.pairwise(rates))


@pytest.mark.parametrize("number", [0, 3])
def test_tiles_have_their_shapes_and_ranges(number: int) -> None:
    tiles = scene_tiles(SMALL, seed=2, number=number)
    assert 1 <= len(tiles) <= 3
    for tile in tiles:
        assert (tile.image.shape, tile.image.dtype) == ((3, 64, 64), torch.float32)
        assert (tile.classes.shape, tile.classes.dtype) == ((64, 64), torch.int64)
        assert (tile.weights.shape, tile.weights.dtype) == ((64, 64), torch.float32)
        assert 0 <= float(tile.image.min()) <= float(tile.image.max()) <= 1
        assert not tile.image[2].any()
        assert set(tile.classes.unique().tolist()) <= {0, 1, 2}
        assert set(tile.weights[tile.classes > 0].unique().tolist()) <= {0, 1}
        assert bool((tile.weights[(tile.classes == 0) & (tile.weights != 0)] >= 0.0999).all())


def test_the_same_seed_and_scene_give_the_same_tiles() -> None:
    first, again, other = (scene_tiles(SMALL, seed=seed, number=1) for seed in (5, 5, 6))
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.image, b.image)
        assert torch.equal(a.classes, b.classes)
        assert torch.equal(a.weights, b.weights)
    assert not torch.equal(first[0].image, other[0].image)


@pytest.fixture(scope="module")
def scene() -> Scene:
    rng = np.random.default_rng(11)
    settings = random_settings(rng, extent_um=10)
    settings = replace(settings, optics=replace(settings.optics, pixel_size_um=0.1), shape=(100, 100))
    return simulate_scene(settings, rng)


class Still(np.random.Generator):
    """A generator that leaves tiles unturned and their intensities alone: the next tile comes from `corner`."""

    def __init__(self, corner: float) -> None:
        super().__init__(np.random.PCG64(0))
        self.corner = corner

    def random(self, *_args: Any, **_options: Any) -> Any:
        return 0.9

    def integers(self, *_args: Any, **_options: Any) -> Any:
        return 0

    def normal(self, *_args: Any, **_options: Any) -> Any:
        return 0.0

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = None) -> Any:
        return 1.0 if size is None else np.full(size, self.corner)


@pytest.mark.parametrize("corner", [0.0, 0.35, 0.6])
def test_image_and_classes_of_a_tile_lie_at_the_same_place(scene: Scene, corner: float) -> None:
    inside = scene.cells == np.bincount(scene.cells[scene.cells > 0]).argmax()
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    (tile, *_) = cut_tiles(scene, inside, replace(SMALL, tile_px=96), Still(corner), count=1)
    image = network_input(scene.image[2][box], scene.image[1][box], inside[box], pixel_size_um=0.1)
    room = np.array(image.shape[1:]) - 96
    assert (room > 0).all()
    y, x = (corner * room).astype(int)
    np.testing.assert_allclose(tile.image.numpy(), image[:, y : y + 96, x : x + 96].numpy(), atol=1e-6)
    # The truth redrawn from the geometry, at the field's own pixels: every fourth model pixel of the crop.
    table = np.concatenate([[0], np.where(scene.loaded, 2, 1)])
    coarse = table[scene.regions[box]] * inside[box]
    rows, columns = (np.arange(-(-start // 4), (start + 96) // 4) for start in (y, x))
    expected = coarse[np.ix_(rows, columns)]
    found = tile.classes.numpy()[np.ix_(4 * rows - y, 4 * columns - x)]
    differs = (found != expected) & (found != 0)  # pixels between touching regions became background
    assert expected.any()
    assert not differs.any()
    assert np.count_nonzero(found != expected) <= 0.25 * np.count_nonzero(expected)


def test_regions_below_the_smallest_annotated_one_do_not_count(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """0.13 um2 are 208 model pixels."""
    regions = np.zeros((30, 60), np.int32)
    regions[2:15, 2:18], regions[2:11, 20:43] = 2, 5
    assert np.bincount(regions.ravel())[[2, 5]].tolist() == [208, 207]
    np.testing.assert_array_equal(tiles_module._too_small(regions), regions == 5)
    inside = scene.cells == np.bincount(scene.cells[scene.cells > 0]).argmax()
    weights = {}
    for limit in (0.0, 1e9):
        monkeypatch.setattr(tiles_module, "MIN_AREA_UM2", limit)
        (tile, *_) = cut_tiles(scene, inside, replace(SMALL, tile_px=96), Still(0.35), count=1)
        weights[limit] = tile.weights.numpy()
    assert (weights[0.0] > 0).all()
    assert (weights[1e9][tile.classes.numpy() > 0] == 0).all()
    np.testing.assert_array_equal(weights[0.0][weights[1e9] > 0], weights[1e9][weights[1e9] > 0])


def test_a_cell_smaller_than_a_tile_is_padded_with_background(scene: Scene) -> None:
    inside = np.zeros(scene.cells.shape, bool)
    inside[40:50, 40:45] = True
    (tile,) = cut_tiles(scene, inside, SMALL, np.random.default_rng(0), count=1)
    assert tile.image.shape == (3, 64, 64)
    assert np.count_nonzero(tile.image[:2].numpy().any(axis=0)) <= 40 * 20
    outside = ~tile.image[:2].numpy().any(axis=0)
    assert np.count_nonzero(outside & (tile.classes.numpy() > 0)) < 60


def test_an_empty_mask_gives_no_tile(scene: Scene) -> None:
    nothing = np.zeros(scene.cells.shape, bool)
    assert cut_tiles(scene, nothing, SMALL, np.random.default_rng(0), count=3) == []


def test_the_stream_goes_through_the_scenes_from_its_start() -> None:
    expected = [tile for number in (4, 5) for tile in scene_tiles(SMALL, seed=1, number=number)]
    stream = itertools.islice(SceneTiles(SMALL, seed=1, first_scene=4), len(expected))
    for (image, classes, weights), tile in zip(stream, expected, strict=True):
        assert torch.equal(image, tile.image)
        assert torch.equal(classes, tile.classes)
        assert torch.equal(weights, tile.weights)


def log(folder: Path) -> list[int]:
    with (folder / "log.csv").open(newline="") as handle:
        return [int(row["iteration"]) for row in csv.DictReader(handle)]


def test_a_run_leaves_a_model_that_loads_with_its_card(tmp_path: Path) -> None:
    path = train(folder=tmp_path, settings=QUICK)
    model = load_model(path)
    assert model.card.architecture == TINY
    assert model.card.normalization == "cell"
    assert model.card.training["iterations"] == 4
    assert model.card.training["seed"] == 0
    assert log(tmp_path) == [2, 4]


def test_a_stopped_run_goes_on_at_its_iteration_with_its_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after two of four steps and called again, it ends with the weights of a run that was not stopped."""
    settings = replace(QUICK, tiles=replace(SMALL, tiles_per_scene=2))  # a scene a step, so that scenes line up

    def exactly_two(tile_settings: TileSettings, *, seed: int, number: int) -> list[Any]:
        return (scene_tiles(tile_settings, seed=seed, number=number) * 2)[:2]

    monkeypatch.setattr(tiles_module, "scene_tiles", exactly_two)
    whole = load_model(train(folder=tmp_path / "whole", settings=settings)).network.state_dict()

    class StopError(Exception):
        pass

    calls = []
    step = train.__globals__["_step"]

    def stop_at_three(*args: Any) -> float:
        calls.append(args[5])
        if len(calls) == 3:
            raise StopError
        return float(step(*args))

    monkeypatch.setitem(train.__globals__, "_step", stop_at_three)
    with pytest.raises(StopError):
        train(folder=tmp_path / "cut", settings=settings)
    path = train(folder=tmp_path / "cut", settings=settings)
    assert calls == [0, 1, 2, 2, 3]
    assert log(tmp_path / "cut") == [2, 4]
    for name, value in load_model(path).network.state_dict().items():
        torch.testing.assert_close(value, whole[name])


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    before = train(folder=tmp_path, settings=replace(QUICK, iterations=1)).read_bytes()
    assert train(folder=tmp_path, settings=replace(QUICK, iterations=1)).read_bytes() == before
    assert log(tmp_path) == [1]


def test_another_network_or_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    train(folder=tmp_path, settings=replace(QUICK, iterations=1))
    with pytest.raises(InputError, match=r"is a run of the network .*give another --output"):
        train(folder=tmp_path, settings=replace(QUICK, architecture=Architecture(levels=3, base_features=5)))
    checkpoint = tmp_path / "checkpoint.pt"
    for damage in (checkpoint.read_bytes()[:300], b"", b"no checkpoint"):
        checkpoint.write_bytes(damage)
        with pytest.raises(InputError, match=r"checkpoint\.pt: damaged, or no checkpoint of lysoquant"):
            train(folder=tmp_path, settings=QUICK)


def test_a_tiny_network_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one batch of tiles, shown again and again, the loss falls by far."""
    tiles = scene_tiles(SMALL, seed=0, number=0)
    monkeypatch.setattr(tiles_module, "scene_tiles", lambda *_a, **_o: tiles)
    losses = []
    step = train.__globals__["_step"]
    monkeypatch.setitem(train.__globals__, "_step", lambda *args: losses.append(step(*args)) or losses[-1])
    settings = replace(QUICK, iterations=40, checkpoint_every=40, learning_rate=5e-3, warm_up=1)
    train(folder=tmp_path, settings=settings)
    assert len(losses) == 40
    assert np.mean(losses[-5:]) < 0.7 * losses[0]


def test_the_class_term_looks_at_the_foreground_alone() -> None:
    classes = torch.tensor([[[0, 1, 2, 2]]])
    weights = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
    scores = torch.zeros(1, 3, 1, 4)
    scores[0, :, 0, 0] = torch.tensor([9.0, -9, 9])  # background: must not count
    scores[0, :, 0, 1] = torch.tensor([5.0, 1, 0])
    scores[0, :, 0, 2] = torch.tensor([-5.0, 0, 2])
    scores[0, :, 0, 3] = torch.tensor([0.0, 9, -9])  # weight 0: must not count
    expected = (np.log(1 + np.exp(-1)) + np.log(1 + np.exp(-2))) / 2
    assert float(class_cross_entropy(scores, classes, weights)) == pytest.approx(expected, rel=1e-6)
    assert float(class_cross_entropy(scores, torch.zeros_like(classes), weights)) == 0
