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

from lysoquant.measure.regions import (
    Bools,
    Floats,
    Ints,
    Labels,
    Runs,
    bounding_boxes,
    centroids_um,
    largest_parts,
    runs_of,
)

_RIGHT, _UP, _LEFT, _DOWN = range(4)
_CORNER_PX = 2.0 - np.sqrt(2.0)
"""What ImageJ takes off the outline's length for a corner: two sides of a pixel become its diagonal."""
_MOMENT_OF_PIXEL, _EPSILON, _HALF_PI = 0.08333333, 0.000001, 1.5707963267949
"""ImageJ's constants of the ellipse: second moment of a pixel about its own centre, what stands for zero, pi / 2."""
_PAIRS_AT_ONCE = 2_000_000


def region_shapes(*, labels: Labels | Runs, pixel_size_um: float) -> dict[str, NDArray[np.int64] | Floats]:
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
    regions = runs_of(labels)
    parts = largest_parts(regions)
    part_area_px = parts.sizes.astype(np.float64)
    perimeter_px = _perimeters(_outlines(parts), len(part_area_px))
    hulls = _hulls(parts)
    feret_px, min_feret_px = _feret(hulls)
    y_um, x_um = centroids_um(regions, pixel_size_um)
    moments = _moments(regions)
    aspect_ratio = _aspect_ratios(moments)
    return {
        "label": regions.labels,
        "area_um2": regions.sizes * pixel_size_um**2,
        "perimeter_um": perimeter_px * pixel_size_um,
        "circularity": np.minimum(4.0 * np.pi * part_area_px / perimeter_px**2, 1.0),
        "solidity": part_area_px / _hull_areas(hulls),
        "eccentricity": _eccentricities(moments),
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
    objects = runs_of(parts)
    if not len(objects.labels):
        return []
    outlines = _outlines(objects)
    begin = np.flatnonzero(np.diff(outlines.owner, prepend=-1) != 0)
    turns = np.append(True, np.diff(outlines.direction) != 0)
    turns[begin] = True
    steps = np.array([[1, 0], [0, -1], [-1, 0], [0, 1]])[outlines.direction]
    before = np.cumsum(steps, axis=0) - steps
    begins_at = np.stack([objects.start[objects.first], objects.y[objects.first]], axis=1) - before[begin]
    places = before + begins_at[outlines.owner]
    # The wand's first vertex is the third corner: see _perimeters.
    return [
        np.roll(corners[turned], -2, axis=0)
        for corners, turned in zip(np.split(places, begin[1:]), np.split(turns, begin[1:]), strict=True)
    ]


@dataclass(frozen=True)
class _Moments:
    """Sums over the pixel centres of each region, from the upper left corner of its bounding box: whole numbers.

    Attributes
    ----------
    count, y, x, yy, xx, xy : ndarray (N,), float64
    """

    count: Floats
    y: Floats
    x: Floats
    yy: Floats
    xx: Floats
    xy: Floats


def filled(parts: Runs) -> Runs:
    """8-connected parts with their holes: runs in the order of the parts, which overlap where a part holds another."""
    edges = _edges(parts)
    upright = edges.outer & (edges.direction % 2 == 1)
    pitch = parts.shape[1] + 2
    owner, y = edges.owner[upright], edges.pixel[upright] // pitch - 1
    # A row of an outline goes in over a left side, walked up, and comes out over a right one.
    x = edges.pixel[upright] % pitch - 1 + (edges.direction[upright] == _DOWN)
    order = np.lexsort((x, y, owner))
    start, stop = order[::2], order[1::2]
    return Runs(parts.shape, parts.labels, owner[start], y=y[start], start=x[start], stop=x[stop])


def _moments(regions: Runs) -> _Moments:
    top, left = bounding_boxes(regions)[:, :2].T
    y = regions.y - top[regions.owner]
    start, stop = regions.start - left[regions.owner], regions.stop - left[regions.owner]
    lengths = stop - start
    sum_x = (start + stop - 1) * lengths // 2
    return _Moments(
        count=regions.sizes.astype(np.float64),
        y=regions.totals(y * lengths),
        x=regions.totals(sum_x),
        yy=regions.totals(y * y * lengths),
        xx=regions.totals(_squares_below(stop) - _squares_below(start)),
        xy=regions.totals(y * sum_x),
    )


def _squares_below(number: Ints) -> Ints:
    """Sum of the squares of all whole numbers below each."""
    sums: Ints = (number - 1) * number * (2 * number - 1) // 6
    return sums


def _eccentricities(of: _Moments) -> Floats:
    yy = of.count * of.yy - of.y * of.y
    xx = of.count * of.xx - of.x * of.x
    xy = of.count * of.xy - of.x * of.y
    half_trace = (yy + xx) / 2.0
    half_gap = np.sqrt(((yy - xx) / 2.0) ** 2 + xy**2)
    major, minor = half_trace + half_gap, np.maximum(half_trace - half_gap, 0.0)
    ratio = np.divide(minor, major, out=np.ones_like(major), where=major > 0)
    eccentricities: Floats = np.sqrt(1.0 - ratio)
    return eccentricities


def _aspect_ratios(of: _Moments) -> Floats:
    """Aspect ratio of each region step by step as ImageJ's EllipseFitter computes it (Bob Rodieck, 1991 to 2012).

    ImageJ finds the ellipse's angle first and the axes from it. Where the region is symmetric the angle rests on
    rounding, and the ratio is off by up to some percent for a region of a few pixels. Numbers are to be ImageJ's, so
    the steps are its own, constants and order of operations too; `eccentricity` has the exact moments.
    """
    count = of.count
    x1, y1 = of.x / count, of.y / count
    xx = (of.xx + _MOMENT_OF_PIXEL * count) / count - x1 * x1
    yy = (of.yy + _MOMENT_OF_PIXEL * count) / count - y1 * y1
    xy = of.xy / count - x1 * y1
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


@dataclass(frozen=True)
class _Edges:
    """Sides of pixels that face another part or the background, in the order of their pixels: ndarrays (E,).

    Attributes
    ----------
    pixel, direction, owner : ndarray, int64
        Pixel in the image padded by 1, direction as of `_Outlines`, index of the part.
    outer : ndarray, bool
        Whether the edge is of an outer outline; others go around holes.
    to_go : ndarray, int64
        How many edges of the outer outline follow.
    """

    pixel: Ints
    direction: Ints
    owner: Ints
    outer: Bools
    to_go: Ints


def _outlines(parts: Runs) -> _Outlines:
    edges = _edges(parts)
    owner, direction, to_go = (each[edges.outer] for each in (edges.owner, edges.direction, edges.to_go))
    n_edges = np.bincount(owner, minlength=len(parts.labels))
    walked = np.empty(len(owner), dtype=np.int64)
    walked[(np.cumsum(n_edges) - 1)[owner] - to_go] = direction
    return _Outlines(owner=np.repeat(np.arange(len(n_edges)), n_edges), direction=walked)


def _edges(parts: Runs) -> _Edges:
    padded = np.pad(parts.numbered, 1)
    flat = padded.ravel()
    pitch = padded.shape[1]
    step = np.array([1, -pitch, -1, pitch])
    begin = (parts.y + 1) * pitch + parts.start + 1
    below = np.flatnonzero(flat[pitch:] != flat[:-pitch]) + pitch
    above = below - pitch
    # An edge that is walked in direction d with its pixel on the right has the pixel to the left of d outside.
    keys = np.sort(
        np.concatenate(
            [
                below[flat[below] > 0] * 4 + _RIGHT,
                begin * 4 + _UP,
                above[flat[above] > 0] * 4 + _LEFT,
                (begin + parts.lengths - 1) * 4 + _DOWN,
            ]
        )
    )
    pixel, direction = keys >> 2, keys & 3
    owner = flat[pixel].astype(np.int64) - 1
    following = np.searchsorted(keys, _successors(flat, pixel, direction, step))
    head = np.searchsorted(keys, begin[parts.first] * 4 + _RIGHT)
    outer, to_go = _distance_to_end(following, head, owner)
    return _Edges(pixel, direction, owner, outer, to_go)


def _successors(flat: NDArray[np.int32], pixel: Ints, direction: Ints, step: Ints) -> Ints:
    """Key of each edge's successor: left where the region goes on across the corner, else straight on, else right."""
    left, right = (direction + 1) & 3, (direction + 3) & 3
    own = flat[pixel]
    ahead = pixel + step[direction]
    across = ahead + step[left]
    onward = np.where(flat[ahead] == own, ahead * 4 + direction, pixel * 4 + right)
    return np.where(flat[across] == own, across * 4 + left, onward)


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
    order = np.empty(len(corner), dtype=np.int64)
    order[first_corner[corner_owner] + place] = np.arange(len(corner))
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


def _hulls(parts: Runs) -> _Hulls:
    owner, y, left, right = _row_ends(parts)
    left_owner, left_y, left_x = _convex_chain(owner, y, -left)
    right_owner, right_y, right_x = _convex_chain(owner, y, right)
    n_left, n_right = (np.bincount(each, minlength=len(parts.labels)) for each in (left_owner, right_owner))
    size = n_left + n_right
    begin = np.cumsum(size) - size
    # Down the right side, then up the left one.
    at_right = np.arange(len(right_y)) + (np.cumsum(n_left) - n_left)[right_owner]
    at_left = (np.cumsum(size) + np.cumsum(n_left) - n_left - 1)[left_owner] - np.arange(len(left_y))
    corner_y, corner_x = np.empty(len(at_right) + len(at_left), dtype=np.int64), np.empty(int(size.sum()), np.int64)
    corner_y[at_right], corner_y[at_left] = right_y, left_y
    corner_x[at_right], corner_x[at_left] = right_x, -left_x
    following = np.arange(1, len(corner_y) + 1)
    following[begin + size - 1] = begin
    return _Hulls(np.repeat(np.arange(len(size)), size), corner_y, corner_x, begin, size, following)


def _row_ends(parts: Runs) -> tuple[Ints, Ints, Ints, Ints]:
    """Leftmost and rightmost pixel corner of each part on each line between pixel rows that it touches.

    An 8-connected part has pixels in every row from its first to its last, so that n rows touch n + 1 lines.
    """
    order = np.argsort(parts.owner, kind="stable")
    owner, y = parts.owner[order], parts.y[order]
    new_row = np.flatnonzero((np.diff(owner, prepend=-1) != 0) | (np.diff(y, prepend=-1) != 0))
    last_of_row = np.append(new_row[1:], len(owner)) - 1 if len(new_row) else new_row
    owner, y = owner[new_row], y[new_row]
    start, stop = parts.start[order][new_row], parts.stop[order][last_of_row]
    n_lines = np.bincount(owner, minlength=len(parts.labels)) + 1
    upper = np.arange(len(owner)) + owner
    lower = upper + 1
    left = np.full(int(n_lines.sum()), parts.shape[1])
    right = np.zeros(len(left), dtype=np.int64)
    left[upper], right[upper] = start, stop
    left[lower], right[lower] = np.minimum(left[lower], start), np.maximum(right[lower], stop)
    lines = np.empty(len(left), dtype=np.int64)
    lines[upper], lines[lower] = y, y + 1
    return np.repeat(np.arange(len(n_lines)), n_lines), lines, left, right


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
        other = np.arange(int(repeats.sum())) + np.repeat(hulls.begin[owner] - row_begin, repeats)
        y = hulls.y[other] - np.repeat(hulls.y[vertices], repeats)
        x = hulls.x[other] - np.repeat(hulls.x[vertices], repeats)
        after = hulls.following[vertices]
        side_y, side_x = hulls.y[after] - hulls.y[vertices], hulls.x[after] - hulls.x[vertices]
        cross = np.abs(np.repeat(side_x, repeats) * y - np.repeat(side_y, repeats) * x)
        across = np.maximum.reduceat(cross, row_begin)
        width = across / np.hypot(side_x, side_y)
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
