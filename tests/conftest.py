"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lysoquant.layout import Layout

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).parents[1]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """With ``--dist loadfile``, give all files that start a SLURM to one worker: a host has room for one cluster."""
    from xdist.scheduler import LoadFileScheduling

    class OneCluster(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "slurm" if file.startswith("tests/integration/test_slurm") else file

    return OneCluster(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real acquisitions; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("LYSOQUANT_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real acquisitions are not at {folder} (set LYSOQUANT_REAL_DATA)")
    return folder


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty project."""
    return Layout(project=tmp_path, results=tmp_path / "results")


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Two measured and aggregated plates with shapes that are hard to outline. Not to be changed: copy it."""
    from export_project import make_measured

    return make_measured(tmp_path_factory.mktemp("measured") / "project")
