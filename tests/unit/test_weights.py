"""Model files: there and back, and every way in which one can be wrong."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from network_kit import TINY, tiny_network, write_tiny
from safetensors.torch import load_file, save_file

from lysoquant.errors import InputError, ModelError
from lysoquant.model.architecture import Architecture
from lysoquant.model.card import ModelCard, check_fit, model_path, read_card
from lysoquant.model.weights import load_model, save_model
from lysoquant.record import digest_file

ROLES = {"cargo", "lysosome", "nucleus"}


def rewrite(path: Path, *, tensors: dict[str, torch.Tensor] | None = None, card: str | None = "keep") -> None:
    """The same file with other tensors or another card."""
    text = read_card(path).model_dump_json() if card == "keep" else card
    metadata = None if text is None else {"lysoquant": text}
    save_file(load_file(path) if tensors is None else tensors, path, metadata=metadata)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "tiny.safetensors")


def test_a_network_comes_back_in_half_precision_with_its_card(tmp_path: Path) -> None:
    network = tiny_network(seed=3)
    card = ModelCard(
        name="there and back",
        architecture=TINY,
        training={"data": "none", "iterations": 7, "rate": 0.5},
        metrics={"iou": 0.25},
        limits=("only a test",),
    )
    path = tmp_path / "new" / "model.safetensors"
    digest = save_model(path, network, card)
    model = load_model(path)
    assert model.card == card
    assert model.sha256 == digest == digest_file(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["model.safetensors"]
    assert not model.network.training
    for name, value in network.state_dict().items():
        found = model.network.state_dict()[name]
        assert found.dtype == torch.float32
        assert torch.equal(found, value.half().float())
    assert path.stat().st_size < 2 * sum(value.numel() for value in network.state_dict().values()) + 8000
    image = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(model.network(image), network.half().float()(image))


def test_single_precision_comes_back_as_it_was(tmp_path: Path) -> None:
    network = tiny_network(seed=3)
    path = tmp_path / "model.safetensors"
    save_model(path, network, ModelCard(name="exact", architecture=TINY), dtype=torch.float32)
    assert all(value.dtype == torch.float32 for value in load_file(path).values())
    for name, value in load_model(path).network.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])


def test_the_same_network_gives_the_same_file(tmp_path: Path) -> None:
    assert digest_file(write_tiny(tmp_path / "a")) == digest_file(write_tiny(tmp_path / "b"))
    assert digest_file(write_tiny(tmp_path / "a", seed=1)) != digest_file(tmp_path / "b")


def test_a_full_disk_is_the_systems_own_error(tmp_path: Path) -> None:
    (tmp_path / ".tiny.safetensors.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        write_tiny(tmp_path / "tiny.safetensors")


def test_a_truncated_file(model_file: Path) -> None:
    for length in (0, 5, 600, model_file.stat().st_size - 1):
        os.truncate(model_file, length)
        with pytest.raises(ModelError, match=r"tiny\.safetensors: not a safetensors file .*give a model written by"):
            load_model(model_file)


def test_a_pickle_is_refused_and_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    plain, archive = tmp_path / "plain.pt", tmp_path / "archive.pt"
    plain.write_bytes(pickle.dumps(Trap()))
    torch.save({"weight": Trap()}, archive)
    for path in (plain, archive):
        with pytest.raises(ModelError, match="not a safetensors file"):
            load_model(path)
    assert not (tmp_path / "sprung").exists()


def test_a_file_without_a_card(model_file: Path) -> None:
    rewrite(model_file, card=None)
    with pytest.raises(ModelError, match="carries no lysoquant model card"):
        read_card(model_file)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"architecture": {"levels": 99}}, "wrong at architecture.levels"),
        ({"architecture": {"levels": 3, "rings": 1}}, "wrong at architecture.rings"),
        ({"mood": "good"}, "wrong at mood"),
        ({"name": None}, "wrong at name"),
        ({"inputs": ["cargo", "lysosome"]}, "names 2 inputs, the network has 3"),
    ],
)
def test_a_wrong_card(model_file: Path, change: dict[str, Any], expected: str) -> None:
    card = json.loads(read_card(model_file).model_dump_json())
    rewrite(model_file, card=json.dumps(card | change))
    with pytest.raises(ModelError, match=expected):
        load_model(model_file)


def test_a_card_that_is_no_json(model_file: Path) -> None:
    rewrite(model_file, card="{")
    with pytest.raises(ModelError, match="its model card is wrong at the top"):
        load_model(model_file)


def test_missing_extra_and_misshapen_tensors_are_named(model_file: Path) -> None:
    tensors = load_file(model_file)
    rewrite(model_file, tensors={name: value for name, value in tensors.items() if name != "lift.1.bias"})
    with pytest.raises(ModelError, match=r"tensor lift\.1\.bias is missing"):
        load_model(model_file)
    write_tiny(model_file)
    rewrite(model_file, tensors=tensors | {"uninvited": torch.zeros(1)})
    with pytest.raises(ModelError, match="tensor uninvited does not belong"):
        load_model(model_file)
    write_tiny(model_file)
    rewrite(model_file, tensors=tensors | {"score.weight": torch.zeros(3, 5, 1, 1)})
    with pytest.raises(ModelError, match=r"tensor score\.weight is \(3, 5, 1, 1\), expected \(3, 4, 1, 1\)"):
        load_model(model_file)


def test_values_that_are_not_finite(model_file: Path) -> None:
    tensors = load_file(model_file)
    tensors["down.0.0.weight"][0, 0, 0, 0] = float("nan")
    rewrite(model_file, tensors=tensors)
    with pytest.raises(ModelError, match=r"tensor down\.0\.0\.weight has values that are not finite"):
        load_model(model_file)


def test_a_card_that_claims_a_vast_network_costs_no_memory(model_file: Path) -> None:
    card = json.loads(read_card(model_file).model_dump_json())
    card["architecture"] |= {"levels": 9, "base_features": 1024}
    rewrite(model_file, card=json.dumps(card))
    with pytest.raises(ModelError, match="expected"):
        load_model(model_file)


def test_a_file_beyond_any_model(model_file: Path) -> None:
    os.truncate(model_file, 2**30 + 1)
    with pytest.raises(ModelError, match="larger than 1073741824 bytes"):
        read_card(model_file)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"inputs": ("lysosome", "cargo", None)}, "expects inputs"),
        ({"inputs": ("cargo", "lysosome", "nucleus")}, "expects inputs"),
        ({"normalization": "magic"}, "asks for normalization 'magic', not 'cell' or 'joint'"),
        ({"pixel_size_um": 0.1}, "works at 0.1 um, lysoquant at 0.025 um"),
        ({"classes": ("background", "vesicle")}, "has classes"),
        ({"architecture": Architecture(levels=3, base_features=4, classes=4)}, "has classes"),
    ],
)
def test_a_model_that_does_not_fit(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        check_fit(ModelCard(**({"name": "m", "architecture": TINY} | change)), roles=ROLES)


def test_a_role_that_the_configuration_lacks() -> None:
    card = ModelCard(name="m", architecture=TINY)
    check_fit(card, roles=ROLES)
    with pytest.raises(ModelError, match=r"'m' needs a cargo channel; set channels\.cargo"):
        check_fit(card, roles={"lysosome"})


def test_the_setting_names_a_file(tmp_path: Path) -> None:
    write_tiny(tmp_path / "models" / "mine.safetensors")
    assert model_path("models/mine.safetensors", project=tmp_path) == tmp_path / "models" / "mine.safetensors"
    with pytest.raises(InputError, match=r"segment\.model is 'gone\.safetensors' but there is no file"):
        model_path("gone.safetensors", project=tmp_path)
