"""Model files without their weights: where they lie, what they say of themselves, what they fit. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open

from lysoquant.errors import ModelError
from lysoquant.files import require_file
from lysoquant.model.architecture import Architecture
from lysoquant.params import Params
from lysoquant.units import MODEL_PIXEL_SIZE_UM

DEFAULT_MODEL: Final = Path(__file__).parent / "weights" / "default.safetensors"
CARD_KEY: Final = "lysoquant"
"""Of the file's metadata."""
MAX_BYTES: Final = 2**30
"""Largest model file: seven poolings in single precision take half of it."""


class ModelCard(Params):
    """What a person and a pipeline must know of a model; travels in the weight file's header."""

    name: str
    """Name of the model."""
    architecture: Architecture
    """The network."""
    inputs: tuple[str | None, ...] = ("cargo", "lysosome", None)
    """Channel role of each input plane; null is a plane of zeros."""
    classes: tuple[str, ...] = ("background", "empty", "loaded")
    """Class of each score."""
    pixel_size_um: float = MODEL_PIXEL_SIZE_UM
    """Pixel size at which the network sees images."""
    normalization: str = "cell"
    """How intensities were brought to [0, 1] in training."""
    training: dict[str, str | int | float] = Field(default_factory=dict)
    """Data, iterations, seed."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Figures on held-out data, each with its n in `metrics_note`."""
    metrics_note: str = ""
    """What the metrics were measured on."""
    limits: tuple[str, ...] = ()
    """Where the model should not be trusted."""


def model_path(setting: str, *, project: Path | None = None) -> Path:
    """A model file by name: ``default`` or a path, relative to the project if there is one.

    Raises
    ------
    ModelError
        If there is no such file.
    """
    path = DEFAULT_MODEL if setting == "default" else (project or Path()) / setting
    if not path.is_file():
        name = "the model" if project is None else "segment.model"
        raise ModelError(f"{name} is {setting!r} but there is no file {path}; give a .safetensors file or 'default'")
    return path


def read_card(path: Path) -> ModelCard:
    """The card of a model file, without its weights.

    Raises
    ------
    ModelError
        If the file is damaged, too large or carries no valid card.
    """
    try:
        size = require_file(path).stat().st_size
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}; give a model written by lysoquant") from error
    if size > MAX_BYTES:
        raise ModelError(f"{path}: larger than {MAX_BYTES} bytes, which no model of this network is")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(CARD_KEY)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: not a safetensors file ({error}); give a model written by lysoquant") from error
    if text is None:
        raise ModelError(f"{path}: carries no lysoquant model card; give a model written by lysoquant")
    try:
        card = ModelCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelError(f"{path}: its model card is wrong at {where or 'the top'}: {first['msg']}") from error
    if card.architecture.in_channels != len(card.inputs):
        raise ModelError(
            f"{path}: the card names {len(card.inputs)} inputs, the network has {card.architecture.in_channels}"
        )
    return card


def check_fit(card: ModelCard, *, roles: set[str]) -> None:
    """Refuse a model that needs a channel role which the configuration does not give.

    Raises
    ------
    ModelError
        Naming the role and the remedy.
    """
    if card.inputs[:2] != ("cargo", "lysosome") or any(role is not None for role in card.inputs[2:]):
        raise ModelError(
            f"model {card.name!r} expects inputs {card.inputs}; lysoquant gives cargo, lysosome and planes of zeros"
        )
    missing = [role for role in card.inputs if role is not None and role not in roles]
    if missing:
        raise ModelError(f"model {card.name!r} needs a {missing[0]} channel; set channels.{missing[0]}")
    if card.normalization not in ("cell", "joint"):
        raise ModelError(f"model {card.name!r} asks for normalization {card.normalization!r}, not 'cell' or 'joint'")
    if card.pixel_size_um != MODEL_PIXEL_SIZE_UM:
        raise ModelError(f"model {card.name!r} works at {card.pixel_size_um} um, lysoquant at {MODEL_PIXEL_SIZE_UM} um")
    if len(card.classes) != 3 or card.architecture.classes != 3:
        raise ModelError(f"model {card.name!r} has classes {card.classes}, not background, empty and loaded")
