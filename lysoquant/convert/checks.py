"""Whether the planes of a field fit together, and how large its pixels are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from lysoquant.errors import FieldError

_DTYPES: Final = ("uint8", "uint16")

_SAME_SIZE: Final = 1e-3
"""Pixel sizes that differ by less, relatively, are one size written with fewer digits."""


def matching_planes(planes: Mapping[str, npt.NDArray[Any]]) -> tuple[npt.NDArray[Any], ...]:
    """Planes of a field that fit together; not copied into one array.

    Parameters
    ----------
    planes : mapping of str to (Y, X) array
        Grey values by channel.

    Returns
    -------
    tuple of (Y, X) arrays of uint8 or uint16
        In the order of `planes`, in the machine's byte order, each in one piece of memory.

    Raises
    ------
    FieldError
        If the channels differ in size or dtype, or are of another dtype.
    """
    sizes = {channel: "{} x {}".format(*plane.shape) for channel, plane in planes.items()}
    if len(set(sizes.values())) > 1:
        raise FieldError(f"channels differ in size (Y x X): {_listing(sizes)}; expected one, export the field again")
    dtypes = {channel: plane.dtype.name for channel, plane in planes.items()}
    if len(set(dtypes.values())) > 1:
        raise FieldError(f"channels differ in dtype: {_listing(dtypes)}; expected one, export the field again")
    dtype = next(iter(dtypes.values()))
    if dtype not in _DTYPES:
        raise FieldError(f"pixels are {dtype}, expected uint8 or uint16; export raw camera images, not processed ones")
    return tuple(np.ascontiguousarray(plane, dtype=dtype) for plane in planes.values())


def field_pixel_size_um(
    *, configured: float | None, in_files: Mapping[str, float | None], in_plate: float | None
) -> float:
    """Pixel size of a field: the configured one, else what its files say, else what the plate says.

    Parameters
    ----------
    configured : float or None
        ``pixel_size_um`` of the plate's row in plates.tsv.
    in_files : mapping of str to float or None
        What each file says, by file name.
    in_plate : float or None
        What the plate's own metadata say.

    Raises
    ------
    FieldError
        If nothing says it, or files contradict each other or the plate.
    """
    if configured is not None:
        return configured
    said = {name: size for name, size in in_files.items() if size is not None}
    if in_plate is not None:
        said["plate metadata"] = in_plate
    if not said:
        raise FieldError(
            "no pixel size, or none of square pixels, in the images and the plate's metadata; "
            "set pixel_size_um in plates.tsv"
        )
    if max(said.values()) > min(said.values()) * (1 + _SAME_SIZE):
        sizes = _listing({name: f"{size:g} um" for name, size in said.items()})
        raise FieldError(f"pixel sizes disagree: {sizes}; set pixel_size_um in plates.tsv")
    return next(iter(said.values()))


def _listing(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
