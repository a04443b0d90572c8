"""Numbers and counts as a person reads them, and settings to speak of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

UNDEFINED = "–"

_FLAGS: Final = {"low_z_prime": "low Z′", "low_ssmd": "low SSMD"}


def fraction(value: float) -> str:
    """A fraction to two places; a dash for NaN."""
    return UNDEFINED if math.isnan(value) else f"{value:.2f}".replace("-", "−")


def number(value: float) -> str:
    """A measurement to about three digits; a dash for NaN."""
    if math.isnan(value):
        return UNDEFINED
    if value != 0 and abs(value) < 0.001:
        return f"{value:.1e}".replace("-", "−")
    text = f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return text.replace("-", "−")


def count(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun: ``1 well``, ``1,204 wells``."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: ``8.4 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def listing(words: Sequence[str]) -> str:
    """Words as a list in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def flag_words(flags: str) -> str:
    """Flags of a table, joined by semicolons, as words."""
    found = [flag.strip() for flag in flags.split(";") if flag.strip()]
    return ", ".join(_FLAGS.get(flag, flag.replace("_", " ")) for flag in found)


def setting(config: Mapping[str, object], *path: str) -> Any:
    """A value of the configuration by its path; None where there is none."""
    value: object = config
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value
