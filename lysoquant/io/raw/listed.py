"""Images that an instrument's index lists: which are there, which are missing, twice, or outside the plate's folder."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.raw.description import INSTRUMENT_PROJECTION, Plane, Position
from lysoquant.io.raw.names import Folder, clean_label, count_of, natural_key, printable, read_folder, some
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

_ABSENT: Final = frozenset({"absent", "png"})


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
        self._faults: dict[Spot, dict[tuple[str, int], list[str]]] = defaultdict(lambda: defaultdict(list))
        self._said: dict[Spot, list[str]] = defaultdict(list)
        self._used: set[str] = set()

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
        place = "" if fault else self._place(spot, channel, when, planes, url)
        if fault:
            self.fault(spot, *fault, channel=channel)
        if place:
            self._used.add(place)
        planes.setdefault(when, place)

    def fault(self, spot: Spot, kind: str, what: str, *, channel: int = 0) -> None:
        """Note that an image of a position can't be used."""
        self._images.setdefault(spot, {})
        self._faults[spot][kind, channel].append(clean_label(what) or "no name")

    def say(self, spot: Spot, problem: str) -> None:
        """Note a problem of a position as a whole."""
        self._images.setdefault(spot, {})
        self._said[spot].append(problem)

    def pass_over(self, url: str) -> None:
        """Take note of an image that is listed and not wanted."""
        self._used.add(inside(url) or "")

    def channels(self) -> list[int]:
        """Numbers of the channels that have an image on disk, in order."""
        positions = self._images.values()
        return sorted({channel for found in positions for channel, planes in found.items() if any(planes.values())})

    def listed_channels(self) -> list[int]:
        """Numbers of the channels that the index lists, in order."""
        return sorted({channel for found in self._images.values() for channel in found})

    def wells(self) -> set[str]:
        """Wells that have a position."""
        return {well for well, _ in self._images}

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
        group_of: Callable[[str], Hashable],
        notes: list[str],
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
        group_of : function
            Wells that were imaged alike have an equal value: planes that most positions of such a group have and
            one lacks are a problem of that one.
        notes : list of str
            Gets what is no problem of a position.
        """
        usual = self._usual(labels, group_of)
        wells: dict[str, list[Position]] = defaultdict(list)
        beyond = []
        for well, number in sorted(self._images, key=lambda spot: (*well_order(spot[0]), spot[1])):
            spot, images = (well, number), self._images[well, number]
            expected = usual[group_of(well)]
            problems = [
                *self._said[spot],
                *self._told(spot, labels),
                *_lacking(images, expected, labels, time_of, well),
            ]
            if any(images[channel].keys() - expected[channel] for channel in images if channel in labels):
                beyond.append(f"{well} {name(number)}")
            wells[well].append(
                Position(
                    name=name(number),
                    planes={
                        labels[channel]: {
                            (time_of(well, time), z): Plane(self._folders["."].path / place)
                            for (time, z), place in sorted(images[channel].items())
                            if place
                        }
                        for channel in sorted(images)
                        if channel in labels and any(images[channel].values())
                    },
                    problems=tuple(f"well {well} field {name(number)}: {problem}" for problem in problems),
                )
            )
        if beyond:
            notes.append(f"planes or time points that most fields lack: {some(beyond)}")
        return wells

    def note_unlisted(self, notes: list[str], *, known: Collection[str] = ()) -> None:
        """Say which images on disk the index does not list; `known` are names of files that are no fields."""
        strangers = [
            printable(place)
            for below, folder in self._folders.items()
            for file in folder.images()
            if file not in known and (place := file if below == "." else f"{below}/{file}") not in self._used
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
        for spot in sorted(self._images, key=lambda spot: (*well_order(spot[0]), spot[1])):
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

    def _place(self, spot: Spot, channel: int, when: When, planes: Mapping[When, str], url: str) -> str:
        """Path of an image from the index's folder on; empty, and a fault noted, where it can't be used."""
        place = inside(url)
        if place is None:
            self.fault(spot, "outside", url, channel=channel)
        elif when in planes:
            self.fault(spot, "twice", f"{planes[when] or 'one that is missing'} and {url}", channel=channel)
        elif place in self._used:
            self.fault(spot, "twice", url, channel=channel)
        elif self._is_there(place):
            return place
        elif self._is_there(png := str(PurePosixPath(place).with_suffix(".png"))):
            self.fault(spot, "png", png, channel=channel)
        else:
            self.fault(spot, "absent", url, channel=channel)
        return ""

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

    def _told(self, spot: Spot, labels: Mapping[int, str]) -> Iterable[str]:
        """The faults of a position's images, one line a kind."""
        faults: dict[str, list[str]] = defaultdict(list)
        for (kind, channel), what in self._faults.get(spot, {}).items():
            # A channel without any image on the whole plate was left away on purpose: that is a note.
            if kind not in _ABSENT or channel in labels:
                faults[kind] += what
        for kind, words in _FAULTS.items():
            if what := faults[kind]:
                yield words.format(n=count_of(len(what), "image"), what=some(what, most=2), file=self._file)


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


def _lacking(
    images: Mapping[int, Mapping[When, str]],
    expected: Mapping[int, set[When]],
    labels: Mapping[int, str],
    time_of: Callable[[str, int], int],
    well: str,
) -> Iterable[str]:
    """What a position lacks of what its like have."""
    missing = [f"{label!r}" for channel, label in labels.items() if channel not in images]
    if missing:
        what = "any channel" if len(missing) == len(labels) else f"channel {', '.join(missing)}"
        yield f"no image of {what}; copy or export it again"
    for channel, label in labels.items():
        lacks = sorted(expected[channel] - images[channel].keys()) if channel in images else []
        if lacks:
            planes = some([_when(time_of(well, time), z) for time, z in lacks], most=2)
            yield f"channel {label!r} has no {planes}, as most fields have; copy or export it again"


def _when(time: int, z: int) -> str:
    plane = "projection" if z == INSTRUMENT_PROJECTION else f"plane {z}"
    return f"{plane} at time {time}"
