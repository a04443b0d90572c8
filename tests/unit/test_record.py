"""Records: written whole or not at all, keyed by all that a result depends on, and the driver that goes by them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lysoquant import record as module
from lysoquant.errors import FieldError, StageError
from lysoquant.layout import Layout
from lysoquant.progress import Progress
from lysoquant.record import (
    Json,
    WellOutcome,
    digest_array,
    digest_bytes,
    digest_file,
    digest_json,
    failed_field,
    field_report,
    merge_field_reports,
    read_json,
    require_wells,
    run_batch,
    versions,
    write_json,
    write_text_atomic,
)

WELLS = ["B02", "B03", "B04"]


class Work:
    """Writes one file a well and remembers what it was asked for; may crash before or forget a well."""

    def __init__(self, layout: Layout, *, crash_at: str = "", forget: str = "") -> None:
        self.layout, self.crash_at, self.forget = layout, crash_at, forget
        self.asked: list[list[str]] = []
        self.stale: list[str] = []

    def __call__(self, todo: list[str]) -> Iterator[tuple[str, WellOutcome]]:
        self.asked.append(todo)
        self.stale = [well for well in todo if self.layout.well_record("P", "cells", well).exists()]
        for well in todo:
            if well == self.crash_at:
                raise RuntimeError("power cut")
            if well == self.forget:
                continue
            path = self.layout.results / "P" / f"{well}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(well)
            yield (
                well,
                WellOutcome(
                    digest=f"content of {well}",
                    wrote=[self.layout.relative(path)],
                    read=["raw"],
                    counts={"cells": 2},
                    fields=[field_report(0), field_report(1, status="failed", reasons=["broken"])],
                    extra={"note": "own"},
                ),
            )


def batch(layout: Layout, work: Callable[..., Any], **changes: Any) -> Json:
    call: dict[str, Any] = {
        "stage": "cells",
        "layout": layout,
        "plate": "P",
        "wells": WELLS,
        "parameters": {"size": 1},
        "inputs": {well: {"convert": f"pixels of {well}"} for well in WELLS},
        "work": work,
        "record": layout.batch_record("P", "cells", "b0"),
    }
    return run_batch(**(call | changes))


def done(layout: Layout) -> list[str]:
    return [well for well in WELLS if layout.well_record("P", "cells", well).exists()]


def test_a_batch_is_the_sum_of_its_wells(layout: Layout) -> None:
    found = batch(layout, work := Work(layout), model_sha256="abc")
    assert work.asked == [WELLS]
    assert found == read_json(layout.batch_record("P", "cells", "b0"))
    assert list(found["wells"]) == WELLS
    own = found["wells"]["B03"]
    assert own == read_json(layout.well_record("P", "cells", "B03"))
    assert (own["stage"], own["plate"], own["well"]) == ("cells", "P", "B03")
    assert own["inputs"] == {"convert": "pixels of B03"}
    assert own["parameters"] == {"size": 1}
    assert own["model_sha256"] == "abc"
    assert own["wrote"] == ["P/B03.bin"]
    assert own["counts"] == {"cells": 2}
    assert own["note"] == "own"
    assert own["digest"] == digest_json({"content": "content of B03", "fields": own["fields"]})
    assert own["versions"]["lysoquant"]
    assert own["seconds"] >= 0


def test_unchanged_wells_are_skipped(layout: Layout) -> None:
    first = batch(layout, Work(layout))
    assert batch(layout, work := Work(layout)) == first
    assert work.asked == []


def test_only_a_changed_input_is_done_again(layout: Layout) -> None:
    first = batch(layout, Work(layout))
    inputs = {well: {"convert": f"pixels of {well}"} for well in WELLS} | {"B03": {"convert": "new pixels"}}
    second = batch(layout, work := Work(layout), inputs=inputs)
    assert work.asked == [["B03"]]
    assert work.stale == []
    assert second["wells"]["B02"] == first["wells"]["B02"]
    assert second["wells"]["B03"]["key"] != first["wells"]["B03"]["key"]
    assert second["wells"]["B03"]["digest"] == first["wells"]["B03"]["digest"]
    assert list(second["wells"]) == WELLS


@pytest.mark.parametrize("change", [{"parameters": {"size": 2}}, {"model_sha256": "other"}, {"code": "0" * 16}])
def test_parameters_model_and_code_redo_every_well(
    layout: Layout, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch(layout, Work(layout))
    if code := change.pop("code", None):
        monkeypatch.setattr(module, "source_digest", lambda stage: code)
    batch(layout, work := Work(layout), **change)
    assert work.asked == [WELLS]


@pytest.mark.parametrize("damage", ["vanish", "truncate", "list", "bytes"])
def test_a_lost_output_or_damaged_record_redoes_its_well(layout: Layout, damage: str) -> None:
    batch(layout, Work(layout))
    path = layout.well_record("P", "cells", "B04")
    if damage == "vanish":
        (layout.results / "P" / "B04.bin").unlink()
    elif damage == "truncate":
        path.write_text(path.read_text()[:50])
    else:
        path.write_bytes(b"[1]" if damage == "list" else b"\xff\xfe")
    batch(layout, work := Work(layout))
    assert work.asked == [["B04"]]


def test_a_crash_leaves_finished_wells_done_and_the_broken_one_without_record(layout: Layout) -> None:
    batch(layout, Work(layout))
    with pytest.raises(RuntimeError, match="power cut"):
        batch(layout, Work(layout, crash_at="B03"), parameters={"size": 2})
    assert done(layout) == ["B02"]
    found = batch(layout, work := Work(layout), parameters={"size": 2})
    assert work.asked == [["B03", "B04"]]
    assert list(found["wells"]) == WELLS


def test_a_well_without_outcome_is_an_error_and_leaves_no_batch_record(layout: Layout) -> None:
    with pytest.raises(StageError, match="cells of plate P left no outcome for well B03"):
        batch(layout, Work(layout, forget="B03"))
    assert done(layout) == ["B02", "B04"]
    assert not layout.batch_record("P", "cells", "b0").exists()


def test_the_log_says_each_well(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    batch(layout, Work(layout))
    batch(layout, Work(layout))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("cells P: 1/3 B02, 2 cells, 1 failed (")
    assert lines[3].startswith("cells P: 3 of 3 unchanged (")


def test_upstream_records(layout: Layout) -> None:
    batch(layout, Work(layout))
    assert list(require_wells(layout, "P", "cells", ["B04", "B02"])) == ["B04", "B02"]
    with pytest.raises(StageError, match=r"plate P: no cells record of well C01, C02, C03, C04, C05 \.\.\.; run `lyso"):
        require_wells(layout, "P", "cells", ["B02", *(f"C0{n}" for n in range(1, 7))])


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "b.json"
    write_json(path, {"b": 1, "a": "µ"})
    assert path.read_text(encoding="utf-8") == '{\n "a": "µ",\n "b": 1\n}\n'
    assert read_json(path) == {"a": "µ", "b": 1}

    def cut(_handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", cut)
    with pytest.raises(OSError, match="disk full"):
        write_text_atomic(path, "new")
    assert read_json(path) == {"a": "µ", "b": 1}
    assert read_json(tmp_path / "none.json") is None


def test_digests(tmp_path: Path) -> None:
    expected = hashlib.sha256((1).to_bytes(8, "big") + b"a" + (2).to_bytes(8, "big") + b"bc").hexdigest()
    assert digest_bytes(b"a", b"bc") == expected
    assert digest_bytes(b"ab", b"c") != expected
    assert digest_json({"a": 1, "b": [2]}) == digest_json({"b": [2], "a": 1}) != digest_json({"a": 1, "b": [3]})
    array = np.arange(6, dtype=np.uint16).reshape(2, 3)
    assert digest_array(array) == digest_array(np.asfortranarray(array))
    others = (array.reshape(3, 2), array.astype(np.int16), array + 1)
    assert len({digest_array(other) for other in (array, *others)}) == 4
    (tmp_path / "f").write_bytes(b"xyz")
    assert digest_file(tmp_path / "f") == hashlib.sha256(b"xyz").hexdigest()


def test_field_reports_of_several_stages_become_one() -> None:
    merged = merge_field_reports(
        [
            field_report(3, focus_score=0.5),
            field_report(3, status="flagged", reasons=["dim", "small"], saturated_fraction=0.1),
            field_report(3, status="ok", reasons=["dim"], n_cells=4),
        ]
    )
    assert merged == {
        "field": 3, "status": "flagged", "reasons": ["dim", "small"],
        "focus_score": 0.5, "saturated_fraction": 0.1, "n_cells": 4,
    }  # fmt: skip
    failed = [field_report(0, status="failed", reasons=["gone"]), field_report(0, status="flagged")]
    assert merge_field_reports(failed)["status"] == merge_field_reports(failed[::-1])["status"] == "failed"
    assert merge_field_reports([]) == {"status": "ok", "reasons": []}


@pytest.mark.parametrize("order", [1, -1])
def test_a_reason_that_another_continues_is_said_once(order: int) -> None:
    reasons = ["size 2 um is untested", "size 2 um is untested, and not segmented", "size 2 um is untestedly odd"]
    merged = merge_field_reports([field_report(0, status="flagged", reasons=[each]) for each in reasons[::order]])
    assert sorted(merged["reasons"]) == sorted(reasons[1:])


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(ValueError, match="status 'meh' is not one of"):
        field_report(0, status="meh")


def test_a_failed_field_is_recorded_or_stops_the_run() -> None:
    error = FieldError("A01_s1.tif is truncated")
    report = failed_field(2, error, on_bad_field="flag", where="P B02 field 2")
    assert report == {"field": 2, "status": "failed", "reasons": ["A01_s1.tif is truncated"]}
    with pytest.raises(
        StageError, match=r"P B02 field 2: A01_s1\.tif is truncated \(on_bad_field is 'fail'; set it to"
    ):
        failed_field(2, error, on_bad_field="fail", where="P B02 field 2")


def test_versions_name_what_takes_part() -> None:
    found = versions()
    assert {"lysoquant", "python", "numpy", "torch", "zarr"} <= set(found)
    assert json.loads(json.dumps(found)) == found


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress("work", total=4, done=1) as progress:
        progress.advance(3, note="last")
    shown = capsys.readouterr().err
    assert "work: 100%" in shown
    assert "4/4" in shown
