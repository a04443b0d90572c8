"""Raw plates: what instruments wrote, read into one form (`RawPlate`), plane by plane."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lysoquant.errors import PlateError
from lysoquant.io.raw.description import Field, Plane, RawPlate
from lysoquant.io.raw.imagexpress import describe_imagexpress
from lysoquant.io.raw.names import Folder, count_of, is_image, printable, read_folder, some
from lysoquant.io.raw.pixels import file_pixel_size_um, read_plane
from lysoquant.io.raw.tiff import EXAMPLE_PATTERN, describe_tiff, list_images

FORMATS = ("imagexpress", "tiff")
"""Formats of raw plates."""


def describe(
    source: Path,
    *,
    format: str | None = None,
    pattern: str | None = None,
    channel_names: Sequence[str] | None = None,
    z: int | Literal["projection"] = "projection",
    timepoint: int = 1,
) -> RawPlate:
    """Describe a raw plate without reading its pixels.

    Parameters
    ----------
    source : pathlib.Path
        The plate's folder, its .HTD file, or one image file.
    format : str, optional
        ``imagexpress`` or ``tiff``; found from the content if not given.
    pattern : str, optional
        tiff only: regular expression, searched in each file's path relative to `source` (with ``/``), with the
        named groups ``well`` (B03, b3, B-03) or ``row`` and ``column``, and any of ``field``, ``channel``, ``z``,
        ``time``. Not needed for a single image.
    channel_names : sequence of str, optional
        tiff only: channel labels in the order of the files' channel axis.
    z : int or "projection"
        Plane number, counted from 1, or the instrument's own projection.
    timepoint : int
        Time point, counted from 1.

    Returns
    -------
    RawPlate

    Raises
    ------
    PlateError
        If the plate can't be described; the message says what was seen and what to give.
    """
    if format is not None and format not in FORMATS:
        raise PlateError(f"format {format!r} is not known; expected {' or '.join(FORMATS)}")
    if timepoint < 1 or (z != "projection" and z < 1):
        raise PlateError(f"Z plane {z}, time point {timepoint}: both are counted from 1")
    if source.is_file():
        return _describe_file(
            source, format=format, pattern=pattern, channel_names=channel_names, z=z, timepoint=timepoint
        )
    if not source.is_dir():
        raise PlateError(f"{source}: no such file or folder; check the path of the raw plate")
    folder = read_folder(source)
    if (format or _detected(folder)) == "imagexpress":
        plate = describe_imagexpress(folder, z=z, timepoint=timepoint)
        return _with_unused(plate, pattern, channel_names)
    notes: list[str] = []
    images = list_images(folder, notes)
    if not images or (pattern is None and len(images) > 1):
        raise PlateError(_way_out(folder, images))
    return describe_tiff(
        source, images, pattern=pattern, channel_names=channel_names, z=z, timepoint=timepoint, notes=notes
    )


def _describe_file(
    source: Path,
    *,
    format: str | None,
    pattern: str | None,
    channel_names: Sequence[str] | None,
    z: int | Literal["projection"],
    timepoint: int,
) -> RawPlate:
    if source.suffix.lower() == ".htd" and format != "tiff":
        plate = describe_imagexpress(read_folder(source.parent), z=z, timepoint=timepoint)
        return _with_unused(plate, pattern, channel_names)
    if not is_image(source.name) or format == "imagexpress":
        wanted = "the folder of a MetaXpress export" if format == "imagexpress" else "a folder, an .HTD or a TIFF file"
        raise PlateError(f"{source}: expected {wanted}; give that, or save the image as OME-TIFF")
    return describe_tiff(source, [source.name], pattern=pattern, channel_names=channel_names, z=z, timepoint=timepoint)


def _detected(folder: Folder) -> str:
    return "imagexpress" if folder.with_suffix(".htd") else "tiff"


def _with_unused(plate: RawPlate, pattern: str | None, channel_names: Sequence[str] | None) -> RawPlate:
    """Say that settings of the other format were given and have no effect."""
    unused = [name for name, value in (("pattern", pattern), ("channel_names", channel_names)) if value is not None]
    if not unused:
        return plate
    note = f"{' and '.join(unused)} not used: the plate is a MetaXpress export (format tiff would use it)"
    return RawPlate(**{**vars(plate), "notes": (*plate.notes, note)})


def _way_out(folder: Folder, images: Sequence[str]) -> str:
    """What was seen in a folder that is no plate yet, and what to give."""
    plates = [name for name in folder.folders if read_folder(folder.path / name).with_suffix(".htd")]
    if plates:
        return f"{folder.path}: MetaXpress plates lie in its subfolders ({some(plates)}); give one of them"
    if images:
        return (
            f"{folder.path}: {count_of(len(images), 'TIFF file')} (such as {printable(images[0])}) and no .HTD file;"
            f" give a pattern that finds the well in a name, such as {EXAMPLE_PATTERN}"
        )
    endings = Counter(Path(name).suffix.lower() or "no ending" for name in folder.files)
    seen = ", ".join(f"{number} {ending}" for ending, number in sorted(endings.items())[:5]) or "no files"
    return (
        f"{folder.path}: no .HTD file and no TIFF ({seen}, {count_of(len(folder.folders), 'folder')});"
        " give a MetaXpress export, or TIFF files with a pattern"
    )


__all__ = [
    "FORMATS",
    "Field",
    "Plane",
    "RawPlate",
    "describe",
    "file_pixel_size_um",
    "read_plane",
]
