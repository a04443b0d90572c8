"""The methods paragraph, from the settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lysoquant.report import comparisons
from lysoquant.report.params import ReportSettings
from lysoquant.report.wording import count, listing, setting
from lysoquant.units import MODEL_PIXEL_SIZE_UM

_PLANES: Final = {
    "max": "Z stacks were projected by their maximum.",
    "sharpest": "Of each Z stack the plane that is sharpest in the lysosome channel was taken.",
    "each": "Every Z plane was taken for a field.",
}
_CELLS: Final = {
    "watershed": "Cells were found by a watershed from the nuclei",
    "cellpose": "Cells were found by Cellpose",
    "rois": "Cells were taken from ImageJ regions of interest",
    "labels": "Cells were taken from label images made elsewhere",
    "field": "Each field was taken as one cell",
}


@dataclass(frozen=True)
class Done:
    """What was done besides what the settings say.

    Attributes
    ----------
    models : sequence of mapping
        The models that were used.
    versions : mapping of str to sequence of str
        Versions by package.
    n_comparisons, n_tested, n_curves : int
        Rows of the statistics table, tested conditions of the hit list, dose-response curves.
    by_bulk : bool
        Whether p values of the hit list rest on the bulk of the tested conditions.
    """

    models: Sequence[Mapping[str, Any]] = ()
    versions: Mapping[str, Sequence[str]] | None = None
    n_comparisons: int = 0
    n_tested: int = 0
    n_curves: int = 0
    by_bulk: bool = False


def methods(settings: ReportSettings, done: Done) -> str:
    """What was done, in a paragraph for a paper; a sentence whose setting is absent is left out."""
    config = settings.config
    sentences = [
        _images(settings, done.versions or {}),
        _PLANES.get(str(setting(config, "convert", "z")), ""),
        _illumination(config),
        _cells(setting(config, "cells", "method")),
        _segmentation(done.models),
        _minimum(setting(config, "measure", "min_area_um2")),
        "Area, perimeter, circularity, Feret diameters, aspect ratio, roundness and solidity follow ImageJ’s "
        "definitions.",
        "A region is loaded when cargo lies in its lumen; cargo docked on the outside leaves it empty. "
        "The occupancy of a cell is loaded / (loaded + empty) and is undefined for a cell without endolysosomes; "
        "a well has the mean over its cells, a condition the mean and standard deviation over its wells.",
        _other_cargoes(settings),
        _expression(config),
        _intervals(config),
        comparisons.statistics(config) if done.n_comparisons else "",
        comparisons.screen(config, by_bulk=done.by_bulk) if done.n_tested else "",
        comparisons.curves(config) if done.n_curves else "",
        "The method follows LysoQuant (Morone et al. 2020, Mol. Biol. Cell 31, 1512–1524).",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _images(settings: ReportSettings, versions: Mapping[str, Sequence[str]]) -> str:
    labels = settings.channels.by_role()
    named = [f"{label} ({role})" for role, label in labels.items() if role != "nucleus"]
    named += [f"{label} (further cargo)" for label in settings.channels.other_cargoes]
    named += [f"{labels['nucleus']} (nucleus)"] if "nucleus" in labels else []
    used = [f"{name} {' and '.join(versions[name])}" for name in ("lysoquant", "torch") if name in versions]
    by = f" by {' with '.join(used)}" if used else ""
    return f"Images of {listing(named)} were analysed at their own pixel size{by}."


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


def _other_cargoes(settings: ReportSettings) -> str:
    others = settings.channels.other_cargoes
    if not others:
        return ""
    said = (
        f"The endolysosomes were found with {settings.channels.cargo}, of which occupancy without further words is "
        f"told, and classified once more with {listing(others)}"
    )
    combinations = setting(settings.config, "aggregate", "combinations") or {}
    told = [f"{name} ({expression})" for name, expression in combinations.items()]
    return f"{said}; counted likewise: {listing(told)}." if told else f"{said}."


def _expression(config: Mapping[str, object]) -> str:
    """Which cells count, where not all do."""
    found = setting(config, "aggregate", "expression")
    gate: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    match gate.get("method"):
        case "threshold":
            said = f"with a mean cargo intensity of at least {gate['min_mean_cargo']:g} grey values"
        case "mixture":
            said = "of the brighter of two populations of mean cargo intensity, plate by plate,"
        case "controls":
            said = (
                f"with a mean cargo intensity above that of {100 * gate['control_quantile']:g} % of the cells of "
                f"{gate['control_condition']}, plate by plate,"
            )
        case _:
            return ""
    return f"Only cells {said} count for a well."


def _intervals(config: Mapping[str, object]) -> str:
    names = ("confidence", "bootstrap", "interval")
    confidence, resamples, kind = (setting(config, "aggregate", name) for name in names)
    if not isinstance(confidence, float) or not isinstance(resamples, int):
        return ""
    said = f"A well’s {100 * confidence:g} % interval of its pooled occupancy"
    if kind == "beta_binomial":
        return f"{said} is the profile-likelihood interval of beta-binomial counts of its cells."
    return f"{said} comes from {count(resamples, 'bootstrap resample')} of its cells."
