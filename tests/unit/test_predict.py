"""Tiles: they cover every pixel once, share batches, and cost nothing where nothing is."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from network_kit import Threshold, batches_as_on_a_gpu, threshold_model, tiny_network

from lysoquant.errors import InputError, StageError
from lysoquant.model.architecture import Architecture, valid_loss_px
from lysoquant.model.card import ModelCard
from lysoquant.model.cuts import Cuts, TilePlan, abutting_cuts, mirrored
from lysoquant.model.precision import autocast, choose_device, has_bf16, resolve_precision
from lysoquant.model.predict import Predictor
from lysoquant.model.weights import Model

CPU = torch.device("cpu")


def predictor(*, tile_px: int = 16, overlap_px: int = 4, batch_size: int = 3) -> tuple[Predictor, Threshold]:
    model = threshold_model()
    found = Predictor(model, CPU, TilePlan(tile_px, overlap_px), batch_size, precision="fp32")
    assert isinstance(model.network, Threshold)
    return found, model.network


def crop(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand((3, *shape), generator=torch.Generator().manual_seed(seed))


@given(length=st.integers(1, 400), poolings=st.integers(0, 6), coarse=st.integers(1, 12), share=st.floats(0, 0.49))
@settings(deadline=None)
def test_the_cuts_abut_and_cover_exactly(length: int, poolings: int, coarse: int, share: float) -> None:
    multiple = 2**poolings
    tile_px = coarse * multiple
    plan = TilePlan(tile_px, int(tile_px * share))
    cuts = plan.cuts(length, multiple=multiple)
    parts = [part for _, part in cuts.tiles]
    assert cuts.size <= tile_px
    assert cuts.size % multiple == 0
    assert (parts[0].start, parts[-1].stop) == (0, length)
    assert all(before.stop == after.start for before, after in itertools.pairwise(parts))
    is_aligned = -(-2 * plan.overlap_px // multiple) * multiple < tile_px
    for start, part in cuts.tiles:
        assert 0 <= start <= part.start < part.stop <= start + cuts.size
        assert start % multiple == 0 or not is_aligned
        assert part.start == 0 or part.start - start >= plan.overlap_px
        assert part.stop == length or start + cuts.size - part.stop >= plan.overlap_px


def test_an_edge_is_cut_as_worked_out_by_hand() -> None:
    plan = TilePlan(tile_px=16, overlap_px=4)
    assert plan.cuts(16, multiple=4) == Cuts(16, ((0, slice(0, 16)),))
    # 20 px with 8 shared: two tiles of 14, rounded up to the largest.
    assert plan.cuts(17, multiple=4) == Cuts(16, ((0, slice(0, 10)), (4, slice(10, 17))))
    # 32 px: three tiles of 16 share 8 each.
    assert plan.cuts(30, multiple=4) == Cuts(16, ((0, slice(0, 12)), (8, slice(12, 20)), (16, slice(20, 30))))
    # 8 px must be shared, but steps of 8 leave no room: the tiles begin anywhere.
    assert plan.cuts(18, multiple=16) == Cuts(16, ((0, slice(0, 9)), (2, slice(9, 18))))


@pytest.mark.parametrize(("length", "tile_px", "size", "tiles"), [
    (1000, 1024, 1024, 1),  # a crop that fits is not cut
    (700, 1024, 704, 1),
    (1000, 512, 448, 3),  # 1024 + 2 * 128 in three equal parts are 427
    (1400, 1024, 768, 2),  # 1408 + 128 in two
    (30, 512, 64, 1),
])  # fmt: skip
def test_tiles_of_the_shipped_depth_are_few_equal_and_no_larger_than_need_be(
    length: int, tile_px: int, size: int, tiles: int
) -> None:
    cuts = TilePlan(tile_px, 64).cuts(length, multiple=64)
    assert (cuts.size, len(cuts.tiles)) == (size, tiles)


@pytest.mark.parametrize(("tile_px", "overlap_px"), [(16, 8), (16, 20), (16, -1)])
def test_an_overlap_of_half_a_tile_is_refused(tile_px: int, overlap_px: int) -> None:
    with pytest.raises(InputError, match=f"overlap_px is {overlap_px} and tile_px is 16"):
        TilePlan(tile_px, overlap_px)


def test_a_tile_that_does_not_fit_the_models_depth_is_refused() -> None:
    deep = ModelCard(name="deep", architecture=Architecture(levels=8, base_features=1))
    model = Model(network=threshold_model().network, card=deep, sha256="")
    with pytest.raises(
        InputError, match="tile_px is 192; the 8 levels of model 'deep' need a multiple of 128; give 256"
    ):
        Predictor(model, CPU, TilePlan(192, 16), 1)


@given(start=st.integers(-90, 90), size=st.integers(1, 60), length=st.integers(1, 40))
@settings(deadline=None)
def test_beyond_the_edge_an_image_is_mirrored_as_by_numpy(start: int, size: int, length: int) -> None:
    padded = np.pad(np.arange(length), 200, mode="reflect")
    np.testing.assert_array_equal(mirrored(start, size, length).numpy(), padded[200 + start : 200 + start + size])


def test_abutting_cuts() -> None:
    assert abutting_cuts(33, 16, multiple=4) == Cuts(12, ((0, slice(0, 12)), (12, slice(12, 24)), (24, slice(24, 33))))
    assert abutting_cuts(16, 16, multiple=4) == Cuts(16, ((0, slice(0, 16)),))
    assert abutting_cuts(5, 16, multiple=4) == Cuts(8, ((0, slice(0, 5)),))


def valid_model(levels: int) -> Model:
    architecture = Architecture(levels=levels, base_features=3, padding="valid")
    network = tiny_network(seed=5, architecture=architecture).eval()
    return Model(network=network, card=ModelCard(name="valid", architecture=architecture), sha256="")


def untiled(model: Model, image: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """One run over the whole image, mirrored by numpy."""
    architecture = model.card.architecture
    side = architecture.loss_px // 2
    margins = [(side, side + architecture.answer_px(length) - length) for length in image.shape[1:]]
    whole = torch.from_numpy(np.pad(image.numpy(), [(0, 0), *margins], mode="reflect"))
    with torch.inference_mode():
        scores = model.network(whole[None])[0]
    return np.asarray(torch.softmax(scores, dim=0).numpy()[:, : image.shape[1], : image.shape[2]])


@pytest.mark.parametrize(("levels", "tile_px", "shape", "tiles"), [
    (3, 16, (50, 37), 4 * 3),  # multiples of 4: 16, 32, 48 and 2 px more
    (3, 30, (50, 37), 2 * 2),  # rounded up to 32
    (3, 64, (50, 37), 1),
    (4, 16, (50, 37), 4 * 3),  # a tile answers for 20 px, of which 16 are used
    (4, 64, (7, 5), 1),  # mirrored several times
    (3, 16, (1, 20), 2),
])  # fmt: skip
def test_tiles_of_valid_convolutions_equal_one_run_over_the_mirrored_image(
    levels: int, tile_px: int, shape: tuple[int, int], tiles: int
) -> None:
    model, image = valid_model(levels), crop(3, *shape)
    found = Predictor(model, CPU, TilePlan(tile_px, 4), 3, precision="fp32")
    ((_, probabilities),) = found.predict([(0, image)])
    assert found.tiles == tiles
    np.testing.assert_allclose(probabilities, untiled(model, image), atol=1e-4)


def test_a_valid_tile_is_left_out_only_where_its_margins_are_empty_too() -> None:
    """Tiles of 16 rows see 20 more on each side: those from rows 0 and 16 see row 0, those from 32 and 48 don't."""
    image = torch.zeros(3, 64, 16)
    image[:, 0] = 1
    model = valid_model(3)
    found = Predictor(model, CPU, TilePlan(16, 4), 1, precision="fp32")
    ((_, probabilities),) = found.predict([(0, image)])
    assert found.tiles == 2
    np.testing.assert_allclose(probabilities[:, :32], untiled(model, image)[:, :32], atol=1e-4)
    assert probabilities[0, 32:].min() == 1
    assert not probabilities[1:, 32:].any()


def test_tiles_give_each_pixel_its_own_probabilities() -> None:
    image = crop(0, 37, 61)
    found, _ = predictor()
    ((key, probabilities),) = found.predict([("only", image)])
    assert key == "only"
    assert probabilities.dtype == np.float32
    with torch.inference_mode():
        expected = torch.softmax(Threshold()(image[None]), dim=1)[0].numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-6)


def test_tiled_equals_untiled_where_the_margin_holds_the_receptive_field() -> None:
    """Two levels see 3 + 2 * 5 pixels at most on each side, fewer than the margin."""
    architecture = Architecture(levels=2, base_features=4)
    network = tiny_network(seed=1, architecture=architecture).eval()
    model = Model(network=network, card=ModelCard(name="two", architecture=architecture), sha256="")
    image = crop(1, 64, 96)
    found = Predictor(model, CPU, TilePlan(48, 14), 2, precision="fp32")
    ((_, probabilities),) = found.predict([(0, image)])
    assert found.tiles > 4
    with torch.inference_mode():
        expected = torch.softmax(network(image[None]), dim=1)[0].numpy()
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def reach_px(architecture: Architecture) -> int:
    """How far to one side a score can see: what its convolutions take, and the rest of its coarsest pixel's group."""
    return valid_loss_px(architecture.levels - 1) // 2 + architecture.multiple - 1


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_a_score_sees_as_far_as_worked_out_and_no_further(levels: int) -> None:
    """By the gradient of the scores along an edge, of a network that lets everything through."""
    architecture = Architecture(levels=levels, base_features=1)
    network = tiny_network(seed=1, architecture=architecture).eval().double()
    for weights in network.parameters():
        torch.nn.init.ones_(weights)
    reach, length = reach_px(architecture), 4 * reach_px(architecture) // architecture.multiple * architecture.multiple
    images = torch.rand(1, 3, architecture.multiple, length, dtype=torch.float64).requires_grad_()
    furthest = 0
    for place in range(length // 2, length // 2 + architecture.multiple):
        (slope,) = torch.autograd.grad(network(images)[0, 0, 0, place], images)
        seen = slope[0].abs().amax(dim=(0, 1)).nonzero().flatten()
        furthest = max(furthest, place - int(seen.min()), int(seen.max()) - place)
    assert reach - architecture.multiple < furthest <= reach


@given(levels=st.integers(2, 4), extra=st.integers(0, 3), edges=st.tuples(st.integers(1, 200), st.integers(1, 200)))
@settings(max_examples=25, deadline=None)
def test_tiled_equals_untiled_with_a_margin_of_what_a_score_sees(
    levels: int, extra: int, edges: tuple[int, int]
) -> None:
    """Everywhere, whatever the cut: of the crop with as much nothing beyond it as the last tile has."""
    architecture = Architecture(levels=levels, base_features=2)
    network = tiny_network(seed=levels, architecture=architecture).eval()
    margin = reach_px(architecture)
    tile_px = (2 * margin // architecture.multiple + 2 + extra) * architecture.multiple
    plan, image = TilePlan(tile_px, margin), crop(sum(edges), *edges)
    found = Predictor(
        Model(network=network, card=ModelCard(name="some", architecture=architecture), sha256=""),
        CPU,
        plan,
        2,
        precision="fp32",
    )
    ((_, probabilities),) = found.predict([(0, image)])
    cuts = [plan.cuts(length, multiple=architecture.multiple) for length in edges]
    bottom, right = (cut.tiles[-1][0] + cut.size - length for cut, length in zip(cuts, edges, strict=True))
    with torch.inference_mode():
        whole = torch.softmax(network(torch.nn.functional.pad(image, (0, right, 0, bottom))[None]), dim=1)[0]
    np.testing.assert_allclose(probabilities, whole[:, : edges[0], : edges[1]].numpy(), atol=1e-4)


def test_on_the_processor_each_tile_goes_by_itself_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = [(0, crop(0, 30, 30)), (1, crop(1, 8, 17)), (2, crop(2, 8, 8))]
    seen: set[int] = set()
    forward = Threshold.forward

    def watched(network: Threshold, images: torch.Tensor) -> torch.Tensor:
        seen.add(torch.get_num_threads())
        return forward(network, images)

    monkeypatch.setattr(Threshold, "forward", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found, network = predictor(batch_size=2)
        list(found.predict(crops))
        assert (found.batch_size, found.tiles, found.calls, network.batches) == (6, 12, 12, [1] * 12)
        assert found.pixels == 12 * 16 * 16
        assert (seen, torch.get_num_threads()) == ({1}, 3)
    finally:
        torch.set_num_threads(before)


def test_probabilities_are_the_same_bits_whatever_the_threads_the_batch_and_the_neighbours() -> None:
    """Features enough that a convolution is shared between threads, which then adds up in another order."""
    architecture = Architecture(levels=5, base_features=16)
    network = tiny_network(seed=2, architecture=architecture).eval()
    model = Model(network=network, card=ModelCard(name="wide", architecture=architecture), sha256="")
    crops = {number: crop(number, *shape) for number, shape in enumerate([(200, 130), (64, 64), (90, 140)])}
    before, found = torch.get_num_threads(), []
    try:
        for threads, batch_size, order in ((1, 4, (0, 1, 2)), (2, 1, (2, 0, 1)), (3, 2, (1, 2, 0))):
            torch.set_num_threads(threads)
            predict = Predictor(model, CPU, TilePlan(128, 16), batch_size, precision="fp32").predict
            found.append(dict(predict([(number, crops[number]) for number in order])))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for number, probabilities in found[0].items():
            np.testing.assert_array_equal(other[number], probabilities)


def test_batches_are_filled_across_crops_with_exact_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    batches_as_on_a_gpu(monkeypatch)
    found, network = predictor(batch_size=4)
    # 30 px are 3 tiles an edge, 17 px are 2, 8 px are 1: 9 + 2 + 1 + 4 = 16 tiles.
    crops = [(0, crop(0, 30, 30)), (1, crop(1, 8, 17)), (2, crop(2, 8, 8)), (3, crop(3, 17, 17))]
    assert [key for key, _ in found.predict(crops)] == [0, 1, 2, 3]
    assert (found.tiles, found.calls) == (16, 4)
    assert network.batches == [4, 4, 4, 4]
    list(found.predict([(0, crop(4, 30, 17))]))
    assert (found.tiles, found.calls) == (22, 6)
    assert network.batches[-2:] == [4, 2]


def test_a_batch_on_a_gpu_has_one_shape_and_none_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes in steps of 64 px. The one wide crop comes first; it goes when 4 x 2 tiles wait in all, then others do."""
    batches_as_on_a_gpu(monkeypatch)
    shapes: list[tuple[int, ...]] = []
    forward = Threshold.forward

    def watched(network: Threshold, images: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(images.shape))
        return forward(network, images)

    monkeypatch.setattr(Threshold, "forward", watched)
    found, network = predictor(tile_px=1024, overlap_px=64, batch_size=2)
    edges = [(60, 120), (60, 60), (50, 64), (130, 60), (200, 60), (260, 60), (330, 60), (400, 60), (450, 60), (520, 60)]
    assert [key for key, _ in found.predict([(edge, crop(0, *edge)) for edge in edges])] == edges
    assert shapes[:2] == [(2, 3, 64, 64), (2, 3, 64, 128)]
    assert network.batches == [2, *[1] * 8]
    assert (found.tiles, found.calls) == (10, 9)
    assert found.pixels == 64 * (128 + 64 + 64 + 192 + 256 + 320 + 384 + 448 + 512 + 576)


def test_the_next_crops_are_made_while_the_network_works() -> None:
    """One thread: two tiles may be in memory. The second crop is asked for before the first one's answer is there."""
    release, asked = threading.Event(), []

    class Slow(Threshold):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert release.wait(60)
            return super().forward(images)

    def crops() -> Iterator[tuple[int, torch.Tensor]]:
        for number in range(3):
            asked.append(number)
            if number == 1:
                release.set()
            yield number, crop(number, 8, 8)

    model = Model(network=Slow(), card=threshold_model().card, sha256="")  # type: ignore[arg-type]
    found = Predictor(model, CPU, TilePlan(16, 4), 2, "fp32")
    assert [key for key, _ in found.predict(crops())] == asked == [0, 1, 2]


def test_empty_tiles_are_background_and_cost_nothing() -> None:
    found, network = predictor()
    image = torch.zeros(3, 30, 30)
    image[:2, 27:, 27:] = 1
    results = dict(found.predict([("dark", torch.zeros(3, 40, 40)), ("corner", image)]))
    assert (found.tiles, network.batches) == (1, [1])
    assert (results["dark"].argmax(axis=0) == 0).all()
    assert results["dark"][0].min() == 1
    np.testing.assert_array_equal(results["corner"].argmax(axis=0), 2 * (image[0] > 0).numpy())


def test_crops_come_back_in_order_and_as_soon_as_they_are_done() -> None:
    found, _ = predictor(batch_size=2)
    asked: list[int] = []

    def crops() -> itertools.chain[tuple[int, torch.Tensor]]:
        for number, image in enumerate([crop(0, 8, 8), torch.zeros(3, 8, 8), crop(1, 8, 8), crop(2, 8, 8)]):
            asked.append(number)
            yield number, image

    results = found.predict(crops())
    assert next(results)[0] == 0
    assert asked == [0, 1, 2]  # the second crop is empty, the third fills the batch, the fourth was not needed
    assert [key for key, _ in results] == [1, 2, 3]


@pytest.mark.parametrize("shape", [(5, 7), (16, 3), (1, 40)])
def test_a_crop_smaller_than_a_tile(shape: tuple[int, int]) -> None:
    image = crop(7, *shape)
    found, _ = predictor()
    ((_, probabilities),) = found.predict([(0, image)])
    assert probabilities.shape == (3, *shape)
    foreground = (image[1] > 0.5).numpy()
    np.testing.assert_array_equal(probabilities[1:].sum(axis=0) > 0.5, foreground)


def test_no_crops_no_calls() -> None:
    found, network = predictor()
    assert list(found.predict(iter(()))) == []
    assert network.batches == []


class Small(torch.nn.Module):
    """A network on a device whose memory holds no more than so many tiles at a time."""

    def __init__(self, network: torch.nn.Module, *, fits: int, error: Exception) -> None:
        super().__init__()
        self.network = network
        self.fits = fits
        self.error = error
        self.asked: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked.append(len(images))
        if len(images) > self.fits:
            raise self.error
        found: torch.Tensor = self.network(images)
        return found


def small(*, fits: int, batch_size: int, error: Exception | None = None) -> tuple[Predictor, Small]:
    architecture = Architecture(levels=3, base_features=4)
    network = Small(tiny_network(), fits=fits, error=error or torch.OutOfMemoryError("CUDA out of memory"))
    model = Model(network=network.eval(), card=ModelCard(name="tiny", architecture=architecture), sha256="")  # type: ignore[arg-type]
    return Predictor(model, CPU, TilePlan(16, 4), batch_size, precision="fp32"), network


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: 1 bytes"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
)
def test_a_batch_that_does_not_fit_is_halved_and_stays_so(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    batches_as_on_a_gpu(monkeypatch)
    # 9 + 2 + 1 + 4 = 16 tiles: 8 do not fit, nor do 4; then eight calls of 2.
    crops = [(0, crop(0, 30, 30)), (1, crop(1, 8, 17)), (2, crop(2, 8, 8)), (3, crop(3, 17, 17))]
    found, network = small(fits=3, batch_size=8, error=error)
    halved = dict(found.predict(crops))
    assert network.asked == [8, 4, *[2] * 8]
    assert (found.batch_size, found.halvings, found.calls, found.tiles) == (2, 2, 8, 16)
    fresh, other = small(fits=99, batch_size=2)
    for key, probabilities in fresh.predict(crops):
        np.testing.assert_array_equal(halved[key], probabilities)
    assert (fresh.halvings, other.asked) == (0, [2] * 8)


def test_an_odd_batch_that_fills_up_late_is_halved_without_losing_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    batches_as_on_a_gpu(monkeypatch)
    found, network = small(fits=2, batch_size=5)
    assert [key for key, _ in found.predict([(0, crop(0, 30, 17)), (1, crop(1, 8, 8))])] == [0, 1]
    assert network.asked == [5, 2, 2, 2, 2]
    assert (found.tiles, found.batch_size, found.halvings) == (7, 2, 1)


def test_a_single_tile_that_does_not_fit_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    batches_as_on_a_gpu(monkeypatch)
    found, network = small(fits=0, batch_size=4)
    with pytest.raises(StageError, match=r"cpu: out of memory with a single tile of 16 x 16 px of model 'tiny'; give"):
        list(found.predict([(0, crop(0, 8, 8))]))
    assert network.asked == [4, 2, 1]


def test_another_fault_of_the_network_is_not_taken_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    batches_as_on_a_gpu(monkeypatch)
    found, network = small(fits=0, batch_size=4, error=RuntimeError("device-side assert"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        list(found.predict([(0, crop(0, 8, 8))]))
    assert network.asked == [4]


def test_on_the_processor_too_little_memory_leaves_fewer_tiles_side_by_side_and_the_same_bits() -> None:
    crops = [(0, crop(0, 30, 30)), (1, crop(1, 17, 17))]
    found, network = small(fits=1, batch_size=4)
    error, forward = network.error, network.forward
    monitor = iter([True, False])
    network.forward = lambda images: _fail(error) if next(monitor, False) else forward(images)  # type: ignore[method-assign]
    halved = dict(found.predict(crops))
    assert (found.batch_size, found.halvings, found.tiles) == (2, 1, 13)
    fresh, _ = small(fits=1, batch_size=4)
    for key, probabilities in fresh.predict(crops):
        np.testing.assert_array_equal(halved[key], probabilities)


def _fail(error: Exception) -> torch.Tensor:
    raise error


def test_a_gpu_that_is_not_there_is_an_error_and_never_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device is cuda but torch finds no GPU"):
        choose_device("cuda")
    assert choose_device("auto") == choose_device("cpu") == CPU
    with pytest.raises(InputError, match="device is 'tpu'; expected auto, cpu or cuda"):
        choose_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"


@pytest.mark.parametrize(("capability", "flags", "expected"), [
    ("AVX512", {"amx_bf16"}, "bf16"), ("AVX512", {"avx2"}, "fp32"), ("AVX2", {"avx512_bf16"}, "fp32")
])  # fmt: skip
def test_automatic_precision_is_the_processors_own(
    monkeypatch: pytest.MonkeyPatch, capability: str, flags: set[str], expected: str
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr("lysoquant.model.precision._cpu_flags", lambda: frozenset(flags))
    assert resolve_precision("auto", CPU) == expected
    assert has_bf16(CPU) == (expected == "bf16")
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"


def test_a_gpu_answers_for_its_own_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: bool(asked.update(options)))
    assert resolve_precision("auto", torch.device("cuda")) == "fp32"
    assert asked == {"including_emulation": False}


def test_autocast_multiplies_in_the_chosen_precision() -> None:
    convolution = torch.nn.Conv2d(1, 1, 3)
    image = torch.rand(1, 1, 5, 5)
    with autocast("cpu", "bf16"):
        assert convolution(image).dtype == torch.bfloat16
    with autocast("cpu", "fp32"):
        assert convolution(image).dtype == torch.float32
