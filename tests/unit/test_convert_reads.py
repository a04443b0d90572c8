"""How often convert opens and reads raw files: once each, whatever the number of planes, channels and wells in them."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from container_files import write_czi, write_lif

from lysoquant.convert import raw_files
from lysoquant.convert.describe import describe_plate
from lysoquant.convert.params import ConvertParams, ConvertSettings, PlateSource
from lysoquant.convert.raw_files import Identities, RawFiles
from lysoquant.convert.step import run, write_plate
from lysoquant.io.raw import planes
from lysoquant.layout import Layout
from lysoquant.record import Json, digest_file

_WATCHED: list[Counter[str]] = []


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _WATCHED and isinstance(arguments[0], (str, os.PathLike)):
        _WATCHED[-1][Path(arguments[0]).name] += 1


sys.addaudithook(_on_event)


@contextmanager
def opens() -> Iterator[Counter[str]]:
    """How often each file is opened, by whoever in this process and Python, by name."""
    _WATCHED.append(Counter())
    try:
        yield _WATCHED[-1]
    finally:
        _WATCHED.pop()


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(50, 4000, size=shape or (48, 40)).astype(np.uint16)


def settings_of(format: Any, path: str = "raw", pattern: str | None = None, z: Any = "projection") -> ConvertSettings:
    source = PlateSource(plate="P", path=path, format=format, pattern=pattern, pixel_size_um=None)
    return ConvertSettings(source=source, params=ConvertParams(chunk_px=64, z=z), lysosome="b")


def convert(layout: Layout, settings: ConvertSettings, *, cores: int = 1) -> tuple[Json, Counter[str]]:
    """Convert a plate whose files were looked at before, as the workflow does; what was opened for the pixels."""
    described = describe_plate(layout=layout, settings=settings)
    wells = list(write_plate(layout=layout, plate="P", settings=settings)["wells"])
    raw = {well: {path.name: "token" for path in described.files(well)} for well in wells}
    record = layout.batch_record("P", "convert", "all")
    with opens() as found:
        done = run(layout=layout, plate="P", settings=settings, wells=wells, record=record, raw=raw, cores=cores)
    return done, found


@pytest.mark.parametrize("z", ["max", 2])
def test_a_tiff_is_read_once_for_its_digest_its_pixels_and_its_pixel_size(layout: Layout, z: Any) -> None:
    raw = layout.project / "raw"
    raw.mkdir()
    names = [f"{well}_z{number}_{channel}.tif" for well in ("A01", "A02") for number in (1, 2) for channel in "ab"]
    for seed, name in enumerate(names):
        tifffile.imwrite(raw / name, noise(seed), imagej=True, resolution=(10, 10), metadata={"unit": "um"})
    settings = settings_of("tiff", pattern=r"(?P<well>A\d\d)_z(?P<z>\d)_(?P<channel>\w)\.tif", z=z)
    done, found = convert(layout, settings)
    read = [name for name in names if z == "max" or f"_z{z}_" in name]
    # Describing the plate opens its first image for the layout.
    assert {name: found[name] - (name == names[0]) for name in names} == {name: int(name in read) for name in names}
    noted = {Path(entry["path"]).name: entry["sha256"] for w in done["wells"].values() for entry in w["read"]}
    assert noted == {name: digest_file(raw / name) for name in read}
    assert all(field["status"] == "ok" for w in done["wells"].values() for field in w["fields"])


def test_a_tiff_of_all_channels_is_read_once(layout: Layout) -> None:
    raw = layout.project / "raw"
    raw.mkdir()
    for seed, well in enumerate(("A01", "A02")):
        metadata = {"axes": "CYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1}
        tifffile.imwrite(raw / f"{well}.ome.tif", noise(seed, 3, 48, 40), metadata=metadata)
    _, found = convert(layout, settings_of("tiff", pattern=r"(?P<well>A\d\d)\.ome"))
    assert (found["A01.ome.tif"], found["A02.ome.tif"]) == (2, 1)


def test_a_file_too_large_for_memory_is_hashed_and_then_read(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_files, "_MOST_BYTES", 100)
    raw = layout.project / "raw"
    raw.mkdir()
    for well in ("A01", "A02"):
        tifffile.imwrite(raw / f"{well}.tif", noise(1), imagej=True, resolution=(10, 10), metadata={"unit": "um"})
    done, found = convert(layout, settings_of("tiff", pattern=r"(?P<well>A\d\d)\.tif"))
    assert found["A02.tif"] == 2
    assert done["wells"]["A02"]["read"][0]["sha256"] == digest_file(raw / "A02.tif")


def lif(folder: Path) -> None:
    images = {f"A/{column}/R{field}": ("CYX", noise(column, 3, 48, 40)) for column in (1, 2, 3) for field in (1, 2)}
    write_lif(folder / "p.lif", images, channels=("a", "b", "c"))


def czi(folder: Path) -> None:
    for well in ("A01", "A02"):
        scenes = [noise(seed, 1, 3, 1, 48, 40) for seed in (1, 2)]
        write_czi(folder / f"{well}.czi", scenes, channels=("a", "b", "c"), pixel_size_um=0.1)


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize(
    ("write", "format", "suffix", "n_files"), [(lif, "leica", ".lif", 1), (czi, "zeiss", ".czi", 2)]
)
def test_a_container_is_opened_once_a_thread_and_asked_for_its_pixel_size_once_a_job(
    layout: Layout,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path], None],
    format: Any,
    suffix: str,
    n_files: int,
    cores: int,
) -> None:
    (layout.project / "raw").mkdir()
    write(layout.project / "raw")
    made: list[Path] = []
    asked: list[Path] = []
    closed: list[Path] = []
    kind: Any = planes.IMAGE_TYPES[suffix]

    class Watched(kind):  # type: ignore[misc]
        def __init__(self, path: Path) -> None:
            made.append(path)
            super().__init__(path)

        def pixel_size_um(self) -> float | None:
            asked.append(self._path)
            return super().pixel_size_um()  # type: ignore[no-any-return]

        def close(self) -> None:
            closed.append(self._path)
            super().close()

    monkeypatch.setattr(planes, "IMAGE_TYPES", {**planes.IMAGE_TYPES, suffix: Watched})
    done, _ = convert(layout, settings_of(format), cores=cores)
    n_planes = sum(entry["counts"]["planes"] for entry in done["wells"].values())
    assert n_planes == {".lif": 18, ".czi": 12}[suffix]
    assert len(asked) == len(set(asked)) == n_files
    assert n_files <= len(made) <= n_files * cores
    assert sorted(closed) == sorted(made)


def test_a_thread_holds_few_files_open_and_closes_the_rest(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class Image:
        def __init__(self, path: Path) -> None:
            self.path = path

        def close(self) -> None:
            closed.append(self.path.name)

    monkeypatch.setattr(planes, "IMAGE_TYPES", {".lif": Image})
    with RawFiles(Identities(layout, "P")) as files:
        for name in ("a", "b", "c", "a", "d", "e", "a"):
            assert files.image(layout.project / f"{name}.lif").path.name == f"{name}.lif"  # type: ignore[attr-defined]
        assert closed == ["b.lif"]
    assert sorted(closed) == [f"{name}.lif" for name in "abcde"]
