"""A wheel installed apart from the repository: the workflow, its profiles and the model come along."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from tiny_project import ROOT, make_project

PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the package out of a wheel, and nothing of the repository."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    subprocess.run([*PIP, "install", "--no-deps", "--no-compile", "--target", site, wheel], check=True)
    return site


def test_a_project_runs_from_an_installed_wheel(installed: Path, tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", wells=("B02",))
    command = [sys.executable, "-P", "-m", "lysoquant.cli.main", "run", str(project), "--cores", "2"]
    environment = os.environ | {"PYTHONPATH": str(installed), "PATH": os.defpath}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    log = (project / "results" / "logs" / "snakemake.log").read_text()
    assert str(installed / "lysoquant" / "_workflow") in log
    assert str(ROOT / "workflow") not in log
    assert list(pd.read_csv(project / "results" / "tables" / "wells.csv").well) == ["B02"]


def test_it_holds_the_model_the_profiles_and_a_script_that_can_be_run(installed: Path) -> None:
    package = installed / "lysoquant"
    assert (package / "model" / "weights" / "default.safetensors").stat().st_size > 10**6
    assert (package / "_workflow" / "profiles" / "slurm" / "config.yaml").is_file()
    assert os.access(package / "_workflow" / "slurm" / "sacct", os.X_OK)
    (wheel,) = installed.parent.glob("*.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tests")]
