"""XML that instruments write beside their images, read as a stream: an index of a full plate has hundreds of megabytes.

Nothing in it is trusted: a document type, entities and references to other files are refused, numbers are checked,
and a damaged file is named with its line.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.sax import SAXException

from defusedxml import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from lysoquant.errors import PlateError
from lysoquant.files import open_file
from lysoquant.io.raw.names import clean_label, printable

_CHUNK: Final = 1 << 20
_MAX_TEXT: Final = 10_000
"""Longest text of an element that is kept; what follows is cut off."""

Place = tuple[str, str]
"""Names of an element's parent and of the element itself, without name spaces."""


@dataclass(slots=True)
class Record:
    """An element with its own text, and those of its children that were asked for.

    Attributes
    ----------
    file, line : str, int
        Where it begins, for messages.
    name, parent : str
        Names without name spaces.
    attributes : mapping of str to str
        By name without name space.
    text : str
        Its own text, before its first child.
    values : mapping of str to str
        Text of each child that was asked for; of several with one name the last.
    units : mapping of str to str
        ``Unit`` of such children that have one.
    ids : list of (str, str)
        Name and ``id`` of every child that has such an attribute.
    """

    file: str
    line: int
    name: str
    parent: str
    attributes: Mapping[str, str]
    text: str = ""
    values: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    ids: list[tuple[str, str]] = field(default_factory=list)

    def integer(self, key: str, low: int, high: int, *, default: int | None = None) -> int:
        """A whole number among the children, or else among the attributes.

        Raises
        ------
        PlateError
            If it is missing (and there is no `default`), no whole number, or outside `low` to `high`.
        """
        text = self.get(key)
        if text is None or text == "":
            if default is not None:
                return default
            raise self._bad(key, "is missing", low, high)
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):
            raise self._bad(key, f"is {clean_label(text)[:40]!r}", low, high)
        return int(text)

    def number(self, key: str) -> float | None:
        """A finite number among the children or attributes; None if it is missing or none."""
        try:
            value = float(self.get(key) or "nan")
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    def get(self, key: str) -> str | None:
        """Text of a child, or else an attribute, without outer blanks."""
        text = self.values.get(key, self.attributes.get(key))
        return None if text is None else text.strip()

    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.file}, line {self.line}"

    def _bad(self, key: str, found: str, low: int, high: int) -> PlateError:
        return PlateError(
            f"{self.where()}: {key} of <{self.name}> {found}; expected a whole number from {low} to {high}:"
            " correct it or export the plate again"
        )


def read_records(path: Path, *, root: str, wanted: Mapping[Place, Collection[str]]) -> Iterator[Record]:
    """Read an XML file element by element, a megabyte at a time.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    root : str
        Name of the element that it must begin with; the first record is this element's, with its attributes alone.
    wanted : mapping of (str, str) to collection of str
        Elements to give, by the names of their parent and their own, and the children whose text is to be kept.
        They do not nest.

    Raises
    ------
    PlateError
        If the file can't be read, is damaged, begins with another element, or holds a document type or entities.
    """
    name = printable(path.name)
    parser = _Parser(name, root, wanted)
    try:
        with open_file(path) as handle:
            while chunk := handle.read(_CHUNK):
                parser.feed(chunk)
                yield from parser.take()
        parser.close()
        yield from parser.take()
    except OSError as error:
        raise PlateError(f"{path}: can't be read ({error.strerror}); check its rights or copy it again") from error
    except DefusedXmlException as error:
        raise PlateError(
            f"{name}: holds a document type or entities, which are refused; export the plate again"
        ) from error
    except PlateError:
        raise
    except (SAXException, ValueError, LookupError) as error:  # the last two: encodings that expat does not know
        said = clean_label(str(error).removeprefix("<unknown>:"))
        raise PlateError(f"{name}: no whole XML ({said}); it is truncated or damaged: copy it again") from error


def begins_with(path: Path, root: str) -> bool:
    """Whether a file's first 4 kB name an element; False for a file that can't be read."""
    try:
        with open_file(path) as handle:
            return root.encode() in handle.read(4096).replace(b"\0", b"")
    except OSError:
        return False


class _Parser(DefusedExpatParser):
    """expat's events, gathered into records; without objects of its own an element, since there are millions."""

    _parser: Any

    def __init__(self, file: str, root: str, wanted: Mapping[Place, Collection[str]]) -> None:
        super().__init__(forbid_dtd=True)
        self._file = file
        self._root = root
        self._wanted = wanted
        self._path: list[str] = []
        self._done: list[Record] = []
        self._record: Record | None = None
        self._kept: Collection[str] = ()
        self._depth = 0
        self._texts: list[str] = []
        self._collects = False
        self._length = 0

    def reset(self) -> None:
        super().reset()
        self._parser.CharacterDataHandler = None

    def take(self) -> list[Record]:
        done, self._done = self._done, []
        return done

    def start_element(self, name: str, attrs: Mapping[str, str]) -> None:
        record = self._record
        if record is None:
            self._outside(name.rpartition(":")[2], attrs)
            return
        self._depth += 1
        if self._depth > 1:
            self._parser.CharacterDataHandler = None
            return
        if self._collects:  # what stands before the first child
            record.text = self._end_text()
        name = name.rpartition(":")[2]
        if "id" in attrs:
            record.ids.append((name, attrs["id"]))
        if name in self._kept:
            if "Unit" in attrs:
                record.units[name] = attrs["Unit"]
            self._begin_text()

    def end_element(self, name: str) -> None:
        record = self._record
        if record is None:
            self._path.pop()
        elif self._depth:
            self._depth -= 1
            if self._depth == 0 and self._collects:
                record.values[name.rpartition(":")[2]] = self._end_text()
        else:
            if self._collects:
                record.text = self._end_text()
            self._done.append(record)
            self._record = None

    def _keep_text(self, data: str) -> None:
        if self._length < _MAX_TEXT:
            self._length += len(data)
            self._texts.append(data[:_MAX_TEXT])

    def _begin_text(self) -> None:
        # Only here is expat asked for text: most elements' is not wanted.
        self._texts, self._length, self._collects = [], 0, True
        self._parser.CharacterDataHandler = self._keep_text

    def _end_text(self) -> str:
        self._collects = False
        self._parser.CharacterDataHandler = None
        return "".join(self._texts)

    def _outside(self, name: str, attrs: Mapping[str, str]) -> None:
        parent = self._path[-1] if self._path else ""
        if not parent and name != self._root:
            raise PlateError(
                f"{self._file}: begins with <{clean_label(name)}>; expected <{self._root}>: give that file"
            )
        kept = self._wanted.get((parent, name))
        if kept is None and parent:
            self._path.append(name)
            return
        record = Record(
            file=self._file,
            line=self._parser.CurrentLineNumber,
            name=name,
            parent=parent,
            attributes={key.rpartition(":")[2] if key != "xmlns" else key: value for key, value in attrs.items()},
        )
        if not parent:
            self._path.append(name)
            self._done.append(record)
            return
        self._record, self._kept, self._depth = record, kept or (), 0
        self._begin_text()
