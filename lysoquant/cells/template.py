"""File names of outlines made elsewhere: ``{plate}``, ``{well}``, ``{row}``, ``{column}`` and ``{field}`` filled in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from string import Formatter
from typing import Final

from lysoquant.record import digest_file
from lysoquant.vocabulary import split_well

PLACEHOLDERS: Final = ("plate", "well", "row", "column", "field")
_NUMBERS: Final = ("column", "field")
_WIDTH: Final = re.compile(r"0?[1-9]d?")


def check_template(template: str) -> None:
    """Refuse a template that has anything but plain placeholders.

    A number may have a width (``{field:03d}``). Attributes and indices (``{plate.x}``) are refused, since through
    them a template could reach into the program.

    Raises
    ------
    ValueError
        With the part that is wrong and what is allowed.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"path {template!r} ({error}): write braces only around placeholders") from None
    for _, name, width, conversion in parts:
        if name is None:
            continue
        if name not in PLACEHOLDERS or conversion:
            known = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise ValueError(f"path {template!r} has the placeholder {{{name}}}, expected one of {known}")
        if width and not (name in _NUMBERS and _WIDTH.fullmatch(width)):
            raise ValueError(f"path {template!r} has {{{name}:{width}}}, expected a number's width as in {{field:02d}}")


def fill_template(template: str, *, plate: str, well: str, field: int) -> str:
    """File name of a field.

    Parameters
    ----------
    template : str
        As :func:`check_template` accepts it.
    plate, well : str
        Plate name; canonical well name such as ``B03``.
    field : int
        Index of the field from 0, as in the store.

    Raises
    ------
    ValueError
        If the template has anything but plain placeholders.
    """
    check_template(template)
    row, column = split_well(well)
    return template.format(plate=plate, well=well, row=row, column=column, field=field)


def outline_digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Digest of each outline file, or ``absent``, or ``unreadable``."""
    return {name: _digest(folder / name) for name in names}


def _digest(path: Path) -> str:
    try:
        return digest_file(path) if path.is_file() else "absent"
    except OSError:
        return "unreadable"
