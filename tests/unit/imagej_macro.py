"""Macros for a real ImageJ."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

JAR = Path("/usr/share/java/ij.jar")


def run_macro(imagej: Sequence[str], macro: str, folder: Path) -> None:
    """Run a macro whose argument is a folder, given with a slash at its end; the macro quits ImageJ."""
    file = folder / "macro.ijm"
    file.write_text(macro, encoding="ascii")
    command = [*imagej, str(file), f"{folder}/"]
    # A session of its own, so that the display and Java go with it where a dialogue waits for an answer.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=120)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
    if process.returncode:
        raise RuntimeError(said)
