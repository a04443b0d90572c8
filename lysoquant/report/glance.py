"""What a reader should know first: tables in, a few lines out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from lysoquant.report.content import Tables, condition_means
from lysoquant.report.screen import hit_line, hit_name, is_hit, tested
from lysoquant.report.wording import count, flag_words, number

_NAMED: Final = 6
"""Hits of a direction, plates and reasons that are named; the others are counted."""


@dataclass(frozen=True)
class Line:
    """A line, and the section of the page that says more.

    Attributes
    ----------
    section : str
        Its id.
    title, text : str
    """

    section: str
    title: str
    text: str


def glance(tables: Tables) -> list[Line]:
    """A few conditions, hits by name, what the plates are flagged for, and wells that were left out with the reason."""
    is_screen = bool(len(tested(tables.hits)))
    lines = [
        Line("conditions", "Conditions", _conditions(tables)),
        Line("hits", "Hits", _hits(tables.hits) if is_screen else _no_hits(tables)),
        Line("control", "Plates", _plates(tables.plates)),
        Line("quality", "Left out", _left_out(tables.wells) if is_screen else ""),
    ]
    return [line for line in lines if line.text]


def _conditions(tables: Tables) -> str:
    """Occupancy of conditions, where these are few, and what the first test says of each."""
    found = condition_means(tables.wells)
    if not 1 < len(found) <= _NAMED:
        return ""
    means = [f"{name}{f' ({control} control)' if control else ''} {value}" for name, control, value in found]
    return f"{', '.join(means)}{_against_control(tables.statistics)}."


def _against_control(statistics: pd.DataFrame) -> str:
    if not {"test", "reference", "p_adjusted"} <= set(statistics) or not len(statistics):
        return ""
    test = str(statistics["test"].iloc[0])
    rows = statistics[(statistics["test"] == test) & statistics["p_adjusted"].notna()]
    if not len(rows) or rows["reference"].nunique() != 1 or rows["condition"].duplicated().any():
        return ""
    reference = str(rows["reference"].iloc[0])
    told = [f"{name} {number(float(p))}" for name, p in zip(rows["condition"], rows["p_adjusted"], strict=True)]
    return f"; adjusted p against {reference} ({test}): {', '.join(told)}"


def _no_hits(tables: Tables) -> str:
    why = _reasons(tables.wells)
    return f"No condition could be tested: {why}." if why else hit_line(tables.hits)


def _hits(hits: pd.DataFrame) -> str:
    said = hit_line(hits)
    rows = [row for row in hits.to_dict("records") if is_hit(row)]
    rows.sort(key=lambda row: float(row.get("rank", 0)))
    for direction in ("up", "down"):
        names = [hit_name(row) for row in rows if row.get("direction") == direction]
        said += f" {direction.capitalize()}: {_listed(names)}." if names else ""
    return said


def _plates(plates: pd.DataFrame) -> str:
    if not len(plates) or "flags" not in plates:
        return ""
    flagged = plates[plates["flags"] != ""]
    said = [f"{row['plate']} ({flag_words(str(row['flags']))})" for row in flagged.to_dict("records")]
    verdict = f"{len(flagged):,} of {count(len(plates), 'plate')} flagged: {_listed(said)}" if said else "None flagged"
    return f"{verdict}{_controls(plates)}."


def _controls(plates: pd.DataFrame) -> str:
    """How far the controls lie apart, over all plates."""
    known = {name: plates[key].dropna() for name, key in (("Z′", "z_prime"), ("SSMD", "ssmd")) if key in plates}
    told = [f"{name} {_range(values)}" for name, values in known.items() if len(values)]
    return f"; controls apart by {', '.join(told)}" if told else ""


def _range(values: pd.Series[float]) -> str:
    low, high = number(float(values.min())), number(float(values.max()))
    return low if low == high else f"{low} to {high}"


def _left_out(wells: pd.DataFrame) -> str:
    n = int((_excluded(wells) != "").sum())
    return f"{n:,} of {count(len(wells), 'well')} not searched for hits: {_reasons(wells)}." if n else ""


def _excluded(wells: pd.DataFrame) -> pd.Series[str]:
    """Why each well was left out; empty where it was not."""
    if "excluded" not in wells:
        return pd.Series("", index=wells.index)
    return wells["excluded"].where(wells["excluded"].notna(), "").astype(str)


def _reasons(wells: pd.DataFrame) -> str:
    found = _excluded(wells)
    counts = found[found != ""].value_counts()
    return _listed([f"{reason} ({count(int(n), 'well')})" for reason, n in counts.items()], by="; ")


def _listed(names: Sequence[str], *, by: str = ", ") -> str:
    more = len(names) - _NAMED
    return by.join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
