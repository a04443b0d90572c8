"""Run a command line and end it by SIGKILL just before its n-th change of a file under the results.

    python killed_at_write.py N RESULTS ARGUMENTS...

With N = 0 nothing is killed and the number of changes is the last line on standard output. What pyarrow writes by
itself is seen when the file gets its name.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
WRITING = os.O_WRONLY | os.O_RDWR


def main(n: int, results: str, arguments: list[str]) -> int:
    numbers, seen, lock = count(1), 0, Lock()

    def hook(event: str, values: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in CHANGES or not isinstance(values[0], str | bytes | Path):
            return
        # shutil.rmtree names what it removes relative to open folders.
        inside = str(values[0]).startswith(results) or event in ("os.remove", "os.rmdir")
        if not inside or (event == "open" and not (values[2] or 0) & WRITING):
            return
        with lock:
            seen = next(numbers)
            if seen == n:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    from lysoquant.cli.main import invoke

    status = invoke(arguments)
    print(seen)
    return status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
