"""Real programs for the tests that need one: SLURM, with accounting and without, and ImageJ."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from imagej_macro import JAR
from on_slurm import run_command
from slurm_cluster import Cluster, cluster_or_skip
from tiny_project import ROOT, make_project

EXECUTOR = ("snakemake_executor_plugin_slurm", "snakemake-executor-plugin-slurm")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Without accounting. One cluster runs on a host at a time: a file takes this one or the next, not both."""
    with cluster_or_skip(*EXECUTOR) as running:
        yield running


@pytest.fixture(scope="module")
def accounting_cluster() -> Iterator[Cluster]:
    """With accounting, as facilities have it."""
    with cluster_or_skip(*EXECUTOR, accounting=True) as running:
        yield running


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wells, run to the end on this machine. Not to be changed: copy it."""
    project = make_project(tmp_path_factory.mktemp("local") / "p", wells=("B02", "B03"))
    subprocess.run(run_command(project, "--cores", "2"), cwd=ROOT, check=True, capture_output=True)
    return project


@pytest.fixture(scope="session")
def imagej() -> list[str]:
    """How ImageJ is called; it wants a display even for a batch."""
    missing = [name for name in ("java", "xvfb-run") if shutil.which(name) is None]
    missing += [] if JAR.exists() else [str(JAR)]
    if missing:
        reason = f"no ImageJ ({', '.join(missing)}); on Debian: apt-get install imagej xvfb"
        if os.environ.get("LYSOQUANT_REQUIRE_IMAGEJ") == "1":
            pytest.fail(f"{reason}, and LYSOQUANT_REQUIRE_IMAGEJ is 1")
        pytest.skip(reason)
    return ["xvfb-run", "-a", "java", "-Xmx1g", "-cp", str(JAR), "ij.ImageJ", "-batch"]
