"""Flat-field images: one plane of a TIFF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from lysoquant.errors import FieldError
from lysoquant.record import whole_or_not_at_all


def read_flat_field(path: Path) -> npt.NDArray[Any]:
    """Values of a flat-field image: (Y, X), of the file's own dtype.

    Raises
    ------
    FieldError
        If the file can't be read or is not one plane of numbers.
    """
    try:
        # _multifile=False: an OME-TIFF can name other files anywhere on the disk.
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            shape = tuple(size for size in tiff.series[0].shape if size != 1)
            kind = tiff.series[0].dtype.kind
            if len(shape) == 2 and kind in "iuf":
                plane: npt.NDArray[Any] = tiff.series[0].asarray().reshape(shape)
                return plane
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise FieldError(f"{path} can't be read as a TIFF image ({error})") from error
    raise FieldError(f"{path} holds {shape} values of kind {kind!r}, expected one plane of numbers")


def write_flat_field(path: Path, light: npt.NDArray[np.float32]) -> None:
    """Write shares of the light, (Y, X), whole or not at all."""
    with whole_or_not_at_all(path) as partial:
        tifffile.imwrite(partial, light, photometric="minisblack", compression="zlib", metadata=None)
