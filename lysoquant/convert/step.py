"""convert: a raw plate becomes one OME-Zarr store."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lysoquant.convert.describe import describe_plate, description_digest, positions, relative
from lysoquant.convert.field import FieldConverter
from lysoquant.convert.in_place import in_place_notes
from lysoquant.convert.params import ConvertParams, ConvertSettings
from lysoquant.convert.raw_files import Identities, RawFiles
from lysoquant.convert.well import convert_wells
from lysoquant.errors import PlateError, StageError
from lysoquant.io.raw.description import RawPlate
from lysoquant.io.store import PlateStore
from lysoquant.layout import Layout
from lysoquant.record import Json, WellOutcome, read_json, run_batch, versions, write_json


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
        "notes": [*described.notes, *in_place_notes(described, settings.params)],
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
    described: RawPlate | None = None,
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
        Planes that are worked on at a time, whatever their fields and wells; as many fields are read beside them. One
        field more than this is held in memory. The results are the same bytes whatever it is.
    raw : mapping of str to dict, optional
        Identity of the raw files by well, as :meth:`Layout.raw_record` keeps it; taken from the files' names, sizes
        and contents where it is not given.
    described : RawPlate, optional
        These wells as they were when the raw plate was last looked at (:mod:`lysoquant.convert.planned`); it is
        described now where they are not given.

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
    look = functools.cache(functools.partial(describe_plate, layout=layout, settings=settings))
    described = described or look()
    store = _open_store(layout, plate, wells, described, settings.params)
    source = layout.project / settings.source.path
    identities = Identities(layout, plate)

    def work(todo: list[str]) -> Iterator[tuple[str, WellOutcome]]:
        with RawFiles(identities) as files:
            converter = FieldConverter(
                layout=layout,
                plate=plate,
                described=described,
                look=look,
                store=store,
                settings=settings,
                raw_files=files,
                planned={well: frozenset(raw[well]) for well in wells} if raw is not None else {},
            )
            yield from convert_wells(todo, converter, cores=max(1, cores))

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


def _shared_files(layout: Layout, plate: str, described: RawPlate) -> list[Json]:
    """Identity of the files that several wells lie in."""
    wells_with = Counter(path for well in described.wells for path in described.files(well))
    identities = Identities(layout, plate)
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


def _raw_inputs(files: Sequence[Path], source: Path, identities: Identities) -> Json:
    """Identity of a well's raw files by name, size and content."""
    found = {relative(path, source): identities.of(path) for path in files}
    return {
        name: None if identity is None else {"size": identity["size"], "sha256": identity["sha256"]}
        for name, identity in found.items()
    }
