"""Outlines of label images, written as ImageJ ROI zips that Fiji's ROI Manager opens."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import roifile
from numpy.typing import NDArray
from skimage.measure import find_contours

Ring = NDArray[np.float64]

_MOVE_TO: Final = 0.0
_LINE_TO: Final = 1.0
_CLOSE: Final = 4.0
"""Segments of the paths of which ImageJ's composites are made."""

_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""Equal outlines give equal bytes."""


@dataclass(frozen=True)
class NewOutline:
    """An outline to be written.

    Attributes
    ----------
    name : str
        As the ROI Manager will show it.
    rings : list of float array (n, 2)
        Corners (x, y) in ImageJ's coordinates; rings inside rings are holes.
    colour : (R, G, B)
        Colour of the line.
    is_traced : bool
        Whether a single ring runs along pixel edges and is to be measured as Analyze Particles measures, not as a
        drawing.
    """

    name: str
    rings: Sequence[Ring | NDArray[np.int64]]
    colour: tuple[int, int, int]
    is_traced: bool = False


def trace(mask: NDArray[np.bool_], *, scale: float = 1.0) -> list[Ring]:
    """Outline of a mask, halfway between the centres of the pixels inside and outside.

    Drawing it again on the same grid (:meth:`lysoquant.io.rois.Outline.mask`) gives the same mask.

    Parameters
    ----------
    mask : bool array (Y, X)
        Its pixel i lies at image coordinate i / scale.
    scale : float
        Pixels of the mask along one pixel of the image.

    Returns
    -------
    list of float array (n, 2)
        Corners (x, y) of each ring in the image's ImageJ coordinates, where the centre of pixel 0 is at 0.5.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return []
    corner = np.array([rows[0], columns[0]])
    window = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)
    found = find_contours(window.astype(np.float64), 0.5)  # type: ignore[no-untyped-call]
    return [((_corners(ring[:-1]) - 1 + corner) / scale + 0.5)[:, ::-1] for ring in found]


def _corners(ring: Ring) -> Ring:
    """The points of a ring where it turns."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    return np.asarray(ring[turns])


def outlines_zip(outlines: Iterable[NewOutline]) -> bytes:
    """The bytes of a zip of ImageJ ROIs: freehand outlines, composites where there are several rings."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for outline in outlines:
            entry = zipfile.ZipInfo(f"{outline.name}.roi", _TIME)
            archive.writestr(entry, _roi(outline).tobytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def write_outlines(path: Path, outlines: Iterable[NewOutline]) -> None:
    """Write outlines as an ImageJ ROI zip, whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(outlines_zip(outlines))
    partial.replace(path)


def _roi(outline: NewOutline) -> roifile.ImagejRoi:
    if len(outline.rings) == 1:
        kind = np.int32 if outline.is_traced else np.float32
        roi = roifile.ImagejRoi.frompoints(outline.rings[0].astype(kind), name=outline.name)
        if outline.is_traced:
            roi.roitype = roifile.ROI_TYPE.TRACED
    else:
        path = [value for ring in outline.rings for value in _path(ring)]
        points = np.concatenate(outline.rings)
        (left, top), (right, bottom) = np.floor(points.min(0)), np.ceil(points.max(0))
        roi = roifile.ImagejRoi(
            roitype=roifile.ROI_TYPE.RECT,
            name=outline.name,
            left=int(left),
            top=int(top),
            right=int(right),
            bottom=int(bottom),
            shape_roi_size=len(path),
            multi_coordinates=np.array(path, np.float32),
        )
    roi.stroke_color = bytes((255, *outline.colour))
    return roi


def _path(ring: Ring | NDArray[np.int64]) -> list[float]:
    segments = [(_LINE_TO if number else _MOVE_TO, float(x), float(y)) for number, (x, y) in enumerate(ring)]
    return [*(value for segment in segments for value in segment), _CLOSE]
