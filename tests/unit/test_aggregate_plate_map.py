"""An impossible plate map is refused with its fault and the way out."""

from __future__ import annotations

import pytest

from lysoquant.aggregate.plate_map import MapRow, read_plate_map
from lysoquant.aggregate.wells import COLUMNS
from lysoquant.errors import ConfigError


def row(well: str = "A01", plate: str = "P1", **more: str) -> dict[str, str]:
    return {"plate": plate, "well": well, "condition": "WT", "replicate": "1", "control": "", **more}


def test_rows_come_in_reading_order_with_the_users_columns() -> None:
    rows = [row("B01", dose_um="3"), row("A10", dose_um="2"), row("A02", dose_um="1", control="positive")]
    found = read_plate_map(rows=rows, plates=["P1"], reserved=COLUMNS)

    assert list(found.rows) == [("P1", "A02"), ("P1", "A10"), ("P1", "B01")]
    assert found.wells("P1") == ["A02", "A10", "B01"]
    assert found.extra_columns == ("dose_um",)
    assert found.rows["P1", "A02"] == MapRow("WT", "1", "positive", {"dose_um": "1"})
    assert found == read_plate_map(rows=rows[::-1], plates=["P1"], reserved=COLUMNS)


def test_only_plate_and_well_are_needed() -> None:
    found = read_plate_map(rows=[{"plate": "P1", "well": "A01"}], plates=["P1"], reserved=COLUMNS)

    assert found.rows["P1", "A01"] == MapRow()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(plate="P2")], "'P2' is not one of P1; correct"),
        ([{"well": "A01"}], "plate '' is not one of"),
        ([row("A1")], "'A1' of plate P1 is not a well name such as B03"),
        ([row(), row()], "well A01 of plate P1 has two rows"),
        ([row(control="maybe")], "control 'maybe', not negative, positive or empty"),
        ([row(control="negative"), row("A02", control="positive")], "'WT' is the positive control in well A02"),
        ([row(occupancy_mean="0.5")], "'occupancy_mean' has the name of a result"),
        ([row(reason="late")], "'reason' has the name of a result"),
    ],
)
def test_impossible_maps(rows: list[dict[str, str]], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_plate_map(rows=rows, plates=["P1"], reserved=COLUMNS)

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
