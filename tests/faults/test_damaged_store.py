"""What a failing disk leaves of a store is found, named and mended; none of it is read as an image."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import results
from tiny_project import edit_config, make_project

from lysoquant.cli.main import invoke
from lysoquant.errors import DamagedFieldError
from lysoquant.io.store import FieldStore
from lysoquant.vocabulary import LABELS, STAGES, NgffVersion

FIELD = Path("results/P/P.zarr/B/02/0")
Tell = Callable[..., None]


def chunk_files(project: Path, version: NgffVersion = "0.5") -> list[Path]:
    """Files that hold pixels of full resolution of one field and its label images."""
    inside = "c" if version == "0.5" else "."
    folders = [project / FIELD / "0" / inside, *(project / FIELD / "labels" / name / "0" / inside for name in LABELS)]
    return sorted(
        path for folder in folders for path in folder.rglob("*") if path.is_file() and path.name[0].isdecimal()
    )


def read_all(field: Path, version: NgffVersion = "0.5") -> None:
    store = FieldStore(field, name="B02/0", ngff_version=version)
    for channel in store.channels:
        store.read(channel)
    for label in LABELS:
        store.read_label(label)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_every_missing_file_of_pixels_is_found(
    version: NgffVersion, undisturbed: Path, tmp_path: Path, tell: Tell
) -> None:
    project = tmp_path / "p"
    if version == "0.5":
        shutil.copytree(undisturbed, project)
    else:
        make_project(project, wells=("B02",))
        edit_config(project, "pyramid_levels: 2", 'pyramid_levels: 2, ngff_version: "0.4"')
        for stage in STAGES[:3]:
            assert invoke([stage, str(project)]) == 0
    read_all(project / FIELD, version)
    files = chunk_files(project, version)
    for path in files:
        content = path.read_bytes()
        for left in (None, b"", content[:-1]):
            path.unlink()
            if left is not None:
                path.write_bytes(left)
            with pytest.raises(DamagedFieldError, match=r"B02/0: .* is damaged .*; delete "):
                read_all(project / FIELD, version)
            path.write_bytes(content)
    read_all(project / FIELD, version)
    assert len(files) == (6 if version == "0.5" else 24)
    tell(f"a file of pixels deleted, emptied or cut in the store (NGFF {version})", times=3 * len(files))


def test_flipped_bytes_are_found(copy: Path, tell: Tell) -> None:
    chance = random.Random(4)
    files = chunk_files(copy)
    times = 0
    for path in files:
        content = path.read_bytes()
        places = {0, len(content) - 1, *(chance.randrange(len(content)) for _ in range(18))}
        for place in places:
            path.write_bytes(
                content[:place] + bytes([content[place] ^ chance.randrange(1, 256)]) + content[place + 1 :]
            )
            with pytest.raises(DamagedFieldError, match="is damaged"):
                read_all(copy / FIELD)
        times += len(places)
        path.write_bytes(content)
    read_all(copy / FIELD)
    tell("a byte flipped in a file of pixels (NGFF 0.5)", times=times)


@pytest.mark.parametrize(("name", "stage"), [("0/c/1/0/0", "cells"), ("labels/cells/0/c/0/0", "segment")])
def test_a_lost_shard_costs_its_field_until_it_is_mended(
    name: str, stage: str, copy: Path, undisturbed: Path, tell: Tell
) -> None:
    (copy / FIELD / name).unlink()
    later = STAGES[STAGES.index(stage) :]
    for each in later:
        shutil.rmtree(copy / "results" / "P" / "records" / each, ignore_errors=True)
        assert invoke([each, str(copy)]) == 0
    wells = (copy / "results/tables/wells.csv").read_text().splitlines()
    n_failed = wells[0].split(",").index("n_fields_failed")
    assert [row.split(",")[n_failed] for row in wells[1:]] == ["1", "0", "0"]
    (reason,) = pd.read_parquet(copy / "results/P/measure/B02/fields.parquet")["reason"]
    assert f"{copy / FIELD / name.partition('/c/')[0]} is damaged (0/c/" in reason
    assert "is gone); delete " in reason
    # What its reason says.
    shutil.rmtree(copy / FIELD)
    for each in STAGES:
        assert invoke([each, str(copy)]) == 0
    assert results.differences(copy, undisturbed) == []
    tell(f"`{name}` of a field deleted before {stage}", times=1, lost="the field, named as failed, until it was mended")
