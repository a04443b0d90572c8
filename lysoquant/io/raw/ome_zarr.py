"""Plates that are OME-Zarr already: NGFF 0.4 (Zarr v2) and 0.5 (Zarr v3).

Describing a plate opens no array: its metadata are read as the JSON that they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.raw.container import problem_of
from lysoquant.io.raw.description import Acquisition, Plane, Position
from lysoquant.io.raw.names import (
    PLATE_FORMATS,
    clean_label,
    count_of,
    normal_row,
    normal_well,
    plate_format,
    some,
    unique_labels,
)
from lysoquant.io.raw.ngff import (
    ARRAY_FILE,
    GROUP_METADATA,
    WRONG,
    Json,
    attributes_of,
    folder_inside,
    plane_index,
    said,
)
from lysoquant.io.raw.reader import Options, Reader, Source
from lysoquant.io.raw.tiff_metadata import UM_PER_UNIT
from lysoquant.io.raw.zarr_array import read_array
from lysoquant.vocabulary import NgffVersion, well_order

_MAX_FIELDS: Final = 10_000
"""More fields in one well are damaged metadata."""

_SAME: Final = 1e-3
"""Relative difference under which two pixel sizes are one, written with fewer digits."""

_AXES: Final = "tczyx"


@dataclass(frozen=True)
class _Image:
    """One image, by its largest level."""

    path: Path
    axes: str
    lengths: Mapping[str, int]
    labels: Sequence[str]
    pixel_size_um: float | None


@dataclass
class _Plate:
    """What is found on the way."""

    root: Path
    version: NgffVersion
    notes: list[str] = field(default_factory=list)
    n_with_labels: int = 0
    n_without_size: int = 0
    n_unnamed: int = 0


def recognise_ome_zarr(source: Source) -> str | None:
    """What is seen where the folder is an OME-Zarr plate."""
    found = _plate_at(source.folder.path)
    if found is None or source.file not in (None, GROUP_METADATA[found[0]]):
        return None
    version, plate = found
    return f"{GROUP_METADATA[version]} with a plate (OME-Zarr {clean_label(str(plate.get('version', version)))[:10]})"


def describe_ome_zarr(source: Source, options: Options) -> Acquisition:
    """Describe an OME-Zarr plate.

    Labels and tables of the plate are passed over; so are all levels but the largest.

    Raises
    ------
    PlateError
        If the folder is no such plate, names a well twice, or no image of it can be used.
    """
    found = _plate_at(source.folder.path)
    if found is None:
        raise PlateError(
            f"{source.path}: no OME-Zarr plate (zarr.json or .zattrs with a `plate`); give the folder of a plate"
        )
    plate = _Plate(root=source.folder.path, version=found[0])
    folders = _wells(plate, found[1])
    images = {well: _images(plate, well, folder) for well, folder in folders.items()}
    every = [image for of_well in images.values() for image in of_well.values() if isinstance(image, _Image)]
    if not every:
        problems = [str(problem) for of_well in images.values() for problem in of_well.values()] or plate.notes
        raise PlateError(f"{source.path}: no image that can be used ({some(problems, most=1) or 'no well'})")
    labels, of_image = _labels(plate, every)
    _note(plate)
    n_rows, n_columns = plate_format(images, declared=_declared(found[1]))
    wells = {
        well: tuple(_position(well, name, image, of_image, every[0]) for name, image in images[well].items())
        for well in sorted(images, key=well_order)
    }
    return Acquisition(
        name=clean_label(str(found[1].get("name") or "")) or clean_label(source.folder.path.stem),
        format=OME_ZARR.name,
        channels=labels,
        wells=wells,
        n_rows=n_rows,
        n_columns=n_columns,
        pixel_size_um=every[0].pixel_size_um,
        shape=(every[0].lengths["y"], every[0].lengths["x"]),
        notes=tuple(plate.notes),
        # Many programs list only the rows and columns that have images.
        declares_size=_declared(found[1]) in PLATE_FORMATS,
        stacks_vary=True,
    )


def _plate_at(folder: Path) -> tuple[NgffVersion, Json] | None:
    for version in GROUP_METADATA:
        plate = attributes_of(folder, version).get("plate")
        if isinstance(plate, dict):
            return version, plate
    return None


def _wells(plate: _Plate, metadata: Json) -> dict[str, Path]:
    entries = metadata.get("wells")
    folders: dict[str, Path] = {}
    strangers: list[str] = []
    for entry in entries if isinstance(entries, list) else ():
        path = entry.get("path") if isinstance(entry, dict) else None
        try:
            folder = folder_inside(plate.root, path)
            row, column = str(path).split("/")
            well = normal_well(f"{normal_row(row)}{int(column)}")
        except ValueError:
            well = None
        if well is None:
            strangers.append(clean_label(str(path)))
        elif folders.get(well, folder) != folder:
            raise PlateError(f"{plate.root}: names well {well} twice, as {path!r} too; correct the plate's metadata")
        else:
            folders[well] = folder
    if strangers:
        plate.notes.append(
            f"{count_of(len(strangers), 'well')} passed over, not at row/column in the plate: {some(strangers)}"
        )
    return folders


def _declared(metadata: Json) -> tuple[int, int] | None:
    sizes = [len(names) if isinstance(names := metadata.get(key), list) else 0 for key in ("rows", "columns")]
    return (
        (sizes[0], sizes[1]) if all(0 < n <= most for n, most in zip(sizes, PLATE_FORMATS[-1], strict=True)) else None
    )


def _images(plate: _Plate, well: str, folder: Path) -> dict[str, _Image | str]:
    """Images of a well by the path in it; a string says why one can't be used."""
    attributes = attributes_of(folder, plate.version).get("well")
    entries = attributes.get("images") if isinstance(attributes, dict) else None
    if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_FIELDS:
        plate.notes.append(f"well {well}: no metadata that list its fields")
        return {}
    found: dict[str, _Image | str] = {}
    for entry in entries:
        path = entry.get("path") if isinstance(entry, dict) else None
        name = clean_label(str(path))
        if name in found:
            plate.notes.append(f"well {well}: lists field {name!r} twice, read once")
            continue
        try:
            found[name] = _image(plate, folder_inside(folder, path))
        except (*WRONG, FieldError) as error:
            found[name] = f"well {well} field {name}: {said(error)}"
    return found


def _image(plate: _Plate, folder: Path) -> _Image:
    attributes = attributes_of(folder, plate.version)
    if not attributes.get("multiscales"):
        raise ValueError("no image there, or without metadata; copy or export the plate again")
    multiscale = attributes["multiscales"][0]
    dataset = multiscale["datasets"][0]
    names = [axis["name"] if isinstance(axis, dict) else axis for axis in multiscale["axes"]]
    if any(name not in list(_AXES) for name in names) or not {"y", "x"} <= set(names) or len(set(names)) < len(names):
        raise ValueError(
            f"axes {clean_label(', '.join(map(str, names)))}; expected y, x and some of t, c, z, each once"
        )
    path = folder_inside(folder, dataset["path"]) / ARRAY_FILE[plate.version]
    array = read_array(path)
    if len(array.shape) != len(names):
        raise ValueError(f"{len(array.shape)} axes in the array, {len(names)} in the metadata; export the plate again")
    lengths = dict(zip(names, array.shape, strict=True))
    shape = (lengths["y"], lengths["x"])
    n_planes = math.prod(array.shape) // math.prod(shape)
    if problem := problem_of(dtype=array.dtype, axes=(), shape=shape, n_planes=n_planes):
        raise ValueError(problem)
    size = _pixel_size_um(multiscale, dataset, names)
    plate.n_without_size += size is None
    plate.n_with_labels += (folder / "labels").is_dir()
    return _Image(path, "".join(names), lengths, _channel_labels(attributes, lengths.get("c", 1)), size)


def _pixel_size_um(multiscale: Json, dataset: Json, names: Sequence[str]) -> float | None:
    """Size of square pixels; None where the metadata give none: no unit, no scale, or an impossible one."""
    sizes = []
    try:
        for axis in ("y", "x"):
            at = names.index(axis)
            size = UM_PER_UNIT[multiscale["axes"][at]["unit"]]
            for transformations in (dataset, multiscale):
                for each in transformations.get("coordinateTransformations") or ():
                    if each["type"] == "scale":
                        size *= float(each["scale"][at])
            sizes.append(size)
    except WRONG:
        return None
    good = all(0 < size < math.inf for size in sizes) and math.isclose(*sizes, rel_tol=0.01)
    return float(f"{sizes[1]:.6g}") if good else None


def _channel_labels(attributes: Json, n_channels: int) -> list[str]:
    """Names by ``omero``; none where it does not give one for each channel."""
    try:
        names = [channel["label"] for channel in attributes["omero"]["channels"]]
    except WRONG:
        return []
    cleaned = [clean_label(name) if isinstance(name, str) else "" for name in names]
    return cleaned if len(cleaned) == n_channels and all(cleaned) else []


def _labels(plate: _Plate, images: Sequence[_Image]) -> tuple[list[str], dict[Path, Sequence[str]]]:
    """Labels of the plate's channels, and of each image's in the order of its axis.

    An image that names none takes the names of one with as many channels.
    """
    named = {len(image.labels): image.labels for image in reversed(images) if image.labels}
    told: list[str] = []
    of_image: dict[Path, Sequence[str]] = {}
    for image in images:
        n_channels = image.lengths.get("c", 1)
        plate.n_unnamed += not image.labels
        given = image.labels or named.get(n_channels) or [f"channel_{number + 1}" for number in range(n_channels)]
        notes: list[str] = []
        of_image[image.path] = unique_labels(given, notes)
        told += [note for note in notes if note not in told]
    plate.notes += told
    return list(dict.fromkeys(label for labels in of_image.values() for label in labels)), of_image


def _position(
    well: str, name: str, image: _Image | str, of_image: Mapping[Path, Sequence[str]], first: _Image
) -> Position:
    if isinstance(image, str):
        return Position(name=name, planes={}, problems=(image,))
    problems = []
    if not _same_size(image.pixel_size_um, first.pixel_size_um):
        here, there = (f"{size:g} um" if size else "unknown" for size in (image.pixel_size_um, first.pixel_size_um))
        problems.append(
            f"well {well} field {name}: its pixels are {here}, of the first image {there}; acquire all with one size"
        )
    planes: dict[str, dict[tuple[int, int], Plane]] = {}
    for channel, label in enumerate(of_image[image.path]):
        for time in range(image.lengths.get("t", 1)):
            for z in range(image.lengths.get("z", 1)):
                plane = Plane(image.path, plane_index(image.axes, channel, time, z))
                planes.setdefault(label, {})[time + 1, z + 1] = plane
    return Position(name=name, planes=planes, problems=tuple(problems))


def _same_size(one: float | None, other: float | None) -> bool:
    return one == other if one is None or other is None else abs(one - other) <= _SAME * other


def _note(plate: _Plate) -> None:
    if plate.n_with_labels:
        plate.notes.append(
            f"label images of {count_of(plate.n_with_labels, 'field')} passed over: cells are found anew"
        )
    if plate.n_unnamed:
        plate.notes.append(f"{count_of(plate.n_unnamed, 'field')} without channel names (`omero`)")
    if plate.n_without_size:
        plate.notes.append(
            f"{count_of(plate.n_without_size, 'field')} without a usable pixel size (scale and unit of square pixels):"
            " set pixel_size_um in plates.tsv"
        )


OME_ZARR: Final = Reader(
    name="ome-zarr",
    title="OME-Zarr plate",
    needs="the folder of an OME-Zarr plate (zarr.json or .zattrs with a plate)",
    recognise=recognise_ome_zarr,
    describe=describe_ome_zarr,
)
