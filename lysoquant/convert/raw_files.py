"""The raw files of a job: who they are, and their pixels."""

from __future__ import annotations

import functools
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy.typing as npt

from lysoquant.files import size_and_time
from lysoquant.io import raw as raw_io
from lysoquant.io.raw.description import Plane
from lysoquant.layout import Layout
from lysoquant.record import Json, digest_image_file, read_json


class Identities:
    """Identity of raw files, each hashed once a batch; those that wells share once a plate, by :func:`write_plate`."""

    def __init__(self, layout: Layout, plate: str) -> None:
        self._layout = layout
        self._known: dict[str, Json] = {
            entry["path"]: entry for entry in (read_json(layout.plate_record(plate)) or {}).get("files", ())
        }
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def of(self, path: Path) -> Json | None:
        """Path, size, time of change and SHA-256 of a file; None where it can't be read."""
        name = self._layout.relative(path)
        with self._locks[name]:
            try:
                size, mtime_ns = size_and_time(path)
                known = self._known.get(name)
                if known is None or [known["size"], known["mtime_ns"]] != [size, mtime_ns]:
                    known = {"path": name, "size": size, "mtime_ns": mtime_ns, "sha256": digest_image_file(path)}
                    self._known[name] = known
            except OSError:  # the reader says what is wrong with it
                return None
        return known


class WellFiles:
    """The raw files of a well, with the identity of each that was read."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self.read: list[Json] = []
        self._seen: set[Path] = set()
        self.pixel_size_um = functools.cache(raw_io.file_pixel_size_um)

    def plane(self, plane: Plane) -> npt.NDArray[Any]:
        if plane.path not in self._seen:
            self._seen.add(plane.path)
            identity = self._identities.of(plane.path)
            self.read += [] if identity is None else [identity]
        return raw_io.read_plane(plane)
