"""A pipe or a device where a file is due is refused at once, and never waited for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lysoquant.annotate.manifest import read_manifest
from lysoquant.annotate.operators import read_classes
from lysoquant.config.load import load_config
from lysoquant.config.sheets import read_wells
from lysoquant.errors import ConfigError, FieldError, InputError, ModelError, PlateError
from lysoquant.files import files_below, open_file, require_file, require_metadata
from lysoquant.io.raw.description import Plane
from lysoquant.io.raw.htd import read_htd
from lysoquant.io.raw.names import read_folder
from lysoquant.io.raw.pixels import inspect_image
from lysoquant.io.raw.planes import read_plane
from lysoquant.io.rois import read_outlines
from lysoquant.io.store import PlateStore
from lysoquant.model.card import read_card
from lysoquant.record import digest_file, read_json
from lysoquant.vocabulary import NgffVersion

READERS: tuple[tuple[Callable[[Path], object], type[Exception]], ...] = (
    (open_file, OSError),
    (require_file, OSError),
    (digest_file, OSError),
    (load_config, ConfigError),
    (lambda path: read_wells(path, plates=["P"]), ConfigError),
    (read_htd, PlateError),
    (inspect_image, FieldError),
    (read_outlines, FieldError),
    (read_card, ModelError),
    (lambda path: read_classes(path, (2, 2)), InputError),
    (lambda path: read_manifest(path.parent), InputError),
)


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize(("read", "error"), READERS)
def test_what_is_no_file_is_refused(
    tmp_path: Path, kind: str, read: Callable[[Path], object], error: type[Exception]
) -> None:
    path = tmp_path / "manifest.json"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(error, match="a pipe or a device, not a file"):
        read(path)
    assert read_json(path) is None


def test_a_file_is_read_and_a_folder_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    with open_file(require_file(path)) as handle:
        assert handle.read() == b"content"
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)


def test_a_link_in_circles_is_a_file_that_nobody_can_read(tmp_path: Path) -> None:
    (tmp_path / "a.TIF").symlink_to("a.TIF")
    assert read_folder(tmp_path).images() == ["a.TIF"]
    with pytest.raises(FieldError, match="symbolic links"):
        inspect_image(tmp_path / "a.TIF")


PLACES = ("0/{array}", "0/.zattrs", "{chunk}", "{chunk}/x")


@pytest.mark.parametrize("listed", [True, False], ids=["ours", "another's"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_no_read_waits_for_a_pipe_in_an_array(tmp_path: Path, version: NgffVersion, place: str, listed: bool) -> None:
    store = PlateStore.create(tmp_path / "p", name="P", wells={"B03": 1}, n_rows=8, n_columns=12, ngff_version=version)
    field = store.field("B03", 0)
    planes = np.zeros((2, 64, 64), np.uint8)
    planes[0] = 7  # the other plane is of zeros and has no file
    field.write_image(planes, channels=("a", "b"), pixel_size_um=0.1, levels=1, chunk_px=64)
    array, chunk, metadata = {
        "0.4": (".zarray", "0/1/0/0", ".zattrs"),
        "0.5": ("zarr.json", "0/c/1/0/0", "zarr.json"),
    }[version]
    if not listed:
        content = json.loads((field.path / metadata).read_text())
        content.pop("lysoquant", None) or content["attributes"].pop("lysoquant")
        (field.path / metadata).write_text(json.dumps(content))
    pipe = field.path / place.format(array=array, chunk=chunk)
    pipe.unlink(missing_ok=True)
    pipe.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(pipe)
    again = PlateStore.open(tmp_path / "p").field("B03", 0)
    with pytest.raises(FieldError, match="B03/0"):
        again.read("b")
    with pytest.raises(FieldError, match=r"a pipe or a device, not a file|the array is gone"):
        read_plane(Plane(field.path / "0" / array, (1, -2, -1)))


def test_an_array_of_files_is_whole(tmp_path: Path) -> None:
    (tmp_path / "0" / "c").mkdir(parents=True)
    names = ("0/c/1", "0/zarr.json")
    for name in names:
        (tmp_path / name).write_text("{}")
    assert files_below(tmp_path) == [tmp_path / name for name in names]
    assert require_metadata(tmp_path / "0") == tmp_path / "0"
    (tmp_path / "0" / "out").symlink_to(tmp_path)
    with pytest.raises(OSError, match="a linked folder, which is not followed"):
        files_below(tmp_path)
