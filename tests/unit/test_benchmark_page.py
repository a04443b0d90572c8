"""docs/accuracy.md: tables between the marks come from the files of `make accuracy`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lysoquant.benchmark.page import ROOT, STREAMS, write_page
from lysoquant.errors import InputError
from lysoquant.evaluate.report import PAPER
from lysoquant.evaluate.run import METRICS

POOLED = ("iou_empty_pooled", "iou_loaded_pooled", "occupancy_bias", "docked_called_loaded", "pixel_size_shift")
PAGE = "# Page\n" + "".join(f"<!-- {{{number}}} -->\nold\n<!-- end -->\nkept\n" for number in range(4))


def figures(mean: float) -> dict[str, Any]:
    return {
        "metrics": {name: {"mean": mean, "sd": 0.01, "n": 3} for name in METRICS},
        "pooled": dict.fromkeys(POOLED, mean) | {"pixel_size_shift": None},
    }


@pytest.fixture
def made(tmp_path: Path) -> Path:
    for number, name in enumerate(STREAMS):
        groups = {"0.04 um": {"n": 2, **figures(0.5)}, "0.04 um, low noise": {"n": 1, **figures(0.6)}}
        document = {"n": 7 + number, **figures(0.9 + number / 100), "groups": groups, "paper": dict(PAPER)}
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(document))
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "accuracy.md").write_text("| method |\n")
    (tmp_path / "adaptation").mkdir()
    (tmp_path / "adaptation" / "adaptation.csv").write_text(
        "cells,f1_objects,n,won_back\nusual,0.9,16,\nshifted,0.8,16,0.75\n"
    )
    (tmp_path / "page.md").write_text(PAGE.format("streams", "conditions", "baselines", "adaptation"))
    return tmp_path


def test_tables_are_filled_in_and_the_rest_is_kept(made: Path) -> None:
    write_page(made, made / "page.md")
    first = (made / "page.md").read_text()
    lines = first.splitlines()
    assert lines[0] == "# Page"
    assert "kept" in lines
    assert "old" not in lines
    assert lines[2].startswith("|  | held-out cells, n = 7 | second simulator, n = 8 |")
    assert (
        "| IoU empty | 0.900 ± 0.010 | 0.910 ± 0.010 | 0.920 ± 0.010 | 0.930 ± 0.010 | ≥ 0.90 | 0.881 ± 0.012 |"
        in lines
    )
    assert (
        "| AUC empty | 0.9000 ± 0.0100 | 0.9100 ± 0.0100 | 0.9200 ± 0.0100 | 0.9300 ± 0.0100 | ≥ 0.995 | 0.9943 |"
        in lines
    )
    assert "| shift of occupancy at twice the pixel size | – | – | – | – | ≤ 0.03 |  |" in lines
    assert any(line.startswith("| 0.04 um | 2 | 0.500 | 0.500 |") for line in lines)
    assert not any("0.600" in line for line in lines)  # single conditions are in the JSON, not on the page
    assert "| method |" in lines
    assert "| shifted | 0.800 | 16 | 0.750 |" in lines
    assert "| usual | 0.900 | 16 | – |" in lines
    write_page(made, made / "page.md")
    assert (made / "page.md").read_text() == first


def test_a_missing_file_or_mark_is_said(made: Path) -> None:
    (made / "page.md").write_text("# Page\n")
    with pytest.raises(InputError, match="has no '<!-- streams -->'"):
        write_page(made, made / "page.md")
    (made / "wide" / "metrics.json").unlink()
    (made / "page.md").write_text(PAGE.format("streams", "conditions", "baselines", "adaptation"))
    with pytest.raises(InputError, match=r"wide/metrics\.json does not exist; make it with `make accuracy`"):
        write_page(made, made / "page.md")


def test_the_page_has_its_marks_and_its_tables() -> None:
    text = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    for name in ("streams", "conditions", "baselines", "adaptation"):
        assert f"<!-- {name} -->\n|" in text, f"{name}: run `make accuracy`"
