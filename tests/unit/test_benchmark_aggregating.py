"""The benchmark of aggregate makes tables that aggregate takes, and counts their rows."""

from __future__ import annotations

from pathlib import Path

from lysoquant.benchmark.aggregating import Size, costs
from lysoquant.cli.main import invoke


def test_costs_of_one_and_two_plates(tmp_path: Path) -> None:
    found = list(costs(tmp_path, [2, 1], Size(wells=2, fields=2, cells=2, regions=3)))
    assert [(cost.plates, cost.n_regions) for cost in found] == [(1, 24), (2, 48)]
    assert all(cost.peak_mb > 50 and cost.again_mb > 50 for cost in found)
    assert all(cost.seconds > 0 and cost.again_seconds > 0 for cost in found)


def test_a_wrong_number_of_plates_is_one_line() -> None:
    for wrong in ("one", "1,,4", "0", ""):
        assert invoke(["benchmark", "aggregate", "--plates", wrong]) == 2
