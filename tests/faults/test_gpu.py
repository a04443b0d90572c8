"""A GPU that was asked for and is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tiny_project import ROOT, edit_config

Tell = Callable[..., None]


def test_a_run_that_asks_for_a_gpu_stops_without_one(copy: Path, tell: Tell) -> None:
    edit_config(copy, "device: cpu", "device: cuda")
    for folder in ("P/records/segment", "P/segment", "P/records/measure", "records"):
        shutil.rmtree(copy / "results" / folder)
    command = [sys.executable, "-m", "lysoquant.cli.main", "run", str(copy), "--cores", "2", "--", "--until", "segment"]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    # Before any job: none of the night is lost.
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "device is cuda but torch finds no GPU" in line
    assert "set it to cpu (execution.device)" in line
    assert not list((copy / "results/P").glob("segment/*"))
    assert not list((copy / "results/P/records").glob("segment/**/*.json"))
    tell("`execution.device: cuda` on a machine without a GPU, through `lysoquant run`", times=1)
