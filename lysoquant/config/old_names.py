"""Settings that have another name than they had: configurations that know the old one go on working."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lysoquant.errors import ConfigError

NEW_NAMES: Final[Mapping[tuple[str, ...], tuple[str, ...]]] = {
    ("convert", "max_saturated_fraction"): ("aggregate", "field_quality", "max_saturated_fraction"),
}


def with_new_names(value: dict[str, Any], *, name: str) -> dict[str, Any]:
    """The settings of a file with new names in place of old ones.

    Raises
    ------
    ConfigError
        If a setting is there by both names.
    """
    for old, new in NEW_NAMES.items():
        source = _section(value, old[:-1])
        if old[-1] not in source:
            continue
        if new[-1] in _section(value, new[:-1]):
            raise ConfigError(
                f"{name}: {'.'.join(old)} is called {'.'.join(new)} now, which is there too; drop the first"
            )
        without = {key: each for key, each in source.items() if key != old[-1]}
        value = _put(value, old[:-1], without)
        value = _put(value, new[:-1], {**_section(value, new[:-1]), new[-1]: source[old[-1]]})
    return value


def _section(value: dict[str, Any], key: tuple[str, ...]) -> dict[str, Any]:
    found: Any = value
    for part in key:
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _put(value: dict[str, Any], key: tuple[str, ...], section: dict[str, Any]) -> dict[str, Any]:
    """A copy with another section; what stands in its way stays, for the fault to be told."""
    first, *rest = key
    below = value.get(first)
    if below is not None and not isinstance(below, dict):
        return value
    return {**value, first: _put(below or {}, tuple(rest), section) if rest else section}
