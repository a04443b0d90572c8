"""What it saves to work only where cells are, by the share of the field that they cover."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from lysoquant.benchmark.speed.table import Table
from lysoquant.benchmark.speed.ways import (
    Call,
    Field,
    best_in_turns,
    cells_of,
    from_pixels,
    network_alone,
    one_at_a_time,
    padded,
    run_pixels,
    valid_network,
    whole_field,
)
from lysoquant.model.card import DEFAULT_MODEL
from lysoquant.model.precision import Precision
from lysoquant.model.weights import load_model
from lysoquant.segment.network import make_predictor
from lysoquant.segment.params import SegmentParams

SHARES: Final = (0.3, 0.6, 1.0)
_WHOLE: Final = "whole field, one at a time, fp32"
_VALID: Final = "the same, valid convolutions in mirrored margins"


def thinned(cells: NDArray[np.integer], share: float) -> NDArray[np.integer]:
    """Label image (Y, X) with fewer of its cells, in a fixed random order, that cover `share` of it at most.

    The first cell stays even where it covers more.
    """
    areas = np.bincount(cells.ravel())
    numbers = np.flatnonzero(areas[1:]) + 1
    chosen = np.random.default_rng(0).permutation(numbers)
    fits = np.cumsum(areas[chosen]) <= share * cells.size
    fits[:1] = True
    return np.where(np.isin(cells, chosen[fits]), cells, 0)


def by_density(
    fields: Sequence[Field],
    device: torch.device,
    precision: Precision,
    *,
    repeats: int,
    shares: Sequence[float] = SHARES,
) -> Table:
    """Whole fields in turn against their cells, of which so many are left that they cover these shares at most.

    On a processor in one thread and by CPU seconds, so that neither other programs nor threads that wait for each other
    count.
    """
    threads = torch.get_num_threads()
    on_cpu = device.type == "cpu"
    torch.set_num_threads(1 if on_cpu else threads)
    try:
        return _by_density(fields, device, precision, repeats=repeats, shares=shares, on_cpu=on_cpu)
    finally:
        torch.set_num_threads(threads)


def _by_density(
    fields: Sequence[Field],
    device: torch.device,
    precision: Precision,
    *,
    repeats: int,
    shares: Sequence[float],
    on_cpu: bool,
) -> Table:
    params, model = SegmentParams(), load_model(DEFAULT_MODEL)
    predictor = make_predictor(model, device, params, precision=precision)
    wholes = [whole_field(image, pixel_size_um) for image, _, pixel_size_um in fields]
    plain, valid = load_model(DEFAULT_MODEL).network, valid_network()
    ways: dict[str, Call] = {_WHOLE: one_at_a_time(wholes, plain, device), _VALID: one_at_a_time(wholes, valid, device)}
    told: dict[str, tuple[int, float, float]] = {
        name: (0, 1.0, sum(math.prod(padded(whole, network.architecture).shape[1:]) for whole in wholes) / 1e6)
        for name, network in ((_WHOLE, plain), (_VALID, valid))
    }
    for share in shares:
        here = [(image, thinned(cells, share), size_um) for image, cells, size_um in fields]
        cells = cells_of(here)
        covered = float(np.mean([np.mean(labels > 0) for _, labels, _ in here]))
        _, run_px = run_pixels(predictor, cells)
        for way, call in (
            ("network", network_alone(predictor, cells)),
            ("from pixels to objects", from_pixels(predictor, here, params)),
        ):
            name = f"cells, {precision}, {way}, {covered:.0%} of the field"
            ways[name], told[name] = call, (len(cells), covered, run_px / 1e6)
    took = best_in_turns(ways, repeats)
    seconds = {name: taken.cpu_seconds if on_cpu else taken.seconds for name, taken in took.items()}
    return Table(
        "The same with fewer cells in the field: they were taken out at random, the others stayed as they are"
        + ("; one thread, its CPU seconds" if on_cpu else ""),
        tuple(
            {
                "": name,
                "cells": count,
                "of the field": round(covered, 3),
                "megapixels run": megapixels,
                "CPU s an image" if on_cpu else "s an image": seconds[name] / len(fields),
                "faster than one at a time": seconds[_WHOLE] / seconds[name],
                "faster than with valid convolutions": seconds[_VALID] / seconds[name],
            }
            for name, (count, covered, megapixels) in told.items()
        ),
    )
