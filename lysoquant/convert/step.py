"""convert: a raw plate becomes one OME-Zarr store."""

from __future__ import annotations

import functools
import math
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lysoquant.convert.assemble import assemble
from lysoquant.convert.describe import describe_plate, description_digest, positions, relative
from lysoquant.convert.params import ConvertParams, ConvertSettings
from lysoquant.convert.quality import detail_fraction, focus_score, saturated_fraction, signal_to_background
from lysoquant.errors import FieldError, PlateError, StageError, UnreachedFileError
from lysoquant.files import size_and_time
from lysoquant.io import raw as raw_io
from lysoquant.io.raw.description import Field, Plane, RawPlate
from lysoquant.io.raw.ome_zarr import InPlace, in_place
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.layout import Layout
from lysoquant.record import (
    Json,
    WellOutcome,
    digest_array,
    digest_image_file,
    digest_json,
    failed_field,
    field_report,
    read_json,
    run_batch,
    versions,
    write_json,
)
from lysoquant.units import pixel_size_verdict
from lysoquant.vocabulary import FLAGGED, OK


def write_plate(*, layout: Layout, plate: str, settings: ConvertSettings) -> Json:
    """Write the metadata of a plate and its wells, once, before any well is converted.

    Parameters
    ----------
    layout : Layout
        Where the project lies.
    plate : str
        Plate name.
    settings : ConvertSettings
        Where the raw plate lies and how it is read and stored.

    Returns
    -------
    dict
        What the raw plate is: ``channels``, ``wells`` (names of the fields by well), ``n_rows``, ``n_columns``,
        ``pixel_size_um``, ``shape``, ``notes``, ``files`` (identity of the files that several wells share, which are
        so read once and not once a well), ``seconds``, ``versions``. The same is left in
        ``records/convert/plate.json``, which is only touched where anything but the last two changes.

    Raises
    ------
    PlateError
        If the raw plate can't be described or the store's place is taken.
    """
    started = time.perf_counter()
    described = describe_plate(layout=layout, settings=settings)
    wells = {well: positions(described, well) for well in described.wells}
    PlateStore.create(
        layout.plate_store(plate),
        name=plate,
        wells={well: len(found) for well, found in wells.items()},
        n_rows=described.n_rows,
        n_columns=described.n_columns,
        ngff_version=settings.params.ngff_version,
    )
    record: Json = {
        "stage": "convert",
        "plate": plate,
        "name": described.name,
        "format": described.format,
        "source": settings.source.path,
        "channels": list(described.channels),
        "wells": {well: [position.name for position in found] for well, found in wells.items()},
        "n_rows": described.n_rows,
        "n_columns": described.n_columns,
        "pixel_size_um": described.pixel_size_um,
        "shape": list(described.shape),
        "ngff_version": settings.params.ngff_version,
        "notes": [*described.notes, *_in_place_notes(described, settings.params)],
        "files": _shared_files(layout, plate, described),
    }
    old = read_json(layout.plate_record(plate)) or {}
    if {key: old.get(key) for key in record} == record:
        return old
    record |= {"seconds": round(time.perf_counter() - started, 6), "versions": versions()}
    write_json(layout.plate_record(plate), record)
    return record


def run(
    *,
    layout: Layout,
    plate: str,
    wells: Sequence[str],
    settings: ConvertSettings,
    record: Path,
    cores: int = 1,
    raw: Mapping[str, Json] | None = None,
) -> Json:
    """Convert the wells of a batch whose raw files or settings changed.

    Parameters
    ----------
    layout : Layout
        Where the project lies.
    plate : str
        Plate name; :func:`write_plate` must have been run for it.
    wells : sequence of str
        Canonical names of the batch's wells.
    settings : ConvertSettings
        Where the raw plate lies and how it is read and stored.
    record : pathlib.Path
        Where the batch record goes.
    cores : int
        Wells that are converted at a time.
    raw : mapping of str to dict, optional
        Identity of the raw files by well, as :meth:`Layout.raw_record` keeps it; taken from the files' names, sizes
        and contents where it is not given.

    Returns
    -------
    dict
        The batch record. A field reports ``focus_score`` (median of its channels) and ``saturated_fraction`` (largest
        of its channels).

    Raises
    ------
    StageError
        If the plate's metadata are not written yet, or a field fails under ``on_bad_field: fail``.
    PlateError
        If the raw plate can't be described.
    """
    described = describe_plate(layout=layout, settings=settings)
    store = _open_store(layout, plate, wells, described, settings.params)
    source = layout.project / settings.source.path
    identities = _Identities(layout, plate)
    batch = _Batch(
        layout=layout,
        plate=plate,
        described=described,
        store=store,
        settings=settings,
        identities=identities,
        planned={well: frozenset(raw[well]) for well in wells} if raw is not None else {},
    )

    def work(todo: list[str]) -> Iterator[tuple[str, WellOutcome]]:
        with ThreadPoolExecutor(max_workers=max(1, cores)) as pool:
            yield from zip(todo, pool.map(batch.convert_well, todo), strict=True)

    return run_batch(
        stage="convert",
        layout=layout,
        plate=plate,
        wells=wells,
        parameters=settings.model_dump(mode="json"),
        inputs={
            well: {
                "raw": _raw_inputs(described.files(well), source, identities) if raw is None else raw[well],
                "description": description_digest(described, well, source),
            }
            for well in wells
        },
        work=work,
        record=record,
    )


@dataclass(frozen=True)
class _Image:
    """What was read of a field."""

    planes: npt.NDArray[Any]
    pixel_size_um: float
    report: Json
    z: Mapping[str, list[int]]


@dataclass(frozen=True)
class _Batch:
    """What the wells of a batch have in common."""

    layout: Layout
    plate: str
    described: RawPlate
    store: PlateStore
    settings: ConvertSettings
    identities: _Identities
    planned: Mapping[str, frozenset[str]]
    """Names of the raw files by well, as they were when the run began; empty where nobody looked."""

    def convert_well(self, well: str) -> WellOutcome:
        files = _Files(self.identities)
        outcome = WellOutcome(digest="", counts={"fields": 0, "planes": 0})
        contents, origins = [], []
        for index, position in enumerate(positions(self.described, well)):
            image = self._read(well, index, position, files)
            target = self.store.field(well, index)
            linked = self._write(target, position, image)
            contents.append([digest_array(image.planes), None if _is_nan(image) else image.pixel_size_um, *linked])
            outcome.wrote.append(self.layout.relative(target.path))
            outcome.fields.append(image.report)
            origins.append(_origin(position, image))
            outcome.counts["fields"] += 1
            outcome.counts["planes"] += len(image.planes)
        outcome.digest = self._digest(contents)
        outcome.read = files.read
        outcome.extra = {"origins": origins}
        return outcome

    def _read(self, well: str, index: int, position: Field, files: _Files) -> _Image:
        try:
            return self._read_good(well, index, position, files)
        except FieldError as error:
            self._require_raw_plate(error)
            where = f"plate {self.plate}, well {well}, field {index}"
            report = failed_field(index, error, on_bad_field=self.settings.on_bad_field, where=where)
        empty = np.zeros((len(self.described.channels), *self.described.shape), dtype=np.uint16)
        size = self.settings.source.pixel_size_um or self.described.pixel_size_um or math.nan
        return _Image(planes=empty, pixel_size_um=size, report=report, z={})

    def _require_raw_plate(self, error: FieldError) -> None:
        """Raises StageError where not one file but all are gone: that is no well's fault and must not be recorded."""
        paths = (path for well in self.described.wells for path in self.described.files(well))
        if isinstance(error, UnreachedFileError) and not any(map(os.path.exists, paths)):
            raise StageError(
                f"plate {self.plate}: its raw files are all gone since the run began, from "
                f"{self.layout.project / self.settings.source.path}; see that the folder is there and its share "
                "mounted, then run again: nothing was recorded of the wells that were not done"
            ) from error

    def _has_lost_files(self, well: str) -> bool:
        """Whether a file was there when the run began and is not now."""
        source = self.layout.project / self.settings.source.path
        return not self.planned.get(well, frozenset()) <= {
            relative(path, source) for path in self.described.files(well)
        }

    def _read_good(self, well: str, index: int, position: Field, files: _Files) -> _Image:
        if position.problems:
            kind = UnreachedFileError if self._has_lost_files(well) else FieldError
            raise kind("; ".join(position.problems))
        planes, size, stacks = assemble(
            position,
            self.described,
            self.settings,
            source=self.layout.project / self.settings.source.path,
            read_plane=files.plane,
            file_pixel_size_um=files.pixel_size_um,
        )
        return _Image(
            planes=planes,
            pixel_size_um=size,
            report=_judge(index, planes, self.described.channels, size, self.settings.params),
            z={channel: list(stack) for channel, stack in stacks.items()},
        )

    def _write(self, target: FieldStore, position: Field, image: _Image) -> list[list[int]]:
        """Write the image; returns the layout that its label images follow where that is another plate's."""
        params = self.settings.params
        attributes = {
            **_origin(position, image),
            "status": image.report["status"],
            "reasons": image.report["reasons"],
        }
        found = _in_place(position, self.described, params) if image.z else None
        if isinstance(found, InPlace):
            is_relative = not Path(self.settings.source.path).is_absolute()
            target.link_image(
                [_link(array, target.path) if is_relative else array for array in found.arrays],
                axes=found.axes,
                planes=image.planes,
                channels=self.described.channels,
                pixel_size_um=image.pixel_size_um,
                attributes=attributes,
            )
            return [[len(found.arrays), *found.chunk]]
        target.write_image(
            image.planes,
            channels=self.described.channels,
            pixel_size_um=image.pixel_size_um,
            levels=params.pyramid_levels,
            chunk_px=params.chunk_px,
            attributes=attributes,
        )
        return []

    def _digest(self, contents: list[list[Any]]) -> str:
        # The layout is content too: label images follow the image's pyramid, chunks and format.
        params = self.settings.params
        return digest_json(
            {
                "fields": contents,
                "channels": list(self.described.channels),
                "ngff_version": params.ngff_version,
                "pyramid_levels": params.pyramid_levels,
                "chunk_px": params.chunk_px,
            }
        )


class _Identities:
    """Identity of raw files, each hashed once a batch; those that wells share once a plate, by :func:`write_plate`."""

    def __init__(self, layout: Layout, plate: str) -> None:
        self._layout = layout
        self._known: dict[str, Json] = {
            entry["path"]: entry for entry in (read_json(layout.plate_record(plate)) or {}).get("files", ())
        }
        self._locks: dict[str, threading.Lock] = defaultdict(threading.Lock)

    def of(self, path: Path) -> Json | None:
        """Path, size, time of change and SHA-256 of a file; None where it can't be read."""
        name = self._layout.relative(path)
        with self._locks[name]:
            try:
                size, mtime_ns = size_and_time(path)
                known = self._known.get(name)
                if known is None or [known["size"], known["mtime_ns"]] != [size, mtime_ns]:
                    known = {"path": name, "size": size, "mtime_ns": mtime_ns, "sha256": digest_image_file(path)}
                    self._known[name] = known
            except OSError:  # the reader says what is wrong with it
                return None
        return known


class _Files:
    """The raw files of a well, with the identity of each that was read."""

    def __init__(self, identities: _Identities) -> None:
        self._identities = identities
        self.read: list[Json] = []
        self._seen: set[Path] = set()
        self.pixel_size_um = functools.cache(raw_io.file_pixel_size_um)

    def plane(self, plane: Plane) -> npt.NDArray[Any]:
        if plane.path not in self._seen:
            self._seen.add(plane.path)
            identity = self._identities.of(plane.path)
            self.read += [] if identity is None else [identity]
        return raw_io.read_plane(plane)


def _shared_files(layout: Layout, plate: str, described: RawPlate) -> list[Json]:
    """Identity of the files that several wells lie in."""
    wells_with = Counter(path for well in described.wells for path in described.files(well))
    identities = _Identities(layout, plate)
    found = (identities.of(path) for path, number in sorted(wells_with.items()) if number > 1)
    return [identity for identity in found if identity is not None]


def _open_store(
    layout: Layout, plate: str, wells: Sequence[str], described: RawPlate, params: ConvertParams
) -> PlateStore:
    strangers = [well for well in wells if well not in described.wells]
    if strangers:
        raise StageError(f"raw plate {plate} has no well {', '.join(strangers)}; it has {', '.join(described.wells)}")
    remedy = "write the plate's metadata first (`lysoquant convert` does)"
    try:
        store = PlateStore.open(layout.plate_store(plate))
        fits = all(store.n_fields(well) == len(positions(described, well)) for well in wells)
    except PlateError as error:
        raise StageError(f"plate {plate}: {error}; {remedy}") from error
    if not fits or store.ngff_version != params.ngff_version:
        raise StageError(f"plate {plate}: {store.path} was laid out for other raw files or another version; {remedy}")
    return store


def _in_place(position: Field, described: RawPlate, params: ConvertParams) -> InPlace | str | None:
    """How a field's image is used where it lies, or why it is not; None where there is no question of that."""
    if described.format != "ome-zarr" or not params.in_place or position.problems:
        return None
    planes = [plane for channel in described.channels for plane in position.planes[channel].values()]
    return in_place(planes, ngff_version=params.ngff_version, levels=params.pyramid_levels)


def _link(array: Path, folder: Path) -> Path:
    """Relative path for a link in a folder; the system follows it from where the folder really is."""
    return Path(os.path.relpath(array.resolve(), folder.resolve()))


def _in_place_notes(described: RawPlate, params: ConvertParams) -> list[str]:
    """How many images are used in place, and why others are copied."""
    found = Counter(
        result if isinstance(result, str) else ""
        for well in described.wells
        for position in positions(described, well)
        if (result := _in_place(position, described, params)) is not None
    )
    return [
        f"images of {number} fields are copied: {reason}" if reason else f"images of {number} fields are used in place"
        for reason, number in sorted(found.items())
    ]


def _judge(
    index: int, planes: npt.NDArray[Any], channels: Sequence[str], pixel_size_um: float, params: ConvertParams
) -> Json:
    """Report of a readable field: median focus and largest saturation of its channels, and each channel's numbers.

    Here only what needs no comparison is judged; aggregate judges the numbers.
    """
    saturated = max(saturated_fraction(plane) for plane in planes)
    found = {
        f"{kind}_{channel}": value
        for channel, plane in zip(channels, planes, strict=True)
        for kind, value in (
            ("focus_score", focus_score(plane)),
            ("signal_to_background", signal_to_background(plane)),
            ("detail_fraction", detail_fraction(plane, pixel_size_um=pixel_size_um)),
        )
    }
    values = {name: _rounded(value) for name, value in found.items() if not math.isnan(value)}
    values["saturated_fraction"] = _rounded(saturated)
    scores = [values[name] for name in (f"focus_score_{channel}" for channel in channels) if name in values]
    if scores:
        values["focus_score"] = _rounded(float(np.median(scores)))
    reasons = [reason for reason in (pixel_size_verdict(pixel_size_um),) if reason is not None]
    if saturated > params.max_saturated_fraction:
        reasons.append(
            f"{saturated:.2%} of the pixels of a channel are saturated, expected at most "
            f"{params.max_saturated_fraction:.2%}; image with less light or exposure"
        )
    return field_report(index, status=FLAGGED if reasons else OK, reasons=reasons, **values)


def _origin(position: Field, image: _Image) -> Json:
    """What a field is in the raw plate: position, time point, and the Z planes by channel (0: the instrument's)."""
    return {
        "name": position.name,
        "timepoint": position.timepoint,
        "z": dict(image.z),
        "reduction": position.reduction,
    }


def _rounded(value: float) -> float:
    """Six digits: floating-point sums may differ between machines further on, and reports enter digests."""
    return float(f"{value:.6g}")


def _is_nan(image: _Image) -> bool:
    return math.isnan(image.pixel_size_um)


def _raw_inputs(files: Sequence[Path], source: Path, identities: _Identities) -> Json:
    """Identity of a well's raw files by name, size and content."""
    found = {relative(path, source): identities.of(path) for path in files}
    return {
        name: None if identity is None else {"size": identity["size"], "sha256": identity["sha256"]}
        for name, identity in found.items()
    }
