"""The .HTD file of a MetaXpress export: what the instrument was told to acquire.

A list of lines ``"Key", value, value`` in Latin-1 with CRLF. No public specification exists: the keys are those of
exported plates. Nothing in it is trusted: every value is checked, and a bad one is named with its line.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lysoquant.errors import PlateError
from lysoquant.files import open_file
from lysoquant.io.raw.names import clean_label, printable
from lysoquant.vocabulary import row_letters, well_name

_MAX_BYTES: Final = 1 << 20
_MAX_ROWS, _MAX_COLUMNS = 32, 48
_MAX_SITES_EDGE: Final = 100
_MAX_WAVES: Final = 64
_MAX_STEPS: Final = 100_000

_Lines = Mapping[str, tuple[int, list[str]]]


@dataclass(frozen=True)
class Htd:
    """What an .HTD file declares.

    Attributes
    ----------
    name : str
        File name without its ending: the instrument's name of the plate.
    file : str
        File name, for messages.
    n_rows, n_columns : int
        Size of the plate.
    wells : tuple of str
        Canonical names of the selected wells, in reading order.
    grid_sites : tuple of int
        Places of the acquired sites in the grid of sites, counted from 1 row by row; ``(1,)`` without sites.
    waves : mapping of int to str
        Names of the wavelengths by number, as declared; empty names are kept.
    z_steps, time_points : int
        Declared numbers of Z planes (0: no Z series) and of time points.
    """

    name: str
    file: str
    n_rows: int
    n_columns: int
    wells: tuple[str, ...]
    grid_sites: tuple[int, ...]
    waves: Mapping[int, str]
    z_steps: int
    time_points: int


def read_htd(path: Path) -> Htd:
    """Read an .HTD file.

    Raises
    ------
    PlateError
        If the file can't be read, is no .HTD file, lacks a line, or has a value of the wrong type or size.
    """
    try:
        with open_file(path) as handle:
            content = handle.read(_MAX_BYTES + 1)
    except OSError as error:
        raise PlateError(f"{path}: can't be read ({error.strerror}); check its rights or copy it again") from error
    if len(content) > _MAX_BYTES:
        raise PlateError(
            f"{printable(path.name)}: larger than 1 MB; expected a MetaXpress .HTD file of a few kB: export again"
        )
    return _Reader(printable(path.name), content.decode("latin-1")).htd(printable(path.stem))


class _Reader:
    """Typed access to the lines of one file."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._lines = _parse(file, text)

    def htd(self, name: str) -> Htd:
        n_columns, n_rows = self._integer("XWells", 1, _MAX_COLUMNS), self._integer("YWells", 1, _MAX_ROWS)
        selected = [self._booleans(f"WellsSelection{row + 1}", n_columns) for row in range(n_rows)]
        return Htd(
            name=name,
            file=self._file,
            n_rows=n_rows,
            n_columns=n_columns,
            wells=tuple(
                well_name(row_letters(row), column + 1)
                for row, columns in enumerate(selected)
                for column, is_selected in enumerate(columns)
                if is_selected
            ),
            grid_sites=self._grid_sites(),
            waves={
                wave: clean_label(self._value(f"WaveName{wave}"))
                for wave in range(1, self._integer("NWavelengths", 1, _MAX_WAVES) + 1)
            },
            z_steps=self._integer("ZSteps", 0, _MAX_STEPS) if self._flag("ZSeries") else 0,
            time_points=self._integer("TimePoints", 1, _MAX_STEPS),
        )

    def _grid_sites(self) -> tuple[int, ...]:
        if not self._flag("Sites"):
            return (1,)
        n_x, n_y = self._integer("XSites", 1, _MAX_SITES_EDGE), self._integer("YSites", 1, _MAX_SITES_EDGE)
        grid = [site for row in range(n_y) for site in self._booleans(f"SiteSelection{row + 1}", n_x)]
        if not any(grid):
            raise self._bad("SiteSelection1", "has no TRUE", "at least one selected field")
        return tuple(place for place, is_selected in enumerate(grid, start=1) if is_selected)

    def _value(self, key: str) -> str:
        values = self._values(key)
        if len(values) != 1:
            raise self._bad(key, f"has {len(values)} values", "one value")
        return values[0]

    def _integer(self, key: str, low: int, high: int) -> int:
        text = self._value(key)
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):
            raise self._bad(key, repr(text[:40]), f"a whole number from {low} to {high}")
        return int(text)

    def _flag(self, key: str) -> bool:
        return self._boolean(key, self._value(key))

    def _booleans(self, key: str, count: int) -> list[bool]:
        values = self._values(key)
        if len(values) != count:
            raise self._bad(key, f"has {len(values)} values", f"{count} values TRUE or FALSE")
        return [self._boolean(key, value) for value in values]

    def _boolean(self, key: str, text: str) -> bool:
        if text.upper() not in ("TRUE", "FALSE"):
            raise self._bad(key, repr(text[:40]), "TRUE or FALSE")
        return text.upper() == "TRUE"

    def _values(self, key: str) -> list[str]:
        if key not in self._lines:
            raise PlateError(
                f'{self._file}: has no line "{key}"; export the plate again, or set format in plates.tsv to tiff and'
                " pattern in plates.tsv to what finds the well in a name"
            )
        return self._lines[key][1]

    def _bad(self, key: str, found: str, expected: str) -> PlateError:
        line = self._lines[key][0]
        return PlateError(
            f"{self._file}, line {line}: {key} {found}; expected {expected}: correct the line or export the plate again"
        )


def _parse(file: str, text: str) -> dict[str, tuple[int, list[str]]]:
    lines: dict[str, tuple[int, list[str]]] = {}
    # A Latin-1 control byte inside a description is no line end, so str.splitlines would be wrong here.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        key, *values = _split(file, number, line)
        while values and not values[-1]:
            values.pop()
        if key in lines and lines[key][1] != values:
            raise PlateError(f"{file}, line {number}: {key[:40]} differs from line {lines[key][0]}; correct the file")
        lines.setdefault(key, (number, values or [""]))
    if "HTSInfoFile" not in lines:
        raise PlateError(f'{file}: has no line "HTSInfoFile"; expected a MetaXpress .HTD file: export the plate again')
    return lines


def _split(file: str, number: int, line: str) -> list[str]:
    try:
        cells = next(csv.reader([line], skipinitialspace=True), [])
    except csv.Error as error:
        raise PlateError(f"{file}, line {number}: {error}; correct the line or export the plate again") from error
    return [cell.strip() for cell in cells] or [""]
