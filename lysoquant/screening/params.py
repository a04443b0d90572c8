"""Settings of the screen: what plates are judged by, how their wells become one screen, and what a hit is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lysoquant.params import Params


class ScreenParams(Params):
    """Plates as one screen: quality of plates, hits and dose-response curves."""

    normalise: Literal["none", "negative_controls", "robust_z", "b_score"] = "negative_controls"
    """What a well is held against. none: the negative controls of all plates; negative_controls: those of its own
    plate; robust_z: the bulk of its plate, taken for inactive; b_score: the same, with row and column effects out."""
    null_distribution: Literal["theory", "bulk"] = "bulk"
    """What p values rest on. theory: Student's distribution; bulk: median and spread of the scores of all tested
    conditions, most of which are taken for inactive (from 50 tested conditions on; with fewer it is theory)."""
    min_controls: Annotated[int, Field(ge=2)] = 3
    """Least number of negative control wells on a plate for `negative_controls`, and of either kind for an unflagged
    plate."""
    max_p_adjusted: Annotated[float, Field(gt=0, le=1)] = 0.05
    """A hit has at most this p value, adjusted over the screen by Benjamini and Hochberg."""
    min_effect: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """A hit differs from its reference by at least this occupancy, up or down."""
    min_z_prime: Annotated[float, Field(le=1)] = 0.5
    """A plate with a smaller Z' is flagged `low_z_prime`."""
    min_ssmd: Annotated[float, Field(ge=0)] = 3.0
    """A plate whose controls are apart by a smaller SSMD, up or down, is flagged `low_ssmd`."""
    min_signal_window: float = 2.0
    """A plate with a smaller signal window is flagged `low_signal_window`."""
    max_position_p: Annotated[float, Field(ge=0, le=1)] = 0.001
    """A plate is flagged `edge_effect`, `row_effect`, `column_effect` or `drift` where the test's p value is at most
    this."""
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.1
    """A plate with a larger share of wells without images or with every field failed is flagged `many_failed_wells`."""
    plate_format: Literal["auto", "6", "12", "24", "48", "96", "384", "1536"] = "auto"
    """Wells of the plates, which says what their edge is; auto: the smallest of 96, 384 and 1536 that holds all wells
    of the plate."""
    acquisition_order: Literal["rows", "rows_snake", "columns", "columns_snake"] = "rows"
    """Order in which a plate's wells were imaged, for drift; snake: every other row or column backwards."""
    dose_column: str = "dose"
    """Column of wells.tsv with doses (numbers in one unit; 0: none). Wells of a condition with different doses are
    different conditions to the hit list, and a curve together. Empty: no doses."""
    min_doses: Annotated[int, Field(ge=3)] = 4
    """Least number of different doses above 0 for a curve."""
    min_r_squared: Annotated[float, Field(ge=0, le=1)] = 0.8
    """A curve that explains less of the wells' variance is flagged `poor_fit`."""
