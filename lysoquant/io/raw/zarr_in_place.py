"""OME-Zarr images that can be used where they lie: what our own store demands of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lysoquant.errors import FieldError
from lysoquant.io.raw.description import Plane
from lysoquant.io.raw.ngff import ARRAY_FILE, WRONG, Json, attributes_of, folder_inside, plane_index, said
from lysoquant.io.raw.zarr_array import read_array
from lysoquant.vocabulary import NgffVersion


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
    except (*WRONG, FieldError) as error:
        return said(error)


def _require_fit(planes: Sequence[Plane], ngff_version: NgffVersion, levels: int) -> InPlace:
    path = planes[0].path
    version: NgffVersion = "0.4" if path.name == ARRAY_FILE["0.4"] else "0.5"
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
    wanted = [(path, plane_index(axes, channel)) for channel in range(lengths["c"])]
    if [(plane.path, plane.index) for plane in planes] != wanted:
        raise ValueError("their channels are others, or in another order, than the plate's")
    if array.dtype.str not in ("|u1", "<u2"):
        raise ValueError(f"their pixels are {array.dtype.str}")
    arrays = [path.parent]
    for dataset in multiscale["datasets"][1:levels]:
        smaller = folder_inside(folder, dataset["path"])
        level = read_array(smaller / path.name)
        size = (-(-length // 2 ** len(arrays)) for length in array.shape[-2:])
        if level.shape != (*array.shape[:-2], *size) or level.dtype != array.dtype:
            break
        arrays.append(smaller)
    return InPlace(axes, tuple(arrays), (array.chunk[-2], array.chunk[-1]))


def _image_of(array: Path, version: NgffVersion) -> tuple[Path, Json]:
    """The image group that an array is the largest level of, and its metadata."""
    for folder in list(array.parents)[:4]:
        multiscales = attributes_of(folder, version).get("multiscales")
        if multiscales and folder / multiscales[0]["datasets"][0]["path"] == array:
            return folder, multiscales[0]
    raise ValueError("its metadata changed")
