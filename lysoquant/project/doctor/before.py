"""The quick and decisive checks that every run begins with: what would spoil its night."""

from __future__ import annotations

import sys

from lysoquant.errors import StageError
from lysoquant.project.batches import Plan
from lysoquant.project.doctor.folders import room
from lysoquant.project.forecast.jobs import room_needed


def check_before_run(plan: Plan, *, on_slurm: bool) -> None:
    """Refuse a run whose results find no room or whose GPU is not there; what is doubtful is said on standard error.

    Raises
    ------
    InputError
        If `execution.device` is cuda and this machine, which would run the network, has no GPU.
    StageError
        If the disk has not as many bytes or files left as the results will take.
    """
    if not on_slurm and plan.project.config.execution.device == "cuda":
        # Imported here: it needs torch, and there is nothing to check of other devices.
        from lysoquant.model.precision import choose_device

        choose_device("cuda")
    need = room_needed(plan)
    for found in room(plan.project.layout.results, need_bytes=need[0], need_files=need[1], is_rough=need[2]):
        if found.state == "problem":
            raise StageError(f"{found.check}: {found.seen}; {found.remedy}")
        if found.state == "warning":
            print(f"warning: {found.check}: {found.seen}; {found.remedy}", file=sys.stderr, flush=True)
