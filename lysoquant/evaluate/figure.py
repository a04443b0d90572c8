"""The figure of an evaluation, after the paper's Figure 3."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lysoquant.evaluate.run import FPR_GRID, Evaluation, Shown
from lysoquant.evaluate.score import CLASSES, cell_pixels
from lysoquant.examples.example import Example
from lysoquant.metrics.summary import mean_sd
from lysoquant.units import MODEL_PIXEL_SIZE_UM
from lysoquant.vocabulary import CLASS_COLOURS, CLASS_NAMES, EMPTY, LOADED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

Rgb = tuple[int, int, int]
RgbImage = NDArray[np.uint8]

OUTCOMES: Final[dict[str, Rgb]] = {
    "true positive": (0, 158, 115),
    "false positive": (213, 94, 0),
    "false negative": (86, 180, 233),
    "ignored": (150, 150, 150),
}
"""Colours that the colour-blind can tell apart (Okabe and Ito)."""

_CELL_GREY: Final = 38
_DPI: Final = 150
_PANEL_IN: Final = 3.4
_SCALE_BAR_UM: Final = 5.0
_LINES: Final = {EMPTY: "#0072B2", LOADED: "#CC79A7"}
_PAPER_MEANS: Final = {
    "iou_empty": 0.881,
    "iou_loaded": 0.877,
    "f1_segmentation_empty": 0.752,
    "f1_segmentation_loaded": 0.814,
    "f1_detection_empty": 0.777,
    "f1_detection_loaded": 0.790,
}


def write_figure(path: Path, evaluation: Evaluation) -> None:
    """Draw the examples that an evaluation kept, the ROC of both classes and the figures of every image, as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = len(evaluation.shown)
    figure = Figure(figsize=(4 * _PANEL_IN, (rows + 1) * (_PANEL_IN + 0.4)), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(2 if rows else 1, 1, height_ratios=[rows, 1] if rows else [1], squeeze=False)[:, 0]
    if rows:
        _draw_examples(parts[0], evaluation.shown)
    _draw_curves(parts[-1], evaluation)
    figure.savefig(path, format="png", metadata={"Software": None})


def outcome_map(example: Example, classes: NDArray[np.uint8], *, target: int) -> RgbImage:
    """True positive, false positive and false negative pixels of one class in colour.

    Parameters
    ----------
    classes : uint8 array (My, Mx)
        Class of every pixel that was found.
    target : int
        The class.

    Returns
    -------
    uint8 array (My, Mx, 3)
        Colours of `OUTCOMES`; dark grey elsewhere in the cell, black outside, where nothing is judged.
    """
    truth, found, cell = example.class_map == target, classes == target, cell_pixels(example)
    picture = np.zeros((*truth.shape, 3), np.uint8)
    picture[cell] = _CELL_GREY
    picture[cell & truth & found] = OUTCOMES["true positive"]
    picture[cell & ~truth & found] = OUTCOMES["false positive"]
    picture[cell & truth & ~found] = OUTCOMES["false negative"]
    picture[cell & example.ignored] = OUTCOMES["ignored"]
    return picture


def composite(example: Example) -> RgbImage:
    """Cargo magenta and lysosome green in the cell's crop (Y, X, 3), black outside the cell."""
    cargo, lysosome = (_stretched(plane, example.inside) for plane in (example.cargo, example.lysosome))
    return np.round(255 * np.dstack([cargo, lysosome, cargo])).astype(np.uint8)


def outlines(example: Example) -> RgbImage:
    """Outlines of the truth as an RGBA layer (My, Mx, 4): empty cyan, loaded magenta as in the paper."""
    from skimage.segmentation import find_boundaries

    edge = find_boundaries(example.regions, mode="thick")  # type: ignore[no-untyped-call]
    # The thick outline reaches one pixel out, where the pixel's own class is background.
    around = _grown(example.class_map)
    layer = np.zeros((*edge.shape, 4), np.uint8)
    for target in CLASSES:
        layer[edge & (around == target)] = (*CLASS_COLOURS[target], 255)
    return layer


def _grown(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from scipy import ndimage

    return np.where(classes > 0, classes, ndimage.grey_dilation(classes, size=(3, 3))).astype(np.uint8)


def _stretched(plane: NDArray[np.generic], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """A channel between its 1st and 99.7th percentile in the cell, square root, zero outside."""
    values = plane.astype(np.float32)
    if not inside.any():
        return np.zeros_like(values)
    low, high = np.percentile(values[inside], (1.0, 99.7))
    scaled = np.sqrt(np.clip((values - low) / max(float(high - low), 1e-6), 0, 1))
    return np.where(inside, scaled, 0).astype(np.float32)


def _draw_examples(figure: SubFigure, shown: list[Shown]) -> None:
    from matplotlib.patches import Patch

    axes = figure.subplots(len(shown), 4, squeeze=False)
    for row, one in zip(axes, shown, strict=True):
        _draw_example(row, one)
    titles = ["cargo magenta, lysosome green", "outlines of the truth", *(f"found: {CLASS_NAMES[c]}" for c in CLASSES)]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    colours = {f"truth: {CLASS_NAMES[c]}": CLASS_COLOURS[c] for c in CLASSES} | OUTCOMES
    patches = [Patch(facecolor=_unit(colour), edgecolor="black", label=name) for name, colour in colours.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=9, frameon=False)


def _draw_example(row: NDArray[Any], one: Shown) -> None:
    example, pixel = one.example, one.example.pixel_size_um
    picture = composite(example)
    grey = np.repeat((picture.max(axis=2, keepdims=True) * 0.7).astype(np.uint8), 3, axis=2)
    _show(row[0], picture, pixel)
    _show(row[1], grey, pixel)
    _show(row[1], outlines(example), MODEL_PIXEL_SIZE_UM)
    for axis, target in zip(row[2:], CLASSES, strict=True):
        _show(axis, outcome_map(example, one.prediction.classes, target=target), MODEL_PIXEL_SIZE_UM)
    height, width = (edge * pixel for edge in example.inside.shape)
    for axis in row:
        axis.set(xlim=(-pixel / 2, width - pixel / 2), ylim=(height - pixel / 2, -pixel / 2), xticks=[], yticks=[])
    row[0].set_ylabel(one.condition or example.name, fontsize=9)
    length, margin = min(_SCALE_BAR_UM, width / 3), 0.04 * width
    row[0].plot([width - margin - length, width - margin], [height - margin] * 2, color="white", linewidth=3)
    label = f"{length:.3g} µm"
    row[0].text(width - margin, height - 1.6 * margin, label, color="white", fontsize=8, ha="right", va="bottom")


def _show(axis: Axes, picture: RgbImage, pixel_size_um: float) -> None:
    """Draw an image in micrometres; pixel (0, 0) has its centre at (0, 0)."""
    height, width = (edge * pixel_size_um for edge in picture.shape[:2])
    half = pixel_size_um / 2
    axis.imshow(picture, extent=(-half, width - half, height - half, -half), interpolation="antialiased")


def _draw_curves(figure: SubFigure, evaluation: Evaluation) -> None:
    left, corner, iou, f1 = figure.subplots(1, 4)
    for axis in (left, corner):
        _draw_roc(axis, evaluation)
    left.set(title="ROC, mean ± SD of images", xlim=(0, 1), ylim=(0, 1.01))
    corner.set(title="its corner", xlim=(0, 0.1), ylim=(0.8, 1.002))
    if left.lines:
        left.legend(fontsize=8, loc="lower right")
    _draw_values(iou, evaluation.table, ["iou_empty", "iou_loaded"], title="IoU")
    names = [f"f1_{task}_{CLASS_NAMES[c]}" for task in ("segmentation", "detection") for c in CLASSES]
    _draw_values(f1, evaluation.table, names, title="F1")


def _draw_roc(axis: Axes, evaluation: Evaluation) -> None:
    for target in CLASSES:
        defined = evaluation.tpr[target]
        defined = defined[~np.isnan(defined).any(axis=1)]
        if not len(defined):
            continue
        name = CLASS_NAMES[target]
        mean, spread = defined.mean(axis=0), defined.std(axis=0)
        auc = mean_sd(evaluation.table[f"auc_{name}"])
        axis.plot(FPR_GRID, mean, color=_LINES[target], label=f"{name}, AUC {auc.mean:.4f} (n = {auc.n})")
        upper = np.minimum(mean + spread, 1)
        axis.fill_between(FPR_GRID, mean - spread, upper, color=_LINES[target], alpha=0.25, linewidth=0)
    axis.set(xlabel="false positive rate", ylabel="true positive rate")


def _draw_values(axis: Axes, table: pd.DataFrame, names: list[str], *, title: str) -> None:
    """A dot an image, the mean as a line, the paper's mean as a cross."""
    for place, name in enumerate(names):
        values = table[name].dropna().to_numpy()
        spread = place + 0.25 * np.linspace(-1, 1, len(values)) * (len(values) > 1)
        colour = _LINES[LOADED if name.endswith(CLASS_NAMES[LOADED]) else EMPTY]
        axis.plot(spread, values, "o", color=colour, markersize=3, alpha=0.6)
        if len(values):
            axis.hlines(values.mean(), place - 0.35, place + 0.35, color="black", linewidth=1.5)
        axis.plot(place, _PAPER_MEANS[name], "x", color="black", markersize=7)
    labels = [name.split("_", 1)[1].replace("_", "\n").replace("segmentation", "segmen-\ntation") for name in names]
    axis.set_xticks(range(len(names)), labels, fontsize=8)
    axis.set(title=f"{title}: images, mean (line), paper (×)", ylim=(-0.02, 1.02), xlim=(-0.6, len(names) - 0.4))
    axis.title.set_fontsize(9)


def _unit(colour: Rgb) -> tuple[float, float, float]:
    red, green, blue = (part / 255 for part in colour)
    return red, green, blue
