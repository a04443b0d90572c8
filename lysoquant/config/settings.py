"""Every setting of a model in a flat list: its key, default, meaning, and what it may be, in words."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from lysoquant.config.text import one_of

_BOUNDS = (
    ("minimum", "at least {:g}"),
    ("exclusiveMinimum", "greater than {:g}"),
    ("maximum", "at most {:g}"),
    ("exclusiveMaximum", "less than {:g}"),
    ("multipleOf", "a multiple of {:g}"),
)
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "object": "a section of settings",
    "array": "a list",
}


@dataclass(frozen=True)
class Setting:
    """One field of a settings model.

    Attributes
    ----------
    key : tuple of str
        Path of the setting, outermost section first.
    description : str
        The docstring of the field.
    expected : str
        What the value may be, in words.
    default : object
        As JSON has it; `...` where the setting is needed.
    section : type or None
        The model of a section; None for a single value.
    """

    key: tuple[str, ...]
    description: str
    expected: str
    default: object
    section: type[BaseModel] | None

    @property
    def dotted(self) -> str:
        return ".".join(self.key)


@functools.cache
def settings_of(model: type[BaseModel]) -> tuple[Setting, ...]:
    """All settings of a model in its own order, each section before its members."""
    return tuple(_walk(model, ()))


def _walk(model: type[BaseModel], prefix: tuple[str, ...]) -> Iterator[Setting]:
    properties = model.model_json_schema()["properties"]
    for name, info in model.model_fields.items():
        kind = info.annotation
        section = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        default = info.get_default(call_default_factory=False)
        yield Setting(
            key=(*prefix, name),
            description=" ".join((info.description or "").split()),
            expected=_TYPES["object"] if section else expectation(properties[name]),
            default=... if default is PydanticUndefined else default,
            section=section,
        )
        if section is not None:
            yield from _walk(section, (*prefix, name))


def expectation(schema: Mapping[str, Any]) -> str:
    """What a JSON Schema of a single value allows, in words."""
    if "anyOf" in schema:
        return " or ".join(expectation(option) for option in schema["anyOf"])
    if "enum" in schema:
        return one_of([str(value) for value in schema["enum"]])
    if "const" in schema:
        return repr(schema["const"])
    bounds = [words.format(schema[bound]) for bound, words in _BOUNDS if bound in schema]
    if "pattern" in schema:
        bounds.append(f"matching {schema['pattern']}")
    if schema.get("minLength"):
        bounds.append("not empty")
    if isinstance(schema.get("additionalProperties"), dict):
        return f"{expectation(schema['additionalProperties'])} by name"
    if "items" in schema:
        return f"a list of {expectation(schema['items'])}"
    kind = _TYPES.get(str(schema.get("type")), "a value")
    return ", ".join([kind, *bounds])
