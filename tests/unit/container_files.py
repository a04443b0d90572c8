"""Small LIF and CZI files: LIF by hand from its published layout, CZI by Zeiss' own writer."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

_DIMENSIONS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "M": 10}


def write_lif(
    path: Path,
    images: Mapping[str, tuple[str, NDArray[np.uint8] | NDArray[np.uint16]]],
    *,
    channels: Sequence[str],
    pixel_size_um: float = 0.1,
) -> None:
    """A LIF file; `images` gives axes (slowest first, such as ``ZCYX``) and pixels by path in the file, ``A/1/R1``."""
    tree: dict[str, object] = {}
    blocks = []
    for number, (name, (axes, pixels)) in enumerate(images.items()):
        *folders, last = name.split("/")
        here = tree
        for folder in folders:
            here = here.setdefault(folder, {})  # type: ignore[assignment]
        here[last] = _element(axes, pixels, f"MemBlock_{number}", channels, pixel_size_um)
        blocks.append((f"MemBlock_{number}", pixels.tobytes()))
    body = _elements(tree)
    top = f"<Element Name={quoteattr(path.stem)}><Children>{body}</Children></Element>"
    xml = f'<LMSDataContainerHeader Version="2">{top}</LMSDataContainerHeader>'
    with path.open("wb") as file:
        text = xml.encode("utf-16-le")
        file.write(struct.pack("<IIBI", 0x70, 5 + len(text), 0x2A, len(xml)) + text)
        for block, data in blocks:
            text = block.encode("utf-16-le")
            file.write(struct.pack("<IIBQBI", 0x70, 14 + len(text), 0x2A, len(data), 0x2A, len(block)) + text + data)


def _elements(tree: Mapping[str, object]) -> str:
    parts = []
    for name, inner in tree.items():
        what = inner if isinstance(inner, str) else f"<Data/><Children>{_elements(inner)}</Children>"  # type: ignore[arg-type]
        parts.append(f"<Element Name={quoteattr(name)}>{what}</Element>")
    return "".join(parts)


def _element(
    axes: str, pixels: NDArray[np.uint8] | NDArray[np.uint16], block: str, channels: Sequence[str], size_um: float
) -> str:
    steps = dict(zip(axes, pixels.strides, strict=True))
    lengths = dict(zip(axes, pixels.shape, strict=True))
    bits = 8 * pixels.itemsize
    described = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{bits}" LUTName="Green"'
        f' Unit="" NameOfMeasuredQuantity="" Min="0" Max="1" IsLUTInverted="0" BitInc="0"'
        f' BytesInc="{number * steps.get("C", 0)}">'
        f"<ChannelProperty><Key>DyeName</Key><Value>{channel}</Value></ChannelProperty></ChannelDescription>"
        for number, channel in enumerate(channels)
    )
    dimensions = "".join(
        f'<DimensionDescription DimID="{_DIMENSIONS[axis]}" NumberOfElements="{lengths[axis]}" Origin="0"'
        f' Length="{(lengths[axis] - 1) * size_um * 1e-6}" Unit="m" BytesInc="{steps[axis]}" BitInc="0"/>'
        for axis in sorted(set(axes) - {"C"}, key=lambda axis: steps[axis])
    )
    return (
        f"<Data><Image><ImageDescription><Channels>{described}</Channels><Dimensions>{dimensions}</Dimensions>"
        f'</ImageDescription></Image></Data><Memory Size="{pixels.nbytes}" MemoryBlockID="{block}"/>'
    )


def write_czi(
    path: Path, scenes: Sequence[NDArray[np.uint16]], *, channels: Sequence[str], pixel_size_um: float
) -> None:
    """A CZI file; each scene is (T, C, Z, Y, X)."""
    from pylibCZIrw import czi

    with czi.create_czi(str(path)) as file:
        for number, scene in enumerate(scenes):
            for time, channel, z in np.ndindex(scene.shape[:3]):
                file.write(
                    data=scene[time, channel, z],
                    plane={"T": time, "C": channel, "Z": z},
                    scene=number,
                    location=(number * 1000, 0),
                )
        size = pixel_size_um * 1e-6
        file.write_metadata(channel_names=dict(enumerate(channels)), scale_x=size, scale_y=size, scale_z=size)
