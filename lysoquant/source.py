"""A digest of the source that decides a stage's results.

Part of every well's key: after an upgrade, exactly the stages whose code changed are done again.
Comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).parent

_SOURCES: Final[dict[str, tuple[str, ...]]] = {
    "convert": (
        "convert",
        "units.py",
        "io/raw",
        "io/arrays.py",
        "io/image_writer.py",
        "io/ngff_metadata.py",
        "io/pyramid.py",
        "io/store.py",
    ),
    "cells": ("cells", "illumination/flat_field.py", "io/flat_fields.py", "io/rois.py"),
    "segment": (
        "segment",
        "model/architecture.py",
        "model/batches.py",
        "model/card.py",
        "model/cuts.py",
        "model/flow.py",
        "model/gpu_flow.py",
        "model/host_flow.py",
        "model/inference.py",
        "model/lanes.py",
        "model/network.py",
        "model/precision.py",
        "model/predict.py",
        "model/preprocess.py",
        "model/preprocess_device.py",
        "model/replay.py",
        "model/tiles.py",
        "model/weights.py",
        "units.py",
    ),
    "measure": ("measure", "illumination/flat_field.py", "io/field_tables.py", "io/flat_fields.py", "io/tables.py"),
    "aggregate": ("aggregate", "screening", "statistics", "io/tables.py"),
    "report": ("report",),
}


@functools.cache
def source_digest(stage: str) -> str:
    """First 16 hex digits of the SHA-256 of the stage's source, comments and docstrings left out."""
    sha = hashlib.sha256()
    for source in _SOURCES[stage]:
        path = _PACKAGE / source
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix == ".py":
                sha.update(file.relative_to(_PACKAGE).as_posix().encode())
                sha.update(_normal_form(file.read_text(encoding="utf-8")).encode())
            elif file.suffix in (".html", ".css", ".js"):
                sha.update(file.read_bytes())
    return sha.hexdigest()[:16]


def _normal_form(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                statement
                for statement in node.body
                if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            ]
    return ast.dump(tree)
