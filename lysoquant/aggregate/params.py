"""Settings of aggregate."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lysoquant.params import Params
from lysoquant.screening.params import ScreenParams


class ExpressionParams(Params):
    """Which cells express the cargo and so count for occupancy."""

    method: Literal["none", "threshold", "mixture", "controls"] = "none"
    """none: every cell counts; threshold: from `min_mean_cargo` on; mixture: the brighter of a plate's two populations;
    controls: cells brighter than nearly all cells of untransfected wells."""
    min_mean_cargo: Annotated[float, Field(ge=0)] = 0.0
    """threshold: smallest mean cargo intensity of an expressing cell, in raw grey values."""
    control_condition: str = ""
    """controls: condition, in wells.tsv, of the wells whose cells were not transfected."""
    control_quantile: Annotated[float, Field(gt=0.5, lt=1)] = 0.99
    """controls: share of the untransfected cells, plate by plate, that an expressing cell must exceed."""

    @model_validator(mode="after")
    def _condition_is_named(self) -> Self:
        if self.method == "controls" and not self.control_condition.strip():
            raise ValueError(
                "method 'controls' needs `control_condition`, the condition in wells.tsv of the untransfected wells"
            )
        return self


class FieldQualityParams(Params):
    """Which fields are flagged by what their raw images look like; a flagged field still counts."""

    min_signal_to_background: Annotated[float, Field(ge=0)] = 3.0
    """Least rise of the brightest things above the background, in units of the noise of a pixel (noise alone: about 1):
    below it in every role's channel the field is empty, in the lysosome or nucleus channel too dim. 0: not judged."""
    min_focus_score: Annotated[float, Field(ge=0)] = 0.0
    """Least focus score of the lysosome channel (`fields.parquet` has it of every field). 0: not judged."""
    min_relative_focus: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Least focus score of the lysosome channel as a share of the plate's median, from 5 fields on. 0: not judged."""
    max_saturated_fraction: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Largest share of saturated pixels in any channel (`fields.parquet` has it of every field). 1: not judged."""
    swap_detail_ratio: Annotated[float, Field(gt=1)] = 2.0
    """A nucleus channel with so many times the fine detail (variance within 2.5 um) of the lysosome channel
    looks swapped."""


class AggregateParams(Params):
    """From cells to wells, conditions and statistics."""

    expression: ExpressionParams = ExpressionParams()
    """Expression gate; cells outside it stay in the tables but do not enter a well's occupancy."""
    field_quality: FieldQualityParams = FieldQualityParams()
    """Which fields are flagged by what their raw images look like; a flagged field still counts."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Confidence of the intervals."""
    bootstrap: Annotated[int, Field(ge=100, le=100_000)] = 2000
    """Resamples of a well's cells for the interval of its pooled occupancy."""
    min_cells: Annotated[int, Field(ge=0)] = 3
    """A well with fewer cells is flagged `few_cells`."""
    min_endolysosomes: Annotated[int, Field(ge=0)] = 20
    """A well with fewer endolysosomes is flagged `few_endolysosomes`."""
    combinations: dict[str, str] = {}  # noqa: RUF012 (pydantic copies it)
    """Boolean combinations of cargoes by name, such as {both: SEC62 and LC3, only_LC3: LC3 and not SEC62}, counted as
    the loaded endolysosomes are."""
    screen: ScreenParams = ScreenParams()
    """Plates as one screen: quality of plates, hits and dose-response curves."""


class AggregateSettings(Params):
    """All that aggregate's result depends on besides the wells' tables and the plate map."""

    params: AggregateParams
    cargo: str
    """Label of the cargo channel."""
    lysosome: str | None = None
    """Label of the lysosome channel; None: not judged."""
    nucleus: str | None = None
    """Label of the nucleus channel; None where there is none."""
    other_cargoes: tuple[str, ...] = ()
    """Labels of the channels of other cargoes."""
