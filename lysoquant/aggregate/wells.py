"""One row a well: the occupancy table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.aggregate.occupancy import bootstrap_seed, well_occupancy
from lysoquant.aggregate.params import AggregateParams
from lysoquant.aggregate.plate_map import MapRow
from lysoquant.aggregate.shares import Share
from lysoquant.screening.scores import b_score, robust_z
from lysoquant.statistics.log_odds import empirical_logit
from lysoquant.vocabulary import FAILED, FLAGGED, row_index, split_well

Row = dict[str, str | int | float]

COLUMNS: Final[Mapping[str, type]] = {
    "plate": str,
    "well": str,
    "row": str,
    "column": int,
    "condition": str,
    "replicate": str,
    "control": str,
    "n_fields": int,
    "n_fields_failed": int,
    "n_cells": int,
    "n_endolysosomes": int,
    "n_empty": int,
    "n_loaded": int,
    "occupancy_mean": float,
    "occupancy_sd": float,
    "occupancy_pooled": float,
    "occupancy_ci_low": float,
    "occupancy_ci_high": float,
    "area_um2_mean": float,
    "robust_z": float,
    "b_score": float,
    "flags": str,
    "n_cells_expressing": int,
    "reason": str,
    "n_cells_with_occupancy": int,
    "occupancy_logit_mean": float,
    "occupancy_logit_sd": float,
    "normalised": float,
    "excluded": str,
}
"""Columns of the well table by type: the contract's first, then our own; the user's own follow."""

NO_IMAGES: Final = "no_images"
ALL_FIELDS_FAILED: Final = "all_fields_failed"
_NO_IMAGES_REASON: Final = "no image of this well was found"


@dataclass(frozen=True)
class WellParts:
    """What the part tables say of one well.

    Attributes
    ----------
    statuses, reasons : sequence of str
        Of each field.
    expressing : ndarray of bool, shape (n_cells,)
        Whether each cell counts.
    n_empty, n_loaded : ndarray of int64, shape (n_cells,)
        Endolysosomes of each cell by class.
    area_um2 : ndarray of float64, shape (n_regions,)
        Area of each region of the cells that count.
    doubt : str
        Why the plate's expression gate could not be found, so that every cell counts.
    n_share : dict of str to ndarray of int64, shape (n_cells,)
        Endolysosomes of each cell that another cargo loads or a combination picks, by column.
    """

    statuses: Sequence[str]
    reasons: Sequence[str]
    expressing: NDArray[np.bool_]
    n_empty: NDArray[np.int64]
    n_loaded: NDArray[np.int64]
    area_um2: NDArray[np.float64]
    doubt: str = ""
    n_share: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @classmethod
    def without_images(cls) -> WellParts:
        """A well that the plate map names and of which nothing was measured."""
        counts = np.zeros(0, dtype=np.int64)
        return cls((), (), np.zeros(0, dtype=np.bool_), counts, counts, np.zeros(0))


def well_row(
    *,
    plate: str,
    well: str,
    mapped: MapRow | None,
    parts: WellParts,
    params: AggregateParams,
    shares: Sequence[Share] = (),
) -> Row:
    """Row of one well, its scores against the plate still NaN, and its part in the screen not told yet.

    Parameters
    ----------
    plate, well : str
        Names.
    mapped : MapRow or None
        The well's row of the plate map; None where it has none.
    parts : WellParts
        The well's cells, regions and fields.
    params : AggregateParams
        Intervals and the limits of the flags.
    shares : sequence of Share
        Other cargoes and combinations.

    Returns
    -------
    dict
        Every key of :data:`COLUMNS`, those of the shares, then the user's own. `n_cells` counts all cells;
        `n_cells_expressing`, endolysosomes, occupancy and area only the cells that express.
    """
    keep = parts.expressing
    occupancy = well_occupancy(
        n_empty=parts.n_empty[keep],
        n_loaded=parts.n_loaded[keep],
        confidence=params.confidence,
        n_resamples=params.bootstrap,
        seed=bootstrap_seed(plate=plate, well=well),
        interval=params.interval,
    )
    told = mapped or MapRow()
    row, column = split_well(well)
    n_endolysosomes = occupancy.n_empty + occupancy.n_loaded
    found: Row = {
        "plate": plate,
        "well": well,
        "row": row,
        "column": column,
        "condition": told.condition,
        "replicate": told.replicate,
        "control": told.control,
        "n_fields": len(parts.statuses),
        "n_fields_failed": sum(status == FAILED for status in parts.statuses),
        "n_cells": keep.size,
        "n_endolysosomes": n_endolysosomes,
        "n_empty": occupancy.n_empty,
        "n_loaded": occupancy.n_loaded,
        "occupancy_mean": occupancy.mean,
        "occupancy_sd": occupancy.sd,
        "occupancy_pooled": occupancy.pooled,
        "occupancy_ci_low": occupancy.ci_low,
        "occupancy_ci_high": occupancy.ci_high,
        "area_um2_mean": float(parts.area_um2.mean()) if parts.area_um2.size else math.nan,
        "robust_z": math.nan,
        "b_score": math.nan,
        "n_cells_expressing": int(keep.sum()),
        "reason": _distinct_reasons([*parts.reasons, parts.doubt]) if parts.statuses else _NO_IMAGES_REASON,
        "n_cells_with_occupancy": occupancy.n_cells,
        "occupancy_logit_mean": occupancy.logit_mean,
        "occupancy_logit_sd": occupancy.logit_sd,
        "normalised": math.nan,
        "excluded": "",
    }
    found["flags"] = _flags(found, parts=parts, mapped=mapped is not None, params=params)
    row_of_shares: Row = {}
    for share in shares:
        n_share = parts.n_share.get(share.n_column, np.zeros(keep.size, dtype=np.int64))
        row_of_shares |= share.of_well(n_all=(parts.n_empty + parts.n_loaded)[keep], n_share=n_share[keep])
    return {name: found[name] for name in COLUMNS} | row_of_shares | dict(told.extra)


def score_plate(rows: Sequence[Row]) -> list[Row]:
    """The rows of one plate's wells with `robust_z` and `b_score`, both of the empirical logit of pooled occupancy."""
    n_empty, n_loaded, column = (
        np.array([row[name] for row in rows], dtype=np.int64) for name in ("n_empty", "n_loaded", "column")
    )
    logit = empirical_logit(n_empty=n_empty, n_loaded=n_loaded)
    lines = np.array([row_index(str(row["row"])) for row in rows], dtype=np.int64)
    z, b = robust_z(logit), b_score(values=logit, rows=lines, columns=column)
    return [row | {"robust_z": float(z[i]), "b_score": float(b[i])} for i, row in enumerate(rows)]


def _flags(row: Row, *, parts: WellParts, mapped: bool, params: AggregateParams) -> str:
    """Why a person should look at the well, in fixed order, joined by ``;``."""
    n_fields, n_failed = len(parts.statuses), int(row["n_fields_failed"])
    raised = {
        NO_IMAGES: n_fields == 0,
        ALL_FIELDS_FAILED: 0 < n_fields == n_failed,
        "failed_fields": 0 < n_failed < n_fields,
        "flagged_fields": FLAGGED in parts.statuses,
        "few_cells": int(row["n_cells_expressing"]) < params.min_cells,
        "few_endolysosomes": int(row["n_endolysosomes"]) < params.min_endolysosomes,
        "pixel_size": any("pixel size" in reason.lower() for reason in parts.reasons),
        "not_in_plate_map": not mapped,
        "no_expression_gate": bool(parts.doubt),
    }
    return ";".join(name for name, holds in raised.items() if holds)


def _distinct_reasons(reasons: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(part for reason in reasons for part in reason.split("; ") if part))
