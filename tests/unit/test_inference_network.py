"""The network as it is run gives what the network as it was trained gives."""

from __future__ import annotations

import math
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from network_kit import Threshold, tiny_network

from lysoquant.benchmark.fields import held_out_cells
from lysoquant.model.architecture import Architecture, Padding
from lysoquant.model.card import DEFAULT_MODEL
from lysoquant.model.cuts import TilePlan
from lysoquant.model.inference import LargestOfFour, fuses, inference_network
from lysoquant.model.predict import Predictor
from lysoquant.model.weights import load_model

CPU = torch.device("cpu")


@pytest.mark.parametrize("padding", ["zeros", "reflect", "valid"])
def test_fused_convolutions_give_the_scores_of_the_plain_network(padding: Padding) -> None:
    architecture = Architecture(levels=3, base_features=8, padding=padding)
    network = tiny_network(seed=4, architecture=architecture).eval()
    images = torch.rand(2, 3, 64 + architecture.loss_px, 96 + architecture.loss_px)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.inference_mode():
        expected = network(images)
        found = inference_network(network, CPU, "fp32")(images)
        rounded = inference_network(network, CPU, "bf16")(images)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert rounded.dtype == torch.float32
    # bfloat16 keeps 8 bits of each number, and there are eleven layers.
    torch.testing.assert_close(rounded, expected, atol=0.05 * float(expected.abs().max()), rtol=0)
    assert not torch.equal(rounded, expected)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_gives_the_bits_of_torchs_own(dtype: torch.dtype) -> None:
    features = torch.randn(2, 5, 8, 12).to(dtype).contiguous(memory_format=torch.channels_last)
    expected = torch.nn.functional.max_pool2d(features, 2)
    assert torch.equal(LargestOfFour()(features), expected)


def test_only_what_can_be_fused_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fuses(tiny_network(architecture=Architecture(levels=2, base_features=2)))
    assert not fuses(tiny_network(architecture=Architecture(levels=2, base_features=2, padding="reflect")))
    called: list[str] = []
    monkeypatch.setattr("lysoquant.model.inference._fused", lambda *_: called.append("fused"))
    stand_in = Threshold()
    assert inference_network(stand_in, CPU, "fp32")(torch.ones(1, 3, 2, 2)).shape == (1, 3, 2, 2)
    assert not called


def test_memory_that_was_freed_is_taken_again_without_new_pages() -> None:
    """In a process of its own: the setting stays until the process ends."""
    code = """
from resource import RUSAGE_SELF, getrusage
import numpy
from lysoquant.model.memory import keep_freed_memory
kept = keep_freed_memory()
for number in range(6):
    numpy.ones(2**25, numpy.uint8)
    before = getrusage(RUSAGE_SELF).ru_minflt if not number else before
print(int(kept), getrusage(RUSAGE_SELF).ru_minflt - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept, faults = map(int, done.stdout.split())
    assert kept == int(platform.libc_ver()[0] == "glibc")
    assert not kept or faults < 1000  # five times 8192 pages of 4 KiB, if they were given back


@pytest.fixture(scope="module")
def cell() -> torch.Tensor:
    return next(iter(held_out_cells(seed=3, count=1))).network_input()


def whole(image: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The shipped network over a crop at once, in the arithmetic that it was trained in."""
    model = load_model(DEFAULT_MODEL)
    bottom, right = (-length % 64 for length in image.shape[1:])
    padded = torch.nn.functional.pad(image, (0, right, 0, bottom))
    with torch.inference_mode():
        found = torch.softmax(model.network(padded[None]), dim=1)[0].numpy()
    return np.asarray(found[:, : image.shape[1], : image.shape[2]])


def test_a_crop_within_the_largest_tile_is_one_tile_and_equals_the_uncut_network(cell: torch.Tensor) -> None:
    found = Predictor(load_model(DEFAULT_MODEL), CPU, TilePlan(1024, 64), 1, "fp32")
    ((_, probabilities),) = found.predict([(0, cell)])
    assert found.tiles == 1
    assert found.pixels == math.prod(-(-length // 64) * 64 for length in cell.shape[1:])
    np.testing.assert_allclose(probabilities, whole(cell), atol=1e-4)


def test_cut_crops_have_the_classes_of_the_uncut_network(cell: torch.Tensor) -> None:
    """With a margin of 64 px a probability is off here and there; with 384 none is on this cell.

    A score may see 380 + 63 px (test_predict.py), so that with 448 none can be.
    """
    image = torch.cat([cell, torch.flip(cell, (2,))], dim=2)
    uncut = whole(image)
    for plan, agreement, most in (
        (TilePlan(512, 64), 0.999, 0.3),
        (TilePlan(1024, 384), 0.99999, 1e-4),
        (TilePlan(1024, 448), 1, 1e-4),
    ):
        found = Predictor(load_model(DEFAULT_MODEL), CPU, plan, 1, "fp32")
        ((_, probabilities),) = found.predict([(0, image)])
        assert found.tiles > 1
        assert (probabilities.argmax(0) == uncut.argmax(0)).mean() >= agreement
        np.testing.assert_allclose(probabilities, uncut, atol=most)


def test_bfloat16_gives_999_of_1000_pixels_their_class(cell: torch.Tensor) -> None:
    found = Predictor(load_model(DEFAULT_MODEL), CPU, TilePlan(1024, 64), 1, "bf16")
    ((_, probabilities),) = found.predict([(0, cell)])
    assert (probabilities.argmax(0) == whole(cell).argmax(0)).mean() >= 0.999
