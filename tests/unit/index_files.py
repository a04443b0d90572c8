"""Harmony and CellVoyager measurements for tests: few elements, and images that hold their number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import tifffile

BTS = "http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"
HARMONY_5 = "http://www.perkinelmer.com/PEHH/HarmonyV5"
PLATE = "<PlateID>ID 1</PlateID><Name>Plate &amp; 1</Name><PlateRows>16</PlateRows><PlateColumns>24</PlateColumns>"
HARMONY_7 = "43B2A954-E3C3-47E1-B392-6635266B0DD3/HarmonyV7"


def write_image(path: Path, value: int = 0, *, shape: tuple[int, int] = (6, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.full(shape, value, np.uint16), metadata=None)


# ------------------------------------------------------------------------------------------------ Harmony


@dataclass(frozen=True)
class Shot:
    """An <Image> of an index; `url` None for the name that Harmony gives, `size_m` in metres."""

    row: int = 2
    column: int = 3
    field: int = 1
    plane: int = 1
    time: int = 0
    channel: int = 1
    name: str | None = None
    url: str | None = None
    state: str = "Ok"
    size_m: tuple[float, float] | None = (1e-7, 1e-7)
    z_m: float = 0.0

    @property
    def identity(self) -> str:
        return f"{self.row:02d}{self.column:02d}K{self.time + 1}F{self.field}P{self.plane}R{self.channel}"

    @property
    def file(self) -> str:
        if self.url is not None:
            return self.url
        place = f"r{self.row:02d}c{self.column:02d}f{self.field:02d}p{self.plane:02d}"
        return f"{place}-ch{self.channel}sk{self.time + 1}fk1fl1.tiff"

    def element(self, *, described: bool) -> str:
        """The element; not `described`: as in schema V7, where a map describes the channel."""
        lines = [
            f"<id>{self.identity}</id><State>{self.state}</State><URL>{escape(self.file)}</URL>",
            f"<Row>{self.row}</Row><Col>{self.column}</Col><FieldID>{self.field}</FieldID><PlaneID>{self.plane}</PlaneID>",
            f"<TimepointID>{self.time if described else self.time + 1}</TimepointID>",
            f"<ChannelID>{self.channel}</ChannelID><FlimID>1</FlimID>",
        ]
        if described:
            lines.append(self.channel_elements())
        lines.append(f'<PositionZ Unit="m">{self.z_m:G}</PositionZ>')
        return f'<Image Version="1">{"".join(lines)}</Image>'

    def channel_elements(self) -> str:
        lines = [f"<ChannelName>{escape(f'ch {self.channel}' if self.name is None else self.name)}</ChannelName>"]
        if self.size_m is not None:
            lines += [
                f'<ImageResolution{axis} Unit="m">{size:G}</ImageResolution{axis}>'
                for axis, size in zip("XY", self.size_m, strict=True)
            ]
        return "".join(lines)


def shots(*, fields: int = 2, planes: int = 1, times: int = 1, channels: int = 2, wells: int = 2) -> list[Shot]:
    """Wells from B03 to the right."""
    return [
        Shot(column=3 + well, field=field, plane=plane, time=time, channel=channel, z_m=(plane - 1) * 5e-7)
        for well in range(wells)
        for field in range(1, fields + 1)
        for time in range(times)
        for plane in range(1, planes + 1)
        for channel in range(1, channels + 1)
    ]


def index_xml(
    images: Sequence[Shot],
    *,
    named: Iterable[str] | None = None,
    selected: Sequence[str] = (),
    maps: str = "",
    plate: str = PLATE,
    schema: str = HARMONY_5,
) -> str:
    """An index; `named` are the image ids that its wells name, all images' if it is not given."""
    described = schema == HARMONY_5
    if not described:
        entries = {shot.channel: shot.channel_elements() for shot in images}
        listed = (f'<Entry ChannelID="{channel}">{text}</Entry>' for channel, text in entries.items())
        maps += f"<Map>{''.join(listed)}</Map>"
    wells: dict[tuple[int, int], list[str]] = {}
    for shot in images:
        wells.setdefault((shot.row, shot.column), []).append(shot.identity)
    if named is not None:
        wells = {place: list(named) for place in list(wells)[:1]}
    in_wells = "".join(
        f"<Well><id>{row:02d}{column:02d}</id><Row>{row}</Row><Col>{column}</Col>"
        + "".join(f"<Image id={quoteattr(text)} />" for text in texts)
        + "</Well>"
        for (row, column), texts in wells.items()
    )
    return (
        '<?xml version="1.0" encoding="utf-8"?>\r\n'
        f'<EvaluationInputData Version="1" xmlns="{schema}">\r\n'
        "<User>u</User><InstrumentType>Phenix</InstrumentType>\r\n"
        f"<Plates><Plate>{plate}{''.join(f'<Well id={quoteattr(text)} />' for text in selected)}</Plate></Plates>\r\n"
        f"<Wells>{in_wells}</Wells><Maps>{maps}</Maps>\r\n"
        f"<Images>{''.join(shot.element(described=described) for shot in images)}</Images>\r\n</EvaluationInputData>"
    )


def make_harmony(
    folder: Path,
    images: Sequence[Shot],
    *,
    without: Sequence[str] = (),
    index: str | None = None,
    name: str = "Index.idx.xml",
) -> Path:
    """A folder with an index and its images; their grey value is their place in the index, counted from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    text = index_xml(images) if index is None else index
    (folder / name).write_bytes(text.encode("utf-8-sig"))
    for number, shot in enumerate(images, start=1):
        if shot.file and shot.file not in without and ".." not in shot.file:
            write_image(folder / shot.file, number)
    return folder


def changed(images: Sequence[Shot], number: int, **changes: object) -> list[Shot]:
    """The images with one of them changed."""
    return [replace(shot, **changes) if at == number else shot for at, shot in enumerate(images)]


# ------------------------------------------------------------------------------------------------ CellVoyager


def record(
    well: tuple[int, int],
    *,
    field: int | None = 1,
    channel: int | None = 1,
    z: int | None = 1,
    time: int = 1,
    line: int = 1,
    kind: str = "IMG",
    text: str | None = None,
    at: tuple[float, float] | None = None,
    processing: str | None = None,
    **more: str,
) -> str:
    """A <MeasurementRecord>; fields lie 100 um apart."""
    row, column = well
    x, y = at if at is not None else (100.0 * (field or 0), -50.0)
    attributes = {
        "Type": kind,
        "Time": "2024-05-06T07:08:09.000+01:00",
        "Column": column,
        "Row": row,
        "TimePoint": time,
        "FieldIndex": field,
        "ZIndex": z,
        "TimelineIndex": line,
        "X": x,
        "Y": y,
        "Ch": channel,
        "ZImageProcessing": processing,
    }
    written = {key: value for key, value in {**attributes, **more}.items() if value is not None}
    said = " ".join(f"bts:{key}={quoteattr(str(value))}" for key, value in written.items())
    name = text if text is not None else image_name(well, field or 0, channel or 0, z or 0, time, processing or "")
    return f"<bts:MeasurementRecord {said}>{escape(name)}</bts:MeasurementRecord>"


def image_name(well: tuple[int, int], field: int, channel: int, z: int, time: int = 1, processing: str = "") -> str:
    row, column = well
    return f"P_{chr(64 + row)}{column:02d}_T{time:04d}F{field:03d}L01A01Z{z:02d}C{channel:02d}{processing}.tif"


def mlf(records: Iterable[str]) -> str:
    begin = f'<bts:MeasurementData bts:Version="1.0" xmlns:bts="{BTS}">'
    return "\r\n".join(['<?xml version="1.0" encoding="utf-8"?>', begin, *records, "</bts:MeasurementData>"])


def mrf(sizes: Mapping[int, tuple[float, float]], *, mes: str = "S.mes", more: str = "") -> str:
    channels = "".join(
        f'<bts:MeasurementChannel bts:Ch="{channel}" bts:HorizontalPixelDimension="{x}"'
        f' bts:VerticalPixelDimension="{y}" bts:InputBitDepth="16" bts:ShadingCorrectionSource="SC_{channel}.tif" />'
        for channel, (x, y) in sizes.items()
    )
    return (
        f'<bts:MeasurementDetail bts:Title="title" bts:RowCount="16" bts:ColumnCount="24" bts:TargetSystem="CV7000"'
        f' bts:ReleaseNumber="R1" bts:MeasurementSettingFileName={quoteattr(mes)} {more} xmlns:bts="{BTS}">'
        '<bts:MeasurementSamplePlate bts:Name="plate 7" bts:WellPlateFileName="" bts:WellPlateProductFileName="" />'
        f"{channels}</bts:MeasurementDetail>"
    )


def mes(channels: Mapping[int, Mapping[str, str]], *, wells: Iterable[tuple[int, int]] = ()) -> str:
    targets = "".join(f'<bts:TargetWell bts:Column="{c}" bts:Row="{r}">true</bts:TargetWell>' for r, c in wells)
    listed = "".join(
        f'<bts:Channel bts:Ch="{channel}" '
        + " ".join(f"bts:{key}={quoteattr(value)}" for key, value in said.items())
        + "><bts:LightSourceName>405nm</bts:LightSourceName></bts:Channel>"
        for channel, said in channels.items()
    )
    return (
        f'<bts:MeasurementSetting xmlns:bts="{BTS}"><bts:Timelapse><bts:Timeline><bts:WellSequence>{targets}'
        f"</bts:WellSequence></bts:Timeline></bts:Timelapse><bts:ChannelList>{listed}</bts:ChannelList>"
        "</bts:MeasurementSetting>"
    )


DYES = {1: {"Target": "405", "Fluorophore": ""}, 2: {"Target": "488", "Fluorophore": ""}}


def make_cellvoyager(
    folder: Path,
    records: Sequence[str],
    *,
    without: Sequence[str] = (),
    mrf_text: str | None = None,
    mes_text: str | None = None,
) -> Path:
    """A folder with a measurement's files and its images; their grey value is their place in the list, from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MeasurementData.mlf").write_text(mlf(records), encoding="utf-8", newline="")
    detail = mrf({1: (0.1, 0.1), 2: (0.1, 0.1), 3: (0.1, 0.1)}) if mrf_text is None else mrf_text
    (folder / "MeasurementDetail.mrf").write_text(detail, encoding="utf-8-sig")
    (folder / "S.mes").write_text(mes(DYES) if mes_text is None else mes_text, encoding="utf-8-sig")
    for number, text in enumerate(records, start=1):
        name = text.partition(">")[2].partition("<")[0]
        if name.endswith(".tif") and ".." not in name and name not in without:
            write_image(folder / name, number)
    return folder
