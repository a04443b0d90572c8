"""Raw plates: what instruments wrote, read into one form (`RawPlate`), plane by plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lysoquant.errors import PlaneChoiceError
from lysoquant.io.raw.description import Acquisition, Field, Plane, Position, RawPlate
from lysoquant.io.raw.formats import find_reader
from lysoquant.io.raw.planes import file_pixel_size_um, read_plane
from lysoquant.io.raw.reader import Options, look_at
from lysoquant.io.raw.select import TimeChoice, ZChoice, select, undecided


def describe(
    path: Path,
    *,
    format: str | None = None,
    pattern: str | None = None,
    channel_names: Sequence[str] | None = None,
    z: ZChoice = "projection",
    timepoint: TimeChoice = 1,
    on_undecided: Callable[[RawPlate], None] = lambda plate: None,
) -> RawPlate:
    """Describe a raw plate without reading more pixels than its reader needs to know a copy.

    Parameters
    ----------
    path : pathlib.Path
        The plate's folder or file.
    format : str, optional
        One of :data:`lysoquant.vocabulary.RAW_FORMATS`; found from the content if not given.
    pattern, channel_names : str, sequence of str, optional
        As in :class:`~lysoquant.io.raw.reader.Options`, for readers that take them.
    z, timepoint : int or str
        Which planes and time points, as in :func:`~lysoquant.io.raw.select.select`.

    on_undecided : callable, optional
        Told what the plate is where it lacks the planes or the time point that are asked for.

    Returns
    -------
    RawPlate

    Raises
    ------
    PlateError
        If the plate can't be described; the message says what was seen and what to give.
    PlaneChoiceError
        If it was read and lacks the planes or the time point that are asked for.
    """
    source = look_at(path)
    reader, seen = find_reader(source, format, has_pattern=pattern is not None)
    acquisition = reader.describe(source, Options(pattern=pattern, channel_names=channel_names))
    unused = [name for name, value in (("pattern", pattern), ("channel_names", channel_names)) if value is not None]
    if unused and not reader.takes_options:
        note = f"{' and '.join(unused)} not used: the plate is a {reader.title} (format tiff uses it)"
        acquisition = replace(acquisition, notes=(*acquisition.notes, note))
    try:
        return select(acquisition, z=z, timepoint=timepoint, seen=seen)
    except PlaneChoiceError:
        on_undecided(undecided(acquisition, seen=seen))
        raise


__all__ = [
    "Acquisition",
    "Field",
    "Plane",
    "Position",
    "RawPlate",
    "describe",
    "file_pixel_size_um",
    "read_plane",
]
