"""All plates of a project as one screen: from the rows of the well table to plates, hits and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lysoquant.screening.doses import dose_rows
from lysoquant.screening.hits import hit_rows
from lysoquant.screening.normalise import normalise
from lysoquant.screening.params import ScreenParams
from lysoquant.screening.plates import effects_left_in, plate_rows
from lysoquant.screening.wells import Row, read_wells

Table = list[dict[str, str | int | float]]


@dataclass(frozen=True)
class Screen:
    """What a screen comes to.

    Attributes
    ----------
    wells : list of dict
        `normalised` and `excluded` of each well, in the order of the well table.
    plates, hits, dose_response : list of dict
        Rows of the tables of these names.
    """

    wells: Table
    plates: Table
    hits: Table
    dose_response: Table


def screen(rows: Sequence[Row], params: ScreenParams, *, confidence: float) -> Screen:
    """Plates, hits and dose-response curves of the wells of all plates.

    Parameters
    ----------
    rows : sequence of mapping
        The well table with the user's own columns.
    params : ScreenParams
        All settings.
    confidence : float
        Of all intervals, between 0 and 1.

    Raises
    ------
    ConfigError
        If a dose is no number from 0 on.
    """
    wells = read_wells(rows, dose_column=params.dose_column)
    normalised = normalise(wells, params)
    plates = plate_rows(wells, normalised, params)
    left_in = effects_left_in(plates, params)
    left_out = [own or reason for own, reason in zip(wells.excluded, normalised.reason, strict=True)]
    return Screen(
        wells=[
            {"normalised": float(value), "excluded": str(reason)}
            for value, reason in zip(normalised.values, left_out, strict=True)
        ],
        plates=plates,
        hits=hit_rows(wells, normalised, params, confidence=confidence, position_effects=left_in),
        dose_response=dose_rows(wells, params, confidence=confidence),
    )
