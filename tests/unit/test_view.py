"""A field as napari's layers; napari itself takes them, without a window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from export_project import CHANNELS, OTHER, PIXEL_SIZE_UM, SHAPE

from lysoquant.channels import Channels
from lysoquant.cli import view as command
from lysoquant.cli.main import invoke
from lysoquant.export.layers import LayerData, field_layers
from lysoquant.io.store import PlateStore
from lysoquant.io.tables import read_parquet
from lysoquant.layout import Layout

ROLES = Channels(lysosome="LAMP1", cargo="SEC62", other_cargoes=(OTHER,), nucleus="DAPI")
LABELS = ("cells", f"endolysosomes, {OTHER}", "endolysosomes", "endolysosome_classes")
CYAN, MAGENTA, CLEAR = (0.0, 1.0, 1.0, 1.0), (1.0, 0.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.0)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[LayerData], str]]:
    """What the command would have opened napari with."""
    calls: list[tuple[list[LayerData], str]] = []
    monkeypatch.setattr(command, "_require_napari", lambda: None)
    monkeypatch.setattr(command, "show", lambda layers, title: calls.append((layers, title)))
    return calls


def test_layers_of_a_measured_field(measured: Layout, shown: list[Any]) -> None:
    assert invoke(["view", str(measured.project), "b2", "--plate", "P2"]) == 0
    ((layers, title),) = shown
    assert title == "P2 B02 field 0"
    assert [(options["name"], kind) for _, options, kind in layers] == [
        *((channel, "image") for channel in CHANNELS),
        *((name, "labels") for name in LABELS),
    ]
    field = PlateStore.open(measured.plate_store("P2")).field("B02", 0)
    for (pixels, options, _), channel in zip(layers[:4], CHANNELS, strict=True):
        np.testing.assert_array_equal(pixels, field.read(channel))
        assert options["contrast_limits"][0] < options["contrast_limits"][1]
    assert [options["colormap"] for _, options, _ in layers[:4]] == ["blue", "green", "red", "yellow"]
    assert {options["scale"] for _, options, _ in layers} == {(PIXEL_SIZE_UM, PIXEL_SIZE_UM)}
    table = read_parquet(measured.well_tables("P2", "B02") / "endolysosomes.parquet")
    labels, options, _ = layers[6]
    assert options["features"]["index"].tolist() == table["label"].tolist()
    assert options["features"]["area_um2"].tolist() == table["area_um2"].tolist()
    assert not {"plate", "well", "field"} & set(options["features"])
    colours = options["colormap"]
    assert (colours[None], colours[0]) == (CLEAR, CLEAR)
    for label, is_loaded in zip(table["label"], table["is_loaded"], strict=True):
        assert colours[label] == (MAGENTA if is_loaded else CYAN)
    other = layers[5][1]["colormap"]
    assert [other[label] == MAGENTA for label in table["label"]] == table[f"is_loaded_{OTHER}"].tolist()
    # What is too small for the tables is in the label image and clear.
    assert set(np.unique(labels)) - set(colours)
    assert len(colours) == len(table) + 2
    assert layers[4][1]["features"]["n_endolysosomes"].sum() == len(table)


def test_napari_takes_every_layer(measured: Layout) -> None:
    pytest.importorskip("napari", reason="not installed; see envs/viewers.txt")
    from napari.components import ViewerModel
    from napari.layers import Layer

    field = PlateStore.open(measured.plate_store("P1")).field("B03", 0)
    folder = measured.well_tables("P1", "B03")
    tables = {name: read_parquet(folder / f"{name}.parquet") for name in ("cells", "endolysosomes")}
    viewer = ViewerModel()
    for layer in field_layers(field, channels=ROLES, tables=tables):
        viewer.add_layer(Layer.create(*layer))
    assert [layer.name for layer in viewer.layers] == [*CHANNELS, *LABELS]
    assert [str(unit) for layer in viewer.layers for unit in layer.units] == ["micrometer"] * 16
    assert [layer.visible for layer in viewer.layers] == [True] * 5 + [False, True, False]
    np.testing.assert_allclose(viewer.layers.extent.world[1], [(size - 1) * PIXEL_SIZE_UM for size in SHAPE])
    regions = viewer.layers["endolysosomes"]
    row = tables["endolysosomes"].iloc[5]
    place = np.argwhere(field.read_label("endolysosomes") == row["label"])[0] * PIXEL_SIZE_UM
    told = regions._get_properties(tuple(place), view_direction=None, dims_displayed=[0, 1], world=True)
    named = dict(text.split(": ") for text in told)
    assert float(named["area_um2"]) == pytest.approx(row["area_um2"], rel=1e-3)
    assert int(named["cell"]) == row["cell"]
    np.testing.assert_allclose(regions.get_color(int(row["label"])), MAGENTA if row["is_loaded"] else CYAN)
    small = set(np.unique(field.read_label("endolysosomes"))) - {0} - set(tables["endolysosomes"]["label"])
    np.testing.assert_allclose(regions.get_color(int(min(small))), CLEAR)


def test_a_field_before_measure_shows_what_is_there(tmp_path: Path) -> None:
    store = PlateStore.create(tmp_path / "p.zarr", name="p", wells={"A01": 1}, n_rows=1, n_columns=1)
    field = store.field("A01", 0)
    field.write_image(
        np.zeros((2, 8, 8), np.uint16), channels=["LAMP1", "other"], pixel_size_um=0.1, levels=1, chunk_px=8
    )
    layers = field_layers(field, channels=ROLES, tables={})
    assert [(options["name"], options["colormap"]) for _, options, _ in layers] == [
        ("LAMP1", "green"),
        ("other", "gray"),
    ]
    assert {options["contrast_limits"] for _, options, _ in layers} == {(0.0, 1.0)}
    field.write_label("endolysosomes", np.ones((8, 8), np.uint32))
    *_, (_, options, kind) = field_layers(field, channels=ROLES, tables={})
    assert kind == "labels"
    assert not {"features", "colormap"} & set(options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["B02"], "well B02 needs --plate: the project's plates are P1, P2"),
        (["Z99", "--plate", "P1"], "well 'Z99': plate P1 has B02, B03, C03"),
        (["B02", "--plate", "nope"], "--plate 'nope': the project's plates are P1, P2"),
        (["B02", "--plate", "P1", "--field", "2"], "--field 2: well B02 of plate P1 has fields 0 to 1"),
    ],
)
def test_wrong_values_are_one_line(
    measured: Layout, capsys: pytest.CaptureFixture[str], shown: list[Any], arguments: list[str], message: str
) -> None:
    assert invoke(["view", str(measured.project), *arguments]) == 2
    assert capsys.readouterr().err.splitlines() == [f"error: {message}"]
    assert not shown


def test_without_napari_qt_or_a_screen_it_says_so(
    measured: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["view", str(measured.project), "B02", "--plate", "P1"]
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: None)
    assert invoke(arguments) == 2
    assert capsys.readouterr().err.endswith("napari, which is not installed; pip install 'napari[all]'\n")
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: object())

    def no_qt(name: str) -> None:
        raise ImportError("No Qt bindings could be found")

    monkeypatch.setattr(command.importlib, "import_module", no_qt)
    with pytest.raises(Exception, match="napari finds no Qt to draw with; pip install"):
        command._require_napari()
    monkeypatch.setattr(command.importlib, "import_module", lambda name: None)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(command.sys, "platform", "linux")
    with pytest.raises(Exception, match="DISPLAY is not set"):
        command._require_napari()
    monkeypatch.setenv("DISPLAY", ":0")
    command._require_napari()
