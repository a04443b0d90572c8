"""A pipe or a device where a file is due is refused at once, and never waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lysoquant.annotate.manifest import read_manifest
from lysoquant.annotate.operators import read_classes
from lysoquant.config.load import load_config
from lysoquant.config.sheets import read_wells
from lysoquant.errors import ConfigError, FieldError, InputError, ModelError, PlateError
from lysoquant.files import open_file, require_file
from lysoquant.io.raw.htd import read_htd
from lysoquant.io.raw.names import read_folder
from lysoquant.io.raw.pixels import inspect_image
from lysoquant.io.rois import read_outlines
from lysoquant.model.weights import read_card
from lysoquant.record import digest_file, read_json

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
