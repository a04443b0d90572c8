"""Where training cells come from: simulated on the fly, outlined by people, or both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from lysoquant.examples.example import Example
from lysoquant.examples.simulated import training_examples


class Source(Protocol):
    """An endless, numbered supply of cells: equal numbers give equal cells."""

    def cells(self, number: int) -> list[Example]:
        """One or more cells."""
        ...

    @property
    def description(self) -> str:
        """What the model card says of it."""
        ...


@dataclass(frozen=True)
class SimulatedSource:
    """Scenes made on the fly; nothing is kept on disk."""

    seed: int
    extent_um: float = 26.0

    def cells(self, number: int) -> list[Example]:
        return training_examples(seed=self.seed, number=number, extent_um=self.extent_um)

    @property
    def description(self) -> str:
        return "simulated scenes made on the fly (lysoquant.simulate.randomise)"


@dataclass(frozen=True)
class AnnotatedSource:
    """Cells outlined by people, in a new order in every round."""

    examples: Sequence[Example]
    seed: int

    def cells(self, number: int) -> list[Example]:
        round_, place = divmod(number, len(self.examples))
        order = np.random.default_rng((self.seed, round_)).permutation(len(self.examples))
        return [self.examples[int(order[place])]]

    @cached_property
    def description(self) -> str:
        outlines = sum(len(example.classes) - 1 for example in self.examples)
        digest = hashlib.sha256()
        for example in self.examples:
            for array in (example.cargo, example.lysosome, example.inside, example.regions, example.classes):
                digest.update(np.ascontiguousarray(array).tobytes())
        return f"{len(self.examples)} annotated cells with {outlines} outlines, sha256 {digest.hexdigest()[:16]}"


@dataclass(frozen=True)
class MixedSource:
    """Annotated cells among simulated ones, so that a network learns the new and keeps the old."""

    annotated: AnnotatedSource
    simulated: SimulatedSource
    simulated_share: float

    def cells(self, number: int) -> list[Example]:
        rng = np.random.default_rng((self.annotated.seed, number, 7))
        source = self.simulated if rng.random() < self.simulated_share else self.annotated
        return source.cells(number)

    @property
    def description(self) -> str:
        return f"{self.annotated.description}; {self.simulated_share:.0%} {self.simulated.description}"
