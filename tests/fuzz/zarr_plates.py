"""OME-Zarr plates that are used where they lie, mutated before init looks at them or after convert linked to them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Final

import numpy as np
import pandas as pd
from bytes_mutations import Change, of_bytes
from driver import FAILED, HARMLESS, Group, Scene
from groups import JSON_AND_BYTES, STAGES_AFTER_CONVERT, init_and_convert, stages
from tiny_project import CHANNELS, PIXEL_SIZE_UM, WELLS, ring_image

from lysoquant.config.load import load_project
from lysoquant.errors import FieldError
from lysoquant.io.store import PlateStore
from lysoquant.vocabulary import NGFF_VERSIONS, NgffVersion

_EDGE_PX: Final = 64


def make_plate(path: Path, version: NgffVersion) -> None:
    """A plate of three wells, of one field each, as another program might have left it."""
    store = PlateStore.create(
        path, name="Z", wells=dict.fromkeys(WELLS, 1), n_rows=8, n_columns=12, ngff_version=version
    )
    for well in WELLS:
        store.field(well, 0).write_image(
            ring_image(int(well[1:]))[:, :_EDGE_PX, :_EDGE_PX],
            channels=CHANNELS,
            pixel_size_um=PIXEL_SIZE_UM,
            levels=2,
            chunk_px=32,
        )
    for file in path.rglob(".zattrs" if version == "0.4" else "zarr.json"):
        content = json.loads(file.read_text())
        (content if version == "0.4" else content.get("attributes", {})).pop("lysoquant", None)
        file.write_text(json.dumps(content))


def _array_value(path: Path, random: Random) -> None:
    """One value that an array's metadata give, or that of its codec, asks for much or for nothing."""
    array = random.choice(
        [*path.rglob(".zarray"), *(p for p in path.rglob("zarr.json") if b"data_type" in p.read_bytes())]
    )
    content = json.loads(array.read_text())
    values = (
        0,
        -1,
        2**31,
        2**62,
        [2**40] * 3,
        [0, 0, 0],
        [1],
        None,
        "pickle",
        "numcodecs.pickle",
        "|O8",
        "<f8",
        {"id": "pickle"},
    )
    content[random.choice(list(content))] = random.choice(values)
    array.write_text(json.dumps(content))


_MUTATIONS: Final[Mapping[str, Change]] = {
    **JSON_AND_BYTES,
    "json once more": JSON_AND_BYTES["json value"],
    "array": _array_value,
    "array again": _array_value,
    "json null": of_bytes(lambda data, random: b"null"),
}

_OF_THE_PLATE: Final = ("array", "array again")
"""Mutations that choose their own file."""


def play(scene: Scene, mutation: str, random: Random) -> None:
    """A file of the plate changes: refused by init, its field fails, or other wells are what they were."""
    version = random.choice(NGFF_VERSIONS)
    raw = scene.folder / "raw"
    make_plate(raw, version)
    scene.allowed.append(scene.project)
    is_late = random.random() < 0.4
    if is_late:
        _convert_first(scene, raw)
    try:
        well = _mutate(raw, version, mutation, random)
    except (ValueError, IndexError):  # no JSON, or none with a value
        return
    scene.begin()
    if is_late:
        _stages_after(scene, well)
        return
    init_and_convert(scene, raw, mentions=("raw", "channel", "well", "zarr", "pixel size", "Z plane"))
    if scene.project.exists():
        _check_pixels(scene, well)


def _mutate(raw: Path, version: NgffVersion, mutation: str, random: Random) -> str | None:
    """Change a file; returns the well that it lies in, None where it is the plate's, or could be any."""
    if mutation in _OF_THE_PLATE:
        _MUTATIONS[mutation](raw, random)
        return None
    files = sorted(path for path in raw.rglob("*") if path.is_file())
    documents = [path for path in files if path.name in (".zattrs", ".zarray", ".zgroup", "zarr.json")]
    only_documents = mutation.startswith("json") or random.random() < 0.4
    of_the_plate = [path for path in documents if path.parent == raw]
    chosen = random.choice(of_the_plate if random.random() < 0.15 else documents if only_documents else files)
    _MUTATIONS[mutation](chosen, random)
    row, column, *rest = (*chosen.relative_to(raw).parts, "", "")
    return f"{row}{column}" if rest and f"{row}{column}" in WELLS else None


def _convert_first(scene: Scene, raw: Path) -> None:
    from lysoquant.cli.main import invoke

    if invoke(["init", str(raw), "--output", str(scene.project)]):
        raise RuntimeError("init failed on a good plate")
    shutil.copytree(scene.base / "project" / "models", scene.project / "models")
    config = scene.project / "config" / "config.yaml"
    text = config.read_text().replace("model: default", "model: models/tiny.safetensors")
    config.write_text(text.replace("method: watershed", "method: field"))
    if invoke(["convert", str(scene.project)]):
        raise RuntimeError("convert failed on a good plate")


def _stages_after(scene: Scene, well: str | None) -> None:
    """The plate changed under its links: the field fails where that can be seen, the others are whole."""
    if not stages(scene, STAGES_AFTER_CONVERT):
        scene.complain("a stage failed where an image in place is damaged")
        return
    fields = pd.read_parquet(scene.project / "results/tables/fields.parquet").set_index("well")["status"]
    if well is not None and (fields.drop(well) == "failed").any():
        scene.complain(f"fields of other wells than {well} failed: {fields.to_dict()}")
    if sorted(fields.index) != sorted(WELLS):
        scene.complain(f"fields.parquet has the wells {sorted(fields.index)}")
    scene.outcome = FAILED if (fields == "failed").any() else HARMLESS


def _check_pixels(scene: Scene, well: str | None) -> None:
    """The pixels of the wells in which nothing changed are what they were."""
    (plate,) = load_project(scene.project).plates
    store = PlateStore.open(scene.project / "results" / plate / f"{plate}.zarr")
    for other in store.wells if well is not None else ():
        if other == well:
            continue
        expected = ring_image(int(other[1:]))[:, :_EDGE_PX, :_EDGE_PX]
        try:
            found = np.stack([store.field(other, 0).read(channel) for channel in CHANNELS])
        except FieldError as error:
            scene.complain(f"well {other}, in which nothing changed: {error}")
            continue
        if not np.array_equal(found, expected):
            scene.complain(f"well {other}, in which nothing changed, has other pixels")


IN_PLACE: Final = {"in place": Group(tuple(_MUTATIONS), play)}
