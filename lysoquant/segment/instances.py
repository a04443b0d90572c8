"""From class probabilities to separate endolysosomes, each with one class."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import reconstruction
from skimage.segmentation import watershed

from lysoquant.model.preprocess import model_coordinates
from lysoquant.units import MIN_AREA_UM2, MODEL_PIXEL_SIZE_UM


@dataclass(frozen=True)
class Instances:
    """Endolysosomes of one cell.

    Attributes
    ----------
    labels : int32 array (Y, X)
        1 to n in reading order, 0 elsewhere.
    p_loaded : float64 array (n,)
        p(loaded) / (p(empty) + p(loaded)), both summed over the object at the model's pixel size.
    other_p_loaded : tuple of float64 array (n,)
        The same by other cargoes, in their order.
    """

    labels: NDArray[np.int32]
    p_loaded: NDArray[np.float64]
    other_p_loaded: tuple[NDArray[np.float64], ...] = ()


def split_objects(
    probabilities: NDArray[np.float32], *, foreground_threshold: float, split_depth_um: float
) -> Instances:
    """Objects at the model's pixel size.

    Parameters
    ----------
    probabilities : float32 array (2 or 3, Y, X)
        Empty and loaded at 0.025 um; background before them is not looked at.
    foreground_threshold : float
        Least probability of empty and loaded together.
    split_depth_um : float
        Touching objects are split by a watershed of the distance to their outline; two maxima count as two objects when
        the way from one to the other falls by more than this.
    """
    empty, loaded = probabilities[-2:]
    foreground = _without_pinholes(empty + loaded > foreground_threshold)
    labels = _fill_lumens(_split(foreground, depth_px=split_depth_um / MODEL_PIXEL_SIZE_UM))
    return Instances(labels, _share_loaded(labels, probabilities))


def classify_too(instances: Instances, probabilities: NDArray[np.float32]) -> Instances:
    """The same objects, classified by one more cargo from its own probabilities, float32 array (2 or 3, Y, X)."""
    share = _share_loaded(instances.labels, probabilities)
    return replace(instances, other_p_loaded=(*instances.other_p_loaded, share))


def _share_loaded(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each object, loaded over empty and loaded together: float64 array (n,)."""
    count = int(labels.max(initial=0))
    empty, loaded = probabilities[-2:]
    within = labels > 0
    numbers, found = labels[within], loaded[within]
    total, of_loaded = (
        np.bincount(numbers, weights=values, minlength=count + 1)[1:] for values in (empty[within] + found, found)
    )
    return np.asarray(of_loaded / np.maximum(total, 1e-9))


def _without_pinholes(foreground: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill holes smaller than any endolysosome."""
    holes, _ = ndimage.label(~foreground)
    area_um2 = np.bincount(holes.ravel()) * MODEL_PIXEL_SIZE_UM**2
    small = area_um2 < MIN_AREA_UM2
    small[0] = False
    small[np.unique(np.concatenate([holes[[0, -1]].ravel(), holes[:, [0, -1]].ravel()]))] = False
    return np.asarray(foreground | small[holes])


def _split(foreground: NDArray[np.bool_], *, depth_px: float) -> NDArray[np.int32]:
    """Watershed of each part of the foreground from the maxima of its distance transform."""
    labels = np.zeros(foreground.shape, np.int32)
    parts, _ = ndimage.label(foreground)
    count = 0
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        part = np.pad(parts[box] == number, 1)
        found, here = _split_part(part, depth_px)
        labels[box][part[1:-1, 1:-1]] = found[1:-1, 1:-1][part[1:-1, 1:-1]] + count
        count += here
    return labels


def _fill_lumens(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Fill what one object encloses: its lumen. What several enclose together is cytoplasm and stays background."""
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        window = labels[box]
        window[ndimage.binary_fill_holes(window == number) & (window == 0)] = number
    return labels


def _split_part(part: NDArray[np.bool_], depth_px: float) -> tuple[NDArray[np.int32], int]:
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(part), 1.0) * part
    if distance.max() <= 2 * depth_px or _has_one_summit(distance):
        return part.astype(np.int32), 1
    hilltops = distance - reconstruction(distance - depth_px, distance)  # type: ignore[no-untyped-call]
    domes = hilltops > depth_px * 0.999
    markers, count = ndimage.label(domes & part, structure=np.ones((3, 3), int))
    if count < 2:
        return part.astype(np.int32), 1
    basins = watershed(-distance, markers, mask=part)  # type: ignore[no-untyped-call]
    return basins.astype(np.int32), count


def _has_one_summit(distance: NDArray[np.float64]) -> bool:
    """Whether all pixels that no neighbour exceeds lie together, as they do in nine of ten parts.

    Every dome of the reconstruction holds such pixels, and those of two domes do not touch: where there is one group of
    them there is one dome, and the reconstruction, by far the dearest step, can be spared.
    """
    highest = (distance > 0) & (distance >= ndimage.maximum_filter(distance, 3, mode="constant"))
    return int(ndimage.label(highest, structure=np.ones((3, 3), int))[1]) < 2


def to_field(
    instances: Instances, inside: NDArray[np.bool_], *, pixel_size_um: float, min_area_um2: float
) -> Instances:
    """Objects at the field's own pixel size: nearest, cut to the cell, one connected part each, specks dropped.

    Parameters
    ----------
    inside : bool array (Y, X)
        The cell, at `pixel_size_um`.
    """
    rows, columns = (
        model_coordinates(length, pixel_size_um=pixel_size_um, model_size=model_size)
        for length, model_size in zip(inside.shape, instances.labels.shape, strict=True)
    )
    labels = np.where(inside, instances.labels[np.ix_(rows, columns)], 0)
    labels = _largest_parts(labels, count=len(instances.p_loaded))
    area_um2 = np.bincount(labels.ravel(), minlength=len(instances.p_loaded) + 1)[1:] * pixel_size_um**2
    keep = area_um2 >= max(min_area_um2, 1e-12)
    order = _reading_order(labels, keep)
    table = np.zeros(len(keep) + 1, np.int32)
    table[order + 1] = np.arange(1, len(order) + 1)
    others = tuple(share[order] for share in instances.other_p_loaded)
    return Instances(table[labels], instances.p_loaded[order], others)


def _largest_parts(labels: NDArray[np.int32], *, count: int) -> NDArray[np.int32]:
    """Keep the largest 4-connected part of each label, the first in reading order among equals."""
    parts = _label_parts(labels)
    sizes = np.bincount(parts.ravel())
    owner = np.zeros(len(sizes), np.int64)
    owner[parts.ravel()] = labels.ravel()
    best = np.zeros(count + 1, np.int64)
    for part in range(1, len(sizes)):
        if sizes[part] > sizes[best[owner[part]]] * (best[owner[part]] > 0):
            best[owner[part]] = part
    return np.where((parts > 0) & (best[labels] == parts), labels, 0).astype(np.int32)


def _label_parts(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """4-connected parts of equal label, on a grid that keeps neighbours of different labels apart."""
    wide = np.zeros((2 * labels.shape[0] - 1, 2 * labels.shape[1] - 1), bool)
    wide[::2, ::2] = labels > 0
    wide[1::2, ::2] = (labels[:-1] == labels[1:]) & (labels[:-1] > 0)
    wide[::2, 1::2] = (labels[:, :-1] == labels[:, 1:]) & (labels[:, :-1] > 0)
    parts, _ = ndimage.label(wide)
    return np.asarray(parts[::2, ::2], dtype=np.int32)


def _reading_order(labels: NDArray[np.int32], keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Indices of the kept objects by their first pixel."""
    numbers, first = np.unique(labels, return_index=True)
    kept = [
        (position, number - 1) for number, position in zip(numbers, first, strict=True) if number and keep[number - 1]
    ]
    return np.array([index for _, index in sorted(kept)], dtype=np.int64)
