"""Where work on a device is lined up: copies in, computation, copies out, each going on beside the others.

:class:`Lanes` does everything at once, as the processor does: it stands in for a GPU in tests. :class:`CudaLanes` was
never run: no GPU was there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

Replay = tuple[Callable[[], object], Tensor]
"""What does a call again, and where its result will be."""


class Lanes:
    """One after the other, on a device that answers at once."""

    can_capture = False

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def compute(self) -> AbstractContextManager[object]:
        """Context of all that computes."""
        return nullcontext()

    def upload(self, host: Tensor) -> Tensor:
        """A tensor of the processor on the device; what computes later waits for it."""
        return host.to(self.device)

    def bring(self, found: Tensor) -> tuple[Tensor, Callable[[], object]]:
        """A place in the processor's memory for what was computed so far, and what waits until it is there."""
        return found.cpu(), lambda: None

    def capture(self, function: Callable[[Tensor], Tensor], given: Tensor) -> Replay:
        """Record a call with this tensor, to be done again with what lies in it then."""
        raise NotImplementedError(f"{self.device.type} has no graphs")

    def free_bytes(self) -> int | None:
        """Memory that may be taken; None where that is not known."""
        return None

    def taken_bytes(self, call: Callable[[], Tensor]) -> tuple[Tensor, int]:
        """Result of a call, and the most memory that it took beside what was there before."""
        return call(), 0

    def mark(self) -> Any:
        """A moment in the order of what computes."""
        return time.perf_counter()

    def seconds(self, began: Any, ended: Any) -> float | None:
        """Between two marks; None if the device has not come to the second yet."""
        return float(ended - began)

    def wait(self) -> None:
        """Until all work is done."""

    def release(self) -> None:
        """Give back memory that is kept for later; no graph may be left."""


class CudaLanes(Lanes):
    """Three streams of a GPU. Memory that one took and another uses is marked, lest it be given away too early."""

    can_capture = True

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._in, self._compute, self._out = (torch.cuda.Stream(device) for _ in range(3))  # type: ignore[no-untyped-call]
        self._compute.wait_stream(torch.cuda.current_stream(device))  # the weights' way to the device
        self._pool: Any = None

    def compute(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._compute)

    def upload(self, host: Tensor) -> Tensor:
        with torch.cuda.stream(self._in):
            moved = host.pin_memory().to(self.device, non_blocking=True)
        self._compute.wait_stream(self._in)
        moved.record_stream(self._compute)
        return moved

    def bring(self, found: Tensor) -> tuple[Tensor, Callable[[], object]]:
        host = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._out.wait_stream(self._compute)
        with torch.cuda.stream(self._out):
            host.copy_(found, non_blocking=True)
            arrived.record(self._out)
        found.record_stream(self._out)
        return host, arrived.synchronize

    def capture(self, function: Callable[[Tensor], Tensor], given: Tensor) -> Replay:
        # "thread_local": other threads may go on with calls of their own while a graph is recorded.
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        recording = torch.cuda.graph(graph, pool=self._pool, stream=self._compute, capture_error_mode="thread_local")
        with recording:
            found = function(given)
        return graph.replay, found

    def free_bytes(self) -> int | None:
        free, _ = torch.cuda.mem_get_info(self.device)
        kept = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return free + kept

    def taken_bytes(self, call: Callable[[], Tensor]) -> tuple[Tensor, int]:
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        found = call()
        return found, torch.cuda.max_memory_allocated(self.device) - before

    def mark(self) -> Any:
        moment = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        moment.record(self._compute)
        return moment

    def seconds(self, began: Any, ended: Any) -> float | None:
        return began.elapsed_time(ended) / 1000 if ended.query() else None

    def wait(self) -> None:
        torch.cuda.synchronize(self.device)

    def release(self) -> None:
        self._pool = None
        torch.cuda.empty_cache()


def lanes_of(device: torch.device) -> Lanes:
    """The lanes of a device."""
    return CudaLanes(device) if device.type == "cuda" else Lanes(device)
