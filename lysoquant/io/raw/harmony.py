"""Harmony exports of an Opera Phenix or an Operetta: an XML index and one TIFF a plane.

The index says everything; the names of the files are never read. In the schemas up to V6 each image describes its
channel, in V7 a map beside the images does. No public specification exists: the elements are those of exported plates.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from lysoquant.errors import PlateError
from lysoquant.io.raw.description import Acquisition
from lysoquant.io.raw.index_xml import Record, begins_with, read_records
from lysoquant.io.raw.listed import Listing, Spot, find_below
from lysoquant.io.raw.names import (
    Folder,
    clean_label,
    count_of,
    plate_format,
    printable,
    read_folder,
    some,
    unique_labels,
)
from lysoquant.io.raw.reader import Options, Reader, Source
from lysoquant.vocabulary import row_letters, well_name, well_order

INDEX_NAMES: Final = ("Index.idx.xml", "Index.xml", "Index.ref.xml")
"""Names of an index, the preferred one first."""

_ROOT: Final = "EvaluationInputData"
_MAX_ROWS, _MAX_COLUMNS = 32, 48
_MAX_NUMBER: Final = 1_000_000
_SIZE: Final = ("ImageResolutionX", "ImageResolutionY")
_CHANNEL: Final = ("ChannelName", *_SIZE)
_IMAGE: Final = frozenset(
    {"id", "State", "URL", "Row", "Col", "FieldID", "PlaneID", "TimepointID", "ChannelID", "PositionZ", *_CHANNEL}
)
_WANTED: Final = {
    ("EvaluationInputData", "InstrumentType"): frozenset[str](),
    ("Plates", "Plate"): frozenset({"PlateID", "Name", "PlateTypeName", "PlateRows", "PlateColumns"}),
    ("Wells", "Well"): frozenset({"Row", "Col"}),
    ("Map", "Entry"): frozenset({"FlatfieldProfile", *_CHANNEL}),
    ("Images", "Image"): _IMAGE,
}
_SELECTED: Final = re.compile(r"([0-9]{2})([0-9]{2})")
_IMAGE_ID: Final = re.compile(r"([0-9]{2})([0-9]{2})K[0-9]+F([0-9]{1,6})P[0-9]+R[0-9]+")
_SHAPED: Final = re.compile("Type: (?!Identity)")
"""A flat-field profile that is not flat."""

_METRES: Final = {"m": 1e6, "mm": 1e3, "um": 1.0, "\N{MICRO SIGN}m": 1.0, "nm": 1e-3}
_SAME: Final = 1e-3
"""Relative difference under which two pixel sizes are one, written with fewer digits."""

Size = tuple[float, float]
"""Width and height of a pixel in um."""


def recognise_harmony(source: Source) -> str | None:
    """By what a Harmony export is known: the index, in its folder or in the one folder below that holds one."""
    path = _find_index(source)
    return (
        None
        if path is None
        else f"{printable(path.relative_to(source.folder.path).as_posix())}, the index of a Harmony export"
    )


def describe_harmony(source: Source, options: Options) -> Acquisition:
    """Describe a Harmony export from its index.

    The index is read as a stream, the folders of the images are listed once, and one image is opened (more only if
    it is damaged). Fields are in the order of their numbers, channels in the order of their ids. Time points are
    counted from 1 (the schemas up to V6 count from 0).

    Parameters
    ----------
    source : Source
        The measurement's folder, the one that holds the index (``Images``), or the index.
    options : Options
        Not used.

    Returns
    -------
    Acquisition
        Images that the index places outside its folder, lists twice, marks as faulty or lists without a file on disk
        are faults of their plane.

    Raises
    ------
    PlateError
        If there is no index, it is damaged, holds XML entities or no image, the pixels are not square, or no image is
        on disk or readable.
    """
    path = _find_index(source)
    if path is None:
        raise PlateError(f"{source.path}: no {' or '.join(INDEX_NAMES)} of one Harmony export; give {HARMONY.needs}")
    home = source.folder if path.parent == source.folder.path else read_folder(path.parent)
    index = _Index(home, printable(path.name))
    for record in read_records(path, root=_ROOT, wanted=_WANTED):
        index.take(record)
    return index.acquisition()


def _find_index(source: Source) -> Path | None:
    """The index; None if there is none, or if several folders hold one: then they are several plates."""
    given = [source.path] if source.file is not None else find_below(source.folder, INDEX_NAMES)
    found = [path for path in given if path.name.lower().endswith(".xml") and begins_with(path, _ROOT)]
    return found[0] if len(found) == 1 else None


HARMONY: Final = Reader(
    name="harmony",
    title="Harmony export (Opera Phenix, Operetta)",
    needs="the folder with Index.idx.xml or Index.xml, or the one above it",
    recognise=recognise_harmony,
    describe=describe_harmony,
)


@dataclass
class _Channel:
    """What an index says of a channel, in its map or in its images."""

    name: str = ""
    size: Size | None = None


@dataclass
class _Index:
    """What was read of an index so far."""

    folder: Folder
    file: str
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listing = Listing(self.folder, self.file)
        self._plate: Record | None = None
        self._schema = ""
        self._instrument = ""
        self._declared: set[str] = set()
        self._undescribed: set[str] = set()
        self._channels: dict[int, _Channel] = defaultdict(_Channel)
        self._flat: set[int] = set()
        self._sizes: Counter[Size | None] = Counter()
        self._spots_of_size: dict[Size | None, Counter[Spot]] = defaultdict(Counter)
        self._z: dict[int, dict[int, float]] = defaultdict(dict)
        self._known_sizes: dict[tuple[str | None, ...], Size | None] = {}
        self._renamed: set[tuple[int, str]] = set()
        self._first_time = 1
        self._n_images = 0

    def take(self, record: Record) -> None:
        """Take one element."""
        match record.parent, record.name:
            case "", _:
                self._schema = clean_label(record.attributes.get("xmlns", "").rpartition("/")[2])
            case _, "InstrumentType":
                self._instrument = clean_label(record.text)
            case _, "Plate":
                self._take_plate(record)
            case _, "Well":
                self._declared.add(_well(record))
                self._undescribed.update(text for name, text in record.ids if name == "Image")
            case _, "Entry":
                self._take_entry(record)
            case _:
                self._take_image(record)

    def acquisition(self) -> Acquisition:
        """The plate, after the last element."""
        if not self._n_images:
            raise PlateError(f"{self.file}: lists no image; give the index of a measurement, or export the plate again")
        listing, plate = self._listing, self._plate
        self._take_undescribed()
        self._note_source()
        labels = self._labels()
        image = listing.first_readable()
        size = self._pixel_size_um()
        self._note_stacks(labels)
        found = listing.positions(
            labels=labels,
            name=lambda number: f"f{number:02d}",
            time_of=lambda _, time: time - self._first_time + 1,
            notes=self.notes,
        )
        listing.note_unlisted(self.notes)
        if absent := sorted(self._declared - found.keys(), key=well_order):
            self.notes.append(f"wells without any image in {self.file}: {some(absent)}")
        wells = {well: tuple(found.get(well, ())) for well in sorted(found.keys() | self._declared, key=well_order)}
        n_rows, n_columns = plate_format(wells, declared=_declared_format(plate))
        name = (plate.get("Name") or plate.get("PlateID") or "") if plate else ""
        return Acquisition(
            name=clean_label(name) or clean_label(self.folder.path.name),
            format=HARMONY.name,
            channels=tuple(labels.values()),
            wells=wells,
            n_rows=n_rows,
            n_columns=n_columns,
            pixel_size_um=size,
            shape=image.shape,
            notes=tuple(self.notes),
            declares_size=_declared_format(plate) is not None,
        )

    def _take_plate(self, record: Record) -> None:
        if self._plate is not None:
            raise PlateError(f"{record.where()}: a second <Plate>; expected one plate an index: export them one by one")
        self._plate = record
        for name, text in record.ids:
            match = _SELECTED.fullmatch(text) if name == "Well" else None
            if match and 1 <= int(match[1]) <= _MAX_ROWS and 1 <= int(match[2]) <= _MAX_COLUMNS:
                self._declared.add(well_name(row_letters(int(match[1]) - 1), int(match[2])))

    def _take_entry(self, record: Record) -> None:
        channel = record.integer("ChannelID", 0, _MAX_NUMBER)
        if _SHAPED.search(record.values.get("FlatfieldProfile", "")):
            self._flat.add(channel)
        self._take_channel(channel, record)

    def _take_channel(self, channel: int, record: Record) -> Size | None:
        """Keep what an element says of its channel; the size of its pixels, or else the channel's."""
        known = self._channels[channel]
        name = clean_label(record.values.get("ChannelName", ""))
        known.name = known.name or name
        if name and name != known.name and (channel, name) not in self._renamed:
            self._renamed.add((channel, name))
            self.notes.append(f"channel {channel} is called {known.name!r}, in other images {name!r}")
        key = (*(record.values.get(axis) for axis in _SIZE), *(record.units.get(axis) for axis in _SIZE))
        if key not in self._known_sizes:
            self._known_sizes[key] = _size(record)
        own = self._known_sizes[key]
        known.size = known.size or own
        return own or known.size

    def _take_image(self, record: Record) -> None:
        self._n_images += 1
        spot = (_well(record), record.integer("FieldID", 0, _MAX_NUMBER))
        channel = record.integer("ChannelID", 0, _MAX_NUMBER)
        time = record.integer("TimepointID", 0, _MAX_NUMBER, default=1)
        plane = record.integer("PlaneID", 1, _MAX_NUMBER, default=1)
        self._first_time = min(self._first_time, time)
        size = self._take_channel(channel, record)
        self._sizes[size] += 1
        self._spots_of_size[size][spot] += 1
        if plane not in self._z[channel] and (z := record.number("PositionZ")) is not None:
            self._z[channel][plane] = z * _METRES.get(record.units.get("PositionZ", "m"), math.nan)
        self._undescribed.discard(record.get("id") or "")
        self._listing.add(spot, channel, (time, plane), record.get("URL") or "", fault=_said_fault(record))

    def _take_undescribed(self) -> None:
        """Images that a well names and that have no element of their own."""
        strangers = []
        for text in sorted(self._undescribed):
            match = _IMAGE_ID.fullmatch(text)
            if match and 1 <= int(match[1]) <= _MAX_ROWS and 1 <= int(match[2]) <= _MAX_COLUMNS:
                well = well_name(row_letters(int(match[1]) - 1), int(match[2]))
                self._listing.fault((well, int(match[3])), "undescribed", text)
            else:
                strangers.append(clean_label(text))
        if strangers:
            n = count_of(len(strangers), "image")
            self.notes.append(f"{n} named in a well of {self.file} but not described: {some(strangers)}")

    def _note_source(self) -> None:
        kind = clean_label((self._plate.get("PlateTypeName") if self._plate else "") or "")
        words = [self._instrument, self._schema, kind and f"plate {kind!r}"]
        self.notes.append(
            f"{self.file}: {', '.join(word for word in words if word) or 'says nothing of its instrument'}"
        )
        plate_id = clean_label((self._plate.get("PlateID") if self._plate else "") or "")
        if self._plate and plate_id != clean_label(self._plate.get("Name") or ""):
            self.notes.append(f"plate ID {plate_id!r}")

    def _labels(self) -> dict[int, str]:
        """Channel label by id, of the channels that have an image that can be used."""
        present = self._listing.channels()
        for channel in self._listing.listed_channels():
            if present and channel not in present:
                name = self._channels[channel].name
                self.notes.append(f"channel {channel} {name!r} has no image that can be used: left out of the channels")
        if flat := sorted(self._flat & set(present)):
            profiles = some([self._channels[channel].name or f"ch{channel}" for channel in flat], most=8)
            self.notes.append(f"{self.file} holds flat-field profiles, which are not applied: {profiles}")
        names = [self._channels[channel].name or f"ch{channel}" for channel in present]
        return dict(zip(present, unique_labels(names, self.notes), strict=True))

    def _pixel_size_um(self) -> float | None:
        """The plate's pixel size; fields with images of another are given a problem."""
        usual = self._sizes.most_common(1)[0][0]
        if usual is None:
            if self._sizes.keys() - {None}:
                self.notes.append(f"{self.file} gives a pixel size for some images only: none is used")
            return None
        if not _is_square(usual):
            raise PlateError(
                f"{self.file}: pixels are {usual[0]:g} x {usual[1]:g} um (X x Y); expected square ones:"
                " image with equal binning in X and Y"
            )
        for size, spots in self._spots_of_size.items():
            if size is not None and not (math.isclose(size[0], usual[0], rel_tol=_SAME) and _is_square(size)):
                for spot, n in spots.items():
                    for _ in range(n):
                        self._listing.fault(spot, "size", f"{size[0]:g} x {size[1]:g} um, not {usual[0]:g} um")
        return usual[0]

    def _note_stacks(self, labels: Mapping[int, str]) -> None:
        """How far apart a channel's planes lie, and whether their numbers follow their height."""
        said: dict[str, list[str]] = defaultdict(list)
        for channel, label in labels.items():
            heights = [z for _, z in sorted(self._z[channel].items())]
            steps = [second - first for first, second in pairwise(heights)]
            if not steps:
                continue
            if all(math.isclose(step, steps[0], abs_tol=0.01) for step in steps) and steps[0] != 0:
                said[f"{len(heights)} Z planes {abs(steps[0]):.3g} um apart"].append(label)
            else:
                said[f"{len(heights)} Z planes, not evenly spaced (PositionZ)"].append(label)
        for words, stacked in said.items():
            self.notes.append(f"{words}: {some(stacked, most=8)}")


def _well(record: Record) -> str:
    return well_name(row_letters(record.integer("Row", 1, _MAX_ROWS) - 1), record.integer("Col", 1, _MAX_COLUMNS))


def _said_fault(record: Record) -> tuple[str, str] | None:
    """What an image's own element says is wrong with it."""
    state, name = record.get("State") or "Ok", record.get("id") or record.where()
    if not record.get("URL"):
        return "unrecorded", f"{name}, state {state}"
    return None if state.lower() == "ok" else ("state", f"{record.get('URL')}: {state}")


def _size(record: Record) -> Size | None:
    """Width and height of a pixel; None where the element does not give both."""
    width, height = (
        (record.number(axis) or math.nan) * _METRES.get(record.units.get(axis, "m"), math.nan) for axis in _SIZE
    )
    # From metres: 1E-07 times a million is 0.09999999999999999.
    return (float(f"{width:.12g}"), float(f"{height:.12g}")) if width > 0 and height > 0 else None


def _is_square(size: Size) -> bool:
    return math.isclose(*size, rel_tol=_SAME)


def _declared_format(plate: Record | None) -> tuple[int, int] | None:
    if plate is None or not plate.get("PlateRows") or not plate.get("PlateColumns"):
        return None
    return plate.integer("PlateRows", 1, _MAX_ROWS), plate.integer("PlateColumns", 1, _MAX_COLUMNS)
