"""Models for other programs: run there, they give torch's probabilities."""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from network_kit import tiny_network, write_tiny
from numpy.typing import NDArray

from lysoquant.cli.main import invoke
from lysoquant.errors import InputError, ModelError
from lysoquant.model import export, package
from lysoquant.model.architecture import Architecture
from lysoquant.model.card import ModelCard
from lysoquant.model.weights import Model

PADDINGS = ("zeros", "reflect", "valid")
SMALL = Architecture(levels=2, base_features=2)


def tiny_model(padding: str = "zeros", **card: Any) -> Model:
    architecture = Architecture(**(SMALL.model_dump() | {"padding": padding}))
    network = tiny_network(seed=4, architecture=architecture).eval()
    return Model(
        network=network, card=ModelCard(**({"name": "a_b <c>", "architecture": architecture} | card)), sha256=""
    )


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], export.Exported]:
    """The tiny model as ONNX, exported once a padding."""
    folder = tmp_path_factory.mktemp("onnx")

    @functools.cache
    def exported(padding: str) -> export.Exported:
        return export.export(tiny_model(padding), folder / padding / "tiny.onnx", form="onnx")

    return exported


@pytest.fixture
def quick(networks: Callable[[str], export.Exported], monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of the tiny model take the network that was exported before."""
    monkeypatch.setattr(
        export, "write_onnx", lambda model, path: shutil.copy(networks(model.card.architecture.padding).path, path)
    )


def softmax(model: Model, image: torch.Tensor) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(torch.softmax(model.network(image), dim=1).numpy())


def test_the_shipped_tile_is_small_and_shows_a_cell_with_signal() -> None:
    assert export.TEST_TILE.stat().st_size < 300_000
    with np.load(export.TEST_TILE, allow_pickle=False) as tile:
        assert tile["cargo"].shape == tile["lysosome"].shape == tile["inside"].shape == (128, 128)
        assert tile["cargo"].dtype == np.uint16
        assert 0.4 < tile["inside"].mean() < 0.9
    image = export.tile_image(ModelCard(name="m", architecture=SMALL))
    assert image.shape == (1, 3, 256, 256)
    assert not image[0, 2].any()
    for plane in image[0, :2]:
        assert plane.max() == pytest.approx(1, abs=0.02)
        assert float((plane == 0).float().mean()) > 0.1


def test_the_tile_is_mirrored_to_what_valid_convolutions_need() -> None:
    """Two levels lose 16 px: 8 more on each side."""
    plain = export.tile_image(tiny_model().card)[0].numpy()
    larger = export.tile_image(tiny_model("valid").card)[0].numpy()
    np.testing.assert_array_equal(larger, np.pad(plain, ((0, 0), (8, 8), (8, 8)), mode="reflect"))
    seven = ModelCard(name="m", architecture=Architecture(padding="valid"))
    assert export.tile_image(seven).shape == (1, 3, 260 + 760, 260 + 760)


def test_the_tile_is_normalised_as_the_card_says() -> None:
    joint = export.tile_image(tiny_model(normalization="joint").card)
    with np.load(export.TEST_TILE, allow_pickle=False) as tile:
        planes = np.stack([tile["cargo"], tile["lysosome"]]) * tile["inside"]
    assert joint[0, 1, 200, 160] == pytest.approx(planes[1, 100, 80] / planes.max(), abs=1e-6)


@pytest.mark.parametrize(("padding", "levels", "least"), [
    ("zeros", 3, 8), ("reflect", 7, 128), ("valid", 3, 44), ("valid", 5, 188), ("valid", 7, 764)
])  # fmt: skip
def test_the_shortest_edge(padding: str, levels: int, least: int) -> None:
    assert export.smallest_px(Architecture(levels=levels, padding=padding)) == least  # type: ignore[arg-type]


@pytest.mark.parametrize("padding", PADDINGS)
def test_an_onnx_file_gives_torchs_probabilities_at_any_batch_and_size(
    networks: Callable[[str], export.Exported], padding: str
) -> None:
    model, exported = tiny_model(padding), networks(padding)
    path = exported.path
    assert exported.difference <= 1e-4
    assert [entry.name for entry in path.parent.iterdir()] == ["tiny.onnx"]
    least = export.smallest_px(model.card.architecture)
    for batch, height, width in ((1, least, least), (3, least + 2, least + 40)):
        image = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(batch))
        found = export.run_onnx(path, image.numpy())
        np.testing.assert_allclose(found, softmax(model, image), atol=1e-4)
    file = onnx.load(path)
    onnx.checker.check_model(file)
    assert [opset.version for opset in file.opset_import if not opset.domain] == [export.OPSET]
    (card,) = (entry.value for entry in file.metadata_props if entry.key == "lysoquant")
    assert ModelCard.model_validate_json(card) == model.card


@pytest.mark.usefixtures("quick")
def test_a_package_holds_what_its_test_needs_and_passes_it(tmp_path: Path) -> None:
    """That bioimageio.core passes it is part of the export itself; here what it was given to pass."""
    model = tiny_model("valid", limits=("not for <script>",))
    exported = export.export(model, tmp_path / "tiny.zip", form="bioimageio")
    assert exported.difference <= 1e-4
    with zipfile.ZipFile(exported.path) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "unpacked")
    assert names == {"README.md", "rdf.yaml", "test_input.npy", "test_output.npy", "weights.onnx"}
    unpacked = tmp_path / "unpacked"
    image, answer = (np.load(unpacked / f"test_{part}.npy", allow_pickle=False) for part in ("input", "output"))
    assert image.shape[2] - answer.shape[2] == model.card.architecture.loss_px
    np.testing.assert_allclose(export.run_onnx(unpacked / "weights.onnx", image), answer, atol=1e-4)
    np.testing.assert_allclose(softmax(model, torch.from_numpy(image)), answer, atol=1e-6)
    page = (unpacked / "README.md").read_text(encoding="utf-8")
    assert "not for &lt;script&gt;" in page
    assert "<" not in page

    from bioimageio.spec import load_model_description

    found = load_model_description(exported.path, perform_io_checks=True)
    assert found.name == "LysoQuant a_b c"
    assert found.license is None
    axis = found.inputs[0].axes[2]
    assert (axis.scale, axis.unit, axis.size.step) == (0.025, "micrometer", 2)  # type: ignore[union-attr]
    assert json.loads(json.dumps(found.config.model_dump()["lysoquant"])) == model.card.model_dump(mode="json")


def test_a_package_that_does_not_pass_its_test_is_refused(
    tmp_path: Path, networks: Callable[[str], export.Exported]
) -> None:
    model = tiny_model()
    network = Path(shutil.copy(networks("zeros").path, tmp_path / "weights.onnx"))
    image = export.tile_image(model.card)
    wrong = 1 - softmax(model, image)
    with pytest.raises(ModelError, match=r"a_b <c>: bioimageio\.core refuses the package: .*disagree"):
        package.write_package(
            model, network, tmp_path / "p.zip", image=image.numpy(), probabilities=wrong, least_px=4, opset=export.OPSET
        )


@pytest.mark.usefixtures("quick")
def test_a_network_that_differs_elsewhere_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = export.run_onnx
    monkeypatch.setattr(export, "run_onnx", lambda path, image: honest(path, image) + np.float32(2e-4))
    with pytest.raises(ModelError, match=r"differ from torch's by 0\.0002 on the test tile, expected at most 0\.0001"):
        export.export(tiny_model(), tmp_path / "x.onnx", form="onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("form", "package_name"), [
    ("onnx", "onnx"), ("onnx", "onnxruntime"), ("onnx", "onnxscript"), ("bioimageio", "bioimageio.core")
])  # fmt: skip
def test_a_package_that_is_not_installed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: str,
    package_name: str,
) -> None:
    honest = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == package_name else honest(name, *more)
    )
    model = write_tiny(tmp_path / "tiny.safetensors", architecture=SMALL)
    assert invoke(["model", "export", "--format", form, "--model", str(model), str(tmp_path / "out")]) == 2
    expected = f"error: --format {form} needs {package_name}, which is not installed; pip install 'lysoquant[export]'\n"
    assert capsys.readouterr().err == expected
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.safetensors", architecture=SMALL)
    content = path.read_bytes()
    with pytest.raises(InputError, match=r"tiny\.safetensors exists and is not overwritten"):
        export.export(tiny_model(), path, form="onnx")
    assert path.read_bytes() == content


def test_a_model_that_the_pipeline_refuses_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has classes"):
        export.export(tiny_model(classes=("background", "vesicle")), tmp_path / "x.onnx", form="onnx")


@pytest.mark.parametrize(("name", "expected"), [
    ("empty", "empty"), ("no cargo", "no_cargo"), ("2nd", "class_2nd"), ("vésicule", "v_sicule")
])  # fmt: skip
def test_class_names_become_identifiers(name: str, expected: str) -> None:
    assert package._identifier(name) == expected


def test_the_command_says_what_was_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model, out = write_tiny(tmp_path / "tiny.safetensors", architecture=SMALL), Path("tiny.zip")
    assert invoke(["model", "export", "--format", "bioimageio", "--model", str(model), str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        f"{out}: passed the test of bioimageio.core; on the test tile (1 x 3 x 256 x 256) probabilities of onnxruntime "
    )
    assert float(said.split()[-1]) <= 1e-4
