"""Mutations done to copies of small projects, each in a process of its own with limits of time and memory.

``python tests/fuzz/driver.py --work DIR --results FILE raw=100 sheets=50`` does the first mutations of these groups;
``python tests/fuzz/driver.py --work DIR --only "raw/truncated/7"`` does one again, shows what it said and keeps its
folder. A mutation follows from its name alone.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import io
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Final

HERE: Final = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "workflow"), str(HERE.parent / "unit"), str(HERE.parents[1])]

from hostile import TOUCH  # noqa: E402

MAX_SECONDS: Final = 60
"""Wall time of a mutation, on a machine that has other work."""
MAX_CPU_SECONDS: Final = 20
MAX_ADDRESS_BYTES: Final = 6 * 2**30
"""Address space over that of the parent: a demand for more than this fails at once."""
MAX_RESIDENT_BYTES: Final = 2 * 2**30
MAX_FILE_BYTES: Final = 2**29
MAX_LINE: Final = 4000
"""Longest line of an error: a value is shown, not poured out."""

REFUSED, FAILED, HARMLESS = "refused", "failed", "harmless"
"""What became of a mutation: an error in one line, a field that failed or was flagged, or nothing changed."""


@dataclass
class Verdict:
    """What a mutation did.

    Attributes
    ----------
    name : str
        ``group/mutation/seed``, by which it is repeated.
    outcome : str
        ``refused``, ``failed`` or ``harmless``.
    complaints : list of str
        What must not have happened; empty where all is well.
    said : str
        What the commands printed.
    """

    name: str
    outcome: str = HARMLESS
    complaints: list[str] = field(default_factory=list)
    said: str = ""
    seconds: float = 0.0


class Scene:
    """One case under way: its folders, the commands called in it, and what there is to complain of.

    Attributes
    ----------
    folder : pathlib.Path
        Everything of the case. `outside` holds a neighbour's files, `empty` the working directory; only `allowed`
        places may change.
    """

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.base = folder, base
        self.project, self.outside = folder / "project", folder / "outside"
        self.allowed: list[Path] = []
        self.complaints: list[str] = []
        self.outcome = HARMLESS
        self.said = ""
        self._before: dict[str, str] = {}

    def copy(self, name: str, to: Path | None = None) -> Path:
        """A copy of one of the prepared folders."""
        target = to or self.project
        shutil.copytree(self.base / name, target, symlinks=True)
        return target

    def begin(self) -> None:
        """Take down what lies where, once the mutation is done."""
        self.outside.mkdir()
        (self.outside / "neighbour.txt").write_text("not yours")
        for name in ("empty", "tmp"):
            (self.folder / name).mkdir()
        os.chdir(self.folder / "empty")
        os.environ["TMPDIR"] = str(self.folder / "tmp")
        import tempfile

        tempfile.tempdir = None
        self._before = dict(self._files())

    def complain(self, text: str) -> None:
        self.complaints.append(text)

    def call(self, *arguments: str | Path, mentions: Sequence[str] = ()) -> int:
        """Call a command; returns its exit status. A fault must be told in a line that holds one of `mentions`."""
        from lysoquant.cli.main import invoke

        out, err = io.StringIO(), io.StringIO()
        command = [os.fspath(argument) for argument in arguments]
        status: int
        try:
            with redirect_stdout(out), redirect_stderr(err):
                status = invoke(command)
        except SystemExit as exit_:
            status = exit_.code if isinstance(exit_.code, int) else 1
        except BaseException:
            self.complain(f"{command[0]} raised:\n{traceback.format_exc()}")
            self.outcome = REFUSED
            return 1
        told = err.getvalue()
        self.said += f"$ {' '.join(command)} -> {status}\n{out.getvalue()}{told}"
        self._check_told(command[0], status, told, out.getvalue(), mentions)
        if status:
            self.outcome = REFUSED
        return status

    def _check_told(self, command: str, status: int, told: str, out: str, mentions: Sequence[str]) -> None:
        if status not in (0, 1, 2):
            self.complain(f"{command}: exit status {status}")
        for word in ("Traceback", "MemoryError", "Unable to allocate", "RecursionError"):
            if word in told + out:
                self.complain(f"{command} said {word}: {told[-2000:]}")
        for text in (told, out):
            bad = sorted({c for c in text if not c.isprintable() and c not in "\n\r"})
            if bad:
                self.complain(f"{command} wrote control characters {bad} to the terminal: {text[-500:]!r}")
        errors = [line for line in told.splitlines() if line.startswith("error: ")]
        if any(len(line) > MAX_LINE for line in errors):
            self.complain(f"{command}: an error of {max(map(len, errors))} characters")
        if status and not errors:
            self.complain(f"{command}: status {status} without an error")
        if status and mentions and not any(word.lower() in line.lower() for word in mentions for line in errors):
            self.complain(f"{command}: the error names none of {mentions}: {errors}")

    def _files(self) -> Iterator[tuple[str, str]]:
        for place, folders, names in os.walk(self.folder):
            for name in (*names, *folders):
                path = Path(place, name)
                if not any(path.is_relative_to(allowed) for allowed in self.allowed):
                    yield os.fsencode(path).decode("latin-1"), _state(path)

    def check_places(self) -> None:
        """Nothing outside the allowed places came, went or changed, and no shell was made to write."""
        after = dict(self._files())
        for path in sorted({*self._before, *after}):
            if self._before.get(path) != after.get(path):
                self.complain(f"{path} {'changed' if path in self._before else 'was written'}")
        for place, _, names in os.walk(self.folder):
            if TOUCH in names:
                self.complain(f"{place}/{TOUCH} was written by a shell or a pickle")


def _state(path: Path) -> str:
    if path.is_symlink():
        return f"link to {path.readlink()}"
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return "folder" if path.is_dir() else "special"


Play = Callable[[Scene, str, Random], None]
"""Does a mutation by name in a scene, calls the commands and complains."""


@dataclass(frozen=True)
class Group:
    """Mutations of one kind of input.

    Attributes
    ----------
    mutations : tuple of str
        Their names; seed after seed, all are gone through in turn.
    """

    mutations: tuple[str, ...]
    play: Play


def case_names(group: str, count: int) -> list[str]:
    """The first mutations of a group: every one with seed 0, then with seed 1, and so on."""
    mutations = groups()[group].mutations
    return [f"{group}/{mutations[n % len(mutations)]}/{n // len(mutations)}" for n in range(count)]


def groups() -> Mapping[str, Group]:
    from groups import GROUPS
    from zarr_plates import IN_PLACE

    return {**GROUPS, **IN_PLACE}


def in_child(work: Callable[[int], None], *, seconds: float) -> int:
    """Fork and wait; returns the wait status, or -1 where the time ran out. `work` gets the time limit's pipe."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        status = 1
        try:
            os.setpgid(0, 0)
            work(write)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    os.close(write)
    # The pipe is at its end when the child has gone.
    ended, _, _ = select.select([read], [], [], seconds)
    os.close(read)
    if not ended:
        os.kill(child, signal.SIGUSR1)
        time.sleep(0.2)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return status if ended else -1


def do_case(name: str, *, work: Path, base: Path, keep: bool = False) -> Verdict:
    """Do one mutation in a child; a child that dies or hangs is a complaint."""
    group, mutation, _ = name.split("/")
    folder = work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    result, log = work / "verdict.json", work / "log.txt"
    result.unlink(missing_ok=True)
    started = time.perf_counter()

    def play(pipe: int) -> None:
        with log.open("wb") as handle:
            os.dup2(handle.fileno(), 1)
            os.dup2(handle.fileno(), 2)
        faulthandler.register(signal.SIGUSR1)
        _limit()
        scene = Scene(folder, base)
        groups()[group].play(scene, mutation, Random(name))
        scene.check_places()
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if resident > MAX_RESIDENT_BYTES:
            scene.complain(f"took {resident >> 20} MiB of memory")
        verdict = Verdict(name, scene.outcome, scene.complaints, scene.said)
        result.write_text(json.dumps(asdict(verdict)), encoding="utf-8", errors="surrogatepass")

    status = in_child(play, seconds=MAX_SECONDS)
    if result.exists():
        verdict = Verdict(**json.loads(result.read_text(encoding="utf-8", errors="surrogatepass")))
    else:
        verdict = Verdict(name, REFUSED, said=log.read_text(errors="replace")[-6000:])
    printed = log.read_text(errors="replace")
    if "Traceback" in printed or "MemoryError" in printed:
        verdict.complaints.append(f"printed:\n{printed[-4000:]}")
    if status == -1:
        verdict.complaints.append(f"hung for {MAX_SECONDS} s")
    elif status:
        verdict.complaints.append(f"ended with wait status {status}")
    verdict.seconds = round(time.perf_counter() - started, 3)
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return verdict


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + MAX_ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def warm() -> None:
    """Import all that the commands import, but start no thread: a fork must find none."""
    import importlib

    import torch

    torch.set_num_threads(1)
    from lysoquant.cli.main import COMMANDS
    from lysoquant.vocabulary import STAGES

    for place, _ in COMMANDS.values():
        importlib.import_module(place.split(":")[0])
    for stage in STAGES:
        importlib.import_module(f"lysoquant.{stage}.step")
    for module in ("annotate.corrected", "annotate.operators", "evaluate.run", "evaluate.report", "model.caffe",
                   "train.loop", "examples.annotated", "io.raw"):  # fmt: skip
        importlib.import_module(f"lysoquant.{module}")


def prepare(work: Path) -> Path:
    """The folders that every case copies from, made once. Every command's imports are done by it, too."""
    from groups import make_base

    base = work / "base"
    shutil.rmtree(base, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    with (work / "base.txt").open("w") as handle, redirect_stdout(handle), redirect_stderr(handle):
        make_base(base)
    return base


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path, help="JSON lines, one a mutation.")
    parser.add_argument("--only", help="group/mutation/seed")
    parser.add_argument("counts", nargs="*", metavar="GROUP=COUNT")
    given = parser.parse_args(arguments)
    work = given.work.absolute()
    warm()
    base = prepare(work)
    if given.only:
        verdict = do_case(given.only, work=work, base=base, keep=True)
        print(f"{verdict.said}\n{verdict.outcome}", *verdict.complaints, f"left in {work / 'case'}", sep="\n")
        return bool(verdict.complaints)
    counts = dict(pair.split("=") for pair in given.counts)
    bad = 0
    with given.results.open("w", encoding="utf-8", errors="surrogatepass") as handle:
        for group, count in counts.items():
            for name in case_names(group, int(count)):
                verdict = do_case(name, work=work, base=base)
                handle.write(json.dumps(asdict(verdict)) + "\n")
                handle.flush()
                if verdict.complaints:
                    bad += 1
                    print(name, verdict.complaints[0][-1500:], sep="\n  ", file=sys.stderr, flush=True)
    return bool(bad)


if __name__ == "__main__":
    # `groups` imports this module by its name.
    sys.modules["driver"] = sys.modules["__main__"]
    raise SystemExit(main(sys.argv[1:]))
