"""How well a score tells one class from the rest, whatever the threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Roc:
    """Receiver operating characteristic.

    Attributes
    ----------
    fpr, tpr : float64 array (n,)
        False and true positive rate at falling thresholds, from (0, 0) to (1, 1); equal scores are one point. Empty
        where there is no positive or no negative.
    auc : float
        Area under the curve: the probability that a positive scores higher than a negative, ties counting half. NaN
        where there is no positive or no negative.
    """

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]
    auc: float

    def at(self, fpr: NDArray[np.float64]) -> NDArray[np.float64]:
        """True positive rate at given false positive rates, NaN where the curve is undefined."""
        if not len(self.fpr):
            return np.full(len(fpr), math.nan)
        # Where the curve rises upright, its upper end counts.
        last = np.append(np.flatnonzero(np.diff(self.fpr)), len(self.fpr) - 1)
        return np.asarray(np.interp(fpr, self.fpr[last], self.tpr[last]))


def roc(scores: NDArray[np.floating], positive: NDArray[np.bool_], counted: NDArray[np.bool_] | None = None) -> Roc:
    """ROC of a score.

    Parameters
    ----------
    scores : float array
        Higher means more likely positive.
    positive : bool array, of the same shape
        Truth.
    counted : bool array, of the same shape, optional
        Elements that count; default: all.

    Raises
    ------
    ValueError
        If a score that counts is not a number.
    """
    if counted is None:
        counted = np.ones(positive.shape, np.bool_)
    score, truth = scores[counted], positive[counted]
    if np.isnan(score).any():
        raise ValueError("scores hold NaN; expected numbers")
    n_positive = int(np.count_nonzero(truth))
    n_negative = truth.size - n_positive
    if not n_positive or not n_negative:
        return Roc(np.zeros(0), np.zeros(0), math.nan)
    order = np.argsort(score, kind="stable")[::-1]
    ranked = score[order]
    last_of_equals = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    true_positives = np.cumsum(truth[order], dtype=np.int64)[last_of_equals]
    false_positives = last_of_equals + 1 - true_positives
    tpr = np.concatenate([[0.0], true_positives / n_positive])
    fpr = np.concatenate([[0.0], false_positives / n_negative])
    return Roc(fpr, tpr, float(np.trapezoid(tpr, fpr)))
