"""What a screen found, in sentences: tables in, words out."""

from __future__ import annotations

import pandas as pd

from lysoquant.report.wording import count


def hit_line(hits: pd.DataFrame) -> str:
    """How many of the tested conditions are hits, and in which direction; empty where nothing was tested."""
    if "is_hit" not in hits or not len(hits):
        return ""
    found = hits[hits["is_hit"].astype(str) == "True"]
    tested = f"{count(len(hits), 'tested condition')}"
    if not len(found):
        return f"None of {tested} is a hit."
    directions = found["direction"] if "direction" in found else pd.Series(dtype=str)
    said = [f"{n:,} {word}" for word in ("up", "down") if (n := int((directions == word).sum()))]
    return f"{count(len(found), 'hit')} among {tested}" + (f": {', '.join(said)}." if said else ".")


def plate_line(plates: pd.DataFrame) -> str:
    """How many plates carry a flag; empty where none was judged."""
    if not len(plates):
        return ""
    flagged = plates[plates["flags"] != ""] if "flags" in plates else plates.head(0)
    if not len(flagged):
        return f"No flag on {count(len(plates), 'plate')}."
    return f"{len(flagged):,} of {count(len(plates), 'plate')} flagged: {', '.join(map(str, flagged['plate']))}."
