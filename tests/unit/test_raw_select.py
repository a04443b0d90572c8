"""Which planes and time points become fields, on acquisitions that no file stands behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lysoquant.errors import PlateError
from lysoquant.io.raw import Acquisition, Plane, Position, RawPlate
from lysoquant.io.raw.formats import READERS
from lysoquant.io.raw.select import select
from lysoquant.vocabulary import RAW_FORMATS

Z = Iterable[int]


def position(name: str = "s1", *, times: Iterable[int] = (1,), **channels: Z) -> Position:
    planes = {
        label: {(time, z): Plane(Path(f"{label}_t{time}_z{z}.tif")) for time in times for z in numbers}
        for label, numbers in channels.items()
    }
    return Position(name=name, planes=planes)


def acquired(wells: Mapping[str, Iterable[Position]], *, stacks_vary: bool = False) -> Acquisition:
    found = {well: tuple(positions) for well, positions in wells.items()}
    labels = dict.fromkeys(label for positions in found.values() for each in positions for label in each.planes)
    return Acquisition(
        name="P",
        format="tiff",
        channels=tuple(labels),
        wells=found,
        n_rows=8,
        n_columns=12,
        pixel_size_um=0.1,
        shape=(4, 4),
        stacks_vary=stacks_vary,
    )


def fields(plate: RawPlate, well: str = "A01") -> dict[str, dict[str, tuple[int, ...]]]:
    """Z planes by field and channel."""
    return {field.name: {c: tuple(planes) for c, planes in field.planes.items()} for field in plate.wells[well]}


STACK = {"A01": [position(lyso=(0, 1, 2, 3), cargo=(0, 1, 2, 3), dapi=(2,))]}


@pytest.mark.parametrize(
    ("z", "expected", "reduction"),
    [
        ("projection", {"s1": {"lyso": (0,), "cargo": (0,), "dapi": (2,)}}, "plane"),
        (3, {"s1": {"lyso": (3,), "cargo": (3,), "dapi": (2,)}}, "plane"),
        ("max", {"s1": {"lyso": (1, 2, 3), "cargo": (1, 2, 3), "dapi": (2,)}}, "max"),
        ("sharpest", {"s1": {"lyso": (1, 2, 3), "cargo": (1, 2, 3), "dapi": (2,)}}, "sharpest"),
        ("each", {f"s1 z{n}": {"lyso": (n,), "cargo": (n,), "dapi": (2,)} for n in (1, 2, 3)}, "plane"),
    ],
)
def test_planes_are_chosen_by_the_setting_and_a_single_plane_serves_all(
    z: Any, expected: dict[str, Any], reduction: str
) -> None:
    plate = select(acquired(STACK), z=z, timepoint=1)
    assert fields(plate) == expected
    assert {field.reduction for field in plate.wells["A01"]} == {reduction}
    assert (plate.z_planes, plate.timepoints) == ((0, 1, 2, 3), (1,))
    assert "the plate has Z planes 1 to 3 and the instrument's projection: " in plate.notes[0]
    assert plate.notes[1].endswith("'dapi'")
    assert not [problem for field in plate.wells["A01"] for problem in field.problems]


@pytest.mark.parametrize("z", ["projection", 1, "max", "sharpest", "each"])
def test_a_plate_without_stacks_needs_no_setting_and_gets_no_note(z: Any) -> None:
    plate = select(acquired({"A01": [position(lyso=(1,), cargo=(1,))]}), z=z, timepoint=1)
    assert (fields(plate), plate.notes) == ({"s1": {"lyso": (1,), "cargo": (1,)}}, ())


@pytest.mark.parametrize("z", ["projection", "max", "sharpest", "each"])
def test_a_plate_of_projections_alone_gives_them(z: Any) -> None:
    plate = select(acquired({"A01": [position(lyso=(0,))]}), z=z, timepoint=1)
    assert fields(plate) == {"s1": {"lyso": (0,)}}


def test_a_stack_without_the_plane_asked_for_is_an_error_that_lists_the_choices() -> None:
    plate = acquired({"A01": [position(lyso=(1, 2, 3, 5))]})
    with pytest.raises(PlateError) as caught:
        select(plate, z="projection", timepoint=1)
    assert str(caught.value) == (
        "channel 'lyso' has Z planes 1, 2, 3, 5 and no projection of the instrument; set `convert.z` to"
        " one of the numbers, to max (maximum projection), sharpest (one plane a field) or each (every plane a field)"
    )
    with pytest.raises(
        PlateError, match=r"Z plane 4: the plate has Z planes 1, 2, 3, 5; set `convert.z` to one of these"
    ):
        select(plate, z=4, timepoint=1)


def test_time_points_are_fields_of_their_own_or_one_is_read() -> None:
    plate = acquired({"A01": [position(times=(1, 3), lyso=(1, 2))]})
    assert list(fields(select(plate, z="max", timepoint="each"))) == ["s1 t1", "s1 t3"]
    assert list(fields(select(plate, z="each", timepoint="each"))) == ["s1 t1 z1", "s1 t1 z2", "s1 t3 z1", "s1 t3 z2"]
    late = select(plate, z=2, timepoint=3)
    assert [str(planes[2].path) for planes in late.wells["A01"][0].planes.values()] == ["lyso_t3_z2.tif"]
    assert late.wells["A01"][0].timepoint == 3
    with pytest.raises(
        PlateError, match=r"time point 2: the plate has 1, 3; set `convert.timepoint` to one of these or"
    ):
        select(plate, z=1, timepoint=2)


def test_a_plane_that_other_positions_have_is_missing() -> None:
    short = position("s2", lyso=(1, 2), cargo=(1, 2, 3))
    plate = acquired({"A01": [position(lyso=(1, 2, 3), cargo=(1, 2, 3)), short]})
    whole, cut = select(plate, z="max", timepoint=1).wells["A01"]
    assert whole.problems == ()
    assert cut.problems == ("well A01 field s2: no image of channel 'lyso' in Z plane 3; copy or export it again",)
    assert [field.problems for field in select(plate, z=2, timepoint=1).wells["A01"]] == [(), ()]


def test_where_positions_have_their_own_depth_nothing_is_missing_but_a_plane_asked_for() -> None:
    wells = {"A01": [position(lyso=(1, 2, 3)), position("s2", lyso=(1,)), position("s3", lyso=(1, 2))]}
    plate = acquired(wells, stacks_vary=True)
    assert fields(select(plate, z="max", timepoint=1)) == {
        "s1": {"lyso": (1, 2, 3)},
        "s2": {"lyso": (1,)},
        "s3": {"lyso": (1, 2)},
    }
    assert list(fields(select(plate, z="each", timepoint=1))) == ["s1 z1", "s1 z2", "s1 z3", "s2 z1", "s3 z1", "s3 z2"]
    problems = [field.problems for field in select(plate, z=3, timepoint=1).wells["A01"]]
    way_out = "and not what `convert.z` asks for (3); set `convert.z` to max, sharpest or each"
    assert problems == [
        (),
        (f"well A01 field s2: has Z plane 1 {way_out}",),
        (f"well A01 field s3: has Z planes 1, 2 {way_out}",),
    ]


def test_a_fault_of_a_plane_counts_where_the_plane_is_read() -> None:
    whole = position(lyso=(1, 2))
    broken = Position(name="s1", planes=whole.planes, faults={("lyso", 1, 2): "two files"})
    plate = acquired({"A01": [broken]})
    assert select(plate, z=1, timepoint=1).wells["A01"][0].problems == ()
    assert select(plate, z="max", timepoint=1).wells["A01"][0].problems == ("two files",)


def test_a_position_without_any_image_stays_with_a_problem() -> None:
    plate = acquired({"A01": [position(lyso=(1,))], "A02": [Position(name="s1", planes={})]})
    (field,) = select(plate, z="projection", timepoint=1).wells["A02"]
    assert field.problems == ("well A02 field s1: no image of any channel; copy or export it again",)


def test_every_format_has_a_reader_and_one_of_them_is_the_last_resort() -> None:
    assert tuple(READERS) == RAW_FORMATS
    assert {name: reader.name for name, reader in READERS.items()} == {name: name for name in RAW_FORMATS}
    assert [name for name, reader in READERS.items() if reader.is_fallback] == ["tiff"]
