"""Whether two projects left the same."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_project import well_digests

from lysoquant.vocabulary import BATCH_STAGES

WHAT = ("tables", "P/P.zarr", "P/segment", "P/measure")


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, also hidden ones, by its name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def differences(project: Path, reference: Path) -> list[str]:
    """Tables, stores with their label images and part tables that are missing, too many or of other bytes."""
    found = []
    for what in WHAT:
        here, there = (bytes_of(root / "results" / what) for root in (project, reference))
        found += [f"{what}/{name}" for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name)]
    if well_digests(project) != well_digests(reference):
        found.append("digests of records")
    return found


def half_written(project: Path, reference: Path) -> list[str]:
    """Outputs that a well record calls whole and that are not those of the reference."""
    found = []
    for stage in BATCH_STAGES:
        for path in (project / "results" / "P" / "records" / stage / "wells").glob("*.json"):
            for name in json.loads(path.read_text())["wrote"]:
                here, there = project / "results" / name, reference / "results" / name
                if stage == "convert":
                    same = _levels(here) == _levels(there)
                elif there.is_dir():
                    same = bytes_of(here) == bytes_of(there)
                else:
                    same = here.is_file() and here.read_bytes() == there.read_bytes()
                if not same:
                    found.append(name)
    return found


def _levels(field: Path) -> dict[str, bytes]:
    """A field without its label images and tables, which later stages write, and without a part of theirs."""
    return {name: content for name, content in bytes_of(field).items() if not name.startswith(("labels/", "tables/"))}
