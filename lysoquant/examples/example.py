"""One cell whose endolysosomes are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lysoquant.model.preprocess import Normalization, network_input
from lysoquant.units import MIN_AREA_UM2, MODEL_PIXEL_SIZE_UM


@dataclass(frozen=True)
class Example:
    """One cell with the outlines of its endolysosomes.

    Attributes
    ----------
    name : str
        Where it comes from, for tables and messages.
    cargo, lysosome : array (Y, X)
        Raw grey values of the cell's crop.
    inside : bool array (Y, X)
        The cell.
    pixel_size_um : float
        Pixel size of the crop.
    regions : int32 array (My, Mx)
        Instances 0 to n at the model's pixel size; (My, Mx) is the crop's size there
        (:func:`lysoquant.model.preprocess.model_length`).
    classes : uint8 array (n + 1,)
        Class of each instance; that of 0 is background.
    ignored : bool array (My, Mx)
        Pixels that count neither in training nor in metrics (weight 0).
    docked : bool array (n + 1,)
        Instances that are known to carry cargo on the outside of their membrane; all false where nobody knows.
    """

    name: str
    cargo: NDArray[np.generic]
    lysosome: NDArray[np.generic]
    inside: NDArray[np.bool_]
    pixel_size_um: float
    regions: NDArray[np.int32]
    classes: NDArray[np.uint8]
    ignored: NDArray[np.bool_]
    docked: NDArray[np.bool_]

    @property
    def class_map(self) -> NDArray[np.uint8]:
        """Class of every pixel (My, Mx)."""
        return np.asarray(self.classes[self.regions])

    def network_input(self, *, normalization: Normalization = "cell", in_channels: int = 3) -> Tensor:
        """The cell as a network sees it: float32 (in_channels, My, Mx) in [0, 1]."""
        return network_input(
            self.cargo,
            self.lysosome,
            self.inside,
            pixel_size_um=self.pixel_size_um,
            normalization=normalization,
            in_channels=in_channels,
        )


def too_small(regions: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Pixels of regions (My, Mx) under the paper's smallest annotated area."""
    small = np.bincount(regions.ravel()) * MODEL_PIXEL_SIZE_UM**2 < MIN_AREA_UM2
    small[0] = False
    return np.asarray(small[regions])
