"""Names that instruments and people write: wells, plate formats, labels, files of a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from lysoquant.errors import PlateError
from lysoquant.vocabulary import WELL_NAME, row_index, row_letters, split_well, well_name

IMAGE_SUFFIXES: Final = (".tif", ".tiff")
"""Endings of image files, in lower case."""

PLATE_FORMATS: Final = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))
"""Rows and columns of the standard plates: 6, 12, 24, 48, 96, 384 and 1536 wells."""

_WELL: Final = re.compile(r"(?P<row>[A-Za-z]{1,2})[-_ ]?0{0,3}(?P<column>[0-9]{1,2})")


@dataclass(frozen=True)
class Folder:
    """What one folder holds, from one reading of it.

    Attributes
    ----------
    path : pathlib.Path
        The folder.
    files, folders : tuple of str
        Names in natural order; hidden ones (``.x``, the ``._x`` of macOS) and linked folders are left out.
    linked : tuple of str
        Names of folders that are symbolic links: they are not followed.
    unreadable : tuple of str
        Names that are not UTF-8, made printable: no table can hold them, so they are in none of the others.
    """

    path: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]
    linked: tuple[str, ...]
    unreadable: tuple[str, ...] = ()

    def note_unreadable(self, notes: list[str]) -> None:
        """Say which names were passed over."""
        if self.unreadable:
            notes.append(
                f"{count_of(len(self.unreadable), 'file')} in {printable(self.path.name)} passed over, not named in "
                f"UTF-8, which tables need: {some(self.unreadable, most=1)}; rename"
            )

    def images(self) -> list[str]:
        """Names of the TIFF files."""
        return [name for name in self.files if is_image(name)]

    def with_suffix(self, suffix: str) -> list[str]:
        """Names of the files with an ending, such as ``.htd``, in whatever case."""
        return [name for name in self.files if name.lower().endswith(suffix)]


def read_folder(path: Path) -> Folder:
    """Read a folder's names, once and without touching a file.

    Raises
    ------
    PlateError
        If the folder can't be read.
    """
    files: list[str] = []
    folders: list[str] = []
    linked: list[str] = []
    unreadable: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not _is_utf8(entry.name):
                    unreadable.append(printable(entry.name))
                elif not _is_folder(entry):
                    files.append(entry.name)
                else:
                    (linked if entry.is_symlink() else folders).append(entry.name)
    except OSError as error:
        raise PlateError(f"{path}: the folder can't be read ({error.strerror}); check path and rights") from error
    return Folder(path, *(tuple(sorted(names, key=natural_key)) for names in (files, folders, linked, unreadable)))


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that goes round in circles: whoever reads it as a file says so
        return False


def is_image(name: str) -> bool:
    """Whether a file name ends like a TIFF's."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sorting key under which ``f2`` comes before ``f10``; ties are broken by the text itself."""
    parts = re.split(r"([0-9]+)", text)
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts if part]
    return (*key, (2, 0, text))


def normal_well(text: str) -> str | None:
    """Canonical name of a well written as ``B03``, ``b3``, ``B3``, ``B-03``; None for anything else."""
    match = _WELL.fullmatch(text.strip())
    if match is None:
        return None
    name = well_name(match["row"].upper(), int(match["column"]))
    return name if WELL_NAME.fullmatch(name) else None


def normal_row(text: str) -> str | None:
    """Row letters of a row written as letters or as a number counted from 1; None for anything else."""
    if re.fullmatch(r"[0-9]{1,3}", text):
        return row_letters(int(text) - 1) if 1 <= int(text) <= PLATE_FORMATS[-1][0] else None
    return text.upper() if re.fullmatch(r"[A-Za-z]{1,2}", text) else None


def plate_format(wells: Iterable[str], *, declared: tuple[int, int] | None = None) -> tuple[int, int]:
    """Rows and columns of a plate that holds all wells.

    Parameters
    ----------
    wells : iterable of str
        Canonical well names.
    declared : tuple of int, optional
        Rows and columns that the plate says it has; kept where they hold all wells.

    Returns
    -------
    tuple of int
        `declared`, or else the smallest standard format that is large enough.
    """
    places = [split_well(name) for name in wells]
    rows = max((row_index(row) + 1 for row, _ in places), default=1)
    columns = max((column for _, column in places), default=1)
    if declared is not None:
        if rows <= declared[0] and columns <= declared[1]:
            return declared
        rows, columns = max(rows, declared[0]), max(columns, declared[1])
    return next((r, c) for r, c in PLATE_FORMATS if r >= rows and c >= columns)


def printable(text: str) -> str:
    """A name for messages and records: no line breaks, no bytes that are not UTF-8."""
    return "".join(c if c.isprintable() else "?" for c in text)


def clean_label(text: str) -> str:
    """A label without control characters and outer or doubled blanks, at most 100 characters long."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:100]


def unique_labels(labels: Sequence[str], notes: list[str]) -> list[str]:
    """Labels, each once: a second ``DAPI`` becomes ``DAPI (2)``, which is said in `notes`."""
    unique: list[str] = []
    for label in labels:
        name = label
        if label in unique:
            name = next(f"{label} ({n})" for n in count(2) if f"{label} ({n})" not in {*labels, *unique})
            notes.append(f"two channels are called {label!r}: the later one is {name!r} here")
        unique.append(name)
    return unique


def some(names: Sequence[str], *, most: int = 5) -> str:
    """The first few of many names, for a message."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def count_of(number: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
