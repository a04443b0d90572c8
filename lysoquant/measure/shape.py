"""Shapes of labelled regions by ImageJ's definitions (Analyze Particles), for all regions of a field at once.

ImageJ measures a particle on its traced outline: the closed polygon that runs along pixel edges, 8-connected,
around the particle and not around its holes. The steps here are

1. every side of a pixel that faces another label or the background is a directed edge with the region on its right;
2. each edge has one successor, and list ranking by pointer doubling puts the edges of all outlines in order at once;
3. perimeter from the corners of the ordered outlines, Feret diameters and solidity from their convex hulls.

References
----------
.. [1] ImageJ User Guide, IJ 1.46r, section 30.7 (Set Measurements), https://imagej.net/ij/docs/guide/146-30.html
.. [2] Wyllie, The complexity of parallel computations, Cornell University, 1979 (list ranking).
.. [3] Andrew, Inf. Process. Lett. 9, 216 (1979) (hull from monotone chains).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as connected_parts

from lysoquant.measure.regions import Bools, Floats, Ints, Labels, Pixels, centroids_um, labelled_pixels

_RIGHT, _UP, _LEFT, _DOWN = range(4)
_CORNER_PX = 2.0 - np.sqrt(2.0)
"""What ImageJ takes off the outline's length for a corner: two sides of a pixel become its diagonal."""
_MOMENT_OF_PIXEL, _EPSILON, _HALF_PI = 0.08333333, 0.000001, 1.5707963267949
"""ImageJ's constants of the ellipse: second moment of a pixel about its own centre, what stands for zero, pi / 2."""
_PAIRS_AT_ONCE = 2_000_000


def region_shapes(*, labels: Labels, pixel_size_um: float) -> dict[str, NDArray[np.int64] | Floats]:
    """Measure the shape of every region of a label image.

    Parameters
    ----------
    labels : ndarray (Y, X), integer
        0 is background; regions may touch.
    pixel_size_um : float
        Edge of a (square) pixel.

    Returns
    -------
    dict of str to ndarray (N,)
        ``label`` (int64, rising), and as float64

        ``area_um2``
            number of pixels times the area of a pixel; holes do not count.
        ``perimeter_um``
            length of the traced outline, 2 - sqrt(2) pixels less for every corner that is not adjacent to one
            already counted (ImageJ's rule, begun where ImageJ's wand begins).
        ``circularity``
            4 pi area / perimeter^2, at most 1.
        ``solidity``
            area / area of the outline's convex hull.
        ``eccentricity``
            of the ellipse with the region's second central moments of pixel centres, sqrt(1 - minor^2 / major^2);
            0 for a single pixel. As ``skimage.measure.regionprops`` defines it; ImageJ has no eccentricity.
        ``aspect_ratio``, ``roundness``
            major over minor axis of ImageJ's best fitting ellipse (second central moments of the region, each pixel a
            square and not a point), at least 1; and 4 area / (pi major^2), which is its inverse, since the ellipse
            has the region's area.
        ``feret_um``, ``min_feret_um``
            largest distance between two points of the outline; smallest distance between two parallel lines that
            hold the outline between them.
        ``centroid_y_um``, ``centroid_x_um``
            mean of pixel centres, pixel (0, 0) being at (0, 0): half a pixel less than ImageJ's.

    Notes
    -----
    A region of several 8-connected parts has area, centroid and eccentricity of all its pixels; all that rests on an
    outline (perimeter, circularity, solidity, Feret) is of its largest part, the first in raster order among equals.
    """
    pixels = labelled_pixels(labels)
    parts = _largest_parts(labels, pixels)
    part_pixels = labelled_pixels(parts)
    part_area_px = part_pixels.sizes.astype(np.float64)
    perimeter_px = _perimeters(_outlines(parts), len(part_area_px))
    hulls = _hulls(part_pixels)
    feret_px, min_feret_px = _feret(hulls)
    y_um, x_um = centroids_um(pixels, pixel_size_um)
    aspect_ratio = _aspect_ratios(pixels)
    return {
        "label": pixels.labels,
        "area_um2": pixels.sizes * pixel_size_um**2,
        "perimeter_um": perimeter_px * pixel_size_um,
        "circularity": np.minimum(4.0 * np.pi * part_area_px / perimeter_px**2, 1.0),
        "solidity": part_area_px / _hull_areas(hulls),
        "eccentricity": _eccentricities(pixels),
        "aspect_ratio": aspect_ratio,
        "roundness": 1.0 / aspect_ratio,
        "feret_um": feret_px * pixel_size_um,
        "min_feret_um": min_feret_px * pixel_size_um,
        "centroid_y_um": y_um,
        "centroid_x_um": x_um,
    }


def traced_outlines(parts: Labels) -> list[Ints]:
    """Outlines as ImageJ's wand traces them: begun where it begins, so that ImageJ measures the perimeter given here.

    Parameters
    ----------
    parts : ndarray (Y, X), integer
        Parts numbered 1 to N, each 8-connected; 0 is background. Parts may touch.

    Returns
    -------
    list of ndarray (n, 2), int64
        Corners (x, y) of each part's outer outline, clockwise on the screen, in units of pixels with (0, 0) the upper
        left corner of the first pixel.
    """
    y, x = np.nonzero(parts)
    if not len(y):
        return []
    outlines = _outlines(parts.astype(np.int32))
    first = np.unique(parts[y, x], return_index=True)[1]
    begin = np.flatnonzero(np.diff(outlines.owner, prepend=-1) != 0)
    turns = np.append(True, np.diff(outlines.direction) != 0)
    turns[begin] = True
    steps = np.array([[1, 0], [0, -1], [-1, 0], [0, 1]])[outlines.direction]
    before = np.cumsum(steps, axis=0) - steps
    begins_at = np.stack([x[first], y[first]], axis=1) - before[begin]
    places = before + begins_at[outlines.owner]
    # The wand's first vertex is the third corner: see _perimeters.
    return [
        np.roll(corners[turned], -2, axis=0)
        for corners, turned in zip(np.split(places, begin[1:]), np.split(turns, begin[1:]), strict=True)
    ]


def _eccentricities(pixels: Pixels) -> Floats:
    dy = pixels.y - pixels.means(pixels.y)[pixels.index]
    dx = pixels.x - pixels.means(pixels.x)[pixels.index]
    yy, xx, xy = pixels.means(dy * dy), pixels.means(dx * dx), pixels.means(dx * dy)
    half_trace = (yy + xx) / 2.0
    half_gap = np.sqrt(((yy - xx) / 2.0) ** 2 + xy**2)
    major, minor = half_trace + half_gap, np.maximum(half_trace - half_gap, 0.0)
    ratio = np.divide(minor, major, out=np.ones_like(major), where=major > 0)
    eccentricities: Floats = np.sqrt(1.0 - ratio)
    return eccentricities


def _aspect_ratios(pixels: Pixels) -> Floats:
    """Aspect ratio of each region step by step as ImageJ's EllipseFitter computes it (Bob Rodieck, 1991 to 2012).

    ImageJ finds the ellipse's angle first and the axes from it. Where the region is symmetric the angle rests on
    rounding, and the ratio is off by up to some percent for a region of a few pixels. Numbers are to be ImageJ's, so
    the steps are its own, constants and order of operations too; `eccentricity` has the exact moments.
    """
    y, x = pixels.y - _least(pixels, pixels.y), pixels.x - _least(pixels, pixels.x)
    count = pixels.sizes.astype(np.float64)
    x1, y1 = pixels.sums(x) / count, pixels.sums(y) / count
    xx = (pixels.sums(x * x) + _MOMENT_OF_PIXEL * count) / count - x1 * x1
    yy = (pixels.sums(y * y) + _MOMENT_OF_PIXEL * count) / count - y1 * y1
    xy = pixels.sums(x * y) / count - x1 * y1
    scale = np.maximum(4.0 * np.abs(yy * xx - xy * xy), _EPSILON)
    a11, a12, a22 = yy / scale, xy / scale, xx / scale
    difference = a11 - a22
    theta = 0.5 * np.arctan(2.0 * a12 / np.where(difference == 0.0, _EPSILON, difference))
    theta = np.where(theta < 0.0, theta + _HALF_PI, theta)
    theta = np.where(a12 > 0.0, theta + _HALF_PI, theta)
    wide, tall = (a12 == 0.0) & (a22 > a11), (a12 == 0.0) & (a22 < a11)
    theta = np.where(wide, 0.0, np.where(tall, _HALF_PI, theta))
    a11, a22 = np.where(wide, a22, a11), np.where(wide, a11, a22)
    sine = np.sin(theta)
    shift = a12 * np.cos(theta) / np.where(sine == 0.0, _EPSILON, sine)
    axes = np.sqrt(1.0 / np.abs([a22 + shift, a11 - shift]))
    ratios: Floats = axes.max(axis=0) / axes.min(axis=0)
    return ratios


def _least(pixels: Pixels, values: Ints) -> Ints:
    """The smallest value of the region that each pixel belongs to: ndarray (M,)."""
    least = np.full(len(pixels.labels), np.iinfo(np.int64).max)
    np.minimum.at(least, pixels.index, values)
    return least[pixels.index]


def _largest_parts(labels: Labels, pixels: Pixels) -> NDArray[np.int32]:
    """Label image (Y, X) of each region's largest 8-connected part, numbered 1 to N in the order of the regions."""
    parts = connected_parts(labels, background=0, connectivity=2)  # type: ignore[no-untyped-call]
    part = parts[pixels.y, pixels.x].astype(np.int64)
    sizes = np.bincount(part, minlength=1)
    owner = np.zeros(len(sizes), dtype=np.int64)
    owner[part] = pixels.index
    numbers = np.arange(1, len(sizes))
    order = np.lexsort((numbers, -sizes[1:], owner[1:]))
    first_of_owner = np.unique(owner[1:][order], return_index=True)[1]
    chosen = numbers[order][first_of_owner]
    renumbered = np.zeros(len(sizes), dtype=np.int32)
    renumbered[chosen] = np.arange(1, len(chosen) + 1)
    largest: NDArray[np.int32] = renumbered[parts]
    return largest


@dataclass(frozen=True)
class _Outlines:
    """Edges of the outer outlines, walked clockwise from the upper left corner of the region's first pixel.

    Attributes
    ----------
    owner : ndarray (E,)
        Index of the region that an edge belongs to, rising.
    direction : ndarray (E,)
        0 right, 1 up, 2 left, 3 down.
    """

    owner: Ints
    direction: Ints


def _outlines(parts: NDArray[np.int32]) -> _Outlines:
    padded = np.pad(parts, 1)
    flat = padded.ravel()
    step = np.array([1, -padded.shape[1], -1, padded.shape[1]])
    inside = np.flatnonzero(flat)
    numbers = flat[inside]
    # An edge that is walked in direction d with its pixel on the right has the pixel to the left of d outside.
    keys = np.sort(np.concatenate([inside[flat[inside + step[(d + 1) % 4]] != numbers] * 4 + d for d in range(4)]))
    pixel, direction = keys // 4, keys % 4
    owner = flat[pixel].astype(np.int64) - 1
    following = np.searchsorted(keys, _successors(flat, pixel, direction, step))
    head = np.searchsorted(keys, inside[np.unique(numbers, return_index=True)[1]] * 4 + _RIGHT)
    outer, to_go = _distance_to_end(following, head, owner)
    order = np.lexsort((-to_go[outer], owner[outer]))
    return _Outlines(owner=owner[outer][order], direction=direction[outer][order])


def _successors(flat: NDArray[np.int32], pixel: Ints, direction: Ints, step: Ints) -> Ints:
    """Key of each edge's successor: left where the region goes on across the corner, else straight on, else right."""
    left = (direction + 1) % 4
    ahead = pixel + step[direction]
    across = ahead + step[left]
    turns_left = flat[across] == flat[pixel]
    straight = ~turns_left & (flat[ahead] == flat[pixel])
    return np.select(
        [turns_left, straight], [across * 4 + left, ahead * 4 + direction], pixel * 4 + (direction - 1) % 4
    )


def _distance_to_end(following: Ints, head: Ints, owner: Ints) -> tuple[Bools, Ints]:
    """Which edges lie on the outline that begins at a head, and how many edges follow there.

    Cuts every outer outline before its head and ranks the edges by pointer doubling: each round doubles the distance
    that a pointer reaches. Edges around holes never reach an end.
    """
    n_edges = len(following)
    here = np.arange(n_edges)
    last = np.empty(n_edges, dtype=np.int64)
    last[following] = here
    end = np.zeros(n_edges, dtype=np.bool_)
    end[last[head]] = True
    pointer = np.where(end, here, following)
    to_go = (~end).astype(np.int64)
    for _ in range(int(np.bincount(owner, minlength=1).max()).bit_length()):
        to_go = to_go + to_go[pointer]
        pointer = pointer[pointer]
    return end[pointer], to_go


def _perimeters(outlines: _Outlines, n_regions: int) -> Floats:
    """Traced perimeter of each region in pixels: ndarray (N,)."""
    owner, direction = outlines.owner, outlines.direction
    n_edges = np.bincount(owner, minlength=n_regions)
    begins = np.diff(owner, prepend=-1) != 0
    is_corner = begins | (np.diff(direction, prepend=-1) != 0)
    corner = np.flatnonzero(is_corner)
    corner_owner = owner[corner]
    n_corners = np.bincount(corner_owner, minlength=n_regions)
    first_corner = np.cumsum(n_corners) - n_corners
    side_before = np.diff(corner, prepend=0)
    last_corner = first_corner + n_corners - 1
    first_edge = np.cumsum(n_edges) - n_edges
    side_before[first_corner] = first_edge + n_edges - corner[last_corner]
    # ImageJ's wand walks down the right side of the first run of the top row, so its first vertex is the one after
    # that run's upper right corner: the third of an outline that begins at the run's upper left corner.
    place = (np.arange(len(corner)) - first_corner[corner_owner] - 2) % n_corners[corner_owner]
    order = np.lexsort((place, corner_owner))
    counted_for_sure = (place[order] == 0) | (side_before[order] > 1)
    here = np.arange(len(order))
    since = here - np.maximum.accumulate(np.where(counted_for_sure, here, 0))
    n_counted = np.bincount(corner_owner[order], weights=since % 2 == 0, minlength=n_regions)
    perimeters: Floats = n_edges - n_counted * _CORNER_PX
    return perimeters


@dataclass(frozen=True)
class _Hulls:
    """Convex hulls in pixel-edge coordinates: one closed, clockwise chain of vertices a region, one after another.

    Attributes
    ----------
    owner, y, x : ndarray (V,)
        Region index (rising) and coordinates of each vertex.
    begin, size : ndarray (N,)
        Position of a region's first vertex, and their number.
    following : ndarray (V,)
        Position of the next vertex of the same hull.
    """

    owner: Ints
    y: Ints
    x: Ints
    begin: Ints
    size: Ints
    following: Ints


def _hulls(pixels: Pixels) -> _Hulls:
    owner, y, left, right = _row_ends(pixels)
    left_owner, left_y, left_x = _convex_chain(owner, y, -left)
    right_owner, right_y, right_x = _convex_chain(owner, y, right)
    owner = np.concatenate([right_owner, left_owner])
    y = np.concatenate([right_y, left_y])
    x = np.concatenate([right_x, -left_x])
    is_left = np.repeat([False, True], [len(right_owner), len(left_owner)])
    order = np.lexsort((np.where(is_left, -y, y), is_left, owner))
    owner = owner[order]
    size = np.bincount(owner, minlength=len(pixels.labels))
    begin = np.cumsum(size) - size
    following = np.arange(1, len(owner) + 1)
    following[begin + size - 1] = begin
    return _Hulls(owner=owner, y=y[order], x=x[order], begin=begin, size=size, following=following)


def _row_ends(pixels: Pixels) -> tuple[Ints, Ints, Ints, Ints]:
    """Leftmost and rightmost pixel corner of each region on each line between pixel rows that it touches."""
    owner = np.concatenate([pixels.index, pixels.index])
    y = np.concatenate([pixels.y, pixels.y + 1])
    x = np.concatenate([pixels.x, pixels.x])
    order = np.lexsort((x, y, owner))
    owner, y, x = owner[order], y[order], x[order]
    new = (np.diff(owner, prepend=-1) != 0) | (np.diff(y, prepend=-1) != 0)
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(x)) - 1 if len(first) else first
    return owner[first], y[first], x[first], x[last] + 1


def _convex_chain(owner: Ints, y: Ints, x: Ints) -> tuple[Ints, Ints, Ints]:
    """The points of each region's chain (y rising) that lie on the hull's side of larger x.

    A point on or behind the line from its neighbour before to its neighbour after is no vertex of the hull, whatever
    happens to those neighbours: so all such points go at once, until none is left.
    """
    while True:
        inner = np.zeros(len(owner), dtype=np.bool_)
        if len(owner) > 2:
            same = owner[:-2] == owner[2:]
            cross = (x[1:-1] - x[:-2]) * (y[2:] - y[:-2]) - (x[2:] - x[:-2]) * (y[1:-1] - y[:-2])
            inner[1:-1] = same & (cross <= 0)
        if not inner.any():
            return owner, y, x
        owner, y, x = owner[~inner], y[~inner], x[~inner]


def _hull_areas(hulls: _Hulls) -> Floats:
    """Area of each hull in square pixels, exact: ndarray (N,)."""
    after = hulls.following
    doubled = hulls.x * hulls.y[after] - hulls.x[after] * hulls.y
    return np.bincount(hulls.owner, weights=doubled, minlength=len(hulls.size)) / 2.0


def _feret(hulls: _Hulls) -> tuple[Floats, Floats]:
    """Largest distance between hull vertices and smallest width of each hull, in pixels.

    The smallest width of a convex polygon lies across one of its sides, so every side is tried with every vertex.
    """
    largest, smallest = np.zeros(len(hulls.size)), np.zeros(len(hulls.size))
    for low, high in _chunks(hulls.size**2):
        vertices = np.arange(hulls.begin[low], hulls.begin[high - 1] + hulls.size[high - 1])
        owner = hulls.owner[vertices]
        repeats = hulls.size[owner]
        row_begin = np.cumsum(repeats) - repeats
        side = np.repeat(vertices, repeats)
        other = hulls.begin[hulls.owner[side]] + np.arange(len(side)) - np.repeat(row_begin, repeats)
        y, x = hulls.y[other] - hulls.y[side], hulls.x[other] - hulls.x[side]
        side_y, side_x = hulls.y[hulls.following] - hulls.y, hulls.x[hulls.following] - hulls.x
        across = np.maximum.reduceat(np.abs(side_x[side] * y - side_y[side] * x), row_begin)
        width = across / np.hypot(side_x[vertices], side_y[vertices])
        reach = np.maximum.reduceat(y * y + x * x, row_begin)
        begin = hulls.begin[low:high] - hulls.begin[low]
        largest[low:high] = np.sqrt(np.maximum.reduceat(reach, begin))
        smallest[low:high] = np.minimum.reduceat(width, begin)
    return largest, smallest


def _chunks(cost: Ints) -> list[tuple[int, int]]:
    """Runs of consecutive regions whose cost stays near `_PAIRS_AT_ONCE`, so that memory stays bounded."""
    chunk = (np.cumsum(cost) - cost) // _PAIRS_AT_ONCE
    bounds = [*np.flatnonzero(np.diff(chunk, prepend=-1)).tolist(), len(cost)]
    return list(itertools.pairwise(bounds))
