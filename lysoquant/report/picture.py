"""Pictures of fields in few bytes: planes in, an encoded picture of two channels out."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

PERCENTILES: Final = (1.0, 99.5)
"""Grey values of a field between which its contrast lies."""

EDGES: Final = (768, 640, 512, 448, 384, 320, 256, 224, 192, 160, 128)
"""Longer edges of a picture in pixels, from which the one is taken that fits."""

LEAST_BYTES: Final = 6000
"""A field's picture with its outlines in fewer bytes shows nothing."""

_ALLOWANCES: Final = tuple(round(LEAST_BYTES * 2 ** (step / 8)) for step in range(48, -1, -1))
"""What a field may have, in steps: a few wells more on a plate map must not make all pictures anew."""

_BITS_PER_PIXEL: Final = 0.55
"""Of grey WebP at quality 60: on simulated fields of 512 pixels 0.32 at their full size, 0.56 at half of it."""

_QUALITIES: Final = (75, 60, 45, 30, 18)

GAMMA: Final = 0.7
"""Exponent of brightness between black and white: dim structures are seen beside bright ones."""

OUTLINE_SHARE: Final = 0.55
"""Largest part of a field's bytes that its outlines get."""

Plane = npt.NDArray[Any]


def levels(plane: Plane) -> tuple[float, float]:
    """Grey values between which a field's contrast lies: low and high percentile, shape (Y, X)."""
    low, high = (float(value) for value in np.percentile(plane, PERCENTILES))
    return low, high


def common_contrast(found: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """One contrast for all fields of a plate, so that its wells compare.

    Parameters
    ----------
    found : sequence of (float, float)
        :func:`levels` of the fields of one channel.

    Returns
    -------
    tuple of float
        The median of the lows and the 95th percentile of the highs, so that a single burnt field does not darken the
        plate. Both rounded to two digits: a well done again does not change the pictures of all the others.
    """
    if not found:
        return 0.0, 1.0
    lows, highs = np.array(found).T
    low, high = float(np.median(lows)), float(np.percentile(highs, 95, method="higher"))
    low, high = _rounded(low, math.floor), _rounded(high, math.ceil)
    return low, max(high, low + 1.0)


def _rounded(value: float, to: Any) -> float:
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(to(value / step) * step)


def allowance(n_bytes: float, n_fields: int) -> int:
    """Bytes a field from what there is for all of them; 0 where that is too little for any.

    Examples
    --------
    >>> allowance(6000 * 3456, 3456)
    6000
    """
    each = n_bytes / max(n_fields, 1)
    return next((step for step in _ALLOWANCES if step <= each), 0)


def picture_edge(allowed: float) -> int:
    """Longer edge of a picture of two channels for which so many bytes should do."""
    pixels = allowed * 8 / _BITS_PER_PIXEL / 2
    return next((edge for edge in EDGES if edge * edge <= pixels), EDGES[-1])


def size_within(shape: tuple[int, int], edge: int) -> tuple[int, int]:
    """Rows and columns of a picture of a field: its longer edge is `edge`, never more than the field's own."""
    factor = min(1.0, edge / max(shape))
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def level_for(shape: tuple[int, int], n_levels: int, edge: int) -> int:
    """The coarsest level of a pyramid that still has all the pixels of a picture."""
    fitting = [level for level in range(n_levels) if -(-max(shape) // 2**level) >= min(edge, max(shape))]
    return max(fitting, default=0)


def stacked(
    planes: Sequence[Plane], *, contrasts: Sequence[tuple[float, float]], size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Channels of a field one below the other, in grey.

    Parameters
    ----------
    planes : sequence of ndarray, shape (y, x)
        Lysosome and cargo, at any level.
    contrasts : sequence of (float, float)
        Grey values that become black and white; between them brightness goes with the power :data:`GAMMA`.
    size : tuple of int
        Rows and columns of each in the picture.

    Returns
    -------
    ndarray, shape (2 * rows, columns), uint8
        Grey and not colour, since encoders keep colours at half the resolution.
    """
    return np.concatenate([_resized(_scaled(p, c), size) for p, c in zip(planes, contrasts, strict=True)])


def _scaled(plane: Plane, contrast: tuple[float, float]) -> npt.NDArray[np.float32]:
    low, high = contrast
    share = ((plane.astype(np.float32) - np.float32(low)) / np.float32(high - low)).clip(0.0, 1.0)
    scaled: npt.NDArray[np.float32] = share ** np.float32(GAMMA) * np.float32(255.0)
    return scaled


def _resized(plane: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    picture = Image.fromarray(plane)
    if plane.shape != size:
        picture = picture.resize((size[1], size[0]), Image.Resampling.HAMMING)
    grey: npt.NDArray[np.uint8] = np.rint(np.clip(np.asarray(picture), 0.0, 255.0)).astype(np.uint8)
    return grey


def encoded(picture: npt.NDArray[np.uint8], *, allowed: int) -> bytes:
    """A grey picture as WebP of at most so many bytes.

    Parameters
    ----------
    picture : ndarray, shape (Y, X), uint8
        What :func:`stacked` made; Y is even.
    allowed : int
        Bytes it may have.

    Returns
    -------
    bytes
        The file of the best quality that fits; where none does, of the picture halved, and halved again.
    """
    while True:
        for quality in _QUALITIES:
            data = _webp(picture, quality)
            if len(data) <= allowed or max(picture.shape) <= 16:
                return data
        half = (max(picture.shape[0] // 4, 1) * 2, max(picture.shape[1] // 2, 1))
        picture = _resized(picture.astype(np.float32), half)


def _webp(picture: npt.NDArray[np.uint8], quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).convert("RGB").save(buffer, format="WEBP", quality=quality, method=4)
    return buffer.getvalue()


def jpeg_bytes(image: npt.NDArray[np.uint8], *, quality: int = 76) -> bytes:
    """An RGB image, shape (Y, X, 3), as JPEG with colours at full resolution, the same in every run."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()
