"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lysoquant.layout import Layout

ROOT = Path(__file__).parents[1]


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
