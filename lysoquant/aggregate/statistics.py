"""statistics.csv: conditions against each other, replicate by replicate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from lysoquant.aggregate.params import StatisticsParams, Test
from lysoquant.aggregate.replicates import Replicate, replicates
from lysoquant.aggregate.wells import Row
from lysoquant.statistics import beta_binomial, mixed
from lysoquant.statistics.anova import PooledError, one_way, tukey, two_way
from lysoquant.statistics.assumptions import Assumptions, check
from lysoquant.statistics.comparison import Comparison, Floats, Omnibus
from lysoquant.statistics.means import hedges_g, student, welch
from lysoquant.statistics.multiplicity import ADJUSTMENTS, adjust

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
_MOST_IN_PAIRS: Final = 20
"""Conditions up to which Tukey's test takes every pair: beyond, a p value of each of thousands takes minutes."""
_NOTHING: Final[Mapping[type, str | int | float]] = {str: "", int: 0, float: math.nan}
_OCCUPANCY: Final = "occupancy"
"""What the models of cells and of counts compare."""


def statistics_rows(*, wells: Sequence[Row], params: StatisticsParams, confidence: float) -> list[Row]:
    """Every test that is asked for, sorted by plate, test, condition, reference and level.

    Parameters
    ----------
    wells : sequence of dict
        Rows of the well table; conditions with a well of control ``negative`` are the references.
    params : StatisticsParams
        Tests, measurement, unit and adjustment.
    confidence : float
        Confidence of the intervals, between 0 and 1.

    Returns
    -------
    list of dict
        Keys of :data:`STATISTICS_COLUMNS`. A test over all conditions has a row without condition and reference. What
        too few replicates can't give is NaN, with the reason in `note`. No comparison without a negative control.

    Raises
    ------
    ConfigError
        If the measurement or the second factor is not in the well table, or log odds are asked of what is no fraction.
    """
    found = replicates(wells=wells, params=params) if params.tests else []
    controls = {(row["plate"], row["condition"]) for row in wells if row["control"] == "negative"}
    rows: list[Row] = []
    for plate in sorted({one.plate for one in found}) if params.over == "plate" else [""]:
        members = [one for one in found if plate in ("", one.plate)]
        negative = {str(condition) for on, condition in controls if plate in ("", on)} - {""}
        trial = _Trial(plate, tuple(members), tuple(sorted(negative)), params, confidence)
        for test in params.tests:
            rows += trial.rows(test)
    return rows


@dataclass(frozen=True)
class _Checked:
    """Assumption checks and which of them the test rests on."""

    found: Assumptions
    normal: bool = True
    equal_variances: bool = True

    @property
    def flags(self) -> list[str]:
        raised = {
            "not_normal": self.normal and self.found.normality_p < _DOUBTFUL,
            "unequal_variances": self.equal_variances and self.found.equal_variance_p < _DOUBTFUL,
        }
        return [name for name, holds in raised.items() if holds]


@dataclass(frozen=True)
class _Trial:
    """Replicates that are compared with each other: of all plates, or of one."""

    plate: str
    members: tuple[Replicate, ...]
    references: tuple[str, ...]
    params: StatisticsParams
    confidence: float

    def rows(self, test: Test) -> list[Row]:
        """All rows of one test, omnibus rows first."""
        tests: Mapping[Test, Callable[[], list[Row]]] = {
            "welch": self._welch,
            "t": self._student,
            "anova_tukey": self._anova_tukey,
            "two_way_sidak": self._two_way_sidak,
            "mixed": self._mixed,
            "beta_binomial": self._beta_binomial,
        }
        rows = tests[test]()
        if not rows and self.plate:
            rows = [self._row("", "", test=test, note="no condition to compare with a negative control of this plate")]
        return sorted(rows, key=lambda row: (row["reference"] != "", row["condition"], row["reference"], row["level"]))

    def _welch(self) -> list[Row]:
        return self._t_tests("Welch t", welch, equal_variances=False)

    def _student(self) -> list[Row]:
        return self._t_tests("Student t", student, equal_variances=True)

    def _t_tests(self, name: str, test: Callable[..., Comparison], *, equal_variances: bool) -> list[Row]:
        values = self._values(lambda one: one.value)
        rows = []
        for condition, reference in self._pairs():
            a, b = values[condition], values[reference]
            checked = _Checked(check([a, b]), equal_variances=equal_variances)
            found = test(a, b, confidence=self.confidence)
            rows.append(self._compared(condition, reference, a, b, found, test=f"{name} {self._on}", checked=checked))
        return self._adjusted(rows)

    def _anova_tukey(self) -> list[Row]:
        values = self._values(lambda one: one.value)
        names = list(values)
        checked = _Checked(check(list(values.values())))
        pairs = [
            (b, a) if a in self.references and b not in self.references else (a, b) for a, b in combinations(names, 2)
        ]
        note = ""
        if len(names) > _MOST_IN_PAIRS:
            pairs = [pair for pair in pairs if set(pair) & set(self.references)]
            note = f"more than {_MOST_IN_PAIRS} conditions: of all pairs only those with a control are told"
        n_known = sum(a.size > 0 for a in values.values())
        if len(names) < 2:
            return []
        omnibus = self._omnibus(
            one_way(list(values.values())),
            test=f"one-way ANOVA {self._on}",
            factor="condition",
            groups=list(values.values()),
            checked=checked,
            note=note,
        )
        numbers = [(names.index(a), names.index(b)) for a, b in pairs]
        rows = [omnibus]
        results = tukey(list(values.values()), pairs=numbers, confidence=self.confidence)
        for (a, b), (found, p_adjusted) in zip(pairs, results, strict=True):
            row = self._compared(a, b, values[a], values[b], found, test=f"Tukey HSD {self._on}", checked=checked)
            rows.append(
                row | {"p_adjusted": p_adjusted, "adjustment": "Tukey", "n_family": n_known * (n_known - 1) // 2}
            )
        return rows

    def _two_way_sidak(self) -> list[Row]:
        factor = self.params.second_factor
        known = [one for one in self.members if math.isfinite(one.value) and one.level]
        left_out = sum(not one.level for one in self.members)
        note = f"{left_out} without {factor} left out" if left_out else ""
        by_cell: dict[tuple[str, str], list[float]] = {}
        for one in known:
            by_cell.setdefault((one.condition, one.level), []).append(one.value)
        cells = {key: np.array(values) for key, values in by_cell.items()}
        checked = _Checked(check(list(cells.values())))
        tested = two_way(
            np.array([one.value for one in known]),
            first=[one.condition for one in known],
            second=[one.level for one in known],
        )
        effects = {"first": "condition", "second": factor, "interaction": f"condition x {factor}"}
        rows = [
            self._omnibus(
                tested[name],
                test=f"two-way ANOVA {self._on}",
                factor=effect,
                groups=list(cells.values()),
                checked=checked,
                note=note,
            )
            for name, effect in effects.items()
        ]
        error = PooledError.of(list(cells.values()))
        nothing = np.zeros(0)
        for reference in self.references:
            family = [
                (condition, level)
                for condition, level in sorted(cells)
                if condition not in self.references and (reference, level) in cells
            ]
            for condition, level in sorted(key for key in cells if key[0] not in self.references):
                a, b = cells[condition, level], cells.get((reference, level), nothing)
                # Intervals hold at once as the p values do: each at the n-th root of the confidence.
                each = self.confidence ** (1 / max(len(family), 1))
                found = error.compare(a, b, confidence=each)
                row = self._compared(
                    condition,
                    reference,
                    a,
                    b,
                    found,
                    test=f"Sidak after two-way ANOVA {self._on}",
                    checked=checked,
                    level=level,
                )
                rows.append(row)
        done = []
        for reference in ("", *self.references):
            own = [row for row in rows if row["reference"] == reference]
            done += self._adjusted(own, method="sidak") if reference else own
        return done

    def _mixed(self) -> list[Row]:
        known = [one for one in self.members if one.n_cells]
        names = sorted({one.condition for one in known})
        plates = sorted({one.plate for one in known})
        values = self._values(lambda one: one.cell_mean)
        name = f"linear mixed model of {'cell logits' if self._logit else 'cells'} in {self.params.unit}s"
        checked = _Checked(check(list(values.values())))
        model = None
        if known:
            model = mixed.fit(
                mixed.Wells(
                    condition=np.array([names.index(one.condition) for one in known]),
                    plate=np.array([plates.index(one.plate) for one in known]),
                    n_cells=np.array([one.n_cells for one in known]),
                    mean=np.array([one.cell_mean for one in known]),
                    squares=np.array([one.cell_squares for one in known]),
                )
            )
        told = []
        if model is not None and len(plates) > 1 and not model.reason and not model.variance_plate:
            told.append("the variance between plates is estimated as 0")
        rows = []
        for condition, reference in self._pairs():
            found = Comparison.undefined("no cell with an occupancy on one side")
            if model is not None and {condition, reference} <= set(names):
                found = model.compare(names.index(condition), names.index(reference), confidence=self.confidence)
            rows.append(
                self._compared(
                    condition,
                    reference,
                    values[condition],
                    values[reference],
                    found,
                    test=name,
                    checked=checked,
                    measurement=_OCCUPANCY,
                    told=told,
                )
            )
        return self._adjusted(rows)

    def _beta_binomial(self) -> list[Row]:
        known = [one for one in self.members if one.n_endolysosomes]
        names = sorted({one.condition for one in known})
        values = self._values(lambda one: one.pooled)
        name = f"beta-binomial model of {self.params.unit} counts"
        model = None
        residuals: list[Floats] = []
        told = []
        if known:
            model = beta_binomial.fit(
                loaded=np.array([one.n_loaded for one in known]),
                total=np.array([one.n_endolysosomes for one in known]),
                condition=np.array([names.index(one.condition) for one in known]),
            )
            if not model.reason:
                each = [model.residuals(number) for number in range(len(names))]
                residuals = [one for one in each if np.isfinite(one).all()]
            if not model.reason and model.is_binomial:
                told.append(f"the {self.params.unit}s vary by no more than chance: no overdispersion")
        checked = _Checked(check(residuals), normal=False)
        rows = []
        for condition, reference in self._pairs():
            found = Comparison.undefined("no endolysosome on one side")
            if model is not None and {condition, reference} <= set(names):
                found = model.compare(
                    names.index(condition), names.index(reference), confidence=self.confidence, on_logit=self._logit
                )
            rows.append(
                self._compared(
                    condition,
                    reference,
                    values[condition],
                    values[reference],
                    found,
                    test=name,
                    checked=checked,
                    measurement=_OCCUPANCY,
                    told=told,
                )
            )
        return self._adjusted(rows)

    @property
    def _logit(self) -> bool:
        return self.params.scale == "logit"

    @property
    def _on(self) -> str:
        return f"on {'logits of ' if self._logit else ''}{self.params.unit} means"

    def _values(self, value: Callable[[Replicate], float]) -> dict[str, Floats]:
        """Known values of each condition, conditions in order."""
        names = sorted({one.condition for one in self.members})
        found = {name: np.array([value(one) for one in self.members if one.condition == name]) for name in names}
        return {name: values[np.isfinite(values)] for name, values in found.items()}

    def _pairs(self) -> Iterator[tuple[str, str]]:
        """Every other condition with each negative control."""
        for condition in sorted({one.condition for one in self.members} - set(self.references)):
            for reference in self.references:
                yield condition, reference

    def _row(self, condition: str, reference: str, *, test: str, note: str = "") -> Row:
        """A row of which nothing is known yet."""
        nothing: Row = {name: _NOTHING[kind] for name, kind in STATISTICS_COLUMNS.items()}
        about = {"plate": self.plate, "scale": self.params.scale, "unit": self.params.unit}
        return {
            **nothing,
            **about,
            "condition": condition,
            "reference": reference,
            "test": test,
            "note": note,
            "measurement": self.params.measurement,
        }

    def _compared(
        self,
        condition: str,
        reference: str,
        a: Floats,
        b: Floats,
        found: Comparison,
        *,
        test: str,
        checked: _Checked,
        level: str = "",
        measurement: str = "",
        told: Sequence[str] = (),
    ) -> Row:
        """Row of a comparison of replicates with values `a` and `b`."""
        few = ["few_replicates"] if min(a.size, b.size) < _FEW else []
        numbers = {name: value for name, value in vars(found).items() if name != "reason"}
        return {
            **self._row(condition, reference, test=test),
            **numbers,
            **_checks(checked),
            "n_condition": a.size,
            "n_reference": b.size,
            "factor": self.params.second_factor if level else "",
            "level": level,
            "measurement": measurement or self.params.measurement,
            "n_cells_condition": self._n_cells(condition, level),
            "n_cells_reference": self._n_cells(reference, level),
            "hedges_g": hedges_g(a, b),
            "flags": ";".join([*checked.flags, *few]),
            "note": "; ".join(
                dict.fromkeys([*([found.reason] if found.reason else []), *told, *checked.found.reasons])
            ),
        }

    def _omnibus(
        self,
        found: Omnibus,
        *,
        test: str,
        factor: str,
        groups: Sequence[Floats],
        checked: _Checked,
        note: str,
    ) -> Row:
        few = ["few_replicates"] if any(0 < of_group.size < _FEW for of_group in groups) else []
        told = [found.reason, note, *checked.found.reasons]
        return {
            **self._row("", "", test=test),
            **_checks(checked),
            "statistic": found.statistic,
            "df": found.df,
            "df_denominator": found.df_denominator,
            "p_value": found.p_value,
            "p_adjusted": found.p_value,
            "adjustment": ADJUSTMENTS["none"],
            "n_family": int(math.isfinite(found.p_value)),
            "n_condition": sum(of_group.size for of_group in groups),
            "n_cells_condition": sum(one.n_cells for one in self.members),
            "factor": factor,
            "flags": ";".join([*checked.flags, *few]),
            "note": "; ".join(dict.fromkeys(reason for reason in told if reason)),
        }

    def _n_cells(self, condition: str, level: str) -> int:
        return sum(one.n_cells for one in self.members if one.condition == condition and level in ("", one.level))

    def _adjusted(self, rows: Sequence[Row], *, method: str = "") -> list[Row]:
        """The rows, which are one family, with their adjusted p values."""
        chosen = "sidak" if method == "sidak" else self.params.adjust
        p_values = np.array([row["p_value"] for row in rows], dtype=np.float64)
        about: Row = {"adjustment": ADJUSTMENTS[chosen], "n_family": int(np.isfinite(p_values).sum())}
        adjusted = adjust(p_values, method=chosen)
        return [row | about | {"p_adjusted": float(p)} for row, p in zip(rows, adjusted, strict=True)]


def _checks(checked: _Checked) -> Row:
    return {
        "n_checked": checked.found.n,
        "normality_p": checked.found.normality_p,
        "equal_variance_p": checked.found.equal_variance_p,
    }
