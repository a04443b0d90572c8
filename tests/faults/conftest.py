"""Projects of the tiny plate, and how a test says what it did."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_project import make_project

from lysoquant.cli.main import invoke
from lysoquant.vocabulary import STAGES


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages ran to their end one after another. Not to be changed."""
    project = make_project(tmp_path_factory.mktemp("undisturbed") / "p")
    for stage in STAGES:
        assert invoke([stage, str(project)]) == 0, stage
    return project


@pytest.fixture(scope="session")
def raw_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing has run yet. Not to be changed."""
    return make_project(tmp_path_factory.mktemp("raw") / "p")


@pytest.fixture
def fresh(raw_only: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(raw_only, tmp_path / "p"))


@pytest.fixture
def copy(undisturbed: Path, tmp_path: Path) -> Path:
    """A project that is done."""
    return Path(shutil.copytree(undisturbed, tmp_path / "p"))


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Leave what was done, how often and what was lost for the table of docs/reliability.md."""

    def tell(fault: str, *, times: int, lost: str = "nothing") -> None:
        for name, value in (("fault", fault), ("times", times), ("lost", lost)):
            record_property(name, value)

    return tell
