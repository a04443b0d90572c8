"""Plates that are OME-Zarr already."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from lysoquant.convert.params import ConvertParams, ConvertSettings, PlateSource
from lysoquant.convert.step import run, write_plate
from lysoquant.errors import DamagedFieldError, FieldError, PlateError
from lysoquant.files import size_and_time
from lysoquant.io import raw
from lysoquant.io.raw.planes import read_plane
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.layout import Layout
from lysoquant.project.init import initialise

VERSIONS = ("0.4", "0.5")
LENGTHS = {"t": 2, "c": 2, "z": 3, "y": 40, "x": 56}
METADATA = {"0.4": ".zattrs", "0.5": "zarr.json"}


def values(axes: str, seed: int = 0, **lengths: int) -> np.ndarray:
    shape = [(LENGTHS | lengths)[axis] for axis in axes]
    return np.random.default_rng(seed).integers(50, 4000, size=shape).astype(np.uint16)


def write_group(folder: Path, version: str, ome: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if version == "0.4":
        (folder / ".zgroup").write_text('{"zarr_format": 2}')
        (folder / ".zattrs").write_text(json.dumps(ome))
    else:
        content = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **ome}}}
        (folder / "zarr.json").write_text(json.dumps(content))


def image_metadata(axes: str, *, unit: str | None = "micrometer", scale: float = 0.1, **more: Any) -> dict[str, Any]:
    space = {} if unit is None else {"unit": unit}
    named = [{"name": axis, **({"type": "space", **space} if axis in "zyx" else {})} for axis in axes]
    numbers = [scale if axis in "yx" else 1.0 for axis in axes]
    shift = {"type": "translation", "translation": [7.0] * len(axes)}
    transformations = [{"type": "scale", "scale": numbers}, shift]
    labels = [{"label": name} for name in ("LAMP1", "SEC62")[: LENGTHS["c"] if "c" in axes else 1]]
    dataset = {"path": "full", "coordinateTransformations": transformations}
    return {"multiscales": [{"axes": named, "datasets": [dataset]} | more], "omero": {"channels": labels}}


def write_field(
    folder: Path, version: str, axes: str, *, seed: int = 0, lengths: Any = None, **metadata: Any
) -> np.ndarray:
    pixels = values(axes, seed, **(lengths or {}))
    write_group(folder, version, image_metadata(axes, **metadata))
    chunks = tuple(32 if axis in "yx" else 1 for axis in axes)
    array = zarr.create_array(
        folder / "full",
        shape=pixels.shape,
        dtype=pixels.dtype,
        chunks=chunks,
        zarr_format=2 if version == "0.4" else 3,
        chunk_key_encoding={"name": "v2" if version == "0.4" else "default", "separator": "/"},
    )
    array[...] = pixels
    return pixels


def write_hcs(
    root: Path, version: str = "0.5", axes: str = "cyx", wells: Any = ("C/11", "B/02"), **metadata: Any
) -> Path:
    plate = {
        "name": "the plate",
        "rows": [{"name": "B"}, {"name": "C"}],
        "columns": [{"name": "02"}, {"name": "11"}],
        "wells": [{"path": well, "rowIndex": 0, "columnIndex": 0} for well in wells],
    }
    write_group(root, version, {"plate": plate})
    for number, well in enumerate(wells):
        write_group(root / well, version, {"well": {"images": [{"path": "0"}]}})
        write_field(root / well / "0", version, axes, seed=number, **metadata)
    return root


def edit(path: Path, version: str, change: Any) -> None:
    """Change the NGFF metadata of a group in place."""
    file = path / METADATA[version]
    content = json.loads(file.read_text())
    change(content["attributes"]["ome"] if version == "0.5" else content)
    file.write_text(json.dumps(content))


def tree(root: Path) -> dict[str, str]:
    """Every file with its content."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("axes", ["cyx", "yx", "zyx", "tczyx", "xyc", "yzxt"])
def test_every_plane_is_found_whatever_the_axes(tmp_path: Path, version: str, axes: str) -> None:
    plate = raw.describe(write_hcs(tmp_path / "in", version, axes), z="each", timepoint="each")
    assert list(plate.wells) == ["B02", "C11"]
    assert (plate.name, plate.pixel_size_um, plate.shape) == ("the plate", 0.1, (40, 56))
    assert (plate.n_rows, plate.n_columns) == (8, 12)
    assert plate.channels == (("LAMP1", "SEC62") if "c" in axes else ("LAMP1",))
    n_times, n_z = (LENGTHS[axis] if axis in axes else 1 for axis in "tz")
    assert len(plate.wells["B02"]) == n_times * n_z
    pixels = values(axes, 1)
    for number, field in enumerate(plate.wells["B02"]):
        at = {"t": number // n_z, "z": number % n_z}
        for channel, name in enumerate(plate.channels):
            (plane,) = field.planes[name].values()
            index = tuple({**at, "c": channel}.get(axis, slice(None)) for axis in axes)
            expected = pixels[index] if axes.index("y") < axes.index("x") else pixels[index].T
            np.testing.assert_array_equal(raw.read_plane(plane), expected)


@pytest.mark.parametrize(
    ("metadata", "size"),
    [
        ({"unit": "nanometer", "scale": 85.0}, 0.085),
        ({"coordinateTransformations": [{"type": "scale", "scale": [1.0, 2.0, 2.0]}]}, 0.2),
        ({"unit": None}, None),
        ({"unit": "furlong"}, None),
        ({"scale": -1.0}, None),
        ({"scale": 1e400}, None),
        ({"scale": "wide"}, None),
    ],
)
def test_pixel_size_by_unit_and_both_levels_of_scale(tmp_path: Path, metadata: Any, size: float | None) -> None:
    plate = raw.describe(write_hcs(tmp_path / "in", **metadata))
    assert plate.pixel_size_um == (None if size is None else pytest.approx(size))
    assert any("set pixel_size_um in plates.tsv" in note for note in plate.notes) == (size is None)


def test_channels_without_names_are_numbered_and_doubled_ones_told_apart(tmp_path: Path) -> None:
    root = write_hcs(tmp_path / "in")
    for well in ("B/02", "C/11"):
        edit(root / well / "0", "0.5", lambda ome: ome.pop("omero"))
    plate = raw.describe(root)
    assert plate.channels == ("channel_1", "channel_2")
    assert "2 fields without channel names (`omero`)" in plate.notes
    # A field without names has those of the others.
    edit(root / "C/11/0", "0.5", lambda ome: ome.update(omero={"channels": [{"label": "a"}, {"label": "a"}]}))
    plate = raw.describe(root)
    assert plate.channels == ("a", "a (2)")
    assert not any(field.problems for fields in plate.wells.values() for field in fields)


def test_what_is_missing_fails_its_field_only(tmp_path: Path) -> None:
    root = write_hcs(tmp_path / "in", wells=("B/02", "B/03", "B/04", "B/05"))
    edit(root / "B/02", "0.5", lambda ome: ome["well"]["images"].extend([{"path": "1"}, {"path": "0"}]))
    (root / "B/03/zarr.json").unlink()
    (root / "B/04/0/full/zarr.json").unlink()
    (root / "B/05/0/labels").mkdir()
    plate = raw.describe(root)
    assert [len(fields) for fields in plate.wells.values()] == [2, 0, 1, 1]
    assert "no image there" in plate.wells["B02"][1].problems[0]
    assert "the array is gone" in plate.wells["B04"][0].problems[0]
    assert not plate.wells["B02"][0].problems
    assert not plate.wells["B05"][0].problems
    assert "well B02: lists field '0' twice, read once" in plate.notes
    assert "well B03: no metadata that list its fields" in plate.notes
    assert any(note.startswith("label images of 1 field passed over") for note in plate.notes)


@pytest.mark.parametrize("path", ["../out", "/etc", "0/../../out", "a\\b", "", ".", 7, None, "0\n"])
def test_paths_that_lead_out_of_the_plate_are_refused(tmp_path: Path, path: Any) -> None:
    root = write_hcs(tmp_path / "in")
    write_field(tmp_path / "out", "0.5", "cyx")
    edit(root / "B/02", "0.5", lambda ome: ome["well"].update(images=[{"path": path}]))
    edit(root / "C/11/0", "0.5", lambda ome: ome["multiscales"][0]["datasets"][0].update(path=path))
    with pytest.raises(PlateError, match="does not lead into") as error:
        raw.describe(root)
    assert "\n" not in str(error.value)


def test_linked_folders_are_not_followed(tmp_path: Path) -> None:
    root = write_hcs(tmp_path / "in", "0.4", wells=("B/02", "B/03"))
    (root / "B/03/0").rename(tmp_path / "elsewhere")
    (root / "B/03/0").symlink_to(tmp_path / "elsewhere")
    plate = raw.describe(root)
    assert "a linked folder, which is not followed" in plate.wells["B03"][0].problems[0]
    inside = root / "B/02/0/full/0"
    inside.rename(tmp_path / "chunks")
    inside.symlink_to(tmp_path / "chunks")
    plane = plate.wells["B02"][0].planes["LAMP1"][1]
    with pytest.raises(FieldError, match="a linked folder, which is not followed"):
        read_plane(plane)


def test_a_codec_that_can_do_more_than_unpack_is_refused(tmp_path: Path) -> None:
    root = write_hcs(tmp_path / "in", "0.4", wells=("B/02", "B/03"))
    file = root / "B/02/0/full/.zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"filters": [{"id": "pickle"}]}))
    plate = raw.describe(root)
    assert "codec 'pickle'" in plate.wells["B02"][0].problems[0]
    # Changed after it was described.
    other = root / "B/03/0/full/.zarray"
    other.write_bytes(file.read_bytes())
    with pytest.raises(FieldError, match="codec 'pickle'"):
        raw.read_plane(plate.wells["B03"][0].planes["LAMP1"][1])


HOSTILE: list[Any] = [
    None,
    0,
    -1,
    10**400,
    1e400,
    "",
    "\ud800",
    "a\n" * 500,
    [],
    {},
    [[]],
    [None],
    [{}],
    True,
    {"c": 1},
]


@pytest.mark.parametrize("version", VERSIONS)
def test_no_metadata_end_in_a_traceback(tmp_path: Path, version: str) -> None:
    """Every value of every metadata file replaced by every hostile one: described, or refused in one line."""
    root = write_hcs(tmp_path / "in", version)
    image = root / "B/02/0"
    files = [root / METADATA[version], image.parent / METADATA[version], image / METADATA[version]]
    files.append(image / "full" / (".zarray" if version == "0.4" else "zarr.json"))
    n_cases = n_refused = 0
    for file in files:
        good = file.read_text()
        for place in places(json.loads(good)):
            for value in HOSTILE:
                content = json.loads(good)
                inner = content
                for key in place[:-1]:
                    inner = inner[key]
                inner[place[-1]] = value
                file.write_text(json.dumps(content))
                n_cases += 1
                said = told(root)
                n_refused += bool(said)
                assert all("\n" not in line and len(line) < 800 for line in said), said
        file.write_text(good)
    assert n_cases > 500
    assert n_refused > 50


def told(root: Path) -> list[str]:
    """What is said where a plate is described and read: its error, or the problems of its fields."""
    try:
        plate = raw.describe(root, format="ome-zarr")
        fields = [field for of_well in plate.wells.values() for field in of_well]
        for planes in (planes for field in fields for planes in field.planes.values()):
            raw.read_plane(planes[1])
    except (PlateError, FieldError) as error:
        return [str(error)]
    return [problem for field in fields for problem in field.problems]


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a JSON value has values inside, at every depth."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in inside for found in ((*place, key), *places(inner, (*place, key)))]


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe", b'{"plate": []}', b"[]"])
def test_damaged_plate_metadata_are_no_plate(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / ".zattrs").write_bytes(content)
    with pytest.raises(PlateError, match="not recognised as a raw plate"):
        raw.describe(tmp_path / "in")
    with pytest.raises(PlateError, match="no OME-Zarr plate"):
        raw.describe(tmp_path / "in", format="ome-zarr")


def settings_of(**params: Any) -> ConvertSettings:
    source = PlateSource(plate="P", path="in", format="ome-zarr")
    return ConvertSettings(source=source, params=ConvertParams(chunk_px=64, **params))


def convert(layout: Layout, **params: Any) -> dict[str, Any]:
    settings = settings_of(**params)
    wells = list(write_plate(layout=layout, plate="P", settings=settings)["wells"])
    return run(
        layout=layout, plate="P", settings=settings, wells=wells, record=layout.batch_record("P", "convert", "all")
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_the_input_is_never_written_and_a_changed_chunk_is_seen(layout: Layout, version: str) -> None:
    root = write_hcs(layout.project / "in", version)
    before = tree(root)
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    first = convert(layout)
    assert tree(root) == before
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    field = PlateStore.open(layout.plate_store("P")).field("B02", 0)
    np.testing.assert_array_equal(field.read("SEC62"), values("cyx", 1)[1])
    assert convert(layout)["wells"] == first["wells"]
    # Same size, same time: only the content of one chunk of well B02 is another.
    array = zarr.open_array(root / "B/02/0/full", mode="r+")
    array[1, 0, 0] = array[1, 0, 0] ^ 1
    second = convert(layout)
    assert [well for well in second["wells"] if second["wells"][well] != first["wells"][well]] == ["B02"]
    np.testing.assert_array_equal(field.read("SEC62")[0, 0], values("cyx", 1)[1, 0, 0] ^ 1)


def test_the_identity_of_an_array_is_that_of_its_chunks(tmp_path: Path) -> None:
    root = write_hcs(tmp_path / "in", "0.4")
    file = root / "B/02/0/full/.zarray"
    token = size_and_time(file)
    chunk = root / "B/02/0/full/1/0/0"
    assert token[0] == sum(path.stat().st_size for path in file.parent.rglob("*") if path.is_file())
    os.utime(chunk, ns=(1, 1))
    assert size_and_time(file) != token
    assert size_and_time(chunk) == (chunk.stat().st_size, 1)


@pytest.fixture(params=VERSIONS)
def ours(request: pytest.FixtureRequest, layout: Layout) -> PlateStore:
    """A result of ours, of two wells, with label images, as the input of another run."""
    made = PlateStore.create(
        layout.project / "in",
        name="first",
        wells={"B02": 1, "B03": 1},
        n_rows=8,
        n_columns=12,
        ngff_version=request.param,
    )
    for seed, well in enumerate(made.wells):
        field = made.field(well, 0)
        field.write_image(values("cyx", seed), channels=["LAMP1", "SEC62"], pixel_size_um=0.08, levels=3, chunk_px=32)
        field.write_label("cells", np.ones((40, 56), np.uint32))
    return made


def field_of(layout: Layout, well: str) -> FieldStore:
    return PlateStore.open(layout.plate_store("P")).field(well, 0)


def test_images_that_fit_are_used_in_place_with_our_labels_beside(layout: Layout, ours: PlateStore) -> None:
    before = tree(ours.path)
    convert(layout, ngff_version=ours.ngff_version, pyramid_levels=2)
    field = field_of(layout, "B03")
    assert [(field.path / level).is_symlink() for level in ("0", "1", "2")] == [True, True, False]
    assert not os.path.isabs(os.readlink(field.path / "0"))  # noqa: PTH115, PTH117
    assert (field.path / "0").resolve() == (ours.path / "B/03/0/0").resolve()
    assert "images of 2 fields are used in place" in json.loads(layout.plate_record("P").read_text())["notes"]
    assert field.labels == ()
    assert (field.channels, field.shape, field.n_levels) == (("LAMP1", "SEC62"), (40, 56), 2)
    assert math.isclose(field.pixel_size_um, 0.08)
    assert set(field.attributes) == {"name", "position", "timepoint", "z", "reduction", "status", "reasons"}
    for number, channel in enumerate(field.channels):
        np.testing.assert_array_equal(field.read(channel), values("cyx", 1)[number])
        np.testing.assert_array_equal(field.read_level(channel, 1), ours.field("B03", 0).read_level(channel, 1))
    labels = np.arange(40 * 56, dtype=np.uint32).reshape(40, 56)
    field.write_label("cells", labels)
    np.testing.assert_array_equal(field.read_label("cells"), labels)
    np.testing.assert_array_equal(ours.field("B03", 0).read_label("cells"), np.ones((40, 56)))
    # Ways to lose an input by its links: writing over it, another version, removing results.
    convert(layout, ngff_version=ours.ngff_version, pyramid_levels=2, in_place=False)
    assert not (field_of(layout, "B03").path / "0").is_symlink()
    convert(layout, ngff_version=ours.ngff_version, pyramid_levels=3)
    assert field_of(layout, "B03").n_levels == 3
    convert(layout, ngff_version={"0.4": "0.5", "0.5": "0.4"}[ours.ngff_version])
    np.testing.assert_array_equal(field_of(layout, "B03").read("SEC62"), values("cyx", 1)[1])
    convert(layout, ngff_version=ours.ngff_version)
    shutil.rmtree(field_of(layout, "B03").path)
    convert(layout, ngff_version=ours.ngff_version)
    shutil.rmtree(layout.plate_store("P"))
    assert tree(ours.path) == before


def test_init_takes_the_version_of_images_that_can_stay_where_they_are(
    layout: Layout, ours: PlateStore, tmp_path: Path
) -> None:
    made = initialise(raw=layout.project / "in", project=tmp_path / "p", no_nucleus=True)
    text = (tmp_path / "p/config/config.yaml").read_text()
    assert made.config.convert.ngff_version == ours.ngff_version
    reason = f'the raw plate is OME-Zarr {ours.ngff_version}: with convert.ngff_version "0.4" its images are used in'
    assert (reason in " ".join(text.replace("#", "").split())) == (ours.ngff_version == "0.4")
    assert any(reason in note for note in made.notes) == (ours.ngff_version == "0.4")


def test_init_keeps_the_default_version_for_images_that_are_copied_anyway(tmp_path: Path) -> None:
    write_hcs(tmp_path / "in", "0.4", axes="czyx")
    with pytest.raises(PlateError, match="set --z to"):
        initialise(raw=tmp_path / "in", project=tmp_path / "p", no_nucleus=True)
    made = initialise(raw=tmp_path / "in", project=tmp_path / "p", no_nucleus=True, z=1)
    assert made.config.convert.ngff_version == "0.5"
    assert not [note for note in made.notes if "in place" in note]


def test_relative_links_hold_where_the_results_are_a_link_themselves(layout: Layout, ours: PlateStore) -> None:
    elsewhere = layout.project / "other" / "deep" / "results"
    elsewhere.mkdir(parents=True)
    layout.results.symlink_to(elsewhere)
    convert(layout, ngff_version=ours.ngff_version)
    np.testing.assert_array_equal(field_of(layout, "B03").read("SEC62"), values("cyx", 1)[1])


def test_a_lost_or_changed_chunk_of_an_image_in_place_is_seen(layout: Layout, ours: PlateStore) -> None:
    first = convert(layout, ngff_version=ours.ngff_version)
    field = field_of(layout, "B02")
    chunk = next(path for path in sorted((ours.path / "B/02/0/0").rglob("1/*/*")) if path.is_file())
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1])
    with pytest.raises(DamagedFieldError, match=f"has {len(content) - 1} of {len(content)} bytes"):
        field.read("SEC62")
    chunk.unlink()
    with pytest.raises(DamagedFieldError, match="is gone"):
        field.read("SEC62")
    chunk.write_bytes(content)
    field.read("SEC62")
    array = zarr.open_array(ours.path / "B/02/0/0", mode="r+")
    array[...] = array[...] + 7
    second = convert(layout, ngff_version=ours.ngff_version)
    changed = [well for well in first["wells"] if first["wells"][well]["digest"] != second["wells"][well]["digest"]]
    assert changed == ["B02"]
    np.testing.assert_array_equal(field_of(layout, "B02").read("SEC62"), values("cyx", 0)[1] + 7)


def test_a_plate_that_is_gone_is_named_by_the_stages_after_convert(layout: Layout, ours: PlateStore) -> None:
    convert(layout, ngff_version=ours.ngff_version)
    field = field_of(layout, "B02")
    ours.path.rename(layout.project / "moved")
    with pytest.raises(DamagedFieldError, match="field B02/0 has no readable '0'"):
        field.read("LAMP1")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("axes", ["czyx", "tczyx", "tcyx"])
def test_axes_of_length_one_stay_where_they_are(layout: Layout, version: Any, axes: str) -> None:
    root = write_hcs(layout.project / "in", version, axes, lengths={"t": 1, "z": 1})
    before = tree(root)
    convert(layout, ngff_version=version)
    field = field_of(layout, "C11")
    assert (field.path / "0").is_symlink()
    np.testing.assert_array_equal(field.read("SEC62"), values("cyx")[1])
    field.write_label("cells", np.full((40, 56), 9, np.uint32))
    assert set(np.unique(field.read_label("cells"))) == {9}
    metadata = json.loads((field.path / METADATA[version]).read_text())
    ome = metadata["attributes"]["ome"] if version == "0.5" else metadata
    assert "".join(axis["name"] for axis in ome["multiscales"][0]["axes"]) == axes
    transformations = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert transformations == [{"type": "scale", "scale": [1.0] * (len(axes) - 2) + [0.1, 0.1]}]
    assert tree(root) == before


@pytest.mark.parametrize(
    ("axes", "params", "reason"),
    [
        ("cyx", {"ngff_version": "0.4"}, 'they are OME-Zarr 0.5; set convert.ngff_version to "0.5"'),
        ("czyx", {"z": 2}, "they have several Z planes or time points"),
        ("yx", {}, "their axes are y, x"),
        ("yxc", {}, "their axes are y, x, c"),
    ],
)
def test_an_image_that_does_not_fit_is_copied_with_the_reason(
    layout: Layout, axes: str, params: Any, reason: str
) -> None:
    root = write_hcs(layout.project / "in", "0.5", axes)
    before = tree(root)
    convert(layout, **params)
    notes = json.loads(layout.plate_record("P").read_text())["notes"]
    assert any(note.startswith(f"images of 2 fields are copied: {reason}") for note in notes)
    field = field_of(layout, "B02")
    assert not (field.path / "0").is_symlink()
    index = tuple({"c": 0, "z": 1}.get(axis, slice(None)) for axis in axes)
    np.testing.assert_array_equal(field.read("LAMP1"), values(axes, 1)[index])
    assert tree(root) == before
