"""Tables of the speed benchmark, as JSON and for a page.

``python -m lysoquant.benchmark.speed.table FOLDER`` puts those of a folder into docs/performance.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lysoquant.benchmark.page import ROOT, fill_page, read_figures


@dataclass(frozen=True)
class Table:
    """Figures of one run, side by side.

    Attributes
    ----------
    title : str
        What was measured, with what is alike in all rows.
    rows : tuple of dict
        Figures by column, the same columns in each.
    """

    title: str
    rows: tuple[dict[str, str | int | float], ...]


def markdown(tables: Sequence[Table]) -> str:
    """Tables for a page; numbers to three figures."""
    lines = []
    for table in tables:
        columns = list(table.rows[0])
        lines += [f"{table.title}:", "", _line(columns), _line(["---"] * len(columns))]
        lines += [_line([_text(row[column]) for column in columns]) for row in table.rows]
        lines.append("")
    return "\n".join(lines)


def write_tables(parts: Mapping[str, Sequence[Table]], output: Path, *, about: Mapping[str, str | int]) -> list[Path]:
    """``speed.json`` with all parts, and ``speed_PART.md`` each."""
    output.mkdir(parents=True, exist_ok=True)
    document = {"about": dict(about), "parts": {part: [asdict(table) for table in parts[part]] for part in parts}}
    figures = output / "speed.json"
    figures.write_text(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    made = ", ".join(f"{name} {value}" for name, value in about.items())
    pages = []
    for part, tables in parts.items():
        pages.append(output / f"speed_{part}.md")
        pages[-1].write_text(f"{markdown(tables)}\nMade with {made}.\n", encoding="utf-8")
    return [figures, *pages]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(value: str | float) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else value


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = {page.stem: read_figures(page) for page in sorted(folder.glob("speed_*.md"))}
    fill_page(ROOT / "docs" / "performance.md", found)
