"""The network against what convolutions alone reach on the same machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import torch
from torch import Tensor

from lysoquant.model.architecture import flops
from lysoquant.model.card import DEFAULT_MODEL
from lysoquant.model.inference import resident_network
from lysoquant.model.network import UNet
from lysoquant.model.precision import Precision, autocast
from lysoquant.model.weights import load_model

TILES_PX: Final = (512, 1024)
_PEAK_SHAPES: Final = ((64, 256), (128, 128), (256, 64))
"""Features and edge of the convolutions that the machine's peak is taken from."""


def arithmetic(
    device: torch.device,
    precisions: Sequence[Precision],
    *,
    repeats: int,
    threads: Sequence[int] = (1,),
    tiles_px: Sequence[int] = TILES_PX,
) -> Iterator[dict[str, str | int | float]]:
    """GFLOP/s of the shipped network by precision, tile and threads, beside the peak that convolutions alone reach.

    On a processor each thread works on a tile of its own, as in segment, and is measured by its own seconds, so that
    other programs on the machine count less; the speeds of threads that work at the same time are added up. Two threads
    may be two halves of one core, whose arithmetic they share.
    """
    network = load_model(DEFAULT_MODEL).network
    for precision in precisions:
        for tile_px in tiles_px:
            tile = torch.rand((1, network.architecture.in_channels, tile_px, tile_px)).to(device)
            operations = float(flops(network.architecture, tile_px, tile_px))
            work = {
                "autocast": (operations, partial(plain_network(network, device, precision), tile)),
                "ours": (operations, partial(resident_network(network, device, precision), tile)),
            }
            peaks = {f"peak {features}": call for features, call in _convolutions(device, precision).items()}
            for count in threads:
                speeds = _speeds(peaks | work, device, repeats=repeats, threads=count)
                peak = max(speed for name, speed in speeds.items() if name.startswith("peak"))
                yield {
                    "precision": precision,
                    "tile": f"{tile_px}²",
                    "threads": count,
                    "peak GFLOP/s": peak,
                    "torch's autocast GFLOP/s": speeds["autocast"],
                    "ours GFLOP/s": speeds["ours"],
                    "ours of peak": speeds["ours"] / peak,
                }


def plain_network(
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
    work: Mapping[str, tuple[float, Callable[[], object]]], device: torch.device, *, repeats: int, threads: int
) -> dict[str, float]:
    """GFLOP/s of each, in turns, of all threads together; the best of `repeats`."""
    best = dict.fromkeys(work, 0.0)
    # The initializer counts for the pool's own threads only.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for _ in range(repeats + 1):
            for name, (operations, call) in work.items():
                together = threading.Barrier(threads)
                asked = [pool.submit(_own_seconds, call, device, together) for _ in range(threads)]
                best[name] = max(best[name], sum(operations / done.result() for done in asked) / 1e9)
    return best


def _own_seconds(call: Callable[[], object], device: torch.device, together: threading.Barrier) -> float:
    """Of this thread's processor; on a GPU by the clock, until it is done."""
    together.wait()
    with torch.inference_mode():
        if device.type == "cpu":
            began = time.thread_time()
            call()
            return time.thread_time() - began
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        call()
        torch.cuda.synchronize(device)
        return time.perf_counter() - began
