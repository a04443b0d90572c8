"""The two result tables of the LysoQuant plugin, from ours. docs/export.md says where the two differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from lysoquant.channels import Channels
from lysoquant.vocabulary import CLASS_NAMES, EMPTY, LOADED

_MEASURED: Final[Mapping[str, str]] = {
    "Area": "area_um2",
    "Mean": "intensity_mean",
    "X": "centroid_x_um",
    "Y": "centroid_y_um",
    "Perim.": "perimeter_um",
    "Circ.": "circularity",
    "Feret": "feret_um",
    "MinFeret": "min_feret_um",
    "AR": "aspect_ratio",
    "Round": "roundness",
    "Solidity": "solidity",
}
"""ImageJ's columns in its order, and ours; `Mean` is of the channel of the row."""

RESULTS_COLUMNS: Final = (
    "Label",
    *_MEASURED,
    *("Lysosome Type", "Lysosome Channel", "Protein Channel", "Measurement Channel", "Image", "Cell ID"),
    "%Cargo Area",
)
SUMMARY_COLUMNS: Final = (
    *("Label", "Lysosome Ch", "Protein Ch", "Empty", "Empty Ratio", "Loaded", "Loaded Ratio", "Total #"),
    "%Cargo Area Median",
)


@dataclass(frozen=True)
class Cargo:
    """A cargo, which classifies the endolysosomes as one call of the plugin does.

    Attributes
    ----------
    channel : str
        Its label.
    suffix : str
        What follows the names of its columns: nothing for the first cargo.
    """

    channel: str
    suffix: str

    def classes(self, regions: pd.DataFrame) -> list[int]:
        """Class of each endolysosome."""
        return [LOADED if is_loaded else EMPTY for is_loaded in regions[f"is_loaded{self.suffix}"]]

    def names(self, regions: pd.DataFrame) -> list[str]:
        """Name of each endolysosome's outline."""
        keys = zip(regions["cell"], regions["label"], self.classes(regions), strict=True)
        return [f"{cell}-{label}-{CLASS_NAMES[kind]}" for cell, label, kind in keys]


@dataclass(frozen=True)
class FieldImage:
    """The image of a field, as rows of the tables name it.

    Attributes
    ----------
    name : str
        File name.
    channels : tuple of str
        Labels in their order.
    lysosome : str
        The lysosome channel.
    pixel_size_um : float
        Edge of a pixel.
    """

    name: str
    channels: tuple[str, ...]
    lysosome: str
    pixel_size_um: float

    def number(self, channel: str) -> int:
        """A channel's number as ImageJ counts, from 1."""
        return self.channels.index(channel) + 1


def cargoes_of(channels: Channels) -> list[Cargo]:
    """All cargoes, the one that finds the endolysosomes first."""
    first, *others = channels.cargoes
    return [Cargo(first, ""), *(Cargo(channel, f"_{channel}") for channel in others)]


def needed_columns(channels: Channels, labels: Sequence[str]) -> list[str]:
    """Columns of the table of endolysosomes that the tables are made of.

    Parameters
    ----------
    labels : sequence of str
        Channels of the plate.
    """
    own = [column for name, column in _MEASURED.items() if name != "Mean"]
    own += [f"{_MEASURED['Mean']}_{label}" for label in labels]
    return own + [
        f"{name}{cargo.suffix}" for cargo in cargoes_of(channels) for name in ("is_loaded", "cargo_area_fraction")
    ]


def results_table(regions: pd.DataFrame, cargo: Cargo, image: FieldImage) -> pd.DataFrame:
    """Rows of the plugin's window *Results*: each endolysosome in each channel.

    Parameters
    ----------
    regions : pandas.DataFrame
        Rows of a field in the table of endolysosomes.
    cargo : Cargo
        Which cargo.
    image : FieldImage
        The field's image.
    """
    names = cargo.names(regions)
    # ImageJ's pixel (0, 0) has its upper left corner at (0, 0), ours its centre.
    half = image.pixel_size_um / 2
    parts = []
    for channel in image.channels:
        columns = {
            name: regions[f"{column}_{channel}" if name == "Mean" else column] for name, column in _MEASURED.items()
        }
        part = pd.DataFrame(columns).assign(X=columns["X"] + half, Y=columns["Y"] + half)
        part["Label"] = [f"{image.name}:{name}:{channel}" for name in names]
        part["Lysosome Type"] = [CLASS_NAMES[kind].capitalize() for kind in cargo.classes(regions)]
        part["Lysosome Channel"] = image.number(image.lysosome)
        part["Protein Channel"] = image.number(cargo.channel)
        part["Measurement Channel"] = image.number(channel)
        part["Image"], part["Cell ID"] = image.name, [cell_name(cell) for cell in regions["cell"]]
        part["%Cargo Area"] = _cargo_area(regions, cargo) if channel == cargo.channel else np.nan
        parts.append(part)
    # The plugin measures all channels of an endolysosome before the next.
    return pd.concat(parts).sort_index(kind="stable")[list(RESULTS_COLUMNS)]


def summary_table(cells: pd.DataFrame, regions: pd.DataFrame, cargo: Cargo, image: FieldImage) -> pd.DataFrame:
    """Rows of the plugin's window *LysoQuant*: counts of each cell, also of one without endolysosomes.

    Parameters
    ----------
    cells, regions : pandas.DataFrame
        Rows of a field in the tables of cells and of endolysosomes.
    cargo, image
        As in :func:`results_table`.
    """
    total = cells["n_endolysosomes"]
    loaded = cells[f"n_loaded{cargo.suffix}"]
    some = total.where(total > 0).astype(float)
    medians = _cargo_area(regions, cargo).groupby(regions["cell"]).median()
    return pd.DataFrame(
        {
            "Label": [f"{image.name}-{cell_name(cell)}" for cell in cells["cell"]],
            "Lysosome Ch": image.number(image.lysosome),
            "Protein Ch": image.number(cargo.channel),
            "Empty": total - loaded,
            "Empty Ratio": (total - loaded) / some,
            "Loaded": loaded,
            "Loaded Ratio": loaded / some,
            "Total #": total,
            "%Cargo Area Median": medians.reindex(cells["cell"]).to_numpy(),
        }
    )[list(SUMMARY_COLUMNS)]


def cell_name(cell: int) -> str:
    """Name of a cell's outline."""
    return f"cell-{cell}"


def _cargo_area(regions: pd.DataFrame, cargo: Cargo) -> pd.Series:
    return 100.0 * regions[f"cargo_area_fraction{cargo.suffix}"]
