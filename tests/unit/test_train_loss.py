"""The loss of training by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.train.loss import (
    LossWeights,
    class_cross_entropy,
    pixel_weights,
    separate_touching,
    weighted_cross_entropy,
)

Array = NDArray[Any]


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
    # Column 5 is 5 px from the left square and 21 px from the right one.
    by_hand = 0.1 + 50 * np.exp(-((5 + 21) ** 2) / 72) + 0.9 * np.exp(-25 / 200)
    assert weights[20, 5] == pytest.approx(by_hand, rel=1e-6)
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
    # Beyond five sigma the term counts as nothing: 50 exp(-30^2 / 72) is 2e-4.
    np.testing.assert_allclose(found[regions == 0], expected[regions == 0], atol=2e-4)


def test_other_constants_take_the_place_of_the_originals() -> None:
    regions, classes = two_squares()
    constants = LossWeights(border_factor=7, border_sigma_px=3, balance=0.3, balance_sigma_px=5)
    found = pixel_weights(regions, classes, constants)[20, 22]
    assert found == pytest.approx(0.3 + 7 * np.exp(-(7**2) / 18) + 0.7 * np.exp(-(3**2) / 50), rel=1e-6)


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
