"""What can be measured: a part is a module beside this one with a function ``measure``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol

from lysoquant.benchmark.speed.table import Table
from lysoquant.errors import InputError

PARTS: Final = ("inference", "measurement", "convert", "plate")
"""Names of the parts and of their modules, in the order in which they are measured."""


@dataclass(frozen=True)
class Scale:
    """How much work is measured.

    Attributes
    ----------
    images : int
        Simulated fields.
    repeats : int
        Each figure is the best of so many; what is compared takes turns.
    threads : int
        Processor threads.
    device : str
        Where the network runs: cpu or cuda.
    wells : tuple of int
        Wells of each plate that is run as a whole.
    """

    images: int = 2
    repeats: int = 3
    threads: int = 1
    device: str = "cpu"
    wells: tuple[int, ...] = (6, 24, 96)


class Part(Protocol):
    """The door of a part."""

    def measure(self, scale: Scale) -> Sequence[Table]:
        """Tables of one run."""


def choose_parts(names: Sequence[str]) -> dict[str, Part]:
    """Parts by name, all of them if none is named; imported only now.

    Raises
    ------
    InputError
        If there is no such part.
    """
    unknown = next((name for name in names if name not in PARTS), None)
    if unknown is not None:
        raise InputError(f"--part is {unknown!r}; expected {', '.join(PARTS)}")
    chosen = [name for name in PARTS if not names or name in names]
    return {name: import_module(f"lysoquant.benchmark.speed.{name}") for name in chosen}
