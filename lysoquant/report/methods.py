"""The methods paragraph, from the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lysoquant.report.params import ReportSettings
from lysoquant.report.wording import listing
from lysoquant.units import MODEL_PIXEL_SIZE_UM

_CELLS: Final = {
    "watershed": "Cells were found by a watershed from the nuclei",
    "cellpose": "Cells were found by Cellpose",
    "rois": "Cells were taken from ImageJ regions of interest",
    "labels": "Cells were taken from label images made elsewhere",
    "field": "Each field was taken as one cell",
}


def methods(
    settings: ReportSettings, *, models: Sequence[Mapping[str, Any]], tests: Sequence[str], is_screen: bool
) -> str:
    """What was done, in a paragraph for a paper.

    Parameters
    ----------
    settings : ReportSettings
        Channels and configuration; a sentence whose setting is absent is left out.
    models : sequence of mapping
        The models that were used.
    tests : sequence of str
        Names of the statistical tests in the statistics table.
    is_screen : bool
        Whether there is a hit list.
    """
    config = settings.config
    sentences = [
        _channels(settings),
        _illumination(config),
        _cells(setting(config, "cells", "method")),
        _segmentation(models),
        _minimum(setting(config, "measure", "min_area_um2")),
        "A region is loaded when cargo lies in its lumen; cargo docked on the outside leaves it empty. "
        "The occupancy of a cell is loaded / (loaded + empty) and is undefined for a cell without endolysosomes; "
        "a well has the mean over its cells, a condition the mean and standard deviation over its wells.",
        _expression(config),
        _intervals(config),
        _statistics(config, tests),
        _screen(config) if is_screen else "",
        "The method follows LysoQuant (Morone et al. 2020, Mol. Biol. Cell 31, 1512–1524).",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def setting(config: Mapping[str, object], *path: str) -> Any:
    """A value of the configuration by its path; None where there is none."""
    value: object = config
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _channels(settings: ReportSettings) -> str:
    named = [f"{label} ({role})" for role, label in settings.channels.by_role().items()]
    return f"Images of {listing(named)} were analysed at their own pixel size."


def _illumination(config: Mapping[str, object]) -> str:
    if not setting(config, "illumination", "flat_field"):
        return ""
    return "Uneven light was corrected by flat-field images before cells were found and intensities measured."


def _cells(method: Any) -> str:
    return f"{_CELLS[method]}." if method in _CELLS else ""


def _segmentation(models: Sequence[Mapping[str, Any]]) -> str:
    named = [
        f"{model.get('name', 'without a name')} (SHA-256 {str(model['sha256'])[:12]}…)" if model.get("sha256") else ""
        for model in models
    ]
    which = f", model {listing([name for name in named if name])}," if any(named) else ""
    return (
        "Every cell was cleared of its surroundings, normalised, brought to "
        f"{MODEL_PIXEL_SIZE_UM:g} µm pixels by linear interpolation and segmented by a U-Net{which} "
        "into background, empty and loaded endolysosomes; touching ones were split and each got one class."
    )


def _minimum(area: Any) -> str:
    return f"Regions smaller than {area:g} µm² were not counted." if isinstance(area, int | float) else ""


def _expression(config: Mapping[str, object]) -> str:
    if setting(config, "aggregate", "expression", "method") != "threshold":
        return ""
    least = setting(config, "aggregate", "expression", "min_mean_cargo")
    return f"Only cells with a mean cargo intensity of at least {least:g} grey values count for a well."


def _intervals(config: Mapping[str, object]) -> str:
    confidence, resamples = (setting(config, "aggregate", name) for name in ("confidence", "bootstrap"))
    if not isinstance(confidence, float) or not isinstance(resamples, int):
        return ""
    return (
        f"A well’s {100 * confidence:g} % interval of its pooled occupancy comes from {resamples:,} bootstrap "
        "resamples of its cells."
    )


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


def _statistics(config: Mapping[str, object], tests: Sequence[str]) -> str:
    if not tests:
        return ""
    said = f"Conditions were compared with the negative control by {listing(tests)}"
    unit = _UNITS.get(setting(config, "aggregate", "statistics", "unit"))
    adjusted = _ADJUSTMENTS.get(setting(config, "aggregate", "statistics", "adjust"))
    said += f"; {unit}" if unit else ""
    return f"{said}; p values were {adjusted}." if adjusted else f"{said}."


def _screen(config: Mapping[str, object]) -> str:
    """How hits were chosen, where the configuration says it."""
    against = _NORMALISED.get(setting(config, "aggregate", "screen", "normalise"))
    largest_p, least = (setting(config, "aggregate", "screen", name) for name in ("max_p_adjusted", "min_effect"))
    said = f"The logit of each well’s occupancy was held against {against}." if against else ""
    if isinstance(largest_p, int | float) and isinstance(least, int | float):
        said += (
            f" A hit has an adjusted p value (Benjamini and Hochberg, over the screen) of at most {largest_p:g} and "
            f"differs from its reference by an occupancy of at least {least:g}."
        )
    return said.strip()
