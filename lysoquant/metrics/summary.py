"""Mean and standard deviation over images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MeanSd:
    """Mean, sample standard deviation and number of the values that are defined.

    Attributes
    ----------
    mean : float
        NaN where no value is defined.
    sd : float
        With n - 1 in the denominator; NaN below two values.
    n : int
        Values that are not NaN.
    """

    mean: float
    sd: float
    n: int

    def text(self, *, digits: int = 3) -> str:
        """``0.881 ± 0.012 (3)``; a dash for what is undefined."""
        parts = ["–" if math.isnan(value) else f"{value:.{digits}f}" for value in (self.mean, self.sd)]
        return f"{parts[0]} ± {parts[1]} ({self.n})"


def mean_sd(values: Iterable[float]) -> MeanSd:
    """Mean and standard deviation of the values that are not NaN."""
    known = np.array([value for value in values if not math.isnan(value)], np.float64)
    return MeanSd(
        mean=float(known.mean()) if known.size else math.nan,
        sd=float(known.std(ddof=1)) if known.size > 1 else math.nan,
        n=int(known.size),
    )
