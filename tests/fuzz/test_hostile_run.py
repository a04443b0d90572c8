"""The whole workflow, shells and all, on a project whose every name is hostile."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from hostile import MARK, TOUCH
from pages import parts
from tiny_project import ROOT, edit_config, make_project

FOLDER = f'it\'s "x" $(touch {TOUCH}) `touch {TOUCH}`; touch {TOUCH} & {{wells}} %s <{MARK}> =1+1 \u202e\u00e9'
CONDITIONS = (f'"><{MARK} onload=alert(1)>', f"=cmd|' /C touch {TOUCH}'!A1")
WELLS = ("B02", "B03")


def test_nothing_in_a_name_is_run_or_breaks_out(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    folder = tmp_path / FOLDER
    project = make_project(folder, wells=WELLS)
    (project / "raw").rename(project / FOLDER)
    for name, row in {"plates": ("P", FOLDER, "imagexpress"), "wells": None}.items():
        sheet = project / "config" / f"{name}.tsv"
        header = sheet.read_text().splitlines()[0].split("\t")
        rows = [row] if row else [("P", *pair) for pair in zip(WELLS, CONDITIONS, strict=True)]
        with sheet.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle, delimiter="\t", lineterminator="\n").writerows([header, *rows])
    edit_config(project, "title: First", f'title: "<{MARK}>$(touch {TOUCH})\'"')
    (project / "models").rename(project / f"$(touch {TOUCH}) m")
    edit_config(project, "models/tiny", f"$(touch {TOUCH}) m/tiny")
    beside = tmp_path / "beside"
    beside.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "lysoquant.cli.main", "run", str(project), "--cores", "2"],
        cwd=beside,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob(TOUCH))
    assert [path.name for path in tmp_path.iterdir() if path.name not in (FOLDER, "beside")] == []
    wells = pd.read_csv(project / "results" / "tables" / "wells.csv")
    assert wells["condition"].tolist() == list(CONDITIONS)
    assert (wells["n_fields_failed"] == 0).all()
    page = parts(project / "results" / "report" / "index.html")
    assert not [kind for kind in page.kinds if MARK in kind[0] + kind[1]]
    record_property("fault", "a run whose folders, model, title and conditions have hostile names")
    record_property("times", 1)
    record_property("lost", "nothing: no shell took a word of them, no text broke out of the page")
