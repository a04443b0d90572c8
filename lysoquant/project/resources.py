"""Memory and run time that a job asks a cluster for. They change no result and start nothing again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

THREADS: Final[Mapping[str, int]] = {"convert": 4, "cells": 4, "segment": 8, "measure": 8}
"""Processor cores of a stage's job, fewer where a run has fewer."""


def local_threads(stage: str, *, cores: int, n_jobs: int) -> int:
    """Threads of a job on this host, where the jobs of a stage lie side by side before they get threads of their own.

    A job starts and ends in one thread, and its wells share one interpreter: two jobs of a thread each are done before
    two of two threads, one after the other. What runs a network keeps its threads: each job holds a network.

    Parameters
    ----------
    cores : int
        That the run may take.
    n_jobs : int
        Of the stage in the whole project.
    """
    return max(1, min(THREADS[stage], cores // max(1, n_jobs)))


@dataclass(frozen=True)
class Needs:
    """What a job of a stage needs, with room to spare.

    Attributes
    ----------
    base_mb : int
        The library, Snakemake within the job and, in segment, the network.
    thread_mb : int
        Each field that is held at a time, one a thread.
    start_min : int
        A cold start from a shared file system.
    field_min : float
        Minutes for each field, on one thread.
    """

    base_mb: int
    thread_mb: int
    start_min: int
    field_min: float


CELLPOSE: Final = "cells by Cellpose"
CELLPOSE_ON_GPU: Final = "cells by Cellpose on a GPU"
"""Names of further needs: of cells where a network finds them."""

NEEDS: Final[Mapping[str, Needs]] = {
    "convert": Needs(base_mb=2000, thread_mb=500, start_min=10, field_min=0.5),
    "cells": Needs(base_mb=2000, thread_mb=750, start_min=10, field_min=1.0),
    CELLPOSE: Needs(base_mb=4000, thread_mb=1500, start_min=15, field_min=15.0),
    CELLPOSE_ON_GPU: Needs(base_mb=6000, thread_mb=750, start_min=15, field_min=1.0),
    "segment": Needs(base_mb=4000, thread_mb=1000, start_min=15, field_min=4.0),
    "measure": Needs(base_mb=2000, thread_mb=1000, start_min=10, field_min=2.0),
}
"""Chosen for fields of 2048 x 2048 pixels and a network without a GPU; a facility may say otherwise in its profile."""


def job_memory_mb(stage: str, *, n_wells: int, threads: int, attempt: int) -> int:
    """Memory of a job, MB: by as many wells as it holds at a time, and more at every further attempt.

    Raises
    ------
    KeyError
        If :data:`NEEDS` has no such stage.
    """
    needs = NEEDS[stage]
    # Wells lie side by side in memory, as many as there are threads; of one well's cells, the tiles of every thread do.
    at_a_time = threads if stage == "segment" else min(threads, n_wells)
    return attempt * (needs.base_mb + needs.thread_mb * at_a_time)


def job_runtime_min(stage: str, *, n_wells: int, n_fields: int, threads: int, attempt: int, n_cargoes: int = 1) -> int:
    """Run-time limit of a job, minutes: by its fields, and more at every further attempt.

    Parameters
    ----------
    n_wells, n_fields : int
        Of the whole batch.
    threads : int
        Wells of a batch run side by side in so many threads.
    attempt : int
        1 at the first attempt.
    n_cargoes : int
        Of the project; in segment each goes through the network.

    Raises
    ------
    KeyError
        If :data:`NEEDS` has no such stage.
    """
    needs = NEEDS[stage]
    side_by_side = max(1, min(threads, n_wells))
    passes = n_cargoes if stage == "segment" else 1
    return attempt * (needs.start_min + math.ceil(needs.field_min * passes * n_fields / side_by_side))
