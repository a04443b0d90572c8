"""The plate's store: what is written, that others can read it, and what it costs in files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import ome_zarr_models.v04
import ome_zarr_models.v05
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from lysoquant.errors import FieldError, PlateError
from lysoquant.io.pyramid import image_pyramid, label_pyramid
from lysoquant.io.store import FieldStore, PlateStore
from lysoquant.vocabulary import CLASS_COLOURS

WELLS = {"B03": 2, "A01": 1}
CHANNELS = ("DAPI", "LAMP1 µ", "SEC62")
VERSIONS = pytest.mark.parametrize("version", ["0.4", "0.5"])


def make_plate(path: Path, version: Any = "0.5", wells: dict[str, int] = WELLS) -> PlateStore:
    return PlateStore.create(path, name="P1", wells=wells, n_rows=8, n_columns=12, ngff_version=version)


def make_planes(shape: tuple[int, int] = (150, 131), dtype: Any = np.uint16) -> np.ndarray:
    return np.random.default_rng(7).integers(1, np.iinfo(dtype).max, size=(3, *shape), dtype=dtype)


def write(field: FieldStore, planes: np.ndarray, *, levels: int = 3, size: float = 0.1) -> None:
    field.write_image(
        planes, channels=CHANNELS, pixel_size_um=size, levels=levels, chunk_px=64, attributes={"name": "s1"}
    )


def write_labels(field: FieldStore) -> np.ndarray:
    labels = np.zeros(field.shape, dtype=np.uint32)
    labels[20:60, 30:70] = 70_000
    field.write_label("endolysosomes", labels)
    field.write_label("cells", labels)
    field.write_label("endolysosome_classes", (labels > 0).astype(np.uint8), colours=CLASS_COLOURS)
    return labels


def files_in(path: Path) -> list[str]:
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


def full_plate(path: Path, version: Any) -> PlateStore:
    store = make_plate(path, version)
    for well, n_fields in WELLS.items():
        for index in range(n_fields):
            write(store.field(well, index), make_planes())
            write_labels(store.field(well, index))
    return store


def test_image_levels_are_means_of_two_by_two_rounded_half_up() -> None:
    planes = np.array([[[1, 2, 10], [3, 4, 20], [7, 8, 65535]]], dtype=np.uint16)
    first, second, third = image_pyramid(planes, levels=3)
    np.testing.assert_array_equal(first, planes)
    # (1+2+3+4)/4 = 2.5 -> 3; the odd column and row count twice: (10+20)/2, (7+8)/2 = 7.5 -> 8, 65535
    np.testing.assert_array_equal(second, [[[3, 15], [8, 65535]]])
    np.testing.assert_array_equal(third, [[[(3 + 15 + 8 + 65535 + 2) // 4]]])
    assert second.dtype == third.dtype == np.uint16


def test_label_levels_are_every_second_pixel() -> None:
    labels = np.arange(15, dtype=np.uint32).reshape(3, 5)
    _, second, third = label_pyramid(labels, levels=3)
    np.testing.assert_array_equal(second, [[0, 2, 4], [10, 12, 14]])
    np.testing.assert_array_equal(third, [[0, 4]])


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd9 garbled",
        b'{"attributes": {"ome": {"labels": 7}}}',
        b'{"attributes": {"ome": {"labels": [[], {}, null]}}}',
        b'{"a": ' * 100_000,
    ],
)
def test_a_garbled_list_of_labels_is_written_anew(tmp_path: Path, content: bytes) -> None:
    field = make_plate(tmp_path / "p.zarr").field("A01", 0)
    write(field, make_planes())
    write_labels(field)
    (field.path / "labels" / "zarr.json").write_bytes(content)
    assert field.labels == ()
    field.write_label("cells", np.zeros(field.shape, np.uint32))
    assert field.labels == ("cells",)


@VERSIONS
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_and_labels_come_back_as_they_were(tmp_path: Path, version: str, dtype: Any) -> None:
    make_plate(tmp_path / "P1.zarr", version)
    planes = make_planes(dtype=dtype)
    write(PlateStore.open(tmp_path / "P1.zarr").field("B03", 1), planes)
    labels = write_labels(PlateStore.open(tmp_path / "P1.zarr").field("B03", 1))
    field = PlateStore.open(tmp_path / "P1.zarr").field("B03", 1)
    assert field.channels == CHANNELS
    assert field.shape == (150, 131)
    assert field.pixel_size_um == 0.1
    assert field.n_levels == 3
    assert field.attributes == {"name": "s1"}
    for index, channel in enumerate(CHANNELS):
        np.testing.assert_array_equal(field.read(channel), planes[index], strict=True)
        np.testing.assert_array_equal(field.read_level(channel, 2), image_pyramid(planes, levels=3)[2][index])
    np.testing.assert_array_equal(field.read_label("cells"), labels, strict=True)
    assert field.read_label("endolysosome_classes").dtype == np.uint8
    assert field.labels == ("cells", "endolysosomes", "endolysosome_classes")


@VERSIONS
def test_plate_knows_its_wells_in_reading_order(tmp_path: Path, version: str) -> None:
    make_plate(tmp_path / "P1.zarr", version)
    store = PlateStore.open(tmp_path / "P1.zarr")
    assert (store.name, store.wells, store.ngff_version) == ("P1", ("A01", "B03"), version)
    assert [store.n_fields(well) for well in store.wells] == [1, 2]


@pytest.mark.filterwarnings("error::ome_zarr_models.exceptions.ValidationWarning")
@VERSIONS
def test_ome_zarr_models_accepts_everything(tmp_path: Path, version: str) -> None:
    full_plate(tmp_path / "P1.zarr", version)
    models: Any = {"0.4": ome_zarr_models.v04, "0.5": ome_zarr_models.v05}[version]
    root = zarr.open_group(tmp_path / "P1.zarr", mode="r")
    plate = models.HCS.from_zarr(root).ome_attributes.plate
    assert [(well.path, well.rowIndex, well.columnIndex) for well in plate.wells] == [("A/01", 0, 0), ("B/03", 1, 2)]
    assert (len(plate.rows), len(plate.columns), plate.field_count, plate.name) == (8, 12, 2, "P1")
    well = models.Well.from_zarr(root["B/03"])
    assert [image.path for image in well.ome_attributes.well.images] == ["0", "1"]
    image = models.Image.from_zarr(root["B/03/1"])
    assert [axis.name for axis in image.ome_attributes.multiscales[0].axes] == ["c", "y", "x"]
    # NGFF 0.5 took over the omero metadata of 0.4 as they were
    omero = ome_zarr_models.v04.omero.Omero.model_validate(dict(image.ome_attributes.omero))
    assert [channel.label for channel in omero.channels] == list(CHANNELS)
    labels = models.Labels.from_zarr(root["B/03/1/labels"])
    assert labels.ome_attributes.labels == ["cells", "endolysosomes", "endolysosome_classes"]
    classes = models.ImageLabel.from_zarr(root["B/03/1/labels/endolysosome_classes"]).ome_attributes.image_label
    assert {colour.label_value: colour.rgba for colour in classes.colors} == {
        1: (0, 255, 255, 255),
        2: (255, 0, 255, 255),
    }
    assert classes.source.image == "../../"


@VERSIONS
def test_ome_zarr_py_opens_plate_image_and_labels(tmp_path: Path, version: str) -> None:
    full_plate(tmp_path / "P1.zarr", version)
    location = parse_url(tmp_path / "P1.zarr")
    assert location.fmt.version == version
    plate = next(iter(Reader(location)()))
    assert [level.shape for level in plate.data] == [(3, 8 * 150, 12 * 131), (3, 8 * 75, 12 * 66), (3, 8 * 38, 12 * 33)]
    stitched = np.asarray(plate.data[0][:, :150, :131])
    np.testing.assert_array_equal(stitched, make_planes())
    nodes = list(Reader(parse_url(tmp_path / "P1.zarr" / "B" / "03" / "1"))())
    assert nodes[0].metadata["channel_names"] == list(CHANNELS)
    names = [node.metadata.get("name") for node in nodes if "image-label" in node.zarr.root_attrs]
    assert names == ["cells", "endolysosomes", "endolysosome_classes"]


def test_levels_lie_where_their_pixels_were(tmp_path: Path) -> None:
    field = make_plate(tmp_path / "P1.zarr").field("A01", 0)
    write(field, make_planes(), size=0.1)
    write_labels(field)
    image = json.loads((field.path / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    labels = json.loads((field.path / "labels/cells/zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    transformations = [dataset["coordinateTransformations"] for dataset in image["datasets"]]
    assert transformations[0] == [{"type": "scale", "scale": [1.0, 0.1, 0.1]}]
    assert [level[0]["scale"] for level in transformations] == [[1, 0.1, 0.1], [1, 0.2, 0.2], [1, 0.4, 0.4]]
    # the mean of pixels 0 and 1 lies at 0.05 um, of 0 to 3 at 0.15 um
    assert [level[1]["translation"][1:] for level in transformations[1:]] == [
        pytest.approx([0.05] * 2),
        pytest.approx([0.15] * 2),
    ]
    assert [len(dataset["coordinateTransformations"]) for dataset in labels["datasets"]] == [1, 1, 1]
    assert {axis.get("unit") for axis in image["axes"]} == {None, "micrometer"}
    assert [axis["name"] for axis in labels["axes"]] == ["y", "x"]


def test_windows_span_the_planes_values(tmp_path: Path) -> None:
    field = make_plate(tmp_path / "P1.zarr").field("A01", 0)
    planes = np.stack([np.full((8, 8), 7), np.zeros((8, 8)), np.repeat([[100, 900]], 8, axis=0).repeat(4, axis=1)])
    write(field, planes.astype(np.uint16), levels=1)
    channels = json.loads((field.path / "zarr.json").read_text())["attributes"]["ome"]["omero"]["channels"]
    assert [(c["window"]["start"], c["window"]["end"]) for c in channels] == [(7, 8), (0, 1), (100, 900)]
    assert {c["window"]["max"] for c in channels} == {65535}


def test_a_sharded_plate_has_one_file_a_plane(tmp_path: Path) -> None:
    store = full_plate(tmp_path / "P1.zarr", "0.5")
    n_fields, levels, channels, n_labels = 3, 3, 3, 3
    above = 1 + 2 + 2  # plate, rows, wells
    image = 1 + levels * (1 + channels)
    labels = 1 + n_labels * (1 + levels * (1 + 1))
    assert len(files_in(store.path)) == above + n_fields * (image + labels) == 110
    assert "B/03/1/0/c/2/0/0" in files_in(store.path)
    array = zarr.open_array(store.path / "B/03/1/0", mode="r")
    assert (array.chunks, array.shards) == ((1, 64, 64), (1, 192, 192))


def test_an_empty_plane_has_no_file(tmp_path: Path) -> None:
    field = make_plate(tmp_path / "P1.zarr").field("A01", 0)
    write(field, np.zeros((3, 100, 90), dtype=np.uint16))
    field.write_label("cells", np.zeros((100, 90), dtype=np.uint32))
    assert all(name.endswith("zarr.json") for name in files_in(field.path))
    assert not field.read("SEC62").any()
    assert field.read_label("cells").shape == (100, 90)


def test_v2_chunks_lie_in_folders(tmp_path: Path) -> None:
    field = make_plate(tmp_path / "P1.zarr", "0.4").field("A01", 0)
    write(field, make_planes())
    names = files_in(field.path)
    assert {"0/0/0/0", "0/2/2/2", "2/1/0/0", ".zattrs", ".zgroup"} <= set(names)
    assert json.loads((field.path / "0/.zarray").read_text())["dimension_separator"] == "/"


@VERSIONS
def test_writing_a_field_touches_nothing_above_it(tmp_path: Path, version: str) -> None:
    store = make_plate(tmp_path / "P1.zarr", version)
    above = {store.path / name: (store.path / name).read_bytes() for name in files_in(store.path)}
    times = {path: path.stat().st_mtime_ns for path in above}
    write(store.field("B03", 0), make_planes())
    write_labels(store.field("B03", 0))
    assert {path: path.read_bytes() for path in above} == above
    assert {path: path.stat().st_mtime_ns for path in above} == times
    others = [name for name in files_in(store.path) if store.path / name not in above]
    assert all(name.startswith("B/03/0/") for name in others)


def test_reading_a_channel_reads_its_shard_only(tmp_path: Path) -> None:
    field = make_plate(tmp_path / "P1.zarr").field("A01", 0)
    planes = make_planes()
    write(field, planes)
    for index in (0, 2):
        (field.path / f"0/c/{index}/0/0").write_bytes(b"damaged")
    np.testing.assert_array_equal(field.read(CHANNELS[1]), planes[1])
    with pytest.raises(FieldError, match=r"A01/0: .* is damaged"):
        field.read(CHANNELS[0])


def test_a_label_image_is_replaced_wholly(tmp_path: Path) -> None:
    field = make_plate(tmp_path / "P1.zarr").field("A01", 0)
    write(field, make_planes())
    write_labels(field)
    before = files_in(field.path)
    field.write_label("cells", np.zeros(field.shape, dtype=np.uint8))
    assert not field.read_label("cells").any()
    assert field.read_label("cells").dtype == np.uint8
    assert set(before) - set(files_in(field.path)) == {f"labels/cells/{level}/c/0/0" for level in range(3)}
    assert field.labels == ("cells", "endolysosomes", "endolysosome_classes")


def test_an_image_is_replaced_wholly_and_keeps_its_labels(tmp_path: Path) -> None:
    field = make_plate(tmp_path / "P1.zarr").field("A01", 0)
    write(field, make_planes((300, 280)), levels=4)
    write(field, make_planes(), levels=4)
    labels = write_labels(field)
    write(field, make_planes()[::-1], levels=2)
    assert not (field.path / "2").exists()
    assert field.n_levels == 2
    np.testing.assert_array_equal(field.read("DAPI"), make_planes()[2])
    np.testing.assert_array_equal(field.read_label("cells"), labels)


def test_a_field_without_pixel_size_says_nan(tmp_path: Path) -> None:
    field = make_plate(tmp_path / "P1.zarr").field("A01", 0)
    write(field, make_planes(), size=math.nan)
    assert math.isnan(field.pixel_size_um)
    ome_zarr_models.v05.Image.from_zarr(zarr.open_group(field.path, mode="r"))


def test_create_again_adds_wells_and_keeps_images(tmp_path: Path) -> None:
    path = tmp_path / "P1.zarr"
    write(make_plate(path).field("B03", 0), make_planes())
    root = (path / "zarr.json").stat().st_mtime_ns
    make_plate(path)
    assert (path / "zarr.json").stat().st_mtime_ns == root
    make_plate(path, wells={**WELLS, "C01": 4})
    store = PlateStore.open(path)
    assert (store.wells, store.n_fields("C01")) == (("A01", "B03", "C01"), 4)
    np.testing.assert_array_equal(store.field("B03", 0).read("DAPI"), make_planes()[0])


def test_create_in_the_other_version_starts_afresh(tmp_path: Path) -> None:
    path = tmp_path / "P1.zarr"
    write(make_plate(path, "0.5").field("B03", 0), make_planes())
    make_plate(path, "0.4")
    assert not [name for name in files_in(path) if name.endswith("zarr.json")]
    with pytest.raises(FieldError, match="B03/0 has no readable image"):
        _ = PlateStore.open(path).field("B03", 0).channels


def test_create_refuses_what_is_not_a_plate(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(PlateError, match="not an OME-Zarr plate"):
        make_plate(tmp_path)
    assert files_in(tmp_path) == ["thesis.docx"]


@pytest.mark.parametrize(
    ("wells", "message"),
    [({"I01": 1}, "I01 lies outside"), ({"A13": 1}, "A13 lies outside"), ({"A01": 0}, "0 fields"), ({}, "no wells")],
)
def test_create_refuses_impossible_wells(tmp_path: Path, wells: dict[str, int], message: str) -> None:
    with pytest.raises(PlateError, match=message):
        make_plate(tmp_path / "P1.zarr", wells=wells)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"attributes": {"ome": {"well": {}}}}'])
def test_open_refuses_what_is_not_a_plate_in_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "zarr.json").write_text(content)
    with pytest.raises(PlateError, match="is not an OME-Zarr plate") as caught:
        PlateStore.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_open_names_damaged_plate_metadata(tmp_path: Path) -> None:
    make_plate(tmp_path / "P1.zarr")
    text = (tmp_path / "P1.zarr/zarr.json").read_text()
    (tmp_path / "P1.zarr/zarr.json").write_text(text.replace("B/03", "../../etc"))
    with pytest.raises(PlateError, match="damaged"):
        PlateStore.open(tmp_path / "P1.zarr")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    store = make_plate(tmp_path / "P1.zarr")
    with pytest.raises(PlateError, match="no well 'H12'; it has 2: A01, B03"):
        store.field("H12", 0)
    with pytest.raises(FieldError, match="no readable image"):
        store.field("A01", 0).read("DAPI")
    write(store.field("A01", 0), make_planes())
    with pytest.raises(FieldError, match="no channel 'GFP'; it has DAPI, LAMP1 µ, SEC62"):
        store.field("A01", 0).read("GFP")
    with pytest.raises(FieldError, match="labels/cells"):
        store.field("A01", 0).read_label("cells")
    (store.path / "B/03/zarr.json").unlink()
    with pytest.raises(PlateError, match="no well metadata"):
        store.n_fields("B03")


def test_misfits_are_refused(tmp_path: Path) -> None:
    field = make_plate(tmp_path / "P1.zarr").field("A01", 0)
    with pytest.raises(ValueError, match="3 planes"):
        write(field, make_planes()[:2])
    with pytest.raises(ValueError, match="float32"):
        write(field, make_planes().astype(np.float32))
    write(field, make_planes())
    with pytest.raises(ValueError, match="differ from the image's"):
        field.write_label("cells", np.zeros((3, 3), dtype=np.uint32))
    with pytest.raises(ValueError, match="int64"):
        field.write_label("cells", np.zeros(field.shape, dtype=np.int64))


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    first = full_plate(tmp_path / "a" / "P1.zarr", "0.5").path
    second = full_plate(tmp_path / "b" / "P1.zarr", "0.5").path
    assert files_in(first) == files_in(second)
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files_in(first))
