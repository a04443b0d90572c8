"""What a screen found, in sentences: tables in, words out."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from lysoquant.report.wording import count


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
        return f"None of {among} is a hit."
    directions = found["direction"] if "direction" in found else pd.Series(dtype=str)
    said = [f"{n:,} {word}" for word in ("up", "down") if (n := int((directions == word).sum()))]
    return f"{count(len(found), 'hit')} among {among}" + (f": {', '.join(said)}." if said else ".")


def plate_line(plates: pd.DataFrame) -> str:
    """How many plates carry a flag; empty where none was judged."""
    if not len(plates):
        return ""
    flagged = plates[plates["flags"] != ""] if "flags" in plates else plates.head(0)
    if not len(flagged):
        return f"No flag on {count(len(plates), 'plate')}."
    return f"{len(flagged):,} of {count(len(plates), 'plate')} flagged: {', '.join(map(str, flagged['plate']))}."
