"""Sentences of the methods paragraph on tests, hits and curves, from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lysoquant.report import measures
from lysoquant.report.wording import listing, setting

_UNITS: Final = {
    "well": "the well was the replicate",
    "replicate": "wells of one plate, condition and replicate number were averaged and counted as one replicate",
}
_ADJUSTMENTS: Final = {
    "bh": "adjusted by Benjamini and Hochberg",
    "holm": "adjusted by Holm",
    "sidak": "adjusted by Šidák",
    "none": "not adjusted",
}
_NORMALISED: Final = {
    "none": "the negative controls of all plates",
    "negative_controls": "the negative controls of its plate",
    "robust_z": "the median of its plate",
    "b_score": "the median of its plate, with row and column effects removed by median polish",
}


def statistics(config: Mapping[str, object]) -> str:
    """The tests between conditions, each with its own adjustment."""
    found = setting(config, "aggregate", "statistics")
    settings: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    tests = settings.get("tests") or ()
    on = f"{settings.get('unit', 'well')} means of {_measurement(settings)}"
    said = [_against_control(settings, on), _over_all(tests, on), _within_levels(settings, on)]
    if not any(said):
        return ""
    unit = _UNITS.get(str(settings.get("unit")), "")
    each = ", each plate by itself" if settings.get("over") == "plate" else ""
    told = f"{unit}{each}".removeprefix(", ")
    return " ".join([*filter(None, said), *([f"{told[:1].upper()}{told[1:]}."] if told else [])])


def _measurement(settings: Mapping[str, Any]) -> str:
    title = measures.title(str(settings.get("measurement", "occupancy_mean")))
    return f"{title} as log odds" if settings.get("scale") == "logit" else title


def _against_control(settings: Mapping[str, Any], on: str) -> str:
    """Tests of each condition against the negative control, whose p values are adjusted as the settings say."""
    cells = "cells’ log odds" if settings.get("scale") == "logit" else "cells"
    phrases = {
        "welch": f"Welch’s t test of {on}",
        "t": f"Student’s unpaired t test of {on}",
        "mixed": f"a linear mixed model of {cells} within {settings.get('unit', 'well')}s and plates (REML, "
        "Satterthwaite’s degrees of freedom)",
        "beta_binomial": "a beta-binomial model of the counts of loaded and empty endolysosomes",
    }
    named = [phrases[test] for test in settings.get("tests") or () if test in phrases]
    if not named:
        return ""
    adjusted = _ADJUSTMENTS.get(str(settings.get("adjust")), "")
    return f"Conditions were compared with the negative control by {listing(named)}" + (
        f"; p values {'of each test ' * (len(named) > 1)}were {adjusted}." if adjusted else "."
    )


def _over_all(tests: Any, on: str) -> str:
    if "anova_tukey" not in tests:
        return ""
    return f"All conditions were compared by one-way ANOVA of {on} and, pair by pair, by Tukey’s test."


def _within_levels(settings: Mapping[str, Any], on: str) -> str:
    if "two_way_sidak" not in (settings.get("tests") or ()):
        return ""
    factor = settings.get("second_factor", "plate")
    return (
        f"After two-way ANOVA of {on} by condition and {factor}, conditions were compared with the negative control "
        f"within each {factor}, adjusted by Šidák."
    )


def screen(config: Mapping[str, object], *, by_bulk: bool) -> str:
    """How hits were chosen.

    Parameters
    ----------
    config : mapping
        The whole configuration.
    by_bulk : bool
        Whether p values rest on the bulk of the tested conditions.
    """
    against = _NORMALISED.get(str(setting(config, "aggregate", "screen", "normalise")))
    null = "the median and spread of all tested conditions" if by_bulk else "Student’s distribution"
    said = [
        _excluded(config),
        f"The logit of each well’s pooled occupancy was held against {against}." if against else "",
        f"Conditions were tested over their wells by a moderated t test (Smyth 2004), p values resting on {null}.",
        _rule(config),
    ]
    return " ".join(filter(None, said))


def _excluded(config: Mapping[str, object]) -> str:
    n_cells, n_regions = (setting(config, "aggregate", name) for name in ("min_cells", "min_endolysosomes"))
    if not isinstance(n_cells, int) or not isinstance(n_regions, int):
        return ""
    return f"Wells of fewer than {n_cells} cells or {n_regions} endolysosomes were left out of the search for hits."


def _rule(config: Mapping[str, object]) -> str:
    largest_p, least = (setting(config, "aggregate", "screen", name) for name in ("max_p_adjusted", "min_effect"))
    if not isinstance(largest_p, int | float) or not isinstance(least, int | float):
        return ""
    return (
        f"A hit has an adjusted p value (Benjamini and Hochberg, over the screen) of at most {largest_p:g} and "
        f"differs from its reference by an occupancy of at least {least:g}."
    )


def curves(config: Mapping[str, object]) -> str:
    """How dose-response curves were fitted."""
    confidence = setting(config, "aggregate", "confidence")
    of = f"{100 * confidence:g} % intervals" if isinstance(confidence, float) else "intervals"
    return (
        "Dose-response curves of four parameters were fitted to the wells’ pooled occupancy by least squares; "
        f"{of} of EC50 are Wald’s on the logarithm of the dose."
    )
