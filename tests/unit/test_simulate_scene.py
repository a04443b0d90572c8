"""Scenes: the same seed gives the same bytes, and the picture shows what the truth says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.simulate.optics import Camera, Optics
from lysoquant.simulate.randomise import random_settings
from lysoquant.simulate.scene import Scene, regions_at, simulate_scene
from lysoquant.simulate.settings import Appearance, Biology, SceneSettings, SecondCargo

Array = NDArray[Any]

PLAIN = SceneSettings(
    shape=(220, 220),
    biology=Biology(occupancy=0.5, docked=0.5, transfected=1, cell_radius_um=9, cell_spacing_um=11, per_cell=90),
    appearance=Appearance(
        radius_um=0.6, radius_spread=0.15, out_of_focus=0, clustering=0, brightness_spread=0.1, haze=0, tubules=0,
        specks=0, luminal=0, partial=0, inclusions=0, bleed=0, expression_spread=0, load=(4, 5), vignetting=0,
    ),
    optics=Optics(pixel_size_um=0.08, sigma_um=0.08, leak=0),
    camera=Camera(photons=400, read_noise=1),
)  # fmt: skip


def scene(settings: SceneSettings = PLAIN, seed: int = 4) -> Scene:
    return simulate_scene(settings, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def plain() -> Scene:
    return scene()


def whole(found: Scene) -> list[int]:
    """Vesicles cut near their equator, away from the border of the field."""
    pixel, extent = found.settings.optics.pixel_size_um, found.settings.shape[0] * found.settings.optics.pixel_size_um
    v = found.vesicles
    inside = ((v.centre_um[:, :2] > 1) & (v.centre_um[:, :2] < extent - 1)).all(axis=1)
    area = np.bincount(found.regions.ravel(), minlength=len(v) + 1)[1:] * pixel**2
    chosen = inside & v.is_cut() & (np.abs(v.centre_um[:, 2]) < 0.4 * v.radius_um) & (area > 2 * v.radius_um**2)
    return np.flatnonzero(chosen).tolist()


def at(found: Scene, channel: int, which: int, low: float, high: float) -> float:
    """Mean grey value between two distances from a vesicle's centre, in radii of its section."""
    pixel = found.settings.optics.pixel_size_um
    y, x = (np.arange(length) * pixel for length in found.settings.shape)
    v = found.vesicles
    section = np.sqrt(v.radius_um[which] ** 2 - v.centre_um[which, 2] ** 2)
    away = np.hypot(y[:, None] - v.centre_um[which, 0], x[None] - v.centre_um[which, 1]) / section
    near = (away >= low) & (away <= high)
    if high > 1:
        near &= found.regions == 0
    return float(found.image[channel][near].mean()) - found.settings.camera.offset if near.any() else np.nan


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    small = replace(PLAIN, shape=(90, 90))
    first, again, other = scene(small, 1), scene(small, 1), scene(small, 2)
    for name in ("image", "cells", "nuclei", "regions", "loaded"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
    assert first.image.tobytes() != other.image.tobytes()


def test_a_second_cargo_has_a_channel_and_a_truth_of_its_own_and_changes_nothing_else(plain: Scene) -> None:
    found = scene(replace(PLAIN, second_cargo=SecondCargo(0.5, docked=0)))
    assert plain.second is None
    assert found.second is not None
    assert found.image.shape == (4, 220, 220)
    np.testing.assert_array_equal(found.image[:3], plain.image)
    for name in ("cells", "nuclei", "regions", "loaded", "docked", "transfected"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    # Neither cargo tells of the other: with the first or without, about half hold the second.
    for of_first in (found.loaded, ~found.loaded):
        assert found.second.loaded[of_first].mean() == pytest.approx(0.5, abs=0.2)
    lumens = {which: at(found, 3, which, 0, 0.5) for which in whole(found)}
    held = [value for which, value in lumens.items() if found.second.loaded[which]]
    empty = [value for which, value in lumens.items() if not found.second.loaded[which]]
    assert min(len(held), len(empty)) >= 3
    assert min(held) > 2 * np.median(empty)


def test_shapes_types_and_numbers_fit_together(plain: Scene) -> None:
    assert plain.image.shape == (3, 220, 220)
    assert plain.image.dtype == np.uint16
    count = int(plain.cells.max())
    assert np.unique(plain.cells[plain.cells > 0]).tolist() == list(range(1, count + 1))
    assert plain.transfected.shape == (count,)
    on_nuclei = plain.nuclei > 0
    np.testing.assert_array_equal(plain.nuclei[on_nuclei], plain.cells[on_nuclei])
    assert not (plain.regions[plain.cells == 0]).any()
    drawn = np.unique(plain.regions[plain.regions > 0]) - 1
    assert len(drawn) > 15
    assert plain.vesicles.is_cut()[drawn].all()
    assert not (plain.loaded & plain.docked).any()


def test_rings_are_hollow_in_the_lysosome_channel(plain: Scene) -> None:
    chosen = whole(plain)
    assert len(chosen) >= 8
    rim = np.array([at(plain, 1, which, 0.9, 1.0) for which in chosen])
    lumen = np.array([at(plain, 1, which, 0, 0.35) for which in chosen])
    assert (rim > 1.5 * lumen).all()


def test_loaded_lumens_are_brighter_in_cargo_than_empty_ones(plain: Scene) -> None:
    lumen = {which: at(plain, 2, which, 0, 0.5) for which in whole(plain)}
    loaded = [value for which, value in lumen.items() if plain.loaded[which]]
    empty = [value for which, value in lumen.items() if not plain.loaded[which]]
    assert min(len(loaded), len(empty)) >= 3
    assert min(loaded) > 2 * max(empty)


def test_docked_vesicles_are_empty_and_have_cargo_around() -> None:
    """The same scene with every empty vesicle docked and with none: the difference lies outside the membranes."""
    bare = replace(PLAIN, biology=replace(PLAIN.biology, occupancy=0.0, docked=0.0))
    full = replace(PLAIN, biology=replace(PLAIN.biology, occupancy=0.0, docked=1.0))
    found, without = scene(full), scene(bare)
    assert found.docked.all()
    assert not found.loaded.any()
    assert not without.docked.any()
    np.testing.assert_array_equal(found.regions, without.regions)
    chosen = whole(found)

    def gain(low: float, high: float) -> Array:
        return np.array([at(found, 2, which, low, high) - at(without, 2, which, low, high) for which in chosen])

    around, lumen = gain(1.05, 1.4), gain(0, 0.4)
    assert np.mean(around > 0) > 0.9
    assert around.mean() > 5 * abs(lumen.mean())
    assert np.median([at(found, 2, which, 1.05, 1.4) / at(found, 2, which, 0, 0.4) for which in chosen]) > 4


def test_cells_that_are_not_transfected_have_no_cargo() -> None:
    found = scene(replace(PLAIN, biology=replace(PLAIN.biology, transfected=0.5)), seed=8)
    signal = found.image[2].astype(float) - found.settings.camera.offset
    inner = ndimage.minimum_filter(found.cells, 15) == ndimage.maximum_filter(found.cells, 15)
    means = [signal[(found.cells == n) & inner].mean() for n in range(1, len(found.transfected) + 1)]
    expressing = [mean for mean, on in zip(means, found.transfected, strict=True) if on]
    silent = [mean for mean, on in zip(means, found.transfected, strict=True) if not on]
    assert expressing
    assert silent
    assert max(silent) < 0.2 * min(expressing)
    owners = found.transfected[found.vesicles.cell]
    assert not (found.loaded | found.docked)[~owners].any()


def test_occupancy_is_the_conditions() -> None:
    crowded = replace(
        PLAIN,
        biology=replace(PLAIN.biology, occupancy=0.75, docked=0, per_cell=600),
        appearance=replace(PLAIN.appearance, radius_um=0.2),
    )
    found = scene(crowded)
    assert len(found.loaded) > 150
    assert found.loaded.mean() == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / len(found.loaded)))


def test_nuclei_are_bright_and_endolysosomes_keep_off_them(plain: Scene) -> None:
    inside, outside = plain.image[0][plain.nuclei > 0].mean(), plain.image[0][plain.nuclei == 0].mean()
    assert inside - 100 > 3 * (outside - 100)
    places = np.rint(plain.vesicles.centre_um[:, :2] / 0.08).astype(int)
    assert not plain.nuclei[tuple(places.T)].any()


def test_the_truth_redrawn_at_another_pixel_size_agrees(plain: Scene) -> None:
    same = regions_at(plain, pixel_size_um=0.08, shape=(220, 220))
    np.testing.assert_array_equal(np.where(plain.cells > 0, same, 0), plain.regions)
    fine = regions_at(plain, pixel_size_um=0.04, shape=(440, 440))
    np.testing.assert_array_equal(fine[::2, ::2], same)


def test_a_field_without_cells_or_without_endolysosomes() -> None:
    lone = replace(PLAIN.biology, cell_radius_um=0.1, cell_spacing_um=500, per_cell=0)
    nobody = scene(replace(PLAIN, biology=lone), seed=8)  # the only cell of this seed lies beyond the border
    assert not nobody.cells.any()
    assert len(nobody.vesicles) == 0
    assert not nobody.regions.any()
    bare = scene(replace(PLAIN, shape=(60, 60), biology=replace(PLAIN.biology, per_cell=0)))
    assert len(bare.vesicles) == 0
    assert bare.image.shape == (3, 60, 60)


@pytest.mark.parametrize("seed", range(4))
def test_random_settings_stay_in_their_ranges_and_make_scenes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    settings = random_settings(rng, extent_um=9)
    assert 0.038 <= settings.optics.pixel_size_um <= 0.125
    assert settings.shape == (round(9 / settings.optics.pixel_size_um),) * 2
    assert 0 <= settings.biology.occupancy <= 1
    found = simulate_scene(settings, rng)
    assert int(found.image.max()) <= settings.camera.maximum
