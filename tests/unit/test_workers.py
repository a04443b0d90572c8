"""Workers of every kind give results in order; what goes wrong is one line with the way out."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lysoquant.errors import StageError
from lysoquant.workers import pool, slurm
from lysoquant.workers.params import DaskSettings, SlurmWorkers
from lysoquant.workers.pool import workers
from lysoquant.workers.processes import Processes

SLURM = DaskSettings(scheduler="slurm")


def double(number: int) -> int:
    return 2 * number


def end_the_process(number: int) -> int:
    os._exit(number)


def opened(settings: DaskSettings, tmp_path: Path, *, cores: int = 1) -> Any:
    return workers(settings, cores=cores, logs=tmp_path / "logs")


@pytest.fixture
def address() -> Iterator[str]:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=3, processes=False, dashboard_address=None) as running:
        yield str(running.scheduler_address)


@pytest.mark.parametrize(("scheduler", "cores", "n_workers", "n_ahead"), [
    ("processes", 1, 1, 1), ("processes", 2, 2, 8), ("threads", 2, 2, 8)
])  # fmt: skip
def test_results_come_in_the_order_of_the_tasks(
    scheduler: str, cores: int, n_workers: int, n_ahead: int, tmp_path: Path
) -> None:
    with opened(DaskSettings(scheduler=scheduler), tmp_path, cores=cores) as ready:
        assert (ready.n_workers, ready.n_ahead) == (n_workers, n_ahead)
        assert ready.map(double, range(9)) == [2 * number for number in range(9)]
        assert ready.map(double, []) == []
    assert not (tmp_path / "logs").exists()


def slow(number: int) -> tuple[int, int]:
    began = time.thread_time()
    while time.thread_time() - began < 0.02:
        pass
    return number, os.getpid()


@pytest.mark.parametrize(("n_tasks", "pays"), [(8, False), (400, True)])
def test_processes_are_started_once_what_is_left_pays_for_them(n_tasks: int, pays: bool) -> None:
    """400 tasks of 0.02 s are 4 s in two processes and 8 s here; 8 are done before a process has started."""
    with Processes(2, preload=[__name__], n_tasks=n_tasks) as processes:
        numbers, pids = zip(*processes.map(slow, range(8)), strict=True)
        assert processes.started is pays
    assert numbers == tuple(range(8))
    # The first task is always done here: it tells how long the others will take.
    assert [pid == os.getpid() for pid in pids] == [True] + [not pays] * 7


def test_processes_import_the_module_of_the_tasks_once(tmp_path: Path) -> None:
    """Each import of the module leaves a line; processes that were imported one by one would leave three."""
    (tmp_path / "tasks.py").write_text(
        f"import os\nwith open({str(tmp_path / 'imports')!r}, 'a') as lines:\n    lines.write(f'{{os.getpid()}}\\n')\n"
        "def own(number):\n    import time; time.sleep(0.1); return os.getpid()\n"
    )
    code = (
        "from lysoquant.workers.processes import Processes\nimport tasks\n"
        "with Processes(3, preload=['tasks'], n_tasks=None) as pool: print(*pool.map(tasks.own, range(30)))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(pool.__file__).parents[2])])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert len(set(done.stdout.split())) > 1
    assert len((tmp_path / "imports").read_text().splitlines()) == 2  # here, and in the helper that is copied


def test_a_running_scheduler_is_used_and_left_running(address: str, tmp_path: Path) -> None:
    for _ in range(2):
        with opened(DaskSettings(scheduler=address), tmp_path) as ready:
            assert (ready.n_workers, ready.n_ahead) == (3, 12)
            assert ready.map(double, [3, 1]) == [6, 2]


def test_a_scheduler_that_does_not_answer_is_an_error_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pool, "_CONNECT_S", 0.2)
    with (
        pytest.raises(StageError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 .*start one, or set"),
        opened(DaskSettings(scheduler="tcp://127.0.0.1:9"), tmp_path),
    ):
        pass


def test_a_process_that_ends_in_the_middle_of_its_work_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(StageError, match=r"a worker ended in the middle of its work .*if it ran out of memory") as error,
        opened(DaskSettings(), tmp_path, cores=2) as ready,
    ):
        ready.map(end_the_process, [3, 3])
    assert "\n" not in str(error.value)


def test_slurm_without_dask_jobqueue_or_sbatch_names_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(slurm, "find_spec", lambda name: name)
    with pytest.raises(StageError, match="there is no sbatch here; run on a host of"), opened(SLURM, tmp_path):
        pass
    monkeypatch.setattr(slurm, "find_spec", lambda name: None)
    with (
        pytest.raises(StageError, match=r"dask-jobqueue is not installed; install lysoquant\[slurm\]"),
        opened(SLURM, tmp_path),
    ):
        pass


def fake(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_job_that_slurm_refuses_and_one_that_never_begins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs in place of SLURM's: one that says no, then one that says yes and starts nothing."""
    pytest.importorskip("dask_jobqueue")
    programs = tmp_path / "programs"
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    fake(programs, "sbatch", "sys.exit('sbatch: error: invalid partition specified: nine')")
    fake(programs, "squeue", "print('PENDING Resources')")
    fake(programs, "scancel", f"open({str(tmp_path / 'cancelled')!r}, 'a').write(' '.join(sys.argv[1:]) + ' ')")
    few = SlurmWorkers(jobs=2, partition="nine", host="127.0.0.1", wait_min=0.01, runtime_min=90, memory_mb=1500)
    settings = DaskSettings(scheduler="slurm", slurm=few)
    with (
        pytest.raises(
            StageError, match=r"SLURM takes no job of a Dask worker \(sbatch: error: invalid partition"
        ) as no,
        opened(settings, tmp_path),
    ):
        pass
    assert "\n" not in str(no.value)
    kept = tmp_path / "scripts"
    kept.mkdir()
    logs = tmp_path / 'a "b" 100% $c'
    output = f"--output={str(logs).replace('%', '%%')}/lysoquant-dask-%j.log"
    fake(
        programs,
        "sbatch",
        f"import os, pathlib, shutil; n = len(os.listdir({str(kept)!r})); "
        f"shutil.copy(sys.argv[-1], {str(kept)!r} + f'/{{n}}'); "
        f"assert sys.argv[1:-1] == [{output!r}]; print(f'Submitted batch job {{17 + n}}')",
    )
    with (
        pytest.raises(
            StageError, match=r"no Dask worker came from SLURM in 0\.01 min \(PENDING Resources\); look into"
        ),
        workers(settings, cores=1, logs=logs),
    ):
        pass
    script = (kept / "0").read_text()
    for line in ("-p nine", "--mem=1500M", "-t 90", "--cpus-per-task=1", "-J lysoquant-dask"):
        assert f"#SBATCH {line}\n" in script
    assert logs.is_dir()
    assert {"17", "18"} <= set((tmp_path / "cancelled").read_text().split())


@pytest.mark.parametrize("hostile", ["cpu\n#SBATCH --wrap=x", "a b", "$(id)", "", "'"])
def test_what_goes_into_a_job_script_is_a_plain_name(hostile: str) -> None:
    for key in ("partition", "account", "interface", "host"):
        with pytest.raises(ValidationError, match=key):
            SlurmWorkers.model_validate({key: hostile})


def test_an_unknown_scheduler_is_refused() -> None:
    with pytest.raises(ValidationError, match="scheduler"):
        DaskSettings(scheduler="process")


def test_the_settings_of_the_workers_need_no_dask() -> None:
    code = "import sys, lysoquant.workers.params; print('dask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
