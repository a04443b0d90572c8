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


def compare_wells(*, raw: Path, wells_csv: Path, cargo: str | None = None) -> list[WellError]:
    """Wells of the truth beside a simulated plate with what a run found of them.

    Parameters
    ----------
    raw : pathlib.Path
        The simulated plate, with ``truth/wells.csv``.
    wells_csv : pathlib.Path
        The run's ``results/tables/wells.csv``.
    cargo : str, optional
        Label of another cargo than the first.

    Raises
    ------
    InputError
        If a table, a well or the cargo is missing.
    """
    truth_csv = raw / "truth" / "wells.csv"
    truth, found = _rows(truth_csv), _rows(wells_csv)
    column = f"occupancy_pooled_{cargo}" if cargo else "occupancy_pooled"
    for path, table in ((truth_csv, truth), (wells_csv, found)):
        if any(column not in row for row in table.values()):
            raise InputError(f"{path}: has no column {column!r}; give --cargo one that was simulated and segmented")
    missing = sorted(set(truth) - set(found))
    if missing:
        raise InputError(f"{wells_csv}: has no well {', '.join(missing)}, which the simulated plate {raw} has")
    return [
        WellError(
            well=well,
            condition=row["condition"],
            n_true=int(row["n_endolysosomes"]),
            n_found=int(found[well]["n_endolysosomes"]),
            occupancy_true=_number(row[column]),
            occupancy_found=_number(found[well][column]),
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
