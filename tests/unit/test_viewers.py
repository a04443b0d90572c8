"""A result plate in other people's hands: ngio, napari's reader of OME-Zarr, ome-zarr-py.

ngio and napari's plugin are installed apart (envs/viewers.txt says how and why).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lysoquant.io.field_tables import write_field_tables
from lysoquant.io.store import PlateStore
from lysoquant.measure.columns import cells_schema, endolysosomes_schema
from lysoquant.vocabulary import CELLS, CLASS_COLOURS, EMPTY, ENDOLYSOSOME_CLASSES, ENDOLYSOSOMES, LOADED

VERSIONS = ("0.4", "0.5")
SIZE_UM = 0.08
CHANNELS = ("LAMP1", "SEC62")


def labels_of() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two cells with three endolysosomes; the last is loaded."""
    cells = np.zeros((150, 130), np.uint32)
    cells[10:60, 20:70], cells[80:140, 30:120] = 1, 7
    endolysosomes = np.zeros_like(cells)
    endolysosomes[20:26, 30:40], endolysosomes[90:100, 40:50], endolysosomes[110:120, 60:70] = 1, 2, 3
    classes = np.array([0, EMPTY, EMPTY, LOADED], np.uint8)[endolysosomes]
    return cells, endolysosomes, classes


def columns_of(schema: Any, keys: dict[str, Any], number: int) -> dict[str, Any]:
    own = {column.name: np.arange(number) + 0.5 for column in schema if str(column.type) == "double"}
    counts = {column.name: np.arange(number) for column in schema if str(column.type) == "int64"}
    flags = {column.name: np.arange(number) % 2 == 1 for column in schema if str(column.type) == "bool"}
    given = own | counts | flags | keys
    return {name: values for name, values in given.items() if name not in ("plate", "well", "field")}


@pytest.fixture(params=[(version, linked) for version in VERSIONS for linked in (False, True)], ids=str)
def plate(request: pytest.FixtureRequest, tmp_path: Path) -> PlateStore:
    """A plate of two wells, with images, label images and tables; where linked, its images lie in another plate."""
    version, linked = request.param
    wells = {"B02": 1, "C11": 1}
    plates = [
        PlateStore.create(tmp_path / name, name="P", wells=wells, n_rows=8, n_columns=12, ngff_version=version)
        for name in ("P.zarr", "input.zarr")
    ]
    store, other = plates
    cells, endolysosomes, classes = labels_of()
    for well in store.wells:
        field = store.field(well, 0)
        planes = np.random.default_rng(0).integers(50, 4000, size=(2, 150, 130)).astype(np.uint16)
        image = other.field(well, 0) if linked else field
        image.write_image(planes, channels=CHANNELS, pixel_size_um=SIZE_UM, levels=2, chunk_px=64)
        if linked:
            arrays = [image.path / level for level in ("0", "1")]
            field.link_image(arrays, axes="cyx", planes=planes, channels=CHANNELS, pixel_size_um=SIZE_UM)
        field.write_label(CELLS, cells)
        own = {label: CLASS_COLOURS[LOADED if label == 3 else EMPTY] for label in (1, 2, 3)}
        field.write_label(ENDOLYSOSOMES, endolysosomes, colours=own)
        field.write_label(ENDOLYSOSOME_CLASSES, classes, colours={int(key): rgb for key, rgb in CLASS_COLOURS.items()})
        schemas = {CELLS: cells_schema(CHANNELS), ENDOLYSOSOMES: endolysosomes_schema(CHANNELS)}
        write_field_tables(
            field,
            size_px=field.shape,
            pixel_size_um=SIZE_UM,
            cell_boxes_px=np.array([[10, 20, 60, 70], [80, 30, 140, 120]]),
            cells=columns_of(schemas[CELLS], {"cell": np.array([1, 7])}, 2),
            endolysosomes=columns_of(
                schemas[ENDOLYSOSOMES], {"cell": np.array([1, 7, 7]), "label": np.array([1, 2, 3])}, 3
            ),
            schemas=schemas,
        )
    return store


def test_ngio_reads_images_labels_and_tables(plate: PlateStore) -> None:
    ngio = pytest.importorskip("ngio", reason="not installed; see envs/viewers.txt")
    opened = ngio.open_ome_zarr_plate(plate.path, mode="r")
    assert sorted(opened.wells_paths()) == ["B/02", "C/11"]
    container = opened.get_image("B", "02", "0")
    assert container.list_labels() == [CELLS, ENDOLYSOSOMES, ENDOLYSOSOME_CLASSES]
    assert sorted(container.list_tables()) == sorted(["FOV_ROI_table", "cells_ROI_table", CELLS, ENDOLYSOSOMES])
    image = container.get_image(path="0")
    assert (image.pixel_size.y, image.pixel_size.x) == (SIZE_UM, SIZE_UM)
    assert container.channel_labels == list(CHANNELS)
    (field,) = container.get_table("FOV_ROI_table").rois()
    assert image.get_roi(field).shape == (2, 150, 130)
    _, endolysosomes, _ = labels_of()
    rois = container.get_masking_roi_table("cells_ROI_table")
    assert rois.reference_label == CELLS
    label = container.get_label(CELLS, path="0")
    for number, shape in ((1, (50, 50)), (7, (60, 90))):
        cut = label.get_roi(rois.get_label(number))
        assert cut.shape == shape
        assert set(np.unique(cut)) == {number}
    for name, numbers in ((CELLS, [1, 7]), (ENDOLYSOSOMES, [1, 2, 3])):
        table = container.get_feature_table(name)
        assert table.reference_label == name
        assert list(table.dataframe.index) == numbers
        assert {"plate", "well", "field"}.isdisjoint(table.dataframe.columns)
    frame = container.get_feature_table(ENDOLYSOSOMES).dataframe
    assert list(frame["cell"]) == [1, 7, 7]
    assert list(frame["is_loaded"]) == [False, True, False]
    assert list(frame["area_um2"]) == [0.5, 1.5, 2.5]
    np.testing.assert_array_equal(container.get_label(ENDOLYSOSOMES, path="0").get_array(), endolysosomes)


def test_naparis_plugin_shows_images_and_coloured_labels(plate: PlateStore) -> None:
    plugin = pytest.importorskip("napari_ome_zarr", reason="not installed; see envs/viewers.txt")
    layers = plugin.napari_get_reader(str(plate.field("B02", 0).path))(None)
    assert [kind for _, _, kind in layers] == ["image", "labels", "labels", "labels"]
    image, *labels = layers
    assert image[1]["name"] == [f"0: {channel}" for channel in CHANNELS]
    assert [level.shape for level in image[0]] == [(2, 150, 130), (2, 75, 65)]
    names = [CELLS, ENDOLYSOSOMES, ENDOLYSOSOME_CLASSES]
    for (levels, more, _), name, expected in zip(labels, names, labels_of(), strict=True):
        assert more["name"].endswith(name)
        assert more["scale"] == [SIZE_UM, SIZE_UM] == image[1]["scale"]
        np.testing.assert_array_equal(np.asarray(levels[0]), expected)
    cyan, magenta = [0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0]
    assert labels[1][1]["colormap"] == {1: cyan, 2: cyan, 3: magenta}
    assert labels[2][1]["colormap"] == {EMPTY: cyan, LOADED: magenta}
    # The plate as a whole: all wells side by side.
    whole = plugin.napari_get_reader(str(plate.path))(None)
    assert [kind for _, _, kind in whole] == ["image", "labels", "labels", "labels"]
    assert whole[0][1]["scale"] == [SIZE_UM, SIZE_UM]


def test_ome_zarr_py_shows_coloured_labels(plate: PlateStore) -> None:
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    nodes = list(Reader(parse_url(plate.field("C11", 0).path))())
    colours = {node.metadata["name"]: node.metadata["color"] for node in nodes if "color" in node.metadata}
    cyan, magenta = [0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0]
    assert colours[ENDOLYSOSOMES] == {1: cyan, 2: cyan, 3: magenta}
    assert colours[ENDOLYSOSOME_CLASSES] == {EMPTY: cyan, LOADED: magenta}


def test_tables_are_listed_last_and_removed_wholly(plate: PlateStore) -> None:
    field = plate.field("B02", 0)
    files = sorted(path.relative_to(field.path).as_posix() for path in (field.path / "tables").glob("*/*.parquet"))
    assert files == [
        f"tables/{name}/table.parquet" for name in ("FOV_ROI_table", "cells", "cells_ROI_table", "endolysosomes")
    ]
    field.remove_tables()
    field.remove_tables()
    assert not (field.path / "tables").exists()
    assert field.labels == (CELLS, ENDOLYSOSOMES, ENDOLYSOSOME_CLASSES)
