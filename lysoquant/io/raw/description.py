"""What a raw plate is, whatever instrument wrote it: the one form that readers give and convert follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

Reduction = Literal["plane", "max", "sharpest"]

INSTRUMENT_PROJECTION: Final = 0
"""Number, in place of a Z plane's, of a projection that the instrument wrote beside a stack."""


@dataclass(frozen=True)
class Plane:
    """Where the pixels of one channel of one field lie.

    Attributes
    ----------
    path : pathlib.Path
        The image file.
    index : tuple of int or None
        Index of the plane within the file's array, leading axes only (all but Y, X); None for a file of one plane.
    page : int or None
        Number of the page (IFD) in a TIFF whose metadata address pages and not axes; takes the place of `index`.
    """

    path: Path
    index: tuple[int, ...] | None = None
    page: int | None = None


@dataclass(frozen=True)
class Field:
    """One image of a well that convert makes: a position at a time point, in one plane a channel or made from several.

    Attributes
    ----------
    name : str
        The instrument's own name of the position (``s1``, ``f02``), with `` t2`` and `` z3`` behind it where time
        points or Z planes are fields of their own.
    planes : mapping of str to mapping of int to Plane
        By channel label, then by Z plane number. A channel may be missing: see `problems`.
    problems : sequence of str
        Why the field can't be used as it is (missing channel, duplicate file): one line each, with the remedy.
    timepoint : int
        Time point, counted from 1.
    reduction : {"plane", "max", "sharpest"}
        What becomes of a channel with several planes: ``plane`` has one a channel, ``max`` is their maximum
        projection, ``sharpest`` the plane that is chosen by the lysosome channel.
    position : str
        The instrument's own name of the position alone: fields that share it show the same cells.
    """

    name: str
    planes: Mapping[str, Mapping[int, Plane]]
    problems: Sequence[str] = ()
    timepoint: int = 1
    reduction: Reduction = "plane"
    position: str = ""


@dataclass(frozen=True)
class Position:
    """One acquired position of a well with all that was acquired there, before planes are chosen.

    Attributes
    ----------
    name : str
        The instrument's own name of the position (``s1``, ``f02``).
    planes : mapping of str to mapping of (int, int) to Plane
        By channel label, then by time point and Z plane, both counted from 1; Z plane `INSTRUMENT_PROJECTION` is the
        instrument's own projection. A channel that was acquired in one Z plane of several has that one only.
    problems : sequence of str
        Why the position can't be used whatever plane is chosen: one line each, with the remedy. A channel or a plane
        that is missing needs no line: it is said when planes are chosen.
    faults : mapping of (str, int, int) to str
        Why single planes can't be used (two files for one plane, an error of the instrument), by channel, time point
        and Z plane: a line counts where its plane is chosen.
    """

    name: str
    planes: Mapping[str, Mapping[tuple[int, int], Plane]]
    problems: Sequence[str] = ()
    faults: Mapping[tuple[str, int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Acquisition:
    """A raw plate as its reader finds it: every plane of every time point.

    Attributes
    ----------
    name, format, channels, n_rows, n_columns, pixel_size_um, shape, notes
        As of :class:`RawPlate`.
    wells : mapping of str to sequence of Position
        Positions by canonical well name, in reading order.
    declares_size : bool
        As of :class:`RawPlate`.
    stacks_vary : bool
        Each position has its own number of planes and time points, as files with several scenes have; otherwise a
        plane that other positions have and one has not is missing.
    """

    name: str
    format: str
    channels: Sequence[str]
    wells: Mapping[str, Sequence[Position]]
    n_rows: int
    n_columns: int
    pixel_size_um: float | None
    shape: tuple[int, int]
    notes: Sequence[str] = field(default_factory=tuple)
    stacks_vary: bool = False
    declares_size: bool = False


@dataclass(frozen=True)
class RawPlate:
    """A raw plate.

    Attributes
    ----------
    name : str
        The instrument's own name of the plate, not yet safe as a folder name.
    format : str
        Name of the reader, one of :data:`lysoquant.vocabulary.RAW_FORMATS`.
    channels : sequence of str
        Channel labels in acquisition order; every one occurs in at least one field.
    wells : mapping of str to sequence of Field
        Fields by canonical well name, in reading order; the position in the sequence is the NGFF path.
        A well that was declared but has no image is there with its fields' `problems`.
    n_rows, n_columns : int
        Size of the plate (8 x 12, 16 x 24, 32 x 48, or smaller formats), large enough for every well.
    pixel_size_um : float or None
        Pixel size as the plate's own metadata say; None where they say nothing.
    shape : tuple of int
        (Y, X) of the plate's first readable image.
    notes : sequence of str
        What a person should know: choices made, oddities passed over (never in silence).
    z_planes : sequence of int
        Numbers of the Z planes that were acquired, `INSTRUMENT_PROJECTION` for the instrument's projection.
    timepoints : sequence of int
        Numbers of the time points that were acquired.
    seen : str
        By what the reader recognised the plate.
    declares_size : bool
        The plate's metadata say how large it is; otherwise it is at least of `n_rows` and `n_columns`.
    """

    name: str
    format: str
    channels: Sequence[str]
    wells: Mapping[str, Sequence[Field]]
    n_rows: int
    n_columns: int
    pixel_size_um: float | None
    shape: tuple[int, int]
    notes: Sequence[str] = field(default_factory=tuple)
    z_planes: Sequence[int] = (1,)
    timepoints: Sequence[int] = (1,)
    seen: str = ""
    declares_size: bool = False

    def files(self, well: str) -> list[Path]:
        """All files of a well, sorted, each once."""
        return sorted(
            {
                plane.path
                for position in self.wells[well]
                for planes in position.planes.values()
                for plane in planes.values()
            }
        )
