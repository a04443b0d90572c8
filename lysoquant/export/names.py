"""What a column of our tables is called elsewhere: the only place that knows.

A measurement is a name of our own (``area_um2``), of a channel or not (``rim_mean_LAMP1``), of the object itself or the
mean of a cell's endolysosomes (``mean_rim_mean_LAMP1``). docs/export.md has the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from lysoquant.vocabulary import CELLS, ENDOLYSOSOMES


@dataclass(frozen=True)
class Kind:
    """A measurement, whatever its channel.

    Attributes
    ----------
    unit : str
        Empty for a number without one.
    feature : str
        CellProfiler's category and feature, or ours in its manner where CellProfiler has none.
    """

    unit: str
    feature: str


KINDS: Final[Mapping[str, Kind]] = {
    "area_um2": Kind("um2", "AreaShape_Area"),
    "perimeter_um": Kind("um", "AreaShape_Perimeter"),
    "circularity": Kind("", "AreaShape_FormFactor"),
    "solidity": Kind("", "AreaShape_Solidity"),
    "eccentricity": Kind("", "AreaShape_Eccentricity"),
    "feret_um": Kind("um", "AreaShape_MaxFeretDiameter"),
    "min_feret_um": Kind("um", "AreaShape_MinFeretDiameter"),
    "aspect_ratio": Kind("", "AreaShape_AspectRatio"),
    "roundness": Kind("", "AreaShape_Roundness"),
    "centroid_y_um": Kind("um", "Location_Center_Y"),
    "centroid_x_um": Kind("um", "Location_Center_X"),
    "distance_to_nucleus_um": Kind("um", "Distance_Minimum_Nuclei"),
    "distance_to_cell_border_um": Kind("um", "Distance_CellBorder"),
    "perinuclear_index": Kind("", "Distance_PerinuclearIndex"),
    "nearest_neighbour_um": Kind("um", "Neighbors_FirstClosestDistance"),
    "intensity_mean": Kind("grey value", "Intensity_MeanIntensity"),
    "rim_mean": Kind("grey value", "Intensity_MeanIntensityEdge"),
    "lumen_mean": Kind("grey value", "Intensity_MeanIntensityLumen"),
    "cargo_area_fraction": Kind("", "Cargo_AreaFraction"),
    "p_loaded": Kind("", "Cargo_ProbabilityLoaded"),
    "occupancy": Kind("", "Cargo_Occupancy"),
    "n": Kind("", "Children_CombinedEndolysosomes_Count"),
    "n_endolysosomes": Kind("", "Children_Endolysosomes_Count"),
    "n_empty": Kind("", "Children_EmptyEndolysosomes_Count"),
    "n_loaded": Kind("", "Children_LoadedEndolysosomes_Count"),
}
"""Measurements and counts of endolysosomes and cells by our name; a channel, another cargo or a combination of cargoes
follows both names after an underscore."""

_KEYS: Final = {"field": "Site", "cell": "ObjectNumber_Cells", "label": "ObjectNumber"}
"""CellProfiler's words for ours."""

_OF_REGIONS: Final = "mean_"
_COMPARTMENTS: Final = {CELLS: "Cells", ENDOLYSOSOMES: "Endolysosomes"}


@dataclass(frozen=True)
class Measurement:
    """A column of a table, taken apart.

    Attributes
    ----------
    kind : str
        Its name in :data:`KINDS`, or the whole name where that has none.
    of : str
        What follows its name: the channel, a combination of cargoes, or which of several numbers it is (``mean``);
        empty for nothing.
    of_regions : bool
        Whether it is a cell's mean over its endolysosomes.
    """

    kind: str
    of: str
    of_regions: bool

    @property
    def unit(self) -> str:
        """Unit, or an empty text for none or an unknown one."""
        return KINDS[self.kind].unit if self.kind in KINDS else ""

    def feature(self, level: str) -> str:
        """Name of the feature in a profile of cells or endolysosomes, such as ``Cells_AreaShape_Area``."""
        own = KINDS[self.kind].feature if self.kind in KINDS else f"Other_{_camel(self.kind)}"
        parts = [_COMPARTMENTS[level], f"Mean_{_COMPARTMENTS[ENDOLYSOSOMES]}" if self.of_regions else "", own]
        return "_".join(part for part in [*parts, self.of] if part)


def measurement(column: str) -> Measurement:
    """Take the name of a column apart; the longest known name wins."""
    of_regions = column.startswith(_OF_REGIONS)
    name = column.removeprefix(_OF_REGIONS)
    known = [kind for kind in KINDS if name == kind or name.startswith(f"{kind}_")]
    kind = max(known, key=len, default=name)
    return Measurement(kind=kind, of=name[len(kind) + 1 :], of_regions=of_regions)


def metadata_names(columns: Iterable[str]) -> list[str]:
    """Names of keys and columns of the plate map in a profile: ``Metadata_Well`` for ``well``; no two are equal."""
    names: list[str] = []
    for column in columns:
        name = f"Metadata_{_KEYS.get(column) or _camel(column)}"
        while name in names:
            name += "_"
        names.append(name)
    return names


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))
