"""Import of published models: equal to a forward pass in numpy, and every fault by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import test_segment_step as plate
import torch
from caffe_kit import definition, layers, write_definition, write_weights
from network_kit import write_tiny
from numpy.typing import NDArray

from lysoquant.cli.main import invoke
from lysoquant.errors import InputError, ModelError
from lysoquant.layout import Layout
from lysoquant.model.caffe import import_caffe, layer_names
from lysoquant.model.card import check_fit, read_card
from lysoquant.model.cuts import TilePlan
from lysoquant.model.predict import Predictor
from lysoquant.model.weights import load_model

Array = NDArray[Any]
CPU = torch.device("cpu")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Definition and weights of a net of two poolings, and where the import may go."""
    modeldef = write_definition(tmp_path / "net.modeldef.h5", definition(2))
    weights = write_weights(tmp_path / "net.caffemodel.h5", layers(2, 2))
    return modeldef, weights, tmp_path / "net.safetensors"


def convolve(image: Array, weight: Array, bias: Array) -> Array:
    """Valid cross-correlation, one offset of the kernel at a time."""
    height, width = image.shape[1] - weight.shape[2] + 1, image.shape[2] - weight.shape[3] + 1
    out = np.zeros((weight.shape[0], height, width)) + bias[:, None, None]
    for y in range(weight.shape[2]):
        for x in range(weight.shape[3]):
            out += np.tensordot(weight[:, :, y, x], image[:, y : y + height, x : x + width], axes=1)
    return out


def leaky(values: Array) -> Array:
    return np.where(values < 0, 0.1 * values, values)


def pool(image: Array) -> Array:
    """Largest of each 2x2 block."""
    return np.maximum.reduce([image[:, y::2, x::2] for y in (0, 1) for x in (0, 1)])


def lift(image: Array, weight: Array, bias: Array) -> Array:
    """2x2 transposed convolution of stride 2: each pixel paints a block; weights are (in, out, y, x)."""
    out = np.zeros((weight.shape[1], 2 * image.shape[1], 2 * image.shape[2])) + bias[:, None, None]
    for y in (0, 1):
        for x in (0, 1):
            out[:, y::2, x::2] += np.tensordot(weight[:, :, y, x].T, image, axes=1)
    return out


def centre(image: Array, shape: tuple[int, ...]) -> Array:
    top, left = (image.shape[1] - shape[1]) // 2, (image.shape[2] - shape[2]) // 2
    return image[:, top : top + shape[1], left : left + shape[2]]


def forward(content: dict[str, tuple[Array, Array]], poolings: int, image: Array) -> Array:
    """Scores by the plugin's names of the layers, in double precision."""
    weights = {name: (weight.astype(float), bias.astype(float)) for name, (weight, bias) in content.items()}
    features, skips = image - 0.5, []
    for level in range(poolings + 1):
        features = pool(features) if level else features
        for step in ("a-b", "b-c"):
            features = leaky(convolve(features, *weights[f"conv_d{level}{step}"]))
        skips.append(features)
    for level in range(poolings - 1, -1, -1):
        below = f"d{poolings}c" if level == poolings - 1 else f"u{level + 1}d"
        lifted = leaky(lift(features, *weights[f"upconv_{below}_u{level}a"]))
        features = np.concatenate([lifted, centre(skips[level], lifted.shape)])
        for step in ("b-c", "c-d"):
            features = leaky(convolve(features, *weights[f"conv_u{level}{step}"]))
    return convolve(features, *weights["conv_u0d-score"])


def softmax(scores: Array) -> Array:
    exponents = np.exp(scores - scores.max(axis=0))
    return np.asarray(exponents / exponents.sum(axis=0))


@pytest.mark.parametrize(("poolings", "base", "edges"), [(2, 4, (60, 76)), (3, 3, (108, 124))])
def test_an_imported_network_gives_the_scores_of_the_method(
    tmp_path: Path, poolings: int, base: int, edges: tuple[int, int]
) -> None:
    content = layers(poolings, base)
    out = tmp_path / "imported.safetensors"
    card = import_caffe(
        write_definition(tmp_path / "d.h5", definition(poolings)), write_weights(tmp_path / "w.h5", content), out
    )
    assert (card.architecture.levels, card.architecture.base_features) == (poolings + 1, base)
    image = np.random.default_rng(0).random((3, *edges))
    expected = forward(content, poolings, image)
    assert expected.shape[1:] == tuple(edge - 12 * 2**poolings + 8 for edge in edges)
    assert expected.std() > 0.1
    network = load_model(out).network
    with torch.inference_mode():
        found = network(torch.from_numpy(image[None]).float())[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_imported_network_predicts_crops_as_the_method_tiles_them(files: tuple[Path, Path, Path]) -> None:
    """One tile of 32 px: image mirrored by 20 px, half of the loss of 40, and whole levels beyond."""
    import_caffe(*files)
    image = np.random.default_rng(1).random((3, 30, 23))
    mirrored = np.pad(image, ((0, 0), (20, 20 + 32 - 30), (20, 20 + 32 - 23)), mode="reflect")
    expected = softmax(forward(layers(2, 2), 2, mirrored))[:, :30, :23]
    predictor = Predictor(load_model(files[2]), CPU, TilePlan(30, 4), 1, precision="fp32")
    ((_, found),) = predictor.predict([(0, torch.from_numpy(image).float())])
    assert predictor.tiles == 1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_full_seven_levels_are_imported_in_single_precision(tmp_path: Path) -> None:
    content = layers(6, 16)
    out = tmp_path / "seven.safetensors"
    card = import_caffe(write_definition(tmp_path / "d.h5", definition(6)), write_weights(tmp_path / "w", content), out)
    assert (card.architecture.levels, card.architecture.base_features, card.architecture.padding) == (7, 16, "valid")
    weights = load_model(out).network.state_dict()
    assert sum(value.numel() for value in weights.values()) == 31_110_035
    assert sum(weight.size + bias.size for weight, bias in content.values()) == 31_110_035
    names = layer_names(6)
    assert len(names) == len(content) == 14 + 18 + 1
    for layer, (weight, bias) in content.items():
        np.testing.assert_array_equal(weights[f"{names[layer]}.weight"].numpy(), weight)
        np.testing.assert_array_equal(weights[f"{names[layer]}.bias"].numpy(), bias)


def test_the_pipeline_runs_an_imported_network(layout: Layout, tmp_path: Path) -> None:
    """Weights set by hand: the skip hands both channels on; bright lysosome is empty, bright cargo too is loaded."""
    content = {name: (0 * weight, 0 * bias) for name, (weight, bias) in layers(1, 2).items()}
    for name, first in (("conv_d0a-b", 0), ("conv_d0b-c", 0), ("conv_u0b-c", 2), ("conv_u0c-d", 0)):
        for channel in (0, 1):
            content[name][0][channel, first + channel, 1, 1] = 1
    weight, bias = content["conv_u0d-score"]
    weight[1, 1] = weight[2, 1] = weight[2, 0] = 40
    bias[:] = 5, 0, -5
    import_caffe(
        write_definition(tmp_path / "d.h5", definition(1)),
        write_weights(tmp_path / "w.h5", content),
        layout.project / "imported.safetensors",
    )
    record = plate.segment(plate.make_project(layout), plate.settings(model="imported.safetensors"))
    assert record["wells"]["A01"]["counts"]["objects"] == 2 * len(plate.DISCS)
    rows = plate.table(layout, "B02")
    assert dict(zip(rows["label"], rows["is_loaded"], strict=True)) == plate.IS_LOADED
    labels, classes = plate.labels(layout, "B02", 0)
    for number, (y, x, _) in plate.DISCS.items():
        assert labels[y, x] == number
        assert classes[y, x] == (2 if plate.IS_LOADED[number] else 1)
    for number in (3, 4):
        np.testing.assert_array_equal(labels == number, plate.disc(number))


def test_the_card_carries_the_flags_of_the_definition(files: tuple[Path, Path, Path]) -> None:
    card = import_caffe(*files)
    assert card == read_card(files[2])
    assert card.name == "LysoQuant 2D"
    assert card.normalization == "joint"
    assert card.architecture.padding == "valid"
    assert card.pixel_size_um == 0.025
    assert card.classes == ("background", "empty", "loaded")
    assert card.training["description"] == "a test, of two lines"
    assert card.training["class_names"] == "Background, Empty, Loaded"
    assert card.training["padding"] == "mirror"
    assert [card.training[name] for name in ("border_factor", "border_sigma_px", "sigma1_px")] == [50, 6, 10]
    assert card.training["background_weight"] == pytest.approx(0.1)
    assert str(card.training["weights"]).startswith("net.caffemodel.h5 (sha256 ")
    check_fit(card, roles={"cargo", "lysosome"})


def test_names_of_the_layers_as_in_the_published_files() -> None:
    assert list(layer_names(2).items()) == [
        ("conv_d0a-b", "down.0.0"), ("conv_d0b-c", "down.0.2"),
        ("conv_d1a-b", "down.1.0"), ("conv_d1b-c", "down.1.2"),
        ("conv_d2a-b", "down.2.0"), ("conv_d2b-c", "down.2.2"),
        ("upconv_d2c_u1a", "lift.0"), ("conv_u1b-c", "up.0.0"), ("conv_u1c-d", "up.0.2"),
        ("upconv_u1d_u0a", "lift.1"), ("conv_u0b-c", "up.1.0"), ("conv_u0c-d", "up.1.2"),
        ("conv_u0d-score", "score"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"element_size_um": np.array([0.1, 0.1])}, r"element_size_um is 0\.1 x 0\.1; this library brings every cell"),
        ({"element_size_um": np.array([0.2, 0.025, 0.025])}, r"element_size_um is 0\.2 x 0\.025 x 0\.025"),
        ({"element_size_um": None}, "element_size_um is absent"),
        ({"element_size_um": np.array([np.nan, 0.025])}, "element_size_um is not finite"),
        ({"normalization_type": np.int32(0)}, r"normalization_type is 0 \(none\); this library does 1"),
        ({"normalization_type": np.int32(2)}, r"is 2 \(zero mean and unit deviation\)"),
        ({"normalization_type": np.int32(3)}, r"is 3 \(largest norm of a pixel's channels 1\)"),
        ({"normalization_type": np.int32(7)}, r"is 7 \(unknown\)"),
        ({"normalization_type": None}, "normalization_type is absent"),
        ({"normalization_type": np.bytes_(b"1")}, "normalization_type has type .S1.*expected a number"),
        ({"normalization_type": np.ones(65)}, r"shape \(65,\), expected a number"),
        ({"padding": np.bytes_(b"zero")}, "padding is 'zero', expected 'mirror'"),
        ({"padding": None}, "padding is 'absent', expected 'mirror'"),
        ({"padding": np.int32(1)}, "padding has type int32.*expected a text"),
        ({"padInput": np.int32(0)}, "padInput is 0, expected 12 for the 2 poolings"),
        ({"padOutput": np.int32(0)}, "padOutput is 0, expected -28 for the 2 poolings"),
        ({"downsampleFactor": np.int32(64)}, "downsampleFactor is 64, expected 4"),
        ({"downsampleFactor": np.array([4, 8])}, "downsampleFactor is 4, 8, expected one whole number"),
        ({"padInput": np.float64(1.5)}, r"padInput is 1\.5, expected one whole number"),
        ({"padInput": None}, "padInput is absent, expected one whole number"),
        ({"classNames": np.array([b"background", b"loaded", b"empty"])}, "expected background, empty, loaded in this"),
        ({"classNames": np.array([b"a", b"b"])}, "classNames are a, b; expected background"),
        ({"pixelwise_loss_weights/sigma1Px": np.float32(np.inf)}, "sigma1Px is not finite"),
    ],
)
def test_a_definition_that_this_library_does_not_follow(
    files: tuple[Path, Path, Path], change: dict[str, Any], expected: str
) -> None:
    entries = {name: value for name, value in (definition(2) | change).items() if value is not None}
    write_definition(files[0], entries)
    with pytest.raises(ModelError, match=expected):
        import_caffe(*files)
    assert not files[2].exists()


def test_a_definition_with_less_and_with_edges_an_axis(files: tuple[Path, Path, Path]) -> None:
    entries = {name: value for name, value in definition(2).items() if not name.startswith(("pixelwise", "class"))}
    del entries["name"], entries["description"]
    write_definition(files[0], entries | {"padInput": np.array([12, 12]), "padding": "mirror"})
    card = import_caffe(*files)
    assert card.name == "net"
    assert set(card.training) == {"data", "modeldef", "weights", "padding"}


WeightsChange = Callable[[h5py.Group], None]


def resize(name: str, *shape: int, dtype: str = "f4") -> WeightsChange:
    def change(data: h5py.Group) -> None:
        if name in data:
            del data[name]
        data[name] = np.zeros(shape, dtype)

    return change


def remove(name: str) -> WeightsChange:
    def change(data: h5py.Group) -> None:
        del data[name]

    return change


def empty(name: str) -> WeightsChange:
    def change(data: h5py.Group) -> None:
        del data[name]
        data.create_group(name)

    return change


def spoil(data: h5py.Group) -> None:
    data["conv_u1c-d/0"][0, 0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (remove("conv_d1b-c"), "layer conv_d1b-c is missing"),
        (empty("upconv_d2c_u1a"), "layer upconv_d2c_u1a is missing"),
        (remove("conv_u0d-score"), "layer conv_u0d-score is missing"),
        (remove("conv_d0a-b"), "layer conv_d0a-b is missing"),
        (remove("conv_u0b-c/0"), r"layer conv_u0b-c has no weights \(0\)"),
        (remove("conv_u0b-c/1"), r"layer conv_u0b-c has a bias \(1\) of None, expected \(2,\)"),
        (remove("conv_d2a-b"), "layer 'conv_d2b-c' does not belong to a U-Net of 1 poolings"),
        (resize("conv_d3a-b/0", 16, 8, 3, 3), "layer 'upconv_d2c_u1a' does not belong to a U-Net of 3 poolings"),
        (resize("dense/0", 3), "layer 'dense' does not belong to a U-Net of 2 poolings"),
        (resize("dense\nx/0", 3), r"layer 'dense\\nx' does not belong"),
        (resize("conv_d1a-b/2", 3), r"layer conv_d1a-b has an entry '2' besides weights \(0\) and bias \(1\)"),
        (resize("conv_d1a-b/0", 4, 3, 3, 3), r"conv_d1a-b has a weight \(0\) of \(4, 3, 3, 3\), exp"),
        (resize("conv_d1a-b/1", 1, 1, 1, 4), r"conv_d1a-b has a bias \(1\) of \(1, 1, 1, 4\), expected \(4,\)"),
        (resize("upconv_u1d_u0a/0", 2, 4, 2, 2), r"weight \(0\) of \(2, 4, 2, 2\), expected \(4, 2, 2, 2\)"),
        (resize("conv_d0a-b/0", 2, 1, 3, 3), r"conv_d0a-b is \(2, 1, 3, 3\), expected \(features, 3, 3, 3\)"),
        (resize("conv_u0d-score/0", 2, 2, 1, 1), r"conv_u0d-score is \(2, 2, 1, 1\), expected \(3, 2, 1, 1\)"),
        (resize("conv_d1a-b/0", 4, 2, 3, 3, dtype="f8"), "conv_d1a-b/0 has type float64, expected float32"),
        (resize("conv_d1a-b/0", 4, 2, 3, 3, dtype="i4"), "conv_d1a-b/0 has type int32, expected float32"),
        (resize("conv_d12a-b/0", 4, 2, 3, 3), "12 poolings"),
        (spoil, "conv_u1c-d/0 has values that are not finite"),
    ],
)  # fmt: skip
def test_weights_that_are_not_this_networks(
    files: tuple[Path, Path, Path], change: WeightsChange, expected: str
) -> None:
    with h5py.File(files[1], "a") as file:
        change(file["data"])
    with pytest.raises(ModelError, match=expected) as error:
        import_caffe(*files)
    assert str(files[1]) in str(error.value)
    assert not files[2].exists()


def test_nothing_outside_the_files_is_opened(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    other = write_weights(tmp_path / "other.h5", layers(2, 2))
    raw = tmp_path / "raw.bin"
    raw.write_bytes(bytes(4 * 2))
    source = h5py.VirtualSource(str(other), "data/conv_d0a-b/1", shape=(2,))
    layout = h5py.VirtualLayout(shape=(2,), dtype="f4")
    layout[:] = source

    def soft(data: h5py.Group) -> None:
        data["conv_d0a-b"] = h5py.SoftLink("/data/conv_d0b-c")

    def outside(data: h5py.Group) -> None:
        data["conv_d0a-b"] = h5py.ExternalLink(str(other), "/data/conv_d0a-b")

    def bias_outside(data: h5py.Group) -> None:
        data["conv_d0a-b/0"] = layers(2, 2)["conv_d0a-b"][0]
        data["conv_d0a-b/1"] = h5py.ExternalLink(str(other), "/data/conv_d0a-b/1")

    def virtual(data: h5py.Group) -> None:
        data["conv_d0a-b/0"] = layers(2, 2)["conv_d0a-b"][0]
        data.create_virtual_dataset("conv_d0a-b/1", layout)

    def stored_outside(data: h5py.Group) -> None:
        data["conv_d0a-b/0"] = layers(2, 2)["conv_d0a-b"][0]
        data.create_dataset("conv_d0a-b/1", (2,), "f4", external=[(str(raw), 0, 8)])

    for trap, expected in (
        (soft, "conv_d0a-b is a link to another place, which is not followed"),
        (outside, "conv_d0a-b is a link to another place, which is not followed"),
        (bias_outside, "conv_d0a-b/1 is a link to another place"),
        (virtual, "conv_d0a-b/1 keeps its values in another file, which is not opened"),
        (stored_outside, "conv_d0a-b/1 keeps its values in another file, which is not opened"),
    ):
        with h5py.File(files[1], "a") as file:
            del file["data/conv_d0a-b"]
            trap(file["data"])
        with pytest.raises(ModelError, match=expected):
            import_caffe(*files)
    with h5py.File(files[0], "a") as file:
        del file["unet_param"]
        file["unet_param"] = h5py.ExternalLink(str(other), "/data")
    with pytest.raises(ModelError, match="unet_param is a link to another place"):
        import_caffe(*files)


@pytest.mark.parametrize("number", [0, 1])
def test_a_truncated_file_and_one_that_is_no_hdf5(files: tuple[Path, Path, Path], number: int) -> None:
    length = files[number].stat().st_size
    for end in (length - 1, length // 2, 100, 0):
        os.truncate(files[number], end)
        with pytest.raises(ModelError, match=rf"{files[number].name}: not a whole HDF5 file .*download it again"):
            import_caffe(*files)
    files[number].write_bytes(b"\x80\x04]\x94." * 100)
    with pytest.raises(ModelError, match="not a whole HDF5 file"):
        import_caffe(*files)
    files[number].unlink()
    with pytest.raises(ModelError, match="there is no such file"):
        import_caffe(*files)


def test_the_files_in_the_wrong_order(files: tuple[Path, Path, Path]) -> None:
    with pytest.raises(ModelError, match=r"caffemodel\.h5: /unet_param is missing or not a group"):
        import_caffe(files[1], files[0], files[2])


def test_a_file_that_is_there_is_not_overwritten(files: tuple[Path, Path, Path]) -> None:
    content = files[1].read_bytes()
    with pytest.raises(InputError, match=r"net\.caffemodel\.h5 exists and is not overwritten"):
        import_caffe(files[0], files[1], files[1])
    assert files[1].read_bytes() == content


def test_the_command_imports_and_says_what_it_found(
    files: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["model", "import-caffe", *map(str, files)]) == 0
    out = capsys.readouterr().out
    assert f"{files[2]}: LysoQuant 2D, 3 levels, 2 base features, valid convolutions, normalization joint" in out
    assert invoke(["model", "info", str(files[2])]) == 0
    assert "network      U-Net, 3 levels, 2 base features, valid convolutions, " in capsys.readouterr().out
    assert invoke(["model", "import-caffe", *map(str, files)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_model_of_this_library_is_no_published_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_tiny(tmp_path / "tiny.safetensors")
    assert invoke(["model", "import-caffe", str(path), str(path), str(tmp_path / "out.safetensors")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}: not a whole HDF5 file")
    assert error.count("\n") == 1
