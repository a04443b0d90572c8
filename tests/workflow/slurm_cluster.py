"""A real SLURM of two nodes on this host: munge, the controller and two node daemons, all on loopback, as children.

Debian's packages slurmctld, slurmd, slurm-client and munge; it must run as root. No accounting, no cgroup.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

ETC = Path("/etc/slurm")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
NODES = ("n1", "n2")
CONTROLLER_PORT = 36817

CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
EnforcePartLimits=ALL
GresTypes=gpu
ReturnToService=2
MinJobAge=600
KillWait=2
BatchStartTimeout=60
MessageTimeout=60
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=8 RealMemory=32000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=8 RealMemory=32000 Gres=gpu:1 State=UNKNOWN
PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=1-0 State=UP
PartitionName=gpu Nodes=n2 MaxTime=1-0 State=UP
"""
# Nodes declare more than the host has; a GPU wants a device file, and any will do.
GRES = "NodeName=n2 Name=gpu File=/dev/null\n"


def why_not() -> str | None:
    """Why no SLURM can be started here."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: slurmctld slurmd slurm-client munge)"
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root only"
    if (ETC / "slurm.conf").exists():
        return f"{ETC / 'slurm.conf'} is there: this host belongs to a cluster"
    return None


@contextmanager
def cluster_or_skip(module: str, package: str) -> Iterator[Cluster]:
    """A running SLURM; without one, or without the module, the test is skipped, or fails where one is required."""
    reason = why_not()
    if find_spec(module) is None:
        reason = f"{package} is not installed"
    if reason is not None:
        if os.environ.get("LYSOQUANT_REQUIRE_SLURM") == "1":
            pytest.fail(f"{reason}, and LYSOQUANT_REQUIRE_SLURM is 1")
        pytest.skip(reason)
    with Cluster() as running:
        yield running


class Cluster:
    """SLURM for the time of a ``with``."""

    def __init__(self) -> None:
        # A short path: sockets have no room for a long one.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._links: list[Path] = []

    def __enter__(self) -> Self:
        try:
            self._configure()
            self._start()
            self._wait_for_nodes()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _configure(self) -> None:
        ports = {"port": CONTROLLER_PORT, "first": CONTROLLER_PORT + 1, "second": CONTROLLER_PORT + 2}
        host = socket.gethostname().split(".")[0]
        self.folder.chmod(0o755)
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        (self.folder / "slurm.conf").write_text(CONF.format(folder=self.folder, host=host, **ports))
        (self.folder / "gres.conf").write_text(GRES)
        ETC.mkdir(exist_ok=True)
        # SLURM_CONF would not do: the executor clears SLURM_* before the srun inside a job.
        for name in ("slurm.conf", "gres.conf"):
            (ETC / name).unlink(missing_ok=True)
            (ETC / name).symlink_to(self.folder / name)
            self._links.append(ETC / name)

    def _start(self) -> None:
        folder = self.folder
        files = {
            "key-file": "munge.key",
            "socket": "munge.sock",
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "munge.seed",
        }
        self._daemon("munged", "--foreground", "--force", *(f"--{key}={folder / name}" for key, name in files.items()))
        _wait((folder / "munge.sock").exists, "munged")
        self._daemon("slurmctld", "-D")
        for node in NODES:
            self._daemon("slurmd", "-D", "-N", node)

    def _daemon(self, *command: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        self._daemons.append(
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        )

    def _wait_for_nodes(self) -> None:
        _wait(lambda: set(ask("sinfo", "-h", "-N", "-o", "%T").split()) == {"idle"}, f"the nodes, see {self.folder}")

    def _stop(self) -> None:
        if self._links:
            ask("scancel", "--user", "root")
            time.sleep(1)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for link in self._links:
            link.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def ask(*command: str) -> str:
    """What a command of SLURM answers; empty where it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def _wait(there: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not there():
        if time.monotonic() > until:
            raise TimeoutError(f"no sign of {what} in {seconds:.0f} s")
        time.sleep(0.1)
