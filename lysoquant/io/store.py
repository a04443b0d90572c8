"""The plate's OME-Zarr store: NGFF 0.5 (Zarr v3, one shard a plane) or 0.4 (Zarr v2, for OMERO).

Metadata are written here and not by ``ome_zarr.writer``: importing that takes over a second in every job, and it
lists and rewrites groups above the image. The tests hold the result against ome-zarr-models and ome-zarr-py.

A plane that is zero everywhere has no file: Zarr reads what is absent as its fill value. So that a lost file is not
taken for such a plane, an image and a label image list their files with sizes in their own metadata, which are written
last, and reading looks for them first. Flipped bytes are found by checksums (CRC32C) of every chunk and of a shard's
index; NGFF 0.4 has none.
"""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import zarr

from lysoquant.errors import DamagedFieldError, FieldError, PlateError
from lysoquant.files import files_below, require_metadata
from lysoquant.io.image_writer import ImageWriter, display_window, write_label_levels
from lysoquant.io.ngff_metadata import (
    METADATA,
    OWN,
    multiscale_of,
    ome_of,
    omero_channels,
    read_attributes,
    version_at,
    write_attributes,
    write_group,
    zarr_format,
)
from lysoquant.record import Json
from lysoquant.vocabulary import LABELS, NgffVersion, row_index, row_letters, split_well, well_order

_LINKED: Final = "linked"
"""Key in our own metadata: the image's levels are links to arrays of another plate."""

_FILES: Final = "files"
"""Key in our own metadata: size of every file of an image's or a label image's levels, by name."""


_DAMAGE: Final = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What zarr raises for metadata and chunks that were cut or garbled. MemoryError is the machine's, not the field's."""

_OF_THE_MACHINE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN})
"""What the system says when a good file can't be read now. No field is recorded as damaged for that."""


class PlateStore:
    """An OME-Zarr plate of this project.

    Use :meth:`create` or :meth:`open`; neither lists a directory.

    Attributes
    ----------
    path : pathlib.Path
        The store's folder.
    name : str
        Plate name.
    wells : tuple of str
        Canonical well names in reading order.
    ngff_version : str
        "0.4" or "0.5".
    """

    def __init__(self, *, path: Path, name: str, wells: Sequence[str], ngff_version: NgffVersion) -> None:
        self.path = path
        self.name = name
        self.wells = tuple(wells)
        self.ngff_version = ngff_version
        self._known = frozenset(self.wells)

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        name: str,
        wells: Mapping[str, int],
        n_rows: int,
        n_columns: int,
        ngff_version: NgffVersion = "0.5",
    ) -> PlateStore:
        """Write the metadata of a plate and its wells; images are left as they are.

        This must be done once, before wells are written in parallel. Files whose content would not change are not
        touched. A store of the other NGFF version is removed first, since nothing in it could be read any more.

        Parameters
        ----------
        wells : mapping of str to int
            Number of fields (at least 1) by canonical well name.
        n_rows, n_columns : int
            Size of the plate.

        Raises
        ------
        PlateError
            If a well lies outside the plate or has no field, or if something other than a plate is at `path`.
        """
        _check_wells(wells, n_rows=n_rows, n_columns=n_columns)
        _make_room(path, ngff_version)
        ordered = sorted(wells, key=well_order)
        plate = {
            "name": name,
            "rows": [{"name": row_letters(index)} for index in range(n_rows)],
            "columns": [{"name": f"{number:02d}"} for number in range(1, n_columns + 1)],
            "wells": [_well_entry(well) for well in ordered],
            "field_count": max(wells.values()),
            "version": ngff_version,
        }
        write_group(path, ngff_version, {"plate": plate})
        for row in dict.fromkeys(split_well(well)[0] for well in ordered):
            write_group(path / row, ngff_version, {})
        for well in ordered:
            images = [{"path": str(index)} for index in range(wells[well])]
            write_group(path / _well_path(well), ngff_version, {"well": {"images": images, "version": ngff_version}})
        return cls(path=path, name=name, wells=ordered, ngff_version=ngff_version)

    @classmethod
    def open(cls, path: Path) -> PlateStore:
        """Open a plate that :meth:`create` made; reads one small file.

        Raises
        ------
        PlateError
            If there is no OME-Zarr plate at `path`.
        """
        version = version_at(path)
        plate = None if version is None else ome_of(read_attributes(path, version), version).get("plate")
        if version is None or not isinstance(plate, dict):
            raise PlateError(f"{path} is not an OME-Zarr plate (NGFF 0.4 or 0.5); run `lysoquant convert` first")
        try:
            wells = sorted((str(well["path"]).replace("/", "") for well in plate["wells"]), key=well_order)
        except (KeyError, TypeError, ValueError) as error:
            raise PlateError(f"{path}: its plate metadata are damaged ({error!r}); convert the plate again") from error
        return cls(path=path, name=str(plate.get("name", "")), wells=wells, ngff_version=version)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the plate, as its metadata say."""
        plate = ome_of(read_attributes(self.path, self.ngff_version), self.ngff_version)["plate"]
        return len(plate["rows"]), len(plate["columns"])

    def n_fields(self, well: str) -> int:
        """Number of fields of a well, as its metadata say.

        Raises
        ------
        PlateError
            If the plate has no such well or the well's metadata are missing.
        """
        folder = self._well(well)
        entry = ome_of(read_attributes(folder, self.ngff_version), self.ngff_version).get("well")
        if not isinstance(entry, dict) or not isinstance(entry.get("images"), list):
            raise PlateError(f"{folder} has no well metadata; run `lysoquant convert` again")
        return len(entry["images"])

    def field(self, well: str, index: int) -> FieldStore:
        """A field of a well, by its NGFF path 0 ... n - 1; touches no file.

        Raises
        ------
        PlateError
            If the plate has no such well.
        """
        return FieldStore(self._well(well) / str(index), name=f"{well}/{index}", ngff_version=self.ngff_version)

    def _well(self, well: str) -> Path:
        if well not in self._known:
            some = ", ".join(self.wells[:5]) + ", ..." * (len(self.wells) > 5)
            raise PlateError(f"plate {self.name} has no well {well!r}; it has {len(self.wells)}: {some}")
        return self.path / _well_path(well)


class FieldStore:
    """One field of a plate: an image of axes c y x and its label images.

    Pixel (0, 0) has its centre at (0, 0) um.

    Attributes
    ----------
    path : pathlib.Path
        The image's folder.
    name : str
        Well and field, such as ``B03/0``.
    ngff_version : str
        "0.4" or "0.5".
    """

    def __init__(self, path: Path, *, name: str, ngff_version: NgffVersion) -> None:
        self.path = path
        self.name = name
        self.ngff_version = ngff_version

    @cached_property
    def _metadata(self) -> Json:
        """Metadata in which all that this class reads is there."""
        attributes = read_attributes(self.path, self.ngff_version)
        if "multiscales" not in ome_of(attributes, self.ngff_version):
            raise DamagedFieldError(f"field {self.name} has no readable image at {self.path}; {self.remedy}")
        try:
            _check_image(attributes, self.ngff_version)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise DamagedFieldError(
                f"field {self.name}: the metadata in {self.path} are damaged ({error!r}); {self.remedy}"
            ) from error
        return attributes

    @property
    def remedy(self) -> str:
        """How a damaged field is made whole: what the stages wrote of it goes, so each of them does it again."""
        return f"delete {self.path}, then run `lysoquant convert PROJECT` and `lysoquant run PROJECT`"

    @property
    def _multiscale(self) -> Json:
        return cast("Json", ome_of(self._metadata, self.ngff_version)["multiscales"][0])

    @property
    def _axes(self) -> str:
        """Axes of the image: c y x, and t and z of length 1 where it is another plate's."""
        return "".join(axis["name"] for axis in self._multiscale["axes"])

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel labels in the order of the image's first axis."""
        return tuple(channel["label"] for channel in ome_of(self._metadata, self.ngff_version)["omero"]["channels"])

    @property
    def pixel_size_um(self) -> float:
        """Pixel size; NaN where the field has none."""
        axis, transformations = self._multiscale["axes"][-1], self._multiscale["datasets"][0]
        if "unit" not in axis:
            return math.nan
        return float(transformations["coordinateTransformations"][0]["scale"][-1])

    @property
    def n_levels(self) -> int:
        """Number of resolution levels of the image and of each of its label images."""
        return len(self._multiscale["datasets"])

    @property
    def shape(self) -> tuple[int, int]:
        """(Y, X) of the image."""
        shape = self._array("0").shape
        if len(shape) != len(self._axes):
            raise DamagedFieldError(f"field {self.name}: the image at {self.path} has {len(shape)} axes; {self.remedy}")
        return shape[-2], shape[-1]

    @property
    def attributes(self) -> Json:
        """What convert had to say of the field."""
        return {key: value for key, value in self._metadata.get(OWN, {}).items() if key not in (_FILES, _LINKED)}

    def write_image(
        self,
        planes: npt.NDArray[Any],
        *,
        channels: Sequence[str],
        pixel_size_um: float,
        levels: int,
        chunk_px: int,
        attributes: Json | None = None,
    ) -> None:
        """Write the image with its pyramid and metadata; replaces an existing one and keeps its label images.

        Nothing above the image's folder is touched, so fields can be written in parallel.

        Parameters
        ----------
        planes : (C, Y, X) array of uint8 or uint16
            Grey values.
        channels : sequence of str
            C labels.
        pixel_size_um : float
            Pixel size; NaN writes axes without a unit.
        levels : int
            Resolution levels.
        chunk_px : int
            Edge of a chunk; in NGFF 0.5 one shard holds all chunks of a plane.
        attributes : dict, optional
            Own metadata, see :attr:`attributes`.

        Raises
        ------
        ValueError
            If `planes` and `channels` don't match, or the dtype is another.
        """
        if planes.ndim != 3 or planes.shape[0] != len(channels):
            raise ValueError(f"planes of shape {planes.shape} are not {len(channels)} planes (C, Y, X)")
        writer = self.begin_image(planes.shape, planes.dtype, levels=levels, chunk_px=chunk_px)
        for index, plane in enumerate(planes):
            writer.write_plane(index, plane)
        self.finish_image(writer, channels=channels, pixel_size_um=pixel_size_um, attributes=attributes)

    def begin_image(self, shape: tuple[int, ...], dtype: np.dtype[Any], *, levels: int, chunk_px: int) -> ImageWriter:
        """As :meth:`write_image`, for who has the planes one by one: what this returns writes them.

        Until :meth:`finish_image` there is no image, neither the new one nor the one before.

        Parameters
        ----------
        shape : tuple of int
            (C, Y, X).
        dtype : numpy.dtype
            uint8 or uint16.
        """
        if dtype not in (np.uint8, np.uint16):
            raise ValueError(f"planes are {dtype}, expected uint8 or uint16")
        self._remove_image()
        return ImageWriter(self.path, shape, dtype, levels=levels, chunk_px=chunk_px, ngff_version=self.ngff_version)

    def finish_image(
        self, writer: ImageWriter, *, channels: Sequence[str], pixel_size_um: float, attributes: Json | None = None
    ) -> None:
        """Write the metadata of an image whose planes are all written; see :meth:`write_image`."""
        multiscale = multiscale_of(self.name, "cyx", pixel_size_um, levels=writer.n_levels, is_mean=True)
        omero = {"channels": omero_channels(channels, writer.dtype, writer.windows), "rdefs": {"model": "color"}}
        images: Json = {"multiscales": [multiscale], "omero": omero}
        own = (attributes or {}) | {_FILES: dict(sorted(writer.files.items()))}
        write_group(self.path, self.ngff_version, images, own)

    def link_image(
        self,
        arrays: Sequence[Path],
        *,
        axes: str,
        planes: Sequence[npt.NDArray[Any]],
        channels: Sequence[str],
        pixel_size_um: float,
        attributes: Json | None = None,
    ) -> None:
        """As :meth:`write_image`, but of an image that lies in another plate, which the store then refers to.

        Parameters
        ----------
        arrays : sequence of pathlib.Path
            Its levels, absolute or relative to the image's folder here; they are of the store's Zarr format.
        axes : str
            Axes of the arrays: c, y, x, and perhaps t and z, which have length 1.
        planes : sequence of (Y, X) arrays of uint8 or uint16
            Their pixels, for the display windows.
        channels, pixel_size_um, attributes
            As in :meth:`write_image`.
        """
        self._remove_image()
        self.path.mkdir(parents=True, exist_ok=True)
        for level, array in enumerate(arrays):
            (self.path / str(level)).symlink_to(array)
        levels = len(arrays)
        multiscale = multiscale_of(self.name, axes, pixel_size_um, levels=levels, is_mean=True)
        windows = [display_window(plane[:: 2 ** (levels - 1), :: 2 ** (levels - 1)]) for plane in planes]
        omero = {"channels": omero_channels(channels, planes[0].dtype, windows), "rdefs": {"model": "color"}}
        images: Json = {"multiscales": [multiscale], "omero": omero}
        own = (attributes or {}) | {_LINKED: True} | _listing(self.path, levels)
        write_group(self.path, self.ngff_version, images, own)

    def _remove_image(self) -> None:
        # Without metadata there is no image: a kill from here to the end leaves none rather than half of one.
        (self.path / METADATA[self.ngff_version]).unlink(missing_ok=True)
        self.__dict__.pop("_metadata", None)
        for level in self.path.glob("[0-9]*"):
            if level.is_symlink():
                level.unlink()
            else:
                shutil.rmtree(level)

    def read(self, channel: str) -> npt.NDArray[Any]:
        """Grey values of a channel at full resolution: (Y, X), dtype as the instrument wrote it.

        Reads that channel's shard only.

        Raises
        ------
        FieldError
            If the field has no such channel or can't be read.
        """
        return self.read_level(channel, 0)

    def read_level(self, channel: str, level: int) -> npt.NDArray[Any]:
        """Grey values of a channel at a resolution level, 0 being the full resolution; see :meth:`read`."""
        channels = self.channels
        if channel not in channels:
            raise FieldError(f"field {self.name} has no channel {channel!r}; it has {', '.join(channels)}")
        index = {"c": channels.index(channel), "t": 0, "z": 0}
        return self._pixels(str(level), *(index[axis] for axis in self._axes if axis in index))

    def write_label(
        self, name: str, labels: npt.NDArray[Any], *, colours: Mapping[int, tuple[int, int, int]] | None = None
    ) -> None:
        """Write a label image with a pyramid like the image's; replaces an existing one wholly.

        Parameters
        ----------
        name : str
            Name of the label image.
        labels : (Y, X) array of uint8, uint16 or uint32
            Labels, 0 for background, of the image's size.
        colours : mapping of int to RGB, optional
            Display colours by label; viewers choose where there are none.

        Raises
        ------
        ValueError
            If the labels are not of the image's size or of an unsigned integer dtype of at most 32 bits.
        FieldError
            If there is no image yet.
        """
        image = self._array("0")
        if labels.shape != image.shape[-2:]:
            raise ValueError(f"labels {name!r} of size {labels.shape} differ from the image's {image.shape[-2:]}")
        if labels.dtype.kind != "u" or labels.dtype.itemsize > 4:
            raise ValueError(f"labels {name!r} are {labels.dtype}, expected uint8, uint16 or uint32")
        folder = self.path / "labels" / name
        if folder.exists():
            shutil.rmtree(folder)
        files = write_label_levels(
            folder, labels, levels=self.n_levels, chunk=image.chunks[-2:], ngff_version=self.ngff_version
        )
        multiscale = multiscale_of(name, "yx", self.pixel_size_um, levels=self.n_levels, is_mean=False)
        image_label: Json = {"source": {"image": "../../"}, "version": self.ngff_version}
        if colours:
            image_label["colors"] = [
                {"label-value": value, "rgba": [*colours[value], 255]} for value in sorted(colours)
            ]
        label: Json = {"multiscales": [multiscale], "image-label": image_label}
        write_group(folder, self.ngff_version, label, {_FILES: dict(sorted(files.items()))})
        self._list_label(name)

    def read_label(self, name: str) -> npt.NDArray[Any]:
        """A label image at full resolution: (Y, X), uint32 or uint8.

        Raises
        ------
        DamagedFieldError
            If the field has no such label image or it can't be read.
        """
        return self._pixels(f"labels/{name}/0")

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the label images that are there."""
        folder = self.path / "labels"
        names = ome_of(read_attributes(folder, self.ngff_version), self.ngff_version).get("labels")
        return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()

    def write_table_group(self, name: str, attributes: Json) -> Path:
        """Write the group of a table of the field; its file goes into the folder that is returned.

        Tables stand in no specification of NGFF: other readers pass them over.
        """
        folder = self.path / "tables" / name
        write_attributes(folder, self.ngff_version, attributes)
        return folder

    def list_tables(self, names: Sequence[str]) -> None:
        """Say which tables the field has, once they are there."""
        write_attributes(self.path / "tables", self.ngff_version, {"tables": list(names)})

    def remove_tables(self) -> None:
        """Remove all tables of the field."""
        if (self.path / "tables").exists():
            shutil.rmtree(self.path / "tables")

    def _list_label(self, name: str) -> None:
        names = {*self.labels, name}
        ordered = [label for label in LABELS if label in names] + sorted(names.difference(LABELS))
        write_group(self.path / "labels", self.ngff_version, {"labels": ordered})

    def _array(self, path: str) -> zarr.Array[Any]:
        try:
            folder = require_metadata(self.path / path)
            return zarr.open_array(folder, mode="r", zarr_format=zarr_format(self.ngff_version))
        except _DAMAGE as error:
            _pass_on_faults_of_the_machine(error)
            raise DamagedFieldError(
                f"field {self.name} has no readable {path!r} at {self.path}; {self.remedy}"
            ) from error

    def _pixels(self, path: str, *index: int) -> npt.NDArray[Any]:
        array = self._array(path)
        try:
            self._check_files(path, index)
            return np.asarray(array[index if index else ...])
        except _DAMAGE as error:
            _pass_on_faults_of_the_machine(error)
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DamagedFieldError(
                f"field {self.name}: {self.path / path} is damaged ({reason}); {self.remedy}"
            ) from error

    def _check_files(self, path: str, index: Sequence[int]) -> None:
        """Raises DamagedFieldError where a file of a level, or of one of its planes, is gone or of another size."""
        group, _, level = path.rpartition("/")
        attributes = read_attributes(self.path / group, self.ngff_version)
        if "multiscales" not in ome_of(attributes, self.ngff_version):
            raise DamagedFieldError(f"field {self.name}: {self.path / group} was not written to its end; {self.remedy}")
        own = attributes.get(OWN)
        listed = own.get(_FILES) if isinstance(own, dict) else None
        if not isinstance(listed, dict):  # an image that others made
            files_below(self.path / path)
            return
        # How another's array names its chunks is its own affair: all of a level must be there.
        is_linked = isinstance(own, dict) and own.get(_LINKED) is True
        parts = [level, *([] if is_linked else self._chunk_prefix(index))]
        with suppress(FileNotFoundError):  # a plane of zeros
            files_below((self.path / group).joinpath(*parts))
        for name, size in listed.items():
            if not name.startswith("/".join([*parts, ""])):
                continue
            file = self.path / group / name
            there = file.stat().st_size if file.is_file() else None
            if there != size:
                found = "is gone" if there is None else f"has {there} of {size} bytes"
                raise DamagedFieldError(
                    f"field {self.name}: {self.path / path} is damaged ({name} {found}); {self.remedy}"
                )

    def _chunk_prefix(self, index: Sequence[int]) -> list[str]:
        return [*(["c"] if self.ngff_version == "0.5" else []), *map(str, index)]


def _pass_on_faults_of_the_machine(error: Exception) -> None:
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        raise error


def _listing(folder: Path, levels: int) -> Json:
    """Our own metadata of a linked image: the files of its levels with their sizes."""
    files = sorted(path for level in range(levels) for path in (folder / str(level)).rglob("*") if path.is_file())
    return {_FILES: {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}}


def _check_image(attributes: Json, ngff_version: NgffVersion) -> None:
    """Raises KeyError, IndexError, TypeError or ValueError where something is missing or of another type."""
    ome = ome_of(attributes, ngff_version)
    multiscale = ome["multiscales"][0]
    size = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"][-1]
    names = [channel["label"] for channel in ome["omero"]["channels"]]
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"channels {names}")
    if "unit" in multiscale["axes"][-1] and not (0 < float(size) < math.inf):
        raise ValueError(f"pixel size {size}")


def _check_wells(wells: Mapping[str, int], *, n_rows: int, n_columns: int) -> None:
    if not wells:
        raise PlateError("the plate has no wells; a store needs at least one")
    for well, n_fields in wells.items():
        row, column = split_well(well)
        if row_index(row) >= n_rows or column > n_columns:
            raise PlateError(f"well {well} lies outside a plate of {n_rows} x {n_columns}; check the plate's format")
        if n_fields < 1:
            raise PlateError(f"well {well} has {n_fields} fields, expected at least 1; leave the well out")


def _make_room(path: Path, ngff_version: NgffVersion) -> None:
    """Remove a plate of the other version; refuse anything that is not a plate."""
    if not path.exists():
        return
    version = version_at(path)
    if version is not None and "plate" in ome_of(read_attributes(path, version), version):
        if version != ngff_version:
            shutil.rmtree(path)
    elif not path.is_dir() or any(path.iterdir()):
        raise PlateError(f"{path} is there but is not an OME-Zarr plate; move it away")


def _well_path(well: str) -> str:
    row, column = split_well(well)
    return f"{row}/{column:02d}"


def _well_entry(well: str) -> Json:
    row, column = split_well(well)
    return {"path": _well_path(well), "rowIndex": row_index(row), "columnIndex": column - 1}
