"""Seeded mutations of the files that Harmony and CellVoyager write: refused in one line, or described; never more."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

from index_files import DYES, HARMONY_7, index_xml, make_cellvoyager, make_harmony, mes, record, shots

from lysoquant.errors import PlateError
from lysoquant.io.raw import describe

ODD = (
    b"-1",
    b"0",
    b"1e999",
    b"nan",
    b"9" * 14,
    b"",
    b"\xff",
    b"<",
    b"&",
    b"&#0;",
    b"..",
    b"/",
    b"C:\\",
    b"file:///",
    b"\x00",
)
VALUES = re.compile(rb'(?<=>)[^<>\r\n]+(?=<)|(?<==")[^"]*(?=")')
ELEMENTS = re.compile(rb"<(Image|bts:MeasurementRecord|bts:Channel|FieldID|Row|URL|Entry)\b.*?</\1>", re.DOTALL)


def mutated(good: bytes, rng: random.Random) -> bytes:
    content = bytearray(good)
    match rng.randrange(4):
        case 0:
            for _ in range(rng.randrange(1, 4)):
                content[rng.randrange(len(content))] = rng.randrange(256)
        case 1:
            begin, end = rng.choice([match.span() for match in VALUES.finditer(good)])
            content[begin:end] = rng.choice(ODD)
        case 2:
            begin = rng.randrange(len(content))
            del content[begin : begin + rng.randrange(1, 400)]
        case _:
            begin, end = rng.choice([match.span() for match in ELEMENTS.finditer(good)] or [(0, 1)])
            content[begin:end] = b"" if rng.random() < 0.5 else good[begin:end] * 2
    return bytes(content)


def test_no_mutation_is_more_than_a_refusal_or_a_problem(tmp_path: Path) -> None:
    images = shots(planes=2, times=2)
    make_harmony(tmp_path / "h5", images)
    make_harmony(tmp_path / "h7", images, index=index_xml(images, schema=HARMONY_7), name="Index.xml")
    wells = [(2, 3), (2, 4)]
    records = [record(well, field=f, channel=c, z=z) for well in wells for f in (1, 2) for c in (1, 2) for z in (1, 2)]
    records += [record((2, 3), kind="ERR", field=None, text="AF"), record((2, 3), processing="Maximum")]
    make_cellvoyager(tmp_path / "cv", records, mes_text=mes(DYES, wells=[(2, 3), (5, 5)]))
    files = [tmp_path / "h5/Index.idx.xml", tmp_path / "h7/Index.xml"]
    files += [tmp_path / "cv" / name for name in ("MeasurementData.mlf", "MeasurementDetail.mrf", "S.mes")]
    rng, tally = random.Random(3), Counter[str]()
    for number in range(200):
        path = files[number % len(files)]
        good = path.read_bytes()
        path.write_bytes(mutated(good, rng))
        try:
            plate = describe(path.parent, z=rng.choice((1, 2, "max")), timepoint=rng.choice((1, "each")))
        except PlateError as error:
            tally["refused" if "\n" not in str(error) else "told in several lines"] += 1
        else:
            fields = [field for found in plate.wells.values() for field in found]
            planes = [plane for field in fields for stack in field.planes.values() for plane in stack.values()]
            assert all(plane.path.resolve().is_relative_to(path.parent) for plane in planes)
            tally["problems" if any(field.problems for field in fields) else "harmless"] += 1
        finally:
            path.write_bytes(good)
    assert set(tally) == {"refused", "problems", "harmless"}
    assert min(tally[outcome] for outcome in ("refused", "problems", "harmless")) >= 10, tally
