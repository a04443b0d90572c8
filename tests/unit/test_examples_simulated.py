"""Cells cut from simulated scenes, the held-out conditions, and the second simulator."""

from __future__ import annotations

import ast
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from lysoquant.examples import example as example_module
from lysoquant.examples.heldout import held_out, outside, rescaled, tuning, wide
from lysoquant.examples.simulated import cut_cell, found_cells, to_model, training_examples, true_cells
from lysoquant.model.preprocess import model_length
from lysoquant.simulate import flat
from lysoquant.simulate.flat import draw_ellipses, simulate_flat
from lysoquant.simulate.randomise import random_settings
from lysoquant.simulate.scene import Scene, simulate_scene
from lysoquant.units import MIN_AREA_UM2


@pytest.fixture(scope="module")
def scene() -> Scene:
    rng = np.random.default_rng(11)
    settings = random_settings(rng, extent_um=10)
    settings = replace(settings, optics=replace(settings.optics, pixel_size_um=0.1), shape=(100, 100))
    return simulate_scene(settings, rng)


def test_a_cells_truth_is_the_scenes_at_the_models_pixel_size(scene: Scene) -> None:
    inside = scene.cells == np.bincount(scene.cells[scene.cells > 0]).argmax()
    box = ndimage.find_objects(inside.astype(np.uint8))[0]
    example = cut_cell(scene, inside, name="one")
    assert example.regions.shape == tuple(model_length(length, 0.1) for length in inside[box].shape)
    np.testing.assert_array_equal(example.lysosome, scene.image[1][box])
    np.testing.assert_array_equal(example.cargo, scene.image[2][box])
    # Every fourth model pixel is one of the field's own.
    table = np.concatenate([[0], np.where(scene.loaded, 2, 1)])
    expected = table[scene.regions[box]] * inside[box]
    rows, columns = (np.arange(length) * 4 for length in expected.shape)
    found = example.class_map[np.ix_(rows, columns)]
    assert expected.any()
    assert np.count_nonzero(found != expected) <= 0.01 * np.count_nonzero(expected)
    assert np.unique(example.regions).tolist() == list(range(len(example.classes)))
    assert len(example.docked) == len(example.classes)


def test_regions_under_the_smallest_annotated_one_are_ignored(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.ones(scene.cells.shape, bool)
    example = cut_cell(scene, whole, name="all")
    areas = np.bincount(example.regions.ravel()) * 0.025**2
    for number in range(1, len(areas)):
        assert example.ignored[example.regions == number].all() == (areas[number] < MIN_AREA_UM2)
    assert not example.ignored[example.regions == 0].any()
    monkeypatch.setattr(example_module, "MIN_AREA_UM2", 1e9)
    assert cut_cell(scene, whole, name="all").ignored[example.regions > 0].all()


def test_labels_are_taken_to_the_model_by_the_nearest_pixel() -> None:
    labels = np.arange(6).reshape(2, 3)
    found = to_model(labels, 0.06)
    assert found.shape == (5, 7)
    # i / s with s = 2.4: 0, 0.42, 0.83, 1.25, 1.67, 2.08, 2.5.
    assert found[0].tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert found[:, 0].tolist() == [0, 0, 3, 3, 3]


def test_cells_are_found_well_and_badly() -> None:
    shares = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scene = simulate_scene(random_settings(rng, extent_um=14), rng)
        for mask in found_cells(scene, rng):
            assert mask.any()
            shares.append(max((mask & (scene.cells == n)).sum() / mask.sum() for n in range(1, scene.cells.max() + 1)))
    assert max(shares) == 1
    assert min(shares) < 0.8


def test_training_cells_depend_on_seed_and_number() -> None:
    first, again, other = (training_examples(seed=1, number=n, extent_um=9) for n in (3, 3, 4))
    assert [e.regions.shape for e in first] == [e.regions.shape for e in again]
    assert all((a.lysosome == b.lysosome).all() for a, b in zip(first, again, strict=True))
    assert other[0].lysosome.shape != first[0].lysosome.shape or (other[0].lysosome != first[0].lysosome).any()


def test_true_cells_leave_out_slivers() -> None:
    rng = np.random.default_rng(0)
    scene = simulate_scene(random_settings(rng, extent_um=16), rng)
    found = true_cells(scene, name="s")
    areas = [np.count_nonzero(e.inside) * e.pixel_size_um**2 for e in found]
    assert min(areas) >= 40
    assert len(found) == sum(
        np.count_nonzero(scene.cells == n) * found[0].pixel_size_um ** 2 >= 40 for n in range(1, scene.cells.max() + 1)
    )


def test_held_out_conditions_are_what_their_names_say() -> None:
    names = [f"0.12 um, low noise, {case}" for case in ("docked", "clustered")]
    (first, docked), (second, clustered) = held_out(seed=3, only=names)
    assert [first, second] == names
    assert docked.pixel_size_um == clustered.pixel_size_um == 0.12
    assert docked.docked.sum() >= 3
    assert not (docked.docked & (docked.classes == 2)).any()
    assert len(clustered.classes) > 15


def test_held_out_conditions_are_36_and_repeat() -> None:
    first = [name for name, _ in itertools.islice(held_out(seed=1), 3)]
    assert first == [f"0.04 um, low noise, {case}" for case in ("typical", "docked", "clustered")]
    a, b, c = (next(held_out(seed=seed))[1] for seed in (1, 1, 2))
    assert (a.lysosome == b.lysosome).all()
    assert a.lysosome.shape != c.lysosome.shape or (a.lysosome != c.lysosome).any()


def test_a_binned_cell_is_the_same_cell_at_twice_the_pixel_size() -> None:
    (first, taken), (second, half) = rescaled(seed=1, count=1)
    assert (first, second) == ("0.05 um, as taken", "0.1 um, binned")
    assert taken.name == half.name
    assert half.pixel_size_um == 2 * taken.pixel_size_um == 0.1
    assert half.cargo[3, 5] == round(float(taken.cargo[6:8, 10:12].mean()))
    assert half.regions.shape == tuple(model_length(n, 0.1) for n in half.inside.shape)
    rows, columns = half.regions.shape
    np.testing.assert_array_equal(half.regions, taken.regions[:rows, :columns])


def test_streams_for_tuning_and_tests_do_not_share_cells() -> None:
    cells = [next(iter(stream))[1] for stream in (tuning(seed=1, count=1), wide(seed=1, count=1), held_out(seed=1))]
    assert len({cell.lysosome.tobytes() for cell in cells}) == 3


def test_the_second_simulators_outlines_reach_a_margin_beyond_the_ridge() -> None:
    circle = np.array([[2.0, 2.0, 0.5, 0.5, 0.3]])
    labels = draw_ellipses(circle, shape=(400, 400), pixel_size_um=0.01)
    assert np.count_nonzero(labels) * 1e-4 == pytest.approx(np.pi * 0.54**2, rel=0.01)
    ellipse = np.array([[2.0, 2.0, 0.8, 0.4, 0.0]])
    labels = draw_ellipses(ellipse, shape=(400, 400), pixel_size_um=0.01)
    rows, columns = (np.flatnonzero(labels.any(axis=axis)) * 0.01 for axis in (1, 0))
    assert np.ptp(rows) == pytest.approx(1.68, abs=0.02)
    assert np.ptp(columns) == pytest.approx(0.88, abs=0.02)
    two = np.array([[2.0, 1.5, 0.5, 0.5, 0], [2.0, 2.5, 0.5, 0.5, 0]])
    labels = draw_ellipses(two, shape=(400, 400), pixel_size_um=0.01)
    assert labels[200, 195] == 1
    assert labels[200, 205] == 2


def test_the_second_simulator_draws_what_its_truth_says() -> None:
    scene = simulate_flat(np.random.default_rng(2), pixel_size_um=0.05, photons=200, docked=0.5)
    labels = draw_ellipses(scene.ellipses, shape=scene.inside.shape, pixel_size_um=0.05)
    core = ndimage.binary_erosion(labels > 0, iterations=4) * labels
    mean = ndimage.mean(scene.cargo, core, np.arange(1, len(scene.classes) + 1))
    ring = ndimage.mean(scene.lysosome, (labels - core) * scene.inside, np.arange(1, len(scene.classes) + 1))
    seen = np.isfinite(mean)
    loaded = scene.classes[seen] == 2
    assert np.median(mean[seen][loaded]) > 1.5 * np.median(mean[seen][~loaded])
    background = np.median(scene.lysosome[scene.inside & (labels == 0)])
    assert np.nanmedian(ring) > background
    assert scene.docked.any()
    assert not (scene.docked & (scene.classes == 2)).any()


def test_the_second_simulator_is_independent_of_the_first() -> None:
    tree = ast.parse(Path(flat.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any("simulate" in str(name) for name in imported)


def test_cells_of_the_second_simulator_cover_pixel_sizes_and_brightness() -> None:
    found = list(outside(seed=1, count=5))
    assert [example.pixel_size_um for _, example in found] == [0.04, 0.065, 0.09, 0.12, 0.04]
    assert found[0][0] == "0.04 um, 20 photo-electrons, second simulator"
    assert found[4][0] == "0.04 um, 50 photo-electrons, second simulator"
    for _, example in found:
        assert example.class_map.shape == example.regions.shape == example.ignored.shape
        assert set(np.unique(example.class_map)) == {0, 1, 2}
