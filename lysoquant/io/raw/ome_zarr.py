"""Plates that are OME-Zarr already: NGFF 0.4 (Zarr v2) and 0.5 (Zarr v3).

Metadata are read as the JSON that they are: describing a plate opens no array, and what a hostile file can make a
library do is decided before one is opened (:func:`read_array`). Pixels are read by Zarr.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from lysoquant.errors import FieldError, PlateError, UnreachedFileError
from lysoquant.files import files_of, open_file, require_metadata
from lysoquant.io.raw.container import checked, opened, problem_of
from lysoquant.io.raw.description import Acquisition, Plane, Position
from lysoquant.io.raw.names import (
    PLATE_FORMATS,
    clean_label,
    count_of,
    normal_row,
    normal_well,
    plate_format,
    printable,
    some,
    unique_labels,
)
from lysoquant.io.raw.pixels import MAX_PLANE_PX, UM_PER_UNIT, Pixels, shown
from lysoquant.io.raw.reader import Options, Reader, Source
from lysoquant.vocabulary import NgffVersion, well_order

_METADATA: Final[Mapping[NgffVersion, str]] = {"0.5": "zarr.json", "0.4": ".zattrs"}

_ARRAY: Final[Mapping[NgffVersion, str]] = {"0.5": "zarr.json", "0.4": ".zarray"}

_MAX_METADATA_BYTES: Final = 2**24
"""Longer metadata of one group are damaged: a plate of 1536 wells has about 200 kB."""

_MAX_FIELDS: Final = 10_000
"""More fields in one well are damaged metadata."""

_PACKERS: Final = ("blosc", "zstd", "zlib", "gzip", "bz2", "lzma", "lz4", "delta", "shuffle", "crc32", "crc32c")

_CODECS: Final = frozenset((*_PACKERS, "bytes", "transpose", "sharding_indexed"))
"""Codecs that only pack numbers. Others are refused: Zarr v2 knows one (``pickle``) that runs what a file says."""

_SAME: Final = 1e-3
"""Relative difference under which two pixel sizes are one, written with fewer digits."""

_AXES: Final = "tczyx"

_Y, _X = -1, -2
"""In place of a number in a plane's index: the array's axes Y and X."""

_WRONG: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What metadata of another form than expected raise while they are read."""

_Json = dict[str, Any]


@dataclass(frozen=True)
class Array:
    """What an array's own metadata say.

    Attributes
    ----------
    shape, chunk : tuple of int
        Of the array and of the smallest piece that is unpacked at a time.
    dtype : numpy.dtype
        Of the pixels.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class InPlace:
    """An image that can be used where it lies.

    Attributes
    ----------
    axes : str
        Axes of its arrays, ``c``, ``y``, ``x`` and perhaps ``t`` and ``z`` of length 1.
    arrays : tuple of pathlib.Path
        Folders of its levels, each half the one before.
    chunk : tuple of int
        (Y, X) of a chunk of the largest level.
    """

    axes: str
    arrays: tuple[Path, ...]
    chunk: tuple[int, int]


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
    if found is None or source.file not in (None, _METADATA[found[0]]):
        return None
    version, plate = found
    return f"{_METADATA[version]} with a plate (OME-Zarr {clean_label(str(plate.get('version', version)))[:10]})"


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
        stacks_vary=True,
    )


def read_array(path: Path) -> Array:
    """What an array's metadata file says.

    Raises
    ------
    FieldError
        If it is gone, damaged, too large to be true, or names a codec that does more than unpack numbers.
    """
    if not path.is_file():
        raise UnreachedFileError(f"{shown(path)}: the array is gone; copy the plate again")
    try:
        content = _json(path)
        if path.name == ".zarray":
            dtype, codecs = content["dtype"], [content["compressor"], *(content.get("filters") or ())]
            chunk = content["chunks"]
        else:
            dtype, codecs = f"|{content['data_type']}", list(content["codecs"])
            chunk = content["chunk_grid"]["configuration"]["chunk_shape"]
        while codecs:
            codec = codecs.pop()
            if codec is None:
                continue
            name = str(codec.get("id", codec.get("name"))).removeprefix("numcodecs.")
            if name not in _CODECS:
                raise ValueError(f"codec {clean_label(name)!r}; expected one of {', '.join(sorted(_CODECS))}")
            if name == "sharding_indexed":
                inside = codec["configuration"]
                chunk = inside["chunk_shape"]
                codecs += [*inside["codecs"], *inside["index_codecs"]]
        shape, chunk = _lengths(content["shape"]), _lengths(chunk)
        if len(shape) != len(chunk) or math.prod(chunk) > 2 * MAX_PLANE_PX:
            raise ValueError(f"chunks of {' x '.join(map(str, chunk))}")
        if not re.fullmatch(r"[<>|](?:[uif][1248]|u?int(?:8|16|32|64)|float(?:32|64))", str(dtype)):
            raise ValueError(f"data type {clean_label(str(dtype))!r}")
        return Array(shape=shape, chunk=chunk, dtype=np.dtype(dtype.removeprefix("|")))
    except OSError as error:
        raise FieldError(
            f"{shown(path)}: can't be read ({error.strerror}); check its rights or copy it again"
        ) from error
    except (*_WRONG, RecursionError) as error:
        raise FieldError(f"{shown(path)}: not a usable Zarr array ({_said(error)}); copy or export it again") from error


def read_zarr_plane(plane: Plane) -> Pixels:
    """Read one plane; as :func:`lysoquant.io.raw.planes.read_plane`."""
    import zarr

    array, index = read_array(plane.path), plane.index or ()
    if len(index) != len(array.shape) or any(at >= length for at, length in zip(index, array.shape, strict=True)):
        raise FieldError(f"{shown(plane.path)}: has no plane {plane.index}; it changed: run the plate again")
    if array.dtype.kind != "u" or array.dtype.itemsize > 2:
        raise FieldError(f"{shown(plane.path)}: pixels are {array.dtype.name}; expected grey uint8 or uint16")
    if math.prod(length for at, length in zip(index, array.shape, strict=True) if at < 0) > MAX_PLANE_PX:
        raise FieldError(f"{shown(plane.path)}: says that its planes are {array.shape}; copy the plate again")
    with opened(plane.path, "Zarr"):
        files_of(plane.path)
        opened_array = zarr.open_array(
            require_metadata(plane.path.parent), mode="r", zarr_format=_zarr_format(plane.path)
        )
        pixels = np.asarray(cast("Any", opened_array)[tuple(slice(None) if at < 0 else at for at in index)])
    is_turned = [at for at in index if at < 0] == [_X, _Y]
    return checked(pixels.T if is_turned else pixels, plane)


def in_place(planes: Sequence[Plane], *, ngff_version: NgffVersion, levels: int) -> InPlace | str:
    """Whether a field's planes, one a channel, are an image that our store can refer to; a string says why not.

    Parameters
    ----------
    planes : sequence of Plane
        In the order of the store's channels.
    ngff_version : str
        Of the store.
    levels : int
        So many are taken at most: those that are halved as label images are.
    """
    try:
        return _require_fit(planes, ngff_version, levels)
    except (*_WRONG, FieldError) as error:
        return _said(error)


def _require_fit(planes: Sequence[Plane], ngff_version: NgffVersion, levels: int) -> InPlace:
    path = planes[0].path
    version: NgffVersion = "0.4" if path.name == _ARRAY["0.4"] else "0.5"
    if version != ngff_version:
        raise ValueError(f'they are OME-Zarr {version}; set convert.ngff_version to "{version}" to use them in place')
    folder, multiscale = _image_of(path.parent, version)
    axes = "".join(axis["name"] for axis in multiscale["axes"])
    array = read_array(path)
    lengths = dict(zip(axes, array.shape, strict=True))
    if axes not in ("cyx", "czyx", "tcyx", "tczyx"):
        raise ValueError(f"their axes are {', '.join(axes)}")
    if lengths.get("t", 1) * lengths.get("z", 1) > 1:
        raise ValueError("they have several Z planes or time points")
    wanted = [(path, _index(axes, channel)) for channel in range(lengths["c"])]
    if [(plane.path, plane.index) for plane in planes] != wanted:
        raise ValueError("their channels are others, or in another order, than the plate's")
    if array.dtype.str not in ("|u1", "<u2"):
        raise ValueError(f"their pixels are {array.dtype.str}")
    arrays = [path.parent]
    for dataset in multiscale["datasets"][1:levels]:
        smaller = _inside(folder, dataset["path"])
        level = read_array(smaller / path.name)
        size = (-(-length // 2 ** len(arrays)) for length in array.shape[-2:])
        if level.shape != (*array.shape[:-2], *size) or level.dtype != array.dtype:
            break
        arrays.append(smaller)
    return InPlace(axes, tuple(arrays), (array.chunk[-2], array.chunk[-1]))


def _image_of(array: Path, version: NgffVersion) -> tuple[Path, _Json]:
    """The image group that an array is the largest level of, and its metadata."""
    for folder in list(array.parents)[:4]:
        multiscales = _attributes(folder, version).get("multiscales")
        if multiscales and folder / multiscales[0]["datasets"][0]["path"] == array:
            return folder, multiscales[0]
    raise ValueError("its metadata changed")


def _index(axes: str, channel: int, time: int = 0, z: int = 0) -> tuple[int, ...]:
    at = {"t": time, "c": channel, "z": z, "y": _Y, "x": _X}
    return tuple(at[axis] for axis in axes)


def zarr_size_um(path: Path) -> float | None:
    """None: an array has no pixel size of its own; the metadata of its image are in the plate's description."""
    return None


def _zarr_format(path: Path) -> Any:
    return 2 if path.name == ".zarray" else 3


def _plate_at(folder: Path) -> tuple[NgffVersion, _Json] | None:
    for version in _METADATA:
        plate = _attributes(folder, version).get("plate")
        if isinstance(plate, dict):
            return version, plate
    return None


def _attributes(folder: Path, version: NgffVersion) -> _Json:
    """NGFF metadata of a group; empty where there are none that can be read."""
    try:
        content = _json(folder / _METADATA[version])
        found = content["attributes"]["ome"] if version == "0.5" else content
    except (*_WRONG, OSError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _json(path: Path) -> _Json:
    with open_file(path) as handle:
        text = handle.read(_MAX_METADATA_BYTES + 1)
    if len(text) > _MAX_METADATA_BYTES:
        raise ValueError(f"metadata of more than {_MAX_METADATA_BYTES // 2**20} MiB")
    value = json.loads(text.decode())
    if not isinstance(value, dict):
        raise TypeError("no JSON object")
    return value


def _inside(folder: Path, path: object) -> Path:
    """A folder below another.

    Raises
    ------
    ValueError
        If the path leads out of it, or over a linked folder.
    """
    parts = path.split("/") if isinstance(path, str) else []
    for part in parts or [""]:
        if not re.fullmatch(r"(?!\.)[A-Za-z0-9._ -]{1,100}", part):
            raise ValueError(f"path {clean_label(str(path))!r} does not lead into {printable(folder.name)}")
        folder = folder / part
        if folder.is_symlink():
            raise ValueError(f"{printable(folder.name)} is a linked folder, which is not followed")
    return folder


def _wells(plate: _Plate, metadata: _Json) -> dict[str, Path]:
    entries = metadata.get("wells")
    folders: dict[str, Path] = {}
    strangers: list[str] = []
    for entry in entries if isinstance(entries, list) else ():
        path = entry.get("path") if isinstance(entry, dict) else None
        try:
            folder = _inside(plate.root, path)
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


def _declared(metadata: _Json) -> tuple[int, int] | None:
    sizes = [len(names) if isinstance(names := metadata.get(key), list) else 0 for key in ("rows", "columns")]
    return (
        (sizes[0], sizes[1]) if all(0 < n <= most for n, most in zip(sizes, PLATE_FORMATS[-1], strict=True)) else None
    )


def _images(plate: _Plate, well: str, folder: Path) -> dict[str, _Image | str]:
    """Images of a well by the path in it; a string says why one can't be used."""
    attributes = _attributes(folder, plate.version).get("well")
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
            found[name] = _image(plate, _inside(folder, path))
        except (*_WRONG, FieldError) as error:
            found[name] = f"well {well} field {name}: {_said(error)}"
    return found


def _image(plate: _Plate, folder: Path) -> _Image:
    attributes = _attributes(folder, plate.version)
    if not attributes.get("multiscales"):
        raise ValueError("no image there, or without metadata; copy or export the plate again")
    multiscale = attributes["multiscales"][0]
    dataset = multiscale["datasets"][0]
    names = [axis["name"] if isinstance(axis, dict) else axis for axis in multiscale["axes"]]
    if any(name not in list(_AXES) for name in names) or not {"y", "x"} <= set(names) or len(set(names)) < len(names):
        raise ValueError(
            f"axes {clean_label(', '.join(map(str, names)))}; expected y, x and some of t, c, z, each once"
        )
    path = _inside(folder, dataset["path"]) / _ARRAY[plate.version]
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


def _pixel_size_um(multiscale: _Json, dataset: _Json, names: Sequence[str]) -> float | None:
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
    except _WRONG:
        return None
    good = all(0 < size < math.inf for size in sizes) and math.isclose(*sizes, rel_tol=0.01)
    return float(f"{sizes[1]:.6g}") if good else None


def _channel_labels(attributes: _Json, n_channels: int) -> list[str]:
    """Names by ``omero``; none where it does not give one for each channel."""
    try:
        names = [channel["label"] for channel in attributes["omero"]["channels"]]
    except _WRONG:
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
                plane = Plane(image.path, _index(image.axes, channel, time, z))
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


def _lengths(values: Any) -> tuple[int, ...]:
    if not isinstance(values, list) or not all(type(value) is int and 0 < value < 2**40 for value in values):
        raise ValueError(f"lengths {clean_label(str(values))}")
    return tuple(values)


def _said(error: Exception) -> str:
    if isinstance(error, FieldError):
        return str(error)
    # Metadata decide how long such a text is.
    text = printable(" ".join(str(error).split()))[:300]
    return text if type(error) is ValueError else f"{type(error).__name__}: {text}"


OME_ZARR: Final = Reader(
    name="ome-zarr",
    title="OME-Zarr plate",
    needs="the folder of an OME-Zarr plate (zarr.json or .zattrs with a plate)",
    recognise=recognise_ome_zarr,
    describe=describe_ome_zarr,
)
