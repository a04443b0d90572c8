"""The raw files of a job: each identified, opened and read once as far as memory allows."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy.typing as npt

from lysoquant.files import open_file, size_and_time
from lysoquant.io.raw.description import Plane
from lysoquant.io.raw.planes import OpenImage, open_image, reads_content
from lysoquant.layout import Layout
from lysoquant.record import Json, digest_image_file, read_json

_MOST_BYTES: Final = 2**26
"""Larger files are not held in memory: they are hashed first and read afterwards."""

_MOST_OPEN: Final = 4
"""Files that a thread holds open."""


class Identities:
    """Identity of raw files, each hashed once a batch; those that wells share once a plate, by ``write_plate``."""

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
                return self._find(name, size, mtime_ns) or self._note(name, size, mtime_ns, digest_image_file(path))
            except OSError:  # the reader says what is wrong with it
                return None

    def content(self, path: Path) -> bytes | None:
        """All bytes of a file, which is so identified too; None where it need not or can't be read whole."""
        name = self._layout.relative(path)
        with self._locks[name]:
            try:
                size, mtime_ns = size_and_time(path)
                if size > _MOST_BYTES or self._find(name, size, mtime_ns):
                    return None
                with open_file(path) as handle:
                    status = os.fstat(handle.fileno())
                    # No more is asked for than is there: room for all of it is made first.
                    content = handle.read(min(status.st_size, _MOST_BYTES))
            except OSError:
                return None
            self._note(name, len(content), status.st_mtime_ns, hashlib.sha256(content).hexdigest())
            return content

    def _find(self, name: str, size: int, mtime_ns: int) -> Json | None:
        known = self._known.get(name)
        return known if known is not None and [known["size"], known["mtime_ns"]] == [size, mtime_ns] else None

    def _note(self, name: str, size: int, mtime_ns: int, sha256: str) -> Json:
        self._known[name] = {"path": name, "size": size, "mtime_ns": mtime_ns, "sha256": sha256}
        return self._known[name]


class RawFiles:
    """The raw files of a job, a few of them open: each thread has its own, since not every library shares a file.

    Use as a context manager, which closes them.
    """

    def __init__(self, identities: Identities) -> None:
        self.identities = identities
        self._of_thread = threading.local()
        self._all: list[OrderedDict[Path, OpenImage]] = []
        self._sizes: dict[Path, float | None] = {}
        self._size_locks: dict[Path, threading.Lock] = defaultdict(threading.Lock)

    def __enter__(self) -> RawFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for held in self._all:
            while held:
                held.popitem()[1].close()

    def image(self, path: Path) -> OpenImage:
        """A file, open until this thread has asked for a few others.

        Raises
        ------
        FieldError
            If it can't be read.
        """
        held = self._held()
        if path in held:
            held.move_to_end(path)
            return held[path]
        content = self.identities.content(path) if reads_content(path) else None
        # What was read whole is let go at once: no thread holds more than one file's bytes.
        keep = 0 if content is not None else _MOST_OPEN - 1
        while len(held) > keep:
            held.popitem(last=False)[1].close()
        held[path] = open_image(path, content)
        return held[path]

    def pixel_size_um(self, path: Path) -> float | None:
        """Pixel size that a file's own metadata give, asked once a job."""
        with self._size_locks[path]:
            if path not in self._sizes:
                self._sizes[path] = self.image(path).pixel_size_um()
            return self._sizes[path]

    def _held(self) -> OrderedDict[Path, OpenImage]:
        if not hasattr(self._of_thread, "held"):
            self._of_thread.held = OrderedDict()
            self._all.append(self._of_thread.held)
        held: OrderedDict[Path, OpenImage] = self._of_thread.held
        return held


class FieldFiles:
    """The raw files of a field, with the identity of each that was read."""

    def __init__(self, files: RawFiles) -> None:
        self._files = files
        self.read: list[Json] = []
        self._seen: set[Path] = set()

    def plane(self, plane: Plane) -> npt.NDArray[Any]:
        """Pixels of a plane; its file is noted, and so is the pixel size that it says while it is open.

        Raises
        ------
        FieldError
            If it can't be read.
        """
        try:
            image = self._files.image(plane.path)
            self._files.pixel_size_um(plane.path)
            return image.plane(plane)
        finally:
            if plane.path not in self._seen:
                self._seen.add(plane.path)
                identity = self._files.identities.of(plane.path)
                self.read += [] if identity is None else [identity]

    def pixel_size_um(self, path: Path) -> float | None:
        """Pixel size that a file's own metadata give."""
        return self._files.pixel_size_um(path)
