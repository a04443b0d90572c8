"""What a network costs while several threads call it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class NetworkClock:
    """Adds up the time of a network's calls, from whatever threads they come."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running, self._began = 0, 0.0
        self._seconds = self._cpu_seconds = 0.0

    @contextmanager
    def call(self) -> Iterator[None]:
        """A call of the network."""
        with self._lock:
            if not self._running:
                self._began = time.perf_counter()
            self._running += 1
        began = time.thread_time()
        try:
            yield
        finally:
            used = time.thread_time() - began
            with self._lock:
                self._running -= 1
                self._cpu_seconds += used
                if not self._running:
                    self._seconds += time.perf_counter() - self._began

    def lap(self) -> dict[str, float]:
        """Seconds since this was last asked.

        Returns
        -------
        dict
            ``network_seconds`` in which at least one call was under way, and ``network_cpu_seconds``, the calling
            threads' own of all calls that ended. On a GPU the latter say nothing of the GPU.
        """
        with self._lock:
            if self._running:
                now = time.perf_counter()
                self._seconds, self._began = self._seconds + now - self._began, now
            found = {"network_seconds": round(self._seconds, 6), "network_cpu_seconds": round(self._cpu_seconds, 6)}
            self._seconds = self._cpu_seconds = 0.0
        return found
