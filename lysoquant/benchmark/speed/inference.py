"""The network against the machine's own arithmetic, and cells against whole images one at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lysoquant.benchmark.speed.parts import Scale
from lysoquant.benchmark.speed.table import Table
from lysoquant.model.inference import inference_network
from lysoquant.model.network import Architecture, UNet, flops
from lysoquant.model.precision import Precision, autocast, has_bf16
from lysoquant.model.predict import Predictor, TilePlan
from lysoquant.model.preprocess import network_input
from lysoquant.model.weights import DEFAULT_MODEL, load_model
from lysoquant.segment.crops import cell_crops
from lysoquant.segment.instances import split_objects, to_field
from lysoquant.segment.params import SegmentParams
from lysoquant.simulate.plate import PlateSettings, plate_wells, simulate_field

PAPER_S_AN_IMAGE: Final = 0.53 * 60
"""On a GTX 1080 (Morone et al. 2020)."""
TILES_PX: Final = (512, 1024)
_PEAK_SHAPES: Final = ((64, 256), (128, 128), (256, 64))
"""Features and edge of the convolutions that the machine's peak is taken from."""


@dataclass(frozen=True)
class Cell:
    """A cell of a field, ready for the network, with what takes its objects back."""

    image: Tensor
    inside: NDArray[np.bool_]
    pixel_size_um: float


def measure(scale: Scale) -> list[Table]:
    """Arithmetic of the network, whole images against cells, and agreement of the precisions."""
    torch.set_num_threads(scale.threads)
    device = torch.device(scale.device)
    precisions: list[Precision] = ["fp32", "bf16"] if has_bf16(device) else ["fp32"]
    settings = PlateSettings()
    (well, *_), *_ = plate_wells(1)
    scenes = [simulate_field(settings, well, index) for index in range(scale.images)]
    fields = [(scene.image, scene.cells, scene.settings.optics.pixel_size_um) for scene in scenes]
    return [
        Table(
            "Operations a second of one processor thread's own time" if device.type == "cpu" else "Operations a second",
            tuple(arithmetic(device, precisions, repeats=scale.repeats)),
        ),
        *image_by_image(fields, device, precisions, repeats=scale.repeats),
    ]


def arithmetic(
    device: torch.device, precisions: Sequence[Precision], *, repeats: int, tiles_px: Sequence[int] = TILES_PX
) -> Iterator[dict[str, str | int | float]]:
    """GFLOP/s of the shipped network by precision and tile, beside the peak that convolutions alone reach.

    On a processor one thread is measured by its own seconds, so that other programs on the machine count less.
    """
    network = load_model(DEFAULT_MODEL).network
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as alone:
        for precision in precisions:
            for tile_px in tiles_px:
                tile = torch.rand((1, network.architecture.in_channels, tile_px, tile_px)).to(device)
                operations = float(flops(network.architecture, tile_px, tile_px))
                work = {
                    "autocast": (operations, partial(_plain(network, device, precision), tile)),
                    "ours": (operations, partial(inference_network(network, device, precision), tile)),
                }
                peaks = {f"peak {features}": call for features, call in _convolutions(device, precision).items()}
                speeds = alone.submit(_speeds, peaks | work, device, repeats).result()
                peak = max(speed for name, speed in speeds.items() if name.startswith("peak"))
                yield {
                    "precision": precision,
                    "tile": f"{tile_px}²",
                    "peak GFLOP/s": peak,
                    "torch's autocast GFLOP/s": speeds["autocast"],
                    "ours GFLOP/s": speeds["ours"],
                    "ours of peak": speeds["ours"] / peak,
                }


def image_by_image(
    fields: Sequence[tuple[NDArray[np.uint16], NDArray[np.integer], float]],
    device: torch.device,
    precisions: Sequence[Precision],
    *,
    repeats: int,
) -> list[Table]:
    """Whole fields through the plain network in turn, and the cells of the same fields as segment does them.

    Parameters
    ----------
    fields : sequence of (uint16 array (C, Y, X), integer array (Y, X), float)
        Image (nucleus, lysosome, cargo), cells and pixel size.
    """
    model, params = load_model(DEFAULT_MODEL), SegmentParams()
    architecture = model.card.architecture
    wholes = [_whole(image, pixel_size_um) for image, _, pixel_size_um in fields]
    plain = _plain(load_model(DEFAULT_MODEL).network, device, "fp32", channels_last=False)
    cells = list(_cells(fields))
    predictors = {
        precision: Predictor(
            load_model(DEFAULT_MODEL),
            device,
            TilePlan(params.tile_px, params.overlap_px),
            params.batch_size,
            precision,
        )
        for precision in precisions
    }

    def one_image_at_a_time() -> None:
        with torch.inference_mode():
            for whole in wholes:
                torch.softmax(plain(_padded(whole, architecture)[None].to(device)), dim=1).cpu()

    def network_alone(predictor: Predictor) -> Callable[[], object]:
        return lambda: list(predictor.predict(enumerate(cell.image for cell in cells)))

    def from_pixels(predictor: Predictor) -> Callable[[], object]:
        def work() -> None:
            given: dict[int, Cell] = {}

            def crops() -> Iterator[tuple[int, Tensor]]:
                for number, cell in enumerate(_cells(fields)):
                    given[number] = cell
                    yield number, cell.image

            for number, probabilities in predictor.predict(crops()):
                cell = given.pop(number)
                _objects(probabilities, cell, params)

        return work

    ways: dict[str, Callable[[], object]] = {"whole field, one at a time, fp32": one_image_at_a_time}
    for precision, predictor in predictors.items():
        ways[f"cells, {precision}, network"] = network_alone(predictor)
        ways[f"cells, {precision}, from pixels to objects"] = from_pixels(predictor)
    seconds = _best_in_turns(ways, repeats)
    before = seconds["whole field, one at a time, fp32"]
    whole_px = sum(math.prod(_padded(whole, architecture).shape[1:]) for whole in wholes)
    tiles, run_px = _cut(predictors, cells)
    rows: list[dict[str, str | int | float]] = [
        {
            "": way,
            "tiles": len(wholes) if way.startswith("whole") else tiles,
            "megapixels run": (whole_px if way.startswith("whole") else run_px) / 1e6,
            "s an image": taken / len(fields),
            "faster than one at a time": before / taken,
            "faster than the paper's 31.8 s": PAPER_S_AN_IMAGE * len(fields) / taken,
        }
        for way, taken in seconds.items()
    ]
    crops_px = sum(math.prod(cell.image.shape[1:]) for cell in cells)
    inside_px = sum(cell.inside.mean() * math.prod(cell.image.shape[1:]) for cell in cells)
    title = (
        f"{len(cells)} cells of {len(fields)} simulated fields of {' × '.join(map(str, fields[0][1].shape))} pixels of "
        f"{fields[0][2]:g} µm, {torch.get_num_threads()} threads. At the model's 0.025 µm the fields have "
        f"{sum(math.prod(whole.shape[1:]) for whole in wholes) / 1e6:.2f} megapixels, the cells' boxes "
        f"{crops_px / 1e6:.2f} and the cells {inside_px / 1e6:.2f}"
    )
    return [Table(title, tuple(rows)), Table("Against the uncut crop in fp32", tuple(_agreement(predictors, cells)))]


def _cut(predictors: Mapping[Precision, Predictor], cells: Sequence[Cell]) -> tuple[int, int]:
    """Tiles and pixels that the cells take."""
    predictor = next(iter(predictors.values()))
    tiles, pixels = predictor.tiles, predictor.pixels
    list(predictor.predict(enumerate(cell.image for cell in cells)))
    return predictor.tiles - tiles, predictor.pixels - pixels


def _agreement(
    predictors: Mapping[Precision, Predictor], cells: Sequence[Cell]
) -> Iterator[dict[str, str | int | float]]:
    """Classes of pixels and occupancy of cells, against the plain network over each crop as a whole."""
    params = SegmentParams()
    network = load_model(DEFAULT_MODEL).network
    with torch.inference_mode():
        whole = [
            torch.softmax(network(_padded(cell.image, network.architecture)[None]), dim=1)[0].numpy()[
                :, : cell.image.shape[1], : cell.image.shape[2]
            ]
            for cell in cells
        ]
    for precision, predictor in predictors.items():
        found = dict(predictor.predict(enumerate(cell.image for cell in cells)))
        same = [(found[number].argmax(0) == other.argmax(0)).mean() for number, other in enumerate(whole)]
        shares = [
            [_occupancy(probabilities, cell, params) for probabilities, cell in zip(given, cells, strict=True)]
            for given in (list(found.values()), whole)
        ]
        off = np.abs(np.array(shares[0]) - np.array(shares[1]))
        yield {
            "precision": precision,
            "pixels of the same class": f"{float(np.mean(same)):.5f}",
            "least of a cell": f"{float(np.min(same)):.5f}",
            "largest difference of a probability": float(
                max(np.abs(found[number] - other).max() for number, other in enumerate(whole))
            ),
            "mean occupancy differs by": abs(_mean(shares[0]) - _mean(shares[1])),
            "that of a cell at most by": float(np.max(off[np.isfinite(off)], initial=0.0)),
        }


def _mean(shares: Sequence[float]) -> float:
    """Mean of the defined ones; NaN where none is."""
    known = [share for share in shares if np.isfinite(share)]
    return float(np.mean(known)) if known else float("nan")


def _objects(probabilities: NDArray[np.float32], cell: Cell, params: SegmentParams) -> NDArray[np.float64]:
    """Share of loaded of each object of a cell."""
    fine = split_objects(
        probabilities, foreground_threshold=params.foreground_threshold, split_depth_um=params.split_depth_um
    )
    return to_field(
        fine, cell.inside, pixel_size_um=cell.pixel_size_um, min_area_um2=params.min_object_area_um2
    ).p_loaded


def _occupancy(probabilities: NDArray[np.float32], cell: Cell, params: SegmentParams) -> float:
    loaded = _objects(probabilities, cell, params) >= 0.5
    return float(loaded.mean()) if len(loaded) else math.nan


def _cells(fields: Sequence[tuple[NDArray[np.uint16], NDArray[np.integer], float]]) -> Iterator[Cell]:
    for image, cells, pixel_size_um in fields:
        _, lysosome, cargo = image
        for crop in cell_crops(cells):
            planes = cargo[crop.box], lysosome[crop.box]
            yield Cell(network_input(*planes, crop.inside, pixel_size_um=pixel_size_um), crop.inside, pixel_size_um)


def _whole(image: NDArray[np.uint16], pixel_size_um: float) -> Tensor:
    _, lysosome, cargo = image
    return network_input(cargo, lysosome, np.ones(cargo.shape, bool), pixel_size_um=pixel_size_um)


def _padded(image: Tensor, architecture: Architecture) -> Tensor:
    """The image with zeros beyond its lower and right edges, as large as the network takes it."""
    bottom, right = (-length % architecture.multiple for length in image.shape[1:])
    return torch.nn.functional.pad(image, (0, right, 0, bottom))


def _plain(
    network: UNet, device: torch.device, precision: Precision, *, channels_last: bool = True
) -> Callable[[Tensor], Tensor]:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    placed = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]

    def run(images: Tensor) -> Tensor:
        with autocast(device, precision):
            scores: Tensor = placed(images.contiguous(memory_format=layout))
        return scores

    return run


def _convolutions(device: torch.device, precision: Precision) -> dict[int, tuple[float, Callable[[], object]]]:
    """Operations and call of one 3 x 3 convolution for each number of features."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    found: dict[int, tuple[float, Callable[[], object]]] = {}
    for features, edge in _PEAK_SHAPES:
        layer = torch.nn.Conv2d(features, features, 3, padding=1).to(
            device=device, dtype=dtype, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        image = torch.rand((1, features, edge, edge)).to(device, dtype).contiguous(memory_format=torch.channels_last)
        found[features] = 2.0 * 9 * features**2 * edge**2, partial(layer, image)
    return found


def _speeds(
    work: Mapping[str, tuple[float, Callable[[], object]]], device: torch.device, repeats: int
) -> dict[str, float]:
    """GFLOP/s of each, in turns, the best of `repeats`."""
    best = dict.fromkeys(work, math.inf)
    with torch.inference_mode():
        for _ in range(repeats + 1):
            for name, (_, call) in work.items():
                best[name] = min(best[name], _own_seconds(call, device))
    return {name: work[name][0] / seconds / 1e9 for name, seconds in best.items()}


def _own_seconds(call: Callable[[], object], device: torch.device) -> float:
    """Of this thread's processor; on a GPU by the clock, until it is done."""
    if device.type == "cpu":
        began = time.thread_time()
        call()
        return time.thread_time() - began
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    call()
    torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _best_in_turns(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Least wall-clock seconds of each."""
    best = dict.fromkeys(ways, math.inf)
    for _ in range(repeats):
        for name, work in ways.items():
            began = time.perf_counter()
            work()
            best[name] = min(best[name], time.perf_counter() - began)
    return best
