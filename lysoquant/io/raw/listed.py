"""Images that an instrument's index lists: which are there, which are missing, twice, or outside the plate's folder."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.raw.description import INSTRUMENT_PROJECTION, Plane, Position
from lysoquant.io.raw.names import Folder, count_of, natural_key, printable, read_folder, some
from lysoquant.io.raw.pixels import ImageFile, inspect_image
from lysoquant.vocabulary import well_order

Spot = tuple[str, int]
"""A position: well and field number."""

When = tuple[int, int]
"""Time point and Z plane, as an index numbers them; Z plane 0 is the instrument's projection."""

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")

_FAULTS: Final = {
    "unrecorded": "{n} without a file in {file} ({what}); acquire the field again",
    "state": "{n} marked as faulty in {file} ({what}); acquire the field again",
    "outside": "{n} that {file} places outside the plate's folder ({what}), which is refused; export the plate again",
    "absent": "{n} in {file} but not on disk ({what}); copy or export again",
    "png": "{n} on disk as PNG ({what}), which is not read; export the plate as TIFF",
    "twice": "{n} more than once in {file} ({what}); keep one",
    "undescribed": "{n} named in {file} but not described ({what}); export the plate again",
    "size": "{n} whose pixel size in {file} is not the plate's ({what}); export them as a plate of their own",
}
"""What can be wrong with images of a position, in the order in which it is told."""


class Listing:
    """The images of an index, as they are read from it, and then the plate's positions.

    Parameters
    ----------
    folder : Folder
        The index's folder; every image must lie in it or in a folder below it.
    file : str
        The index's name, for messages.
    """

    def __init__(self, folder: Folder, file: str) -> None:
        self._file = file
        self._folders = {".": folder}
        self._names = {".": frozenset(folder.files)}
        self._images: dict[Spot, dict[int, dict[When, str]]] = {}
        self._faults: dict[Spot, dict[str, list[_Fault]]] = defaultdict(lambda: defaultdict(list))
        self._said: dict[Spot, list[tuple[int | None, str]]] = defaultdict(list)
        self._used: set[str] = set()
        self._passed: set[str] = set()

    def add(self, spot: Spot, channel: int, when: When, url: str, *, fault: tuple[str, str] | None = None) -> None:
        """Take an image of a position.

        Parameters
        ----------
        spot, channel, when : (str, int), int, (int, int)
            Position, channel number, time point and plane.
        url : str
            The file as the index names it, from the index's folder on.
        fault : (str, str), optional
            What the index itself says is wrong with the image: a kind of fault, and the words.
        """
        planes = self._images.setdefault(spot, {}).setdefault(channel, {})
        found = fault or self._fault(planes.get(when), url)
        if found is not None:
            self.fault(spot, *found, channel=channel, when=when)
            self.pass_over(url)
            planes.setdefault(when, "")
            return
        place = inside(url) or ""
        self._used.add(place)
        planes[when] = place

    def fault(self, spot: Spot, kind: str, what: str, *, channel: int = 0, when: When | None = None) -> None:
        """Note that an image of a position can't be used; without `when` that the position can't."""
        self._images.setdefault(spot, {})
        self._faults[spot][kind].append(_Fault(printable(what)[:300] or "no name", channel, when))

    def say(self, spot: Spot, problem: str, *, time: int | None = None) -> None:
        """Note a problem of a position: at one time point, or as a whole."""
        self._images.setdefault(spot, {})
        self._said[spot].append((time, problem))

    def pass_over(self, url: str) -> None:
        """Take note of an image that is listed and not read."""
        self._passed.add(inside(url) or "")

    def channels(self) -> list[int]:
        """Numbers of the channels that have an image that can be used, in order."""
        positions = self._images.values()
        return sorted({channel for found in positions for channel, planes in found.items() if any(planes.values())})

    def listed_channels(self) -> list[int]:
        """Numbers of the channels that the index lists, in order."""
        return sorted({channel for found in self._images.values() for channel in found})

    def is_whole(self, spot: Spot) -> bool:
        """Whether every image that is listed of a position is there."""
        found = self._images.get(spot, {})
        return bool(found) and all(place for planes in found.values() for place in planes.values())

    def fields(self, well: str) -> list[int]:
        """Field numbers of a well, in order."""
        return sorted(number for name, number in self._images if name == well)

    def positions(
        self,
        *,
        labels: Mapping[int, str],
        name: Callable[[int], str],
        time_of: Callable[[str, int], int],
        notes: list[str],
        group_of: Callable[[str], Hashable] = lambda well: None,
    ) -> dict[str, list[Position]]:
        """The positions of each well, by field number.

        Parameters
        ----------
        labels : mapping of int to str
            Channel labels by number; images of other channels are left out.
        name : function
            Name of a field from its number.
        time_of : function
            Time point counted from 1, from a well and the index's own number.
        notes : list of str
            Gets what is no problem of a position.
        group_of : function
            Wells that were imaged alike have an equal value. Where there are several groups, planes that most
            positions of a group have and one lacks are a problem of that one; in one group it is said when planes are
            chosen.
        """
        usual = self._usual(labels, group_of)
        wells: dict[str, list[Position]] = defaultdict(list)
        beyond = []
        for spot in self._spots():
            well, number = spot
            expected, images = usual[group_of(well)], self._images[spot]
            place = _Place(f"well {well} field {name(number)}", labels, expected, partial(time_of, well))
            problems, faults = self._told(spot, place)
            if len(usual) > 1:
                problems += _lacking(images, place)
            if any(images[channel].keys() - expected[channel] for channel in images if channel in labels):
                beyond.append(f"{well} {name(number)}")
            wells[well].append(
                Position(name=name(number), planes=self._planes(images, place), problems=tuple(problems), faults=faults)
            )
        if beyond:
            notes.append(f"planes or time points that most fields lack: {some(beyond)}")
        return wells

    def note_unlisted(self, notes: list[str], *, known: Collection[str] = ()) -> None:
        """Say which images on disk the index does not list; `known` are names of files that are no fields."""
        listed = self._used | self._passed
        for folder in self._folders.values():
            folder.note_unreadable(notes)
        strangers = [
            printable(place)
            for below, folder in self._folders.items()
            for file in folder.images()
            if file not in known and (place := file if below == "." else f"{below}/{file}") not in listed
        ]
        if strangers:
            first = min(strangers, key=natural_key)
            notes.append(
                f"{count_of(len(strangers), 'image')} on disk not in {self._file}, passed over: such as {first}"
            )

    def first_readable(self) -> ImageFile:
        """The first image of the plate that can be read.

        Raises
        ------
        PlateError
            If no image is on disk or readable.
        """
        root = self._folders["."].path
        first: FieldError | None = None
        for spot in self._spots():
            for place in (place for planes in self._images[spot].values() for place in planes.values() if place):
                try:
                    return inspect_image(root / place)
                except FieldError as error:
                    first = first or error
        if first is None:
            raise PlateError(
                f"{root}: none of the images that {self._file} lists is there; copy them beside it or export again"
            )
        raise PlateError(f"none of the plate's images can be read; the first: {first}") from first

    def _spots(self) -> list[Spot]:
        return sorted(self._images, key=lambda spot: (*well_order(spot[0]), spot[1]))

    def _fault(self, earlier: str | None, url: str) -> tuple[str, str] | None:
        """What is wrong with an image, as a kind of fault and words; `earlier` was listed for the same plane."""
        place = inside(url)
        if place is None:
            return "outside", url
        if earlier is not None:
            return "twice", f"{earlier or 'one that is missing'} and {url}"
        if place in self._used:
            return "twice", url
        if self._is_there(place):
            return None
        png = str(PurePosixPath(place).with_suffix(".png"))
        return ("png", png) if self._is_there(png) else ("absent", url)

    def _is_there(self, place: str) -> bool:
        below, _, file = place.rpartition("/")
        return file in self._files_of(below or ".")

    def _files_of(self, below: str) -> frozenset[str]:
        """Names of the files of a folder in the plate's; none for one that is missing or a link."""
        if below not in self._names:
            parent, _, own = below.rpartition("/")
            self._files_of(parent or ".")
            folder = self._folders.get(parent or ".")
            if folder is not None and own in folder.folders:
                self._folders[below] = read_folder(folder.path / own)
                self._names[below] = frozenset(self._folders[below].files)
            else:
                self._names[below] = frozenset()
        return self._names[below]

    def _usual(
        self, labels: Mapping[int, str], group_of: Callable[[str], Hashable]
    ) -> dict[Hashable, dict[int, set[When]]]:
        """Time points and planes that most positions of a group have, by channel."""
        seen: dict[Hashable, dict[int, Counter[When]]] = defaultdict(lambda: {channel: Counter() for channel in labels})
        sizes: Counter[tuple[Hashable, int]] = Counter()
        for (well, _), images in self._images.items():
            group = group_of(well)
            for channel in images.keys() & labels.keys():
                seen[group][channel].update(images[channel].keys())
                sizes[group, channel] += 1
        usual: dict[Hashable, dict[int, set[When]]] = defaultdict(lambda: {channel: set() for channel in labels})
        for group, channels in seen.items():
            for channel, whens in channels.items():
                usual[group][channel] = {when for when, n in whens.items() if 2 * n > sizes[group, channel]}
        return usual

    def _planes(self, images: Mapping[int, Mapping[When, str]], place: _Place) -> dict[str, dict[When, Plane]]:
        root = self._folders["."].path
        return {
            place.labels[channel]: {
                (place.time_of(time), z): Plane(root / file)
                for (time, z), file in sorted(images[channel].items())
                if file
            }
            for channel in sorted(images.keys() & place.labels.keys())
            if any(images[channel].values())
        }

    def _told(self, spot: Spot, place: _Place) -> tuple[list[str], dict[tuple[str, int, int], str]]:
        """Problems of a position as a whole, and of single planes; a line a kind of fault."""
        problems: list[str] = []
        faults: dict[tuple[str, int, int], str] = {}
        for time, words in self._said.get(spot, ()):
            keys = place.planes_at(time) if time is not None else []
            problems += [] if keys else [f"{place.name}: {words}"]
            faults |= dict.fromkeys(keys, f"{place.name}: {words}")
        kinds = self._faults.get(spot, {})
        for kind in _FAULTS:
            # A channel without any image on the whole plate was left away on purpose: that is a note.
            found = [fault for fault in kinds.get(kind, ()) if fault.when is None or fault.channel in place.labels]
            if not found:
                continue
            what = some([fault.what for fault in found], most=2)
            words = _FAULTS[kind].format(n=count_of(len(found), "image"), what=what, file=self._file)
            line = f"{place.name}: {words}"
            for fault in found:
                if fault.when is None:
                    problems += [line] if line not in problems else []
                else:
                    time, z = fault.when
                    faults.setdefault((place.labels[fault.channel], place.time_of(time), z), line)
        return problems, faults


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with an image; `when` is None where it is not known which of the position's images it is."""

    what: str
    channel: int
    when: When | None


@dataclass(frozen=True)
class _Place:
    """A position, for messages and keys: its name, the plate's labels, and what positions like it have."""

    name: str
    labels: Mapping[int, str]
    expected: Mapping[int, set[When]]
    time_of: Callable[[int], int]

    def planes_at(self, time: int) -> list[tuple[str, int, int]]:
        """Keys of the planes of a time point; none where there is one time point only."""
        if len({at for whens in self.expected.values() for at, _ in whens}) < 2:
            return []
        keys = ((channel, z) for channel, whens in self.expected.items() for at, z in sorted(whens) if at == time)
        return [(self.labels[channel], self.time_of(time), z) for channel, z in keys]


def inside(url: str) -> str | None:
    """A file's path from the index's folder on, with ``/``; None unless it stays inside that folder."""
    parts = url.strip().replace("\\", "/").split("/")
    if _SCHEME.match(url.strip()) or not all(part and part != ".." and part.isprintable() for part in parts):
        return None
    return "/".join(part for part in parts if part != ".") or None


def find_below(folder: Folder, names: Sequence[str]) -> list[Path]:
    """The first file of one of these names, in any case, in a folder; else in each of the folders directly below it.

    Folders below are asked for the names as given and in lower case, not listed: they may hold a plate's images.
    """
    by_name = {file.lower(): file for file in reversed(folder.files)}
    if here := [folder.path / by_name[name.lower()] for name in names if name.lower() in by_name]:
        return here[:1]
    below = ([folder.path / own / file for name in names for file in (name, name.lower())] for own in folder.folders)
    return [found for paths in below if (found := next((path for path in paths if path.is_file()), None))]


def _lacking(images: Mapping[int, Mapping[When, str]], place: _Place) -> Iterable[str]:
    """What a position lacks of the planes that its like have."""
    for channel, label in place.labels.items():
        lacks = sorted(place.expected[channel] - images[channel].keys()) if channel in images else []
        if lacks:
            planes = some([_when(place.time_of(time), z) for time, z in lacks], most=2)
            yield f"{place.name}: channel {label!r} has no {planes}, as most fields have; copy or export it again"


def _when(time: int, z: int) -> str:
    plane = "projection" if z == INSTRUMENT_PROJECTION else f"plane {z}"
    return f"{plane} at time {time}"
