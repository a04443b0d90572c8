"""The methods paragraph says what was done, by every setting."""

from __future__ import annotations

from typing import Any

import pytest

from lysoquant.channels import Channels
from lysoquant.report.methods import Done, methods
from lysoquant.report.params import ReportParams, ReportSettings


class TestMethods:
    CONFIG = {  # noqa: RUF012
        "aggregate": {
            "statistics": {"tests": ["welch"], "unit": "replicate", "adjust": "holm"},
            "screen": {"normalise": "b_score", "max_p_adjusted": 0.01, "min_effect": 0.05},
            "min_cells": 3,
            "min_endolysosomes": 20,
        }
    }

    def said(self, config: dict[str, object], done: Done | None = None, **channels: Any) -> str:
        named = Channels(lysosome="RAB7", cargo="SEC62", **channels)
        return methods(ReportSettings(channels=named, params=ReportParams(), config=config), done or Done())

    def test_statistics_and_hits_are_told_as_they_were_set(self) -> None:
        said = self.said(self.CONFIG, Done(n_comparisons=3, n_tested=60, by_bulk=True))
        assert (
            "Conditions were compared with the negative control by Welch’s t test of replicate means of occupancy; p "
            "values were adjusted by Holm. Wells of one plate, condition and replicate number were averaged and "
            "counted as one replicate." in said
        )
        assert (
            "Wells of fewer than 3 cells or 20 endolysosomes were left out of the search for hits. The logit of each "
            "well’s pooled occupancy was held against the median of its plate, with row and column effects removed by "
            "median polish. Conditions were tested over their wells by a moderated t test (Smyth 2004), p values "
            "resting on the median and spread of all tested conditions. A hit has an adjusted p value (Benjamini and "
            "Hochberg, over the screen) of at most 0.01 and differs from its reference by an occupancy of at least "
            "0.05." in said
        )
        assert "resting on Student’s distribution" in self.said(self.CONFIG, Done(n_tested=4))

    def test_every_test_has_its_own_adjustment(self) -> None:
        tests = ["t", "anova_tukey", "two_way_sidak", "mixed", "beta_binomial"]
        statistics = {"tests": tests, "adjust": "bh", "scale": "logit", "over": "plate", "second_factor": "donor"}
        said = self.said({"aggregate": {"statistics": statistics | {"unit": "well"}}}, Done(n_comparisons=9))
        assert (
            "Conditions were compared with the negative control by Student’s unpaired t test of well means of "
            "occupancy as log odds, a linear mixed model of cells’ log odds within wells and plates (REML, "
            "Satterthwaite’s degrees of freedom) and a beta-binomial model of the counts of loaded and empty "
            "endolysosomes; p values of each test were adjusted by Benjamini and Hochberg. All conditions were "
            "compared by one-way ANOVA of well means of occupancy as log odds and, pair by pair, by Tukey’s test. "
            "After two-way ANOVA of well means of occupancy as log odds by condition and donor, conditions were "
            "compared with the negative control within each donor, adjusted by Šidák. The well was the replicate, each "
            "plate by itself." in said
        )
        only_tukey = {"tests": ["anova_tukey"], "adjust": "bh", "unit": "well", "measurement": "area_um2_mean"}
        said = self.said({"aggregate": {"statistics": only_tukey}}, Done(n_comparisons=9))
        assert "one-way ANOVA of well means of area of an endolysosome, µm²" in said
        assert "Hochberg" not in said

    def test_what_is_not_set_or_not_done_is_left_out(self) -> None:
        said = self.said({}, Done(n_comparisons=3, n_tested=3))
        assert "distribution. The method" in said
        assert "A hit" not in said
        assert "compared" not in said
        assert "hit" not in self.said(self.CONFIG)
        assert "compared" not in self.said(self.CONFIG)
        assert "EC50" not in self.said(self.CONFIG)
        assert "95 % intervals of EC50" in self.said({"aggregate": {"confidence": 0.95}}, Done(n_curves=1))

    def test_further_cargoes_and_what_it_was_done_with(self) -> None:
        config = {"aggregate": {"combinations": {"both": "SEC62 and LC3"}}, "convert": {"z": "max"}}
        versions = {"lysoquant": ["0.1.0"], "numpy": ["2.3.0"], "torch": ["2.13.0", "2.14.0"]}
        said = self.said(config, Done(versions=versions), other_cargoes=("LC3",), nucleus="DAPI")
        assert (
            "Images of RAB7 (lysosome), SEC62 (cargo), LC3 (further cargo) and DAPI (nucleus) were analysed at their "
            "own pixel size by lysoquant 0.1.0 with torch 2.13.0 and 2.14.0. Z stacks were projected by their maximum."
            in said
        )
        assert "classified once more with LC3; counted likewise: both (SEC62 and LC3)." in said

    @pytest.mark.parametrize(
        ("gate", "told"),
        [
            ({"method": "none"}, ""),
            (
                {"method": "threshold", "min_mean_cargo": 250.0},
                "cells with a mean cargo intensity of at least 250 grey",
            ),
            ({"method": "mixture"}, "cells of the brighter of two populations"),
            (
                {"method": "controls", "control_quantile": 0.99, "control_condition": "mock"},
                "cells with a mean cargo intensity above that of 99 % of the cells of mock, plate by plate, count",
            ),
        ],
    )
    def test_which_cells_count(self, gate: dict[str, object], told: str) -> None:
        said = self.said({"aggregate": {"expression": gate}})
        assert told in said
        assert ("Only cells" in said) == bool(told)

    def test_the_interval_is_the_one_that_was_taken(self) -> None:
        said = self.said({"aggregate": {"confidence": 0.9, "bootstrap": 2000, "interval": "bootstrap"}})
        assert "90 % interval of its pooled occupancy comes from 2,000 bootstrap resamples" in said
        said = self.said({"aggregate": {"confidence": 0.9, "bootstrap": 2000, "interval": "beta_binomial"}})
        assert "is the profile-likelihood interval of beta-binomial counts" in said
        assert "bootstrap" not in said
