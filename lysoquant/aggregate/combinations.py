"""Boolean combinations of cargoes, such as ``SEC62 and not LC3``: parsed without running anything."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from functools import reduce
from operator import and_, or_
from typing import Final, Protocol, Self, TypeVar

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
"""A combination's name is part of column names."""

TAKEN: Final = frozenset(
    {
        "cells",
        "cells_expressing",
        "cells_with_occupancy",
        "ci_high",
        "ci_low",
        "empty",
        "endolysosomes",
        "expressing",
        "fields",
        "fields_failed",
        "loaded",
        "logit_mean",
        "logit_sd",
        "mean",
        "pooled",
        "sd",
    }
)
"""Names whose columns (`is_NAME`, `n_NAME`, `occupancy_NAME`) the tables have already."""

_MAX_LENGTH: Final = 1000
_FORM: Final = (
    'expected labels of cargoes joined by and, or, not and brackets, such as "SEC62 and not LC3"; a label that is not '
    "one plain word stands in quotes, as in \"SEC62 and not 'LC3 488'\""
)


class _Mask(Protocol):
    """What :meth:`Combination.of` combines: an array of bool."""

    def __and__(self, other: Self, /) -> Self: ...
    def __or__(self, other: Self, /) -> Self: ...
    def __invert__(self) -> Self: ...


Mask = TypeVar("Mask", bound=_Mask)


class Combination:
    """A parsed expression.

    Parameters
    ----------
    text : str
        Labels of cargoes, ``and``, ``or``, ``not`` and brackets; a label that is not one plain word in quotes.

    Raises
    ------
    ValueError
        If it is anything else.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._root = _parsed(text)
        self.cargoes = tuple(dict.fromkeys(_labels(self._root, text)))

    def of(self, loaded: Mapping[str, Mask]) -> Mask:
        """Where it holds, from where each cargo is loaded.

        Parameters
        ----------
        loaded : mapping of str to ndarray (N,), bool
            By cargo; has every one of `cargoes`.
        """
        return _evaluated(self._root, loaded)


def problems(combinations: Mapping[str, str], *, cargoes: Collection[str]) -> Iterator[str]:
    """What is wrong with combinations in a project with these cargoes: names, then expressions.

    Parameters
    ----------
    combinations : mapping of str to str
        Expressions by name.
    cargoes : collection of str
        Labels of all cargoes, the first one first.
    """
    others = list(cargoes)[1:]
    for name, text in combinations.items():
        key = f"aggregate.combinations.{name}"
        if NAME.fullmatch(name) is None:
            yield f"{key}: expected a name of at most 64 letters, digits and underscores that begins with a letter"
        elif name in TAKEN:
            yield f"{key}: the tables have columns of this name already; choose another than {', '.join(sorted(TAKEN))}"
        elif name in others or name.removeprefix("loaded_") in others:
            yield f"{key}: the columns of cargo {name.removeprefix('loaded_')!r} have this name; choose another"
        try:
            unknown = [cargo for cargo in Combination(text).cargoes if cargo not in cargoes]
        except ValueError as error:
            yield f"{key}: {error}"
            continue
        if unknown:
            yield (
                f"{key}: {text!r} names {_listed(unknown)}; expected cargoes of this project, {_listed(cargoes)}: "
                "channels.cargo and channels.other_cargoes"
            )


def _parsed(text: str) -> ast.expr:
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"an expression of {len(text)} characters; expected at most {_MAX_LENGTH}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a backslash in quotes
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _fault(text) from None


def _labels(node: ast.expr, text: str) -> Iterator[str]:
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                yield from _labels(value, text)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield from _labels(operand, text)
        case ast.Name(id=label) | ast.Constant(value=str(label)):
            yield label
        case _:
            raise _fault(text)


def _evaluated(node: ast.expr, loaded: Mapping[str, Mask]) -> Mask:
    match node:
        case ast.BoolOp(op=op, values=values):
            return reduce(and_ if isinstance(op, ast.And) else or_, [_evaluated(value, loaded) for value in values])
        case ast.UnaryOp(operand=operand):
            return ~_evaluated(operand, loaded)
        case ast.Name(id=label) | ast.Constant(value=str(label)):
            return loaded[label]
    raise TypeError(type(node).__name__)


def _fault(text: str) -> ValueError:
    shown = text if len(text) <= 60 else f"{text[:56]} ..."
    return ValueError(f"{shown!r} is no combination of cargoes; {_FORM}")


def _listed(labels: Collection[str]) -> str:
    return ", ".join(repr(label) for label in labels)
