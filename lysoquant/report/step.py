"""report: tables, pixels and records in, one HTML file out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import pandas as pd

from lysoquant.errors import StageError
from lysoquant.layout import Layout
from lysoquant.progress import Progress
from lysoquant.record import Json, digest_file, read_json, run_project, whole_or_not_at_all
from lysoquant.report import gallery, sources
from lysoquant.report.album import Album, Statuses, plate_contrasts
from lysoquant.report.blocks import block
from lysoquant.report.content import Tables
from lysoquant.report.explorer import Pictured, cell_data, columns_of_cells, page_data
from lysoquant.report.inputs import Records, report_inputs, well_records
from lysoquant.report.measures import cell_columns
from lysoquant.report.page import Page, render
from lysoquant.report.params import ReportSettings
from lysoquant.report.picture import LEAST_BYTES, allowance, picture_edge
from lysoquant.report.preview import shown_fields
from lysoquant.report.provenance import provenance
from lysoquant.vocabulary import well_order

_STAGE: Final = "report"

_TEXT_OF_BYTES: Final = 4 / 3
"""Bytes of text that a byte of a picture becomes."""

_OF_A_FIELD: Final = 250
"""Bytes of a field's block besides its picture."""

_MARGIN: Final = 0.98
"""Part of the room that is given away: sizes before pictures are known are estimates."""


def run(
    *,
    layout: Layout,
    plates: Mapping[str, Sequence[str]],
    settings: ReportSettings,
    record: Path,
    cores: int = 1,
) -> Json:
    """Write the report of a project to ``layout.report``.

    Returns at once when neither the tables, the pixels, the settings nor the code changed. Pictures of a well's fields
    are kept beside its plate and made again only when the well's records, the settings or the code changed.

    Parameters
    ----------
    layout : Layout
        Paths of the project; aggregate has left its tables and its record.
    plates : mapping of str to sequence of str
        Measured wells by plate, in any order.
    settings : ReportSettings
        Everything else that the report depends on.
    record : pathlib.Path
        Where to leave the record.
    cores : int
        Wells whose pictures are made side by side; changes nothing in the page.

    Returns
    -------
    dict
        The record; ``counts`` has wells, pictures of cells, pictured fields, and how many of these were made anew.

    Raises
    ------
    StageError
        If aggregate has not been run or one of its tables can't be read.
    """
    wells = {plate: sorted(set(plates[plate]), key=well_order) for plate in sorted(plates)}
    records = well_records(layout, wells)
    aggregated = _aggregate_record(layout)

    def work() -> Json:
        tables = sources.read_tables(layout)
        pictures = gallery.make(layout, tables, settings)
        sizes = sources.plate_sizes(layout, tables.wells)
        page = render(
            tables=tables,
            plate_sizes=sizes,
            pictures=pictures,
            provenance=provenance(records, aggregated),
            settings=settings,
        )
        counts = _Writer(layout, tables, records, settings, cores).write(page, sizes)
        return {
            "digest": digest_file(layout.report),
            "read": [layout.relative(layout.tables), *(layout.relative(layout.plate_store(plate)) for plate in wells)],
            "wrote": [layout.relative(layout.report)],
            "counts": {"wells": len(tables.wells), "pictures": sum(len(group.pictures) for group in pictures.groups)}
            | counts,
        }

    return run_project(
        stage=_STAGE,
        layout=layout,
        parameters=settings.model_dump(mode="json"),
        inputs=report_inputs(records, aggregated),
        work=work,
        record=record,
    )


def _aggregate_record(layout: Layout) -> Json:
    found = read_json(layout.project_work_record("aggregate"))
    if found is None:
        raise StageError("report: there is no record of aggregate; run `lysoquant aggregate PROJECT` first")
    return found


class _Writer:
    """Writes the page part by part: of the wells' pictures and of the plates' cells few are in memory at a time."""

    def __init__(self, layout: Layout, tables: Tables, records: Records, settings: ReportSettings, cores: int) -> None:
        self._layout, self._tables, self._settings, self._cores = layout, tables, settings, cores
        self._records = records
        self._plates = sorted(str(plate) for plate in tables.wells["plate"].unique())
        self._wells = [(str(row["plate"]), str(row["well"])) for row in tables.wells.to_dict("records")]
        self._statuses = _statuses(tables, self._wells)

    def write(self, page: Page, sizes: Mapping[str, tuple[int, int]]) -> dict[str, int]:
        """Writes it and returns how many fields were pictured, and how many of these pictures were made anew."""
        columns = self._cell_columns()
        means = sources.means_of_wells(self._layout, self._plates)
        contrasts = plate_contrasts(
            self._layout,
            {plate: [well for of, well in self._wells if of == plate] for plate in self._plates},
            channels=self._settings.channels,
            records=self._records,
            statuses=self._statuses,
            cores=self._cores,
        )

        def data(note: str) -> Json:
            return page_data(
                self._tables,
                sizes=sizes,
                means=means,
                cell_columns=columns,
                pictured=Pictured(contrasts, note),
                cargo=self._settings.channels.cargo,
                lysosome=self._settings.channels.lysosome,
            )

        with whole_or_not_at_all(self._layout.report) as path, path.open("w", encoding="utf-8") as file:
            file.write(page.head)
            for number, plate in enumerate(self._plates if columns else ()):
                file.write(block(f"cells-{number}", cell_data(sources.cells_of_plate(self._layout, plate), columns)))
            used = file.tell() + len(page.tail.encode()) + len(block("data", data("")).encode())
            room = (self._settings.params.max_mb * 1e6 - used) * _MARGIN
            shown, allowed = self._shares(room)
            album = Album(
                self._layout, self._settings.channels, self._records, contrasts, self._statuses, shown, allowed
            )
            counts = self._write_pictures(file, album)
            file.write(block("data", data(self._note(shown, allowed))))
            file.write(page.tail)
        return counts

    def _cell_columns(self) -> list[str]:
        if not self._plates:
            return []
        every = cell_columns(sources.empty_cells(self._layout))
        return columns_of_cells(every, n_cells=len(self._tables.cells), max_mb=self._settings.params.max_mb)

    def _shares(self, room: float) -> tuple[dict[tuple[str, str], int], int]:
        """Fields of each well to picture, and the bytes that each gets."""
        n_fields = {well: len(self._statuses[well]) for well in self._wanted()}
        each = room / max(sum(n_fields.values()), 1) - _OF_A_FIELD
        shown = shown_fields(n_fields, room=max(each, 0.0) * sum(n_fields.values()) / _TEXT_OF_BYTES)
        n_shown = sum(shown.values())
        # A field without a picture still has its number and the reason.
        left = room - _OF_A_FIELD * sum(n_fields.values())
        return shown, max(allowance(left / _TEXT_OF_BYTES, n_shown), LEAST_BYTES) if n_shown else LEAST_BYTES

    def _wanted(self) -> list[tuple[str, str]]:
        """Wells, those first that should be pictured when not all can be: hits, controls, flagged ones."""
        hits = self._tables.hits
        found = hits[hits["is_hit"].astype(str) == "True"] if {"is_hit", "wells"} <= set(hits) else pd.DataFrame()
        of_hits = {key for text in found.get("wells", ()) for key in str(text).split()}
        rows = self._tables.wells.to_dict("records")

        def rank(index: int) -> int:
            row = rows[index]
            if f"{row['plate']}:{row['well']}" in of_hits:
                return 0
            return 1 if row["control"] else 2 if row["flags"] else 3

        return [self._wells[index] for index in sorted(range(len(rows)), key=lambda index: (rank(index), index))]

    def _write_pictures(self, file: IO[str], album: Album) -> dict[str, int]:
        n_shown = n_made = 0
        number = {plate: index for index, plate in enumerate(self._plates)}
        with Progress("report pictures", total=len(self._wells)) as progress:
            for plate, well, text, made in album.pages(self._wells, cores=self._cores):
                file.write(f'<script type="application/json" id="pictures-{number[plate]}-{well}">{text}</script>\n')
                n_shown += text.count('"image":')
                n_made += made
                progress.advance(note=f"{plate} {well}")
        return {"fields": n_shown, "fields_made": n_made}

    def _note(self, shown: Mapping[tuple[str, str], int], allowed: int) -> str:
        n_fields = sum(map(len, self._statuses.values()))
        n_shown, largest = sum(shown.values()), self._settings.params.max_mb
        edge = picture_edge(allowed)
        said = f"Pictures are at most {edge} pixels wide and high, so that the page stays below {largest:g} MB"
        if n_shown < n_fields:
            said += f"; {n_fields - n_shown:,} of {n_fields:,} fields are left out"
        return f"{said} (report.max_mb)."


def _statuses(tables: Tables, wells: Sequence[tuple[str, str]]) -> Statuses:
    found: dict[tuple[str, str], dict[int, str]] = {well: {} for well in wells}
    fields = tables.fields
    for plate, well, field, status in zip(
        fields["plate"], fields["well"], fields["field"], fields["status"], strict=True
    ):
        found.setdefault((str(plate), str(well)), {})[int(field)] = str(status)
    return found
