"""One run at a time: the second is told who works, and a killed run leaves nothing in the way."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lysoquant.errors import InputError
from lysoquant.layout import Layout
from lysoquant.project.lock import only_run

HOLD = """
import subprocess, sys, time
from pathlib import Path
from lysoquant.layout import Layout
from lysoquant.project.lock import only_run
with only_run(Layout(Path(sys.argv[1]), Path(sys.argv[1]))) as lock:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[lock], stdout=2)
    print(child.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path, tmp_path / "results")


def refusal(layout: Layout) -> str:
    with pytest.raises(InputError) as caught, only_run(layout):
        pass
    return str(caught.value)


def test_the_second_is_told_who_works_and_since_when(layout: Layout) -> None:
    with only_run(layout):
        before = layout.run_lock.stat().st_mtime_ns, layout.run_lock.read_bytes()
        message = refusal(layout)
        assert (layout.run_lock.stat().st_mtime_ns, layout.run_lock.read_bytes()) == before
    since = json.loads(before[1])["since"]
    assert message == (
        f"{layout.project}: another run works on this project (process {os.getpid()} on {socket.gethostname()} "
        f"since {since}); wait until it ends, or end it (`kill {os.getpid()}` on {socket.gethostname()}), "
        "then run again; nothing was changed"
    )


def test_a_run_that_ended_or_failed_is_not_in_the_way(layout: Layout) -> None:
    with pytest.raises(RuntimeError, match="fault"), only_run(layout):
        raise RuntimeError("fault")
    with only_run(layout):
        assert json.loads(layout.run_lock.read_text())["pid"] == os.getpid()
    assert layout.run_lock.read_text() == ""


def test_who_just_began_has_no_name_yet(layout: Layout) -> None:
    with layout.run_lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert "(it has just begun); wait until it ends, then" in refusal(layout)
        handle.write('{"pid": 12')
        handle.flush()
        assert "(it has just begun)" in refusal(layout)


def test_a_killed_run_holds_the_project_only_as_long_as_its_snakemake(layout: Layout) -> None:
    command = [sys.executable, "-c", HOLD, str(layout.project)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        child = int(run.stdout.readline())
        assert f"`kill {run.pid}`" in refusal(layout)
        run.kill()
        run.wait()
        message = refusal(layout)
        assert f"process {run.pid} on" in message
        assert "was killed and its Snakemake still ends its jobs" in message
        os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}/fd").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with only_run(layout):
        pass


def test_a_file_system_without_locks_is_said_and_does_not_stop_a_run(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with only_run(layout):
        pass
    assert "has no locks (No locks available); see to it that no other run" in capsys.readouterr().err
