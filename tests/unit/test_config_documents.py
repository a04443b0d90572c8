"""The template, the page of settings and the JSON Schemas agree with the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from lysoquant.cells.params import CellsParams
from lysoquant.channels import Channels
from lysoquant.config import Config, PlateSource, load_config, read_plates, read_wells
from lysoquant.config.document import config_schema, documents, plates_schema, wells_schema, write_documents
from lysoquant.config.load import load_project
from lysoquant.config.settings import settings_of
from lysoquant.config.template import EXAMPLE_CHANNELS, render_config, render_plates, render_wells, yaml_scalar
from lysoquant.config.yaml_text import parse_yaml
from lysoquant.convert.params import ConvertParams
from lysoquant.measure.params import MeasureParams
from lysoquant.report.params import ReportParams

ROOT = Path(__file__).parents[2]
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
EXAMPLE = Config(channels=EXAMPLE_CHANNELS)


@pytest.mark.parametrize("name", sorted(documents()))
def test_generated_files_are_up_to_date(name: str) -> None:
    current = (ROOT / name).read_text(encoding="utf-8")
    assert current == documents()[name], "run `python -m lysoquant.config.document`"


def test_the_top_level_example_is_a_project(tmp_path: Path) -> None:
    write_documents(tmp_path)
    project = load_project(tmp_path)
    assert project.config == EXAMPLE
    assert list(project.plates) == ["demo"]
    assert [row.control for row in project.plate_map] == ["positive", "negative", "", ""]


def test_every_setting_is_spelled_out_and_explained() -> None:
    lines = render_config(EXAMPLE).splitlines()
    for setting in settings_of(Config):
        indent = "  " * (len(setting.key) - 1)
        at = [i for i, line in enumerate(lines) if line.startswith(f"{indent}{setting.key[-1]}:")]
        assert at, setting.dotted
        assert all(lines[i - 1].startswith(f"{indent}# ") for i in at), setting.dotted
    assert max(map(len, lines)) <= 120


def test_every_setting_is_on_the_page() -> None:
    page = documents()["config/README.md"]
    missing = [s.dotted for s in settings_of(Config) if s.section is None and f"| `{s.dotted}` | " not in page]
    assert missing == []
    assert '| `convert.ngff_version` | `"0.5"` | one of `"0.4"`, `"0.5"` |' in page
    assert "| `channels.lysosome` | needed | text |" in page


@settings(max_examples=25, deadline=None)
@given(
    labels=st.lists(TEXT.filter(str.strip), min_size=3, max_size=3, unique=True),
    title=TEXT,
    area=st.floats(0, 1e300),
    z=st.one_of(st.just("projection"), st.integers(1, 10**9)),
)
def test_a_rendered_configuration_loads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], title: str, area: float, z: Any
) -> None:
    config = Config(
        channels=Channels(lysosome=labels[0], cargo=labels[1], nucleus=labels[2]),
        convert=ConvertParams(z=z),
        cells=CellsParams(path='a b\'s "c" # d: e/{well}.zip'),
        measure=MeasureParams(min_area_um2=area),
        report=ReportParams(title=title),
    )
    target = tmp_path_factory.mktemp("render") / "config.yaml"
    target.write_text(render_config(config), encoding="utf-8", newline="")
    assert load_config(target) == config


@pytest.mark.parametrize(
    "value", ["no", "null", "1e3", "0.5", "12:30", "a: b", "#x", "", "it's", "a\nb", "é", "~", "<<", None, 3, 0.1, True]
)
def test_a_scalar_means_itself_to_us_and_to_other_readers(value: object) -> None:
    text = f"key: {yaml_scalar(value)}\n"
    assert text.count("\n") == 1
    assert parse_yaml(text, name="x").value == {"key": value}
    assert yaml.safe_load(text) == {"key": value}


def test_sheets_render_and_read_back(tmp_path: Path) -> None:
    source = PlateSource(
        plate="p1",
        path='/data/it\'s "here"',
        format="tiff",
        pattern=r"(?P<well>\w+)_(?P<field>\d).tif",
        pixel_size_um=1e-1,
    )
    (tmp_path / "plates.tsv").write_text(render_plates([source]))
    assert read_plates(tmp_path / "plates.tsv", project=tmp_path) == {"p1": source}
    (tmp_path / "wells.tsv").write_text('well,condition,dose\nA1,"5"" x, y",3\nA2,,\n')
    rows = read_wells(tmp_path / "wells.tsv", plates=["p1"])
    (tmp_path / "back.tsv").write_text(render_wells(rows))
    assert read_wells(tmp_path / "back.tsv", plates=["p1"]) == rows
    assert (rows[0].condition, rows[0].extra) == ('5" x, y', {"dose": "3"})


ROLES = {"lysosome": "a", "cargo": "b", "nucleus": "c"}
GOOD: list[dict[str, Any]] = [
    {"channels": ROLES},
    {"channels": {**ROLES, "nucleus": None}, "cells": {"method": "field"}},
    {"channels": ROLES, "convert": {"z": 3, "ngff_version": "0.4"}, "measure": {"min_area_um2": 0}},
    json.loads(EXAMPLE.model_dump_json()),
]
BAD: list[Any] = [
    {},
    [],
    {"channels": ROLES, "mesure": {}},
    {"channels": {**ROLES, "lysosome": 1}},
    {"channels": {**ROLES, "extra": "d"}},
    {"channels": ROLES, "convert": {"z": "all"}},
    {"channels": ROLES, "convert": {"z": 0}},
    {"channels": ROLES, "convert": {"ngff_version": 0.5}},
    {"channels": ROLES, "convert": {"chunk_px": 63}},
    {"channels": ROLES, "segment": {"tile_px": 500}},
    {"channels": ROLES, "segment": {"foreground_threshold": 1}},
    {"channels": ROLES, "segment": {"allow_untested_pixel_size": 1}},
    {"channels": ROLES, "execution": {"wells_per_job": {"cells": 0}}},
    {"channels": ROLES, "execution": {"dask": {"scheduler": None}}},
    {"channels": ROLES, "results": ""},
]


@pytest.mark.parametrize(("value", "good"), [*((v, True) for v in GOOD), *((v, False) for v in BAD)])
def test_the_schema_agrees_with_the_models(value: Any, good: bool) -> None:
    Draft202012Validator.check_schema(config_schema())
    assert Draft202012Validator(config_schema()).is_valid(value) is good
    try:
        Config.model_validate_json(json.dumps(value))
        accepted = True
    except ValidationError:
        accepted = False
    assert accepted is good


@pytest.mark.parametrize(
    ("schema", "value", "good"),
    [
        (plates_schema(), {"plate": "p1", "path": "x", "format": "tiff", "pixel_size_um": 0.1}, True),
        (plates_schema(), {"plate": "../p", "path": "x", "format": "tiff"}, False),
        (plates_schema(), {"plate": "p1", "path": "x", "format": "czi"}, False),
        (plates_schema(), {"plate": "p1", "path": "x", "format": "tiff", "colour": "red"}, False),
        (wells_schema(), {"plate": "p1", "well": "b3", "condition": "<b>", "replicate": "2", "dose": "1"}, True),
        (wells_schema(), {"plate": "p1", "well": "AF48"}, True),
        (wells_schema(), {"plate": "p1", "well": "AG01"}, False),
        (wells_schema(), {"plate": "p1", "well": "B49"}, False),
        (wells_schema(), {"plate": "p1", "well": "B03", "control": "neutral"}, False),
        (wells_schema(), {"plate": "p1", "well": "B03", "replicate": "one"}, False),
    ],
)
def test_the_sheets_have_schemas_too(schema: dict[str, Any], value: Any, good: bool) -> None:
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid(value) is good
