"""Settings of aggregate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lysoquant.params import Params


class ExpressionParams(Params):
    """Which cells express the cargo and so count for occupancy."""

    method: Literal["none", "threshold"] = "none"
    """none: every cell counts; threshold: cells whose mean cargo intensity reaches `min_mean_cargo`."""
    min_mean_cargo: Annotated[float, Field(ge=0)] = 0.0
    """threshold: smallest mean cargo intensity of an expressing cell, in raw grey values."""


class AggregateParams(Params):
    """From cells to wells, conditions and statistics."""

    expression: ExpressionParams = ExpressionParams()
    """Expression gate; cells outside it stay in the tables but do not enter a well's occupancy."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Confidence of the intervals."""
    bootstrap: Annotated[int, Field(ge=100, le=100_000)] = 2000
    """Resamples of a well's cells for the interval of its pooled occupancy."""
    min_cells: Annotated[int, Field(ge=0)] = 3
    """A well with fewer cells is flagged `few_cells`."""
    min_endolysosomes: Annotated[int, Field(ge=0)] = 20
    """A well with fewer endolysosomes is flagged `few_endolysosomes`."""


class AggregateSettings(Params):
    """All that aggregate's result depends on besides the wells' tables and the plate map."""

    params: AggregateParams
    cargo: str
    """Label of the cargo channel."""
