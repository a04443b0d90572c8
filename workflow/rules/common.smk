import re
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from lysoquant.config import load_project
from lysoquant.errors import LysoquantError
from lysoquant.project.inventory import drop_unfinished, plan_project, prune
from lysoquant.project.lock import hold_as_snakemake
from lysoquant.project.pilot import plan_pilot
from lysoquant.project.profile import cut_by_config
from lysoquant.project.resources import job_memory_mb, job_runtime_min
from lysoquant.project.command import command_prefix
from lysoquant.source import source_digest

# Wells of a pilot (`lysoquant run --pilot`); a profile may say how many wells a job takes, and nothing else may be here.
pilot = config.pop("pilot", None)

try:
    # Jobs on a cluster trust the records that the main process has just brought up to date.
    project = cut_by_config(load_project(Path.cwd()), config)
    refresh = workflow.is_main_process
    if refresh:
        hold_as_snakemake(project.layout)
    if pilot is None:
        plan = plan_project(project, refresh=refresh)
    else:
        plan = plan_pilot(project, str(pilot), refresh=refresh)
    if refresh:
        drop_unfinished(plan)
    MODEL_SHA256 = plan.model_sha256
except LysoquantError as error:
    raise WorkflowError(str(error)) from None

project, layout = plan.project, plan.project.layout

# One GPU a job, on the partition that a cluster's profile names; nothing of the sort where there is none.
GPU = {"gpu": 1} if project.config.execution.device == "cuda" else {}
_partition = (workflow.resource_settings.default_resources or {}).get(
    "slurm_gpu_partition"
)
if GPU and _partition is not None:
    GPU["slurm_partition"] = getattr(_partition, "raw", _partition).strip("'\"")

with_conda = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
# Snakemake formats the prefix, so its own braces are doubled.
shell.prefix(
    command_prefix(conda=with_conda, pilot=pilot).replace("{", "{{").replace("}", "}}")
)


def either(names):
    """A wildcard constraint: one of these names, so that a typo is a missing rule and never a stray file."""
    return "|".join(map(re.escape, names))


def batches(stage):
    """The wildcard constraint of a stage's batches. A job has its target: it need not cut every plate for this."""
    return either(plan.batch_names(stage)) if workflow.is_main_process else "[^/]+"


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


def source(stage):
    """Params function: digest of a stage's source; in a job only that of its own stage is made."""
    return lambda wildcards: source_digest(stage)


def threads_of(stage):
    """Threads function; which executor there is is known only when the jobs are planned."""

    def number(wildcards):
        here = workflow.is_main_process and workflow.local_exec
        return plan.threads(stage, cores=workflow.cores if here else None)

    return number


def gpu(stage):
    """What a job that runs a network asks for besides, where there are GPUs."""
    return GPU if stage in plan.networks else {}


def environment(stage):
    """The conda environment of a stage's jobs."""
    return "../../envs/cuda.yaml" if gpu(stage) else "../../envs/cpu.yaml"


def memory(stage):
    """Resources function: memory of a batch's job, MB."""
    return lambda wildcards, threads, attempt: job_memory_mb(
        plan.needs(stage),
        n_wells=len(plan.batch(stage, wildcards.plate, wildcards.batch).wells),
        threads=threads,
        attempt=attempt,
    )


def run_time(stage):
    """Resources function: run-time limit of a batch's job, minutes."""

    def minutes(wildcards, threads, attempt):
        batch = plan.batch(stage, wildcards.plate, wildcards.batch)
        return job_runtime_min(
            plan.needs(stage),
            n_wells=len(batch.wells),
            n_fields=sum(plan.n_fields[wildcards.plate][well] for well in batch.wells),
            threads=threads,
            attempt=attempt,
            n_cargoes=len(plan.project.config.channels.cargoes),
        )

    return minutes


wildcard_constraints:
    plate=either(plan.plates),
