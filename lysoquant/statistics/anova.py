"""Analysis of variance with one and two factors, and the comparisons that follow it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from scipy.stats import f_oneway, studentized_range

from lysoquant.statistics.comparison import Comparison, Floats, Groups, Omnibus, has_spread
from lysoquant.statistics.means import by_t

_MOST_CELLS: Final = 1000
"""Combinations of levels above which a two-way analysis would take minutes."""


@dataclass(frozen=True)
class PooledError:
    """Spread within groups, taken for the same in all of them.

    Attributes
    ----------
    mean_square : float
        Its variance.
    df : int
        Degrees of freedom.
    """

    mean_square: float
    df: int

    @classmethod
    def of(cls, groups: Groups) -> PooledError:
        """Of groups of values; the mean square is NaN where no group has two values."""
        df = sum(values.size - 1 for values in groups if values.size)
        squares = sum(float(((values - values.mean()) ** 2).sum()) for values in groups if values.size)
        if not has_spread(groups):
            squares = 0.0
        return cls(squares / df if df else math.nan, df)

    def compare(self, a: Floats, b: Floats, *, confidence: float) -> Comparison:
        """Difference of two groups' means by a t test with this error.

        Returns
        -------
        Comparison
            With the interval of this one difference and its p value, neither adjusted (Fisher's least significant
            difference).
        """
        if not a.size or not b.size:
            return Comparison.undefined("no value on one side")
        difference = float(a.mean() - b.mean())
        if not self.df or self.mean_square == 0:
            return Comparison.undefined("no spread within any group", difference=difference)
        return by_t(difference, error=self.of_difference(a, b), df=float(self.df), confidence=confidence)

    def of_difference(self, a: Floats, b: Floats) -> float:
        """Standard error of the difference of two groups' means; NaN where one is empty."""
        return math.sqrt(self.mean_square * (1 / a.size + 1 / b.size)) if a.size and b.size else math.nan


def one_way(groups: Groups) -> Omnibus:
    """Ordinary one-way analysis of variance.

    Parameters
    ----------
    groups : sequence of ndarray of float64, shape (n_i,)
        Values of each group; empty groups do not count.

    Returns
    -------
    Omnibus
        NaN with fewer than two groups or where no group has two different values.
    """
    known = [values for values in groups if values.size]
    if len(known) < 2:
        return Omnibus.undefined("fewer than two groups")
    error = PooledError.of(known)
    if not error.df or error.mean_square == 0:
        return Omnibus.undefined("no spread within any group")
    found = f_oneway(*known)
    return Omnibus(float(found.statistic), float(len(known) - 1), float(error.df), float(found.pvalue))


def tukey(groups: Groups, *, pairs: Sequence[tuple[int, int]], confidence: float) -> list[tuple[Comparison, float]]:
    """Tukey's honestly significant differences; Tukey and Kramer's where groups differ in size.

    Parameters
    ----------
    groups : sequence of ndarray of float64, shape (n_i,)
        Values of each group; empty groups do not count among the means.
    pairs : sequence of (int, int)
        Which groups to compare, first minus second; the p values are for all pairs of groups whichever are asked for.
    confidence : float
        That all intervals hold at once.

    Returns
    -------
    list of (Comparison, float)
        By pair the comparison (simultaneous interval; t and p of the pair alone; GraphPad Prism's q is
        ``sqrt(2) t``) and Tukey's p value.

    References
    ----------
    Kramer CY (1956) Extension of multiple range tests to group means with unequal numbers of replications.
    Biometrics 12:307-310. doi:10.2307/3001469
    """
    n_groups = sum(values.size > 0 for values in groups)
    error = PooledError.of(groups)
    alone = [error.compare(groups[i], groups[j], confidence=confidence) for i, j in pairs]
    if n_groups < 2 or not alone or not error.df or error.mean_square == 0:
        return [(found, math.nan) for found in alone]
    q = math.sqrt(2) * np.abs([found.statistic for found in alone])
    p_values = np.full(q.shape, np.nan)
    known = np.isfinite(q)
    p_values[known] = studentized_range.sf(q[known], n_groups, error.df)
    wide = float(studentized_range.ppf(confidence, n_groups, error.df)) / math.sqrt(2)
    compared = []
    for (i, j), found, p in zip(pairs, alone, p_values, strict=True):
        half = wide * error.of_difference(groups[i], groups[j])
        compared.append((replace(found, ci_low=found.difference - half, ci_high=found.difference + half), float(p)))
    return compared


def two_way(values: Floats, *, first: Sequence[str], second: Sequence[str]) -> Mapping[str, Omnibus]:
    """Two-way analysis of variance with interaction, sums of squares of type III.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
    first, second : sequence of str, length n
        Level of each value in both factors.

    Returns
    -------
    dict
        ``first``, ``second`` and ``interaction``. All undefined where a factor has one level, a combination of
        levels has no value (the interaction can't be told from the factors), or no combination has two values.

    Notes
    -----
    Type III is what GraphPad Prism 8 gives for unequal numbers; for equal ones all types are the same.
    """
    rows, row = np.unique(np.asarray(first, dtype=str), return_inverse=True)
    columns, column = np.unique(np.asarray(second, dtype=str), return_inverse=True)
    names = ("first", "second", "interaction")
    n_cells = rows.size * columns.size
    reason = ""
    if rows.size < 2 or columns.size < 2:
        reason = "a factor has fewer than two levels"
    elif np.unique(row * columns.size + column).size < n_cells:
        reason = "a combination of levels has no value"
    elif values.size == n_cells:
        reason = "no combination of levels has two values"
    elif not has_spread([values[(row == i) & (column == j)] for i in range(rows.size) for j in range(columns.size)]):
        reason = "no spread within any combination of levels"
    elif n_cells > _MOST_CELLS:
        reason = f"more than {_MOST_CELLS} combinations of levels"
    if reason:
        return {name: Omnibus.undefined(reason) for name in names}

    from statsmodels.regression.linear_model import OLS

    of_first, of_second = _sum_coded(row, rows.size), _sum_coded(column, columns.size)
    both = (of_first[:, :, None] * of_second[:, None, :]).reshape(values.size, -1)
    parts = (of_first, of_second, both)
    fitted = OLS(values, np.hstack([np.ones((values.size, 1)), *parts])).fit()
    found = {}
    start = 1
    for name, part in zip(names, parts, strict=True):
        stop = start + part.shape[1]
        tested = fitted.f_test(np.eye(fitted.model.exog.shape[1])[start:stop])
        found[name] = Omnibus(
            float(tested.statistic), float(part.shape[1]), float(fitted.df_resid), float(tested.pvalue)
        )
        start = stop
    return found


def _sum_coded(level: np.ndarray, n_levels: int) -> Floats:
    """Columns of a factor whose effects sum to 0, shape (n, n_levels - 1)."""
    coding = np.vstack([np.eye(n_levels - 1), -np.ones(n_levels - 1)])
    return np.asarray(coding[level], dtype=np.float64)
