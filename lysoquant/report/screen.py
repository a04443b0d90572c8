"""What a screen found, in sentences: tables in, words out."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any, Final

import pandas as pd

from lysoquant.report.wording import count, number

SIGNS: Final = {"negative": "−", "positive": "+", "up": "▲", "down": "▼"}
"""Signs of controls and of hits on the plate."""

MOST_REASONS: Final = 24
"""Plates whose reasons stand above the table, which has them all."""


def is_hit(row: Mapping[Hashable, Any]) -> bool:
    """Whether a row of the hit list is a hit."""
    return str(row.get("is_hit")) == "True"


def hit_name(row: Mapping[Hashable, Any]) -> str:
    """A row of the hit list by its condition, or its wells where it has none, and its dose."""
    name = str(row.get("condition", "")) or str(row.get("wells", ""))
    dose = row.get("dose")
    return f"{name}, {dose:g}" if isinstance(dose, int | float) and math.isfinite(dose) else name


def tested(hits: pd.DataFrame) -> pd.DataFrame:
    """Rows of the hit list that were tested: those with a rank. Others say why they were left out."""
    ranks = pd.to_numeric(hits["rank"], errors="coerce") if "rank" in hits else pd.Series(1, index=hits.index)
    return hits[ranks > 0]


def by_bulk(hits: pd.DataFrame) -> bool:
    """Whether p values of the hit list rest on the bulk of the tested conditions, as its reasons say."""
    return "reason" in hits and bool(hits["reason"].astype(str).str.contains(" against the bulk", regex=False).any())


def hit_conditions(hits: pd.DataFrame, wells: pd.DataFrame) -> list[str]:
    """Conditions of the hits, by rank."""
    if not {"is_hit", "wells"} <= set(hits):
        return []
    keys = zip(wells["plate"], wells["well"], wells["condition"], strict=True)
    condition = {f"{plate}:{well}": str(name) for plate, well, name in keys}
    found = hits[hits["is_hit"].astype(str) == "True"]
    ranked = found.sort_values("rank", kind="stable") if "rank" in found else found
    names = [condition.get(key, "") for text in ranked["wells"] for key in str(text).split()]
    return [name for name in dict.fromkeys(names) if name]


def hit_line(hits: pd.DataFrame) -> str:
    """How many of the tested conditions are hits, and in which direction; empty where nothing was tested."""
    if "is_hit" not in hits or not len(hits):
        return ""
    found = hits[hits["is_hit"].astype(str) == "True"]
    if not len(tested(hits)):
        return "No condition could be tested; the list says why."
    among = count(len(tested(hits)), "tested condition")
    if not len(found):
        return f"None of {among} is a hit{_nearest(hits)}."
    directions = found["direction"] if "direction" in found else pd.Series(dtype=str)
    said = [f"{n:,} {word}" for word in ("up", "down") if (n := int((directions == word).sum()))]
    return f"{count(len(found), 'hit')} among {among}" + (f": {', '.join(said)}." if said else ".")


def _nearest(hits: pd.DataFrame) -> str:
    """The condition with the smallest adjusted p, where one has any."""
    known = hits[pd.to_numeric(hits["p_adjusted"], errors="coerce").notna()] if "p_adjusted" in hits else hits.head(0)
    if not len(known):
        return ""
    row = known.sort_values("p_adjusted", kind="stable").iloc[0].to_dict()
    return f"; the smallest adjusted p is {number(float(row['p_adjusted']))}, of {hit_name(row)}"


def plate_line(plates: pd.DataFrame) -> str:
    """How many plates carry a flag; empty where none was judged."""
    if not len(plates):
        return ""
    flagged = plates[plates["flags"] != ""] if "flags" in plates else plates.head(0)
    if not len(flagged):
        return f"No flag on {count(len(plates), 'plate')}."
    return f"{len(flagged):,} of {count(len(plates), 'plate')} flagged: {', '.join(map(str, flagged['plate']))}."


def plate_reasons(plates: pd.DataFrame) -> list[tuple[str, str]]:
    """Flagged plates with what they are flagged for, in the words of the table; at most :data:`MOST_REASONS`."""
    if not {"flags", "reason"} <= set(plates):
        return []
    flagged = plates[plates["flags"] != ""].head(MOST_REASONS)
    return [(str(plate), str(reason)) for plate, reason in zip(flagged["plate"], flagged["reason"], strict=True)]


def hit_words(row: Mapping[Hashable, Any]) -> str:
    """A row of the hit list in a line: name, hit or not, effect with interval, score, adjusted p, wells."""
    parts = [f"{hit_name(row)}: {'hit' if is_hit(row) else 'no hit'}"]
    if is_number(row.get("effect")):
        parts.append(f"effect {number(float(row['effect']))}")
    if is_number(row.get("effect_ci_low")) and is_number(row.get("effect_ci_high")):
        parts[-1] += f" ({number(float(row['effect_ci_low']))} to {number(float(row['effect_ci_high']))})"
    parts += [f"score {number(float(row['score']))}"] if is_number(row.get("score")) else []
    parts += [f"adjusted p {number(float(row['p_adjusted']))}"] if is_number(row.get("p_adjusted")) else []
    parts += [count(int(row["n_wells"]), "well")] if is_number(row.get("n_wells")) else []
    return ", ".join(parts)


def is_number(value: Any) -> bool:
    """Whether a value of a table is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(float(value))


def rows_of_wells(hits: pd.DataFrame) -> dict[str, dict[Hashable, Any]]:
    """The row of the hit list of each well that entered it, by ``plate:well``."""
    rows = hits.to_dict("records") if "wells" in hits else []
    return {key: row for row in rows for key in str(row["wells"] or "").split()}


def sign(row: Mapping[Hashable, Any], hit: Mapping[Hashable, Any]) -> str:
    """Sign of a well on the plate: of a control, or of a hit by its direction; else empty.

    Parameters
    ----------
    row : mapping
        Of the well table.
    hit : mapping
        Its row of the hit list; empty where it has none.
    """
    if row.get("control"):
        return SIGNS.get(str(row["control"]), "")
    return SIGNS.get(str(hit.get("direction")), "") if is_hit(hit) else ""
