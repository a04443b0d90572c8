"""Examples from OME-Zarr plates and images whose labels a person corrected."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lysoquant.errors import FieldError, InputError
from lysoquant.examples.crops import check_size, choose_channels, make_example, settle_pixel_size
from lysoquant.examples.example import Example
from lysoquant.examples.simulated import to_model
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.vocabulary import CELLS, EMPTY, ENDOLYSOSOME_CLASSES, ENDOLYSOSOMES, LOADED, NgffVersion

_METADATA: Final[dict[str, NgffVersion]] = {"zarr.json": "0.5", ".zattrs": "0.4"}
_MAX_METADATA_BYTES: Final = 16 * 2**20


def fields_of(path: Path) -> list[FieldStore] | None:
    """The fields of an OME-Zarr plate, or the one image; None where a folder is not OME-Zarr.

    Raises
    ------
    InputError
        If it is OME-Zarr, but neither a plate nor an image.
    """
    file = next((name for name in _METADATA if (path / name).is_file()), None)
    if file is None:
        return None
    keys = _keys(path / file)
    if "plate" in keys:
        store = PlateStore.open(path)
        return [store.field(well, index) for well in store.wells for index in range(store.n_fields(well))]
    if "multiscales" in keys:
        return [FieldStore(path, name=path.name, ngff_version=_METADATA[file])]
    raise InputError(f"{path}: neither an OME-Zarr plate nor an image; give the folder of one of them")


def _keys(path: Path) -> set[str]:
    try:
        if path.stat().st_size > _MAX_METADATA_BYTES:
            raise InputError(f"{path}: larger than {_MAX_METADATA_BYTES} bytes; expected OME-Zarr metadata")
        value = json.loads(path.read_text(encoding="utf-8"))
        value = value.get("attributes", {}).get("ome", {}) if path.name == "zarr.json" else value
        return set(value)
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: its metadata are damaged ({error}); copy the folder again") from error


def store_examples(
    fields: list[FieldStore], *, lysosome: str | None, cargo: str | None, pixel_size_um: float | None
) -> Iterator[Example]:
    """Every cell of every field; see :func:`lysoquant.examples.annotated.read_examples`."""
    for field in fields:
        try:
            yield from _field_examples(field, lysosome=lysosome, cargo=cargo, pixel_size_um=pixel_size_um)
        except FieldError as error:
            raise InputError(str(error)) from error
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise InputError(
                f"{field.path}: not laid out as lysoquant writes it ({error!r}); give axes c, y, x with channel names "
                "and a scale, or images with ImageJ ROIs"
            ) from error


def _field_examples(
    field: FieldStore, *, lysosome: str | None, cargo: str | None, pixel_size_um: float | None
) -> Iterator[Example]:
    where = str(field.path)
    missing = [name for name in (ENDOLYSOSOMES, ENDOLYSOSOME_CLASSES) if name not in field.labels]
    if missing:
        raise InputError(f"{where}: no labels/{missing[0]}; run `lysoquant segment`, or give outlined images only")
    shape = field.shape
    cells = _label(field, CELLS, shape) if CELLS in field.labels else np.ones(shape, np.uint8)
    regions, classes = (_label(field, name, shape) for name in (ENDOLYSOSOMES, ENDOLYSOSOME_CLASSES))
    if not (cells.any() or regions.any()):
        return  # a field that failed, which may have no pixel size either
    channels = choose_channels(field.channels, lysosome=lysosome, cargo=cargo, where=where)
    size = settle_pixel_size(field.pixel_size_um, given=pixel_size_um, where=where)
    planes = [field.read(channel) for channel in channels]
    numbers, table = class_of_each(regions, classes, where=where)
    lost = np.setdiff1d(numbers, regions[cells > 0])
    if lost.size:
        raise InputError(f"{where}: endolysosome {lost[0]} lies outside every cell; erase it or enlarge its cell")
    numbered = np.searchsorted(numbers, regions).astype(np.int32) + 1
    numbered[regions == 0] = 0
    for cell, box, inside in _cells(cells):
        check_size(inside.shape, pixel_size_um=size, where=f"{where}: cell {cell}")
        fine = to_model(numbered[box], size).astype(np.int32)
        yield make_example(
            name=f"{field.name} cell {cell}",
            cargo=planes[1][box],
            lysosome=planes[0][box],
            inside=inside,
            pixel_size_um=size,
            regions=fine,
            classes=table,
            ignored=np.zeros(fine.shape, bool),
        )


def _label(field: FieldStore, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    label = field.read_label(name)
    if label.shape != shape:
        raise InputError(
            f"{field.path}: labels/{name} is {label.shape}, expected the image's {shape}; save it full size"
        )
    if label.dtype.kind not in "iu" or int(label.min(initial=0)) < 0:
        raise InputError(
            f"{field.path}: labels/{name} is {label.dtype}, expected whole numbers from 0; save it as uint32"
        )
    return label


def class_of_each(
    regions: NDArray[np.integer], classes: NDArray[np.integer], *, where: str
) -> tuple[NDArray[np.integer], NDArray[np.uint8]]:
    """Labels of the regions in rising order, and the class of background and of each of them.

    Raises
    ------
    InputError
        If a region has no class, part of one or two, or a class stands where no region is.
    """
    drawn, named = regions > 0, classes > 0
    wrong = classes[(classes != EMPTY) & (classes != LOADED) & named]
    if wrong.size:
        raise InputError(f"{where}: class {wrong[0]} in labels/{ENDOLYSOSOME_CLASSES}; expected 1 empty or 2 loaded")
    stray = np.argwhere(named & ~drawn)
    if stray.size:
        y, x = stray[0]
        raise InputError(
            f"{where}: a class without an endolysosome at (y, x) = ({y}, {x}); give it a number in "
            f"labels/{ENDOLYSOSOMES} too, or erase it in labels/{ENDOLYSOSOME_CLASSES}"
        )
    numbers, index = np.unique(regions[drawn], return_inverse=True)
    counts = np.stack([np.bincount(index[classes[drawn] == c], minlength=len(numbers)) for c in (0, EMPTY, LOADED)])
    bad = np.flatnonzero((counts > 0).sum(axis=0) != 1)
    none = np.flatnonzero(counts[0] > 0)
    if none.size or bad.size:
        first = none[0] if none.size else bad[0]
        told = "no class" if not counts[1:, first].any() else "not one class throughout"
        background, empty, loaded = counts[:, first]
        raise InputError(
            f"{where}: endolysosome {numbers[first]} has {told} ({background} pixels of class 0, {empty} empty, "
            f"{loaded} loaded); paint it 1 (empty) or 2 (loaded) in labels/{ENDOLYSOSOME_CLASSES}"
        )
    return numbers, np.array([0, *np.where(counts[1] > 0, EMPTY, LOADED)], np.uint8)


def _cells(cells: NDArray[Any]) -> Iterator[tuple[int, tuple[slice, slice], NDArray[np.bool_]]]:
    """Number, box and shape of each cell, by number."""
    numbers, index = np.unique(np.append(0, cells), return_inverse=True)
    packed = index[1:].reshape(cells.shape)
    for number, (rows, columns) in zip(numbers[1:], ndimage.find_objects(packed), strict=True):
        box = rows, columns
        yield int(number), box, cells[box] == number
