"""One tiny job on each partition: does a node see the project, the raw plates and this very Python?"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import lysoquant
from lysoquant.errors import StageError
from lysoquant.project.doctor.finding import Finding, ok, problem, warning
from lysoquant.project.slurm import ask

_TOKEN_S: Final = 20
"""Seconds that a node waits for a fresh file: a network file system may show it late."""

_SCRIPT: Final = """
token=$1 wait=$2 python=$3 code=$4; shift 4
echo "node $(hostname)"
waited=0
while [ ! -r "$token" ] && [ "$waited" -lt "$wait" ]; do sleep 1; waited=$((waited + 1)); done
[ -r "$token" ] && echo "token $(cat "$token") $waited"
for path do [ -r "$path" ] || printf 'unseen %s\\n' "$path"; done
if [ -x "$python" ]; then "$python" -P -c "$code" 2>&1 || echo "python failed"; else printf 'unseen %s\\n' "$python"; fi
echo end
"""

_IMPORT: Final = "import lysoquant; print('lysoquant', lysoquant.__version__)"
_IMPORT_GPU: Final = f"{_IMPORT}; import torch; print('gpu', torch.cuda.is_available())"


def probe(
    partitions: Mapping[str | None, bool],
    *,
    project: Path,
    raw: Sequence[Path],
    account: str | None,
    seconds: float,
) -> Iterator[Finding]:
    """Ask a node of each partition what it sees; side by side, so that a busy cluster costs the waiting time once.

    Parameters
    ----------
    partitions : mapping of (str or None) to bool
        Partitions, each with whether a GPU is asked for.
    raw : sequence of pathlib.Path
        Files that jobs will read.
    seconds : float
        How long to wait for a job; one that has not ended by then is cancelled.
    """
    if shutil.which("srun") is None:
        yield warning("nodes", "srun is not on the PATH; no node was asked", "start runs where SLURM's commands are")
        return
    token = project / f".lysoquant-doctor-{uuid.uuid4().hex}"
    try:
        token.write_text(token.name, encoding="ascii")
    except OSError as error:
        yield warning("nodes", f"{project}: {error.strerror}; nothing was probed", "give permission to write there")
        return
    try:
        with ThreadPoolExecutor(max_workers=len(partitions) or 1) as pool:
            jobs = [
                pool.submit(_probe, name, gpu, token=token, raw=raw, account=account, seconds=seconds)
                for name, gpu in partitions.items()
            ]
            yield from (job.result() for job in jobs)
    finally:
        token.unlink(missing_ok=True)


def _probe(
    partition: str | None, gpu: bool, *, token: Path, raw: Sequence[Path], account: str | None, seconds: float
) -> Finding:
    check = f"node of {partition or 'the default partition'}"
    name = f"lysoquant-doctor-{uuid.uuid4().hex[:12]}"
    command = ["srun", "--ntasks=1", "--cpus-per-task=1", "--mem=2000", "--time=5", f"--job-name={name}", "--quiet"]
    command += [f"--partition={partition}"] if partition else []
    command += [f"--account={account}"] if account else []
    command += ["--gpus=1"] if gpu else []
    # The folder of the job is one that every node has: the project's own is what is asked about.
    command += ["--chdir=/", "sh", "-c", _SCRIPT, "sh", str(token.absolute()), str(_TOKEN_S), sys.executable]
    command += [_IMPORT_GPU if gpu else _IMPORT, *(str(path.absolute()) for path in raw)]
    # Inside a job these variables would make a step of that job.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SBATCH_"))}
    environment |= {key: os.environ[key] for key in ("SLURM_CONF",) if key in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys([str(Path(lysoquant.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    )
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    try:
        said, complained = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        said, complained = _cancel(process, name)
        if "node " not in said:
            return warning(
                check,
                f"could not be probed in {seconds:.0f} s: no node was free; the probe was cancelled",
                "nothing is wrong with a full cluster; to wait longer: --wait SECONDS",
            )
        return problem(
            check,
            f"the probe began ({' '.join(said.split())}) and did not end in {seconds:.0f} s; it was cancelled",
            "try again with --wait SECONDS; look at the node and its file system if it stays so",
        )
    if "end" not in said.splitlines():
        reason = " ".join(complained.split()) or f"srun ended with status {process.returncode}"
        return problem(check, f"the probe did not run: {reason}", "correct partition and account in the profile")
    return _verdict(check, said, token=token, gpu=gpu, has_raw=bool(raw))


def _cancel(process: subprocess.Popen[str], name: str) -> tuple[str, str]:
    """End the probe on the cluster and here; what it said until then."""
    with contextlib.suppress(StageError):
        ask("scancel", "--name", name)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        return process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()


def _verdict(check: str, said: str, *, token: Path, gpu: bool, has_raw: bool) -> Finding:
    lines = said.splitlines()
    told = {key: value for key, _, value in (line.partition(" ") for line in lines)}
    node = told.get("node", "?")
    seen, _, waited = told.get("token", "").partition(" ")
    unseen = [line.removeprefix("unseen ") for line in lines if line.startswith("unseen ")]
    share = "put it on a file system that all nodes see at the same path"
    if seen != token.name:
        return problem(check, f"{node} does not see a file just written in {token.parent}", share)
    if unseen:
        return problem(check, f"{node} does not see {', '.join(unseen)}", share)
    if told.get("lysoquant") != lysoquant.__version__:
        reason = " ".join(line for line in lines if not line.startswith(("node ", "token ", "end")))
        return problem(
            check,
            f"{sys.executable} on {node} can't import lysoquant {lysoquant.__version__}: {reason[-300:]}",
            "install it into an environment that all nodes see",
        )
    if gpu and told.get("gpu") != "True":
        return problem(
            check,
            f"a job with a GPU on {node} finds none by torch",
            "mend the node's driver or install the CUDA build of torch; jobs would fail and not use the processor",
        )
    late = f" (the fresh file after {waited} s)" if waited not in ("", "0") else ""
    plates = ", the raw plates" if has_raw else ""
    return ok(check, f"{node} sees {token.parent}{plates} and {sys.executable}{late}")
