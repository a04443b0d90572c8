"""Pictures of typical cells: arrays in, PNG bytes out."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from lysoquant.vocabulary import CLASS_COLOURS, EMPTY, LOADED

PANEL_PX: Final = 420
"""Edge of a panel in pixels, whatever the pixel size of the field."""

_INSIDE: Final = 0.65
_OUTSIDE: Final = 0.3
"""Brightness of the cell and of all else under the outlines, so that the lines stand out on bright rings."""

_PERCENTILES: Final = (1.0, 99.7)

RgbImage = npt.NDArray[np.uint8]
BoolImage = npt.NDArray[np.bool_]


def choose_cells(
    *,
    occupancy: npt.NDArray[np.float64],
    n_endolysosomes: npt.NDArray[np.int64],
    touches_border: npt.NDArray[np.bool_],
    count: int,
) -> list[int]:
    """Typical cells of a condition: those whose occupancy lies closest to the median.

    Parameters
    ----------
    occupancy : ndarray, shape (n,)
        Occupancy of the condition's cells; NaN where a cell has no endolysosome (such cells are never chosen).
    n_endolysosomes : ndarray, shape (n,)
        Of two equally typical cells, the one with more endolysosomes shows more.
    touches_border : ndarray, shape (n,)
        Cells cut by the field's border come only when there are not enough whole ones.
    count : int
        Cells wanted.

    Returns
    -------
    list of int
        At most ``count`` indices, most typical first; ties are broken by the order of the input.
    """
    known = np.flatnonzero(~np.isnan(occupancy) & (n_endolysosomes > 0))
    if not known.size:
        return []
    distance = np.round(np.abs(occupancy[known] - np.median(occupancy[known])), 9)
    order = np.lexsort((known, -n_endolysosomes[known], distance, touches_border[known]))
    return [int(index) for index in known[order[:count]]]


def crop_origin(inside: BoolImage, *, crop_px: int) -> tuple[int, int]:
    """Upper left corner of the crop that shows most of a set of pixels.

    Parameters
    ----------
    inside : ndarray, shape (Y, X), bool
        Pixels that should be seen: the cell's endolysosomes.
    crop_px : int
        Edge of the crop.

    Returns
    -------
    tuple of int
        (y, x) of the corner; of equally good corners the one nearest to their mean, so that what is seen lies in the
        middle. Negative along an axis that is shorter than the crop, so that the image lies in the middle.
    """
    height, width = (min(crop_px, edge) for edge in inside.shape)
    total = np.pad(inside.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    seen = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    best = np.argwhere(seen == seen.max())
    nearest = best[np.argmin(((best - best.mean(axis=0)) ** 2).sum(axis=1))]
    margin = [-((crop_px - edge) // 2) if edge < crop_px else 0 for edge in inside.shape]
    return int(nearest[0]) + margin[0], int(nearest[1]) + margin[1]


def crop(image: npt.NDArray[Any], *, origin: tuple[int, int], crop_px: int) -> npt.NDArray[Any]:
    """A square of an image, with zeros where it reaches beyond the image.

    Parameters
    ----------
    image : ndarray, shape (Y, X)
        Any plane or label image.
    origin : tuple of int
        (y, x) of the upper left corner; may be negative.
    crop_px : int
        Edge.

    Returns
    -------
    ndarray, shape (crop_px, crop_px), dtype as the image
    """
    out = np.zeros((crop_px, crop_px), dtype=image.dtype)
    (y, x), (height, width) = origin, image.shape
    part = image[max(y, 0) : min(y + crop_px, height), max(x, 0) : min(x + crop_px, width)]
    out[max(-y, 0) : max(-y, 0) + part.shape[0], max(-x, 0) : max(-x, 0) + part.shape[1]] = part
    return out


def panels(
    *,
    cargo: npt.NDArray[Any],
    lysosome: npt.NDArray[Any],
    cell: BoolImage,
    labels: npt.NDArray[np.uint32],
    classes: Mapping[int, int],
    scale_bar_px: float,
) -> tuple[RgbImage, RgbImage]:
    """The two panels of a cell: the channels, and the channels with the outlines of its endolysosomes.

    Parameters
    ----------
    cargo, lysosome : ndarray, shape (N, N)
        The crop, shown red and green; contrast from percentiles of the cell's own pixels.
    cell : ndarray, shape (N, N), bool
        The cell; on the second panel everything else is dimmed.
    labels : ndarray, shape (N, N), uint32
        Endolysosomes.
    classes : mapping of int to int
        Class (1 empty, 2 loaded) of each label to outline; other labels get no outline.
    scale_bar_px : float
        Length of the scale bar in pixels of the crop.

    Returns
    -------
    tuple of ndarray, shape (PANEL_PX, PANEL_PX, 3), uint8
        Outlines are a line about as wide as one pixel of a field of 0.1 um, empty cyan and loaded magenta as in
        Figure 2 of the paper.
    """
    red, green = (_enlarged(_stretched(plane, cell)) for plane in (cargo, lysosome))
    plain = np.dstack([red, green, np.zeros_like(red)])
    whole = _enlarged(cell.astype(np.float32)) >= 0.5
    outlined = np.where(whole[..., None], plain * _INSIDE, plain * _OUTSIDE)
    first, second = _as_bytes(plain), _as_bytes(outlined)
    for label, kind in sorted(classes.items()):
        second[_outline(labels == label)] = CLASS_COLOURS[kind]
    for panel in (first, second):
        _draw_scale_bar(panel, length_px=scale_bar_px * PANEL_PX / len(cargo))
    return first, second


def scale_bar_um(crop_um: float) -> float:
    """Length of a scale bar that is a plain number of micrometres: the largest within a third of the crop.

    Examples
    --------
    >>> scale_bar_um(20.0)
    5.0
    """
    lengths = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
    return max((length for length in lengths if length <= crop_um / 3), default=lengths[0])


def png_bytes(image: RgbImage) -> bytes:
    """An RGB image, shape (Y, X, 3), as the bytes of a PNG file, the same in every run."""
    buffer = io.BytesIO()
    Image.fromarray(image, mode="RGB").save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def class_of(*, is_loaded: bool) -> int:
    """Class number of an endolysosome."""
    return LOADED if is_loaded else EMPTY


def _stretched(plane: npt.NDArray[Any], cell: BoolImage) -> npt.NDArray[np.float32]:
    values = plane[cell] if cell.any() else plane.ravel()
    low, high = (float(value) for value in np.percentile(values, _PERCENTILES))
    span = high - low if high > low else math.inf
    stretched: npt.NDArray[np.float32] = ((plane.astype(np.float32) - low) / span).astype(np.float32)
    return stretched.clip(0.0, 1.0)


def _enlarged(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    picture = Image.fromarray(plane).resize((PANEL_PX, PANEL_PX), Image.Resampling.BICUBIC)
    enlarged = np.array(picture, dtype=np.float32)
    np.clip(enlarged, 0.0, 1.0, out=enlarged)
    return enlarged


def _as_bytes(image: npt.NDArray[Any]) -> RgbImage:
    # Six of eight bits: no eye sees the difference, and a page of pictures is a third smaller.
    return np.round(np.round(image * 63.0) * (255.0 / 63.0)).astype(np.uint8)


def _outline(region: BoolImage) -> BoolImage:
    # Interpolated before thresholding, so that the outline is a smooth line and not the staircase of the pixels.
    picture = Image.fromarray(region.astype(np.float32)).resize((PANEL_PX, PANEL_PX), Image.Resampling.BILINEAR)
    inside = np.pad(np.asarray(picture) >= 0.5, 1, mode="edge")
    around = [inside[:-2, 1:-1], inside[2:, 1:-1], inside[1:-1, :-2], inside[1:-1, 2:]]
    # One pixel to each side of the edge: on a bright ring a thinner line is not seen.
    return np.asarray(np.logical_or.reduce(around) & ~np.logical_and.reduce(around), dtype=np.bool_)


def _draw_scale_bar(panel: RgbImage, *, length_px: float) -> None:
    margin, thickness = 16, 5
    left = max(PANEL_PX - margin - round(length_px), 0)
    panel[PANEL_PX - margin - thickness : PANEL_PX - margin, left : PANEL_PX - margin] = 255
