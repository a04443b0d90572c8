"""Plates as instruments write them. Fields may be written by several processes at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import quoteattr

import numpy as np
import tifffile
from numpy.typing import NDArray

from lysoquant.simulate.operetta import Operetta
from lysoquant.vocabulary import row_index, split_well


@dataclass(frozen=True)
class ImageXpress:
    """MetaXpress export: ``NAME.HTD`` and ``TimePoint_1/NAME_B02_s1_w1.TIF`` with MetaSeries descriptions."""

    out: Path
    name: str

    def begin(
        self,
        *,
        wells: Sequence[str],
        n_fields: int,
        n_rows: int,
        n_columns: int,
        channels: Sequence[str],
        size_px: int,
        pixel_size_um: float,
    ) -> None:
        """Write the .HTD files: what comes before the first image."""
        chosen = {split_well(well) for well in wells}
        chosen_places = {(row_index(row), column) for row, column in chosen}
        lines = [
            '"HTSInfoFile", Version 1.0',
            '"Description", "simulated by lysoquant"',
            '"PlateType", 6',
            '"TimePoints", 1',
            '"ZSeries", FALSE',
            '"ZSteps", 1',
            '"ZProjection", FALSE',
            f'"XWells", {n_columns}',
            f'"YWells", {n_rows}',
        ]
        for row in range(n_rows):
            flags = (_flag((row, column) in chosen_places) for column in range(1, n_columns + 1))
            lines.append(f'"WellsSelection{row + 1}", {", ".join(flags)}')
        lines += ['"Sites", TRUE', f'"XSites", {n_fields}', '"YSites", 1']
        lines.append(f'"SiteSelection1", {", ".join(["TRUE"] * n_fields)}')
        lines += ['"Waves", TRUE', f'"NWavelengths", {len(channels)}']
        lines += [f'"WaveName{number}", "{channel}"' for number, channel in enumerate(channels, start=1)]
        lines += [f'"WaveCollect{number}", 1' for number in range(1, len(channels) + 1)]
        lines += ['"UniquePlateIdentifier", "00000000-0000-0000-0000-000000000000"', '"EndFile"']
        folder = self.out / "TimePoint_1"
        folder.mkdir(parents=True, exist_ok=True)
        for place in (self.out, folder):
            (place / f"{self.name}.HTD").write_bytes("\r\n".join([*lines, ""]).encode("latin-1"))

    def write_field(
        self, image: NDArray[np.uint16], *, well: str, index: int, channels: Sequence[str], pixel_size_um: float
    ) -> None:
        """Write one field, uint16 (C, Y, X); `index` counts from 0."""
        for number, (channel, plane) in enumerate(zip(channels, image, strict=True), start=1):
            path = self.out / "TimePoint_1" / f"{self.name}_{well}_s{index + 1}_w{number}.TIF"
            description = _metaseries(
                {
                    "image-name": ("string", channel),
                    "pixel-size-x": ("int", plane.shape[1]),
                    "pixel-size-y": ("int", plane.shape[0]),
                    "bits-per-pixel": ("int", 16),
                    "spatial-calibration-state": ("bool", "on"),
                    "spatial-calibration-x": ("float", f"{pixel_size_um:g}"),
                    "spatial-calibration-y": ("float", f"{pixel_size_um:g}"),
                    "spatial-calibration-units": ("string", "um"),
                    "stage-label": ("string", f"{well} : Site {index + 1}"),
                }
            )
            tifffile.imwrite(path, plane, description=description, metadata=None, software="MetaSeries")


@dataclass(frozen=True)
class OmeTiff:
    """One multi-channel OME-TIFF a field, ``B02_f0.ome.tif``."""

    out: Path
    name: str

    def begin(
        self,
        *,
        wells: Sequence[str],
        n_fields: int,
        n_rows: int,
        n_columns: int,
        channels: Sequence[str],
        size_px: int,
        pixel_size_um: float,
    ) -> None:
        """Make the folder."""
        self.out.mkdir(parents=True, exist_ok=True)

    def write_field(
        self, image: NDArray[np.uint16], *, well: str, index: int, channels: Sequence[str], pixel_size_um: float
    ) -> None:
        """Write one field, uint16 (C, Y, X); `index` counts from 0."""
        metadata = {
            "axes": "CYX",
            "Channel": {"Name": list(channels)},
            "PhysicalSizeX": pixel_size_um,
            "PhysicalSizeXUnit": "µm",
            "PhysicalSizeY": pixel_size_um,
            "PhysicalSizeYUnit": "µm",
        }
        tifffile.imwrite(
            self.out / f"{well}_f{index}.ome.tif", image, metadata=metadata, photometric="minisblack", ome=True
        )


Writer = ImageXpress | Operetta | OmeTiff
FORMATS: Final[Mapping[str, type[Writer]]] = {"imagexpress": ImageXpress, "operetta": Operetta, "ome-tiff": OmeTiff}
OME_TIFF_PATTERN: Final = r"^(?P<well>[A-Z]+\d+)_f(?P<field>\d+)\.ome\.tif$"


def _flag(value: bool) -> str:
    return "TRUE" if value else "FALSE"


def _metaseries(properties: Mapping[str, tuple[str, object]]) -> str:
    lines = [
        f"<prop id={quoteattr(name)} type={quoteattr(kind)} value={quoteattr(str(value))}/>"
        for name, (kind, value) in properties.items()
    ]
    return "<MetaData>\r\n<PlaneInfo>\r\n" + "\r\n".join(lines) + "\r\n</PlaneInfo>\r\n</MetaData>"
