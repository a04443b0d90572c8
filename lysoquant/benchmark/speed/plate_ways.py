"""Ways to bring the pixels of a raw plate into an OME-Zarr plate, and the least that each of them must do."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.convert.describe import describe_plate
from lysoquant.convert.judge import plane_numbers
from lysoquant.convert.params import ConvertParams, ConvertSettings, PlateSource
from lysoquant.convert.step import run, write_plate
from lysoquant.io import raw as raw_io
from lysoquant.io.arrays import BLOCK_BYTES, LEVEL, SHUFFLE
from lysoquant.io.image_writer import image_arrays
from lysoquant.io.pyramid import image_pyramid
from lysoquant.io.raw.description import Plane, RawPlate
from lysoquant.layout import Layout
from lysoquant.record import digest_file, digest_planes
from lysoquant.simulate.writers import ImageXpress
from lysoquant.vocabulary import split_well

CHANNELS: Final = ("DAPI", "LAMP1", "SEC62")
PLATE: Final = "P"
_PIXEL_SIZE_UM: Final = 0.1
_PARAMS: Final = ConvertParams()


@dataclass(frozen=True)
class Job:
    """A raw plate in ``raw`` of a folder, and the threads that may be used."""

    folder: Path
    threads: int

    @property
    def settings(self) -> ConvertSettings:
        source = PlateSource(plate=PLATE, path="raw", format="imagexpress")
        return ConvertSettings(source=source, params=_PARAMS, lysosome=CHANNELS[1])

    @property
    def layout(self) -> Layout:
        return Layout(project=self.folder, results=self.folder / "results")

    @property
    def store(self) -> Path:
        return self.layout.plate_store(PLATE)

    def described(self) -> RawPlate:
        return describe_plate(layout=self.layout, settings=self.settings)


def write_raw(folder: Path, fields: list[NDArray[np.uint16]], *, wells: int, fields_a_well: int) -> None:
    """Write a raw plate as MetaXpress does.

    Parameters
    ----------
    fields : list of (3, Y, X) arrays
        Square; they take turns, mirrored and moved, so that no two fields are equal.
    """
    names = [f"B{column:02d}" for column in range(1, wells + 1)]
    writer = ImageXpress(folder / "raw", PLATE)
    size = fields[0].shape[-1]
    writer.begin(
        wells=names,
        n_fields=fields_a_well,
        n_rows=8,
        n_columns=12,
        channels=CHANNELS,
        size_px=size,
        pixel_size_um=_PIXEL_SIZE_UM,
    )
    for number, (well, index) in enumerate(itertools.product(names, range(fields_a_well))):
        image = np.roll(fields[number % len(fields)], 37 * number, axis=2)[:, :: 1 - 2 * (number % 2)]
        writer.write_field(image, well=well, index=index, channels=CHANNELS, pixel_size_um=_PIXEL_SIZE_UM)


def reading(job: Job) -> None:
    """Every plane read, and let go."""
    _each_plane(job, raw_io.read_plane)


def compressing(job: Job) -> None:
    """Every plane read, halved to the levels of the store and compressed as there; nothing written."""
    _each_plane(job, lambda plane: _compressed(raw_io.read_plane(plane)))


def judging(job: Job) -> None:
    """The same, with the digests of file and pixels and the numbers of the plane's quality."""
    _each_plane(job, _judged)


def converting(job: Job) -> None:
    """``lysoquant convert``, as the workflow calls it."""
    described, layout = job.described(), job.layout
    wells = list(write_plate(layout=layout, plate=PLATE, settings=job.settings)["wells"])
    run(
        layout=layout,
        plate=PLATE,
        wells=wells,
        settings=job.settings,
        record=layout.batch_record(PLATE, "convert", "all"),
        cores=job.threads,
        raw={well: {path.name: "as planned" for path in described.files(well)} for well in wells},
        described=described,
    )


def by_ome_zarr(job: Job) -> None:
    """ome-zarr-py's ``write_image``, with our chunks, shards, codec and levels of means."""
    codecs = import_module("zarr.codecs")
    blosc = {"cname": "zstd", "clevel": LEVEL, "shuffle": SHUFFLE[2], "blocksize": BLOCK_BYTES}
    compressors = (codecs.BloscCodec(typesize=2, **blosc), codecs.Crc32cCodec())
    height, width = job.described().shape
    options = []
    for level in range(_PARAMS.pyramid_levels):
        size = (-(-height // 2**level), -(-width // 2**level))
        chunks = tuple(min(_PARAMS.chunk_px, edge) for edge in size)
        shards = tuple(-(-edge // chunk) * chunk for edge, chunk in zip(size, chunks, strict=True))
        options.append({"chunks": (1, *chunks), "shards": (1, *shards), "compressors": compressors})
    method = import_module("ome_zarr.scale").Methods.LOCAL_MEAN
    _by_ome_zarr(job, method=method, scale_factors=_factors(), storage_options=options)


def by_ome_zarr_as_it_comes(job: Job) -> None:
    """ome-zarr-py's ``write_image`` with its own defaults: five levels, resized; no shards."""
    _by_ome_zarr(job)


def by_ngff_zarr(job: Job) -> None:
    """ngff-zarr, with our chunks, shards and levels of means, and its own codec."""
    library = import_module("ngff_zarr")
    edge = _PARAMS.chunk_px
    for folder, planes in _fields(job):
        image = library.to_ngff_image(planes, dims=("c", "y", "x"))
        levels = library.to_multiscales(
            image,
            scale_factors=_factors(),
            method=library.Methods.DASK_BIN_SHRINK,
            chunks={"c": 1, "y": edge, "x": edge},
        )
        shards = {"c": 1, "y": -(-planes.shape[1] // edge), "x": -(-planes.shape[2] // edge)}
        library.to_ngff_zarr(folder, levels, version="0.5", chunks_per_shard=shards)


def ways() -> Mapping[str, Callable[[Job], None]]:
    """The ways by name, in the order in which they are told; others' where they are installed."""
    found: dict[str, Callable[[Job], None]] = {
        "reading alone": reading,
        "reading, levels, compressing": compressing,
        "the same, digests and quality": judging,
        "lysoquant convert": converting,
        f"ome-zarr-py {version('ome-zarr')}, as convert writes": by_ome_zarr,
        f"ome-zarr-py {version('ome-zarr')}, its defaults": by_ome_zarr_as_it_comes,
    }
    if importlib.util.find_spec("ngff_zarr") is not None:
        found[f"ngff-zarr {version('ngff-zarr')}, our chunks"] = by_ngff_zarr
    return found


def _each_plane(job: Job, work: Callable[[Plane], object]) -> None:
    planes = [plane for fields in job.described().wells.values() for field in fields for plane in _planes(field.planes)]
    with ThreadPoolExecutor(job.threads) as pool:
        for _ in pool.map(work, planes):
            pass


def _planes(channels: Mapping[str, Mapping[int, Plane]]) -> Iterator[Plane]:
    return (plane for stack in channels.values() for plane in stack.values())


def _compressed(plane: NDArray[Any]) -> int:
    """Bytes of all levels of a plane, compressed."""
    levels, shape = _PARAMS.pyramid_levels, (1, *plane.shape)
    arrays = image_arrays(
        Path(), shape, plane.dtype, levels=levels, chunk_px=_PARAMS.chunk_px, ngff_version=_PARAMS.ngff_version
    )
    pyramid = image_pyramid(plane[np.newaxis], levels=levels)
    chunks = [array.compressed(pixels[0]) for array, pixels in zip(arrays, pyramid, strict=True)]
    return sum(len(chunk) for level in chunks for chunk in level.values())


def _judged(plane: Plane) -> None:
    digest_file(plane.path)
    pixels = raw_io.read_plane(plane)
    digest_planes([pixels])
    plane_numbers(pixels, pixel_size_um=_PIXEL_SIZE_UM)
    _compressed(pixels)


def _factors() -> list[int]:
    return [2**level for level in range(1, _PARAMS.pyramid_levels)]


def _by_ome_zarr(job: Job, **settings: Any) -> None:
    writer, dask = import_module("ome_zarr.writer"), import_module("dask")
    wells = ["/".join((row, f"{column:02d}")) for row, column in map(split_well, job.described().wells)]
    rows, columns = sorted({well[0] for well in wells}), sorted({well[2:] for well in wells})
    with dask.config.set(num_workers=job.threads):
        for folder, planes in _fields(job):
            # A copy of the settings: it takes its compressors out of them.
            writer.write_image(
                planes,
                str(folder),
                axes="cyx",
                scale={"c": 1.0, "y": _PIXEL_SIZE_UM, "x": _PIXEL_SIZE_UM},
                **deepcopy(settings),
            )
    writer.write_plate_metadata(str(job.store), rows, columns, wells)
    for well in wells:
        images = sorted(path.name for path in (job.store / well).iterdir() if path.is_dir())
        writer.write_well_metadata(str(job.store / well), images)


def _fields(job: Job) -> Iterator[tuple[Path, NDArray[Any]]]:
    """Folder and pixels (C, Y, X) of each field."""
    for well, fields in job.described().wells.items():
        row, column = split_well(well)
        for index, field in enumerate(fields):
            planes = np.stack([raw_io.read_plane(plane) for plane in _planes(field.planes)])
            yield job.store / row / f"{column:02d}" / str(index), planes
