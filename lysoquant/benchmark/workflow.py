"""What planning costs: seconds, memory and jobs of whole plates of tiny images, through the command that a user types.

``python -m lysoquant.benchmark.workflow FOLDER`` puts the figures of a folder into docs/performance.md.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from lysoquant.benchmark.page import ROOT, fill_page, read_figures
from lysoquant.errors import InputError, StageError
from lysoquant.simulate.writers import ImageXpress
from lysoquant.vocabulary import row_letters, well_name

CHANNELS: Final = ("nucleus", "lysosome", "cargo")
_COLUMNS: Final = 24
_PIXELS: Final = 8
_PIXEL_SIZE_UM: Final = 0.1
_CONFIG: Final = """\
channels: {lysosome: lysosome, cargo: cargo, nucleus: nucleus}
convert: {chunk_px: 64, pyramid_levels: 1}
cells: {method: watershed}
aggregate: {bootstrap: 100}
execution: {device: cpu}
"""
_TOTAL: Final = re.compile(r"^total +(\d+)$", re.MULTILINE)
_MOST_WELLS: Final = 16 * _COLUMNS


@dataclass(frozen=True)
class Cost:
    """What one command cost.

    Attributes
    ----------
    seconds : float
        Wall clock.
    cpu_seconds : float
        Of all its processes, which another program on the machine disturbs less.
    peak_mb : float
        Resident memory of the largest of its processes, MiB.
    jobs : int
        That the workflow would do, or did.
    """

    name: str
    limit_s: float
    seconds: float
    cpu_seconds: float
    peak_mb: float
    jobs: int


def make_project(project: Path, *, plates: int, wells: int, fields: int) -> None:
    """Raw plates of black images, a configuration and the sheets. Images of a channel are hard links to one file.

    Raises
    ------
    InputError
        If a plate of 384 wells has no such number of wells.
    """
    if not 1 <= wells <= _MOST_WELLS:
        raise InputError(f"{wells} wells a plate: expected 1 to {_MOST_WELLS}")
    names = [well_name(row_letters(place // _COLUMNS), place % _COLUMNS + 1) for place in range(wells)]
    sheets = [["plate\tpath\tformat"], ["plate\twell\tcondition"]]
    for number in range(1, plates + 1):
        plate = f"P{number:02d}"
        _write_plate(project / "raw" / plate, plate, wells=names, fields=fields)
        sheets[0].append(f"{plate}\traw/{plate}\timagexpress")
        sheets[1] += [f"{plate}\t{well}\tuntreated" for well in names]
    (project / "config").mkdir()
    (project / "config" / "config.yaml").write_text(_CONFIG, encoding="utf-8")
    for name, lines in zip(("plates.tsv", "wells.tsv"), sheets, strict=True):
        (project / "config" / name).write_text("\n".join([*lines, ""]), encoding="utf-8")


def _write_plate(folder: Path, plate: str, *, wells: Sequence[str], fields: int) -> None:
    writer = ImageXpress(folder, plate)
    writer.begin(wells=wells, n_fields=fields, n_rows=16, n_columns=_COLUMNS, channels=CHANNELS)
    black = np.zeros((len(CHANNELS), _PIXELS, _PIXELS), dtype=np.uint16)
    writer.write_field(black, well=wells[0], index=0, channels=CHANNELS, pixel_size_um=_PIXEL_SIZE_UM)
    images = folder / "TimePoint_1"
    for well in wells:
        for field in range(1, fields + 1):
            for wave in range(1, len(CHANNELS) + 1):
                path = images / f"{plate}_{well}_s{field}_w{wave}.TIF"
                if not path.exists():
                    path.hardlink_to(images / f"{plate}_{wells[0]}_s1_w{wave}.TIF")


def measure(project: Path, *arguments: str, name: str, limit_s: float) -> Cost:
    """Cost of ``lysoquant run PROJECT`` with further arguments.

    Raises
    ------
    StageError
        If it fails: the last line that it said.
    """
    log = project / "benchmark.log"
    command = [sys.executable, "-P", "-m", "lysoquant.cli.main", "run", str(project), "--cores", "2", *arguments]
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as text:
        process = subprocess.Popen(command, stdout=text, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    said = log.read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        raise StageError(f"{name}: lysoquant run ended with status {process.returncode}: {said.strip()[-500:]}")
    found = _TOTAL.search(said)
    return Cost(
        name=name,
        limit_s=limit_s,
        seconds=round(seconds, 1),
        cpu_seconds=round(used.ru_utime + used.ru_stime, 1),
        peak_mb=round(used.ru_maxrss / 1024),
        jobs=int(found[1]) if found else 0,
    )


def run(output: Path, *, plates: int, wells: int, fields: int) -> list[Cost]:
    """Dry run of one plate and of many, then a whole run of one plate (not measured) and a run with nothing to do.

    What an earlier call left in `output` is taken as it is, so that a stopped benchmark goes on.

    Raises
    ------
    StageError
        If a command fails, or the last one did something.
    """
    for folder, number in (("one", 1), ("many", plates), ("done", 1)):
        if not (output / folder / "config" / "wells.tsv").is_file():
            make_project(output / folder, plates=number, wells=wells, fields=fields)
    costs = [
        measure(output / "one", "--dry-run", name=f"dry run, {wells} wells × {fields} fields", limit_s=10),
        measure(output / "many", "--dry-run", name=f"dry run, {plates} such plates", limit_s=60),
    ]
    measure(output / "done", name="a whole run", limit_s=0)
    dry = measure(output / "done", "--dry-run", name="dry run with nothing to do", limit_s=15)
    if dry.jobs:
        raise StageError(
            f"a second run of {output / 'done'} would do {dry.jobs} jobs; `lysoquant why` says the reasons"
        )
    return [*costs, measure(output / "done", name=f"run with nothing to do, {wells} wells", limit_s=15)]


def write_figures(costs: Sequence[Cost], output: Path, *, about: Mapping[str, str]) -> list[Path]:
    """``workflow.json`` and ``workflow.md``."""
    lines = ["| | jobs | seconds | at most | CPU seconds | peak MiB |", "|---|---|---|---|---|---|"]
    for cost in costs:
        cells = (cost.name, cost.jobs, cost.seconds, f"{cost.limit_s:g}", cost.cpu_seconds, f"{cost.peak_mb:.0f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += ["", f"{', '.join(f'{name} {value}' for name, value in about.items())}."]
    table, figures = output / "workflow.md", output / "workflow.json"
    table.write_text("\n".join([*lines, ""]), encoding="utf-8")
    document = {"about": dict(about), "costs": [asdict(cost) for cost in costs]}
    figures.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [figures, table]


if __name__ == "__main__":
    figures = Path(sys.argv[1])
    fill_page(ROOT / "docs" / "performance.md", {"workflow": read_figures(figures / "workflow.md")})
