"""All measurements of one field: the rows that it gives to the region and cell tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lysoquant.channels import Channels
from lysoquant.errors import FieldError
from lysoquant.measure.columns import CARGO_AREA, region_measurements
from lysoquant.measure.distance import (
    distances_to_cell_border_um,
    distances_to_nucleus_um,
    find_nuclei,
    nearest_neighbours_um,
    perinuclear_index,
)
from lysoquant.measure.intensity import cargo_area_fractions, region_intensities
from lysoquant.measure.params import MeasureParams
from lysoquant.measure.regions import (
    Bools,
    Floats,
    Image,
    Ints,
    Labels,
    Runs,
    Values,
    bounding_boxes,
    centroids_um,
    runs_of,
    without,
)
from lysoquant.measure.shape import region_shapes

Columns = dict[str, NDArray[np.int64] | Floats | Bools]
"""Columns of equal length by name."""

_ROUNDING = 1e-9
"""A region of exactly the smallest area stays, whatever the last digit of its area in um2."""


@dataclass(frozen=True)
class Objects:
    """What segment says of the objects of a field, in the order of rising labels.

    Attributes
    ----------
    label, cell : ndarray (N,), int64
        Number in the label image `endolysosomes` and in the label image `cells`.
    p_loaded : ndarray (N,), float64
        Probability of being loaded.
    is_loaded : ndarray (N,), bool
        The class.
    others : dict of str to ndarray (N,)
        The same by other cargoes: `p_loaded_<cargo>` and `is_loaded_<cargo>`.
    """

    label: Ints
    cell: Ints
    p_loaded: Floats
    is_loaded: Bools
    others: Columns = field(default_factory=dict)


@dataclass(frozen=True)
class FieldTables:
    """Measurements of one field.

    Attributes
    ----------
    regions : dict of str to ndarray
        Columns of `endolysosomes.parquet` from `cell` on, sorted by cell and label.
    cells : dict of str to ndarray
        Columns of `cells.parquet` from `cell` on, sorted by cell.
    n_below_min_area : int
        Objects that are not in the tables since they are too small.
    cell_boxes_px : ndarray (N, 4), int64
        Top, left, bottom, right (the last two exclusive) of each cell, in the order of `cells`.
    """

    regions: Columns
    cells: Columns
    n_below_min_area: int
    cell_boxes_px: Ints


def measure_field(
    *,
    images: Mapping[str, Image],
    cells: Labels,
    labels: Labels,
    objects: Objects,
    pixel_size_um: float,
    channels: Channels,
    params: MeasureParams,
) -> FieldTables:
    """Measure the regions and cells of a field.

    Parameters
    ----------
    images : mapping of str to ndarray (Y, X)
        Raw grey values of every channel by label.
    cells, labels : ndarray (Y, X), integer
        Cells and endolysosomes; 0 is background.
    objects : Objects
        Class and cell of each endolysosome.
    pixel_size_um : float
        Edge of a pixel.
    channels : Channels
        Which channels are cargo and nucleus.
    params : MeasureParams
        Smallest area, width of the rim.

    Raises
    ------
    FieldError
        If there is no pixel size, a channel is missing, or label images, images and objects don't belong together.
    """
    _check_images(images=images, cells=cells, labels=labels, pixel_size_um=pixel_size_um, channels=channels)
    regions, own_cells = runs_of(labels), runs_of(cells)
    _check_objects(objects, regions=regions, cells=own_cells)
    kept_regions, kept = _without_small(regions, objects, pixel_size_um, params.min_area_um2)
    measured = _region_columns(
        regions=kept_regions,
        objects=kept,
        images=images,
        cells=own_cells,
        pixel_size_um=pixel_size_um,
        channels=channels,
        params=params,
    )
    order = np.lexsort((kept.label, kept.cell))
    return FieldTables(
        regions={name: values[order] for name, values in measured.items()},
        cells=_cell_columns(own_cells, images, measured, pixel_size_um, channels.other_cargoes),
        n_below_min_area=len(objects.label) - len(kept.label),
        cell_boxes_px=bounding_boxes(own_cells),
    )


def _check_images(
    *, images: Mapping[str, Image], cells: Labels, labels: Labels, pixel_size_um: float, channels: Channels
) -> None:
    if not (np.isfinite(pixel_size_um) and pixel_size_um > 0):
        raise FieldError(f"pixel size is {pixel_size_um:g} um, expected a length; give pixel_size_um in plates.tsv")
    for role, channel in channels.by_role().items():
        if channel not in images:
            raise FieldError(f"no {role} channel {channel!r}, there are {', '.join(images)}; correct channels.{role}")
    for channel in channels.other_cargoes:
        if channel not in images:
            raise FieldError(
                f"no cargo channel {channel!r}, there are {', '.join(images)}; correct channels.other_cargoes"
            )
    shapes = {plane.shape for plane in (cells, labels, *images.values())}
    if len(shapes) > 1:
        sizes = ", ".join(sorted(" x ".join(map(str, shape)) for shape in shapes))
        raise FieldError(f"image and label images differ in size ({sizes}); run `lysoquant cells` and `segment` again")


def _check_objects(objects: Objects, *, regions: Runs, cells: Runs) -> None:
    if not np.array_equal(regions.labels, objects.label):
        raise FieldError("label image endolysosomes and segment's table differ; run `lysoquant segment` again")
    if not np.isin(objects.cell, cells.labels).all():
        raise FieldError("segment's table names cells that label image cells lacks; run `lysoquant segment` again")


def _without_small(regions: Runs, objects: Objects, pixel_size_um: float, min_area_um2: float) -> tuple[Runs, Objects]:
    large = regions.sizes * pixel_size_um**2 >= min_area_um2 * (1 - _ROUNDING)
    return without(regions, ~large), Objects(
        label=objects.label[large],
        cell=objects.cell[large],
        p_loaded=objects.p_loaded[large],
        is_loaded=objects.is_loaded[large],
        others={name: values[large] for name, values in objects.others.items()},
    )


def _region_columns(
    *,
    regions: Runs,
    objects: Objects,
    images: Mapping[str, Image],
    cells: Runs,
    pixel_size_um: float,
    channels: Channels,
    params: MeasureParams,
) -> Columns:
    shapes = region_shapes(labels=regions, pixel_size_um=pixel_size_um)
    where = {
        "y_um": shapes["centroid_y_um"].astype(np.float64),
        "x_um": shapes["centroid_x_um"].astype(np.float64),
    }
    to_nucleus = np.full(len(objects.label), np.nan)
    if channels.nucleus is not None:
        nuclei = find_nuclei(cells=cells, image=images[channels.nucleus], pixel_size_um=pixel_size_um)
        to_nucleus = distances_to_nucleus_um(
            **where, cell_of_region=objects.cell, nuclei=nuclei, pixel_size_um=pixel_size_um
        )
    to_border = distances_to_cell_border_um(
        **where, cell_of_region=objects.cell, cells=cells, pixel_size_um=pixel_size_um
    )
    intensities = region_intensities(
        labels=regions, images=images, pixel_size_um=pixel_size_um, rim_width_um=params.rim_width_um
    )
    cargo_area = {
        cargo: cargo_area_fractions(labels=regions, cell_of_region=objects.cell, cells=cells, cargo=images[cargo])
        for cargo in channels.cargoes
    }
    return {
        "cell": objects.cell,
        "is_loaded": objects.is_loaded,
        "p_loaded": objects.p_loaded,
        **shapes,
        "distance_to_nucleus_um": to_nucleus,
        "distance_to_cell_border_um": to_border,
        **intensities,
        CARGO_AREA: cargo_area[channels.cargo],
        "nearest_neighbour_um": nearest_neighbours_um(**where, cell_of_region=objects.cell),
        "perinuclear_index": perinuclear_index(to_nucleus_um=to_nucleus, to_border_um=to_border),
        **objects.others,
        **{f"{CARGO_AREA}_{cargo}": cargo_area[cargo] for cargo in channels.other_cargoes},
    }


def _cell_columns(
    cells: Runs,
    images: Mapping[str, Image],
    regions: Columns,
    pixel_size_um: float,
    other_cargoes: Sequence[str],
) -> Columns:
    y_um, x_um = centroids_um(cells, pixel_size_um)
    height, width = cells.shape
    at_border = (cells.y == 0) | (cells.y == height - 1) | (cells.start == 0) | (cells.stop == width)
    cell = np.searchsorted(cells.labels, regions["cell"])
    n_cells = len(cells.labels)
    n_regions = np.bincount(cell, minlength=n_cells)
    n_loaded = np.bincount(cell[regions["is_loaded"].astype(np.bool_)], minlength=n_cells)
    others: Columns = {}
    for cargo in other_cargoes:
        count = np.bincount(cell[regions[f"is_loaded_{cargo}"].astype(np.bool_)], minlength=n_cells)
        others |= {f"n_loaded_{cargo}": count, f"occupancy_{cargo}": _ratio(count, n_regions)}
    measurements = region_measurements(list(images), other_cargoes)
    return {
        "cell": cells.labels,
        "area_um2": (cells.sizes * pixel_size_um**2).astype(np.float64),
        "centroid_y_um": y_um,
        "centroid_x_um": x_um,
        "touches_border": cells.totals(at_border) > 0,
        **{f"intensity_mean_{channel}": cells.means(image) for channel, image in images.items()},
        "n_endolysosomes": n_regions,
        "n_empty": n_regions - n_loaded,
        "n_loaded": n_loaded,
        "occupancy": _ratio(n_loaded, n_regions),
        **{f"mean_{name}": _means(regions[name], cell, n_cells) for name in measurements},
        **others,
    }


def _means(values: Values, group: Ints, n_groups: int) -> Floats:
    """Mean of the defined values of each group, NaN where there is none."""
    defined = ~np.isnan(values)
    sums = np.bincount(group[defined], weights=values[defined], minlength=n_groups)
    return _ratio(sums.astype(np.float64), np.bincount(group[defined], minlength=n_groups))


def _ratio(parts: Floats | Ints, wholes: Ints) -> Floats:
    undefined = np.full(len(wholes), np.nan)
    ratio: Floats = np.divide(parts, wholes, out=undefined, where=wholes > 0)
    return ratio
