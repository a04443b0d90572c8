"""Memory that the network gives back and takes again at every tile."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Numbers of glibc's malloc.h."""
_LARGEST: Final = 2**30
_OLD_LARGEST: Final = 2**25
"""What glibc takes as a threshold, and what older ones take."""


def keep_freed_memory() -> bool:
    """Let this process keep memory that it frees, to use it again; whether the system's allocator can.

    Left alone, glibc hands the many megabytes of each layer's features back to the system as soon as they are freed,
    and the system clears every page anew when they are asked for again: a good part of the network's time. With this
    the process holds as much as it ever needed at one time until it ends, so it is for processes whose work is the
    network. All threads share one pool of memory, since others of glibc's hold no block so large:
    call it before there are other threads, whose pools would be used on.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    raised = mallopt(_M_MMAP_THRESHOLD, _LARGEST) or mallopt(_M_MMAP_THRESHOLD, _OLD_LARGEST)
    return bool(raised and mallopt(_M_TRIM_THRESHOLD, _LARGEST) and mallopt(_M_ARENA_MAX, 1))
