"""Which cells express the cargo: a limit of the mean cargo intensity for each plate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from lysoquant.aggregate.params import ExpressionParams
from lysoquant.record import Json

Floats = NDArray[np.float64]

_MIN_CELLS: Final = 30
"""Fewer cells do not tell two populations, or the upper end of one, from chance."""
_MIN_SEPARATION: Final = 2.0
"""Ashman's D from which two normal populations have two peaks."""
_MIN_BIC_GAIN: Final = 10.0
"""A Bayesian information criterion lower by this is very strong evidence (Kass and Raftery 1995)."""


@dataclass(frozen=True)
class Gate:
    """From which cargo intensity on a cell of a plate expresses.

    Attributes
    ----------
    min_mean_cargo : float
        Smallest mean cargo intensity of an expressing cell, raw grey values; minus infinity where every cell counts.
    n_cells : int
        Cells from which the limit was found; 0 where it was given.
    doubt : str
        Why no limit could be found, so that every cell counts; empty where all is well.
    """

    min_mean_cargo: float
    n_cells: int = 0
    doubt: str = ""

    def record(self) -> Json:
        """For the record; a limit of None means that every cell counts."""
        limit = None if self.min_mean_cargo == -math.inf else self.min_mean_cargo
        return {"min_mean_cargo": limit, "n_cells": self.n_cells, "doubt": self.doubt}


EVERY_CELL: Final = Gate(-math.inf)


def find_gate(*, cargo_mean: Mapping[str, Floats], control_wells: frozenset[str], params: ExpressionParams) -> Gate:
    """Limit of one plate.

    Parameters
    ----------
    cargo_mean : mapping of str to ndarray of float64, shape (n_cells,)
        Mean cargo intensity of each cell in raw grey values, by well; NaN where it is unknown.
    control_wells : frozenset of str
        Wells of the plate whose cells were not transfected; read under ``controls`` only.
    params : ExpressionParams
        ``none``: every cell; ``threshold``: the limit given; ``mixture``: where of two log-normal populations of all
        the plate's cells the brighter becomes the likelier; ``controls``: a quantile of the untransfected cells.

    Returns
    -------
    Gate
        With a doubt, and every cell counting, where there are too few cells or no two populations.

    References
    ----------
    Ashman, Bird and Zepf 1994, doi:10.1086/117248 (separation); Kass and Raftery 1995,
    doi:10.1080/01621459.1995.10476572 (differences of the BIC).
    """
    if params.method == "none":
        return EVERY_CELL
    if params.method == "threshold":
        return Gate(params.min_mean_cargo)
    if params.method == "controls":
        return _above_controls(_known([cargo_mean[well] for well in sorted(control_wells & set(cargo_mean))]), params)
    return _between_populations(_known([*cargo_mean.values()]))


def is_expressing(*, cargo_mean: Floats, gate: Gate) -> NDArray[np.bool_]:
    """Whether each cell expresses the cargo and so counts for its well's occupancy.

    Parameters
    ----------
    cargo_mean : ndarray of float64, shape (n_cells,)
        Mean cargo intensity of each cell in raw grey values. NaN where it is unknown.
    gate : Gate
        Limit of the plate.

    Returns
    -------
    ndarray of bool, shape (n_cells,)
        Where there is a limit, a cell of unknown intensity does not express.
    """
    if gate.min_mean_cargo == -math.inf:
        return np.ones(cargo_mean.shape, dtype=np.bool_)
    expressing: NDArray[np.bool_] = cargo_mean >= gate.min_mean_cargo
    return expressing


def _known(parts: list[Floats]) -> Floats:
    values: Floats = np.concatenate([np.zeros(0), *parts])
    known: Floats = values[np.isfinite(values)]
    return known


def _above_controls(values: Floats, params: ExpressionParams) -> Gate:
    n_cells = len(values)
    if n_cells < _MIN_CELLS:
        return _doubtful(n_cells, f"wells of condition {params.control_condition!r} have {n_cells} cells")
    return Gate(float(np.quantile(values, params.control_quantile, method="higher")), n_cells)


def _doubtful(n_cells: int, found: str) -> Gate:
    return Gate(-math.inf, n_cells, f"{found}, expected at least {_MIN_CELLS}; every cell counts")


def _between_populations(values: Floats) -> Gate:
    values = values[values > 0]
    n_cells = len(values)
    if n_cells < _MIN_CELLS:
        return _doubtful(n_cells, f"the plate has {n_cells} cells with a cargo intensity")
    # Imported here: it takes a second, and only this method pays for it.
    from sklearn.mixture import GaussianMixture

    logs = np.log(values)[:, np.newaxis]
    if float(np.ptp(logs)) == 0:
        return Gate(-math.inf, n_cells, "all cells have one cargo intensity; every cell counts")
    one = GaussianMixture(1).fit(logs)
    # From fixed starts, a cut at each of these shares of the cells, so that equal cells give an equal limit.
    fits = [GaussianMixture(2, random_state=0, **_start(logs, share)).fit(logs) for share in (0.1, 0.3, 0.5, 0.7, 0.9)]
    two = min(fits, key=lambda fit: float(fit.bic(logs)))
    low, high = np.argsort(two.means_.ravel())
    means, spreads = two.means_.ravel(), np.sqrt(two.covariances_.ravel())
    separation = math.sqrt(2) * float(means[high] - means[low]) / math.hypot(*spreads)
    gain = float(one.bic(logs) - two.bic(logs))
    if separation < _MIN_SEPARATION or gain < _MIN_BIC_GAIN:
        return Gate(
            -math.inf,
            n_cells,
            f"cargo intensities of the plate's {n_cells} cells are no two populations (separation {separation:.2g},"
            f" expected at least {_MIN_SEPARATION:g}); every cell counts",
        )
    between = np.linspace(means[low], means[high], 2001)
    log_odds = [math.log(two.weights_[k]) + norm.logpdf(between, means[k], spreads[k]) for k in (high, low)]
    first = int(np.argmax(log_odds[0] >= log_odds[1]))
    return Gate(float(f"{math.exp(between[first]):.6g}"), n_cells)


def _start(logs: Floats, share: float) -> dict[str, Floats]:
    """Weights, means and precisions of the cells below and above a quantile."""
    ordered = np.sort(logs.ravel())
    cut = round(share * len(ordered))
    parts = ordered[:cut], ordered[cut:]
    least = 1e-3 * float(np.var(ordered))
    return {
        "weights_init": np.array([share, 1 - share]),
        "means_init": np.array([[part.mean()] for part in parts]),
        "precisions_init": np.array([[[1 / max(float(part.var()), least)]] for part in parts]),
    }
