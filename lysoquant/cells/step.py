"""The cells stage: a label image ``cells`` for every field."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from lysoquant.cells.cellpose_file import cellpose_file, require_cellpose
from lysoquant.cells.find import channels_read, find_in_field, require_nucleus
from lysoquant.cells.params import CellsSettings
from lysoquant.cells.template import fill_template, outline_digests
from lysoquant.errors import DamagedFieldError, FieldError, InputError
from lysoquant.illumination.flat_field import EvenField, FlatFields, shape_of_fields
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.layout import Layout
from lysoquant.record import (
    Json,
    WellOutcome,
    digest_array,
    digest_file,
    digest_json,
    failed_field,
    field_report,
    require_wells,
    run_batch,
)
from lysoquant.vocabulary import CELLS, FAILED, FLAGGED, OK

if TYPE_CHECKING:
    from lysoquant.cells.by_cellpose import Cellpose

Labels = npt.NDArray[np.uint32]


def run(
    *,
    layout: Layout,
    plate: str,
    wells: Sequence[str],
    settings: CellsSettings,
    record: Path,
    cores: int = 1,
    device: str = "auto",
) -> Json:
    """Find the cells of a batch of wells and write the label image ``cells`` of every field.

    Parameters
    ----------
    layout : Layout
        Paths of the project.
    plate : str
        Plate name.
    wells : sequence of str
        Canonical well names.
    settings : CellsSettings
        Method, its parameters and channel roles.
    record : pathlib.Path
        The batch record to write.
    cores : int
        Fields done at the same time; by Cellpose on a GPU one. Results do not depend on it.
    device : {"auto", "cpu", "cuda"}
        Where Cellpose runs.

    Returns
    -------
    dict
        The batch record. A field's report has ``n_cells`` and ``n_border_cells``.

    Raises
    ------
    InputError
        If the method needs a nucleus channel and there is none, fields would share one outline file, or Cellpose or
        its model is not there.
    StageError
        If convert has not done a well, or a field is bad under ``on_bad_field: fail``.
    PlateError
        If there is no store.
    """
    params = settings.params
    require_nucleus(settings)
    network = _Network(layout, settings, device) if params.method == "cellpose" else None
    upstream = require_wells(layout, plate, "convert", wells)
    store = PlateStore.open(layout.plate_store(plate))
    by_file = params.method in ("rois", "labels")
    names = {well: _file_names(store, settings, plate, well) if by_file else [] for well in wells}
    _refuse_shared_files(names)
    lights = FlatFields.of(
        project=layout.project,
        plate=plate,
        shape=shape_of_fields(store, wells),
        channels=channels_read(settings),
        params=settings.illumination,
    )

    def do_field(cellpose: Cellpose | None, well: str, index: int) -> tuple[Json, str]:
        """The field's report and its labels' digest, empty where there is no image that could have labels."""
        field = store.field(well, index)
        path = layout.project / names[well][index] if by_file else None
        lost = any(report["field"] == index and report["status"] == FAILED for report in upstream[well]["fields"])
        where = f"plate {plate}, field {field.name}"
        try:
            labels, report = _do_field(field, index, settings, path, lights, cellpose, lost=lost, where=where)
            field.write_label(CELLS, labels)
        except DamagedFieldError as error:
            return _failed(index, error, settings, where=where), ""
        return report, digest_array(labels)

    def work(todo: list[str]) -> Iterator[tuple[str, WellOutcome]]:
        cellpose, pool = (None, _pool(cores)) if network is None else network.start(cores)
        with pool:
            try:
                done = {
                    well: [pool.submit(do_field, cellpose, well, i) for i in range(store.n_fields(well))]
                    for well in todo
                }
                for well in todo:
                    reports, digests = zip(*(future.result() for future in done.pop(well)), strict=True)
                    paths = [store.field(well, index).path for index in range(len(reports))]
                    yield well, _outcome(layout, paths, names[well], reports, digests)
            finally:
                pool.shutdown(cancel_futures=True)

    return run_batch(
        stage="cells",
        layout=layout,
        plate=plate,
        wells=wells,
        parameters=settings.model_dump(mode="json") | (network.parameters if network else {}),
        inputs={well: _inputs(layout, upstream[well], names[well]) | lights.inputs() for well in wells},
        work=work,
        record=record,
        model_sha256=network.sha256 if network else None,
    )


def _pool(threads: int, initializer: Callable[[], None] | None = None) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=max(1, threads), initializer=initializer)


class _Network:
    """A Cellpose model that is there, loaded only when a well is to be done."""

    def __init__(self, layout: Layout, settings: CellsSettings, device: str) -> None:
        # Imported here: it needs torch, and no other method does.
        from lysoquant.model.precision import choose_device, resolve_precision

        require_cellpose()
        self._file = cellpose_file(settings.params.cellpose_model, project=layout.project)
        self._device = choose_device(device)
        self.sha256 = digest_file(self._file)
        self.parameters: Json = {"precision": resolve_precision("auto", self._device)}

    def start(self, cores: int) -> tuple[Cellpose, ThreadPoolExecutor]:
        """The model, and the threads that send fields through it."""
        from lysoquant.cells.by_cellpose import Cellpose, fields_at_a_time, one_thread

        return Cellpose(self._file, self._device), _pool(fields_at_a_time(self._device, cores=cores), one_thread)


def _file_names(store: PlateStore, settings: CellsSettings, plate: str, well: str) -> list[str]:
    template = settings.params.path
    return [fill_template(template, plate=plate, well=well, field=index) for index in range(store.n_fields(well))]


def _refuse_shared_files(names: dict[str, list[str]]) -> None:
    owners: dict[str, str] = {}
    for well, files in names.items():
        for index, name in enumerate(files):
            first = owners.setdefault(name, f"{well}/{index}")
            if first != f"{well}/{index}":
                raise InputError(
                    f"cells.path gives {name!r} for field {first} and for field {well}/{index}; "
                    "put {well} and {field} into it, so that each field has its own file"
                )


def _inputs(layout: Layout, convert: Json, names: Sequence[str]) -> Json:
    files = outline_digests(layout.project, names)
    return {"convert": convert["digest"], **({"files": files} if files else {})}


def _do_field(
    field: FieldStore,
    index: int,
    settings: CellsSettings,
    path: Path | None,
    lights: FlatFields,
    cellpose: Cellpose | None,
    *,
    lost: bool,
    where: str,
) -> tuple[Labels, Json]:
    empty = np.zeros(field.shape, np.uint32)
    if lost:
        # convert's own report says why; the label image is there so that the plate stays whole for viewers.
        return empty, field_report(index, n_cells=0, n_border_cells=0)
    try:
        found = find_in_field(EvenField(field, lights), settings, path, cellpose)
    except FieldError as error:
        return empty, _failed(index, error, settings, where=where)
    return found.cells, field_report(
        index,
        status=FLAGGED if found.doubts else OK,
        reasons=found.doubts,
        n_cells=found.n_cells,
        n_border_cells=_n_at_border(found.cells),
    )


def _failed(index: int, error: FieldError, settings: CellsSettings, *, where: str) -> Json:
    report = failed_field(index, error, on_bad_field=settings.on_bad_field, where=where)
    return report | {"n_cells": 0, "n_border_cells": 0}


def _n_at_border(labels: Labels) -> int:
    edges = np.concatenate([labels[[0, -1], :].ravel(), labels[:, [0, -1]].ravel()])
    return len(np.unique(edges[edges > 0]))


def _outcome(
    layout: Layout, paths: Sequence[Path], names: Sequence[str], reports: Sequence[Json], digests: Sequence[str]
) -> WellOutcome:
    return WellOutcome(
        digest=digest_json(list(digests)),
        read=[layout.relative(path) for path in paths] + list(names),
        wrote=[layout.relative(path / "labels" / CELLS) for path, digest in zip(paths, digests, strict=True) if digest],
        counts={"cells": sum(report["n_cells"] for report in reports)},
        fields=list(reports),
    )
