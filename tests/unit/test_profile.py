"""Profiles of the workflow: how many wells they put into a job."""

from __future__ import annotations

from pathlib import Path

import pytest

from lysoquant.channels import Channels
from lysoquant.config import Config, Execution, Project, WellsPerJob
from lysoquant.errors import ConfigError
from lysoquant.layout import Layout
from lysoquant.project.command import profile_folder
from lysoquant.project.profile import cut_by_config, cut_by_profile, profile_settings
from lysoquant.vocabulary import BATCH_STAGES


@pytest.fixture
def project(layout: Layout) -> Project:
    config = Config(
        channels=Channels(lysosome="L", cargo="C", nucleus="N"),
        execution=Execution(wells_per_job=WellsPerJob(convert=3, segment=5)),
    )
    return Project(layout=layout, config=config, plates={}, plate_map=())


def sizes(project: Project) -> dict[str, int]:
    return project.config.execution.wells_per_job.model_dump()


def test_a_profile_goes_before_the_project_stage_by_stage(project: Project, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("jobs: 3\nconfig:\n  wells_per_job: {segment: 48, measure: 24}\n")
    cut = cut_by_profile(project, tmp_path)
    assert sizes(cut) == {"convert": 3, "cells": 16, "segment": 48, "measure": 24}
    assert cut.config.model_copy(update={"execution": project.config.execution}) == project.config


def test_snakemake_hands_numbers_on_as_text(project: Project) -> None:
    assert sizes(cut_by_config(project, {"wells_per_job": {"segment": "48"}}))["segment"] == 48


def test_without_a_word_of_it_the_project_stays_as_it_is(project: Project) -> None:
    assert cut_by_config(project, {}) is project
    assert cut_by_profile(project, profile_folder(None)) is project


def test_the_slurm_profile_names_every_stage() -> None:
    assert tuple(profile_settings(profile_folder("slurm"))["config"]["wells_per_job"]) == BATCH_STAGES


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"wells_per_job": {"segment": 0}}, "--config: wells_per_job: segment: found '0', expected a whole number"),
        ({"wells_per_job": {"segment": "2.5"}}, "segment: found '2.5', expected a whole number, at least 1"),
        ({"wells_per_job": {"segment": True}}, "segment: found 'True', expected a whole number, at least 1"),
        ({"wells_per_job": {"segmant": 4}}, "segmant"),
        ({"wells_per_job": 12}, "found 12, expected a mapping of settings"),
        ({"measure": 1, "wells_per_job": {}}, "--config measure has no effect here; edit config/config.yaml"),
        (["wells_per_job=3"], "expected wells_per_job with wells in one job by stage"),
    ],
)
def test_anything_else_is_refused_in_one_line(project: Project, config: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cut_by_config(project, config)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
