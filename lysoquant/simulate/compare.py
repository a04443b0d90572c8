"""A run's occupancy against the truth of the simulated plate that it analysed."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from lysoquant.errors import InputError


@dataclass(frozen=True)
class WellError:
    """One well: counts and pooled occupancy, true and found. NaN where there is no endolysosome."""

    well: str
    condition: str
    n_true: int
    n_found: int
    occupancy_true: float
    occupancy_found: float

    @property
    def error(self) -> float:
        return self.occupancy_found - self.occupancy_true


def compare_wells(*, raw: Path, wells_csv: Path) -> list[WellError]:
    """Wells of the truth beside a simulated plate with what a run found of them.

    Parameters
    ----------
    raw : pathlib.Path
        The simulated plate, with ``truth/wells.csv``.
    wells_csv : pathlib.Path
        The run's ``results/tables/wells.csv``.

    Raises
    ------
    InputError
        If a table or a well is missing.
    """
    truth, found = _rows(raw / "truth" / "wells.csv"), _rows(wells_csv)
    missing = sorted(set(truth) - set(found))
    if missing:
        raise InputError(f"{wells_csv}: has no well {', '.join(missing)}, which the simulated plate {raw} has")
    return [
        WellError(
            well=well,
            condition=row["condition"],
            n_true=int(row["n_endolysosomes"]),
            n_found=int(found[well]["n_endolysosomes"]),
            occupancy_true=_number(row["occupancy_pooled"]),
            occupancy_found=_number(found[well]["occupancy_pooled"]),
        )
        for well, row in truth.items()
    ]


def _rows(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a simulated plate and a project that was run on it")
    with path.open(newline="", encoding="utf-8") as handle:
        return {row["well"]: row for row in csv.DictReader(handle)}


def _number(text: str) -> float:
    return float(text) if text else math.nan
