"""The workflow's own checks: format and lint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml
from tiny_project import ROOT, make_project, snakemake


def test_the_workflow_is_formatted() -> None:
    command = [str(Path(sys.executable).parent / "snakefmt"), "--check", "Snakefile", "workflow"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_workflow_is_free_of_lint(tmp_path: Path) -> None:
    assert "Congratulations" in snakemake(make_project(tmp_path / "p"), "--lint")


def test_environments_hold_every_dependency_of_the_package() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {name.split("[")[0].split("=")[0].split(">")[0] for name in project["dependencies"]}
    for path in sorted((ROOT / "envs").glob("*.yaml")):
        listed = {line.split(" ")[0] for line in yaml.safe_load(path.read_text())["dependencies"]}
        torch = listed & {"pytorch-cpu", "pytorch-gpu"}
        assert len(torch) == 1
        # Snakemake starts the jobs and is not in their environment; conda names dask's extra itself; dask-jobqueue is
        # an extra of the package that measure and aggregate use where they are told to.
        assert listed - torch - {"python", "distributed", "dask-jobqueue"} == needed - {"torch", "snakemake"}, path.name
