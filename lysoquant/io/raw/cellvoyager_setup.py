"""What the files beside a CellVoyager's list of images say: plate, channels, pixels of the cameras, selected wells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lysoquant.errors import PlateError
from lysoquant.io.raw.index_xml import Place, Record, read_records
from lysoquant.io.raw.names import Folder, clean_label, printable, unique_labels
from lysoquant.vocabulary import row_letters, well_name

DETAIL: Final = "MeasurementDetail.mrf"

_MAX_ROWS, _MAX_COLUMNS = 32, 48

MAX_NUMBER: Final = 1_000_000

_SIZE: Final = ("HorizontalPixelDimension", "VerticalPixelDimension")

_SAME: Final = 1e-3
"""Relative difference under which two pixel sizes are one, written with fewer digits."""

_NAMES: Final = ("Fluorophore", "Target", "Acquisition")
"""What may name the channels of a setting, the best first: dye, target, emission filter."""


@dataclass
class Setup:
    """What the files beside the list say of plate and channels.

    Attributes
    ----------
    name : str
        The plate's name; empty if unknown.
    size : tuple of int or None
        Rows and columns of the plate.
    pixels : mapping of int to (float, float)
        Width and height of a pixel in um, by channel.
    names : mapping of int to mapping of str to str
        What the setting says of each channel, by channel and attribute.
    selected : set of str
        Wells that the setting selects.
    shading : set of str
        Names of the images for shading correction.
    notes : list of str
    """

    name: str = ""
    size: tuple[int, int] | None = None
    pixels: dict[int, tuple[float, float]] = field(default_factory=dict)
    names: dict[int, Mapping[str, str]] = field(default_factory=dict)
    selected: set[str] = field(default_factory=set)
    shading: set[str] = field(default_factory=set)
    setting: str = ""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Folder) -> Setup:
        """Read the files that lie in a measurement's folder; a missing one is a note."""
        setup = cls(shading={file for file in folder.images() if file.startswith(("DC_", "SC_"))})
        files = {file.lower(): file for file in folder.files}
        if DETAIL.lower() in files:
            setup._read_detail(folder, folder.path / files[DETAIL.lower()])
        else:
            setup.notes.append(f"no {DETAIL}: pixel size, plate and channel names are not known")
        return setup

    def _read_detail(self, folder: Folder, path: Path) -> None:
        root = "MeasurementDetail"
        wanted: dict[Place, tuple[str, ...]] = {(root, "MeasurementSamplePlate"): (), (root, "MeasurementChannel"): ()}
        linked: dict[str, str] = {}
        for record in read_records(path, root=root, wanted=wanted):
            if record.name == root:
                self._take_detail(record)
                linked["mes"] = record.get("MeasurementSettingFileName") or ""
            elif record.name == "MeasurementSamplePlate":
                self.name = clean_label(record.get("Name") or "") or self.name
                linked["wpi"] = record.get("WellPlateFileName") or ""
                linked["wpp"] = record.get("WellPlateProductFileName") or ""
            else:
                self._take_pixels(record)
        if setting := self._beside(folder, linked.get("mes", ""), "channel names and selected wells are not known"):
            self._read_setting(setting)
        if self.size is None and (
            plate := self._beside(folder, linked.get("wpi", ""), "the plate's size is not known")
        ):
            self._take_size(next(iter(read_records(plate, root="WellPlate", wanted={}))), "Rows", "Columns")
        if product := self._beside(folder, linked.get("wpp", ""), "the plate's product is not known"):
            record = next(iter(read_records(product, root="WellPlateProduct", wanted={})))
            words = [clean_label(record.get(key) or "") for key in ("Manufacturer", "Name")]
            self.notes.append(f"plate {' '.join(word for word in words if word)!r}")

    def _beside(self, folder: Folder, name: str, else_said: str) -> Path | None:
        """A file that another names, if it lies in the measurement's folder."""
        if name in folder.files:
            return folder.path / name
        if name:
            self.notes.append(f"{clean_label(name)!r} is named in {DETAIL} but not in the folder: {else_said}")
        return None

    def _take_detail(self, record: Record) -> None:
        self.name = clean_label(record.get("Title") or "")
        self._take_size(record, "RowCount", "ColumnCount")
        system = " ".join(clean_label(record.get(key) or "") for key in ("TargetSystem", "ReleaseNumber")).strip()
        self.notes.append(f"measured by {system or 'an instrument that it does not name'}")
        if (status := record.get("Status")) not in (None, "", "0"):
            self.notes.append(f"the measurement's status is {clean_label(status or '')!r}, not 0")

    def _take_size(self, record: Record, rows: str, columns: str) -> None:
        if record.get(rows) and record.get(columns):
            self.size = (record.integer(rows, 1, _MAX_ROWS), record.integer(columns, 1, _MAX_COLUMNS))

    def _take_pixels(self, record: Record) -> None:
        channel = record.integer("Ch", 1, MAX_NUMBER)
        width, height = (record.number(axis) or math.nan for axis in _SIZE)
        if width > 0 and height > 0:
            self.pixels[channel] = (width, height)
        depth = record.get("InputBitDepth")
        if depth not in (None, "8", "16"):
            self.notes.append(f"channel {channel}: grey values of {clean_label(depth or '')} bits")
        if shading := record.get("ShadingCorrectionSource"):
            self.shading.add(shading)

    def _read_setting(self, path: Path) -> None:
        self.setting = printable(path.name)
        wanted: dict[Place, tuple[str, ...]] = {("ChannelList", "Channel"): (), ("WellSequence", "TargetWell"): ()}
        for record in read_records(path, root="MeasurementSetting", wanted=wanted):
            if record.name == "Channel":
                channel = record.integer("Ch", 1, MAX_NUMBER)
                self.names.setdefault(channel, {key: clean_label(record.get(key) or "") for key in _NAMES})
            elif record.name == "TargetWell" and record.text.strip().lower() == "true":
                self.selected.add(well_of_record(record))

    def labels(self, channels: list[int]) -> dict[int, str]:
        """A label for each channel: what best tells them apart in the setting, else ``C01``."""
        for key in _NAMES:
            found = [self.names.get(channel, {}).get(key, "") for channel in channels]
            if all(found) and len(set(found)) == len(found):
                self.notes.append(f"channels are called by their {key} in {self.setting}")
                return dict(zip(channels, found, strict=True))
        targets = [self.names.get(channel, {}).get("Target") or f"C{channel:02d}" for channel in channels]
        return dict(zip(channels, unique_labels(targets, self.notes), strict=True))

    def pixel_size_um(self, labels: Mapping[int, str]) -> float | None:
        """The one size of all channels' pixels; None where nothing says it."""
        sizes = {label: self.pixels[channel] for channel, label in labels.items() if channel in self.pixels}
        if not sizes:
            return None
        first = next(iter(sizes.values()))[0]
        for label, (width, height) in sizes.items():
            if not math.isclose(width, height, rel_tol=_SAME):
                raise PlateError(
                    f"{DETAIL}: channel {label!r}: pixels are {width:g} x {height:g} um (X x Y); expected square ones:"
                    " image with equal binning in X and Y"
                )
            if not math.isclose(width, first, rel_tol=_SAME):
                every = ", ".join(f"{name!r} {size[0]:g} um" for name, size in sizes.items())
                raise PlateError(f"{DETAIL}: pixel sizes differ: {every}; expected one: image with one binning")
        return first


def well_of_record(record: Record) -> str:
    return well_name(row_letters(record.integer("Row", 1, _MAX_ROWS) - 1), record.integer("Column", 1, _MAX_COLUMNS))
