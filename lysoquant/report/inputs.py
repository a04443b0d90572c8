"""What the report depends on besides its settings: tables, and pixels by the records of the stages that wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lysoquant.layout import Layout
from lysoquant.record import Json, digest_json, read_json
from lysoquant.vocabulary import BATCH_STAGES

Records = dict[str, dict[str, dict[str, Json]]]
"""Well records by plate, stage and well."""


def well_records(layout: Layout, wells: Mapping[str, Sequence[str]]) -> Records:
    """Records of the stages that have worked on each well."""
    found: Records = {}
    for plate, names in wells.items():
        found[plate] = {}
        for stage in BATCH_STAGES:
            read = {well: read_json(layout.well_record(plate, stage, well)) for well in names}
            found[plate][stage] = {well: record for well, record in read.items() if record is not None}
    return found


def report_inputs(records: Records, aggregated: Json) -> Json:
    """Digests of what the report shows."""
    pixels = {
        plate: {
            stage: {well: [record.get("digest"), record.get("model_sha256")] for well, record in by_well.items()}
            for stage, by_well in by_stage.items()
        }
        for plate, by_stage in records.items()
    }
    return {"aggregate": aggregated.get("digest"), "wells": digest_json(pixels)}
