"""YAML as plain data, for files that are not trusted: no tags, no anchors, no duplicate keys, bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import yaml

from lysoquant.config.text import shown
from lysoquant.errors import ConfigError

MAX_BYTES: Final = 2**18
_MAX_DEPTH: Final = 12
_MAX_NUMBER: Final = 40
_TAG: Final = "tag:yaml.org,2002:"

Key = tuple[str | int, ...]


@dataclass
class Document:
    """A parsed file.

    Attributes
    ----------
    value : object
        Mappings with text keys, lists, text, numbers, booleans and None.
    lines : dict
        Line of each value by its key path, counted from 1.
    """

    value: object = None
    lines: dict[Key, int] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    """Composes nodes; dates stay text, aliases and deep nesting are refused."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _fault(self._mark(), "an alias (*); write the value out")
        if self.depth >= _MAX_DEPTH:
            raise _fault(self._mark(), f"nested more than {_MAX_DEPTH} deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _mark(self) -> yaml.Mark:
        mark: yaml.Mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        return mark


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str, *, name: str) -> Document:
    """Parse one YAML document into plain data.

    Raises
    ------
    ConfigError
        On a syntax error, a tag, an alias, a duplicate key, or a number that is not finite; names the line.
    """
    document = Document()
    try:
        node = _Loader(text).get_single_node()
        if node is not None:
            document.value = _build(node, (), document.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{name}{line}: {error.problem or error.context}; expected plain YAML") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {' '.join(str(error).split())}; expected plain YAML") from None
    return document


def _fault(mark: yaml.Mark, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _build(node: yaml.Node, key: Key, lines: dict[Key, int]) -> object:
    lines[key] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
        return _mapping(node, key, lines)
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
        return [_build(child, (*key, index), lines) for index, child in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    raise _fault(node.start_mark, f"tag {shown(node.tag)} is refused")


def _mapping(node: yaml.MappingNode, key: Key, lines: dict[Key, int]) -> dict[str, object]:
    built: dict[str, object] = {}
    for name_node, value_node in node.value:
        name = _scalar(name_node) if isinstance(name_node, yaml.ScalarNode) else None
        if not isinstance(name, str):
            raise _fault(name_node.start_mark, "a key that is not text")
        if name in built:
            raise _fault(
                name_node.start_mark, f"key {shown('.'.join(map(str, (*key, name))))} occurs twice; keep one of them"
            )
        built[name] = _build(value_node, (*key, name), lines)
        lines[*key, name] = name_node.start_mark.line + 1
    return built


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text: str = node.value
    match node.tag.removeprefix(_TAG):
        case "str":
            return text
        case "null":
            return None
        case "bool":
            return text.lower() in ("yes", "true", "on")
        case "int" | "float" as kind if len(text) <= _MAX_NUMBER:
            return _number(node, kind)
    raise _fault(node.start_mark, f"value {shown(text)} with tag {shown(node.tag)} is refused")


def _number(node: yaml.ScalarNode, kind: str) -> int | float:
    constructor = yaml.constructor.SafeConstructor()
    try:
        number: int | float = (
            constructor.construct_yaml_int(node) if kind == "int" else constructor.construct_yaml_float(node)
        )
    except (ValueError, OverflowError):
        raise _fault(node.start_mark, f"{shown(node.value)} is no number") from None
    if not math.isfinite(number):
        raise _fault(node.start_mark, f"{shown(node.value)} is not a finite number")
    return number
