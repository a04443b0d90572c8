"""Arrays of an OME-Zarr image as files: a shard a plane (Zarr v3) or a file a chunk (Zarr v2).

Written here and not through zarr, which takes as long again as the compressor: it makes an array in 6 ms, and hands
every chunk through its event loop and a thread of its own. What is written is what zarr writes and reads
(`tests/unit/test_arrays.py`); reading goes through zarr.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numcodecs  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt

from lysoquant.record import Json
from lysoquant.vocabulary import NgffVersion

# As zarr does on import: Blosc's own threads write blocks in the order in which they are done, and planes have threads.
numcodecs.blosc.use_threads = False

LEVEL: Final = 1
BLOCK_BYTES: Final = 2**19
SHUFFLE: Final = {1: "shuffle", 2: "bitshuffle", 4: "shuffle"}
"""zstd's level, what Blosc hands to it at a time (a chunk of 512 x 512 pixels of 16 bits), and what is done before, by
bytes of a value. Chosen by measurement: docs/decisions/0017-chunks-written-directly.md."""

_ABSENT: Final = 2**64 - 1
"""What a shard's index says of a chunk that is not there: it is zero everywhere."""


@dataclass(frozen=True)
class PlaneArray:
    """One resolution level of an image or a label image.

    Attributes
    ----------
    folder : pathlib.Path
        The array's own.
    shape : tuple of int
        (Y, X) or (C, Y, X).
    dtype : numpy.dtype
        Unsigned integers of 8, 16 or 32 bits.
    chunk : tuple of int
        (Y, X) of a chunk, no larger than the array.
    ngff_version : str
        "0.4" or "0.5".
    axes : str
        Names of the axes.
    """

    folder: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, int]
    ngff_version: NgffVersion
    axes: str

    def write_metadata(self) -> dict[str, int]:
        """Write the files that say what the array is; returns their sizes by name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {".zarray": self._metadata_v2(), ".zattrs": {}}
        if self.ngff_version == "0.5":
            files = {"zarr.json": self._metadata_v3()}
        return {name: (self.folder / name).write_bytes(_json_bytes(value)) for name, value in files.items()}

    def write_plane(self, plane: npt.NDArray[Any], *index: int) -> dict[str, int]:
        """Write the chunks of a plane, (Y, X); safe from several threads for different planes.

        Parameters
        ----------
        index : int
            Of the plane along the axes before Y and X.

        Returns
        -------
        dict of str to int
            Sizes of the files by name. Where a chunk is zero everywhere, nothing is written: that is the fill value.
        """
        chunks = self.compressed(plane)
        if self.ngff_version == "0.4":
            files = {"/".join(map(str, (*index, *place))): [chunk] for place, chunk in chunks.items()}
        else:
            files = {"/".join(map(str, ("c", *index, 0, 0))): self._shard(chunks)} if chunks else {}
        return {name: _write(self.folder / name, parts) for name, parts in files.items()}

    def compressed(self, plane: npt.NDArray[Any]) -> dict[tuple[int, int], bytes]:
        """Compressed chunks of a plane, (Y, X), by row and column; none that is zero everywhere."""
        codec = numcodecs.Blosc(cname="zstd", clevel=LEVEL, shuffle=self._shuffle_number, blocksize=BLOCK_BYTES)
        return {place: codec.encode(chunk) for place, chunk in self._chunks(plane) if chunk.max()}

    @property
    def _shuffle_number(self) -> int:
        number: int = getattr(numcodecs.Blosc, SHUFFLE[self.dtype.itemsize].upper())
        return number

    @property
    def _grid(self) -> tuple[int, int]:
        """Chunks down and across."""
        return -(-self.shape[-2] // self.chunk[0]), -(-self.shape[-1] // self.chunk[1])

    def _chunks(self, plane: npt.NDArray[Any]) -> Iterator[tuple[tuple[int, int], npt.NDArray[Any]]]:
        """Chunks by their place, in reading order; those at the lower and right border filled up with zeros."""
        dtype = self.dtype.newbyteorder("<")
        for row, column in np.ndindex(self._grid):
            top, left = row * self.chunk[0], column * self.chunk[1]
            part = plane[top : top + self.chunk[0], left : left + self.chunk[1]]
            if part.shape != self.chunk:
                part = np.pad(part, [(0, full - has) for full, has in zip(self.chunk, part.shape, strict=True)])
            yield (row, column), np.ascontiguousarray(part, dtype)

    def _shard(self, chunks: dict[tuple[int, int], bytes]) -> list[bytes]:
        """Chunks one after the other, each with its checksum, and the index that says where they lie."""
        parts, entries, offset = [], [], 0
        for place in np.ndindex(self._grid):
            chunk = chunks.get(place)
            if chunk is None:
                entries += [_ABSENT, _ABSENT]
                continue
            parts += [chunk, _checksum(chunk)]
            size = len(chunk) + len(parts[-1])
            entries += [offset, size]
            offset += size
        index = struct.pack(f"<{len(entries)}Q", *entries)
        return [*parts, index, _checksum(index)]

    def _metadata_v2(self) -> Json:
        return {
            "shape": self.shape,
            "chunks": self._with_leading(self.chunk),
            "dtype": self.dtype.newbyteorder("<").str,
            "fill_value": 0,
            "order": "C",
            "filters": None,
            "dimension_separator": "/",
            "compressor": {
                "id": "blosc",
                "cname": "zstd",
                "clevel": LEVEL,
                "shuffle": self._shuffle_number,
                "blocksize": BLOCK_BYTES,
            },
            "zarr_format": 2,
        }

    def _metadata_v3(self) -> Json:
        shard = tuple(number * edge for number, edge in zip(self._grid, self.chunk, strict=True))
        blosc = {
            "typesize": self.dtype.itemsize,
            "cname": "zstd",
            "clevel": LEVEL,
            "shuffle": SHUFFLE[self.dtype.itemsize],
            "blocksize": BLOCK_BYTES,
        }
        numbers = _codec("bytes", endian="little")
        sharding = _codec(
            "sharding_indexed",
            chunk_shape=self._with_leading(self.chunk),
            codecs=[
                numbers if self.dtype.itemsize > 1 else _codec("bytes"),
                _codec("blosc", **blosc),
                _codec("crc32c"),
            ],
            index_codecs=[numbers, _codec("crc32c")],
            index_location="end",
        )
        return {
            "shape": self.shape,
            "data_type": self.dtype.name,
            "chunk_grid": _codec("regular", chunk_shape=self._with_leading(shard)),
            "chunk_key_encoding": _codec("default", separator="/"),
            "fill_value": 0,
            "codecs": [sharding],
            "attributes": {},
            "dimension_names": list(self.axes),
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }

    def _with_leading(self, size: tuple[int, ...]) -> tuple[int, ...]:
        return (*(1 for _ in self.shape[:-2]), *size)


def _codec(name: str, **configuration: Any) -> Json:
    return {"name": name, "configuration": configuration} if configuration else {"name": name}


def _checksum(content: bytes) -> bytes:
    return struct.pack("<I", google_crc32c.value(content))


def _json_bytes(value: Json) -> bytes:
    return json.dumps(value, indent=2).encode()


def _write(path: Path, parts: Sequence[bytes]) -> int:
    """Write a file; returns its size. Not whole at once: an image's metadata, which list its files, come last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as handle:
        handle.writelines(parts)
        return handle.tell()
