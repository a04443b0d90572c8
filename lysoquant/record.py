"""Records: what a stage read, wrote and was told, and the drivers that skip what did not change.

Two files. A *well record* says what a stage did to one well and under which key; the stage itself
compares keys and redoes only wells whose key changed. A *batch record* is the sum of its wells'
records and the only thing that the workflow tracks. Both are written whole or not at all.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from lysoquant import __version__
from lysoquant.errors import DamagedFieldError, StageError, UnreachedFileError
from lysoquant.files import files_of, open_file
from lysoquant.layout import Layout
from lysoquant.progress import Progress
from lysoquant.source import source_digest
from lysoquant.vocabulary import FAILED, FIELD_STATUSES, FLAGGED, OK

Json = dict[str, Any]

_VERSIONED = ("numpy", "zarr", "scikit-image", "scipy", "pandas", "torch", "dask", "snakemake", "cellpose")

_DAMAGED = "damaged"
"""Marks the report of a field that could not be read from the store: mending it changes no digest upstream."""

UNREACHED = "unreached"
"""Marks the report of a field whose raw file could not be opened: it may come back with the size and time it had."""


_RAN_ON: ContextVar[Mapping[str, int | str] | None] = ContextVar("ran_on", default=None)


@contextmanager
def running_on(**facts: int | str) -> Iterator[None]:
    """What well records that are written within say as ``ran_on`` (cores, device): no part of any key or digest."""
    token = _RAN_ON.set(facts)
    try:
        yield
    finally:
        _RAN_ON.reset(token)


class ArrayLike(Protocol):
    """What digests need of an array, so that this module needs no numpy."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def data(self) -> memoryview: ...
    def tobytes(self) -> bytes: ...


def digest_bytes(*parts: bytes) -> str:
    """SHA-256 of the parts, each preceded by its length, as 64 hex digits."""
    return _digest_pieces(*([part] for part in parts))


def _digest_pieces(*parts: Sequence[bytes | memoryview]) -> str:
    """:func:`digest_bytes` of parts that lie in several pieces."""
    sha = hashlib.sha256()
    for pieces in parts:
        sha.update(sum(map(len, pieces)).to_bytes(8, "big"))
        for piece in pieces:
            sha.update(piece)
    return sha.hexdigest()


def digest_json(value: Any) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no blanks)."""
    return digest_bytes(canonical_json(value).encode())


def canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_array(array: ArrayLike) -> str:
    """SHA-256 of an array's shape, dtype and values (C order)."""
    return digest_bytes(repr(tuple(array.shape)).encode(), array.dtype.str.encode(), array.tobytes())


def digest_planes(planes: Sequence[ArrayLike]) -> str:
    """:func:`digest_array` of planes as if they lay in one array; each is in one piece of memory and is not copied."""
    shape, dtype = (len(planes), *planes[0].shape), planes[0].dtype
    contents = [plane.data.cast("B") for plane in planes]
    return _digest_pieces([repr(shape).encode()], [dtype.str.encode()], contents)


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open_file(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_image_file(path: Path) -> str:
    """SHA-256 of an image file's bytes; of a Zarr array, for its metadata file, one of all files with their names."""
    files = files_of(path)
    if files == [path]:
        return digest_file(path)
    return digest_json({file.relative_to(path.parent).as_posix(): digest_file(file) for file in files})


def write_text_atomic(path: Path, text: str) -> None:
    """Write a file whole or not at all, surviving a kill at any moment."""
    with whole_or_not_at_all(path) as partial, partial.open("w", encoding="utf-8") as handle:
        handle.write(text)


@contextmanager
def whole_or_not_at_all(path: Path) -> Iterator[Path]:
    """A place beside a file to write it to; it gets the file's name when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield partial
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def process_lives(pid: object) -> bool:
    """Whether a process of this host is there; True where that can't be told."""
    try:
        os.kill(pid if isinstance(pid, int) else os.getpid(), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _remove_leftovers(path: Path) -> None:
    """Remove what killed writers of a file left beside it; each file has one writer at a time."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        pid = leftover.name.split(".")[-2]
        if pid.isdecimal() and not process_lives(int(pid)):
            leftover.unlink(missing_ok=True)


def write_json(path: Path, value: Json) -> None:
    write_text_atomic(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def is_whole_json(path: Path) -> bool:
    """Whether a file ends as :func:`write_json` ends one; reads only its end."""
    end = b"}\n"
    with path.open("rb") as handle:
        handle.seek(-min(len(end), path.stat().st_size), os.SEEK_END)
        return handle.read() == end


def read_json(path: Path) -> Json | None:
    """A JSON object, or None where the file is absent or damaged (then its well is redone)."""
    try:
        with open_file(path) as handle:
            value = json.loads(handle.read().decode())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def versions() -> dict[str, str]:
    """Versions of what takes part in a result."""
    return dict(_versions())


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    """The same, looked up once: every well's record has them, and a look-up reads the packages' metadata."""
    found = {"lysoquant": __version__, "python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return tuple(found.items())


def field_report(index: int, *, status: str = OK, reasons: Sequence[str] = (), **values: float | int) -> Json:
    """What a stage has to say of one field; ``values`` become columns of ``fields.parquet``."""
    if status not in FIELD_STATUSES:
        raise ValueError(f"status {status!r} is not one of {FIELD_STATUSES}")
    return {"field": index, "status": status, "reasons": list(reasons), **values}


def merge_field_reports(reports: Iterable[Json]) -> Json:
    """One report a field from those of several stages: worst status, all reasons, all values.

    A reason that another repeats and continues after a comma is left out.
    """
    merged: Json = {"status": OK, "reasons": []}
    for report in reports:
        merged |= {key: value for key, value in report.items() if key not in ("status", "reasons")}
        merged["status"] = max(merged["status"], report["status"], key=FIELD_STATUSES.index)
        for reason in report["reasons"]:
            if not any(_repeats(other, reason) for other in merged["reasons"]):
                merged["reasons"] = [other for other in merged["reasons"] if not _repeats(reason, other)] + [reason]
    return merged


def _repeats(longer: str, reason: str) -> bool:
    return longer == reason or longer.startswith(f"{reason}, ")


def failed_field(index: int, error: Exception, *, on_bad_field: str, where: str) -> Json:
    """The report of a field that failed; raises instead under ``on_bad_field: fail``.

    Parameters
    ----------
    where : str
        Plate, well and field, for the message of the error.

    Returns
    -------
    dict
        The report. One of a damaged field, or of one whose raw file could not be opened, says so, and its well is
        done again whenever its batch is.
    """
    if on_bad_field == "fail":
        raise StageError(
            f"{where}: {error} (on_bad_field is 'fail'; set it to 'flag' to record the field as failed and go on)"
        ) from error
    marks = {_DAMAGED: DamagedFieldError, UNREACHED: UnreachedFileError}
    passing = {mark: True for mark, kind in marks.items() if isinstance(error, kind)}
    return field_report(index, status=FAILED, reasons=[str(error)], **passing)


@dataclass
class WellOutcome:
    """What a stage made of one well.

    Attributes
    ----------
    digest : str
        Digest of the content that was written: it, not a time, decides what runs downstream.
    wrote, read : list of str
        Paths, relative to the results folder where they lie inside it.
    counts : dict
        Whole numbers worth keeping: planes, cells, tiles, model calls, regions.
    fields : list of dict
        One :func:`field_report` a field.
    extra : dict
        Anything else for the record (not part of the digest).
    """

    digest: str
    wrote: list[str] = field(default_factory=list)
    read: list[Any] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    fields: list[Json] = field(default_factory=list)
    extra: Json = field(default_factory=dict)


def require_wells(layout: Layout, plate: str, stage: str, wells: Sequence[str]) -> dict[str, Json]:
    """Upstream well records by well.

    Raises
    ------
    StageError
        If a well has no record of that stage yet.
    """
    records = {well: read_json(layout.well_record(plate, stage, well)) for well in wells}
    missing = [well for well, record in records.items() if record is None]
    if missing:
        raise StageError(
            f"plate {plate}: no {stage} record of well {', '.join(missing[:5])}"
            f"{' ...' if len(missing) > 5 else ''}; run `lysoquant {stage} PROJECT --plate {plate}` first"
        )
    return {well: record for well, record in records.items() if record is not None}


def run_batch(
    *,
    stage: str,
    layout: Layout,
    plate: str,
    wells: Sequence[str],
    parameters: Json,
    inputs: Mapping[str, Json],
    work: Callable[[list[str]], Iterator[tuple[str, WellOutcome]]],
    record: Path,
    model_sha256: str | None = None,
) -> Json:
    """Do a stage for the wells of one batch whose key changed; leave their and the batch's record.

    The key of a well is everything its result depends on: parameters, digests of its inputs, the
    model, and the stage's own source. A well record is removed before its well is begun and written
    after the last of its output, so a killed run never leaves a half-written well that looks whole.

    Parameters
    ----------
    inputs : mapping of well to dict
        Digests of what the stage reads for each well.
    work : callable
        Takes the wells to do and yields ``(well, outcome)`` as each is finished.

    Returns
    -------
    dict
        The batch record.
    """
    code = source_digest(stage)
    settings: Json = {"parameters": parameters, "model_sha256": model_sha256, "code": code}
    keys = {well: digest_json(settings | {"inputs": inputs[well]}) for well in wells}
    current: dict[str, Json] = {}
    for well in wells:
        old = read_json(layout.well_record(plate, stage, well))
        if old is not None and old.get("key") == keys[well] and is_done(layout, old):
            current[well] = old
    todo = [well for well in wells if well not in current]
    for well in todo:
        layout.well_record(plate, stage, well).unlink(missing_ok=True)
    with Progress(f"{stage} {plate}", total=len(wells), done=len(current)) as progress:
        started = time.perf_counter()
        for well, outcome in work(todo) if todo else ():
            seconds = time.perf_counter() - started
            current[well] = {
                "stage": stage,
                "plate": plate,
                "well": well,
                "key": keys[well],
                "inputs": inputs[well],
                **settings,
                "digest": digest_json({"content": outcome.digest, "fields": outcome.fields}),
                "read": outcome.read,
                "wrote": outcome.wrote,
                "sizes": _sizes(layout, outcome.wrote),
                "counts": outcome.counts,
                "fields": outcome.fields,
                "seconds": round(seconds, 6),
                "versions": versions(),
                "ran_on": dict(_RAN_ON.get() or {}),
                **outcome.extra,
            }
            write_json(layout.well_record(plate, stage, well), current[well])
            progress.advance(note=_well_note(well, outcome))
            started = time.perf_counter()
    unfinished = [well for well in wells if well not in current]
    if unfinished:
        raise StageError(f"{stage} of plate {plate} left no outcome for well {', '.join(unfinished)}")
    batch: Json = {"stage": stage, "plate": plate, "wells": {well: current[well] for well in wells}}
    write_json(record, batch)
    return batch


def run_project(
    *,
    stage: str,
    layout: Layout,
    parameters: Json,
    inputs: Json,
    work: Callable[[], Json],
    record: Path,
) -> Json:
    """Do a stage that runs once a project, if what it depends on changed; leave its record.

    Parameters
    ----------
    inputs : dict
        Digests of what the stage reads.
    work : callable
        Does it and returns what the record says besides: digest, read, wrote, counts.
    record : pathlib.Path
        Where to leave the record. A copy that the workflow does not remove tells what was done.

    Returns
    -------
    dict
        The record.
    """
    started = time.perf_counter()
    code = source_digest(stage)
    key = digest_json({"parameters": parameters, "code": code, "inputs": inputs})
    done = layout.project_work_record(stage)
    old = read_json(done)
    if old is not None and old.get("key") == key and is_done(layout, old):
        if read_json(record) != old:
            write_json(record, old)
        return old
    for stale in (done, record):
        stale.unlink(missing_ok=True)
    found: Json = {"stage": stage, "key": key, "inputs": inputs, "parameters": parameters, "code": code, **work()}
    sizes = _sizes(layout, found["wrote"])
    found |= {"sizes": sizes, "seconds": round(time.perf_counter() - started, 3), "versions": versions()}
    for path in (done, record):
        write_json(path, found)
    return found


def is_done(layout: Layout, record: Json) -> bool:
    """Whether a record is whole and no field failed for a reason that may have passed."""
    return is_whole(layout, record) and not any(report.get(UNREACHED) for report in record.get("fields", ()))


def is_whole(layout: Layout, record: Json) -> bool:
    """Whether all that a record says was written is there and no field was damaged, which may have been mended."""
    return not damaged_fields(record) and not lost_outputs(layout, record)


def lost_outputs(layout: Layout, record: Json) -> list[str]:
    """What a record says was written, relative to the results, and that is not there, or is a file of another size."""
    # Strings: a plate has thousands of these paths, and all are looked at whenever a run is planned.
    results, sizes = str(layout.results), record.get("sizes", {})
    return [path for path in record.get("wrote", ()) if not _is_there(os.path.join(results, path), sizes.get(path))]  # noqa: PTH118


def _is_there(path: str, size: int | None) -> bool:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    return size is None or found.st_size == size


def damaged_fields(record: Json) -> list[int]:
    """Fields of a well that could not be read from the store."""
    return [report["field"] for report in record.get("fields", ()) if report.get(_DAMAGED)]


def _sizes(layout: Layout, names: Iterable[str]) -> dict[str, int]:
    """Sizes of those outputs that are files; what a field's folder holds, its own metadata say."""
    return {name: path.stat().st_size for name in names if (path := layout.results / name).is_file()}


def _well_note(well: str, outcome: WellOutcome) -> str:
    bad = sum(report["status"] == FAILED for report in outcome.fields)
    flagged = sum(report["status"] == FLAGGED for report in outcome.fields)
    parts = [well, *(f"{count} {name}" for name, count in outcome.counts.items())]
    parts += [f"{bad} failed"] * bool(bad) + [f"{flagged} flagged"] * bool(flagged)
    return ", ".join(parts)


__all__ = [
    "UNREACHED",
    "Json",
    "WellOutcome",
    "canonical_json",
    "damaged_fields",
    "digest_array",
    "digest_bytes",
    "digest_file",
    "digest_json",
    "digest_planes",
    "failed_field",
    "field_report",
    "is_done",
    "is_whole",
    "is_whole_json",
    "lost_outputs",
    "merge_field_reports",
    "process_lives",
    "read_json",
    "require_wells",
    "run_batch",
    "run_project",
    "running_on",
    "versions",
    "whole_or_not_at_all",
    "write_json",
    "write_text_atomic",
]
