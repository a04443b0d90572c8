"""The wells of a screen as arrays, and which of them count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.errors import ConfigError
from lysoquant.statistics.log_odds import empirical_logit
from lysoquant.vocabulary import row_index

Row = Mapping[str, str | int | float]
"""A row of the well table."""

FAILED_FLAGS: Final = ("no_images", "all_fields_failed")
_EXCLUDING: Final = (*FAILED_FLAGS, "few_cells", "few_endolysosomes")
"""Flags of wells that don't count."""

NO_DOSE: Final = math.nan


@dataclass(frozen=True)
class Wells:
    """Wells of all plates, in the order of the well table; each attribute has one value a well.

    Attributes
    ----------
    plate, well, condition, control : ndarray of str
        As in the well table.
    row, column : ndarray of int64
        Row from 0, column from 1.
    dose : ndarray of float64
        NaN where none is given.
    n_cells, n_empty, n_loaded : ndarray of int64
        Expressing cells and their endolysosomes by class.
    logit : ndarray of float64
        Empirical logit of pooled occupancy; NaN without endolysosomes.
    excluded : ndarray of str
        Why the well does not count; empty where it does, and then `logit` is finite.
    failed : ndarray of bool
        Without images, or with every field failed.
    """

    plate: NDArray[np.str_]
    well: NDArray[np.str_]
    condition: NDArray[np.str_]
    control: NDArray[np.str_]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    dose: NDArray[np.float64]
    n_cells: NDArray[np.int64]
    n_empty: NDArray[np.int64]
    n_loaded: NDArray[np.int64]
    logit: NDArray[np.float64]
    excluded: NDArray[np.str_]
    failed: NDArray[np.bool_]

    @property
    def counts(self) -> NDArray[np.bool_]:
        """Whether each well counts."""
        return np.asarray(self.excluded == "")

    def plates(self) -> list[str]:
        """Names of the plates in their order."""
        return list(dict.fromkeys(self.plate.tolist()))


def read_wells(rows: Sequence[Row], *, dose_column: str) -> Wells:
    """Wells of the well table.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of the well table with the user's own columns.
    dose_column : str
        The user's column with doses; empty, or absent from the rows: no doses.

    Raises
    ------
    ConfigError
        If a dose is no number from 0 on.
    """

    def words(name: str) -> NDArray[np.str_]:
        return np.array([str(row[name]) for row in rows], dtype=np.str_)

    def whole(name: str) -> NDArray[np.int64]:
        return np.array([row[name] for row in rows], dtype=np.int64)

    n_empty, n_loaded = whole("n_empty"), whole("n_loaded")
    flags = [str(row["flags"]).split(";") for row in rows]
    found = Wells(
        plate=words("plate"),
        well=words("well"),
        condition=words("condition"),
        control=words("control"),
        row=np.array([row_index(str(row["row"])) for row in rows], dtype=np.int64),
        column=whole("column"),
        dose=np.array(
            [
                read_dose(
                    str(row.get(dose_column, "")),
                    plate=str(row["plate"]),
                    well=str(row["well"]),
                    dose_column=dose_column,
                )
                for row in rows
            ],
            dtype=np.float64,
        ),
        n_cells=whole("n_cells_expressing"),
        n_empty=n_empty,
        n_loaded=n_loaded,
        logit=empirical_logit(n_empty=n_empty, n_loaded=n_loaded),
        excluded=np.array(
            [_excluded(of_well, n) for of_well, n in zip(flags, (n_empty + n_loaded).tolist(), strict=True)],
            dtype=np.str_,
        ),
        failed=np.array([not set(FAILED_FLAGS).isdisjoint(of_well) for of_well in flags], dtype=np.bool_),
    )
    return found


def read_dose(text: str, *, plate: str, well: str, dose_column: str) -> float:
    """A dose of the plate map; NaN for an empty cell.

    Raises
    ------
    ConfigError
        If it is no number from 0 on.
    """
    if not text:
        return NO_DOSE
    try:
        dose = float(text)
    except ValueError:
        dose = math.nan
    if not 0 <= dose < math.inf:
        raise ConfigError(
            f"plate map: well {well} of plate {plate} has {dose_column} {text!r}; expected a number from 0 on, such as"
            " 0.5, all in one unit: correct it, or name another column in aggregate.screen.dose_column ('' for none)"
        )
    return dose


def _excluded(flags: Sequence[str], n_endolysosomes: int) -> str:
    why = [flag for flag in _EXCLUDING if flag in flags]
    return ";".join(why) or ("" if n_endolysosomes else "no_endolysosomes")
