"""What a person or another program outlined: ImageJ ROI files and label images.

Nothing is extracted to disk and nothing is unpickled.
"""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import roifile
import tifffile
from PIL import Image

from lysoquant.errors import FieldError
from lysoquant.files import open_file
from lysoquant.io.raw.tiff_metadata import description_xml

MAX_ROI_BYTES: Final = 16 * 2**20
"""An outline of 65,535 corners, the most that ImageJ writes, takes under 1 MiB."""
MAX_ZIP_BYTES: Final = 256 * 2**20
MAX_ZIP_ENTRIES: Final = 100_000

_AREAS: Final = (roifile.ROI_TYPE.RECT, roifile.ROI_TYPE.OVAL, roifile.ROI_TYPE.POLYGON,
                 roifile.ROI_TYPE.FREEHAND, roifile.ROI_TYPE.TRACED)  # fmt: skip
_DAMAGED: Final = (ValueError, TypeError, IndexError, OverflowError, RuntimeError, struct.error, MemoryError)
"""What roifile raises on a damaged ROI (NotImplementedError is a RuntimeError, UnicodeError a ValueError)."""
_DRAW_LABELS: Final = "draw outlines again or export a label image (`cells.method: labels`)"


@dataclass(frozen=True)
class _Entry:
    """One ROI of a file: its name and its bytes."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Outline:
    """An area of an ImageJ ROI file.

    Attributes
    ----------
    name : str
        As the ROI Manager shows it.
    roi : roifile.ImagejRoi
        Its geometry.
    """

    name: str
    roi: roifile.ImagejRoi

    def mask(
        self, shape: tuple[int, int], *, scale: float = 1.0, origin: tuple[int, int] = (0, 0)
    ) -> tuple[tuple[slice, slice], npt.NDArray[np.bool_]]:
        """Draw the outline on a grid whose pixel i lies at image coordinate origin + i / scale (no half-pixel shift).

        Parameters
        ----------
        shape : (Y, X)
            Shape of the grid.
        scale : float
            Pixels of the grid along one pixel of the image.
        origin : (y, x)
            The image's pixel on which the grid's first one lies.

        Returns
        -------
        box : (slice, slice)
            Rows and columns of the grid.
        mask : bool array
            The pixels of the box whose centres lie inside.
        """
        (top, left), drawn = _mask(self.roi, shape, scale=scale, origin=origin)
        return (slice(top, top + drawn.shape[0]), slice(left, left + drawn.shape[1])), drawn


def read_outlines(path: Path) -> list[Outline]:
    """All areas of an ImageJ ROI file with their names; nothing is skipped or changed.

    Areas are those of :func:`read_cell_rois`.

    Raises
    ------
    FieldError
        If the file can't be read, is neither ROI nor zip, is too large, or holds anything but areas.
    """
    entries, notes = _entries(path)
    for problem, names in notes.items():
        raise FieldError(f"{path}: entry {names[0]!r} is {problem.removesuffix(', skipped')}; save outlines only")
    outlines = [_outline(path, entry) for entry in entries]
    seen: set[str] = set()
    for outline in outlines:
        if outline.name in seen:
            raise FieldError(
                f"{path} holds two outlines named {outline.name!r}; give each its own name in the ROI Manager"
            )
        seen.add(outline.name)
    return outlines


def _outline(path: Path, entry: _Entry) -> Outline:
    try:
        roi = roifile.ImagejRoi.frombytes(entry.content)
        problem = _no_area(roi)
        if problem is None:
            _mask(roi, (1, 1))
    except _DAMAGED:
        problem = "is damaged or of an unknown form; draw it again"
    if problem is None and roi.options & roifile.ROI_OPTIONS.SPLINE_FIT:
        problem = "is a spline, of which the file has the corners only; use Edit > Selection > Interpolate first"
    if problem is not None:
        raise FieldError(f"{path}: outline {entry.name!r} {problem}")
    return Outline(entry.name[: -len(".roi")] if entry.name.lower().endswith(".roi") else entry.name, roi)


def _no_area(roi: roifile.ImagejRoi) -> str | None:
    if roi.roitype not in _AREAS or roi.subtype in (roifile.ROI_SUBTYPE.TEXT, roifile.ROI_SUBTYPE.IMAGE):
        return "is a line, point, angle or text and encloses no area; delete it or draw an area"
    return None


def read_cell_rois(path: Path, *, shape: tuple[int, int]) -> tuple[npt.NDArray[np.uint32], list[str]]:
    """Cells from an ImageJ ROI file, ``.roi`` or the ROI manager's ``.zip``.

    Rectangles (rounded too), ovals, ellipses, rotated rectangles, polygons, freehand and traced outlines and
    composites are areas. A pixel belongs where its centre lies inside; by the even-odd rule, so composites keep their
    holes. Of overlapping ROIs the earlier one keeps the shared pixels. What lies outside of the image is cut off.

    Parameters
    ----------
    path : pathlib.Path
        The file; its content decides, not its suffix.
    shape : (Y, X)
        Shape of the field.

    Returns
    -------
    labels : (Y, X) ndarray of uint32
        0 background; a cell's label is the position of its ROI in the file, counted from 1.
    reasons : list of str
        One line for each kind of ROI that was skipped or changed.

    Raises
    ------
    FieldError
        If the file can't be read, is neither ROI nor zip, is too large, or holds no ROI.
    """
    entries, notes = _entries(path)
    labels = np.zeros(shape, np.uint32)
    for number, entry in enumerate(entries, start=1):
        problem = _draw(entry, labels, number)
        if problem:
            notes.setdefault(problem, []).append(entry.name)
    if not entries:
        raise FieldError(f"{path} holds no ImageJ ROI (.roi entries); save the outlines from ImageJ's ROI Manager")
    return labels, [_reason(path, problem, names) for problem, names in notes.items()]


def read_label_image(path: Path, *, shape: tuple[int, int]) -> tuple[npt.NDArray[np.uint32], list[str]]:
    """Cells from a label image, TIFF or PNG, as other programs (Cellpose, CellProfiler, Fiji) write it.

    Parameters
    ----------
    path : pathlib.Path
        One plane of any integer dtype; its content decides the format, not its suffix.
    shape : (Y, X)
        Shape of the field.

    Returns
    -------
    labels : (Y, X) ndarray of uint32
        The file's own numbers.
    reasons : list of str
        Empty, or one line that the image looks like a mask rather than labels.

    Raises
    ------
    FieldError
        If the file can't be read, its shape is not the field's, or its values are not integers from 0 to 2^32 - 1.
    """
    image = _read_plane(path, shape)
    if image.dtype.kind not in "iu":
        raise FieldError(f"{path} has dtype {image.dtype}, expected whole numbers (0 background, 1..n cells); "
                         "label its objects and save 16-bit")  # fmt: skip
    low, high = int(image.min(initial=0)), int(image.max(initial=0))
    if low < 0 or high >= 2**32:
        raise FieldError(f"{path} has labels from {low} to {high}, expected 0 to {2**32 - 1}; number the cells 1..n")
    labels = image.astype(np.uint32)
    reasons = []
    if high == 255 and image.dtype.itemsize == 1 and len(np.unique(labels)) == 2:
        reasons.append(f"{path.name} holds only 0 and 255 and so one cell; if it is a mask, label its objects")
    return labels, reasons


def _read_plane(path: Path, shape: tuple[int, int]) -> npt.NDArray[Any]:
    try:
        with open_file(path) as handle:
            is_png = handle.read(8) == b"\x89PNG\r\n\x1a\n"
        return _read_png(path, shape) if is_png else _read_tiff(path, shape)
    except FieldError:
        raise
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise FieldError(f"{path} can't be read as a TIFF or PNG label image ({error}); write it again") from error


def _read_tiff(path: Path, shape: tuple[int, int]) -> npt.NDArray[Any]:
    # _multifile=False: an OME-TIFF can name other files anywhere on the disk.
    with tifffile.TiffFile(path, _multifile=False) as tiff:
        description_xml(tiff, where=str(path))
        found = tuple(size for size in tiff.series[0].shape if size != 1)
        _check_shape(path, found, shape)
        plane: npt.NDArray[Any] = tiff.series[0].asarray().reshape(shape)
        return plane


def _read_png(path: Path, shape: tuple[int, int]) -> npt.NDArray[Any]:
    with warnings.catch_warnings():
        # The shape is compared before a pixel is decoded, which says more than Pillow's own limit.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=("PNG",)) as image:
            if len(image.getbands()) != 1:
                raise FieldError(f"{path} is a colour image ({image.mode}), expected one plane; save as 16-bit grey")
            _check_shape(path, (image.height, image.width), shape)
            return np.asarray(image)


def _check_shape(path: Path, found: Sequence[int], shape: tuple[int, int]) -> None:
    if tuple(found) != tuple(size for size in shape if size != 1) and tuple(found) != shape:
        raise FieldError(f"{path} has shape {tuple(found)}, expected the field's {shape}; "
                         "make the label image from the same field at full size")  # fmt: skip


def _entries(path: Path) -> tuple[list[_Entry], dict[str, list[str]]]:
    try:
        with open_file(path) as handle:
            content = handle.read(MAX_ZIP_BYTES + 1)
    except OSError as error:
        raise FieldError(f"{path} can't be read ({error.strerror}); check cells.path and the file's rights") from error
    if content[:4] == b"Iout":
        return [_Entry(path.name, content)], {}
    if content[:2] != b"PK":
        raise FieldError(f"{path} is neither an ImageJ ROI nor a zip of ROIs; save it from ImageJ's ROI Manager")
    if len(content) > MAX_ZIP_BYTES:
        raise FieldError(f"{path} is larger than {MAX_ZIP_BYTES // 2**20} MiB; split it into one file a field")
    notes: dict[str, list[str]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return list(_zip_entries(archive, path, notes)), notes
    except FieldError:
        raise
    except Exception as error:  # zipfile and its decompressors raise nearly anything
        raise FieldError(f"{path} is a damaged or encrypted zip ({error}); save it again from ImageJ") from error


def _zip_entries(archive: zipfile.ZipFile, path: Path, notes: dict[str, list[str]]) -> Iterator[_Entry]:
    infos = [info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")]
    too_many = len(infos) > MAX_ZIP_ENTRIES
    if too_many or sum(info.file_size for info in infos) > MAX_ZIP_BYTES:
        size = f"{len(infos)} entries" if too_many else f"more than {MAX_ZIP_BYTES // 2**20} MiB unpacked"
        raise FieldError(f"{path} holds {size}, which no field's ROIs do; save one file a field")
    for info in infos:
        if not info.filename.lower().endswith(".roi"):
            notes.setdefault("not a .roi entry, skipped", []).append(info.filename)
            continue
        if info.file_size > MAX_ROI_BYTES:
            notes.setdefault(f"larger than {MAX_ROI_BYTES // 2**20} MiB, skipped", []).append(info.filename)
            continue
        with archive.open(info) as handle:
            yield _Entry(info.filename, handle.read(MAX_ROI_BYTES))


def _draw(entry: _Entry, labels: npt.NDArray[np.uint32], number: int) -> str | None:
    """Draw one ROI where nothing is yet; what there is to say about it."""
    try:
        roi = roifile.ImagejRoi.frombytes(entry.content)
        if _no_area(roi):
            return "a line, point, angle or text encloses no area, skipped"
        (top, left), mask = _mask(roi, (labels.shape[0], labels.shape[1]))
    except _DAMAGED:
        return f"damaged or of an unknown form, skipped ({_DRAW_LABELS})"
    problem = _fill(labels, mask, top=top, left=left, number=number)
    if problem is None and roi.options & roifile.ROI_OPTIONS.SPLINE_FIT:
        return "spline fit read as the polygon of its corners"
    return problem


def _fill(
    labels: npt.NDArray[np.uint32], mask: npt.NDArray[np.bool_], *, top: int, left: int, number: int
) -> str | None:
    part = labels[top : top + mask.shape[0], left : left + mask.shape[1]]
    free = mask & (part == 0)
    part[free] = number
    if not mask.any():
        return "no pixel inside the image, skipped"
    if not free.any():
        return "wholly under earlier ROIs, skipped"
    if free.sum() < mask.sum():
        return "overlaps an earlier ROI, which keeps the shared pixels"
    return None


def _mask(
    roi: roifile.ImagejRoi, shape: tuple[int, int], *, scale: float = 1.0, origin: tuple[int, int] = (0, 0)
) -> tuple[tuple[int, int], npt.NDArray[np.bool_]]:
    """First row and column of a box inside the grid, and the ROI's pixels in it; see :meth:`Outline.mask`."""
    # ImageJ's coordinates are those of pixels' corners: the centre of pixel 0 is at 0.5.
    shift = np.array([0.5 - (origin[axis] + 0.5) * scale for axis in (1, 0)])
    if not roi.composite and roi.roitype in (roifile.ROI_TYPE.RECT, roifile.ROI_TYPE.OVAL):
        x, y, width, height = float(roi.left), float(roi.top), float(roi.right - roi.left), float(roi.bottom - roi.top)
        if roi.subpixelrect:
            x, y, width, height = roi.xd, roi.yd, roi.widthd, roi.heightd
        x, y = x * scale + float(shift[0]), y * scale + float(shift[1])
        width, height = width * scale, height * scale
        box = _box(np.array([[x, y], [x + width, y + height]]), shape)
        # Offsets of the pixels' centres from the ROI's own centre.
        dx = np.abs(np.arange(box[2], box[3]) + 0.5 - x - width / 2)
        dy = np.abs(np.arange(box[0], box[1]) + 0.5 - y - height / 2)
        if roi.roitype == roifile.ROI_TYPE.OVAL:
            return (box[0], box[2]), _in_oval(dx, dy, width / 2, height / 2)
        arc = roi.rounded_rect_arc_size / 2 * scale
        return (box[0], box[2]), _in_rectangle(dx, dy, width / 2, height / 2, arc)
    paths = [
        np.asarray(points, np.float64) * scale + shift for points in roi.coordinates(multi=True) if len(points) > 2
    ]
    if not paths:
        raise ValueError("an area without corners")
    box = _box(np.concatenate(paths), shape)
    return (box[0], box[2]), _in_polygons(paths, box)


def _box(points: npt.NDArray[np.float64], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Rows and columns from, to that hold the points, cut to the image."""
    if not np.isfinite(points).all():
        raise ValueError("coordinates that are not numbers")
    low, high = np.floor(points.min(0)), np.ceil(points.max(0))
    top, left = (int(np.clip(low[axis], 0, size)) for axis, size in ((1, shape[0]), (0, shape[1])))
    bottom, right = (int(np.clip(high[axis], 0, size)) for axis, size in ((1, shape[0]), (0, shape[1])))
    return top, max(top, bottom), left, max(left, right)


def _in_oval(dx: npt.NDArray[np.float64], dy: npt.NDArray[np.float64], rx: float, ry: float) -> npt.NDArray[np.bool_]:
    if rx <= 0 or ry <= 0:
        return np.zeros((dy.size, dx.size), bool)
    inside: npt.NDArray[np.bool_] = (dx[None, :] / rx) ** 2 + (dy[:, None] / ry) ** 2 <= 1
    return inside


def _in_rectangle(
    dx: npt.NDArray[np.float64], dy: npt.NDArray[np.float64], half_width: float, half_height: float, arc: float
) -> npt.NDArray[np.bool_]:
    inside: npt.NDArray[np.bool_] = (dy[:, None] < half_height) & (dx[None, :] < half_width)
    rx, ry = min(arc, half_width), min(arc, half_height)
    if rx > 0 and ry > 0:
        corner_x, corner_y = np.maximum(0, dx - half_width + rx) / rx, np.maximum(0, dy - half_height + ry) / ry
        inside &= corner_x[None, :] ** 2 + corner_y[:, None] ** 2 <= 1
    return inside


def _in_polygons(paths: Sequence[npt.NDArray[np.float64]], box: tuple[int, int, int, int]) -> npt.NDArray[np.bool_]:
    """Pixels of a box whose centres an odd number of edges has to its left (or exactly on it)."""
    top, bottom, left, right = box
    flips = np.zeros((bottom - top, right - left + 1), bool)
    for path in paths:
        x0, y0 = path[:, 0], path[:, 1]
        x1, y1 = np.roll(x0, -1), np.roll(y0, -1)
        # Rows whose centre an edge crosses: half open, so a corner on a centre line counts once.
        first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), top, bottom).astype(np.intp)
        last = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), top, bottom).astype(np.intp)
        edge = np.repeat(np.arange(len(path)), last - first)
        starts = np.cumsum(last - first) - (last - first)
        row = np.arange(edge.size) - starts[edge] + first[edge]
        crossing = x0[edge] + (row + 0.5 - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
        column = np.clip(np.ceil(crossing - 0.5), left, right).astype(np.intp)
        np.logical_xor.at(flips, (row - top, column - left), True)
    inside: npt.NDArray[np.bool_] = np.logical_xor.accumulate(flips, axis=1)[:, :-1]
    return inside


def _reason(path: Path, problem: str, names: Sequence[str]) -> str:
    some = ", ".join(repr(name) for name in names[:3]) + ", ..." * (len(names) > 3)
    return f"{path.name}: {len(names)} ROI{'s' * (len(names) > 1)} {some}: {problem}"
