"""Provenance as RO-Crate, read again by rocrate and held against the profiles' requirements."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from export_project import PLATES
from rocrate.rocrate import ROCrate

from lysoquant.cli.main import invoke
from lysoquant.layout import Layout
from lysoquant.record import digest_json

WORKFLOW = "provenance/workflow/Snakefile"


def graph(folder: Path) -> dict[str, dict[str, Any]]:
    entities = json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    assert len({entity["@id"] for entity in entities}) == len(entities)
    return {entity["@id"]: entity for entity in entities}


def references(value: object) -> list[str]:
    """Identifiers that an entity refers to."""
    if isinstance(value, list):
        return [name for item in value for name in references(item)]
    if isinstance(value, dict):
        return (
            [value["@id"]] if set(value) == {"@id"} else [name for item in value.values() for name in references(item)]
        )
    return []


@pytest.fixture(scope="module")
def crate(measured: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crate") / "out"
    arguments = ["--output", str(folder), "--license", "https://creativecommons.org/licenses/by/4.0/"]
    assert invoke(["export", "rocrate", str(measured.project), *arguments]) == 0
    return folder


def test_the_profiles_required_properties(crate: Path) -> None:
    found = graph(crate)
    root, descriptor = found["./"], found["ro-crate-metadata.json"]
    assert descriptor["about"] == {"@id": "./"}
    assert references(descriptor["conformsTo"]) == [
        "https://w3id.org/ro/crate/1.1",
        "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
    ]
    assert {
        "https://w3id.org/ro/wfrun/process/0.5",
        "https://w3id.org/ro/wfrun/workflow/0.5",
        "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
    } <= set(references(root["conformsTo"]))
    assert all(root[name] for name in ("name", "description", "datePublished", "license", "hasPart", "citation"))
    workflow = found[WORKFLOW]
    assert root["mainEntity"] == {"@id": WORKFLOW}
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow"} == set(workflow["@type"])
    assert found[workflow["programmingLanguage"]["@id"]]["name"] == "Snakemake"
    action = found["#run"]
    assert root["mentions"] == {"@id": "#run"}
    assert (action["@type"], action["instrument"]) == ("CreateAction", {"@id": WORKFLOW})
    assert action["endTime"].endswith("+00:00")
    # Every way in and out is a parameter of the workflow, and every object is one's example.
    for way, of_action in (("input", "object"), ("output", "result")):
        parameters = references(workflow[way])
        assert parameters
        assert {found[name]["@type"] for name in parameters} == {"FormalParameter"}
        for name in references(action[of_action]):
            assert found[name]["exampleOfWork"]["@id"] in parameters, name


def test_no_reference_leads_nowhere(crate: Path) -> None:
    found = graph(crate)
    named = {name for entity in found.values() for key, value in entity.items() for name in references(value)}
    outside = {name for name in named - set(found) if not name.startswith("https://")}
    assert not outside


def test_inputs_outputs_software_and_model(measured: Layout, crate: Path) -> None:
    found = graph(crate)
    action = found["#run"]
    inputs = references(action["object"])
    assert [name for name in inputs if not name.startswith("#")] == [
        *(f"{(measured.project / 'raw' / plate).as_uri()}/" for plate in PLATES),
        *("config/config.yaml", "config/plates.tsv", "config/wells.tsv"),
    ]
    assert found[f"#model-{'ab' * 32}"]["value"] == "ab" * 32
    raw = found[inputs[0]]
    assert (raw["size"], raw["contentSize"]) == (3, "12288")
    files = {f"{well}.tif": f"{ord(well[0]):064x}" for well in PLATES["P1"]}
    assert found[references(raw["identifier"])[0]]["value"] == digest_json(files)
    record = json.loads(measured.project_work_record("aggregate").read_text())
    tables = {f"results/{name}" for name in record["wrote"]}
    results = set(references(action["result"]))
    assert tables <= results
    assert {f"{measured.plate_store(plate).as_uri()}/" for plate in PLATES} <= results
    assert "results/P1/records/measure/wells/B02.json" in results
    needs = [found[name] for name in references(found[WORKFLOW]["softwareRequirements"])]
    assert {need["name"]: need["version"] for need in needs} == record["versions"]
    # The digests that aggregate left are those of the files.
    for name, digest in record["outputs"].items():
        if name.endswith(".csv"):
            assert found[f"results/{name}"]["sha256"] == digest


def test_files_are_there_with_their_checksums_and_no_pixel_was_copied(crate: Path) -> None:
    read = ROCrate(crate)
    files = [entity for entity in read.data_entities if "File" in entity.type]
    names = {unquote(entity.id) for entity in files}
    on_disk = {path.relative_to(crate).as_posix() for path in crate.rglob("*") if path.is_file()}
    assert names | {"ro-crate-metadata.json"} == on_disk
    assert {"README.md", "provenance/CITATION.cff", "provenance/workflow/rules/segment.smk", WORKFLOW} < names
    for entity in files:
        content = (crate / unquote(entity.id)).read_bytes()
        assert entity["sha256"] == hashlib.sha256(content).hexdigest()
        assert entity["contentSize"] == str(len(content))
    assert not [name for name in on_disk if ".zarr/" in name]
    assert read.mainEntity.id == WORKFLOW


def test_a_project_becomes_a_crate_once(measured: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = tmp_path / 'a "plate" é'
    shutil.copytree(measured.project, project)
    before = {path for path in project.rglob("*") if path.is_file()}
    assert invoke(["export", "rocrate", str(project)]) == 0
    new = {path.relative_to(project).parts[0] for path in set(project.rglob("*")) - before if path.is_file()}
    assert new == {"ro-crate-metadata.json", "provenance"}
    read = ROCrate(project)
    assert read.license == "none was given; ask the owners of the data"
    datasets = {entity.id for entity in read.data_entities if entity.type == "Dataset"}
    assert {"raw/P1/", "results/P1/P1.zarr/"} < datasets
    for entity in read.data_entities:
        assert (project / unquote(entity.id)).exists(), entity.id
    capsys.readouterr()
    text = (project / "ro-crate-metadata.json").read_bytes()
    assert invoke(["export", "rocrate", str(project)]) == 2
    assert "is there; move it away, or give --output for a crate elsewhere" in capsys.readouterr().err
    assert (project / "ro-crate-metadata.json").read_bytes() == text


def test_results_beside_the_project(measured: Layout, tmp_path: Path) -> None:
    project = tmp_path / "p"
    shutil.copytree(measured.project, project)
    (project / "results").rename(tmp_path / "elsewhere")
    config = project / "config" / "config.yaml"
    config.write_text(config.read_text() + "results: ../elsewhere\n")
    assert invoke(["export", "rocrate", str(project), "--output", str(tmp_path / "o" / "crate")]) == 0
    # Nothing is written outside of the crate.
    assert [path.name for path in (tmp_path / "o").iterdir()] == ["crate"]
    assert (tmp_path / "o" / "crate" / "results" / "tables" / "wells.csv").is_file()
    assert invoke(["export", "rocrate", str(project)]) == 0
    table = graph(project)[(tmp_path / "elsewhere" / "tables" / "wells.csv").as_uri()]
    assert table["sha256"] == hashlib.sha256((tmp_path / "elsewhere" / "tables" / "wells.csv").read_bytes()).hexdigest()
