"""Files in the layout of the U-Net plugin's published models, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def layers(poolings: int, base: int) -> dict[str, tuple[Array, Array]]:
    """Weights and bias of each layer, its shape written out from the method's description."""
    rng = np.random.default_rng(poolings)
    found: dict[str, tuple[Array, Array]] = {}

    def add(name: str, *shape: int, out: int) -> None:
        scale = (2 / np.prod(shape[1:])) ** 0.5
        weight = scale * rng.standard_normal(shape, dtype=np.float32)
        found[name] = weight.astype(np.float32), 0.1 * rng.standard_normal(out, dtype=np.float32)

    for level in range(poolings + 1):
        width = base * 2**level
        add(f"conv_d{level}a-b", width, width // 2 if level else 3, 3, 3, out=width)
        add(f"conv_d{level}b-c", width, width, 3, 3, out=width)
    for level in range(poolings - 1, -1, -1):
        width = base * 2**level
        below = f"d{poolings}c" if level == poolings - 1 else f"u{level + 1}d"
        add(f"upconv_{below}_u{level}a", 2 * width, width, 2, 2, out=width)
        add(f"conv_u{level}b-c", width, 2 * width, 3, 3, out=width)
        add(f"conv_u{level}c-d", width, width, 3, 3, out=width)
    add("conv_u0d-score", 3, base, 1, 1, out=3)
    return found


def definition(poolings: int) -> dict[str, Any]:
    """Entries of `/unet_param`."""
    pad_input, pad_output = 0, -4
    for _ in range(poolings):
        pad_input, pad_output = 2 * pad_input + 4, 2 * pad_output - 4
    return {
        "element_size_um": np.array([0.025, 0.025]),
        "name": np.bytes_(b"LysoQuant 2D\0"),
        "description": np.bytes_(b"a test,\nof two lines"),
        "input_blob_name": np.bytes_(b"data"),
        "padding": np.bytes_(b"mirror\0\0"),
        "normalization_type": np.int32(1),
        "downsampleFactor": np.int32(2**poolings),
        "padInput": np.int32(pad_input),
        "padOutput": np.int32(pad_output),
        "pixelwise_loss_weights/borderWeightFactor": np.float32(50),
        "pixelwise_loss_weights/borderWeightSigmaPx": np.float32(6),
        "pixelwise_loss_weights/foregroundBackgroundRatio": np.float32(0.1),
        "pixelwise_loss_weights/sigma1Px": np.float32(10),
        "classNames": np.array([b"Background", b"Empty", b"Loaded"]),
    }


def write_definition(path: Path, entries: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in entries.items():
            file[f"unet_param/{name}"] = value
        file["model_prototxt"] = np.bytes_(b'name: "U-Net"')
    return path


def write_weights(path: Path, content: dict[str, tuple[Array, Array]]) -> Path:
    with h5py.File(path, "w") as file:
        file[".unet-ident"] = np.bytes_(b"0123")
        for name in ("relu_d0b", "pool_d0c-1a", "concat_d0c_u0a-b", "conv_d0c_split", "data_shift"):
            file.create_group(f"data/{name}")
        for name, (weight, bias) in content.items():
            file[f"data/{name}/0"], file[f"data/{name}/1"] = weight, bias
    return path
