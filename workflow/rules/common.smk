import re
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from lysoquant.config import load_project
from lysoquant.errors import LysoquantError
from lysoquant.project.inventory import plan_project, prune
from lysoquant.project.run import command_prefix
from lysoquant.source import source_digest

if config:
    raise WorkflowError(
        f"--config {', '.join(config)} has no effect here; edit config/config.yaml"
    )

try:
    # Jobs on a cluster trust the records that the main process has just brought up to date.
    plan = plan_project(load_project(Path.cwd()), refresh=workflow.is_main_process)
    MODEL_SHA256 = plan.model_sha256
except LysoquantError as error:
    raise WorkflowError(str(error)) from None

project, layout = plan.project, plan.project.layout

# One job at a time on the GPU; nothing of the sort where there is none.
GPU = {"gpu": 1} if project.config.execution.device == "cuda" else {}

with_conda = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
# Snakemake formats the prefix, so its own braces are doubled.
shell.prefix(command_prefix(conda=with_conda).replace("{", "{{").replace("}", "}}"))


def either(names):
    """A wildcard constraint: one of these names, so that a typo is a missing rule and never a stray file."""
    return "|".join(map(re.escape, names))


def record(stage):
    """The pattern of a batch stage's records."""
    return plan.path(layout.batch_record("{plate}", stage, "{batch}"))


def log_file(stage):
    """The pattern of a batch stage's logs."""
    return plan.path(layout.log(stage, "{plate}.{batch}"))


def upstream(stage):
    """Input function: the records that a batch waits for."""
    return lambda wildcards: [
        plan.path(path)
        for path in plan.upstream_records(stage, wildcards.plate, wildcards.batch)
    ]


def wells(stage):
    """Params function: the wells of a batch."""
    return lambda wildcards: ",".join(
        plan.batch(stage, wildcards.plate, wildcards.batch).wells
    )


def settings(stage):
    """Params function: all settings of a stage as JSON."""
    return lambda wildcards: project.settings_json(stage, wildcards.plate)


wildcard_constraints:
    plate=either(plan.plates),
