"""Power and false discoveries of the hit list on simulated screens with planted hits and planted plate effects.

Counts of wells are simulated, no pixels: what is tried is how wells become hits.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path
from typing import Final, get_args

import numpy as np

from lysoquant.screening.hits import hit_rows
from lysoquant.screening.normalise import normalise
from lysoquant.screening.params import ScreenParams
from lysoquant.screening.plates import effects_left_in, plate_rows
from lysoquant.screening.wells import Row, read_wells

N_ROWS: Final = 16
N_COLUMNS: Final = 24
NEGATIVE: Final = "negative control"
POSITIVE: Final = "positive control"

_ROW_NAMES: Final = "ABCDEFGHIJKLMNOP"
_CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Design:
    """A simulated screen on 384-well plates; occupancies and effects as log odds.

    Columns 1 and 24 hold 16 negative and 16 positive controls in turn, the other 352 wells a condition each, in the
    same well on every replicate plate.
    """

    replicates: int = 3
    """Plates, each with every condition once."""
    effect: float = 1.0
    """Of an active condition, half of them up and half down."""
    share_active: float = 0.05
    """Of the conditions."""
    inactive: float = -0.6
    """Log odds of an inactive well: an occupancy of 0.35."""
    positive: float = 2.0
    """Effect of the positive control."""
    spread: float = 0.25
    """Standard deviation between replicate wells."""
    endolysosomes: float = 600.0
    """Mean of a well."""
    poor: float = 0.02
    """Share of wells with a fiftieth of that, which are too few to count."""
    plate_offset: float = 0.0
    """Standard deviation between plates."""
    gradient: float = 0.0
    """Rise from the first row to the last, and from the first column to the last, the same on every plate."""
    edge: float = 0.0
    """Effect of an edge well, the same on every plate."""


PLATE_EFFECTS: Final[Mapping[str, Mapping[str, float]]] = {
    "none": {},
    "offsets": {"plate_offset": 0.4},
    "offsets, gradients, edge": {"plate_offset": 0.4, "gradient": 0.5, "edge": -0.4},
}
"""Plate effects that the benchmark plants, by their name in its table."""


@dataclass(frozen=True)
class Outcome:
    """What the hit list made of many screens of one kind.

    Attributes
    ----------
    power : float
        Mean share of the active conditions that were found with the right sign.
    power_error : float
        Its standard error over screens.
    false_discoveries : float
        Mean share of hits that are inactive conditions or have the wrong sign (0 in a screen without hits).
    false_discoveries_error : float
        Its standard error over screens.
    hits : float
        Mean number of hits.
    """

    plate_effects: str
    replicates: int
    effect: float
    normalise: str
    null_distribution: str
    screens: int
    power: float
    power_error: float
    false_discoveries: float
    false_discoveries_error: float
    hits: float


def simulate(design: Design, *, seed: int) -> tuple[list[Row], dict[str, float]]:
    """Rows of the well table of a screen, and the effect of each condition.

    Parameters
    ----------
    design : Design
        What is planted.
    seed : int
        The same seed gives the same screen.

    Returns
    -------
    tuple
        Rows, with the columns that the screen reads, by plate and reading order; true effects by condition, 0 for an
        inactive one.
    """
    random = np.random.default_rng(seed)
    row, column = (axis.ravel() for axis in np.mgrid[0:N_ROWS, 1 : N_COLUMNS + 1])
    is_control = (column == 1) | (column == N_COLUMNS)
    is_negative = is_control & ((row + (column == 1)) % 2 == 0)
    n_samples = int((~is_control).sum())
    n_active = round(design.share_active * n_samples)
    planted = np.zeros(n_samples)
    active = random.permutation(n_samples)[:n_active]
    planted[active] = design.effect * np.where(np.arange(n_active) % 2, 1, -1)
    effect = np.zeros(row.size)
    effect[~is_control] = planted
    effect[is_control & ~is_negative] = design.positive
    names = np.full(row.size, POSITIVE, dtype=object)
    names[is_negative] = NEGATIVE
    names[~is_control] = [f"condition {number:03}" for number in range(n_samples)]
    place = design.gradient * (row / (N_ROWS - 1) + (column - 1) / (N_COLUMNS - 1) - 1)
    place = place + design.edge * ((row == 0) | (row == N_ROWS - 1) | is_control)
    rows: list[Row] = []
    for plate in range(design.replicates):
        offset = random.normal(0, design.plate_offset)
        odds = design.inactive + effect + place + offset + random.normal(0, design.spread, row.size)
        mean = design.endolysosomes * np.where(random.random(row.size) < design.poor, 0.02, 1)
        total = random.poisson(mean)
        loaded = random.binomial(total, 1 / (1 + np.exp(-odds)))
        for i in range(row.size):
            rows.append(
                {
                    "plate": f"plate{plate + 1}",
                    "well": f"{_ROW_NAMES[row[i]]}{column[i]:02}",
                    "row": _ROW_NAMES[row[i]],
                    "column": int(column[i]),
                    "condition": names[i],
                    "control": "" if not is_control[i] else "negative" if is_negative[i] else "positive",
                    "n_cells_expressing": 40,
                    "n_empty": int(total[i] - loaded[i]),
                    "n_loaded": int(loaded[i]),
                    "flags": "few_endolysosomes" if total[i] < 20 else "",
                }
            )
    return rows, dict(zip(names[~is_control].tolist(), planted.tolist(), strict=True))


def outcomes(
    *,
    replicates: Sequence[int],
    effects: Sequence[float],
    screens: int,
    seed: int,
    share_active: float = Design.share_active,
    on_kind: Callable[[str], None] = lambda _: None,
) -> Iterator[Outcome]:
    """Outcome of every kind of screen under every normalisation.

    Parameters
    ----------
    replicates, effects : sequence
        See :class:`Design`; each combination is tried with each of :data:`PLATE_EFFECTS`.
    screens : int
        Simulated screens of each kind; the same ones for every normalisation.
    seed : int
        Of the first screen of each kind.
    share_active : float
        See :class:`Design`.
    on_kind : callable
        Called with a few words as a kind is done.
    """
    ways = [
        ScreenParams(normalise=normal, null_distribution=null, min_effect=0.0)
        for normal in get_args(ScreenParams.model_fields["normalise"].annotation)
        for null in get_args(ScreenParams.model_fields["null_distribution"].annotation)
    ]
    for (name, planted), count, effect in product(PLATE_EFFECTS.items(), replicates, effects):
        design = Design(replicates=count, effect=effect, share_active=share_active, **planted)
        found = np.array([_judged(design, ways, seed + number) for number in range(screens)])
        for way, of_way in zip(ways, found.transpose(1, 2, 0), strict=True):
            power, false, hits = of_way
            yield Outcome(
                plate_effects=name,
                replicates=count,
                effect=effect,
                normalise=way.normalise,
                null_distribution=way.null_distribution,
                screens=screens,
                power=float(power.mean()),
                power_error=_error(power),
                false_discoveries=float(false.mean()),
                false_discoveries_error=_error(false),
                hits=float(hits.mean()),
            )
        on_kind(f"{name}, {count} replicates, effect {effect:g}")


def write_outcomes(found: Sequence[Outcome], folder: Path) -> list[Path]:
    """Write ``screen.csv`` with every outcome and ``screen.md`` for the page; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table, page = folder / "screen.csv", folder / "screen.md"
    names = [field.name for field in fields(Outcome)]
    with table.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(getattr(outcome, name)) for name in names] for outcome in found)
    page.write_text(markdown(found), encoding="utf-8")
    return [table, page]


def markdown(found: Sequence[Outcome]) -> str:
    """Power and share of false discoveries as a table: a line for each kind of screen, a column for each way."""
    ways = list(dict.fromkeys((outcome.normalise, outcome.null_distribution) for outcome in found))
    lines = [
        "| plate effects | replicates | effect | " + " | ".join(f"{normal}, {null}" for normal, null in ways) + " |",
        "|---" * (3 + len(ways)) + "|",
    ]
    kinds: dict[tuple[str, int, float], list[Outcome]] = {}
    for outcome in found:
        kinds.setdefault((outcome.plate_effects, outcome.replicates, outcome.effect), []).append(outcome)
    for (name, count, effect), members in kinds.items():
        cells = [f"{outcome.power:.2f} / {outcome.false_discoveries:.2f}" for outcome in members]
        lines.append(f"| {name} | {count} | {effect:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _judged(design: Design, ways: Sequence[ScreenParams], seed: int) -> list[tuple[float, float, float]]:
    """Power, share of false discoveries and number of hits of one screen, by way."""
    rows, truth = simulate(design, seed=seed)
    wells = read_wells(rows, dose_column="")
    # Flags of position are the same whatever wells are held against.
    plates = plate_rows(wells, normalise(wells, ways[0]), ways[0])

    def hits(way: ScreenParams) -> Sequence[Row]:
        left_in = effects_left_in(plates, way)
        return hit_rows(wells, normalise(wells, way), way, confidence=_CONFIDENCE, position_effects=left_in)

    return [judge(hits(way), truth) for way in ways]


def judge(hits: Sequence[Row], truth: Mapping[str, float]) -> tuple[float, float, float]:
    """Power, share of false discoveries, and number of hits of a hit list whose truth is known."""
    called = {str(row["condition"]): float(row["effect"]) for row in hits if row["is_hit"]}
    right = sum(truth[name] * effect > 0 for name, effect in called.items())
    n_active = sum(effect != 0 for effect in truth.values())
    return right / max(1, n_active), (len(called) - right) / max(1, len(called)), float(len(called))


def _error(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) / math.sqrt(values.size) if values.size > 1 else math.nan


def _cell(value: str | int | float) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return str(value)
