"""Tests that are killed leave no SLURM on the host: no daemon, no job, no link in /etc/slurm."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import slurm_cluster
from on_slurm import SLOW
from slurm_cluster import ETC, FILES, PREFIX, Cluster, ask, why_not

pytestmark = SLOW

KILLED = """
import os, signal
from slurm_cluster import Cluster, ask
with Cluster() as cluster:
    ask("sbatch", "--output", "/dev/null", "--wrap", "exec sleep 300")
    while "RUNNING" not in ask("squeue", "-h", "-o", "%T"):
        pass
    print(cluster.folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def links() -> list[str]:
    return [name for name in FILES if os.path.lexists(ETC / name)]


@pytest.fixture
def slurm() -> None:
    reason = why_not()
    if reason is not None:
        if os.environ.get("LYSOQUANT_REQUIRE_SLURM") == "1":
            pytest.fail(f"{reason}, and LYSOQUANT_REQUIRE_SLURM is 1")
        pytest.skip(reason)


@pytest.mark.usefixtures("slurm")
def test_a_killed_test_run_leaves_nothing_and_stale_links_are_removed() -> None:
    folder = Path(slurm_cluster.__file__).parent
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=folder, capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert left.name.startswith(PREFIX), killed.stderr
    until = time.monotonic() + 60
    while links() or left.exists():
        assert time.monotonic() < until
        time.sleep(0.1)
    assert list(slurm_cluster.processes(left)) == []
    # As after a loss of power: a link to a cluster that is no more.
    for name in FILES:
        (ETC / name).symlink_to(left / name)
    assert why_not() is None
    with Cluster():
        assert set(ask("sinfo", "-h", "-N", "-o", "%N").split()) == set(slurm_cluster.NODES)
    assert links() == []
