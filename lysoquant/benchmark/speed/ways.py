"""Ways from a field to its endolysosomes that are timed beside each other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lysoquant.benchmark.speed.arithmetic import plain_network
from lysoquant.model.architecture import Architecture
from lysoquant.model.card import DEFAULT_MODEL
from lysoquant.model.cuts import mirrored
from lysoquant.model.network import UNet
from lysoquant.model.predict import Predictor
from lysoquant.model.preprocess import CellPixels, network_input
from lysoquant.model.weights import load_model
from lysoquant.segment.crops import cell_crops
from lysoquant.segment.instances import split_objects, to_field
from lysoquant.segment.params import SegmentParams

Field = tuple[NDArray[np.uint16], NDArray[np.integer], float]
"""Image (nucleus, lysosome, cargo), cells and pixel size."""
Call = Callable[[], object]


@dataclass(frozen=True)
class Cell:
    """A cell of a field, as acquired and ready for the network."""

    pixels: CellPixels
    image: Tensor

    @property
    def model_px(self) -> int:
        """Pixels of its box at the model's pixel size."""
        return math.prod(self.image.shape[1:])


def cell_pixels(fields: Sequence[Field]) -> Iterator[CellPixels]:
    """All cells, as acquired."""
    for image, cells, pixel_size_um in fields:
        _, lysosome, cargo = image
        for crop in cell_crops(cells):
            yield CellPixels(cargo[crop.box], lysosome[crop.box], crop.inside, pixel_size_um)


def cells_of(fields: Sequence[Field]) -> list[Cell]:
    """All cells, ready for the network."""
    return [Cell(pixels, pixels.network_input()) for pixels in cell_pixels(fields)]


def whole_field(image: NDArray[np.uint16], pixel_size_um: float) -> Tensor:
    """A field as one crop, float32 (C, Y, X) at the model's pixel size."""
    _, lysosome, cargo = image
    return network_input(cargo, lysosome, np.ones(cargo.shape, bool), pixel_size_um=pixel_size_um)


def padded(image: Tensor, architecture: Architecture) -> Tensor:
    """The image as large as the network takes it: zeros below and to the right, or mirrored margins all around."""
    bottom, right = (architecture.answer_px(length) - length for length in image.shape[1:])
    if architecture.padding != "valid":
        return torch.nn.functional.pad(image, (0, right, 0, bottom))
    margin, loss = architecture.loss_px // 2, architecture.loss_px
    edges = [(length, more) for length, more in zip(image.shape[1:], (bottom, right), strict=True)]
    rows, columns = (mirrored(-margin, length + more + loss, length) for length, more in edges)
    return image[:, rows[:, None], columns]


def one_at_a_time(wholes: Sequence[Tensor], network: UNet, device: torch.device) -> Call:
    """Plain fp32 over each whole field, channels first, as a script would do it."""
    plain = plain_network(network, device, "fp32", channels_last=False)

    def work() -> None:
        with torch.inference_mode():
            for whole in wholes:
                torch.softmax(plain(padded(whole, network.architecture)[None].to(device)), dim=1).cpu()

    return work


def valid_network() -> UNet:
    """The shipped weights in valid convolutions, which the published plugin runs."""
    network = load_model(DEFAULT_MODEL).network
    valid = UNet(network.architecture.model_copy(update={"padding": "valid"}))
    valid.load_state_dict(network.state_dict())
    return valid.eval()


def network_alone(predictor: Predictor, cells: Sequence[Cell]) -> Call:
    """Cells that are ready, through the network."""
    return lambda: list(predictor.predict(enumerate(cell.image for cell in cells)))


def from_pixels(predictor: Predictor, fields: Sequence[Field], params: SegmentParams) -> Call:
    """Fields and their cells, to the objects of each."""

    def work() -> None:
        given: dict[int, CellPixels] = {}

        def crops() -> Iterator[tuple[int, CellPixels]]:
            for number, pixels in enumerate(cell_pixels(fields)):
                given[number] = pixels
                yield number, pixels

        for number, probabilities in predictor.predict(crops()):
            objects_of(probabilities, given.pop(number), params)

    return work


def objects_of(probabilities: NDArray[np.float32], pixels: CellPixels, params: SegmentParams) -> NDArray[np.float64]:
    """Share of loaded of each object of a cell."""
    fine = split_objects(
        probabilities, foreground_threshold=params.foreground_threshold, split_depth_um=params.split_depth_um
    )
    least = params.min_object_area_um2
    return to_field(fine, pixels.inside, pixel_size_um=pixels.pixel_size_um, min_area_um2=least).p_loaded


def run_pixels(predictor: Predictor, cells: Sequence[Cell]) -> tuple[int, int]:
    """Tiles and pixels that cells take."""
    tiles, pixels = predictor.tiles, predictor.pixels
    network_alone(predictor, cells)()
    return predictor.tiles - tiles, predictor.pixels - pixels


class Took(NamedTuple):
    """Least wall-clock seconds of a way, and least seconds of all threads of this process."""

    seconds: float = math.inf
    cpu_seconds: float = math.inf


def best_in_turns(ways: Mapping[str, Call], repeats: int) -> dict[str, Took]:
    """What each took at best."""
    best = dict.fromkeys(ways, Took())
    for _ in range(repeats):
        for name, work in ways.items():
            began, cpu_began = time.perf_counter(), time.process_time()
            work()
            took = Took(time.perf_counter() - began, time.process_time() - cpu_began)
            best[name] = Took(*map(min, zip(best[name], took, strict=True)))
    return best
