"""The U-Net: its size, its shape, its start, and its answer against a forward pass in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from network_kit import TINY, tiny_network
from numpy.typing import NDArray
from pydantic import ValidationError

from lysoquant.errors import InputError
from lysoquant.model.architecture import Architecture, flops
from lysoquant.model.network import UNet

Array = NDArray[Any]


def count(architecture: Architecture) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in UNet(architecture).parameters())


def test_seven_levels_of_sixteen_features_have_31_1_million_parameters() -> None:
    widths = [16, 32, 64, 128, 256, 512, 1024]
    down = sum(
        9 * before * width + 9 * width**2 + 2 * width for before, width in zip([3, *widths], widths, strict=False)
    )
    up = sum(4 * 2 * width * width + width + 9 * 2 * width * width + 9 * width**2 + 2 * width for width in widths[:-1])
    assert down + up + 3 * 16 + 3 == 31_110_035
    assert count(Architecture()) == 31_110_035


def test_the_papers_five_level_baseline_has_31_0_million_parameters() -> None:
    first = 9 * 3 * 64 + 9 * 64 * 64 + 2 * 64
    down = sum(9 * width // 2 * width + 9 * width**2 + 2 * width for width in (128, 256, 512, 1024))
    up = sum(8 * width**2 + width + 18 * width**2 + 9 * width**2 + 2 * width for width in (64, 128, 256, 512))
    assert first + down + up + 3 * 64 + 3 == 31_031_875
    assert count(Architecture(levels=5, base_features=64)) == 31_031_875


def test_valid_convolutions_have_the_same_parameters() -> None:
    assert count(Architecture(padding="valid")) == 31_110_035


def test_operations_of_a_pixel_are_136_thousand() -> None:
    """Multiplications by hand: level 0, five levels of equal cost, and the deepest, a quarter of the pixels a level."""
    top = 9 * 3 * 16 + 9 * 16 * 16 + 4 * 32 * 16 // 4 + 9 * 32 * 16 + 9 * 16 * 16 + 16 * 3
    middle = (9 / 2 + 9 + 2 + 18 + 9) * 16**2
    deepest = (9 / 2 + 9) * 16**2
    assert 2 * (top + 5 * middle + deepest) == 136_128
    assert flops(Architecture(), 512, 512) == 136_128 * 512 * 512
    assert flops(Architecture(), 64, 192) == 136_128 * 64 * 192
    assert flops(Architecture(), 512, 512) == pytest.approx(35.6e9, rel=0.005)
    assert flops(Architecture(levels=5, base_features=64), 512, 512) == pytest.approx(385e9, rel=0.005)


def test_operations_of_valid_convolutions_are_those_of_the_pixels_that_remain() -> None:
    """18 x 24 px: 16 x 22 and 14 x 20, pooled 7 x 10, then 5 x 8 and 3 x 6, lifted 6 x 12, then 4 x 10 and 2 x 8."""
    network = Architecture(levels=2, base_features=1, padding="valid")
    down = 27 * 16 * 22 + 9 * 14 * 20 + 18 * 5 * 8 + 36 * 3 * 6
    up = 2 * 6 * 12 + 18 * 4 * 10 + 9 * 2 * 8 + 3 * 2 * 8
    assert flops(network, 18, 24) == 2 * (down + up)
    with pytest.raises(InputError, match="an image edge is 19 px"):
        flops(network, 18, 19)


@pytest.mark.parametrize("poolings", range(1, 9))
def test_edges_of_valid_convolutions_follow_the_recursion(poolings: int) -> None:
    pad_in, pad_out = 0, -4
    for _ in range(poolings):
        pad_in, pad_out = 2 * pad_in + 4, 2 * pad_out - 4
    network = Architecture(levels=poolings + 1, padding="valid")
    assert network.loss_px == pad_in - pad_out
    multiple = 2**poolings
    allowed = {multiple * k + pad_in: multiple * k + pad_out for k in range(60) if multiple * k + pad_out > 0}
    for image, answer in allowed.items():
        assert network.scores_px(image) == answer
        assert network.answer_px(answer) == answer
        assert network.answer_px(answer + 1) == answer + multiple
    for wrong in {*range(min(allowed) - 5, min(allowed) + 40)} - set(allowed):
        with pytest.raises(InputError, match=f"an image edge is {wrong} px"):
            network.scores_px(wrong)


def test_edges_of_the_published_networks() -> None:
    four, six = (Architecture(levels=levels, padding="valid") for levels in (5, 7))
    assert (four.scores_px(572), four.loss_px) == (388, 184)
    assert (six.loss_px, six.answer_px(512), six.answer_px(1)) == (760, 516, 4)
    assert (Architecture().loss_px, Architecture().answer_px(500), Architecture().scores_px(448)) == (0, 512, 448)


@pytest.mark.parametrize(("network", "edge", "expected"), [
    (Architecture(levels=5, padding="valid"), 573, r"5 levels with valid convolutions need a multiple of 16 plus 12: "
     "give 572 or 588"),
    (Architecture(levels=5, padding="valid"), 184, "give at least 188"),
    (Architecture(levels=7), 500, "7 levels with padding 'zeros' need a multiple of 64: give 448 or 512"),
    (Architecture(levels=7), 3, "give at least 64"),
])  # fmt: skip
def test_an_edge_that_does_not_fit_is_told_the_nearest_ones(network: Architecture, edge: int, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        network.scores_px(edge)


@pytest.mark.parametrize(("levels", "height", "width"), [(2, 18, 40), (3, 44, 60), (5, 572, 188), (7, 764, 764)])
def test_valid_scores_have_the_edges_of_the_formula(levels: int, height: int, width: int) -> None:
    architecture = Architecture(levels=levels, base_features=1, padding="valid")
    with torch.inference_mode():
        scores = tiny_network(architecture=architecture)(torch.rand(1, 3, height, width))
    assert scores.shape == (1, 3, height - architecture.loss_px, width - architecture.loss_px)


def test_valid_convolutions_do_not_take_an_edge_that_would_be_cut() -> None:
    network = tiny_network(architecture=Architecture(levels=3, base_features=1, padding="valid"))
    for shape in ((44, 45), (46, 44), (40, 44)):
        with pytest.raises(InputError, match="3 levels with valid convolutions"):
            network(torch.rand(1, 3, *shape))


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_valid_convolutions_agree_with_padded_ones_away_from_the_edges(padding: str) -> None:
    """Two poolings lose 20 px a side. From row 2 on the coarsest pixels of both networks lie upon each other."""
    padded = tiny_network(seed=2, architecture=Architecture(levels=3, base_features=4, padding=padding))  # type: ignore[arg-type]
    valid = tiny_network(architecture=Architecture(levels=3, base_features=4, padding="valid"))
    valid.load_state_dict(padded.state_dict())
    image = torch.rand(2, 3, 96, 100, generator=torch.Generator().manual_seed(0))
    inner = valid(image[..., 2 : 2 + 84, 6 : 6 + 80])
    outer = padded(image)[..., 22 : 22 + 44, 26 : 26 + 40]
    assert inner.shape == outer.shape == (2, 3, 44, 40)
    torch.testing.assert_close(inner, outer, atol=1e-4, rtol=0)
    inner.square().mean().backward()
    outer.square().mean().backward()
    for (name, ours), theirs in zip(valid.named_parameters(), padded.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert float(theirs.grad.abs().max()) > 1e-3, name
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=0)


def test_the_cap_holds_the_deepest_levels() -> None:
    capped = Architecture(max_features=128)
    assert capped.features() == [16, 32, 64, 128, 128, 128, 128]
    assert Architecture().features() == [16, 32, 64, 128, 256, 512, 1024]
    with torch.device("meta"):
        assert [tuple(block[0].weight.shape[:2]) for block in UNet(capped).down] == [
            (16, 3), (32, 16), (64, 32), (128, 64), (128, 128), (128, 128), (128, 128)
        ]  # fmt: skip


@pytest.mark.parametrize(("levels", "multiple"), [(2, 2), (5, 16), (7, 64), (9, 256)])
def test_a_tile_is_a_multiple_of_the_coarsest_pixel(levels: int, multiple: int) -> None:
    assert Architecture(levels=levels).multiple == multiple


def test_scores_have_the_inputs_size_and_other_sizes_do_not_pass() -> None:
    network = tiny_network()
    assert TINY.multiple == 4
    assert network(torch.rand(2, 3, 12, 20)).shape == (2, 3, 12, 20)
    with pytest.raises(RuntimeError):
        network(torch.rand(1, 3, 13, 20))


@pytest.mark.parametrize("wrong", [{"levels": 1}, {"levels": 10}, {"base_features": 0}, {"base_features": 10**9}])
def test_an_impossible_network_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Architecture(**wrong)


def test_weights_start_with_the_variance_of_he_et_al_and_biases_with_zero() -> None:
    network = tiny_network(architecture=Architecture(levels=3, base_features=32))
    gain = 2 / (1 + 0.1**2)
    deep = network.down[2][2].weight
    assert deep.shape == (128, 128, 3, 3)
    assert float(deep.detach().var()) == pytest.approx(gain / (128 * 9), rel=0.02)
    lifted = network.lift[0].weight
    assert lifted.shape == (128, 64, 2, 2)
    assert float(lifted.detach().var()) == pytest.approx(gain / (64 * 4), rel=0.03)
    assert all(not bool(value.any()) for name, value in network.state_dict().items() if name.endswith("bias"))


def test_a_half_is_subtracted_from_the_input() -> None:
    network = tiny_network()
    with torch.inference_mode():
        assert not network(torch.full((1, 3, 8, 8), 0.5)).any()
        assert network(torch.zeros(1, 3, 8, 8)).any()


def test_lifted_features_come_before_the_skipped_ones() -> None:
    network = tiny_network()
    seen: dict[str, torch.Tensor] = {}
    network.down[0].register_forward_hook(lambda _m, _i, out: seen.update(skip=out.clone()))
    network.lift[1].register_forward_hook(lambda _m, _i, out: seen.update(lifted=out.clone()))
    network.up[1].register_forward_pre_hook(lambda _m, inputs: seen.update(joined=inputs[0].clone()))
    with torch.inference_mode():
        network(torch.rand(1, 3, 8, 8))
    width = TINY.base_features
    torch.testing.assert_close(seen["joined"][:, :width], torch.nn.functional.leaky_relu(seen["lifted"], 0.1))
    torch.testing.assert_close(seen["joined"][:, width:], seen["skip"])
    assert not torch.equal(seen["joined"][:, :width], seen["joined"][:, width:])


def convolve(image: Array, weight: Array, bias: Array) -> Array:
    """3x3 cross-correlation with zeros beyond the edge, pixel by pixel."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(weight), *image.shape[1:]))
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            out[:, y, x] = np.einsum("ocij,cij->o", weight, padded[:, y : y + 3, x : x + 3]) + bias
    return out


def leaky(values: Array) -> Array:
    return np.where(values < 0, 0.1 * values, values)


def numpy_forward(weights: dict[str, Array], image: Array) -> Array:
    """Two levels, written from the method's description and not from the module."""

    def block(name: str, features: Array) -> Array:
        for layer in (0, 2):
            features = leaky(convolve(features, weights[f"{name}.{layer}.weight"], weights[f"{name}.{layer}.bias"]))
        return features

    fine = block("down.0", image - 0.5)
    pooled = fine.reshape(len(fine), fine.shape[1] // 2, 2, fine.shape[2] // 2, 2).max(axis=(2, 4))
    coarse = block("down.1", pooled)
    lifted = np.zeros_like(fine) + weights["lift.0.bias"][:, None, None]
    for y in range(2):
        for x in range(2):
            lifted[:, y::2, x::2] += np.einsum("io,iyx->oyx", weights["lift.0.weight"][:, :, y, x], coarse)
    joined = block("up.0", np.concatenate([leaky(lifted), fine]))
    return np.einsum("oc,cyx->oyx", weights["score.weight"][:, :, 0, 0], joined) + weights["score.bias"][:, None, None]


def test_the_forward_pass_agrees_with_numpy() -> None:
    network = tiny_network(architecture=Architecture(levels=2, base_features=3))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    image = torch.rand(1, 3, 6, 8)
    with torch.inference_mode():
        found = network(image)[0].numpy()
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    np.testing.assert_allclose(found, numpy_forward(weights, image[0].double().numpy()), atol=1e-4)


def test_reflecting_convolutions_see_no_edge() -> None:
    network = tiny_network(architecture=Architecture(levels=2, base_features=3, padding="reflect"))
    with torch.inference_mode():
        scores = network(torch.full((1, 3, 8, 8), 0.9))
    # The transposed convolution leaves a pattern of period 2, the same at the edge as in the middle.
    torch.testing.assert_close(scores, scores[..., 2:4, 2:4].repeat(1, 1, 4, 4))
