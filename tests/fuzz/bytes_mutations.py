"""Changes to a file that know nothing of its format: its bytes, and what the path is at all."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np

Change = Callable[[Path, Random], None]
"""Changes the file in place; all chance comes from the `Random`."""


class Bomb:
    """Unpickled, it writes a file; nothing may ever unpickle it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch PWNED",))


def of_bytes(change: Callable[[bytes, Random], bytes]) -> Change:
    def apply(path: Path, random: Random) -> None:
        path.write_bytes(change(path.read_bytes(), random))

    return apply


def truncated(data: bytes, random: Random) -> bytes:
    """Cut at any place: in the first bytes, the header, the middle, one byte before the end."""
    size = len(data)
    place = random.choice((random.randrange(0, 9), random.randrange(0, min(size, 600) + 1), random.randrange(size + 1),
                           size - random.randrange(1, 9)))  # fmt: skip
    return data[: max(0, place)]


def flipped(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def flipped_in_the_header(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        changed[random.randrange(min(len(changed), 400))] = random.randrange(256)
    return bytes(changed)


def inserted(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data))
    return data[:place] + random.randbytes(random.choice((1, 2, 7, 100))) + data[place:]


def removed(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data))
    return data[:place] + data[place + random.choice((1, 2, 7, 100)) :]


def blanked(data: bytes, random: Random) -> bytes:
    """A block of zeros or ones, as a lost sector leaves it."""
    place, size = random.randrange(len(data)), random.choice((4, 64, 512))
    return (data[:place] + random.choice((b"\0", b"\xff")) * size + data[place + size :])[: len(data)]


def twice(data: bytes, random: Random) -> bytes:
    return data + data


def reversed_(data: bytes, random: Random) -> bytes:
    return data[::-1]


def noise(data: bytes, random: Random) -> bytes:
    return random.randbytes(random.choice((1, 100, len(data))))


def nothing(data: bytes, random: Random) -> bytes:
    return b""


def other_file(data: bytes, random: Random) -> bytes:
    """A whole file of another kind: pickles first of all."""
    archive, array = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Bomb()))
        file.writestr("archive/version", "3")
    np.save(array, np.array([Bomb()], dtype=object), allow_pickle=True)
    return random.choice(
        (
            pickle.dumps(Bomb()),
            pickle.dumps(Bomb(), protocol=0),
            archive.getvalue(),
            array.getvalue(),
            b"\x89PNG\r\n\x1a\n" + data[:100],
            b"%PDF-1.7\n",
            b"<html><script>1</script></html>",
            b"\x1f\x8b\x08\x00" + data[:50],
            b"BZh9" + data[:50],
            b"\x93NUMPY\x01\x00\xff\xff" + data[:50],
            b"#!/bin/sh\ntouch PWNED\n",
        )
    )


BYTES: Final[Mapping[str, Change]] = {
    name: of_bytes(change)
    for name, change in {
        "truncated": truncated,
        "bytes flipped": flipped,
        "header flipped": flipped_in_the_header,
        "bytes inserted": inserted,
        "bytes removed": removed,
        "block blanked": blanked,
        "twice": twice,
        "reversed": reversed_,
        "noise": noise,
        "empty": nothing,
        "other file": other_file,
    }.items()
}


def _replaced(make: Callable[[Path], None]) -> Change:
    def apply(path: Path, random: Random) -> None:
        path.unlink()
        make(path)

    return apply


PLACES: Final[Mapping[str, Change]] = {
    "gone": _replaced(lambda path: None),
    "a folder": _replaced(lambda path: path.mkdir()),
    "a pipe": _replaced(os.mkfifo),
    "a dangling link": _replaced(lambda path: path.symlink_to("nowhere")),
    "a link to itself": _replaced(lambda path: path.symlink_to(path.name)),
    "a link to zeros": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "a link to nothing": _replaced(lambda path: path.symlink_to("/dev/null")),
    "a link to a folder": _replaced(lambda path: path.symlink_to("/etc")),
    "a link out": _replaced(lambda path: path.symlink_to("/etc/passwd")),
}
"""What a path can be besides a file; a pipe without a writer stops whoever opens it."""
