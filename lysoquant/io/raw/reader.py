"""What a reader of raw plates is: how it knows its format and what it makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lysoquant.errors import PlateError
from lysoquant.io.raw.description import Acquisition
from lysoquant.io.raw.names import Folder, read_folder
from lysoquant.vocabulary import PATTERN_FORMATS, RawFormat


@dataclass(frozen=True)
class Source:
    """Where a raw plate is said to lie, looked at once.

    Attributes
    ----------
    path : pathlib.Path
        The folder or file that was given.
    folder : Folder
        What the folder holds, or the folder that the file lies in.
    """

    path: Path
    folder: Folder

    @property
    def file(self) -> str | None:
        """Name of the file that was given; None for a folder."""
        return None if self.path == self.folder.path else self.path.name


@dataclass(frozen=True)
class Options:
    """What a person can tell a reader that names files by pattern.

    Attributes
    ----------
    pattern : str or None
        Regular expression on the files' paths relative to the plate.
    channel_names : sequence of str or None
        Channel labels in the order of the files' channel axis.
    """

    pattern: str | None = None
    channel_names: Sequence[str] | None = None


@dataclass(frozen=True)
class Reader:
    """A reader of one format.

    Attributes
    ----------
    name : str
        As in ``plates.tsv`` and ``--format``.
    title : str
        What people call the format.
    needs : str
        What must be given for it, for messages: ``the folder with the .HTD file``.
    recognise : callable
        Says what it saw that makes the source its own (``P1.HTD``), or None. Looks at names and headers inside the
        source, never at the name of the folder itself.
    describe : callable
        The acquisition.
    is_fallback : bool
        Only asked where no other reader recognises the source.
    """

    name: RawFormat
    title: str
    needs: str
    recognise: Callable[[Source], str | None]
    describe: Callable[[Source, Options], Acquisition]
    is_fallback: bool = False

    @property
    def takes_options(self) -> bool:
        """Whether it uses :class:`Options`."""
        return self.name in PATTERN_FORMATS


def look_at(path: Path) -> Source:
    """Look at a path.

    Raises
    ------
    PlateError
        If there is nothing, or the folder can't be read.
    """
    if path.is_file():
        return Source(path, read_folder(path.parent))
    if not path.is_dir():
        raise PlateError(f"{path}: no such file or folder; check the path of the raw plate")
    return Source(path, read_folder(path))
