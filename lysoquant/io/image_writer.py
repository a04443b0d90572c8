"""An image on its way into the store, plane by plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lysoquant.io.arrays import PlaneArray
from lysoquant.io.pyramid import image_pyramid, label_pyramid
from lysoquant.vocabulary import NgffVersion


class ImageWriter:
    """Writes the planes of an image, each with its pyramid, in any order and from several threads.

    Parameters
    ----------
    folder : pathlib.Path
        The image's own; its levels go into ``0``, ``1``, ...
    shape : tuple of int
        (C, Y, X).
    dtype : numpy.dtype
        uint8 or uint16.
    levels : int
        Resolution levels.
    chunk_px : int
        Edge of a chunk.

    Attributes
    ----------
    files : dict of str to int
        Sizes of the files that were written, by name.
    windows : list of (float, float)
        Display window of each plane: the 0.1 to 99.9 % range of its smallest level.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        *,
        levels: int,
        chunk_px: int,
        ngff_version: NgffVersion,
    ) -> None:
        self.dtype = dtype
        self.n_levels = levels
        self.files: dict[str, int] = {}
        self.windows = [(0.0, 1.0)] * shape[0]
        self._arrays = image_arrays(folder, shape, dtype, levels=levels, chunk_px=chunk_px, ngff_version=ngff_version)
        for level, array in enumerate(self._arrays):
            self._note(level, array.write_metadata())

    def write_plane(self, index: int, plane: npt.NDArray[Any]) -> None:
        """Write one plane, (Y, X)."""
        pyramid = image_pyramid(plane[np.newaxis], levels=self.n_levels)
        for level, pixels in enumerate(pyramid):
            self._note(level, self._arrays[level].write_plane(pixels[0], index))
        self.windows[index] = display_window(pyramid[-1])

    def _note(self, level: int, files: dict[str, int]) -> None:
        self.files |= {f"{level}/{name}": size for name, size in files.items()}


def image_arrays(
    folder: Path,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    levels: int,
    chunk_px: int,
    ngff_version: NgffVersion,
) -> list[PlaneArray]:
    """The arrays of an image's levels, as :class:`ImageWriter` writes them."""
    sizes = [(-(-shape[1] // 2**level), -(-shape[2] // 2**level)) for level in range(levels)]
    return [
        PlaneArray(
            folder / str(level),
            (shape[0], *size),
            dtype,
            (min(chunk_px, size[0]), min(chunk_px, size[1])),
            ngff_version,
            "cyx",
        )
        for level, size in enumerate(sizes)
    ]


def write_label_levels(
    folder: Path, labels: npt.NDArray[Any], *, levels: int, chunk: tuple[int, ...], ngff_version: NgffVersion
) -> dict[str, int]:
    """Write a label image, (Y, X), with its pyramid; returns the sizes of its files by name."""
    files: dict[str, int] = {}
    for level, pixels in enumerate(label_pyramid(labels, levels=levels)):
        edges = (min(chunk[0], pixels.shape[0]), min(chunk[1], pixels.shape[1]))
        array = PlaneArray(folder / str(level), pixels.shape, pixels.dtype, edges, ngff_version, "yx")
        written = array.write_metadata() | array.write_plane(pixels)
        files |= {f"{level}/{name}": size for name, size in written.items()}
    return files


def display_window(pixels: npt.NDArray[Any]) -> tuple[float, float]:
    """The 0.1 to 99.9 % range of grey values, each the nearest value: counted, not put in order."""
    upto = np.cumsum(np.bincount(pixels.ravel()))
    places = np.rint(np.array([0.001, 0.999]) * (pixels.size - 1))
    start, end = np.searchsorted(upto, places, side="right").astype(float)
    return float(start), float(end)
