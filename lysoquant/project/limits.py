"""Cores and memory that this process may really use: by its affinity and by the control groups that it is in."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def cores() -> int:
    """Processor cores that Snakemake takes for ``all``."""
    return len(os.sched_getaffinity(0))


def core_quota(root: Path = _ROOT) -> float:
    """Cores' worth of time that the control groups allow; infinite without a limit."""
    quotas = [math.inf]
    for folder in _groups(root, "cpu"):
        text = _read(folder / "cpu.max") or " ".join(
            _read(folder / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        )
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas)


def memory_bytes(root: Path = _ROOT) -> int:
    """Memory of the machine, or what the control groups allow of it."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in _groups(root, "memory"):
        text = _read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")
        if text.isdecimal():
            found.append(int(text))
    return min(found)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the groups of this process and of all above them, of both versions of control groups."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        relative = Path(path.lstrip("/"))
        yield from (top / each for each in (relative, *relative.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
