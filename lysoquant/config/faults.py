"""Pydantic's errors in one line each: key, found value, expectation, and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from lysoquant.config.settings import Setting, settings_of
from lysoquant.config.text import did_you_mean, shown
from lysoquant.config.yaml_text import Key

_MOST: Final = 20
"""Faults that are told at once."""


def fault_lines(
    error: ValidationError, *, model: type[BaseModel], value: object, name: str, lines: Mapping[Key, int] | None = None
) -> list[str]:
    """One line for each wrong value, in the order of the model.

    Parameters
    ----------
    value : object
        What was validated, to show what was found.
    name : str
        The file, or whatever else the value came from.
    lines : mapping, optional
        Line of each key of the file.
    """
    found = error.errors(include_url=False)
    settings = {setting.key: setting for setting in settings_of(model)}
    faults: dict[Key, str] = {}
    for fault in found[:_MOST]:
        key = _key(fault, settings)
        faults.setdefault(key, _fault(fault, key, settings, value))
    told = []
    for key, text in faults.items():
        line = (lines or {}).get(key)
        told += [f"{name}{f':{line}' if line and key else ''}: {part}" for part in text.split("\n")]
    if len(found) > _MOST:
        told.append(f"{name}: and {len(found) - _MOST} more; correct these first")
    return told


def _key(fault: Mapping[str, Any], settings: Mapping[tuple[str, ...], Setting]) -> Key:
    """The key that a user wrote: without the names of the branches that pydantic tried."""
    location: Key = tuple(fault["loc"])
    if fault["type"] == "extra_forbidden":
        return location
    while location and location not in settings:
        location = location[:-1]
    return location


def _fault(fault: Mapping[str, Any], key: Key, settings: Mapping[tuple[str, ...], Setting], value: object) -> str:
    dotted = ".".join(map(str, key))
    if fault["type"] == "extra_forbidden":
        return _unknown(key, settings)
    if fault["type"] == "value_error":
        return f"{dotted}: {fault['ctx']['error']}" if dotted else str(fault["ctx"]["error"])
    setting = next((setting for setting in settings.values() if setting.key == key), None)
    if setting is None:
        return f"found {shown(value)}, expected a mapping of settings"
    if fault["type"] == "missing":
        return f"{dotted} is missing; expected {setting.expected}: {setting.description}"
    found = _found(value, key)
    return f"{dotted}: found {shown(found)}, expected {setting.expected}{_hint(found, setting.expected)}"


def _unknown(key: Key, settings: Mapping[tuple[str, ...], Setting]) -> str:
    siblings = [known[-1] for known in settings if known[:-1] == key[:-1]]
    elsewhere = [setting.dotted for setting in settings.values() if setting.key[-1] == key[-1]]
    guess = f" (did you mean {elsewhere[0]!r}?)" if elsewhere else did_you_mean(str(key[-1]), siblings)
    one_of = "one of " if siblings[1:] else ""
    return f"unknown key {shown('.'.join(map(str, key)))}{guess}; expected {one_of}{', '.join(siblings)}"


def _found(value: object, key: Key) -> object:
    for part in key:
        value = value[part] if isinstance(value, dict) else None
    return value


def _hint(found: object, expected: str) -> str:
    if isinstance(found, bool | int | float) and (isinstance(found, bool) or "number" not in expected):
        return "; put text in quotes" if "text" in expected or "'" in expected else ""
    if isinstance(found, str) and "number" in expected and _is_number(found):
        return (
            f"; write {float(found):g} without quotes"
            if "e" not in f"{float(found):g}"
            else "; write it out as a decimal"
        )
    return ""


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < float("inf")
    except ValueError:
        return False
