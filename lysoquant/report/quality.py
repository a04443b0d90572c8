"""What went wrong and where: tables in, sentences and rows out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from lysoquant.report.content import Tables
from lysoquant.report.wording import count, flag_words, listing
from lysoquant.vocabulary import FAILED, FIELD_STATUSES, FLAGGED, OK


@dataclass(frozen=True)
class FieldProblem:
    """A reason, and the fields that it befell."""

    status: str
    plate: str
    reason: str
    n_fields: int
    where: str


@dataclass(frozen=True)
class Quality:
    """What went wrong and where."""

    summary: str
    fields: Sequence[FieldProblem] = ()
    wells: Sequence[tuple[str, str, str, str]] = field(default=())


def quality(tables: Tables) -> Quality:
    """Failed and flagged fields by reason, and flagged wells with theirs: plate, well, flags, reason."""
    fields = tables.fields
    bad = fields[fields["status"] != OK]
    problems = [
        FieldProblem(str(status), str(plate), str(reason), len(group), _places(group))
        for (status, plate, reason), group in bad.groupby(["status", "plate", "reason"], sort=True)
    ]
    problems.sort(key=lambda problem: (-FIELD_STATUSES.index(problem.status), problem.plate, -problem.n_fields))
    flagged = tables.wells[tables.wells["flags"] != ""]
    wells = [
        (str(row["plate"]), str(row["well"]), flag_words(str(row["flags"])), str(row.get("reason", "")))
        for row in flagged.to_dict("records")
    ]
    return Quality(_quality_summary(fields, len(wells)), problems, wells)


def _quality_summary(fields: pd.DataFrame, n_wells: int) -> str:
    if not len(fields):
        return "No field was measured."
    numbers = {status: int((fields["status"] == status).sum()) for status in FIELD_STATUSES}
    if numbers[OK] == len(fields) and not n_wells:
        return f"All {count(len(fields), 'field')} passed and no well is flagged."
    verbs = {OK: "passed", FLAGGED: "flagged", FAILED: "failed"}
    said = listing([f"{n:,} {verbs[status]}" for status, n in numbers.items() if n])
    wells = f"; {count(n_wells, 'well is', 'wells are')} flagged" if n_wells else "; no well is flagged"
    return f"Of {count(len(fields), 'field')}, {said}{wells}."


def _places(fields: pd.DataFrame) -> str:
    return "; ".join(
        f"{well} field {', '.join(str(number) for number in group['field'])}"
        for well, group in fields.groupby("well", sort=True)
    )
