"""Optics and camera against their formulas; sections against spheres."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lysoquant.simulate.optics import Camera, Optics, Points, bin_pixels, image_points, join
from lysoquant.simulate.vesicles import (
    Vesicles,
    classes,
    docked_points,
    draw_sections,
    excluded_share,
    lumen_points,
    membrane_points,
    settle,
)

Array = NDArray[Any]


def point(y: float, x: float, z: float = 0.0, weight: float = 1.0) -> Points:
    return Points(np.array([[y, x, z]], np.float32), np.array([weight], np.float32))


def moments(image: Array, pixel_size_um: float) -> tuple[float, float, float, float]:
    """Integral, centre (y, x) and lateral variance along y."""
    y, x = (np.arange(length) * pixel_size_um for length in image.shape)
    total = image.sum()
    centre_y, centre_x = (image.sum(axis=1) @ y) / total, (image.sum(axis=0) @ x) / total
    variance = image.sum(axis=1) @ (y - centre_y) ** 2 / total
    return total * pixel_size_um**2, centre_y, centre_x, variance


@pytest.mark.parametrize("pixel_size_um", [0.04, 0.06, 0.1, 0.12])
def test_a_points_image_integrates_to_its_weight_at_its_place(pixel_size_um: float) -> None:
    optics = Optics(pixel_size_um=pixel_size_um, sigma_um=0.1, leak=0)
    size = round(3 / pixel_size_um)
    image = image_points(point(1.234, 1.777, weight=5), shape=(size, size), optics=optics)
    total, y, x, variance = moments(image, pixel_size_um)
    assert total == pytest.approx(5, rel=1e-3)
    assert (y, x) == pytest.approx((1.234, 1.777), abs=0.002)
    # The point-spread function, up to two pixels of grid and binning.
    assert 0.1**2 * 0.95 <= variance <= 0.1**2 + 0.25 * pixel_size_um**2 + 0.001


def test_a_point_out_of_focus_is_wider_and_dimmer() -> None:
    optics = Optics(pixel_size_um=0.05, sigma_um=0.1, sigma_z_um=0.4, spread=0.5, leak=0.1)
    images = [image_points(point(3, 3, z), shape=(120, 120), optics=optics) for z in (0, 0.45, -0.8)]
    integrals, _, _, variances = zip(*(moments(image, 0.05) for image in images), strict=True)
    expected = [0.9 * np.exp(-0.5 * (z / 0.4) ** 2) + 0.1 for z in (0, 0.45, 0.8)]
    assert integrals == pytest.approx(expected, rel=0.01)
    assert variances[1] == pytest.approx(0.1**2 + (0.5 * 0.45) ** 2, rel=0.05)
    assert variances[2] == pytest.approx(0.1**2 + (0.5 * 0.8) ** 2, rel=0.05)
    assert images[0].max() > images[1].max() > images[2].max()


def test_points_beyond_the_image_leave_it_dark() -> None:
    assert not image_points(point(9, 9), shape=(20, 20), optics=Optics()).any()
    assert not image_points(join([]), shape=(20, 20), optics=Optics()).any()


def test_binning_takes_means_of_blocks() -> None:
    image = np.array([[1, 3, 0, 4], [5, 7, 8, 0]], np.float32)
    assert bin_pixels(image, 2).tolist() == [[4, 3]]
    assert bin_pixels(image, 1) is image


def test_the_cameras_mean_and_variance() -> None:
    camera = Camera(photons=50, offset=100, gain=3, read_noise=2)
    grey = camera.expose(np.full((300, 300), 2.0, np.float32), np.random.default_rng(0)).astype(float)
    # 100 electrons: variance is gain^2 (electrons + read noise^2) + rounding.
    assert grey.mean() == pytest.approx(100 + 3 * 100, rel=0.002)
    assert grey.var() == pytest.approx(9 * (100 + 4) + 1 / 12, rel=0.03)
    dark = camera.expose(np.full((300, 300), -1.0, np.float32), np.random.default_rng(0)).astype(float)
    assert dark.mean() == pytest.approx(100, abs=0.1)
    assert dark.std() == pytest.approx(6, rel=0.02)


def test_the_camera_saturates_and_never_wraps() -> None:
    camera = Camera(photons=1000, maximum=4095)
    grey = camera.expose(np.array([[0.0, 1000.0]], np.float32), np.random.default_rng(0))
    assert grey.dtype == np.uint16
    assert grey[0, 1] == 4095
    black = Camera(offset=0, read_noise=50).expose(np.zeros((50, 50), np.float32), np.random.default_rng(0))
    assert black.min() == 0
    assert black.max() < 1000


def spheres(*entries: tuple[float, float, float, float], bulge: float = 0.0, stretch: float = 0.0) -> Vesicles:
    """Vesicles of (y, x, z, radius), stretched along y."""
    count = len(entries)
    array = np.array(entries, np.float32).reshape(count, 4)
    rng = np.random.default_rng(3)
    return Vesicles(
        centre_um=array[:, :3],
        radius_um=array[:, 3],
        wave=rng.uniform(-2, 2, (count, 3, 3)).astype(np.float32),
        phase=np.zeros((count, 3), np.float32),
        bulge=np.full(count, bulge, np.float32),
        patch=np.zeros(count, np.float32),
        stretch=np.full(count, stretch, np.float32),
        axis=np.tile(np.array([1, 0, 0], np.float32), (count, 1)),
        brightness=np.ones(count, np.float32),
        cell=np.zeros(count, np.int64),
    )


@pytest.mark.parametrize("radius", [0.3, 0.6, 1.0])
def test_an_equators_area_is_pi_times_the_radius_and_the_margin_squared(radius: float) -> None:
    regions = draw_sections(spheres((2, 2, 0, radius)), shape=(200, 200), pixel_size_um=0.02)
    assert np.count_nonzero(regions == 1) * 0.02**2 == pytest.approx(np.pi * (radius + 0.04) ** 2, rel=0.01)


def test_a_stretched_vesicle_is_longer_along_its_axis() -> None:
    radius = spheres((2, 2, 0, 0.5), stretch=0.2).section_radius_um(0)
    # Azimuth 0 is along x, a quarter of the way along y.
    assert radius[0] == pytest.approx(0.4, rel=1e-3)
    assert radius[12] == pytest.approx(0.6, rel=1e-3)
    assert radius[6] == pytest.approx(0.5, rel=1e-3)


def test_a_section_off_the_equator_is_the_smaller_circle() -> None:
    regions = draw_sections(spheres((2, 2, 0.3, 0.5)), shape=(200, 200), pixel_size_um=0.02)
    assert np.count_nonzero(regions) * 0.02**2 == pytest.approx(np.pi * (0.4 + 0.04) ** 2, rel=0.01)


def test_a_vesicle_away_from_focus_is_not_cut() -> None:
    found = spheres((2, 2, 0.7, 1), (2, 4, 0.72, 1), (6, 2, -0.72, 1), (6, 4, -3, 1))
    assert found.is_cut().tolist() == [True, False, False, False]
    assert np.unique(draw_sections(found, shape=(80, 80), pixel_size_um=0.1)).tolist() == [0, 1]


def test_the_truth_drawn_at_two_pixel_sizes_agrees() -> None:
    found = spheres((1.5, 1.5, 0.1, 0.6), (1.5, 2.72, 0, 0.55), (3.1, 2, -0.2, 0.7), bulge=0.1)
    coarse = draw_sections(found, shape=(50, 50), pixel_size_um=0.1)
    fine = draw_sections(found, shape=(250, 250), pixel_size_um=0.02)
    np.testing.assert_array_equal(coarse, fine[::5, ::5])
    assert np.unique(coarse).tolist() == [0, 1, 2, 3]


def test_overlapping_sections_share_by_relative_distance_and_the_outside_is_cleared() -> None:
    found = spheres((1, 1, 0, 0.5), (1, 1.8, 0, 0.5))
    regions = draw_sections(found, shape=(100, 140), pixel_size_um=0.02)
    assert set(regions[50, 30:69]) == {1}
    assert set(regions[50, 71:110]) == {2}
    within = np.zeros(regions.shape, bool)
    within[:, :60] = True
    cleared = draw_sections(found, shape=(100, 140), pixel_size_um=0.02, within=within)
    np.testing.assert_array_equal(cleared, np.where(within, regions, 0))


def test_membranes_hold_their_brightness_on_the_shell() -> None:
    found = spheres((2, 2, 0, 0.5), (2, 2, 0, 1))
    points = membrane_points(found, density_um2=350, rng=np.random.default_rng(0))
    distance = np.linalg.norm(points.position_um - np.array([2, 2, 0]), axis=1)
    small = distance < 0.75
    np.testing.assert_allclose(distance[small], 0.5, atol=1e-4)
    np.testing.assert_allclose(distance[~small], 1, atol=1e-4)
    # Uneven staining of deviation 0 leaves brightness times area.
    assert points.weight[small].sum() == pytest.approx(4 * np.pi * 0.25, rel=1e-3)
    assert points.weight[~small].sum() == pytest.approx(4 * np.pi, rel=1e-3)


def test_cargo_of_a_lumen_is_inside_and_docked_cargo_outside() -> None:
    found = spheres((2, 2, 0, 0.6))
    which, rng = np.array([0]), np.random.default_rng(0)
    inside = lumen_points(found, which, concentration=np.array([2.0]), fill=np.array([0.7]), density_um3=700, rng=rng)
    assert np.linalg.norm(inside.position_um - [2, 2, 0], axis=1).max() < 0.6
    volume = 4 / 3 * np.pi * (0.6 * 0.93 * 0.7) ** 3
    assert inside.weight.sum() == pytest.approx(2 * volume, rel=0.3)
    outside = docked_points(found, which, concentration=np.array([2.0]), rng=rng)
    assert np.median(np.linalg.norm(outside.position_um - [2, 2, 0], axis=1)) > 0.6


def test_a_lumen_displaces_the_light_of_its_depth() -> None:
    optics = Optics(pixel_size_um=0.1, sigma_z_um=0.3)
    share = excluded_share(spheres((2, 2, 0, 1)), shape=(40, 40), optics=optics)
    # At the centre 0.97 um to each side, more than three deviations.
    assert share[20, 20] == pytest.approx(0.9988, abs=0.001)
    assert share[20, 32] == 0
    assert ((share >= 0) & (share <= 1)).all()
    away = excluded_share(spheres((2, 2, 5, 1), (-9, 2, 0, 1)), shape=(40, 40), optics=optics)
    assert away.max() < 1e-6


def test_vesicles_settle_without_overlap_the_larger_first() -> None:
    centre = np.array([[0, 0, 0], [0, 0.9, 0], [0, 2, 0]], np.float32)
    radius = np.array([0.4, 0.6, 0.3], np.float32)
    assert settle(centre, radius, gap_um=0).tolist() == [False, True, True]
    assert settle(centre, radius, gap_um=-0.2).tolist() == [True, True, True]
    assert settle(centre[:0], radius[:0], gap_um=0).tolist() == []


def test_classes_of_the_truth() -> None:
    assert classes(np.array([True, False])).tolist() == [2, 1]
