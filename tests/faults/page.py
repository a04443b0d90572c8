"""The table of docs/reliability.md, from what the tests that tell of a fault left: ``make reliability``.

    python tests/faults/page.py JUNIT_XML... [--page docs/reliability.md]

A test tells by pytest's ``record_property`` with the names ``fault`` (what was done), ``times`` (how often) and
``lost``. Tests of one function that tell the same are one row, with their times added.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from defusedxml.ElementTree import parse

import lysoquant

ROOT = Path(__file__).parents[2]
BEGIN = "<!-- faults: written by `make reliability` -->"
END = "<!-- end of faults -->"
VERSIONED = ("snakemake", "zarr", "torch", "dask")


@dataclass(frozen=True)
class Row:
    """One test.

    Attributes
    ----------
    state : str
        ``passed``, ``FAILED`` or ``not tried``.
    said : str
        Why it failed or was skipped; else empty.
    """

    test: str
    fault: str
    times: str
    lost: str
    state: str
    said: str


def rows_of(path: Path) -> Iterator[Row]:
    """Tests of a JUnit file: those that tell of a fault, and those that failed or were skipped before they could."""
    for case in parse(path).iter("testcase"):
        told = {each.get("name"): each.get("value", "") for each in case.iter("property")}
        skipped, failed = case.find("skipped"), [*case.iter("failure"), *case.iter("error")]
        if "fault" not in told and skipped is None and not failed:
            continue
        file = case.get("classname", "").replace(".", "/") + ".py"
        said = (skipped.get("message", "") if skipped is not None else failed[0].get("message", "")) if not told else ""
        if failed:
            said = failed[0].get("message", "")
        yield Row(
            test=f"{file}::{case.get('name', '').partition('[')[0]}",
            fault=told.get("fault") or case.get("name", "").removeprefix("test_").replace("_", " "),
            times=told.get("times", ""),
            lost=told.get("lost", ""),
            state="FAILED" if failed else "not tried" if skipped is not None else "passed",
            said=" ".join(said.split())[:200],
        )


def merged(rows: Sequence[Row]) -> list[Row]:
    """Rows in the order of their tests; those that differ in their number of times alone are added up."""
    times: dict[Row, list[str]] = {}
    for row in rows:
        times.setdefault(replace(row, times=""), []).append(row.times)
    found = [
        replace(row, times=str(sum(map(int, each))) if all(map(str.isdecimal, each)) else ", ".join(filter(None, each)))
        for row, each in times.items()
    ]
    return sorted(found, key=lambda row: (row.test, row.fault))


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    lines = ["| what was done | times | what was lost | shown by |", "|---|---|---|---|"]
    for row in rows:
        times, lost = (row.times, row.lost) if row.state == "passed" else ("", f"**{row.state}**: {row.said}")
        lines.append(f"| {_cell(row.fault)} | {_cell(times)} | {_cell(lost)} | `{row.test}` |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def circumstances(rows: Sequence[Row]) -> str:
    """When, on what, with what, and how many."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in VERSIONED)
    states = [row.state for row in rows]
    times = sum(int(row.times) for row in rows if row.state == "passed" and row.times.isdecimal())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} on {platform.machine()}, {os.cpu_count()} cores; lysoquant"
        f" {lysoquant.__version__}, Python {platform.python_version()}, {versions}. {states.count('passed')} tests with"
        f" {times} faults passed, {states.count('FAILED')} failed, {states.count('not tried')} were not tried here."
    )


def write(page: Path, rows: Sequence[Row]) -> None:
    """Replace what is between the page's marks."""
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(BEGIN)
    _, found_end, after = rest.partition(END)
    if not found or not found_end:
        raise SystemExit(f"{page}: no line {BEGIN!r} with {END!r} after it; put the table's marks back")
    found = f"{circumstances(rows)}\n\n{table(merged(rows))}"
    page.write_text(f"{before}{BEGIN}\n{found}\n{END}{after}", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("junit", nargs="+", type=Path)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "reliability.md")
    given = parser.parse_args(arguments)
    rows = [row for path in given.junit for row in rows_of(path)]
    write(given.page, rows)
    return int(any(row.state == "FAILED" for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
