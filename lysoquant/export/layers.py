"""A field as napari's layers. Nothing here imports napari: a layer is data, its options and its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lysoquant.channels import Channels
from lysoquant.export.colours import channel_colours
from lysoquant.io.store import FieldStore
from lysoquant.vocabulary import CELLS, CLASS_COLOURS, EMPTY, ENDOLYSOSOME_CLASSES, ENDOLYSOSOMES, LOADED

LayerData = tuple[NDArray[Any], dict[str, Any], str]
"""Data, options, ``"image"`` or ``"labels"``: napari's own form."""

Colour = tuple[float, float, float, float]

_SHOWN_PERCENT: Final = (0.5, 99.8)
_CLEAR: Final = (0.0, 0.0, 0.0, 0.0)
_OPACITY: Final = {CELLS: 0.7, ENDOLYSOSOMES: 1.0, ENDOLYSOSOME_CLASSES: 0.5}

CLASS_RGBA: Final[Mapping[int, Colour]] = {
    kind: (red / 255, green / 255, blue / 255, 1.0) for kind, (red, green, blue) in CLASS_COLOURS.items()
}

NUMBERED_BY: Final = {CELLS: "cell", ENDOLYSOSOMES: "label"}
"""Column of a table that holds the numbers of the label image of that name."""


def field_layers(field: FieldStore, *, channels: Channels, tables: Mapping[str, pd.DataFrame]) -> list[LayerData]:
    """Channels and label images of a field, in the order in which they are laid over each other.

    Parameters
    ----------
    field : FieldStore
        An image and those of its label images that are there.
    channels : Channels
        Which channel has which role.
    tables : mapping of str to pandas.DataFrame
        Measurements of the field's cells and endolysosomes; empty before measure.

    Returns
    -------
    list of (ndarray (Y, X), dict, str)
        Layers in um. Endolysosomes have the colour of their class; those that measure left out as too small are clear.
        Where there are other cargoes, a hidden layer each has the same endolysosomes by the class of that cargo.

    Raises
    ------
    FieldError
        If the image or a label image can't be read.
    """
    place = {"scale": (field.pixel_size_um,) * 2, "units": ("um", "um"), "axis_labels": ("y", "x")}
    layers: list[LayerData] = []
    for channel, colour in zip(field.channels, channel_colours(field.channels, channels), strict=True):
        pixels = field.read(channel)
        low, high = (float(value) for value in np.percentile(pixels, _SHOWN_PERCENT))
        options: dict[str, Any] = {
            "name": channel,
            "colormap": colour,
            "blending": "additive",
            "contrast_limits": (low, max(high, low + 1.0)),
        }
        layers.append((pixels, options | place, "image"))
    for name in field.labels:
        options = {"name": name, "opacity": _OPACITY.get(name, 0.5), "visible": name != ENDOLYSOSOME_CLASSES}
        table = tables.get(name)
        if table is not None:
            options["features"] = _features(table, NUMBERED_BY[name])
        labels = field.read_label(name)
        if name == ENDOLYSOSOME_CLASSES:
            options["colormap"] = {None: _CLEAR, 0: _CLEAR, EMPTY: CLASS_RGBA[EMPTY], LOADED: CLASS_RGBA[LOADED]}
        if name == ENDOLYSOSOMES and table is not None:
            for cargo in channels.other_cargoes:
                # The same regions, shown by the classes of another cargo where one looks for them.
                if f"is_loaded_{cargo}" in table:
                    more = {"name": f"{name}, {cargo}", "visible": False}
                    more["colormap"] = _colours(table["label"], table[f"is_loaded_{cargo}"])
                    layers.append((labels, options | more | place, "labels"))
            options["colormap"] = _colours(table["label"], table["is_loaded"])
        layers.append((labels, options | place, "labels"))
    return layers


def _features(table: pd.DataFrame, number: str) -> pd.DataFrame:
    """Rows as napari ties them to labels: by a column named index."""
    kept = table.drop(columns=["plate", "well", "field"], errors="ignore").reset_index(drop=True)
    kept.insert(0, "index", kept[number].to_numpy())
    return kept


def _colours(labels: pd.Series, is_loaded: pd.Series) -> dict[int | None, Colour]:
    classes = np.where(is_loaded, LOADED, EMPTY)
    colours: dict[int | None, Colour] = {None: _CLEAR, 0: _CLEAR}
    return colours | {int(label): CLASS_RGBA[kind] for label, kind in zip(labels, classes, strict=True)}
