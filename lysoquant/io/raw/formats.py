"""The readers of raw plates, and which of them a plate is for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from lysoquant.errors import PlateError
from lysoquant.io.raw.cellvoyager import CELLVOYAGER
from lysoquant.io.raw.harmony import HARMONY
from lysoquant.io.raw.imagexpress import IMAGEXPRESS
from lysoquant.io.raw.leica import LEICA
from lysoquant.io.raw.names import Folder, count_of, printable, read_folder, some
from lysoquant.io.raw.nikon import NIKON
from lysoquant.io.raw.ome_tiff import OME_TIFF
from lysoquant.io.raw.ome_zarr import OME_ZARR
from lysoquant.io.raw.reader import Reader, Source
from lysoquant.io.raw.tiff import TIFF
from lysoquant.io.raw.zeiss import ZEISS
from lysoquant.vocabulary import RAW_FORMATS, RawFormat

READERS: Final[Mapping[RawFormat, Reader]] = {
    reader.name: reader for reader in (IMAGEXPRESS, HARMONY, CELLVOYAGER, LEICA, ZEISS, NIKON, OME_ZARR, OME_TIFF, TIFF)
}
"""Readers by format name. A new format is a module with a :class:`Reader`, a line here and its name in
:data:`lysoquant.vocabulary.RawFormat`.
"""


_DEPTH: Final = 2
"""So many levels of subfolders are looked at for plates where the folder itself is none."""

_MOST_FOLDERS: Final = 50
"""So many folders of a level."""


def find_reader(source: Source, format: str | None, *, has_pattern: bool = False) -> tuple[Reader, str]:
    """The reader of a source, and by what it is recognised.

    Parameters
    ----------
    format : str or None
        The format's name where a person gave it; else it is found from the content.
    has_pattern : bool
        A person gave a pattern, by which a folder of folders may be one plate.

    Raises
    ------
    PlateError
        If no format has that name, none fits, or several do: the message lists what was seen and what to give.
    """
    if format is not None:
        reader = next((reader for name, reader in READERS.items() if name == format), None)
        if reader is None:
            raise PlateError(f"format {format!r} is not known; expected one of {', '.join(RAW_FORMATS)}")
        return reader, "format as given"
    found = recognised(source)
    if found and found[0][0].is_fallback and not has_pattern:
        _check_inside(source)
    if len(found) == 1:
        return found[0]
    if found:
        seen = "; ".join(f"{reader.title}: {what}" for reader, what in found)
        names = " or ".join(reader.name for reader, _ in found)
        raise PlateError(f"{source.path}: several formats fit ({seen}); say which by format in plates.tsv: {names}")
    raise PlateError(_nothing(source))


def recognised(source: Source) -> list[tuple[Reader, str]]:
    """Readers that recognise a source, each with what it saw; fallbacks only where no other does."""
    for is_fallback in (False, True):
        readers = [reader for reader in READERS.values() if reader.is_fallback == is_fallback]
        found = [(reader, what) for reader in readers if (what := reader.recognise(source)) is not None]
        if found:
            return found
    return []


def _nothing(source: Source) -> str:
    """What was seen where no reader recognises anything, and what to give."""
    needs = "; ".join(f"{reader.title}: {reader.needs}" for reader in READERS.values())
    if source.file is not None:
        return f"{source.path}: not recognised as a raw plate; give one of: {needs}"
    _check_inside(source)
    folder = source.folder
    endings = Counter(Path(name).suffix.lower() or "no ending" for name in folder.files)
    seen = ", ".join(f"{number} {ending}" for ending, number in sorted(endings.items())[:5]) or "no files"
    links = f"; linked folders, which are not followed: {some(folder.linked)}" if folder.linked else ""
    return (
        f"{source.path}: not recognised as a raw plate ({seen}, {count_of(len(folder.folders), 'folder')}{links});"
        f" give one of: {needs}"
    )


def _check_inside(source: Source) -> None:
    """Refuse a folder in whose subfolders plates lie.

    Raises
    ------
    PlateError
        Names them.
    """
    if source.file is not None:
        return
    found = list(_inside(source.folder, _DEPTH))
    if found:
        names = [printable(folder.path.relative_to(source.path).as_posix()) for folder, _ in found]
        raise PlateError(
            f"{source.path}: not a raw plate itself, but {'its subfolder is' if len(found) == 1 else 'subfolders are'}:"
            f" {some(names)} ({found[0][1].title}); give {'that' if len(found) == 1 else 'one of them'}"
        )


def _inside(folder: Folder, depth: int) -> Iterator[tuple[Folder, Reader]]:
    """Folders below one that a reader recognises, without those inside them."""
    for name in folder.folders[:_MOST_FOLDERS] if depth else ():
        inside = read_folder(folder.path / name)
        own = [reader for reader, _ in recognised(Source(inside.path, inside)) if not reader.is_fallback]
        if own:
            yield inside, own[0]
        else:
            yield from _inside(inside, depth - 1)
