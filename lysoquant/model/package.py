"""Packages of the BioImage Model Zoo: ONNX weights, a description, a page, and a test that is run at once."""

from __future__ import annotations

import html
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from lysoquant.errors import ModelError
from lysoquant.model.card import DEFAULT_MODEL, ModelCard
from lysoquant.model.weights import Model
from lysoquant.record import digest_file

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import ModelDescr

INPUT: Final = "image"
OUTPUT: Final = "probabilities"
"""Names of the exported network's input and output."""

PAPER: Final = (
    "Morone D, Marazza A, Bergmann TJ, Molinari M. Deep learning approach for quantification of organelles and "
    "misfolded polypeptide delivery within degradative compartments. Mol Biol Cell 31:1512-1524 (2020)."
)
PAPER_DOI: Final = "10.1091/mbc.E20-04-0269"


def write_package(
    model: Model,
    network: Path,
    path: Path,
    *,
    image: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    least_px: int,
    opset: int,
) -> None:
    """Write a package of the BioImage Model Zoo and run its test; nothing is looked up in the network.

    Parameters
    ----------
    network : pathlib.Path
        The ONNX file, in a folder where the package's other files may be written.
    image, probabilities : float32 array (1, C, Y, X)
        The test tile and what torch makes of it.
    least_px : int
        Shortest image edge that the network takes.
    opset : int
        Version of the ONNX file's operators.

    Raises
    ------
    ModelError
        With what bioimageio.core found wrong.
    """
    from bioimageio.core import test_model
    from bioimageio.spec import ValidationContext, save_bioimageio_package
    from loguru import logger

    folder = network.parent
    np.save(folder / "test_input.npy", image)
    np.save(folder / "test_output.npy", probabilities)
    (folder / "README.md").write_text(_readme(model.card), encoding="utf-8")
    logger.disable("bioimageio")
    try:
        with warnings.catch_warnings(), ValidationContext(root=folder, log_warnings=False):
            warnings.simplefilter("ignore")  # packing warns of its own relative paths
            save_bioimageio_package(_description(model, network, least_px=least_px, opset=opset), output_path=path)
            summary = test_model(path)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{model.card.name}: bioimageio.spec refuses the description: {reason}") from error
    finally:
        logger.enable("bioimageio")
    if summary.status != "passed":
        errors = [" ".join(error.msg.split()) for detail in summary.details for error in detail.errors]
        raise ModelError(
            f"{model.card.name}: bioimageio.core refuses the package: {errors[0] if errors else summary.status}"
        )


def _description(model: Model, network: Path, *, least_px: int, opset: int) -> ModelDescr:
    from bioimageio.spec.model import v0_5 as spec

    card, architecture, folder = model.card, model.card.architecture, network.parent
    planes = [role or f"zeros{number}" for number, role in enumerate(card.inputs)]
    size = spec.ParameterizedSize(min=least_px, step=architecture.multiple)

    def axes(names: list[str], space: Callable[[str], Any]) -> list[Any]:
        channel = spec.ChannelAxis(channel_names=[spec.Identifier(name) for name in names])
        return [spec.BatchAxis(), channel, space("y"), space("x")]

    def image_axis(name: str) -> Any:
        return spec.SpaceInputAxis(
            id=spec.AxisId(name), size=size, unit="micrometer", scale=card.pixel_size_um, description="model pixels"
        )

    def answer_axis(name: str) -> Any:
        reference = spec.SizeReference(
            tensor_id=spec.TensorId(INPUT), axis_id=spec.AxisId(name), offset=-architecture.loss_px
        )
        return spec.SpaceOutputAxis(
            id=spec.AxisId(name),
            size=reference,
            unit="micrometer",
            scale=card.pixel_size_um,
            description="model pixels",
        )

    return spec.ModelDescr(
        name=_package_name(card.name),
        description="Endolysosomes in fluorescence images, empty or loaded with cargo, at 0.025 um a pixel.",
        authors=[spec.Author(name="The lysoquant developers")],
        cite=[spec.CiteEntry(text=PAPER, doi=spec.Doi(PAPER_DOI))],
        license=spec.LicenseId("BSD-3-Clause") if model.sha256 == digest_file(DEFAULT_MODEL) else None,
        documentation=spec.FileDescr(source=folder / "README.md"),
        tags=["segmentation", "semantic-segmentation", "fluorescence-light-microscopy", "lysosome", "unet", "2d"],
        inputs=[
            spec.InputTensorDescr(
                id=spec.TensorId(INPUT),
                description="Cargo, lysosome and planes of zeros of one cell, zero outside it, normalised to [0, 1].",
                axes=axes(planes, image_axis),
                data=spec.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
                test_tensor=spec.FileDescr(source=folder / "test_input.npy"),
            )
        ],
        outputs=[
            spec.OutputTensorDescr(
                id=spec.TensorId(OUTPUT),
                description="Probability of each class.",
                axes=axes([_identifier(name) for name in card.classes], answer_axis),
                data=spec.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
                test_tensor=spec.FileDescr(source=folder / "test_output.npy"),
            )
        ],
        weights=spec.WeightsDescr(
            onnx=spec.OnnxWeightsDescr(source=network, opset_version=opset),
        ),
        config=spec.Config.model_validate({"lysoquant": card.model_dump(mode="json")}),
    )


def _package_name(name: str) -> str:
    """The card's name in the letters that a package may use."""
    letters = " ".join(re.sub(r"[^A-Za-z0-9_+\-() ]", " ", name).split())
    return f"LysoQuant {letters}"[:64].strip()


def _identifier(name: str) -> str:
    """A class name in the letters of an identifier."""
    letters = re.sub(r"\W", "_", name, flags=re.ASCII)
    return letters if letters.isidentifier() else f"class_{letters}"


def _readme(card: ModelCard) -> str:
    """The package's page: what to feed, and the model card."""
    planes = ", ".join(role or "zeros" for role in card.inputs)
    told = [
        card.name,
        f"Input: {planes} of one cell at {card.pixel_size_um:g} um a pixel, zero outside it, normalised to [0, 1] as "
        f"lysoquant.model.preprocess.network_input does with normalization {card.normalization}.",
        f"Output: probability of {', '.join(card.classes)}.",
        *(f"{name}: {value}" for name, value in card.training.items()),
        *(f"{name}: {value:g}" for name, value in card.metrics.items()),
        card.metrics_note,
        *(f"Limit: {limit}" for limit in card.limits),
    ]
    return "# " + "\n\n".join(html.escape(line) for line in told if line) + "\n"
