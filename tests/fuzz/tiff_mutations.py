"""Changes to a TIFF plane: its tags, its directories, its metadata, and whole images of another kind."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final
from xml.sax.saxutils import quoteattr

import numpy as np
import tifffile
from bytes_mutations import Change, of_bytes
from hostile import TEXTS
from numpy.typing import NDArray

_EXTREMES: Final = (0, 1, 2, 3, 7, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1)
_LAYOUT: Final = (256, 257, 258, 259, 262, 277, 278, 279, 284, 339)
"""Width, length, bits, compression, photometric, samples, rows a strip, byte counts, planar, sample format."""
_FOREIGN: Final = (330, 33628, 33629, 34118, 34361, 34412, 34665, 34680, 34853, 37706, 50838, 50839, 51123, 65420,
                   65426, 65449, 32932, 33550, 33922, 42112, 34712, 347)  # fmt: skip
"""Tags of STK, LSM, FluoView, NDPI, Micro-Manager, ImageJ, SEM, GPS and others: tifffile believes much of them."""


def entries(data: bytes) -> list[tuple[int, int, int, int]]:
    """Place, tag, type and count of each entry of the first directory of a little-endian TIFF."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    places = [start + 2 + 12 * number for number in range(count)]
    return [(place, *struct.unpack_from("<HHI", data, place)) for place in places]


def _next_directory(data: bytes) -> int:
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    return int(start + 2 + 12 * count)


def _put(data: bytes, place: int, form: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, place, *values)
    return bytes(changed)


def layout_value(data: bytes, random: Random) -> bytes:
    place, *_ = random.choice([entry for entry in entries(data) if entry[1] in _LAYOUT])
    return _put(data, place + 8, "<I", random.choice(_EXTREMES))


def any_value(data: bytes, random: Random) -> bytes:
    place, *_ = random.choice(entries(data))
    return _put(
        data, place + 8, "<I", random.choice((*_EXTREMES, random.randrange(2**32), random.randrange(len(data))))
    )


def any_type(data: bytes, random: Random) -> bytes:
    place, *_ = random.choice(entries(data))
    return _put(data, place + 2, "<H", random.choice((0, 1, 2, 5, 7, 10, 11, 12, 13, 16, 129, 65535)))


def any_count(data: bytes, random: Random) -> bytes:
    place, *_ = random.choice(entries(data))
    return _put(data, place + 4, "<I", random.choice(_EXTREMES))


def foreign_tag(data: bytes, random: Random) -> bytes:
    place, *_ = random.choice(entries(data))
    return _put(data, place, "<H", random.choice(_FOREIGN))


def directory(data: bytes, random: Random) -> bytes:
    """Directories that go in circles, lie nowhere, overlap or number a great many."""
    after = _next_directory(data)
    (start,) = struct.unpack_from("<I", data, 4)
    return random.choice(
        (
            lambda: _put(data, after, "<I", start),
            lambda: _put(data, after, "<I", start + 12),
            lambda: _put(data, after, "<I", len(data) + 1000),
            lambda: _put(data, after, "<I", 2**32 - 1),
            lambda: _put(data, start, "<H", 65535),
            lambda: _put(data, start, "<H", 0),
            lambda: _put(data, 4, "<I", 0),
            lambda: _put(data, 4, "<I", 4),
            lambda: _put(data, 4, "<I", len(data) - 1),
            lambda: _put(data, 0, "<I", 0x002A4D4D),
            lambda: _put(data, 2, "<H", random.choice((41, 43, 85, 0))),
            lambda: _many_directories(data, after),
        )
    )()


def _many_directories(data: bytes, after: int) -> bytes:
    """50,000 directories without an entry, each pointing at the next."""
    start, step = len(data), 6
    chain = b"".join(struct.pack("<HI", 0, start + step * (number + 1)) for number in range(50_000))
    return _put(data, after, "<I", start) + chain + struct.pack("<HI", 0, 0)


# --- other images ---------------------------------------------------------------------------------------------------


def _image(make: Callable[[NDArray[np.uint16]], tuple[Any, dict[str, Any]]]) -> Change:
    def apply(path: Path, random: Random) -> None:
        pixels = tifffile.imread(path, _multifile=False)
        array, options = make(pixels)
        tifffile.imwrite(path, array, **{"metadata": None, **options})

    return apply


OTHER_IMAGES: Final[Mapping[str, Change]] = {
    "float": _image(lambda p: (p.astype(np.float32), {})),
    "double": _image(lambda p: (p.astype(np.float64) * np.nan, {})),
    "signed": _image(lambda p: (p.astype(np.int16), {})),
    "32 bit": _image(lambda p: (p.astype(np.uint32) * 70000, {})),
    "complex": _image(lambda p: (p.astype(np.complex64), {})),
    "one bit": _image(lambda p: (p > 300, {})),
    "8 bit": _image(lambda p: ((p >> 8).astype(np.uint8), {})),
    "rgb": _image(lambda p: (np.stack([p] * 3, -1), {"photometric": "rgb"})),
    "rgba": _image(lambda p: (np.stack([p] * 4, -1), {"photometric": "rgb"})),
    "planar rgb": _image(lambda p: (np.stack([p] * 3), {"photometric": "rgb", "planarconfig": "separate"})),
    "palette": _image(lambda p: ((p >> 8).astype(np.uint8), {"photometric": "palette",
                                                             "colormap": np.zeros((3, 256), np.uint16)})),
    "smaller": _image(lambda p: (p[:-1, :-3], {})),
    "one pixel": _image(lambda p: (p[:1, :1], {})),
    "a line": _image(lambda p: (p[:1], {})),
    "two planes": _image(lambda p: (np.stack([p, p]), {})),
    "many planes": _image(lambda p: (np.broadcast_to(p[:8, :8], (300, 8, 8)), {})),
    "volume": _image(lambda p: (np.stack([p] * 8), {"volumetric": True, "tile": (16, 16, 16)})),
    "jpeg": _image(lambda p: ((p >> 8).astype(np.uint8), {"compression": "jpeg"})),
}  # fmt: skip
"""Images of another kind than the plate's: refused."""

SAME_IMAGES: Final[Mapping[str, Change]] = {
    "big endian": _image(lambda p: (p, {"byteorder": ">", "resolution": (10, 10), "description": _calibrated("0.1")})),
    "bigtiff": _image(lambda p: (p, {"bigtiff": True, "description": _calibrated("0.1")})),
    "tiled": _image(lambda p: (p, {"tile": (32, 32), "description": _calibrated("0.1")})),
    "deflated": _image(lambda p: (p, {"compression": "zlib", "description": _calibrated("0.1")})),
    "lzw": _image(lambda p: (p, {"compression": "lzw", "predictor": True, "description": _calibrated("0.1")})),
}
"""The same pixels written in another way: the same table."""


def _calibrated(size: str, *, inside: str = "") -> str:
    props = {"spatial-calibration-state": "on", "spatial-calibration-x": size, "spatial-calibration-y": size,
             "spatial-calibration-units": "um"}  # fmt: skip
    lines = "".join(f'<prop id="{name}" type="string" value="{value}"/>' for name, value in props.items())
    return f"<MetaData><PlaneInfo>{lines}{inside}</PlaneInfo></MetaData>"


def damaged_stream(path: Path, random: Random) -> None:
    """Compressed pixels with a damaged stream, whose check sum tells."""
    pixels = tifffile.imread(path, _multifile=False)
    tifffile.imwrite(path, pixels, compression="zlib", description=_calibrated("0.1"), metadata=None)
    with tifffile.TiffFile(path) as tif:
        start, size = tif.pages.first.dataoffsets[0], tif.pages.first.databytecounts[0]
    data = bytearray(path.read_bytes())
    for _ in range(3):
        data[start + random.randrange(size)] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def short_stream(path: Path, random: Random) -> None:
    """Compressed pixels that end before the plane is full."""
    pixels = tifffile.imread(path, _multifile=False)
    compression = random.choice(("packbits", "lzw", "zlib"))
    tifffile.imwrite(path, pixels, compression=compression, description=_calibrated("0.1"), metadata=None)
    data = path.read_bytes()
    counts = next(place for place, tag, *_ in entries(data) if tag == 279)
    with tifffile.TiffFile(path) as tif:
        size = tif.pages.first.databytecounts[0]
    path.write_bytes(_put(data, counts + 8, "<I", random.randrange(1, size)))


def absurd_size(path: Path, random: Random) -> None:
    """A header that asks for gigabytes to petabytes, over hardly any data."""
    width, length = random.choice(((2**31 - 1, 2**31 - 1), (10**6, 10**6), (200_000, 100_000), (2**32 - 1, 1)))
    compression = random.choice((1, 5, 8, 32773))
    tags = [(256, 4, 1, width), (257, 4, 1, length), (258, 3, 1, 16), (259, 3, 1, compression), (262, 3, 1, 1),
            (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, random.choice((1, length))),
            (279, 4, 1, random.choice((8, 2**32 - 1)))]  # fmt: skip
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0)
    path.write_bytes(b"II*\0" + struct.pack("<I", 16) + b"\0" * 8 + body)


def deflate_bomb(path: Path, random: Random) -> None:
    """A few kB that unpack to a plane of 72 MB."""
    tifffile.imwrite(path, np.zeros((6_000, 6_000), np.uint16), compression="zlib", metadata=None)


# --- metadata -------------------------------------------------------------------------------------------------------

_LAUGHS: Final = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lollollol">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12))
    + "]><OME>&m;</OME>"
)
_OME: Final = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="{type}" SizeX="{x}" SizeY="{y}" SizeC="{c}" SizeZ="{z}" '
    'SizeT="1" PhysicalSizeX="{size}" PhysicalSizeY="{size}">{inside}</Pixels></Image></OME>'
)


def ome(**values: object) -> str:
    return _OME.format(**{"type": "uint16", "x": 96, "y": 96, "c": 1, "z": 1, "size": "0.1", "inside": "<TiffData/>"}
                       | values)  # fmt: skip


DESCRIPTIONS: Final[tuple[str, ...]] = (
    _LAUGHS,
    '<!DOCTYPE o [<!ENTITY x SYSTEM "file:///etc/passwd">]><OME><Image Name="&x;"/></OME>',
    '<!DOCTYPE o [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd">%p;]><OME/>',
    '<!DOCTYPE MetaData SYSTEM "file:///dev/zero"><MetaData/>',
    "<" * 10_000,
    "<OME>" * 30_000,
    "<MetaData>" + "<a>" * 20_000 + "</a>" * 20_000 + "</MetaData>",
    "<MetaData" + "".join(f' a{n}="1"' for n in range(5000)) + "/>",
    "<MetaData><PlaneInfo>" + '<prop id="x" type="float" value="1"/>' * 20_000 + "</PlaneInfo></MetaData>",
    *(_calibrated(size) for size in ("nan", "inf", "-0.1", "0", "1e308", "1e-308", "0,1", "", "\u0660", "0.1um")),
    ome(x=2**31, y=2**31),
    ome(x=-1),
    ome(c=10**9, z=10**6),
    ome(c=3),
    ome(type="float"),
    ome(type="bogus"),
    ome(x="nan", y=""),
    ome(size="nan"),
    ome(size="-1"),
    ome(inside='<TiffData IFD="0" PlaneCount="999999999"/>'),
    ome(inside='<TiffData IFD="-5" FirstC="7"><UUID FileName="../../../etc/passwd">urn:uuid:1</UUID></TiffData>'),
    ome(inside='<TiffData><UUID FileName="/dev/zero">urn:uuid:00000000-0000-0000-0000-000000000000</UUID></TiffData>'),
    ome(inside="<BinData>AAAA</BinData>"),
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"/>',
    "ImageJ=1.53k\nimages=1000000000\nslices=1000000000\n",
    "ImageJ=1.53k\nimages=-1\nchannels=0\n",
    "ImageJ=1.53k\nimages=3\nchannels=3\nmode=composite\n",
    "ImageJ=1.53k\nunit=um\nmin=nan\nimages=1e99\nhyperstack=true\n",
    '{"shape": [1000000, 1000000]}',
    '{"shape": [-1, 96]}',
    '{"shape": "x", "axes": 5}',
    '{"shape": ' + "[" * 20_000,
    '{"shape": [96, 96], "axes": "QQ"}',
    '{"shape": [0]}',
    "SCANIMAGE.SI.x = 1",
    "Aperio Image Library v1",
    "state.configPath = 1",
    "Intensity\tfirst",
    "Leica SCN",
    "\r\n[Astronomy]",
)


def description(path: Path, random: Random) -> None:
    """The same pixels under metadata that lie, explode or lead out of the file."""
    pixels = tifffile.imread(path, _multifile=False)
    text = random.choice(DESCRIPTIONS)
    tifffile.imwrite(path, pixels, description=text.encode(), metadata=None, software=_software(random))


def described_by_people(path: Path, random: Random) -> None:
    """Sound metadata with a hostile name in them."""
    pixels = tifffile.imread(path, _multifile=False)
    text = _calibrated("0.1", inside=f'<prop id="image-name" type="string" value={quoteattr(random.choice(TEXTS))}/>')
    tifffile.imwrite(path, pixels, description=text.encode("utf-8", "replace"), metadata=None, software="MetaSeries")


def _software(random: Random) -> str:
    return random.choice(("MetaSeries", "tifffile.py", "ImageJ", "Micro-Manager", "FEI", "SIS", "x" * 3000))


STRUCTURE: Final[Mapping[str, Change]] = {
    **{
        name: of_bytes(change)
        for name, change in {
            "tag value": layout_value,
            "any value": any_value,
            "tag type": any_type,
            "tag count": any_count,
            "foreign tag": foreign_tag,
            "directory": directory,
        }.items()
    },
    "damaged stream": damaged_stream,
    "short stream": short_stream,
    "absurd size": absurd_size,
    "deflate bomb": deflate_bomb,
    "description": description,
    "hostile description": described_by_people,
}
