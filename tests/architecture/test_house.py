"""How the house is laid out: one name a stage in every place, one door, a light start, and no dangerous call."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lysoquant
from lysoquant.cli.main import COMMANDS
from lysoquant.config import Config, WellsPerJob
from lysoquant.source import source_digest
from lysoquant.vocabulary import BATCH_STAGES, STAGES

ROOT = Path(__file__).parents[2]
PACKAGE = Path(lysoquant.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
GROUND_FLOOR = ("vocabulary", "units", "errors", "params", "channels", "layout", "progress", "source", "record")
HEAVY = ("torch", "zarr", "pandas", "numpy", "scipy", "skimage", "dask", "pyarrow", "tifffile", "snakemake")


def loaded_by(code: str) -> set[str]:
    """Heavy packages that a fresh interpreter has loaded after `code`."""
    ask = f"\nimport sys\nprint('loaded', *[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + ask], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_the_ground_floor_settings_and_configuration_are_light() -> None:
    params = [f"lysoquant.{path.parent.name}.params" for path in PACKAGE.glob("*/params.py")]
    assert {name.split(".")[1] for name in params} == {*STAGES, "workers", "illumination", "screening"}
    names = [*(f"lysoquant.{name}" for name in GROUND_FLOOR), *params, "lysoquant.config", "lysoquant.cli.main"]
    assert loaded_by("\n".join(f"import {name}" for name in names)) == set()


def test_every_help_page_is_light() -> None:
    pages = [[], *([name] for name in COMMANDS), ["simulate", "plate"], ["simulate", "compare"], ["model", "info"]]
    calls = "\n".join(f"assert invoke({[*page, '--help']}) == 0, {page}" for page in pages)
    assert loaded_by(f"from lysoquant.cli.main import invoke\n{calls}") == set()


def test_a_check_of_lightness_would_see_a_heavy_import() -> None:
    assert loaded_by("import lysoquant.model.preprocess") >= {"numpy", "torch"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_has_one_name_in_every_place(stage: str) -> None:
    assert (PACKAGE / stage / "step.py").is_file()
    assert (PACKAGE / stage / "params.py").is_file()
    assert stage in COMMANDS
    assert stage in Config.model_fields
    rules = (ROOT / "workflow" / "rules" / f"{stage}.smk").read_text()
    names = re.findall(r"^(?:rule|checkpoint) (\w+):", rules, re.M)
    assert stage in names
    assert all(name.startswith(stage) for name in names)
    assert f"lysoquant {stage} " in rules
    assert f"## {stage}" in (ROOT / "config" / "README.md").read_text()
    assert re.search(rf"^{stage}:", (ROOT / "config" / "config.yaml").read_text(), re.M)
    assert source_digest(stage)


def test_batch_stages_are_cut_by_wells_per_job() -> None:
    assert tuple(WellsPerJob.model_fields) == BATCH_STAGES


def test_there_is_no_stage_package_or_rule_beyond_the_six() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/step.py")} == set(STAGES)
    rules = {path.stem for path in (ROOT / "workflow" / "rules").glob("*.smk")}
    assert rules == {*STAGES, "common"}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_has_the_same_door(stage: str) -> None:
    door = inspect.signature(importlib.import_module(f"lysoquant.{stage}.step").run)
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in door.parameters.values())
    expected = {"plate", "wells", "cores"} if stage in BATCH_STAGES else {"plates"}
    assert {"layout", "settings", "record"} | expected <= set(door.parameters)
    settings = str(door.parameters["settings"].annotation)
    assert settings.endswith(f"{stage.capitalize()}Settings")


def test_rules_are_shell_lines() -> None:
    for path in [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk"), ROOT / "workflow" / "Snakefile"]:
        assert not re.search(r"^\s*(run|script|notebook):", path.read_text(), re.M), path


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_trusts_its_input(path: Path) -> None:
    """No pickle, no unsafe YAML or XML, no shell, no evaluation, and no `assert` in place of an error."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    for name, call in calls(tree):
        options = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert name not in {"eval", "exec", "os.system", "yaml.load", "pickle.load", "pickle.loads"}, name
        assert options.get("shell", "False") == "False", name
        assert options.get("allow_pickle", "False") == "False", name
        assert name != "torch.load" or options.get("weights_only") == "True"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name for alias in node.names if alias.name.split(".")[0] in ("xml", "lxml")}
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("xml", "lxml"):
            assert {alias.name for alias in node.names} <= {
                "Element",
                "ParseError",
                "SAXException",
                "quoteattr",
                "escape",
            }


def test_only_the_ground_floor_of_files_touches_formats() -> None:
    """zarr, tifffile and roifile are read in io/; the simulator writes raw plates as an instrument does."""
    for path in MODULES:
        home = path.relative_to(PACKAGE).parts[0]
        if home in ("io", "simulate"):
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(import|from) (zarr|tifffile|roifile|ome_zarr)\b", text, re.M), path
