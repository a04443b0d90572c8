"""Data of the page as inert script elements: values in, text out that no name in it can break out of."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Json = dict[str, Any]

_ESCAPES: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
"""Only strings of JSON hold these, so JSON's own escapes can stand for them: no ``</script>`` or ``<!--`` is left."""

_TOP: Final = {1: 254, 2: 65534}
"""Largest code of a number in so many bytes; the next one is for NaN."""


def block(name: str, value: Any) -> str:
    """A value as an inert script element.

    Parameters
    ----------
    name : str
        The element's id; of letters, digits, ``-``.
    value : object
        JSON; NaN becomes null.
    """
    if not all(letter.isalnum() or letter == "-" for letter in name):
        raise ValueError(f"{name!r} can't be the id of a data block")
    return f'<script type="application/json" id="{name}">{json_text(value)}</script>\n'


def json_text(value: Any) -> str:
    """JSON without anything that means something in HTML."""
    text = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_ESCAPES)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return _number(value)
    return value


def _number(value: float) -> float | int | None:
    """Five digits are more than a picture shows."""
    if not math.isfinite(value):
        return None
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def coded(values: npt.NDArray[np.float64]) -> Json:
    """A column of numbers in one or two bytes each.

    Parameters
    ----------
    values : ndarray, shape (n,), float64
        NaN where there is none.

    Returns
    -------
    dict
        ``low``, ``step``, ``bytes`` and ``data`` (base64, little-endian): a number is ``low + step * code``, the
        largest code is NaN. Whole numbers come back exactly where their range is at most 65,534; others differ by at
        most half a step, 1/131,068 of the range.
    """
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    whole = bool(known.size) and bool((known == np.rint(known)).all()) and high - low <= _TOP[2]
    width = 1 if whole and high - low <= _TOP[1] else 2
    step = 1.0 if whole else (high - low) / _TOP[2] or 1.0
    codes = np.full(len(values), _TOP[width] + 1, dtype=np.int64)
    codes[np.isfinite(values)] = np.rint((known - low) / step).astype(np.int64)
    data = codes.astype("<u1" if width == 1 else "<u2").tobytes()
    return {"low": low, "step": step, "bytes": width, "data": base64.b64encode(data).decode("ascii")}


def fitting_columns(columns: Sequence[str], *, required: int, n_rows: int, room: float) -> list[str]:
    """Columns of the cell table that the page can carry.

    Parameters
    ----------
    columns : sequence of str
        The most wanted first.
    required : int
        As many of the first as no list of cells does without.
    n_rows : int
        Cells of the project.
    room : float
        Bytes of text that there are for them.

    Returns
    -------
    list of str
        As many as fit; none where the required ones don't fit. At least 2 bytes a number are reckoned with, one third
        more as text, and the field and the number of each cell.
    """
    each = n_rows * 2 * 4 / 3
    can = int(room / each) - 2 if n_rows else len(columns)
    return [] if can < min(required, len(columns)) else list(columns[:can])
