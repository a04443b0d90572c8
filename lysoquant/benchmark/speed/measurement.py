"""Regions a second of measure, beside scikit-image and, where they are installed, cp_measure and Nyxus."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import regionprops_table

from lysoquant.benchmark.speed.parts import Scale
from lysoquant.benchmark.speed.table import Table
from lysoquant.channels import Channels
from lysoquant.measure.field import Objects, measure_field
from lysoquant.measure.intensity import region_intensities
from lysoquant.measure.params import MeasureParams
from lysoquant.measure.regions import Floats, Image, Ints, runs_of
from lysoquant.measure.shape import region_shapes

PIXEL_SIZE_UM: Final = 0.1
SIZES_PX: Final = (512, 1024, 2048)
CHANNELS: Final = Channels(lysosome="lysosome", cargo="cargo", nucleus="nucleus")
_PARAMS: Final = MeasureParams(min_area_um2=0.0)
_CELL_PX, _SPACING_PX = 200, 22
_REGIONPROPS: Final = (
    "label",
    "area",
    "perimeter",
    "solidity",
    "eccentricity",
    "axis_major_length",
    "axis_minor_length",
    "feret_diameter_max",
    "centroid",
    "intensity_mean",
)
_NYXUS: Final = (
    "AREA_PIXELS_COUNT",
    "PERIMETER",
    "SOLIDITY",
    "ECCENTRICITY",
    "ASPECT_RATIO",
    "STAT_FERET_DIAM_MAX",
    "CENTROID_X",
    "CENTROID_Y",
    "MEAN",
)
Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class CrowdedField:
    """A field without empty places, for its cost and not for its looks.

    Attributes
    ----------
    images : dict of str to ndarray (Y, X), uint16
        By channel.
    cells, labels : ndarray (Y, X), int32
        Cells side by side; ragged regions of 0.3 to 0.9 um radius in them, some cut by a cell's border.
    objects : Objects
        As segment would tell them.
    """

    images: dict[str, Image]
    cells: NDArray[np.int32]
    labels: NDArray[np.int32]
    objects: Objects


@dataclass(frozen=True)
class Row:
    """What one method took for one field.

    Attributes
    ----------
    columns : str
        What it measured.
    size_px, n_cells, n_regions : int
        The field.
    cpu_seconds : float
        Of all threads, which another program on the machine disturbs less than the clock's; the least of its repeats.
    ratio : float
        CPU seconds of scikit-image for the same field and columns over these; where it has not all of the columns, for
        the most that it has.
    difference : float or None
        Largest difference of a column whose definition is ours (area, centroid, eccentricity, intensities),
        relative where the value is above 1; None for our own.
    """

    method: str
    columns: str
    size_px: int
    n_cells: int
    n_regions: int
    cpu_seconds: float
    ratio: float
    difference: float | None

    @property
    def regions_a_second(self) -> float:
        """Regions measured in a second of one thread."""
        return self.n_regions / self.cpu_seconds


def crowded_field(size_px: int, *, seed: int = 0) -> CrowdedField:
    """A square field full of cells of 20 um and regions at every 2.2 um."""
    rng = np.random.default_rng(seed)
    n_cells = max(size_px // _CELL_PX, 1) ** 2
    centres = _jittered(rng, size_px / np.sqrt(n_cells), round(np.sqrt(n_cells)))
    places = np.indices((size_px, size_px)).reshape(2, -1).T
    distance, nearest = (np.reshape(each, (size_px, size_px)) for each in cKDTree(centres).query(places))
    cells = np.where(distance < 0.6 * _CELL_PX, nearest + 1, 0).astype(np.int32)
    labels = _ragged_regions(rng, cells)
    known, first = np.unique(labels, return_index=True)
    labelled, first = known[1:].astype(np.int64), first[1:]
    is_loaded = rng.random(len(labelled)) < 0.4
    loaded = np.isin(labels, labelled[is_loaded])
    planes = {
        CHANNELS.lysosome: 200 + 600 * ndimage.gaussian_filter((labels > 0).astype(np.float64), 1.0),
        CHANNELS.cargo: 100
        + rng.uniform(0, 300, n_cells + 1)[cells]
        + 800 * ndimage.gaussian_filter(loaded * 1.0, 1.0),
        "nucleus": np.where(distance < 50, 900.0, 100.0),
    }
    return CrowdedField(
        images={channel: rng.poisson(plane).astype(np.uint16) for channel, plane in planes.items()},
        cells=cells,
        labels=labels,
        objects=Objects(
            label=labelled,
            cell=cells.ravel()[first].astype(np.int64),
            p_loaded=np.where(is_loaded, 0.9, 0.1),
            is_loaded=is_loaded,
        ),
    )


def _jittered(rng: np.random.Generator, spacing: float, count: int) -> Floats:
    """Points (y, x) about the middles of the squares of a grid: ndarray (count^2, 2)."""
    grid = np.indices((count, count)).reshape(2, -1).T
    points: Floats = (grid + 0.5 + rng.uniform(-0.25, 0.25, grid.shape)) * spacing
    return points


def _ragged_regions(rng: np.random.Generator, cells: NDArray[np.int32]) -> NDArray[np.int32]:
    size = len(cells)
    centres = _jittered(rng, _SPACING_PX, size // _SPACING_PX)
    reach = np.arange(-12, 13)
    offsets = np.stack(np.meshgrid(reach, reach, indexing="ij"))
    places = np.rint(centres).astype(np.int64)[:, :, np.newaxis, np.newaxis] + offsets
    y, x = np.moveaxis(places - centres[:, :, np.newaxis, np.newaxis], 1, 0)
    radius, phase, depth = (
        rng.uniform(3, 9, len(centres)),
        rng.uniform(0, 6.3, len(centres)),
        rng.uniform(0, 0.3, len(centres)),
    )
    turn = 3 * np.arctan2(y, x) + phase[:, np.newaxis, np.newaxis]
    edge = radius[:, np.newaxis, np.newaxis] * (1 + depth[:, np.newaxis, np.newaxis] * np.cos(turn))
    owner, row, column = np.nonzero(np.hypot(y, x) < edge)
    row, column = places[owner, 0, row, column], places[owner, 1, row, column]
    inside = (row >= 0) & (column >= 0) & (row < size) & (column < size)
    own_cell = cells[tuple(np.rint(centres).astype(np.int64).clip(0, size - 1).T)]
    labels = np.zeros(cells.shape, dtype=np.int32)
    labels[row[inside], column[inside]] = owner[inside] + 1
    labels[(np.append(0, own_cell)[labels] != cells) | (cells == 0)] = 0
    return labels


def shapes_and_means(field: CrowdedField) -> dict[str, NDArray[Any]]:
    """Our columns of shape and mean intensity, for which scikit-image has columns too."""
    regions = runs_of(field.labels)
    means = {f"intensity_mean_{channel}": regions.means(image) for channel, image in field.images.items()}
    return {**region_shapes(labels=regions, pixel_size_um=PIXEL_SIZE_UM), **means}


def shapes_and_rims(field: CrowdedField) -> dict[str, NDArray[Any]]:
    """The same, and the means of rim and lumen."""
    regions = runs_of(field.labels)
    means = region_intensities(
        labels=regions, images=field.images, pixel_size_um=PIXEL_SIZE_UM, rim_width_um=_PARAMS.rim_width_um
    )
    return {**region_shapes(labels=regions, pixel_size_um=PIXEL_SIZE_UM), **means}


def all_columns(field: CrowdedField) -> dict[str, NDArray[Any]]:
    """Every column of regions and cells, by the function that the stage calls."""
    tables = measure_field(
        images=field.images,
        cells=field.cells,
        labels=field.labels,
        objects=field.objects,
        pixel_size_um=PIXEL_SIZE_UM,
        channels=CHANNELS,
        params=_PARAMS,
    )
    order = np.argsort(tables.regions["label"])
    return {name: values[order] for name, values in tables.regions.items()}


def by_scikit_image(field: CrowdedField) -> dict[str, NDArray[Any]]:
    """``skimage.measure.regionprops_table``, all channels in one call."""
    return _scikit_image_columns(field, _regionprops(field))


def by_scikit_image_with_rims(field: CrowdedField) -> dict[str, NDArray[Any]]:
    """The same with rim and lumen as an extra property, whose distance transform is made once a region."""
    found = _regionprops(field, _rim_and_lumen())
    rims = {
        f"{kind}_mean_{channel}": found[f"rim_and_lumen-{row}-{column}"]
        for row, kind in enumerate(("rim", "lumen"))
        for column, channel in enumerate(field.images)
    }
    return {**_scikit_image_columns(field, found), **rims}


def _regionprops(field: CrowdedField, *extra: Callable[..., Any]) -> dict[str, NDArray[Any]]:
    planes = np.stack([*field.images.values()], axis=-1)
    found: dict[str, NDArray[Any]] = regionprops_table(  # type: ignore[no-untyped-call]
        field.labels, planes, properties=_REGIONPROPS, extra_properties=extra or None
    )
    return found


def _scikit_image_columns(field: CrowdedField, found: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return _ours(
        label=found["label"],
        area=found["area"],
        eccentricity=found["eccentricity"],
        centroid=(found["centroid-0"], found["centroid-1"]),
        means={channel: found[f"intensity_mean-{place}"] for place, channel in enumerate(field.images)},
    )


def _rim_and_lumen() -> Callable[[NDArray[np.bool_], Image], Floats]:
    """Extra property of a region, which scikit-image asks for channel by channel with the same mask each time."""
    last: list[NDArray[np.bool_]] = []

    def rim_and_lumen(mask: NDArray[np.bool_], plane: Image) -> Floats:
        if not last or last[0] is not mask:
            depth_px = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1] - 0.5
            rim = mask & (depth_px * PIXEL_SIZE_UM < _PARAMS.rim_width_um)
            last[:] = [mask, rim, mask & ~rim]
        return np.array([plane[part].mean() if part.any() else np.nan for part in last[1:]])

    return rim_and_lumen


def by_cp_measure(field: CrowdedField) -> dict[str, NDArray[Any]]:
    """CellProfiler's measurements: shape, Feret and intensity as groups, which hold more columns than are asked for."""
    groups = import_module("cp_measure.bulk").get_core_measurements()
    numbers = runs_of(field.labels).numbered
    planes = {channel: image.astype(np.float64) for channel, image in field.images.items()}
    any_plane = next(iter(planes.values()))
    shape = groups["sizeshape"](numbers, any_plane)
    groups["feret"](numbers, any_plane)
    means = {
        channel: np.asarray(groups["intensity"](numbers, plane)["Intensity_MeanIntensity"])
        for channel, plane in planes.items()
    }
    return _ours(
        label=np.unique(field.labels[field.labels > 0]),
        area=np.asarray(shape["Area"]),
        eccentricity=np.asarray(shape["Eccentricity"]),
        centroid=(np.asarray(shape["Center_Y"]), np.asarray(shape["Center_X"])),
        means=means,
    )


def by_nyxus(field: CrowdedField) -> dict[str, NDArray[Any]]:
    """Nyxus, as it ships: four threads, one call a channel, the shapes in the first only."""
    nyxus = import_module("nyxus").Nyxus
    channels = [*field.images]
    first = nyxus([*_NYXUS]).featurize(field.images[channels[0]], field.labels).sort_values("ROI_label")
    means = {channels[0]: first["MEAN"].to_numpy()}
    for channel in channels[1:]:
        found = nyxus(["MEAN"]).featurize(field.images[channel], field.labels).sort_values("ROI_label")
        means[channel] = found["MEAN"].to_numpy()
    return _ours(
        label=first["ROI_label"].to_numpy(),
        area=first["AREA_PIXELS_COUNT"].to_numpy(),
        eccentricity=None,  # of an ellipse that it defines otherwise
        centroid=(first["CENTROID_Y"].to_numpy(), first["CENTROID_X"].to_numpy()),
        means=means,
    )


def _ours(
    *,
    label: Ints,
    area: NDArray[Any],
    eccentricity: NDArray[Any] | None,
    centroid: tuple[NDArray[Any], NDArray[Any]],
    means: Mapping[str, NDArray[Any]],
) -> dict[str, NDArray[Any]]:
    """Columns of another program, in pixels, under our names and in our units."""
    columns = {
        "label": label,
        "area_um2": area * PIXEL_SIZE_UM**2,
        "centroid_y_um": centroid[0] * PIXEL_SIZE_UM,
        "centroid_x_um": centroid[1] * PIXEL_SIZE_UM,
        **{f"intensity_mean_{channel}": values for channel, values in means.items()},
    }
    return columns if eccentricity is None else {**columns, "eccentricity": eccentricity}


_OTHERS: Final[Mapping[str, Callable[[CrowdedField], dict[str, NDArray[Any]]]]] = {
    "cp_measure": by_cp_measure,
    "nyxus": by_nyxus,
}
_PACKAGES: Final = {
    "lysoquant": "lysoquant",
    "scikit-image": "scikit-image",
    "cp_measure": "cp-measure",
    "nyxus": "nyxus",
}
_SAME: Final = "shape, mean intensity"
_RIMS: Final = "the same, rim and lumen"
_ALL: Final = "all of both tables"


def measure(scale: Scale) -> list[Table]:
    """Fields of rising size, a table each, by every method there is.

    cp_measure and Nyxus are tried where they can be imported; lysoquant needs neither.
    """
    return [_table(compare(crowded_field(size_px), repeats=scale.repeats)) for size_px in SIZES_PX]


def compare(field: CrowdedField, *, repeats: int) -> list[Row]:
    """All methods on one field, ours first; the repeats of all take turns, so that another load hits all alike."""
    methods: dict[tuple[str, str], Callable[[CrowdedField], dict[str, NDArray[Any]]]] = {
        ("lysoquant", _SAME): shapes_and_means,
        ("lysoquant", _RIMS): shapes_and_rims,
        ("lysoquant", _ALL): all_columns,
        ("scikit-image", _SAME): by_scikit_image,
        ("scikit-image", _RIMS): by_scikit_image_with_rims,
        **{(name, _SAME): method for name, method in _OTHERS.items() if importlib.util.find_spec(name) is not None},
    }
    found: dict[tuple[str, str], Columns] = {}
    seconds = dict.fromkeys(methods, np.inf)
    for _ in range(repeats):
        for key, method in methods.items():
            began = time.process_time()
            found[key] = method(field)
            seconds[key] = min(seconds[key], time.process_time() - began)
    ours = found["lysoquant", _ALL]
    return [
        Row(
            method=name,
            columns=columns,
            size_px=len(field.labels),
            n_cells=int(field.cells.max()),
            n_regions=len(field.objects.label),
            cpu_seconds=seconds[name, columns],
            ratio=seconds["scikit-image", _SAME if columns == _SAME else _RIMS] / seconds[name, columns],
            difference=None if name == "lysoquant" else _difference(ours, found[name, columns]),
        )
        for name, columns in methods
    ]


def _difference(ours: Columns, others: Columns) -> float:
    largest = 0.0
    for name, values in others.items():
        apart = np.abs(values - ours[name]) / np.maximum(np.abs(ours[name]), 1.0)
        missing = np.isnan(values), np.isnan(ours[name])
        apart[missing[0] | missing[1]] = np.inf
        apart[missing[0] & missing[1]] = 0.0
        largest = max(largest, float(apart.max(initial=0.0)))
    return largest


def _table(rows: Sequence[Row]) -> Table:
    first = rows[0]
    return Table(
        f"{first.size_px}² pixels, {first.n_cells} cells, {first.n_regions:,} regions",
        tuple(
            {
                "method": f"{row.method} {version(_PACKAGES[row.method])}",
                "columns": row.columns,
                "CPU seconds": row.cpu_seconds,
                "regions a second": row.regions_a_second,
                "times scikit-image": row.ratio,
                "difference": "" if row.difference is None else f"{row.difference:.0e}",
            }
            for row in rows
        ),
    )
