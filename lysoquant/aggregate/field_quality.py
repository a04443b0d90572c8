"""Which fields a person should look at, from the numbers that convert took of their raw images.

Judged here and not in convert, so that another threshold costs no pixel and focus can be held against the whole plate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from lysoquant.aggregate.params import AggregateSettings, FieldQualityParams
from lysoquant.vocabulary import FAILED, FLAGGED

MIN_FIELDS: Final = 5
"""Fields of a plate from which on their median says how sharp its images usually are."""

Numbers = Mapping[str, Any]
"""One row of a plate's ``fields.parquet``."""


@dataclass(frozen=True)
class FieldJudge:
    """Limits for the fields of one plate.

    Attributes
    ----------
    roles : dict
        Channel label by role, without roles that the plate lacks.
    usual_focus : float
        Median focus score of the plate's fields in the lysosome channel; NaN where too few fields say it.
    """

    params: FieldQualityParams
    roles: Mapping[str, str]
    usual_focus: float = math.nan

    def reasons(self, field: Numbers) -> list[str]:
        """What speaks against a field: nothing, or reasons that each name value, limit and setting."""
        signals = {role: _number(field, "signal_to_background", label) for role, label in self.roles.items()}
        dim = [role for role, signal in signals.items() if signal < self.params.min_signal_to_background]
        if dim and all(signal < self.params.min_signal_to_background for signal in signals.values()):
            brightest = max(signals.values())
            return [
                *self._saturation(field),
                f"empty field: the best channel has a signal to background of {brightest:.3g}, expected at least "
                f"{self.params.min_signal_to_background:g} (aggregate.field_quality.min_signal_to_background)",
            ]
        # Cargo may rightly be missing: not all cells express it, and those of controls do not.
        weak = [self._weak(role, signals[role]) for role in dim if role != "cargo"]
        return [*self._saturation(field), *weak, *self._focus(field, dim), *self._swap(field, dim)]

    def _saturation(self, field: Numbers) -> list[str]:
        share = field.get("saturated_fraction")
        if share is None or not share > self.params.max_saturated_fraction:
            return []
        return [
            f"{share:.2%} of the pixels of a channel are saturated, expected at most "
            f"{self.params.max_saturated_fraction:.2%} (aggregate.field_quality.max_saturated_fraction); image with "
            "less light or exposure"
        ]

    def _weak(self, role: str, signal: float) -> str:
        return (
            f"{role} channel {self.roles[role]!r} has a signal to background of {signal:.3g}, expected at least "
            f"{self.params.min_signal_to_background:g} (aggregate.field_quality.min_signal_to_background)"
        )

    def _focus(self, field: Numbers, dim: Sequence[str]) -> list[str]:
        if "lysosome" not in self.roles or "lysosome" in dim:
            return []
        score = _number(field, "focus_score", self.roles["lysosome"])
        label, found = self.roles["lysosome"], []
        if score < self.params.min_focus_score:
            found.append(
                f"out of focus: channel {label!r} has a focus score of {score:.3g}, expected at least "
                f"{self.params.min_focus_score:g} (aggregate.field_quality.min_focus_score)"
            )
        if score < self.params.min_relative_focus * self.usual_focus:
            found.append(
                f"out of focus: channel {label!r} has a focus score of {score:.3g}, {score / self.usual_focus:.2g} "
                f"of the plate's median {self.usual_focus:.3g}, expected at least {self.params.min_relative_focus:g} "
                "of it (aggregate.field_quality.min_relative_focus)"
            )
        return found

    def _swap(self, field: Numbers, dim: Sequence[str]) -> list[str]:
        if not {"lysosome", "nucleus"} <= self.roles.keys() or {"lysosome", "nucleus"} & {*dim}:
            return []
        nucleus, lysosome = (_number(field, "detail_fraction", self.roles[role]) for role in ("nucleus", "lysosome"))
        if not nucleus > self.params.swap_detail_ratio * lysosome:
            return []
        return [
            f"channels swapped? the nucleus channel {self.roles['nucleus']!r} has more fine detail ({nucleus:.2g} of "
            f"its variance) than the lysosome channel {self.roles['lysosome']!r} ({lysosome:.2g}), by more than "
            f"{self.params.swap_detail_ratio:g} times (aggregate.field_quality.swap_detail_ratio); see channels"
        ]


def field_judge(fields: Sequence[Numbers], *, settings: AggregateSettings) -> FieldJudge:
    """The judge of a plate.

    Parameters
    ----------
    fields : sequence of mapping
        Rows of all of the plate's fields.
    settings : AggregateSettings
        Limits and channel roles.
    """
    params = settings.params.field_quality
    named = {"lysosome": settings.lysosome, "cargo": settings.cargo, "nucleus": settings.nucleus}
    roles = {role: label for role, label in named.items() if label is not None}
    scores = [
        _number(row, "focus_score", roles["lysosome"])
        for row in fields
        if "lysosome" in roles
        and row["status"] != FAILED
        and _number(row, "signal_to_background", roles["lysosome"]) >= params.min_signal_to_background
    ]
    known = [score for score in scores if not math.isnan(score)]
    return FieldJudge(params, roles, float(np.median(known)) if len(known) >= MIN_FIELDS else math.nan)


def judged(fields: pa.Table, judge: FieldJudge) -> pa.Table:
    """A well's table of fields, those with doubts ``flagged`` and their reasons added; failed ones stay as they are."""
    rows = fields.to_pylist()
    for row in rows:
        reasons = [] if row["status"] == FAILED else judge.reasons(row)
        if reasons:
            row["status"] = FLAGGED
            row["reason"] = "; ".join([*([row["reason"]] if row["reason"] else []), *reasons])
    return pa.Table.from_pylist(rows, schema=fields.schema)


def _number(row: Numbers, kind: str, label: str) -> float:
    """A number of a channel; NaN where the plate or the field has none."""
    value = row.get(f"{kind}_{label}")
    return math.nan if value is None else float(value)
