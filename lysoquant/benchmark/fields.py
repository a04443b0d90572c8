"""Which simulated cells the comparison takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lysoquant.examples.example import Example
from lysoquant.examples.heldout import CASES, PHOTONS, PIXEL_SIZES_UM, held_out, tuning

CONDITIONS = len(PIXEL_SIZES_UM) * len(PHOTONS) * len(CASES)
"""Named conditions of the held-out cells."""


def tuning_cells(*, seed: int, count: int) -> Iterator[Example]:
    """Cells that methods are tuned on."""
    return (example for _, example in tuning(seed=seed, count=count))


def held_out_cells(*, seed: int, count: int) -> Iterator[Example]:
    """`count` held-out cells: every condition as often as any other, give or take a random choice by `seed`."""
    repeats = -(-count // CONDITIONS)
    # The last round is thinned at random: a fixed step could miss a whole pixel size or case.
    last = np.random.default_rng(seed).permutation(CONDITIONS)[: count - (repeats - 1) * CONDITIONS]
    kept = {int(condition) for condition in last}
    for number, (_, example) in enumerate(held_out(seed=seed, per_condition=repeats)):
        condition, repeat = divmod(number, repeats)
        if repeat < repeats - 1 or condition in kept:
            yield example
