"""Cells by a Cellpose model of the user's."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from lysoquant.cells.grid import WORK_PIXEL_SIZE_UM, coarsen, refine_labels, work_factor
from lysoquant.cells.labels import drop_small, reading_order, whole_pieces
from lysoquant.errors import ModelError, StageError
from lysoquant.model.precision import resolve_precision

_MODEL_DIAMETER_PX: Final = 30.0
"""Cellpose brings a cell of the diameter that it is told to so many pixels."""
_GPU_BATCH: Final = 8


class Cellpose:
    """A Cellpose model on a device.

    On the processor a field goes through it tile by tile; in one thread (see :func:`one_thread`) its cells depend on
    the field alone.

    Parameters
    ----------
    file : pathlib.Path
        The model's file; it is there (:func:`lysoquant.cells.cellpose_file.cellpose_file`).
    device : torch.device
        Where it runs.

    Raises
    ------
    ModelError
        If the file is no model of the installed cellpose.
    """

    def __init__(self, file: Path, device: torch.device) -> None:
        # What it would warn of can't happen: the file is there.
        logging.getLogger("cellpose").setLevel(logging.ERROR)
        models = importlib.import_module("cellpose.models")
        self._batch_size = _GPU_BATCH if device.type == "cuda" else 1
        try:
            self._model = models.CellposeModel(
                gpu=device.type == "cuda",
                pretrained_model=str(file.absolute()),
                device=device,
                use_bfloat16=resolve_precision("auto", device) == "bf16",
            )
        except Exception as error:  # what a wrong file comes to there is of many kinds
            said = " ".join(str(error).split()) or type(error).__name__
            raise ModelError(
                f"{file}: cellpose can't load it ({said[:200]}); give a model of cellpose 4 as cells.cellpose_model"
            ) from error

    def find_cells(
        self,
        boundary: NDArray[Any],
        nucleus: NDArray[Any] | None,
        *,
        pixel_size_um: float,
        diameter_um: float,
        min_cell_area_um2: float,
        cellprob_threshold: float,
        flow_threshold: float,
    ) -> NDArray[np.uint32]:
        """Cells of a field.

        The model sees the field at about 0.6 um a pixel, or as fine as small cells ask for; outlines are brought back
        to the field's own pixels.

        Parameters
        ----------
        boundary : (Y, X) ndarray
            Signal that fills the cells, any real dtype.
        nucleus : (Y, X) ndarray or None
            Nuclear stain.
        pixel_size_um : float
            Pixel size in um.
        diameter_um : float
            Typical diameter of a cell; 0 leaves the image as it is.
        min_cell_area_um2 : float
            Smaller cells are dropped.
        cellprob_threshold, flow_threshold : float
            Cellpose's own.

        Returns
        -------
        (Y, X) ndarray of uint32
            0 background, 1..n cells in reading order of their centroids; each without holes and in one piece.

        Raises
        ------
        StageError
            If the GPU's memory does not do.
        """
        shape = (boundary.shape[0], boundary.shape[1])
        wanted_um = min(WORK_PIXEL_SIZE_UM, diameter_um / _MODEL_DIAMETER_PX) if diameter_um else WORK_PIXEL_SIZE_UM
        factor = work_factor(pixel_size_um=pixel_size_um, work_um=wanted_um)
        planes = [coarsen(image=plane, factor=factor) for plane in (boundary, nucleus) if plane is not None]
        image = np.zeros((*planes[0].shape, 3), np.float32)
        for number, plane in enumerate(planes):
            image[..., number] = plane
        try:
            masks, *_ = self._model.eval(
                image,
                batch_size=self._batch_size,
                channel_axis=-1,
                diameter=diameter_um / (pixel_size_um * factor) if diameter_um else None,
                flow_threshold=flow_threshold,
                cellprob_threshold=cellprob_threshold,
                min_size=0,
                max_size_fraction=1.0,
            )
        except torch.OutOfMemoryError as error:
            raise StageError(
                "cuda: out of memory in cellpose; end what else uses the GPU, or choose another device "
                "(execution.device)"
            ) from error
        labels = np.asarray(masks).reshape(planes[0].shape).astype(np.int32)
        refined = refine_labels(labels=labels, factor=factor, shape=shape)
        whole = whole_pieces(refined, cores=refined)
        return reading_order(drop_small(whole, min_pixels=min_cell_area_um2 / pixel_size_um**2))


def fields_at_a_time(device: torch.device, *, cores: int) -> int:
    """How many fields go through the network side by side: on a GPU one."""
    return 1 if device.type == "cuda" else max(1, cores)


def one_thread() -> None:
    """For each thread that sends fields through the network: a sum that threads share depends on their number."""
    torch.set_num_threads(1)
