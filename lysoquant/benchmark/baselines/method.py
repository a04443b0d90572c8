"""What every compared method is: tuned on cells whose endolysosomes are known, then asked about others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lysoquant.errors import LysoquantError
from lysoquant.evaluate.score import Prediction
from lysoquant.examples.example import Example

Parameters = Mapping[str, float | int | str]
"""Chosen parameters by name, with their unit in it."""


class MethodUnavailableError(LysoquantError):
    """A method can't run here; its row of the table says why."""


@dataclass(frozen=True)
class PaperFigure:
    """Figures of a method's counterpart in the paper.

    Attributes
    ----------
    counterpart : str
        The paper's tool.
    iou, f1 : str
        As printed. Figure 1 takes all endolysosomes together and its F1 is that of pixels, 2 IoU / (1 + IoU) (StarDist
        apart); of the networks, empty and loaded are given and F1 is that of objects (segmentation).
    """

    counterpart: str
    iou: str
    f1: str


class Tuned(Protocol):
    """A method with its parameters chosen."""

    @property
    def parameters(self) -> Parameters:
        """What tuning chose."""

    @property
    def tuning_score(self) -> float:
        """Mean agreement on the tuning examples, which the parameters maximise; NaN for what is not tuned."""

    def predict(self, example: Example) -> Prediction:
        """What the method finds in a cell; it looks at the pixels and the outline of the cell only."""


class Baseline(Protocol):
    """A method of the comparison."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    @property
    def title(self) -> str:
        """Its name in the table."""

    @property
    def is_what(self) -> str:
        """Plain words: what it is and what it is not."""

    @property
    def paper(self) -> PaperFigure | None:
        """The paper's figure for its counterpart, if there is one."""

    def tune(self, examples: Sequence[Example]) -> Tuned:
        """The method with the parameters that agree best with `examples`.

        Raises
        ------
        MethodUnavailableError
            If it can't run here.
        """
