"""Which cells express the cargo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lysoquant.aggregate.params import ExpressionParams


def is_expressing(*, cargo_mean: NDArray[np.float64], params: ExpressionParams) -> NDArray[np.bool_]:
    """Whether each cell expresses the cargo and so counts for its well's occupancy.

    Parameters
    ----------
    cargo_mean : ndarray of float64, shape (n_cells,)
        Mean cargo intensity of each cell in raw grey values. NaN where it is unknown.
    params : ExpressionParams
        ``none``: every cell expresses, whatever its intensity; ``threshold``: those that reach `min_mean_cargo`.

    Returns
    -------
    ndarray of bool, shape (n_cells,)
        Under ``threshold`` a cell of unknown intensity does not express.
    """
    if params.method == "none":
        return np.ones(cargo_mean.shape, dtype=np.bool_)
    return cargo_mean >= params.min_mean_cargo
