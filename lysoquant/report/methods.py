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


def methods(settings: ReportSettings, *, models: Sequence[Mapping[str, Any]], tests: Sequence[str]) -> str:
    """What was done, in a paragraph for a paper.

    Parameters
    ----------
    settings : ReportSettings
        Channels and configuration; a sentence whose setting is absent is left out.
    models : sequence of mapping
        The models that were used.
    tests : sequence of str
        Names of the statistical tests in the statistics table.
    """
    config = settings.config
    sentences = [
        _channels(settings),
        _illumination(config),
        _cells(_setting(config, "cells", "method")),
        _segmentation(models),
        _minimum(_setting(config, "measure", "min_area_um2")),
        "A region is loaded when cargo lies in its lumen; cargo docked on the outside leaves it empty. "
        "The occupancy of a cell is loaded / (loaded + empty) and is undefined for a cell without endolysosomes; "
        "a well has the mean over its cells, a condition the mean and standard deviation over its wells.",
        _expression(config),
        _intervals(config),
        f"Conditions were compared with the negative control by {listing(tests)}." if tests else "",
        "The method follows LysoQuant (Morone et al. 2020, Mol. Biol. Cell 31, 1512–1524).",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _setting(config: Mapping[str, object], *path: str) -> Any:
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
    if not _setting(config, "illumination", "flat_field"):
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
    if _setting(config, "aggregate", "expression", "method") != "threshold":
        return ""
    least = _setting(config, "aggregate", "expression", "min_mean_cargo")
    return f"Only cells with a mean cargo intensity of at least {least:g} grey values count for a well."


def _intervals(config: Mapping[str, object]) -> str:
    confidence, resamples = (_setting(config, "aggregate", name) for name in ("confidence", "bootstrap"))
    if not isinstance(confidence, float) or not isinstance(resamples, int):
        return ""
    return (
        f"A well’s {100 * confidence:g} % interval of its pooled occupancy comes from {resamples:,} bootstrap "
        "resamples of its cells."
    )
