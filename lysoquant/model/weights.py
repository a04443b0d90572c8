"""Model files: safetensors with the model card in the header, no pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from lysoquant.errors import ModelError
from lysoquant.model.card import CARD_KEY, ModelCard, read_card
from lysoquant.model.network import UNet
from lysoquant.record import digest_file


@dataclass(frozen=True)
class Model:
    """A network ready for use, its card and the digest of its file."""

    network: UNet
    card: ModelCard
    sha256: str


def save_model(path: Path, network: UNet, card: ModelCard, *, dtype: torch.dtype = torch.float16) -> str:
    """Write weights with their card; returns the file's SHA-256.

    Parameters
    ----------
    dtype : torch.dtype
        Half precision by default. Imported weights keep their single precision: rounding them moves the scores by
        almost 1e-3.
    """
    tensors = {name: value.detach().to(dtype).contiguous() for name, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    # Not save_file: it tells of a full disk or a folder without permission by an error of its own.
    partial.write_bytes(save(tensors, metadata={CARD_KEY: card.model_dump_json()}))
    partial.chmod(0o644)
    partial.replace(path)
    return digest_file(path)


def load_model(path: Path) -> Model:
    """Network, card and digest of a model file.

    Raises
    ------
    ModelError
        If the file is damaged or its weights do not fit the network of its card, naming the first tensor that doesn't.
    """
    card = read_card(path)
    # Without memory until the file's tensors are known to fit: a card may name any size.
    with torch.device("meta"):
        network = UNet(card.architecture)
    expected = network.state_dict()
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        for name, tensor in expected.items():
            if name not in names:
                raise ModelError(f"{path}: tensor {name} is missing; give a model written by lysoquant")
            shape = tuple(file.get_slice(name).get_shape())
            if shape != tuple(tensor.shape):
                raise ModelError(f"{path}: tensor {name} is {shape}, expected {tuple(tensor.shape)} by its card")
        extra = sorted(names - set(expected))
        if extra:
            raise ModelError(f"{path}: tensor {extra[0]} does not belong to the network of its card")
        weights = {name: file.get_tensor(name).float() for name in expected}
    broken = next((name for name, tensor in weights.items() if not bool(tensor.isfinite().all())), None)
    if broken is not None:
        raise ModelError(f"{path}: tensor {broken} has values that are not finite; train or download the model again")
    network.load_state_dict(weights, assign=True)
    return Model(network=network.eval(), card=card, sha256=digest_file(path))
