"""A plate as Harmony exports it from an Operetta: an index, element for element like a real one of schema V5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
import tifffile
from numpy.typing import NDArray

from lysoquant.vocabulary import row_index, split_well

_Image = tuple[int, int, int, int]
"""Row, column, field and channel of an image, all counted from 1."""

_UNITS: Final = {
    **dict.fromkeys(
        ("ImageResolutionX", "ImageResolutionY", "PositionX", "PositionY", "PositionZ", "AbsPositionZ"), "m"
    ),
    **dict.fromkeys(("MainExcitationWavelength", "MainEmissionWavelength"), "nm"),
    **dict.fromkeys(("MeasurementTimeOffset", "ExposureTime"), "s"),
    **dict.fromkeys(("ObjectiveMagnification", "ObjectiveNA"), ""),
}


@dataclass(frozen=True)
class Operetta:
    """Harmony export: ``Images/Index.idx.xml`` (schema V5) and ``Images/r02c02f01p01-ch1sk1fk1fl1.tiff``, LZW."""

    out: Path
    name: str

    def begin(
        self,
        *,
        wells: Sequence[str],
        n_fields: int,
        n_rows: int,
        n_columns: int,
        channels: Sequence[str],
        size_px: int,
        pixel_size_um: float,
    ) -> None:
        """Write the index: what Harmony writes when all images are there."""
        places = [(row_index(row) + 1, column) for row, column in map(split_well, wells)]
        images = {
            place: [
                (*place, number, channel + 1) for number in range(1, n_fields + 1) for channel in range(len(channels))
            ]
            for place in places
        }
        lines = [
            '<?xml version="1.0" encoding="utf-8"?>',
            '<EvaluationInputData xmlns:xsd="http://www.w3.org/2001/XMLSchema"'
            ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" Version="1"'
            ' xmlns="http://www.perkinelmer.com/PEHH/HarmonyV5">',
            "  <User>lysoquant</User>",
            "  <InstrumentType>Operetta</InstrumentType>",
            *_plate(self.name, places, n_rows, n_columns),
            "  <Wells>",
            *(line for place in places for line in _well(place, images[place])),
            "  </Wells>",
            "  <Maps>",
            "    <Map>",
            *(line for number, channel in enumerate(channels, start=1) for line in _profile(number, channel)),
            "    </Map>",
            "  </Maps>",
            "  <Images>",
            *(
                line
                for own in images.values()
                for image in own
                for line in _image(image, channels[image[3] - 1], size_px, pixel_size_um)
            ),
            "  </Images>",
            "</EvaluationInputData>",
        ]
        folder = self.out / "Images"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "Index.idx.xml").write_bytes("\r\n".join(lines).encode("utf-8-sig"))

    def write_field(
        self, image: NDArray[np.uint16], *, well: str, index: int, channels: Sequence[str], pixel_size_um: float
    ) -> None:
        """Write one field, uint16 (C, Y, X); `index` counts from 0."""
        row, column = split_well(well)
        for number, plane in enumerate(image, start=1):
            path = self.out / "Images" / _file((row_index(row) + 1, column, index + 1, number))
            tifffile.imwrite(path, plane, compression="lzw", metadata=None)


def _file(image: _Image) -> str:
    row, column, number, channel = image
    return f"r{row:02d}c{column:02d}f{number:02d}p01-ch{channel}sk1fk1fl1.tiff"


def _id(image: _Image) -> str:
    row, column, number, channel = image
    return f"{row:02d}{column:02d}K1F{number}P1R{channel}"


def _plate(name: str, places: Sequence[tuple[int, int]], n_rows: int, n_columns: int) -> list[str]:
    return [
        "  <Plates>",
        "    <Plate>",
        f"      <PlateID>{escape(name)}</PlateID>",
        "      <MeasurementID>00000000-0000-0000-0000-000000000000</MeasurementID>",
        "      <MeasurementStartTime>2000-01-01T00:00:00+00:00</MeasurementStartTime>",
        f"      <Name>{escape(name)}</Name>",
        f"      <PlateTypeName>{n_rows * n_columns} simulated by lysoquant</PlateTypeName>",
        f"      <PlateRows>{n_rows}</PlateRows>",
        f"      <PlateColumns>{n_columns}</PlateColumns>",
        *(f'      <Well id="{row:02d}{column:02d}" />' for row, column in places),
        "    </Plate>",
        "  </Plates>",
    ]


def _well(place: tuple[int, int], images: Sequence[_Image]) -> list[str]:
    return [
        "    <Well>",
        "      <id>{:02d}{:02d}</id>".format(*place),
        f"      <Row>{place[0]}</Row>",
        f"      <Col>{place[1]}</Col>",
        *(f'      <Image id="{_id(image)}" />' for image in images),
        "    </Well>",
    ]


def _profile(number: int, channel: str) -> list[str]:
    profile = (
        "{Background: {Character: Null, Profile: {Type: Identity}, Quality: 1}, "
        f"Channel: {number}, ChannelName: {channel}, "
        "Foreground: {Character: Flat, Profile: {Type: Identity}, Quality: 1}, Version: Acapella:2013}"
    )
    return [
        f'      <Entry ChannelID="{number}">',
        f"        <FlatfieldProfile>{escape(profile)}</FlatfieldProfile>",
        "      </Entry>",
    ]


def _image(image: _Image, channel: str, size_px: int, pixel_size_um: float) -> list[str]:
    row, column, number, channel_id = image
    values = {
        "id": _id(image),
        "State": "Ok",
        "URL": _file(image),
        "Row": row,
        "Col": column,
        "FieldID": number,
        "PlaneID": 1,
        "TimepointID": 0,
        "ChannelID": channel_id,
        "FlimID": 1,
        "ChannelName": channel,
        "ImageType": "Signal",
        "AcquisitionType": "NipkowConfocal",
        "IlluminationType": "Epifluorescence",
        "ChannelType": "Fluorescence",
        "ImageResolutionX": f"{pixel_size_um * 1e-6:.9E}",
        "ImageResolutionY": f"{pixel_size_um * 1e-6:.9E}",
        "ImageSizeX": size_px,
        "ImageSizeY": size_px,
        "BinningX": 1,
        "BinningY": 1,
        "MaxIntensity": 65535,
        "CameraType": "simulated",
        "PositionX": f"{(number - 1) * size_px * pixel_size_um * 1e-6:.9g}",
        "PositionY": 0,
        "PositionZ": 0,
        "AbsPositionZ": 0,
        "MeasurementTimeOffset": 0,
        "AbsTime": "2000-01-01T00:00:00+00:00",
        "MainExcitationWavelength": 405 + 80 * (channel_id - 1),
        "MainEmissionWavelength": 455 + 80 * (channel_id - 1),
        "ObjectiveMagnification": 63,
        "ObjectiveNA": 1.15,
        "ExposureTime": 0.1,
        "OrientationMatrix": "[[1,0,0,0],[0,1,0,0],[0,0,1,0]]",
    }
    lines = []
    for key, value in values.items():
        unit = f' Unit="{_UNITS[key]}"' if key in _UNITS else ""
        lines.append(f"      <{key}{unit}>{escape(str(value))}</{key}>")
    return ['    <Image Version="1">', *lines, "    </Image>"]
