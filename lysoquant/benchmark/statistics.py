"""How often tests and intervals keep their promise, on simulated experiments of cells in wells."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import t

from lysoquant.aggregate.occupancy import beta_binomial_interval, well_occupancy
from lysoquant.statistics import beta_binomial, mixed
from lysoquant.statistics.comparison import Comparison, Floats
from lysoquant.statistics.means import student, welch

WELL_SDS: Final = (0.0, 0.15, 0.3)
"""Standard deviations of wells' log odds: at an occupancy of 0.3, of 0, 3 and 6 points of a hundred."""
EFFECT: Final = 0.6
"""Difference of log odds that tests should find: from an occupancy of 0.3 to about 0.43."""

_ALPHA: Final = 0.05
_CONFIDENCE: Final = 0.95
_RESAMPLES: Final = 1000
_QUADRATURE: Final = 40


@dataclass(frozen=True)
class Design:
    """Two conditions of so many wells.

    Attributes
    ----------
    wells, cells : int
        Wells of a condition and cells of a well.
    well_sd, cell_sd : float
        Standard deviation of the log odds between wells of a condition and between cells of a well.
    effect : float
        By how much the log odds of the two conditions differ.
    occupancy : float
        Of the typical cell of the reference.
    endolysosomes : float
        Mean number of a cell, which is Poisson.
    """

    wells: int = 3
    cells: int = 30
    well_sd: float = 0.15
    cell_sd: float = 0.8
    effect: float = 0.0
    occupancy: float = 0.3
    endolysosomes: float = 20.0


@dataclass(frozen=True)
class Rate:
    """Shares of experiments.

    Attributes
    ----------
    significant : float
        With p < 0.05.
    undefined : float
        Without a p value.
    """

    significant: float
    undefined: float


@dataclass(frozen=True)
class Experiment:
    """Counts of all cells, the reference's wells first.

    Attributes
    ----------
    loaded, total : ndarray of int64, shape (2 * wells, cells)
    odds : ndarray of float64, shape (2 * wells,)
        Log odds of each well's typical cell.
    """

    loaded: NDArray[np.int64]
    total: NDArray[np.int64]
    odds: Floats

    @property
    def condition(self) -> NDArray[np.int64]:
        """0 for wells of the reference, 1 for the others, shape (2 * wells,)."""
        return np.repeat(np.arange(2), self.total.shape[0] // 2)

    def cell_values(self) -> list[Floats]:
        """Occupancies of each well's cells that have an endolysosome."""
        return [
            (loaded[total > 0] / total[total > 0]).astype(np.float64)
            for loaded, total in zip(self.loaded, self.total, strict=True)
        ]


def experiments(design: Design, *, runs: int, seed: int) -> Iterator[Experiment]:
    """Experiments of one design, the same whichever others are made."""
    rng = np.random.default_rng(seed)
    means = logit(design.occupancy) + design.effect * np.repeat([0.0, 1.0], design.wells)
    shape = (2 * design.wells, design.cells)
    for _ in range(runs):
        odds = means + rng.normal(0, design.well_sd, 2 * design.wells)
        chance = expit(odds[:, None] + rng.normal(0, design.cell_sd, shape))
        total = rng.poisson(design.endolysosomes, shape).astype(np.int64)
        yield Experiment(rng.binomial(total, chance).astype(np.int64), total, odds)


def rates(design: Design, *, runs: int, seed: int) -> dict[str, Rate]:
    """How often each of :data:`TESTS` gives p < 0.05, and how often none."""
    p_values: dict[str, list[float]] = {name: [] for name in TESTS}
    for made in experiments(design, runs=runs, seed=seed):
        for name, test in TESTS.items():
            p_values[name].append(test(made).p_value)
    return {
        name: Rate(float(np.mean(np.array(found) < _ALPHA)), float(np.mean(np.isnan(found))))
        for name, found in p_values.items()
    }


def coverage(design: Design, *, runs: int, seed: int) -> dict[str, float]:
    """How often intervals hold the truth: of one well over its cells, and of the reference over its wells."""
    held: dict[str, list[bool]] = {}

    def note(name: str, low: float, high: float, truth: float) -> None:
        held.setdefault(name, []).append(low <= truth <= high)

    for number, made in enumerate(experiments(design, runs=runs, seed=seed)):
        truth = _mean_occupancy(float(made.odds[0]), design.cell_sd)
        for interval in ("bootstrap", "beta_binomial"):
            found = well_occupancy(
                n_empty=made.total[0] - made.loaded[0],
                n_loaded=made.loaded[0],
                confidence=_CONFIDENCE,
                n_resamples=_RESAMPLES,
                seed=number,
                interval=interval,
            )
            note(f"well, {interval}", found.ci_low, found.ci_high, truth)
        truth = _mean_occupancy(float(logit(design.occupancy)), math.hypot(design.cell_sd, design.well_sd))
        means = np.array([values.mean() for values in made.cell_values()[: design.wells]])
        half = t.ppf((1 + _CONFIDENCE) / 2, design.wells - 1) * means.std(ddof=1) / math.sqrt(design.wells)
        note("condition, t", means.mean() - half, means.mean() + half, truth)
        loaded, total = (counts[: design.wells].sum(axis=1) for counts in (made.loaded, made.total))
        low, high = beta_binomial_interval(loaded=loaded, total=total, confidence=_CONFIDENCE)
        note("condition, beta_binomial", low, high, truth)
    return {name: float(np.mean(each)) for name, each in held.items()}


def _mean_occupancy(odds: float, spread: float) -> float:
    """Mean occupancy of cells whose log odds are normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_QUADRATURE)
    return float((weights * expit(odds + spread * nodes)).sum() / weights.sum())


def _of_cells(made: Experiment) -> Comparison:
    values = made.cell_values()
    half = len(values) // 2
    return student(np.concatenate(values[half:]), np.concatenate(values[:half]), confidence=_CONFIDENCE)


def _of_wells(test: Callable[..., Comparison], made: Experiment) -> Comparison:
    means = np.array([values.mean() for values in made.cell_values()])
    half = means.size // 2
    return test(means[half:], means[:half], confidence=_CONFIDENCE)


def _mixed(made: Experiment) -> Comparison:
    one_plate = np.zeros(made.odds.size, dtype=np.int64)
    model = mixed.fit(mixed.Wells(made.condition, one_plate, *mixed.sums(made.cell_values())))
    return model.compare(1, 0, confidence=_CONFIDENCE)


def _beta_binomial(made: Experiment) -> Comparison:
    loaded, total = made.loaded.sum(axis=1), made.total.sum(axis=1)
    model = beta_binomial.fit(loaded=loaded, total=total, condition=made.condition)
    return model.compare([(1, 0)], confidence=_CONFIDENCE)[0]


TESTS: Final[Mapping[str, Callable[[Experiment], Comparison]]] = {
    "t of cells": _of_cells,
    "welch": lambda made: _of_wells(welch, made),
    "t": lambda made: _of_wells(student, made),
    "mixed": _mixed,
    "beta_binomial": _beta_binomial,
}
"""Tests by the name of their setting; the first takes cells for replicates."""
