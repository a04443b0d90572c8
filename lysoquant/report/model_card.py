"""A model's card as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_APART: Final = ("architecture", "limits", "metrics", "metrics_note", "training")
"""Keys that are left out of the facts, or have a place of their own."""


@dataclass(frozen=True)
class Card:
    """A model's card.

    Attributes
    ----------
    facts, training : sequence of (str, str)
        Names and values.
    limits : sequence of str
    data_sets : sequence of str
        Headings of the scores.
    scores : sequence of (str, sequence of str)
        What was measured, and its value on each data set, empty where there is none.
    note : str
        How the scores were taken.
    """

    facts: Sequence[tuple[str, str]]
    training: Sequence[tuple[str, str]]
    limits: Sequence[str]
    data_sets: Sequence[str]
    scores: Sequence[tuple[str, Sequence[str]]]
    note: str


def model_card(model: Mapping[str, Any]) -> Card:
    """What a segment record says of its model, in the order in which a reader asks."""
    limits, training = model.get("limits") or (), model.get("training") or {}
    data_sets, scores = _scores(model.get("metrics") or {})
    return Card(
        facts=_facts({key: value for key, value in model.items() if key not in _APART}),
        training=_facts(training) if isinstance(training, Mapping) else [("", _fact(training))],
        limits=[limits] if isinstance(limits, str) else [_fact(limit) for limit in limits],
        data_sets=data_sets,
        scores=scores,
        note=str(model.get("metrics_note") or ""),
    )


def _scores(metrics: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Scores by what was measured and the data set, which is the first word of a name where all names have one."""
    if not all("_" in key for key in metrics):
        return [""], [(_words(key), [_fact(value)]) for key, value in metrics.items()]
    by_measure: dict[str, dict[str, str]] = {}
    for key, value in metrics.items():
        data_set, measure = key.split("_", 1)
        by_measure.setdefault(_words(measure), {})[data_set] = _fact(value)
    data_sets = list(dict.fromkeys(key.split("_", 1)[0] for key in metrics))
    return data_sets, [(name, [found.get(one, "") for one in data_sets]) for name, found in by_measure.items()]


def _facts(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs of text, one level of nesting as ``outer inner``."""
    facts: list[tuple[str, str]] = []
    for key, value in model.items():
        if value in (None, "", {}, [], ()):
            continue
        inner = value if isinstance(value, Mapping) else {"": value}
        facts += [(_words(f"{key} {name}"), _fact(item)) for name, item in inner.items()]
    return facts


def _words(key: str) -> str:
    return key.replace("_", " ").strip()


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_fact(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join("none" if item is None else _fact(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
