"""Scores of hand-made cells, evaluation with a network whose answer is known, report, figure and command."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from network_kit import threshold_model, write_tiny
from numpy.typing import NDArray
from PIL import Image

from lysoquant.cli.evaluate import _spread
from lysoquant.cli.main import invoke
from lysoquant.errors import InputError
from lysoquant.evaluate.figure import OUTCOMES, composite, outcome_map, outlines, write_figure
from lysoquant.evaluate.report import PAPER, document, summary_text, write_report
from lysoquant.evaluate.run import (
    FPR_GRID,
    METRICS,
    Evaluation,
    as_prediction,
    evaluate,
    evaluate_model,
    groups,
    pool,
    summarise,
)
from lysoquant.evaluate.score import Prediction, cell_pixels, class_rocs, score_example
from lysoquant.examples.example import Example
from lysoquant.segment.params import SegmentParams
from lysoquant.vocabulary import EMPTY, LOADED

SHAPE = (96, 128)
RADIUS = 10  # 317 pixels of 0.025 um, 0.2 um2
SEATS = [(24, 24), (24, 64), (24, 104), (72, 24), (72, 64), (72, 104)]
PARAMS = SegmentParams(tile_px=128, overlap_px=0, batch_size=4, precision="fp32")


def disc(centre: tuple[float, float], radius: float = RADIUS) -> NDArray[np.bool_]:
    y, x = np.indices(SHAPE)
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def cell(classes: list[int], *, docked: tuple[int, ...] = (), name: str = "cell", radius: float = RADIUS) -> Example:
    """A cell that fills its crop at the model's pixel size, with one disc a seat; its channels show the truth."""
    regions = np.zeros(SHAPE, np.int32)
    for label, seat in enumerate(SEATS[: len(classes)], start=1):
        regions[disc(seat, radius)] = label
    table = np.array([0, *classes], np.uint8)
    flags = np.zeros(len(table), bool)
    flags[list(docked)] = True
    return Example(
        name=name,
        cargo=np.where(table[regions] == LOADED, 900, 100).astype(np.uint16),
        lysosome=np.where(regions > 0, 900, 100).astype(np.uint16),
        inside=np.ones(SHAPE, bool),
        pixel_size_um=0.025,
        regions=regions,
        classes=table,
        ignored=np.zeros(SHAPE, bool),
        docked=flags,
    )


def sure(classes: NDArray[np.generic]) -> NDArray[np.float32]:
    """Probabilities that are 0.8 for the class of each pixel."""
    return np.where(classes == np.arange(3)[:, None, None], 0.8, 0.1).astype(np.float32)


def found_as(example: Example, classes: list[int]) -> Prediction:
    """The example's own regions, with other classes; class 0 was not found."""
    table = np.array([0, *classes], np.uint8)
    labels = np.where(table[example.regions] > 0, example.regions, 0).astype(np.int32)
    return Prediction(table[labels], sure(table[labels]), labels, table[1:] == LOADED)


# scores


def test_a_perfect_result() -> None:
    example = cell([1, 2, 2, 1, 1])
    scores = score_example(example, found_as(example, [1, 2, 2, 1, 1]))
    row = scores.row()
    ones = [name for name in METRICS if name != "occupancy_error"]
    assert {name: row[name] for name in ones} == dict.fromkeys(ones, 1.0)
    assert (scores.occupancy_true, scores.occupancy_found, scores.occupancy_error) == (0.4, 0.4, 0)
    assert (scores.n_true, scores.n_found, scores.n_docked) == (5, 5, 0)
    assert scores.union_empty_px == scores.intersection_empty_px == 3 * np.count_nonzero(disc(SEATS[0]))
    assert "rocs" not in row
    assert row["name"] == "cell"


def test_every_class_swapped() -> None:
    example = cell([1, 2, 2, 2])
    scores = score_example(example, found_as(example, [2, 1, 1, 1]))
    assert scores.iou_empty == scores.iou_loaded == scores.iou_objects_empty == 0
    assert scores.f1_segmentation == scores.f1_detection == scores.f1_objects_empty == 0
    assert scores.f1_objects == 1
    assert scores.class_accuracy == 0
    assert (scores.occupancy_true, scores.occupancy_found, scores.occupancy_error) == (0.75, 0.25, 0.5)
    assert scores.auc_loaded < 0.5


def test_nothing_found() -> None:
    example = cell([1, 2])
    scores = score_example(example, Prediction(np.zeros(SHAPE, np.uint8)))
    assert scores.iou_empty == scores.f1_segmentation == scores.f1_objects == 0
    assert scores.n_found == 0
    assert scores.occupancy_true == 0.5
    for undefined in (scores.occupancy_found, scores.occupancy_error, scores.class_accuracy, scores.auc_empty):
        assert math.isnan(undefined)
    assert scores.rocs == {}


def test_nothing_there_and_nothing_found_is_undefined() -> None:
    nothing = Prediction(np.zeros(SHAPE, np.uint8), sure(np.zeros(SHAPE)))
    row = score_example(cell([]), nothing).row()
    assert all(math.isnan(row[name]) for name in METRICS)


def test_half_of_one_class_found_by_hand() -> None:
    """Empty: 2 of 3 found and none wrong: F1 4/5. Loaded: 1 found and 1 wrong: 2/3. Together 6/8."""
    example = cell([1, 1, 1, 2])
    prediction = found_as(example, [1, 1, 0, 2])
    extra = prediction.labels.copy()
    extra[disc(SEATS[4])] = 5
    classes = np.where(extra == 5, LOADED, prediction.classes).astype(np.uint8)
    loaded = np.array([False, False, False, True, True])
    scores = score_example(example, Prediction(classes, None, extra, loaded))
    assert scores.f1_segmentation_empty == scores.f1_detection_empty == scores.f1_objects_empty == 4 / 5
    assert scores.f1_segmentation_loaded == scores.f1_objects_loaded == 2 / 3
    assert scores.f1_segmentation == scores.f1_detection == scores.f1_objects == 6 / 8
    assert scores.iou_empty == 2 / 3
    assert scores.iou_loaded == 1 / 2
    assert scores.occupancy_error == 2 / 4 - 1 / 4


def test_docked_cargo_called_loaded_counts_among_those_found() -> None:
    """Docked are 1, 2 and 3; 1 is called loaded, 2 is right, 3 is missed. 4 is called loaded too, but not docked."""
    example = cell([1, 1, 1, 1, 2], docked=(1, 2, 3))
    scores = score_example(example, found_as(example, [2, 1, 0, 2, 2]))
    assert (scores.n_docked, scores.n_docked_matched, scores.n_docked_called_loaded) == (3, 2, 1)
    assert scores.class_accuracy == 2 / 4


def test_pixels_of_weight_0_are_neither_right_nor_wrong() -> None:
    example = cell([1, 2, 2], docked=(1,))
    example = replace(example, ignored=disc(SEATS[0], 12) | disc(SEATS[3], 12))
    nothing_there = score_example(example, found_as(example, [0, 2, 2]))
    assert nothing_there.f1_objects == nothing_there.f1_segmentation == 1
    assert math.isnan(nothing_there.iou_empty)
    assert (nothing_there.n_true, nothing_there.n_docked, nothing_there.occupancy_true) == (2, 0, 1)
    drawn = found_as(example, [2, 2, 2])
    labels = drawn.labels.copy()
    labels[disc(SEATS[3])] = 4
    drawn = Prediction(np.where(labels > 0, LOADED, 0).astype(np.uint8), None, labels, np.ones(4, bool))
    for prediction in (drawn, Prediction(drawn.classes)):
        scores = score_example(example, prediction)
        assert scores.f1_objects == scores.f1_segmentation == scores.f1_detection == 1
        assert scores.n_found == 2


def test_an_object_half_of_which_counts_is_judged_by_that_half() -> None:
    example = cell([1])
    example = replace(example, ignored=np.broadcast_to(np.arange(SHAPE[1]) > SEATS[0][1], SHAPE))
    left = Prediction(np.where(disc(SEATS[0]) & ~example.ignored, EMPTY, 0).astype(np.uint8))
    assert score_example(example, left, min_area_um2=0).f1_objects == 1
    assert score_example(example, left, min_area_um2=0).iou_empty == 1
    # With the middle column too, more than half of the disc is ignored, and it is dropped.
    most = replace(example, ignored=np.broadcast_to(np.arange(SHAPE[1]) >= SEATS[0][1], SHAPE))
    scores = score_example(most, found_as(most, [1]))
    assert (scores.n_true, scores.n_found) == (1, 0)


def test_what_lies_outside_the_cell_is_not_judged() -> None:
    example = cell([1, 2])
    inside = np.broadcast_to(np.arange(SHAPE[1]) < 88, SHAPE)
    example = replace(example, inside=inside)
    prediction = found_as(cell([1, 2, 2]), [1, 2, 2])
    scores = score_example(example, prediction)
    assert scores.iou_loaded == scores.f1_segmentation == scores.f1_detection == scores.f1_objects == 1
    assert scores.n_found == 2
    background = prediction.probabilities.copy()
    background[1:, :, 100:] = 0
    assert class_rocs(example, replace(prediction, probabilities=background))[EMPTY].auc == scores.auc_empty
    whole = replace(example, inside=np.ones(SHAPE, bool))
    assert score_example(whole, prediction).f1_segmentation_loaded == 2 / 3


def test_auc_is_of_the_pixels_of_the_cell() -> None:
    """Four pixels in the cell, by hand: the empty one scores 0.6 over 0.2 and 0.1, and under 0.7: 2 of 3."""
    regions = np.array([[1, 0, 0, 0, 0, 0]], np.int32)
    example = replace(
        cell([]),
        cargo=np.zeros((1, 6)),
        lysosome=np.zeros((1, 6)),
        inside=np.array([[True, True, True, True, False, False]]),
        regions=regions,
        classes=np.array([0, 1], np.uint8),
        ignored=np.zeros((1, 6), bool),
        docked=np.zeros(2, bool),
    )
    empty = np.array([[0.6, 0.2, 0.7, 0.1, 0, 0]], np.float32)
    scores = Prediction(np.zeros((1, 6), np.uint8), np.stack([1 - empty, empty, 0 * empty]))
    assert class_rocs(example, scores)[EMPTY].auc == pytest.approx(2 / 3)


def test_the_cell_at_the_model_pixel_size_is_nearest() -> None:
    example = replace(cell([]), pixel_size_um=0.05, inside=np.eye(3, dtype=bool), regions=np.zeros((6, 6), np.int32))
    rows = np.array([0, 0, 1, 2, 2, 2])  # round(i / 2), half to even, the last pixel at most
    assert (cell_pixels(example) == np.eye(3, dtype=bool)[np.ix_(rows, rows)]).all()


def test_an_object_of_both_classes_is_one_object_with_one_class() -> None:
    example = cell([1, 2])
    classes = example.class_map.copy()
    classes[:, : SEATS[0][1]][classes[:, : SEATS[0][1]] == EMPTY] = LOADED
    scores = score_example(example, Prediction(classes, None, example.regions, np.array([False, True])))
    assert (scores.n_found, scores.f1_objects, scores.iou_objects_empty) == (2, 1, 1)
    assert scores.iou_empty < 0.6
    plugin = score_example(example, Prediction(classes), min_area_um2=0.05)
    counted = (plugin.n_found, plugin.occupancy_found)
    assert counted == (3, 2 / 3), "the plugin counts it once as empty and once as loaded"
    assert plugin.iou_objects_empty == plugin.iou_empty


def test_objects_below_the_reported_size_are_not_counted() -> None:
    example = cell([1, 1])
    prediction = found_as(example, [1, 1])
    labels = prediction.labels.copy()
    labels[disc(SEATS[4], 7)] = 3  # 149 pixels, 0.093 um2
    classes = np.where(labels > 0, EMPTY, 0).astype(np.uint8)
    scores = score_example(example, Prediction(classes, None, labels, np.zeros(3, bool)))
    assert (scores.n_found, scores.f1_objects) == (2, 1)
    assert scores.f1_segmentation_empty == 4 / 5, "the paper's F1 has no least size"
    small = cell([1, 2], radius=7)
    assert score_example(small, found_as(small, [1, 2])).n_true == 0
    assert score_example(small, found_as(small, [1, 2]), min_area_um2=0.09).n_true == 2


def test_a_prediction_that_does_not_fit_is_refused() -> None:
    classes = np.zeros((2, 2), np.uint8)
    with pytest.raises(ValueError, match="both or neither"):
        Prediction(classes, labels=np.zeros((2, 2), np.int32))
    with pytest.raises(ValueError, match="one shape"):
        Prediction(classes, np.zeros((3, 2, 3), np.float32))
    with pytest.raises(ValueError, match="labels go to 2, is_loaded has 1"):
        Prediction(classes, None, np.full((2, 2), 2, np.int32), np.zeros(1, bool))
    with pytest.raises(ValueError, match=r"\(2, 2\).*\(96, 128\)"):
        score_example(cell([]), Prediction(classes))


# a model on many examples


CELLS = [
    ("0.04 um, low noise", cell([1, 2, 2, 1, 1, 2], name="a")),
    ("0.04 um, high noise", cell([2, 2, 1], name="b")),
    ("0.12 um, low noise", cell([1], name="c")),
    ("0.12 um, high noise", cell([], name="d")),
    ("0.12 um, high noise", cell([2, 1], docked=(2,), name="e")),
]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """A network that finds exactly the truth of `CELLS`."""
    return evaluate_model(threshold_model(), CELLS, device="cpu", params=PARAMS, show=frozenset({0, 4}))


def test_a_model_that_sees_the_truth_gets_full_marks(evaluation: Evaluation) -> None:
    table = evaluation.table
    assert table["name"].tolist() == ["a", "b", "c", "d", "e"]
    assert table["condition"].tolist() == [condition for condition, _ in CELLS]
    assert table["n_true"].tolist() == table["n_found"].tolist() == [6, 3, 1, 0, 2]
    assert (table["pixel_size_um"] == 0.025).all()
    summary = summarise(table)
    assert {name: summary[name].mean for name in METRICS if name != "occupancy_error"} == {
        name: 1.0 for name in METRICS if name != "occupancy_error"
    }
    assert (summary["occupancy_error"].mean, summary["occupancy_error"].n) == (0, 4)
    assert (summary["iou_loaded"].n, summary["auc_empty"].n) == (3, 4)
    pooled = pool(table)
    assert math.isnan(pooled.pop("pixel_size_shift"))
    assert pooled == {
        "iou_empty_pooled": 1,
        "iou_loaded_pooled": 1,
        "occupancy_bias": 0,
        "docked_called_loaded": 0,
    }
    assert [one.example.name for one in evaluation.shown] == ["a", "e"]


def test_the_roc_of_every_image_is_kept_at_the_same_rates(evaluation: Evaluation) -> None:
    assert evaluation.tpr[EMPTY].shape == (5, len(FPR_GRID))
    assert (evaluation.tpr[LOADED][[0, 1, 4]] == 1).all()
    assert np.isnan(evaluation.tpr[LOADED][[2, 3]]).all()


def test_examples_are_read_as_they_are_needed() -> None:
    """Only as many are ahead of the results as one batch holds tiles."""
    asked: list[int] = []
    ahead: list[int] = []

    def stream() -> Iterator[tuple[str, Example]]:
        for number in range(12):
            asked.append(number)
            yield "all", CELLS[0][1]

    done: list[str] = []

    def on_example(name: str) -> None:
        done.append(name)
        ahead.append(len(asked) - len(done))

    evaluate_model(threshold_model(), stream(), device="cpu", params=PARAMS, on_example=on_example)
    assert len(done) == 12
    assert max(ahead) <= PARAMS.batch_size


def test_no_example_is_an_error() -> None:
    with pytest.raises(InputError, match="at least one cell"):
        evaluate_model(threshold_model(), [], device="cpu")


def test_a_model_file_is_loaded(tmp_path: Path) -> None:
    found = evaluate(write_tiny(tmp_path / "tiny.safetensors"), CELLS[:1], device="cpu", params=PARAMS)
    assert found.model.card.name == "tiny"
    assert len(found.table) == 1


def test_objects_are_made_as_segment_makes_them() -> None:
    classes = np.zeros(SHAPE, np.uint8)
    classes[disc(SEATS[0])] = EMPTY
    classes[disc(SEATS[1])] = LOADED
    classes[disc(SEATS[2], 3)] = LOADED  # 29 pixels, 0.018 um2: a speck
    prediction = as_prediction(sure(classes), params=PARAMS)
    assert (prediction.classes == classes).all()
    assert (prediction.labels > 0).sum() == 2 * disc(SEATS[0]).sum()
    assert prediction.is_loaded[prediction.labels[SEATS[1]] - 1]
    assert not prediction.is_loaded[prediction.labels[SEATS[0]] - 1]
    speck = as_prediction(sure(classes), params=PARAMS.model_copy(update={"min_object_area_um2": 0.01}))
    assert speck.labels[SEATS[2]] > 0


def test_groups_are_the_parts_of_the_conditions_and_the_conditions(evaluation: Evaluation) -> None:
    found = {name: rows["name"].tolist() for name, rows in groups(evaluation.table).items()}
    assert found == {
        "all": ["a", "b", "c", "d", "e"],
        "0.04 um": ["a", "b"],
        "0.12 um": ["c", "d", "e"],
        "low noise": ["a", "c"],
        "high noise": ["b", "d", "e"],
        "0.04 um, low noise": ["a"],
        "0.04 um, high noise": ["b"],
        "0.12 um, low noise": ["c"],
        "0.12 um, high noise": ["d", "e"],
    }
    assert list(groups(pd.DataFrame({"condition": ["same", "same"]}))) == ["all"]


def scored(*pairs: tuple[Example, list[int]]) -> Evaluation:
    rows = [{"condition": "x", **score_example(example, found_as(example, found)).row()} for example, found in pairs]
    tpr = {c: np.ones((len(rows), len(FPR_GRID))) for c in (EMPTY, LOADED)}
    return Evaluation(threshold_model(), pd.DataFrame(rows), tpr, [])


def test_the_shift_between_two_pixel_sizes_is_that_of_pairs_of_one_name() -> None:
    table = scored((cell([1, 1]), [1, 1]), (cell([1, 1]), [1, 2]), (cell([2]), [2])).table
    table["name"] = ["pair", "pair", "alone"]
    assert pool(table)["pixel_size_shift"] == 0.5


def test_pooled_figures_by_hand() -> None:
    """Pixels: 1 of 3 empty discs found, one more wrongly. Docked: 2 found, 1 of them loaded. Bias: (-1/3 + 1) / 2."""
    first = cell([1, 1, 1, 2, 2, 2], docked=(1, 2))
    second = cell([1])
    found = scored((first, [1, 2, 0, 1, 0, 0]), (second, [2]))
    pooled = pool(found.table)
    assert pooled["iou_empty_pooled"] == 1 / 5
    assert pooled["iou_loaded_pooled"] == 0
    assert pooled["docked_called_loaded"] == 0.5
    assert pooled["occupancy_bias"] == pytest.approx(((1 / 3 - 1 / 2) + (1 - 0)) / 2)
    assert summarise(found.table)["occupancy_error"].mean == pytest.approx((1 / 6 + 1) / 2)


# report


def test_the_json_is_valid_and_undefined_is_null(evaluation: Evaluation, tmp_path: Path) -> None:
    written = write_report(tmp_path, evaluation, data="simulated", seed=3, device="cpu")
    assert [path.name for path in written] == ["scores.csv", "metrics.json"]
    content = json.loads(written[1].read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert content == json.loads(json.dumps(document(evaluation, data="simulated", seed=3, device="cpu")))
    assert content["model"] == {"name": "threshold", "sha256": "0" * 64}
    assert (content["data"], content["seed"], content["n"], content["device"]) == ("simulated", 3, 5, "cpu")
    assert content["metrics"]["iou_loaded"] == {"mean": 1.0, "sd": 0.0, "n": 3}
    assert set(content["metrics"]) == set(METRICS)
    assert content["groups"]["0.12 um, low noise"]["metrics"]["iou_loaded"] == {"mean": None, "sd": None, "n": 0}
    assert content["groups"]["0.12 um"]["n"] == 3
    assert "all" not in content["groups"]
    assert "torch" in content["versions"]
    table = pd.read_csv(written[0])
    assert table["name"].tolist() == ["a", "b", "c", "d", "e"]
    assert np.isnan(table["iou_loaded"][2])


def test_the_summary_stands_beside_the_paper(evaluation: Evaluation) -> None:
    lines = summary_text(evaluation).splitlines()
    assert "iou_loaded                1.000 ± 0.000 (3)         0.877 ± 0.014" in lines
    assert "auc_empty                 1.0000 ± 0.0000 (4)       0.9943" in lines
    assert "f1_objects                1.000 ± 0.000 (4)" in lines
    assert "docked_called_loaded      0.000" in lines
    row = next(line for line in lines if line.startswith("0.12 um, low noise"))
    assert row.split()[4:7] == ["1", "1.000", "–"]
    assert not any("no occupancy error" in line for line in lines)
    assert set(PAPER) <= set(METRICS)


def test_the_summary_says_where_no_error_could_be_had() -> None:
    text = summary_text(scored((cell([1, 2]), [0, 0]), (cell([1, 2]), [1, 2]), (cell([]), [])))
    assert "1 images have endolysosomes in the truth or the result only: no occupancy error" in text
    assert "means of groups" not in text


# figure


def test_outcomes_are_coloured_pixel_by_pixel() -> None:
    example = cell([1, 2, 1])
    example = replace(example, inside=np.broadcast_to(np.arange(SHAPE[1]) < 120, SHAPE), ignored=disc(SEATS[2], RADIUS))
    prediction = found_as(cell([1, 1, 1, 1, 1, 1]), [1, 0, 1, 1, 0, 0])
    picture = outcome_map(example, prediction.classes, target=EMPTY)
    assert tuple(picture[SEATS[0]]) == OUTCOMES["true positive"]
    assert tuple(picture[SEATS[3]]) == OUTCOMES["false positive"]
    assert tuple(picture[SEATS[2]]) == OUTCOMES["ignored"]
    assert tuple(picture[SEATS[4]]) == (38, 38, 38)
    assert tuple(picture[0, 125]) == (0, 0, 0)
    missed = outcome_map(example, prediction.classes, target=LOADED)
    assert tuple(missed[SEATS[1]]) == OUTCOMES["false negative"]
    assert tuple(missed[SEATS[0]]) == (38, 38, 38)
    assert len(set(OUTCOMES.values())) == 4


def test_the_composite_is_magenta_and_green_and_black_outside() -> None:
    example = replace(cell([1, 2]), inside=np.broadcast_to(np.arange(SHAPE[1]) < 120, SHAPE))
    picture = composite(example)
    assert picture[SEATS[0]].tolist() == [0, 255, 0]
    assert picture[SEATS[1]].tolist() == [255, 255, 255]
    assert picture[:, 120:].max() == 0
    assert composite(replace(example, inside=np.zeros(SHAPE, bool))).max() == 0


def test_outlines_lie_on_the_edge_in_the_colour_of_the_class() -> None:
    layer = outlines(cell([1, 2]))
    assert layer[SEATS[0][0] - RADIUS, SEATS[0][1]].tolist() == [0, 255, 255, 255]
    assert layer[SEATS[1][0] - RADIUS, SEATS[1][1]].tolist() == [255, 0, 255, 255]
    assert layer[SEATS[1][0] - RADIUS - 1, SEATS[1][1]].tolist() == [255, 0, 255, 255]
    assert layer[SEATS[0]].tolist() == [0, 0, 0, 0]
    assert set(np.unique(layer[..., 3])) == {0, 255}


def test_the_figure_shows_every_colour(tmp_path: Path) -> None:
    wrong = cell([1, 2, 1, 2, 1, 2])
    one = scored((wrong, [2, 1, 1, 2, 0, 0]), (cell([1, 2]), [1, 2]))
    shown = evaluate_model(threshold_model(), CELLS[:1], device="cpu", params=PARAMS, show=frozenset({0})).shown
    bad = replace(shown[0], example=wrong, prediction=found_as(wrong, [2, 1, 1, 2, 0, 0]))
    path = tmp_path / "figure.png"
    write_figure(path, replace(one, shown=[bad]))
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[1] == 2040
    for name in ("true positive", "false positive", "false negative"):
        count = np.count_nonzero((picture == OUTCOMES[name]).all(axis=2))
        assert count > 1000, name
    curves = picture[picture.shape[0] * 2 // 3 :]
    assert np.count_nonzero((curves < 128).all(axis=2)) > 1000, "axes and letters"


def test_images_without_endolysosomes_have_a_figure_without_a_curve(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / "figure.png"
    write_figure(path, evaluate_model(threshold_model(), CELLS[3:4], device="cpu", params=PARAMS))
    assert np.asarray(Image.open(path).convert("L")).min() < 50
    assert not [str(warning.message) for warning in recwarn]


# command


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny shipped model, and two held-out conditions."""
    monkeypatch.setattr("lysoquant.model.card.DEFAULT_MODEL", write_tiny(tmp_path / "shipped.safetensors"))
    heldout = "lysoquant.examples.heldout."
    monkeypatch.setattr(f"{heldout}PIXEL_SIZES_UM", (0.025,))
    monkeypatch.setattr(f"{heldout}PHOTONS", {"low": 1.0, "high": 2.0})
    monkeypatch.setattr(f"{heldout}CASES", ("typical",))

    def held_out(*, seed: int, per_condition: int = 1) -> Iterator[tuple[str, Example]]:
        for noise in ("low", "high"):
            for number in range(per_condition):
                yield f"0.025 um, {noise}, typical", cell([1, 2], name=f"{noise} {seed} {number}")

    def outside(*, seed: int, count: int) -> Iterator[tuple[str, Example]]:
        yield from (("second simulator", cell([1, 2], name=f"outside {number}")) for number in range(count))

    monkeypatch.setattr(f"{heldout}held_out", held_out)
    monkeypatch.setattr(f"{heldout}outside", outside)
    return tmp_path / "out"


def test_the_command_writes_table_json_and_figure(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["evaluate", "--images", "2", "--seed", "7", "--device", "cpu", "--output", str(tiny)]) == 0
    out, err = capsys.readouterr()
    assert sorted(path.name for path in tiny.iterdir()) == ["figure.png", "metrics.json", "scores.csv"]
    assert pd.read_csv(tiny / "scores.csv")["name"].tolist() == ["low 7 0", "low 7 1", "high 7 0", "high 7 1"]
    content = json.loads((tiny / "metrics.json").read_text(encoding="utf-8"))
    assert (content["data"], content["seed"], content["n"]) == ("simulated", 7, 4)
    assert content["model"]["name"] == "tiny"
    assert "on 4 cells (simulated)" in out
    assert "paper (3 images)" in out
    assert "evaluate: 4/4 high 7 1" in err
    assert Image.open(tiny / "figure.png").size[1] > 2000


def test_the_command_takes_the_second_simulator_without_a_figure(tiny: Path) -> None:
    options = ["--data", "outside", "--images", "3", "--no-figure", "--device", "cpu", "--output", str(tiny)]
    assert invoke(["evaluate", *options]) == 0
    assert sorted(path.name for path in tiny.iterdir()) == ["metrics.json", "scores.csv"]
    assert len(pd.read_csv(tiny / "scores.csv")) == 3


def test_the_command_takes_a_folder_of_annotated_cells(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, dict[str, object]]] = []

    def read_examples(path: Path, **options: object) -> Iterator[Example]:
        asked.append((path, options))
        yield from (cell([1, 2], name=f"annotated {number}") for number in range(3))

    monkeypatch.setattr("lysoquant.examples.annotated.read_examples", read_examples)
    folder = tmp_path / "mine"
    folder.mkdir()
    options = ["--data", str(folder), "--images", "2", "--no-figure", "--device", "cpu", "--cargo", "ATZ"]
    assert invoke(["evaluate", *options, "--output", str(tiny)]) == 0
    assert asked == [(folder, {"lysosome": None, "cargo": "ATZ", "pixel_size_um": None})] * 2
    content = json.loads((tiny / "metrics.json").read_text(encoding="utf-8"))
    assert (content["data"], content["seed"], content["n"]) == ("mine", None, 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "simulatd"], "'simulatd', and there is no such folder; expected simulated, wide, outside"),
        (["--model", "gone.safetensors"], "gone.safetensors"),
        (["--images", "0"], "x>=1"),
    ],
)
def test_a_wrong_value_is_one_line_and_status_2(
    options: list[str], said: str, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["evaluate", *options, "--output", str(tiny)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error
    assert not tiny.exists()


def test_examples_of_the_figure_are_spread() -> None:
    assert _spread(36, 4) == {0, 12, 23, 35}
    assert _spread(2, 4) == {0, 1}
    assert _spread(5, 1) == {0}
    assert _spread(5, 0) == set()
