"""statistics.csv: conditions against each other, replicate by replicate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np

from lysoquant.aggregate.params import StatisticsParams, Test
from lysoquant.aggregate.replicates import replicates
from lysoquant.aggregate.trial import Checked, Trial, adjusted
from lysoquant.aggregate.wells import Row
from lysoquant.statistics import beta_binomial, mixed
from lysoquant.statistics.anova import PooledError, one_way, tukey, two_way
from lysoquant.statistics.assumptions import check
from lysoquant.statistics.comparison import Comparison, Floats
from lysoquant.statistics.means import student, welch

_MOST_IN_PAIRS: Final = 20
"""Conditions up to which Tukey's test takes every pair: beyond, a p value of each of thousands takes minutes."""
_OCCUPANCY: Final = "occupancy"
"""What the models of cells and of counts compare, whatever the measurement."""


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
        Keys of :data:`lysoquant.aggregate.trial.STATISTICS_COLUMNS`. A test over all conditions has a row without
        condition and reference. What too few replicates can't give is NaN, with the reason in `note`. No comparison
        without a negative control, except of all pairs.

    Raises
    ------
    ConfigError
        If the measurement or the second factor is not in the well table, or log odds are asked of what is no fraction.
    """
    found = replicates(wells=wells, params=params) if params.tests else []
    controls = {(row["plate"], row["condition"]) for row in wells if row["control"] == "negative"}
    rows: list[Row] = []
    for plate in sorted({one.plate for one in found}) if params.over == "plate" else [""]:
        members = tuple(one for one in found if plate in ("", one.plate))
        negative = {str(condition) for on, condition in controls if plate in ("", on)} - {""}
        trial = Trial(plate, members, tuple(sorted(negative)), params, confidence)
        for test in params.tests:
            rows += _rows(trial, test)
    return rows


def _rows(trial: Trial, test: Test) -> list[Row]:
    """All rows of one test, those over all conditions first."""
    rows = _TESTS[test](trial)
    if not rows and trial.plate:
        rows = [
            trial.row("", "", test=_name(trial, test), note="nothing to compare: no negative control on this plate")
        ]
    return sorted(rows, key=lambda row: (row["reference"] != "", row["condition"], row["reference"], row["level"]))


def _name(trial: Trial, test: Test) -> str:
    """What the table calls the comparisons of a test."""
    unit = trial.params.unit
    return {
        "welch": f"Welch t {trial.on}",
        "t": f"Student t {trial.on}",
        "anova_tukey": f"Tukey HSD {trial.on}",
        "two_way_sidak": f"Sidak after two-way ANOVA {trial.on}",
        "mixed": f"linear mixed model of {'cell logits' if trial.on_logit else 'cells'} in {unit}s",
        "beta_binomial": f"beta-binomial model of {unit} counts",
    }[test]


def _welch(trial: Trial) -> list[Row]:
    return _t_tests(trial, "welch", welch, equal_variances=False)


def _student(trial: Trial) -> list[Row]:
    return _t_tests(trial, "t", student, equal_variances=True)


def _t_tests(trial: Trial, test: Test, compare: Callable[..., Comparison], *, equal_variances: bool) -> list[Row]:
    values = trial.values(lambda one: one.value)
    rows = []
    for pair in trial.pairs():
        groups = values[pair[0]], values[pair[1]]
        checked = Checked(check(groups), equal_variances=equal_variances)
        found = compare(*groups, confidence=trial.confidence)
        rows.append(trial.compared(pair, groups, found, test=_name(trial, test), checked=checked))
    return adjusted(rows, method=trial.params.adjust)


def _anova_tukey(trial: Trial) -> list[Row]:
    values = trial.values(lambda one: one.value)
    names, groups = list(values), list(values.values())
    if len(names) < 2:
        return []
    controls = set(trial.references)
    # A control is the second of its pairs, so that differences have the sign of the other tests.
    pairs = [(b, a) if a in controls and b not in controls else (a, b) for a, b in combinations(names, 2)]
    note = ""
    if len(names) > _MOST_IN_PAIRS:
        pairs = [pair for pair in pairs if controls & set(pair)]
        note = f"more than {_MOST_IN_PAIRS} conditions: of all pairs only those with a control are told"
    checked = Checked(check(groups))
    anova = f"one-way ANOVA {trial.on}"
    rows = [trial.omnibus(one_way(groups), test=anova, factor="condition", groups=groups, checked=checked, note=note)]
    numbers = [(names.index(a), names.index(b)) for a, b in pairs]
    n_known = sum(of_one.size > 0 for of_one in groups)
    about: Row = {"adjustment": "Tukey", "n_family": n_known * (n_known - 1) // 2}
    results = tukey(groups, pairs=numbers, confidence=trial.confidence)
    for pair, (found, p_adjusted) in zip(pairs, results, strict=True):
        both = values[pair[0]], values[pair[1]]
        row = trial.compared(pair, both, found, test=_name(trial, "anova_tukey"), checked=checked)
        rows.append(row | about | {"p_adjusted": p_adjusted})
    return rows


def _two_way_sidak(trial: Trial) -> list[Row]:
    factor = trial.params.second_factor
    known = [one for one in trial.members if math.isfinite(one.value) and one.level]
    if not known:
        return []
    left_out = sum(not one.level for one in trial.members)
    note = f"{left_out} without {factor} left out" if left_out else ""
    listed: dict[tuple[str, str], list[float]] = {}
    for one in known:
        listed.setdefault((one.condition, one.level), []).append(one.value)
    cells = {key: np.array(values) for key, values in sorted(listed.items())}
    groups = list(cells.values())
    checked = Checked(check(groups))
    tested = two_way(
        np.array([one.value for one in known]),
        first=[one.condition for one in known],
        second=[one.level for one in known],
    )
    effects = {"first": "condition", "second": factor, "interaction": f"condition x {factor}"}
    anova = f"two-way ANOVA {trial.on}"
    rows = [
        trial.omnibus(tested[name], test=anova, factor=effect, groups=groups, checked=checked, note=note)
        for name, effect in effects.items()
    ]
    error = PooledError.of(groups)
    compared = [key for key in cells if key[0] not in trial.references]
    for reference in trial.references:
        n_compared = sum((reference, level) in cells for _, level in compared)
        # Intervals hold at once as the p values do: each has the n-th root of the confidence.
        each = trial.confidence ** (1 / max(n_compared, 1))
        family = []
        for condition, level in compared:
            both = cells[condition, level], cells.get((reference, level), np.zeros(0))
            family.append(
                trial.compared(
                    (condition, reference),
                    both,
                    error.compare(*both, confidence=each),
                    test=_name(trial, "two_way_sidak"),
                    checked=checked,
                    level=level,
                )
            )
        rows += adjusted(family, method="sidak")
    return rows


def _mixed(trial: Trial) -> list[Row]:
    known = [one for one in trial.members if one.n_cells]
    names, plates = sorted({one.condition for one in known}), sorted({one.plate for one in known})
    model, told = None, []
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
        if len(plates) > 1 and not model.reason and model.variance_plate == 0:
            told.append("the variance between plates is estimated as 0")
    values = trial.values(lambda one: one.cell_mean)
    checked = Checked(check(list(values.values())))
    rows = []
    for pair in trial.pairs():
        found = Comparison.undefined("no cell with an occupancy on one side")
        if model is not None and set(pair) <= set(names):
            found = model.compare(names.index(pair[0]), names.index(pair[1]), confidence=trial.confidence)
        rows.append(
            trial.compared(
                pair,
                (values[pair[0]], values[pair[1]]),
                found,
                test=_name(trial, "mixed"),
                checked=checked,
                measurement=_OCCUPANCY,
                told=told,
            )
        )
    return adjusted(rows, method=trial.params.adjust)


def _beta_binomial(trial: Trial) -> list[Row]:
    known = [one for one in trial.members if one.n_endolysosomes]
    names = sorted({one.condition for one in known})
    residuals: list[Floats] = []
    model, told = None, []
    if known:
        model = beta_binomial.fit(
            loaded=np.array([one.n_loaded for one in known]),
            total=np.array([one.n_endolysosomes for one in known]),
            condition=np.array([names.index(one.condition) for one in known]),
        )
        if not model.reason:
            each = [model.residuals(number) for number in range(len(names))]
            residuals = [one for one in each if np.isfinite(one).all()]
            if model.is_binomial:
                told.append(f"the {trial.params.unit}s vary by no more than chance: no overdispersion")
    # Equal overdispersion is taken for granted, a normal distribution is not.
    checked = Checked(check(residuals), normal=False)
    values = trial.values(lambda one: one.pooled)
    pairs = list(trial.pairs())
    found = dict.fromkeys(pairs, Comparison.undefined("no endolysosome on one side"))
    if model is not None:
        counted = [pair for pair in pairs if set(pair) <= set(names)]
        numbers = [(names.index(a), names.index(b)) for a, b in counted]
        compared = model.compare(numbers, confidence=trial.confidence, on_logit=trial.on_logit)
        found |= dict(zip(counted, compared, strict=True))
    rows = [
        trial.compared(
            pair,
            (values[pair[0]], values[pair[1]]),
            found[pair],
            test=_name(trial, "beta_binomial"),
            checked=checked,
            measurement=_OCCUPANCY,
            told=told,
        )
        for pair in pairs
    ]
    return adjusted(rows, method=trial.params.adjust)


_TESTS: Final[Mapping[Test, Callable[[Trial], list[Row]]]] = {
    "welch": _welch,
    "t": _student,
    "anova_tukey": _anova_tukey,
    "two_way_sidak": _two_way_sidak,
    "mixed": _mixed,
    "beta_binomial": _beta_binomial,
}
