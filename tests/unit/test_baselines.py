"""The compared methods on rings that anyone would find, and their parts on geometry worked out by hand."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from network_kit import write_tiny
from numpy.typing import NDArray
from ring_images import RING_WIDTH_PX, rings

from lysoquant.benchmark import accuracy, fields
from lysoquant.benchmark.accuracy import METRICS, Row, class_blind_iou, run
from lysoquant.benchmark.baselines import choose, methods, pixels
from lysoquant.benchmark.baselines.extras import CELLPOSE, STARDIST, CellposeMethod, StarDistMethod
from lysoquant.benchmark.baselines.hough import HOUGH
from lysoquant.benchmark.baselines.isodata import ISODATA
from lysoquant.benchmark.baselines.method import Baseline, MethodUnavailableError, Tuned
from lysoquant.benchmark.baselines.networks import lysoquant_model, unet5_model
from lysoquant.benchmark.baselines.pixels import FOREST, SVM, sample
from lysoquant.benchmark.baselines.regions import REGIONS, compete
from lysoquant.benchmark.baselines.rings import (
    MIN_AREA_PX,
    Radii,
    RingMethod,
    View,
    agreement,
    classed,
    draw_discs,
    fill_lumens,
    loaded_threshold,
    lumen_cargo,
    mean_agreement,
    sized,
    split_touching,
)
from lysoquant.benchmark.baselines.spots import LOG, WAVELET, a_trous
from lysoquant.benchmark.table import markdown, write_table
from lysoquant.cli.main import invoke
from lysoquant.errors import InputError
from lysoquant.evaluate.score import Prediction, score_example, true_objects
from lysoquant.examples.example import Example
from lysoquant.metrics.matching import match_distance
from lysoquant.model.architecture import Architecture

CLASSIC: dict[str, tuple[Baseline, float]] = {
    # Least IoU on crisp rings: spots see membranes and not lumens, competition stops where the signal halves.
    "isodata": (ISODATA, 0.75),
    "forest": (FOREST, 0.95),
    "svm": (SVM, 0.95),
    "regions": (REGIONS, 0.7),
    "wavelet": (WAVELET, 0.5),
    "log": (LOG, 0.75),
    "hough": (HOUGH, 0.85),
}


@pytest.fixture(scope="module", autouse=True)
def few_pixels() -> Iterator[None]:
    """Crisp rings need few training pixels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "PIXELS_A_CLASS", 200)
        yield


@pytest.fixture(scope="module")
def training() -> list[Example]:
    return [rings(seed=1, rows=2, columns=3), rings(seed=2, rows=2, columns=3)]


@pytest.fixture(scope="module")
def unseen() -> Example:
    return rings(seed=3)


@pytest.fixture(scope="module")
def tuned(training: list[Example], few_pixels: None) -> dict[str, Tuned]:
    return {name: method.tune(training) for name, (method, _) in CLASSIC.items()}


def disc(shape: tuple[int, int], y: float, x: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)


@pytest.mark.parametrize("name", CLASSIC)
def test_every_method_finds_and_classes_crisp_rings(name: str, tuned: dict[str, Tuned], unseen: Example) -> None:
    prediction = tuned[name].predict(unseen)
    scores = score_example(unseen, prediction)
    assert class_blind_iou(unseen, prediction) > CLASSIC[name][1]
    assert scores.f1_objects == 1
    assert scores.n_found == scores.n_true == 12
    assert scores.class_accuracy == 1
    assert scores.occupancy_error == 0


def test_hough_centres_are_within_three_pixels(tuned: dict[str, Tuned], unseen: Example) -> None:
    labels = tuned["hough"].predict(unseen).labels
    assert labels is not None
    matching = match_distance(unseen.regions, labels, limit_px=3)
    assert (matching.n_truth, matching.n_found, matching.n_matched) == (12, 12, 12)


@pytest.mark.parametrize("name", ["forest", "svm"])
def test_tuning_again_gives_the_same_result(
    name: str, training: list[Example], tuned: dict[str, Tuned], unseen: Example
) -> None:
    again = CLASSIC[name][0].tune(training)
    assert again.parameters == tuned[name].parameters
    np.testing.assert_array_equal(again.predict(unseen).classes, tuned[name].predict(unseen).classes)


@pytest.mark.parametrize("method", [ISODATA, WAVELET, LOG, HOUGH], ids=lambda method: method.name)
def test_tuning_takes_the_best_of_the_grid(
    method: RingMethod[Any], training: list[Example], tuned: dict[str, Tuned]
) -> None:
    candidates = method.candidates(Radii.of(training))
    assert len(set(candidates)) == len(candidates)
    means = mean_agreement(training, candidates, method.prepare)
    assert means.max() > means.min() + 0.05
    chosen = candidates[int(np.argmax(means))]
    assert {name: tuned[method.name].parameters[name] for name in vars(chosen)} == vars(chosen)
    # By the definition, once more: IoU of pixels and F1 of objects, on each example.
    each = [agreement(example, sized(method.prepare(View.of(example))(chosen))) for example in training]
    assert tuned[method.name].tuning_score == pytest.approx(np.mean(each))


def test_pixels_tuned_on_one_example_work_too(unseen: Example) -> None:
    prediction = FOREST.tune([rings(seed=1)]).predict(unseen)
    assert class_blind_iou(unseen, prediction) > 0.9
    assert prediction.probabilities is not None
    np.testing.assert_allclose(prediction.probabilities.sum(axis=0), 1, atol=1e-5)


def test_pixels_need_every_class() -> None:
    example = rings(seed=1)
    empty = replace(example, classes=np.minimum(example.classes, 1))
    with pytest.raises(MethodUnavailableError, match="no loaded pixel"):
        FOREST.tune([empty])


def test_sampled_pixels_are_balanced_and_count() -> None:
    example = rings(seed=1)
    ignored = example.regions == 1
    found = sample([replace(example, ignored=ignored), example])
    assert np.bincount(found.classes).tolist() == [2 * 200] * 3
    assert np.bincount(found.groups).tolist() == [3 * 200] * 2
    few = sample([replace(example, ignored=(example.regions > 0) & (example.regions != 2))])
    # Object 2 is loaded and the only one left.
    assert np.count_nonzero(few.classes == 1) == 0
    assert np.count_nonzero(few.classes == 2) == 200


class TestWavelet:
    def test_planes_and_rest_add_up_to_the_image(self) -> None:
        image = np.random.default_rng(0).random((70, 90)).astype(np.float32)
        planes, rest = a_trous(image, scales=4)
        assert len(planes) == 4
        np.testing.assert_allclose(np.sum(planes, axis=0) + rest, image, atol=1e-6)

    def test_an_impulse_by_hand(self) -> None:
        image = np.zeros((65, 65), np.float32)
        image[32, 32] = 1
        planes, _ = a_trous(image, scales=2)
        # The kernel is (1, 4, 6, 4, 1) / 16 on each axis; at scale 2 its steps are 2 pixels.
        assert planes[0][32, 32] == pytest.approx(1 - (6 / 16) ** 2)
        assert planes[0][32, 33] == pytest.approx(-(6 * 4) / 256)
        assert planes[0][34, 34] == pytest.approx(-1 / 256)
        second = (1 / 16) ** 2 * (1 * 4 + 6 * 6 + 4 * 1) ** 2 / 256
        assert planes[1][32, 32] == pytest.approx((6 / 16) ** 2 - second)
        assert planes[1].sum() == pytest.approx(0, abs=1e-6)

    def test_a_flat_cell_has_no_spot(self) -> None:
        flat = np.full((60, 60), 0.5, np.float32)
        view = View(flat, flat, np.ones(flat.shape, bool))
        segment = WAVELET.prepare(view)
        assert all(segment(candidate).max() == 0 for candidate in WAVELET.candidates(Radii(10, 20)))


def test_log_counts_and_sizes_blobs() -> None:
    rows, columns = np.mgrid[:120, :200]
    centres = [(30, 30), (30, 100), (80, 60), (85, 150)]
    image = sum(np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 8.0**2)) for y, x in centres)
    view = View(np.zeros((120, 200), np.float32), np.asarray(image, np.float32), np.ones((120, 200), bool))
    candidate = next(c for c in LOG.candidates(Radii(8, 16)) if (c.threshold, c.radius_factor) == (0.1, 1.0))
    labels = LOG.prepare(view)(candidate)
    assert labels.max() == 4
    for y, x in centres:
        own = labels == labels[y, x]
        assert labels[y, x] > 0
        # A Gaussian of sigma 8 answers most at sigma 8: a disc of radius 8 sqrt(2), to the grid of scales.
        assert math.sqrt(np.count_nonzero(own) / math.pi) == pytest.approx(8 * math.sqrt(2), rel=0.25)


def test_competing_regions_move_to_the_edge_and_respect_each_other() -> None:
    shape = (80, 120)
    left, right = disc(shape, 40, 40, 15), disc(shape, 40, 72, 15)
    image = np.where(left | right, 1.0, 0.0).astype(np.float32)
    start = np.where(disc(shape, 40, 40, 12), 1, np.where(disc(shape, 40, 72, 12), 2, 0)).astype(np.int32)
    found = compete(image, start, np.ones(shape, bool), smoothness=1)
    for number, own in ((1, left), (2, right)):
        here = found == number
        before = np.count_nonzero(start == number) / np.count_nonzero(own)
        assert np.count_nonzero(here & own) / np.count_nonzero(here | own) > max(0.95, before)
    # In one even blob the first comes to grow into the second, and may not; nor beyond the cell.
    blob, cell = np.ones(shape, np.float32), np.ones(shape, bool)
    blob[:, :20] = blob[:, 100:] = 0
    halves = np.where(disc(shape, 40, 45, 14), 1, np.where(disc(shape, 40, 74, 14), 2, 0)).astype(np.int32)
    cell[:, :35] = False
    found = compete(blob, halves, cell, smoothness=1)
    assert np.count_nonzero(found == 1) > np.count_nonzero((halves == 1) & cell)
    assert (found[halves == 2] != 1).all()
    assert not found[:, :35].any()


class TestObjects:
    def test_touching_discs_are_split_and_specks_dropped(self) -> None:
        shape = (70, 110)
        mask = disc(shape, 35, 35, 20) | disc(shape, 35, 70, 20)
        mask[2:5, 100:103] = True
        labels = split_touching(mask, distance_px=8)
        assert labels.max() == 2
        assert labels[35, 35] != labels[35, 70]
        np.testing.assert_array_equal(labels > 0, disc(shape, 35, 35, 20) | disc(shape, 35, 70, 20))

    def test_holes_are_filled_up_to_the_largest_lumen(self) -> None:
        mask = disc((120, 200), 60, 40, 20) & ~disc((120, 200), 60, 40, 12)
        mask |= disc((120, 200), 60, 130, 50) & ~disc((120, 200), 60, 130, 45)
        filled = fill_lumens(mask, largest_px=np.pi * 20**2)
        assert filled[60, 40]
        assert not filled[60, 130]

    def test_objects_below_the_papers_size_are_dropped_and_the_rest_renumbered(self) -> None:
        assert pytest.approx(208) == MIN_AREA_PX
        labels = np.zeros((60, 60), np.int32)
        labels[:10, :10], labels[20:36, :13], labels[20:40, 30:50] = 3, 5, 9  # 100, 208 and 400 pixels
        found = sized(labels)
        assert (found[0, 0], found[20, 0], found[20, 30]) == (0, 1, 2)

    def test_a_covered_disc_is_left_out(self) -> None:
        inside = np.ones((80, 80), bool)
        inside[:, 60:] = False
        labels = draw_discs((80, 80), [(40, 20, 15), (42, 22, 14), (40, 50, 15)], inside=inside)
        assert set(np.unique(labels)) == {0, 1, 3}
        assert labels[40, 20] == 1
        assert not labels[:, 60:].any()


class TestLoaded:
    def test_the_lumen_is_the_inner_half(self) -> None:
        shape = (60, 120)
        labels = np.where(disc(shape, 30, 30, 20), 1, np.where(disc(shape, 30, 90, 20), 2, 0)).astype(np.int32)
        docked = disc(shape, 30, 30, 20) & ~disc(shape, 30, 30, 13)
        cargo = np.where(docked | disc(shape, 30, 90, 12), np.float32(0.8), np.float32(0.1))
        assert lumen_cargo(labels, cargo).tolist() == pytest.approx([0.1, 0.8])
        prediction = classed(labels, cargo, loaded_from=0.4)
        assert prediction.is_loaded is not None
        assert prediction.is_loaded.tolist() == [False, True]
        assert (prediction.classes[30, 30], prediction.classes[30, 90], prediction.classes[0, 0]) == (1, 2, 0)

    def test_touching_objects_have_a_gap_in_the_class_map(self) -> None:
        labels = np.zeros((40, 60), np.int32)
        labels[:, :30], labels[:, 30:] = 1, 2
        prediction = classed(labels, np.zeros((40, 60), np.float32), loaded_from=0.4)
        assert np.flatnonzero(prediction.classes[5] == 0).tolist() == [29, 30]
        np.testing.assert_array_equal(prediction.labels, labels)

    @pytest.mark.parametrize(
        ("levels", "classes", "expected"),
        [
            ([0.1, 0.2, 0.6, 0.8], [1, 1, 2, 2], (0.2 + 0.6) / 2),
            # A loaded one below an empty one: cuts at 0.2 and 0.7 are right on 3 of 4, at 0.4 on 2; the first counts.
            ([0.1, 0.3, 0.5, 0.9], [1, 2, 1, 2], (0.1 + 0.3) / 2),
            ([0.2, 0.4], [2, 2], 0.0),
        ],
    )
    def test_the_threshold_by_hand(
        self, levels: list[float], classes: list[int], expected: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        example = self._example(levels, classes, monkeypatch)
        assert loaded_threshold([example]) == pytest.approx(expected, abs=1e-6)

    def test_with_empty_ones_only_nothing_is_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert loaded_threshold([self._example([0.2, 1.0], [1, 1], monkeypatch)]) > 1

    @staticmethod
    def _example(levels: list[float], classes: list[int], monkeypatch: pytest.MonkeyPatch) -> Example:
        """Squares of a known cargo level; normalisation is left out."""
        shape = (20, 20 * len(levels))
        regions = np.repeat(np.arange(1, len(levels) + 1), 20)[None].repeat(20, axis=0).astype(np.int32)
        cargo = np.array([0, *levels], np.float32)[regions]
        monkeypatch.setattr(View, "of", classmethod(lambda cls, _: cls(cargo, cargo, np.ones(shape, bool))))
        return replace(
            rings(seed=1),
            inside=np.ones(shape, bool),
            regions=regions,
            classes=np.array([0, *classes], np.uint8),
            ignored=np.zeros(shape, bool),
            docked=np.zeros(len(classes) + 1, bool),
        )


def test_radii_are_those_of_the_truth() -> None:
    example = rings(seed=1)
    areas = np.bincount(example.regions.ravel())[1:]
    radii = Radii.of([example])
    assert radii.low_px == pytest.approx(math.sqrt(areas.min() / math.pi), abs=0.5)
    assert radii.high_px == pytest.approx(math.sqrt(areas.max() / math.pi), abs=0.5)
    assert 11 + RING_WIDTH_PX <= radii.low_px < radii.high_px <= 20 + RING_WIDTH_PX + 0.5


def test_agreement_by_hand() -> None:
    """Two of twelve objects missing and one false: F1 is 20 / 23; IoU is what is left over all and the false one."""
    example = rings(seed=1)
    labels = np.where(example.regions <= 10, example.regions, 0).astype(np.int32)
    labels[:16, :16] = 11
    assert not example.regions[:16, :16].any()
    kept, every = np.count_nonzero(labels) - 256, np.count_nonzero(example.regions)
    assert agreement(example, labels) == pytest.approx((kept / (every + 256) + 20 / 23) / 2)
    ignored = np.zeros(labels.shape, bool)
    ignored[:16, :16] = True
    assert agreement(replace(example, ignored=ignored), labels) == pytest.approx((kept / every + 20 / 22) / 2)


def test_the_papers_f1_of_figure_1_is_that_of_pixels(tmp_path: Path) -> None:
    for method in methods(model=tmp_path, unet5=None):
        if method.name in CLASSIC:
            assert method.paper is not None
            iou, f1 = float(method.paper.iou), float(method.paper.f1)
            assert 2 * iou / (1 + iou) == pytest.approx(f1, abs=0.0011)


class TestNetworks:
    def test_a_model_is_run_as_it_is(self, tmp_path: Path, unseen: Example) -> None:
        method = lysoquant_model(write_tiny(tmp_path / "tiny.safetensors"))
        ready = method.tune([])
        assert ready.parameters["levels"] == 3
        assert math.isnan(ready.tuning_score)
        prediction = ready.predict(unseen)
        assert prediction.probabilities is not None
        np.testing.assert_array_equal(prediction.classes, prediction.probabilities.argmax(axis=0))
        assert prediction.classes.shape == unseen.regions.shape

    def test_the_five_level_network_needs_its_own_file(self, tmp_path: Path) -> None:
        with pytest.raises(MethodUnavailableError, match="--unet5"):
            unet5_model(None).tune([])
        with pytest.raises(MethodUnavailableError, match="3 levels, not 5"):
            unet5_model(write_tiny(tmp_path / "tiny.safetensors")).tune([])
        five = write_tiny(tmp_path / "five.safetensors", architecture=Architecture(levels=5, base_features=2))
        assert unet5_model(five).tune([]).parameters["base_features"] == 2


class TestExtras:
    @pytest.fixture
    def nothing_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    @pytest.mark.usefixtures("nothing_installed")
    @pytest.mark.parametrize("method", [STARDIST, CELLPOSE], ids=lambda method: method.name)
    def test_without_the_package_the_row_says_so(
        self, method: Baseline, training: list[Example], unseen: Example
    ) -> None:
        (row,) = run(training[:1], [unseen], [method])
        assert row.skipped == f"not installed: pip install 'lysoquant[{method.name}]'"
        assert row.n_images == 0
        assert math.isnan(row.metrics["iou"].mean)
        assert row.skipped in markdown([row], about={"seed": 1})

    def test_stardist_is_called_as_documented(
        self, monkeypatch: pytest.MonkeyPatch, training: list[Example], unseen: Example
    ) -> None:
        """A stand-in of stardist's documented calls: what it is given, and that its labels become the result."""
        calls: dict[str, Any] = {}

        class StarDist2D:
            thresholds = SimpleNamespace(prob=0.4, nms=0.5)

            def __init__(self, config: Any, name: str, basedir: Any) -> None:
                calls["config"], calls["basedir"] = config, basedir

            def train(self, images: Any, labels: Any, *, validation_data: Any, **options: Any) -> None:
                calls["train"] = [len(images), len(labels), *map(len, validation_data)]
                calls["epochs"] = options["epochs"]
                image, truth = options["augmenter"](images[0], labels[0])
                calls["pairs"] = image.shape == truth.shape

            def optimize_thresholds(self, images: Any, labels: Any) -> None:
                calls["thresholds"] = len(images)

            def predict_instances(self, image: NDArray[np.float32]) -> tuple[NDArray[np.int32], dict[str, Any]]:
                example = next(e for e in (*training, unseen) if np.array_equal(View.of(e).lysosome, image))
                return example.regions, {}

        module = ModuleType("stardist.models")
        module.Config2D = lambda **given: given  # type: ignore[attr-defined]
        module.StarDist2D = StarDist2D  # type: ignore[attr-defined]
        self._install(monkeypatch, "stardist", models=module)
        ready = StarDistMethod(epochs=3).tune(training)
        assert calls["config"]["n_rays"] == 32
        assert calls["config"]["grid"] == (2, 2)
        assert calls["basedir"] is None
        assert calls["train"] == [1, 1, 1, 1]
        assert (calls["epochs"], calls["thresholds"], calls["pairs"]) == (3, 1, True)
        assert ready.tuning_score == pytest.approx(1)
        assert ready.parameters == {"epochs": 3, "prob_thresh": 0.4, "nms_thresh": 0.5}
        assert score_example(unseen, ready.predict(unseen)).class_accuracy == 1

    def test_stardist_needs_two_examples(self, monkeypatch: pytest.MonkeyPatch, training: list[Example]) -> None:
        self._install(monkeypatch, "stardist")
        with pytest.raises(MethodUnavailableError, match="give two"):
            STARDIST.tune(training[:1])

    def test_cellpose_is_called_as_documented(
        self, monkeypatch: pytest.MonkeyPatch, training: list[Example], unseen: Example
    ) -> None:
        class CellposeModel:
            def __init__(self, gpu: bool) -> None:
                assert gpu is False

            def eval(
                self, image: NDArray[np.float32], *, diameter: float, cellprob_threshold: float
            ) -> tuple[NDArray[np.uint16], list[Any], Any]:
                example = next(e for e in (*training, unseen) if np.array_equal(View.of(e).lysosome, image))
                masks = example.regions.astype(np.uint16)
                return (masks if cellprob_threshold == 2.0 else 0 * masks), [], None

        models, core = ModuleType("cellpose.models"), ModuleType("cellpose.core")
        models.CellposeModel = CellposeModel  # type: ignore[attr-defined]
        core.use_gpu = lambda: False  # type: ignore[attr-defined]
        self._install(monkeypatch, "cellpose", models=models, core=core)
        ready = CellposeMethod().tune(training)
        assert ready.parameters["cellprob_threshold"] == 2.0
        assert ready.tuning_score == pytest.approx(1)
        assert score_example(unseen, ready.predict(unseen)).f1_objects == 1

    def test_weights_that_can_not_be_had(self, monkeypatch: pytest.MonkeyPatch, training: list[Example]) -> None:
        def refuse(gpu: bool) -> None:
            raise OSError("no route")

        models, core = ModuleType("cellpose.models"), ModuleType("cellpose.core")
        models.CellposeModel = refuse  # type: ignore[attr-defined]
        core.use_gpu = lambda: False  # type: ignore[attr-defined]
        self._install(monkeypatch, "cellpose", models=models, core=core)
        with pytest.raises(MethodUnavailableError, match="no route"):
            CELLPOSE.tune(training)

    @staticmethod
    def _install(monkeypatch: pytest.MonkeyPatch, name: str, **parts: ModuleType) -> None:
        package = ModuleType(name)
        package.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, package)
        for part, module in parts.items():
            monkeypatch.setitem(sys.modules, f"{name}.{part}", module)


class Perfect:
    """Answers with the truth."""

    name = title = "perfect"
    is_what = "the truth | itself"
    paper = None
    parameters: dict[str, float | int | str] = {"power": 1.5}  # noqa: RUF012
    tuning_score = math.nan

    def tune(self, examples: object) -> Perfect:
        return self

    def predict(self, example: Example) -> Prediction:
        truth = true_objects(example)
        return Prediction(example.class_map, labels=truth.labels, is_loaded=truth.is_loaded[1:])


class TestTable:
    @pytest.fixture
    def rows(self, unseen: Example) -> list[Row]:
        return run([unseen], [unseen, rings(seed=4)], [Perfect(), unet5_model(None)])

    def test_the_truth_scores_one(self, rows: list[Row]) -> None:
        perfect = rows[0]
        assert perfect.n_images == 2
        for metric in METRICS:
            if metric not in ("seconds", "occupancy_error"):
                assert perfect.metrics[metric].mean == 1
        assert perfect.metrics["occupancy_error"].mean == 0
        assert perfect.metrics["seconds"].mean > 0
        assert rows[1].skipped.startswith("no weights")

    def test_half_of_the_truth(self, unseen: Example) -> None:
        """Empty ones only: their pixels over all; F1 of pixels is 2 IoU / (1 + IoU)."""

        class Half(Perfect):
            def predict(self, example: Example) -> Prediction:
                return Prediction(np.where(example.class_map == 1, 1, 0).astype(np.uint8))

        metrics = run([unseen], [unseen], [Half()])[0].metrics
        share = np.count_nonzero(unseen.class_map == 1) / np.count_nonzero(unseen.class_map)
        assert metrics["iou"].mean == pytest.approx(share)
        assert metrics["f1_pixels"].mean == pytest.approx(2 * share / (1 + share))
        assert (metrics["iou_empty"].mean, metrics["iou_loaded"].mean) == (1, 0)
        assert metrics["occupancy_error"].mean == pytest.approx(0.5)

    def test_files(self, rows: list[Row], tmp_path: Path) -> None:
        paths = write_table(rows, tmp_path / "new" / "table", about={"seed": 7})
        assert [path.name for path in paths] == ["accuracy.csv", "accuracy.json", "accuracy.md"]
        with paths[0].open(encoding="utf-8", newline="") as file:
            first, second = csv.DictReader(file)
        assert (first["method"], first["status"], first["iou_mean"], first["iou_n"]) == ("perfect", "ok", "1.0", "2")
        assert (second["status"], second["iou_mean"], second["paper_iou"]) == ("skipped", "", "0.722, 0.686")
        document = json.loads(paths[1].read_text(encoding="utf-8"))
        assert document["about"] == {"seed": 7}
        assert document["methods"][0]["metrics"]["iou"] == {"mean": 1.0, "sd": 0.0, "n": 2}
        assert document["methods"][0]["tuning_score"] is None
        assert document["methods"][1]["metrics"]["iou"]["mean"] is None
        lines = paths[2].read_text(encoding="utf-8").splitlines()
        assert {line.count(" | ") for line in lines[:4]} == {len(METRICS) + 3}
        assert lines[2].startswith("| perfect | 1.000 ± 0.000 | 1.000 ± 0.000 |")
        assert "skipped: no weights" in lines[3]
        assert "Chosen: power=1.5." in paths[2].read_text(encoding="utf-8")

    def test_nothing_to_tune_or_test_on(self, unseen: Example) -> None:
        with pytest.raises(InputError, match="tune on"):
            run([], [unseen], [Perfect()])
        with pytest.raises(InputError, match="test on"):
            run([unseen], [], [Perfect()])


class TestFields:
    @pytest.mark.parametrize("count", [1, 12, 36, 40, 72])
    def test_conditions_are_taken_evenly(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        def held_out(*, seed: int, per_condition: int) -> Iterator[tuple[str, int]]:
            for condition in range(fields.CONDITIONS):
                for _ in range(per_condition):
                    yield f"condition {condition}", condition

        monkeypatch.setattr(fields, "held_out", held_out)
        chosen = list(fields.held_out_cells(seed=3, count=count))
        times = np.bincount(np.array(chosen), minlength=fields.CONDITIONS)
        assert len(chosen) == count
        assert times.max() - times.min() <= 1

    def test_tuning_cells_are_those_of_the_stream(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fields, "tuning", lambda *, seed, count: (("tuning", seed + n) for n in range(count)))
        assert list(fields.tuning_cells(seed=5, count=3)) == [5, 6, 7]


class TestCommand:
    @pytest.fixture(autouse=True)
    def tiny_cells(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            fields, "tuning", lambda *, seed, count: (("tuning", rings(seed=seed + n, rows=2)) for n in range(count))
        )
        monkeypatch.setattr(
            fields,
            "held_out",
            lambda *, seed, per_condition: (("c", rings(seed=90 + n, rows=2)) for n in range(fields.CONDITIONS)),
        )

    def test_the_table_is_written(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        given = ["--methods", "unet5,isodata", "--train-images", "1", "--test-images", "2", "--seed", "4"]
        assert invoke(["benchmark", "accuracy", *given, "--output", str(tmp_path / "out")]) == 0
        output = capsys.readouterr()
        assert output.out.splitlines()[1] == f"json: {tmp_path / 'out' / 'accuracy.json'}"
        assert "4/4" in output.err
        document = json.loads((tmp_path / "out" / "accuracy.json").read_text(encoding="utf-8"))
        about = document["about"]
        assert {name: about[name] for name in ("seed", "tuning cells", "test cells")} == {
            "seed": 4, "tuning cells": 1, "test cells": 2,
        }  # fmt: skip
        assert about["device"] in ("cpu", "cuda")
        assert about["scikit-image"]
        isodata, unet5 = document["methods"]
        assert (isodata["name"], isodata["n_images"], unet5["name"]) == ("isodata", 2, "unet5")
        assert isodata["metrics"]["iou"]["mean"] > 0.6
        assert unet5["skipped"].startswith("no weights")

    def test_an_unknown_method(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert invoke(["benchmark", "accuracy", "--methods", "isodat", "--output", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: --methods has 'isodat'; expected names among isodata, forest, svm")
        assert not list(tmp_path.iterdir())

    def test_names_keep_the_tables_order(self, tmp_path: Path) -> None:
        chosen = choose("lysoquant, log,isodata", model=tmp_path, unet5=None)
        assert [method.name for method in chosen] == ["isodata", "log", "lysoquant"]
        assert len(choose(None, model=tmp_path, unet5=None)) == 11

    def test_a_missing_model(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert invoke(["benchmark", "accuracy", "--model", "none.safetensors", "--output", str(tmp_path)]) == 2
        assert "none.safetensors" in capsys.readouterr().err


def test_columns_are_known_to_the_scores(unseen: Example) -> None:
    own = {"iou", "f1_pixels", "seconds"}
    assert set(METRICS) - own <= set(score_example(unseen, Prediction(unseen.class_map)).row())
    assert accuracy.class_blind_iou(unseen, Prediction(unseen.class_map)) == 1
