"""Metrics against values counted by hand, analytic discs and scikit-learn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from lysoquant.metrics.matching import Matching, components, match_distance, match_iou
from lysoquant.metrics.overlap import iou, overlap, share
from lysoquant.metrics.roc import roc
from lysoquant.metrics.summary import mean_sd


def grid(*rows: str) -> NDArray[np.int32]:
    """A small label image written as text; a dot is 0."""
    return np.array([[0 if letter == "." else int(letter) for letter in row] for row in rows], np.int32)


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float, label: int = 1) -> NDArray[np.int32]:
    y, x = np.indices(shape)
    return label * ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2).astype(np.int32)


# IoU


def test_iou_counts_the_pixels_of_one_class() -> None:
    truth, found = grid("1122", "1122"), grid("1112", ".122")
    assert overlap(truth, found, target=1) == (3, 5)
    assert iou(truth, found, target=1) == 3 / 5
    assert iou(truth, found, target=2) == 3 / 4


def test_iou_skips_pixels_that_do_not_count() -> None:
    truth, found = grid("11..", "...."), grid("1.1.", "1...")
    counted = np.array([[True, False, True, True], [False, True, True, True]])
    assert iou(truth, found, target=1) == 1 / 4
    assert iou(truth, found, target=1, counted=counted) == 1 / 2


def test_iou_of_a_class_in_neither_is_undefined_and_of_one_sided_class_zero() -> None:
    assert math.isnan(iou(grid("11"), grid("1."), target=2))
    assert iou(grid("12"), grid("11"), target=2) == 0
    nothing = np.zeros((1, 2), bool)
    assert math.isnan(iou(grid("11"), grid("11"), target=1, counted=nothing))


def test_iou_of_shifted_discs_is_that_of_the_lens() -> None:
    radius, shift = 60.0, 25.0
    lens = 2 * radius**2 * math.acos(shift / (2 * radius)) - shift / 2 * math.sqrt(4 * radius**2 - shift**2)
    expected = lens / (2 * math.pi * radius**2 - lens)
    found = iou(disc((160, 200), (80, 80), radius), disc((160, 200), (80, 80 + shift), radius), target=1)
    assert found == pytest.approx(expected, abs=0.004)


def test_arrays_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\).*\(2, 1\)"):
        overlap(grid("11"), grid("1", "1"), target=1)


def test_a_share_of_nothing_is_undefined() -> None:
    assert share(1, 4) == 0.25
    assert math.isnan(share(0, 0))


# components


def test_components_touch_by_edges_and_stay_within_a_class() -> None:
    class_map = grid("11.2", "..12", "1122")
    assert components(class_map, target=1).tolist() == grid("11..", "..2.", "33..").tolist()
    assert components(class_map, target=2).tolist() == grid("...1", "...1", "..11").tolist()


# matching by IoU


def test_an_iou_of_one_half_is_a_match() -> None:
    truth = grid("1111", "2222")
    assert match_iou(truth, grid("11..", "2...")).pairs.tolist() == [[1, 1]]
    assert match_iou(truth, grid("11..", "2..."), threshold=0.25).n_matched == 2
    assert match_iou(truth, grid("11..", "2..."), threshold=0.51).n_matched == 0


def test_one_object_is_matched_once() -> None:
    """Both halves have IoU 0.5 with the whole; only one can have it."""
    matching = match_iou(grid("1111"), grid("3377"))
    assert (matching.n_truth, matching.n_found, matching.n_matched) == (1, 2, 1)
    assert matching.f1 == 2 / 3
    assert (matching.precision, matching.recall) == (0.5, 1)


def test_more_matches_come_before_better_ones() -> None:
    """Truth 1 fits found 5 best (6/9), but truth 2 has only found 5 (1/8), and truth 1 could take 4 (1/8)."""
    truth = grid("11111111", "22......")
    found = grid("4555555.", "5.......")
    assert match_iou(truth, found, threshold=0.1).pairs.tolist() == [[1, 4], [2, 5]]
    assert match_iou(truth, found, threshold=0.15).pairs.tolist() == [[1, 5]]


def test_among_as_many_matches_the_best_sum_wins_as_trying_all_says() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        truth, found = rng.integers(0, 5, (6, 6)), rng.integers(0, 5, (6, 6))
        table = np.array([[iou(truth == t, found == f, target=1) for f in range(1, 5)] for t in range(1, 5)])
        table = np.where(np.nan_to_num(table) >= 0.15, table, 0)
        best = max(
            ((sum(row[c] > 0 for row, c in zip(table, order, strict=True)), table[range(4), list(order)].sum()))
            for order in itertools.permutations(range(4))
        )
        pairs = match_iou(truth, found, threshold=0.15).pairs
        total = sum(table[t - 1, f - 1] for t, f in pairs)
        assert (len(pairs), total) == (best[0], pytest.approx(best[1]))
        assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)


def test_f1_of_discs_of_known_overlap() -> None:
    """A found disc within a true one has IoU (r / R)^2: 0.7 R just fails, 0.75 R passes."""
    shape, truth = (120, 260), np.zeros((120, 260), np.int32)
    found = truth.copy()
    for number, (x, share_of_radius) in enumerate(((60, 0.69), (190, 0.73)), start=1):
        truth += disc(shape, (60, x), 50, number)
        found += disc(shape, (60, x), 50 * share_of_radius, number)
    matching = match_iou(truth, found)
    assert matching.pairs.tolist() == [[2, 2]]
    assert matching.f1 == 0.5


@pytest.mark.parametrize("match", [match_iou, match_distance])
def test_what_is_empty(match: Callable[..., Matching]) -> None:
    nothing, something = grid("...."), grid(".11.")
    both = match(nothing, nothing)
    assert (both.n_truth, both.n_found, both.n_matched) == (0, 0, 0)
    assert math.isnan(both.f1)
    assert math.isnan(both.precision)
    assert match(something, nothing).f1 == 0
    assert math.isnan(match(something, nothing).precision)
    assert match(nothing, something).f1 == 0
    assert match(something, something).f1 == 1


# matching by distance


def test_centroids_three_pixels_apart_are_one_object_and_more_are_not() -> None:
    one = disc((40, 60), (20, 20), 6)
    assert match_distance(one, disc((40, 60), (20, 23), 6)).n_matched == 1
    assert match_distance(one, disc((40, 60), (20, 24), 6)).n_matched == 0
    assert match_distance(one, disc((40, 60), (20, 24), 6), limit_px=4).n_matched == 1
    assert match_distance(one, disc((40, 60), (22, 22), 3)).n_matched == 1, "size does not matter"
    assert match_distance(one, disc((40, 60), (23, 23), 6)).n_matched == 0, "3 to each side is 4.2 apart"


def test_near_centroids_are_matched_most_first_then_nearest() -> None:
    truth = grid("1...2.....")
    assert match_distance(truth, grid("...1......")).pairs.tolist() == [[2, 1]]
    # 2-1 alone would be nearest, but then 1 has no partner.
    assert match_distance(truth, grid("...1...2..")).pairs.tolist() == [[1, 1], [2, 2]]
    assert match_distance(truth, grid(".5..7.....")).pairs.tolist() == [[1, 5], [2, 7]]


def test_a_ring_is_found_by_its_centre() -> None:
    ring = disc((40, 40), (20, 20), 10) - disc((40, 40), (20, 20), 8)
    assert match_distance(disc((40, 40), (20, 20), 10), ring).n_matched == 1
    assert match_iou(disc((40, 40), (20, 20), 10), ring).n_matched == 0


# ROC


def test_roc_of_four_scores_by_hand() -> None:
    curve = roc(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]))
    assert curve.fpr.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve.tpr.tolist() == [0, 0.5, 0.5, 1, 1]
    assert curve.auc == 0.75
    assert curve.at(np.array([0.0, 0.25, 0.5, 1.0])).tolist() == [0.5, 0.75, 1, 1]


def test_equal_scores_are_one_point_and_count_half() -> None:
    curve = roc(np.array([0.5, 0.5, 0.5]), np.array([True, False, False]))
    assert curve.fpr.tolist() == [0, 1]
    assert curve.auc == 0.5


def test_auc_is_that_of_scikit_learn_with_ties_and_ignored_pixels() -> None:
    rng = np.random.default_rng(0)
    for levels in (3, 20, 10_000):
        scores = (rng.integers(0, levels, (40, 50)) / levels).astype(np.float32)
        positive = rng.random((40, 50)) < scores
        counted = rng.random((40, 50)) < 0.7
        assert roc(scores, positive).auc == pytest.approx(roc_auc_score(positive.ravel(), scores.ravel()), abs=1e-12)
        expected = roc_auc_score(positive[counted], scores[counted])
        assert roc(scores, positive, counted).auc == pytest.approx(expected, abs=1e-12)


def test_auc_needs_both_sides() -> None:
    for positive in ([True, True], [False, False]):
        curve = roc(np.array([0.1, 0.9]), np.array(positive))
        assert math.isnan(curve.auc)
        assert np.isnan(curve.at(np.array([0.5]))).all()
    with pytest.raises(ValueError, match="NaN"):
        roc(np.array([0.1, math.nan]), np.array([True, False]))


# summary


def test_mean_and_sample_deviation_skip_what_is_undefined() -> None:
    summary = mean_sd([1, math.nan, 2, 6])
    assert (summary.mean, summary.n) == (3, 3)
    assert summary.sd == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert summary.text() == "3.000 ± 2.646 (3)"


def test_mean_of_one_or_none() -> None:
    assert mean_sd([0.5]).text(digits=2) == "0.50 ± – (1)"
    assert mean_sd([math.nan]).text() == "– ± – (0)"
    assert mean_sd([]).n == 0
