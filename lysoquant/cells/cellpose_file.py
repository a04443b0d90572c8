"""Whether Cellpose is installed, and where its model's file lies; nothing is downloaded. Light: needs no torch."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Final

from lysoquant.errors import InputError, ModelError

_FOLDER_VARIABLE: Final = "CELLPOSE_LOCAL_MODELS_PATH"
"""Names the folder in which cellpose keeps its models."""


def require_cellpose() -> None:
    """Refuse the method where the package is not installed.

    Raises
    ------
    InputError
        With what to install.
    """
    if importlib.util.find_spec("cellpose") is None:
        raise InputError(
            "cells.method is 'cellpose', which is not installed here; pip install 'lysoquant[cellpose]', or set "
            "cells.method to 'watershed', 'rois', 'labels' or 'field'"
        )


def cellpose_file(model: str, *, project: Path) -> Path:
    """The file of a Cellpose model: a path in the project, or the name of one in cellpose's own folder.

    Parameters
    ----------
    model : str
        As ``cells.cellpose_model`` has it.
    project : pathlib.Path
        The project's folder.

    Raises
    ------
    ModelError
        If there is no such file. Left to itself cellpose would download one, or take another model.
    """
    own = _models_folder()
    for path in (project / model, own / model):
        if path.is_file():
            return path
    raise ModelError(
        f"cells.cellpose_model is {model!r} and neither {project / model} nor {own / model} is a file; a job downloads "
        "none: give the path of a model's file, or let cellpose fetch the one of that name where there is a network "
        "(cellpose.models.CellposeModel(pretrained_model=NAME))"
    )


def _models_folder() -> Path:
    named = os.environ.get(_FOLDER_VARIABLE)
    return Path(named) if named else Path.home() / ".cellpose" / "models"
