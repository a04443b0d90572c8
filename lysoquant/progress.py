"""Progress of long work: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Never, Self

from tqdm import tqdm


class Progress:
    """Counts finished pieces of work on standard error.

    Parameters
    ----------
    title : str
        What is being done.
    total : int
        Number of pieces.
    done : int
        Pieces that need not be done again.
    """

    def __init__(self, title: str, *, total: int, done: int = 0) -> None:
        self._title, self._total, self._done = title, total, done
        self._terminal = sys.stderr.isatty()
        self._started = time.perf_counter()
        self._bar: tqdm[Never] | None = None

    def __enter__(self) -> Self:
        if self._terminal:
            self._bar = tqdm(total=self._total, initial=self._done, desc=self._title, file=sys.stderr)
        elif self._done:
            self._line(f"{self._done} of {self._total} unchanged")
        return self

    def advance(self, count: int = 1, *, note: str = "") -> None:
        """Say that ``count`` more pieces are done, with a note on the last."""
        self._done += count
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        else:
            self._line(f"{self._done}/{self._total} {note}".rstrip())

    def _line(self, text: str) -> None:
        seconds = time.perf_counter() - self._started
        print(f"{self._title}: {text} ({seconds:.1f} s)", file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
