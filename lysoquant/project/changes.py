"""Settings, model and code: what a record was made by, held against what is there now."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from lysoquant.project.batches import Plan
from lysoquant.record import Json
from lysoquant.source import source_digest


def settings_now(plan: Plan, stage: str, plate: str | None = None) -> Json:
    """What a record of a stage would say of its settings, model and code; `plate` None: of a stage of the project."""
    return {
        "parameters": plan.project.settings(stage, plate).model_dump(mode="json"),
        "model_sha256": plan.model_sha256.get(stage),
        "code": source_digest(stage),
    }


def settings_changed(stage: str, old: Json, now: Json) -> Iterator[str]:
    """Each setting, the model and the code in which a record differs from :func:`settings_now`, with both values."""
    before = dict(old.get("parameters", {}))
    before.pop("precision", None)  # what `auto` came to on that machine; the setting itself lies in `params`
    for name, was, is_now in _differences(before, now["parameters"]):
        shown = name.replace("params.", f"{stage}.", 1) if name.startswith("params.") else name
        yield f"setting {shown}: {_value(was)} -> {_value(is_now)}"
    if old.get("model_sha256") != now.get("model_sha256"):
        yield f"model: {_digest(old.get('model_sha256'))} -> {_digest(now.get('model_sha256'))}"
    if old.get("code") != now["code"]:
        version = old.get("versions", {}).get("lysoquant", "?")
        yield f"code of {stage}: {_digest(old.get('code'))} (lysoquant {version}) -> {_digest(now['code'])}"


_NOTHING: Final = object()


def _differences(old: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted name, old and new value of every leaf that differs."""
    if isinstance(old, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*old, *now]):
            yield from _differences(old.get(key, _NOTHING), now.get(key, _NOTHING), f"{name}.{key}" if name else key)
    elif old != now:
        yield name, old, now


def _value(value: Any) -> str:
    return "(not there)" if value is _NOTHING else json.dumps(value, ensure_ascii=True)


def _digest(value: Any) -> str:
    return str(value)[:12]
