"""A person's regular expression on names: which well, field, channel, Z plane and time point an image is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from lysoquant.errors import PlateError
from lysoquant.io.raw.names import normal_row, normal_well

EXAMPLE_PATTERN: Final = r"(?P<well>[A-P]\d{2})_f(?P<field>\d+)_(?P<channel>[^_.]+)\.tif"
"""A pattern to show in messages: ``B03_f1_DAPI.tif``."""

GROUPS: Final = ("well", "row", "column", "field", "channel", "z", "time")
"""Named groups that a pattern may have."""

MAX_NAME: Final = 400
"""Longer names are not searched."""

_MAX_PATTERN: Final = 500

_REPEATED_REPEAT: Final = re.compile(r"[^\\][*+}][^()\[\]]*\)(?:[*+]|\{\d*,\d*\})")
"""``(a+)*`` and its like: on a name that almost matches they take time that doubles with every letter."""


def compile_pattern(pattern: str | None) -> re.Pattern[str]:
    """The pattern, safe to search names with; None matches every name and names nothing.

    Raises
    ------
    PlateError
        If it is too long, no regular expression, can take forever, or its groups are not those of a pattern.
    """
    if pattern is None:
        return re.compile("")
    if len(pattern) > _MAX_PATTERN:
        raise PlateError(f"the pattern has {len(pattern)} characters; expected at most {_MAX_PATTERN}: shorten it")
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise PlateError(
            f"pattern {pattern!r} is not a regular expression ({error}); give one such as {EXAMPLE_PATTERN}"
        ) from error
    if _REPEATED_REPEAT.search(pattern):
        raise PlateError(
            f"pattern {pattern!r} repeats a group that itself repeats, which can take forever on a long name;"
            " write .* instead of the outer group"
        )
    _check_groups(pattern, set(expression.groupindex))
    return expression


def _check_groups(pattern: str, groups: set[str]) -> None:
    unknown = sorted(groups - set(GROUPS))
    if unknown or not groups:
        found = f"has the unknown group {unknown[0]!r}" if unknown else "has no named group"
        raise PlateError(f"pattern {pattern!r} {found}; expected (?P<name>...) with names {', '.join(GROUPS)}")
    if ("row" in groups) != ("column" in groups) or {"well", "row"} <= groups:
        raise PlateError(f"pattern {pattern!r} must have either the group well, or both row and column")


def well_of(texts: Mapping[str, str]) -> str | None:
    """Canonical well of the groups' texts; ``A01`` where the pattern has no group for it, None where it is no well."""
    if "well" in texts:
        return normal_well(texts["well"])
    if "row" in texts:
        row = normal_row(texts["row"])
        return normal_well(f"{row}{texts['column']}") if row else None
    return "A01"
