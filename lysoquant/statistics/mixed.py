"""Linear mixed model of cells nested in wells nested in plates, from the wells' sums alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lysoquant.statistics.comparison import Comparison, Floats
from lysoquant.statistics.means import by_t

_AT_ZERO: Final = 1e-6
"""A random effect that lowers the REML criterion by less than this is none."""
_STEP: Final = 1e-3
"""Relative step of the numerical derivatives by the variances."""


@dataclass(frozen=True)
class Wells:
    """Sums over the cells of each well: all that the model needs of the cells.

    Attributes
    ----------
    condition : ndarray of int64, shape (n_wells,)
        Number of the well's condition, 0 to n_conditions - 1; each has a well.
    plate : ndarray of int64, shape (n_wells,)
        Number of its plate.
    n_cells : ndarray of int64, shape (n_wells,)
        At least 1.
    mean : ndarray of float64, shape (n_wells,)
        Mean of the cells' values.
    squares : ndarray of float64, shape (n_wells,)
        Sum of the squared distances of the cells from their well's mean.
    """

    condition: NDArray[np.int64]
    plate: NDArray[np.int64]
    n_cells: NDArray[np.int64]
    mean: Floats
    squares: Floats


@dataclass(frozen=True)
class MixedModel:
    """A fitted model; see :func:`fit`.

    Attributes
    ----------
    means : ndarray of float64, shape (n_conditions,)
        Estimated mean of each condition.
    variance_cell, variance_well, variance_plate : float
        Of cells within a well, of wells of a condition, of plates (0 where there is one plate or where it is
        estimated as 0, NaN where plates can't be told from conditions).
    criterion : float
        REML criterion, ``-2 log L`` restricted, as lme4 prints it.
    reason : str
        Why the model can't be used; empty where it can.
    """

    means: Floats
    variance_cell: float
    variance_well: float
    variance_plate: float
    criterion: float
    reason: str
    _covariance: Floats
    _gradient: Floats
    _information: Floats
    _linked: NDArray[np.int64]
    """Conditions of one number share plates, or plates of theirs share conditions."""

    def compare(self, i: int, j: int, *, confidence: float) -> Comparison:
        """Condition `i` minus condition `j`, with Satterthwaite's degrees of freedom [1]_.

        References
        ----------
        .. [1] Kuznetsova A, Brockhoff PB, Christensen RHB (2017) lmerTest package: tests in linear mixed effects
           models. J Stat Softw 82(13). doi:10.18637/jss.v082.i13
        """
        difference = float(self.means[i] - self.means[j])
        if self.reason:
            return Comparison.undefined(self.reason, difference=difference)
        if math.isnan(self.variance_plate) and self._linked[i] != self._linked[j]:
            return Comparison.undefined("the conditions can't be told from their plates", difference=difference)
        variance = float(_of_contrast(self._covariance, i, j))
        gradient = _of_contrast(self._gradient, i, j)
        of_variance = float(gradient @ np.linalg.solve(self._information, gradient))
        if not variance > 0 or not of_variance > 0:
            return Comparison.undefined("degrees of freedom can't be estimated", difference=difference)
        df = 2 * variance**2 / of_variance
        return by_t(difference, error=math.sqrt(variance), df=df, confidence=confidence)


def fit(wells: Wells) -> MixedModel:
    """Fit ``value = condition + plate + well + cell`` by restricted maximum likelihood; all but condition are random.

    Parameters
    ----------
    wells : Wells
        Of all conditions: the variances are common to all.

    Returns
    -------
    MixedModel
        With a reason, and no tests, where no condition has two wells, no well two cells, the optimiser doesn't
        converge, or wells are estimated not to differ by more than their cells do (a singular fit: the model would take
        cells for replicates). Of plates that don't differ the model says so by a `variance_plate` of 0 and goes on
        without them.

    Notes
    -----
    The likelihood depends on the cells only through each well's number, mean and sum of squares, so it is written in
    these: the same model as lme4's ``value ~ condition + (1 | plate / well)``, in memory by wells and not by cells.
    """
    n_conditions, n_wells = int(wells.condition.max()) + 1, wells.condition.size
    n_plates = np.unique(wells.plate).size
    means = np.array([wells.mean[wells.condition == number].mean() for number in range(n_conditions)])
    reason = ""
    if n_wells - n_conditions < 1:
        reason = "no condition has two wells"
    elif int(wells.n_cells.sum()) - n_wells < 1 or not wells.squares.sum() > 0:
        reason = "no spread of cells within wells"
    if reason:
        return _failed(means, reason)
    linked, n_linked = _links(wells)
    # Plates that no condition links to another differ by their conditions as much as by themselves.
    confounded = n_plates > 1 and n_linked == n_plates
    with_plates = n_plates > 1 and not confounded
    theta, converged = _least(wells, with_plates=with_plates)
    if with_plates and _criterion(wells, theta * [1, 0]) - _criterion(wells, theta) < _AT_ZERO:
        with_plates = False
        theta, converged = _least(wells, with_plates=False)
    if not converged:
        return _failed(means, "the model did not converge")
    found = _solved(wells, theta)
    if _criterion(wells, theta * [0, 1]) - found.criterion < _AT_ZERO:
        return _failed(found.means, "singular fit: the variance between wells is estimated as 0")
    cell = found.variance
    variances = cell * np.array([1.0, theta[0] ** 2, theta[1] ** 2])[: 3 if with_plates else 2]
    gradient, information = _derivatives(wells, variances)
    if not np.isfinite(information).all() or np.linalg.eigvalsh(information)[0] <= 0:
        return _failed(found.means, "the variances can't be told apart")
    return MixedModel(
        means=found.means,
        variance_cell=cell,
        variance_well=float(variances[1]),
        variance_plate=math.nan if confounded else float(variances[2]) if with_plates else 0.0,
        criterion=found.criterion,
        reason="",
        _covariance=cell * found.unscaled,
        _gradient=gradient,
        _information=information,
        _linked=linked,
    )


@dataclass(frozen=True)
class _Solution:
    """Best means and cell variance for given ratios of the variances."""

    means: Floats
    own: Floats
    scaled: Floats
    spread: Floats
    variance: float
    criterion: float
    log_determinants: float
    quadratic: float

    @property
    def unscaled(self) -> Floats:
        """Covariance of the means over the cell variance, shape (n_conditions, n_conditions)."""
        return np.diag(1 / self.own) + self.scaled.T @ self.spread


def _failed(means: Floats, reason: str) -> MixedModel:
    nothing = np.zeros((0, 0))
    none = np.zeros(0, dtype=np.int64)
    return MixedModel(means, math.nan, math.nan, math.nan, math.nan, reason, nothing, nothing, nothing, none)


def _links(wells: Wells) -> tuple[NDArray[np.int64], int]:
    """Number of the group of conditions and plates that are linked, by condition, and how many groups there are."""
    plates, plate = np.unique(wells.plate, return_inverse=True)
    n_conditions = int(wells.condition.max()) + 1
    n_nodes = n_conditions + plates.size
    edges = coo_array((np.ones(plate.size), (wells.condition, n_conditions + plate)), shape=(n_nodes, n_nodes))
    n_groups, group = connected_components(edges, directed=False)
    return np.asarray(group[:n_conditions], dtype=np.int64), int(n_groups)


def _least(wells: Wells, *, with_plates: bool) -> tuple[Floats, bool]:
    """Standard deviations of wells and plates over that of cells with the least criterion, and whether it was found."""
    n = 2 if with_plates else 1

    def of(theta: Floats) -> float:
        return _criterion(wells, np.append(theta, [0.0] * (2 - n)))

    # From several starts: the criterion can have a second hollow, and one start may lie on a plain.
    best, converged = np.zeros(n), False
    lowest = math.inf
    for start in (0.1, 1.0):
        found = minimize(
            of,
            np.full(n, start),
            method="Nelder-Mead",
            bounds=[(0, None)] * n,
            options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 2000},
        )
        if found.fun < lowest:
            best, converged, lowest = found.x, bool(found.success), float(found.fun)
    return np.append(best, [0.0] * (2 - n)), converged


def _criterion(wells: Wells, theta: Floats) -> float:
    return _solved(wells, theta).criterion


def _solved(wells: Wells, theta: Floats) -> _Solution:
    """The profiled REML fit for standard deviations of wells and plates over that of cells."""
    n_all, n_conditions = int(wells.n_cells.sum()), int(wells.condition.max()) + 1
    # A well's mean has variance d + plate, in units of the cell variance; plates couple their wells by a rank of one.
    d = theta[0] ** 2 + 1 / wells.n_cells
    ratio = theta[1] ** 2
    plates, plate = np.unique(wells.plate, return_inverse=True)
    n_plates = plates.size
    weight = np.bincount(plate, 1 / d, minlength=n_plates)
    shrink = ratio / (1 + ratio * weight)
    of_both = np.bincount(plate * n_conditions + wells.condition, 1 / d, minlength=n_plates * n_conditions)
    by_plate = of_both.reshape(n_plates, n_conditions)
    own = np.asarray(np.bincount(wells.condition, 1 / d), dtype=np.float64)
    right = np.bincount(wells.condition, wells.mean / d) - by_plate.T @ (
        shrink * np.bincount(plate, wells.mean / d, minlength=n_plates)
    )
    # The means' precision, diag(own) - by_plate' diag(shrink) by_plate, is inverted by plates and not by conditions.
    scaled = by_plate / own
    coupling = np.eye(n_plates) - shrink[:, None] * (by_plate @ scaled.T)
    spread = np.linalg.solve(coupling, shrink[:, None] * scaled)
    means = right / own + scaled.T @ (spread @ right)
    residual = wells.mean - means[wells.condition]
    of_residual = np.bincount(plate, residual / d, minlength=n_plates)
    between = float((residual**2 / d).sum() - (shrink * of_residual**2).sum())
    quadratic = float(wells.squares.sum()) + between
    log_determinants = float(
        np.log(d).sum()
        + np.log(wells.n_cells).sum()
        + np.log1p(ratio * weight).sum()
        + np.log(own).sum()
        + np.linalg.slogdet(coupling).logabsdet
    )
    free = n_all - n_conditions
    variance = quadratic / free
    criterion = log_determinants + free * (1 + math.log(2 * math.pi * variance))
    return _Solution(means, own, scaled, spread, variance, criterion, log_determinants, quadratic)


def _derivatives(wells: Wells, variances: Floats) -> tuple[Floats, Floats]:
    """By the variances: gradient of the means' covariance, shape (n, n_conditions, n_conditions), and the observed
    information of the restricted likelihood, shape (n, n)."""
    n = variances.size
    steps = _STEP * variances

    def covariance(at: Floats) -> Floats:
        return np.asarray(at[0] * _at(wells, at).unscaled)

    def deviance(at: Floats) -> float:
        found = _at(wells, at)
        free = int(wells.n_cells.sum()) - found.means.size
        return float(found.log_determinants + free * math.log(at[0]) + found.quadratic / at[0])

    shifts = np.diag(steps)
    gradient = np.array(
        [(covariance(variances + shifts[k]) - covariance(variances - shifts[k])) / (2 * steps[k]) for k in range(n)]
    )
    second = np.empty((n, n))
    for k in range(n):
        for m in range(n):
            signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
            corners = [deviance(variances + a * shifts[k] + b * shifts[m]) for a, b in signs]
            second[k, m] = (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * steps[k] * steps[m])
    return gradient, second / 2


def _at(wells: Wells, variances: Floats) -> _Solution:
    ratios = np.append(variances[1:] / variances[0], [0.0] * (3 - variances.size))
    return _solved(wells, np.sqrt(ratios))


def _of_contrast(covariance: Floats, i: int, j: int) -> Floats:
    """Variance of mean i minus mean j, over the last two axes."""
    return np.asarray(covariance[..., i, i] + covariance[..., j, j] - 2 * covariance[..., i, j])


def sums(values: Sequence[Floats]) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Number, mean and sum of squares of each well's cells, as :class:`Wells` takes them."""
    return (
        np.array([of_cells.size for of_cells in values], dtype=np.int64),
        np.array([of_cells.mean() for of_cells in values]),
        np.array([((of_cells - of_cells.mean()) ** 2).sum() for of_cells in values]),
    )
