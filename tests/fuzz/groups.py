"""What is mutated, which commands then run on it, and how a wrong result would be known."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import pandas as pd
import roifile
import tifffile
import yaml
from bytes_mutations import BYTES, PLACES, Bomb, Change, of_bytes
from driver import FAILED, HARMLESS, REFUSED, Group, Scene
from hostile import CELLS, NUMBERS, PAGE, PATHS, SHELL, TEXTS
from pages import broken_out
from tiff_mutations import DESCRIPTIONS, OTHER_IMAGES, SAME_IMAGES, STRUCTURE, ome
from tiny_project import CHANNELS, PIXEL_SIZE_UM, PIXELS, WELLS, edit_config, make_project, ring_image

from lysoquant.config.load import load_project
from lysoquant.io.store import PlateStore
from lysoquant.simulate.writers import OME_TIFF_PATTERN, OmeTiff
from lysoquant.vocabulary import BATCH_STAGES, STAGES

STAGES_AFTER_CONVERT: Final = STAGES[1:]
OME_WELLS: Final = ("B02", "B03")


# --- what is copied for every case ----------------------------------------------------------------------------------


def make_base(base: Path) -> None:
    """A finished project, a plate of OME-TIFFs, cells outlined by people, and model files."""
    import caffe_kit

    from lysoquant.cli.main import invoke

    project = make_project(base / "project")
    edit_config(project, "scheduler: threads", "scheduler: processes")  # with one core: no thread, no process
    for stage in STAGES:
        if invoke([stage, str(project)]):
            raise RuntimeError(f"{stage} failed on a good project")
    writer = OmeTiff(base / "ome", "P")
    writer.begin(
        wells=OME_WELLS,
        n_fields=1,
        n_rows=8,
        n_columns=12,
        channels=CHANNELS,
        size_px=PIXELS,
        pixel_size_um=PIXEL_SIZE_UM,
    )
    for well in OME_WELLS:
        writer.write_field(
            ring_image(int(well[1:])), well=well, index=0, channels=CHANNELS, pixel_size_um=PIXEL_SIZE_UM
        )
    _make_annotated(base)
    (base / "models").mkdir()
    shutil.copy(project / "models" / "tiny.safetensors", base / "models")
    caffe_kit.write_definition(base / "models" / "m.modeldef.h5", caffe_kit.definition(2))
    caffe_kit.write_weights(base / "models" / "m.caffemodel.h5", caffe_kit.layers(2, 4))
    out = ["annotate", "export", str(project), str(base / "corrected"), "--cells", "2", "--device", "cpu"]
    if invoke(out):
        raise RuntimeError("annotate export failed on a good project")


def _make_annotated(base: Path) -> None:
    for name in ("annotated", "operators/images"):
        folder = base / name
        folder.mkdir(parents=True)
        planes = ring_image(5)[1:]
        metadata = {"axes": "CYX", "unit": "um", "Labels": ["lysosome", "cargo"]}
        tifffile.imwrite(folder / "a.tif", planes, imagej=True, resolution=(10, 10), metadata=metadata)
    for folder in ("annotated", "operators/ada", "operators/ben"):
        (base / folder).mkdir(exist_ok=True)
        write_zip(base / folder / "a.zip", dict(OUTLINES))


def oval(left: int, top: int, width: int, height: int) -> bytes:
    kind = roifile.ROI_TYPE.OVAL
    content: bytes = roifile.ImagejRoi(
        roitype=kind, left=left, top=top, right=left + width, bottom=top + height
    ).tobytes()
    return content


def polygon(points: Sequence[tuple[float, float]]) -> bytes:
    content: bytes = roifile.ImagejRoi.frompoints(np.array(points, np.float32)).tobytes()
    return content


OUTLINES: Final = (
    ("cell.roi", oval(2, 2, 90, 90)),
    ("empty-1.roi", oval(20, 20, 10, 12)),
    ("loaded-2.roi", polygon([(50, 50), (60, 50), (62, 61), (50, 60)])),
)


def write_zip(path: Path, entries: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


# --- comparing results ----------------------------------------------------------------------------------------------

_OF_ALL_WELLS: Final = ("robust_z", "b_score")
"""Columns that rest on the other wells of the plate too."""
_OF_THE_SHEET: Final = ("condition", "replicate", "control", "flags")


def field_of(project: Path, stage: str, well: str) -> dict[str, Any]:
    record = json.loads((project / f"results/P/records/{stage}/wells/{well}.json").read_text())
    (report,) = record["fields"]
    return report  # type: ignore[no-any-return]


def check_other_wells(scene: Scene, well: str | None) -> None:
    """All tables are the undisturbed ones but for the rows of one well, which is there all the same."""
    tables, good = scene.project / "results" / "tables", scene.base / "project" / "results" / "tables"
    for name in ("endolysosomes", "cells", "fields", "wells"):
        found, expected = (pd.read_parquet(folder / f"{name}.parquet") for folder in (tables, good))
        left_out = [c for c in (*_OF_ALL_WELLS, *_OF_THE_SHEET) if c in expected]
        rows, wanted = (
            table[table["well"] != well].drop(columns=left_out)[[c for c in expected if c not in left_out]]
            for table in (found, expected)
        )
        if not rows.reset_index(drop=True).equals(wanted.reset_index(drop=True)):
            scene.complain(f"{name}.parquet: rows of other wells than {well} changed")
        if name in ("wells", "fields") and sorted(set(found["well"])) != sorted(set(expected["well"])):
            scene.complain(f"{name}.parquet has the wells {sorted(set(found['well']))}")


def check_page(scene: Scene) -> None:
    page, good = (p / "results/report/index.html" for p in (scene.project, scene.base / "project"))
    for complaint in broken_out(page, good):
        scene.complain(complaint)


def check_csv(scene: Scene, *, n_wells: int) -> None:
    """wells.csv has its rows whatever its texts are, and says what wells.parquet says."""
    path = scene.project / "results/tables/wells.csv"
    with path.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    if len(rows) != n_wells or any(None in row or None in row.values() for row in rows):
        scene.complain(f"wells.csv has {len(rows)} rows, or rows of other lengths")
    table = pd.read_parquet(path.with_suffix(".parquet"))
    for column in ("plate", "well", "condition"):
        if [row.get(column) for row in rows] != table[column].fillna("").astype(str).tolist():
            scene.complain(f"wells.csv and wells.parquet differ in {column}")


def stages(scene: Scene, names: Sequence[str], project: Path | None = None) -> bool:
    """Whether all these stages went through; stops at the first that did not."""
    return all(scene.call(stage, project or scene.project) == 0 for stage in names)


# --- raw: an image of an ImageXpress plate ---------------------------------------------------------------------------

_RAW: Final[Mapping[str, Change]] = {**BYTES, **PLACES, **STRUCTURE, **OTHER_IMAGES, **SAME_IMAGES}
_UNSIGNED: Final = frozenset({"bytes flipped", "header flipped", "bytes inserted", "block blanked"})
"""Changes that can leave a whole file of other pixels: nothing in it says what they should have been."""


def play_raw(scene: Scene, mutation: str, random: Random) -> None:
    """One of nine images of a finished project changes: its field fails, or nothing does."""
    project = scene.copy("project")
    scene.allowed.append(project / "results")
    well, wave = random.choice(WELLS), random.randrange(3)
    image = project / "raw" / "TimePoint_1" / f"P_{well}_s1_w{wave + 1}.TIF"
    _RAW[mutation](image, random)
    scene.begin()
    if scene.call("convert", project):
        scene.complain("convert failed where one field is bad")
        return
    check_field(scene, well, mutation, mentions=(image.name, CHANNELS[wave], well))
    if scene.outcome == FAILED or random.random() < 0.1:
        if not stages(scene, STAGES_AFTER_CONVERT):
            scene.complain("a stage failed where one field is bad")
            return
        check_other_wells(scene, well)
        check_page(scene)
        if scene.outcome != FAILED:
            scene.outcome = HARMLESS


def check_field(scene: Scene, well: str, mutation: str, *, mentions: Sequence[str]) -> None:
    """The field failed with a reason that names the file, or its pixels and pixel size are what they were."""
    report = field_of(scene.project, "convert", well)
    told = " ".join(report["reasons"])
    if "\n" in told or not all(c.isprintable() for c in told) or len(told) > 2000:
        scene.complain(f"a reason is not one readable line: {told[:300]!r}")
    for word in ("Memory", "Unable to allocate", "Recursion"):
        if word in told:
            scene.complain(f"a reason says {word}: {told}")
    if report["status"] == "failed":
        scene.outcome = FAILED
        if not any(word in told for word in mentions):
            scene.complain(f"the reason names none of {mentions}: {told}")
        return
    fields = [PlateStore.open(p / "results/P/P.zarr").field(well, 0) for p in (scene.project, scene.base / "project")]
    same = all(np.array_equal(fields[0].read(c), fields[1].read(c)) for c in CHANNELS)
    if not same and mutation not in _UNSIGNED:
        scene.complain(f"other pixels were taken for whole ({report['status']}: {told})")
    if fields[0].pixel_size_um != fields[1].pixel_size_um and report["status"] == "ok":
        scene.complain(f"pixel size {fields[0].pixel_size_um} was taken")


# --- plates: what init and why make of a plate's own metadata and names ----------------------------------------------


def _htd_lines(path: Path) -> list[str]:
    return path.read_bytes().decode("latin-1").split("\r\n")


def _set_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_bytes("\r\n".join(lines).encode("utf-8", "surrogateescape"))


def htd_value(path: Path, random: Random) -> None:
    """One value of one line is another."""
    lines = _htd_lines(path)
    place = random.randrange(1, len(lines) - 2)
    key, *values = lines[place].split(", ")
    values[random.randrange(len(values))] = random.choice((*NUMBERS, *TEXTS)) if random.random() < 0.8 else '"'
    _set_lines(path, [*lines[:place], ", ".join([key, *values]), *lines[place + 1 :]])


def htd_lines(path: Path, random: Random) -> None:
    """Lines lost, twice, in another order, or without end."""
    lines = _htd_lines(path)
    place = random.randrange(len(lines) - 1)
    change: Callable[[], list[str]] = random.choice(
        (
            lambda: lines[:place] + lines[place + 1 :],
            lambda: [*lines, lines[place]],
            lambda: [*lines, lines[place] + ", 7"],
            lambda: random.sample(lines, len(lines)),
            lambda: [*lines[:place], '"' + "x" * 200_000, *lines[place:]],
            lambda: [*lines[:place], ", ".join(["TRUE"] * 100_000), *lines[place:]],
            lambda: [line.replace('"', "") for line in lines],
            lambda: lines * 40,
        )
    )
    _set_lines(path, change())


def htd_encoding(path: Path, random: Random) -> None:
    text = path.read_bytes().decode("latin-1")
    path.write_bytes(text.encode(random.choice(("utf-16", "utf-16-be", "utf-8-sig", "utf-32", "cp037"))))


_HTD: Final[Mapping[str, Change]] = {
    "htd value": htd_value,
    "htd lines": htd_lines,
    "htd encoding": htd_encoding,
    **{f"htd {name}": change for name, change in {**BYTES, **PLACES}.items()},
}


def play_htd(scene: Scene, mutation: str, random: Random) -> None:
    """The .HTD file changes: init refuses it by name, or makes a project that why and convert can read."""
    raw = scene.folder / "raw"
    shutil.copytree(scene.base / "project" / "raw", raw, symlinks=True)
    places = [raw / "P.HTD", raw / "TimePoint_1" / "P.HTD"]
    before = places[0].read_bytes()
    _HTD[mutation](places[0], random)
    if places[0].is_file() and not places[0].is_symlink() and random.random() < 0.8:
        shutil.copy(places[0], places[1])
    is_same = places[0].is_file() and not places[0].is_symlink() and places[0].read_bytes() == before
    scene.allowed.append(scene.project)
    scene.begin()
    init_and_convert(scene, raw, mentions=("P.HTD", ".HTD", "raw", "channel"), is_same=is_same)


def init_and_convert(
    scene: Scene, raw: Path, *, mentions: Sequence[str], more: Sequence[str] = (), is_same: bool = False
) -> None:
    if scene.call("init", raw, "--output", scene.project, *more, mentions=mentions):
        if (scene.project / "config").exists() or scene.project.exists():
            scene.complain("init failed and left something behind")
        return
    project = load_project(scene.project)
    scene.call("why", scene.project)
    (plate,) = project.plates
    if scene.call("convert", scene.project, mentions=mentions):
        scene.complain("convert refused what init took")
    records = scene.project / "results" / plate / "records" / "convert" / "wells"
    found = [json.loads(path.read_text()) for path in sorted(records.glob("*.json"))]
    failed = [report for record in found for report in record["fields"] if report["status"] == "failed"]
    scene.outcome = FAILED if failed else HARMLESS
    if is_same and failed:
        scene.complain(f"a good plate has {len(failed)} failed fields")
    missing = sorted(set(WELLS) - {record["well"] for record in found})
    if missing and not any("well" in note.lower() for note in scene.said.splitlines()):
        scene.complain(f"wells {missing} were dropped in silence")


def file_names(scene: Scene, random: Random) -> tuple[Path, list[str]]:
    """An ImageXpress plate whose files, plate name or folder have a hostile name."""
    text = random.choice(TEXTS).replace("/", "_").replace("\x00", "_")[:180] or "_"
    raw = scene.folder / "raw"
    kind = random.choice(("folder", "plate", "beside", "bytes"))
    if kind == "folder" and text not in (".", ".."):
        raw = scene.folder / f"raw{text}"
    shutil.copytree(scene.base / "project" / "raw", raw, symlinks=True)
    images = raw / "TimePoint_1"
    if kind == "plate":
        for path in [*raw.glob("*.HTD"), *images.glob("P*")]:
            path.rename(path.with_name(path.name.replace("P", f"P{text}", 1)))
    if kind == "beside":
        for name in (f"P_B03_s1_w1{text}.TIF", f"P_B03_s1_w1_{text}.TIF", f"P_{text}_s1_w1.TIF", f"{text}.TIF"):
            if len(os.fsencode(name)) < 255:
                shutil.copy(images / "P_B03_s1_w1.TIF", images / name)
    if kind == "bytes":
        (images / os.fsdecode(b"P_B03_s1_w1\xff\xfe.TIF")).write_bytes(b"")
        (raw / os.fsdecode(b"\xe9.HTD.bak")).write_bytes(b"")
        shutil.copy(images / "P_B03_s1_w1.TIF", images / os.fsdecode(b"P_B03_s1\xe9_w1.TIF"))
    return raw, []


def wave_names(scene: Scene, random: Random) -> tuple[Path, list[str]]:
    """Channels with hostile names, given their roles by flags."""
    raw = scene.folder / "raw"
    shutil.copytree(scene.base / "project" / "raw", raw, symlinks=True)
    names = [random.choice(TEXTS) for _ in range(3)]
    if random.random() < 0.2:
        names[1] = names[0]
    for place in (raw, raw / "TimePoint_1"):
        lines = _htd_lines(place / "P.HTD")
        for number, name in enumerate(names, start=1):
            quoted = name.replace('"', '""')
            lines = [f'"WaveName{number}", "{quoted}"' if f'"WaveName{number}"' in line else line for line in lines]
        _set_lines(place / "P.HTD", lines)
    flags = [f"--{role}={name}" for role, name in zip(("nucleus", "lysosome", "cargo"), names, strict=True)]
    return raw, flags if random.random() < 0.7 else []


def folder_tree(scene: Scene, random: Random) -> tuple[Path, list[str]]:
    """Folders that lead out, round in circles, or very deep; pipes and sockets among the images."""
    raw = scene.folder / "raw"
    shutil.copytree(scene.base / "project" / "raw", raw, symlinks=True)
    kind = random.choice(("loop", "out", "deep", "pipe", "images out", "time points"))
    if kind == "loop":
        (raw / "again").symlink_to(raw)
        (raw / "TimePoint_1" / "again").symlink_to("..")
    if kind == "out":
        (raw / "TimePoint_2").symlink_to("/etc")
        (raw / "ZStep_1").symlink_to("/proc/self")
    if kind == "deep":
        Path(raw, *["d" * 20] * 40).mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(raw / "TimePoint_1" / "P_B05_s1_w1.TIF")
        os.mkfifo(raw / "Q.HTD")
    if kind == "images out":
        shutil.move(raw / "TimePoint_1", scene.folder / "elsewhere")
        (raw / "TimePoint_1").symlink_to(scene.folder / "elsewhere")
    if kind == "time points":
        for number in (0, 2, 999999999999, "1e3", "-1"):
            (raw / f"TimePoint_{number}").mkdir()
    return raw, []


def flag_values(scene: Scene, random: Random) -> tuple[Path, list[str]]:
    """Flags of init with hostile values."""
    raw = scene.folder / "raw"
    shutil.copytree(scene.base / "project" / "raw", raw, symlinks=True)
    text = random.choice((*TEXTS, *NUMBERS)).replace("\x00", "")
    flag = random.choice(("--plate-name", "--cargo", "--pixel-size-um", "--z", "--timepoint", "--pattern",
                          "--channel-names", "--format", "--plate-map"))  # fmt: skip
    return raw, [f"{flag}={text}"]


_NAMES: Final = {
    "file names": file_names,
    "channel names": wave_names,
    "folders": folder_tree,
    "flags": flag_values,
}


def play_names(scene: Scene, mutation: str, random: Random) -> None:
    """Hostile names around a good plate."""
    raw, flags = _NAMES[mutation](scene, random)
    scene.allowed.append(scene.project)
    scene.begin()
    init_and_convert(scene, raw, mentions=(), more=flags)
    if scene.outcome == HARMLESS and mutation == "channel names" and random.random() < 0.25:
        shutil.copytree(scene.base / "project" / "models", scene.project / "models")
        config = scene.project / "config" / "config.yaml"
        config.write_text(config.read_text().replace("model: default", "model: models/tiny.safetensors"))
        if stages(scene, STAGES_AFTER_CONVERT):
            check_page(scene)


# --- ome: one OME-TIFF of a plate of them ---------------------------------------------------------------------------


def ome_xml(path: Path, random: Random) -> None:
    """Its XML says something else, of the same length or another."""
    xml = random.choice((*(text for text in DESCRIPTIONS if text.startswith("<")), ome(c=3), ome(c=3, z=3)))
    tifffile.imwrite(path, tifffile.imread(path, _multifile=False), description=xml.encode(), metadata=None,
                     photometric="minisblack")  # fmt: skip


def ome_value(path: Path, random: Random) -> None:
    """One number or word of its own XML is another of the same length or shorter."""
    data = path.read_bytes()
    start, end = data.index(b"<?xml"), data.rindex(b"</OME>")
    marks = [n for n in range(start, end) if data[n : n + 2] == b'="']
    place = random.choice(marks) + 2
    size = data.index(b'"', place) - place
    value = random.choice((*NUMBERS, *TEXTS)).encode("utf-8", "replace")[:size].ljust(size)
    path.write_bytes(data[:place] + value + data[place + size :])


def ome_names(path: Path, random: Random) -> None:
    """Channels and image have hostile names."""
    planes = tifffile.imread(path, _multifile=False)
    names = [random.choice(TEXTS).replace("\x00", "") for _ in range(3)]
    allowed = [
        "".join(c for c in name if c in "\t\n" or (c.isprintable() and c not in "\ufffe\uffff")) for name in names
    ]
    metadata = {"axes": "CYX", "Channel": {"Name": allowed}, "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1}
    tifffile.imwrite(path, planes, metadata=metadata, photometric="minisblack", ome=True)


_OME: Final[Mapping[str, Change]] = {
    "xml": ome_xml,
    "xml value": ome_value,
    "channel names": ome_names,
    **{name: change for name, change in {**BYTES, **PLACES, **STRUCTURE}.items() if name != "deflate bomb"},
}


def play_ome(scene: Scene, mutation: str, random: Random) -> None:
    """One of two OME-TIFFs changes; the other well converts, unless the changed one comes first and lies."""
    raw = scene.copy("ome", scene.folder / "raw")
    well = random.choice(OME_WELLS)
    image = raw / f"{well}_f0.ome.tif"
    try:
        _OME[mutation](image, random)
    except (tifffile.TiffFileError, ValueError, IndexError, KeyError):
        return
    scene.allowed.append(scene.project)
    scene.begin()
    more = ["--format", "tiff", "--pattern", OME_TIFF_PATTERN]
    _init_ome(scene, raw, well, image.name, more)


def _init_ome(scene: Scene, raw: Path, well: str, name: str, more: Sequence[str]) -> None:
    mentions = (name, well, "channel", "files hold", "pixel size", "Z plane", "time point")
    if scene.call("init", raw, "--output", scene.project, *more, mentions=mentions):
        if scene.project.exists():
            scene.complain("init failed and left something behind")
        return
    if scene.call("convert", scene.project):
        scene.complain("convert refused what init took")
        return
    (plate,) = load_project(scene.project).plates
    for each in OME_WELLS:
        path = scene.project / "results" / plate / "records" / "convert" / "wells" / f"{each}.json"
        if not path.exists():
            if each != well:
                scene.complain(f"well {each} is lost")
            continue
        (report,) = json.loads(path.read_text())["fields"]
        if report["status"] == "failed":
            scene.outcome = FAILED


# --- sheets ---------------------------------------------------------------------------------------------------------


def sheet_cell(path: Path, random: Random) -> None:
    """One cell is another."""
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    row = random.choice(rows[1:] if random.random() < 0.8 else rows)
    row[random.randrange(len(row))] = random.choice((*TEXTS, *NUMBERS))
    _write_rows(path, rows)


def sheet_condition(path: Path, random: Random) -> None:
    """The words of an experimenter who writes what she likes."""
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    words = (*PAGE, *SHELL, *CELLS, *PATHS, *TEXTS)
    rows = [rows[0], *([row[0], row[1], random.choice(words)] for row in rows[1:])]
    if random.random() < 0.3:
        rows = [[*rows[0], random.choice(words)], *([*row, random.choice(words)] for row in rows[1:])]
    _write_rows(path, rows, quoted=random.random() < 0.7)


def sheet_rows(path: Path, random: Random) -> None:
    """Rows and columns too many, too few, twice, in another order, or very many."""
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    place = random.randrange(len(rows))
    change: Callable[[], list[list[str]]] = random.choice(
        (
            lambda: rows[:place] + rows[place + 1 :],
            lambda: [*rows, rows[place]],
            lambda: [rows[0], *random.sample(rows[1:], len(rows) - 1)],
            lambda: [[*row, "x"] for row in rows],
            lambda: [*rows[:place], [*rows[place], "x", "y"], *rows[place + 1 :]],
            lambda: [row[:-1] for row in rows],
            lambda: [row[1:] for row in rows],
            lambda: [row[::-1] for row in rows],
            lambda: [[*rows[0], *(f"c{n}" for n in range(5000))], *rows[1:]],
            lambda: [*rows, *([*rows[-1][:1], f"{chr(65 + n // 48 % 26)}{n % 48 + 1:02d}", "x"] for n in range(20000))],
            lambda: [*rows, *[[""] * 3] * 1000],
            lambda: [rows[0], *([*row[:2], "c" * 100_000] for row in rows[1:])],
            lambda: [[*rows[0], rows[0][-1]], *([*row, "x"] for row in rows[1:])],
            lambda: [[*rows[0], random.choice(("n_cells", "occupancy_mean", "_x", "intensity_mean_a", "Plate"))],
                     *([*row, "7"] for row in rows[1:])],
        )
    )  # fmt: skip
    _write_rows(path, change())


def sheet_separator(path: Path, random: Random) -> None:
    text = path.read_text()
    mark = random.choice((",", ";", "|", " ", "\t\t", "\x1f", '"\t"'))
    path.write_text(text.replace("\t", mark), newline="")


def sheet_encoding(path: Path, random: Random) -> None:
    text = path.read_text().replace("treated", "tr\u00e9at\u00e9 \N{MICRO SIGN}M").replace("raw", "raw")
    name = random.choice(("utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-32", "utf-7", "mac-roman"))
    ends = random.choice(("\n", "\r\n", "\r", "\n\r", "\x0b", "\u2028"))
    path.write_bytes(text.replace("\n", ends).encode(name, "replace"))


def _write_rows(path: Path, rows: Sequence[Sequence[str]], *, quoted: bool = False) -> None:
    if quoted:
        out = io.StringIO()
        csv.writer(out, delimiter="\t", lineterminator="\n").writerows(rows)
        text = out.getvalue()
    else:
        text = "\n".join("\t".join(row) for row in rows) + "\n"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


_SHEET: Final[Mapping[str, Change]] = {
    "cell": sheet_cell,
    "conditions": sheet_condition,
    "rows": sheet_rows,
    "separator": sheet_separator,
    "encoding": sheet_encoding,
    **BYTES,
    **PLACES,
}


def play_sheets(scene: Scene, mutation: str, random: Random) -> None:
    """A sheet of a finished project changes: refused by its name, or the numbers of every well stay."""
    project = scene.copy("project")
    scene.allowed.append(project / "results")
    name = "wells.tsv" if mutation == "conditions" or random.random() < 0.7 else "plates.tsv"
    sheet = project / "config" / name
    _SHEET[mutation](sheet, random)
    scene.begin()
    if scene.call("why", project, mentions=(name, "raw", "plate", sheet.stem)):
        return
    if name == "plates.tsv" and not stages(scene, ("convert",)):
        return
    if not stages(scene, ("aggregate", "report") if name == "wells.tsv" else STAGES_AFTER_CONVERT):
        return
    names = list(load_project(project).plates)
    if names == ["P"] and name == "wells.tsv":
        check_other_wells_of_sheet(scene)
    check_page(scene)


def check_other_wells_of_sheet(scene: Scene) -> None:
    """Every well with images is there with its numbers; wells of the sheet alone are empty."""
    path = scene.project / "results/tables/wells.parquet"
    found, expected = (
        pd.read_parquet(p / "results/tables/wells.parquet") for p in (scene.project, scene.base / "project")
    )
    numbers = [c for c in expected if c not in (*_OF_ALL_WELLS, *_OF_THE_SHEET)]
    kept = found[found["well"].isin(WELLS)][numbers].reset_index(drop=True)
    if not kept.equals(expected[numbers].reset_index(drop=True)):
        scene.complain("the numbers of wells changed with the sheet")
    check_csv(scene, n_wells=len(found))
    rows = {row.well: row for row in load_project(scene.project).plate_map}
    for well, condition in zip(found["well"], found["condition"].fillna(""), strict=True):
        if well in rows and rows[well].condition != condition:
            scene.complain(
                f"{path.name}: condition of {well} is {condition!r}, the sheet says {rows[well].condition!r}"
            )


def play_plate_map(scene: Scene, mutation: str, random: Random) -> None:
    """A plate map given to init changes."""
    raw = scene.folder / "raw"
    shutil.copytree(scene.base / "project" / "raw", raw, symlinks=True)
    sheet = scene.folder / "map.csv"
    rows = [line.split("\t")[1:] for line in (scene.base / "project/config/wells.tsv").read_text().splitlines()]
    _write_rows(sheet, rows)
    _SHEET[mutation](sheet, random)
    scene.allowed.append(scene.project)
    scene.begin()
    if scene.call("init", raw, "--output", scene.project, "--plate-map", sheet, mentions=("map.csv", "plate-map")):
        if scene.project.exists():
            scene.complain("init failed and left something behind")
        return
    project = load_project(scene.project)
    if not set(WELLS) <= {row.well for row in project.plate_map}:
        scene.complain("a well with images is not in wells.tsv")


# --- config ---------------------------------------------------------------------------------------------------------

_RAW_YAML: Final = (
    "!!python/object/apply:os.system ['touch PWNED']",
    "!!python/name:os.system",
    "!!python/object/new:type {}",
    "!<tag:yaml.org,2002:python/module> os",
    "!!binary aGVsbG8=",
    "!!set {a, b}",
    "!!timestamp 2001-01-01",
    "!!float 1",
    "!!str 1",
    "!x y",
    "*a",
    "&a [*a]",
    "&a {b: *a}",
    "{<<: {a: 1}}",
    "[" * 5000,
    "[" * 5000 + "]" * 5000,
    "{a: " * 2000,
    "? [a]\n: b",
    "| \n  x",
    ".nan",
    ".inf",
    "-.inf",
    "1e400",
    "0b1",
    "0o17",
    "017",
    "1:30:00",
    "0x10",
    "1_0",
    "~",
    "yes",
    "2001-01-01",
    "'",
    '"\\x00"',
    '"\\ud800"',
    '"\\uD83D\\uDE00"',
    "\t1",
    "@",
    "`",
    "%",
    "---\n1",
    "...\n",
    "{}",
    "[]",
    "{a: 1}",
    "[1, 2]",
    "true",
    "1" + "0" * 5000,
    "-" * 3000,
    "'" + "z" * 100_000 + "'",
)


def config_value(path: Path, random: Random) -> None:
    """One setting, named in the file or not, has a value of another kind, or raw YAML."""
    data = yaml.safe_load(path.read_text())
    keys = list(_all_keys())
    key = random.choice(keys)
    here = data
    for part in key[:-1]:
        here[part] = here.get(part) if isinstance(here.get(part), dict) else {}
        here = here[part]
    here[key[-1]] = "THE_VALUE"
    text = yaml.safe_dump(data, default_flow_style=False, sort_keys=False)
    kind = random.random()
    if kind < 0.5:
        value = random.choice(_RAW_YAML)
    elif kind < 0.75:
        value = random.choice(NUMBERS)
    else:
        value = json.dumps(random.choice(TEXTS))
    path.write_bytes(text.replace("THE_VALUE", value).encode("utf-8", "surrogatepass"))


def _all_keys() -> list[tuple[str, ...]]:
    from lysoquant.config.model import Config
    from lysoquant.config.settings import settings_of

    return [setting.key for setting in settings_of(Config)]


def config_text(path: Path, random: Random) -> None:
    """Lines lost, twice, indented, and bombs of aliases."""
    lines = path.read_text().splitlines()
    place = random.randrange(len(lines))
    change: Callable[[], list[str]] = random.choice(
        (
            lambda: lines[:place] + lines[place + 1 :],
            lambda: [*lines, lines[place]],
            lambda: [*lines[:place], " " + lines[place], *lines[place + 1 :]],
            lambda: [*lines[:place], "\t" + lines[place], *lines[place + 1 :]],
            lambda: ["a: &a [x, x, x, x]", *_aliases(12), *lines],
            lambda: [*lines, "unknown: {a: 1}"],
            lambda: [*lines, f"{json.dumps(random.choice(TEXTS))}: 1"],
            lambda: [*lines, "---", *lines],
            lambda: ["%YAML 9.9", "---", *lines],
            lambda: ["%TAG ! tag:yaml.org,2002:python/", "---", *lines],
            lambda: [f"# {'x' * 300_000}", *lines],
            lambda: [*lines, *(f"k{n}: {n}" for n in range(10_000))],
            lambda: ["- " + line for line in lines],
            lambda: ["7"],
            lambda: ["null"],
            lambda: [*(" " * n + f"k{n}:" for n in range(400))],
        )
    )  # fmt: skip
    path.write_bytes("\n".join([*change(), ""]).encode("utf-8", "surrogatepass"))


def _aliases(count: int) -> list[str]:
    """Each line nine times the one before."""
    return [
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefghijkl"[:count], "bcdefghijklm", strict=False)
    ]


def config_title(path: Path, random: Random) -> None:
    """The title of the report, and paths, are hostile texts."""
    data = yaml.safe_load(path.read_text())
    data["report"]["title"] = "THE_VALUE"
    text = yaml.safe_dump(data, default_flow_style=False)
    path.write_text(text.replace("THE_VALUE", json.dumps(random.choice((*PAGE, *SHELL, *TEXTS)))))


_ENCODINGS: Final = ("utf-16", "utf-8-sig", "utf-32", "utf-7", "cp037")
_CONFIG: Final[Mapping[str, Change]] = {
    "value": config_value,
    "value again": config_value,
    "value once more": config_value,
    "text": config_text,
    "title": config_title,
    "encoding": of_bytes(lambda data, random: data.decode().encode(random.choice(_ENCODINGS))),
    **BYTES,
    **PLACES,
}  # fmt: skip


def play_config(scene: Scene, mutation: str, random: Random) -> None:
    """The configuration of a finished project changes: refused, naming the key or line, or followed."""
    project = scene.copy("project")
    scene.allowed.append(project / "results")
    config = project / "config" / "config.yaml"
    _CONFIG[mutation](config, random)
    scene.begin()
    if scene.call(
        "why", project, mentions=("config.yaml", "channels.", "plates", "wells", "segment.", "readable sheet")
    ):
        return
    loaded = load_project(project)
    if not loaded.layout.results.is_relative_to(project / "results"):
        return
    runs = ("aggregate", "report") if mutation == "title" else STAGES if random.random() < 0.15 else ()
    if runs and stages(scene, runs, project):
        check_page(scene)
        check_csv(scene, n_wells=len(WELLS))


# --- stores: what a stage left, damaged before the next --------------------------------------------------------------


def _json_value(path: Path, random: Random) -> None:
    """One value of a JSON document is of another kind."""
    value = json.loads(path.read_text())
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(value)
    node, key = random.choice(places)
    node[key] = random.choice((None, -1, 0, 2**63, 1e308, "", random.choice(TEXTS), [], {}, True, [[[]]], "../../x"))
    path.write_text(json.dumps(value))


JSON_AND_BYTES: Final[Mapping[str, Change]] = {
    "json value": _json_value,
    "json value again": _json_value,
    "json deep": of_bytes(lambda data, random: b'{"a":' * 100_000),
    "json number": of_bytes(lambda data, random: b'{"node_type": "group", "zarr_format": 1e999, "x": NaN}'),
    "json huge number": of_bytes(lambda data, random: b'{"zarr_format": ' + b"9" * 5000 + b"}"),
    **BYTES,
    **PLACES,
}


def play_stores(scene: Scene, mutation: str, random: Random) -> None:
    """A file of the store of one field, or a record of one well, is damaged before the later stages run again."""
    project = scene.copy("project")
    scene.allowed.append(project / "results")
    well = random.choice(WELLS)
    results = project / "results" / "P"
    field = results / "P.zarr" / well[0] / well[1:] / "0"
    files = sorted(p for p in field.rglob("*") if p.is_file())
    records = sorted(results.glob(f"records/*/wells/{well}.json"))
    documents = [path for path in files if path.suffix == ".json"]
    chosen = random.choice(documents if mutation.startswith("json") else files)
    if random.random() < 0.3:
        chosen = random.choice(records)
    try:
        JSON_AND_BYTES[mutation](chosen, random)
    except ValueError:
        return
    stage = random.choice(BATCH_STAGES[1:])
    for later in BATCH_STAGES[BATCH_STAGES.index(stage) :]:
        shutil.rmtree(results / "records" / later)
    scene.begin()
    if scene.call("why", project):
        return
    if stages(scene, STAGES):
        scene.outcome = HARMLESS
        reports = pd.read_parquet(project / "results/tables/fields.parquet").set_index("well")["status"]
        if (reports.drop(well) != "ok").any():
            scene.complain(f"fields of other wells failed: {reports.to_dict()}")
        scene.outcome = FAILED if reports[well] == "failed" else HARMLESS


# --- annotations: outlines of people ---------------------------------------------------------------------------------


def roi_bytes(path: Path, random: Random) -> None:
    """An entry of the zip has bytes flipped, or numbers that no outline has."""
    entries = dict(OUTLINES)
    name = random.choice(list(entries))
    data = bytearray(entries[name])
    kind = random.randrange(4)
    if kind == 0:
        for _ in range(random.choice((1, 2, 8))):
            data[random.randrange(len(data))] = random.randrange(256)
    elif kind == 1:
        struct.pack_into(">h", data, random.randrange(4, 62, 2), random.choice((-32768, -1, 0, 1, 32767)))
    elif kind == 2:
        struct.pack_into(
            ">I", data, random.choice((16, 18, 20, 56, 60)), random.choice((0, 2**31, 2**32 - 1, 0x7FC00000))
        )
    else:
        data = data[: random.randrange(len(data))]
    write_zip(path, entries | {name: bytes(data)})


def roi_names(path: Path, random: Random) -> None:
    """Entries that would land outside of a folder, twice, in folders, or with hostile names."""
    entries = dict(OUTLINES)
    text = random.choice((*PATHS, *TEXTS)).replace("\x00", "\x01")
    name = random.choice((f"{text}.roi", f"empty-{text}.roi", f"../../../../ESCAPED{random.random()}.roi",
                          "/ESCAPED.roi", "..\\ESCAPED.roi", "empty-1.roi/", "cell.roi/empty-9.roi"))  # fmt: skip
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for each, content in entries.items():
            archive.writestr(each, content)
        info = zipfile.ZipInfo("x.roi")
        info.filename = name
        if random.random() < 0.2:
            info.external_attr = 0o120777 << 16  # a symbolic link
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr(info, oval(1, 1, 5, 5))
            if random.random() < 0.2:
                archive.writestr("empty-1.roi", oval(1, 1, 5, 5))
    path.write_bytes(out.getvalue())


def zip_bomb(path: Path, random: Random) -> None:
    """Entries that unpack to gigabytes, that say less than they hold, or that number a great many."""
    kind = random.randrange(4)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if kind == 0:
            archive.writestr("empty-1.roi", b"Iout" + b"\0" * (300 << 20))
        elif kind == 1:
            for number in range(20):
                archive.writestr(f"empty-{number}.roi", b"\0" * (15 << 20))
        elif kind == 2:
            for number in range(3000):
                archive.writestr(f"empty-{number}.roi", b"")
        else:
            archive.writestr("empty-1.roi", b"\0" * (40 << 20))
    if kind == 3:
        data = bytearray(path.read_bytes())
        for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            struct.pack_into("<I", data, data.index(mark) + place, 100)
        path.write_bytes(data)


def many_points(path: Path, random: Random) -> None:
    """An outline with all the corners that fit, or corners far outside."""
    rng = np.random.default_rng(random.randrange(2**32))
    points = rng.uniform(-1, 96, (65_000, 2)) if random.random() < 0.5 else rng.uniform(-3e4, 3e4, (50, 2))
    write_zip(path, dict(OUTLINES) | {"empty-9.roi": polygon([tuple(p) for p in points])})


_ROIS: Final[Mapping[str, Change]] = {
    "roi bytes": roi_bytes,
    "roi bytes again": roi_bytes,
    "roi names": roi_names,
    "zip bomb": zip_bomb,
    "corners": many_points,
    **BYTES,
    **PLACES,
}
_STACK: Final[Mapping[str, Change]] = {
    f"image {name}": change for name, change in {**BYTES, **PLACES, **STRUCTURE}.items()
}


_ZARR: Final[Mapping[str, Change]] = {f"zarr {name}": change for name, change in JSON_AND_BYTES.items()}


def play_zarr(scene: Scene, mutation: str, random: Random) -> None:
    """A plate given as corrected cells is damaged."""
    folder = scene.folder / "given.zarr"
    shutil.copytree(scene.base / "project/results/P/P.zarr", folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    documents = [path for path in files if path.suffix == ".json"]
    _ZARR[mutation](random.choice(documents if "json" in mutation or random.random() < 0.5 else files), random)
    output = scene.folder / "out"
    scene.allowed.append(output)
    scene.begin()
    model = scene.base / "models" / "tiny.safetensors"
    scene.call("evaluate", "--model", model, "--data", folder, "--output", output, "--no-figure", "--device", "cpu",
               mentions=("given.zarr",))  # fmt: skip


def play_annotated(scene: Scene, mutation: str, random: Random) -> None:
    """A zip of ROIs or its image changes under each command that reads them."""
    if mutation in _ZARR:
        play_zarr(scene, mutation, random)
        return
    command = random.choice(("evaluate", "train", "consensus", "import"))
    output = scene.folder / "out"
    scene.allowed.append(output)
    source = {"consensus": "operators", "import": "corrected"}.get(command, "annotated")
    folder = scene.copy(source, scene.folder / "given")
    images = sorted(folder.rglob("*.tif"))
    zips = sorted(folder.rglob("*.zip"))
    target = random.choice(zips if mutation in _ROIS else images)
    if mutation in _ROIS and command == "import" and random.random() < 0.4:
        target = folder / "manifest.json"
    changes = {**_ROIS, **_STACK}
    try:
        changes[mutation](target, random)
    except (tifffile.TiffFileError, struct.error, ValueError, KeyError):
        return
    scene.begin()
    model = scene.base / "models" / "tiny.safetensors"
    mentions = (target.name, target.stem, str(folder), "channel")
    if command == "evaluate":
        scene.call("evaluate", "--model", model, "--data", folder, "--output", output, "--no-figure", "--device", "cpu",
                   mentions=mentions)  # fmt: skip
    elif command == "train":
        _train_no_step()
        scene.call("train", output, "--data", folder, "--start-from", model, "--iterations", "1", "--tile-px", "64",
                   "--batch-size", "1", "--workers", "1", "--device", "cpu", mentions=mentions)  # fmt: skip
    elif command == "consensus":
        scene.call("annotate", "consensus", folder / "ada", folder / "ben", "--image", folder / "images",
                   "--output", output, mentions=mentions)  # fmt: skip
    else:
        scene.call("annotate", "import", folder, output, mentions=mentions)


def _train_no_step() -> None:
    """Reading the cells is what is tried; a step, and the simulated cells of validation, would take minutes."""
    from lysoquant.train import loop

    loop.seconds_per_step = lambda *_, **__: 0.0  # type: ignore[assignment]
    loop.train = lambda *, folder, source, **_: source.cells(0) and folder  # type: ignore[assignment]


# --- models ---------------------------------------------------------------------------------------------------------


def safetensors_header(path: Path, random: Random) -> None:
    """Its header is of an absurd length, nests deep, or places tensors nowhere."""
    data = path.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + size])
    names = [name for name in header if name != "__metadata__"]
    kind = random.randrange(9)
    if kind == 0:
        path.write_bytes(struct.pack("<Q", random.choice((0, 1, 2**63 - 1, 2**64 - 1, len(data), 10**8))) + data[8:])
        return
    if kind == 1:
        text = b'{"a":' * 50_000
        path.write_bytes(struct.pack("<Q", len(text)) + text)
        return
    entry = header[random.choice(names)]
    if kind == 2:
        entry["shape"] = [2**40, 2**40]
    elif kind == 3:
        entry["data_offsets"] = [0, 2**62]
    elif kind == 4:
        entry["dtype"] = random.choice(("F64", "BOOL", "X9", "F8_E4M3", 7))
    elif kind == 5:
        del header[names[0]]
    elif kind == 6:
        header["__metadata__"] = {"lysoquant": random.choice((*TEXTS, "{}", "[" * 10_000, "null"))}
    elif kind == 7:
        header["__metadata__"] = random.choice((7, [], {"lysoquant": 7}, {}))
    else:
        card = json.loads(header["__metadata__"]["lysoquant"])
        _spoil_card(card, random)
        header["__metadata__"] = {"lysoquant": json.dumps(card)}
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def _spoil_card(card: dict[str, Any], random: Random) -> None:
    kind = random.randrange(5)
    if kind == 0:
        key = random.choice(list(card["architecture"]))
        card["architecture"][key] = random.choice((-1, 0, 1, 40, 10**9, 2**70, "x", None, [], 1.5, "valid"))
    elif kind == 1:
        card[random.choice(list(card))] = random.choice((None, -1, 10**400, "x", [], {}, ["a"] * 1000, float("nan")))
    elif kind == 2:
        card["name"] = random.choice(TEXTS)
        card["limits"] = [random.choice(TEXTS) for _ in range(3)]
        card["training"] = {random.choice(TEXTS): random.choice(TEXTS)}
    elif kind == 3:
        card["pixel_size_um"] = random.choice((0, -1, 1e308, "nan"))
    else:
        card["unknown"] = 1


def torch_pickle(path: Path, random: Random) -> None:
    """A model of torch, which is a pickle: never unpickled."""
    import torch

    if random.random() < 0.5:
        torch.save({"x": Bomb()}, path)
    else:
        torch.save({"x": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)


def not_finite(path: Path, random: Random) -> None:
    """Weights that are not numbers."""
    data = path.read_bytes()
    size = struct.unpack_from("<Q", data)[0]
    place = 8 + size + 2 * random.randrange((len(data) - size - 8) // 2)
    path.write_bytes(data[:place] + random.choice((b"\x00\x7e", b"\x00\x7c")) + data[place + 2 :])


def hdf5_content(path: Path, random: Random) -> None:
    """Groups in circles, links out of the file, objects, absurd shapes and texts."""
    import h5py

    with h5py.File(path, "a") as file:
        names: list[str] = []
        file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        name = random.choice(names)
        kind = random.randrange(10)
        value = file[name][()]
        if kind in (0, 1, 2, 3, 4, 5, 6):
            del file[name]
        if kind == 0:
            file[name] = h5py.ExternalLink("/etc/passwd", "/x")
        elif kind == 1:
            file[name] = h5py.SoftLink(f"/{name}")
        elif kind == 2:
            file.create_dataset(name, shape=(2**40,), dtype="f8", chunks=(1024,))
        elif kind == 3:
            file[name] = random.choice((np.float64("nan"), -1, 2**62, np.zeros(0), np.bytes_(b"\xff\x00")))
        elif kind == 4:
            file.create_group(name)["again"] = h5py.SoftLink("/")
        elif kind == 5:
            file[name] = np.bytes_(random.choice(TEXTS).encode("utf-8", "replace").replace(b"\0", b"") or b"x")
        elif kind == 6:
            file[name] = np.asarray(value).astype("S") if np.asarray(value).dtype.kind in "if" else np.zeros((3, 3))
        elif kind == 7:
            file["data/loop"] = h5py.SoftLink("/data")
        elif kind == 8:
            file["data/conv_d0a-b2/0"] = np.zeros((4, 4), "f4")
        else:
            file.move(name, name + random.choice((" ", "x", "/0/0", "\u202e")))


_SAFETENSORS: Final[Mapping[str, Change]] = {
    "header": safetensors_header,
    "header again": safetensors_header,
    "header once more": safetensors_header,
    "pickle": torch_pickle,
    "not finite": not_finite,
    **BYTES,
    **PLACES,
}
_HDF5: Final = {f"hdf5 {name}": change for name, change in {"content": hdf5_content, "content again": hdf5_content,
                                                            **BYTES, **PLACES}.items()}  # fmt: skip


def play_models(scene: Scene, mutation: str, random: Random) -> None:
    """A model file changes: as a project's model, looked at, or imported."""
    folder = scene.copy("models", scene.folder / "models")
    if mutation in _HDF5:
        output = scene.folder / "out"
        output.mkdir()
        scene.allowed.append(output)
        target = folder / random.choice(("m.modeldef.h5", "m.caffemodel.h5"))
        _HDF5[mutation](target, random)
        scene.begin()
        scene.call("model", "import-caffe", folder / "m.modeldef.h5", folder / "m.caffemodel.h5",
                   output / "o.safetensors", mentions=(target.name, "modeldef", "caffemodel"))  # fmt: skip
        left = [path.name for path in output.iterdir()]
        if scene.outcome == REFUSED and left:
            scene.complain(f"import-caffe failed and left {left}")
        return
    target = folder / "tiny.safetensors"
    _SAFETENSORS[mutation](target, random)
    if random.random() < 0.7:
        scene.begin()
        scene.call("model", "info", target, mentions=(target.name,))
        return
    project = scene.copy("project")
    scene.allowed.append(project / "results")
    edit_config(project, "models/tiny.safetensors", str(target))
    scene.begin()
    if stages(scene, ("segment",)):
        scene.outcome = HARMLESS


GROUPS: Final[Mapping[str, Group]] = {
    "raw": Group(tuple(_RAW), play_raw),
    "htd": Group(tuple(_HTD), play_htd),
    "names": Group(tuple(_NAMES), play_names),
    "ome": Group(tuple(_OME), play_ome),
    "sheets": Group(tuple(_SHEET), play_sheets),
    "plate map": Group(tuple(_SHEET), play_plate_map),
    "config": Group(tuple(_CONFIG), play_config),
    "stores": Group(tuple(JSON_AND_BYTES), play_stores),
    "annotated": Group((*_ROIS, *_ZARR, *_STACK), play_annotated),
    "models": Group((*_SAFETENSORS, *_HDF5), play_models),
}
