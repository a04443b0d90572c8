"""The network against the machine's own arithmetic, and cells against whole images one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from lysoquant.benchmark.speed.arithmetic import arithmetic
from lysoquant.benchmark.speed.density import by_density
from lysoquant.benchmark.speed.parts import Scale
from lysoquant.benchmark.speed.table import Table
from lysoquant.benchmark.speed.ways import (
    Call,
    Cell,
    Field,
    best_in_turns,
    cells_of,
    from_pixels,
    network_alone,
    objects_of,
    one_at_a_time,
    padded,
    run_pixels,
    whole_field,
)
from lysoquant.model.card import DEFAULT_MODEL
from lysoquant.model.precision import Precision, has_bf16
from lysoquant.model.predict import Predictor
from lysoquant.model.weights import load_model
from lysoquant.segment.network import make_predictor
from lysoquant.segment.params import SegmentParams
from lysoquant.simulate.plate import PlateSettings, plate_wells, simulate_field

PAPER_S_AN_IMAGE: Final = 0.53 * 60
"""On a GTX 1080 (Morone et al. 2020)."""


def measure(scale: Scale) -> list[Table]:
    """Arithmetic of the network, whole images against cells, and agreement of the precisions."""
    torch.set_num_threads(scale.threads)
    device = torch.device(scale.device)
    precisions: list[Precision] = ["fp32", "bf16"] if has_bf16(device) else ["fp32"]
    settings = PlateSettings()
    (well, *_), *_ = plate_wells(1)
    scenes = [simulate_field(settings, well, index) for index in range(scale.images)]
    fields = [(scene.image, scene.cells, scene.settings.optics.pixel_size_um) for scene in scenes]
    on_cpu = device.type == "cpu"
    threads = sorted({1, scale.threads}) if on_cpu else [1]
    return [
        Table(
            "Operations a second of a processor thread's own time, of all threads together"
            if on_cpu
            else "Operations a second",
            tuple(arithmetic(device, precisions, repeats=scale.repeats, threads=threads)),
        ),
        *image_by_image(fields, device, precisions, repeats=scale.repeats),
        by_density(fields, device, precisions[-1], repeats=scale.repeats),
    ]


def image_by_image(
    fields: Sequence[Field], device: torch.device, precisions: Sequence[Precision], *, repeats: int
) -> list[Table]:
    """Whole fields through the plain network in turn, and the cells of the same fields as segment does them."""
    params = SegmentParams()
    network = load_model(DEFAULT_MODEL).network
    wholes = [whole_field(image, pixel_size_um) for image, _, pixel_size_um in fields]
    cells = cells_of(fields)
    predictors = {
        precision: make_predictor(load_model(DEFAULT_MODEL), device, params, precision=precision)
        for precision in precisions
    }
    ways: dict[str, Call] = {"whole field, one at a time, fp32": one_at_a_time(wholes, network, device)}
    for precision, predictor in predictors.items():
        ways[f"cells, {precision}, network"] = network_alone(predictor, cells)
        ways[f"cells, {precision}, from pixels to objects"] = from_pixels(predictor, fields, params)
    seconds = best_in_turns(ways, repeats)
    before = seconds["whole field, one at a time, fp32"].seconds
    whole_px = sum(math.prod(padded(whole, network.architecture).shape[1:]) for whole in wholes)
    tiles, run_px = run_pixels(next(iter(predictors.values())), cells)
    rows: list[dict[str, str | int | float]] = [
        {
            "": way,
            "tiles": len(wholes) if way.startswith("whole") else tiles,
            "megapixels run": (whole_px if way.startswith("whole") else run_px) / 1e6,
            "s an image": took.seconds / len(fields),
            "CPU s an image": took.cpu_seconds / len(fields),
            "faster than one at a time": before / took.seconds,
            "faster than the paper's 31.8 s": PAPER_S_AN_IMAGE * len(fields) / took.seconds,
        }
        for way, took in seconds.items()
    ]
    crops_px = sum(cell.model_px for cell in cells)
    inside_px = sum(cell.pixels.inside.mean() * cell.model_px for cell in cells)
    title = (
        f"{len(cells)} cells of {len(fields)} simulated fields of {' × '.join(map(str, fields[0][1].shape))} pixels of "
        f"{fields[0][2]:g} µm, {torch.get_num_threads()} threads. At the model's 0.025 µm the fields have "
        f"{sum(math.prod(whole.shape[1:]) for whole in wholes) / 1e6:.2f} megapixels, the cells' boxes "
        f"{crops_px / 1e6:.2f} and the cells {inside_px / 1e6:.2f}"
    )
    return [Table(title, tuple(rows)), Table("Against the uncut crop in fp32", tuple(_agreement(predictors, cells)))]


def _agreement(
    predictors: Mapping[Precision, Predictor], cells: Sequence[Cell]
) -> Iterator[dict[str, str | int | float]]:
    """Classes of pixels and occupancy of cells, against the plain network over each crop as a whole."""
    params = SegmentParams()
    network = load_model(DEFAULT_MODEL).network
    with torch.inference_mode():
        whole = [
            torch.softmax(network(padded(cell.image, network.architecture)[None]), dim=1)[0].numpy()[
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


def _occupancy(probabilities: NDArray[np.float32], cell: Cell, params: SegmentParams) -> float:
    loaded = objects_of(probabilities, cell.pixels, params) >= 0.5
    return float(loaded.mean()) if len(loaded) else math.nan
