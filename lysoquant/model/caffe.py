"""Import of a published model: the U-Net plugin's ``.modeldef.h5`` beside its ``.caffemodel.h5``.

Layout of the files of Falk et al. 2019 (Nature Methods 16, 67): the definition holds the flags of the preprocessing
under ``/unet_param``, weights and biases lie in ``/data/<layer>/0`` and ``/data/<layer>/1``. Caffe silently cuts what
does not fit; here each layer that is missing, superfluous or misshapen is an error with its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import h5py
import torch
from torch import Tensor

from lysoquant.errors import InputError, ModelError
from lysoquant.model.architecture import Architecture
from lysoquant.model.caffe_hdf5 import child, float32_array, float32_shape, group, numbers, opened, texts
from lysoquant.model.card import MAX_BYTES, ModelCard
from lysoquant.model.network import UNet
from lysoquant.model.weights import save_model
from lysoquant.record import digest_file
from lysoquant.units import MODEL_PIXEL_SIZE_UM
from lysoquant.vocabulary import CLASS_NAMES

JOINT: Final = 1
NORMALIZATIONS: Final = {
    0: "none",
    JOINT: "one minimum and maximum over all channels to [0, 1]",
    2: "zero mean and unit deviation",
    3: "largest norm of a pixel's channels 1",
}
"""Meaning of the definition's ``normalization_type``."""

LOSS_WEIGHTS: Final = {
    "borderWeightFactor": "border_factor",
    "borderWeightSigmaPx": "border_sigma_px",
    "foregroundBackgroundRatio": "background_weight",
    "sigma1Px": "sigma1_px",
}
"""Parameters of the loss weights in the definition, and their names in the card."""

_FIRST_LAYER: Final = re.compile(r"conv_d(\d{1,3})a-b")
_MAX_POOLINGS: Final = 8
_ANOTHER: Final = "give a model trained as LysoQuant's was"


@dataclass(frozen=True)
class Definition:
    """What a ``.modeldef.h5`` says of the preprocessing, the tiles and the training.

    Attributes
    ----------
    edges : mapping of str to int
        ``downsampleFactor``, ``padInput`` and ``padOutput``: image and scores have the edges
        downsampleFactor k + padInput and downsampleFactor k + padOutput.
    training : mapping of str to float
        Parameters of the loss weights, by their names in the card.
    """

    name: str
    description: str
    classes: list[str]
    edges: dict[str, int]
    training: dict[str, float]


def import_caffe(modeldef: Path, weights: Path, out: Path) -> ModelCard:
    """Write a published model as a model file of this library.

    Parameters
    ----------
    modeldef, weights : pathlib.Path
        The ``.modeldef.h5`` and the ``.caffemodel.h5`` (or ``.h5``) file. No value in them is trusted.
    out : pathlib.Path
        The new ``.safetensors`` file, in single precision.

    Returns
    -------
    ModelCard
        Of the new file: valid convolutions, joint normalization, the definition's flags under `training`.

    Raises
    ------
    ModelError
        If a file is no HDF5 file or truncated, reaches outside itself, asks for a preprocessing that this library does
        not do, or has a layer that is missing, superfluous, misshapen or not of single precision.
    InputError
        If `out` exists.
    """
    if out.exists():
        raise InputError(f"{out} exists and is not overwritten; give another path or remove it")
    definition = read_definition(modeldef)
    with opened(weights) as file:
        data = group(file, "data")
        architecture = _architecture(data)
        _check_layers(data, architecture)
        _check_edges(definition.edges, architecture, modeldef)
        tensors = _tensors(data, architecture)
    with torch.device("meta"):
        network = UNet(architecture)
    network.load_state_dict(tensors, assign=True)
    card = _card(definition, architecture, modeldef, weights)
    save_model(out, network, card, dtype=torch.float32)
    return card


def layer_names(poolings: int) -> dict[str, str]:
    """Name in this library's network of each layer of the plugin's, from the first to the last.

    The letters number the stations of a level: a to c on the way down, a to d on the way up, where the skipped features
    have joined from b on.
    """
    down = {
        f"conv_d{level}{step}": f"down.{level}.{number}"
        for level in range(poolings + 1)
        for step, number in (("a-b", 0), ("b-c", 2))
    }
    up = {}
    for number, level in enumerate(range(poolings - 1, -1, -1)):
        below = f"d{poolings}c" if number == 0 else f"u{level + 1}d"
        up[f"upconv_{below}_u{level}a"] = f"lift.{number}"
        up[f"conv_u{level}b-c"] = f"up.{number}.0"
        up[f"conv_u{level}c-d"] = f"up.{number}.2"
    return {**down, **up, "conv_u0d-score": "score"}


def read_definition(path: Path) -> Definition:
    """The definition of a model, refused where this library would treat images otherwise.

    Raises
    ------
    ModelError
        Naming the flag, its value, what this library does and the way out.
    """
    with opened(path) as file:
        parameters = group(file, "unet_param")
        _check_preprocessing(parameters, path)
        edges = {name: _edge(parameters, name, path) for name in ("downsampleFactor", "padInput", "padOutput")}
        training = {}
        if child(parameters, "pixelwise_loss_weights") is not None:
            weights = group(parameters, "pixelwise_loss_weights")
            values = {name: numbers(weights, name) for name in LOSS_WEIGHTS}
            training = {LOSS_WEIGHTS[name]: found[0] for name, found in values.items() if found}
        name, description = (" ".join(texts(parameters, field)) for field in ("name", "description"))
        return Definition(
            name=name or path.name.split(".")[0],
            description=description,
            classes=_classes(texts(parameters, "classNames"), path),
            edges=edges,
            training=training,
        )


def _check_preprocessing(parameters: h5py.Group, path: Path) -> None:
    sizes = numbers(parameters, "element_size_um")
    if len(sizes) != 2 or any(abs(size - MODEL_PIXEL_SIZE_UM) > 1e-6 for size in sizes):
        found = " x ".join(f"{size:g}" for size in sizes) or "absent"
        raise ModelError(
            f"{path}: element_size_um is {found}; this library brings every cell to {MODEL_PIXEL_SIZE_UM:g} um (y, x), "
            f"so the network would see endolysosomes at another size; {_ANOTHER}"
        )
    types = numbers(parameters, "normalization_type")
    if types != [JOINT]:
        found = f"{types[0]:g} ({NORMALIZATIONS.get(int(types[0]), 'unknown')})" if types else "absent"
        raise ModelError(
            f"{path}: normalization_type is {found}; this library does {JOINT} ({NORMALIZATIONS[JOINT]}); {_ANOTHER}"
        )
    padding = texts(parameters, "padding")
    if padding != ["mirror"]:
        raise ModelError(f"{path}: padding is {' '.join(padding) or 'absent'!r}, expected 'mirror'; {_ANOTHER}")


def _edge(parameters: h5py.Group, name: str, path: Path) -> int:
    values = sorted(set(numbers(parameters, name)))
    if len(values) != 1 or not values[0].is_integer():
        found = ", ".join(f"{value:g}" for value in values) or "absent"
        raise ModelError(f"{path}: {name} is {found}, expected one whole number; {_ANOTHER}")
    return int(values[0])


def _classes(names: list[str], path: Path) -> list[str]:
    """Names of the classes; a known name in another place would turn empty into loaded."""
    known = [name.lower() for name in names]
    wrong = [name for place, name in enumerate(known) if name in CLASS_NAMES and CLASS_NAMES.index(name) != place]
    if names and (len(names) != len(CLASS_NAMES) or wrong):
        raise ModelError(
            f"{path}: classNames are {', '.join(names)}; expected {', '.join(CLASS_NAMES)} in this order; {_ANOTHER}"
        )
    return names


def _architecture(data: h5py.Group) -> Architecture:
    """Depth from the names of the layers, width from the first layer's weights."""
    path = data.file.filename
    deepest = [int(found[1]) for name in data if (found := _FIRST_LAYER.fullmatch(name)) and _is_filled(data, name)]
    if not deepest:
        raise ModelError(f"{path}: layer conv_d0a-b is missing: not the weights of a U-Net; give a .caffemodel.h5 file")
    poolings = max(deepest)
    if not 1 <= poolings <= _MAX_POOLINGS:
        raise ModelError(f"{path}: {poolings} poolings (layer conv_d{poolings}a-b), expected 1 to {_MAX_POOLINGS}")
    first, last = (_layer_shape(data, name) for name in ("conv_d0a-b", "conv_u0d-score"))
    if len(first) != 4 or first[1] != 3 or not 1 <= first[0] <= 1024:
        raise ModelError(
            f"{path}: layer conv_d0a-b is {first}, expected (features, 3, 3, 3): cargo, lysosome and an empty plane"
        )
    if last[:1] != (len(CLASS_NAMES),):
        raise ModelError(
            f"{path}: layer conv_u0d-score is {last}, expected (3, {first[0]}, 1, 1): {', '.join(CLASS_NAMES)}"
        )
    return Architecture(levels=poolings + 1, base_features=first[0], padding="valid")


def _layer_shape(data: h5py.Group, name: str) -> tuple[int, ...]:
    if not _is_filled(data, name):
        raise ModelError(f"{data.file.filename}: layer {name} is missing; download the file again")
    shape = float32_shape(group(data, name), "0")
    if shape is None:
        raise ModelError(f"{data.file.filename}: layer {name} has no weights (0); download the file again")
    return shape


def _is_filled(data: h5py.Group, name: str) -> bool:
    """Whether a layer has weights: those of activations, pooling and the like are empty groups."""
    return child(data, name) is not None and len(group(data, name)) > 0


def _check_edges(edges: dict[str, int], architecture: Architecture, path: Path) -> None:
    multiple = architecture.multiple
    expected = {"downsampleFactor": multiple, "padInput": 4 * multiple - 4, "padOutput": 4 - 8 * multiple}
    for name, value in expected.items():
        if edges[name] != value:
            raise ModelError(
                f"{path}: {name} is {edges[name]}, expected {value} for the {architecture.levels - 1} poolings of the "
                "weights with valid convolutions; give the definition and the weights of one model"
            )


def _check_layers(data: h5py.Group, architecture: Architecture) -> None:
    """Every name and every shape, before a value is read."""
    path = data.file.filename
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in UNet(architecture).state_dict().items()}
    names = layer_names(architecture.levels - 1)
    extra = next((layer for layer in data if layer not in names and _is_filled(data, layer)), None)
    if extra is not None:
        raise ModelError(f"{path}: layer {extra!r} does not belong to a U-Net of {architecture.levels - 1} poolings")
    for layer, name in names.items():
        _layer_shape(data, layer)
        values = group(data, layer)
        surplus = next((entry for entry in values if entry not in ("0", "1")), None)
        if surplus is not None:
            raise ModelError(f"{path}: layer {layer} has an entry {surplus!r} besides weights (0) and bias (1)")
        for entry, part in (("0", "weight"), ("1", "bias")):
            found, expected = float32_shape(values, entry), shapes[f"{name}.{part}"]
            if found != expected:
                raise ModelError(f"{path}: layer {layer} has a {part} ({entry}) of {found}, expected {expected}")
    if 4 * sum(torch.Size(shape).numel() for shape in shapes.values()) > MAX_BYTES:
        raise ModelError(f"{path}: weights of more than {MAX_BYTES} bytes, which no model of this network has")


def _tensors(data: h5py.Group, architecture: Architecture) -> dict[str, Tensor]:
    """Weights by this library's names."""
    return {
        f"{name}.{part}": torch.from_numpy(float32_array(group(data, layer), entry))
        for layer, name in layer_names(architecture.levels - 1).items()
        for entry, part in (("0", "weight"), ("1", "bias"))
    }


def _card(definition: Definition, architecture: Architecture, modeldef: Path, weights: Path) -> ModelCard:
    return ModelCard(
        name=definition.name,
        architecture=architecture,
        normalization="joint",
        training={
            "data": "not known to lysoquant: imported from a U-Net plugin model",
            "modeldef": f"{modeldef.name} (sha256 {digest_file(modeldef)})",
            "weights": f"{weights.name} (sha256 {digest_file(weights)})",
            **({"description": definition.description} if definition.description else {}),
            **({"class_names": ", ".join(definition.classes)} if definition.classes else {}),
            "padding": "mirror",
            **definition.training,
        },
        limits=("imported: not evaluated by lysoquant; run `lysoquant evaluate` before you rely on it",),
    )
