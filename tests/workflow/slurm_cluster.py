"""A real SLURM of four nodes on this host, all on loopback: munge, controller, node daemons and, if asked, accounting.

Debian's packages slurmctld, slurmd, slurm-client and munge, with accounting also slurmdbd, slurm-wlm-mysql-plugin and
mariadb-server; it must run as root. No cgroup. One cluster at a time on a host: a second one waits for the first.

Run as a program with a cluster's folder, it waits until its standard input ends and then removes that cluster. Every
cluster has such a watcher, so that one whose tests were killed leaves no daemon, no job and no link in /etc/slurm.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

ETC = Path("/etc/slurm")
PREFIX = "slurm-tests-"
MARK = "SLURM_TESTS_FOLDER"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
ACCOUNTING_PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "mariadb", "sacctmgr", "sacct")
NODES = ("n1", "n2", "n3", "n4")
ACCOUNT = "lab"
FIRST_PORT = 36817
WAIT_FOR_THE_HOST_S = 900.0

CONF = """\
ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
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
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
SlurmdParameters=config_overrides
EnforcePartLimits=ALL
GresTypes=gpu
ReturnToService=2
MinJobAge=600
KillWait=5
SlurmdTimeout=30
BatchStartTimeout=60
MessageTimeout=60
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=64 RealMemory=128000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=64 RealMemory=128000 Gres=gpu:1 State=UNKNOWN
NodeName=n3 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[3]} CPUs=64 RealMemory=128000 State=UNKNOWN
NodeName=n4 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[4]} CPUs=64 RealMemory=128000 State=UNKNOWN
PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=1-0 State=UP
PartitionName=gpu Nodes=n2 MaxTime=1-0 State=UP
PartitionName=frail Nodes=n3,n4 MaxTime=1-0 State=UP
"""
NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none\n"
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[5]}
AccountingStoragePass={folder}/munge.sock
AccountingStorageEnforce=associations
"""
DATABASE_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports[5]}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[6]}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
CommunicationParameters=NoInAddrAny
"""
# Nodes declare more than the host has; a GPU wants a device file, and any will do.
GRES = "NodeName=n2 Name=gpu File=/dev/null\n"
DATABASE_FILES = {"socket": "sock", "pid-file": "pid", "log-error": "log"}
FILES = ("slurm.conf", "gres.conf", "slurmdbd.conf")


def why_not(*, accounting: bool = False) -> str | None:
    """Why no SLURM can be started here."""
    programs = PROGRAMS + ACCOUNTING_PROGRAMS * accounting
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        more = " slurmdbd slurm-wlm-mysql-plugin mariadb-server" * accounting
        return f"{', '.join(missing)} not installed (Debian: slurmctld slurmd slurm-client munge{more})"
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root only"
    if os.path.lexists(ETC / "slurm.conf") and not any(_linked()):
        return f"{ETC / 'slurm.conf'} is there: this host belongs to a cluster"
    return None


@contextmanager
def cluster_or_skip(module: str, package: str, *, accounting: bool = False) -> Iterator[Cluster]:
    """A running SLURM; without one, or without the module, the test is skipped, or fails where one is required."""
    reason = why_not(accounting=accounting)
    if find_spec(module) is None:
        reason = f"{package} is not installed"
    if reason is not None:
        if os.environ.get("LYSOQUANT_REQUIRE_SLURM") == "1":
            pytest.fail(f"{reason}, and LYSOQUANT_REQUIRE_SLURM is 1")
        pytest.skip(reason)
    with Cluster(accounting=accounting) as running:
        yield running


def _linked() -> Iterator[Path]:
    """Folders of clusters of these tests that /etc/slurm points to."""
    for link in (ETC / name for name in FILES):
        if link.is_symlink() and link.readlink().parent.name.startswith(PREFIX):
            yield link.readlink().parent


class Cluster:
    """SLURM for the time of a ``with``.

    Parameters
    ----------
    accounting : bool
        With slurmdbd on a MariaDB and an account ``lab``; jobs of unknown accounts are refused.
    """

    def __init__(self, *, accounting: bool = False) -> None:
        # A short path: sockets have no room for a long one.
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.accounting = accounting
        self._commands: dict[str, list[str]] = {}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._watcher: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._take_the_host()
            self._configure()
            self._start_all()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._watcher is None:
            shutil.rmtree(self.folder)
            return
        self._watcher.communicate()
        for daemon in self._daemons.values():
            daemon.wait()

    def _take_the_host(self) -> None:
        """Wait until no other cluster runs, and remove what a killed one left."""
        ETC.mkdir(exist_ok=True)
        lock = os.open(ETC, os.O_RDONLY)
        try:
            _wait(lambda: _locks(lock), "the end of another cluster of these tests", seconds=WAIT_FOR_THE_HOST_S)
            for left in set(_linked()):
                remove(left)
            # The watcher holds the host too, until it has removed all.
            self._watcher = subprocess.Popen(
                [sys.executable, __file__, str(self.folder)],
                stdin=subprocess.PIPE,
                pass_fds=[lock],
                start_new_session=True,
            )
        finally:
            os.close(lock)

    def _configure(self) -> None:
        values = {
            "folder": self.folder,
            "name": self.folder.name.removeprefix(PREFIX),
            "host": socket.gethostname().split(".")[0],
            "ports": range(FIRST_PORT, FIRST_PORT + 7),
        }
        self.folder.chmod(0o755)
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o400)
        texts = {"slurm.conf": CONF + (ACCOUNTING if self.accounting else NO_ACCOUNTING), "gres.conf": GRES}
        if self.accounting:
            texts["slurmdbd.conf"] = DATABASE_CONF
        for name, text in texts.items():
            (self.folder / name).write_text(text.format(**values))
            (self.folder / name).chmod(0o600 if name == "slurmdbd.conf" else 0o644)
            # SLURM_CONF would not do: the executor clears SLURM_* before the srun inside a job.
            (ETC / name).symlink_to(self.folder / name)

    def _start_all(self) -> None:
        folder = self.folder
        files = {
            "key-file": "munge.key",
            "socket": "munge.sock",
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "munge.seed",
        }
        munged = ["munged", "--foreground", "--force", *(f"--{key}={folder / name}" for key, name in files.items())]
        self._start("munged", munged)
        _wait((folder / "munge.sock").exists, "munged")
        if self.accounting:
            self._start_accounting()
        self._start("slurmctld", ["slurmctld", "-D"])
        for node in NODES:
            self._start(node, ["slurmd", "-D", "-N", node])
        self.wait_for_nodes()

    def _start_accounting(self) -> None:
        folder, port = self.folder, FIRST_PORT + 6
        database = ["--no-defaults", "--user=root", f"--datadir={folder / 'db'}"]
        install = ["mariadb-install-db", *database, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(install, check=True, capture_output=True)
        places = [
            f"--socket={folder / 'db.sock'}",
            f"--pid-file={folder / 'db.pid'}",
            f"--log-error={folder / 'db.log'}",
        ]
        network = ["--bind-address=127.0.0.1", f"--port={port}"]
        # As SLURM's documentation has it; the log is not written through at every commit.
        tuning = [
            "--innodb-buffer-pool-size=64M",
            "--innodb-lock-wait-timeout=900",
            "--innodb-flush-log-at-trx-commit=2",
        ]
        self._start("mariadbd", ["mariadbd", *database, *places, *network, *tuning])
        sql = "create database slurm; create user slurm@'127.0.0.1' identified by 'slurm';"
        client = ["mariadb", "--no-defaults", "-u", "root", "-S", str(folder / "db.sock"), "-e"]
        _wait(lambda: _succeeds(*client, "select 1"), "mariadbd")
        subprocess.run([*client, f"{sql} grant all on slurm.* to slurm@'127.0.0.1'"], check=True, capture_output=True)
        self._start("slurmdbd", ["slurmdbd", "-D"])
        _wait(lambda: _succeeds("sacctmgr", "-n", "list", "cluster"), "slurmdbd")
        cluster = folder.name.removeprefix(PREFIX)
        for added in (["cluster", cluster], ["account", ACCOUNT], ["user", "root", f"DefaultAccount={ACCOUNT}"]):
            subprocess.run(["sacctmgr", "-i", "add", *added], check=True, capture_output=True)

    def _start(self, name: str, command: list[str]) -> None:
        self._commands[name] = command
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        self._daemons[name] = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment | {MARK: str(self.folder)},
            start_new_session=True,
        )

    def kill(self, name: str) -> None:
        """Take a daemon away: ``munged``, ``mariadbd``, ``slurmdbd``, ``slurmctld``, or a node by its name."""
        self._daemons[name].kill()
        self._daemons[name].wait()

    def crash(self, node: str) -> None:
        """Let a node die with all that runs on it."""
        jobs = ask("squeue", "-h", "-w", node, "-o", "%A").split()
        self.kill(node)
        # All at a time, as at a loss of power: none is left to tell the controller of another one's end.
        dying = [pid for job in jobs for pid in processes(self.folder, job=job)]
        for way in (signal.SIGSTOP, signal.SIGKILL):
            for pid in dying:
                _send(pid, way)

    def start(self, name: str) -> None:
        """Start a killed daemon again."""
        self._start(name, self._commands[name])

    def wait_for_nodes(self) -> None:
        _wait(lambda: set(ask("sinfo", "-h", "-N", "-o", "%T").split()) == {"idle"}, f"the nodes, see {self.folder}")


def ask(*command: str) -> str:
    """What a command of SLURM answers; empty where it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def remove(folder: Path) -> None:
    """Cancel the jobs of a cluster, stop its daemons and remove its files; nothing of it needs to be there."""
    links = [ETC / name for name in FILES if (ETC / name).is_symlink() and (ETC / name).readlink().parent == folder]
    if links and any(_comm(pid) == "slurmctld" for pid in processes(folder)):
        ask("scancel", "--user", "root")
        until = time.monotonic() + 20
        while ask("squeue", "-h").strip() and time.monotonic() < until:
            time.sleep(0.2)
    # Nothing of their state will be read again.
    while pids := list(processes(folder)):
        for pid in pids:
            _send(pid, signal.SIGKILL)
        time.sleep(0.05)
    for link in links:
        link.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def processes(folder: Path, *, job: str | None = None) -> Iterator[int]:
    """Daemons of a cluster and what its jobs started, or only one job; an ended process has no environment."""
    marks = {f"{MARK}={folder}".encode(), f"SLURM_CLUSTER_NAME={folder.name.removeprefix(PREFIX)}".encode()}
    of_job = {f"SLURM_JOB_ID={job}".encode()}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = set(path.read_bytes().split(b"\0"))
            parent = int(path.with_name("stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if not marks.isdisjoint(environment) and (job is None or of_job <= environment):
            yield int(path.parent.name)
            # SLURM gives this one no environment.
            if _comm(parent) == "slurmstepd":
                yield parent


def _send(pid: int, way: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, way)


def _comm(pid: int) -> str:
    try:
        return Path("/proc", str(pid), "comm").read_text().strip()
    except OSError:
        return ""


def _locks(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _wait(there: Callable[[], bool], what: str, *, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not there():
        if time.monotonic() > until:
            raise TimeoutError(f"no sign of {what} in {seconds:.0f} s")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.stdin.read()
    remove(Path(sys.argv[1]))
