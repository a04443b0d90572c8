"""From probabilities to objects: split where they touch, one class each, on the field's own pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import reconstruction

from lysoquant.segment import instances
from lysoquant.segment.crops import cell_crops
from lysoquant.segment.instances import Instances, split_objects, to_field

Array = NDArray[Any]


def disc(shape: tuple[int, int], y: float, x: float, radius: float) -> Array:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


def probabilities(foreground: Array, share_loaded: Array | float = 0.0, level: float = 0.9) -> NDArray[np.float32]:
    inside = np.where(foreground, level, 0.0)
    loaded = inside * share_loaded
    return np.stack([1 - inside, inside - loaded, loaded]).astype(np.float32)


def split(found: NDArray[np.float32], *, threshold: float = 0.5, depth_um: float = 0.05) -> Instances:
    return split_objects(found, foreground_threshold=threshold, split_depth_um=depth_um)


def test_two_touching_discs_are_split_at_their_neck() -> None:
    shape = (60, 100)
    left, right = disc(shape, 30, 30, 20), disc(shape, 30, 66, 20)
    found = split(probabilities(left | right, share_loaded=np.where(np.arange(100) < 48, 1.0, 0.0)))
    assert found.labels.max() == 2
    assert found.p_loaded.tolist() == pytest.approx([1, 0], abs=0.02)
    for number, own in ((1, left), (2, right)):
        here = found.labels == number
        assert np.count_nonzero(here & own) / np.count_nonzero(here | own) > 0.97
    np.testing.assert_array_equal(found.labels > 0, left | right)


@pytest.mark.parametrize("radius", [3, 8, 25, 40])
def test_one_disc_stays_whole(radius: float) -> None:
    mask = disc((100, 100), 50.3, 49.8, radius)
    found = split(probabilities(mask))
    np.testing.assert_array_equal(found.labels, mask)


def test_an_ellipse_stays_whole_and_a_deeper_neck_than_asked_for_splits() -> None:
    rows, columns = np.mgrid[:60, :120]
    ellipse = ((rows - 30) / 16) ** 2 + ((columns - 60) / 45) ** 2 <= 1
    assert split(probabilities(ellipse)).labels.max() == 1
    # Radii of 20 px, centres 34 px apart: half the neck is sqrt(20^2 - 17^2) = 10.5 px, 9.5 px (0.24 um) below a top.
    pair = disc((60, 100), 30, 30, 20) | disc((60, 100), 30, 64, 20)
    assert split(probabilities(pair), depth_um=0.2).labels.max() == 2
    assert split(probabilities(pair), depth_um=0.3).labels.max() == 1


def test_holes_are_filled_and_the_class_is_of_the_whole_object() -> None:
    shape = (50, 50)
    ring = disc(shape, 25, 25, 20) & ~disc(shape, 25, 25, 12)
    share = np.where(np.arange(50)[:, None] < 25, 0.75, 0.25) * np.ones(shape)
    found = split(probabilities(ring, share))
    np.testing.assert_array_equal(found.labels, disc(shape, 25, 25, 20))
    weight_above, weight_below = ring[:25].sum(), ring[25:].sum()
    expected = (0.75 * weight_above + 0.25 * weight_below) / ring.sum()
    assert found.p_loaded.tolist() == pytest.approx([expected], abs=1e-6)


def test_cytoplasm_in_a_circle_of_touching_endolysosomes_is_not_filled() -> None:
    turns = np.arange(6) * np.pi / 3
    discs = [disc((140, 140), 70 + 36 * np.sin(turn), 70 + 36 * np.cos(turn), 19) for turn in turns]
    found = split(probabilities(np.logical_or.reduce(discs)))
    assert found.labels.max() == 6
    assert found.labels[70, 70] == 0


def test_the_threshold_is_of_empty_and_loaded_together() -> None:
    mask = disc((30, 30), 15, 15, 8)
    maybe = probabilities(mask, share_loaded=0.5, level=0.6)  # 0.4, 0.3, 0.3: background is the most probable class
    assert split(maybe).labels.max() == 1
    assert split(maybe, threshold=0.7).labels.max() == 0
    assert len(split(maybe, threshold=0.7).p_loaded) == 0


def test_diagonal_neighbours_are_two_objects() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:8, 2:8] = mask[8:14, 8:14] = True
    assert split(probabilities(mask)).labels.max() == 2


def test_labels_come_back_on_the_fields_pixels_in_reading_order() -> None:
    fine = np.zeros((80, 80), np.int32)
    fine[40:60, 0:20], fine[4:20, 40:60], fine[4:20, 0:20] = 1, 2, 3
    found = to_field(
        Instances(fine, np.array([0.1, 0.2, 0.3])), np.ones((20, 20), bool), pixel_size_um=0.1, min_area_um2=0
    )
    # 0.1 um is 4 model pixels: field pixel n shows model pixel 4n.
    expected = np.zeros((20, 20), np.int32)
    expected[1:5, 0:5], expected[1:5, 10:15], expected[10:15, 0:5] = 1, 2, 3
    np.testing.assert_array_equal(found.labels, expected)
    assert found.labels.dtype == np.int32
    assert found.p_loaded.tolist() == [0.3, 0.2, 0.1]


def test_objects_are_cut_to_the_cell_and_to_one_connected_part() -> None:
    fine = np.zeros((12, 12), np.int32)
    fine[2:10, 1:11] = 1
    inside = np.ones((12, 12), bool)
    inside[:, 4] = False  # leaves 8 x 3 on the left and 8 x 6 on the right
    inside[:, 0] = False
    found = to_field(Instances(fine, np.array([0.7])), inside, pixel_size_um=0.025, min_area_um2=0)
    expected = np.zeros((12, 12), np.int32)
    expected[2:10, 5:11] = 1
    np.testing.assert_array_equal(found.labels, expected)


def test_parts_that_meet_at_a_corner_only_are_not_connected() -> None:
    fine = np.zeros((6, 6), np.int32)
    fine[0:3, 0:3], fine[3:5, 3:5] = 1, 1
    fine[3:6, 0:3] = 2
    found = to_field(Instances(fine, np.array([0.9, 0.4])), np.ones((6, 6), bool), pixel_size_um=0.025, min_area_um2=0)
    assert np.count_nonzero(found.labels == 1) == 9
    assert np.count_nonzero(found.labels == 2) == 9
    for number in (1, 2):
        assert ndimage.label(found.labels == number)[1] == 1


def test_specks_are_dropped_and_the_rest_numbered_anew() -> None:
    fine = np.zeros((10, 40), np.int32)
    fine[1:3, 1:3], fine[1:7, 10:16], fine[1:6, 30:34] = 1, 2, 3
    area = {1: 4, 2: 36, 3: 20}
    instances = Instances(fine, np.array([0.1, 0.2, 0.3]))
    whole = np.ones(fine.shape, bool)
    found = to_field(instances, whole, pixel_size_um=0.025, min_area_um2=20 * 0.025**2)
    assert found.p_loaded.tolist() == [0.2, 0.3]
    assert np.bincount(found.labels.ravel())[1:].tolist() == [area[2], area[3]]
    assert to_field(instances, ~whole, pixel_size_um=0.025, min_area_um2=0).p_loaded.tolist() == []


def test_cells_are_cut_out_with_their_own_shape() -> None:
    cells = np.zeros((8, 9), np.uint32)
    cells[1:4, 2:6], cells[5:8, 0:9] = 7, 3
    cells[3, 5] = 3
    first, second = cell_crops(cells)
    assert (first.cell, second.cell) == (3, 7)
    assert first.box == (slice(3, 8), slice(0, 9))
    assert np.count_nonzero(first.inside) == 28
    assert second.box == (slice(1, 4), slice(2, 6))
    assert not second.inside[2, 3]
    assert list(cell_crops(np.zeros((4, 4), np.uint32))) == []


def test_summits_spare_reconstructions_and_change_no_object(monkeypatch: pytest.MonkeyPatch) -> None:
    clouds = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(40, 96, 96)), (0, 3, 3))
    cells = [probabilities(cloud > 0.01) for cloud in clouds]
    calls = [0, 0]

    def counted(*images: NDArray[np.float64]) -> Array:
        calls[-1] += 1
        return np.asarray(reconstruction(*images))

    monkeypatch.setattr(instances, "reconstruction", counted)
    calls[-1] = 0
    quick = [split(found) for found in cells]
    calls.append(0)
    monkeypatch.setattr(instances, "_has_one_summit", lambda distance: False)
    plain = [split(found) for found in cells]
    assert all(np.array_equal(ours.labels, theirs.labels) for ours, theirs in zip(quick, plain, strict=True))
    parts = sum(ndimage.label(cloud > 0.01)[1] for cloud in clouds)
    assert sum(len(found.p_loaded) for found in quick) > parts
    assert 0 < calls[-2] < calls[-1]


def test_a_disc_costs_no_reconstruction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(instances, "reconstruction")
    assert len(split(probabilities(disc((64, 64), 32, 32, 20))).p_loaded) == 1
