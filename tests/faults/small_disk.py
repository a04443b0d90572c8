"""A file system of a few MB of its own, to be filled or made read-only; only root can mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PAGE = 4096


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self, *, leave_kb: int) -> None:
        """Take all space but so much."""
        self.free()
        status = os.statvfs(self.path)
        with self._filler.open("wb") as handle:
            handle.write(b"x" * max(0, status.f_bavail * status.f_frsize - leave_kb * 1024 // _PAGE * _PAGE))

    def take_all_files(self) -> None:
        """Take all that is left of the number of files."""
        self._filler.mkdir()
        for number in range(os.statvfs(self.path).f_favail):
            (self._filler / str(number)).symlink_to("x")

    def free(self) -> None:
        if self._filler.is_dir():
            for path in self._filler.iterdir():
                path.unlink()
            self._filler.rmdir()
        self._filler.unlink(missing_ok=True)

    def remount(self, option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(self.path)], check=True)


@contextmanager
def small_disk(path: Path, *, options: str) -> Iterator[SmallDisk]:
    """Mount one, or skip the test with its reason; under LYSOQUANT_REQUIRE_MOUNT=1 fail it."""
    path.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"no file system can be mounted here ({' '.join(done.stderr.split())})"
        if os.environ.get("LYSOQUANT_REQUIRE_MOUNT") == "1":
            pytest.fail(f"{reason}, and LYSOQUANT_REQUIRE_MOUNT is 1")
        pytest.skip(f"{reason}; this needs root")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
