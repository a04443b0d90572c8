"""What operators agree on, and how far each is from it (paper, Methods, "Manual annotation accuracy")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.metrics.overlap import iou
from lysoquant.vocabulary import CLASS_NAMES, EMPTY, LOADED

ANY: Final = "endolysosome"
"""Of either class: what the paper compared."""

TARGETS: Final = (ANY, CLASS_NAMES[EMPTY], CLASS_NAMES[LOADED])


@dataclass(frozen=True)
class Consensus:
    """What enough operators drew.

    Attributes
    ----------
    drawn : bool array (Y, X)
        Pixels that enough operators drew, as whichever class.
    classes : uint8 array (Y, X)
        Class on which enough operators agree.
    """

    drawn: NDArray[np.bool_]
    classes: NDArray[np.uint8]

    @property
    def disputed(self) -> NDArray[np.bool_]:
        """Pixels that enough operators drew, without agreeing on the class."""
        return np.asarray(self.drawn & (self.classes == 0))

    def mask(self, target: str) -> NDArray[np.bool_]:
        """The consensus on one of :data:`TARGETS`."""
        return self.drawn if target == ANY else np.asarray(self.classes == CLASS_NAMES.index(target))


@dataclass(frozen=True)
class Agreement:
    """One operator's drawing of one target against the consensus; areas in pixels.

    Attributes
    ----------
    iou : float
        Intersection over union; NaN where neither drew anything.
    area, difference : int
        Pixels that the operator drew; pixels that only one of operator and consensus has.
    """

    iou: float
    area: int
    difference: int


def agree(drawings: Sequence[NDArray[np.uint8]], *, minimum: int) -> Consensus:
    """Pixels that at least `minimum` operators drew.

    A pixel has the class that at least `minimum` operators gave it; where two classes have that many, the one with
    more, and none where they are equal.

    Parameters
    ----------
    drawings : sequence of uint8 array (Y, X)
        Class map of each operator.
    minimum : int
        Operators that must agree; the paper's is 2 of 3.
    """
    votes = [sum((drawing == target).astype(np.int32) for drawing in drawings) for target in (EMPTY, LOADED)]
    empty, loaded = (np.asarray(count) for count in votes)
    classes = np.zeros(empty.shape, np.uint8)
    classes[(empty >= minimum) & (empty > loaded)] = EMPTY
    classes[(loaded >= minimum) & (loaded > empty)] = LOADED
    return Consensus(empty + loaded >= minimum, classes)


def agreement(drawing: NDArray[np.uint8], consensus: Consensus, *, target: str) -> Agreement:
    """How one operator's class map compares with the consensus on a target."""
    own = drawing > 0 if target == ANY else drawing == CLASS_NAMES.index(target)
    common = consensus.mask(target)
    return Agreement(iou(common, own, target=1), int(np.count_nonzero(own)), int(np.count_nonzero(own != common)))


def relative_standard_error(differences: Sequence[float], area: float) -> float:
    """Standard error of the operators' areas, relative to the consensus.

    The paper measures the area d of the difference mask between consensus and each of n operators and calculates
    "variance, standard error, and relative error" from these. Read here as deviations from the consensus:
    sqrt(sum d^2 / (n - 1) / n) / area. Three operators of IoU 0.85 then come to about 0.12, as the paper has it
    (0.129 +- 0.032).

    Parameters
    ----------
    differences : sequence of float
        Area of each operator's difference mask.
    area : float
        Area of the consensus, in the same unit.

    Returns
    -------
    float
        NaN for fewer than two operators or an empty consensus.
    """
    count = len(differences)
    if count < 2 or not area:
        return math.nan
    return math.sqrt(sum(d * d for d in differences) / (count - 1) / count) / area
