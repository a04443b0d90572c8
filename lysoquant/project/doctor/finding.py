"""What a check saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from lysoquant.errors import LysoquantError

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes
    ----------
    check : str
        What was looked at.
    state : {"ok", "warning", "problem"}
        A run fails with a problem; with a warning it may.
    seen : str
        What was found.
    remedy : str
        The way out; empty where all is well.
    """

    check: str
    state: State
    seen: str
    remedy: str = ""

    @property
    def line(self) -> str:
        return f"{self.seen} -> {self.remedy}" if self.remedy else self.seen


def ok(check: str, seen: str) -> Finding:
    return Finding(check, "ok", seen)


def warning(check: str, seen: str, remedy: str) -> Finding:
    return Finding(check, "warning", seen, remedy)


def problem(check: str, seen: str, remedy: str = "") -> Finding:
    return Finding(check, "problem", seen, remedy)


def attempt(check: str, look: Callable[[], str]) -> Finding:
    """What a look says where it goes well; its error, which names the way out, where it does not."""
    try:
        return ok(check, look())
    except LysoquantError as error:
        return problem(check, "; ".join(str(error).splitlines()))
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        return problem(check, f"{name}{error.strerror or error}", "give it space or permission")
