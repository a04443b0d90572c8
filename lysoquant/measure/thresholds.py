"""Otsu's threshold of every object of a field at once."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.measure.regions import Floats, Ints, Runs, Values

Reals = NDArray[np.floating]

_BINS: Final = 256
_DENSE: Final = 4
"""Keys are counted in a table rather than sorted where it has at most so many places a pixel."""
_BLOCK: Final = 1 << 15
"""Pixels at a time, so that what is computed of them stays in the processor's cache."""


def otsu_thresholds(objects: Runs, values: Values) -> Floats:
    """The value between the darker and the brighter pixels of each object.

    Whole numbers have a bin each, others 256 bins from the object's least to its largest value.

    Parameters
    ----------
    objects : Runs
        N objects of fewer than 2^24 pixels each.
    values : ndarray (M,)
        The value of each pixel, in the order of ``objects.pixels``.

    Returns
    -------
    ndarray (N,), float64
        To the last bit those of ``skimage.filters.threshold_otsu``, object by object.

    References
    ----------
    .. [1] Otsu, IEEE Trans. Syst. Man Cybern. 9, 62 (1979).
    """
    if not len(values):
        return np.zeros(len(objects.labels))
    if np.issubdtype(values.dtype, np.integer):
        return _of_whole_numbers(objects, values.astype(np.int64))
    return _of_reals(objects, np.asarray(values, dtype=np.result_type(values, np.float16)))


def _of_whole_numbers(objects: Runs, values: Ints) -> Floats:
    lowest = int(values.min())
    span = int(values.max()) - lowest + 1
    keys, counts = _tally(objects.index * span + (values - lowest), n_places=len(objects.labels) * span)
    owner, centres = keys // span, keys % span + lowest
    begin = np.flatnonzero(np.diff(owner, prepend=-1) != 0)
    last = np.append(begin[1:], len(keys)) - 1
    below, sum_below = (_running(each, begin, owner) for each in (counts, counts * centres))
    above, sum_above = (
        (each[last])[owner] - each + own for each, own in ((below, counts), (sum_below, counts * centres))
    )
    between = _between(
        below[:-1].astype(np.float32),
        above[1:].astype(np.float32),
        sum_below[:-1] / below[:-1],
        sum_above[1:] / above[1:],
    )
    # The last bin of an object divides nothing; it stands only where it is the only one.
    between = np.append(between, -1.0)
    between[last] = -1.0
    largest = np.maximum.reduceat(between, begin)
    best = np.flatnonzero(between == largest[owner])
    first = best[np.unique(owner[best], return_index=True)[1]]
    return centres[first].astype(np.float64)


def _tally(keys: Ints, *, n_places: int) -> tuple[Ints, Ints]:
    """The different keys, rising, and how often each is there."""
    if n_places > _DENSE * len(keys):
        found, counts = np.unique(keys, return_counts=True)
        return found, counts.astype(np.int64)
    table = np.bincount(keys)
    found = np.flatnonzero(table)
    return found, table[found]


def _running(values: Ints, begin: Ints, owner: Ints) -> Ints:
    """Sum of the values of an object up to each."""
    sums = np.cumsum(values)
    running: Ints = sums - (sums - values)[begin][owner]
    return running


def _of_reals(objects: Runs, values: Reals) -> Floats:
    least, largest = _extremes(objects, values)
    flat = least == largest
    edges = np.linspace(
        least, np.where(flat, np.nextafter(least, np.inf), largest), _BINS + 1, axis=1, dtype=values.dtype
    )
    counts = _histograms(objects, values, edges).astype(np.float32)
    centres = (edges[:, :-1] + edges[:, 1:]) / 2
    moments = counts * centres
    below, above = np.cumsum(counts, axis=1), np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(invalid="ignore"):  # an object of one value has nothing above
        mean_below = np.cumsum(moments, axis=1) / below
        mean_above = np.cumsum(moments[:, ::-1], axis=1)[:, ::-1] / above
    between = _between(below[:, :-1], above[:, 1:], mean_below[:, :-1], mean_above[:, 1:])
    chosen = centres[np.arange(len(centres)), np.argmax(between, axis=1)]
    return np.where(flat, least, chosen).astype(np.float64)


def _extremes(objects: Runs, values: Reals) -> tuple[Reals, Reals]:
    """Least and largest value of each object."""
    lengths = objects.lengths
    of_run = np.cumsum(lengths) - lengths
    least, largest = values[:1].repeat(len(objects.labels)), values[:1].repeat(len(objects.labels))
    least[:], largest[:] = np.inf, -np.inf
    np.minimum.at(least, objects.owner, np.minimum.reduceat(values, of_run))
    np.maximum.at(largest, objects.owner, np.maximum.reduceat(values, of_run))
    return least, largest


def _histograms(objects: Runs, values: Reals, edges: Reals) -> Ints:
    """How many of an object's values lie in each of its bins, the last of which holds its upper edge too: (N, bins)."""
    n_objects = len(edges)
    least, width, borders = edges[:, 0], edges[:, -1] - edges[:, 0], edges.ravel()
    counts = np.zeros(n_objects * _BINS, dtype=np.int64)
    for begin in range(0, len(values), _BLOCK):
        block, index = values[begin : begin + _BLOCK], objects.index[begin : begin + _BLOCK]
        bins = ((block - least[index]) / width[index] * _BINS).astype(np.int64)
        np.minimum(bins, _BINS - 1, out=bins)
        # Rounding can miss by one: the edges decide.
        place = index * (_BINS + 1) + bins
        bins -= block < borders[place]
        bins += (block >= borders[place + 1]) & (bins < _BINS - 1)
        bins += index * _BINS
        first = int(bins.min())
        found = np.bincount(bins - first)
        counts[first : first + len(found)] += found
    return counts.reshape(n_objects, _BINS)


def _between(below: Reals, above: Reals, mean_below: Reals, mean_above: Reals) -> Reals:
    """Variance between the pixels below and above, times the number of pixels squared."""
    variance: Reals = below * above * (mean_below - mean_above) ** 2
    return variance
