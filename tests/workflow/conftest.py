"""The tiny project, run once for all tests of the workflow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_project import ALL_JOBS, jobs_in, make_project, snakemake


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that plain Snakemake ran to its end; its name needs quoting. Not to be changed: copy it."""
    project = make_project(tmp_path_factory.mktemp("run") / 'it\'s a "plate" $HOME')
    assert jobs_in(snakemake(project, "--dry-run")) == ALL_JOBS
    assert jobs_in(snakemake(project)) == ALL_JOBS
    return project


@pytest.fixture
def planned() -> Callable[[Path], set[str]]:
    """Jobs that a run would do now."""
    return lambda project: jobs_in(snakemake(project, "--dry-run"))
