"""A real SLURM for the tests that need one, with accounting and without."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from on_slurm import run_command
from slurm_cluster import Cluster, why_not
from tiny_project import ROOT, make_project


def _need_slurm(*, accounting: bool) -> None:
    """Skip where no SLURM can run; fail where one is required."""
    reason = why_not(accounting=accounting)
    if find_spec("snakemake_executor_plugin_slurm") is None:
        reason = "snakemake-executor-plugin-slurm is not installed"
    if reason is not None:
        if os.environ.get("LYSOQUANT_REQUIRE_SLURM") == "1":
            pytest.fail(f"{reason}, and LYSOQUANT_REQUIRE_SLURM is 1")
        pytest.skip(reason)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Without accounting. One cluster runs on a host at a time: a file takes this one or the next, not both."""
    _need_slurm(accounting=False)
    with Cluster() as running:
        yield running


@pytest.fixture(scope="module")
def accounting_cluster() -> Iterator[Cluster]:
    """With accounting, as facilities have it."""
    _need_slurm(accounting=True)
    with Cluster(accounting=True) as running:
        yield running


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two wells, run to the end on this machine. Not to be changed: copy it."""
    project = make_project(tmp_path_factory.mktemp("local") / "p", wells=("B02", "B03"))
    subprocess.run(run_command(project, "--cores", "2"), cwd=ROOT, check=True, capture_output=True)
    return project
