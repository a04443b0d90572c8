"""Settings of aggregate."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lysoquant.errors import ConfigError
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


Test = Literal["welch", "t", "anova_tukey", "two_way_sidak", "mixed", "beta_binomial"]
"""Tests of `aggregate.statistics.tests`."""


class StatisticsParams(Params):
    """Tests between conditions; wells, never cells, are the replicates."""

    tests: tuple[Test, ...] = ("welch",)
    """Which tests statistics.csv has. welch: t test that lets variances differ; t: Student's, unpaired; anova_tukey:
    one-way ANOVA over all conditions, then every pair by Tukey; two_way_sidak: two-way ANOVA with `second_factor`, then
    against the negative control within each of its levels, by Sidak; mixed: cells in wells in plates as a linear mixed
    model; beta_binomial: counts of loaded and empty that vary more than chance from well to well. [] for none."""
    measurement: Annotated[str, Field(min_length=1)] = "occupancy_mean"
    """Column of wells.csv that welch, t, anova_tukey and two_way_sidak compare."""
    scale: Literal["fraction", "logit"] = "fraction"
    """fraction: the measurement as it is; logit: log odds of a measurement that is a fraction, where distances mean the
    same near 0 and 1 as in the middle."""
    unit: Literal["well", "replicate"] = "well"
    """well: each well counts as one replicate; replicate: wells of one plate, condition and `replicate` number of
    wells.tsv are averaged first and count as one."""
    second_factor: Annotated[str, Field(min_length=1)] = "plate"
    """two_way_sidak: `plate`, `replicate`, or one of your own columns of wells.tsv."""
    over: Literal["project", "plate"] = "project"
    """project: wells of all plates enter one test, and p values are adjusted over the table; plate: each plate has
    tests of its own, against its own control, adjusted over the plate."""
    adjust: Literal["bh", "holm", "sidak", "none"] = "bh"
    """How p values of welch, t, mixed and beta_binomial are adjusted for the number of comparisons of the same test.
    bh: false discovery rate of Benjamini and Hochberg; holm, sidak: chance of any false alarm."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if len(set(self.tests)) < len(self.tests):
            raise ValueError(f"tests names one twice: {', '.join(self.tests)}; name each once")
        if self.over == "plate" and "two_way_sidak" in self.tests and self.second_factor == "plate":
            raise ValueError(
                "two_way_sidak within each plate can't have the plate as its second factor; set over to project, or"
                " second_factor to a column of wells.tsv"
            )
        return self

    def require_factor(self, own_columns: Collection[str]) -> None:
        """Refuse a second factor that is asked for and is none of the user's own columns of ``wells.tsv``.

        Raises
        ------
        ConfigError
            With the columns that there are.
        """
        known = ["plate", "replicate", *sorted(own_columns)]
        if "two_way_sidak" in self.tests and self.second_factor not in known:
            raise ConfigError(
                f"aggregate.statistics.second_factor is {self.second_factor!r}, no column of wells.tsv that can be one;"
                f" expected one of {', '.join(known)}"
            )


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
    interval: Literal["bootstrap", "beta_binomial"] = "bootstrap"
    """Interval of occupancy in wells.csv and conditions.csv. bootstrap: of a well by resampling its cells, of a
    condition by t over its wells; beta_binomial: from counts that vary more than chance between the cells of a well and
    between the wells of a condition, always within 0 and 1."""
    min_cells: Annotated[int, Field(ge=0)] = 3
    """A well with fewer cells is flagged `few_cells`."""
    min_endolysosomes: Annotated[int, Field(ge=0)] = 20
    """A well with fewer endolysosomes is flagged `few_endolysosomes`."""
    combinations: dict[str, str] = {}  # noqa: RUF012 (pydantic copies it)
    """Boolean combinations of cargoes by name, such as {both: SEC62 and LC3, only_LC3: LC3 and not SEC62}, counted as
    the loaded endolysosomes are."""
    statistics: StatisticsParams = StatisticsParams()
    """Tests between conditions; wells, never cells, are the replicates."""
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
