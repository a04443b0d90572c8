"""Measurements of a Yokogawa CellVoyager (CV7000, CV8000): a record of every image, and one TIFF a plane.

``MeasurementData.mlf`` lists what was acquired, and what failed; ``MeasurementDetail.mrf`` describes the plate and the
cameras' pixels; the setting that it names (``.mes``) says what was selected and what the channels are. No public
specification exists: elements and attributes are those of measured plates.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lysoquant.errors import PlateError
from lysoquant.io.raw.cellvoyager_setup import MAX_NUMBER, Setup, well_of_record
from lysoquant.io.raw.description import INSTRUMENT_PROJECTION, Acquisition
from lysoquant.io.raw.index_xml import Record, begins_with, read_records
from lysoquant.io.raw.listed import Listing, find_below
from lysoquant.io.raw.names import (
    Folder,
    clean_label,
    count_of,
    plate_format,
    printable,
    read_folder,
    some,
)
from lysoquant.io.raw.reader import Options, Reader, Source
from lysoquant.vocabulary import well_order

MEASUREMENT: Final = "MeasurementData.mlf"

_ROOT: Final = "MeasurementData"

_NEAR_UM: Final = 1.0
"""Places of the stage that are nearer to each other are one: records give them with different digits."""

_KINDS: Final = {"Maximum": "maximum", "Minimum": "minimum", "Sum": "sum"}
"""Projections of the instrument (``ZImageProcessing``), the preferred one first."""


def recognise_cellvoyager(source: Source) -> str | None:
    """By what a measurement is known: its list of images, in its folder or in the one folder below that holds one."""
    path = _find_measurement(source)
    return (
        None
        if path is None
        else f"{printable(path.relative_to(source.folder.path).as_posix())}, a CellVoyager's list of images"
    )


def describe_cellvoyager(source: Source, options: Options) -> Acquisition:
    """Describe a CellVoyager measurement from its list of images.

    The list is read as a stream, the folder is listed once, and one image is opened (more only if it is damaged).
    Fields are in the order of their numbers, channels in the order of theirs. Time points are counted from 1 among the
    wells of one time line, since the instrument numbers them across time lines.

    Parameters
    ----------
    source : Source
        The measurement's folder, the one above it, or one of the measurement's own files.
    options : Options
        Not used.

    Returns
    -------
    Acquisition
        Error records are problems of the field that they name by number or by position; images that are listed twice,
        outside the folder, or without a file on disk are faults of their plane.

    Raises
    ------
    PlateError
        If there is no list, it is damaged, holds XML entities or no image, no image is on disk or readable, or the
        pixels are not square or differ between channels.
    """
    path = _find_measurement(source)
    if path is None:
        raise PlateError(f"{source.path}: no {MEASUREMENT} of one CellVoyager measurement; give {CELLVOYAGER.needs}")
    home = source.folder if path.parent == source.folder.path else read_folder(path.parent)
    measurement = _Measurement(home, printable(path.name))
    for record in read_records(path, root=_ROOT, wanted={(_ROOT, "MeasurementRecord"): ()}):
        if record.name == "MeasurementRecord":
            measurement.take(record)
    return measurement.acquisition(Setup.read(home))


def _find_measurement(source: Source) -> Path | None:
    """The list of images; None if there is none, or if several folders hold one: then they are several plates."""
    if source.file is not None and not source.file.lower().endswith((".mlf", ".mrf", ".wpi", ".mes")):
        return None
    found = [path for path in find_below(source.folder, (MEASUREMENT,)) if begins_with(path, _ROOT)]
    return found[0] if len(found) == 1 else None


CELLVOYAGER: Final = Reader(
    name="cellvoyager",
    title="CellVoyager measurement (Yokogawa CV7000, CV8000)",
    needs=f"the folder with {MEASUREMENT}, or the one above it",
    recognise=recognise_cellvoyager,
    describe=describe_cellvoyager,
)


@dataclass
class _Error:
    """An error record."""

    well: str
    number: int | None
    time: int
    at: tuple[float, float] | None
    said: str


class _Measurement:
    """What was read of a list of images so far."""

    def __init__(self, folder: Folder, file: str) -> None:
        self._folder = folder
        self._file = file
        self._listing = Listing(folder, file)
        self._n_images = 0
        self._notes: list[str] = []
        self._errors: list[_Error] = []
        self._others: Counter[str] = Counter()
        self._lines: dict[str, set[int]] = defaultdict(set)
        self._times: dict[str, set[int]] = defaultdict(set)
        self._number_at: dict[tuple[float, float], set[int]] = defaultdict(set)
        self._kinds: dict[int, Counter[str]] = defaultdict(Counter)
        self._projections: list[tuple[tuple[str, int], int, int, str, str]] = []

    def take(self, record: Record) -> None:
        """Take one record."""
        kind = clean_label(record.get("Type") or "none")
        if kind not in ("IMG", "ERR"):
            self._others[kind] += 1
            return
        well = well_of_record(record)
        if (line := record.get("TimelineIndex")) is not None:
            self._lines[well].add(record.integer("TimelineIndex", 0, MAX_NUMBER) if line else 0)
        time = record.integer("TimePoint", 0, MAX_NUMBER, default=1)
        self._times[well].add(time)
        at = _stage(record)
        if kind == "ERR":
            number = record.integer("FieldIndex", 0, MAX_NUMBER) if record.get("FieldIndex") else None
            self._errors.append(_Error(well, number, time, at, _said(record)))
            return
        number = record.integer("FieldIndex", 0, MAX_NUMBER)
        channel = record.integer("Ch", 0, MAX_NUMBER)
        self._n_images += 1
        if at is not None:
            self._number_at[at].add(number)
        processing = clean_label(record.get("ZImageProcessing") or "")
        self._kinds[channel][processing] += 1
        if processing:
            self._projections.append(((well, number), channel, time, processing, record.text))
        else:
            plane = record.integer("ZIndex", 1, MAX_NUMBER, default=1)
            self._listing.add((well, number), channel, (time, plane), record.text)

    def acquisition(self, setup: Setup) -> Acquisition:
        """The plate, after the last record."""
        if not self._n_images:
            raise PlateError(f"{self._file}: lists no image{self._and_errors()}; give a measurement with images")
        listing, notes = self._listing, self._notes
        self._take_projections()
        labels = setup.labels(listing.channels())
        image = listing.first_readable()
        size = setup.pixel_size_um(labels)
        notes += setup.notes
        self._take_errors()
        self._note_channels(labels, setup)
        if self._others:
            kinds = some([f"{n} {kind!r}" for kind, n in sorted(self._others.items())])
            notes.append(f"records that are neither images nor errors, passed over: {kinds}")
        ranks = self._ranks()
        found = listing.positions(
            labels=labels,
            name=lambda number: f"F{number:03d}",
            time_of=lambda well, time: ranks[self._group(well)][time],
            group_of=self._group,
            notes=notes,
        )
        listing.note_unlisted(notes, known=setup.shading)
        if absent := sorted(setup.selected - found.keys(), key=well_order):
            notes.append(f"selected wells without any image: {some(absent)}")
        wells = {well: tuple(found.get(well, ())) for well in sorted(found.keys() | setup.selected, key=well_order)}
        groups = {self._group(well) for well in found}
        n_rows, n_columns = plate_format(wells, declared=setup.size)
        return Acquisition(
            name=setup.name or clean_label(self._folder.path.name),
            format=CELLVOYAGER.name,
            channels=tuple(labels.values()),
            wells=wells,
            n_rows=n_rows,
            n_columns=n_columns,
            pixel_size_um=size,
            shape=image.shape,
            notes=tuple(notes),
            stacks_vary=len(groups) > 1,
            declares_size=setup.size is not None,
        )

    def _and_errors(self) -> str:
        if not self._errors:
            return ""
        return f", but {count_of(len(self._errors), 'error')} (the first: {self._errors[0].said})"

    def _take_projections(self) -> None:
        """Take one kind of projection a channel, the maximum before others, beside its planes."""
        chosen = {}
        for channel, kinds in sorted(self._kinds.items()):
            made = [kind for kind in kinds if kind]
            if not made:
                continue
            chosen[channel] = next((kind for kind in _KINDS if kind in made), min(made))
            self._notes.append(f"channel {channel}: {_kind(chosen[channel])} projections by the instrument")
            if others := sorted(set(made) - {chosen[channel]}):
                self._notes.append(
                    f"channel {channel}: {some([_kind(kind) for kind in others])} projections passed over"
                )
        for spot, channel, time, kind, file in self._projections:
            if chosen[channel] == kind:
                self._listing.add(spot, channel, (time, INSTRUMENT_PROJECTION), file)
            else:
                self._listing.pass_over(file)

    def _take_errors(self) -> None:
        """Give each error to the field that it names, by number or by its place in the well."""
        unplaced = []
        for error in self._errors:
            numbers = self._near(error.at)
            number = error.number if error.number is not None else next(iter(numbers)) if len(numbers) == 1 else None
            if number is not None:
                self._listing.say(
                    (error.well, number), f"error record: {error.said}; acquire the field again", time=error.time
                )
                continue
            broken = [n for n in self._listing.fields(error.well) if not self._listing.is_whole((error.well, n))]
            if not self._listing.fields(error.well):
                broken = [1]
            for n in broken:
                words = f"error record of the well: {error.said}; acquire the well again"
                self._listing.say((error.well, n), words, time=error.time)
            if not broken:
                unplaced.append(f"{error.well}: {error.said}")
        if unplaced:
            self._notes.append(
                f"{count_of(len(unplaced), 'error record')} of wells whose images are there: {some(unplaced)}"
            )

    def _near(self, at: tuple[float, float] | None) -> set[int]:
        """Numbers of the fields at a place of the well; wells are imaged at the same places."""
        places = self._number_at.items() if at is not None else ()
        return {number for place, numbers in places if math.dist(place, at or place) < _NEAR_UM for number in numbers}

    def _note_channels(self, labels: Mapping[int, str], setup: Setup) -> None:
        for channel in self._listing.listed_channels():
            if channel not in labels:
                self._notes.append(f"channel {channel} has no image that can be used: left out of the channels")
        if sources := sorted(setup.shading & set(self._folder.files)):
            n = count_of(len(sources), "image")
            self._notes.append(f"{n} for shading correction beside the fields, not applied: {some(sources, most=2)}")

    def _group(self, well: str) -> frozenset[int]:
        """The time lines that imaged a well."""
        return frozenset(self._lines.get(well, ()))

    def _ranks(self) -> dict[frozenset[int], dict[int, int]]:
        """Time points counted from 1, by the instrument's number, among the wells of the same time lines."""
        times: dict[frozenset[int], set[int]] = defaultdict(set)
        for well, found in self._times.items():
            times[self._group(well)] |= found
        return {group: {time: n for n, time in enumerate(sorted(found), start=1)} for group, found in times.items()}


def _stage(record: Record) -> tuple[float, float] | None:
    """Place in the well, in um."""
    x, y = record.number("X"), record.number("Y")
    return None if x is None or y is None else (x, y)


def _said(record: Record) -> str:
    """An error record in words: its text, what it calls an error, its time and place in the file."""
    words = [clean_label(record.text) or "no description"]
    words += [f"{key} {clean_label(value)}" for key, value in record.attributes.items() if key.startswith("Err")]
    return f"{', '.join(words)} ({clean_label(record.get('Time') or 'no time')}, {record.where()})"


def _kind(processing: str) -> str:
    return _KINDS.get(processing, repr(processing))
