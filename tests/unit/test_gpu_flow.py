"""The fast path of a GPU, with the processor standing in for it: the same results, batches of exact sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import pytest
import torch
from network_kit import Threshold, all_work_as_on_a_gpu, threshold_model, tiny_network
from torch import Tensor

from lysoquant.errors import StageError
from lysoquant.model.architecture import Architecture, Padding
from lysoquant.model.batches import MOST_PX, SHARE, Batch, bytes_a_pixel
from lysoquant.model.card import ModelCard
from lysoquant.model.cuts import TilePlan
from lysoquant.model.flow import FOREGROUND
from lysoquant.model.gpu_flow import CROPS_ON_THEIR_WAY
from lysoquant.model.lanes import CudaLanes, Lanes, Replay
from lysoquant.model.predict import Predictor
from lysoquant.model.preprocess import CellPixels
from lysoquant.model.weights import Model

CPU = torch.device("cpu")


def cell(seed: int, *shape: int, pixel_size_um: float = 0.06, in_channels: int = 3, bits: int = 16) -> CellPixels:
    """A round cell of noise, bright beyond the range of signed numbers."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    planes = rng.integers(0, 2**bits, (2, *shape)).astype(np.uint16)
    return CellPixels(*planes, rows**2 + columns**2 < 1, pixel_size_um, in_channels=in_channels)


def model(*, padding: Padding = "zeros", levels: int = 3) -> Model:
    architecture = Architecture(levels=levels, base_features=4, padding=padding)
    network = tiny_network(seed=3, architecture=architecture).eval()
    return Model(network=network, card=ModelCard(name="tiny", architecture=architecture), sha256="")


def predictor(chosen: Model, *, batch_size: Any = "auto", tile_px: int = 64, overlap_px: int = 8) -> Predictor:
    return Predictor(chosen, CPU, TilePlan(tile_px, overlap_px), batch_size, precision="fp32")


@pytest.mark.parametrize("padding", ["zeros", "reflect", "valid"])
@pytest.mark.parametrize("batch_size", ["auto", 1, 3])
def test_the_fast_path_gives_what_the_processor_gives(
    padding: Padding, batch_size: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = {n: cell(n, 20 + 7 * n, 61 - 5 * n, pixel_size_um=0.04 + 0.01 * n) for n in range(9)}
    ready = {n: cells[n].network_input() for n in cells}
    expected = dict(predictor(model(padding=padding)).predict(ready.items()))
    all_work_as_on_a_gpu(monkeypatch)
    fast = predictor(model(padding=padding), batch_size=batch_size)
    assert fast.way["path"] == "fast"
    for found in (dict(fast.predict(cells.items())), dict(fast.predict(ready.items()))):
        assert list(found) == list(expected)
        for n, probabilities in expected.items():
            assert found[n].shape == probabilities.shape
            np.testing.assert_allclose(found[n], probabilities, atol=1e-5)
            np.testing.assert_array_equal(found[n].argmax(axis=0), probabilities.argmax(axis=0))


def test_only_the_planes_that_are_wanted_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = cell(0, 40, 50)
    (whole,) = (found for _, found in predictor(model()).predict([(0, pixels)]))
    ways = [model(), model()]
    on_processor = Predictor(ways[0], CPU, TilePlan(64, 8), 1, "fp32", planes=FOREGROUND)
    all_work_as_on_a_gpu(monkeypatch)
    fast = Predictor(ways[1], CPU, TilePlan(64, 8), 1, "fp32", planes=FOREGROUND)
    for some in (on_processor, fast):
        ((_, found),) = some.predict([(0, pixels)])
        np.testing.assert_allclose(found, whole[1:], atol=1e-5)


def test_a_tile_off_the_cell_costs_nothing_and_one_without_signal_is_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At the model's own pixel size, tiles of 16: the cell touches two of four, and has one value in one of these."""
    inside = np.zeros((32, 32), bool)
    inside[:16, :] = True
    planes = np.zeros((2, 32, 32), np.uint16)
    planes[:, :16, :16] = np.random.default_rng(0).integers(1000, 2000, (2, 16, 16))
    pixels = CellPixels(planes[0], planes[1], inside, 0.025)
    expected = predictor(model(), tile_px=16, overlap_px=0)
    ((_, before),) = expected.predict([(0, pixels)])
    all_work_as_on_a_gpu(monkeypatch)
    fast = predictor(model(), tile_px=16, overlap_px=0, batch_size=4)
    ((_, found),) = fast.predict([(0, pixels)])
    assert (expected.tiles, fast.tiles, fast.calls) == (1, 2, 1)
    np.testing.assert_allclose(found, before, atol=1e-5)
    assert found[0, :, 16:].min() == 1


@pytest.mark.parametrize(("batch_size", "calls"), [(4, [4, 4, 4, 4]), ("auto", [4, 4, 4, 4]), (1, [1] * 16)])
def test_batches_are_filled_across_crops(batch_size: Any, calls: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """30 px are 3 tiles an edge, 17 px are 2, 8 px are 1: 9 + 2 + 1 + 4 = 16 tiles. With no word on memory, 4 tiles."""
    all_work_as_on_a_gpu(monkeypatch)
    chosen = threshold_model()
    fast = predictor(chosen, batch_size=batch_size, tile_px=16, overlap_px=4)
    crops = [(number, torch.rand(3, *shape)) for number, shape in enumerate([(30, 30), (8, 17), (8, 8), (17, 17)])]
    expected = dict(Predictor(threshold_model(), CPU, TilePlan(16, 4), 1, "fp32", gpu_path="plain").predict(crops))
    found = dict(fast.predict(crops))
    assert cast(Threshold, chosen.network).batches == calls
    assert (fast.tiles, fast.calls, fast.pixels) == (16, len(calls), 16 * 16 * 16)
    for number, probabilities in found.items():
        np.testing.assert_array_equal(probabilities, expected[number])


def test_the_last_batches_have_the_next_power_of_two_places(monkeypatch: pytest.MonkeyPatch) -> None:
    all_work_as_on_a_gpu(monkeypatch)
    slots: list[int] = []
    forward = Threshold.forward
    monkeypatch.setattr(Threshold, "forward", lambda self, images: slots.append(len(images)) or forward(self, images))
    for batch_size in ("auto", 4):
        list(predictor(threshold_model(), batch_size=batch_size, tile_px=16, overlap_px=4).predict(
            [(0, torch.rand(3, 30, 17)), (1, torch.rand(3, 8, 8))]
        ))  # fmt: skip
    assert slots == [4, 4, 4, 4]
    slots.clear()
    list(predictor(threshold_model(), tile_px=16, overlap_px=4).predict([(0, torch.rand(3, 17, 8))]))
    assert slots == [2]


def test_crops_are_held_back_so_that_the_device_has_work(monkeypatch: pytest.MonkeyPatch) -> None:
    all_work_as_on_a_gpu(monkeypatch)
    asked: list[int] = []

    def crops() -> Any:
        for number in range(CROPS_ON_THEIR_WAY + 3):
            asked.append(number)
            yield number, torch.rand(3, 8, 8)

    results = predictor(threshold_model(), batch_size=1, tile_px=16, overlap_px=4).predict(crops())
    assert next(results)[0] == 0
    assert asked == list(range(CROPS_ON_THEIR_WAY + 1))
    assert [key for key, _ in results] == list(range(1, CROPS_ON_THEIR_WAY + 3))


class Recording(Lanes):
    """A device with graphs: a replay does what was recorded again, into the same place."""

    can_capture = True

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.errors: list[Exception] = []
        self.recorded: list[tuple[int, ...]] = []

    def capture(self, function: Callable[[Tensor], Tensor], given: Tensor) -> Replay:
        if self.errors:
            raise self.errors.pop()
        self.recorded.append(tuple(given.shape))
        found = function(given).clone()
        return lambda: found.copy_(function(given)), found


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    all_work_as_on_a_gpu(monkeypatch)
    found = Recording(CPU)
    monkeypatch.setattr("lysoquant.model.predict.lanes_of", lambda device: found)
    return found


def crops_of(count: int) -> list[tuple[int, Tensor]]:
    return [
        (number, torch.rand((3, 50, 60), generator=torch.Generator().manual_seed(number))) for number in range(count)
    ]


def test_each_shape_is_called_once_recorded_once_and_then_replayed(recording: Recording) -> None:
    fast = predictor(model(), batch_size=2)
    found = dict(fast.predict(crops_of(9)))
    assert recording.recorded == [(2, 3, 64, 64)]
    assert (fast.calls, fast.way) == (5, {"path": "fast", "replayed_calls": 4})
    plain = Predictor(model(), CPU, TilePlan(64, 8), 1, "fp32", gpu_path="plain")
    for number, probabilities in plain.predict(crops_of(9)):
        np.testing.assert_allclose(found[number], probabilities, atol=1e-5)


@pytest.mark.parametrize(("most", "value"), [("MOST_GRAPHS", 1), ("MOST_KEPT_PX", 2 * 64 * 64 + 1)])
def test_shapes_beyond_the_room_for_recordings_are_called_as_they_come(
    recording: Recording, monkeypatch: pytest.MonkeyPatch, most: str, value: int
) -> None:
    monkeypatch.setattr(f"lysoquant.model.replay.{most}", value)
    fast = predictor(model(), batch_size=2, tile_px=128)
    crops = crops_of(6) + [(10 + number, torch.rand(3, 50, 90)) for number in range(6)]
    found = dict(fast.predict(crops))
    assert recording.recorded == [(2, 3, 64, 64)]
    assert (fast.calls, fast.way) == (6, {"path": "fast", "replayed_calls": 2})
    for number, probabilities in predictor(model(), tile_px=128).predict(crops):
        np.testing.assert_allclose(found[number], probabilities, atol=1e-5)


def test_where_recording_fails_all_is_called_as_it_comes_and_the_reason_is_told(recording: Recording) -> None:
    recording.errors = [RuntimeError("operation not permitted when stream is capturing\nmore")]
    fast = predictor(model(), batch_size=2)
    found = dict(fast.predict(crops_of(9)))
    reason = "recording failed: operation not permitted when stream is capturing"
    assert (fast.calls, fast.way) == (5, {"path": "fast", "replayed_calls": 0, "not_recorded": reason})
    for number, probabilities in predictor(model()).predict(crops_of(9)):
        np.testing.assert_allclose(found[number], probabilities, atol=1e-5)


def test_memory_that_does_not_do_for_a_recording_halves_the_batch(recording: Recording) -> None:
    recording.errors = [torch.OutOfMemoryError("CUDA out of memory")]
    fast = predictor(model(), batch_size=2)
    assert len(dict(fast.predict(crops_of(5)))) == 5
    assert (fast.batch_size, fast.halvings, fast.calls) == (1, 1, 4)
    assert recording.recorded == [(1, 3, 64, 64)]


class Small(torch.nn.Module):
    """A network on a device whose memory holds no more than so many tiles at a time."""

    def __init__(self, *, fits: int, error: Exception) -> None:
        super().__init__()
        self.network, self.fits, self.error = tiny_network(seed=3), fits, error
        self.asked: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append(len(images))
        if len(images) > self.fits:
            raise self.error
        found: Tensor = self.network(images)
        return found


def small(*, fits: int, error: Exception | None = None) -> tuple[Model, Small]:
    network = Small(fits=fits, error=error or torch.OutOfMemoryError("CUDA out of memory"))
    card = ModelCard(name="tiny", architecture=Architecture(levels=3, base_features=4))
    return Model(network=network.eval(), card=card, sha256=""), network  # type: ignore[arg-type]


@pytest.mark.parametrize(("batch_size", "asked"), [("auto", [4, 2, 2]), (5, [5, 2, 2])])
def test_a_batch_that_does_not_fit_is_halved_and_stays_so(
    batch_size: Any, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    all_work_as_on_a_gpu(monkeypatch)
    chosen, network = small(fits=2)
    fast = predictor(chosen, batch_size=batch_size)
    found = dict(fast.predict(crops_of(4)))
    assert network.asked == asked
    assert (fast.batch_size, fast.halvings, fast.tiles) == (2, 1, 4)
    for number, probabilities in predictor(small(fits=9)[0]).predict(crops_of(4)):
        np.testing.assert_allclose(found[number], probabilities, atol=1e-5)


def test_a_single_tile_that_does_not_fit_and_another_fault_are_clear_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    all_work_as_on_a_gpu(monkeypatch)
    with pytest.raises(StageError, match=r"cpu: out of memory with a single tile of 64 x 64 px of model 'tiny'"):
        list(predictor(small(fits=0)[0]).predict(crops_of(1)))
    broken = small(fits=0, error=RuntimeError("device-side assert"))[0]
    with pytest.raises(StageError, match=r"\(device-side assert\); set segment\.gpu_path: plain"):
        list(predictor(broken).predict(crops_of(1)))


def test_a_crop_without_room_on_the_device_stays_outside_and_its_tiles_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [(number, cell(number, 40, 40)) for number in range(3)]
    expected = dict(predictor(model()).predict(cells))
    all_work_as_on_a_gpu(monkeypatch)
    upload, tried = Lanes.upload, []

    def no_room(self: Lanes, host: Tensor) -> Tensor:
        tried.append(host.shape)
        if len(tried) in (2, 3):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return upload(self, host)

    monkeypatch.setattr(Lanes, "upload", no_room)
    for number, probabilities in predictor(model()).predict(cells):
        np.testing.assert_allclose(probabilities, expected[number], atol=1e-5)
    assert len(tried) == 4  # the second crop twice


def test_pixels_of_many_types_and_the_highest_values_reach_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    all_work_as_on_a_gpu(monkeypatch)
    for dtype in (np.uint8, np.uint16, np.int32, np.float64):
        bits = cell(5, 30, 30, bits=8 if dtype == np.uint8 else 16)
        pixels = CellPixels(bits.cargo.astype(dtype), bits.lysosome.astype(dtype), bits.inside, 0.05)
        ((_, found),) = predictor(model()).predict([(0, pixels)])
        ((_, expected),) = predictor(model()).predict([(0, pixels.network_input())])
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_batch_is_sized_by_the_free_memory_and_by_what_calls_take() -> None:
    largest = 1024**2
    assert bytes_a_pixel(Architecture(base_features=16), element_bytes=2) == 8 * 16 * 2 + 3 * 4 * 3 + 4 * 3
    batch = Batch.choose("auto", largest_px=largest, a_pixel=400, free_bytes=8 * 2**30)
    assert batch.pixels == int(SHARE * 8 * 2**30 / 400)
    assert batch.most(largest) == 8  # 10.2 tiles
    assert batch.most(64 * 64) == 2048
    assert Batch.choose("auto", largest_px=largest, a_pixel=400, free_bytes=80 * 2**30).pixels == MOST_PX
    assert Batch.choose("auto", largest_px=largest, a_pixel=400, free_bytes=2**20).most(largest) == 1
    assert Batch.choose("auto", largest_px=largest, a_pixel=400, free_bytes=None).most(largest) == 4
    batch.learn(taken_bytes=200 * largest, taken_px=largest, free_bytes=8 * 2**30)
    assert batch.most(largest) == 16  # grown
    batch.learn(taken_bytes=1600 * largest, taken_px=largest, free_bytes=8 * 2**30)
    assert batch.most(largest) == 2  # 2.56 tiles
    assert batch.is_learning
    assert batch.halve(largest)
    assert not batch.is_learning
    assert (batch.most(largest), batch.halve(largest), batch.halvings) == (1, False, 1)
    assert Batch.choose(6, largest_px=largest, a_pixel=400, free_bytes=0).slots(1, largest) == 6


class Memory(Lanes):
    """A device that tells its memory: each call takes 1,000 bytes a pixel."""

    def free_bytes(self) -> int | None:
        return int(2 * 64 * 64 * 1000 / SHARE)

    def taken_bytes(self, call: Callable[[], Tensor]) -> tuple[Tensor, int]:
        found = call()
        return found, found.shape[0] * found.shape[2] * found.shape[3] * 1000


def test_the_first_call_sizes_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worked out: 8 * 4 * 4 + 3 * 4 * 3 + 4 * 3 = 176 bytes a pixel, so 11 tiles fit. Found: 1,000, so two do."""
    all_work_as_on_a_gpu(monkeypatch)
    monkeypatch.setattr("lysoquant.model.predict.lanes_of", Memory)
    chosen, network = small(fits=99)
    fast = predictor(chosen)
    assert fast.batch_size == 8
    list(fast.predict(crops_of(13)))
    assert network.asked == [8, 2, 2, 1]
    assert (fast.batch_size, fast.halvings) == (2, 0)


class Stream:
    """A stream that writes down what it is told."""

    def __init__(self, name: str, said: list[str]) -> None:
        self.name, self.said = name, said

    def wait_stream(self, other: Stream) -> None:
        self.said.append(f"{self.name} waits for {other.name}")

    def __enter__(self) -> None:
        self.said.append(f"on {self.name}")

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What torch.cuda, played by a recorder, is told: without a GPU, the order of calls is what can be shown."""
    told: list[str] = []

    class Event:
        def __init__(self, *, enable_timing: bool = False) -> None:
            self.is_timed = enable_timing

        def query(self) -> bool:
            return self.is_timed

        def elapsed_time(self, other: Event) -> float:
            return 250.0

        def record(self, stream: Stream) -> None:
            told.append(f"event on {stream.name}")

        def synchronize(self) -> None:
            told.append("waited")

    class Graph:
        def replay(self) -> None:
            told.append("replayed")

    @contextmanager
    def recording(graph: Graph, *, pool: str, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        told.append(f"recording on {stream.name} in {pool}, {capture_error_mode}")
        yield
        told.append("recorded")

    empty, names = torch.empty, iter(["in", "compute", "out"])
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(next(names), told))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream("default", told))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    monkeypatch.setattr(torch.cuda, "graph", recording)
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: (told.append("pinned"), self)[1])
    monkeypatch.setattr(Tensor, "record_stream", lambda self, stream: told.append(f"marked for {stream.name}"))
    monkeypatch.setattr(torch, "empty", lambda *shape, pin_memory=False, **kind: (
        told.append(f"pinned {pin_memory}"), empty(*shape, **kind)
    )[1])  # fmt: skip
    return told


def test_a_gpus_streams_wait_for_each_other_and_mark_memory_they_share(said: list[str]) -> None:
    lanes = CudaLanes(CPU)
    assert lanes.upload(torch.ones(2)).tolist() == [1, 1]
    found, wait = lanes.bring(torch.ones(3))
    wait()
    assert found.tolist() == [1, 1, 1]
    assert said == [
        "compute waits for default",
        *("on in", "pinned", "compute waits for in", "marked for compute"),
        *("pinned True", "out waits for compute", "on out", "event on out", "marked for out", "waited"),
    ]


def test_the_devices_own_clock_tells_what_calls_took(said: list[str]) -> None:
    lanes = CudaLanes(CPU)
    said.clear()
    began, ended = lanes.mark(), lanes.mark()
    assert said == ["event on compute"] * 2
    assert lanes.seconds(began, ended) == 0.25
    ended.is_timed = False  # not reached yet
    assert lanes.seconds(began, ended) is None


def test_seconds_of_the_network_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    all_work_as_on_a_gpu(monkeypatch)
    fast = predictor(model(), batch_size=2)
    list(fast.predict(crops_of(3)))
    assert fast.network_time()["network_seconds"] > 0
    assert fast.network_time() == {"network_seconds": 0}
    last = iter([0.5, None, 0.25])
    monkeypatch.setattr(Lanes, "seconds", lambda self, began, ended: next(last))
    list(fast.predict(crops_of(3)))
    assert fast.network_time() == {"network_seconds": 0.5}
    assert fast.network_time() == {"network_seconds": 0.25}


def test_graphs_are_recorded_on_the_stream_that_computes_and_share_their_memory(said: list[str]) -> None:
    lanes = CudaLanes(CPU)
    said.clear()
    replay, found = lanes.capture(lambda given: 2 * given, torch.ones(2))
    assert found.tolist() == [2, 2]
    replay()
    lanes.capture(lambda given: given, torch.ones(2))
    mode = "recording on compute in pool, thread_local"
    assert said == [mode, "recorded", "replayed", mode, "recorded"]


class Imagined(Lanes):
    """A device whose tensors have shapes but no values: torch refuses to reckon with them and the processor's."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(torch.device("meta"))
        self.brought: list[str] = []

    def bring(self, found: Tensor) -> tuple[Tensor, Callable[[], object]]:
        self.brought.append(found.device.type)
        return torch.zeros(found.shape), lambda: None


@pytest.mark.parametrize("padding", ["zeros", "reflect", "valid"])
@pytest.mark.parametrize("planes", [slice(None), FOREGROUND])
def test_nothing_of_the_processor_is_mixed_with_what_is_on_the_device(
    padding: Padding, planes: slice, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_work_as_on_a_gpu(monkeypatch)
    lanes = Imagined(CPU)
    monkeypatch.setattr("lysoquant.model.predict.lanes_of", lambda device: lanes)
    chosen = model(padding=padding)
    fast = Predictor(chosen, lanes.device, TilePlan(64, 8), "auto", "fp32", planes=planes)
    cells = {n: cell(n, 30 + 9 * n, 60) for n in range(4)}
    ready = {n: cells[n].network_input() for n in cells}
    for crops in (cells, ready):
        for n, found in fast.predict(crops.items()):
            assert found.shape == (3 if planes == slice(None) else 2, *cells[n].model_shape)
    assert lanes.brought == ["meta"] * 8
    assert fast.tiles > 16
    assert next(chosen.network.parameters()).device == CPU  # the model itself stays where it was


def test_reckoning_with_the_processors_tensors_would_be_seen() -> None:
    with pytest.raises(RuntimeError, match="device"):
        torch.ones(3, device="meta") + torch.ones(3)
