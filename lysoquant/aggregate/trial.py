"""Rows of statistics.csv: replicates that are compared with each other, and what is told of each comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lysoquant.aggregate.params import StatisticsParams
from lysoquant.aggregate.replicates import Replicate
from lysoquant.aggregate.wells import Row
from lysoquant.statistics.assumptions import Assumptions
from lysoquant.statistics.comparison import Comparison, Floats, Omnibus
from lysoquant.statistics.means import hedges_g
from lysoquant.statistics.multiplicity import ADJUSTMENTS, Adjustment, adjust

STATISTICS_COLUMNS: Final[Mapping[str, type]] = {
    "condition": str,
    "reference": str,
    "test": str,
    "n_condition": int,
    "n_reference": int,
    "difference": float,
    "ci_low": float,
    "ci_high": float,
    "statistic": float,
    "df": float,
    "p_value": float,
    "p_adjusted": float,
    "plate": str,
    "factor": str,
    "level": str,
    "measurement": str,
    "scale": str,
    "unit": str,
    "n_cells_condition": int,
    "n_cells_reference": int,
    "df_denominator": float,
    "hedges_g": float,
    "n_checked": int,
    "normality_p": float,
    "equal_variance_p": float,
    "adjustment": str,
    "n_family": int,
    "flags": str,
    "note": str,
}

_DOUBTFUL: Final = 0.05
"""An assumption whose check gives a smaller p is flagged."""
_FEW: Final = 3
_NOTHING: Final[Mapping[type, str | int | float]] = {str: "", int: 0, float: math.nan}


@dataclass(frozen=True)
class Checked:
    """Assumption checks, and which of the assumptions the test makes.

    Attributes
    ----------
    found : Assumptions
    normal, equal_variances : bool
    """

    found: Assumptions
    normal: bool = True
    equal_variances: bool = True

    @property
    def flags(self) -> list[str]:
        """Assumptions that the test makes and that do not seem to hold."""
        raised = {
            "not_normal": self.normal and self.found.normality_p < _DOUBTFUL,
            "unequal_variances": self.equal_variances and self.found.equal_variance_p < _DOUBTFUL,
        }
        return [name for name, holds in raised.items() if holds]

    @property
    def numbers(self) -> Row:
        """Columns of the checks."""
        return {
            "n_checked": self.found.n,
            "normality_p": self.found.normality_p,
            "equal_variance_p": self.found.equal_variance_p,
        }


@dataclass(frozen=True)
class Trial:
    """Replicates that are compared with each other.

    Attributes
    ----------
    plate : str
        Empty where they are of all plates.
    members : tuple of Replicate
    references : tuple of str
        Negative controls, sorted.
    params : StatisticsParams
    confidence : float
        Of the intervals, between 0 and 1.
    """

    plate: str
    members: tuple[Replicate, ...]
    references: tuple[str, ...]
    params: StatisticsParams
    confidence: float

    @property
    def on_logit(self) -> bool:
        """Whether values are log odds."""
        return self.params.scale == "logit"

    @property
    def on(self) -> str:
        """What the tests of means are on, for the name of the test."""
        return f"on {'logits of ' if self.on_logit else ''}{self.params.unit} means"

    def values(self, value: Callable[[Replicate], float]) -> dict[str, Floats]:
        """Known values of each condition, conditions in order."""
        names = sorted({one.condition for one in self.members})
        found = {name: np.array([value(one) for one in self.members if one.condition == name]) for name in names}
        return {name: values[np.isfinite(values)] for name, values in found.items()}

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every other condition with each negative control."""
        for condition in sorted({one.condition for one in self.members} - set(self.references)):
            for reference in self.references:
                yield condition, reference

    def row(self, condition: str, reference: str, *, test: str, note: str = "") -> Row:
        """A row of which nothing is known yet."""
        return {name: _NOTHING[kind] for name, kind in STATISTICS_COLUMNS.items()} | {
            "condition": condition,
            "reference": reference,
            "test": test,
            "plate": self.plate,
            "measurement": self.params.measurement,
            "scale": self.params.scale,
            "unit": self.params.unit,
            "note": note,
        }

    def compared(
        self,
        pair: tuple[str, str],
        groups: tuple[Floats, Floats],
        found: Comparison,
        *,
        test: str,
        checked: Checked,
        level: str = "",
        measurement: str = "",
        told: Sequence[str] = (),
    ) -> Row:
        """Row of a comparison of two conditions.

        Parameters
        ----------
        pair : (str, str)
            Condition and reference.
        groups : (ndarray, ndarray)
            Known values of their replicates.
        level : str
            Of the second factor, where only its replicates are compared.
        measurement : str
            Where it is not that of the settings.
        told : sequence of str
            For the note, besides the reasons.
        """
        a, b = groups
        few = ["few_replicates"] if min(a.size, b.size) < _FEW else []
        numbers = {name: value for name, value in vars(found).items() if name != "reason"}
        return (
            self.row(*pair, test=test, note=_joined([found.reason, *told, *checked.found.reasons]))
            | numbers
            | checked.numbers
            | {
                "n_condition": a.size,
                "n_reference": b.size,
                "factor": self.params.second_factor if level else "",
                "level": level,
                "measurement": measurement or self.params.measurement,
                "n_cells_condition": self._n_cells(pair[0], level),
                "n_cells_reference": self._n_cells(pair[1], level),
                "hedges_g": hedges_g(a, b),
                "flags": ";".join([*checked.flags, *few]),
            }
        )

    def omnibus(
        self, found: Omnibus, *, test: str, factor: str, groups: Sequence[Floats], checked: Checked, note: str
    ) -> Row:
        """Row of a test over all conditions: without condition and reference, its n all replicates."""
        few = ["few_replicates"] if any(0 < values.size < _FEW for values in groups) else []
        return (
            self.row("", "", test=test, note=_joined([found.reason, note, *checked.found.reasons]))
            | checked.numbers
            | {
                "statistic": found.statistic,
                "df": found.df,
                "df_denominator": found.df_denominator,
                "p_value": found.p_value,
                "p_adjusted": found.p_value,
                "adjustment": ADJUSTMENTS["none"],
                "n_family": int(math.isfinite(found.p_value)),
                "n_condition": sum(values.size for values in groups),
                "n_cells_condition": sum(one.n_cells for one in self.members),
                "factor": factor,
                "flags": ";".join([*checked.flags, *few]),
            }
        )

    def _n_cells(self, condition: str, level: str) -> int:
        return sum(one.n_cells for one in self.members if one.condition == condition and level in ("", one.level))


def adjusted(rows: Sequence[Row], *, method: Adjustment) -> list[Row]:
    """The rows, which are one family of tests, with their adjusted p values."""
    p_values = np.array([row["p_value"] for row in rows], dtype=np.float64)
    about: Row = {"adjustment": ADJUSTMENTS[method], "n_family": int(np.isfinite(p_values).sum())}
    found = adjust(p_values, method=method)
    return [row | about | {"p_adjusted": float(p)} for row, p in zip(rows, found, strict=True)]


def _joined(notes: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(note for note in notes if note))
