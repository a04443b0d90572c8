"""config.yaml: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lysoquant.channels import Channels
from lysoquant.config import Config, Project, load_config, load_project, parse_settings
from lysoquant.config.load import SETTINGS
from lysoquant.errors import ConfigError
from lysoquant.vocabulary import STAGES

CHANNELS = "channels: {lysosome: LAMP1, cargo: SEC62, nucleus: DAPI}\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(written(folder, text))
    return str(caught.value).replace(f"{folder}/", "")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "config").mkdir()
    written(tmp_path / "config", CHANNELS + "results: out\nmeasure: {min_area_um2: 1}\n")
    (tmp_path / "config/plates.tsv").write_text(
        "plate\tpath\tformat\np2\traw/b\timagexpress\np1\t/data/a\timagexpress\n"
    )
    (tmp_path / "config/wells.tsv").write_text("plate\twell\tcondition\np1\tB3\twt\n")
    return load_project(tmp_path)


def test_a_short_file_has_every_default(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, CHANNELS))
    assert config == Config(channels=Channels(lysosome="LAMP1", cargo="SEC62", nucleus="DAPI"))
    assert (config.results, config.measure.min_area_um2, config.execution.wells_per_job.segment) == (
        "results",
        0.13,
        24,
    )


@pytest.mark.parametrize(
    "rest", ["", "aggregate: {confidence: 0.9}\n", "aggregate: {field_quality: {min_focus_score: 1}}\n"]
)
def test_a_setting_is_taken_by_its_old_name(tmp_path: Path, rest: str) -> None:
    config = load_config(written(tmp_path, CHANNELS + "convert: {z: max, max_saturated_fraction: 0.25}\n" + rest))
    assert config.aggregate.field_quality.max_saturated_fraction == 0.25
    assert config.convert.z == "max"
    plain = load_config(written(tmp_path, CHANNELS + "convert: {z: max}\n" + rest))
    assert config.convert == plain.convert
    assert config.aggregate.confidence == plain.aggregate.confidence


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aggregate: {field_quality: {max_saturated_fraction: 1}}", "is called aggregate.field_quality.max_saturated_"),
        ("aggregate: 7", "aggregate: found 7"),
        ("aggregate: {field_quality: []}", "aggregate.field_quality: found []"),
    ],
)
def test_an_old_name_beside_the_new_one_or_a_wrong_section_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, CHANNELS + "convert: {max_saturated_fraction: 0.25}\n" + text)


def test_a_byte_order_mark_and_crlf_do_no_harm(tmp_path: Path) -> None:
    text = "\ufeff" + CHANNELS.replace("\n", "\r\n") + "results: x\r\n"
    assert load_config(written(tmp_path, text)).results == "x"


def test_a_whole_number_serves_where_a_number_is_expected(tmp_path: Path) -> None:
    area = load_config(written(tmp_path, CHANNELS + "measure: {min_area_um2: 1}")).measure.min_area_um2
    assert (area, type(area)) == (1.0, float)


def test_a_date_stays_text(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, CHANNELS + "results: 2020-01-01")).results == "2020-01-01"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mesure: {}", "config.yaml:2: unknown key 'mesure' (did you mean 'measure'?); expected one of"),
        ("measure: {min_area: 1}", "unknown key 'measure.min_area' (did you mean 'min_area_um2'?)"),
        ("min_area_um2: 1", "unknown key 'min_area_um2' (did you mean 'measure.min_area_um2'?)"),
        (
            "convert:\n  ngff_version: 0.5",
            "config.yaml:3: convert.ngff_version: found 0.5, expected one of '0.4', '0.5'; put",
        ),
        (
            "convert: {z: yes}",
            "found true, expected one of 'projection', 'max', 'sharpest', 'each' or a whole number, at least 1",
        ),
        (
            "convert: {z: 0}",
            "convert.z: found 0, expected one of 'projection', 'max', 'sharpest', 'each' or a whole number, at least 1",
        ),
        ("convert: {chunk_px: 512.0}", "convert.chunk_px: found 512.0, expected a whole number"),
        ("convert: {chunk_px: true}", "convert.chunk_px: found true, expected a whole number"),
        ("convert: [1]", "convert: found [1], expected a section of settings"),
        ("measure: {rim_width_um: 1e-3}", "found '1e-3', expected a number, greater than 0; write 0.001"),
        ("on_bad_field: ignore", "on_bad_field: found 'ignore', expected one of 'flag', 'fail'"),
        ("results: ''", "results: found '', expected text, not empty"),
        (
            "execution: {wells_per_job: {segment: 0}}",
            "wells_per_job.segment: found 0, expected a whole number, at least 1",
        ),
        ("execution: {wells_per_job: 3}", "execution.wells_per_job: found 3, expected a section"),
        ("measure: {min_area_um2: .inf}", "'.inf' is not a finite number"),
        ("measure: {min_area_um2: .nan}", "'.nan' is not a finite number"),
        ("results: a\nresults: b", "config.yaml:3: key 'results' occurs twice"),
        ("measure: {min_area_um2: 1, min_area_um2: 2}", "key 'measure.min_area_um2' occurs twice"),
        ("? [a]\n: 1", "a key that is not text"),
        ("1: a", "a key that is not text"),
        ("cells: {method: rois}", "config.yaml:2: cells: method 'rois' needs `path`"),
        ("segment: {overlap_px: 512}", "segment.overlap_px is 512 and segment.tile_px is 1024"),
        (
            "aggregate: {combinations: {both: SEC62 and LC3}}",
            "aggregate.combinations.both: 'SEC62 and LC3' names 'LC3'; expected cargoes of this project, 'SEC62'",
        ),
        ("aggregate: {combinations: {both: SEC62 &}}", "aggregate.combinations.both: 'SEC62 &' is no combination"),
        ("aggregate: {combinations: [SEC62]}", 'aggregate.combinations: found ["SEC62"], expected text by name'),
        ("aggregate: {combinations: {both: 1}}", 'aggregate.combinations: found {"both": 1}, expected text by name'),
        ("results: {", "config.yaml:2: "),
        ("results: \x00", "config.yaml: unacceptable character"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(tmp_path: Path, text: str, message: str) -> None:
    told = refusal(tmp_path, CHANNELS + text)
    assert message in told
    assert told.startswith("config.yaml")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found nothing, expected a mapping of settings"),
        ("- a", 'found ["a"], expected a mapping of settings'),
        ("results: a", "channels is missing; expected a section of settings"),
        ("channels: {lysosome: a}", "channels.cargo is missing; expected text: Channel of the cargo"),
        ("channels: {lysosome: no, cargo: b}", "channels.lysosome: found false, expected text; put text in quotes"),
        ("channels: {lysosome: a, cargo: a, nucleus: c}", "channels.lysosome and channels.cargo are both 'a'"),
        ("channels: {lysosome: a, cargo: '', nucleus: c}", "channels.cargo is empty"),
        (
            "channels: {lysosome: a, cargo: b, nucleus: c, other_cargoes: [a]}",
            "channels.lysosome and channels.other_cargoes are both 'a'; expected a channel of its own for each role",
        ),
        (
            "channels: {lysosome: a, cargo: b, nucleus: c, other_cargoes: [d, d]}",
            "channels.other_cargoes and channels.other_cargoes are both 'd'",
        ),
        ("channels: {lysosome: a, cargo: b, nucleus: c, other_cargoes: ['']}", "channels.other_cargoes is empty"),
        (
            "channels: {lysosome: a, cargo: b, nucleus: c, other_cargoes: d}",
            "channels.other_cargoes: found 'd', expected a list of text",
        ),
        ("channels: {lysosome: a, cargo: b}", "cells.method is 'watershed' and channels.nucleus is null"),
        (b"\xff\xfea\x00", "byte 0 is not UTF-8"),
        (b"#" * (2**18 + 1), "larger than 262144 bytes"),
    ],
)
def test_a_file_without_its_channels_is_refused(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert message in refusal(tmp_path, text)


def test_every_problem_has_its_own_line(tmp_path: Path) -> None:
    lines = refusal(tmp_path, CHANNELS + "mesure: {}\nconvert: {chunk_px: 1}\nsegment: {batch_size: many}").split("\n")
    assert len(lines) == 3
    assert all(line.startswith("config.yaml:") for line in lines)


@pytest.mark.parametrize(
    "text",
    [
        "results: !!python/object/apply:os.system ['touch HACKED']",
        "results: !!python/name:os.system",
        "results: !!binary aGk=",
        "results: !!set {a}",
        "a: &a [x, x]\nb: [*a, *a]\nc: [*b]",
        "<<: {results: a}",
        "a: " + "[" * 100_000,
        "a: " + "{a: " * 1000,
        "measure: {min_area_um2: " + "9" * 10_000 + "}",
        "measure: {min_area_um2: 0x" + "f" * 10_000 + "}",
        "measure: {min_area_um2: 1" + ":59" * 50_000 + "}",
    ],
)
def test_hostile_yaml_is_refused_quickly_and_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    told = refusal(tmp_path, CHANNELS + text)
    assert "\n" not in told
    assert len(told) < 500
    assert not (tmp_path / "HACKED").exists()


def test_thousands_of_problems_are_not_all_told(tmp_path: Path) -> None:
    """Each is compared with every known key: 10,000 lines took seconds."""
    lines = refusal(tmp_path, CHANNELS + "".join(f"k{n}: 1\n" for n in range(10_000))).splitlines()
    assert lines[-1] == "config.yaml: and 9980 more; correct these first"
    assert len(lines) == 21


def test_an_absent_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file or directory; expected.*lysoquant init"):
        load_config(tmp_path / "config.yaml")


def test_a_project_is_loaded_whole(project: Project, tmp_path: Path) -> None:
    assert list(project.plates) == ["p1", "p2"]
    assert [row.well for row in project.plate_map] == ["B03"]
    assert project.layout.results == tmp_path / "out"
    assert project.raw_path("p1") == Path("/data/a")
    assert project.raw_path("p2") == tmp_path / "raw/b"


@pytest.mark.parametrize("stage", STAGES)
def test_settings_survive_the_way_through_json(project: Project, stage: str) -> None:
    settings = project.settings(stage, "p1")
    text = project.settings_json(stage, "p1")
    assert type(settings) is SETTINGS[stage]
    assert parse_settings(stage, text) == settings
    assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_a_stage_is_told_its_own_settings_only(project: Project, tmp_path: Path) -> None:
    before = {stage: project.settings_json(stage, "p1") for stage in STAGES}
    written(tmp_path / "config", CHANNELS + "results: out\nmeasure: {min_area_um2: 2}\n")
    after = {stage: load_project(tmp_path).settings_json(stage, "p1") for stage in STAGES}
    assert [stage for stage in STAGES if before[stage] != after[stage]] == ["measure", "report"]


CARGOES = "channels: {lysosome: LAMP1, cargo: SEC62, other_cargoes: [LC3], nucleus: DAPI}\n"
REST = "results: out\nmeasure: {min_area_um2: 1}\n"


@pytest.mark.parametrize(
    ("before", "after", "stages"),
    [
        (CHANNELS, CARGOES, ["segment", "measure", "aggregate", "report"]),
        (CARGOES, CARGOES + "aggregate: {combinations: {both: SEC62 and LC3}}\n", ["aggregate", "report"]),
        (
            CARGOES + "aggregate: {combinations: {both: SEC62 and LC3}}\n",
            CARGOES + "aggregate: {combinations: {both: SEC62 or LC3}}\n",
            ["aggregate", "report"],
        ),
    ],
)
def test_another_cargo_redoes_segment_and_a_combination_only_tables(
    project: Project, tmp_path: Path, before: str, after: str, stages: list[str]
) -> None:
    told = []
    for text in (before, after):
        written(tmp_path / "config", text + REST)
        told.append({stage: load_project(tmp_path).settings_json(stage, "p1") for stage in STAGES})
    assert [stage for stage in STAGES if told[0][stage] != told[1][stage]] == stages


def test_execution_changes_no_settings(project: Project, tmp_path: Path) -> None:
    before = [project.settings_json(stage, "p1") for stage in STAGES]
    text = "results: out\nmeasure: {min_area_um2: 1}\nexecution: {device: cpu, wells_per_job: {cells: 3}}\n"
    written(tmp_path / "config", CHANNELS + text)
    assert [load_project(tmp_path).settings_json(stage, "p1") for stage in STAGES] == before


def test_convert_is_told_its_plate(project: Project) -> None:
    assert json.loads(project.settings_json("convert", "p2"))["source"]["path"] == "raw/b"
    assert json.loads(project.settings_json("aggregate"))["cargo"] == "SEC62"
    for plate in (None, "p3"):
        with pytest.raises(ConfigError, match=r"expected one of 'p1', 'p2', as in config/plates.tsv"):
            project.settings("convert", plate)
    with pytest.raises(ConfigError, match="stage 'polish': expected one of 'convert'"):
        project.settings("polish")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": {"min_area_um2": -1}}, "params.min_area_um2: found -1, expected a number, at least 0"),
        ({"params": {"area": 1}}, "unknown key 'params.area'"),
        ({"channels": None}, "channels: found null, expected a section"),
        ({"on_bad_field": 1}, "on_bad_field: found 1, expected one of 'flag', 'fail'"),
    ],
)
def test_wrong_settings_name_the_key(project: Project, change: dict[str, object], message: str) -> None:
    text = json.dumps(json.loads(project.settings_json("measure")) | change)
    with pytest.raises(ConfigError) as caught:
        parse_settings("measure", text)
    assert str(caught.value).startswith("settings of measure: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": NaN', "null", "[]"])
def test_settings_that_are_no_json_object_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="settings of cells: "):
        parse_settings("cells", text)


def test_settings_are_finite_numbers(project: Project) -> None:
    text = project.settings_json("measure").replace('"min_area_um2":1.0', '"min_area_um2":1e999')
    with pytest.raises(ConfigError, match=r"params.min_area_um2"):
        parse_settings("measure", text)


def test_the_configuration_is_light_to_import() -> None:
    heavy = ("numpy", "torch", "zarr", "pandas", "dask", "scipy", "skimage", "snakemake")
    code = f"import sys, lysoquant.config, lysoquant.cli.init; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


class TestSecondFactorOfTheTests:
    def test_a_column_that_wells_tsv_lacks_is_refused_before_any_stage(self, project: Project) -> None:
        wells = project.layout.project / "config/wells.tsv"
        config = project.layout.project / "config/config.yaml"
        plain = config.read_text()
        config.write_text(plain + "aggregate:\n  statistics:\n    tests: [two_way_sidak]\n    second_factor: donor\n")

        with pytest.raises(
            ConfigError, match=r"second_factor is 'donor', no column of wells.tsv .*; expected one of plate, replicate$"
        ):
            load_project(project.layout.project)

        wells.write_text("plate\twell\tcondition\tdonor\np1\tB3\twt\ta\n")
        loaded = load_project(project.layout.project)
        assert loaded.config.aggregate.statistics.tests == ("two_way_sidak",)
        assert '"second_factor":"donor"' in loaded.settings_json("aggregate")
