"""Models for other programs: ONNX, and packages of the BioImage Model Zoo. Each is run before it is handed over.

What leaves is the network with its softmax, in single precision. Its input is what
:func:`lysoquant.model.preprocess.network_input` makes, so normalisation and the pixel size remain the caller's part.
"""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lysoquant.errors import InputError, ModelError
from lysoquant.model.architecture import Architecture
from lysoquant.model.card import DEFAULT_MODEL, ModelCard, check_fit
from lysoquant.model.cuts import mirrored
from lysoquant.model.package import INPUT, OUTPUT, write_package
from lysoquant.model.preprocess import Normalization, network_input
from lysoquant.model.weights import Model

Format = Literal["onnx", "bioimageio"]

TEST_TILE: Final = DEFAULT_MODEL.with_name("test_tile.npz")
"""Raw crop of a simulated cell with empty and loaded endolysosomes: cargo, lysosome, inside, pixel_size_um."""

OPSET: Final = 18
"""Version of the ONNX operators."""

TOLERANCE: Final = 1e-4
"""Largest difference between a probability of the exported network and of torch's on the test tile."""

_PACKAGES: Final[dict[Format, tuple[str, ...]]] = {
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "bioimageio": ("onnx", "onnxruntime", "onnxscript", "bioimageio.core"),
}


@dataclass(frozen=True)
class Exported:
    """A file for another program.

    Attributes
    ----------
    difference : float
        Largest absolute difference of its probabilities to torch's on the test tile.
    shape : tuple of int
        Of the test tile's image (1, C, Y, X).
    """

    path: Path
    difference: float
    shape: tuple[int, ...]


class Probabilities(nn.Module):
    """A network and the softmax of its scores."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return torch.softmax(self.network(images), dim=1)


def export(model: Model, out: Path, *, form: Format) -> Exported:
    """Write a model for another program, and run it there on the test tile.

    Parameters
    ----------
    out : pathlib.Path
        The new file: ONNX, or a zipped package of the BioImage Model Zoo with ONNX weights and the test tile.

    Raises
    ------
    InputError
        If `out` exists or a package is not installed.
    ModelError
        If the model is none that the pipeline takes, the exported network does not give torch's probabilities, or its
        package does not pass its own test.
    """
    if out.exists():
        raise InputError(f"{out} exists and is not overwritten; give another path or remove it")
    check_fit(model.card, roles={"cargo", "lysosome"})
    require_packages(form)
    image = tile_image(model.card)
    with torch.inference_mode():
        expected = Probabilities(model.network)(image).numpy()
    out.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output, so that the finished file is moved there in one step; whole, since bioimageio.spec takes
    # relative paths as within the package.
    with tempfile.TemporaryDirectory(dir=out.parent.absolute(), prefix=".lysoquant-") as folder:
        network = Path(folder) / "weights.onnx"
        write_onnx(model, network)
        found = run_onnx(network, image.numpy())
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:
            raise ModelError(
                f"{out}: probabilities of the exported network differ from torch's by {difference:.2g} on the test "
                f"tile, expected at most {TOLERANCE:g}; nothing was written; use other versions of torch or onnxruntime"
            )
        finished = network
        if form == "bioimageio":
            finished = Path(folder) / "package.zip"
            write_package(
                model,
                network,
                finished,
                image=image.numpy(),
                probabilities=expected,
                least_px=smallest_px(model.card.architecture),
                opset=OPSET,
            )
        finished.chmod(0o644)
        finished.replace(out)
    return Exported(path=out, difference=difference, shape=tuple(image.shape))


def require_packages(form: Format) -> None:
    """Refuse an export whose packages are not installed."""
    for package in _PACKAGES[form]:
        try:
            found = importlib.util.find_spec(package) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            raise InputError(
                f"--format {form} needs {package}, which is not installed; pip install 'lysoquant[export]'"
            )


def smallest_px(architecture: Architecture) -> int:
    """Shortest image edge that the exported network takes; longer ones differ by multiples of the coarsest pixel."""
    # Two pixels at the coarsest level: a single one can't be mirrored.
    return architecture.answer_px(1 if architecture.loss_px else 2 * architecture.multiple) + architecture.loss_px


def tile_image(card: ModelCard) -> Tensor:
    """The shipped test tile as the network of a card sees it, mirrored to an edge that the network takes.

    Returns
    -------
    float32 tensor (1, C, Y, X)
    """
    with np.load(TEST_TILE, allow_pickle=False) as tile:
        normalization: Normalization = "joint" if card.normalization == "joint" else "cell"
        image = network_input(
            tile["cargo"],
            tile["lysosome"],
            tile["inside"],
            pixel_size_um=float(tile["pixel_size_um"]),
            normalization=normalization,
            in_channels=card.architecture.in_channels,
        )
    architecture = card.architecture
    length = image.shape[1]
    edge = architecture.answer_px(max(length, 2 * architecture.multiple)) + architecture.loss_px
    place = mirrored(-((edge - length) // 2), edge, length)
    return image[:, place[:, None], place][None].contiguous()


def write_onnx(model: Model, path: Path) -> None:
    """Write an ONNX file with `image` (batch, C, Y, X) and `probabilities`, of any batch and any fitting size.

    The model card is among its metadata under ``lysoquant``.
    """
    architecture = model.card.architecture
    edge = smallest_px(architecture)
    least, rest = divmod(edge, architecture.multiple)
    sizes = [architecture.multiple * torch.export.Dim(name, min=least) + rest for name in ("y", "x")]
    # Unlike sizes, none of them 1: the exporter would take them for equal or constant.
    example = torch.zeros(2, architecture.in_channels, edge + architecture.multiple, edge + 2 * architecture.multiple)
    with _quiet():
        program = torch.onnx.export(
            Probabilities(model.network).eval(),
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1), 2: sizes[0], 3: sizes[1]},),
        )
    if program is None:
        raise TypeError("torch.onnx.export gave no program")
    program.model.metadata_props["lysoquant"] = model.card.model_dump_json()
    program.save(path, external_data=False)


def run_onnx(path: Path, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities of an image (N, C, Y, X) by onnxruntime on the processor."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run([OUTPUT], {INPUT: image})
    return np.asarray(found, np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's remarks are for its developers; its errors still come through."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
