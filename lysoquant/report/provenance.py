"""What the stages' records say of versions, time and models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lysoquant.record import Json
from lysoquant.report.inputs import Records
from lysoquant.report.page import Provenance
from lysoquant.vocabulary import BATCH_STAGES


def provenance(records: Records, aggregated: Json) -> Provenance:
    """Versions, time and models of a project.

    Parameters
    ----------
    records : mapping
        Well records by plate, stage and well.
    aggregated : dict
        Aggregate's record.
    """
    flat = [
        (stage, record)
        for by_stage in records.values()
        for stage, by_well in by_stage.items()
        for record in by_well.values()
    ]
    seconds = []
    for stage in BATCH_STAGES:
        spent = [float(record.get("seconds", 0.0)) for name, record in flat if name == stage]
        seconds += [(stage, len(spent), math.fsum(spent))] if spent else []
    seconds += [("aggregate", int(aggregated.get("counts", {}).get("wells", 0)), float(aggregated.get("seconds", 0.0)))]
    return Provenance(
        versions=_versions([*(record for _, record in flat), aggregated]),
        seconds=seconds,
        models=_models([record for stage, record in flat if stage == "segment"]),
    )


def _versions(records: Sequence[Json]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in record.get("versions", {}).items():
            found.setdefault(str(name), set()).add(str(version))
    first = [name for name in ("lysoquant", "python") if name in found]
    return {name: sorted(found[name]) for name in [*first, *sorted(found.keys() - set(first))]}


def _models(records: Sequence[Json]) -> list[dict[str, Any]]:
    """Every model that segment used, by its digest, with what its records say of it."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        sha256 = record.get("model_sha256")
        if sha256:
            said = record.get("model")
            model = dict(said) if isinstance(said, Mapping) else {}
            card = model.pop("card", {})
            name = model.pop("name", card.get("name") if isinstance(card, Mapping) else None)
            details = {**model, **(card if isinstance(card, Mapping) else {})}
            found[str(sha256)] = (
                {"name": name}
                | {"sha256": str(sha256)}
                | {key: value for key, value in details.items() if key not in ("name", "sha256")}
            )
    return [found[sha256] for sha256 in sorted(found)]
