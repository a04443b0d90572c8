"""Words for values in messages."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable

_SHOWN = 60


def shown(value: object) -> str:
    """A found value on one line and cut to a readable length: text in quotes, the rest as YAML spells it."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=repr)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]} ...{text[-1] if isinstance(value, str) else ''}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The closest known name as a question in brackets, or nothing where none is close."""
    close = difflib.get_close_matches(name.casefold(), list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def one_of(names: Collection[str]) -> str:
    """The names as an expectation: ``'a'``, or ``one of 'a', 'b'``."""
    quoted = [repr(name) for name in list(names)[:12]]
    ellipsis = " ..." if len(names) > 12 else ""
    return f"one of {', '.join(quoted)}{ellipsis}" if len(names) > 1 else "".join(quoted)
