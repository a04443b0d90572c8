"""The two sheets of a project: ``plates.tsv`` and ``wells.tsv``."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from lysoquant.config.text import did_you_mean, one_of, shown
from lysoquant.convert.params import PlateSource
from lysoquant.errors import ConfigError
from lysoquant.files import open_file
from lysoquant.vocabulary import CONTROLS, PATTERN_FORMATS, PLATE_NAME, WELL_NAME

PLATE_COLUMNS: Final = tuple(PlateSource.model_fields)
WELL_COLUMNS: Final = ("plate", "well", "condition", "replicate", "control")

RESERVED_PLATES: Final = frozenset({"tables", "report", "records", "logs", "benchmarks"})
"""Folders of the results that a plate's folder would fall into."""

_TABLE_COLUMNS: Final = frozenset(
    {
        "plate",
        "well",
        "field",
        "cell",
        "label",
        "is_loaded",
        "p_loaded",
        "area_um2",
        "perimeter_um",
        "circularity",
        "solidity",
        "eccentricity",
        "feret_um",
        "min_feret_um",
        "centroid_y_um",
        "centroid_x_um",
        "distance_to_nucleus_um",
        "distance_to_cell_border_um",
        "cargo_area_fraction",
        "aspect_ratio",
        "roundness",
        "nearest_neighbour_um",
        "perinuclear_index",
        "touches_border",
        "is_expressing",
        "n_endolysosomes",
        "n_empty",
        "n_loaded",
        "occupancy",
        "status",
        "reason",
        "focus_score",
        "saturated_fraction",
        "n_cells",
        "row",
        "column",
        "condition",
        "replicate",
        "control",
        "n_fields",
        "n_fields_failed",
        "occupancy_mean",
        "occupancy_sd",
        "occupancy_pooled",
        "occupancy_ci_low",
        "occupancy_ci_high",
        "area_um2_mean",
        "robust_z",
        "b_score",
        "flags",
        "n_cells_expressing",
        "n_cells_with_occupancy",
        "occupancy_logit_mean",
        "occupancy_logit_sd",
        "normalised",
        "excluded",
    }
)
_TABLE_PREFIXES: Final = ("intensity_mean_", "rim_mean_", "lumen_mean_")

_MAX_BYTES: Final = 64 * 2**20
_MAX_CELL: Final = 4096
_WELL_TEXT: Final = re.compile(r"([A-Za-z]{1,2})0{0,3}([0-9]{1,2})")


@dataclass(frozen=True)
class WellRow:
    """One row of ``wells.tsv``.

    Attributes
    ----------
    plate, well : str
        Plate name and canonical well name (``B03``).
    condition : str
        Word of the experimenter, free text; empty where unknown.
    replicate : str
        A whole number as text, or empty.
    control : str
        ``""``, ``"negative"`` or ``"positive"``.
    extra : dict of str to str
        The sheet's other columns, carried along.
    """

    plate: str
    well: str
    condition: str = ""
    replicate: str = ""
    control: str = ""
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sheet:
    name: str
    header: tuple[str, ...]
    header_line: int
    rows: tuple[tuple[int, dict[str, str]], ...]

    def error(self, line: int, text: str) -> ConfigError:
        return ConfigError(f"{self.name}:{line}: {text}")


def normalise_well(text: str) -> str | None:
    """Canonical name of a well as people write it (``b3``, ``B03``, ``B003``), or None if there is no such well."""
    match = _WELL_TEXT.fullmatch(text.strip())
    if match is None:
        return None
    name = f"{match[1].upper()}{int(match[2]):02d}"
    return name if WELL_NAME.fullmatch(name) else None


def read_plates(path: Path, *, project: Path) -> dict[str, PlateSource]:
    """Read ``plates.tsv``.

    Parameters
    ----------
    path : pathlib.Path
        The sheet: columns of :class:`~lysoquant.convert.params.PlateSource`; ``plate``, ``path`` and ``format`` needed.
    project : pathlib.Path
        The project folder; messages name the sheet relative to it, and relative plate paths start there.

    Returns
    -------
    dict of str to PlateSource
        In the order of plate names.

    Raises
    ------
    ConfigError
        With file, line, value, expectation and remedy.
    """
    sheet = _read_sheet(
        path, name=_sheet_name(path, project), known=PLATE_COLUMNS, required=("plate", "path", "format")
    )
    _refuse_unknown_columns(sheet)
    sources: dict[str, PlateSource] = {}
    lines: dict[str, int] = {}
    places: dict[tuple[str, str | None], str] = {}
    for line, cells in sheet.rows:
        source = _plate_source(sheet, line, cells)
        folded = source.plate.casefold()
        if folded in lines:
            raise sheet.error(
                line, f"plate {source.plate!r} is already on line {lines[folded]}; give each plate its own name"
            )
        place = (os.path.normpath(project / source.path), source.pattern)
        if place in places:
            raise sheet.error(
                line,
                f"path {source.path!r} is already that of plate {places[place]!r}; "
                "expected each raw plate once, or its wells would count twice",
            )
        lines[folded], places[place], sources[source.plate] = line, source.plate, source
    if not sources:
        raise ConfigError(f"{sheet.name}: no plates; expected at least one row below the header")
    return dict(sorted(sources.items()))


def read_wells(path: Path, *, plates: Collection[str]) -> tuple[WellRow, ...]:
    """Read ``wells.tsv``, or a plate map in the same columns with commas.

    Parameters
    ----------
    path : pathlib.Path
        The sheet. ``well`` is needed, ``plate`` too where there are several plates; ``condition``, ``replicate`` and
        ``control`` are empty where absent; any other column goes into :attr:`WellRow.extra`.
    plates : collection of str
        Names of the project's plates.

    Returns
    -------
    tuple of WellRow
        In the order of the sheet, each well once.

    Raises
    ------
    ConfigError
        With file, line, value, expectation and remedy.
    """
    required = ("well",) if len(plates) == 1 else ("plate", "well")
    sheet = _read_sheet(path, name=str(path), known=WELL_COLUMNS, required=required)
    _refuse_table_columns(sheet)
    seen: dict[tuple[str, str], tuple[int, WellRow]] = {}
    roles: dict[str, tuple[int, str]] = {}
    for line, cells in sheet.rows:
        row = _well_row(sheet, line, cells, plates)
        first, other = seen.setdefault((row.plate, row.well), (line, row))
        if other != row:
            raise sheet.error(
                line,
                f"plate {row.plate} well {row.well} is already on line {first} with other values; keep one of the two",
            )
        _check_condition_control(sheet, line, row, roles)
    return tuple(row for _, row in seen.values())


def _plate_source(sheet: _Sheet, line: int, cells: Mapping[str, str]) -> PlateSource:
    values: dict[str, object] = {name: text for name, text in cells.items() if text}
    check_plate_name(cells["plate"], where=f"{sheet.name}:{line}")
    if not cells["path"]:
        raise sheet.error(line, "path is empty; expected the raw plate's folder, absolute or relative to the project")
    if cells.get("channel_names"):
        values["channel_names"] = ";".join(name.strip() for name in cells["channel_names"].split(";"))
    if "pixel_size_um" in values:
        values["pixel_size_um"] = _positive_number(sheet, line, "pixel_size_um", cells["pixel_size_um"])
    try:
        source = PlateSource.model_validate(values)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        column = str(fault["loc"][0])
        raise sheet.error(line, f"{column} {cells[column]!r}: {fault['msg'].lower()}; correct the cell") from None
    if source.format not in PATTERN_FORMATS:
        for column in ("pattern", "channel_names"):
            if cells.get(column):
                raise sheet.error(
                    line,
                    f"{column} {shown(cells[column])}: expected an empty cell for format {source.format!r}; "
                    f"it serves {', '.join(PATTERN_FORMATS)} only",
                )
    if source.pattern is not None:
        _check_pattern(sheet, line, source.pattern)
    return source


def check_plate_name(name: str, *, where: str) -> None:
    """Refuse a name that can't be a folder, a wildcard of the workflow and a word of a table.

    Raises
    ------
    ConfigError
        Beginning with `where`.
    """
    if PLATE_NAME.fullmatch(name) is None or ".." in name:
        raise ConfigError(
            f"{where}: plate {shown(name)}: expected at most 100 letters, digits, dots, dashes and underscores, "
            "beginning with a letter or digit and without '..'; rename the plate"
        )
    if name.casefold() in RESERVED_PLATES:
        raise ConfigError(f"{where}: plate {name!r} is the name of a results folder; rename the plate")


def _check_pattern(sheet: _Sheet, line: int, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise sheet.error(
            line, f"pattern {shown(pattern)}: expected a regular expression: {error}; correct the cell"
        ) from None


def _positive_number(sheet: _Sheet, line: int, column: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 < number < float("inf"):
        raise sheet.error(
            line,
            f"{column} {shown(text)}: expected a number above 0 with a decimal point, such as 0.1; correct the cell",
        )
    return number


def _well_row(sheet: _Sheet, line: int, cells: Mapping[str, str], plates: Collection[str]) -> WellRow:
    plate = cells.get("plate", "")
    if not plate and len(plates) == 1:
        plate = next(iter(plates))
    if plate not in plates:
        raise sheet.error(line, f"plate {shown(plate)}: expected {one_of(plates)}; correct the cell or remove the row")
    well = normalise_well(cells["well"])
    if well is None:
        raise sheet.error(
            line,
            f"well {shown(cells['well'])}: expected a well such as B03 (rows A to AF, columns 1 to 48); "
            "correct the cell",
        )
    control = cells.get("control", "")
    if control not in CONTROLS:
        raise sheet.error(
            line, f"control {shown(control)}: expected 'negative', 'positive' or an empty cell; correct the cell"
        )
    return WellRow(
        plate=plate,
        well=well,
        condition=unicodedata.normalize("NFC", cells.get("condition", "")),
        replicate=_replicate(sheet, line, cells.get("replicate", "")),
        control=control,
        extra={name: text for name, text in cells.items() if name not in WELL_COLUMNS},
    )


def _replicate(sheet: _Sheet, line: int, text: str) -> str:
    match = re.fullmatch(r"0*([1-9][0-9]{0,5})(\.0+)?", text)
    if text and match is None:
        raise sheet.error(
            line, f"replicate {shown(text)}: expected a whole number from 1, or an empty cell; number the replicates"
        )
    return match[1] if match else ""


def _check_condition_control(sheet: _Sheet, line: int, row: WellRow, roles: dict[str, tuple[int, str]]) -> None:
    if not (row.condition and row.control):
        return
    first, control = roles.setdefault(row.condition, (line, row.control))
    if control != row.control:
        raise sheet.error(
            line,
            f"condition {shown(row.condition)} is the {row.control} control here "
            f"and the {control} control on line {first}; expected one of the two",
        )


def _refuse_unknown_columns(sheet: _Sheet) -> None:
    for name in sheet.header:
        if name not in PLATE_COLUMNS:
            raise sheet.error(
                sheet.header_line,
                f"unknown column {shown(name)}{did_you_mean(name, PLATE_COLUMNS)}; known: {', '.join(PLATE_COLUMNS)}",
            )


def _refuse_table_columns(sheet: _Sheet) -> None:
    for name in sheet.header:
        taken = name in _TABLE_COLUMNS or name.startswith(_TABLE_PREFIXES)
        if taken and name not in WELL_COLUMNS:
            raise sheet.error(
                sheet.header_line, f"column {name!r} is one of the result tables' own; rename or remove it"
            )


def _sheet_name(path: Path, project: Path) -> str:
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)


def _read_sheet(path: Path, *, name: str, known: Collection[str], required: Sequence[str]) -> _Sheet:
    lines = list(_lines(_read_text(path, name=name)))
    if not lines:
        raise ConfigError(f"{name}: the sheet is empty; expected a header with {', '.join(required)}")
    header_line, header_text = lines[0]
    separator = _separator(header_text)
    header = _header(name, header_line, _cells(name, header_line, header_text, separator), known)
    for column in required:
        if column not in header:
            raise ConfigError(
                f"{name}:{header_line}: no column {column!r}; found {', '.join(header)}; add it to the header"
            )
    rows = tuple((line, _row(name, line, _cells(name, line, text, separator), header)) for line, text in lines[1:])
    return _Sheet(name=name, header=header, header_line=header_line, rows=rows)


def _read_text(path: Path, *, name: str) -> str:
    try:
        with open_file(path) as handle:
            content = handle.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ConfigError(f"{name}: larger than {_MAX_BYTES} bytes; expected a sheet of wells or plates")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: byte {error.start} is not UTF-8; save the sheet as UTF-8 text") from None
    except OSError as error:
        raise ConfigError(
            f"{name}: {error.strerror}; expected a readable sheet, as `lysoquant init` writes it"
        ) from None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
        if line.strip("\t ,;") and not line.startswith("#"):
            yield number, line


def _separator(header: str) -> str:
    return next((character for character in "\t,;" if character in header), "\t")


def _cells(name: str, line: int, text: str, separator: str) -> list[str]:
    if any(unicodedata.category(character) == "Cc" and character != "\t" for character in text):
        raise ConfigError(f"{name}:{line}: a control character in the row; expected plain text")
    try:
        cells = next(csv.reader([text], delimiter=separator, strict=True))
    except csv.Error as error:
        raise ConfigError(f"{name}:{line}: {error}; expected cells whose quotes are closed on the same line") from None
    if any(len(cell) > _MAX_CELL for cell in cells):
        raise ConfigError(f"{name}:{line}: a cell of more than {_MAX_CELL} characters; shorten it")
    return [cell.strip() for cell in cells]


def _header(name: str, line: int, cells: list[str], known: Collection[str]) -> tuple[str, ...]:
    while cells and not cells[-1]:
        cells.pop()
    header = tuple(cell.lower() if cell.lower() in known else cell for cell in cells)
    if "" in header:
        raise ConfigError(f"{name}:{line}: column {header.index('') + 1} has no name; name it or remove it")
    for column in header:
        if header.count(column) > 1:
            raise ConfigError(f"{name}:{line}: column {column!r} occurs twice; keep one of them")
    return header


def _row(name: str, line: int, cells: list[str], header: Sequence[str]) -> dict[str, str]:
    if any(cells[len(header) :]):
        raise ConfigError(
            f"{name}:{line}: {len(cells)} cells under {len(header)} columns; remove the rest or name its column"
        )
    return dict(zip(header, [*cells, *[""] * (len(header) - len(cells))], strict=False))
